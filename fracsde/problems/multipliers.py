r"""A recursion with random multipliers, whose stationary law has heavy tails.

.. math::
    x' = M x + q, \qquad (M, q) \text{ independent from step to step.}

SGD on quadratic losses is one, with multipliers known from the data
(:mod:`fracsde.problems.quadratic_loss_sgd`); here is one of any law.  The law of ``q`` does not
matter for the tail index.

References: [Kesten1973]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import finite_array, integer
from fracsde.errors import InputError, OutOfRangeError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["RandomMultiplier"]


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
