r"""The compiled loop of Langevin chains on a network's loss: SGLD, MALA and HMC.

The equations, the state and the addresses of the random numbers are those of
:mod:`fracsde.backends.langevin`; :mod:`fracsde.backends.langevin_reference` is the same loop in
NumPy, line by line, and the two agree to rounding.  Chains run in parallel and never meet, so
results depend neither on the number of threads nor on how a run is cut into calls.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import get_num_threads

from fracsde._compiled import njit
from fracsde.backends.langevin import draw_normals, draw_verdict, tuned
from fracsde.networks.kernels import (
    BLOCK,
    backward,
    collect,
    data_loss,
    forward,
    layer_block,
    loss_and_gradient_in,
)
from fracsde.networks.sampling import draw_batch

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.backends.langevin import Chains, Kernel, Law, Records
    from fracsde.networks.kernels import Plan

__all__ = ["Chained", "advance"]


@njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _times(scale: Any, dense: Any, v: Any, out: Any) -> None:
    # Loops over rows: a product with a vector is bound by memory, and compiles in no time.
    for i in range(v.shape[0]):
        if dense:
            total = 0.0
            for j in range(v.shape[0]):
                total += scale[i, j] * v[j]
            out[i] = total
        else:
            out[i] = scale[0, i] * v[i]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _times_transposed(scale: Any, dense: Any, v: Any, out: Any) -> None:
    for i in range(v.shape[0]):
        out[i] = 0.0 if dense else scale[0, i] * v[i]
    if dense:
        for i in range(v.shape[0]):
            for j in range(v.shape[0]):
                out[j] += scale[i, j] * v[i]


@njit(cache=True, error_model="numpy")
def _square(v: Any) -> Any:
    total = 0.0
    for i in range(v.shape[0]):
        total += v[i] * v[i]
    return total


@njit(cache=True, error_model="numpy")
def _distance(w: Any, anchor: Any) -> Any:
    total = 0.0
    for i in range(w.shape[0]):
        total += (w[i] - anchor[i]) * (w[i] - anchor[i])
    return total


@njit(cache=True, error_model="numpy")
def _virial(w: Any, gradient: Any, law: Any) -> Any:
    total = 0.0
    for i in range(w.shape[0]):
        away = w[i] - law.anchor[i]
        total += away * (law.n_beta * gradient[i] + law.localization * away)
    return total


@njit(cache=True, error_model="numpy")
def _force(w: Any, gradient: Any, law: Any, slope: Any, out: Any) -> None:
    for i in range(w.shape[0]):
        slope[i] = law.n_beta * gradient[i] + law.localization * (w[i] - law.anchor[i])
    _times_transposed(law.scale, law.dense, slope, out)


@njit(cache=True, error_model="numpy")
def _kick(p: Any, force: Any, root: Any, limit: Any) -> None:
    # Half a kick, shortened to the square root of the dimension where there is a limit.
    share = 0.5 * root
    if limit:
        size, most = share * np.sqrt(_square(force)), np.sqrt(force.shape[0])
        if size > most:
            share *= most / size
    for i in range(p.shape[0]):
        p[i] -= share * force[i]


@njit(cache=True, error_model="numpy")
def _loss(w: Any, inputs: Any, targets: Any, plan: Any, decay: Any, grad: Any, work: Any) -> Any:
    # Of all examples, with weight decay.
    acts, deltas, part = work
    value = loss_and_gradient_in(w, inputs, targets, plan, grad, acts, deltas, part)
    for i in range(w.shape[0]):
        grad[i] += decay * w[i]
    return value + 0.5 * decay * _square(w)


@njit(cache=True, error_model="numpy")
def _batch_loss(
    w: Any, inputs: Any, targets: Any, plan: Any, decay: Any, grad: Any, work: Any, batch: Any
) -> Any:
    acts, deltas, _ = work
    rows = batch.shape[0]
    first, goal = layer_block(acts, rows, 0, plan), np.empty((rows, targets.shape[1]))
    for n in range(rows):
        for i in range(first.shape[1]):
            first[n, i] = inputs[batch[n], i]
        for k in range(goal.shape[1]):
            goal[n, k] = targets[batch[n], k]
    forward(w, acts, rows, plan)
    value = data_loss(layer_block(acts, rows, plan.widths.shape[0] - 1, plan), goal, plan.loss)
    backward(w, acts, deltas, goal, rows, 1.0 / rows, plan)
    collect(acts, deltas, grad, rows, plan)
    for i in range(w.shape[0]):
        grad[i] += decay * w[i]
    return value / rows + 0.5 * decay * _square(w)


@njit(cache=True, error_model="numpy")
def _finite(w: Any, gradient: Any, loss: Any) -> Any:
    bad = 0
    for i in range(w.shape[0]):
        bad += 0 if np.isfinite(w[i]) and np.isfinite(gradient[i]) else 1
    return bad == 0 and np.isfinite(loss)


@njit(cache=True, error_model="numpy")
def _move(
    leaps: Any, root: Any, law: Any, kernel: Any, data: Any, w: Any, grad: Any, p: Any, rest: Any
) -> Any:
    # All leaps of one move, in place; the loss at its end.  On a batch there is half a leap: the
    # kick with the gradient at the start, and no other.
    inputs, targets, plan, decay = data
    work, slope, force, step = rest
    loss = 0.0
    for _ in range(leaps):
        _force(w, grad, law, slope, force)
        _kick(p, force, root, kernel.adjusted)
        _times(law.scale, law.dense, p, step)
        for i in range(w.shape[0]):
            w[i] += root * step[i]
        if kernel.batch == 0:
            loss = _loss(w, inputs, targets, plan, decay, grad, work)
            _force(w, grad, law, slope, force)
            _kick(p, force, root, kernel.adjusted)
    return loss


@njit(cache=True, error_model="numpy")
def _log_ratio(fall: Any, here: Any, new: Any, noise: Any, p: Any, law: Any) -> Any:
    # Of the densities of the reverse move and of the move; ``fall`` is that of the loss.
    away = _distance(here, law.anchor) - _distance(new, law.anchor)
    change = law.n_beta * fall + 0.5 * law.localization * away
    change += 0.5 * (_square(noise) - _square(p))
    return change if np.isfinite(change) else -np.inf


@njit(cache=True, error_model="numpy", nogil=True)
def _run(
    part: Any, data: Any, chains: Any, law: Any, kernel: Any, span: Any, records: Any, levels: Any
) -> None:
    # Chains part[0] to part[1], one after another, with one set of scratch arrays.
    inputs, targets, plan, decay = data
    size, key0, key1 = chains.w.shape[1], kernel.key0, kernel.key1
    cells = max(BLOCK, kernel.batch) * plan.cells[-1]
    work = np.empty(cells), np.empty(cells), np.empty(size)
    rest = work, np.empty(size), np.empty(size), np.empty(size)
    noise, p, new, grad = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    batch, order = np.empty(kernel.batch, dtype=np.int64), np.arange(inputs.shape[0])
    words = np.empty(max(kernel.batch, inputs.shape[0]) + 4, dtype=np.uint32)
    for r in range(part[0], part[1]):
        here, held = chains.w[r], chains.gradient[r]
        for step in range(span[0], span[1]):
            if chains.lost[r] >= 0:
                break
            draw_normals(noise, step, r, key0, key1)
            uniform, leaps = draw_verdict(step, r, kernel.leaps, key0, key1)
            for i in range(size):
                p[i], new[i], grad[i] = noise[i], here[i], held[i]
            before = chains.loss[r]
            if kernel.batch:
                fresh = step == span[0]
                draw_batch(batch, order, words, step, r, kernel.mode, fresh, key0, key1)
                before = _batch_loss(here, inputs, targets, plan, decay, grad, work, batch)
                before -= levels[batch].mean() - levels.mean()
            if not kernel.adjusted:
                records.losses[r, step] = before
                records.distances[r, step] = _distance(here, law.anchor)
                records.virials[r, step] = _virial(here, grad, law)
            loss = _move(leaps, np.sqrt(chains.step[r]), law, kernel, data, new, grad, p, rest)
            log_ratio = _log_ratio(before - loss, here, new, noise, p, law)
            acceptance = np.nan if kernel.batch else np.exp(min(0.0, log_ratio))
            records.acceptances[r, step] = acceptance
            taken = np.log(uniform) < log_ratio if kernel.adjusted else _finite(new, grad, loss)
            if taken:
                for i in range(size):
                    here[i] = new[i]
                    held[i] = held[i] if kernel.batch else grad[i]
                chains.loss[r] = chains.loss[r] if kernel.batch else loss
            chains.done[r] += 1
            if kernel.adjusted:
                records.losses[r, step] = chains.loss[r]
                records.distances[r, step] = _distance(here, law.anchor)
                records.virials[r, step] = _virial(here, held, law)
            elif not taken:
                chains.lost[r] = step + 1
            if kernel.tune:
                count = chains.tuned[r]
                chains.step[r] = tuned(chains.averages[r], count, acceptance, kernel.target)
                chains.tuned[r] += 1


@njit(cache=True, error_model="numpy")
def _each_loss(z: Any, targets: Any, loss: Any, out: Any) -> None:
    for n in range(z.shape[0]):
        out[n] = data_loss(z[n : n + 1], targets[n : n + 1], loss)


def advance(
    inputs: FloatArray,
    targets: FloatArray,
    plan: Plan,
    decay: float,
    chains: Chains,
    law: Law,
    kernel: Kernel,
    span: tuple[int, int],
    records: Records,
    at_anchor: FloatArray,
) -> None:
    """Advance all chains in place from step ``span[0]`` to ``span[1]``.

    Chains are dealt out to as many threads as :func:`numba.get_num_threads` says.

    Parameters
    ----------
    inputs, targets : (N, features) and (N, outputs) float64
        Data.
    plan : Plan
        The network.
    decay : float
        Weight decay.
    chains : Chains
        State.
    law : Law
        What is sampled, and in which metric.
    kernel : Kernel
        How.
    span : tuple of int [step]
        From and to.
    records : Records
        Written to.
    at_anchor : (N,) float64
        Loss of each example at the anchor; read where batches are drawn.
    """
    data = inputs, targets, plan, decay
    count = len(chains.w)
    shares = min(get_num_threads(), count)
    cuts = [count * share // shares for share in range(shares + 1)]

    def work(part: tuple[int, int]) -> None:
        _run(part, data, chains, law, kernel, span, records, at_anchor)

    if shares == 1:
        work((0, count))
        return
    with ThreadPoolExecutor(max_workers=shares) as pool:
        list(pool.map(work, pairwise(cuts)))


class Chained:
    """Methods of :class:`~fracsde.networks.Network` that chains need."""

    weight_decay: float
    _inputs: FloatArray
    _goals: FloatArray
    _plan: Plan

    def outputs(self, w: ArrayLike, inputs: ArrayLike | None = None) -> FloatArray:
        """Return the outputs before any softmax; the network has it."""
        raise NotImplementedError

    def example_losses(self, w: ArrayLike) -> FloatArray:
        """Loss of each example, without weight decay, which is no example's own.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        (N,) float64
        """
        outputs = self.outputs(w)
        out = np.empty(len(outputs))
        _each_loss(outputs, self._goals, self._plan.loss, out)
        return out

    def advance_langevin(
        self, chains: Chains, law: Law, kernel: Kernel, span: tuple[int, int], records: Records
    ) -> None:
        """Advance Langevin chains of this loss, compiled; see :mod:`fracsde.networks.langevin`.

        What :func:`~fracsde.estimators.learning_coefficient` calls.

        Parameters
        ----------
        chains, law, kernel, records : Chains, Law, Kernel, Records
            Of :mod:`fracsde.backends.langevin`.
        span : tuple of int [step]
            From and to.
        """
        baseline = self.example_losses(law.anchor) if kernel.batch else np.zeros(1)
        data = self._inputs, self._goals, self._plan, float(self.weight_decay)
        advance(*data, chains, law, kernel, span, records, baseline)
