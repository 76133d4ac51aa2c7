r"""Langevin chains of any loss, all chains at once: the loop of the definitions, in NumPy.

The equations are those of :mod:`fracsde.backends.langevin`.  A loss is a function of all
positions at once, ``evaluate(W (chain, P)) -> losses (chain,), gradients (chain, P)``; a loss on
batches has the rows of each chain as second argument.  The compiled loop for networks,
:mod:`fracsde.networks.langevin`, is checked against this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.backends.langevin import noise_of_step, tune_all, verdicts_of_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import BoolArray, FloatArray, IntArray
    from fracsde.backends.langevin import Chains, Kernel, Law, Records

    Evaluate = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
    EvaluateBatch = Callable[[FloatArray, IntArray], tuple[FloatArray, FloatArray]]

__all__ = ["advance", "one_leap_acceptance"]

_FIRST = 2**32 - 1  # the step whose random numbers the search for a first step reads


def advance(
    evaluate: Evaluate,
    chains: Chains,
    law: Law,
    kernel: Kernel,
    span: tuple[int, int],
    records: Records,
    *,
    on_batch: EvaluateBatch | None = None,
    rows: Callable[[int], IntArray] | None = None,
    at_anchor: FloatArray | None = None,
) -> None:
    """Advance all chains in place from step ``span[0]`` to ``span[1]``.

    Parameters
    ----------
    evaluate : callable
        Loss and gradient of all examples, for all chains at once.
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
    on_batch : callable, optional
        Loss and gradient of each chain's batch; needed if ``kernel.batch`` is not 0.
    rows : callable, optional
        ``rows(step)`` are the examples (chain, batch) of a step.
    at_anchor : (n,) float64, optional
        Loss of each example at the anchor.
    """
    # Chains may leave the finite numbers; that is seen and kept, not warned of.
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(*span):
            live = chains.lost < 0
            noise = noise_of_step(chains.w.shape, step, kernel)
            if kernel.adjusted:
                _judged_move(evaluate, chains, law, kernel, step, records, noise, live)
            elif kernel.batch:
                assert on_batch is not None
                assert rows is not None
                assert at_anchor is not None
                batch = rows(step)
                value, gradient = on_batch(chains.w, batch)
                baseline = at_anchor[batch].mean(axis=1) - at_anchor.mean()
                records.losses[live, step] = (value - baseline)[live]
                _keep_place(chains.w, gradient, law, records, step, live)
                _free_move(chains, law, step, gradient, noise, live)
            else:
                _full_batch_move(evaluate, chains, law, records, step, noise, live)
            chains.done[live] += 1


def one_leap_acceptance(
    evaluate: Evaluate,
    law: Law,
    kernel: Kernel,
    state: tuple[FloatArray, FloatArray, FloatArray],
    step: float,
) -> float:
    """Return the mean acceptance of a move of one leap from a state that stays as it is.

    Parameters
    ----------
    evaluate : callable
        Loss and gradient of all examples, for all chains at once.
    law, kernel : Law, Kernel
        What is sampled, and the key of the random numbers.
    state : tuple of (chain, P), (chain,) and (chain, P) float64
        Positions, losses and gradients.
    step : float [weight**2]
        The step to try.

    Returns
    -------
    float
    """
    noise = noise_of_step(state[0].shape, _FIRST, kernel)
    root, counts = np.full(len(noise), np.sqrt(step)), np.ones(len(noise), dtype=np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        w, loss, _, p = _leaps(evaluate, law, state, root, counts, noise.copy(), True)
        log_ratio = _log_ratio(law, state, w, loss, noise, p)
    return float(np.exp(np.minimum(0.0, log_ratio)).mean())


def _times(scale: FloatArray, dense: bool, rows: FloatArray) -> FloatArray:
    # A applied to each row.
    return np.asarray(rows @ scale.T if dense else rows * scale, dtype=np.float64)


def _times_transposed(scale: FloatArray, dense: bool, rows: FloatArray) -> FloatArray:
    return np.asarray(rows @ scale if dense else rows * scale, dtype=np.float64)


def _energy(law: Law, w: FloatArray, loss: FloatArray) -> FloatArray:
    away = np.square(w - law.anchor).sum(axis=1)
    return np.asarray(law.n_beta * loss + 0.5 * law.localization * away, dtype=np.float64)


def _force(law: Law, w: FloatArray, gradient: FloatArray) -> FloatArray:
    slope = law.n_beta * gradient + law.localization * (w - law.anchor)
    return _times_transposed(law.scale, law.dense, slope)


def _shortened(force: FloatArray, root: FloatArray) -> FloatArray:
    # To |h b / 2| <= sqrt(P); a force that is not finite stays so, and its move is refused.
    size = 0.5 * root * np.sqrt(np.square(force).sum(axis=1))
    most = np.sqrt(force.shape[1])
    share = np.where(size > most, most / np.where(size > most, size, 1.0), 1.0)
    return np.asarray(force * share[:, None], dtype=np.float64)


def _leaps(
    evaluate: Evaluate,
    law: Law,
    start: tuple[FloatArray, FloatArray, FloatArray],
    root: FloatArray,
    counts: IntArray,
    p: FloatArray,
    limit: bool,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    # End point, loss, gradient and momentum after each chain's own number of leaps.
    w, loss, gradient = (part.copy() for part in start)
    for leap in range(int(counts.max())):
        moving = counts > leap
        h = root[moving]

        def kick(h: FloatArray = h, moving: BoolArray = moving) -> FloatArray:
            force = _force(law, w[moving], gradient[moving])
            force = _shortened(force, h) if limit else force
            return np.asarray(0.5 * h[:, None] * force, dtype=np.float64)

        p[moving] -= kick()
        w[moving] += h[:, None] * _times(law.scale, law.dense, p[moving])
        found: Any = evaluate(w[moving])
        loss[moving], gradient[moving] = found
        p[moving] -= kick()
    return w, loss, gradient, p


def _keep_place(
    w: FloatArray,
    gradient: FloatArray,
    law: Law,
    records: Records,
    step: int,
    live: BoolArray,
) -> None:
    away = w - law.anchor
    squares = np.square(away).sum(axis=1)
    virials = law.n_beta * (away * gradient).sum(axis=1) + law.localization * squares
    records.distances[live, step], records.virials[live, step] = squares[live], virials[live]


def _log_ratio(
    law: Law,
    start: tuple[FloatArray, FloatArray, FloatArray],
    w: FloatArray,
    loss: FloatArray,
    noise: FloatArray,
    p: FloatArray,
) -> FloatArray:
    kinetic = 0.5 * (np.square(noise).sum(axis=1) - np.square(p).sum(axis=1))
    change = _energy(law, start[0], start[1]) - _energy(law, w, loss) + kinetic
    return np.where(np.isfinite(change), change, -np.inf)


def _judged_move(
    evaluate: Evaluate,
    chains: Chains,
    law: Law,
    kernel: Kernel,
    step: int,
    records: Records,
    noise: FloatArray,
    live: BoolArray,
) -> None:
    uniform, counts = verdicts_of_step(len(noise), step, kernel)
    start = chains.w, chains.loss, chains.gradient
    w, loss, gradient, p = _leaps(
        evaluate, law, start, np.sqrt(chains.step), counts, noise.copy(), True
    )
    log_ratio = _log_ratio(law, start, w, loss, noise, p)
    acceptance = np.exp(np.minimum(0.0, log_ratio))
    taken = live & (np.log(uniform) < log_ratio)
    for held, new in ((chains.w, w), (chains.loss, loss), (chains.gradient, gradient)):
        held[taken] = new[taken]
    records.losses[live, step] = chains.loss[live]
    _keep_place(chains.w, chains.gradient, law, records, step, live)
    records.acceptances[live, step] = acceptance[live]
    if kernel.tune:
        tune_all(chains, acceptance, kernel.target, live)


def _full_batch_move(
    evaluate: Evaluate,
    chains: Chains,
    law: Law,
    records: Records,
    step: int,
    noise: FloatArray,
    live: BoolArray,
) -> None:
    # SGLD on all examples: the acceptance that Metropolis would give comes for nothing.
    counts = np.ones(len(noise), dtype=np.int64)
    start = chains.w, chains.loss, chains.gradient
    w, loss, gradient, p = _leaps(
        evaluate, law, start, np.sqrt(chains.step), counts, noise.copy(), False
    )
    log_ratio = _log_ratio(law, start, w, loss, noise, p)
    finite = np.isfinite(loss) & np.isfinite(gradient).all(axis=1) & np.isfinite(w).all(axis=1)
    records.losses[live, step] = chains.loss[live]
    _keep_place(chains.w, chains.gradient, law, records, step, live)
    records.acceptances[live, step] = np.exp(np.minimum(0.0, log_ratio))[live]
    chains.lost[live & ~finite] = step + 1
    taken = live & finite
    for held, new in ((chains.w, w), (chains.loss, loss), (chains.gradient, gradient)):
        held[taken] = new[taken]


def _free_move(
    chains: Chains,
    law: Law,
    step: int,
    gradient: FloatArray,
    noise: FloatArray,
    live: BoolArray,
) -> None:
    # SGLD with the gradient of a batch.
    root = np.sqrt(chains.step)[:, None]
    p = noise - 0.5 * root * _force(law, chains.w, gradient)
    w = chains.w + root * _times(law.scale, law.dense, p)
    finite = np.isfinite(w).all(axis=1)
    chains.lost[live & ~finite] = step + 1
    chains.w[live & finite] = w[live & finite]
