r"""Random words addressed by a counter: Philox4x32-10.

One block maps four counter words :math:`c` and two key words :math:`k` to four random words by
ten rounds of

.. math::
    (c_0, c_1, c_2, c_3) \mapsto
    (\mathrm{hi}(M_1 c_2) \oplus c_1 \oplus k_0,\; \mathrm{lo}(M_1 c_2),\;
     \mathrm{hi}(M_0 c_0) \oplus c_3 \oplus k_1,\; \mathrm{lo}(M_0 c_0)),

with hi and lo the halves of the 64-bit product and the key advanced by a constant after each
round.  A block is a function of its address alone: a stream needs no state, so results depend
neither on the number of threads nor on how a run is cut into calls.

Not here: normals made from the words (:mod:`fracsde.backends.normals`), and choosing addresses.
The convention is the caller's; a common one is ``(index, step, stream, purpose)`` under the key of
:func:`seed_key`.

References: [Salmon2011]_ for the generator and its test vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import integer
from fracsde._compiled import njit
from fracsde.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import RandomState

__all__ = ["philox4x32", "philox4x32_reference", "philox_words", "seed_key"]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@njit(cache=True, error_model="numpy", inline="always")
def philox_words(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return the four words of one block in 64-bit lanes whose upper halves hold anything.

    A loop over blocks compiles to vector instructions: a product reads the lower halves alone, so
    that no instruction is spent on clearing the others.

    Parameters
    ----------
    c0, c1, c2, c3 : uint64
        Counter words.
    k0, k1 : uint32
        Key words.

    Returns
    -------
    tuple of four uint64
        The random words are the lower halves.
    """
    w0, w1, w2, w3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    key0, key1 = np.uint64(k0) & _LOW, np.uint64(k1) & _LOW
    for _ in range(10):
        first = _M0 * (w0 & _LOW)
        second = _M1 * (w2 & _LOW)
        w0 = (second >> _HALF) ^ (w1 ^ key0)
        w1 = second
        w2 = (first >> _HALF) ^ (w3 ^ key1)
        w3 = first
        key0 = (key0 + _W0) & _LOW
        key1 = (key1 + _W1) & _LOW
    return w0, w1, w2, w3


@njit(cache=True, error_model="numpy", inline="always")
def philox4x32(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return the four random words of one block; call it from compiled code.

    Parameters
    ----------
    c0, c1, c2, c3 : uint32
        Counter words: the address of the block.
    k0, k1 : uint32
        Key words, see :func:`seed_key`.

    Returns
    -------
    tuple of four uint32
        Independent for all practical purposes between addresses and between keys.

    Examples
    --------
    >>> [hex(word) for word in philox4x32(0, 0, 0, 0, 0, 0)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    w0, w1, w2, w3 = philox_words(c0, c1, c2, c3, k0, k1)
    return np.uint32(w0), np.uint32(w1), np.uint32(w2), np.uint32(w3)


def seed_key(seed: RandomState, name: str = "seed") -> tuple[np.uint32, np.uint32]:
    """Return the two key words of a seed.

    Parameters
    ----------
    seed : int, SeedSequence or Generator
        A whole number or a seed sequence gives the same key each time; a generator is drawn
        from, so each call gives another key.
    name : str
        The argument's name, for messages.

    Returns
    -------
    tuple of two uint32

    Raises
    ------
    InputError
        If it is none of these.

    Examples
    --------
    >>> seed_key(7) == seed_key(np.random.SeedSequence(7))
    True
    """
    words: NDArray[Any]
    if isinstance(seed, np.random.Generator):
        words = seed.integers(0, 2**32, size=2, dtype=np.uint32)
    elif isinstance(seed, np.random.SeedSequence):
        words = seed.generate_state(2)
    elif isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        words = np.random.SeedSequence(integer(name, seed, low=0)).generate_state(2)
    else:
        msg = (
            f"`{name}` must be a whole number, a numpy SeedSequence or a numpy Generator, "
            f"got {seed!r}; results can only be made again from a seed"
        )
        raise InputError(msg)
    return np.uint32(words[0]), np.uint32(words[1])


def philox4x32_reference(
    counter: NDArray[np.uint32], key: tuple[np.uint32, np.uint32]
) -> NDArray[np.uint32]:
    """Random words of many blocks in plain NumPy: the definition of correct.

    Parameters
    ----------
    counter : (..., 4) uint32
        Addresses.
    key : two uint32
        Key words.

    Returns
    -------
    (..., 4) uint32
    """
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, dtype=np.uint64), -1, 0)
    key0, key1 = (np.uint64(word) for word in key)
    for _ in range(10):
        first, second = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (second >> _HALF) ^ c1 ^ key0,
            second & _LOW,
            (first >> _HALF) ^ c3 ^ key1,
            first & _LOW,
        )
        key0, key1 = (key0 + _W0) & _LOW, (key1 + _W1) & _LOW
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)
