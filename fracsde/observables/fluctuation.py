r"""Fluctuation-dissipation relations of SGD: what a stationary run obeys, whatever its rate.

With :math:`g` the preconditioned gradient of one batch, :math:`v' = \mu v - \eta(1-\tau) g`,
:math:`w' = w + v'` and :math:`V = \langle v v^T \rangle`, stationarity alone gives

.. math::
    \langle w\,g^T \rangle + \langle g\,w^T \rangle = \frac{1+\mu}{\eta(1-\tau)}\,V ,

from :math:`\langle w v^T + v w^T \rangle = V`.  Its trace is the first relation; contracted with
the curvature, and for noise that is independent from step to step, it is the second:

.. math::
    \langle w \cdot g \rangle = \frac{1+\mu}{2\eta(1-\tau)} \langle |v|^2 \rangle, \qquad
    \langle G^T P\,G \rangle = \frac{1+\mu}{2\eta(1-\tau)} \operatorname{Tr}(K V), \qquad
    G = K (w - w^*) .

The first holds for any loss and any sampling, epochs included; the second is exact for a quadratic
loss, also where the noise depends on the state: :math:`\langle w g^T \rangle` needs no more than
noise of mean zero.  Without momentum :math:`V = \eta^2 \langle g g^T \rangle` and they are those
of [Yaida2019]_,

.. math::
    \langle w \cdot g \rangle = \frac{\eta}{2} \operatorname{Tr} \tilde C, \qquad
    \langle |G|^2 \rangle = \frac{\eta}{2} \operatorname{Tr}(K \tilde C), \qquad
    \tilde C = Q + K \Sigma K ;

The paper has the first with momentum and dampening too.  Its second, taken over to momentum as it
is, would be wrong by a factor of about :math:`1 - \mu`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import positive_semidefinite
from fracsde.errors import UnsupportedError
from fracsde.observables._laws import averaged_noise, effective_rate
from fracsde.problems.epochs import preconditioned
from fracsde.provenance import Provenance, provenance
from fracsde.stationary import stationary_covariance

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike
    from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["FluctuationDissipation", "fluctuation_dissipation"]


@dataclass(frozen=True, kw_only=True)
class FluctuationDissipation:
    """Both sides of both fluctuation-dissipation relations.

    Parameters
    ----------
    position : float [loss]
        ``<w . g>``, the left side of the first.
    velocity : float [loss]
        ``(1 + mu) <v^2> / (2 eta (1 - tau))``, its right side.
    gradient : float [loss^2/weight^2]
        ``<G^T P G>``, the left side of the second.
    curvature : float [loss^2/weight^2]
        ``(1 + mu) Tr(K V) / (2 eta (1 - tau))``, its right side.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Yaida2019",)

    position: float
    velocity: float
    gradient: float
    curvature: float
    provenance: Provenance

    @property
    def residuals(self) -> tuple[float, float]:
        """Relative differences of the sides, left over right less 1; 0 where both are 0."""
        return _off(self.position, self.velocity), _off(self.gradient, self.curvature)


def fluctuation_dissipation(
    sgd: SGDNearMinimum | QuadraticLossSGD, *, covariance: ArrayLike | None = None
) -> FluctuationDissipation:
    r"""Return both sides of both fluctuation-dissipation relations.

    .. math:: \langle w \cdot g \rangle = \tfrac{1+\mu}{2\eta(1-\tau)} \langle |v|^2 \rangle, \quad
        \langle G^T P\,G \rangle = \tfrac{1+\mu}{2\eta(1-\tau)} \operatorname{Tr}(K V)

    Parameters
    ----------
    sgd : SGDNearMinimum or QuadraticLossSGD
        Stable; ``w`` is measured from its minimum.  Noise that depends on the state counts with
        its average over the covariance.
    covariance : (d, d) array_like [weight^2], optional
        Covariance of the weights to put to the test, from another theory or a measurement; that
        of the map if not given, which passes to rounding.  Without momentum only, where it
        determines the velocities.

    Returns
    -------
    FluctuationDissipation

    Raises
    ------
    UnsupportedError
        If epochs are shuffled, or a covariance is given for a run with momentum.

    References
    ----------
    [Yaida2019]_

    Examples
    --------
    The map passes; the continuum limit fails by half its rate times the curvature:

    >>> from fracsde import SGDNearMinimum
    >>> sgd = SGDNearMinimum(hessian=[[1.0]], gradient_noise=[[1.0]], learning_rate=0.1,
    ...                      batch_size=1)
    >>> max(abs(r) for r in fluctuation_dissipation(sgd).residuals) < 1e-14
    True
    >>> flow = fluctuation_dissipation(sgd, covariance=[[0.05]])
    >>> [round(r, 4) for r in flow.residuals]
    [-0.0476, -0.0476]
    """
    sgd = averaged_noise(sgd, covariance)
    rate = effective_rate(sgd, "a fluctuation-dissipation relation")
    K, d = sgd.curvature, sgd.dimension
    PK = preconditioned(sgd.preconditioner, K)
    kick = rate * preconditioned(sgd.preconditioner, np.eye(d))
    if covariance is None:
        found = stationary_covariance(sgd)
        S = found.matrix
    else:
        S = positive_semidefinite("covariance", covariance, size=d)
    if sgd.momentum == 0.0:
        V = kick @ (sgd.batch_noise + K @ S @ K) @ kick.T
    elif covariance is None:
        V = found.state_matrix[d:, d:]
    else:
        msg = (
            "with momentum the covariance of the weights does not determine that of the "
            "velocities; test a run without momentum, or leave `covariance` out"
        )
        raise UnsupportedError(msg)
    unit = 0.5 * (1.0 + sgd.momentum) / rate
    return FluctuationDissipation(
        position=float(np.sum(PK * S)),
        velocity=unit * float(np.trace(V)),
        gradient=float(np.sum((K @ PK) * S)),
        curvature=unit * float(np.sum(K * V)),
        provenance=provenance(sgd, S),
    )


def _off(left: float, right: float) -> float:
    return 0.0 if left == right else left / right - 1.0
