r"""Constant-rate SGD near any critical point: curvatures of either sign, and noise in them.

With :math:`w^*` a point where the gradient of the mean loss vanishes, the gradient of one example
near it is :math:`G + (H + \tilde H)(w - w^*)`, with random :math:`G` and :math:`\tilde H` of mean
zero, uncorrelated with each other, and heavy-ball SGD reads

.. math::
    v' = \mu v - \eta\,[(K + \tilde H_B)(w - w^*) + G_B], \qquad w' = w + v', \qquad
    K = H + \lambda I ,

.. math::
    \operatorname{Cov} G_B = \frac{f}{B}\, C, \qquad
    \operatorname{Var} (\tilde H_B)_{ij} = \frac{f}{B}\, s^2_{ij}
    \quad\text{in the eigenbasis of } H .

Entries :math:`\tilde H_{ij} = \tilde H_{ji}`, :math:`i \le j`, are uncorrelated; the rest of what
one batch draws does not matter for second moments.  ``f`` is 1 with replacement and
:math:`(N - B)/(N - 1)` without.

Nothing is stationary in general: :func:`fracsde.growth.variance_growth` has the law after any
number of steps.  Not here: minima (:mod:`fracsde.problems.sgd`), and correlated entries of the
Hessian noise, which couple all second moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import choice, integer, positive_semidefinite, real, symmetric, vector
from fracsde.errors import InputError, OutOfRangeError, UnsupportedError
from fracsde.problems.epochs import batch_share, check_batch
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion
from fracsde.problems.sgd_steps import StepRule

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["SGDNearCriticalPoint"]

_LARGEST = 1e150
_SAMPLING = ("with_replacement", "without_replacement", "shuffled")


@dataclass(frozen=True, kw_only=True, eq=False)
class SGDNearCriticalPoint:
    """Constant-rate SGD near a minimum, a saddle or a flat region of the loss.

    Parameters
    ----------
    hessian : (d, d) array_like [loss/weight^2]
        Hessian ``H`` of the mean loss, symmetric, of any signature.
    gradient_noise : (d, d) array_like [loss^2/weight^2]
        Covariance ``C`` of the gradient of one example at the critical point.
    hessian_noise : float or (d, d) array_like [loss^2/weight^4], optional
        Variances ``s^2`` of the entries of one example's Hessian, in the eigenbasis of ``H`` with
        ascending curvatures; symmetric, not negative.
    learning_rate : float [weight^2/loss]
        ``eta``, positive.
    batch_size : int
        ``B``, examples per step.
    momentum : float [1]
        ``mu`` in ``[0, 1)``.
    weight_decay : float [loss/weight^2]
        ``lambda``, not negative; the critical point is that of the regularised loss.
    dataset_size : int, optional
        ``N``; needed for batches drawn without replacement.
    sampling : {"with_replacement", "without_replacement"}
        How batches are drawn.
    critical_point : (d,) array_like or float [weight]
        Where the gradient of the regularised mean loss vanishes.

    Raises
    ------
    IndefiniteError
        If the noise has a negative eigenvalue beyond rounding.
    OutOfRangeError
        If a rate, momentum, decay, batch size or variance lies outside its range.
    SamplingError
        If the batch is larger than the data, or the size of the data is missing.
    UnsupportedError
        If epochs are shuffled.

    References
    ----------
    [Ignashin2026]_

    Examples
    --------
    A saddle:

    >>> sgd = SGDNearCriticalPoint(hessian=np.diag([1.0, 0.0, -0.1]), gradient_noise=np.eye(3),
    ...     learning_rate=0.1, batch_size=32)
    >>> sgd.curvatures
    array([-0.1,  0. ,  1. ])
    """

    citation: ClassVar[tuple[str, ...]] = ("Ignashin2026",)

    hessian: FloatArray
    gradient_noise: FloatArray
    hessian_noise: FloatArray | None = None
    learning_rate: float
    batch_size: int
    momentum: float = 0.0
    weight_decay: float = 0.0
    dataset_size: int | None = None
    sampling: str = "with_replacement"
    critical_point: FloatArray = 0.0  # type: ignore[assignment]  # a number is broadcast below

    def __post_init__(self) -> None:
        put = object.__setattr__
        hessian = symmetric("hessian", self.hessian)
        size = len(hessian)
        put(self, "hessian", hessian)
        noise = positive_semidefinite("gradient_noise", self.gradient_noise, size=size)
        put(self, "gradient_noise", noise)
        if self.hessian_noise is not None:
            put(self, "hessian_noise", _variances(self.hessian_noise, size))
        put(self, "learning_rate", real("learning_rate", self.learning_rate, low=0.0))
        remedy = "it is the fraction of the velocity that is kept from step to step"
        momentum = real("momentum", self.momentum, low=0.0, high=1.0, closed="low", remedy=remedy)
        put(self, "momentum", momentum)
        put(self, "weight_decay", real("weight_decay", self.weight_decay, low=0.0, closed="low"))
        put(self, "batch_size", integer("batch_size", self.batch_size, low=1))
        if self.dataset_size is not None:
            put(self, "dataset_size", integer("dataset_size", self.dataset_size, low=1))
        self._check_sampling()
        put(self, "critical_point", vector("critical_point", self.critical_point, length=size))
        self._check_sizes()

    def _check_sizes(self) -> None:
        # Two steps are multiplied before anything else is known: that must not overflow.
        eta, share = self.learning_rate, np.sqrt(self.batch_factor)
        bend = self.dimension * float(np.abs(self.hessian).max()) + self.weight_decay
        sizes = {"`learning_rate` times the curvatures": eta * bend}
        sizes["a step's noise"] = eta * share * float(np.sqrt(np.abs(self.gradient_noise).max()))
        if self.hessian_noise is not None:
            scatter = self.dimension * float(np.sqrt(self.hessian_noise.max()))
            sizes["`learning_rate` times the curvatures' noise"] = eta * share * scatter
        for name, value in {"`learning_rate`": eta, **sizes}.items():
            if not value < _LARGEST:
                msg = f"{name} must be below {_LARGEST:g}, got {value:.3g}; choose other units"
                raise OutOfRangeError(msg)

    def _check_sampling(self) -> None:
        choice("sampling", self.sampling, _SAMPLING)
        if self.sampling == "shuffled":
            msg = (
                "sampling='shuffled' is not served here: the noise of an epoch sums to zero, so "
                "that flat directions saturate instead of diffusing; predict "
                "sampling='with_replacement' or 'without_replacement' runs"
            )
            raise UnsupportedError(msg)
        if self.sampling == "with_replacement":
            return
        check_batch(self.batch_size, self.dataset_size, self.sampling)

    @property
    def dimension(self) -> int:
        """Number of weights."""
        return len(self.hessian)

    @property
    def curvatures(self) -> FloatArray:
        """Eigenvalues of the regularised Hessian ``K``, ascending, ``(d,)`` [loss/weight^2]."""
        return self.modes()[0]

    @property
    def batch_factor(self) -> float:
        """Variance of a batch's mean over that of one example, ``f / B`` [1]."""
        return batch_share(self.batch_size, self.dataset_size, self.sampling)

    @property
    def batch_noise(self) -> FloatArray:
        """Covariance ``Q`` of the batch gradient at the point, ``(d, d)`` [loss^2/weight^2]."""
        return self.batch_factor * self.gradient_noise

    def modes(self) -> tuple[FloatArray, FloatArray]:
        """Return the curvatures and their directions.

        Returns
        -------
        curvatures : (d,) float64 [loss/weight^2]
            Eigenvalues of ``K``, ascending.
        directions : (d, d) float64
            Unit eigenvectors, one per column.
        """
        values, vectors = np.linalg.eigh(self.hessian)
        return values + self.weight_decay, vectors

    def map(self) -> LinearRecursion:
        """Return the recursion of the steps, where the noise does not depend on the state.

        Returns
        -------
        LinearRecursion

        Raises
        ------
        UnsupportedError
            If there is noise in the Hessian.
        """
        if self.hessian_noise is not None:
            msg = (
                "`hessian_noise` makes the noise depend on the state, which is no linear "
                "recursion; ask for variance_growth(sgd, steps), or leave it out"
            )
            raise UnsupportedError(msg)
        d, eta = self.dimension, self.learning_rate
        rule = StepRule(momentum=self.momentum)
        return LinearRecursion(
            transition=rule.transition(eta * (self.hessian + self.weight_decay * np.eye(d))),
            noise=rule.kick(eta**2 * self.batch_noise),
            mean=np.append(self.critical_point, np.zeros(rule.state_size(d) - d)),
            observe=slice(0, d),
        )


def _variances(value: ArrayLike, size: int) -> FloatArray:
    if np.ndim(value) == 0:
        low = real("hessian_noise", value, low=0.0, closed="low")
        array = np.full((size, size), low)
        array.flags.writeable = False
        return array
    if np.ndim(value) != 2:
        msg = (
            "`hessian_noise` must be one variance or a matrix of them, one for each entry of the "
            f"Hessian, got shape {np.shape(value)}"
        )
        raise InputError(msg)
    array = symmetric("hessian_noise", value, size=size)
    if array.min() < 0.0:
        i, j = np.unravel_index(int(np.argmin(array)), array.shape)
        msg = (
            f"`hessian_noise` must hold variances, which are not negative; entry [{i}, {j}] is "
            f"{array[i, j]:.6g}; pass squares of standard deviations"
        )
        raise OutOfRangeError(msg)
    return array
