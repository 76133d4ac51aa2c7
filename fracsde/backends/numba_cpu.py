"""Paths of linear steps, compiled for all cores.

Same functions, same numbers to rounding as :mod:`fracsde.backends.reference`, whose lines the
kernels name.  Chains are the innermost axis of the working arrays, so that one vector
instruction serves several chains; blocks of chains are shared among threads.  Where chains are few
or coordinates many, the two products of a step belong to BLAS and only the normals are compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import get_num_threads, njit, prange

from fracsde.backends.philox import fill_normals, philox_normal_pair
from fracsde.backends.reference import PURPOSE_STEP, Key

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["FUSED_DIMENSION", "decoupled_paths", "dense_paths", "standard_normals"]

# Measured: the fused kernel wins up to here, given a vector's worth of chains.
FUSED_DIMENSION = 128
_FEW_CHAINS, _FEW_DIMENSION = 8, 24
_BLOCK = 64
_TILE_BYTES = 4_000_000


def standard_normals(chains: int, columns: int, *, step: int, purpose: int, key: Key) -> FloatArray:
    """Return the normals of all chains at one step.

    Parameters
    ----------
    chains, columns : int
        Number of chains, and of normals for each.
    step : int
        The step, counted from 0.
    purpose : int
        What they are for.
    key : two uint32
        Key of the normals.

    Returns
    -------
    (chains, columns) float64
    """
    out = np.empty((chains, columns))
    _fill(out[None], step, purpose, *key)
    return out


def dense_paths(
    start: FloatArray,
    transition: FloatArray,
    factor: FloatArray,
    which: IntArray,
    slot: IntArray,
    observed: IntArray,
    out: FloatArray,
    key: Key,
) -> None:
    """Iterate dense steps and record the observed coordinates.

    Parameters
    ----------
    start : (chain, d) float64
        States before the first step, relative to the mean.
    transition : (g, d, d) float64
        ``E`` of each kind of step.
    factor : (g, d, r) float64
        ``L`` of each kind of step.
    which, slot : (n,) int64
        Kind of each step, and the draw it ends in (-1: not recorded).
    observed : (k,) int64
        Coordinates to record.
    out : (chain, draw, k) float64
        Written at the recorded draws.
    key : two uint32
        Key of the normals.
    """
    chains, d = start.shape
    if d <= (FUSED_DIMENSION if chains >= _FEW_CHAINS else _FEW_DIMENSION):
        block = _block(chains)
        _dense(start, transition, factor, which, slot, observed, out, block, *key)
        return
    _dense_blas(start, transition, factor, which, slot, observed, out, key)


def _dense_blas(
    start: FloatArray,
    transition: FloatArray,
    factor: FloatArray,
    which: IntArray,
    slot: IntArray,
    observed: IntArray,
    out: FloatArray,
    key: Key,
) -> None:
    # Normals and their product with L for a tile of steps at once, in scratch made once.
    chains, d = start.shape
    rank = factor.shape[2]
    tile = min(len(which), max(1, _TILE_BYTES // (8 * chains * max(rank, d))))
    z, noise = np.empty((tile, chains, rank)), np.empty((tile, chains, d))
    X, new = start.copy(), np.empty_like(start)
    seen: Any = slice(None) if len(observed) == d else observed
    for first in range(0, len(which), tile):
        kinds = which[first : first + tile]
        n = len(kinds)
        _fill(z[:n], first, PURPOSE_STEP, *key)
        if np.all(kinds == kinds[0]):
            flat = noise[:n].reshape(n * chains, d)
            np.matmul(z[:n].reshape(n * chains, rank), factor[kinds[0]].T, out=flat)
        else:
            for i, kind in enumerate(kinds):
                np.matmul(z[i], factor[kind].T, out=noise[i])
        for i, kind in enumerate(kinds):
            np.matmul(X, transition[kind].T, out=new)
            new += noise[i]
            X, new = new, X
            if slot[first + i] >= 0:
                out[:, slot[first + i]] = X[:, seen]


def decoupled_paths(
    start: FloatArray,
    decay: FloatArray,
    scale: FloatArray,
    which: IntArray,
    slot: IntArray,
    out: FloatArray,
    key: Key,
) -> None:
    """Iterate independent scalar steps and record all coordinates.

    Parameters
    ----------
    start : (chain, d) float64
        States before the first step.
    decay, scale : (g, d) float64
        Factor and standard deviation of each kind of step.
    which, slot : (n,) int64
        As for :func:`dense_paths`.
    out : (chain, draw, d) float64
        Written at the recorded draws.
    key : two uint32
        Key of the normals.
    """
    _decoupled(start, decay, scale, which, slot, out, _block(len(start)), *key)


def _block(chains: int) -> int:
    # Large enough for vector instructions, small enough to occupy every thread.
    share = -(-chains // get_num_threads())
    return min(_BLOCK, max(8, -(-share // 8) * 8))


@njit(parallel=True, cache=True, error_model="numpy")
def _fill(out: Any, first: Any, purpose: Any, k0: Any, k1: Any) -> None:
    # reference.standard_normals for consecutive steps: out is (step, chain, column).
    steps, chains, _ = out.shape
    for row in prange(steps * chains):
        step, chain = row // chains, row % chains
        fill_normals(out[step, chain], 0, first + step, chain, purpose, k0, k1)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_product(out: Any, M: Any, X: Any, columns: Any) -> None:
    # out += M[:, :columns] @ X[:columns]; four columns of M at a time spare passes over `out`.
    whole = columns - columns % 4
    for i in range(out.shape[0]):
        row = out[i]
        for j in range(0, whole, 4):
            a, b, c, d = M[i, j], M[i, j + 1], M[i, j + 2], M[i, j + 3]
            x0, x1, x2, x3 = X[j], X[j + 1], X[j + 2], X[j + 3]
            for k in range(row.shape[0]):
                row[k] = (((row[k] + a * x0[k]) + b * x1[k]) + c * x2[k]) + d * x3[k]
        for j in range(whole, columns):
            a, x0 = M[i, j], X[j]
            for k in range(row.shape[0]):
                row[k] += a * x0[k]


@njit(parallel=True, cache=True, error_model="numpy")
def _dense(
    start: Any,
    transition: Any,
    factor: Any,
    which: Any,
    slot: Any,
    observed: Any,
    out: Any,
    block: Any,
    k0: Any,
    k1: Any,
) -> None:
    chains, d = start.shape
    rank = factor.shape[2]
    pairs = (rank + 1) // 2
    for b in prange((chains + block - 1) // block):
        first = b * block
        size = min(block, chains - first)
        X, new, z = np.empty((d, size)), np.empty((d, size)), np.empty((2 * pairs, size))
        for i in range(d):
            for c in range(size):
                X[i, c] = start[first + c, i]
        for step in range(which.shape[0]):
            E, L = transition[which[step]], factor[which[step]]
            for p in range(pairs):
                even, odd = z[2 * p], z[2 * p + 1]
                for c in range(size):
                    even[c], odd[c] = philox_normal_pair(p, step, first + c, PURPOSE_STEP, k0, k1)
            # X @ E.T + z @ L.T
            new[:] = 0.0
            _add_product(new, E, X, d)
            _add_product(new, L, z, rank)
            X, new = new, X
            if slot[step] >= 0:
                for c in range(size):
                    for k in range(observed.shape[0]):
                        out[first + c, slot[step], k] = X[observed[k], c]


@njit(parallel=True, cache=True, error_model="numpy")
def _decoupled(
    start: Any,
    decay: Any,
    scale: Any,
    which: Any,
    slot: Any,
    out: Any,
    block: Any,
    k0: Any,
    k1: Any,
) -> None:
    chains, d = start.shape
    pairs = (d + 1) // 2
    for b in prange((chains + block - 1) // block):
        first = b * block
        size = min(block, chains - first)
        # An unused last row takes the second normal of an odd last pair.
        y, z = np.zeros((2 * pairs, size)), np.empty((2, size))
        rho, sigma = np.zeros(2 * pairs), np.zeros(2 * pairs)
        for i in range(d):
            for c in range(size):
                y[i, c] = start[first + c, i]
        for step in range(which.shape[0]):
            rho[:d], sigma[:d] = decay[which[step]], scale[which[step]]
            for p in range(pairs):
                even, odd = z[0], z[1]
                for c in range(size):
                    even[c], odd[c] = philox_normal_pair(p, step, first + c, PURPOSE_STEP, k0, k1)
                upper, lower = y[2 * p], y[2 * p + 1]
                r0, r1, s0, s1 = rho[2 * p], rho[2 * p + 1], sigma[2 * p], sigma[2 * p + 1]
                for c in range(size):
                    upper[c] = r0 * upper[c] + s0 * even[c]
                    lower[c] = r1 * lower[c] + s1 * odd[c]
            if slot[step] >= 0:
                for c in range(size):
                    for i in range(d):
                        out[first + c, slot[step], i] = y[i, c]
