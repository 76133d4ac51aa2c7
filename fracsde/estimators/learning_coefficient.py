r"""The local learning coefficient: how singular a loss is at a point.

.. math::
    \hat\lambda(w^*) = n\beta\,\bigl( E[L(w)] - L(w^*) \bigr), \qquad
    w \sim e^{-U}, \qquad
    U(w) = n\beta\,L(w) + \frac\gamma2\,|w - w^*|^2,

with the mean over ``n`` examples :math:`L`, the inverse temperature :math:`n\beta` (by default
:math:`n / \log n`, as in [Watanabe2013]_) and the localization :math:`\gamma`.  At a regular
minimum of ``P`` parameters it is ``P / 2``; it is less where the loss is flatter than a square.

Draws of the Gibbs law are made by one of

=========  ======================================================  ============================
sampler    one draw                                                error of the law
=========  ======================================================  ============================
``mala``   a Langevin step, judged by Metropolis                   none
``hmc``    up to ``leaps`` leapfrog steps, judged by Metropolis    none
``sgld``   a Langevin step, on all examples or a batch             first order in the step
=========  ======================================================  ============================

Burn-in chooses the step by dual averaging for an acceptance of 0.574 (``mala``), 0.651 (``hmc``) or
0.95 (what Metropolis would accept of ``sgld``); it is then frozen.  Judged chains also measure the
virial :math:`(w - w^*) \cdot \nabla U`, whose mean is known: a test, and a control variate, see
:mod:`fracsde.estimators._learning.statistics`.

The number belongs to a temperature and a localization: both are in the result, and so is how far
the chains went.  :mod:`fracsde.estimators.temperature_fit` takes the limit of low temperature.

References: [Lau2025]_ for the estimator, [Watanabe2009]_ for the coefficient,
[RobertsRosenthal1998]_ and [Beskos2013]_ for the acceptances, [WellingTeh2011]_ for ``sgld``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, finite_array, integer, real
from fracsde.backends.langevin import Law
from fracsde.backends.philox import seed_key
from fracsde.errors import (
    ComputationError,
    InputError,
    NotFiniteError,
    SamplingError,
    UnsupportedError,
)
from fracsde.estimators._learning.batches import batch_rows
from fracsde.estimators._learning.engine import Plan, metric, run_chains
from fracsde.estimators._learning.statistics import (
    MIN_DRAWS,
    Doubt,
    Evidence,
    doubts,
    estimate,
)
from fracsde.estimators.learning_result import LearningCoefficient
from fracsde.provenance import provenance
from fracsde.records.measurement import Quantity
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray, RandomState
    from fracsde.backends.langevin import Chains, Records
    from fracsde.provenance import Provenance

__all__ = ["Doubt", "LearningCoefficient", "learning_coefficient"]

SAMPLERS = ("mala", "hmc", "sgld")
_TARGETS = {"mala": 0.574, "hmc": 0.651, "sgld": 0.95}
_QUANTITY = Quantity(name="local learning coefficient")


def learning_coefficient(
    loss: Any,
    w: ArrayLike,
    *,
    n_beta: float | None = None,
    localization: float = 1.0,
    sampler: str = "mala",
    step: float | None = None,
    preconditioner: Any = None,
    chains: int = 8,
    draws: int = 2000,
    burn_in: int = 1000,
    batch_size: int | None = None,
    leaps: int = 8,
    control: str = "auto",
    rng: RandomState,
    progress: Callable[[int, int], None] | None = None,
    keep_trace: bool = True,
    throw: bool = False,
) -> LearningCoefficient:
    r"""Estimate the local learning coefficient of a loss at a point.

    Parameters
    ----------
    loss : Network, TorchLoss, FunctionLoss or the like
        Anything with ``parameters``, ``examples`` and ``loss_and_gradient(w)``.  Chains run in one
        compiled call for a network, all at once where the loss has ``losses_and_gradients(W)``.
    w : (P,) array_like [weight]
        The point, a minimum of the loss on all examples.
    n_beta : float, optional [1]
        Inverse temperature; :math:`n / \log n` of the number of examples by default.
    localization : float [1 / weight**2]
        Strength of the square that holds chains about the point; 0 for none.
    sampler : {"mala", "hmc", "sgld"}
        See the module's table.
    step : float, optional [weight**2]
        The step :math:`\varepsilon`, the variance of the noise of one move; chosen in burn-in by
        default.
    preconditioner : None, "hessian", (P,) or (P, P) array_like, optional
        Fixed metric of the moves: none, the Hessian's at the point, a diagonal or a matrix.
    chains, draws, burn_in : int
        Independent chains, draws of each (at least 20), and steps before them.
    batch_size : int, optional
        Examples per step of ``sgld``, drawn with replacement; all by default.
    leaps : int
        Largest number of leapfrog steps of a move of ``hmc``; each draws its own.
    control : {"auto", "virial", "none"}
        Whether the virial is the control variate; "auto": for judged chains that are long enough
        for its slowest direction.
    rng : int, SeedSequence or Generator
        Seed of all random numbers.
    progress : callable, optional
        Called between compiled calls as ``progress(steps_done, steps)``; between them a run can
        be interrupted.
    keep_trace : bool
        Whether the losses of every draw are kept.
    throw : bool
        Whether a doubt raises; otherwise ``doubts`` and ``status`` tell.

    Returns
    -------
    LearningCoefficient

    Raises
    ------
    InputError
        If arguments cannot mean what was asked; its children say which.
    UnsupportedError
        If batches are asked for and the sampler or the loss has none.
    NotFiniteError
        If the loss or its gradient is not finite at the point.
    SamplingError
        If a batch is larger than the data.
    ComputationError
        If no estimate can be made: no chain moved, none stayed finite, or no step was found;
        and, if ``throw``, for the first doubt.

    References
    ----------
    [Lau2025]_, [Watanabe2009]_

    Examples
    --------
    >>> from fracsde.estimators import FunctionLoss
    >>> quartic = FunctionLoss(value=lambda w: (w**4).sum(1), gradient=lambda w: 4 * w**3,
    ...                        parameters=1, examples=1000, vectorized=True)
    >>> found = learning_coefficient(quartic, [0.0], localization=0.0, rng=1)
    >>> found.status.ok, bool(abs(found.value[0] - 0.25) < 1e-10)
    (True, True)
    """
    sampler = choice("sampler", sampler, SAMPLERS)
    control = choice("control", control, ("auto", "virial", "none"))
    point = _point(loss, w)
    law_beta = _inverse_temperature(n_beta, int(loss.examples))
    gamma = real("localization", localization, low=0.0, closed="low")
    batch = _batch(batch_size, sampler, loss)
    plan = Plan(
        sampler=sampler,
        leaps=integer("leaps", leaps, low=1) if sampler == "hmc" else 1,
        target=_TARGETS[sampler],
        step=None if step is None else real("step", step, low=0.0),
        batch=batch,
        mode=0,
        chains=integer("chains", chains, low=1, high=2**31),
        burn_in=integer("burn_in", burn_in, low=1 if step is None else 0, high=2**30),
        draws=integer("draws", draws, low=MIN_DRAWS, high=2**30),
        key=seed_key(rng, "rng"),
    )
    scale, dense = metric(preconditioner, loss, point, law_beta, gamma)
    law = Law(law_beta, gamma, point, scale, dense)
    there = _start(loss, point)
    rows = batch_rows(int(loss.examples), plan) if batch else None
    state, records = run_chains(loss, law, plan, there, rows, progress)
    evidence = _evidence(state, records, law, plan, there[0])
    found = estimate(evidence, control)
    reasons = doubts(evidence, found)
    if throw and reasons:
        raise ComputationError(reasons[0][0].status, " ".join(text for _, text in reasons))
    live = np.flatnonzero(state.lost < 0)
    heights = records.losses[live] - there[0] if keep_trace else None
    return LearningCoefficient(
        quantity=_QUANTITY,
        value=np.array([found.value]),
        stderr=np.array([found.stderr]),
        n_effective=np.array([found.n_effective]),
        method=f"{sampler}, {found.method}",
        n_beta=law_beta,
        localization=gamma,
        sampler=sampler,
        step=float(state.step[live[0]]),
        batch_size=batch or None,
        loss_at_point=there[0],
        per_chain=found.per_chain,
        acceptance=evidence.acceptances,
        travelled=float(np.sqrt(evidence.distances.mean())),
        farthest=float(np.sqrt(evidence.distances.max())),
        effective_draws=found.effective_draws,
        r_hat=found.r_hat,
        virial=found.virial,
        virial_stderr=found.virial_stderr,
        control_slope=found.slope,
        doubts=tuple(doubt for doubt, _ in reasons),
        warnings=tuple(text for _, text in reasons),
        losses=None if heights is None else heights[:, plan.burn_in :],
        burn_in_losses=None if heights is None else heights[:, : plan.burn_in],
        provenance=_origin(loss, law, plan),
        _scale=scale,
        _dense=dense,
    )


def _evidence(state: Chains, records: Records, law: Law, plan: Plan, level: float) -> Evidence:
    # What the chains that stayed finite left after burn-in.
    live = np.flatnonzero(state.lost < 0)
    if not live.size:
        detail = (
            f"All {plan.chains} chains left the finite numbers, the first at step "
            f"{state.lost.min()}, with steps of {state.step[0]:.3g}; take shorter ones."
        )
        raise ComputationError(Status.NOT_FINITE, detail)
    after = slice(plan.burn_in, None)
    return Evidence(
        heights=law.n_beta * (records.losses[live, after] - level),
        virials=records.virials[live, after],
        distances=records.distances[live, after],
        parameters=len(law.anchor),
        acceptances=records.acceptances[live, after].mean(axis=1),
        adjusted=plan.sampler != "sgld",
        full=plan.batch == 0,
        lost=plan.chains - len(live),
    )


def _origin(loss: Any, law: Law, plan: Plan) -> Provenance:
    compiled = hasattr(loss, "advance_langevin")
    # Other losses hold functions and tensors, which have no content to hash.
    content = loss if compiled else f"{type(loss).__qualname__} of {loss.examples} examples"
    return provenance(
        content,
        law,
        plan[:-1],
        backend="numba" if compiled else "numpy",
        seed=f"key {plan.key[0]}, {plan.key[1]}",
    )


def _point(loss: Any, w: Any) -> FloatArray:
    missing = [
        name for name in ("parameters", "examples", "loss_and_gradient") if not hasattr(loss, name)
    ]
    if missing:
        msg = (
            f"`loss` must have {', '.join(missing)}, got {type(loss).__name__}; wrap functions in "
            "FunctionLoss, a torch model in fracsde.recording.torch.TorchLoss"
        )
        raise InputError(msg)
    remedy = "pass one flat vector of all parameters"
    flat = finite_array("w", w, shape=(int(loss.parameters),), remedy=remedy)
    flat.flags.writeable = True  # kernels are compiled once, for writable arrays
    return flat


def _inverse_temperature(n_beta: float | None, examples: int) -> float:
    if n_beta is not None:
        return real("n_beta", n_beta, low=0.0)
    if examples < 2:
        msg = f"n / log n has no meaning for {examples} example; pass `n_beta`"
        raise InputError(msg)
    return float(examples / np.log(examples))


def _batch(batch_size: int | None, sampler: str, loss: Any) -> int:
    # 0 for all examples.
    if batch_size is None:
        return 0
    size = integer("batch_size", batch_size, low=1)
    if sampler != "sgld":
        msg = (
            f'the verdict of sampler="{sampler}" needs the loss of all examples; leave '
            '`batch_size` out, or take sampler="sgld"'
        )
        raise UnsupportedError(msg)
    batches = getattr(loss, "has_batches", hasattr(loss, "batch_losses_and_gradients"))
    if not (batches or hasattr(loss, "advance_langevin")):
        msg = (
            f"{type(loss).__name__} has no `batch_losses_and_gradients(W, rows)`; leave "
            "`batch_size` out"
        )
        raise UnsupportedError(msg)
    if size > int(loss.examples):
        msg = f"`batch_size` is {size} but there are {loss.examples} examples; leave it out"
        raise SamplingError(msg)
    return size


def _start(loss: Any, point: FloatArray) -> tuple[float, FloatArray]:
    value, gradient = loss.loss_and_gradient(point)
    slope: FloatArray = np.array(gradient, dtype=np.float64)
    if not (np.isfinite(value) and np.isfinite(slope).all()):
        msg = f"the loss at `w` must be finite with a finite gradient, got a loss of {value}"
        raise NotFiniteError(msg)
    return float(value), slope
