r"""Temperatures of SGD, which agree only where one noise serves all directions.

In units of the loss (Boltzmann's constant 1), along the directions :math:`u_i` in which curvature
and preconditioner are diagonal together, :math:`K u_i = h_i P^{-1} u_i`,
:math:`u_i^T P^{-1} u_j = \delta_{ij}`, with :math:`q_i = u_i^T Q u_i`, the friction
:math:`\gamma_i` and the position ``x`` of :mod:`fracsde.observables._particles`,
:math:`\gamma = 1 - \mu` and :math:`x = w` but for Nesterov's step:

.. math::
    h_i \operatorname{Var} x_i
        = \frac{\eta\,q_i}{2\gamma_i} \Big(1 - \frac{\eta h_i}{2(2-\gamma_i)}\Big)^{-1}, \qquad
    T^{\mathrm{kin}}_i = \frac{\operatorname{Var} v_i}{\eta}
        = \frac{2}{2-\gamma_i}\,h_i \operatorname{Var} x_i, \qquad
    T^{\mathrm{pot}}_i = h_i \operatorname{Var} w_i,

.. math::
    T^{\mathrm{noise}}_i = \frac{\eta\,q_i}{2\gamma_i}
        = \frac1\eta \operatorname{Var} \frac{v_i + v_i'}{2}
        = \frac{\sin(2\pi f)\,S_i(f)}{2\,|\operatorname{Im} \chi_i(f)|} .

All are exact for the map, at any stable rate and for any noise.  A mode is a particle of mass
:math:`1/\eta` and friction :math:`\gamma_i/\eta` per step, so the kinetic temperature is that of
its velocity.  The mean velocity of two adjacent steps has the temperature of the noise at *every*
rate; it is also what the fluctuation-dissipation theorem gives at every frequency, with the
spectrum :math:`S` of the position and its response :math:`\chi` to a force, if the derivative in
time is the central difference of the steps, :math:`\sin 2\pi f` in place of :math:`2\pi f`.  For
:math:`Q = \sigma^2 I/B` it is the :math:`\eta \sigma^2 / (2 B (1-\mu))` of the continuum.
Dampening multiplies :math:`\eta` by :math:`1 - \tau`.

**Shuffled epochs.**  Their noise is not white: the theorem gives a temperature for each frequency,

.. math::
    T^{\mathrm{noise}}_i(f) = \frac{\eta}{2\gamma_i}\,u_i^T S_\xi(f)\,u_i ,

with :math:`S_\xi` of :mod:`fracsde.observables.spectra`.  It is zero at :math:`f = 0` for equal
batches that use all examples: slow modes are not heated.  The mean of two velocities then has a
temperature of no frequency.  Those of weights and velocities are averages over phases.

One temperature describes the law only if :math:`P^{1/2} Q P^{1/2}` is a multiple of the friction
matrix, of the identity for heavy balls; ``anisotropy`` says how far that is from true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import scipy.linalg

from fracsde._check import real
from fracsde.errors import InputError
from fracsde.observables._laws import averaged_noise
from fracsde.observables._particles import along, particles
from fracsde.observables.spectra import epoch_level
from fracsde.problems.epochs import batch_share
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
        Twice the mean potential energy of the weights along each direction.
    kinetic : (d,) float64 [loss]
        Twice the mean kinetic energy along each direction; NaN without momentum, where there is
        no velocity.
    noise : (d,) float64 [loss]
        What the fluctuation-dissipation theorem gives, free of the discretisation: the
        temperature of the mean velocity of two adjacent steps.  In shuffled epochs that of the
        frequency asked for.
    mean : float [loss]
        Mean of ``noise`` over directions, ``eta Tr(P Q) / (2 d (1 - mu))`` but for Nesterov.
    anisotropy : float [1]
        Largest over smallest eigenvalue of ``P^(1/2) Q P^(1/2)``, for Nesterov in units of the
        friction: 1 where one temperature serves all directions, infinite where some have no noise.
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


def effective_temperature(
    sgd: SGDNearMinimum | QuadraticLossSGD, *, frequency: float | None = None
) -> EffectiveTemperature:
    r"""Return the temperatures of SGD near its minimum.

    .. math:: h_i \operatorname{Var} w_i, \quad \operatorname{Var} v_i / \eta, \quad
        \eta\,q_i / (2 \gamma_i)

    Parameters
    ----------
    sgd : SGDNearMinimum or QuadraticLossSGD
        Stable; the law is that of its map, or of its shuffled epochs.  Noise that depends on the
        state counts with its average over the stationary law, which all these second moments know
        alone.
    frequency : float, optional [cycles/step]
        At which the noise of shuffled epochs is meant, which need it; that of independent batches
        is the same at all.

    Returns
    -------
    EffectiveTemperature

    Raises
    ------
    InputError
        If epochs are shuffled and there is no frequency.
    UnsupportedError
        If epochs are shuffled and the noise depends on the state.

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
    share = _share(sgd, frequency)
    found = stationary_covariance(sgd)
    modes = particles(sgd)
    d = len(modes.curvatures)
    potential = modes.curvatures * along(found.matrix, modes.inverse)
    kinetic = np.full(d, np.nan)
    if sgd.momentum > 0.0:
        kinetic = along(found.state_matrix[d:, d:], modes.inverse) / modes.rate
    noise = 0.5 * modes.rate * share * np.diag(modes.example) / modes.friction
    root = np.sqrt(modes.friction)
    low, high = scipy.linalg.eigvalsh(modes.example / root / root[:, None])[[0, -1]].tolist()
    # An eigenvalue of zero is computed as a few roundings of the largest.
    empty = low <= 4.0 * d * float(np.finfo(np.float64).eps) * high
    return EffectiveTemperature(
        potential=potential,
        kinetic=kinetic,
        noise=noise,
        mean=float(noise.mean()),
        anisotropy=float("inf") if empty else high / low,
        curvatures=modes.curvatures,
        directions=modes.directions,
        provenance=provenance(sgd, frequency),
    )


def _share(sgd: SGDNearMinimum, frequency: float | None) -> float:
    # Spectrum of the noise of the steps, in units of the covariance of one example.
    if sgd.sampling != "shuffled":
        if frequency is not None:
            real("frequency", frequency)
        return batch_share(sgd.batch_size, sgd.dataset_size, sgd.sampling)
    if frequency is None:
        msg = (
            "`frequency` is needed with sampling='shuffled': the noise of an epoch has another "
            "temperature at each frequency, of equal batches none at the lowest; pass one in "
            "cycles per step, 0 for slow modes and 0.5 for the fastest"
        )
        raise InputError(msg)
    cycles = np.array([real("frequency", frequency)])
    return float(epoch_level(sgd.epochs(), cycles)[0])
