r"""The discrete Fokker-Planck equation of SGD: Kramers and Moyal's expansion to second order.

One step :math:`w' = w - \eta g`, with ``g`` of mean :math:`\nabla L(w)` and covariance
:math:`C(w)/B`, moves a density by

.. math::
    p' - p = \sum_{n \ge 1} \frac{\eta^n}{n!}\,
             \partial_{i_1} \cdots \partial_{i_n} [\mathrm{E}(g_{i_1} \cdots g_{i_n})\, p]
    \approx \partial_i (\eta\, \partial_i L\, p) + \partial_i \partial_j (D_{ij}\, p), \qquad
    D = \frac{\eta^2}{2} \Bigl[\frac{C}{B} + \nabla L\, \nabla L^T\Bigr] ,

with *full* second moments of ``g``.  Langevin's equation keeps :math:`C` and drops the rest.

What this buys.  Mean and second moment of one step are right, so that for every loss
:math:`2 \langle w \partial L \rangle = \eta \langle C/B + (\partial L)^2 \rangle` holds, as it does
for SGD, and the stationary variance near a minimum is right to second order in :math:`\eta h`
(exactly, if the loss is quadratic), where Langevin's is right to first.  Higher moments are not:
near a minimum the third term of the series has the size of :math:`\nabla L \nabla L^T`, and without
it the fourth moment errs by :math:`+\eta h`, about as much as Langevin's does downwards
(``tests/published/test_ignashin_2026.py``).

Nor are tails: where the gradient is large :math:`p \propto 1/D` falls like a power, and gradients
that grow faster than ``w`` want a finite domain.

As a :class:`~fracsde.problems.fokker_planck.FokkerPlanck` the equation runs in continuous time,
:math:`\partial_t p` for :math:`p' - p`.  Both have the same stationary law.

References: [Ignashin2026]_, [Yaida2019]_, [Gardiner2009]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import choice, integer, real
from fracsde.errors import InputError, ShapeError
from fracsde.problems.fokker_planck import FokkerPlanck
from fracsde.problems.sampling import sample, sample_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["KramersMoyal", "discrete_fokker_planck"]

_TERMS = ("full", "langevin")


@dataclass(frozen=True, kw_only=True, eq=False)
class KramersMoyal:
    """Drift and diffusion of one step of SGD.

    Parameters
    ----------
    gradient : callable
        ``gradient(*w)`` of the mean loss: an array on a line, else ``d`` arrays [loss/weight].
    noise : float or callable
        ``C(*w)``, covariance of the gradient of one example: a number or an array on a line and
        where it is the same in all directions, else ``d`` times ``d`` arrays
        [loss^2/weight^2].
    learning_rate : float [weight^2/loss]
        ``eta``, positive.
    batch_size : int
        ``B``.
    moments : {"full", "langevin"}
        Whether to keep the products of gradients.

    Examples
    --------
    >>> step = KramersMoyal(gradient=lambda x: x, noise=1.0, learning_rate=0.5)
    >>> step.drift(np.array([2.0])), step.diffusion(np.array([2.0]))
    (array([-1.]), array([0.625]))
    """

    citation: ClassVar[tuple[str, ...]] = ("Ignashin2026", "Yaida2019", "Gardiner2009")

    gradient: Callable[..., Any]
    noise: Any
    learning_rate: float
    batch_size: int = 1
    moments: str = "full"

    def __post_init__(self) -> None:
        put: Any = object.__setattr__
        gradient: Any = self.gradient
        if not callable(gradient):
            msg = f"`gradient` must be a function, got {self.gradient!r}"
            raise InputError(msg)
        if not callable(self.noise):
            put(self, "noise", real("noise", self.noise, low=0.0, closed="low"))
        put(self, "learning_rate", real("learning_rate", self.learning_rate, low=0.0))
        put(self, "batch_size", integer("batch_size", self.batch_size, low=1))
        choice("moments", self.moments, _TERMS)

    def drift(self, *w: FloatArray) -> Any:
        """Return the mean of one step.

        Parameters
        ----------
        *w : ndarray of float64 [weight]
            One array per coordinate.

        Returns
        -------
        ndarray, or a tuple of one per coordinate [weight/step]
            An array on a line.
        """
        steps = tuple(-self.learning_rate * g for g in self._gradient(w))
        return steps[0] if len(w) == 1 else steps

    def diffusion(self, *w: FloatArray) -> Any:
        """Return half the second moments of one step.

        Parameters
        ----------
        *w : ndarray of float64 [weight]
            One array per coordinate.

        Returns
        -------
        ndarray, or d tuples of d of them [weight^2/step]
            An array on a line.
        """
        g, C = self._gradient(w), self._noise(w)
        half = 0.5 * self.learning_rate**2
        full = float(self.moments == "full")
        rows = tuple(
            tuple(half * (C[i][j] / self.batch_size + full * g[i] * g[j]) for j in range(len(w)))
            for i in range(len(w))
        )
        return rows[0][0] if len(w) == 1 else rows

    def _gradient(self, w: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        if not w:
            msg = "coordinates are needed, one array for each, got none"
            raise ShapeError(msg)
        if len(w) == 1:
            return (sample("gradient", self.gradient, *w),)
        return tuple(sample_fields("gradient", self.gradient, *w))

    def _noise(self, w: tuple[FloatArray, ...]) -> Any:
        d, shape = len(w), np.broadcast_shapes(*(np.shape(c) for c in w))
        nothing = np.zeros(shape)
        if not callable(self.noise):
            same: Any = np.full(shape, self.noise)
        elif d == 1:
            return ((sample("noise", self.noise, *w),),)
        else:
            found = self.noise(*w)
            if isinstance(found, (tuple, list)):
                return tuple(
                    tuple(sample("noise", lambda *_, c=c: c + nothing, *w) for c in row)
                    for row in found
                )
            same = sample("noise", lambda *_: found + nothing, *w)
        return tuple(tuple(same if i == j else nothing for j in range(d)) for i in range(d))


def discrete_fokker_planck(
    *,
    gradient: Callable[..., Any],
    noise: Any,
    learning_rate: float,
    domain: tuple[float, float],
    initial: Any,
    batch_size: int = 1,
    moments: str = "full",
    boundary: Any = "reflecting",
) -> FokkerPlanck:
    r"""Return SGD on a line as a Fokker-Planck equation to second order in the learning rate.

    .. math::
        \partial_t p = \partial (\eta\, L' p) + \partial^2 (D p)
                     = \partial [(D' + \eta L')\, p] + \partial (D\, \partial p), \qquad
        D = \frac{\eta^2}{2} \Bigl(\frac{C}{B} + L'^2\Bigr) ,

    so that ``D`` itself is the potential beside the force :math:`-\eta L'`.  Time is counted in
    steps.

    Parameters
    ----------
    gradient : callable
        ``L'(w)`` [loss/weight].
    noise : float or callable
        ``C(w)``, variance of the gradient of one example [loss^2/weight^2].
    learning_rate : float [weight^2/loss]
        ``eta``, positive.
    domain, initial, boundary
        As in :class:`~fracsde.problems.fokker_planck.FokkerPlanck`.
    batch_size : int
        ``B``.
    moments : {"full", "langevin"}
        Whether to keep :math:`L'^2` beside ``C``; Langevin's equation does not.

    Returns
    -------
    FokkerPlanck

    References
    ----------
    [Ignashin2026]_

    Examples
    --------
    >>> from fracsde import Gaussian, FiniteVolume
    >>> from fracsde.physics import stationary_density
    >>> problem = discrete_fokker_planck(gradient=lambda x: x, noise=1.0, learning_rate=0.5,
    ...     domain=(-40.0, 40.0), initial=Gaussian())
    >>> x, p = stationary_density(problem, space=FiniteVolume(cells=4000))
    >>> round(float(x**2 @ p / p.sum()), 3), 0.5 / (2 - 0.5)
    (0.333, 0.3333333333333333)
    """
    step = KramersMoyal(
        gradient=gradient,
        noise=noise,
        learning_rate=learning_rate,
        batch_size=batch_size,
        moments=moments,
    )
    return FokkerPlanck(
        potential=step.diffusion,
        force=step.drift,
        diffusion=step.diffusion,
        domain=domain,
        initial=initial,
        boundary=boundary,
    )
