r"""Collocation systems of chains, compiled: elimination from cell to cell.

The systems and the meaning of the names are in :mod:`fracsde.backends.collocation_reference`.

Each cell holds a block of ``m`` nodes.  Eliminated in the order of a row, with
:math:`D_i = S_i + \mathrm{right}_i` and :math:`S_0 = C + \mathrm{loss}_0`,

.. math::
    S_{i+1} = C + \mathrm{loss}_{i+1} + S_i D_i^{-1}\, \mathrm{left}_{i+1}, \qquad
    f_{i+1} \leftarrow f_{i+1} + \mathrm{right}_i\, D_i^{-1} f_i ,

rates standing for diagonal matrices.  As in the elimination of a Markov chain
(:mod:`fracsde.backends.marching_reference`), large rates are never subtracted from each other:
:math:`S` is what leaves for good, and mass is kept to rounding however stiff the chain.  About
``4 m**3`` operations per cell.  Rings are not served here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._compiled import njit
from fracsde.backends.collocation_reference import flows

if TYPE_CHECKING:
    import numpy.typing as npt

    from fracsde._typing import FloatArray

__all__ = ["flows", "solve_coupled", "solve_uncoupled"]


@njit(cache=True, error_model="numpy")
def _invert(a, out):  # type: ignore[no-untyped-def]  # compiled
    # Gauss-Jordan with row pivots; ``a`` is used up.
    m = len(a)
    out[:] = 0.0
    for i in range(m):
        out[i, i] = 1.0
    for c in range(m):
        p = c
        for i in range(c + 1, m):
            if abs(a[i, c]) > abs(a[p, c]):
                p = i
        if p != c:
            for j in range(m):
                a[c, j], a[p, j] = a[p, j], a[c, j]
                out[c, j], out[p, j] = out[p, j], out[c, j]
        pivot = 1.0 / a[c, c]
        for j in range(m):
            a[c, j] *= pivot
            out[c, j] *= pivot
        for i in range(m):
            if i != c:
                factor = a[i, c]
                if factor != 0.0:
                    for j in range(m):
                        a[i, j] -= factor * a[c, j]
                        out[i, j] -= factor * out[c, j]


@njit(cache=True, error_model="numpy")
def _row(inverse, right, left, loss, f):  # type: ignore[no-untyped-def]  # compiled
    # Cells first: all arrays but ``inverse`` are (n, m); ``f`` becomes the solution.
    n, m = f.shape
    inverses = np.empty((n, m, m))
    S = inverse.copy()
    work = np.empty((m, m))
    for k in range(m):
        S[k, k] += loss[0, k]
    for i in range(n):
        work[:] = S
        if i < n - 1:
            for k in range(m):
                work[k, k] += right[i, k]
        D = inverses[i]
        _invert(work, D)
        for k in range(m):
            total = 0.0
            for q in range(m):
                total += D[k, q] * f[i, q]
            work[0, k] = total
        for k in range(m):
            f[i, k] = work[0, k]
        if i < n - 1:
            for k in range(m):
                f[i + 1, k] += right[i, k] * f[i, k]
            for k in range(m):
                for q in range(m):
                    work[k, q] = 0.0
                for j in range(m):
                    factor = S[k, j]
                    for q in range(m):
                        work[k, q] += factor * D[j, q]
            for k in range(m):
                for q in range(m):
                    S[k, q] = inverse[k, q] + work[k, q] * left[i + 1, q]
                S[k, k] += loss[i + 1, k]
    for i in range(n - 2, -1, -1):
        D = inverses[i]
        for k in range(m):
            total = 0.0
            for q in range(m):
                total += D[k, q] * left[i + 1, q] * f[i + 1, q]
            f[i, k] += total


@njit(cache=True, error_model="numpy")
def _complex_row(shift, right, left, loss, f, inverses):  # type: ignore[no-untyped-def]  # compiled
    # One node, one complex shift; ``f`` becomes the solution.
    n = len(f)
    good = shift + loss[0]
    for i in range(n - 1):
        d = 1.0 / (good + right[i])
        inverses[i] = d
        f[i] *= d
        f[i + 1] += right[i] * f[i]
        good = shift + loss[i + 1] + left[i + 1] * (good * d)
    f[n - 1] /= good
    for i in range(n - 2, -1, -1):
        f[i] += inverses[i] * left[i + 1] * f[i + 1]


@njit(cache=True, error_model="numpy")
def _complex_rows(shifts, right, left, loss, f):  # type: ignore[no-untyped-def]  # compiled
    inverses = np.empty(f.shape[1], dtype=np.complex128)
    for k in range(len(shifts)):
        _complex_row(shifts[k], right, left, loss, f[k], inverses)


def solve_coupled(
    inverse: FloatArray, right: FloatArray, left: FloatArray, loss: FloatArray, rhs: FloatArray
) -> FloatArray:
    """Solve with rates that differ from node to node; a row only.

    Parameters
    ----------
    inverse, right, left, loss, rhs
        As for :func:`fracsde.backends.collocation_reference.solve_coupled`.

    Returns
    -------
    (m, n) ndarray
    """
    x = np.array(rhs.T, order="C")
    right, left, loss = (np.ascontiguousarray(rate.T) for rate in (right, left, loss))
    _row(np.ascontiguousarray(inverse), right, left, loss, x)
    return np.ascontiguousarray(x.T)


def solve_uncoupled(
    shifts: npt.NDArray[np.complex128],
    right: FloatArray,
    left: FloatArray,
    loss: FloatArray,
    rhs: npt.NDArray[np.complex128],
) -> npt.NDArray[np.complex128]:
    """Solve one shifted system per node; a row only.

    Parameters
    ----------
    shifts, right, left, loss, rhs
        As for :func:`fracsde.backends.collocation_reference.solve_uncoupled`.

    Returns
    -------
    (k, n) ndarray of complex128
    """
    x = np.array(rhs, dtype=np.complex128, order="C")
    _complex_rows(np.asarray(shifts, dtype=np.complex128), right, left, loss, x)
    return x
