r"""Gradients of a sample of examples, in blocks of rows, and what their sums estimate.

.. math::
    C = \frac{\sigma}{n - 1} \sum_i d_i d_i^T, \qquad
    \sigma = \frac{N - 1}{N} \text{ for a finite population, } 1 \text{ for a distribution}.

Where all gradients fit in an eighth of a gigabyte they are computed once; beyond that once in
each sweep, block by block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, integer, row_numbers
from fracsde.errors import OutOfRangeError, RecordError
from fracsde.estimators.loss import HELD, at, gradient_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fracsde._typing import ArrayLike, FloatArray, IntArray, RandomState

__all__ = ["Gradients", "Sample", "sample_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Examples of a loss, and what their gradients estimate."""

    loss: Any
    point: FloatArray
    chosen: IntArray | None  # None: all
    count: int  # n
    population: int  # N
    finite: bool  # whether the data are all there is

    @property
    def scale(self) -> float:
        """Factor of the sum of squared distances to the mean: ``C = scale * sum``."""
        share = (self.population - 1.0) / self.population if self.finite else 1.0
        return share / (self.count - 1.0)

    @property
    def left(self) -> float:
        """Share of the variance that sampling leaves, ``1 - n/N`` of a finite population."""
        return 1.0 - self.count / self.population if self.finite else 1.0

    @property
    def sentence(self) -> str:
        """What standard errors refer to."""
        if self.finite and self.count == self.population:
            return f"exact for the {self.population} examples there are (divisor N)"
        if self.finite:
            return f"{self.count} of {self.population} examples, drawn without replacement"
        return f"{self.count} examples that stand for a distribution (divisor n - 1)"

    def error_of_sum(self, spread: Any) -> Any:
        """Return the jackknife error of ``scale * sum_i q_i`` from ``sum_i (q_i - mean)^2``."""
        n = self.count
        delete = n / ((n - 1.0) * (n - 2.0) ** 2) * np.maximum(spread, 0.0)
        return np.sqrt(self.left * delete) * (self.scale * (n - 1.0))


class Gradients:
    """Gradients of a sample in blocks of rows, computed once where they fit in memory."""

    def __init__(self, sample: Sample, *, keep: bool = True) -> None:
        self.sample = sample
        small = sample.count * len(sample.point) <= HELD
        self._kept = list(self._blocks()) if keep and small else None

    def _blocks(self) -> Iterator[FloatArray]:
        return gradient_blocks(self.sample.loss, self.sample.point, self.sample.chosen)

    def __iter__(self) -> Iterator[FloatArray]:
        return iter(self._kept) if self._kept is not None else self._blocks()

    def mean(self, progress: Callable[[int], None] | None = None) -> FloatArray:
        """Return the mean gradient."""
        total, done = np.zeros(len(self.sample.point)), 0
        for block in self:
            total += block.sum(axis=0)
            done += len(block)
            if progress is not None:
                progress(done)
        return total / self.sample.count

    def squares(self, mean: FloatArray) -> FloatArray:
        """Return each example's squared distance to the mean, ``(n,)``."""
        return np.concatenate([np.square(block - mean).sum(axis=1) for block in self])

    def products(self, mean: FloatArray, V: FloatArray) -> FloatArray:
        """Return the covariance times columns."""
        total = np.zeros(V.shape)
        for block in self:
            d = block - mean
            total += d.T @ (d @ V)
        return np.asarray(self.sample.scale * total)


def sample_of(
    loss: Any, w: ArrayLike, examples: int | ArrayLike | None, rng: RandomState, population: str
) -> Sample:
    """Return the examples to look at, checked.

    Returns
    -------
    Sample

    Raises
    ------
    RecordError
        If there are fewer than three examples.
    OutOfRangeError
        If an example is asked for twice.
    """
    point = at(loss, w)
    total = int(loss.examples)
    choice("population", population, ("examples", "distribution"))
    chosen: IntArray | None = None
    if examples is not None and np.ndim(examples) == 0:
        count = integer("examples", examples, low=3, high=total)
        if count < total:
            chosen = np.sort(np.random.default_rng(rng).choice(total, count, replace=False))
    elif examples is not None:
        chosen = row_numbers("examples", examples, total)
        if len(np.unique(chosen)) < len(chosen):
            msg = "`examples` must name each example once; pass how many to have them drawn"
            raise OutOfRangeError(msg)
    count = total if chosen is None else len(chosen)
    if count < 3:
        msg = f"the noise of one example's gradient needs at least 3 examples, got {count}"
        raise RecordError(msg)
    return Sample(
        loss=loss,
        point=point,
        chosen=chosen,
        count=count,
        population=total,
        finite=population == "examples",
    )
