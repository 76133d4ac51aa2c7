r"""The compiled training loop: many replicas, each a function of its own counter stream.

.. math::
    v \leftarrow \mu v - \eta\, g_B(w), \qquad w \leftarrow w + v, \qquad
    g_B(w) = \frac1B \sum_{i \in B} \nabla \ell_i(w) + \lambda w .

Replicas run in parallel and never meet, so results do not depend on the number of threads.
Projections are products of a block of positions with the directions; a position keeps its place
in the block wherever a run is cut, so that a cut does not change a bit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import get_num_threads

from fracsde._compiled import njit
from fracsde.networks.kernels import backward, collect, forward, layer_block, multiply
from fracsde.networks.sampling import draw_batch

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray
    from fracsde.networks.kernels import Plan

__all__ = ["Records", "Settings", "advance"]

# Positions held back before they are projected together.
HELD = 16
_LARGEST = np.finfo(np.float64).max


class Settings(NamedTuple):
    """What one step of every replica needs to know.

    Parameters
    ----------
    rate, momentum, decay : float
        Learning rate, momentum and weight decay.
    batch : int
        Examples per step.
    mode : int
        Code of the sampling mode.
    first_replica : int
        Stream number of the first replica.
    key0, key1 : uint32
        Key words of the seed.
    """

    rate: float
    momentum: float
    decay: float
    batch: int
    mode: int
    first_replica: int
    key0: np.uint32
    key1: np.uint32


class Records(NamedTuple):
    """Where the loop writes, and when.

    Parameters
    ----------
    positions : (replica, m, P) float64
        Full positions, at ``position_steps`` (m,).
    projections : (replica, n, k) float64
        Products of positions less ``origin`` (P,) with ``directions`` (P, k), at every
        ``spacing``-th step from ``first`` on; ``skip`` of these steps lie before the record.
    """

    positions: FloatArray
    position_steps: IntArray
    projections: FloatArray
    directions: FloatArray
    origin: FloatArray
    first: int
    spacing: int
    skip: int


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _update(w: Any, v: Any, grad: Any, rate: Any, momentum: Any, decay: Any) -> Any:
    # Heavy ball in place; True if every position is still finite.
    bad = 0
    for i in range(w.shape[0]):
        v[i] = momentum * v[i] - rate * (grad[i] + decay * w[i])
        w[i] += v[i]
        bad += 0 if abs(w[i]) <= _LARGEST else 1
    return bad == 0


@njit(cache=True, error_model="numpy")
def _gather(inputs: Any, targets: Any, batch: Any, x: Any, goal: Any) -> None:
    for n in range(batch.shape[0]):
        row = batch[n]
        for i in range(x.shape[1]):
            x[n, i] = inputs[row, i]
        for k in range(goal.shape[1]):
            goal[n, k] = targets[row, k]


@njit(cache=True, error_model="numpy")
def _project(held: Any, directions: Any, product: Any, out: Any, slots: Any) -> None:
    # All rows are multiplied even if few are new: the place of a row then never changes.
    multiply(held, directions, product)
    for place in range(HELD):
        if slots[place] >= 0:
            for k in range(out.shape[1]):
                out[slots[place], k] = product[place, k]
            slots[place] = -1


@njit(cache=True, error_model="numpy", nogil=True)
def _run(
    part: Any,
    w: Any,
    v: Any,
    inputs: Any,
    targets: Any,
    plan: Any,
    settings: Any,
    span: Any,
    records: Any,
    diverged: Any,
) -> None:
    # Replicas part[0] to part[1], one after another, with one set of scratch arrays.
    size, width, total = settings.batch, records.directions.shape[1], w.shape[1]
    acts, deltas = np.empty(size * plan.cells[-1]), np.empty(size * plan.cells[-1])
    x = layer_block(acts, size, 0, plan)
    goal, grad = np.empty((size, targets.shape[1])), np.empty(total)
    batch, order = np.empty(size, dtype=np.int64), np.arange(inputs.shape[0])
    words = np.empty(max(size, inputs.shape[0]) + 4, dtype=np.uint32)
    held, product = np.zeros((HELD, total)), np.empty((HELD, width))
    slots = np.empty(HELD, dtype=np.int64)
    mode, key0, key1 = settings.mode, settings.key0, settings.key1
    for r in range(part[0], part[1]):
        if diverged[r] >= 0:
            continue
        here, velocity, stream = w[r], v[r], settings.first_replica + r
        mark = 0
        while mark < records.position_steps.shape[0] and records.position_steps[mark] <= span[0]:
            mark += 1
        for place in range(HELD):
            slots[place] = -1
        for step in range(span[0], span[1]):
            draw_batch(batch, order, words, step, stream, mode, step == span[0], key0, key1)
            _gather(inputs, targets, batch, x, goal)
            forward(here, acts, size, plan)
            backward(here, acts, deltas, goal, size, 1.0 / size, plan)
            collect(acts, deltas, grad, size, plan)
            if not _update(here, velocity, grad, settings.rate, settings.momentum, settings.decay):
                diverged[r] = step + 1
                break
            if mark < records.position_steps.shape[0] and records.position_steps[mark] == step + 1:
                for i in range(total):
                    records.positions[r, mark, i] = here[i]
                mark += 1
            since = step + 1 - records.first
            if width and since >= 0 and since % records.spacing == 0:
                index = since // records.spacing
                place = index % HELD
                for i in range(total):
                    held[place, i] = here[i] - records.origin[i]
                slots[place] = index - records.skip
                if place == HELD - 1:
                    _project(held, records.directions, product, records.projections[r], slots)
        if width:
            _project(held, records.directions, product, records.projections[r], slots)


def advance(
    w: FloatArray,
    v: FloatArray,
    inputs: FloatArray,
    targets: FloatArray,
    plan: Plan,
    settings: Settings,
    span: tuple[int, int],
    records: Records,
    diverged: IntArray,
) -> None:
    """Advance all replicas in place from step ``span[0]`` to ``span[1]``.

    Replicas are dealt out to as many threads as :func:`numba.get_num_threads` says; the
    compiled loop holds no lock.  (A compiled parallel loop takes twice as long to compile, and
    may not be entered from two Python threads at once.)

    Parameters
    ----------
    w, v : (replica, P) float64
        Positions and velocities; overwritten.
    inputs, targets : (N, features) and (N, outputs) float64
        Data.
    plan : Plan
        The network.
    settings : Settings
        Hyper-parameters and streams.
    span : tuple of int [step]
        From and to.
    records : Records
        Written to.
    diverged : (replica,) int64
        First step with a position that is not finite, or -1; such a replica stops there.
    """
    shares = min(get_num_threads(), len(w))
    cuts = [len(w) * share // shares for share in range(shares + 1)]

    def work(part: tuple[int, int]) -> None:
        _run(part, w, v, inputs, targets, plan, settings, span, records, diverged)

    if shares == 1:
        work((0, len(w)))
        return
    with ThreadPoolExecutor(max_workers=shares) as pool:
        list(pool.map(work, pairwise(cuts)))
