"""Which cases of :mod:`validation.coverage` count the intervals of which public name.

Every name that :mod:`fracsde.estimators` and its ``assumptions`` export is in one of two tables:
:data:`STATED` with the beginnings of its cases' names, or :data:`SILENT` with the reason why it
has none.  A new estimator without either fails ``tests/test_coverage.py``.
"""

from __future__ import annotations

from fracsde import estimators
from fracsde.estimators import assumptions

__all__ = ["SILENT", "STATED", "public_names", "without_a_word"]

STATED: dict[str, tuple[str, ...]] = {
    "aged_displacement": ("mean-square displacement at lag 5, aged",),
    "autocorrelation_at": ("autocorrelation at lag",),
    "autocovariance_at": ("autocovariance at lag",),
    "covariance": ("covariance", "variance"),
    "covariance_eigenvalues": ("eigenvalues of",),
    "covariance_entries": ("covariance",),
    "displacement_exponent": ("displacement exponent, jackknife",),
    "ergodicity_breaking": ("ergodicity breaking",),
    "exponent_by_likelihood": (
        "displacement exponent, likelihood",
        "displacement exponent and noise, likelihood",
    ),
    "fit_fractional_likelihood": ("fractional order by likelihood",),
    "fit_fractional_moments": ("fractional order by moments", "diffusion coefficient by moments"),
    "fit_fractional_order": ("fractional order of a relaxation", "timescale of a relaxation"),
    "fit_temperatures": ("learning coefficient of several temperatures",),
    "fluctuation_dissipation": ("fluctuation-dissipation relation",),
    "fluctuation_dissipation_series": ("fluctuation-dissipation over rates",),
    "from_chains": ("mean",),
    "gradient_noise": ("gradient noise",),
    "gradient_noise_scale": ("gradient-noise scale at a point",),
    "growth_laws": ("exponent of the power law", "time of saturation"),
    "hill": ("Hill",),
    "integrated_time": ("integrated time",),
    "learning_coefficient": ("learning coefficient", "virial"),
    "learning_coefficient_at": ("learning coefficient of several temperatures",),
    "local_exponents": ("local displacement exponent",),
    "log_clock_variance": ("variance of the log clock",),
    "mean": ("mean",),
    "mean_passage_time": ("mean first-passage time",),
    "mean_square_displacement": ("mean-square displacement",),
    "memory_or_modes": ("share of memory",),
    "msd_exponent": ("displacement exponent, jackknife",),  # twice it
    "noise_scale_of_batches": ("gradient-noise scale of batches",),
    "range_dimension": ("spectral dimension by range",),
    "return_dimension": ("spectral dimension by returns",),
    "second_fluctuation_dissipation": ("second fluctuation-dissipation relation",),
    "spectral_density": ("trace of the Hessian", "spectral density", "eigenvalues below 1"),
    "standard_deviations": ("standard deviation",),
    "survival": ("restricted mean passage time", "share still waiting"),
    "variances": ("variance",),
    "vector_tail_index": ("index of sums of vectors",),
    "walk_dimension": ("walk dimension",),
    # of the assumptions
    "constant_noise": ("constant noise by gradients", "constant noise at positions"),
    "gaussianity": ("Gaussianity",),
    "independent_batches": ("independent batches",),
    "quadratic_loss": ("quadratic loss by gradients", "quadratic loss at positions"),
    "stated_steps": ("stated steps",),
    "stationarity_of": ("stationarity",),
}

_RESULT = "a result; the function that returns it is counted"
_EXACT = "exact for what it is given: nothing is sampled"
_NUMBER = "returns numbers without an error"

SILENT: dict[str, str] = {
    **dict.fromkeys(
        (
            "AgedDisplacement",
            "CovarianceMeasurement",
            "DimensionMeasurement",
            "Displacement",
            "EigenvalueCount",
            "EigenvalueMeasurement",
            "ExponentMeasurement",
            "FirstPassages",
            "FluctuationRatio",
            "FluctuationSeries",
            "FractionalLawFit",
            "FractionalLikelihoodFit",
            "FractionalMomentsFit",
            "FractionalOrderFit",
            "GradientNoise",
            "GrowthComparison",
            "GrowthLaw",
            "LearningCoefficient",
            "LikelihoodExponent",
            "LocalExponents",
            "MemoryTest",
            "MemoryVerdict",
            "MultiplicityFit",
            "NoiseScale",
            "SpectralDensity",
            "Survival",
            "TailMeasurement",
            "TemperatureFit",
        ),
        _RESULT,
    ),
    **dict.fromkeys(
        (
            "ExactWalk",
            "SiteGraph",
            "exact_walk",
            "expected_log_clock_variance",
            "known_coefficients",
            "lattice_graph",
            "quadratic_coefficient",
            "sierpinski_gasket",
        ),
        _EXACT,
    ),
    **dict.fromkeys(
        (
            "Alignment",
            "autocovariance",
            "bulk_effective_size",
            "burn_in",
            "effective_sample_size",
            "first_passages",
            "leave_one_out_means",
            "random_walks",
            "rank_r_hat",
            "split_r_hat",
            "tail_effective_size",
            "visited_sites",
            "walk_positions",
        ),
        _NUMBER,
    ),
    **dict.fromkeys(
        ("counting_dimension", "mass_dimension"),
        "nothing is sampled: the error is how far slopes within the window differ",
    ),
    "alexander_orbach": "the ratio of two dimensions, with their errors carried to first order",
    "Curvature": "its residuals are bounds of linear algebra",
    "curvature": "its residuals are bounds of linear algebra",
    **dict.fromkeys(
        ("Diagnosis", "DiagnosisRow", "StationarityCheck", "check_stationary", "diagnose"),
        "verdicts at a stated level; tests of theirs count false alarms",
    ),
    "stationarity": "verdicts at a stated level; tests of theirs count false alarms",
    **dict.fromkeys(
        ("DifferentiableLoss", "Doubt", "FunctionLoss", "LossCheck", "check_loss"),
        "not a measurement",
    ),
    "HillCurve": "a picture; its errors are those of independent draws, bias included",
    "hill_curve": "a picture; its errors are those of independent draws, bias included",
    "jackknife_error": "what intervals are made of",
    "assumptions": "a module",
    # of the assumptions
    "examine": "asks the other tests",
    "gradients_from_weights": _NUMBER,
    "batch_gradients": _NUMBER,
    "noise_by_batch_size": "counted in tests/estimators/test_assumptions_batch_noise.py",
}


def public_names() -> set[str]:
    """Return what estimators and assumptions export."""
    return {*estimators.__all__, *assumptions.__all__}


def without_a_word() -> set[str]:
    """Return the public names of which neither table says anything."""
    return public_names() - set(STATED) - set(SILENT)
