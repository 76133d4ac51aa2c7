"""SGD on handwritten digits against its theories, from training to one page.

The order of work: train both networks to a minimum; in every regime predict, run, measure, compare
and ask which assumption fails; then start at random.  Nothing is written until all is done, and
the report appears in one move.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from fracsde.compare import compare
from fracsde.demo import figures, tables, words
from fracsde.demo.from_random import (
    descend,
    measure_spread,
    predict_spread,
    relax,
)
from fracsde.demo.near_minimum import (
    assumptions,
    close,
    measure,
    measure_curvature,
    plan,
    predict,
    predict_closure,
    run_regime,
)
from fracsde.demo.results import DigitsResult, FromRandom, Stationary
from fracsde.errors import BackendUnavailable
from fracsde.networks import MultilayerPerceptron, SoftmaxRegression
from fracsde.provenance import provenance
from fracsde.report import refuse_target, write_report
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fracsde._typing import FloatArray, IntArray
    from fracsde.demo.near_minimum import Curvature, Plan
    from fracsde.demo.settings import DigitsSettings
    from fracsde.networks import Network

__all__ = ["DigitsResult", "load_digits", "run_digits"]

RIVALS = ("flow", "isotropic noise")


def load_digits() -> tuple[FloatArray, IntArray]:
    """Return the 1797 digits as centred pixels in units of the full range, and their labels.

    Returns
    -------
    inputs : (1797, 64) ndarray of float64
    labels : (1797,) ndarray of int64

    Raises
    ------
    BackendUnavailable
        If scikit-learn, which carries the data, is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        msg = (
            'the digits come with scikit-learn, which is not installed; pip install "fracsde[demo]"'
        )
        raise BackendUnavailable(msg) from error
    digits = datasets.load_digits()
    inputs = digits.data / 16.0
    return inputs - inputs.mean(axis=0), digits.target.astype(np.int64)


def run_digits(
    output: Path, settings: DigitsSettings, progress: Callable[[str, float], None]
) -> DigitsResult:
    """Run the demo and write its report.

    Parameters
    ----------
    output : Path
        Folder of the report; replaced in one move once everything is done.
    settings : DigitsSettings
        What to run.
    progress : callable
        Called with what is being done and the fraction that is done.

    Returns
    -------
    DigitsResult

    Raises
    ------
    BackendUnavailable
        If scikit-learn or Matplotlib is not installed.
    InputError
        If the folder holds something that is not a report.
    """
    started = time.perf_counter()
    figures.require()
    refuse_target(output)
    inputs, labels = load_digits()
    networks: dict[str, Network] = {
        "softmax regression": SoftmaxRegression(
            inputs=inputs, targets=labels, weight_decay=settings.weight_decay
        ),
        f"perceptron 64-{settings.hidden}-10": MultilayerPerceptron(
            inputs=inputs,
            targets=labels,
            hidden=(settings.hidden,),
            weight_decay=settings.weight_decay,
        ),
    }
    clock = _Clock(progress, shares=_shares(networks, settings))
    stationary: dict[str, list[Stationary]] = {}
    random: dict[str, FromRandom] = {}
    for name, network in networks.items():
        clock.start(f"{name}: training to the minimum")
        start = network.initial_parameters(np.random.default_rng([settings.seed, 1]))
        curvature = measure_curvature(network, start, settings.directions)
        clock.done()
        stationary[name] = [
            _near_minimum(name, curvature, plan(curvature, regime, settings), settings, clock)
            for regime in settings.regimes
        ]
        random[name] = _from_random(name, curvature, settings, clock)
    sentence = words.sentence(stationary, random)
    result = DigitsResult(
        stationary=stationary,
        random=random,
        table=tables.table(stationary, random),
        sentence=sentence,
        seconds=time.perf_counter() - started,
    )
    _write(output, settings, result)
    return result


def _shares(networks: dict[str, Network], settings: DigitsSettings) -> list[float]:
    """Return the expected cost of each stage, in arbitrary units, for the progress bar."""
    shares: list[float] = []
    for network in networks.values():
        cost = network.parameters / 600.0
        shares.append(2.0 * cost)
        for regime in settings.regimes:
            slowest = min(0.25 * regime.rate / (1.0 - regime.momentum), 0.5)
            slowest = min(slowest, (1.0 - regime.momentum) / 2.0) if regime.momentum else slowest
            steps = (settings.burn_in + settings.relaxations) / slowest
            averages = settings.positions + 4 * settings.closure_draws
            shares.append(cost * (steps / 1200.0 + averages / 60.0))
        shares.append(cost * settings.random_relaxations / 4.0)
    return shares


class _Clock:
    """Progress over stages of unequal cost."""

    def __init__(self, show: Callable[[str, float], None], shares: list[float]) -> None:
        self._show = show
        self._ends = np.append(0.0, np.cumsum(shares)) / sum(shares)
        self._stage = -1
        self._what = ""

    def start(self, what: str) -> None:
        """Begin the next stage."""
        self._stage += 1
        self._what = what
        self.step(0, 1)

    def step(self, done: int, total: int) -> None:
        """Report progress inside the stage."""
        before, after = (float(self._ends[self._stage + k]) for k in (0, 1))
        # Rounding may not make a stage end behind the start of the next.
        inside = before + (after - before) * done / total
        self._show(self._what, after if done >= total else min(inside, after))

    def done(self) -> None:
        """Finish the stage."""
        self.step(1, 1)


def _near_minimum(
    name: str, curvature: Curvature, chosen: Plan, settings: DigitsSettings, clock: _Clock
) -> Stationary:
    clock.start(f"{name}: {chosen.regime.name}")
    theory = predict(curvature, chosen, settings, "map")
    rivals = {rival: predict(curvature, chosen, settings, rival) for rival in RIVALS}
    closure = close(curvature, chosen, settings)
    if closure.status in {Status.SUCCESS, Status.INACCURATE}:
        rivals = {"closure": predict_closure(curvature, chosen, closure), **rivals}
    run = run_regime(curvature, chosen, settings, clock.step)
    assert run.projections is not None  # asked for
    measured = measure(curvature, chosen, run.projections)
    report = compare(
        theory, measured, tolerance=settings.tolerance, level=settings.level, rivals=rivals
    )
    reasons = assumptions(curvature, chosen, settings, run)
    clock.done()
    return Stationary(
        curvature=curvature,
        plan=chosen,
        theory=theory,
        rivals=rivals,
        measured=measured,
        report=report,
        reasons=reasons,
        closure=closure,
    )


def _from_random(
    name: str, curvature: Curvature, settings: DigitsSettings, clock: _Clock
) -> FromRandom:
    clock.start(f"{name}: random starts")
    descent = descend(curvature, settings, clock.step)
    relaxation = relax(descent)
    fractional = f"fractional, α = {relaxation.fit.alpha:.2f}"
    theory, density = predict_spread(relaxation, relaxation.fit, fractional)
    rival, ordinary = predict_spread(relaxation, relaxation.ordinary, "ordinary, α = 1")
    report = compare(
        theory,
        measure_spread(relaxation),
        tolerance=settings.tolerance,
        level=settings.level,
        rivals={"ordinary, α = 1": rival},
    )
    clock.done()
    return FromRandom(
        curvature=curvature,
        descent=descent,
        relaxation=relaxation,
        solutions={fractional: density, "ordinary, α = 1": ordinary},
        report=report,
    )


def _write(output: Path, settings: DigitsSettings, result: DigitsResult) -> None:
    reports = {}
    for name, regimes in result.stationary.items():
        for item in regimes:
            reports[f"{name}, {item.plan.regime.name}"] = item.report
        reports[f"{name}, from random starts"] = result.random[name].report
    write_report(
        output,
        title="SGD on handwritten digits, against theory",
        lead=result.sentence,
        findings=words.findings(result.stationary, result.random),
        tables=tables.tables(result.stationary, result.random),
        reports=reports,
        figures=figures.draw(result.stationary, result.random),
        settings={**settings.to_dict(), "seconds": round(result.seconds, 1)},
        provenance=provenance(settings, backend="numba", seed=settings.seed),
    )
