r"""Exponents of displacement: the slope of log R against log t.

.. math::
    R(t) = \sqrt{\mathrm{MSD}(t)}, \qquad
    \texttt{displacement exponent} = \frac{d \ln R}{d \ln t}, \qquad
    \texttt{msd exponent} = 2 \times \texttt{displacement exponent} .

Brownian motion has displacement exponent 1/2.  The slope depends on the window, often more than on
anything else, so the window is declared by the caller and kept with the result, beside the slope
over the whole record.

Points of a displacement curve share the same paths.  The residuals of a least-squares line then
say nothing about its error: for random walks their 95 % intervals cover the truth in 4 to 13 of 100
cases, see ``tests/estimators/test_exponents.py``.  Errors here are those of the delete-one-chain
jackknife.

A power law is not shown by a slope: a mixture of relaxing modes has any exponent below 1 over a
window shorter than its spread of rates, and saturates beyond.  Compare windows, and
:func:`local_exponents` along the curve.

References: [Efron1982]_ for the jackknife, [Kepten2015]_ for what goes wrong in such fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import real
from fracsde.errors import RecordError
from fracsde.estimators.chains import (
    jackknife_error,
    leave_one_out_means,
    measured,
    named,
)
from fracsde.estimators.windows import (
    displacement_at_log_lags,
    displacement_in_window,
    refuse_few_chains,
    refuse_zero,
)
from fracsde.records.measurement import Measurement, Quantity

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, BoolArray, FloatArray
    from fracsde.estimators.displacement import Displacement, Kind
    from fracsde.records.trajectory import Trajectory

__all__ = [
    "ExponentMeasurement",
    "LocalExponents",
    "displacement_exponent",
    "local_exponents",
    "msd_exponent",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class ExponentMeasurement(Measurement):
    """A measured exponent with the window it belongs to.

    Parameters
    ----------
    window : (float, float) [step or time]
        The declared window.
    points : int
        Lags inside the window.
    r_squared : float [1]
        Share of the spread of ``log R`` that the line explains.  Close to 1 for any smooth
        monotone curve: it does not show a power law.
    whole_record : float [1]
        The slope over all lags, to see what the choice of window does.
    """

    citation: ClassVar[tuple[str, ...]] = ("Efron1982", "Kepten2015")

    window: tuple[float, float]
    points: int
    r_squared: float
    whole_record: float


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalExponents:
    """Displacement exponents along a curve.

    Parameters
    ----------
    times : (k,) ndarray of float64 [step or time]
        Geometric middle of each pair of lags.
    value : (k,) ndarray of float64 [1]
        Slope of log R between the lags.
    stderr : (k,) ndarray of float64 [1]
        From the delete-one-chain jackknife.
    chains : int
        Number of chains.
    """

    times: FloatArray
    value: FloatArray
    stderr: FloatArray
    chains: int


def displacement_exponent(
    source: Trajectory | Displacement | ArrayLike,
    window: tuple[float, float],
    *,
    kind: Kind = "ensemble",
    start: int = 0,
    points: int = 40,
    quantity: Quantity | None = None,
) -> ExponentMeasurement:
    """Fit the slope of log R against log t on a declared window.

    Parameters
    ----------
    source : Trajectory, Displacement or (chain, draw, coordinate) array_like
        A run, or displacements already measured and summed over coordinates.
    window : (float, float) [step or time]
        First and last time elapsed that take part.
    kind : {"ensemble", "time_averaged"}
        Which average, when ``source`` is a run.
    start : int
        Draw from which displacements count, when ``source`` is a run.
    points : int
        About how many logarithmically spaced lags take part, when ``source`` is a run; fewer
        where lags coincide.  Displacements already measured take part with all their lags.
    quantity : Quantity, optional
        Name of the result, ``"displacement exponent"`` if not given.

    Returns
    -------
    ExponentMeasurement
        The slope of log R; twice it is the exponent of the mean square displacement.

    Raises
    ------
    RecordError
        If the window reaches outside the record, holds fewer than 12 lags, there are fewer than 8
        chains, or a displacement is zero.

    References
    ----------
    [Efron1982]_, [Kepten2015]_

    Examples
    --------
    >>> steps = np.random.default_rng(3).standard_normal((200, 400, 1))
    >>> walk = np.cumsum(steps, axis=1)
    >>> found = displacement_exponent(walk, (4, 300))
    >>> bool(abs(found.value[0] - 0.5) < 4 * found.stderr[0])
    True
    """
    moved, inside = displacement_in_window(source, window, kind=kind, start=start, points=points)
    low, high = float(window[0]), float(window[1])
    slope, without, r_squared = _fit(moved, inside)
    whole = _fit(moved, np.ones_like(inside))[0]
    label = named(quantity, "displacement exponent", "1", ("",))
    found = measured(
        label, np.array([slope]), jackknife_error(without).reshape(1), float(moved.chains), ""
    )
    average = moved.kind.replace("_", "-")
    method = (
        f"slope of log R on [{low:g}, {high:g}], {int(inside.sum())} {average} lags, "
        f"jackknife over {moved.chains} chains, r^2 = {r_squared:.6f}"
    )
    return ExponentMeasurement(
        quantity=found.quantity,
        value=found.value,
        stderr=found.stderr,
        n_effective=found.n_effective,
        method=method,
        window=(low, high),
        points=int(inside.sum()),
        r_squared=r_squared,
        whole_record=whole,
    )


def msd_exponent(exponent: ExponentMeasurement, *, quantity: Quantity | None = None) -> Measurement:
    """Return twice a displacement exponent: the exponent of the mean square displacement.

    Parameters
    ----------
    exponent : ExponentMeasurement
        From :func:`displacement_exponent`.
    quantity : Quantity, optional
        Name of the result, ``"msd exponent"`` if not given.

    Returns
    -------
    Measurement

    Examples
    --------
    >>> walk = np.cumsum(np.random.default_rng(3).standard_normal((50, 400, 1)), axis=1)
    >>> slope = displacement_exponent(walk, (4, 300))
    >>> bool(msd_exponent(slope).value[0] == 2 * slope.value[0])
    True
    """
    label = named(quantity, "msd exponent", "1", ("",))
    return Measurement(
        quantity=label,
        value=2.0 * exponent.value,
        stderr=2.0 * exponent.stderr,
        n_effective=exponent.n_effective,
        method=exponent.method,
    )


def local_exponents(
    source: Trajectory | Displacement | ArrayLike,
    *,
    factor: float = 2.0,
    kind: Kind = "ensemble",
    start: int = 0,
    points: int = 40,
) -> LocalExponents:
    """Measure the slope of log R between each time and ``factor`` times it.

    Parameters
    ----------
    source : Trajectory, Displacement or (chain, draw, coordinate) array_like
        A run, or displacements already measured and summed over coordinates.
    factor : float [1]
        Ratio of the two times, above 1; the nearest recorded lag is taken.
    kind : {"ensemble", "time_averaged"}
        Which average, when ``source`` is a run.
    start : int
        Draw from which displacements count, when ``source`` is a run.
    points : int
        Number of logarithmically spaced lags, when ``source`` is a run.

    Returns
    -------
    LocalExponents

    Raises
    ------
    RecordError
        If no two lags are that far apart or there are fewer than 8 chains.

    Examples
    --------
    >>> walk = np.cumsum(np.random.default_rng(3).standard_normal((200, 400, 1)), axis=1)
    >>> local = local_exponents(walk, factor=4.0)
    >>> bool(np.all(abs(local.value - 0.5) < 5 * local.stderr))
    True
    """
    ratio = real("factor", factor, low=1.0)
    moved = displacement_at_log_lags(source, (0.0, np.inf), kind, start, points)
    times = np.log(moved.times)
    early = np.flatnonzero(times + np.log(ratio) <= times[-1] + 1e-12)
    late = np.abs(times[None, :] - times[early, None] - np.log(ratio)).argmin(axis=1)
    early, late = early[late > early], late[late > early]
    if early.size == 0:
        msg = (
            f"no two of {len(times)} lags are a factor of {ratio:g} apart; lower `factor` or "
            "record longer"
        )
        raise RecordError(msg)
    refuse_few_chains(moved)
    refuse_zero(moved, np.ones(len(times), dtype=np.bool_))
    gap = 2.0 * (times[late] - times[early])
    value = (np.log(moved.value[late]) - np.log(moved.value[early])) / gap
    logs = np.log(leave_one_out_means(moved.per_chain))
    stderr = jackknife_error((logs[:, late] - logs[:, early]) / gap)
    middle = np.exp(0.5 * (times[late] + times[early]))
    return LocalExponents(times=middle, value=value, stderr=stderr, chains=moved.chains)


def _fit(moved: Displacement, inside: BoolArray) -> tuple[float, FloatArray, float]:
    # Return the slope of log R, the slopes without each chain, and r squared.
    logs_t = np.log(moved.times[inside])
    centred = logs_t - logs_t.mean()
    weights = centred / (centred @ centred)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = 0.5 * np.log(moved.value[inside])
        without = 0.5 * np.log(leave_one_out_means(moved.per_chain[:, inside])) @ weights
    slope = float(logs @ weights)
    spread = np.square(logs - logs.mean()).sum()
    left = np.square(logs - logs.mean() - slope * centred).sum()
    r_squared = float(1.0 - left / spread) if spread > 0 else 0.0
    return slope, without, r_squared
