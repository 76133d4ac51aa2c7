r"""The Fokker-Planck equation on a fractional clock.

.. math::
    \tau^{\alpha - 1} D_t^\alpha p = L p + s, \qquad
    D_t^\alpha p(t) = \frac{1}{\Gamma(1 - \alpha)}
                      \int_0^t (t - s)^{-\alpha}\, \partial_s p(s)\, ds ,

with the Caputo derivative of order :math:`0 < \alpha \le 1` and the operator and source of a
:class:`~fracsde.problems.fokker_planck.FokkerPlanck`.  Modes decay like
:math:`E_\alpha(-\lambda \tau^{1 - \alpha} t^\alpha)` instead of exponentially.  At
:math:`\alpha = 1` the equation is the base itself.

Where force or diffusion depend on time the equation of the walkers is the driven one,

.. math::
    \partial_t p = \tau^{1 - \alpha} L(t)\, D_t^{1 - \alpha} p + s ,

with the Riemann-Liouville derivative of order :math:`1 - \alpha` inside and the operator outside:
memory is of the waiting, and a jump feels the force of its moment [HenryLanglandsStraka2010]_.
Caputo's form with :math:`L(t)`, which lets past forces act for ever, is no limit of any walk and
is refused [Heinsalu2007]_.

For an operator that does not depend on time both are one, but for what a source means: in
Caputo's form it enters with the memory, in the other, as mass per time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from fracsde._check import real
from fracsde.errors import InputError, UnsupportedError
from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["WRONG_FORM", "FractionalFokkerPlanck"]

WRONG_FORM = (
    "the memory would keep forces of the past acting for ever, which no random walk does "
    "(Heinsalu et al., Phys. Rev. Lett. 99, 120602, 2007); solve the driven equation with "
    "HpCollocation() or LeMcLeanMustapha()"
)


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
    form : {"caputo", "riemann_liouville"}, optional
        Which equation.  By default Caputo's, and the driven one where coefficients depend on time.

    Raises
    ------
    InputError
        If ``base`` is not a FokkerPlanck, or there is no such form.
    UnsupportedError
        If Caputo's form is asked for with coefficients that depend on time.
    OutOfRangeError
        If ``alpha`` is not in (0, 1] or ``timescale`` is not positive.

    References
    ----------
    [Metzler1999]_, [HenryLanglandsStraka2010]_, [Heinsalu2007]_

    Examples
    --------
    >>> base = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0), initial=lambda x: 2 * x)
    >>> FractionalFokkerPlanck(base=base, alpha=0.6).alpha
    0.6
    """

    citation: ClassVar[tuple[str, ...]] = ("Metzler1999", "HenryLanglandsStraka2010")

    base: FokkerPlanck
    alpha: float
    timescale: float = 1.0
    form: str | None = None

    def __post_init__(self) -> None:
        base: Any = self.base
        if not isinstance(base, FokkerPlanck):
            msg = f"`base` must be a FokkerPlanck, got {type(base).__name__}"
            raise InputError(msg)
        remedy = "orders above 1 need a second initial value"
        alpha = real("alpha", self.alpha, low=0.0, high=1.0, closed="high", remedy=remedy)
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "timescale", real("timescale", self.timescale, low=0.0))
        form: Any = self.form
        if form not in (None, "caputo", "riemann_liouville"):
            msg = f'`form` must be "caputo", "riemann_liouville" or None, got {form!r}'
            raise InputError(msg)
        if form == "caputo" and alpha < 1.0 and base.time_dependent:
            msg = f'`form="caputo"` with coefficients that depend on time: {WRONG_FORM}'
            raise UnsupportedError(msg)

    @property
    def driven(self) -> bool:
        """Whether the equation is the driven one, with the operator outside the memory."""
        if self.alpha == 1.0:
            return False
        return self.form == "riemann_liouville" or self.base.time_dependent
