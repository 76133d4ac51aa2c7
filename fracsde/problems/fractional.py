r"""The Fokker-Planck equation on a fractional clock.

.. math::
    \tau^{\alpha - 1} D_t^\alpha p = L p + s, \qquad
    D_t^\alpha p(t) = \frac{1}{\Gamma(1 - \alpha)}
                      \int_0^t (t - s)^{-\alpha}\, \partial_s p(s)\, ds ,

with the Caputo derivative of order :math:`0 < \alpha \le 1` and the operator and source of a
:class:`~fracsde.problems.fokker_planck.FokkerPlanck`.  Modes decay like
:math:`E_\alpha(-\lambda \tau^{1 - \alpha} t^\alpha)` instead of exponentially.  At
:math:`\alpha = 1` the equation is the base itself.

Not here: drift that depends on time, for which the memory acts inside the operator and the Caputo
form is the wrong model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from fracsde._check import real
from fracsde.errors import InputError
from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["FractionalFokkerPlanck"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FractionalFokkerPlanck:
    """A Fokker-Planck problem whose clock stops for heavy-tailed times.

    Parameters
    ----------
    base : FokkerPlanck
        Operator, initial density, walls and source.
    alpha : float [1]
        Order of the Caputo derivative, ``0 < alpha <= 1``.
    timescale : float [t]
        ``tau``, which keeps the units of the base's coefficients.

    Raises
    ------
    InputError
        If ``base`` is not a FokkerPlanck.
    OutOfRangeError
        If ``alpha`` is not in (0, 1] or ``timescale`` is not positive.

    References
    ----------
    [Metzler1999]_

    Examples
    --------
    >>> base = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0), initial=lambda x: 2 * x)
    >>> FractionalFokkerPlanck(base=base, alpha=0.6).alpha
    0.6
    """

    citation: ClassVar[tuple[str, ...]] = ("Metzler1999",)

    base: FokkerPlanck
    alpha: float
    timescale: float = 1.0

    def __post_init__(self) -> None:
        base: Any = self.base
        if not isinstance(base, FokkerPlanck):
            msg = f"`base` must be a FokkerPlanck, got {type(base).__name__}"
            raise InputError(msg)
        remedy = "orders above 1 need a second initial value"
        alpha = real("alpha", self.alpha, low=0.0, high=1.0, closed="high", remedy=remedy)
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "timescale", real("timescale", self.timescale, low=0.0))
