"""Compiled loops of :mod:`fracsde.backends.numba_cpu` for several chains.

A group of chains and a tile of steps are worked on at a time, chains innermost
(:mod:`fracsde.backends.chain_lanes`), so that normals, steps and products are vectors from end to
end and stay in the caches.  The record of a tile is written in one run for each chain, by the
thread that made it.  Steps are compiled without counts of references to arrays, see
:mod:`fracsde.backends.chain_lanes`.  A path is the same whatever the number of chains, of threads
and of chains in a group.  Comments name the lines of :mod:`fracsde.backends.reference` that a
kernel stands for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from fracsde._compiled import njit
from fracsde.backends.ars import round_keys
from fracsde.backends.chain_lanes import advance, push, record, step, turn
from fracsde.backends.lane_normals import fill_chains_ahead
from fracsde.backends.reference import PURPOSE_SINGLE, PURPOSE_STEP
from fracsde.backends.vector_code import BYTES
from fracsde.backends.vectors import uncounted

__all__ = ["decoupled_lanes", "dense"]

_TILE = 1280  # blocks of normals whose numbers and states stay in the first-level cache


@njit(cache=True, error_model="numpy")
def _aligned(count: Any, like: Any) -> Any:
    # Scratch whose vectors do not lie across two lines of a cache.
    raw = np.empty(count + BYTES // like.itemsize, like.dtype)
    skip = -raw.ctypes.data % BYTES // like.itemsize
    found = raw[skip : skip + count]
    found[:] = 0.0
    return found


@njit(cache=True, error_model="numpy")
def _addresses(rows: Any, columns: Any, size: Any, first: Any, width: Any, purpose: Any) -> Any:
    # Block (column, row, chain, purpose) of the first chain of each vector, chains innermost.
    vectors = size // width
    starts = np.empty((rows * columns * vectors, 4), np.uint32)
    for j in range(starts.shape[0]):
        place, start = j // vectors, starts[j]
        start[0], start[1] = place % columns, place // columns
        start[2], start[3] = first + j % vectors * width, purpose
    return starts


@njit(cache=True, error_model="numpy")
def _tile_rows(columns: Any, size: Any, lanes: Any, steps: Any) -> Any:
    # Rows of blocks worked on at a time.
    return max(1, min(_TILE // (columns * size), (steps + lanes - 1) // lanes))


@njit(cache=True, error_model="numpy")
def _means(mean: Any, count: Any) -> Any:
    # The mean of each row of a table of several draws.
    found = np.empty(count * mean.shape[0], mean.dtype)
    for r in range(found.shape[0]):
        found[r] = mean[r % mean.shape[0]]
    return found


@njit(parallel=True, cache=True, error_model="numpy")
def dense(
    start: Any,
    transition: Any,
    factor: Any,
    extents: Any,
    rule: Any,
    which: Any,
    slot: Any,
    observed: Any,
    mean: Any,
    out: Any,
    size: Any,
    k0: Any,
    k1: Any,
) -> None:
    """Iterate dense steps, or steps with momentum, a group of chains at a time.

    Parameters
    ----------
    start, which, slot, observed, mean, out : ndarray
        As for :func:`fracsde.backends.numba_cpu.dense_paths`, all of the kind of ``out``.
    transition, factor : (g, rows, d) and (g, rows, r) ndarray
        With rows of zeros up to a multiple of :func:`fracsde.backends.product_code.tile_rows`.
    extents : (g, tiles) int64
        How many columns of a factor reach, in each tile of rows.
    rule : (3,) or (0,) ndarray
        ``b``, ``r`` and ``mu`` of steps with momentum, whose transition takes the first half of
        the states to what is added; nothing for dense steps.
    size : int
        Chains worked on at a time, a multiple of one vector.
    k0, k1 : uint32
        Key of the normals.
    """
    rows = _tile_rows(factor.shape[2], size, 16 // out.itemsize, which.shape[0])
    means = _means(mean, rows * (16 // out.itemsize))
    for b in prange((start.shape[0] + size - 1) // size):
        _dense_group(
            b,
            start,
            transition,
            factor,
            extents,
            rule,
            which,
            slot,
            observed,
            means,
            out,
            size,
            k0,
            k1,
        )


@njit(cache=True, error_model="numpy")
def _dense_group(
    group: Any,
    start: Any,
    transition: Any,
    factor: Any,
    extents: Any,
    rule: Any,
    which: Any,
    slot: Any,
    observed: Any,
    means: Any,
    out: Any,
    size: Any,
    k0: Any,
    k1: Any,
) -> None:
    chains = start.shape[0]
    steps, rank, lanes, k = which.shape[0], factor.shape[2], 16 // out.itemsize, out.shape[2]
    flat, gap = out.reshape(-1), out.shape[1] * k
    purpose = PURPOSE_SINGLE if out.itemsize == 4 else PURPOSE_STEP
    rows, first = _tile_rows(rank, size, lanes, steps), group * size
    held, count = min(size, chains - first), rows * lanes
    starts = _addresses(rows, rank, size, first, BYTES // out.itemsize, purpose)
    noise, tall = _aligned(lanes * rows * rank * size, out), transition.shape[1]
    z, seen = noise.reshape(lanes, -1), _aligned(count * k * size, out).reshape(-1, size)
    high = max(tall, start.shape[1])
    X = _aligned(high * size, out).reshape(high, size)
    new = _aligned(tall * size, out).reshape(tall, size)
    _load_states(X, start, first, held)
    law, script = (transition, factor, extents, rule), (which, slot, observed, means)
    run, addresses = (first * gap, gap, held, count), (starts, round_keys(k0, k1))
    _dense_steps(law, script, run, addresses, (noise, z, seen, X, new), flat)


@uncounted
def _dense_steps(law: Any, script: Any, run: Any, addresses: Any, scratch: Any, flat: Any) -> None:
    # All steps of a group of chains, whose part of the record begins at first in runs a gap apart.
    (transition, factor, extents, rule), (which, slot, observed, means) = law, script
    (first, gap, held, count), (starts, keys) = run, addresses
    noise, z, seen, X, new = scratch
    steps, lanes, k = which.shape[0], z.shape[0], observed.shape[0]
    rank, size = factor.shape[2], seen.shape[1]
    pending, draw = 0, 0
    for n in range(steps):
        t = n % count
        if t == 0:
            draws, begin = _recorded(slot, n, min(n + count, steps))
            place = first + begin * k
            fill_chains_ahead(z, starts, n // lanes, keys, flat, place, gap, draws * k, held)
        # X @ E.T + z @ L.T, or x @ M.T + z @ L.T
        kind, place = which[n], t % lanes * z.shape[1] + (t // lanes) * rank * size
        step(new, factor[kind], noise, place, extents[kind], transition[kind], X)
        if rule.shape[0] == 0:
            X, new = new, X
        else:
            push(X, new, transition.shape[2], rule)
        if slot[n] >= 0:
            draw = slot[n]
            for r in range(k):
                _copy(seen[pending * k + r], X[observed[r]])
            pending += 1
        if pending > 0 and (t == count - 1 or n == steps - 1):
            place = first + (draw - pending + 1) * k
            record(seen, means, flat, place, gap, pending * k, held)
            pending = 0


@uncounted
def _recorded(slot: Any, begin: Any, end: Any) -> Any:
    # How many of these steps are recorded, and the draw of the first of them.
    count, first = 0, 0
    for n in range(end - 1, begin - 1, -1):
        if slot[n] >= 0:
            count, first = count + 1, slot[n]
    return count, first


@uncounted
def _copy(target: Any, source: Any) -> None:
    for c in range(target.shape[0]):
        target[c] = source[c]


@njit(cache=True, error_model="numpy")
def _load_states(table: Any, states: Any, first: Any, held: Any) -> None:
    for i in range(states.shape[1]):
        for c in range(held):
            table[i, c] = states[first + c, i]


@njit(parallel=True, cache=True, error_model="numpy")
def decoupled_lanes(
    start: Any,
    decay: Any,
    scale: Any,
    which: Any,
    slot: Any,
    basis: Any,
    tiles: Any,
    mean: Any,
    out: Any,
    size: Any,
    k0: Any,
    k1: Any,
) -> None:
    """Iterate independent scalar steps of a group of chains at a time, and record them.

    Parameters
    ----------
    start, decay, scale, which, slot, mean, out : ndarray
        As for :func:`fracsde.backends.numba_cpu.decoupled_paths`, all of the kind of ``out``.
    basis : (rows, d) ndarray
        Matrix from states to the record, with rows of zeros up to a multiple of
        :func:`fracsde.backends.product_code.tile_rows`; without rows where states are recorded.
    tiles : int
        How many tiles of rows that makes.
    size : int
        Chains worked on at a time, a multiple of one vector.
    k0, k1 : uint32
        Key of the normals.
    """
    rows = _tile_rows(start.shape[1], size, 16 // out.itemsize, which.shape[0])
    means = _means(mean, rows * (16 // out.itemsize))
    for b in prange((start.shape[0] + size - 1) // size):
        _decoupled_group(
            b, start, decay, scale, which, slot, basis, tiles, means, out, size, k0, k1
        )


@njit(cache=True, error_model="numpy")
def _decoupled_group(
    group: Any,
    start: Any,
    decay: Any,
    scale: Any,
    which: Any,
    slot: Any,
    basis: Any,
    tiles: Any,
    means: Any,
    out: Any,
    size: Any,
    k0: Any,
    k1: Any,
) -> None:
    chains, d = start.shape
    steps, lanes, k = which.shape[0], 16 // out.itemsize, out.shape[2]
    flat, gap = out.reshape(-1), out.shape[1] * k
    purpose = PURPOSE_SINGLE if out.itemsize == 4 else PURPOSE_STEP
    rows, first = _tile_rows(d, size, lanes, steps), group * size
    held, count = min(size, chains - first), rows * lanes
    starts = _addresses(rows, d, size, first, BYTES // out.itemsize, purpose)
    z = _aligned(lanes * rows * d * size, out).reshape(lanes, -1)
    y = _aligned(d * size, out).reshape(d, size)
    wide = k + basis.shape[0]
    path = _aligned(count * d * size, out).reshape(count, d, size)
    seen = _aligned((count * k + wide) * size, out).reshape(-1, size)
    rho, sigma = np.empty((count, d), out.dtype), np.empty((count, d), out.dtype)
    kinds = np.full(count, -1)
    _load_states(y, start, first, held)
    law, script = (decay, scale, basis, tiles), (which, slot, means)
    run, addresses = (first * gap, gap, held, k), (starts, round_keys(k0, k1))
    _decoupled_steps(law, script, run, addresses, (z, y, path, seen, rho, sigma, kinds), flat)


@uncounted
def _decoupled_steps(
    law: Any, script: Any, run: Any, addresses: Any, scratch: Any, flat: Any
) -> None:
    # As _dense_steps.
    (decay, scale, basis, tiles), (which, slot, means) = law, script
    (first, gap, held, k), (starts, keys) = run, addresses
    z, y, path, seen, rho, sigma, kinds = scratch
    (count, d, size), steps, lanes = path.shape, which.shape[0], z.shape[0]
    plain = basis.shape[0] == 0  # states go straight to the record where each is recorded
    for begin in range(0, steps, count):
        n = min(count, steps - begin)
        draws, draw = _recorded(slot, begin, begin + n)
        place = first + draw * k
        fill_chains_ahead(z, starts, begin // lanes, keys, flat, place, gap, draws * k, held)
        for t in range(n):
            if kinds[t] != which[begin + t]:
                kinds[t] = which[begin + t]
                _copy(rho[t], decay[kinds[t]])
                _copy(sigma[t], scale[kinds[t]])
        advance(y, rho[:n], sigma[:n], z, path)
        if plain and draws == n:
            record(path.reshape(count * d, size), means, flat, place, gap, n * k, held)
            continue
        pending = 0
        for t in range(n):
            if slot[begin + t] < 0:
                continue
            # Rows beyond the last coordinate belong to the next draw, which overwrites them.
            if plain:
                _copy(seen[pending * k : (pending + 1) * k].reshape(-1), path[t].reshape(-1))
            else:
                turn(seen, pending * k, basis, tiles, path, t)
            pending += 1
        if pending > 0:
            record(seen, means, flat, place, gap, pending * k, held)
