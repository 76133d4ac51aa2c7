r"""The law of a base process at many operational times at once.

.. math::
    E(s) - I, \qquad G(s) = \int_0^s e^{-A r} N e^{-A^T r}\, dr, \qquad
    \mathrm{E}[Y_s \mid Y_0] = m + E(s) (Y_0 - m), \quad \operatorname{Cov}[Y_s \mid Y_0] = G(s) .

A :class:`ModalFlow` has a symmetric drift, in the coordinates of its eigenvectors (a diagonal
process has them from the start), and every law is a product of scalars,

.. math::
    \tilde G_{ij} = \tilde N_{ij}\, \frac{1 - e^{-(a_i + a_j) s}}{a_i + a_j},
    \qquad 1 - e^{-(a_i + a_j) s} = p_i + (1 - p_i)\, p_j, \quad p_i = -\mathrm{expm1}(-a_i s) ,

the second form being a matrix product over the times.  A :class:`DenseFlow` has any other drift:
power series at times so short that their terms fall like ``1 / k!``, with coefficients
:math:`A^k` and :math:`\mathcal{L}^k N` that all times share, then doubling,

.. math::
    E(2s) - I = 2 (E - I) + (E - I)^2, \qquad G(2s) = G + E\, G\, E^T ,

which adds terms that do not cancel, however defective the drift.

Not here: averages over the clock (:mod:`fracsde._subordination.moments`), one gap at a time
(:mod:`fracsde.lyapunov.propagators`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fracsde.errors import ComputationError
from fracsde.lyapunov.propagators import modes
from fracsde.problems.structured import DiagonalOU
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fracsde._typing import FloatArray
    from fracsde.problems.ornstein_uhlenbeck import OUProcess

__all__ = ["DenseFlow", "Flow", "ModalFlow", "chunks", "flow_of", "growth"]

_TERMS = 20  # of the power series, whose argument has norm 1 at most
_BLOCK = 4_000_000  # numbers of one array of laws


@dataclass(frozen=True, kw_only=True, eq=False)
class ModalFlow:
    """A process with symmetric drift in its own coordinates.

    Parameters
    ----------
    pull : (d,) float64 [1/t]
        Eigenvalues ``a`` of the drift.
    noise : (d, d) or (d,) float64 [x^2/t]
        Noise in the coordinates; a vector where it is diagonal.
    basis : (d, d) float64 or None
        Eigenvectors in columns; none where they are the coordinate axes.
    """

    pull: FloatArray
    noise: FloatArray
    basis: FloatArray | None

    @property
    def rates(self) -> NDArray[np.complex128]:
        """Eigenvalues of the drift."""
        return self.pull.astype(np.complex128)

    def inward(self, vectors: FloatArray) -> FloatArray:
        """Return coordinates of vectors, one per column.

        Returns
        -------
        (d, ...) float64
        """
        return vectors if self.basis is None else np.asarray(self.basis.T @ vectors)

    def outward(self, vectors: FloatArray) -> FloatArray:
        """Return vectors with given coordinates in their last axis.

        Returns
        -------
        (..., d) float64
        """
        return vectors if self.basis is None else np.asarray(vectors @ self.basis.T)

    def carried(self, s: FloatArray) -> FloatArray:
        """Return the diagonal of ``E(s)``.

        Parameters
        ----------
        s : (k,) float64 [t]
            Operational times.

        Returns
        -------
        (k, d) float64
        """
        return np.asarray(np.exp(-np.multiply.outer(s, self.pull)))

    def away(self, s: FloatArray) -> FloatArray:
        """Return the diagonal of ``E(s) - I``, without cancellation.

        Parameters
        ----------
        s : (k,) float64 [t]
            Operational times.

        Returns
        -------
        (k, d) float64
        """
        return np.asarray(np.expm1(-np.multiply.outer(s, self.pull)))

    def variances(self, s: FloatArray) -> FloatArray:
        """Return the growth ``(1 - exp(-2 a s)) / (2 a)`` of each coordinate's variance.

        Parameters
        ----------
        s : (k,) float64 [t]
            Operational times.

        Returns
        -------
        (k, d) float64 [t]
        """
        return growth(2.0 * self.pull, s)


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseFlow:
    """A process with any drift.

    Parameters
    ----------
    drift : (d, d) float64 [1/t]
        ``A``.
    noise : (d, d) float64 [x^2/t]
        ``N``.
    powers, sources : (n, d, d) float64
        Coefficients of ``s**k``, ``k >= 1``, in ``E(s) - I`` and ``G(s)``.
    size : float [1/t]
        A norm of the drift.
    """

    drift: FloatArray
    noise: FloatArray
    powers: FloatArray
    sources: FloatArray
    size: float

    @property
    def rates(self) -> NDArray[np.complex128]:
        """Eigenvalues of the drift."""
        return np.linalg.eigvals(self.drift).astype(np.complex128)

    def inward(self, vectors: FloatArray) -> FloatArray:
        """Return vectors as they are: the coordinates are those of the process.

        Returns
        -------
        (d, ...) float64
        """
        return vectors

    def laws(self, s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the law at each operational time.

        Parameters
        ----------
        s : (k,) float64 [t]
            Not negative, in any order.

        Returns
        -------
        carried : (k, d, d) float64 [1]
            ``E(s)``, which keeps its digits where little is left.
        away : (k, d, d) float64 [1]
            ``E(s) - I``, which keeps them where little has happened.
        spread : (k, d, d) float64 [x^2]
            ``G(s)``.

        Raises
        ------
        ComputationError
            If a law exceeds the largest float.
        """
        d = len(self.drift)
        reach = 2.0 * self.size * s
        halvings = np.where(reach > 1.0, np.ceil(np.log2(np.maximum(reach, 1.0))), 0.0).astype(int)
        order = np.argsort(-halvings, kind="stable")
        doubled, short = halvings[order], (s / 2.0**halvings)[order]
        powers = short[:, None] ** np.arange(1, _TERMS + 1)
        away = (powers @ self.powers.reshape(_TERMS, d * d)).reshape(-1, d, d)
        spread = (powers @ self.sources.reshape(_TERMS, d * d)).reshape(-1, d, d)
        E = away + np.eye(d)
        with np.errstate(over="ignore", invalid="ignore"):
            for level in range(int(doubled.max(initial=0))):
                m = int(np.searchsorted(-doubled, -level, side="left"))
                spread[:m] += E[:m] @ spread[:m] @ E[:m].transpose(0, 2, 1)
                away[:m] += E[:m] @ away[:m]
                E[:m] = E[:m] @ E[:m]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        if not (np.all(np.isfinite(E)) and np.all(np.isfinite(spread))):
            detail = "The process grows beyond the largest float; ask for shorter times."
            raise ComputationError(Status.NOT_FINITE, detail)
        return E[back], away[back], 0.5 * (spread + spread.transpose(0, 2, 1))[back]


Flow: TypeAlias = ModalFlow | DenseFlow


def flow_of(base: OUProcess | DiagonalOU) -> Flow:
    """Return the laws of a base process.

    Parameters
    ----------
    base : OUProcess or DiagonalOU
        Stable or not.

    Returns
    -------
    ModalFlow or DenseFlow
    """
    if isinstance(base, DiagonalOU):
        return ModalFlow(pull=base.drift, noise=base.noise, basis=None)
    modal = modes(base)
    if modal is not None:
        turned = modal.basis.T @ base.noise @ modal.basis
        return ModalFlow(pull=modal.pull, noise=0.5 * (turned + turned.T), basis=modal.basis)
    A, N = base.drift, base.noise
    powers, sources = np.empty((2, _TERMS, *A.shape))
    powers[0], sources[0] = -A, N
    for k in range(1, _TERMS):
        powers[k] = -A @ powers[k - 1] / (k + 1)
        moved = A @ sources[k - 1]
        sources[k] = -(moved + moved.T) / (k + 1)
    # Both bound the largest singular value.
    bound = np.sqrt(np.linalg.norm(A, 1) * np.linalg.norm(A, np.inf))
    size = float(min(np.linalg.norm(A), bound))
    return DenseFlow(drift=A, noise=N, powers=powers, sources=sources, size=size)


def growth(rates: FloatArray, s: FloatArray) -> FloatArray:
    """Return ``(1 - exp(-r s)) / r``, which is ``s`` at ``r = 0``.

    Parameters
    ----------
    rates : (...) float64 [1/t]
        ``r``.
    s : (k,) float64 [t]
        Operational times.

    Returns
    -------
    (k, ...) float64 [t]
    """
    safe = np.where(rates == 0.0, 1.0, rates)
    away = -np.expm1(-np.multiply.outer(s, safe)) / safe
    return np.where(rates == 0.0, s.reshape(-1, *[1] * rates.ndim), away)


def chunks(count: int, each: int) -> Iterator[slice]:
    """Return slices of a range such that arrays of ``each`` numbers per index stay small.

    Parameters
    ----------
    count : int
        Length of the range.
    each : int
        Numbers per index.

    Yields
    ------
    slice
    """
    step = max(1, _BLOCK // max(1, each))
    for start in range(0, count, step):
        yield slice(start, min(count, start + step))
