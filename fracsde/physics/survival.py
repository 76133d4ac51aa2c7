r"""What is still there, and when it goes.

.. math::
    S(t) = \int p\, dx = \sum_k c_k\, E_\alpha(-\lambda_k \tau^{1-\alpha} t^\alpha), \qquad
    f(t) = -\dot S = \tau^{1-\alpha} t^{\alpha-1} \int \kappa\,
           E_{\alpha,\alpha}(\tau^{1-\alpha} t^\alpha L)\, p_0\, dx ,

with the rates :math:`\kappa(x)` at which cells lose mass.  A fractional clock stretches the
survival of the ordinary one, :math:`S_\alpha(t) = \int_0^\infty S_1(u)\, h_\alpha(u, t)\, du` with
the density of the inverse stable clock.  For :math:`\alpha < 1` it falls like a power however fast
the ordinary one does,

.. math::
    S_\alpha(t) \sim \sum_{k \ge 1} \frac{(-1)^{k-1}}{k!}\,
        \frac{T_k(x)}{\Gamma(1 - k \alpha)}\, \bigl(\tau^{1-\alpha} t^\alpha\bigr)^{-k} ,

where :math:`T_k` are the moments of the passage time on the *ordinary* clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.special import rgamma

from fracsde._check import finite_array
from fracsde.errors import OutOfRangeError, UnsupportedError
from fracsde.physics._chains import parts, sparse_matrix
from fracsde.physics._targets import pieces_of
from fracsde.physics.passage import PassageTimes, passage_times
from fracsde.solution import Solution
from fracsde.special import mittag_leffler_action

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.operators.base import Space
    from fracsde.problems.fokker_planck import FokkerPlanck
    from fracsde.problems.fractional import FractionalFokkerPlanck

__all__ = ["SurvivalTail", "first_passage_density", "survival_probability", "survival_tail"]


def survival_probability(solution: Any) -> FloatArray:
    """Return the mass that is still there, at the times of a solution.

    Parameters
    ----------
    solution : Solution
        Of a problem with absorbing walls or reaction, on either clock.

    Returns
    -------
    (t,) ndarray [1]

    Raises
    ------
    UnsupportedError
        If there is a source, or nothing disappears.

    Examples
    --------
    >>> from fracsde import FokkerPlanck, FractionalFokkerPlanck, PointMass, solve
    >>> base = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0), boundary="absorbing",
    ...     initial=PointMass(at=0.5))
    >>> solution = solve(FractionalFokkerPlanck(base=base, alpha=0.5), [0.01, 1.0])
    >>> np.round(survival_probability(solution), 3)
    array([0.527, 0.07 ])
    """
    if not isinstance(solution, Solution):
        msg = f"`solution` must be what solve returns, got {type(solution).__name__}"
        raise UnsupportedError(msg)
    base, _, _ = parts(solution.problem)
    if base.source is not None or base.conserves_mass:
        why = "brings mass by a source" if base.source is not None else "loses nothing"
        msg = f"`survival_probability` needs a problem that only loses mass, this one {why}"
        raise UnsupportedError(msg)
    widths = np.asarray(solution.widths).ravel()
    return np.asarray(solution.density.reshape(len(solution.times), -1) @ widths)


def first_passage_density(
    problem: FokkerPlanck | FractionalFokkerPlanck,
    times: ArrayLike,
    target: Any = None,
    *,
    space: Space | None = None,
) -> FloatArray:
    """Return the probability density of the time at which a target is reached.

    Parameters
    ----------
    problem : FokkerPlanck or FractionalFokkerPlanck
        With its start.
    times : (t,) array_like [t]
        Positive.
    target, space
        As in :func:`~fracsde.physics.passage.mean_first_passage_time`.

    Returns
    -------
    (t,) ndarray [1/t]

    Raises
    ------
    OutOfRangeError
        If a time is not positive.

    Examples
    --------
    >>> from fracsde import FokkerPlanck, PointMass
    >>> free = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0), boundary="absorbing",
    ...     initial=PointMass(at=0.5))
    >>> f = first_passage_density(free, [0.2, 1.2])
    >>> bool(abs(np.log(f[0] / f[1]) - np.pi**2) < 1e-3)
    True
    """
    base, alpha, timescale = parts(problem)
    t = finite_array("times", times, ndim=(0, 1)).reshape(-1)
    if np.any(t <= 0.0):
        msg = f"`times` must be positive, got {t.min():g}; nothing is reached at once"
        raise OutOfRangeError(msg)
    total, slowed = np.zeros(len(t)), timescale ** (1.0 - alpha)
    for piece in pieces_of(base, target, space):
        masses = piece.masses(base)[piece.free]
        if not np.any(masses > 0.0):
            continue
        L = sparse_matrix(piece.generator)[piece.free][:, piece.free]
        left = mittag_leffler_action(slowed * L, masses, t, alpha, beta=alpha, rtol=1e-10)
        total += left @ piece.loss[piece.free]
    return np.asarray(slowed * t ** (alpha - 1.0) * total)


@dataclass(frozen=True, kw_only=True, eq=False)
class SurvivalTail:
    """How survival falls at late times on a fractional clock.

    Parameters
    ----------
    alpha : float [1]
        The order, below 1.
    timescale : float [t]
        Of the clock.
    passage : PassageTimes
        Moments on the ordinary clock.
    """

    citation: ClassVar[tuple[str, ...]] = ("Metzler1999",)

    alpha: float
    timescale: float
    passage: PassageTimes

    def _terms(self, moments: FloatArray, t: FloatArray) -> FloatArray:
        # Moments (k, ...) and times (t,) to (t, ...).
        clock = self.timescale ** (1.0 - self.alpha) * t**self.alpha
        total = np.zeros((len(t), *moments.shape[1:]))
        for k, moment in enumerate(moments, start=1):
            factor = (-1.0) ** (k - 1) * rgamma(1.0 - k * self.alpha) / factorial(k)
            total += factor * np.multiply.outer(clock ** (-float(k)), moment)
        return total

    def prefactor(self, x: ArrayLike) -> FloatArray:
        """Return ``C`` of ``S(t) ~ C t**-alpha`` for starts on a line.

        Parameters
        ----------
        x : array_like [x]
            Where it starts.

        Returns
        -------
        ndarray [t^alpha]
        """
        scale = self.timescale ** (self.alpha - 1.0) * rgamma(1.0 - self.alpha)
        return np.asarray(scale * self.passage.at(x))

    def at(self, times: ArrayLike) -> FloatArray:
        """Return the series for the start of the problem, as many terms as there are moments.

        Parameters
        ----------
        times : (t,) array_like [t]
            Late.

        Returns
        -------
        (t,) ndarray [1]
        """
        t = finite_array("times", times, ndim=(0, 1)).reshape(-1)
        count = len(self.passage.moments)
        averages = np.array([self.passage.average(moment=k) for k in range(1, count + 1)])
        return self._terms(averages, t)


def survival_tail(
    problem: FractionalFokkerPlanck,
    target: Any = None,
    *,
    terms: int = 1,
    space: Space | None = None,
) -> SurvivalTail:
    r"""Return the power law by which survival falls on a fractional clock.

    Parameters
    ----------
    problem : FractionalFokkerPlanck
        Of order below 1.
    target, space
        As in :func:`~fracsde.physics.passage.mean_first_passage_time`.
    terms : int
        Of the series in :math:`t^{-\alpha}`.

    Returns
    -------
    SurvivalTail

    Raises
    ------
    UnsupportedError
        On an ordinary clock, where survival falls exponentially.

    Examples
    --------
    >>> from fracsde import FokkerPlanck, FractionalFokkerPlanck, PointMass
    >>> base = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0), boundary="absorbing",
    ...     initial=PointMass(at=0.5))
    >>> tail = survival_tail(FractionalFokkerPlanck(base=base, alpha=0.5))
    >>> bool(abs(tail.prefactor(0.5) - 0.125 / np.sqrt(np.pi)) < 1e-5)
    True
    """
    base, alpha, timescale = parts(problem)
    if alpha == 1.0:
        msg = (
            "`survival_tail` is a power law of fractional clocks; on the ordinary one survival "
            "falls exponentially at eigenmodes(problem, 1).rates[0]"
        )
        raise UnsupportedError(msg)
    passage = passage_times(base, target, moments=terms, space=space)
    return SurvivalTail(alpha=alpha, timescale=timescale, passage=passage)
