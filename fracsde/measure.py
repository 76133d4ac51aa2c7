r"""From a run to measurements, in the words in which theories predict.

A run is a recorded trajectory, a store on disk, or the path of one.  What is measured along
directions :math:`V` is measured on the projections :math:`V^T w`, so it may be compared with the
theory of all weights whatever the directions.  Before anything is measured the window is examined:
a run that still drifts has no stationary value, and a number with an error bar would say otherwise.

Not here: the estimators (:mod:`fracsde.estimators`) and the comparison (:mod:`fracsde.compare`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde import estimators
from fracsde._check import finite_array, truth
from fracsde._runs.window import Window, read_window
from fracsde.errors import DiagnosticsError, InputError, OutOfRangeError, RecordError
from fracsde.estimators.gapped import longest_window, places, spacing
from fracsde.records import quantities as names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._runs.window import Source
    from fracsde._typing import ArrayLike, IntArray
    from fracsde.records.measurement import Measurement
    from fracsde.records.trajectory import Trajectory

__all__ = ["examine", "measure"]


def measure(
    run: Source,
    *,
    quantities: str | Sequence[str] = ("mean", "stationary variance"),
    directions: ArrayLike | None = None,
    start: float | None = None,
    stop: float | None = None,
    lags: ArrayLike | None = None,
    stream: str = "weights",
    chains: Sequence[int] | None = None,
    unequal: str = "refuse",
    labels: Sequence[str] | None = None,
    unit: str | None = None,
    diagnose: bool = True,
    level: float = 1e-3,
) -> tuple[Measurement, ...]:
    """Measure stationary quantities of a run, each with its standard error.

    Parameters
    ----------
    run : Trajectory, StoredRun, path or (chain, draw, coordinate) array_like
        The run.
    quantities : str or sequence of str
        Names of :mod:`fracsde.records.quantities`.
    directions : (d, p) array_like, optional [1]
        Along which, one per column, used as they are; each coordinate by itself if not given.
    start, stop : float, optional [step or time]
        First and last time of the window: everything before ``start`` is burn-in.
    lags : (lag,) array_like, optional [step or time]
        For autocorrelations and displacements; multiples of the distance between draws.
    stream : str
        Which stream of a stored run.
    chains : sequence of int, optional
        Which chains of a stored run; all if not given.
    unequal : {"refuse", "truncate"}
        What to do with chains of a stored run that were recorded at different steps.
    labels : (p,) sequence of str, optional
        Names of the coordinates; those of the run if not given, else numbers from 0.
    unit : str, optional
        Unit of a coordinate; that of the stream if not given, else ``"weight"``.
    diagnose : bool
        Whether to refuse a window that :func:`fracsde.estimators.diagnose` refuses: one that
        drifts, is too short, or whose chains disagree.
    level : float [1]
        Chance of a false alarm in each of its two tests.

    Returns
    -------
    tuple of Measurement
        One per quantity, in the order asked for.

    Raises
    ------
    DiagnosticsError
        If the window is refused by its diagnosis, or the run diverged before its end.
    RecordError
        If the window is empty or too short for a quantity, or a coordinate is constant.
    InputError
        If a quantity needs lags and there are none.
    OutOfRangeError
        If a lag is not positive.

    Examples
    --------
    >>> from fracsde import LinearRecursion, simulate
    >>> process = LinearRecursion(transition=[[0.5]], noise=[[0.75]])
    >>> run = simulate(process, range(200), chains=64, rng=0)
    >>> mean, variance = measure(run)
    >>> variance.quantity.name, bool(abs(variance.value[0] - 1.0) < 4 * variance.stderr[0])
    ('stationary variance', True)

    A run that has not settled is refused:

    >>> from fracsde.errors import DiagnosticsError
    >>> try:
    ...     _ = measure(simulate(process, range(200), chains=64, rng=0, start=[50.0]))
    ... except DiagnosticsError as error:
    ...     print("burn-in" in str(error))
    True
    """
    wanted = names.chosen(quantities)
    truth("diagnose", diagnose)
    window = read_window(
        run,
        directions=directions,
        start=start,
        stop=stop,
        stream=stream,
        chains=chains,
        unequal=unequal,
        labels=labels,
        unit=unit,
    )
    found = window.trajectory
    draws = _draws(lags, found, wanted)
    if diagnose:
        examine(found, level=level)
    return tuple(_one(name, window, draws) for name in wanted)


def examine(run: Trajectory, *, level: float, cut: bool = False) -> Trajectory:
    """Refuse a window that :func:`fracsde.estimators.diagnose` refuses.

    Parameters
    ----------
    run : Trajectory
        The window.
    level : float [1]
        Chance of a false alarm in each of its two tests.
    cut : bool
        Whether to leave out a burn-in that was found, where nothing else is wrong with the rest.

    Returns
    -------
    Trajectory
        The window, or what is left of it.

    Raises
    ------
    DiagnosticsError
        With the remedy.
    """
    found = estimators.diagnose(run, level=level)
    failed = [row for row in found.rows if not row.ok]
    if not failed:
        return run
    if cut and found.burn_in and all(row.name == "burn-in" for row in failed):
        return run.between(float(run.times[found.burn_in]))
    reasons = "  ".join(f"{row.name}: {row.sentence}" for row in failed)
    begin = f" at {run.times[found.burn_in]:g}" if found.burn_in else " later"
    msg = (
        f"the run cannot be measured from {run.times[0]:g} to {run.times[-1]:g}.  {reasons}  "
        f"Let the window begin{begin} (`start`, or `burn_in` of a comparison) or end elsewhere "
        "(`stop`), or pass diagnose=False to measure it all the same"
    )
    raise DiagnosticsError(msg)


def _draws(lags: ArrayLike | None, run: Trajectory, wanted: tuple[str, ...]) -> IntArray | None:
    # Lags in draws; None where nothing needs them.
    needing = [n for n in wanted if n in {"autocorrelation", "mean-square displacement"}]
    if lags is None or np.size(lags) == 0:
        if not needing:
            return None
        msg = f"{needing[0]!r} needs `lags`: at which distances in time; pass e.g. lags=[1, 10]"
        raise InputError(msg)
    when = finite_array("lags", lags, ndim=(0, 1)).reshape(-1)
    if np.any(when <= 0.0):
        msg = f"`lags` must be positive, got {when.min():g}; at lag 0 nothing has happened"
        raise OutOfRangeError(msg)
    if not needing:
        return None
    gap, at = spacing(run), places(run)
    draws = np.rint(when / gap)
    odd = np.abs(when - draws * gap) > 1e-9 * np.abs(when)
    if np.any(odd):
        msg = (
            f"`lags` must be multiples of {gap:g}, the distance between draws, got "
            f"{when[odd][0]:g}; ask for multiples, or record more often"
        )
        raise RecordError(msg)
    last = gap * ((run.draws if at is None else longest_window(at)) - 1)
    beyond = when > last
    if np.any(beyond):
        within = "the window" if at is None else "a part without gaps"
        msg = (
            f"`lags` must lie between {gap:g} and {last:g}, the distances in {within}, "
            f"got {when[beyond][0]:g}; ask for others, or record longer"
        )
        raise RecordError(msg)
    return draws.astype(np.int64)


def _one(name: str, window: Window, draws: IntArray | None) -> Measurement:
    run, tags, unit = window.trajectory, window.labels, window.unit
    if name == "stationary mean":
        return estimators.mean(run, quantity=names.stationary_mean(tags, unit))
    if name == "stationary variance":
        return estimators.variances(run, quantity=names.stationary_variance(tags, unit))
    if name == "stationary standard deviation":
        quantity = names.stationary_standard_deviation(tags, unit)
        return estimators.standard_deviations(run, quantity=quantity)
    if name == "stationary covariance":
        quantity = names.stationary_covariance(tags, unit=unit)
        return estimators.covariance_entries(run, quantity=quantity)
    if name == "integrated autocorrelation time":
        found = estimators.integrated_time(run)
        scaled: dict[str, Any] = {
            "quantity": names.integrated_time(tags),
            "value": found.value * spacing(run),
            "stderr": found.stderr * spacing(run),
        }
        return replace(found, **scaled)
    assert draws is not None  # read where it was asked for
    times = (draws * spacing(run)).tolist()
    if name == "autocorrelation":
        quantity = names.autocorrelation(tags, times)
        return estimators.autocorrelation_at(run, draws.tolist(), quantity=quantity)
    moved = estimators.mean_square_displacement(run, draws.tolist(), kind="time_averaged")
    return moved.to_measurement(quantity=names.mean_square_displacement(times, unit))
