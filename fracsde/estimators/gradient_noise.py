r"""The noise of one example's gradient at a point, with its sampling error.

With the gradients :math:`g_i` of ``n`` examples, their mean :math:`\bar g` and
:math:`d_i = g_i - \bar g`,

.. math::
    S = \frac{1}{n-1} \sum_i d_i d_i^T, \qquad
    C = \frac{N-1}{N}\, S, \qquad
    \mathrm{se}(C_{ab})^2 = \Big(1 - \frac nN\Big) \frac{n}{(n-1)(n-2)^2}
        \sum_i (d_{ia} d_{ib} - \overline{d_a d_b})^2 .

The default is about the data as they are: ``C`` is the covariance of the gradient of an example
drawn uniformly from all ``N``, the noise of SGD on these data.  From all examples it is exact, with
the divisor ``N``; from ``n`` drawn without replacement it is unbiased, and the error knows that
the population is finite.  With ``population="distribution"`` the examples stand for all that might
have been drawn: then ``S`` itself is unbiased, and its error has no such factor.

The error is exactly that of the delete-one jackknife; of variances it is itself uncertain, and
``n_effective`` counts the values behind it, fewer where gradients are heavy-tailed.  A weight decay
is no example's own and leaves all of this as it is.

Not here: batches, whose noise is ``C / B`` with replacement and ``C (N - B) / (B (N - 1))``
without.

References: [Cochran1977]_ for finite populations, [Efron1982]_ for the jackknife.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from fracsde._check import choice, finite_array, integer
from fracsde.errors import ShapeError, UnsupportedError
from fracsde.estimators.example_gradients import Gradients, Sample, sample_of
from fracsde.estimators.gradient_errors import entries, of_trace
from fracsde.provenance import Provenance, provenance

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray, RandomState
    from fracsde.estimators.curvature import Curvature
    from fracsde.estimators.loss import DifferentiableLoss

__all__ = ["Alignment", "GradientNoise", "gradient_noise"]

_DENSE = 3000  # parameters up to which the whole matrix is formed
_FACTOR = 1 << 26  # entries of a factor: half a gigabyte
_PASSES = 3  # sweeps over the gradients that sharpen a truncated factor
_SPARE = 10  # directions beyond the rank asked for
_NOTHING = 1e-10  # share of a trace that is rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """How gradient noise lies in the eigenvectors of a curvature.

    Parameters
    ----------
    along : (r,) float64 [loss^2/weight^2]
        Variance of one example's gradient along each eigenvector.
    share : (r,) float64 [1]
        The same over the trace of the noise.
    cosine : float [1] or None
        ``Tr(HC) / (|H| |C|)`` in Frobenius norms, 1 where noise is proportional to curvature;
        known where every eigenpair and the norm of the noise are.
    """

    along: FloatArray
    share: FloatArray
    cosine: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientNoise:
    """Covariance of one example's gradient; made by :func:`gradient_noise`.

    Parameters
    ----------
    form : {"dense", "low_rank", "products", "block"}
        What of it is held.
    matrix : (P, P) or (k, k) float64 [loss^2/weight^2] or None
        The covariance, or its block along ``directions``.
    stderr, n_effective : like matrix, or None
        Standard error of each entry, and how many values of normal gradients would give as good
        an error: fewer than there are examples where gradients are skewed or heavy-tailed.
    factor : (P, r) float64 [loss/weight] or None
        ``factor @ factor.T`` is the covariance, or its best part of that rank.
    directions : (P, k) float64 [1] or None
        Directions of a block.
    mean : (P,) float64 [loss/weight]
        Mean of the examples' gradients, without weight decay.
    trace, trace_stderr : float [loss^2/weight^2]
        Trace of the whole covariance and its standard error.
    trace_n_effective : float [1]
        Values behind that error; a Student interval has one degree of freedom less.
    examples, population : int
        Examples used, and how many there are.
    sampling : str
        What the standard errors refer to, in words.
    provenance : Provenance
        Where it came from.
    """

    form: str
    matrix: FloatArray | None
    stderr: FloatArray | None
    n_effective: FloatArray | None
    factor: FloatArray | None
    directions: FloatArray | None
    mean: FloatArray
    trace: float
    trace_stderr: float
    trace_n_effective: float
    examples: int
    population: int
    sampling: str
    provenance: Provenance
    _sample: Sample = field(repr=False)

    def products(self, vectors: ArrayLike) -> FloatArray:
        """Multiply the whole covariance with columns.

        Parameters
        ----------
        vectors : (P,) or (P, k) array_like
            Vectors.

        Returns
        -------
        (P,) or (P, k) float64
            From the matrix or the factor where they are the whole; otherwise by one pass over
            the gradients.

        Raises
        ------
        ShapeError
            If vectors do not have one entry per parameter.
        """
        V = finite_array("vectors", vectors, ndim=(1, 2))
        if len(V) != len(self.mean):
            msg = f"`vectors` must have {len(self.mean)} rows, one per parameter, got {V.shape}"
            raise ShapeError(msg)
        if self.form == "dense" and self.matrix is not None:
            return np.asarray(self.matrix @ V)
        if self.factor is not None and self.missing == 0.0:
            return np.asarray(self.factor @ (self.factor.T @ V))
        gradients = Gradients(self._sample, keep=False)
        return gradients.products(self.mean, V.reshape(len(V), -1)).reshape(V.shape)

    def block(self, directions: ArrayLike) -> FloatArray:
        r"""Return the covariance along directions, :math:`V^T C V`.

        Parameters
        ----------
        directions : (P, k) array_like [1]
            One direction per column.

        Returns
        -------
        (k, k) float64
        """
        V = finite_array("directions", directions, shape=(len(self.mean), None))
        found = V.T @ self.products(V)
        return 0.5 * (found + found.T)

    @property
    def missing(self) -> float:
        """Share of the trace that a truncated factor leaves out [1]."""
        if self.factor is None or self.factor.shape[1] >= self.examples or self.trace == 0.0:
            return 0.0
        share = 1.0 - float(np.vdot(self.factor, self.factor)) / self.trace
        return share if share > _NOTHING else 0.0

    @property
    def square(self) -> float:
        """Trace of the square of the covariance [loss^4/weight^4].

        Raises
        ------
        UnsupportedError
            If neither the matrix nor a complete factor is held.
        """
        if self.form == "dense" and self.matrix is not None:
            return float(np.vdot(self.matrix, self.matrix))
        if self.factor is None or self.missing > 0.0:
            msg = (
                f'the form "{self.form}" does not hold the whole covariance; use "dense", or '
                '"low_rank" without a rank'
            )
            raise UnsupportedError(msg)
        narrow = self.factor if self.factor.shape[1] <= len(self.factor) else self.factor.T
        gram = narrow.T @ narrow
        return float(np.vdot(gram, gram))

    @property
    def effective_rank(self) -> float:
        """Number of directions that share the noise, ``(Tr C)^2 / Tr C^2`` [1]."""
        self._refuse_none()
        return self.trace**2 / self.square

    def _refuse_none(self) -> None:
        if self.trace == 0.0:
            msg = "all examples have one gradient here: noise that is zero lies in no direction"
            raise UnsupportedError(msg)

    def alignment(self, curvature: Curvature) -> Alignment:
        """Describe the noise in the eigenvectors of a curvature.

        Parameters
        ----------
        curvature : Curvature
            At the same point.

        Returns
        -------
        Alignment
        """
        self._refuse_none()
        along = np.einsum("pi,pi->i", curvature.vectors, self.products(curvature.vectors))
        cosine = None
        whole = self.form == "dense" or (self.factor is not None and self.missing == 0.0)
        if curvature.complete and whole:
            norm = float(np.linalg.norm(curvature.eigenvalues)) * self.square**0.5
            cosine = float(curvature.eigenvalues @ along) / norm if norm else None
        return Alignment(along=along, share=along / self.trace, cosine=cosine)


def gradient_noise(
    loss: DifferentiableLoss,
    w: ArrayLike,
    *,
    form: str = "auto",
    examples: int | ArrayLike | None = None,
    rng: RandomState = 0,
    directions: ArrayLike | None = None,
    rank: int | None = None,
    population: str = "examples",
    progress: Callable[[int], None] | None = None,
) -> GradientNoise:
    """Measure the covariance of one example's gradient.

    Parameters
    ----------
    loss : DifferentiableLoss
        A network of :mod:`fracsde.networks`, a ``TorchLoss``, or an object with their methods.
    w : (P,) array_like [weight]
        The point; it need not be a minimum.
    form : {"auto", "dense", "low_rank", "products"}
        What to hold: the matrix, a factor of it, or nothing but a way to multiply.  By default
        the matrix for up to 3000 parameters, beyond that a factor where it fits in half a
        gigabyte, else products.
    examples : int or (n,) array_like of int, optional
        How many examples to draw, without replacement, or which; all if not given.
    rng : int, SeedSequence or Generator
        Randomness of that draw, and of a truncated factor.
    directions : (P, k) array_like, optional
        Directions: the result is the block along them, with an error for each entry.
    rank : int, optional
        Columns of the factor; all that there are if not given.
    population : {"examples", "distribution"}
        What the covariance is of, see the module: the data as they are, or the law they came
        from.
    progress : callable, optional
        Called as ``progress(examples)`` after each block of gradients of the first sweep.

    Returns
    -------
    GradientNoise

    Raises
    ------
    RecordError
        If there are fewer than three examples.

    References
    ----------
    [Cochran1977]_, [Efron1982]_

    Examples
    --------
    >>> from fracsde.networks import SoftmaxRegression
    >>> rng = np.random.default_rng(0)
    >>> net = SoftmaxRegression(inputs=rng.normal(size=(60, 2)), targets=np.arange(60) % 3)
    >>> w = np.zeros(net.parameters)
    >>> noise = gradient_noise(net, w)
    >>> np.allclose(noise.matrix, net.gradient_noise(w)), noise.trace_stderr, noise.sampling
    (True, 0.0, 'exact for the 60 examples there are (divisor N)')
    >>> half = gradient_noise(net, w, examples=30)
    >>> bool(abs(half.trace - noise.trace) < 4 * half.trace_stderr)
    True
    """
    sample = sample_of(loss, w, examples, rng, population)
    size = len(sample.point)
    choice("form", form, ("auto", "dense", "low_rank", "products"))
    if rank is not None:
        rank = integer("rank", rank, low=1, high=min(size, sample.count))
    V = None
    if directions is not None:
        V = finite_array("directions", directions, shape=(size, None), remedy="one per column")
    columns = sample.count if rank is None else rank
    if form == "auto":
        fits = size * columns <= _FACTOR
        form = "dense" if size <= _DENSE else "low_rank" if fits else "products"
    form = "block" if V is not None else form
    gradients = Gradients(sample)
    mean = gradients.mean(progress)
    squares = gradients.squares(mean)
    trace = sample.scale * float(squares.sum())
    spread = float(np.square(squares - squares.mean()).sum())
    held: dict[str, FloatArray | None] = dict.fromkeys(
        ("matrix", "stderr", "n_effective", "factor")
    )
    if V is not None or form == "dense":
        held["matrix"], held["stderr"], held["n_effective"] = entries(gradients, mean, V)
    elif form == "low_rank":
        held["factor"] = _factor(gradients, mean, rank, np.random.default_rng(rng))
    return GradientNoise(
        form=form,
        directions=V,
        mean=mean,
        trace=trace,
        trace_stderr=float(sample.error_of_sum(spread)),
        trace_n_effective=of_trace(squares),
        examples=sample.count,
        population=sample.population,
        sampling=sample.sentence,
        provenance=provenance(sample.point, form, rank, population, seed=rng),
        _sample=sample,
        **held,
    )


def _factor(
    gradients: Gradients, mean: FloatArray, rank: int | None, rng: np.random.Generator
) -> FloatArray:
    sample, size = gradients.sample, len(mean)
    root = sample.scale**0.5
    if rank is None or (sample.count <= _DENSE and size * sample.count <= _FACTOR):
        D = root * np.concatenate([block - mean for block in gradients])
        if rank is None:
            return np.ascontiguousarray(D.T)
        _, vectors = eigh(D @ D.T, subset_by_index=[sample.count - rank, sample.count - 1])
        # D^T u has the length of a singular value: no division by one that may vanish.
        return np.ascontiguousarray((D.T @ vectors)[:, ::-1])
    # Subspace iteration: each sweep multiplies the error by the ratio of eigenvalues.
    Q = rng.standard_normal((size, min(rank + _SPARE, size, sample.count)))
    for _ in range(_PASSES):
        Q, _ = np.linalg.qr(gradients.products(mean, Q))
    values, small = np.linalg.eigh(Q.T @ gradients.products(mean, Q))
    leading = slice(None, -rank - 1, -1)
    return np.asarray((Q @ small[:, leading]) * np.sqrt(np.maximum(values[leading], 0.0)))
