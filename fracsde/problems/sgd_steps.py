r"""One step of SGD with momentum, as PyTorch's ``SGD`` takes it, on a quadratic loss.

With :math:`k = \eta P K` the pull of one step and :math:`n = \eta P \xi` its noise, the state
:math:`(w - w^*, v)` moves by

.. math::
    w' - w^* = (I - a\,k)(w - w^*) + b\,v - a\,n, \qquad
    v' = \mu v - c\,k\,(w - w^*) - c\,n,

=====================  ================  =============  ============
rule                   :math:`a`         :math:`b`      :math:`c`
=====================  ================  =============  ============
no momentum            1                 (no velocity)  (no velocity)
heavy ball             :math:`1 - \tau`  :math:`\mu`    :math:`1 - \tau`
Nesterov               :math:`1 + \mu`   :math:`\mu^2`  1
=====================  ================  =============  ============

**From PyTorch.**  Its buffer is :math:`\beta' = \mu \beta + (1 - \tau) g` and its step
:math:`w' = w - \eta P \beta'`, or :math:`w' = w - \eta P (g + \mu \beta')` with ``nesterov``; hence
:math:`v = -\eta P \beta`.  Dampening does nothing without momentum, and PyTorch does not dampen
the first step, which no stationary law remembers.

A mode of pull ``k`` decays while :math:`0 < k < 2(1 + \mu)/(1 - \tau)` for the heavy ball and
:math:`0 < k < 2(1 + \mu)/(1 + 2\mu)` for Nesterov: the characteristic polynomials are
:math:`z^2 - (1 + \mu - (1 - \tau) k) z + \mu` and :math:`z^2 - (1 + \mu)(1 - k) z + \mu (1 - k)`,
and both leave the unit circle at :math:`z = -1`.

Not here: where the pull and the noise come from, :mod:`fracsde.problems.sgd`.

References: [Sutskever2013]_ for Nesterov's step in this form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import real, truth
from fracsde.errors import InputError, OutOfRangeError

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["StepRule", "read_rate"]

# Squares of rates beyond are no normal numbers, and noise is in their units.
_LARGEST_RATE = 1e150


@dataclass(frozen=True, kw_only=True)
class StepRule:
    """How momentum, Nesterov's look-ahead and dampening turn a gradient into a step.

    Parameters
    ----------
    momentum : float [1]
        ``mu`` in ``[0, 1)``, the fraction of the velocity that is kept.
    nesterov : bool
        Whether the step looks ahead; needs momentum and no dampening, as in PyTorch.
    dampening : float [1]
        ``tau`` in ``[0, 1)``: the velocity receives ``1 - tau`` of the gradient.  Without
        momentum it does nothing, as in PyTorch.

    Raises
    ------
    OutOfRangeError
        If momentum or dampening lies outside ``[0, 1)``.
    InputError
        If ``nesterov`` is not a truth value, or comes without momentum or with dampening.

    References
    ----------
    [Sutskever2013]_

    Examples
    --------
    >>> StepRule(momentum=0.5, nesterov=True).transition(np.array([[0.1]]))
    array([[ 0.85,  0.25],
           [-0.1 ,  0.5 ]])
    """

    citation: ClassVar[tuple[str, ...]] = ("Sutskever2013",)

    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0

    def __post_init__(self) -> None:
        put = object.__setattr__
        kept = "it is the fraction of the velocity that is kept from step to step"
        held = "it is the fraction of the gradient that is kept from the velocity"
        for name, why in (("momentum", kept), ("dampening", held)):
            value = real(name, getattr(self, name), low=0.0, high=1.0, closed="low", remedy=why)
            put(self, name, value)
        put(self, "nesterov", truth("nesterov", self.nesterov))
        if self.nesterov and (self.momentum == 0.0 or self.dampening != 0.0):
            msg = (
                "`nesterov` needs momentum and no dampening, got "
                f"momentum={self.momentum:g} and dampening={self.dampening:g}; set momentum > 0 "
                "and dampening=0, as PyTorch's SGD demands too"
            )
            raise InputError(msg)

    @property
    def has_velocity(self) -> bool:
        """Whether the state holds a velocity beside the weights."""
        return self.momentum > 0.0

    @property
    def gains(self) -> tuple[float, float, float]:
        """The numbers ``a``, ``b``, ``c`` of the module's display; without velocity 1, 0, 0."""
        if not self.has_velocity:
            return 1.0, 0.0, 0.0
        if self.nesterov:
            return 1.0 + self.momentum, self.momentum**2, 1.0
        return 1.0 - self.dampening, self.momentum, 1.0 - self.dampening

    @property
    def rate_factor(self) -> float:
        """What a slow mode feels in place of the learning rate, as a multiple of it.

        ``(1 - tau) / (1 - mu)``, and ``1 / (1 - mu)`` for Nesterov.
        """
        return (1.0 - self.dampening if self.has_velocity else 1.0) / (1.0 - self.momentum)

    @property
    def largest_pull(self) -> float:
        """The pull of one step at which the noise-free iteration stops converging."""
        mu = self.momentum
        if self.nesterov:
            return 2.0 * (1.0 + mu) / (1.0 + 2.0 * mu)
        return 2.0 * (1.0 + mu) / self.gains[0]

    def state_size(self, dimension: int) -> int:
        """Return the number of coordinates of the state over ``dimension`` weights.

        Returns
        -------
        int
        """
        return 2 * dimension if self.has_velocity else dimension

    def transition(self, pull: FloatArray) -> FloatArray:
        """Return the transition of the state, weights first.

        Parameters
        ----------
        pull : (d, d) float64 [1]
            ``k``, the learning rate times the preconditioned curvature.

        Returns
        -------
        (s, s) float64
            With ``s = 2 d``, or ``d`` without momentum.
        """
        a, b, c = self.gains
        one = np.eye(len(pull))
        if not self.has_velocity:
            return np.asarray(one - pull)
        return np.block([[one - a * pull, b * one], [-c * pull, self.momentum * one]])

    def injection(self, dimension: int) -> FloatArray:
        """Return the matrix ``G`` through which the noise ``n`` of one step enters the state.

        Returns
        -------
        (s, d) float64
        """
        a, _, c = self.gains
        one = np.eye(dimension)
        return np.asarray(np.vstack([-a * one, -c * one]) if self.has_velocity else -one)

    def kick(self, noise: FloatArray) -> FloatArray:
        """Return the covariance of what one step adds to the state, ``G noise G^T``.

        Parameters
        ----------
        noise : (d, d) float64 [weight^2]
            Covariance of ``n``.

        Returns
        -------
        (s, s) float64 [weight^2]
        """
        a, _, c = self.gains
        if not self.has_velocity:
            return noise
        cross = (a * c) * noise
        return np.block([[a**2 * noise, cross], [cross.T, c**2 * noise]])


def read_rate(value: object) -> float:
    """Return a learning rate, checked.

    Parameters
    ----------
    value : float [weight^2/loss]
        What the caller passed.

    Returns
    -------
    float

    Raises
    ------
    OutOfRangeError
        If it is not positive, or its square overflows or underflows.
    """
    rate = real("learning_rate", value, low=0.0)
    if not 1.0 / _LARGEST_RATE < rate < _LARGEST_RATE:
        msg = (
            f"`learning_rate` must lie between {1.0 / _LARGEST_RATE:g} and {_LARGEST_RATE:g}, "
            f"got {rate:g}: noise is in units of its square; choose other units of weight"
        )
        raise OutOfRangeError(msg)
    return rate
