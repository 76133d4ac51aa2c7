r"""From random starts: displacement, late relaxation, and a fractional equation put to the test.

Every replica has its own random start :math:`w_0`.  Windows are settings, fixed while it runs; the
rate, the length, the coordinate and the weights of the fit were chosen after pilots on the same
data, and the fitted order depends on them.  The coordinate is the late motion along the way that
is left,

.. math::
    x_r(t) = u_r \cdot (w_r(t) - w_r(t_0)), \qquad
    u_r = \frac{\bar w_r - w_r(t_0)}{|\bar w_r - w_r(t_0)|},

with :math:`t_0` the start of the late window and :math:`\bar w_r` the mean position over the last
third of the run; the fit uses the first half of the run only.  The order :math:`\alpha` is fitted
to the *mean* of :math:`x`.  With it the time-fractional Fokker-Planck equation of a quadratic
potential is solved, from the point :math:`x = 0` to the fitted plateau and the spread measured at
the end.  What it then says about spread and shape in between was not fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from fracsde import estimators
from fracsde.networks import run_sgd
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.records import Measurement, Prediction, Quantity, Trajectory
from fracsde.solve import solve

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray, IntArray
    from fracsde.demo.near_minimum import Curvature
    from fracsde.demo.settings import DigitsSettings
    from fracsde.estimators import FractionalOrderFit
    from fracsde.solution import Solution

__all__ = ["Descent", "Relaxation", "descend", "measure_spread", "predict_spread", "relax"]

RATE = 0.1  # eta h_max of the runs from random starts, without momentum
EARLY = (1.0, 30.0)
RECORDS = 72
LEFT = (0.75, 0.5, 0.25)  # shares of the way left at which the density is compared
CELLS = 2048


@dataclass(frozen=True, kw_only=True, eq=False)
class Descent:
    """Replicas from random starts and the displacement exponents measured on them."""

    positions: Trajectory
    learning_rate: float
    early_window: tuple[float, float]
    late_window: tuple[float, float]
    early: Measurement
    late: Measurement
    whole: Measurement


@dataclass(frozen=True, kw_only=True, eq=False)
class Relaxation:
    """The coordinate along the way that is left, and the fits to its mean."""

    times: FloatArray  # (t,) steps since the late window started, from 0
    values: FloatArray  # (chain, t), 0 at first
    spread: float  # over replicas, at the end of the run
    fit: FractionalOrderFit
    ordinary: FractionalOrderFit  # alpha = 1, everything else fitted again
    checks: IntArray  # indices into times, one per entry of LEFT


def descend(
    curvature: Curvature,
    settings: DigitsSettings,
    progress: Callable[[int, int], None] | None = None,
) -> Descent:
    """Run the replicas from random starts and measure the displacement exponents."""
    network = curvature.network
    learning_rate = RATE / float(curvature.curvatures[0])
    last = ceil(settings.random_relaxations / (learning_rate * settings.weight_decay))
    generator = np.random.default_rng([settings.seed, 2])
    starts = np.stack([network.initial_parameters(generator) for _ in range(settings.replicas)])
    late = (float(round(last * settings.late_from)), float(last))
    marks = np.geomspace(1, last, RECORDS).round().astype(np.int64)
    marks = np.unique(np.concatenate([[0], marks, [int(late[0])]]))
    run = run_sgd(
        network,
        starts,
        learning_rate=learning_rate,
        batch_size=settings.batch_size,
        steps=last,
        seed=settings.seed + 3,
        record_positions=tuple(int(step) for step in marks),
        progress=progress,
    )
    positions = run.positions
    assert positions is not None  # asked for above

    def exponent(window: tuple[float, float]) -> Measurement:
        return estimators.displacement_exponent(positions, window=window)

    return Descent(
        positions=positions,
        learning_rate=learning_rate,
        early_window=EARLY,
        late_window=late,
        early=exponent(EARLY),
        late=exponent(late),
        whole=exponent((1.0, float(last))),
    )


def relax(descent: Descent) -> Relaxation:
    """Project the late motion on the way that is left and fit the order to its mean."""
    record = descent.positions
    start, end = descent.late_window
    first = int(np.searchsorted(record.times, start))
    origin = record.values[:, first]
    left = record.values[:, record.times >= end * 2 / 3].mean(axis=1) - origin
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    inside = (record.times >= start) & (record.times <= end / 2)
    moved = record.values[:, inside] - origin[:, None]
    values = np.einsum("rtp,rp->rt", moved, left)
    final = np.einsum("rp,rp->r", record.values[:, -1] - origin, left)
    times = record.times[inside] - record.times[first]
    fit = estimators.fit_fractional_order(times, values, weights="diagonal")
    share = np.abs(values.mean(axis=0) - fit.plateau) / abs(fit.amplitude)
    checks = [int(np.argmin(np.abs(share - level))) for level in LEFT]
    return Relaxation(
        times=times,
        values=values,
        spread=float(final.std()),
        fit=fit,
        ordinary=estimators.fit_fractional_order(times, values, alpha=1.0, weights="diagonal"),
        checks=np.array(checks),
    )


def _solve(relaxation: Relaxation, fit: FractionalOrderFit, cells: int) -> Solution:
    reach = 8.0 * relaxation.spread
    low, high = sorted((0.0, fit.plateau))
    # A quadratic potential of stiffness 1/tau on the clock tau: the mean relaxes as
    # E_alpha(-(t / tau)^alpha), and the stationary variance is diffusion * tau.
    base = FokkerPlanck(
        potential=lambda x: (x - fit.plateau) ** 2 / (2.0 * fit.timescale),
        diffusion=relaxation.spread**2 / fit.timescale,
        domain=(low - reach, high + reach),
        initial=PointMass(at=0.0),
    )
    problem = FractionalFokkerPlanck(base=base, alpha=fit.alpha, timescale=fit.timescale)
    return solve(problem, relaxation.times[relaxation.checks], space=FiniteVolume(cells=cells))


def _values(solution: Solution, fit: FractionalOrderFit) -> dict[str, FloatArray]:
    half = fit.plateau + 0.5 * fit.amplitude
    points, widths = solution.points[0], solution.widths
    edges = np.append(points - 0.5 * widths, points[-1] + 0.5 * widths[-1])
    below = np.cumsum(np.insert(solution.density * widths, 0, 0.0, axis=1), axis=1)
    passed = np.array([np.interp(half, edges, row) for row in below])
    return {
        "mean": solution.mean(),
        "spread": np.sqrt(solution.variance()),
        "passed": 1.0 - passed if fit.plateau > half else passed,
    }


def _quantities(relaxation: Relaxation) -> dict[str, Quantity]:
    times = relaxation.times[relaxation.checks]
    labels = [f"{time:.0f} steps into the window" for time in times]
    return {
        "mean": Quantity(name="mean position", unit="weight", labels=labels),
        "spread": Quantity(name="spread over replicas", unit="weight", labels=labels),
        "passed": Quantity(name="share past half-way", unit="1", labels=labels),
    }


def predict_spread(
    relaxation: Relaxation, fit: FractionalOrderFit, theory: str
) -> tuple[list[Prediction], Solution]:
    """Predict mean, spread and share past half-way by the equation of the fitted order."""
    solution = _solve(relaxation, fit, CELLS)
    values = _values(solution, fit)
    # Time is exact.  Space is of second order: halving the cells changes a value by three times
    # its error, so the whole change bounds it.
    coarse = _values(_solve(relaxation, fit, CELLS // 2), fit)
    quantities = _quantities(relaxation)
    scales = {"mean": np.array(abs(fit.amplitude)), "spread": None, "passed": np.array(1.0)}
    return [
        Prediction(
            quantity=quantities[key],
            value=value,
            numerical_error=np.abs(value - coarse[key]),
            theory=theory,
            scale=scales[key],
        )
        for key, value in values.items()
    ], solution


def measure_spread(relaxation: Relaxation) -> list[Measurement]:
    """Measure mean, spread and share past half-way over the replicas."""
    quantities = _quantities(relaxation)
    fit = relaxation.fit
    half = fit.plateau + 0.5 * fit.amplitude
    values = relaxation.values[:, relaxation.checks]
    passed = ((values - half) * (fit.plateau - half) > 0).astype(np.float64)
    chains = len(values)
    share = passed.mean(axis=0)
    # One half added to each count: a share of 0 or 1 is still uncertain.
    counts = passed.sum(axis=0) + 0.5
    share_error = np.sqrt(counts * (chains + 1.0 - counts) / (chains + 1.0)) / (chains + 1.0)
    run = Trajectory(values=values[:, None, :], times=np.zeros(1))
    return [
        estimators.mean(run, quantity=quantities["mean"]),
        estimators.standard_deviations(run, quantity=quantities["spread"]),
        Measurement(
            quantity=quantities["passed"],
            value=share,
            stderr=share_error,
            n_effective=np.array(float(chains)),
            method="share of replicas; binomial error",
        ),
    ]
