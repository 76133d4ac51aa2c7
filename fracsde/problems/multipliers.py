r"""Recursions with random multipliers, whose stationary laws have heavy tails.

.. math::
    x' = M x + q, \qquad (M, q) \text{ independent from step to step.}

:class:`GaussianInputsSGD` is least squares on an endless stream of Gaussian inputs
:math:`a \sim N(0, A)` with targets :math:`a\cdot w^* + \epsilon`,

.. math::
    M = I - \eta\Bigl(\frac1B\sum_{i=1}^B a_i a_i^T + \lambda I\Bigr), \qquad
    q = \frac{\eta}{B} \sum_{i=1}^B \epsilon_i a_i \quad (\mu = 0),

in coordinates :math:`w - w^*`.  :class:`RandomMultiplier` is any law of ``M``.

References: [Kesten1973]_, [Gurbuzbalaban2021]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import finite_array, integer, positive_semidefinite, real
from fracsde.errors import InputError, OutOfRangeError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["GaussianInputsSGD", "RandomMultiplier"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianInputsSGD:
    r"""SGD for least squares on a stream of Gaussian inputs: the loss of one is half its square.

    Parameters
    ----------
    covariance : float, (d,) or (d, d) array_like [loss/weight^2]
        Covariance ``A`` of the inputs, the Hessian of the mean loss: a number for ``dimension``
        equal variances, a vector of variances, or a matrix.
    learning_rate : float [weight^2/loss]
        ``eta``, positive.
    batch_size : int
        ``B``, fresh inputs per step.
    dimension : int, optional
        ``d``, where ``covariance`` is a number; 1 if not given.
    label_noise : float [loss^0.5]
        Standard deviation of :math:`\epsilon`, Gaussian and independent of the input.
    ridge : float [loss/weight^2]
        Coefficient ``lambda`` of half the squared length of :math:`w - w^*`.
    momentum : float [1]
        ``mu`` in ``[0, 1)``.

    Raises
    ------
    OutOfRangeError
        If a number lies outside its range, or there is no input at all.
    ShapeError
        If ``dimension`` contradicts the covariance.

    References
    ----------
    [Gurbuzbalaban2021]_

    Examples
    --------
    >>> sgd = GaussianInputsSGD(covariance=1.0, dimension=10, learning_rate=0.1, batch_size=4)
    >>> sgd.dimension, sgd.spectrum.max()
    (10, np.float64(1.0))
    """

    citation: ClassVar[tuple[str, ...]] = ("Kesten1973", "Gurbuzbalaban2021")

    covariance: FloatArray
    learning_rate: float
    batch_size: int
    dimension: int | None = None
    label_noise: float = 1.0
    ridge: float = 0.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        put = object.__setattr__
        covariance = finite_array("covariance", self.covariance, ndim=(0, 1, 2))
        given = None if self.dimension is None else integer("dimension", self.dimension, low=1)
        if covariance.ndim == 0:
            covariance = finite_array("covariance", np.full(given or 1, float(covariance)))
        elif covariance.ndim == 2:
            covariance = positive_semidefinite("covariance", covariance)
        if given not in {None, len(covariance)} or covariance.size == 0:
            msg = f"`dimension` is {given}, `covariance` has shape {covariance.shape}; leave it out"
            raise ShapeError(msg)
        if covariance.ndim == 1:
            real("covariance", covariance.min(), low=0.0, closed="low", remedy="it is a variance")
        put(self, "covariance", covariance)
        put(self, "dimension", len(covariance))
        if not self.spectrum.max() > 0.0:
            msg = "`covariance` must not be zero: inputs that vanish teach nothing"
            raise OutOfRangeError(msg)
        put(self, "learning_rate", real("learning_rate", self.learning_rate, low=0.0))
        put(self, "batch_size", integer("batch_size", self.batch_size, low=1))
        put(self, "label_noise", real("label_noise", self.label_noise, low=0.0, closed="low"))
        put(self, "ridge", real("ridge", self.ridge, low=0.0, closed="low"))
        put(self, "momentum", real("momentum", self.momentum, low=0.0, high=1.0, closed="low"))

    @property
    def spectrum(self) -> FloatArray:
        """Variances of the inputs along the principal axes, ``(d,)`` [loss/weight^2]."""
        if self.covariance.ndim == 1:
            return self.covariance
        spectrum: FloatArray = np.maximum(np.linalg.eigvalsh(self.covariance), 0.0)
        return spectrum


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomMultiplier:
    """Independent, identically distributed multipliers of any law.

    Parameters
    ----------
    values : (n,) or (n, d, d) array_like, optional [1]
        All values, of a law that has finitely many.
    weights : (n,) array_like, optional [1]
        Their probabilities, equal if not given; scaled to sum to one.
    sampler : callable, optional
        ``sampler(rng, size)`` returns ``(size,)`` numbers or ``(size, d, d)`` matrices; in place
        of ``values``.
    dimension : int
        ``d`` of what ``sampler`` returns.

    Raises
    ------
    InputError
        If both or neither of ``values`` and ``sampler`` are given.
    ShapeError
        If the values are not numbers or square matrices, or do not match the weights.
    OutOfRangeError
        If a weight is negative, or all are zero.

    Examples
    --------
    >>> RandomMultiplier(values=[0.5, 2.0], weights=[2.0, 1.0]).weights.round(3)
    array([0.667, 0.333])
    """

    citation: ClassVar[tuple[str, ...]] = ("Kesten1973",)

    values: FloatArray | None = None
    weights: FloatArray | None = None
    sampler: Callable[[np.random.Generator, int], Any] | None = None
    dimension: int = 1

    def __post_init__(self) -> None:
        put = object.__setattr__
        if (self.values is None) == (self.sampler is None):
            msg = "pass either `values` or `sampler`, a law is one of the two"
            raise InputError(msg)
        put(self, "dimension", integer("dimension", self.dimension, low=1))
        if self.values is None:
            if self.weights is not None:
                msg = "`weights` belong to `values`; a sampler draws with its own probabilities"
                raise InputError(msg)
            if not callable(self.sampler):
                msg = f"`sampler` must be callable as sampler(rng, size), got {self.sampler!r}"
                raise InputError(msg)
            return
        values = finite_array("values", self.values, ndim=(1, 3))
        if values.size == 0 or (values.ndim == 3 and values.shape[1] != values.shape[2]):
            msg = f"`values` must have shape (n,) or (n, d, d), got {values.shape}"
            raise ShapeError(msg)
        put(self, "values", values)
        put(self, "dimension", 1 if values.ndim == 1 else values.shape[1])
        given = np.ones(len(values)) if self.weights is None else self.weights
        weights = finite_array("weights", given, shape=(len(values),))
        if weights.min() < 0.0 or not weights.sum() > 0.0:
            msg = f"`weights` must be probabilities, got values from {weights.min():g}"
            raise OutOfRangeError(msg)
        put(self, "weights", finite_array("weights", weights / weights.sum()))
