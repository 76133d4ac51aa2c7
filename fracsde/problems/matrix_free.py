r"""SGD near a minimum, and Ornstein-Uhlenbeck processes, of a million coordinates.

.. math::
    v' = \mu v - \eta\,[(H + \lambda I)(w - w^*) + \xi], \qquad w' = w + v', \qquad
    \operatorname{Cov}\xi = Q = \frac{C}{B}\,f ,

with ``H`` and ``C`` known by products, or by a diagonal and a factor.  :class:`MatrixFreeSGD` has
the conventions of :class:`~fracsde.problems.sgd.SGDNearMinimum`: it stands for its map, no limit
taken, and :meth:`MatrixFreeSGD.flow` is the continuum limit.

Not here: preconditioners, which make the drift unsymmetric; shuffled epochs; what follows from the
problem, see :mod:`fracsde.stationary_large`.

References: [Mandt2017]_ for the flow; [Liu2021]_ for the map with momentum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import choice, integer, real, vector
from fracsde.errors import IndefiniteError, InputError, UnsupportedError
from fracsde.problems.epochs import batch_share, check_batch
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.products import LowRankPlusDiagonal, Symmetric, probed
from fracsde.problems.sgd import SAMPLING, SGDNearMinimum

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["MatrixFreeOU", "MatrixFreeSGD"]

# Beyond this a matrix written down would take more than two gigabytes.
_DENSE = 16_000
_LARGEST = 1e50  # as for the entries of matrices


@dataclass(frozen=True, kw_only=True, eq=False)
class MatrixFreeOU:
    """Ornstein-Uhlenbeck process ``dX = -A (X - m) dt + B dW`` with a large symmetric drift.

    Parameters
    ----------
    drift : LowRankPlusDiagonal, linear operator, sparse matrix, (d, d) array or callable [1/t]
        ``A``, symmetric; a callable takes ``(d,)`` to ``(d,)``.  It is tried on a few vectors.
    noise : LowRankPlusDiagonal, linear operator, sparse matrix, (d, d) array or callable [x^2/t]
        ``B B^T``, symmetric positive semi-definite.
    dimension : int, optional
        ``d``; needed where both are callables.
    drift_bounds : (float, float), optional [1/t]
        Numbers below and above all eigenvalues of ``A``, where they are known.  Error bounds are
        certain where the lower one is positive.
    mean : (d,) array_like or float [x]
        ``m``, where the drift vanishes.

    Raises
    ------
    InputError, ShapeError, NotFiniteError, NotSymmetricError
        If a matrix is not what it should be.
    IndefiniteError
        If a low-rank noise has a negative diagonal or weight.

    References
    ----------
    [UhlenbeckOrnstein1930]_

    Examples
    --------
    >>> process = MatrixFreeOU(
    ...     drift=lambda x: 2.0 * x,
    ...     noise=LowRankPlusDiagonal(factor=np.ones((1000, 1))),
    ...     drift_bounds=(2.0, 2.0),
    ... )
    >>> process.dimension
    1000
    """

    citation: ClassVar[tuple[str, ...]] = ("UhlenbeckOrnstein1930",)

    drift: Symmetric
    noise: Symmetric
    dimension: int = None  # type: ignore[assignment]  # found below
    drift_bounds: tuple[float, float] | None = None
    mean: FloatArray = 0.0  # type: ignore[assignment]  # a number stays one

    def __post_init__(self) -> None:
        put = object.__setattr__
        size = _dimension(self.dimension, self.drift, self.noise)
        put(self, "drift", probed("drift", self.drift, dimension=size))
        put(self, "dimension", self.drift.dimension)
        put(self, "noise", _noise("noise", self.noise, self.dimension))
        put(self, "drift_bounds", _bounds("drift_bounds", self.drift_bounds))
        put(self, "mean", _mean("mean", self.mean, self.dimension))

    def dense(self) -> OUProcess:
        """Return the same process with its matrices written down.

        Returns
        -------
        OUProcess

        Raises
        ------
        UnsupportedError
            If the matrices are too large.
        """
        identity = _identity(self.dimension)
        return OUProcess(
            drift=_even(self.drift @ identity), noise=_even(self.noise @ identity), mean=self.mean
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class MatrixFreeSGD:
    """Constant-rate SGD on a quadratic loss whose Hessian is too large to write down.

    Parameters
    ----------
    hessian : LowRankPlusDiagonal, linear operator, sparse or dense matrix, or callable
        Hessian ``H`` of the mean loss at the minimum [loss/weight^2], without the weight decay
        given below; symmetric positive semi-definite.  A callable takes ``(d,)`` to ``(d,)``.
        It is tried on a few vectors.
    gradient_noise : LowRankPlusDiagonal, linear operator, sparse or dense matrix, or callable
        Covariance ``C`` of the gradient of one example [loss^2/weight^2]; symmetric positive
        semi-definite.  Centred gradients ``g`` of ``n`` examples, ``(d, n)``, are passed as
        ``LowRankPlusDiagonal(factor=g / sqrt(n))``.
    learning_rate : float [weight^2/loss]
        ``eta``, positive.
    batch_size : int
        ``B``, examples per step.
    momentum : float [1]
        ``mu`` in ``[0, 1)``, the fraction of the velocity that is kept.
    weight_decay : float [loss/weight^2]
        ``lambda``, added to every eigenvalue of the Hessian; not negative.
    dataset_size : int, optional
        ``N``; needed for batches drawn without replacement.
    sampling : {"with_replacement", "without_replacement"}
        How batches are drawn.
    dimension : int, optional
        ``d``; needed where both matrices are callables.
    hessian_bounds : (float, float), optional [loss/weight^2]
        Numbers below and above all eigenvalues of ``H``, where they are known.  Without them the
        lower one is 0, as the definition of a minimum has it, and the upper one is found.
    minimum : (d,) array_like or float [weight]
        Minimum of the regularised loss.

    Raises
    ------
    InputError, ShapeError, NotFiniteError, NotSymmetricError
        If a matrix is not what it should be.
    IndefiniteError
        If a low-rank noise has a negative diagonal or weight.
    OutOfRangeError
        If a rate, momentum, decay or batch size lies outside its range.
    SamplingError
        If the batch is larger than the data, or the size of the data is missing.
    UnsupportedError
        If epochs are shuffled.

    References
    ----------
    [Mandt2017]_, [Liu2021]_

    Examples
    --------
    >>> from fracsde.stationary_large import stationary_variance_along
    >>> sgd = MatrixFreeSGD(
    ...     hessian=lambda v: 2.0 * v,
    ...     gradient_noise=LowRankPlusDiagonal(factor=np.ones((1000, 1))),
    ...     learning_rate=0.1,
    ...     batch_size=10,
    ...     weight_decay=0.5,
    ... )
    >>> found = stationary_variance_along(sgd, np.ones(1000) / np.sqrt(1000))
    >>> round(float(found.values[0]), 12)
    2.285714285714
    """

    citation: ClassVar[tuple[str, ...]] = ("Mandt2017", "Liu2021")

    hessian: Symmetric
    gradient_noise: Symmetric
    learning_rate: float
    batch_size: int
    momentum: float = 0.0
    weight_decay: float = 0.0
    dataset_size: int | None = None
    sampling: str = "with_replacement"
    dimension: int = None  # type: ignore[assignment]  # found below
    hessian_bounds: tuple[float, float] | None = None
    minimum: FloatArray = 0.0  # type: ignore[assignment]  # a number stays one

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(
            self, "learning_rate", real("learning_rate", self.learning_rate, low=0.0, high=_LARGEST)
        )
        put(self, "momentum", real("momentum", self.momentum, low=0.0, high=1.0, closed="low"))
        decay = real("weight_decay", self.weight_decay, low=0.0, high=_LARGEST, closed="low")
        put(self, "weight_decay", decay)
        put(self, "batch_size", integer("batch_size", self.batch_size, low=1))
        self._check_sampling()
        size = _dimension(self.dimension, self.hessian, self.gradient_noise)
        put(self, "hessian", probed("hessian", self.hessian, dimension=size))
        put(self, "dimension", self.hessian.dimension)
        noise = _noise("gradient_noise", self.gradient_noise, self.dimension)
        put(self, "gradient_noise", noise)
        put(self, "hessian_bounds", _bounds("hessian_bounds", self.hessian_bounds))
        put(self, "minimum", _mean("minimum", self.minimum, self.dimension))

    def _check_sampling(self) -> None:
        choice("sampling", self.sampling, SAMPLING)
        if self.sampling == "shuffled":
            msg = (
                "sampling='shuffled' has no matrix-free law: the noise of an epoch sums to zero, "
                "so steps are correlated; project onto the directions of interest and use "
                "SGDNearMinimum"
            )
            raise UnsupportedError(msg)
        if self.dataset_size is not None:
            N = integer("dataset_size", self.dataset_size, low=1)
            object.__setattr__(self, "dataset_size", N)
        if self.sampling == "without_replacement":
            check_batch(self.batch_size, self.dataset_size, self.sampling)

    @property
    def batch_share(self) -> float:
        """What one batch keeps of the noise of one example: ``Q = batch_share * C``."""
        return batch_share(self.batch_size, self.dataset_size, self.sampling)

    def curvature(self) -> Symmetric:
        """Return ``H + lambda I``.

        Returns
        -------
        LowRankPlusDiagonal or Products
        """
        return self.hessian.scaled(1.0, self.weight_decay)

    def flow(self) -> MatrixFreeOU:
        """Return the continuum limit, an Ornstein-Uhlenbeck process in time counted in steps.

        Returns
        -------
        MatrixFreeOU
        """
        rate = self.learning_rate / (1.0 - self.momentum)
        low, high = self.hessian_bounds or (0.0, np.inf)
        decay = self.weight_decay
        return MatrixFreeOU(
            drift=self.hessian.scaled(rate, decay),
            noise=self.gradient_noise.scaled(rate**2 * self.batch_share),
            drift_bounds=(rate * (low + decay), rate * (high + decay)),
            mean=self.minimum,
        )

    def dense(self) -> SGDNearMinimum:
        """Return the same problem with its matrices written down.

        Returns
        -------
        SGDNearMinimum

        Raises
        ------
        UnsupportedError
            If the matrices are too large.
        """
        identity = _identity(self.dimension)
        return SGDNearMinimum(
            hessian=_even(self.hessian @ identity),
            gradient_noise=_even(self.gradient_noise @ identity),
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            dataset_size=self.dataset_size,
            sampling=self.sampling,
            minimum=self.minimum,
        )


def _dimension(given: int | None, *matrices: Any) -> int | None:
    if given is not None:
        return given
    for item in matrices:
        if isinstance(item, Symmetric):
            return item.dimension
        shape = getattr(item, "shape", None)
        if shape:
            return int(shape[0])
    return None


def _noise(name: str, value: Any, dimension: int) -> Symmetric:
    noise = probed(name, value, dimension=dimension)
    if isinstance(noise, LowRankPlusDiagonal):
        for part in ("diagonal", "weights"):
            low = float(getattr(noise, part).min(initial=0.0))
            if low < 0.0:
                msg = (
                    f"`{name}` must be positive semi-definite, got a negative entry {low:g} of its "
                    f"`{part}`; a covariance is a sum of squares"
                )
                raise IndefiniteError(msg)
    return noise


def _bounds(name: str, value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not low <= high or np.isinf(low):
        msg = f"`{name}` must be two numbers, the lower one finite and first, got {value!r}"
        raise InputError(msg)
    return low, high


def _mean(name: str, value: Any, dimension: int) -> FloatArray:
    if np.ndim(value) == 0:
        return np.asarray(real(name, value))
    return vector(name, value, length=dimension)


def _identity(dimension: int) -> FloatArray:
    if dimension > _DENSE:
        msg = (
            f"matrices of dimension {dimension} are not written down; {_DENSE} is the most: use "
            "the verbs of fracsde.stationary_large"
        )
        raise UnsupportedError(msg)
    return np.eye(dimension)


def _even(array: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (array + array.T))
