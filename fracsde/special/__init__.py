"""Special functions of the fractional clock, as pure functions of arrays."""

from fracsde.special.mittag_leffler import mittag_leffler, relaxation_alpha_derivative

__all__ = ["mittag_leffler", "relaxation_alpha_derivative"]
