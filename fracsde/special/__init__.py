"""Special functions of the fractional clock, as pure functions of arrays.

Mittag-Leffler functions of numbers and of matrices; one-sided stable laws, their inverses and
exact samples; rational forms, contours and positive sums of exponentials, each with its error.
"""

from fracsde.special.matrix import ActionInfo, mittag_leffler_action, mittag_leffler_matrix
from fracsde.special.mittag_leffler import (
    mittag_leffler,
    mittag_leffler_alpha_derivative,
    relaxation_alpha_derivative,
)
from fracsde.special.rational import (
    Contour,
    ExponentialSum,
    RationalRelaxation,
    contour,
    contour_windows,
    oracle_contour,
    power_exponentials,
    relaxation_exponentials,
    relaxation_poles,
)
from fracsde.special.sampling import (
    sample_first_passage,
    sample_inverse_stable,
    sample_inverse_stable_paths,
    sample_stable,
)
from fracsde.special.stable import (
    inverse_stable_cdf,
    inverse_stable_logpdf,
    inverse_stable_pdf,
    inverse_stable_sf,
    stable_cdf,
    stable_logpdf,
    stable_pdf,
    stable_sf,
    wright_m,
)

__all__ = [
    "ActionInfo",
    "Contour",
    "ExponentialSum",
    "RationalRelaxation",
    "contour",
    "contour_windows",
    "inverse_stable_cdf",
    "inverse_stable_logpdf",
    "inverse_stable_pdf",
    "inverse_stable_sf",
    "mittag_leffler",
    "mittag_leffler_action",
    "mittag_leffler_alpha_derivative",
    "mittag_leffler_matrix",
    "oracle_contour",
    "power_exponentials",
    "relaxation_alpha_derivative",
    "relaxation_exponentials",
    "relaxation_poles",
    "sample_first_passage",
    "sample_inverse_stable",
    "sample_inverse_stable_paths",
    "sample_stable",
    "stable_cdf",
    "stable_logpdf",
    "stable_pdf",
    "stable_sf",
    "wright_m",
]
