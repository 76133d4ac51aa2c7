r"""The Ornstein-Uhlenbeck process on a fractional clock.

.. math::
    X(t) = Y(E_t), \qquad dY = -A (Y - m)\,d\tau + B\,dW_\tau, \qquad
    \mathbb{E}\, e^{-p E_t} = E_\alpha(-p\,\theta), \quad
    \theta = \texttt{timescale}^{1 - \alpha}\, t^\alpha ,

where :math:`E_t`, independent of ``Y``, is the inverse of an :math:`\alpha`-stable subordinator:
a clock that stands still for times with tail :math:`t^{-\alpha}`.  The density of ``X`` solves

.. math::
    \texttt{timescale}^{\alpha - 1} D_t^\alpha p
    = \nabla\cdot(A (x - m)\, p) + \tfrac{1}{2} \nabla\cdot(B B^T\, \nabla p)

with the Caputo derivative.  The mean relaxes like :math:`E_\alpha(-\theta A)`, the second moment
obeys the fractional Lyapunov equation, and neither the process nor its increments are stationary:
correlations depend on the age.

The name "fractional Ornstein-Uhlenbeck process" also stands, in part of the literature, for a
Langevin equation driven by fractional Brownian motion.  That process is Gaussian with a
correlated noise; this one is not Gaussian, and a martingale drives it.  They share neither
equation nor law.

Not here: what follows from it (:mod:`fracsde.transients`, :mod:`fracsde.subordination`,
:mod:`fracsde.simulate`); other drifts (:mod:`fracsde.problems.fractional`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from fracsde._check import finite_array, real
from fracsde.errors import InputError, OutOfRangeError, UnsupportedError
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.structured import DiagonalOU, LowRankOU

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["BaseProcess", "SubordinatedOU"]

BaseProcess: TypeAlias = OUProcess | DiagonalOU | LowRankOU


@dataclass(frozen=True, kw_only=True, eq=False)
class SubordinatedOU:
    """An Ornstein-Uhlenbeck process whose clock stops for heavy-tailed times.

    Parameters
    ----------
    base : OUProcess, DiagonalOU or LowRankOU
        ``Y``, the process in operational time.
    alpha : float [1]
        Order of the Caputo derivative, ``0 < alpha <= 1``; at 1 it is the base.  Averages over
        the clock are refused for orders between 0.9999 and 1; samples and paths are not.
    timescale : float [t]
        ``tau``, which keeps the units of the base's rates.

    Raises
    ------
    InputError
        If ``base`` is not such a process.
    OutOfRangeError
        If ``alpha`` is not in (0, 1] or ``timescale`` is not positive.
    UnsupportedError
        If ``base`` observes only a part of its state.

    References
    ----------
    [Metzler1999]_, [MagdziarzWeron2007]_

    Examples
    --------
    >>> base = OUProcess(drift=[[1.0]], noise=[[2.0]])
    >>> SubordinatedOU(base=base, alpha=0.5).operational([0.0, 4.0])
    array([0., 2.])
    """

    citation: ClassVar[tuple[str, ...]] = ("Metzler1999", "MagdziarzWeron2007")

    base: BaseProcess
    alpha: float
    timescale: float = 1.0

    def __post_init__(self) -> None:
        base: Any = self.base
        if not isinstance(base, (OUProcess, DiagonalOU, LowRankOU)):
            msg = (
                "`base` must be an OUProcess, a DiagonalOU or a LowRankOU, got "
                f"{type(base).__name__}; for another drift use FractionalFokkerPlanck, for SGD "
                "its flow()"
            )
            raise InputError(msg)
        if isinstance(base, OUProcess) and len(base.observed) < base.dimension:
            msg = (
                f"`base` must observe its whole state, got one that observes {len(base.observed)} "
                f"of {base.dimension} coordinates; leave `observe` out, or take a flow without "
                "inertia"
            )
            raise UnsupportedError(msg)
        remedy = "orders above 1 need a second initial value"
        alpha = real("alpha", self.alpha, low=0.0, high=1.0, closed="high", remedy=remedy)
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "timescale", real("timescale", self.timescale, low=0.0))

    @property
    def dimension(self) -> int:
        """Number of coordinates of the state."""
        return self.base.dimension

    def operational(self, times: ArrayLike) -> FloatArray:
        """Return the scale of the clock, ``theta``, at given times.

        Parameters
        ----------
        times : array_like [t]
            Not negative.

        Returns
        -------
        ndarray of float64 [t]
            ``timescale**(1 - alpha) * times**alpha``.

        Raises
        ------
        OutOfRangeError
            If a time is negative.
        """
        t = finite_array("times", times)
        if np.any(t < 0.0):
            msg = f"`times` must not be negative, got {t.min():g}; the clock starts at time 0"
            raise OutOfRangeError(msg)
        return np.asarray(self.timescale * (t / self.timescale) ** self.alpha)
