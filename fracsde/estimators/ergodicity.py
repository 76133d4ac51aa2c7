r"""The ergodicity-breaking parameter: how far time averages of single chains scatter.

.. math::
    \mathrm{EB}(\tau) = \frac{\operatorname{Var}\overline{\delta^2}(\tau)}
    {\big(\mathrm{E}\,\overline{\delta^2}(\tau)\big)^2}, \qquad
    \overline{\delta^2}(\tau) = \frac{1}{N-k} \sum_{t<N-k} |w(t+k) - w(t)|^2 .

Brownian motion in one dimension has :math:`\frac{2}{(N-k)^2}\big[(N-k)\frac{2k^2+1}{3k}
- \frac{k^2-1}{6}\big] \simeq 4k/3N` for records of ``N`` draws, and every process that settles
falls to zero with :math:`1/N`.  A walk with waits of infinite mean, :math:`P(W > t) \sim t^{-a}`,
keeps :math:`2\Gamma(1+a)^2/\Gamma(1+2a) - 1` however long it is recorded.

The ratio of the sample variance to the square of the mean, less the mean's own variance, is biased
by terms of order :math:`1/R` for ``R`` chains; the delete-one-chain jackknife removes them and
gives the error.

A large value over one length of record is no proof of broken ergodicity: a mode slower than the
record inflates it as well.  Compare lengths.

Not here: the exact value of a linear law, :func:`fracsde.observables.ergodicity_breaking`.

References: [He2008]_, [Efron1982]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import RecordError, ShapeError
from fracsde.estimators.chains import freedom, jackknife_error, measured, named
from fracsde.estimators.displacement import Displacement, mean_square_displacement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.records.measurement import Measurement, Quantity
    from fracsde.records.trajectory import Trajectory

__all__ = ["ergodicity_breaking"]

_MIN_CHAINS = 8


def ergodicity_breaking(
    source: Trajectory | Displacement | ArrayLike,
    lags: Sequence[int] | None = None,
    *,
    start: int = 0,
    quantity: Quantity | None = None,
) -> Measurement:
    """Measure the relative variance, across chains, of time-averaged displacements.

    Parameters
    ----------
    source : Trajectory, Displacement or (chain, draw, coordinate) array_like
        A run of equally spaced draws, or time-averaged displacements already measured.
    lags : sequence of int, optional [draw]
        Lags, when ``source`` is a run; all if not given.
    start : int [draw]
        The draw from which time averages begin, when ``source`` is a run.
    quantity : Quantity, optional
        Name and labels of the result; entries run over lags.

    Returns
    -------
    Measurement

    Raises
    ------
    RecordError
        If there are fewer than 8 chains, displacements are no time averages, nothing moves, or all
        chains move alike.
    ShapeError
        If displacements of coordinates were kept apart.

    References
    ----------
    [He2008]_, [Efron1982]_

    Examples
    --------
    >>> walk = np.cumsum(np.random.default_rng(3).standard_normal((400, 300, 1)), axis=1)
    >>> found = ergodicity_breaking(walk, [10])
    >>> bool(abs(found.value[0] - 4 * 10 / (3 * 300)) < 4 * found.stderr[0])
    True
    """
    if isinstance(source, Displacement):
        moved = source
        if moved.kind != "time_averaged":
            msg = (
                "ergodicity is about time averages, got ensemble displacements; measure them with "
                "`kind='time_averaged'`"
            )
            raise RecordError(msg)
        if moved.value.ndim != 1:
            msg = "leave out `per_coordinate`: the parameter is that of the summed displacement"
            raise ShapeError(msg)
    else:
        moved = mean_square_displacement(source, lags, kind="time_averaged", start=start)
    y, R = moved.per_chain, moved.chains
    if R < _MIN_CHAINS:
        msg = (
            f"a variance across chains needs at least {_MIN_CHAINS} of them, got {R}; run more "
            "replicas, or cut a long record into pieces longer than its slowest mode"
        )
        raise RecordError(msg)
    if np.any(y.std(axis=0) <= 1e-12 * moved.value):
        msg = (
            "at some lag nothing moves, or all chains move alike; drop frozen parameters and pass "
            "independent replicas"
        )
        raise RecordError(msg)
    whole, without = _ratios(y)
    value = R * whole - (R - 1) * without.mean(axis=0)
    label = named(quantity, "ergodicity breaking", "1", tuple(f"lag {k}" for k in moved.lags))
    method = f"variance of time-averaged displacements over {R} chains, jackknife"
    # What each chain adds; a variance is an average of squares, skewed like one.
    square = np.square((R - 1.0) * (without - without.mean(axis=0)))
    fourth = np.square(square).mean(axis=0)
    effective = freedom(square.mean(axis=0), fourth, float(R), value)
    return measured(label, value, jackknife_error(without), effective, method)


def _ratios(y: FloatArray) -> tuple[FloatArray, FloatArray]:
    # Return Var / mean^2, both without bias, from all chains and without each in turn.
    R = len(y)
    mean = y.mean(axis=0)
    gap = y - mean
    squares = np.square(gap).sum(axis=0)
    variance = squares / (R - 1)
    means = mean - gap / (R - 1)
    variances = (squares - np.square(gap) * (R / (R - 1.0))) / (R - 2)
    whole = variance / (np.square(mean) - variance / R)
    return whole, variances / (np.square(means) - variances / (R - 1))
