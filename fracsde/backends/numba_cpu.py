"""Paths of linear steps, compiled for all cores.

Same functions, same numbers to rounding as :mod:`fracsde.backends.reference`.  The loops are in
:mod:`fracsde.backends.lane_kernels` and :mod:`fracsde.backends.path_kernels`; here it is decided
which of them serves.  Where coordinates are many, products belong to BLAS and only the rest is
compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import get_num_threads
from numba.core.registry import cpu_target

from fracsde.backends.lane_kernels import decoupled_lanes, dense
from fracsde.backends.path_kernels import add_into, decoupled, dense_few, fill
from fracsde.backends.product_code import VECTORS, tile_rows
from fracsde.backends.vector_code import BYTES, wide_registers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray, IntArray
    from fracsde.backends.reference import Key

__all__ = [
    "FUSED_DIMENSION",
    "decoupled_paths",
    "dense_paths",
    "momentum_paths",
    "standard_normals",
]

# Measured: the fused kernels win up to here, given a vector's worth of chains; dense ones further.
FUSED_DIMENSION = 128
_FEW_CHAINS, _FEW_DIMENSION = 8, 256
_GROUP = 64
_NEAR = 28_672  # bytes of the first-level cache
_CHUNK = 262_144  # numbers that stay in the second-level cache


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
    fill(out, step, purpose, *key)
    return out


def dense_paths(
    start: FloatArray,
    transition: FloatArray,
    factor: FloatArray,
    which: IntArray,
    slot: IntArray,
    observed: IntArray,
    mean: FloatArray,
    out: NDArray[Any],
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
        Kind of each step, and the draw it ends in (-1: not recorded); recorded steps end in
        consecutive draws.
    observed : (k,) int64
        Coordinates to record.
    mean : (k,) float64
        Added to the record.
    out : (chain, draw, k) float64 or float32
        Written at the recorded draws.
    key : two uint32
        Key of the normals.
    """
    chains, d = start.shape
    X, E, L, m = (np.ascontiguousarray(a, out.dtype) for a in (start, transition, factor, mean))
    if chains >= _FEW_CHAINS and d <= _FEW_DIMENSION:
        E, L = _whole_tiles(E), _whole_tiles(L)
        size, rule = _lanes(chains, out, _near(d)), np.empty(0, out.dtype)
        dense(X, E, L, _extents(L, d), rule, which, slot, observed, m, out, size, *key)
    elif d <= _FEW_DIMENSION:
        Et, Lt = (np.ascontiguousarray(array.transpose(0, 2, 1)) for array in (E, L))
        dense_few(X, Et, Lt, which, slot, observed, m, out, *key)
    else:
        _dense_blas(X, E, L, which, slot, observed, m, out, key)


def momentum_paths(
    start: FloatArray,
    pull: FloatArray,
    factor: FloatArray,
    rule: FloatArray,
    slot: IntArray,
    observed: IntArray,
    mean: FloatArray,
    out: NDArray[Any],
    key: Key,
) -> None:
    """Iterate equal steps of positions and velocities and record the observed coordinates.

    Parameters
    ----------
    start : (chain, 2 d) float64
        Positions, relative to their mean, and velocities before the first step.
    pull : (d, d) float64
        ``M``.
    factor : (d, r) float64
        ``L``.
    rule : (3,) float64
        ``b``, ``r`` and ``mu``.
    slot, observed, mean, out, key
        As for :func:`dense_paths`.
    """
    chains, d, which = len(start), len(pull), np.zeros(len(slot), dtype=np.int64)
    b, r, mu = rule
    if chains < _FEW_CHAINS or d > _FEW_DIMENSION:
        one = np.eye(d)
        E, L = (
            np.block([[one + r * pull, b * one], [pull, mu * one]]),
            np.vstack([r * factor, factor]),
        )
        dense_paths(start, E[None], L[None], which, slot, observed, mean, out, key)
        return
    X, M, L, numbers, m = (
        np.ascontiguousarray(a, out.dtype) for a in (start, pull[None], factor[None], rule, mean)
    )
    M, L, size = _whole_tiles(M), _whole_tiles(L), _lanes(chains, out, _near(d))
    dense(X, M, L, _extents(L, d), numbers, which, slot, observed, m, out, size, *key)


def _whole_tiles(matrices: FloatArray) -> FloatArray:
    # Rows of zeros up to a multiple of what a product works on at a time.
    pad = [(0, 0)] * matrices.ndim
    pad[-2] = (0, -matrices.shape[-2] % tile_rows(matrices.shape[-2]))
    return np.pad(matrices, pad)


def _extents(factor: FloatArray, d: int) -> IntArray:
    # How many columns reach in each tile of the d rows: a Cholesky factor has half of them.
    columns = np.arange(1, factor.shape[2] + 1)
    reach = ((factor != 0.0) * columns).max(axis=2)
    return np.asarray(reach.reshape(len(factor), -1, tile_rows(d)).max(axis=2), dtype=np.int64)


def _dense_blas(
    start: FloatArray,
    transition: FloatArray,
    factor: FloatArray,
    which: IntArray,
    slot: IntArray,
    observed: IntArray,
    mean: FloatArray,
    out: NDArray[Any],
    key: Key,
) -> None:
    # Normals and their product with L for a tile of steps at once, in scratch made once.
    chains, d = start.shape
    rank, lanes = factor.shape[2], 16 // out.itemsize
    tile = max(1, 4 * _CHUNK // (lanes * chains * max(rank, d))) * lanes
    tile = min(tile, -(-len(which) // lanes) * lanes)
    z, noise = (np.empty((chains, tile, n), out.dtype) for n in (rank, d))
    X, new = start.copy(), np.empty_like(start)
    # Normals are paths that forget at once.
    none, one = np.zeros((1, rank), out.dtype), np.ones((1, rank), out.dtype)
    same, every = np.zeros(tile, dtype=np.int64), np.arange(tile)
    group = min(_group(chains), max(8, _GROUP // rank))
    seen: Any = slice(None) if len(observed) == d else observed
    for first in range(0, len(which), tile):
        kinds = which[first : first + tile]
        state = np.zeros((chains, rank), out.dtype)
        decoupled(state, none, one, same, every, none[0], z, group, first, 0, *key)
        if np.all(kinds == kinds[0]):
            flat = noise.reshape(-1, d)
            np.matmul(z.reshape(-1, rank), factor[kinds[0]].T, out=flat)
        else:
            for i, kind in enumerate(kinds):
                np.matmul(z[:, i], factor[kind].T, out=noise[:, i])
        for i, kind in enumerate(kinds):
            np.matmul(X, transition[kind].T, out=new)
            new += noise[:, i]
            X, new = new, X
            if slot[first + i] >= 0:
                np.add(X[:, seen], mean, out=out[:, slot[first + i]])


def decoupled_paths(
    start: FloatArray,
    decay: FloatArray,
    scale: FloatArray,
    which: IntArray,
    slot: IntArray,
    turn: FloatArray | None,
    mean: FloatArray,
    out: NDArray[Any],
    key: Key,
) -> None:
    """Iterate independent scalar steps and record them, turned or not.

    Parameters
    ----------
    start : (chain, d) float64
        States before the first step.
    decay, scale : (g, d) float64
        Factor and standard deviation of each kind of step.
    which, slot : (n,) int64
        As for :func:`dense_paths`.
    turn : (k, d) float64 or None
        Matrix from states to recorded coordinates; None where they are the same.
    mean : (k,) float64
        Added to the record.
    out : (chain, draw, k) float64 or float32
        Written at the recorded draws.
    key : two uint32
        Key of the normals.
    """
    chains, d = start.shape
    y, rho, sigma, m = (np.array(a, out.dtype, order="C") for a in (start, decay, scale, mean))
    if chains >= _FEW_CHAINS and d <= FUSED_DIMENSION:
        W = np.zeros((0, d)) if turn is None else _whole_tiles(turn)
        tiles = 0 if turn is None else len(W) // tile_rows(len(turn))
        size = _lanes(chains, out, 1 if turn is None else _near(d))
        W = np.ascontiguousarray(W, out.dtype)
        decoupled_lanes(y, rho, sigma, which, slot, W, tiles, m, out, size, *key)
        return
    if turn is None:
        group = min(_group(chains), max(8, _GROUP // d))
        decoupled(y, rho, sigma, which, slot, m, out, group, 0, 0, *key)
        return
    W = np.ascontiguousarray(turn, out.dtype)
    _turned_blas(y, rho, sigma, which, slot, W, m, out, key)


def _turned_blas(
    y: FloatArray,
    decay: FloatArray,
    scale: FloatArray,
    which: IntArray,
    slot: IntArray,
    turn: FloatArray,
    mean: FloatArray,
    out: NDArray[Any],
    key: Key,
) -> None:
    # States of some chains over some steps, then one product and one pass into the record.
    chains, d = y.shape
    lanes = 16 // out.itemsize
    block = min(chains, 32 * get_num_threads())
    length = max(1, _CHUNK // (block * max(d, out.shape[2]) * lanes)) * lanes
    length = min(length, -(-len(which) // lanes) * lanes)
    inner = np.empty(block * length * d, out.dtype)
    outer = np.empty(block * length * out.shape[2], out.dtype)
    none = np.zeros(d, out.dtype)
    for c in range(0, chains, block):
        states = y[c : c + block]
        for first in range(0, len(which), length):
            part = slot[first : first + length]
            draws = part[part >= 0]
            base = draws[0] if len(draws) else 0
            rows = len(states) * len(draws)
            local = np.where(part >= 0, part - base, -1)
            raw = inner[: rows * d].reshape(len(states), len(draws), d)
            group = min(_group(len(states)), max(8, _GROUP // d))
            kinds = which[first : first + length]
            decoupled(states, decay, scale, kinds, local, none, raw, group, first, c, *key)
            if rows:
                seen = outer[: rows * len(turn)].reshape(rows, len(turn))
                np.matmul(raw.reshape(rows, d), turn.T, out=seen)
                target = out[c : c + block, base : base + len(draws)]
                add_into(seen.reshape(target.shape), mean, target)


def _group(chains: int) -> int:
    # Large enough for vector instructions, small enough to occupy every thread.
    share = -(-chains // get_num_threads())
    return min(_GROUP, max(8, -(-share // 8) * 8))


def _near(d: int) -> int:
    # Vectors of chains whose states and normals stay in the first-level cache beside a tile's
    # matrix.  Larger registers, and what was measured on such machines, ask for all.
    if wide_registers(cpu_target.target_context):
        return VECTORS
    return max(1, min(VECTORS, _NEAR // (2 * d * BYTES)))


def _lanes(chains: int, out: NDArray[Any], vectors: int) -> int:
    # As many vectors of chains as keep a product busy and occupy every thread.
    width = BYTES // out.itemsize
    share = -(-chains // get_num_threads())
    return width * min(vectors, -(-share // width))
