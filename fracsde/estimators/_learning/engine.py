r"""Runs the chains of a learning coefficient: metric, first step, tuning, production.

Compiled where the loss brings its own loop (``advance_langevin``), else the loop in NumPy, with all
chains in one call where the loss offers ``losses_and_gradients``.  Both read the same random
numbers.

The metric :math:`M = A A^T` made from a Hessian :math:`H = \sum_i h_i v_i v_i^T` is

.. math:: M = \sum_i \frac{v_i v_i^T}{n\beta\,|h_i| + \gamma},

the covariance that the Gibbs law would have if the loss were a square; it stays fixed, so the law
of the chains does not depend on it.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.linalg import eigh

from fracsde._check import finite_array, positive_semidefinite
from fracsde.backends.langevin import Chains, Kernel, Law, Records
from fracsde.backends.langevin_reference import advance, one_leap_acceptance
from fracsde.errors import ComputationError, InputError, OutOfRangeError
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray, IntArray

__all__ = ["Plan", "metric", "run_chains"]

_CALL_SECONDS = 0.3
_SEARCH_CHAINS, _DOUBLINGS = 4, 200
_HELD = 1 << 20  # entries of gradients held at once
_FLOOR = 1e-12  # smallest curvature of a metric, relative to the largest


class Plan(NamedTuple):
    """What a run of chains does."""

    sampler: str
    leaps: int
    target: float
    step: float | None
    batch: int
    mode: int
    chains: int
    burn_in: int
    draws: int
    key: tuple[np.uint32, np.uint32]


def metric(
    preconditioner: Any, loss: Any, w: FloatArray, n_beta: float, localization: float
) -> tuple[FloatArray, bool]:
    """Return a root of the metric, and whether it is a matrix.

    Returns
    -------
    tuple of (1, P) or (P, P) float64 and bool

    Raises
    ------
    InputError
        If it is none of the forms allowed.
    OutOfRangeError
        If a diagonal is not positive.
    """
    if preconditioner is None:
        return np.ones((1, len(w))), False
    if isinstance(preconditioner, str):
        if preconditioner != "hessian" or not hasattr(loss, "hessian"):
            msg = (
                '`preconditioner` must be None, "hessian" with a loss that has one, a diagonal '
                f"({len(w)},) or a matrix ({len(w)}, {len(w)}), got {preconditioner!r}"
            )
            raise InputError(msg)
        values, vectors = eigh(np.asarray(loss.hessian(w)))
        curvature = n_beta * np.abs(values) + localization
        if not curvature.max() > 0.0:
            msg = (
                "the Hessian at `w` is zero and there is no localization, so it makes no metric; "
                "pass preconditioner=None"
            )
            raise InputError(msg)
        curvature = np.maximum(curvature, _FLOOR * curvature.max())
        return np.ascontiguousarray(vectors / np.sqrt(curvature)), True
    array = finite_array("preconditioner", preconditioner, ndim=(1, 2))
    if array.ndim == 1:
        array = finite_array("preconditioner", array, shape=(len(w),))
        if not array.min() > 0.0:
            msg = f"`preconditioner` must have positive entries, got {array.min():g}"
            raise OutOfRangeError(msg)
        return np.sqrt(array)[None], False
    array = positive_semidefinite("preconditioner", array, size=len(w))
    values, vectors = eigh(array)
    if values[0] <= _FLOOR * values[-1]:
        msg = (
            f"`preconditioner` must be positive definite: its eigenvalues go from {values[0]:.3g} "
            f"to {values[-1]:.3g}, and chains would not move along some directions"
        )
        raise OutOfRangeError(msg)
    return np.ascontiguousarray(vectors * np.sqrt(values)), True


def evaluator(loss: Any) -> Callable[[FloatArray], tuple[FloatArray, FloatArray]]:
    """Return the loss as a function of many positions.

    Returns
    -------
    callable
    """
    if hasattr(loss, "losses_and_gradients"):
        together: Callable[[FloatArray], tuple[FloatArray, FloatArray]] = loss.losses_and_gradients
        return together

    def one_by_one(w: FloatArray) -> tuple[FloatArray, FloatArray]:
        losses, gradients = np.full(len(w), np.nan), np.full(w.shape, np.nan)
        for chain in np.flatnonzero(np.isfinite(w).all(axis=1)):
            losses[chain], gradients[chain] = loss.loss_and_gradient(w[chain])
        return losses, gradients

    return one_by_one


def start(law: Law, loss_there: float, gradient: FloatArray, plan: Plan) -> Chains:
    """Return all chains at the anchor.

    Returns
    -------
    Chains
    """
    count = plan.chains
    return Chains(
        w=np.tile(law.anchor, (count, 1)),
        loss=np.full(count, loss_there),
        gradient=np.tile(gradient, (count, 1)),
        step=np.full(count, np.nan if plan.step is None else plan.step),
        averages=np.zeros((count, 3)),
        done=np.zeros(count, dtype=np.int64),
        tuned=np.zeros(count, dtype=np.int64),
        lost=np.full(count, -1, dtype=np.int64),
    )


def first_step(loss: Any, chains: Chains, law: Law, kernel: Kernel) -> float:
    """Return a step, to a factor of two the largest that half of the first moves survive.

    Returns
    -------
    float

    Raises
    ------
    ComputationError
        If none is found: the loss does not confine the chains, or is not finite next to the start.
    """
    few = min(_SEARCH_CHAINS, len(chains.w))
    state = chains.w[:few], chains.loss[:few], chains.gradient[:few]
    evaluate = evaluator(loss)
    step, grows = 1.0 / (law.n_beta + law.localization), None
    for _ in range(_DOUBLINGS):
        accepted = one_leap_acceptance(evaluate, law, kernel, state, step) > 0.5
        if grows is None:
            grows = accepted
        if accepted != grows:
            return 0.5 * step if grows else step
        step *= 2.0 if grows else 0.5
    detail = (
        f"No step of the chains is {'too long' if grows else 'short enough'} from {step:.1g} on: "
        + (
            "the loss does not confine them; pass localization > 0."
            if grows
            else "the loss is not finite, or not smooth, next to `w`."
        )
    )
    raise ComputationError(Status.NOT_CONVERGED, detail)


def run_chains(
    loss: Any,
    law: Law,
    plan: Plan,
    there: tuple[float, FloatArray],
    rows: Callable[[int], IntArray] | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[Chains, Records]:
    """Run burn-in and draws of all chains.

    Returns
    -------
    tuple of Chains and Records
        State after the last step, and every step's records.
    """
    adjusted = plan.sampler != "sgld"
    chains = start(law, *there, plan)
    shape = (plan.chains, plan.burn_in + plan.draws)
    records = Records(*(np.full(shape, np.nan) for _ in range(4)))
    making = Kernel(
        adjusted, plan.leaps, False, plan.target, plan.batch, plan.mode, plan.key[0], plan.key[1]
    )
    tuning = making._replace(adjusted=True, tune=True, batch=0)
    if plan.step is None:
        first = first_step(loss, chains, law, tuning)
        chains.step[:], chains.averages[:, 2] = first, 0.5 * np.log(first)
    run = _runner(loss, law, chains, records, rows)
    length = 1
    warm = tuning if plan.step is None else making
    for kernel, span in ((warm, (0, plan.burn_in)), (making, (plan.burn_in, shape[1]))):
        if kernel is making and plan.step is None:
            chains.step[:] = np.exp(2.0 * chains.averages[:, 1].mean())
        done = span[0]
        while done < span[1]:
            end, clock = min(done + length, span[1]), perf_counter()
            run(kernel, (done, end))
            elapsed = max(perf_counter() - clock, 1e-6)
            done, length = end, max(1, min(8 * length, int(length * _CALL_SECONDS / elapsed)))
            if progress is not None:
                progress(done, shape[1])
    return chains, records


def _runner(
    loss: Any,
    law: Law,
    chains: Chains,
    records: Records,
    rows: Callable[[int], IntArray] | None,
) -> Callable[[Kernel, tuple[int, int]], None]:
    if hasattr(loss, "advance_langevin"):

        def compiled(kernel: Kernel, span: tuple[int, int]) -> None:
            loss.advance_langevin(chains, law, kernel, span, records)

        return compiled
    evaluate, options = evaluator(loss), {}
    if rows is not None:
        on_batch = loss.batch_losses_and_gradients
        baseline = _each_at(on_batch, law.anchor, int(loss.examples))
        options = {"on_batch": on_batch, "rows": rows, "at_anchor": baseline}

    def plain(kernel: Kernel, span: tuple[int, int]) -> None:
        advance(evaluate, chains, law, kernel, span, records, **options)

    return plain


def _each_at(on_batch: Any, w: FloatArray, examples: int) -> FloatArray:
    # Loss of each example at one point, from batches of one; few at a time, for their gradients.
    together = max(1, _HELD // len(w))
    parts = []
    for first in range(0, examples, together):
        rows = np.arange(first, min(first + together, examples))[:, None]
        parts.append(on_batch(np.tile(w, (len(rows), 1)), rows)[0])
    return np.concatenate(parts)
