r"""Fluctuation-dissipation relations of SGD: what a stationary run obeys, whatever its rate.

With :math:`g` the preconditioned gradient of one batch, :math:`v' = \mu v - \eta(1-\tau) g`,
:math:`w' = w + v'` and :math:`V = \langle v v^T \rangle`, stationarity alone gives

.. math::
    \langle w\,g^T \rangle + \langle g\,w^T \rangle = \frac{1+\mu}{\eta(1-\tau)}\,V ,

from :math:`\langle w v^T + v w^T \rangle = V`.  Nesterov's step, whose weights are :math:`\mu v`
ahead of the position :math:`x' = x + v'`, has

.. math::
    \langle w\,g^T \rangle + \langle g\,w^T \rangle
    = \eta\,\langle g g^T \rangle + \frac{\mu(1+\mu)}{\eta}\,V
    = \frac{1+\mu+2\mu^2}{\eta} V - \frac{\mu}{\eta} (Y + Y^T), \qquad
    Y = \langle v v'^T \rangle .

Call the right side :math:`2F`.  Its trace is the first relation; contracted with the curvature it
is the second:

.. math::
    \langle w \cdot g \rangle = \operatorname{Tr} F, \qquad
    \langle G^T P\,G \rangle + \langle G^T P\,\xi \rangle = \operatorname{Tr}(K F), \qquad
    G = K (w - w^*), \quad g = P(G + \xi) .

The first holds for any loss and any sampling; the second is exact for a quadratic loss, also where
the noise depends on the state: :math:`\langle w g^T \rangle` needs no more than noise of mean
zero.  **Memory.**  :math:`\langle G^T P\,\xi \rangle` is zero where batches are independent.  In
shuffled epochs it is positive, as what one batch has pushed away the others of its epoch bring
back, and the relations are those of the law averaged over phases; at a phase ``p``

.. math::
    \langle w g^T \rangle_p + \langle g w^T \rangle_p = 2 F_p
        - \frac{D_p - \mu D_{p-1}}{\eta(1-\tau)}, \qquad
    D_p = \langle x x^T \rangle_{p+1} - \langle x x^T \rangle_p ,

where ``D`` adds up to nothing over an epoch, and :math:`F_p` of a heavy ball has
:math:`\langle vv^T \rangle_{p+1} + \mu \langle vv^T \rangle_p`.

Without momentum :math:`V = \eta^2 \langle g g^T \rangle` and they are those of [Yaida2019]_,

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
from fracsde.errors import InputError, UnsupportedError
from fracsde.lyapunov.epochs import stationary_phases
from fracsde.lyapunov.processes import usable
from fracsde.observables._laws import averaged_noise
from fracsde.observables._particles import step_rate
from fracsde.observables._relation_sides import (
    average_step,
    met,
    phase_step,
    position_moments,
    pushed,
)
from fracsde.problems.quadratic_loss_sgd import require_near_minimum
from fracsde.provenance import Provenance, provenance
from fracsde.stationary import checked_phases, stationary_covariance

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = [
    "FluctuationDissipation",
    "PhaseFluctuationDissipation",
    "fluctuation_dissipation",
    "phase_fluctuation_dissipation",
]


@dataclass(frozen=True, kw_only=True)
class FluctuationDissipation:
    """Both sides of both fluctuation-dissipation relations.

    Parameters
    ----------
    position : float [loss]
        ``<w . g>``, the left side of the first.
    velocity : float [loss]
        ``Tr F``, its right side: ``(1 + mu) <v^2> / (2 eta (1 - tau))``, and for Nesterov
        ``eta <g^2> / 2 + mu (1 + mu) <v^2> / (2 eta)``.
    gradient : float [loss^2/weight^2]
        ``<G^T P G>``, the left side of the second where batches are independent.
    memory : float [loss^2/weight^2]
        ``<G^T P xi>``, which shuffled epochs add to it.
    curvature : float [loss^2/weight^2]
        ``Tr(K F)``, its right side.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Yaida2019",)

    position: float
    velocity: float
    gradient: float
    memory: float
    curvature: float
    provenance: Provenance

    @property
    def residuals(self) -> tuple[float, float]:
        """Relative differences of the sides, left over right less 1; 0 where both are 0."""
        return (
            _off(self.position, self.velocity),
            _off(self.gradient + self.memory, self.curvature),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PhaseFluctuationDissipation:
    """Both relations phase by phase, with what the squares of the position gain at each.

    Parameters
    ----------
    phases : (p,) int64
        Steps of the epoch already taken.
    position, velocity : (p,) float64 [loss]
        ``<w . g>`` and ``Tr F`` of the step that follows.
    gain : (p,) float64 [loss]
        What closes the first relation: ``position + gain == velocity``; zero over an epoch.
    gradient, memory, curvature : (p,) float64 [loss^2/weight^2]
        ``<G^T P G>``, ``<G^T P xi>`` and ``Tr(K F)``.
    curvature_gain : (p,) float64 [loss^2/weight^2]
        What closes the second: ``gradient + memory + curvature_gain == curvature``; zero over an
        epoch.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Yaida2019", "KuhnRosenow2023")

    phases: IntArray
    position: FloatArray
    velocity: FloatArray
    gain: FloatArray
    gradient: FloatArray
    memory: FloatArray
    curvature: FloatArray
    curvature_gain: FloatArray
    provenance: Provenance


def fluctuation_dissipation(
    sgd: SGDNearMinimum | QuadraticLossSGD, *, covariance: ArrayLike | None = None
) -> FluctuationDissipation:
    r"""Return both sides of both fluctuation-dissipation relations.

    .. math:: \langle w \cdot g \rangle = \operatorname{Tr} F, \quad
        \langle G^T P\,G \rangle + \langle G^T P\,\xi \rangle = \operatorname{Tr}(K F)

    Parameters
    ----------
    sgd : SGDNearMinimum or QuadraticLossSGD
        Stable; ``w`` is measured from its minimum.  Of shuffled epochs the average over phases.
        Noise that depends on the state counts with its average over the covariance.
    covariance : (d, d) array_like [weight^2], optional
        Covariance of the weights to put to the test, from another theory or a measurement; that
        of the map if not given, which passes to rounding.  Without momentum only, where it
        determines the right sides.

    Returns
    -------
    FluctuationDissipation

    Raises
    ------
    UnsupportedError
        If a covariance is given for a run with momentum, or epochs are shuffled and the noise
        depends on the state.

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
    if covariance is not None and sgd.rule.has_velocity:
        msg = (
            "`covariance` is that of the weights, and with momentum it does not determine that of "
            "the velocities, which the right sides need; test a run without momentum, or leave "
            "`covariance` out"
        )
        raise UnsupportedError(msg)
    phases = None
    if sgd.sampling == "shuffled":
        found, phases = stationary_phases(sgd.epochs())
        state = usable(found).matrix
    else:
        state = stationary_covariance(sgd).state_matrix
    if covariance is not None:
        state = positive_semidefinite("covariance", covariance, size=sgd.dimension)
    step, K = average_step(sgd, state, phases), sgd.curvature
    left, right = met(sgd, step) / sgd.learning_rate, 0.5 * pushed(sgd, step) / step_rate(sgd)
    memory = step.memory / sgd.learning_rate
    return FluctuationDissipation(
        position=float(np.trace(left)),
        velocity=float(np.trace(right)),
        gradient=float(np.sum(K * (left - memory))),
        memory=float(np.sum(K * memory)),
        curvature=float(np.sum(K * right)),
        provenance=provenance(sgd, state),
    )


def phase_fluctuation_dissipation(
    sgd: SGDNearMinimum, phases: ArrayLike
) -> PhaseFluctuationDissipation:
    r"""Return both sides of both relations at given phases of a shuffled epoch.

    .. math:: \langle w \cdot g \rangle_p + \operatorname{Tr}
        \frac{D_p - \mu D_{p-1}}{2\eta(1-\tau)} = \operatorname{Tr} F_p

    Parameters
    ----------
    sgd : SGDNearMinimum
        Stable, with ``sampling="shuffled"``.
    phases : (p,) array_like of int
        Steps of the epoch already taken, from 0, its start, to ``M - 1``.

    Returns
    -------
    PhaseFluctuationDissipation

    Raises
    ------
    InputError
        If there are no epochs, or the phases are not whole numbers.
    OutOfRangeError
        If a phase is not between 0 and ``M - 1``.
    UnstableError
        If there is no stationary law.

    References
    ----------
    [Yaida2019]_, [KuhnRosenow2023]_

    Examples
    --------
    The first batch of an epoch meets weights that know nothing of it, the last the opposite of
    all that the others did:

    >>> from fracsde import SGDNearMinimum
    >>> sgd = SGDNearMinimum(hessian=[[1.0]], gradient_noise=[[1.0]], learning_rate=0.1,
    ...                      batch_size=1, dataset_size=4, sampling="shuffled")
    >>> found = phase_fluctuation_dissipation(sgd, [0, 1, 2, 3])
    >>> found.memory.round(4)
    array([0.    , 0.0333, 0.0633, 0.0903])
    >>> bool(abs(found.position + found.gain - found.velocity).max() < 1e-15)
    True
    """
    require_near_minimum(sgd)
    if sgd.sampling != "shuffled":
        msg = (
            f"sampling={sgd.sampling!r} has no phases: all its steps have one law; ask "
            "fluctuation_dissipation(sgd), or use sampling='shuffled'"
        )
        raise InputError(msg)
    epochs, wanted = checked_phases(sgd, phases, last=False)
    state, found = stationary_phases(epochs)
    usable(state)
    assert found is not None  # it is usable
    K, eta, rate, M = sgd.curvature, sgd.learning_rate, step_rate(sgd), epochs.steps
    rows = []
    for phase in wanted.tolist():
        earlier, now, later = (found.at(p) for p in ((phase - 1) % M, phase, phase + 1))
        step = phase_step(sgd, found, phase, now, later)
        before, here, after = (position_moments(sgd, X) for X in (earlier, now, later))
        gain = 0.5 * ((after - here) - sgd.momentum * (here - before)) / rate
        left, right = met(sgd, step) / eta, 0.5 * pushed(sgd, step) / rate
        memory = step.memory / eta
        parts = (left - memory, memory, right, gain)
        rows.append(
            [np.trace(left), np.trace(right), np.trace(gain), *(np.sum(K * X) for X in parts)]
        )
    columns = np.array(rows, dtype=np.float64).reshape(-1, 7).T
    position, velocity, gains, gradient, remembered, curvature, bent = columns
    return PhaseFluctuationDissipation(
        phases=wanted,
        position=position,
        velocity=velocity,
        gain=gains,
        gradient=gradient,
        memory=remembered,
        curvature=curvature,
        curvature_gain=bent,
        provenance=provenance(sgd, wanted),
    )


def _off(left: float, right: float) -> float:
    return 0.0 if left == right else left / right - 1.0
