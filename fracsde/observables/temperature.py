r"""Temperatures of SGD, which agree only where one noise serves all directions.

In units of the loss (Boltzmann's constant 1), along the directions :math:`u_i` in which curvature
and preconditioner are diagonal together, :math:`K u_i = h_i P^{-1} u_i`,
:math:`u_i^T P^{-1} u_j = \delta_{ij}`, with :math:`q_i = u_i^T P^{-1} (P Q P) P^{-1} u_i`:

.. math::
    T^{\mathrm{pot}}_i = h_i \operatorname{Var} w_i
        = \frac{\eta\,q_i}{2(1-\mu)} \Big(1 - \frac{\eta h_i}{2(1+\mu)}\Big)^{-1}, \qquad
    T^{\mathrm{kin}}_i = \frac{\operatorname{Var} v_i}{\eta} = \frac{2}{1+\mu}\,T^{\mathrm{pot}}_i,

.. math::
    T^{\mathrm{noise}}_i = \frac{\eta\,q_i}{2(1-\mu)}
        = \frac1\eta \operatorname{Var} \frac{v_i + v_i'}{2}
        = \frac{\sin(2\pi f)\,S_i(f)}{2\,|\operatorname{Im} \chi_i(f)|} .

All are exact for the map, at any stable rate and for any noise.  Heavy ball is a particle of mass
:math:`1/\eta` and friction :math:`(1-\mu)/\eta` per step, so the kinetic temperature is that of its
velocity.  The mean velocity of two adjacent steps has the temperature of the noise at *every* rate;
it is also what the fluctuation-dissipation theorem gives at every frequency, with the spectrum
:math:`S` and the response :math:`\chi` to a force, if the derivative in time is the central
difference of the steps, :math:`\sin 2\pi f` in place of :math:`2\pi f`.  For
:math:`Q = \sigma^2 I/B` it is the :math:`\eta \sigma^2 / (2 B (1-\mu))` of the continuum.

One temperature describes the law only if :math:`P^{1/2} Q P^{1/2}` is a multiple of the identity;
``anisotropy`` says how far that is from true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import scipy.linalg

from fracsde.observables._laws import averaged_noise, effective_rate
from fracsde.problems.epochs import root_of
from fracsde.provenance import Provenance, provenance
from fracsde.stationary import stationary_covariance

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["EffectiveTemperature", "effective_temperature"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EffectiveTemperature:
    """Temperatures of SGD along the directions of its curvature.

    Parameters
    ----------
    potential : (d,) float64 [loss]
        Twice the mean potential energy along each direction.
    kinetic : (d,) float64 [loss]
        Twice the mean kinetic energy along each direction; NaN without momentum, where there is
        no velocity.
    noise : (d,) float64 [loss]
        What the fluctuation-dissipation theorem gives, free of the discretisation: the
        temperature of the mean velocity of two adjacent steps.
    mean : float [loss]
        Mean of ``noise`` over directions, ``eta Tr(P Q) / (2 d (1 - mu))``.
    anisotropy : float [1]
        Largest over smallest eigenvalue of ``P^(1/2) Q P^(1/2)``: 1 where one temperature
        serves all directions, infinite where some have no noise.
    curvatures : (d,) float64 [loss/weight^2]
        ``h``, eigenvalues of ``P K``, smallest first.
    directions : (d, d) float64
        ``u``, one per column.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Mandt2017", "Kunin2024")

    potential: FloatArray
    kinetic: FloatArray
    noise: FloatArray
    mean: float
    anisotropy: float
    curvatures: FloatArray
    directions: FloatArray
    provenance: Provenance

    def is_single(self, tolerance: float) -> bool:
        """Whether one temperature describes all directions.

        Parameters
        ----------
        tolerance : float [1]
            The relative difference that is allowed between directions.

        Returns
        -------
        bool
        """
        return self.anisotropy <= 1.0 + tolerance


def effective_temperature(sgd: SGDNearMinimum | QuadraticLossSGD) -> EffectiveTemperature:
    r"""Return the temperatures of SGD near its minimum.

    .. math:: h_i \operatorname{Var} w_i, \quad \operatorname{Var} v_i / \eta, \quad
        \eta\,q_i / (2 (1 - \mu))

    Parameters
    ----------
    sgd : SGDNearMinimum or QuadraticLossSGD
        Stable; the law is that of its map.  Noise that depends on the state counts with its
        average over the stationary law, which all these second moments know alone.

    Returns
    -------
    EffectiveTemperature

    Raises
    ------
    UnsupportedError
        If epochs are shuffled: their noise has no level at low frequency.

    References
    ----------
    [Mandt2017]_ for the continuum, [Kunin2024]_ for the particle

    Examples
    --------
    A large rate heats the potential energy, not the noise:

    >>> from fracsde import SGDNearMinimum
    >>> sgd = SGDNearMinimum(hessian=[[1.0]], gradient_noise=[[4.0]], learning_rate=1.0,
    ...                      batch_size=2, momentum=0.5)
    >>> found = effective_temperature(sgd)
    >>> [round(float(t[0]), 12) for t in (found.noise, found.potential, found.kinetic)]
    [2.0, 3.0, 4.0]
    """
    sgd = averaged_noise(sgd)
    rate = effective_rate(sgd, "the temperature")
    found = stationary_covariance(sgd)
    # P is regular where SGD has a stationary law.
    R, _ = root_of(sgd.preconditioner, sgd.dimension)
    curvatures, V = np.linalg.eigh(_even(R.T @ sgd.curvature @ R))
    whiten = np.asarray(np.linalg.solve(R, np.eye(len(R))).T @ V)
    d = len(V)
    potential = curvatures * _along(found.matrix, whiten)
    kinetic = np.full(d, np.nan)
    if sgd.momentum > 0.0:
        kinetic = _along(found.state_matrix[d:, d:], whiten) / rate
    levels = _even(R.T @ sgd.batch_noise @ R)
    unit = 0.5 * rate / (1.0 - sgd.momentum)
    low, high = (float(x) for x in scipy.linalg.eigvalsh(levels)[[0, -1]])
    # An eigenvalue of zero is computed as a few roundings of the largest.
    empty = low <= 4.0 * d * float(np.finfo(np.float64).eps) * high
    return EffectiveTemperature(
        potential=potential,
        kinetic=kinetic,
        noise=unit * _along(levels, V),
        mean=unit * float(np.trace(levels)) / d,
        anisotropy=float("inf") if empty else high / low,
        curvatures=curvatures,
        directions=R @ V,
        provenance=provenance(sgd),
    )


def _even(array: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (array + array.T))


def _along(array: FloatArray, directions: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("di,di->i", directions, array @ directions))
