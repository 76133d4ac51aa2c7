r"""Which examples a step of training reads: a function of (seed, replica, step) alone.

===================== ====================================================================
with replacement      each index is :math:`\lfloor N u / 2^{32} \rfloor` of a 32-bit word
                      :math:`u`
without replacement   the first :math:`B` places of a partial Fisher-Yates shuffle of
                      :math:`0 \dots N-1`, afresh at each step
shuffled              consecutive blocks of a Fisher-Yates shuffle, afresh at each epoch of
                      :math:`\lfloor N / B \rfloor` steps; the :math:`N \bmod B` examples at
                      the end of a shuffle are not used in that epoch
===================== ====================================================================

The word at place ``i`` is word ``i % 4`` of the Philox block with counter ``(i // 4, step,
replica, purpose)``, where a shuffle counts epochs for steps.  A whole number below ``n`` comes
from a word by multiplication and shift, so its probabilities differ from :math:`1/n` by at most
:math:`n / 2^{32}` relatively: :math:`4 \cdot 10^{-7}` for 1797 examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, integer
from fracsde._compiled import njit
from fracsde.backends.philox import philox4x32, seed_key
from fracsde.errors import SamplingError

if TYPE_CHECKING:
    from fracsde._typing import IntArray, RandomState

__all__ = ["SAMPLING", "batch_indices"]

SAMPLING = ("with_replacement", "without_replacement", "shuffled")
WITH_REPLACEMENT, WITHOUT_REPLACEMENT, SHUFFLED = 0, 1, 2

# Words drawn per place come from blocks of four; streams of different purpose never meet.
_WORDS = 4
_TOP = np.uint64(32)


@njit(cache=True, error_model="numpy")
def _words(out: Any, count: Any, step: Any, replica: Any, purpose: Any, k0: Any, k1: Any) -> None:
    # Steps beyond 32 bits spill into the purpose word, above its two bits.
    low, high = step & 0xFFFFFFFF, (step >> 32) * 4 + purpose
    for block in range((count + _WORDS - 1) // _WORDS):
        a, b, c, d = philox4x32(block, low, replica, high, k0, k1)
        out[4 * block] = a
        out[4 * block + 1] = b
        out[4 * block + 2] = c
        out[4 * block + 3] = d


@njit(cache=True, error_model="numpy")
def _partial_shuffle(order: Any, words: Any, places: Any) -> None:
    # After this the first ``places`` entries of ``order`` are a uniform draw without replacement.
    total = order.shape[0]
    for i in range(places):
        j = i + np.int64((np.uint64(words[i]) * np.uint64(total - i)) >> _TOP)
        order[i], order[j] = order[j], order[i]


@njit(cache=True, error_model="numpy")
def draw_batch(
    batch: Any,
    order: Any,
    words: Any,
    step: Any,
    replica: Any,
    mode: Any,
    fresh: Any,
    k0: Any,
    k1: Any,
) -> None:
    """Write the indices of one step into ``batch``.

    ``order`` is scratch of one entry per example: the identity on entry and on return without
    replacement, the epoch's shuffle when shuffled.  ``words`` is uint32 scratch, a multiple of
    four long.  ``fresh`` asks for the epoch's shuffle to be made even in mid-epoch.
    """
    size, total = batch.shape[0], order.shape[0]
    if mode == WITH_REPLACEMENT:
        _words(words, size, step, replica, mode, k0, k1)
        for i in range(size):
            batch[i] = np.int64((np.uint64(words[i]) * np.uint64(total)) >> _TOP)
    elif mode == WITHOUT_REPLACEMENT:
        _words(words, size, step, replica, mode, k0, k1)
        _partial_shuffle(order, words, size)
        for i in range(size):
            batch[i] = order[i]
        # Swaps undone in reverse leave the identity at the cost of the batch, not of the data.
        for i in range(size - 1, -1, -1):
            j = i + np.int64((np.uint64(words[i]) * np.uint64(total - i)) >> _TOP)
            order[i], order[j] = order[j], order[i]
    else:
        per_epoch = total // size
        epoch, place = step // per_epoch, step % per_epoch
        if fresh or place == 0:
            for i in range(total):
                order[i] = i
            _words(words, per_epoch * size, epoch, replica, mode, k0, k1)
            _partial_shuffle(order, words, per_epoch * size)
        for i in range(size):
            batch[i] = order[place * size + i]


@njit(cache=True, error_model="numpy")
def _draw_steps(
    out: Any, total: Any, first: Any, replica: Any, mode: Any, k0: Any, k1: Any
) -> None:
    order = np.arange(total)
    words = np.empty(max(total, out.shape[1]) + _WORDS, dtype=np.uint32)
    for s in range(out.shape[0]):
        draw_batch(out[s], order, words, first + s, replica, mode, s == 0, k0, k1)


def sampling_mode(sampling: str, batch_size: int, examples: int) -> int:
    """Return the code of a sampling mode, after checking that the batch fits the data.

    Returns
    -------
    int

    Raises
    ------
    SamplingError
        If a batch without repetition is larger than the data.
    """
    mode = SAMPLING.index(choice("sampling", sampling, SAMPLING))
    if mode != WITH_REPLACEMENT and batch_size > examples:
        msg = (
            f"`batch_size` is {batch_size} but the data has {examples} examples, and "
            f"sampling={sampling!r} does not repeat examples within a batch; take at most "
            f"{examples}, or sampling='with_replacement'"
        )
        raise SamplingError(msg)
    return mode


def batch_indices(
    examples: int,
    batch_size: int,
    steps: int,
    *,
    seed: RandomState,
    sampling: str = "with_replacement",
    replica: int = 0,
    first_step: int = 0,
) -> IntArray:
    """Return the indices of the examples that :func:`~fracsde.networks.sgd.run_sgd` reads.

    With them a run can be repeated in any other framework, batch by batch.

    Parameters
    ----------
    examples : int
        Number of examples.
    batch_size : int
        Examples per step.
    steps : int
        Number of steps.
    seed : int, SeedSequence or Generator
        The seed of the run; a generator is drawn from, so pass what the run was given.
    sampling : {"with_replacement", "without_replacement", "shuffled"}
        Mode, see the module's table.
    replica : int
        Which replica's stream.
    first_step : int [step]
        Number of steps taken before.

    Returns
    -------
    (steps, batch_size) int64

    Examples
    --------
    >>> batch_indices(6, 2, 3, seed=1, sampling="shuffled").ravel().tolist()
    [0, 1, 2, 5, 3, 4]
    """
    total = integer("examples", examples, low=1, high=2**32 - 1)
    size = integer("batch_size", batch_size, low=1)
    mode = sampling_mode(sampling, size, total)
    out = np.empty((integer("steps", steps, low=0), size), dtype=np.int64)
    first = integer("first_step", first_step, low=0)
    stream = integer("replica", replica, low=0, high=2**32 - 1)
    _draw_steps(out, total, first, stream, mode, *seed_key(seed))
    return out
