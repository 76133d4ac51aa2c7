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

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

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
from fracsde.estimators.quadratic_coefficient import quadratic_covariance
from fracsde.provenance import Provenance, provenance
from fracsde.records.measurement import Measurement, Quantity
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray, RandomState

__all__ = ["Doubt", "LearningCoefficient", "learning_coefficient"]

SAMPLERS = ("mala", "hmc", "sgld")
_TARGETS = {"mala": 0.574, "hmc": 0.651, "sgld": 0.95}
_QUANTITY = Quantity(name="local learning coefficient")


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningCoefficient(Measurement):
    """A measured local learning coefficient and everything that it depends on.

    ``value``, ``stderr`` and ``n_effective`` are those of a :class:`Measurement` with one entry.

    Parameters
    ----------
    n_beta : float [1]
        Inverse temperature.
    localization : float [1 / weight**2]
        Strength of the square about the point.
    sampler : str
        Which sampler.
    step : float [weight**2]
        Step of the draws.
    batch_size : int or None
        Examples per step, None for all.
    loss_at_point : float
        Loss of all examples at the point.
    per_chain : (chain,) float64 [1]
        The estimate of each chain.
    acceptance : (chain,) float64 [1]
        Mean acceptance of each chain; of ``sgld`` what it would be, NaN on batches.
    travelled : float [weight]
        Root mean square distance of the draws from the point.
    farthest : float [weight]
        The largest of them.
    effective_draws : float [1]
        Independent draws that would fix the mean loss as well, over all chains.
    r_hat : float [1]
        Split R-hat of the loss.
    virial : float [1]
        Mean of ``(w - w*) . dU/dw`` over the number of parameters: 1 for draws of the law.
    virial_stderr : float [1]
        Its standard error; NaN where the chains are too few and too correlated for one.
    control_slope : float [1]
        Slope of the control variate, 0 without.
    doubts : tuple of Doubt
        What speaks against the estimate.
    warnings : tuple of str
        The same in words, with numbers.
    losses : (chain, draw) float64 or None
        Loss of every draw, less that at the point.
    burn_in_losses : (chain, draw) float64 or None
        The same of burn-in.
    provenance : Provenance
        Seed, versions, hash of the input.
    """

    citation: ClassVar[tuple[str, ...]] = ("Lau2025", "Watanabe2009")

    n_beta: float
    localization: float
    sampler: str
    step: float
    batch_size: int | None
    loss_at_point: float
    per_chain: FloatArray
    acceptance: FloatArray
    travelled: float
    farthest: float
    effective_draws: float
    r_hat: float
    virial: float
    virial_stderr: float
    control_slope: float
    doubts: tuple[Doubt, ...]
    warnings: tuple[str, ...]
    losses: FloatArray | None
    burn_in_losses: FloatArray | None
    provenance: Provenance
    _scale: FloatArray
    _dense: bool

    @property
    def status(self) -> Status:
        """``SUCCESS`` if nothing speaks against the estimate."""
        return self.doubts[0].status if self.doubts else Status.SUCCESS

    def corrected(
        self, curvature: ArrayLike, *, gradient_noise: ArrayLike | None = None
    ) -> Measurement:
        r"""Take out what localization and step do to the directions with a resolved curvature.

        In a direction of curvature :math:`h` with :math:`n\beta h > \gamma` the closed form of a
        square valley is put in place of one half; other directions keep what was measured, since
        nothing says that the loss goes on as a square where the localization holds the chain.

        Parameters
        ----------
        curvature : (P,) or (P, P) array_like [1 / weight**2]
            Eigenvalues of the Hessian at the point, or the Hessian; with a metric the latter.
        gradient_noise : (P, P) array_like, optional [1 / weight**2]
            Covariance of one example's gradient, for ``sgld`` on batches.

        Returns
        -------
        Measurement

        Raises
        ------
        InputError
            If a metric, or gradient noise, was used and only eigenvalues are given.
        UnstableError
            If the step is beyond the limit of stability of the square valley.

        Examples
        --------
        >>> from fracsde.estimators import FunctionLoss
        >>> bowl = FunctionLoss(value=lambda w: 0.5 * (w * w).sum(1), gradient=lambda w: w,
        ...                     parameters=4, examples=1000, vectorized=True)
        >>> found = learning_coefficient(bowl, np.zeros(4), localization=100.0, rng=1)
        >>> bool(found.value[0] < 1.4), bool(abs(found.corrected(np.ones(4)).value[0] - 2) < 0.1)
        (True, True)
        """
        matrix, covariance = quadratic_covariance(
            curvature,
            n_beta=self.n_beta,
            localization=self.localization,
            step=self.step if self.sampler == "sgld" else 0.0,
            scale=self._scale,
            dense=self._dense,
            gradient_noise=gradient_noise,
            batch_size=self.batch_size,
        )
        values, vectors = np.linalg.eigh(matrix)
        kept = self.n_beta * values > self.localization
        along = np.einsum("ik,ij,jk->k", vectors, covariance, vectors)
        shift = 0.5 * (1.0 - self.n_beta * values * along)[kept].sum()
        return Measurement(
            quantity=self.quantity,
            value=self.value + shift,
            stderr=self.stderr,
            n_effective=self.n_effective,
            method=f"{self.method}, corrected in {int(kept.sum())} of {len(values)} directions",
        )


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
    live = np.flatnonzero(state.lost < 0)
    if not live.size:
        detail = (
            f"All {plan.chains} chains left the finite numbers, the first at step "
            f"{state.lost.min()}, with steps of {state.step[0]:.3g}; take shorter ones."
        )
        raise ComputationError(Status.NOT_FINITE, detail)
    heights = records.losses[live] - there[0]
    after = slice(plan.burn_in, None)
    evidence = Evidence(
        heights=law_beta * heights[:, after],
        virials=records.virials[live, after],
        distances=records.distances[live, after],
        parameters=len(point),
        acceptances=records.acceptances[live, after].mean(axis=1),
        adjusted=sampler != "sgld",
        full=batch == 0,
        lost=plan.chains - len(live),
    )
    found = estimate(evidence, control)
    reasons = doubts(evidence, found)
    if throw and reasons:
        raise ComputationError(reasons[0][0].status, " ".join(text for _, text in reasons))
    origin = provenance(
        loss, law, plan[:-1], backend=_backend(loss), seed=f"key {plan.key[0]}, {plan.key[1]}"
    )
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
        losses=heights[:, after] if keep_trace else None,
        burn_in_losses=heights[:, : plan.burn_in] if keep_trace else None,
        provenance=origin,
        _scale=scale,
        _dense=dense,
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


def _backend(loss: Any) -> str:
    return "numba" if hasattr(loss, "advance_langevin") else "numpy"
