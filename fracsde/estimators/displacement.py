r"""Mean square displacement, over chains and over time.

.. math::
    \text{ensemble:}\quad \mathrm{MSD}(\tau) = \frac1R \sum_r |w_r(t_0 + \tau) - w_r(t_0)|^2,
    \qquad
    \text{time-averaged:}\quad \mathrm{MSD}_r(k) =
    \frac{1}{N - k} \sum_{t < N - k} |w_r(t + k) - w_r(t)|^2 .

Time averages at all lags cost :math:`O(N \log N)` by the transform, whose terms cancel: the error
is about :math:`\epsilon \sum_t |y(t)|^2 / (N - k)` with :math:`y` the path less its mean and drift.
The direct sum does not cancel and is taken whenever it is cheaper, as it is for logarithmically
spaced lags.  Both are in :mod:`fracsde.estimators.displacement_kernels`, and
``tests/estimators/test_displacement.py`` holds the two against each other.

Displacements of one chain at different lags are strongly correlated, and so are time averages over
one path.  Standard errors are the spread across chains; for few chains ``errors="draws"`` takes
them from the autocorrelation of the squared displacements :math:`s_t = |w(t+k) - w(t)|^2`,

.. math::
    \mathrm{se}^2 = \operatorname{Var}(s)\, \tau_s / n, \qquad n = R\,(N - k),

with the degrees of freedom that the skewness of squares asks for.  It needs stationary increments,
and a record of 60 times the lag; a lag for which the record is too short has no error, NaN.
Squares of increments with long memory are correlated over the whole record (a displacement exponent
of 0.7 and more): their errors along one chain are too small.

Not here: starts that move along the record (:mod:`fracsde.estimators.aging`) and exponents
(:mod:`fracsde.estimators.exponents`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from fracsde._check import choice
from fracsde.errors import RecordError
from fracsde.estimators.autocovariance import checked_lags, checked_start
from fracsde.estimators.chains import (
    as_trajectory,
    blocks,
    coordinate_names,
    measured,
    named,
)
from fracsde.estimators.correlation_times import correlation_times
from fracsde.estimators.displacement_kernels import across_chains, direct_sums, transformed_sums
from fracsde.estimators.second_moments import along_freedom
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.records.measurement import Measurement, Quantity

__all__ = ["Displacement", "mean_square_displacement"]

_WINDOWS = 60.0  # times each lag that a record must hold for an error along it

Kind = Literal["ensemble", "time_averaged"]
Errors = Literal["chains", "draws"]

_DIRECT = 6.0  # a direct sum is cheaper below this many lags per doubling of the draws


@dataclass(frozen=True, kw_only=True, eq=False)
class Displacement:
    """Mean square displacement at several lags.

    Parameters
    ----------
    lags : (lag,) ndarray of int64 [draw]
        Lags in draws.
    times : (lag,) ndarray of float64 [step or time]
        The time that passes in each lag.
    value : (lag,) or (lag, coordinate) ndarray of float64 [weight^2]
        Mean over chains.
    stderr : ndarray of float64 [weight^2]
        Of the shape of ``value``; NaN where there is none: for a single chain with errors across
        chains, and for a lag too long for errors along it.
    per_chain : (chain, lag) or (chain, lag, coordinate) ndarray of float64 [weight^2]
        The displacement of each chain.
    kind : {"ensemble", "time_averaged"}
        Which average.
    names : tuple of str
        One label per coordinate.
    n_effective : ndarray of float64 [1]
        Of the shape of ``value``: degrees of freedom of each error, plus one.
    errors : {"chains", "draws"}
        Where the errors come from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Kneller1995",)

    lags: IntArray
    times: FloatArray
    value: FloatArray
    stderr: FloatArray
    per_chain: FloatArray
    kind: Kind
    names: tuple[str, ...]
    n_effective: FloatArray
    errors: Errors = "chains"

    @property
    def chains(self) -> int:
        """Number of chains."""
        return len(self.per_chain)

    def to_measurement(self, *, quantity: Quantity | None = None) -> Measurement:
        """Return the displacements with their standard errors.

        Parameters
        ----------
        quantity : Quantity, optional
            Name and labels of the result; entries run over lags, then coordinates.

        Returns
        -------
        Measurement

        Raises
        ------
        RecordError
            If a lag has no error.
        """
        labels = tuple(f"lag {k}" for k in self.lags)
        if self.value.ndim == 2:
            labels = tuple(f"{name} at lag {k}" for k in self.lags for name in self.names)
        label = named(quantity, "mean-square displacement", "weight^2", labels)
        method = f"{self.kind.replace('_', '-')} displacement of {self.chains} chains"
        if self.chains < 2 and self.errors == "chains":
            msg = (
                f"an error across chains needs at least 2 chains, got {self.chains}; run more "
                "replicas, or measure time averages with `errors='draws'`"
            )
            raise RecordError(msg)
        if np.isnan(self.stderr).any():
            few = self.lags[np.isnan(self.stderr.reshape(len(self.lags), -1)).any(axis=1)]
            msg = (
                f"{len(few)} of {len(self.lags)} lags, from {few[0]} draws, are too long for an "
                "error from this record, or nothing moves; measure shorter lags, record longer, or "
                "run more chains"
            )
            raise RecordError(msg)
        if self.errors == "draws":
            method += ", errors from the autocorrelation of squared displacements"
        flat_value, flat_stderr = self.value.reshape(-1), self.stderr.reshape(-1)
        return measured(label, flat_value, flat_stderr, self.n_effective.reshape(-1), method)


def mean_square_displacement(
    trajectory: Trajectory | ArrayLike,
    lags: Sequence[int] | None = None,
    *,
    kind: Kind = "ensemble",
    start: int = 0,
    directions: ArrayLike | None = None,
    per_coordinate: bool = False,
    route: Literal["auto", "direct", "fft"] = "auto",
    errors: Errors = "chains",
) -> Displacement:
    """Measure the mean square displacement.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [weight]
        Time averages need equally spaced draws; ensemble averages do not.
    lags : sequence of int, optional
        Lags in draws; all from 1 to the end of the record if not given.
    kind : {"ensemble", "time_averaged"}
        Average over chains from one start, or over starts along each chain.
    start : int
        The draw from which an ensemble is displaced, or from which time averages begin.
    directions : (coordinate, k) array_like, optional [1]
        Measure along these columns instead of the coordinates.
    per_coordinate : bool
        Keep coordinates apart instead of adding them.
    route : {"auto", "direct", "fft"}
        How time averages are summed; ``"auto"`` takes the cheaper.
    errors : {"chains", "draws"}
        Errors from the spread across chains, or of time averages from the autocorrelation of the
        squared displacements: for one chain or a few, one lag costs a transform.

    Returns
    -------
    Displacement

    Raises
    ------
    RecordError
        If the record is too short for the lags or the start, or an ensemble average is to take
        its errors from the draws.

    References
    ----------
    [Kneller1995]_ for the transform.

    Examples
    --------
    A straight line moves by the square of the lag:

    >>> line = np.arange(6.0).reshape(1, 6, 1)
    >>> mean_square_displacement(line, [1, 2, 4], kind="time_averaged").value.round(9)
    array([ 1.,  4., 16.])
    """
    run = as_trajectory(trajectory)
    choice("kind", kind, ("ensemble", "time_averaged"))
    choice("route", route, ("auto", "direct", "fft"))
    choice("errors", errors, ("chains", "draws"))
    if errors == "draws" and kind == "ensemble":
        msg = (
            "an ensemble average has one displacement per chain and lag, so its errors come from "
            "chains; ask for `kind='time_averaged'` or leave `errors` at 'chains'"
        )
        raise RecordError(msg)
    first = checked_start(start, run.draws)
    if directions is not None:
        run = run.project(directions)
    left = run.draws - first
    chosen = np.arange(1, left) if lags is None else checked_lags(lags, left)
    if kind == "ensemble":
        times = run.times[first + chosen] - run.times[first]
        moved = run.values[:, first + chosen] - run.values[:, first : first + 1]
        per_chain = np.square(moved, out=moved)
        per_chain = per_chain if per_coordinate else per_chain.sum(axis=2)
    else:
        times = chosen * run.spacing
        direct = len(chosen) < _DIRECT * np.log2(left) if route == "auto" else route == "direct"
        per_chain = _time_averages(run, first, chosen, direct=direct, apart=per_coordinate)
    spread = _along(run, first, chosen, apart=per_coordinate) if errors == "draws" else None
    return assembled(chosen, times, per_chain, kind, coordinate_names(run), spread)


def assembled(
    lags: IntArray,
    times: FloatArray,
    per_chain: FloatArray,
    kind: Kind,
    names: tuple[str, ...],
    spread: tuple[FloatArray, FloatArray] | None = None,
) -> Displacement:
    """Return displacements with errors across chains, or with the errors given.

    Returns
    -------
    Displacement
    """
    chains, shape = len(per_chain), per_chain.shape[1:]
    if chains == 1:
        value, stderr, n_effective = per_chain[0], np.full(shape, np.nan), np.ones(shape)
    else:
        found = across_chains(per_chain.reshape(chains, -1))
        value, stderr, n_effective = (array.reshape(shape) for array in found)
    if spread is not None:
        stderr, n_effective = spread
    for array in (lags, times, value, stderr, per_chain, n_effective):
        array.flags.writeable = False
    return Displacement(
        lags=lags,
        times=times,
        value=value,
        stderr=stderr,
        per_chain=per_chain,
        kind=kind,
        names=names,
        n_effective=n_effective,
        errors="chains" if spread is None else "draws",
    )


def _along(
    run: Trajectory, first: int, lags: IntArray, *, apart: bool
) -> tuple[FloatArray, FloatArray]:
    # Return errors and independent windows from the autocorrelation of squared displacements.
    size = run.dimension if apart else 1
    stderr, windows = np.full((2, len(lags), size), np.nan)
    x = run.values[:, first:]
    for row, k in enumerate(lags):
        if run.chains * (x.shape[1] - k) < _WINDOWS * k:
            continue
        squares = np.square(x[:, k:] - x[:, :-k])
        squares = squares if apart else squares.sum(axis=2, keepdims=True)
        for j in range(size):
            series = Trajectory(
                values=squares[..., j : j + 1], times=np.arange(squares.shape[1], dtype=np.float64)
            )
            try:
                found = correlation_times(series)
            except RecordError:  # too short for this lag, or nothing moves
                continue
            column = squares[..., j : j + 1]
            stderr[row, j] = found.stderr_of_mean[0]
            windows[row, j] = along_freedom(column - column.mean(), found)[0]
    return (stderr, windows) if apart else (stderr[:, 0], windows[:, 0])


def _time_averages(
    run: Trajectory, first: int, lags: IntArray, *, direct: bool, apart: bool
) -> FloatArray:
    # Return the time-averaged displacement of every chain, ``(chain, lag[, coordinate])``.
    added = direct_sums if direct else transformed_sums
    windows = run.draws - first - lags
    if not apart:
        sums = added(run.values[:, first:], lags)
        return np.divide(sums, windows, out=sums)
    result = np.empty((run.chains, len(lags), run.dimension))
    for part in blocks(run):
        x = run.values[part, first:]
        alone = np.swapaxes(x, 1, 2).reshape(-1, x.shape[1], 1)
        found = (added(alone, lags) / windows).reshape(len(x), run.dimension, len(lags))
        result[part] = np.swapaxes(found, 1, 2)
    return result
