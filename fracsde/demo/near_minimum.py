r"""Near a minimum: what map, closure and flow predict, what replicas of SGD do, and why.

All of it happens along leading eigenvectors :math:`u_i` of the Hessian.  The restriction is exact
for map and flow: in that basis the curvature is diagonal, and directions do not couple.

Predictions come from the loss and from nothing else: map and flow from the Hessian and the
one-example gradient noise at the minimum, the closure from their averages over the law that
reproduces itself.  The *reasons* (:func:`assumptions`) are measured at points of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from fracsde import estimators
from fracsde.closure import examine_minimum, gaussian_closure
from fracsde.networks import run_sgd, train_to_minimum
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.records import Measurement, Prediction, Quantity
from fracsde.stationary import stationary_covariance
from fracsde.transients import autocovariance, relaxation_rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray, IntArray
    from fracsde.closure import GaussianClosure, LossMinimum
    from fracsde.demo.settings import DigitsSettings, Regime
    from fracsde.networks import Minimum, Network, SGDRun
    from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
    from fracsde.records import Trajectory

__all__ = [
    "Assumptions",
    "Curvature",
    "Plan",
    "assumptions",
    "close",
    "measure",
    "measure_curvature",
    "plan",
    "predict",
    "predict_closure",
    "run_regime",
]

MSD_LAGS = 8
ERRORS = 3.0  # standard errors of a closure that count as its numerical error


@dataclass(frozen=True, kw_only=True, eq=False)
class Curvature:
    """A minimum and what was measured there."""

    network: Network
    minimum: Minimum
    expanded: LossMinimum
    directions: FloatArray  # (P, k), leading eigenvectors, one per column
    curvatures: FloatArray  # (k,) decreasing
    noise: FloatArray  # (k, k), one-example gradient covariance in that basis
    noise_trace: float  # of the whole covariance

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the directions."""
        return tuple(f"e{i + 1}" for i in range(len(self.curvatures)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How long to run a regime and at which lags to look."""

    regime: Regime
    learning_rate: float
    burn_in: int
    steps: int
    every: int
    relaxation_lags: IntArray  # (k,) one per direction
    msd_lags: IntArray


def measure_curvature(network: Network, start: FloatArray, directions: int) -> Curvature:
    """Train to a true minimum and measure the Hessian and the gradient noise there."""
    minimum = train_to_minimum(network, start)
    expanded = examine_minimum(network, minimum.parameters, rank=directions)
    return Curvature(
        network=network,
        minimum=minimum,
        expanded=expanded,
        directions=expanded.leading,
        curvatures=expanded.curvatures[:directions].copy(),
        noise=expanded.noise[:directions, :directions].copy(),
        noise_trace=expanded.noise_trace,
    )


def plan(curvature: Curvature, regime: Regime, settings: DigitsSettings) -> Plan:
    """Choose learning rate, length and lags from the curvatures alone."""
    learning_rate = regime.rate / float(curvature.curvatures[0])
    rates = np.array([_slowest_rate(h, learning_rate, regime) for h in curvature.curvatures])
    slowest = float(rates.min())
    every = max(1, int(0.4 / rates.max()))
    steps = every * ceil(settings.relaxations / slowest / every)
    relaxation = np.maximum(1, np.rint(1.0 / rates / every)).astype(np.int64) * every
    lags = np.geomspace(every, min(3.0 / slowest, steps / 4), MSD_LAGS) / every
    return Plan(
        regime=regime,
        learning_rate=learning_rate,
        burn_in=every * ceil(settings.burn_in / slowest / every),
        steps=steps,
        every=every,
        relaxation_lags=relaxation,
        msd_lags=np.unique(np.maximum(1, np.rint(lags)).astype(np.int64)) * every,
    )


def _slowest_rate(h: float, learning_rate: float, regime: Regime) -> float:
    """Return how fast the slowest perturbation along a direction of curvature ``h`` decays."""
    sgd = SGDNearMinimum(
        hessian=np.array(h),
        gradient_noise=np.array(1.0),
        learning_rate=learning_rate,
        batch_size=1,
        momentum=regime.momentum,
    )
    return float(relaxation_rates(sgd.map()).real.min())


def run_regime(
    curvature: Curvature,
    chosen: Plan,
    settings: DigitsSettings,
    progress: Callable[[int, int], None] | None = None,
) -> SGDRun:
    """Run the replicas from the minimum; projections start after the burn-in."""
    last = chosen.burn_in + chosen.steps
    marks = np.unique(np.linspace(chosen.burn_in, last, 9).astype(np.int64)[1:])
    return run_sgd(
        curvature.network,
        curvature.minimum.parameters,
        learning_rate=chosen.learning_rate,
        batch_size=settings.batch_size,
        momentum=chosen.regime.momentum,
        steps=last,
        replicas=settings.replicas,
        seed=settings.seed + 1,
        record_positions=tuple(int(step) for step in marks),
        directions=curvature.directions,
        origin=curvature.minimum.parameters,
        project_every=chosen.every,
        first_projection=chosen.burn_in,
        progress=progress,
    )


def _quantities(curvature: Curvature, chosen: Plan) -> dict[str, Quantity]:
    labels = curvature.labels
    k = len(labels)
    pairs = [f"{labels[i]}·{labels[j]}" for i in range(k) for j in range(i + 1, k)]
    lags = [f"{a} at {lag}" for a, lag in zip(labels, chosen.relaxation_lags, strict=True)]
    return {
        "variance": Quantity(name="stationary variance", unit="weight²", labels=labels),
        "covariance": Quantity(name="stationary covariance", unit="weight²", labels=pairs),
        "relaxation": Quantity(name="autocorrelation", unit="1", labels=lags),
        "displacement": Quantity(
            name="mean-square displacement",
            unit="weight²",
            labels=[f"lag {lag}" for lag in chosen.msd_lags],
        ),
    }


def predict(
    curvature: Curvature, chosen: Plan, settings: DigitsSettings, theory: str
) -> list[Prediction]:
    """Predict every quantity by ``"map"``, ``"flow"`` or ``"isotropic noise"``."""
    noise = curvature.noise
    if theory == "isotropic noise":
        noise = np.eye(len(noise)) * curvature.noise_trace / curvature.network.parameters
    return _predict(curvature, chosen, settings, theory, curvature.curvatures, noise)


def _predict(
    curvature: Curvature,
    chosen: Plan,
    settings: DigitsSettings,
    theory: str,
    curvatures: FloatArray,
    noise: FloatArray,
) -> list[Prediction]:
    sgd = SGDNearMinimum(
        hessian=np.diag(curvatures),
        gradient_noise=noise,
        learning_rate=chosen.learning_rate,
        batch_size=settings.batch_size,
        momentum=chosen.regime.momentum,
    )
    process = sgd.flow() if theory == "flow" else sgd.map()
    return _predictions(curvature, chosen, process, theory)


def close(
    curvature: Curvature,
    chosen: Plan,
    settings: DigitsSettings,
    *,
    cumulants: int = 3,
    progress: Callable[[int, float], None] | None = None,
) -> GaussianClosure:
    """Solve the closure of a regime, with third cumulants unless told.

    Returns
    -------
    GaussianClosure
        ``status`` says whether there is any, and whether it can be trusted.
    """
    return gaussian_closure(
        curvature.expanded,
        learning_rate=chosen.learning_rate,
        batch_size=settings.batch_size,
        momentum=chosen.regime.momentum,
        draws=settings.closure_draws,
        cumulants=cumulants,
        rtol=settings.closure_rtol,
        max_rounds=settings.closure_rounds,
        rng=np.random.default_rng([settings.seed, 4]),
        progress=progress,
        throw=False,
    )


def predict_closure(
    curvature: Curvature, chosen: Plan, closure: GaussianClosure
) -> list[Prediction]:
    """Predict every quantity by a closure that was found."""
    error = ERRORS * float((closure.variance_stderr / closure.variances).max())
    return _predictions(curvature, chosen, closure.law(), "closure", error)


def _predictions(
    curvature: Curvature,
    chosen: Plan,
    process: OUProcess | LinearRecursion,
    theory: str,
    relative_error: float = 0.0,
) -> list[Prediction]:
    law = stationary_covariance(process)
    sigma = law.matrix
    variances = sigma.diagonal()
    rows, columns = np.triu_indices(len(sigma), 1)
    lags = np.unique(np.concatenate([chosen.relaxation_lags, chosen.msd_lags]))
    later = autocovariance(process, lags)
    own = np.searchsorted(lags, chosen.relaxation_lags)
    each = np.arange(len(sigma))
    moved = 2.0 * (sigma.trace() - later[np.searchsorted(lags, chosen.msd_lags)].trace(0, 1, 2))
    quantities = _quantities(curvature, chosen)
    error = relative_error + law.error_estimate / float(variances.min())
    values = {
        "variance": (variances, None),
        # Off the diagonal a prediction may vanish; the natural scale is that of a correlation.
        "covariance": (sigma[rows, columns], np.sqrt(variances[rows] * variances[columns])),
        "relaxation": (later[own, each, each] / variances, np.ones(len(sigma))),
        "displacement": (moved, None),
    }
    return [
        Prediction(
            quantity=quantities[key],
            value=value,
            numerical_error=error * (np.abs(value) if scale is None else scale),
            theory=theory,
            scale=scale,
        )
        for key, (value, scale) in values.items()
    ]


def measure(curvature: Curvature, chosen: Plan, run: Trajectory) -> list[Measurement]:
    """Measure the same quantities on the projections of the run."""
    quantities = _quantities(curvature, chosen)
    k = len(curvature.labels)
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    displacement = estimators.mean_square_displacement(
        run, [int(lag) for lag in chosen.msd_lags // chosen.every], kind="time_averaged"
    )
    return [
        estimators.variances(run, quantity=quantities["variance"]),
        estimators.covariance_entries(run, pairs, quantity=quantities["covariance"]),
        _relaxation(chosen, run, quantities["relaxation"]),
        displacement.to_measurement(quantity=quantities["displacement"]),
    ]


def _relaxation(chosen: Plan, run: Trajectory, quantity: Quantity) -> Measurement:
    """Measure the autocorrelation of each direction at its own lag."""
    each = [
        estimators.autocorrelation_at(run.values[:, :, i, None], [int(lag)])
        for i, lag in enumerate(chosen.relaxation_lags // chosen.every)
    ]
    return Measurement(
        quantity=quantity,
        value=np.concatenate([one.value for one in each]),
        stderr=np.concatenate([one.stderr for one in each]),
        n_effective=np.concatenate([one.n_effective for one in each]),
        method=each[0].method,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Assumptions:
    """How far the assumptions of a theory of constant noise and curvature fail along a run."""

    noise_ratio: FloatArray  # (k,) mean of u.C(w).u over the run / at the minimum
    noise_trace_ratio: float
    noise_trace_stderr: float
    curvature_ratio: FloatArray  # (k,) mean of u.H(w).u over the run / at the minimum
    curvature_mean_stderr: float
    excess_kurtosis: FloatArray  # (k,), zero for a Gaussian law
    mean_shift: FloatArray  # (k,) mean of the run in standard deviations
    r_hat: FloatArray  # (k,) split R-hat, 1 where every replica explores the whole law
    map_ratio: FloatArray  # (k,) measured variance / map with constants of the minimum
    with_noise: FloatArray  # (k,) the same, noise averaged over the run
    with_both: FloatArray  # (k,) the same, noise and curvature averaged over the run


def assumptions(
    curvature: Curvature, chosen: Plan, settings: DigitsSettings, run: SGDRun
) -> Assumptions:
    """Measure noise and curvature at points of the stationary law, and the law's shape."""
    assert run.positions is not None  # asked for in run_regime
    assert run.projections is not None
    points = run.positions.values.reshape(-1, run.positions.dimension)
    chosen_points = np.linspace(0, len(points) - 1, settings.positions).astype(np.int64)
    U, network = curvature.directions, curvature.network
    noises, traces, curvatures = [], [], []
    for point in points[chosen_points]:
        gradients = network.per_example_gradients(point)
        gradients = gradients - gradients.mean(axis=0)
        along = gradients @ U
        noises.append(along.T @ along / len(along))
        traces.append(np.sum(gradients**2) / len(gradients))
        curvatures.append(U.T @ network.hessian_vector_product(point, U))
    noise, bent = np.mean(noises, axis=0), np.mean(curvatures, axis=0)
    bent_ratio = np.diagonal(curvatures, axis1=1, axis2=2) / curvature.curvatures
    per_point = len(chosen_points) ** -0.5
    values = run.projections.values.reshape(-1, U.shape[1])
    mean, sd = values.mean(axis=0), values.std(axis=0)
    variance = sd**2

    def ratio(h: FloatArray, C: FloatArray) -> FloatArray:
        predicted: FloatArray = (
            variance / _predict(curvature, chosen, settings, "map", h, C)[0].value
        )
        return predicted

    return Assumptions(
        noise_ratio=noise.diagonal() / curvature.noise.diagonal(),
        noise_trace_ratio=float(np.mean(traces) / curvature.noise_trace),
        noise_trace_stderr=float(np.std(traces) * per_point / curvature.noise_trace),
        curvature_ratio=bent_ratio.mean(axis=0),
        curvature_mean_stderr=float(bent_ratio.mean(axis=1).std() * per_point),
        excess_kurtosis=np.mean((values - mean) ** 4, axis=0) / variance**2 - 3.0,
        mean_shift=mean / sd,
        r_hat=estimators.split_r_hat(run.projections),
        map_ratio=ratio(curvature.curvatures, curvature.noise),
        with_noise=ratio(curvature.curvatures, noise),
        with_both=ratio(bent.diagonal().copy(), noise),
    )
