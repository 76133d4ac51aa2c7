"""Paths of linear steps, compiled for all cores.

Same functions, same numbers to rounding as :mod:`fracsde.backends.reference`, whose lines the
kernels name.  A group of chains and a tile of steps are worked on at a time: their normals are
made in one run of vector instructions, and become the path where they lie.  The record is
written once, by the thread that made it.

Where coordinates are coupled, chains are the innermost axis of the tile, so that one vector
instruction serves several chains.  Where chains are few or coordinates many, products belong to
BLAS and only the rest is compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import get_num_threads, njit, prange

from fracsde.backends.normals import fill_lanes, fill_normals, wide_vectors
from fracsde.backends.reference import PURPOSE_SINGLE, PURPOSE_STEP, Key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray, IntArray

__all__ = ["FUSED_DIMENSION", "decoupled_paths", "dense_paths", "standard_normals"]

# Measured: the fused kernels win up to here, given a vector's worth of chains.
FUSED_DIMENSION, TURNED_DIMENSION = 128, 64
_FEW_CHAINS, _FEW_DIMENSION = 8, 256
_GROUP = 64
_TILE = 1024  # numbers that stay in the first-level cache
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
    _fill(out, step, purpose, *key)
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
        Kind of each step, and the draw it ends in (-1: not recorded).
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
    if chains >= _FEW_CHAINS and d <= FUSED_DIMENSION:
        _dense(X, E, L, _extents(L), which, slot, observed, m, out, _group(chains), *key)
    elif d <= _FEW_DIMENSION:
        Et, Lt = (np.ascontiguousarray(array.transpose(0, 2, 1)) for array in (E, L))
        _dense_few(X, Et, Lt, which, slot, observed, m, out, *key)
    else:
        _dense_blas(X, E, L, which, slot, observed, m, out, key)


def _extents(factor: FloatArray) -> IntArray:
    # How many columns of each row reach: a Cholesky factor has half of them.
    columns = np.arange(1, factor.shape[2] + 1)
    return np.asarray(((factor != 0.0) * columns).max(axis=2), dtype=np.int64)


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
        _decoupled(state, none, one, same, every, none[0], z, group, first, 0, *key)
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
    if turn is None:
        group = min(_group(chains), max(8, _GROUP // d))
        _decoupled(y, rho, sigma, which, slot, m, out, group, 0, 0, *key)
        return
    W = np.ascontiguousarray(turn, out.dtype)
    if d <= TURNED_DIMENSION and chains >= _FEW_CHAINS:
        _turned(y, rho, sigma, which, slot, W, m, out, _group(chains), *key)
        return
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
            _decoupled(states, decay, scale, kinds, local, none, raw, group, first, c, *key)
            if rows:
                seen = outer[: rows * len(turn)].reshape(rows, len(turn))
                np.matmul(raw.reshape(rows, d), turn.T, out=seen)
                target = out[c : c + block, base : base + len(draws)]
                _add_into(seen.reshape(target.shape), mean, target)


def _group(chains: int) -> int:
    # Large enough for vector instructions, small enough to occupy every thread.
    share = -(-chains // get_num_threads())
    return min(_GROUP, max(8, -(-share // 8) * 8))


@njit(parallel=True, cache=True, error_model="numpy")
def _fill(out: Any, step: Any, purpose: Any, k0: Any, k1: Any) -> None:
    # reference.standard_normals.
    for chain in prange(out.shape[0]):
        fill_normals(out[chain], 0, step, chain, purpose, k0, k1)


@njit(parallel=True, cache=True, error_model="numpy")
def _add_into(values: Any, mean: Any, out: Any) -> None:
    for c in prange(out.shape[0]):
        for n in range(out.shape[1]):
            for i in range(out.shape[2]):
                out[c, n, i] = values[c, n, i] + mean[i]


@njit(cache=True, error_model="numpy")
def _addresses(counters: Any, columns: Any, size: Any, first: Any, inner: Any) -> None:
    # Block (column, row, chain) for each number of a tile of rows; chains innermost or not.
    q = columns * size
    for j in range(counters.shape[1]):
        r = j % q
        counters[0, j] = r // size if inner else r % columns
        counters[1, j] = j // q
        counters[2, j] = first + (r % size if inner else r // columns)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_product(out: Any, M: Any, X: Any, extent: Any) -> None:
    # out[i] += M[i, :extent[i]] @ X[:extent[i]]; eight columns of M at a time spare passes.
    wide_vectors()
    for i in range(out.shape[0]):
        row, columns = out[i], extent[i]
        whole = columns - columns % 8
        for j in range(0, whole, 8):
            a, b, c, d = M[i, j], M[i, j + 1], M[i, j + 2], M[i, j + 3]
            e, f, g, h = M[i, j + 4], M[i, j + 5], M[i, j + 6], M[i, j + 7]
            x0, x1, x2, x3 = X[j], X[j + 1], X[j + 2], X[j + 3]
            x4, x5, x6, x7 = X[j + 4], X[j + 5], X[j + 6], X[j + 7]
            for k in range(row.shape[0]):
                first = (((row[k] + a * x0[k]) + b * x1[k]) + c * x2[k]) + d * x3[k]
                row[k] = (((first + e * x4[k]) + f * x5[k]) + g * x6[k]) + h * x7[k]
        for j in range(whole, columns):
            a, x0 = M[i, j], X[j]
            for k in range(row.shape[0]):
                row[k] += a * x0[k]


@njit(parallel=True, cache=True, error_model="numpy")
def _dense(
    start: Any,
    transition: Any,
    factor: Any,
    extents: Any,
    which: Any,
    slot: Any,
    observed: Any,
    mean: Any,
    out: Any,
    group: Any,
    k0: Any,
    k1: Any,
) -> None:
    chains, d = start.shape
    rank, lanes = factor.shape[2], 16 // out.itemsize
    purpose = PURPOSE_SINGLE if out.itemsize == 4 else PURPOSE_STEP
    for b in prange((chains + group - 1) // group):
        first = b * group
        size = min(group, chains - first)
        q = rank * size
        counters = np.empty((3, q), dtype=np.uint64)
        _addresses(counters, rank, size, first, True)
        X, new = np.empty((d, size), out.dtype), np.empty((d, size), out.dtype)
        z, all_columns = np.empty((lanes, q), out.dtype), np.full(d, d)
        for i in range(d):
            for c in range(size):
                X[i, c] = start[first + c, i]
        for step in range(which.shape[0]):
            lane = step % lanes
            if lane == 0:
                shift = step // lanes
                fill_lanes(z, counters[0], counters[1], counters[2], shift, purpose, k0, k1)
            kind = which[step]
            # X @ E.T + z @ L.T
            new[:] = 0.0
            _add_product(new, transition[kind], X, all_columns)
            _add_product(new, factor[kind], z[lane].reshape(rank, size), extents[kind])
            X, new = new, X
            if slot[step] >= 0:
                for c in range(size):
                    row = out[first + c, slot[step]]
                    for k in range(observed.shape[0]):
                        row[k] = X[observed[k], c] + mean[k]


@njit(parallel=True, cache=True, error_model="numpy")
def _dense_few(
    start: Any,
    transition: Any,
    factor: Any,
    which: Any,
    slot: Any,
    observed: Any,
    mean: Any,
    out: Any,
    k0: Any,
    k1: Any,
) -> None:
    # One chain at a time, coordinates innermost: `transition` and `factor` are transposed.
    chains, d = start.shape
    rank, lanes = factor.shape[1], 16 // out.itemsize
    purpose = PURPOSE_SINGLE if out.itemsize == 4 else PURPOSE_STEP
    for c in prange(chains):
        rows = max(1, min(_TILE // rank, (which.shape[0] + lanes - 1) // lanes))
        counters = np.empty((3, rows * rank), dtype=np.uint64)
        _addresses(counters, rank, 1, c, False)
        z, noise = np.empty((lanes, rows * rank), out.dtype), np.empty((1, rank), out.dtype)
        X, new = np.empty((1, d), out.dtype), np.empty((1, d), out.dtype)
        all_states, all_noise = np.full(1, d), np.full(1, rank)
        X[0] = start[c]
        for step in range(which.shape[0]):
            tile, t = step // (lanes * rows), step % (lanes * rows)
            if t == 0:
                shift = tile * rows
                fill_lanes(z, counters[0], counters[1], counters[2], shift, purpose, k0, k1)
            kind, place = which[step], (t // lanes) * rank
            noise[0] = z[t % lanes, place : place + rank]
            new[:] = 0.0
            _add_product(new, X, transition[kind], all_states)
            _add_product(new, noise, factor[kind], all_noise)
            X, new = new, X
            if slot[step] >= 0:
                row = out[c, slot[step]]
                for k in range(observed.shape[0]):
                    row[k] = X[0, observed[k]] + mean[k]


@njit(parallel=True, cache=True, error_model="numpy")
def _decoupled(
    state: Any,
    decay: Any,
    scale: Any,
    which: Any,
    slot: Any,
    mean: Any,
    out: Any,
    group: Any,
    offset: Any,
    chain: Any,
    k0: Any,
    k1: Any,
) -> None:
    # Steps from `offset` on, of chains from `chain` on; `state` is left at the last step.
    chains, d = state.shape
    steps, lanes = which.shape[0], 16 // out.itemsize
    purpose = PURPOSE_SINGLE if out.itemsize == 4 else PURPOSE_STEP
    for b in prange((chains + group - 1) // group):
        first = b * group
        size = min(group, chains - first)
        q = size * d
        rows = max(1, min(_TILE // q, (steps + lanes - 1) // lanes))
        counters = np.empty((3, rows * q), dtype=np.uint64)
        _addresses(counters, d, size, chain + first, False)
        z = np.empty((lanes, rows * q), out.dtype)
        path = z.reshape(-1)
        y, rho, sigma = np.empty(q, out.dtype), np.empty(q, out.dtype), np.empty(q, out.dtype)
        for r in range(q):
            y[r] = state[first + r // d, r % d]
        kind = -1
        for begin in range(0, steps, lanes * rows):
            shift, count = (offset + begin) // lanes, min(lanes * rows, steps - begin)
            fill_lanes(z, counters[0], counters[1], counters[2], shift, purpose, k0, k1)
            for t in range(count):
                if which[begin + t] != kind:
                    kind = which[begin + t]
                    for r in range(q):
                        rho[r], sigma[r] = decay[kind, r % d], scale[kind, r % d]
                place = (t % lanes) * rows * q + (t // lanes) * q
                row = path[place : place + q]
                for r in range(q):
                    y[r] = rho[r] * y[r] + sigma[r] * row[r]
                    row[r] = y[r]
            for c in range(size):
                for t in range(count):
                    draw = slot[begin + t]
                    place = (t % lanes) * rows * q + (t // lanes) * q + c * d
                    if draw >= 0 and d == 1:
                        out[first + c, draw, 0] = path[place] + mean[0]
                    elif draw >= 0:
                        source = path[place : place + d]
                        for i in range(d):
                            out[first + c, draw, i] = source[i] + mean[i]
        for r in range(q):
            state[first + r // d, r % d] = y[r]


@njit(parallel=True, cache=True, error_model="numpy")
def _turned(
    start: Any,
    decay: Any,
    scale: Any,
    which: Any,
    slot: Any,
    turn: Any,
    mean: Any,
    out: Any,
    group: Any,
    k0: Any,
    k1: Any,
) -> None:
    chains, d = start.shape
    lanes = 16 // out.itemsize
    purpose = PURPOSE_SINGLE if out.itemsize == 4 else PURPOSE_STEP
    for b in prange((chains + group - 1) // group):
        first = b * group
        size = min(group, chains - first)
        q = size * d
        counters = np.empty((3, q), dtype=np.uint64)
        _addresses(counters, d, size, first, True)
        z, all_columns = np.empty((lanes, q), out.dtype), np.full(turn.shape[0], d)
        y, seen = np.empty((d, size), out.dtype), np.empty((turn.shape[0], size), out.dtype)
        for i in range(d):
            for c in range(size):
                y[i, c] = start[first + c, i]
        for step in range(which.shape[0]):
            lane = step % lanes
            if lane == 0:
                shift = step // lanes
                fill_lanes(z, counters[0], counters[1], counters[2], shift, purpose, k0, k1)
            for i in range(d):
                rho, sigma = decay[which[step], i], scale[which[step], i]
                state, noise = y[i], z[lane, i * size : (i + 1) * size]
                for c in range(size):
                    state[c] = rho * state[c] + sigma * noise[c]
            if slot[step] >= 0:
                for k in range(turn.shape[0]):
                    seen[k] = mean[k]
                _add_product(seen, turn, y, all_columns)
                for c in range(size):
                    row = out[first + c, slot[step]]
                    for k in range(turn.shape[0]):
                        row[k] = seen[k, c]
