r"""Standard normals of many addresses at once: Box and Muller's map of ARS words.

.. math::
    z_0 = \sqrt{-2 \log u}\,\cos 2\pi v, \qquad z_1 = \sqrt{-2 \log u}\,\sin 2\pi v .

============  ======================  =====================  ==================  ==============
numbers       normals of a block      :math:`u`              :math:`v`           largest
============  ======================  =====================  ==================  ==============
float64       2, words 0-1 and 2-3    52 bits, in (0, 1]     54 bits             8.49
float32       4, words 0-1, 2-3       32 bits, in (0, 1]     25 bits             6.76
============  ======================  =====================  ==================  ==============

so that :math:`2 \cdot 10^{-17}` and :math:`1.4 \cdot 10^{-11}` of the law are cut off; the
distribution function of a float32 normal is within :math:`10^{-7}` of the exact one.  Two words
make one of 64 bits, the first below.

Not here: the words (:mod:`fracsde.backends.ars`), the code of vectors of
normals (:mod:`fracsde.backends.lane_code`), choosing addresses, a few normals at a time
(:mod:`fracsde.backends.normals`), and what all of this is checked against
(:mod:`fracsde.backends.lane_normals_reference`).

Reference: [BoxMuller1958]_.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core.registry import cpu_target
from numba.extending import overload

from fracsde._compiled import njit
from fracsde.backends.ars import ars_words, cipher_bits, round_keys
from fracsde.backends.lane_code import TOGETHER, vectors, woven
from fracsde.backends.vector_code import BYTES
from fracsde.backends.vectors import counted, expect, uncounted, wide_vectors

__all__ = ["fill_chains", "fill_chains_ahead", "fill_lanes", "normals_of_words"]

_of_addresses, _of_address = (vectors(n, "addresses") for n in (TOGETHER, 1))
_of_chain = vectors(1, "chains")
_first_chains, _middle_chains, _last_chains = (woven(s) for s in ("first", "middle", "last"))
_of_words, _of_word = (vectors(n, "words") for n in (TOGETHER, 1))


@njit(cache=True, error_model="numpy")
def _encrypted_lanes(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> None:
    wide_vectors()
    keys, flat, stride, n = round_keys(k0, k1), z.reshape(-1), z.shape[1], counters.shape[0]
    width = BYTES // z.itemsize
    many, whole = n - n % (TOGETHER * width), n - n % width
    for i in range(0, many, TOGETHER * width):
        _of_addresses(flat, stride, i, counters, shift, keys)
    for i in range(many, whole, width):
        _of_address(flat, stride, i, counters, shift, keys)
    if whole < n:
        part, rest = np.zeros((width, 4), np.uint32), np.empty((z.shape[0], width), z.dtype)
        part[: n - whole] = counters[whole:]
        _of_address(rest.reshape(-1), width, 0, part, shift, keys)
        z[:, whole:n] = rest[:, : n - whole]


@njit(cache=True, error_model="numpy")
def normals_of_words(z: Any, words: Any) -> None:
    """Write the normals of words that exist; callable from Python and from compiled code.

    Parameters
    ----------
    z : (2, m) float64 or (4, m) float32
        Overwritten in the first ``n`` columns; ``m >= n``, C-contiguous.
    words : (n, 4) uint32
        Of each block.
    """
    wide_vectors()
    keys, flat, stride, n = round_keys(0, 0), z.reshape(-1), z.shape[1], words.shape[0]
    width = BYTES // z.itemsize
    many, whole = n - n % (TOGETHER * width), n - n % width
    for i in range(0, many, TOGETHER * width):
        _of_words(flat, stride, i, words, 0, keys)
    for i in range(many, whole, width):
        _of_word(flat, stride, i, words, 0, keys)
    if whole < n:
        part, rest = np.zeros((width, 4), np.uint32), np.empty((z.shape[0], width), z.dtype)
        part[: n - whole] = words[whole:]
        _of_word(rest.reshape(-1), width, 0, part, 0, keys)
        z[:, whole:n] = rest[:, : n - whole]


@njit(cache=True, error_model="numpy")
def _tabled_lanes(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> None:
    words = np.empty_like(counters)
    ars_words(counters, shift, round_keys(k0, k1), words)
    normals_of_words(z, words)


@uncounted
def _encrypted_chains(
    z: Any, starts: Any, shift: Any, keys: Any, out: Any, first: Any, gap: Any, rows: Any, runs: Any
) -> None:
    wide_vectors()
    stride, width, n = z.shape[1], BYTES // z.itemsize, starts.shape[0]
    lines = (rows + 2 * width - 2) // width  # that a run may lie in
    run = line = asked = 0
    many = n - n % TOGETHER
    if many > 0:
        _first_chains(z, stride, 0, starts, shift, keys)
    for j in range(0, n, TOGETHER):
        # All at once would wait for one another and keep the arithmetic waiting.
        goal = lines * runs * min(j + TOGETHER, n) // n
        while asked < goal:
            expect(out, first + run * gap + min(line * width, rows - 1))
            asked, line = asked + 1, line + 1
            if line == lines:
                run, line = run + 1, 0
        if j + TOGETHER < many:
            _middle_chains(z, stride, j * width, starts, shift, keys)
        elif j < many:
            _last_chains(z, stride, j * width, starts, shift, keys)
        else:
            for i in range(j, n):
                _of_chain(z, stride, i * width, starts, shift, keys)


# Callers count no references, see chain_lanes, but this needs memory.
@counted
def _tabled_chains(
    z: Any, starts: Any, shift: Any, keys: Any, out: Any, first: Any, gap: Any, rows: Any, runs: Any
) -> None:
    width = BYTES // z.itemsize
    counters = np.empty((starts.shape[0] * width, 4), np.uint32)
    for i in range(counters.shape[0]):
        counters[i] = starts[i // width]
        counters[i, 2] += np.uint32(i % width)
    words = np.empty_like(counters)
    ars_words(counters, shift, keys, words)
    normals_of_words(z, words)


# Compiled code only, see `fill_lanes` and `fill_chains`; the stamps of kernels kept on disk follow
# the names in here.
def _lanes(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> None:
    raise NotImplementedError(_encrypted_lanes, _tabled_lanes)


def _chains(
    z: Any, starts: Any, shift: Any, keys: Any, out: Any, first: Any, gap: Any, rows: Any, runs: Any
) -> None:
    raise NotImplementedError(_encrypted_chains, _tabled_chains)


def _chosen(quick: Any, tabled: Any) -> Any:
    # By what the target of the compiler can do.
    return quick if cipher_bits(cpu_target.target_context) > 0 else tabled


@overload(_lanes)
def _choose_lanes(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> Any:
    kernel = _chosen(_encrypted_lanes, _tabled_lanes)

    def run(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> None:
        kernel(z, counters, shift, k0, k1)

    return run


@overload(_chains)
def _choose_chains(
    z: Any, starts: Any, shift: Any, keys: Any, out: Any, first: Any, gap: Any, rows: Any, runs: Any
) -> Any:
    kernel = _chosen(_encrypted_chains, _tabled_chains)

    def run(
        z: Any,
        starts: Any,
        shift: Any,
        keys: Any,
        out: Any,
        first: Any,
        gap: Any,
        rows: Any,
        runs: Any,
    ) -> None:
        kernel(z, starts, shift, keys, out, first, gap, rows, runs)

    return run


@njit(cache=True, error_model="numpy")
def fill_chains_ahead(
    z: Any, starts: Any, shift: Any, keys: Any, out: Any, first: Any, gap: Any, rows: Any, runs: Any
) -> None:
    """Do as :func:`fill_chains` while memory that will be written next is brought near.

    A processor reads a line of memory before it writes a part of it, and waits; here the lines are
    asked for a few at a time, between the normals of four vectors and the next.

    Parameters
    ----------
    z, starts, shift
        As for :func:`fill_chains`.
    keys : (ROUNDS + 1, 2) uint64
        From :func:`fracsde.backends.ars.round_keys`.
    out : (n,) ndarray
        Of the kind of ``z``; left as it is.
    first, gap : int
        Where the first run of ``out`` begins, and from run to run.
    rows, runs : int
        How many numbers each run has, and how many there are.
    """
    _chains(z, starts, shift, keys, out, first, gap, rows, runs)


@njit(cache=True, error_model="numpy")
def fill_chains(z: Any, starts: Any, shift: Any, k0: Any, k1: Any) -> None:
    """Write all normals of runs of chains; callable from Python and from compiled code.

    Every vector of 64 bytes of ``z`` holds consecutive chains: block ``starts[j]``, with ``shift``
    added to its second word and ``c`` to its third, gives column ``j w + c`` of ``z`` for each
    ``c`` below the width ``w``, 8 in double and 16 in single precision.

    Parameters
    ----------
    z : (2, n w) float64 or (4, n w) float32
        Overwritten; C-contiguous.
    starts : (n, 4) uint32
        Addresses, C-contiguous.
    shift : int
        Added to the second word, modulo ``2**32``.
    k0, k1 : uint32
        Key words, see :func:`fracsde.backends.philox.seed_key`.
    """
    _chains(z, starts, shift, round_keys(k0, k1), z.reshape(-1), 0, 0, 0, 0)


@njit(cache=True, error_model="numpy")
def fill_lanes(z: Any, counters: Any, shift: Any, k0: Any, k1: Any) -> None:
    """Write all normals of many blocks; callable from Python and from compiled code.

    Block ``counters[i]``, with ``shift`` added to its second word, gives column ``i`` of ``z``.

    Parameters
    ----------
    z : (2, m) float64 or (4, m) float32
        Overwritten in the first ``n`` columns; ``m >= n``, C-contiguous.
    counters : (n, 4) uint32
        Addresses, C-contiguous.
    shift : int
        Added to the second word, modulo ``2**32``.
    k0, k1 : uint32
        Key words, see :func:`fracsde.backends.philox.seed_key`.
    """
    _lanes(z, counters, shift, k0, k1)
