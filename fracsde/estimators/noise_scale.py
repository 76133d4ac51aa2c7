r"""The gradient-noise scale: the batch at which noise and gradient weigh the same.

.. math::
    B_{\mathrm{simple}} = \frac{\operatorname{Tr} C}{|G|^2}, \qquad
    B_{\mathrm{noise}} = \frac{\operatorname{Tr}(H C)}{G^T H G} .

At a point, from gradients of ``n`` examples out of ``N`` with mean :math:`\hat g` and variance
:math:`s^2 = \frac{1}{n-1}\sum_i |d_i|^2`, the square of the mean is too large by its own noise,

.. math::
    \widehat{|G|^2} = |\hat g|^2 - \Big(1 - \frac nN\Big) \frac{s^2}{n}, \qquad
    \operatorname{Tr} C = \frac{N-1}{N}\, s^2,

and likewise with ``H`` between.  From a run, with squared norms of the gradients of a small and a
large batch at the same place,

.. math::
    \widehat{\operatorname{Tr} C} = \frac{|g_b|^2 - |g_B|^2}{1/b - 1/B}, \qquad
    \widehat{|G|^2} = \frac{B |g_B|^2 - b |g_b|^2}{B - b},

each averaged over the run before one is divided by the other: the mean of ratios is another
number.  Two halves of a batch are such a pair, the mean of their squares and the square of their
mean.  For batches drawn without replacement from ``N`` examples these two estimate
:math:`\frac{N}{N-1} \operatorname{Tr} C` and :math:`|G|^2 - \operatorname{Tr} C/(N-1)`, the values
of the law the data came from; given ``dataset_size`` they are those of the data.

Where the gradient cannot be told from zero the interval has no upper end: close to a minimum there
is no noise scale to be measured, and in a settled run it reports the run's own rate.

References: [McCandlish2018]_; [Fieller1954]_ for the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import finite_array, integer, real, truth
from fracsde.errors import OutOfRangeError, RecordError, ShapeError
from fracsde.estimators.example_gradients import Gradients, Sample, sample_of
from fracsde.estimators.ratios import ratio_of, ratio_of_means
from fracsde.records.measurement import Measurement, Quantity
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, RandomState
    from fracsde.estimators.loss import DifferentiableLoss
    from fracsde.estimators.ratios import Ratio

_ROUNDING = 1e-14  # below which an error is none

__all__ = ["NoiseScale", "gradient_noise_scale", "noise_scale_of_batches"]

_DENSE = 3000  # parameters up to which the Hessian is formed for many examples


@dataclass(frozen=True, kw_only=True)
class NoiseScale:
    """A gradient-noise scale, in examples.

    Parameters
    ----------
    kind : {"simple", "weighted"}
        ``Tr C / |G|^2``, or ``Tr(HC) / (G^T H G)``.
    value : float [examples]
        The estimate; it means nothing where ``resolved`` is false.
    stderr : float [examples]
        Its standard error, 0 where all examples of the data were used.
    interval : tuple of float [examples]
        Fieller's, of the stated level; the upper end may be infinite.
    noise, noise_stderr : float
        The numerator and its standard error.
    gradient, gradient_stderr : float
        The denominator and its standard error; it may be negative within its error.
    resolved : bool
        Whether the denominator is told from zero.
    level : float [1]
        Chance that the interval misses.
    n_effective : float [1]
        Independent values behind the errors.
    method : str
        How it was measured.
    """

    citation: ClassVar[tuple[str, ...]] = ("McCandlish2018", "Fieller1954")

    kind: str
    value: float
    stderr: float
    interval: tuple[float, float]
    noise: float
    noise_stderr: float
    gradient: float
    gradient_stderr: float
    resolved: bool
    level: float
    n_effective: float
    method: str

    @property
    def sentence(self) -> str:
        """The result in words."""
        low, high = self.interval
        if self.resolved:
            return (
                f"The {self.kind} noise scale is {self.value:.4g} examples, between {low:.4g} and "
                f"{high:.4g} at level {self.level:g}."
            )
        return (
            f"The gradient is not told from zero ({self.gradient:.3g} with standard error "
            f"{self.gradient_stderr:.3g}): the {self.kind} noise scale is at least {low:.4g} "
            f"examples at level {self.level:g}, and has no upper end."
        )

    def measurement(self, quantity: Quantity | None = None) -> Measurement:
        """Return the scale as a measurement.

        Parameters
        ----------
        quantity : Quantity, optional
            Name of the result.

        Returns
        -------
        Measurement

        Raises
        ------
        RecordError
            If the gradient is not told from zero, or the value is exact.
        """
        if not self.resolved or self.stderr == 0.0:
            msg = self.sentence if not self.resolved else "the value is exact and has no error"
            raise RecordError(msg)
        label = quantity or Quantity(name=f"{self.kind} gradient-noise scale", unit="examples")
        return Measurement(
            quantity=label,
            value=np.array(self.value),
            stderr=np.array(self.stderr),
            n_effective=np.array(self.n_effective),
            method=self.method,
        )


def _scale(kind: str, ratio: Ratio, level: float) -> NoiseScale:
    # A squared length that came out negative is not told from zero, whatever its error says: of
    # gradients that differ in sign alone it says that there is none.
    impossible = kind == "simple" and ratio.bottom <= 0.0
    return NoiseScale(
        kind=kind,
        value=ratio.value,
        stderr=ratio.stderr,
        interval=(0.0, np.inf) if impossible and ratio.resolved else ratio.interval,
        noise=ratio.top,
        noise_stderr=ratio.top_stderr,
        gradient=ratio.bottom,
        gradient_stderr=ratio.bottom_stderr,
        resolved=ratio.resolved and not impossible,
        level=level,
        n_effective=ratio.n_effective,
        method=ratio.method,
    )


def gradient_noise_scale(
    loss: DifferentiableLoss,
    w: ArrayLike,
    *,
    weighted: bool = False,
    examples: int | ArrayLike | None = None,
    rng: RandomState = 0,
    population: str = "examples",
    level: float = 0.05,
) -> NoiseScale:
    """Measure the gradient-noise scale of a loss at a point.

    Parameters
    ----------
    loss : DifferentiableLoss
        A network of :mod:`fracsde.networks`, a ``TorchLoss``, or an object with their methods.
    w : (P,) array_like [weight]
        The point; not a minimum, where there is none.
    weighted : bool
        Whether to weigh by the Hessian, at the price of one product per example, or of the whole
        matrix where that is cheaper.  ``H`` is the Hessian of the whole loss and taken as exact.
    examples : int or (n,) array_like of int, optional
        How many examples to draw, without replacement, or which; all if not given.
    rng : int, SeedSequence or Generator
        Randomness of that draw.
    population : {"examples", "distribution"}
        Whether gradient and noise are those of the data as they are, or of the law they came from.
    level : float [1]
        Chance that the interval misses.

    Returns
    -------
    NoiseScale
        Errors are those of the delete-one jackknife over examples; all examples of the data make
        an exact value.

    References
    ----------
    [McCandlish2018]_, [Fieller1954]_

    Examples
    --------
    >>> from fracsde.networks import SoftmaxRegression
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 3))
    >>> net = SoftmaxRegression(inputs=x, targets=(x[:, 0] > 0).astype(int))
    >>> w = np.zeros(net.parameters)
    >>> found = gradient_noise_scale(net, w)
    >>> C, G = net.gradient_noise(w), net.gradient(w)
    >>> bool(np.isclose(found.value, np.trace(C) / (G @ G))), found.stderr
    (True, 0.0)
    """
    sample = sample_of(loss, w, examples, rng, population)
    level = real("level", level, low=0.0, high=1.0)
    gradients = Gradients(sample)
    mean = gradients.mean()
    whole = mean + float(getattr(loss, "weight_decay", 0.0)) * sample.point
    if truth("weighted", weighted):
        turned, squares, crossed = _curved(loss, gradients, mean, whole)
    else:
        turned, squares = whole, gradients.squares(mean)
        crossed = np.concatenate([(block - mean) @ whole for block in gradients])
    top, bottom, V = _jackknife(sample, squares, crossed, float(whole @ turned))
    ratio = ratio_of(top, bottom, V, count=sample.count, level=level, method=sample.sentence)
    return _scale("weighted" if weighted else "simple", ratio, level)


def _curved(
    loss: Any, gradients: Gradients, mean: FloatArray, whole: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    # H G, and d H d and d H G of each example.
    point, size = gradients.sample.point, len(mean)
    matrix = None
    if size <= _DENSE and 4 * gradients.sample.count >= size and hasattr(loss, "hessian"):
        matrix = loss.hessian(point)
    turned = np.asarray(loss.hessian_vector_product(point, whole))
    squares, crossed = [], []
    for block in gradients:
        d = block - mean
        Hd = d @ matrix if matrix is not None else loss.hessian_vector_product(point, d.T).T
        squares.append(np.einsum("ij,ij->i", d, Hd))
        crossed.append(d @ turned)
    return turned, np.concatenate(squares), np.concatenate(crossed)


def _jackknife(
    sample: Sample, squares: FloatArray, crossed: FloatArray, square: float
) -> tuple[float, float, FloatArray]:
    # Both parts, and their covariance from the values without each example in turn.
    n = float(sample.count)
    share, left = sample.scale * (n - 1.0), sample.left
    variance = float(squares.sum()) / (n - 1.0)
    top, bottom = share * variance, square - left * variance / n
    if left == 0.0:
        return top, bottom, np.zeros((2, 2))
    less = ((n - 1.0) * variance - n / (n - 1.0) * squares) / (n - 2.0)
    shorter = square - 2.0 * crossed / (n - 1.0) + squares / (n - 1.0) ** 2
    kept = 1.0 - (n - 1.0) / sample.population if sample.finite else 1.0
    parts = np.stack([share * less, shorter - kept * less / (n - 1.0)])
    V = (n - 1.0) * np.cov(parts, bias=True)
    return top, bottom, left * V


def noise_scale_of_batches(
    small: ArrayLike,
    large: ArrayLike,
    *,
    small_batch: int,
    large_batch: int,
    dataset_size: int | None = None,
    level: float = 0.05,
) -> NoiseScale:
    r"""Measure the simple noise scale along a run, from batches of two sizes.

    Parameters
    ----------
    small, large : (draw,) or (chain, draw) array_like [loss^2/weight^2]
        Squared lengths of the gradients of a small and a large batch at the same weights, draw by
        draw.  Where a batch is halved: the mean of the two squares, and the square of the mean.
    small_batch, large_batch : int
        Their numbers of examples.
    dataset_size : int, optional
        ``N``, where batches are drawn without replacement and the scale wanted is that of the
        data as they are.
    level : float [1]
        Chance that the interval misses.

    Returns
    -------
    NoiseScale
        Errors are the spread over at least 16 chains, or over blocks of fewer.

    Raises
    ------
    RecordError
        If they do not vary.
    ShapeError
        If the two do not have the same shape.
    OutOfRangeError
        If the large batch is not larger than the small one, or larger than the data.

    References
    ----------
    [McCandlish2018]_, [Fieller1954]_

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> halves = 1.0 + rng.normal(size=(2, 32, 100, 5)) / np.sqrt(8)
    >>> small = np.square(halves).sum(axis=3).mean(axis=0)
    >>> large = np.square(halves.mean(axis=0)).sum(axis=2)
    >>> found = noise_scale_of_batches(small, large, small_batch=8, large_batch=16)
    >>> found.interval[0] < 1.0 < found.interval[1]
    True
    """
    named = {"small": small, "large": large}
    pair = [np.atleast_2d(finite_array(n, v, ndim=(1, 2))) for n, v in named.items()]
    if pair[0].shape != pair[1].shape:
        msg = (
            "`small` and `large` must be (draw,) or (chain, draw) and of one shape, got "
            f"{np.shape(small)} and {np.shape(large)}"
        )
        raise ShapeError(msg)
    b = integer("small_batch", small_batch, low=1)
    B = integer("large_batch", large_batch, low=1)
    level = real("level", level, low=0.0, high=1.0)
    N = None if dataset_size is None else integer("dataset_size", dataset_size, low=2)
    if not b < B or (N is not None and N < B):
        msg = (
            f"`small_batch` < `large_batch` <= `dataset_size` must hold, got {b}, {B} and {N}; "
            "from batches of one size nothing can be told apart"
        )
        raise OutOfRangeError(msg)
    noise = (pair[0] - pair[1]) / (1.0 / b - 1.0 / B)
    gradient = (B * pair[1] - b * pair[0]) / (B - b)
    if N is not None:
        noise = noise * ((N - 1.0) / N)
        gradient = gradient + noise / (N - 1.0)
    times = np.arange(noise.shape[1], dtype=np.float64)
    values = np.stack([noise, gradient], axis=2)
    series = Trajectory(values=values, times=times, names=("noise", "gradient"))
    found = ratio_of_means(series, level=level)
    sizes = abs(found.top), abs(found.bottom)
    if not (found.top_stderr > _ROUNDING * sizes[0] and found.bottom_stderr > _ROUNDING * sizes[1]):
        msg = (
            "`small` and `large` are the same in every chain or draw, or too small to be told "
            "apart, so a ratio of them has no error; pass squares of batches drawn afresh"
        )
        raise RecordError(msg)
    return _scale("simple", found, level)
