r"""Constant-rate SGD near a minimum: hyper-parameters, curvature and gradient noise.

With mean loss :math:`L`, Hessian :math:`H`, one-example gradient covariance :math:`C` and
batches of :math:`B` examples, heavy-ball SGD reads

.. math::
    v' = \mu v - (1 - \tau)\,\eta P\,[K (w - w^*) + \xi], \qquad w' = w + v', \qquad
    K = H + \lambda I, \quad \operatorname{Cov}\xi = Q = \frac{C}{B}\,f,

with :math:`f = 1` for batches drawn with replacement and :math:`f = (N - B)/(N - 1)` without;
Nesterov's step and PyTorch's names are in :mod:`fracsde.problems.sgd_steps`.  Time is counted in
steps.  :meth:`SGDNearMinimum.map` takes no limit, and neither does :meth:`SGDNearMinimum.epochs`,
for shuffled epochs.  :meth:`SGDNearMinimum.flow` has three continuum limits,

.. math::
    m\,\ddot w = -(1 - \mu)\,\dot w - \epsilon P\,[K (w - w^*) + Q^{1/2} \dot W], \qquad
    \epsilon = (1 - \tau)\,\eta,

==================  ===================  ==========================================================
``limit``           :math:`m`            when
==================  ===================  ==========================================================
``"overdamped"``    0                    :math:`\epsilon \to 0` at fixed :math:`\mu`
``"underdamped"``   1                    :math:`\mu \to 1` at fixed :math:`\epsilon h/(1 - \mu)^2`
``"kunin"``         :math:`(1 + \mu)/2`  both, to the next order in :math:`1 - \mu`
==================  ===================  ==========================================================

Not here: noise that depends on the state.

References: [Mandt2017]_ for the overdamped flow; [Liu2021]_ for the map with momentum;
[Kunin2024]_ for the third flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import choice, integer, positive_semidefinite, real, symmetric, truth, vector
from fracsde.errors import OutOfRangeError, SamplingError, UnsupportedError
from fracsde.problems.epochs import (
    EpochRecursion,
    batch_share,
    check_batch,
    preconditioned,
    read_preconditioner,
)
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.sgd_limits import StabilityLimits, require_curvature, zeros
from fracsde.problems.sgd_steps import StepRule, read_rate

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["SGDNearMinimum"]

SAMPLING = ("with_replacement", "without_replacement", "shuffled")
FLOWS = ("overdamped", "underdamped", "kunin")

# Sums of so large numbers still are numbers.
_LARGEST = 1e300


@dataclass(frozen=True, kw_only=True, eq=False)
class SGDNearMinimum:
    """Constant-rate SGD on a quadratic loss with noise that does not depend on the state.

    Parameters
    ----------
    hessian : (d, d) array_like [loss/weight^2]
        Hessian ``H`` of the mean loss at the minimum, without the weight decay given below;
        symmetric, and positive semi-definite with it.
    gradient_noise : (d, d) array_like [loss^2/weight^2]
        Covariance ``C`` of the gradient of one example; symmetric positive semi-definite.
    learning_rate : float [weight^2/loss]
        ``eta``, positive.
    batch_size : int
        ``B``, examples per step.  A batch of the whole data set, drawn without replacement or in
        shuffled epochs, has no noise: the covariance is then zero.
    momentum : float [1]
        ``mu`` in ``[0, 1)``, the fraction of the velocity that is kept.
    weight_decay : float [loss/weight^2]
        ``lambda``, added to every eigenvalue of the Hessian; not negative.
    preconditioner : float, (d,) or (d, d) array_like, optional
        ``P``, symmetric positive semi-definite; multiplies the gradient.
    dataset_size : int, optional
        ``N``; needed for batches drawn without replacement.
    sampling : {"with_replacement", "without_replacement", "shuffled"}
        How batches are drawn.
    minimum : (d,) array_like or float [weight]
        Minimum of the regularised loss.
    nesterov : bool
        Whether steps look ahead, as in PyTorch; needs momentum and no dampening.
    dampening : float [1]
        ``tau`` in ``[0, 1)``; does nothing without momentum, as in PyTorch.
    drop_last : bool
        For shuffled epochs, whether a last batch of fewer than ``B`` examples is left out.

    Raises
    ------
    IndefiniteError
        If the regularised Hessian or the noise has a negative eigenvalue beyond rounding.
    OutOfRangeError
        If a rate, momentum, decay or batch size lies outside its range, or one step overflows.
    SamplingError
        If the batch is larger than the data, the size of the data is missing, or ``drop_last``
        is asked of batches that are not consecutive blocks of an epoch.
    InputError
        If ``nesterov`` comes without momentum or with dampening.

    References
    ----------
    [Mandt2017]_, [Liu2021]_

    Examples
    --------
    >>> sgd = SGDNearMinimum(
    ...     hessian=np.diag([1.0, 0.1]), gradient_noise=np.eye(2), learning_rate=0.1, batch_size=32
    ... )
    >>> sgd.critical_learning_rate()
    2.0
    """

    citation: ClassVar[tuple[str, ...]] = ("Mandt2017", "Liu2021")

    hessian: FloatArray
    gradient_noise: FloatArray
    learning_rate: float
    batch_size: int
    momentum: float = 0.0
    weight_decay: float = 0.0
    preconditioner: FloatArray | None = None
    dataset_size: int | None = None
    sampling: str = "with_replacement"
    minimum: FloatArray = 0.0  # type: ignore[assignment]  # a number is broadcast below
    nesterov: bool = False
    dampening: float = 0.0
    drop_last: bool = False

    def __post_init__(self) -> None:
        hessian = symmetric("hessian", self.hessian)
        size = len(hessian)
        put = object.__setattr__
        put(self, "hessian", hessian)
        put(self, "weight_decay", real("weight_decay", self.weight_decay, low=0.0, closed="low"))
        require_curvature(self._bare_curvatures, self.weight_decay)
        noise = positive_semidefinite("gradient_noise", self.gradient_noise, size=size)
        put(self, "gradient_noise", noise)
        put(self, "learning_rate", read_rate(self.learning_rate))
        rule = self.rule
        put(self, "momentum", rule.momentum)
        put(self, "nesterov", rule.nesterov)
        put(self, "dampening", rule.dampening)
        put(self, "batch_size", integer("batch_size", self.batch_size, low=1))
        choice("sampling", self.sampling, SAMPLING)
        if self.dataset_size is not None:
            put(self, "dataset_size", integer("dataset_size", self.dataset_size, low=1))
        if self.sampling != "with_replacement":
            check_batch(self.batch_size, self.dataset_size, self.sampling)
        self._check_drop_last()
        if self.preconditioner is not None:
            put(self, "preconditioner", read_preconditioner(self.preconditioner, size))
        put(self, "minimum", vector("minimum", self.minimum, length=size))
        self._check_units()

    def _check_units(self) -> None:
        P = 1.0 if self.preconditioner is None else np.abs(self.preconditioner).max()
        rate = np.float64(self.learning_rate)
        with np.errstate(over="ignore", invalid="ignore"):
            pull = rate * P * np.abs(self.curvature).max()
            noise = (rate * P) ** 2 * np.abs(self.gradient_noise).max()
        if not (pull * self.dimension < _LARGEST and noise * self.dimension < _LARGEST):
            msg = (
                f"one step must pull and kick by numbers below {_LARGEST:g}: learning_rate times "
                f"curvature is {pull:.3g}, its square times noise {noise:.3g}; choose other units "
                "of weight or loss"
            )
            raise OutOfRangeError(msg)

    def _check_drop_last(self) -> None:
        object.__setattr__(self, "drop_last", truth("drop_last", self.drop_last))
        if self.drop_last and self.sampling != "shuffled":
            msg = (
                f"`drop_last` needs sampling='shuffled', got {self.sampling!r}: batches drawn "
                "one by one are all of the same size; leave it out"
            )
            raise SamplingError(msg)

    @property
    def dimension(self) -> int:
        """Number of weights."""
        return len(self.hessian)

    @property
    def rule(self) -> StepRule:
        """How momentum, Nesterov's look-ahead and dampening turn a gradient into a step."""
        return StepRule(momentum=self.momentum, nesterov=self.nesterov, dampening=self.dampening)

    @property
    def curvature(self) -> FloatArray:
        """Hessian ``K`` of the regularised loss, ``(d, d)`` [loss/weight^2]."""
        return self.hessian + self.weight_decay * np.eye(self.dimension)

    @property
    def batch_noise(self) -> FloatArray:
        """Covariance ``Q`` of the mean gradient of one batch, ``(d, d)`` [loss^2/weight^2].

        In shuffled epochs, that of a full batch.
        """
        share = batch_share(self.batch_size, self.dataset_size, self.sampling)
        return share * self.gradient_noise

    @cached_property
    def preconditioned_curvatures(self) -> FloatArray:
        """Eigenvalues of ``P K``, ascending, ``(d,)`` [loss/weight^2]."""
        values = np.maximum(self._bare_curvatures, 0.0)
        if self.preconditioner is not None:
            # P K has the eigenvalues of the symmetric K^(1/2) P K^(1/2).
            values, vectors = np.linalg.eigh(self.curvature)
            root = vectors * np.sqrt(np.maximum(values, 0.0))
            values = np.linalg.eigvalsh(root.T @ preconditioned(self.preconditioner, root))
        curvatures: FloatArray = values
        return curvatures

    def flow(self, *, limit: str = "overdamped") -> OUProcess:
        """Return a continuum limit, an Ornstein-Uhlenbeck process in time counted in steps.

        Parameters
        ----------
        limit : {"overdamped", "underdamped", "kunin"}
            Which, see the table of the module.  The last two have the state ``(w, v)`` with
            ``dw = v dt``, and ``observe`` selects the weights.  All three have the same
            variances where curvature and noise commute; they differ in shape and in time.

        Returns
        -------
        OUProcess

        Raises
        ------
        UnsupportedError
            If epochs are shuffled, or if ``limit="kunin"`` is asked of Nesterov's step.
        """
        choice("limit", limit, FLOWS)
        self._refuse_shuffled("flow")
        d, damping, context = self.dimension, 1.0 - self.momentum, self.stability().why(flow=True)
        # What the velocity receives: the pull and the noise of one step.
        rate = self.learning_rate * self.rule.rate_factor * damping
        pull = rate * self._precondition(self.curvature)
        noise = rate**2 * self._twice(self.batch_noise)
        if limit == "overdamped":
            return OUProcess(
                drift=pull / damping, noise=noise / damping**2, mean=self.minimum, context=context
            )
        if limit == "kunin" and self.nesterov:
            msg = (
                "limit='kunin' is the heavy ball's: Nesterov's look-ahead adds friction and "
                "coloured noise of the same order; use limit='underdamped', or map()"
            )
            raise UnsupportedError(msg)
        mass = 1.0 if limit == "underdamped" else 0.5 * (1.0 + self.momentum)
        one, nothing = np.eye(d), np.zeros((d, d))
        return OUProcess(
            drift=np.block([[nothing, -one], [pull / mass, (damping / mass) * one]]),
            noise=np.block([[nothing, nothing], [nothing, noise / mass**2]]),
            mean=np.append(self.minimum, np.zeros(d)),
            context=context,
            observe=slice(0, d),
        )

    def map(self) -> LinearRecursion:
        """Return the recursion of the steps themselves; no limit is taken.

        With momentum the state is ``(w, v)`` and ``observe`` selects the weights.

        Returns
        -------
        LinearRecursion

        Raises
        ------
        UnsupportedError
            If epochs are shuffled.
        """
        self._refuse_shuffled("map")
        d, rule = self.dimension, self.rule
        return LinearRecursion(
            transition=rule.transition(self.learning_rate * self._precondition(self.curvature)),
            noise=rule.kick(self.learning_rate**2 * self._twice(self.batch_noise)),
            mean=np.append(self.minimum, np.zeros(rule.state_size(d) - d)),
            observe=slice(0, d),
            context=self.stability().why(),
        )

    def epochs(self) -> EpochRecursion:
        """Return the recursion of shuffled epochs; no limit is taken.

        Returns
        -------
        EpochRecursion

        Raises
        ------
        UnsupportedError
            If batches are not blocks of shuffled epochs.
        """
        if self.sampling != "shuffled":
            msg = (
                f"sampling={self.sampling!r} has no epochs: its batches are independent; use "
                "map(), or sampling='shuffled'"
            )
            raise UnsupportedError(msg)
        assert self.dataset_size is not None  # checked on construction
        return EpochRecursion(
            curvature=self.learning_rate * self.curvature,
            noise=self.learning_rate**2 * self.gradient_noise,
            dataset_size=self.dataset_size,
            batch_size=self.batch_size,
            drop_last=self.drop_last,
            rule=self.rule,
            preconditioner=self.preconditioner,
            mean=self.minimum,
            context=self.stability().why(shuffled=True),
        )

    def stability(self) -> StabilityLimits:
        """Return the limits on the learning rate, one per law.

        Returns
        -------
        StabilityLimits
        """
        P = self.preconditioner
        rates = np.ones(1) if P is None else P
        if rates.ndim == 2:
            rates = np.asarray(np.linalg.eigvalsh(rates), dtype=np.float64)
        flat, frozen = zeros(self._bare_curvatures), zeros(rates)
        pulls = self.preconditioned_curvatures
        still = len(zeros(pulls))
        moving = (
            self.learning_rate * self.rule.rate_factor * float(pulls[min(still, len(pulls) - 1)])
        )
        critical = self.critical_learning_rate()
        return StabilityLimits(
            learning_rate=self.learning_rate,
            flow=0.0 if len(flat) or len(frozen) or still else float("inf"),
            mean=critical,
            second_moment=critical,
            flat=flat,
            frozen=len(frozen),
            slowest=moving,
        )

    def is_stable(self) -> bool:
        """Return whether the noise-free iteration converges to the minimum.

        Returns
        -------
        bool
            True when every curvature is positive and the learning rate is below the critical one.
        """
        still = zeros(self.preconditioned_curvatures)
        return len(still) == 0 and self.learning_rate < self.critical_learning_rate()

    def critical_learning_rate(self) -> float:
        """Return the learning rate at which the noise-free iteration stops converging.

        With ``h_max`` the largest eigenvalue of ``P (H + lambda I)`` it is
        ``2 (1 + mu) / ((1 - tau) h_max)``, and ``2 (1 + mu) / ((1 + 2 mu) h_max)`` for Nesterov.

        Returns
        -------
        float [weight^2/loss]
            Infinite where there is no curvature at all.
        """
        high = float(self.preconditioned_curvatures[-1])
        return self.rule.largest_pull / high if high > 0.0 else float("inf")

    @cached_property
    def _bare_curvatures(self) -> FloatArray:
        return np.asarray(np.linalg.eigvalsh(self.curvature))

    def _precondition(self, array: FloatArray) -> FloatArray:
        return preconditioned(self.preconditioner, array)

    def _twice(self, noise: FloatArray) -> FloatArray:
        return self._precondition(self._precondition(noise).T)

    def _refuse_shuffled(self, asked: str) -> None:
        if self.sampling == "shuffled":
            msg = (
                f"sampling='shuffled' has no {asked}() with independent noise: the noise of an "
                "epoch sums to zero, so steps are correlated and flat directions vary far less; "
                "epochs() has its law, as stationary_covariance(sgd) does, and "
                "sampling='without_replacement' that of independent batches"
            )
            raise UnsupportedError(msg)
