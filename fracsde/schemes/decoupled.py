r"""Coordinates of a linear process that move independently of each other.

.. math::
    X - m = W y, \qquad y_i' = \rho_i\,y_i + \sigma_i z_i .

There are such where drift, or transition, and noise are diagonal together in orthogonal
coordinates, and wherever a process with a regular noise has detailed balance, :math:`A N = N A^T`.
In them the stationary law is independent too, so that one decomposition serves a path from its
first state on: :math:`y_i(0) = s_i z_i` with :math:`s_i^2 = n_i / 2 l_i` for a flow of rates
:math:`l_i` and :math:`s_i^2 = n_i / l_i (2 - l_i)` for a map with factors :math:`1 - l_i`.

Not here: steps of other processes (:mod:`fracsde.schemes.paths`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.propagators import Modes, modes
from fracsde.problems.ornstein_uhlenbeck import OUProcess

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.lyapunov.propagators import LinearProcess

__all__ = ["Decoupled", "DecoupledSteps", "decoupled"]

# How even a noise must be, and how symmetric a drift beside it, for detailed balance.
_EVEN, _BALANCE = 1e-6, 1e-13
# Smallest rate, of the largest, that is beyond doubt positive.
_CLEAR = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class DecoupledSteps:
    """Independent scalar steps in the coordinates ``y = inverse (X - m)``.

    Parameters
    ----------
    decay : (g, d) float64 [1]
        Factor of each coordinate over each gap.
    scale : (g, d) float64
        Standard deviation of its noise.
    basis, inverse : (d, d) float64
        ``W`` and its inverse.
    """

    decay: FloatArray
    scale: FloatArray
    basis: FloatArray
    inverse: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoupled:
    """Coordinates ``y = inverse (X - m)`` that move independently of each other.

    Parameters
    ----------
    modal : Modes
        Their rates.
    variance : (d,) float64
        Noise of each, of a unit of time or of a step.
    basis, inverse : (d, d) float64
        ``W`` and its inverse.
    """

    modal: Modes
    variance: FloatArray
    basis: FloatArray
    inverse: FloatArray

    def steps(self, gaps: FloatArray) -> DecoupledSteps:
        """Return the step over each gap.

        Parameters
        ----------
        gaps : (g,) float64 [t, or steps]
            Positive.

        Returns
        -------
        DecoupledSteps
        """
        growth = np.array([np.diag(self.modal.spread(float(gap))) for gap in gaps])
        return DecoupledSteps(
            decay=self.modal.decay(gaps),
            scale=np.sqrt(np.maximum(self.variance * growth, 0.0)),
            basis=self.basis,
            inverse=self.inverse,
        )

    def stationary(self) -> FloatArray | None:
        """Return the standard deviation of each coordinate in the stationary law.

        Returns
        -------
        (d,) float64 or None
            Nothing where a rate is negative, or so small beside the largest that it has to be
            asked whether there is such a law.
        """
        pull = self.modal.pull
        margin = np.minimum(pull, 2.0 - pull) if self.modal.discrete else pull
        if not margin.min() > _CLEAR * np.abs(pull).max():
            return None
        loss = pull * (2.0 - pull) if self.modal.discrete else 2.0 * pull
        return np.asarray(np.sqrt(np.maximum(self.variance, 0.0) / loss))


def decoupled(process: LinearProcess) -> Decoupled | None:
    """Return coordinates of a process that move independently, nothing where there are none.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        Stable or not.

    Returns
    -------
    Decoupled or None
    """
    flow = isinstance(process, OUProcess)
    matrix = process.drift if isinstance(process, OUProcess) else process.transition
    noise, one = process.noise, np.eye(len(matrix))
    if _diagonal(matrix) and _diagonal(noise):
        pull = np.diag(matrix if flow else one - matrix)
        modal = Modes(basis=one, pull=pull, discrete=not flow)
        return Decoupled(modal=modal, variance=np.diag(noise), basis=one, inverse=one)
    found = modes(process)
    if found is not None:
        modal = _aligned(found)
        turned = modal.basis.T @ noise @ modal.basis
        if _off_diagonal(turned) <= 1e-14 * float(np.abs(turned).max()):
            V = modal.basis
            return Decoupled(modal=modal, variance=np.diag(turned), basis=V, inverse=V.T)
    if not _may_be_reversible(matrix, noise):
        return None
    values, vectors = np.linalg.eigh(noise)
    if values[0] <= _EVEN * values[-1]:
        return None
    # In coordinates where the noise is the identity, detailed balance is symmetry.
    root, unroot = vectors * np.sqrt(values), (vectors / np.sqrt(values)).T
    inner = unroot @ matrix @ root
    if float(np.abs(inner - inner.T).max()) > _BALANCE * float(np.abs(inner).max()):
        return None
    even = 0.5 * (inner + inner.T)
    pull, turn = np.linalg.eigh(even if flow else one - even)
    modal = Modes(basis=turn, pull=pull, discrete=not flow)
    variance = np.ones(len(pull))
    return Decoupled(modal=modal, variance=variance, basis=root @ turn, inverse=turn.T @ unroot)


def _may_be_reversible(matrix: FloatArray, noise: FloatArray) -> bool:
    # With N = R R^T, R^-1 (M N - N M^T) R^-T is the asymmetry of R^-1 M R, which is at most
    # sqrt(cond N) |M|: where M N is further from symmetric, eigenvectors of N are not needed.
    with np.errstate(over="ignore", invalid="ignore"):
        product = matrix @ noise
        size = float(np.linalg.norm(matrix)) * float(np.linalg.norm(noise))
        asymmetry = float(np.linalg.norm(product - product.T))
        limit = (_BALANCE / _EVEN**0.5 + 1e-14) * len(matrix) * size
        return bool(asymmetry <= limit or np.isnan(asymmetry))


def _diagonal(array: FloatArray) -> bool:
    return bool(np.count_nonzero(array) == np.count_nonzero(np.diag(array)))


def _aligned(modal: Modes) -> Modes:
    # Modes that are the coordinates themselves, in the order of the coordinates.
    place = np.abs(modal.basis).argmax(axis=0)
    unit = np.zeros_like(modal.basis)
    unit[place, np.arange(len(place))] = 1.0
    if not np.array_equal(np.abs(modal.basis), unit) or len(set(place.tolist())) < len(place):
        return modal
    return Modes(
        basis=np.eye(len(place)), pull=modal.pull[np.argsort(place)], discrete=modal.discrete
    )


def _off_diagonal(array: FloatArray) -> float:
    return float(np.abs(array - np.diag(np.diag(array))).max())
