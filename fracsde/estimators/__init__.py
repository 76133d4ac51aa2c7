"""Estimators: from trajectories to measurements, every value with an honest standard error.

All of them take a :class:`~fracsde.records.trajectory.Trajectory`, simulated or recorded, or an
array with axes (chain, draw, coordinate).  None of them knows a theory.
"""

from __future__ import annotations

from fracsde.estimators import assumptions, known_coefficients
from fracsde.estimators.aging import AgedDisplacement, aged_displacement
from fracsde.estimators.autocorrelation import (
    autocorrelation_at,
    effective_sample_size,
    integrated_time,
)
from fracsde.estimators.autocovariance import autocovariance
from fracsde.estimators.burn_in import burn_in
from fracsde.estimators.chains import from_chains, jackknife_error, leave_one_out_means
from fracsde.estimators.clock_spread import expected_log_clock_variance, log_clock_variance
from fracsde.estimators.curvature import Curvature, curvature
from fracsde.estimators.diagnosis import Diagnosis, DiagnosisRow, diagnose
from fracsde.estimators.diagnostics import (
    StationarityCheck,
    check_stationary,
    split_r_hat,
    stationarity,
)
from fracsde.estimators.dimension_slopes import DimensionMeasurement
from fracsde.estimators.dimensions import (
    alexander_orbach,
    counting_dimension,
    mass_dimension,
    range_dimension,
    return_dimension,
    walk_dimension,
)
from fracsde.estimators.displacement import Displacement, mean_square_displacement
from fracsde.estimators.eigenvalues import EigenvalueMeasurement, covariance_eigenvalues
from fracsde.estimators.ergodicity import ergodicity_breaking
from fracsde.estimators.exponent_likelihood import LikelihoodExponent, exponent_by_likelihood
from fracsde.estimators.exponents import (
    ExponentMeasurement,
    LocalExponents,
    displacement_exponent,
    local_exponents,
    msd_exponent,
)
from fracsde.estimators.first_passage import FirstPassages, first_passages
from fracsde.estimators.fluctuation import (
    FluctuationRatio,
    fluctuation_dissipation,
    second_fluctuation_dissipation,
)
from fracsde.estimators.fluctuation_series import (
    FluctuationSeries,
    fluctuation_dissipation_series,
)
from fracsde.estimators.fractional_law import FractionalLawFit
from fracsde.estimators.fractional_likelihood import (
    FractionalLikelihoodFit,
    fit_fractional_likelihood,
)
from fracsde.estimators.fractional_moments import FractionalMomentsFit, fit_fractional_moments
from fracsde.estimators.fractional_order import FractionalOrderFit, fit_fractional_order
from fracsde.estimators.function_loss import FunctionLoss
from fracsde.estimators.gradient_noise import Alignment, GradientNoise, gradient_noise
from fracsde.estimators.graphs import (
    ExactWalk,
    SiteGraph,
    exact_walk,
    lattice_graph,
    sierpinski_gasket,
)
from fracsde.estimators.growth_laws import GrowthComparison, GrowthLaw, growth_laws
from fracsde.estimators.lagged import autocovariance_at
from fracsde.estimators.learning_coefficient import Doubt, LearningCoefficient, learning_coefficient
from fracsde.estimators.loss import DifferentiableLoss, LossCheck, check_loss
from fracsde.estimators.memory import (
    MemoryTest,
    MemoryVerdict,
    memory_or_modes,
)
from fracsde.estimators.moments import (
    CovarianceMeasurement,
    covariance,
    covariance_entries,
    mean,
    standard_deviations,
    variances,
)
from fracsde.estimators.noise_scale import NoiseScale, gradient_noise_scale, noise_scale_of_batches
from fracsde.estimators.quadratic_coefficient import quadratic_coefficient
from fracsde.estimators.ranks import bulk_effective_size, rank_r_hat, tail_effective_size
from fracsde.estimators.spectral_density import EigenvalueCount, SpectralDensity, spectral_density
from fracsde.estimators.stable_sums import vector_tail_index
from fracsde.estimators.survival import Survival, mean_passage_time, survival
from fracsde.estimators.tail_index import HillCurve, TailMeasurement, hill, hill_curve
from fracsde.estimators.temperature_fit import (
    MultiplicityFit,
    TemperatureFit,
    fit_temperatures,
    learning_coefficient_at,
)
from fracsde.estimators.walks import random_walks, visited_sites, walk_positions

__all__ = [
    "AgedDisplacement",
    "Alignment",
    "CovarianceMeasurement",
    "Curvature",
    "Diagnosis",
    "DiagnosisRow",
    "DifferentiableLoss",
    "DimensionMeasurement",
    "Displacement",
    "Doubt",
    "EigenvalueCount",
    "EigenvalueMeasurement",
    "ExactWalk",
    "ExponentMeasurement",
    "FirstPassages",
    "FluctuationRatio",
    "FluctuationSeries",
    "FractionalLawFit",
    "FractionalLikelihoodFit",
    "FractionalMomentsFit",
    "FractionalOrderFit",
    "FunctionLoss",
    "GradientNoise",
    "GrowthComparison",
    "GrowthLaw",
    "HillCurve",
    "LearningCoefficient",
    "LikelihoodExponent",
    "LocalExponents",
    "LossCheck",
    "MemoryTest",
    "MemoryVerdict",
    "MultiplicityFit",
    "NoiseScale",
    "SiteGraph",
    "SpectralDensity",
    "StationarityCheck",
    "Survival",
    "TailMeasurement",
    "TemperatureFit",
    "aged_displacement",
    "alexander_orbach",
    "assumptions",
    "autocorrelation_at",
    "autocovariance",
    "autocovariance_at",
    "bulk_effective_size",
    "burn_in",
    "check_loss",
    "check_stationary",
    "counting_dimension",
    "covariance",
    "covariance_eigenvalues",
    "covariance_entries",
    "curvature",
    "diagnose",
    "displacement_exponent",
    "effective_sample_size",
    "ergodicity_breaking",
    "exact_walk",
    "expected_log_clock_variance",
    "exponent_by_likelihood",
    "first_passages",
    "fit_fractional_likelihood",
    "fit_fractional_moments",
    "fit_fractional_order",
    "fit_temperatures",
    "fluctuation_dissipation",
    "fluctuation_dissipation_series",
    "from_chains",
    "gradient_noise",
    "gradient_noise_scale",
    "growth_laws",
    "hill",
    "hill_curve",
    "integrated_time",
    "jackknife_error",
    "known_coefficients",
    "lattice_graph",
    "learning_coefficient",
    "learning_coefficient_at",
    "leave_one_out_means",
    "local_exponents",
    "log_clock_variance",
    "mass_dimension",
    "mean",
    "mean_passage_time",
    "mean_square_displacement",
    "memory_or_modes",
    "msd_exponent",
    "noise_scale_of_batches",
    "quadratic_coefficient",
    "random_walks",
    "range_dimension",
    "rank_r_hat",
    "return_dimension",
    "second_fluctuation_dissipation",
    "sierpinski_gasket",
    "spectral_density",
    "split_r_hat",
    "standard_deviations",
    "stationarity",
    "survival",
    "tail_effective_size",
    "variances",
    "vector_tail_index",
    "visited_sites",
    "walk_dimension",
    "walk_positions",
]
