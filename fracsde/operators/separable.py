r"""Tensor grids that fall apart into lines: fast diagonalisation.

Where jumps along each axis, and losses, depend on the cell's place along that axis alone,

.. math:: L = L_1 \otimes I \otimes I + I \otimes L_2 \otimes I + I \otimes I \otimes L_3 ,

and with :math:`L_k = -S_k Q_k \Lambda_k Q_k^T S_k^{-1}` every function of ``L`` is a few small
matrix products,

.. math::
    f(L)\, m = S\, Q\; f(-\lambda_{1,i} - \lambda_{2,j} - \lambda_{3,k})\; Q^T S^{-1} m , \qquad
    Q = Q_1 \otimes Q_2 \otimes Q_3 .

Whether a grid does is seen from its rates, to the rounding of the potential's differences: nobody
need say so.  Scaling by ``S`` magnifies rounding for masses that start where the equilibrium is
small, as in :mod:`fracsde.schemes.modes`.

Not here: what is put in for ``f`` (:mod:`fracsde.schemes.tensor_propagation`).

Reference: [LynchRiceThomas1964]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigh, eigh_tridiagonal

from fracsde.operators.chain import CellChain

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.operators.tensor_rates import Bond
    from fracsde.problems.geometry import Walls

__all__ = ["Lines", "lines_of"]

_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)
_LONGEST = 2048  # cells along an axis: eigenvectors then take 32 MB


@dataclass(frozen=True, kw_only=True, eq=False)
class Lines:
    """The chains along each axis, and their eigenvectors.

    Parameters
    ----------
    chains : tuple of CellChain
        One per axis, each with detailed balance.
    """

    chains: tuple[CellChain, ...]

    @cached_property
    def _modes(self) -> tuple[tuple[FloatArray, ...], FloatArray, FloatArray]:
        # Found when they are first asked for: a grid that is only marched on has no use for them.
        vectors, rates, scale = [], np.zeros(()), np.zeros(())
        for chain in self.chains:
            values, columns, log_scale = _eigen(chain)
            vectors.append(columns)
            rates = np.add.outer(rates, values)
            scale = np.add.outer(scale, log_scale)
        return tuple(vectors), rates, scale

    @property
    def vectors(self) -> tuple[FloatArray, ...]:
        """Eigenvectors of each axis, one per column."""
        return self._modes[0]

    @property
    def rates(self) -> FloatArray:
        """Sums of the axes' eigenvalues, of the grid's shape, not negative [1/t]."""
        return self._modes[1]

    @property
    def log_scale(self) -> FloatArray:
        """Logarithm of the diagonal of ``S``, of the grid's shape."""
        return self._modes[2]

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(len(chain.right) for chain in self.chains)

    def to_modes(self, masses: Any) -> Any:
        """Return the coefficients of eigenvectors, of the grid's shape.

        Parameters
        ----------
        masses : (n,) ndarray [1]
            Real or complex.

        Returns
        -------
        ndarray [1]
        """
        state = masses.reshape(self.shape) * np.exp(-self.log_scale)
        for axis, Q in enumerate(self.vectors):
            state = np.moveaxis(np.tensordot(Q, state, axes=(0, axis)), 0, axis)
        return state

    def to_masses(self, modes: Any) -> Any:
        """Return masses from coefficients of eigenvectors.

        Parameters
        ----------
        modes : ndarray [1]
            Of the grid's shape, real or complex.

        Returns
        -------
        (n,) ndarray [1]
        """
        for axis, Q in enumerate(self.vectors):
            modes = np.moveaxis(np.tensordot(Q, modes, axes=(1, axis)), 0, axis)
        return (modes * np.exp(self.log_scale)).ravel()

    def function(self, values: Callable[[FloatArray], Any], masses: Any) -> Any:
        """Return ``f(L)`` times masses.

        Parameters
        ----------
        values : callable
            ``f(-rates)`` of an array of rates.
        masses : (n,) ndarray [1]
            Real or complex.

        Returns
        -------
        (n,) ndarray [1]
        """
        return self.to_masses(values(self.rates) * self.to_modes(masses))


def _eigen(chain: CellChain) -> tuple[FloatArray, FloatArray, FloatArray]:
    diagonal, bond, log_scale = chain.symmetrised()
    if chain.periodic:
        n = len(diagonal)
        H = np.diag(diagonal) + np.diag(bond[:-1], 1) + np.diag(bond[:-1], -1)
        H[0, n - 1] += bond[-1]
        H[n - 1, 0] += bond[-1]
        values, vectors = eigh(H, driver="evd")
    else:
        values, vectors = eigh_tridiagonal(diagonal, bond[:-1])
    values = np.maximum(values, 0.0)
    if chain.conserves_mass:
        # The null vector is known to the last digit: S itself.
        rest = np.exp(log_scale)
        vectors[:, 0], values[0] = rest / np.linalg.norm(rest), 0.0
    return values, vectors, log_scale


def lines_of(
    edges: tuple[FloatArray, ...],
    bonds: tuple[Bond, ...],
    loss: FloatArray,
    walls: tuple[Walls, ...],
) -> Lines | None:
    """Return the lines a grid falls apart into, or ``None``.

    Parameters
    ----------
    edges : tuple of (n + 1,) float64 [x]
        Cell edges along each axis.
    bonds : tuple of Bond
        Jumps.
    loss : ndarray of float64 [1/t]
        Of the grid's shape.
    walls : tuple of (str, str)
        Of each axis.

    Returns
    -------
    Lines or None
    """
    d = loss.ndim
    units = [tuple(int(k == axis) for k in range(d)) for axis in range(d)]
    if [bond.offset for bond in bonds] != units or max(loss.shape) > _LONGEST:
        return None
    # Differences of a potential carry its rounding, relative to its size.
    heights = [np.ptp(np.cumsum(b.tilt, axis=axis)) for axis, b in enumerate(bonds)]
    rounding = _ROUNDING * (1.0 + float(sum(heights)))
    losses = _sum_of_lines(loss, rounding)
    if losses is None:
        return None
    chains = []
    for axis, bond in enumerate(bonds):
        # A tilt's rounding changes a rate by as much of what both directions share.
        size = _mean(bond.onward + bond.back, axis)
        allowed = (rounding * size, rounding * size, np.full_like(size, rounding))
        fields = (bond.onward, bond.back, bond.tilt)
        lines = [_line(f, axis, a) for f, a in zip(fields, allowed, strict=True)]
        if any(line is None for line in lines):
            return None
        rates: list[Any] = lines
        chain = CellChain(
            edges=edges[axis],
            right=rates[0],
            left=rates[1],
            loss=losses[axis],
            tilt=rates[2],
            periodic=walls[axis][0] == "periodic",
        )
        if not chain.detailed_balance:
            return None
        # A rate that underflows leaves no symmetric form.
        if np.any(chain.right[: -1 if not chain.periodic else None] <= 0.0) or np.any(
            chain.left[0 if chain.periodic else 1 :] <= 0.0
        ):
            return None
        chains.append(chain)
    return Lines(chains=tuple(chains))


def _mean(values: FloatArray, axis: int) -> FloatArray:
    return np.asarray(values.mean(axis=tuple(k for k in range(values.ndim) if k != axis)))


def _line(values: FloatArray, axis: int, allowed: FloatArray) -> FloatArray | None:
    # Values along one axis, if they are the same on all lines, to rounding.
    others = tuple(k for k in range(values.ndim) if k != axis)
    apart = values.max(axis=others) - values.min(axis=others)
    return _mean(values, axis) if np.all(apart <= allowed) else None


def _sum_of_lines(loss: FloatArray, rounding: float) -> list[FloatArray] | None:
    # Losses as a sum of one per axis.
    parts = []
    middle = tuple(n // 2 for n in loss.shape)
    base = float(loss[middle])
    rebuilt = np.full_like(loss, base)
    for axis in range(loss.ndim):
        index: tuple[Any, ...] = tuple(
            slice(None) if k == axis else middle[k] for k in range(loss.ndim)
        )
        part = loss[index] - base
        shape = tuple(-1 if k == axis else 1 for k in range(loss.ndim))
        rebuilt += part.reshape(shape)
        parts.append(part + (base if axis == 0 else 0.0))
    largest = float(np.abs(loss).max())
    # A part may be negative by itself: shift what axes can spare.
    spare = [float(p.min()) for p in parts]
    if np.abs(rebuilt - loss).max() > rounding * largest or sum(spare) < -rounding * largest:
        return None
    parts = [p - s for p, s in zip(parts, spare, strict=True)]
    parts[0] = parts[0] + max(sum(spare), 0.0)
    return parts
