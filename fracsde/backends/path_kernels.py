"""Compiled loops of :mod:`fracsde.backends.numba_cpu` for few chains or many coordinates.

A group of chains and a tile of steps are worked on at a time: their normals are made in one run
of vector instructions, and become the path where they lie.  The record is written once, by the
thread that made it.  Where there are many chains, :mod:`fracsde.backends.lane_kernels` serves.
Comments name the lines of :mod:`fracsde.backends.reference` that a kernel stands for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from fracsde._compiled import njit
from fracsde.backends.lane_normals import fill_lanes
from fracsde.backends.normals import fill_normal_rows
from fracsde.backends.reference import PURPOSE_SINGLE, PURPOSE_STEP
from fracsde.backends.vectors import wide_vectors

__all__ = ["add_into", "decoupled", "dense_few", "fill"]

_TILE = 1024  # numbers that stay in the first-level cache
_TOGETHER = 64  # chains whose normals of one step are made in one run


@njit(parallel=True, cache=True, error_model="numpy")
def fill(out: Any, step: Any, purpose: Any, k0: Any, k1: Any) -> None:
    """Fill the normals of all chains at one step.

    Parameters
    ----------
    out : (chain, column) float64
        Written.
    step, purpose : int
        Which normals.
    k0, k1 : uint32
        Key of the normals.
    """
    # reference.standard_normals.
    for part in prange((out.shape[0] + _TOGETHER - 1) // _TOGETHER):
        first = part * _TOGETHER
        fill_normal_rows(out[first : first + _TOGETHER], step, first, purpose, k0, k1)


@njit(parallel=True, cache=True, error_model="numpy")
def add_into(values: Any, mean: Any, out: Any) -> None:
    """Add a vector to values, into a record.

    Parameters
    ----------
    values : (chain, draw, k) ndarray
        What is added to.
    mean : (k,) ndarray
        The vector.
    out : (chain, draw, k) ndarray
        Written.
    """
    for c in prange(out.shape[0]):
        for n in range(out.shape[1]):
            for i in range(out.shape[2]):
                out[c, n, i] = values[c, n, i] + mean[i]


@njit(cache=True, error_model="numpy")
def _addresses(rows: Any, columns: Any, size: Any, first: Any, purpose: Any) -> Any:
    # Block (column, row, chain, purpose) for each number of a tile of rows, coordinates innermost.
    q = columns * size
    counters = np.empty((rows * q, 4), np.uint32)
    for j in range(rows * q):
        r, address = j % q, counters[j]
        address[0], address[1], address[2] = r % columns, j // q, first + r // columns
        address[3] = purpose
    return counters


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
def dense_few(
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
    """Iterate dense steps, one chain at a time, coordinates innermost.

    Parameters
    ----------
    start, which, slot, observed, mean, out : ndarray
        As for :func:`fracsde.backends.numba_cpu.dense_paths`, all of the kind of ``out``.
    transition, factor : (g, d, d) and (g, r, d) ndarray
        Transposed.
    k0, k1 : uint32
        Key of the normals.
    """
    chains, d = start.shape
    rank, lanes = factor.shape[1], 16 // out.itemsize
    purpose = PURPOSE_SINGLE if out.itemsize == 4 else PURPOSE_STEP
    for c in prange(chains):
        rows = max(1, min(_TILE // rank, (which.shape[0] + lanes - 1) // lanes))
        counters = _addresses(rows, rank, 1, c, purpose)
        z, noise = np.empty((lanes, rows * rank), out.dtype), np.empty((1, rank), out.dtype)
        X, new = np.empty((1, d), out.dtype), np.empty((1, d), out.dtype)
        all_states, all_noise = np.full(1, d), np.full(1, rank)
        X[0] = start[c]
        for step in range(which.shape[0]):
            tile, t = step // (lanes * rows), step % (lanes * rows)
            if t == 0:
                shift = tile * rows
                fill_lanes(z, counters, shift, k0, k1)
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
def decoupled(
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
    """Iterate independent scalar steps.

    Parameters
    ----------
    state : (chain, d) ndarray
        States before the first step; left at the last one.
    decay, scale, which, slot, mean, out : ndarray
        As for :func:`fracsde.backends.numba_cpu.decoupled_paths`, all of the kind of ``out``.
    group : int
        Chains worked on at a time.
    offset, chain : int
        The first step and the first chain, for their normals.
    k0, k1 : uint32
        Key of the normals.
    """
    chains, d = state.shape
    steps, lanes = which.shape[0], 16 // out.itemsize
    purpose = PURPOSE_SINGLE if out.itemsize == 4 else PURPOSE_STEP
    for b in prange((chains + group - 1) // group):
        first = b * group
        size = min(group, chains - first)
        q = size * d
        rows = max(1, min(_TILE // q, (steps + lanes - 1) // lanes))
        counters = _addresses(rows, d, size, chain + first, purpose)
        z = np.empty((lanes, rows * q), out.dtype)
        path = z.reshape(-1)
        y, rho, sigma = np.empty(q, out.dtype), np.empty(q, out.dtype), np.empty(q, out.dtype)
        for r in range(q):
            y[r] = state[first + r // d, r % d]
        kind = -1
        for begin in range(0, steps, lanes * rows):
            shift, count = (offset + begin) // lanes, min(lanes * rows, steps - begin)
            fill_lanes(z, counters, shift, k0, k1)
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
