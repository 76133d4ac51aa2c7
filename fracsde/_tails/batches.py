r"""Batches of a finite data set: every one of them with its probability.

With replacement a batch is a multiset of ``B`` of ``N`` examples, of probability
:math:`B!\,N^{-B}/\prod_n k_n!` with multiplicities :math:`k_n`; without, a subset, of probability
:math:`1/\binom NB`.  There are :math:`\binom{N+B-1}{B}` and :math:`\binom NB` of them.
"""

from __future__ import annotations

from itertools import chain, combinations, combinations_with_replacement
from math import comb
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["MOST_BATCHES", "all_batches", "batch_count", "drawn_batches"]

MOST_BATCHES = 1 << 18
"""Number of batches up to which all of them are enumerated."""


def batch_count(examples: int, batch: int, *, replace: bool) -> int:
    """Count the distinct batches.

    Returns
    -------
    int
    """
    return comb(examples + batch - 1, batch) if replace else comb(examples, batch)


def all_batches(examples: int, batch: int, *, replace: bool) -> tuple[IntArray, FloatArray]:
    """List every batch with the logarithm of its probability.

    Returns
    -------
    (n, batch) int64, (n,) float64
    """
    pick = combinations_with_replacement if replace else combinations
    count = batch_count(examples, batch, replace=replace)
    flat = np.fromiter(
        chain.from_iterable(pick(range(examples), batch)), dtype=np.int64, count=count * batch
    )
    rows = flat.reshape(count, batch)
    if not replace:
        return rows, np.full(count, -np.log(float(count)))
    # The product of the factorials of the multiplicities: each member's place in its run.
    log_weight = np.full(count, gammaln(batch + 1.0) - batch * np.log(examples))
    place = np.ones(count)
    for i in range(1, batch):
        place = np.where(rows[:, i] == rows[:, i - 1], place + 1.0, 1.0)
        log_weight -= np.log(place)
    return rows, log_weight


def drawn_batches(
    rng: np.random.Generator, size: int, examples: int, batch: int, *, replace: bool
) -> IntArray:
    """Draw batches.

    Returns
    -------
    (size, batch) int64
    """
    if replace:
        return rng.integers(0, examples, (size, batch))
    if 4 * batch > examples:
        return np.argsort(rng.random((size, examples)), axis=1)[:, :batch]
    # Floyd's method: few of many without listing them all.
    chosen = np.empty((size, batch), dtype=np.int64)
    for i, top in enumerate(range(examples - batch, examples)):
        new = rng.integers(0, top + 1, size)
        taken = (chosen[:, :i] == new[:, None]).any(axis=1)
        chosen[:, i] = np.where(taken, top, new)
    return chosen
