"""Where stochastic gradient descent settles, how it gets there, and whether a run agrees.

Everything below is imported when first used::

    import fracsde as fs

    sgd = fs.SGDNearMinimum(hessian=H, gradient_noise=C, learning_rate=0.1, batch_size=32)
    fs.stationary_covariance(sgd.map()).matrix
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_HOME = {
    # nouns: processes and problems
    "OUProcess": "problems.ornstein_uhlenbeck",
    "LinearRecursion": "problems.ornstein_uhlenbeck",
    "SGDNearMinimum": "problems.sgd",
    "RandomMultiplier": "problems.multipliers",
    "LeastSquaresSGD": "problems.least_squares",
    "GaussianLeastSquaresSGD": "problems.least_squares",
    "QuadraticSGD": "problems.quadratic_sgd",
    "SGDNearCriticalPoint": "problems.critical_point",
    "SGDOverBarrier": "problems.barrier",
    "StepRule": "problems.sgd_steps",
    "EpochRecursion": "problems.epochs",
    "StabilityLimits": "problems.sgd_limits",
    "StochasticLoss": "problems.stochastic_loss",
    "FokkerPlanck": "problems.fokker_planck",
    "Gaussian": "problems.fokker_planck",
    "PointMass": "problems.fokker_planck",
    "FractionalFokkerPlanck": "problems.fractional",
    "SeparableFokkerPlanck": "problems.separable",
    "FractionalODE": "problems.fractional_ode",
    "Expression": "problems.expressions",
    "Potential": "problems.potentials",
    "manufactured": "problems.manufactured",
    "SubordinatedOU": "problems.subordinated",
    "DiagonalOU": "problems.structured",
    "LowRankOU": "problems.structured",
    "MatrixFreeSGD": "problems.matrix_free",
    "MatrixFreeOU": "problems.matrix_free",
    "LowRankPlusDiagonal": "problems.products",
    "TimeGrid": "grids",
    "SpaceGrid": "grids",
    # nouns: methods
    "L1": "schemes.l1",
    "L12": "schemes.l12",
    "L2Sigma": "schemes.l2_sigma",
    "GrunwaldLetnikov": "schemes.grunwald_letnikov",
    "Adaptive": "schemes.adaptive",
    "ConvolutionQuadrature": "schemes.convolution_quadrature",
    "AllAtOnce": "schemes.all_at_once",
    "Propagator": "schemes.propagator",
    "HpCollocation": "schemes.collocation",
    "LeMcLeanMustapha": "schemes.driven",
    "Direct": "schemes.history",
    "BlockFFT": "schemes.block_fft",
    "Exponentials": "schemes.exponentials",
    "ExactOU": "schemes.paths",
    "EulerMaruyama": "schemes.paths",
    "Subordinated": "schemes.subordinated",
    "FiniteVolume": "operators.finite_volume",
    "Richardson": "operators.richardson",
    "Sinc": "operators.sinc",
    "Hermite": "operators.hermite",
    # nouns: records
    "Trajectory": "records.trajectory",
    "Quantity": "records.measurement",
    "Measurement": "records.measurement",
    "Prediction": "records.measurement",
    "Status": "status",
    "StoredRun": "records.store",
    # verbs
    "stationary_covariance": "stationary",
    "tail_index": "tails",
    "anharmonic_drift": "anharmonic",
    "stationary_cumulants": "cumulants",
    "second_moment_radius": "lyapunov.moment_radius",
    "phase_covariance": "stationary",
    "laws": "laws",
    "examine_minimum": "closure",
    "gaussian_closure": "closure",
    "stationary_variance_along": "stationary_large",
    "stationary_leading_block": "stationary_large",
    "stationary_trace": "stationary_large",
    "stationary_low_rank": "stationary_large",
    "mean_at": "transients",
    "covariance_at": "transients",
    "autocovariance": "transients",
    "mean_square_displacement": "transients",
    "relaxation_rates": "transients",
    "variance_growth": "growth",
    "classify_directions": "directions",
    "stationary_curvatures": "directions",
    "adaptive_near_minimum": "adaptive",
    "escape_rate": "physics.escape",
    "eyring_kramers": "physics.escape",
    "variance_along": "subordination",
    "two_time_covariance": "subordination",
    "density_at": "subordination",
    "distribution_at": "subordination",
    "sample_at": "subordination",
    "solve": "solve",
    "simulate": "simulate",
    "simulate_into": "simulate",
    "compare": "compare",
    "open_run": "records.store",
    "cite": "citations",
    # what the verbs return
    "StationaryCovariance": "stationary",
    "StationaryCumulants": "cumulants",
    "TailIndex": "tails",
    "AnharmonicDrift": "anharmonic",
    "SpectralRadius": "lyapunov.moment_radius",
    "VarianceGrowth": "growth",
    "Directions": "directions",
    "EscapeRate": "physics.escape",
    "AdaptiveLaw": "adaptive",
    "Laws": "laws",
    "LawOfSGD": "laws",
    "LossMinimum": "closure",
    "GaussianClosure": "closure",
    "StationaryVariance": "stationary_large",
    "LeadingBlock": "stationary_large",
    "StationaryTrace": "stationary_large",
    "LowRankCovariance": "stationary_large",
    "Solution": "solution",
    "SeparableSolution": "separable_solution",
    "FractionalODESolution": "ode_solution",
    "Manufactured": "problems.manufactured",
    "Report": "compare",
    "Verdict": "compare",
}
_FOLDERS = (
    "errors",
    "estimators",
    "networks",
    "observables",
    "physics",
    "potentials",
    "recording",
    "special",
)

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("fracsde")
    if name in _HOME:
        value = getattr(import_module(f"fracsde.{_HOME[name]}"), name)
    elif name in _FOLDERS:
        value = import_module(f"fracsde.{name}")
    else:
        msg = f"module 'fracsde' has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_FOLDERS])


class _Facade(ModuleType):
    """Keep ``fracsde.solve`` the verb when the module of the same name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOME and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Facade
