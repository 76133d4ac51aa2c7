r"""Mean square displacement, over chains and over time.

.. math::
    \text{ensemble:}\quad \mathrm{MSD}(\tau) = \frac1R \sum_r |w_r(t_0 + \tau) - w_r(t_0)|^2,
    \qquad
    \text{time-averaged:}\quad \mathrm{MSD}_r(k) =
    \frac{1}{N - k} \sum_{t < N - k} |w_r(t + k) - w_r(t)|^2 .

Time averages at all lags cost :math:`O(N \log N)`: with each chain's mean removed,

.. math::
    \sum_{t < N - k} |w(t + k) - w(t)|^2 = \sum_{t < N - k} |w(t)|^2 + \sum_{t \ge k} |w(t)|^2
    - 2 \sum_{t < N - k} w(t) \cdot w(t + k),

and the last sum is one inverse transform for all coordinates together.  The three terms cancel:
the error is about :math:`\epsilon \sum_t |w(t)|^2 / (N - k)`, which shows where a displacement
is small against the whole path and at lags with few windows.  The direct sum does not cancel and
is taken whenever it is cheaper, as it is for a few lags.
``tests/estimators/test_displacement.py`` holds the two against each other.

Displacements of one chain at different lags are strongly correlated, and so are time averages over
one path: every standard error here is the spread across chains.

Not here: exponents, see :mod:`fracsde.estimators.exponents`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from scipy import fft

from fracsde._check import choice, integer
from fracsde.errors import RecordError
from fracsde.estimators.autocovariance import checked_lags
from fracsde.estimators.chains import as_trajectory, blocks, coordinate_names, from_chains, named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.records.measurement import Measurement, Quantity
    from fracsde.records.trajectory import Trajectory

__all__ = ["Displacement", "mean_square_displacement"]

Kind = Literal["ensemble", "time_averaged"]

_DIRECT = 2.0  # a direct sum is cheaper below this many lags per doubling of the draws
_CACHED = 1 << 15  # numbers whose differences stay in cache


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
        Of the shape of ``value``: spread across chains; NaN for a single chain, which has none.
    per_chain : (chain, lag) or (chain, lag, coordinate) ndarray of float64 [weight^2]
        The displacement of each chain.
    kind : {"ensemble", "time_averaged"}
        Which average.
    names : tuple of str
        One label per coordinate.
    """

    citation: ClassVar[tuple[str, ...]] = ("Kneller1995",)

    lags: IntArray
    times: FloatArray
    value: FloatArray
    stderr: FloatArray
    per_chain: FloatArray
    kind: Kind
    names: tuple[str, ...]

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
        """
        labels = tuple(f"lag {k}" for k in self.lags)
        if self.value.ndim == 2:
            labels = tuple(f"{name} at lag {k}" for k in self.lags for name in self.names)
        label = named(quantity, "mean-square displacement", "weight^2", labels)
        method = f"{self.kind.replace('_', '-')} displacement of {self.chains} chains"
        return from_chains(self.per_chain.reshape(self.chains, -1), quantity=label, method=method)


def mean_square_displacement(
    trajectory: Trajectory | ArrayLike,
    lags: Sequence[int] | None = None,
    *,
    kind: Kind = "ensemble",
    start: int = 0,
    directions: ArrayLike | None = None,
    per_coordinate: bool = False,
    route: Literal["auto", "direct", "fft"] = "auto",
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

    Returns
    -------
    Displacement

    Raises
    ------
    RecordError
        If the record is too short for the lags or the start.

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
    first = integer("start", start, low=0)
    if first > run.draws - 2:
        msg = (
            f"a displacement from draw {first} needs a later draw, the record has {run.draws}; "
            "start earlier or record longer"
        )
        raise RecordError(msg)
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
    return _displacement(chosen, times, per_chain, kind, coordinate_names(run))


def _displacement(
    lags: IntArray, times: FloatArray, per_chain: FloatArray, kind: Kind, names: tuple[str, ...]
) -> Displacement:
    chains = len(per_chain)
    value = per_chain.mean(axis=0)
    if chains > 1:
        stderr = per_chain.std(axis=0, ddof=1) / np.sqrt(chains)
    else:
        stderr = np.full_like(value, np.nan)
    for array in (lags, times, value, stderr, per_chain):
        array.flags.writeable = False
    return Displacement(
        lags=lags,
        times=times,
        value=value,
        stderr=stderr,
        per_chain=per_chain,
        kind=kind,
        names=names,
    )


def _time_averages(
    run: Trajectory, first: int, lags: IntArray, *, direct: bool, apart: bool
) -> FloatArray:
    # Return the time-averaged displacement of every chain, ``(chain, lag[, coordinate])``.
    shape = (run.chains, len(lags), run.dimension) if apart else (run.chains, len(lags))
    result = np.empty(shape)
    for part in blocks(run):
        x = run.values[part, first:]
        if apart:
            series = np.swapaxes(x, 1, 2)[:, :, :, None]
            flat = series.reshape(-1, x.shape[1], 1)
        else:
            flat = x
        found = _direct(flat, lags) if direct else _by_fft(flat, lags)
        if apart:
            found = np.swapaxes(found.reshape(len(x), run.dimension, len(lags)), 1, 2)
        result[part] = found
    return result


def _direct(x: FloatArray, lags: IntArray) -> FloatArray:
    # Sum squared differences lag by lag; ``x`` has axes (series, draw, coordinate).
    count, draws, d = x.shape
    result = np.empty((count, len(lags)))
    # A few series at a time, so that path and differences stay in cache.
    step = max(1, _CACHED // (draws * d))
    scratch = np.empty(min(step, count) * draws * d)
    for start in range(0, count, step):
        # A lag is a shift of the flattened path: one contiguous pass serves all coordinates.
        path = np.ascontiguousarray(x[start : start + step])
        path = path.reshape(len(path), -1)
        for column, k in enumerate(lags):
            shape = (len(path), (draws - k) * d)
            moved = scratch[: shape[0] * shape[1]].reshape(shape)
            np.subtract(path[:, k * d :], path[:, : -k * d], out=moved)
            total = np.einsum("rt,rt->r", moved, moved) if step > 1 else moved[0] @ moved[0]
            result[start : start + step, column] = total / (draws - k)
    return result


def _by_fft(x: FloatArray, lags: IntArray) -> FloatArray:
    # Sum all lags at once; ``x`` has axes (series, draw, coordinate).
    draws, last = x.shape[1], int(lags.max())
    series = np.ascontiguousarray(np.swapaxes(x, 1, 2))
    # About the mean: an offset of 1e6 would otherwise take twelve digits with it.
    series = series - series.mean(axis=2, keepdims=True)
    size = fft.next_fast_len(draws + last, real=True)
    spectrum = fft.rfft(series, size, axis=2)
    power = np.einsum("rdf,rdf->rf", spectrum.real, spectrum.real)
    power += np.einsum("rdf,rdf->rf", spectrum.imag, spectrum.imag)
    products = fft.irfft(power, size, axis=1)[:, lags]
    squares = np.einsum("rdt,rdt->rt", series, series)
    # Each square counts twice but for those within a lag of either end.  Whichever of the two sums
    # is shorter is added up, since a running sum gathers rounding as it runs.
    ends = np.cumsum(squares + squares[:, ::-1], axis=1)
    total = 2.0 * squares.sum(axis=1, keepdims=True)
    both = np.where(2 * lags <= draws, total - ends[:, lags - 1], ends[:, draws - lags - 1])
    moved = both - 2.0 * products
    # Rounding may leave a displacement of nothing below zero.
    return np.asarray(np.maximum(moved, 0.0) / (draws - lags), dtype=np.float64)
