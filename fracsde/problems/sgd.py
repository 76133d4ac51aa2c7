r"""Constant-rate SGD near a minimum: hyper-parameters, curvature and gradient noise.

With mean loss :math:`L`, Hessian :math:`H`, one-example gradient covariance :math:`C` and
batches of :math:`B` examples, heavy-ball SGD reads

.. math::
    v' = \mu v - \eta P\,[(H + \lambda I)(w - w^*) + \xi], \qquad w' = w + v', \qquad
    \operatorname{Cov}\xi = Q = \frac{C}{B}\,f,

with :math:`f = 1` for batches drawn with replacement and :math:`f = (N - B)/(N - 1)` without.
Time is counted in steps.  :meth:`SGDNearMinimum.map` takes no limit.  The continuum limit, at
fixed :math:`\mu`, is :meth:`SGDNearMinimum.flow`,

.. math::
    dw = -\frac{\eta}{1-\mu} P (H + \lambda I)(w - w^*)\,dt
         + \frac{\eta}{1-\mu} P Q^{1/2}\,dW .

Not here: noise that depends on the state, and shuffled epochs, whose noise is correlated from
step to step.

References: [Mandt2017]_ for the flow; [Liu2021]_ for the map with momentum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import choice, finite_array, integer, positive_semidefinite, real, vector
from fracsde.errors import SamplingError, ShapeError, UnsupportedError
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["SGDNearMinimum"]

SAMPLING = ("with_replacement", "without_replacement", "shuffled")


@dataclass(frozen=True, kw_only=True, eq=False)
class SGDNearMinimum:
    """Constant-rate SGD on a quadratic loss with noise that does not depend on the state.

    Parameters
    ----------
    hessian : (d, d) array_like [loss/weight^2]
        Hessian ``H`` of the mean loss at the minimum, without the weight decay given below;
        symmetric positive semi-definite.
    gradient_noise : (d, d) array_like [loss^2/weight^2]
        Covariance ``C`` of the gradient of one example; symmetric positive semi-definite.
    learning_rate : float [weight^2/loss]
        ``eta``, positive.
    batch_size : int
        ``B``, examples per step.
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

    Raises
    ------
    IndefiniteError
        If the Hessian or the noise has a negative eigenvalue beyond rounding.
    OutOfRangeError
        If a rate, momentum, decay or batch size lies outside its range.
    SamplingError
        If the batch is larger than the data, or the size of the data is missing.

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

    def __post_init__(self) -> None:
        hessian = positive_semidefinite(
            "hessian",
            self.hessian,
            remedy=(
                "there is no stationary law along those directions: train further, raise the "
                "weight decay, or project onto the directions with positive curvature"
            ),
        )
        size = len(hessian)
        put = object.__setattr__
        put(self, "hessian", hessian)
        noise = positive_semidefinite("gradient_noise", self.gradient_noise, size=size)
        put(self, "gradient_noise", noise)
        put(self, "learning_rate", real("learning_rate", self.learning_rate, low=0.0))
        momentum = real(
            "momentum",
            self.momentum,
            low=0.0,
            high=1.0,
            closed="low",
            remedy="it is the fraction of the velocity that is kept from step to step",
        )
        put(self, "momentum", momentum)
        put(self, "weight_decay", real("weight_decay", self.weight_decay, low=0.0, closed="low"))
        put(self, "batch_size", integer("batch_size", self.batch_size, low=1))
        choice("sampling", self.sampling, SAMPLING)
        if self.dataset_size is not None:
            put(self, "dataset_size", integer("dataset_size", self.dataset_size, low=1))
        if self.sampling != "with_replacement":
            self._check_batch()
        if self.preconditioner is not None:
            put(self, "preconditioner", _preconditioner(self.preconditioner, size))
        put(self, "minimum", vector("minimum", self.minimum, length=size))

    def _check_batch(self) -> None:
        if self.dataset_size is None:
            msg = (
                f"`dataset_size` is needed for sampling {self.sampling!r}, got None; "
                "the noise of such batches depends on it"
            )
            raise SamplingError(msg)
        if self.batch_size > self.dataset_size:
            msg = (
                f"`batch_size` must not exceed the {self.dataset_size} examples of the data when "
                f"sampling {self.sampling!r}, got {self.batch_size}; use a smaller batch or "
                "sampling='with_replacement'"
            )
            raise SamplingError(msg)

    @property
    def dimension(self) -> int:
        """Number of weights."""
        return len(self.hessian)

    @property
    def batch_noise(self) -> FloatArray:
        """Covariance ``Q`` of the mean gradient of one batch, ``(d, d)`` [loss^2/weight^2]."""
        factor = 1.0 / self.batch_size
        if self.sampling == "without_replacement":
            assert self.dataset_size is not None  # checked on construction
            N, B = self.dataset_size, self.batch_size
            factor *= (N - B) / (N - 1) if N > 1 else 0.0
        return factor * self.gradient_noise

    def flow(self) -> OUProcess:
        """Return the continuum limit, an Ornstein-Uhlenbeck process in time counted in steps.

        Returns
        -------
        OUProcess

        Raises
        ------
        UnsupportedError
            If epochs are shuffled.
        """
        self._refuse_shuffled()
        rate = self.learning_rate / (1.0 - self.momentum)
        return OUProcess(
            drift=rate * self._precondition(self._curvature()),
            noise=rate**2 * self._precondition(self._precondition(self.batch_noise).T),
            mean=self.minimum,
            context=self._limit(),
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
        self._refuse_shuffled()
        d, mu, eta = self.dimension, self.momentum, self.learning_rate
        pull = eta * self._precondition(self._curvature())
        kick = eta**2 * self._precondition(self._precondition(self.batch_noise).T)
        if mu == 0.0:
            return LinearRecursion(
                transition=np.eye(d) - pull, noise=kick, mean=self.minimum, context=self._limit()
            )
        keep = mu * np.eye(d)
        return LinearRecursion(
            transition=np.block([[np.eye(d) - pull, keep], [-pull, keep]]),
            noise=np.block([[kick, kick], [kick, kick]]),
            mean=np.append(self.minimum, np.zeros(d)),
            observe=slice(0, d),
            context=self._limit(),
        )

    def is_stable(self) -> bool:
        """Return whether the noise-free iteration converges to the minimum.

        Returns
        -------
        bool
            True when every curvature is positive and the learning rate is below the critical one.
        """
        curvatures = self._preconditioned_curvatures()
        low, high = float(curvatures[0]), float(curvatures[-1])
        # A curvature of zero is computed as a few roundings of the largest.
        rounding = 4.0 * self.dimension * float(np.finfo(np.float64).eps) * high
        return low > rounding and self.learning_rate < self.critical_learning_rate()

    def critical_learning_rate(self) -> float:
        """Return the learning rate ``2 (1 + mu) / h_max`` at which the iteration stops converging.

        ``h_max`` is the largest eigenvalue of ``P (H + lambda I)``.

        Returns
        -------
        float [weight^2/loss]
            Infinite where there is no curvature at all.
        """
        high = float(self._preconditioned_curvatures()[-1])
        return float(2.0 * (1.0 + self.momentum) / high) if high > 0.0 else float("inf")

    def _curvature(self) -> FloatArray:
        return self.hessian + self.weight_decay * np.eye(self.dimension)

    def _precondition(self, array: FloatArray) -> FloatArray:
        P = self.preconditioner
        if P is None:
            return array
        product: FloatArray = P[:, None] * array if P.ndim == 1 else P @ array
        return product

    def _preconditioned_curvatures(self) -> FloatArray:
        # P K has the eigenvalues of the symmetric K^(1/2) P K^(1/2).
        values, vectors = np.linalg.eigh(self._curvature())
        values = np.maximum(values, 0.0)
        if self.preconditioner is not None:
            root = vectors * np.sqrt(values)
            values = np.linalg.eigvalsh(root.T @ self._precondition(root))
        curvatures: FloatArray = values
        return curvatures

    def _limit(self) -> str:
        return (
            f"SGD with learning_rate={self.learning_rate:g} and momentum={self.momentum:g} is "
            f"stable below the critical learning rate {self.critical_learning_rate():g} where all "
            "curvatures are positive."
        )

    def _refuse_shuffled(self) -> None:
        if self.sampling == "shuffled":
            msg = (
                "sampling='shuffled' has no flow and no linear recursion with independent noise: "
                "the noise of an epoch sums to zero, so steps are correlated and flat directions "
                "vary far less; predict sampling='with_replacement' or 'without_replacement' "
                "runs, or measure the shuffled one"
            )
            raise UnsupportedError(msg)


def _preconditioner(value: FloatArray, size: int) -> FloatArray:
    array = finite_array("preconditioner", value, ndim=(0, 1, 2))
    if array.ndim == 2:
        return positive_semidefinite("preconditioner", array, size=size)
    if array.ndim == 1 and len(array) != size:
        msg = f"`preconditioner` must have {size} entries or be {size} x {size}, got {len(array)}"
        raise ShapeError(msg)
    diagonal = vector("preconditioner", array, length=size)
    if diagonal.min() < 0.0:
        real("preconditioner", diagonal.min(), low=0.0, closed="low", remedy="rates are positive")
    return diagonal
