r"""Fokker-Planck problems whose coordinates drift and spread by themselves, on one clock.

.. math::
    \tau^{\alpha - 1} D_t^\alpha p = (L_1 + \dots + L_d)\, p, \qquad
    p(0; x) = \prod_i p_{0,i}(x_i), \qquad 0 < \alpha \le 1 ,

where :math:`L_i` acts on the coordinate :math:`x_i` alone and is that of a one-dimensional
:class:`~fracsde.problems.fokker_planck.FokkerPlanck`.  Walkers move as
:math:`X(t) = (Y_1(E_t), \dots, Y_d(E_t))`: the motions are independent, the clock is one.  A walker
whose clock has stood still is still at its start in *all* coordinates, so for
:math:`\alpha < 1` coordinates are not independent, and the density is not the product of its
marginals.  At :math:`\alpha = 1` it is.

Not here: coordinates that act on each other (:mod:`fracsde.problems.fokker_planck`, up to three),
the solution (:mod:`fracsde.schemes.separable`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fracsde._check import real
from fracsde.errors import InputError, ShapeError, UnsupportedError
from fracsde.problems.fokker_planck import FokkerPlanck

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SeparableFokkerPlanck"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SeparableFokkerPlanck:
    r"""Coordinates that move independently on a common, ordinary or fractional clock.

    Parameters
    ----------
    factors : sequence of FokkerPlanck
        One problem on a line per coordinate, as many as there are coordinates; without source,
        and with coefficients that do not depend on time.  Walls and reactions may take mass: a
        walker that one coordinate loses is lost.  A problem that stands in several places is
        solved once.
    alpha : float [1]
        Order of the Caputo derivative, ``0 < alpha <= 1``.
    timescale : float [t]
        ``tau``, which keeps the units of the coefficients.

    Raises
    ------
    InputError
        If ``factors`` is not a sequence of FokkerPlanck problems, or is empty.
    ShapeError
        If a factor has more than one dimension.
    UnsupportedError
        If a factor has a source or depends on time.
    OutOfRangeError
        If ``alpha`` is not in (0, 1] or ``timescale`` is not positive.

    References
    ----------
    [Metzler1999]_, [BraessHackbusch2005]_ for the exponentials.

    Examples
    --------
    >>> from fracsde.problems.fokker_planck import Gaussian
    >>> well = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0, domain=(-8.0, 8.0),
    ...     initial=Gaussian(mean=1.0, std=0.5))
    >>> SeparableFokkerPlanck(factors=(well,) * 100, alpha=0.6).dimension
    100
    """

    citation: ClassVar[tuple[str, ...]] = ("Metzler1999", "BraessHackbusch2005")

    factors: Sequence[FokkerPlanck]
    alpha: float = 1.0
    timescale: float = 1.0

    def __post_init__(self) -> None:
        given: Any = self.factors
        if not isinstance(given, (tuple, list)):
            msg = (
                "`factors` must be a tuple of FokkerPlanck problems, one per coordinate, got "
                f"{type(given).__name__}"
            )
            raise InputError(msg)
        if not given:
            msg = "`factors` is empty; give one FokkerPlanck problem on a line per coordinate"
            raise InputError(msg)
        for i, factor in enumerate(given):
            _check_factor(f"factors[{i}]", factor)
        object.__setattr__(self, "factors", tuple(given))
        remedy = "orders above 1 need a second initial value"
        alpha = real("alpha", self.alpha, low=0.0, high=1.0, closed="high", remedy=remedy)
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "timescale", real("timescale", self.timescale, low=0.0))

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.factors)

    @property
    def conserves_mass(self) -> bool:
        """Whether nothing is lost."""
        return all(factor.conserves_mass for factor in self.factors)


def _check_factor(name: str, factor: Any) -> None:
    if not isinstance(factor, FokkerPlanck):
        msg = f"`{name}` must be a FokkerPlanck, got {type(factor).__name__}"
        raise InputError(msg)
    if factor.dimension != 1:
        msg = (
            f"`{name}` must be a problem on a line, got one in {factor.dimension} dimensions; if "
            "its coordinates do not act on each other give one factor for each, else solve it as "
            "FractionalFokkerPlanck"
        )
        raise ShapeError(msg)
    if factor.source is not None:
        msg = (
            f"`{name}` has a source, and what enters along one coordinate would have to enter at "
            "some place of all others; leave it out, or solve up to three dimensions as "
            "FractionalFokkerPlanck"
        )
        raise UnsupportedError(msg)
    if factor.time_dependent:
        msg = (
            f"`{name}` has coefficients that depend on time, and a clock that stands still does "
            "not; freeze them with frozen_at(t), or solve up to three dimensions as "
            "FractionalFokkerPlanck"
        )
        raise UnsupportedError(msg)
