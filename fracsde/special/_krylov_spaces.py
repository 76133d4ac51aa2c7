"""Krylov spaces step by step: Lanczos with few vectors kept, Arnoldi, and trust in estimates.

Not here: functions of operators made from them (:mod:`fracsde.special._krylov`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigh_tridiagonal

from fracsde.special._operator import euclidean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray
    from fracsde.special._operator import Operator

__all__ = ["LanczosSpace", "Trust", "arnoldi_step", "top_of_spectrum"]

_EPS = float(np.finfo(np.float64).eps)


def arnoldi_step(operator: Operator, basis: NDArray[Any], H: NDArray[Any], m: int) -> bool:
    """Add column ``m`` of the Hessenberg matrix and the next vector.

    Parameters
    ----------
    operator : Operator
        Any.
    basis : (k, n)
        Orthonormal rows, the first ``m`` known; row ``m`` is written.
    H : (k, k - 1)
        Its column ``m - 1`` is written.
    m : int
        Dimension after the step.

    Returns
    -------
    bool
        Whether the space is invariant.
    """
    w = operator.apply(basis[m - 1])
    before = euclidean(w)
    Q = basis[:m]
    for _ in range(2):  # the second pass removes what the first left
        h = Q.conj() @ w
        w = w - h @ Q
        H[:m, m - 1] += h
    H[m, m - 1] = euclidean(w)
    if m == operator.size or abs(H[m, m - 1]) <= len(w) ** 0.5 * _EPS * before:
        return True
    basis[m] = w / H[m, m - 1]
    return False


def top_of_spectrum(apply: Any, start: NDArray[Any], steps: int) -> float:
    """Return the largest Ritz value of a Hermitian operator: a lower bound of the eigenvalue.

    Parameters
    ----------
    apply : callable
        Product with a vector.
    start : (n,)
        Not zero.
    steps : int
        Dimension of the space.

    Returns
    -------
    float
    """
    basis = [start / euclidean(start)]
    diagonal: list[float] = []
    bond: list[float] = []
    while len(diagonal) < min(steps, len(start)):
        w = apply(basis[-1])
        diagonal.append(float(np.vdot(basis[-1], w).real))
        Q = np.array(basis)
        for _ in range(2):
            w = w - (Q.conj() @ w) @ Q
        bond.append(euclidean(w))
        if bond[-1] <= 1e-14 * max(map(abs, diagonal + bond)):
            break
        basis.append(w / bond[-1])
    ritz = eigh_tridiagonal(np.array(diagonal), np.array(bond[:-1]), eigvals_only=True)
    return float(ritz[-1])


class Trust:
    """What the last estimate was worth.

    The step from the last value to this one is, but for the error that is left, the error that the
    last estimate should have said.  Never less than two.
    """

    def __init__(self) -> None:
        self.last: tuple[NDArray[Any], FloatArray] | None = None

    def calibrate(self, coefficients: NDArray[Any], estimate: FloatArray) -> FloatArray:
        """Return an estimate, enlarged by what the last one missed.

        Parameters
        ----------
        coefficients : (t, m)
            Of the basis, for each time.
        estimate : (t,) float64
            Errors as the expansion says.

        Returns
        -------
        (t,) ndarray of float64
        """
        factor = np.full(len(estimate), 2.0)
        if self.last is not None:
            before, said = self.last
            step = coefficients.copy()
            step[:, : before.shape[1]] -= before
            moved = np.array([euclidean(row) for row in step])
            known = (said > 1e-13) & np.isfinite(said) & np.isfinite(moved)
            factor[known] = 2.0 * np.clip(moved[known] / said[known], 1.0, 1e3)
        self.last = coefficients, estimate
        return factor * estimate


class LanczosSpace:
    """The three-term recurrence, with as many of its vectors as may be kept."""

    def __init__(self, operator: Operator, v: NDArray[Any], *, kept: int) -> None:
        self.operator, self.kept = operator, kept
        self.diagonal: list[float] = []
        self.bond: list[float] = []
        self.closed = False
        self.products = 0
        kind = np.result_type(v, np.float64 if operator.real else np.complex128)
        self._rows = np.empty((min(64, kept), len(v)), dtype=kind)
        self._rows[0] = v
        self._count = 1
        self._last = (np.zeros_like(self._rows[0]), self._rows[0])
        # The first vector that is not in the basis, and the one before it.
        self._beyond: tuple[NDArray[Any], NDArray[Any]] | None = None

    def advance(self, m: int) -> None:
        """Take steps until the space has dimension ``m`` or is invariant."""
        previous, v = self._last
        while len(self.diagonal) < m and not self.closed:
            w = self.operator.apply(v)
            self.products += 1
            a = float(np.vdot(v, w).real)
            w = self._next(w, a, v, self.bond[-1] if self.bond else 0.0, previous)
            if self._count > len(self.diagonal):  # every vector so far is in the basis
                Q = self._rows[: self._count]
                for _ in range(2):  # the second pass removes what the first left
                    w -= (Q.conj() @ w) @ Q
            self.diagonal.append(a)
            self.bond.append(euclidean(w))
            scale = max(max(self.bond), abs(a))
            invariant = self.bond[-1] <= len(v) ** 0.5 * _EPS * scale
            if invariant or len(self.diagonal) == len(v):
                self.closed = True
                self.bond[-1] = 0.0
                break
            previous, v = v, w / self.bond[-1]
            self._keep(previous, v)
        self._last = (previous, v)

    @staticmethod
    def _next(
        w: NDArray[Any], a: float, v: NDArray[Any], b: float, previous: NDArray[Any]
    ) -> NDArray[Any]:
        # Both passes must round alike.
        return np.asarray(w - a * v - b * previous)

    def _keep(self, previous: NDArray[Any], v: NDArray[Any]) -> None:
        if self._count < self.kept:
            if self._count == len(self._rows):
                room = np.empty_like(self._rows, shape=(min(2 * self._count, self.kept), len(v)))
                room[: self._count] = self._rows
                self._rows = room
            self._rows[self._count] = v
            self._count += 1
        elif self._beyond is None:
            self._beyond = (previous, v)

    def combine(self, coefficients: NDArray[Any]) -> NDArray[Any]:
        """Sum the basis; vectors that were not kept are made again, by the same operations.

        Parameters
        ----------
        coefficients : (t, m)
            Of the basis, for each time.

        Returns
        -------
        (t, n) ndarray
        """
        m = coefficients.shape[1]
        kept = min(m, self._count)
        total = coefficients[:, :kept] @ self._rows[:kept]
        if m == kept:
            return np.asarray(total)
        assert self._beyond is not None
        previous, v = self._beyond
        for j in range(kept, m):
            if j > kept:
                w = self.operator.apply(v)
                self.products += 1
                w = self._next(w, self.diagonal[j - 1], v, self.bond[j - 2], previous)
                previous, v = v, w / self.bond[j - 1]
            total += np.multiply.outer(coefficients[:, j], v)
        return np.asarray(total)
