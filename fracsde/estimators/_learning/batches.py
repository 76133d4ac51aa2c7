r"""Batches of examples for chains of any loss, the same as the compiled ones.

Index ``i`` of step ``t`` of chain ``r`` is :math:`\lfloor N u / 2^{32} \rfloor` of word ``i % 4``
of the block ``(i // 4, t, r, 0)``: what :mod:`fracsde.networks.sampling` reads for batches with
replacement.  The wings never import each other, so it is written twice; a test holds them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._compiled import njit
from fracsde.backends.philox import philox4x32

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import IntArray
    from fracsde.estimators._learning.engine import Plan

__all__ = ["batch_rows"]


@njit(cache=True, error_model="numpy")
def _fill(out: Any, total: Any, step: Any, k0: Any, k1: Any) -> None:
    size, top = out.shape[1], np.uint64(32)
    for chain in range(out.shape[0]):
        for start in range(0, size, 4):
            block = philox4x32(start // 4, step, chain, 0, k0, k1)
            for place in range(min(4, size - start)):
                word = np.uint64(block[place])
                out[chain, start + place] = np.int64((word * np.uint64(total)) >> top)


def batch_rows(examples: int, plan: Plan) -> Callable[[int], IntArray]:
    """Return the function from a step to the examples of each chain's batch.

    Returns
    -------
    callable
        ``rows(step)``, (chain, batch) int64.
    """

    def rows(step: int) -> IntArray:
        out = np.empty((plan.chains, plan.batch), dtype=np.int64)
        _fill(out, examples, step, *plan.key)
        return out

    return rows
