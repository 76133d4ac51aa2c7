r"""SGD that passes through a shuffle of the data in every epoch.

An epoch of ``N`` examples has batches of :math:`b_0, \dots, b_{M-1}` examples.  The gradient noise
of a batch does not depend on the state, and within an epoch

.. math::
    \operatorname{Cov}(\xi_j, \xi_k) = \frac{N}{N - 1}
        \Big(\frac{\delta_{jk}}{b_j} - \frac1N\Big)\, C ,

across epochs zero: examples are drawn without replacement, so batches of one epoch repel each
other.  Where all ``N`` examples are used, :math:`\sum_j b_j \xi_j = 0`.

===================================  ======================  =====================================
``N`` and ``B``                      batches                 what sums to zero over an epoch
===================================  ======================  =====================================
``B`` divides ``N``                  ``M = N / B`` of ``B``  the noise of the steps
it does not, ``drop_last=False``     the last is short       :math:`\sum_j b_j \xi_j`, not the steps
it does not, ``drop_last=True``      the last is left out    nothing: some examples are not seen
===================================  ======================  =====================================

Not here: covariances, see :mod:`fracsde.lyapunov.epochs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import finite_array, integer, positive_semidefinite, real, truth, vector
from fracsde.errors import InputError, SamplingError, ShapeError
from fracsde.problems.sgd_steps import StepRule

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["EpochRecursion", "batch_share", "check_batch", "preconditioned", "read_preconditioner"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochRecursion:
    """Steps of SGD whose batches are consecutive blocks of a fresh shuffle in each epoch.

    Parameters
    ----------
    curvature : (d, d) array_like [1]
        Learning rate times the curvature ``eta K``; symmetric positive semi-definite.
    noise : (d, d) array_like [weight^2]
        Covariance ``eta^2 C`` of the learning rate times the gradient of one example.
    dataset_size : int
        ``N``.
    batch_size : int
        ``B``, at most ``N``.
    drop_last : bool
        Whether a last batch of fewer than ``B`` examples is left out, as ``DataLoader`` of
        PyTorch can.
    rule : StepRule
        Momentum, Nesterov and dampening.
    preconditioner : float, (d,) or (d, d) array_like, optional
        ``P``, symmetric positive semi-definite; multiplies the gradient.
    mean : (d,) array_like or float [weight]
        The minimum.
    context : str
        A sentence added to error messages, for instance the limit on a learning rate.

    Raises
    ------
    InputError
        If ``drop_last`` is not a truth value or ``rule`` is not a StepRule.

    References
    ----------
    [KuhnRosenow2023]_

    Examples
    --------
    >>> EpochRecursion(
    ...     curvature=0.1, noise=0.01, dataset_size=50, batch_size=8
    ... ).batch_sizes.tolist()
    [8, 8, 8, 8, 8, 8, 2]
    """

    citation: ClassVar[tuple[str, ...]] = ("KuhnRosenow2023",)

    curvature: FloatArray
    noise: FloatArray
    dataset_size: int
    batch_size: int
    drop_last: bool = False
    rule: StepRule = field(default_factory=StepRule)
    preconditioner: FloatArray | None = None
    mean: FloatArray = 0.0  # type: ignore[assignment]  # a number is broadcast below
    context: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "curvature", positive_semidefinite("curvature", self.curvature))
        size = len(self.curvature)
        put(self, "noise", positive_semidefinite("noise", self.noise, size=size))
        put(self, "dataset_size", integer("dataset_size", self.dataset_size, low=1))
        put(self, "batch_size", integer("batch_size", self.batch_size, low=1))
        check_batch(self.batch_size, self.dataset_size, "shuffled")
        put(self, "drop_last", truth("drop_last", self.drop_last))
        rule: Any = self.rule
        if not isinstance(rule, StepRule):
            msg = f"`rule` must be a StepRule, got {type(rule).__name__}"
            raise InputError(msg)
        if self.preconditioner is not None:
            put(self, "preconditioner", read_preconditioner(self.preconditioner, size))
        put(self, "mean", vector("mean", self.mean, length=size))

    @property
    def dimension(self) -> int:
        """Number of coordinates of the state, velocities included."""
        return self.rule.state_size(len(self.curvature))

    @property
    def observed(self) -> IntArray:
        """Indices of the weights in the state: they come first."""
        return np.arange(len(self.curvature))

    @property
    def steps(self) -> int:
        """Number ``M`` of steps in an epoch."""
        whole, rest = divmod(self.dataset_size, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    @property
    def last_batch(self) -> int:
        """Examples in the last batch of an epoch."""
        rest = self.dataset_size % self.batch_size
        return rest if rest and not self.drop_last else self.batch_size

    @property
    def batch_sizes(self) -> IntArray:
        """Examples in each batch of an epoch, ``(M,)``."""
        sizes = np.full(self.steps, self.batch_size)
        sizes[-1] = self.last_batch
        return sizes

    @property
    def transition(self) -> FloatArray:
        """Transition of the state over one step, weights first."""
        return self.rule.transition(preconditioned(self.preconditioner, self.curvature))

    @property
    def kick(self) -> FloatArray:
        """Covariance of what a batch of one example would add to the state."""
        once = preconditioned(self.preconditioner, self.noise)
        return self.rule.kick(preconditioned(self.preconditioner, once.T))


def check_batch(batch_size: int, dataset_size: int | None, sampling: str) -> None:
    """Refuse batches that cannot be drawn without replacement.

    Parameters
    ----------
    batch_size : int
        ``B``.
    dataset_size : int or None
        ``N``.
    sampling : str
        How batches are drawn, for the message.

    Raises
    ------
    SamplingError
        If the data's size is missing or below the batch's.
    """
    if dataset_size is None:
        msg = (
            f"`dataset_size` is needed for sampling {sampling!r}, got None; "
            "the noise of such batches depends on it"
        )
        raise SamplingError(msg)
    if batch_size > dataset_size:
        msg = (
            f"`batch_size` must not exceed the {dataset_size} examples of the data when "
            f"sampling {sampling!r}, got {batch_size}; use a smaller batch or "
            "sampling='with_replacement'"
        )
        raise SamplingError(msg)


def batch_share(batch_size: int, dataset_size: int | None, sampling: str) -> float:
    """Return the variance of the mean of a batch over that of one example, ``f / B``.

    Parameters
    ----------
    batch_size : int
        ``B``.
    dataset_size : int or None
        ``N``, checked by :func:`check_batch`.
    sampling : str
        How batches are drawn; those of a shuffled epoch are drawn without replacement.

    Returns
    -------
    float
    """
    if sampling == "with_replacement":
        return 1.0 / batch_size
    assert dataset_size is not None  # checked
    left = (dataset_size - batch_size) / (dataset_size - 1) if dataset_size > 1 else 0.0
    return (1.0 / batch_size) * left


def read_preconditioner(value: object, size: int) -> FloatArray:
    """Return a preconditioner as a vector or a matrix, checked.

    Parameters
    ----------
    value : float, (d,) or (d, d) array_like
        What the caller passed.
    size : int
        Number of weights.

    Returns
    -------
    (d,) or (d, d) float64

    Raises
    ------
    ShapeError
        If a vector has another length.
    """
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


def preconditioned(preconditioner: FloatArray | None, array: FloatArray) -> FloatArray:
    """Return ``P`` times an array.

    Parameters
    ----------
    preconditioner : (d,) or (d, d) float64, optional
        ``P``; the identity where absent.
    array : (d, p) float64
        What it multiplies.

    Returns
    -------
    (d, p) float64
    """
    P = preconditioner
    if P is None:
        return array
    product: FloatArray = P[:, None] * array if P.ndim == 1 else P @ array
    return product
