r"""Autocovariances at chosen lags, with errors.

.. math::
    \hat C(k) = \frac{1}{R(N - k)} \sum_r \sum_{t < N - k} (x_{r,t} - m)(x_{r,t+k} - m)

is the mean of the products :math:`p_{r,t} = (x_{r,t} - m)(x_{r,t+k} - m)`.  With at least 16 chains
its error is the jackknife over chains.  With fewer it is that of the integrated autocorrelation
time of the *products*, which assumes no law; for a Gaussian one it is Bartlett's

.. math::
    \operatorname{Var}\hat C(k) \simeq \frac{1}{RN} \sum_m \bigl[C_m^2 + C_{m+k} C_{m-k}\bigr] .

Where the mean is not given, what its noise takes away from every value is put back: across chains
through products of means of distinct chains, along them by the factor
:math:`\operatorname{Var}\bar x \simeq C(0)\,\tau / (RN)`.

Not here: all lags by FFT, without errors, :mod:`fracsde.estimators.autocovariance`; ratios
:math:`C(k) / C(0)`, :mod:`fracsde.estimators.autocorrelation`.

References: [Bartlett1946]_, [Efron1982]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import RecordError
from fracsde.estimators.autocovariance import (
    autocovariance,
    centre_of,
    chain_means,
    checked_lags,
    equally_spaced,
    without_mean,
)
from fracsde.estimators.chains import (
    MIN_CHAINS,
    coordinate_names,
    freedom_of,
    jackknife_error,
    measured,
    named,
)
from fracsde.estimators.correlation_times import correlation_times
from fracsde.estimators.heavy_squares import (
    burden_of_run,
    burden_of_squares,
    lightened,
    sharper,
)
from fracsde.estimators.second_moments import along_freedom
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.records.measurement import Measurement, Quantity

__all__ = ["autocovariance_at"]


def autocovariance_at(
    trajectory: Trajectory | ArrayLike,
    lags: Sequence[int],
    *,
    mean: ArrayLike | None = None,
    quantity: Quantity | None = None,
) -> Measurement:
    r"""Measure the autocovariance :math:`C(k)` at chosen lags.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        Equally spaced draws of a stationary run.
    lags : sequence of int
        Lags in draws, from 1; lag 0 is :func:`~fracsde.estimators.moments.variances`.
    mean : (coordinate,) array_like, optional [x]
        The mean, if it is known.
    quantity : Quantity, optional
        Name and labels of the result; entries run over lags, then coordinates.

    Returns
    -------
    Measurement

    Raises
    ------
    RecordError
        If a lag is 0 or beyond the record, a coordinate is constant, or there are fewer than 16
        chains and they hold fewer than 50 autocorrelation times.

    References
    ----------
    [Bartlett1946]_, [Efron1982]_

    Examples
    --------
    >>> noise = np.random.default_rng(1).standard_normal((32, 500, 1))
    >>> m = autocovariance_at(noise, [1, 2])
    >>> bool(np.all(abs(m.value) < 4 * m.stderr)), m.quantity.labels
    (True, ('0 at lag 1', '0 at lag 2'))
    """
    run = equally_spaced(trajectory)
    chosen = checked_lags(lags, run.draws)
    names = coordinate_names(run)
    labels = tuple(f"{name} at lag {k}" for k in chosen for name in names)
    label = named(quantity, "autocovariance", "weight^2", labels)
    if run.chains < MIN_CHAINS:
        value, stderr, effective = _along(run, chosen, mean)
        method = f"integrated autocorrelation time of {run.chains * run.draws} products"
    else:
        value, stderr, effective = _across(run, chosen, mean)
        method = f"jackknife over {run.chains} chains"
    return measured(label, value.ravel(), stderr.ravel(), effective.ravel(), method)


def _across(
    run: Trajectory, lags: IntArray, mean: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    per_chain = autocovariance(run, int(lags.max()), mean=mean, per_chain=True)[:, lags]
    means = None if mean is not None else chain_means(run) - centre_of(run, None)
    value, without = without_mean(per_chain, means)
    centre = centre_of(run, mean)
    bound, own = burden_of_run(run, centre), np.empty(value.shape)
    away = run.values - centre
    for row, k in enumerate(lags):
        # The squares of these are how far products are from their mean.
        roots = np.sqrt(np.abs(away[:, :-k] * away[:, k:] - value[row]))
        series = Trajectory(values=roots, times=run.times[:-k])
        own[row] = burden_of_run(series, np.zeros(run.dimension))
    burden = sharper(own, bound)
    return value, jackknife_error(without), lightened(freedom_of(without), burden)


def _along(
    run: Trajectory, lags: IntArray, mean: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    away = run.values - centre_of(run, mean)
    shape = (len(lags), run.dimension)
    value, stderr, effective = np.empty(shape), np.empty(shape), np.empty(shape)
    centre = None if mean is not None else correlation_times(run)
    for row, k in enumerate(lags):
        if run.draws - k < 2:
            msg = f"lag {k} leaves one pair of {run.draws} draws; ask for a smaller lag"
            raise RecordError(msg)
        products = away[:, :-k] * away[:, k:]
        series = Trajectory(values=products, times=run.times[:-k], names=run.names)
        times = correlation_times(series)
        value[row] = products.mean(axis=(0, 1))
        stderr[row] = times.stderr_of_mean
        if centre is not None:  # by their times the record was let through as well
            through = times.let_through
            stderr[row] *= np.maximum(centre.let_through, through) / through
        independent = times.count / np.maximum(times.tau, 1.0)
        bound = burden_of_squares(np.square(away).reshape(-1, run.dimension), independent)
        own = burden_of_squares(
            np.abs(products - value[row]).reshape(-1, run.dimension), independent
        )
        effective[row] = lightened(along_freedom(products - value[row], times), sharper(own, bound))
    if centre is not None:
        value += centre.variance * centre.tau / centre.count
    return value, stderr, effective
