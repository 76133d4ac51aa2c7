"""Estimators: from trajectories to measurements, every value with an honest standard error.

All of them take a :class:`~fracsde.records.trajectory.Trajectory`, simulated or recorded, or an
array with axes (chain, draw, coordinate).  None of them knows a theory.
"""

from __future__ import annotations

from fracsde.estimators import known_coefficients
from fracsde.estimators.autocorrelation import (
    autocorrelation_at,
    effective_sample_size,
    integrated_time,
)
from fracsde.estimators.autocovariance import autocovariance
from fracsde.estimators.burn_in import burn_in
from fracsde.estimators.chains import from_chains, jackknife_error, leave_one_out_means
from fracsde.estimators.curvature import Curvature, curvature
from fracsde.estimators.diagnosis import Diagnosis, DiagnosisRow, diagnose
from fracsde.estimators.diagnostics import (
    StationarityCheck,
    check_stationary,
    split_r_hat,
    stationarity,
)
from fracsde.estimators.displacement import Displacement, mean_square_displacement
from fracsde.estimators.eigenvalues import EigenvalueMeasurement, covariance_eigenvalues
from fracsde.estimators.exponents import (
    ExponentMeasurement,
    LocalExponents,
    displacement_exponent,
    local_exponents,
    msd_exponent,
)
from fracsde.estimators.fluctuation import (
    FluctuationRatio,
    fluctuation_dissipation,
    second_fluctuation_dissipation,
)
from fracsde.estimators.fractional_order import FractionalOrderFit, fit_fractional_order
from fracsde.estimators.function_loss import FunctionLoss
from fracsde.estimators.gradient_noise import Alignment, GradientNoise, gradient_noise
from fracsde.estimators.lagged import autocovariance_at
from fracsde.estimators.learning_coefficient import (
    Doubt,
    LearningCoefficient,
    learning_coefficient,
)
from fracsde.estimators.loss import DifferentiableLoss, LossCheck, check_loss
from fracsde.estimators.moments import (
    CovarianceMeasurement,
    covariance,
    covariance_entries,
    mean,
    standard_deviations,
    variances,
)
from fracsde.estimators.noise_scale import (
    NoiseScale,
    gradient_noise_scale,
    noise_scale_of_batches,
)
from fracsde.estimators.quadratic_coefficient import quadratic_coefficient
from fracsde.estimators.ranks import bulk_effective_size, rank_r_hat, tail_effective_size
from fracsde.estimators.spectral_density import (
    EigenvalueCount,
    SpectralDensity,
    spectral_density,
)
from fracsde.estimators.stable_sums import vector_tail_index
from fracsde.estimators.tail_index import HillCurve, TailMeasurement, hill, hill_curve
from fracsde.estimators.temperature_fit import (
    MultiplicityFit,
    TemperatureFit,
    fit_temperatures,
    learning_coefficient_at,
)

__all__ = [
    "Alignment",
    "CovarianceMeasurement",
    "Curvature",
    "Diagnosis",
    "DiagnosisRow",
    "DifferentiableLoss",
    "Displacement",
    "Doubt",
    "EigenvalueCount",
    "EigenvalueMeasurement",
    "ExponentMeasurement",
    "FluctuationRatio",
    "FractionalOrderFit",
    "FunctionLoss",
    "GradientNoise",
    "HillCurve",
    "LearningCoefficient",
    "LocalExponents",
    "LossCheck",
    "MultiplicityFit",
    "NoiseScale",
    "SpectralDensity",
    "StationarityCheck",
    "TailMeasurement",
    "TemperatureFit",
    "autocorrelation_at",
    "autocovariance",
    "autocovariance_at",
    "bulk_effective_size",
    "burn_in",
    "check_loss",
    "check_stationary",
    "covariance",
    "covariance_eigenvalues",
    "covariance_entries",
    "curvature",
    "diagnose",
    "displacement_exponent",
    "effective_sample_size",
    "fit_fractional_order",
    "fit_temperatures",
    "fluctuation_dissipation",
    "from_chains",
    "gradient_noise",
    "gradient_noise_scale",
    "hill",
    "hill_curve",
    "integrated_time",
    "jackknife_error",
    "known_coefficients",
    "learning_coefficient",
    "learning_coefficient_at",
    "leave_one_out_means",
    "local_exponents",
    "mean",
    "mean_square_displacement",
    "msd_exponent",
    "noise_scale_of_batches",
    "quadratic_coefficient",
    "rank_r_hat",
    "second_fluctuation_dissipation",
    "spectral_density",
    "split_r_hat",
    "standard_deviations",
    "stationarity",
    "tail_effective_size",
    "variances",
    "vector_tail_index",
]
