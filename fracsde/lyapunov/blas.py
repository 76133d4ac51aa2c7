r"""Products in place with half of a symmetric matrix, which NumPy does not have.

.. math::
    P = X V, \qquad X \leftarrow X + s\,(W V^T + V W^T), \qquad R \leftarrow R - V G,

of which the first two touch the lower triangle of ``X`` alone, the second at half the operations.
``X`` and ``R`` may be parts of a larger matrix.  SciPy's Python wrappers would copy them, so the
routines of its BLAS are called by address; where their integers are not C's ``int``, ``AVAILABLE``
is false and nothing here may be called.

All matrices are float64 in the order of Fortran, and are not checked.  ``mirror_lower`` writes the
other half.
"""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import cython_blas

from fracsde._compiled import njit

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["AVAILABLE", "add_pairs", "mirror_lower", "subtract_product", "symmetric_times"]

_TILE = 32  # rows and columns that stay in a cache beside their mirror image
_KINDS = {"char": "c", "int": "i"}


def _routine(name: str, kinds: str) -> Any:
    # None unless the arguments are the characters, C ints and doubles that are expected.
    capsule = cython_blas.__pyx_capi__.get(name)
    if capsule is None:
        return None
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = name_of(capsule)
    found = re.findall(r"(\w+) \*", signature.decode())
    if "".join(_KINDS.get(kind, "d") for kind in found) != kinds:
        return None
    types = [ctypes.c_char_p if kind == "c" else ctypes.c_void_p for kind in kinds]
    return ctypes.CFUNCTYPE(None, *types)(pointer_of(capsule, signature))


_dsymm = _routine("dsymm", "cciiddididdi")
_dsyr2k = _routine("dsyr2k", "cciiddididdi")
_dgemm = _routine("dgemm", "cciiiddididdi")

AVAILABLE = all(routine is not None for routine in (_dsymm, _dsyr2k, _dgemm))


def symmetric_times(X: FloatArray, V: FloatArray) -> FloatArray:
    """Return ``X V`` from the lower triangle of ``X``.

    Parameters
    ----------
    X : (m, m) float64
        Symmetric.
    V : (m, b) float64
        Any matrix.

    Returns
    -------
    (m, b) float64
    """
    out = np.empty(V.shape, order="F")
    rows, columns = V.shape
    sizes = _whole(rows), _whole(columns)
    _dsymm(b"L", b"L", *sizes, _real(1.0), *_at(X), *_at(V), _real(0.0), *_at(out))
    return out


def add_pairs(X: FloatArray, W: FloatArray, V: FloatArray, scale: float) -> None:
    """Add ``scale (W V^T + V W^T)`` to the lower triangle of ``X``.

    Parameters
    ----------
    X : (m, m) float64
        Written to.
    W, V : (m, b) float64
        Factors, or transposes of factors in the order of Fortran.
    scale : float
        A factor.
    """
    turn = b"N" if V.flags.f_contiguous else b"T"
    W, V = (W, V) if turn == b"N" else (W.T, V.T)
    sizes = _whole(len(X)), _whole(V.shape[1] if turn == b"N" else len(V))
    _dsyr2k(b"L", turn, *sizes, _real(scale), *_at(W), *_at(V), _real(1.0), *_at(X))


def subtract_product(R: FloatArray, V: FloatArray, G: FloatArray) -> None:
    """Subtract ``V G`` from ``R``.

    Parameters
    ----------
    R : (m, a) float64
        Written to.
    V, G : (m, b), (b, a) float64
        Factors; the second may be the transpose of one in the order of Fortran.
    """
    turn = b"N" if G.flags.f_contiguous else b"T"
    sizes = _whole(len(R)), _whole(R.shape[1]), _whole(V.shape[1])
    G = G if turn == b"N" else G.T
    _dgemm(b"N", turn, *sizes, _real(-1.0), *_at(V), *_at(G), _real(1.0), *_at(R))


@njit(cache=True, error_model="numpy")
def mirror_lower(X: FloatArray) -> None:
    """Write the lower triangle of a square matrix over the upper one.

    Parameters
    ----------
    X : (n, n) float64
        Written to.
    """
    n = len(X)
    for start in range(0, n, _TILE):
        for other in range(0, start + 1, _TILE):
            for j in range(other, min(other + _TILE, n)):
                for i in range(max(start, j + 1), min(start + _TILE, n)):
                    X[j, i] = X[i, j]


def _at(array: FloatArray) -> tuple[int, Any]:
    # Where a matrix begins, and how far its columns are apart.
    return array.ctypes.data, _whole(max(array.strides[1] // array.itemsize, len(array), 1))


def _whole(value: int) -> Any:
    return ctypes.byref(ctypes.c_int(value))


def _real(value: float) -> Any:
    return ctypes.byref(ctypes.c_double(value))
