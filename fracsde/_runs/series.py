r"""Several stored runs that differ in one setting, measured together.

Runs at several learning rates give noise, curvature and anharmonicity
(:func:`~fracsde.estimators.fluctuation_dissipation_series`); runs of several batch sizes tell
whether the noise of a batch is that of one example over its size
(:func:`~fracsde.estimators.assumptions.noise_by_batch_size`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import DiagnosticsError, InputError
from fracsde.estimators import fluctuation_dissipation_series
from fracsde.estimators.assumptions import noise_by_batch_size
from fracsde.records.measurement import Measurement, Quantity
from fracsde.records.store import open_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fracsde._typing import FloatArray
    from fracsde.records.assumption import AssumptionTest
    from fracsde.records.store import StoredRun

__all__ = ["over_batches", "over_rates"]

_GATHERED = "with_replacement"  # where a run does not say how batches were drawn


def over_rates(
    paths: Sequence[Path],
    *,
    start: float | None = None,
    hessian: FloatArray | None = None,
    gradient_noise: FloatArray | None = None,
    degree: int = 2,
    diagnose: bool = True,
) -> tuple[tuple[Measurement, ...], str]:
    """Measure noise, curvature and anharmonicity from runs at several learning rates.

    Parameters
    ----------
    paths : sequence of Path
        Folders of stored runs, alike in all but the rate.
    start : float, optional [step]
        First step of every window.
    hessian, gradient_noise : (P, P) ndarray, optional
        At the minimum; the noise is that of a batch.
    degree : int
        Of the polynomial in the rate.
    diagnose : bool
        Whether to refuse runs that have not settled.

    Returns
    -------
    tuple of Measurement
        The squares at each rate, then what the polynomial says.
    str
        The finding in words.

    Raises
    ------
    DiagnosticsError
        If a run has not settled.
    """
    stored = [open_run(path) for path in paths]
    found = fluctuation_dissipation_series(
        stored,
        hessian=hessian,
        gradient_noise=gradient_noise,
        start=[_draws_before(run, start) for run in stored],
        degree=degree,
    )
    drifting = [f"{r:.6g}" for r, ok in zip(found.rates, found.stationary, strict=True) if not ok]
    if diagnose and drifting:
        msg = (
            f"runs have not settled, at effective rate {', '.join(drifting)}: begin the windows "
            "later (`--start`), or pass --no-diagnose to measure them all the same"
        )
        raise DiagnosticsError(msg)
    squares = Measurement(
        quantity=Quantity(
            name="mean square gradient",
            unit="(loss/weight)^2",
            labels=tuple(f"effective rate {rate:.6g}" for rate in found.rates),
        ),
        value=found.value,
        stderr=found.stderr,
        n_effective=np.full(len(found.rates), found.curvature_noise.n_effective[0]),
        method="stationary means",
    )
    fitted = (found.noise, found.curvature_noise, found.bend, found.anharmonicity)
    return (squares, *(one for one in fitted if one is not None)), found.sentence


def over_batches(
    paths: Sequence[Path],
    *,
    start: float | None = None,
    stop: float | None = None,
    noise: FloatArray | None = None,
    directions: FloatArray | None = None,
    tolerance: float = 0.05,
) -> tuple[Measurement, AssumptionTest]:
    """Ask of runs of several batch sizes whether noise falls as one over the size.

    Parameters
    ----------
    paths : sequence of Path
        Folders of stored runs that kept ``weights`` and ``gradients`` at every step.
    start, stop : float, optional [step]
        The window of every run.
    noise : (P, P) ndarray, optional [(loss/weight)^2]
        Of one example.
    directions : (P, k) ndarray, optional [1]
        To ask along.
    tolerance : float [1]
        Largest relative error that does not matter.

    Returns
    -------
    Measurement
        Of several sizes and directions the relative error that decides.
    AssumptionTest
        The verdict, and all of them.

    Raises
    ------
    InputError
        If a run does not say its batch size, two have the same, or they were sampled differently.
    """
    gradients: dict[int, Any] = {}
    weights: dict[int, Any] = {}
    drawn: set[tuple[str, int | None]] = set()
    for path in paths:
        run = open_run(path)
        size, sampling, examples = _batches(run, path)
        if size in gradients:
            msg = f"two runs have batches of {size}; name one run per size"
            raise InputError(msg)
        drawn.add((sampling, examples))
        gradients[size], weights[size] = (
            run.trajectory(stream, start=start, stop=stop) for stream in ("gradients", "weights")
        )
    if len(drawn) > 1:
        msg = (
            "runs of a series differ in the batch size alone, got (sampling, dataset size) "
            f"{' and '.join(map(str, sorted(drawn, key=str)))}"
        )
        raise InputError(msg)
    sampling, examples = drawn.pop()
    test = noise_by_batch_size(
        gradients,
        weights=weights,
        noise=noise,
        directions=directions,
        dataset_size=examples,
        sampling=sampling,
        tolerance=tolerance,
    )
    found = Measurement(
        quantity=Quantity(name="effect that decides", labels=(test.meaning,)),
        value=np.array([test.effect]),
        stderr=np.array([test.stderr]),
        n_effective=np.array([test.n_effective]),
        method=test.method,
    )
    return found, test


def _draws_before(run: StoredRun, start: float | None) -> int:
    # What a window in steps leaves out of every chain.
    if start is None or not run.chains:
        return 0
    return int(np.searchsorted(run.steps(run.chains[0]), start))


def _batches(run: StoredRun, path: Path) -> tuple[int, str, int | None]:
    told = dict(run.metadata).get("training")
    training = told if isinstance(told, dict) else {}
    size, examples = training.get("batch_size"), training.get("dataset_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        msg = (
            f'{path} does not say its batch size: its metadata has none under "training"; record '
            "it with the run"
        )
        raise InputError(msg)
    sampling = training.get("sampling", _GATHERED)
    known = isinstance(examples, int) and not isinstance(examples, bool)
    return size, _GATHERED if sampling == "unknown" else str(sampling), examples if known else None
