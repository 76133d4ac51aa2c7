r"""SGD on quadratic losses: what all ways to give the losses have in common.

A batch's gradient scatters more the further the weights are from the minimum.  Its covariance,
averaged over a stationary state of covariance :math:`\Sigma`, is

.. math::
    Q(\Sigma) = \frac fB\Big[C + \frac1N\sum_n H_n \Sigma H_n - H\Sigma H\Big],

with :math:`f = 1` for batches drawn with replacement and :math:`f = (N-B)/(N-1)` without.  Means
and covariances of a run obey linear equations, whatever the law of the examples
(:mod:`fracsde.problems.second_moments`).

Not here: how the losses are given (:mod:`fracsde.problems.quadratic_sgd`,
:mod:`fracsde.problems.least_squares`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from fracsde._check import choice, integer, positive_semidefinite
from fracsde.errors import InputError, OutOfRangeError, SamplingError, UnsupportedError
from fracsde.problems.critical_rate import critical_rate
from fracsde.problems.epochs import (
    batch_share,
    check_batch,
    preconditioned,
    read_preconditioner,
    root_of,
)
from fracsde.problems.matrix_free import MatrixFreeSGD
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion
from fracsde.problems.second_moments import SecondMoments, modes_of
from fracsde.problems.sgd import SAMPLING, SGDNearMinimum
from fracsde.problems.sgd_limits import StabilityLimits
from fracsde.problems.sgd_steps import StepRule, read_rate

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray
    from fracsde.problems.example_noise import ExampleNoise

__all__ = ["Minimum", "QuadraticLossSGD", "instead_of", "require_near_minimum"]

# The square of a curvature must be a number, and leave room for a condition.
_LARGEST = 1e120


class Minimum(NamedTuple):
    """A quadratic mean loss and how its examples scatter about the minimum."""

    hessian: FloatArray
    decay: float
    place: FloatArray
    noise: ExampleNoise


@dataclass(frozen=True, kw_only=True, eq=False)
class QuadraticLossSGD(ABC):
    """What SGD on quadratic losses has in common; see :class:`QuadraticSGD`.

    Parameters
    ----------
    learning_rate : float [weight^2/loss]
        ``eta``, positive.
    batch_size : int
        ``B``, examples per step.
    momentum : float [1]
        ``mu`` in ``[0, 1)``, the fraction of the velocity that is kept.
    nesterov : bool
        Whether the step looks ahead, as in :class:`~fracsde.problems.sgd_steps.StepRule`.
    dampening : float [1]
        ``tau`` in ``[0, 1)``.
    preconditioner : float, (d,) or (d, d) array_like, optional
        ``P``, symmetric positive definite; multiplies the gradient.
    sampling : {"with_replacement", "without_replacement", "shuffled"}
        How batches are drawn; shuffled epochs have no law here, only near the minimum.
    """

    citation: ClassVar[tuple[str, ...]] = ("Ziyin2022",)

    learning_rate: float
    batch_size: int
    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0
    preconditioner: FloatArray | None = None
    sampling: str = "with_replacement"

    def _check_steps(self, dimension: int, examples: int | None) -> None:
        # Shared fields, for a subclass that knows its own.
        put = object.__setattr__
        put(self, "learning_rate", read_rate(self.learning_rate))
        put(self, "batch_size", integer("batch_size", self.batch_size, low=1))
        rule = StepRule(momentum=self.momentum, nesterov=self.nesterov, dampening=self.dampening)
        for name in ("momentum", "nesterov", "dampening"):
            put(self, name, getattr(rule, name))
        choice("sampling", self.sampling, SAMPLING)
        if self.sampling != "with_replacement":
            if examples is None:
                msg = (
                    f"sampling={self.sampling!r} needs data that end, and examples are drawn "
                    "afresh here; use sampling='with_replacement'"
                )
                raise SamplingError(msg)
            check_batch(self.batch_size, examples, self.sampling)
        if self.preconditioner is not None:
            put(self, "preconditioner", _definite(self.preconditioner, dimension))

    @abstractmethod
    def _find_minimum(self) -> Minimum: ...

    @property
    @abstractmethod
    def examples(self) -> int | None:
        """Number of examples; None where they are drawn afresh."""

    @cached_property
    def about_minimum(self) -> Minimum:
        """Mean Hessian of the data, decay, minimum, and the scatter of examples about it."""
        with np.errstate(over="ignore", invalid="ignore"):
            about = self._find_minimum()
            noise = np.diag(about.noise.at_minimum())
        top = float(noise.max())
        if not (np.all(np.isfinite(noise)) and (top == 0.0 or 1.0 / _LARGEST < top < _LARGEST)):
            msg = (
                "squares of the examples' gradients at the minimum must vanish or lie between "
                f"{1.0 / _LARGEST:g} and {_LARGEST:g}, got {top:.3g}; choose other units of the "
                "loss, for least squares of the targets"
            )
            raise OutOfRangeError(msg)
        return about

    @property
    def curvature(self) -> FloatArray:
        """Hessian ``K`` of the regularised mean loss, ``(d, d)`` [loss/weight^2]."""
        about = self.about_minimum
        return about.hessian + about.decay * np.eye(len(about.place))

    def precondition(self, array: FloatArray) -> FloatArray:
        """Return ``P`` times an array.

        Parameters
        ----------
        array : (d, p) float64
            What it multiplies.

        Returns
        -------
        (d, p) float64
        """
        return preconditioned(self.preconditioner, array)

    @property
    def dimension(self) -> int:
        """Number of weights."""
        return len(self.about_minimum.place)

    @property
    def observed(self) -> IntArray:
        """Indices of the weights in the state."""
        return np.arange(self.dimension)

    @property
    def minimum(self) -> FloatArray:
        """Minimum of the regularised mean loss, ``(d,)``; the shortest if there are many."""
        return self.about_minimum.place

    @cached_property
    def second_moments(self) -> SecondMoments:
        """What the second moments of the run depend on, in the modes of the curvature.

        Raises
        ------
        UnsupportedError
            If epochs are shuffled.
        OutOfRangeError
            If the square of a curvature overflows or underflows.
        """
        self.require_independent_batches()
        about = self.about_minimum
        P = self.preconditioner
        root = None if P is None else root_of(P, len(about.place))[0]
        h, W, drifting = modes_of(self.curvature, root, about.noise)
        if len(h) and not 1.0 / _LARGEST < h[-1] < _LARGEST:
            msg = (
                f"curvatures must lie between {1.0 / _LARGEST:g} and {_LARGEST:g}, got "
                f"{h[-1]:.3g}: their squares are the noise; rescale the inputs"
            )
            raise OutOfRangeError(msg)
        return SecondMoments(
            curvatures=h,
            basis=W,
            noise=about.noise.in_basis(W),
            share=batch_share(self.batch_size, self.examples, self.sampling),
            rule=self.rule,
            drifting=drifting,
        )

    def require_independent_batches(self) -> None:
        """Refuse shuffled epochs.

        Raises
        ------
        UnsupportedError
            If epochs are shuffled.
        """
        if self.sampling == "shuffled":
            msg = (
                "sampling='shuffled' has no exact second moments with noise that depends on the "
                "state: steps of an epoch share what is left of the data; ask near_minimum(), "
                "which knows shuffled epochs with the noise of the minimum, or sampling="
                "'without_replacement'"
            )
            raise UnsupportedError(msg)

    @property
    def rule(self) -> StepRule:
        """How momentum, Nesterov's look-ahead and dampening turn a gradient into a step."""
        return StepRule(momentum=self.momentum, nesterov=self.nesterov, dampening=self.dampening)

    def near_minimum(self) -> SGDNearMinimum:
        """Return the same run with the noise of the minimum everywhere.

        It errs by a share of about ``eta Tr(H) / (2 B (1 - mu))`` of the covariance.

        Returns
        -------
        SGDNearMinimum
        """
        about = self.about_minimum
        return SGDNearMinimum(
            hessian=about.hessian,
            gradient_noise=about.noise.at_minimum(),
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            momentum=self.momentum,
            nesterov=self.nesterov,
            dampening=self.dampening,
            weight_decay=about.decay,
            preconditioner=self.preconditioner,
            dataset_size=self.examples,
            sampling=self.sampling,
            minimum=about.place,
        )

    def critical_learning_rate(self) -> float:
        """Return the learning rate above which the second moments diverge.

        Returns
        -------
        float [weight^2/loss]
            Never above ``stability().mean``; infinite where no example moves anything, zero where
            one moves a direction without curvature.

        Raises
        ------
        UnsupportedError
            If epochs are shuffled.
        """
        return critical_rate(self.second_moments)

    def stability(self) -> StabilityLimits:
        """Return the limits on the learning rate, of the mean and of the second moments.

        Returns
        -------
        StabilityLimits

        Raises
        ------
        UnsupportedError
            If epochs are shuffled.
        """
        moments = self.second_moments
        return StabilityLimits(
            learning_rate=self.learning_rate,
            flow=0.0 if moments.drifting else float("inf"),
            mean=float(moments.largest_rate),
            second_moment=self.critical_learning_rate(),
            flat=np.arange(moments.drifting),
            frozen=0,
        )

    def is_stable(self) -> bool:
        """Return whether the second moments settle.

        Returns
        -------
        bool
        """
        return self.learning_rate < self.critical_learning_rate()

    def excess_loss(self, covariance: FloatArray) -> float:
        """Return how much weights of this covariance lose, on average, against the minimum.

        Parameters
        ----------
        covariance : (d, d) array_like [weight^2]
            Of weights whose mean is the minimum.

        Returns
        -------
        float [loss]
            ``Tr(K covariance) / 2``, of the regularised loss.
        """
        S = positive_semidefinite("covariance", covariance, size=self.dimension)
        return 0.5 * float(np.sum(self.curvature * S))


def require_near_minimum(sgd: Any) -> None:
    """Refuse what is not SGD with noise that does not depend on the state.

    Parameters
    ----------
    sgd : object
        What the caller passed.

    Raises
    ------
    InputError
        If it is not an SGDNearMinimum.
    """
    if isinstance(sgd, SGDNearMinimum):
        return
    msg = f"`sgd` must be an SGDNearMinimum, got {type(sgd).__name__}"
    if isinstance(sgd, QuadraticLossSGD):
        msg += "; sgd.near_minimum() is this run with the noise of its minimum everywhere"
    elif other := instead_of(sgd):
        msg += f"; {other}"
    raise InputError(msg)


def instead_of(law: Any) -> str:
    """Return what to ask in place of a law that holds an SGD near its minimum.

    Parameters
    ----------
    law : object
        What the caller passed.

    Returns
    -------
    str
        Nothing where there is none.
    """
    if isinstance(getattr(law, "sgd", None), SGDNearMinimum):
        return "its `sgd` is the run with the preconditioner that it settles on"
    if isinstance(getattr(law, "process", None), LinearRecursion):
        return "its `process` is the map of its steps, and has what a LinearRecursion has"
    if isinstance(law, MatrixFreeSGD):
        return (
            "its dense() writes the matrices down; of those too large stationary_trace(sgd, "
            "'curvature') is twice the loss, stationary_variance_along(sgd, u) a variance"
        )
    return ""


def _definite(value: object, size: int) -> FloatArray:
    P = read_preconditioner(value, size)
    values = P if P.ndim == 1 else np.linalg.eigvalsh(P)
    low, high = float(values.min()), float(values.max())
    if not low > 4.0 * size * np.finfo(np.float64).eps * high:
        msg = (
            f"`preconditioner` must be positive definite, got eigenvalues from {low:.3g} to "
            f"{high:.3g}; a direction with rate zero never moves: leave it out of the weights"
        )
        raise OutOfRangeError(msg)
    return P
