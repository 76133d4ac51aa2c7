r"""Ornstein-Uhlenbeck processes whose matrices are too large to write down.

.. math::
    dX = -A (X - m)\,dt + B\,dW, \qquad N = B B^T

with diagonal matrices, or with matrices that act on a small subspace and are multiples of the
identity beside it,

.. math::
    A = U A_r U^T + a\,(I - U U^T), \qquad N = U N_r U^T + n\,(I - U U^T), \qquad U^T U = I .

Both kinds of matrix share the subspace, so that the process splits: :math:`U^T X` is an
Ornstein-Uhlenbeck process in ``r`` dimensions, and what is orthogonal to it is isotropic.  Any few
directions and states span, together with ``U``, a space in which everything about them happens;
:meth:`LowRankOU.projected` is the small dense process there.

Sums :math:`A = a I + F\,\mathrm{diag}(s)\,F^T` and :math:`N = n I + W W^T` with different factors
are of this form on the union of their column spaces, see :meth:`LowRankOU.from_factors`.

Storage is ``O(d)`` and ``O(d r)``.  ``tests/problems/test_subordinated.py`` holds both against
the dense process they stand for.

Not here: dense matrices (:mod:`fracsde.problems.ornstein_uhlenbeck`), what follows from the
processes (:mod:`fracsde.subordination`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import finite_array, matrix, positive_semidefinite, real, vector
from fracsde.errors import InputError, OutOfRangeError, ShapeError
from fracsde.problems.ornstein_uhlenbeck import OUProcess

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["DiagonalOU", "LowRankOU"]

# Columns further from orthonormal than this are refused, not repaired: A would be another matrix.
_ORTHONORMAL = 1e-12
# Directions of a union of factors below this share of the largest are dependent on the others.
_DEPENDENT = 1e-13


@dataclass(frozen=True, kw_only=True, eq=False)
class DiagonalOU:
    """Independent scalar Ornstein-Uhlenbeck processes.

    Parameters
    ----------
    drift : (d,) array_like [1/t]
        Diagonal of ``A``.
    noise : (d,) array_like or float [x^2/t]
        Diagonal of ``B B^T``, not negative.
    mean : (d,) array_like or float [x]
        ``m``, where the drift vanishes.

    Raises
    ------
    OutOfRangeError
        If a noise is negative.
    ShapeError
        If there is no coordinate.

    References
    ----------
    [UhlenbeckOrnstein1930]_

    Examples
    --------
    >>> process = DiagonalOU(drift=np.geomspace(1e-3, 1.0, 10_000), noise=2.0)
    >>> process.dimension
    10000
    """

    citation: ClassVar[tuple[str, ...]] = ("UhlenbeckOrnstein1930",)

    drift: FloatArray
    noise: FloatArray
    mean: FloatArray = 0.0  # type: ignore[assignment]  # a number is broadcast below

    def __post_init__(self) -> None:
        drift = vector("drift", self.drift)
        if len(drift) == 0:
            msg = "`drift` must have at least one entry, got none"
            raise ShapeError(msg)
        noise = vector("noise", self.noise, length=len(drift))
        if np.any(noise < 0.0):
            msg = (
                f"`noise` must not be negative, got {noise.min():g} at index "
                f"{int(np.argmin(noise))}; it holds variances per unit of time"
            )
            raise OutOfRangeError(msg)
        object.__setattr__(self, "drift", drift)
        object.__setattr__(self, "noise", noise)
        object.__setattr__(self, "mean", vector("mean", self.mean, length=len(drift)))

    @property
    def dimension(self) -> int:
        """Number of coordinates of the state."""
        return len(self.drift)

    def dense(self) -> OUProcess:
        """Return the same process with its matrices written down.

        Returns
        -------
        OUProcess
        """
        return OUProcess(drift=np.diag(self.drift), noise=np.diag(self.noise), mean=self.mean)


@dataclass(frozen=True, kw_only=True, eq=False)
class LowRankOU:
    """An Ornstein-Uhlenbeck process that is isotropic outside a small subspace.

    Parameters
    ----------
    basis : (d, r) array_like [1]
        ``U``, with orthonormal columns.
    drift : (r, r) array_like [1/t]
        ``A_r``; it need not be symmetric.
    noise : (r, r) array_like [x^2/t]
        ``N_r``, symmetric positive semi-definite.
    rest_drift : float [1/t]
        ``a``, the drift outside the subspace.
    rest_noise : float [x^2/t]
        ``n >= 0``, the noise outside the subspace.
    mean : (d,) array_like or float [x]
        ``m``, where the drift vanishes.

    Raises
    ------
    InputError
        If the columns of ``basis`` are not orthonormal.
    ShapeError
        If the matrices do not fit the basis.
    IndefiniteError, OutOfRangeError
        If a noise is negative.

    References
    ----------
    [UhlenbeckOrnstein1930]_

    Examples
    --------
    >>> U = np.eye(5)[:, :2]
    >>> process = LowRankOU(basis=U, drift=[[1.0, 0.5], [0.0, 1.0]], noise=np.eye(2),
    ...     rest_drift=0.1, rest_noise=0.2)
    >>> process.dense().drift[2:, 2:].diagonal()
    array([0.1, 0.1, 0.1])
    """

    citation: ClassVar[tuple[str, ...]] = ("UhlenbeckOrnstein1930",)

    basis: FloatArray
    drift: FloatArray
    noise: FloatArray
    rest_drift: float
    rest_noise: float
    mean: FloatArray = 0.0  # type: ignore[assignment]  # a number is broadcast below

    def __post_init__(self) -> None:
        basis = finite_array("basis", self.basis, ndim=2)
        rows, columns = basis.shape
        if columns == 0 or columns > rows:
            msg = f"`basis` must have one column or more, and no fewer rows, got {basis.shape}"
            raise ShapeError(msg)
        gap = float(np.abs(basis.T @ basis - np.eye(columns)).max())
        if gap > _ORTHONORMAL:
            msg = (
                f"`basis` must have orthonormal columns: basis.T @ basis is off the identity by "
                f"{gap:.3g}; pass np.linalg.qr(basis)[0] and turn drift and noise with it, or use "
                "LowRankOU.from_factors"
            )
            raise InputError(msg)
        object.__setattr__(self, "basis", basis)
        object.__setattr__(self, "drift", matrix("drift", self.drift, size=columns))
        noise = positive_semidefinite("noise", self.noise, size=columns)
        object.__setattr__(self, "noise", noise)
        object.__setattr__(self, "rest_drift", real("rest_drift", self.rest_drift))
        rest_noise = real("rest_noise", self.rest_noise, low=0.0, closed="low")
        object.__setattr__(self, "rest_noise", rest_noise)
        object.__setattr__(self, "mean", vector("mean", self.mean, length=rows))

    @property
    def dimension(self) -> int:
        """Number of coordinates of the state."""
        return len(self.basis)

    @classmethod
    def from_factors(
        cls,
        *,
        drift_rest: float,
        drift_factor: ArrayLike,
        drift_weights: ArrayLike,
        noise_rest: float,
        noise_factor: ArrayLike,
        mean: ArrayLike = 0.0,
    ) -> LowRankOU:
        r"""Return the process whose matrices are sums of a multiple of the identity and factors.

        .. math:: A = a I + F\,\mathrm{diag}(s)\,F^T, \qquad N = n I + W W^T

        Parameters
        ----------
        drift_rest : float [1/t]
            ``a``.
        drift_factor : (d, k) array_like [1]
            ``F``; its columns need not be orthonormal.
        drift_weights : (k,) array_like or float [1/t]
            ``s``, of either sign.
        noise_rest : float [x^2/t]
            ``n``.
        noise_factor : (d, l) array_like [x/t^(1/2)]
            ``W``.
        mean : (d,) array_like or float [x]
            ``m``.

        Returns
        -------
        LowRankOU
            On an orthonormal basis of the columns of ``F`` and ``W`` together.

        Raises
        ------
        ShapeError
            If the factors do not have equally many rows, or all columns vanish.

        Examples
        --------
        >>> F, W = np.array([[2.0], [0.0], [0.0]]), np.array([[1.0], [1.0], [0.0]])
        >>> process = LowRankOU.from_factors(drift_rest=1.0, drift_factor=F, drift_weights=0.5,
        ...     noise_rest=0.0, noise_factor=W)
        >>> process.basis.shape, process.dense().drift.diagonal().round(12)
        ((3, 2), array([3., 1., 1.]))
        """
        F = finite_array("drift_factor", drift_factor, ndim=2)
        W = finite_array("noise_factor", noise_factor, shape=(len(F), None))
        weights = vector("drift_weights", drift_weights, length=F.shape[1])
        basis = _union(F, W)
        turned_F, turned_W = basis.T @ F, basis.T @ W
        identity = np.eye(basis.shape[1])
        drift = real("drift_rest", drift_rest) * identity + (turned_F * weights) @ turned_F.T
        noise = real("noise_rest", noise_rest, low=0.0, closed="low") * identity
        return cls(
            basis=basis,
            drift=drift,
            noise=noise + turned_W @ turned_W.T,
            rest_drift=drift_rest,
            rest_noise=noise_rest,
            mean=np.asarray(mean, dtype=np.float64),
        )

    def projected(self, onto: ArrayLike) -> tuple[OUProcess, FloatArray]:
        """Return the small process in the space of the basis and of further directions.

        Parameters
        ----------
        onto : (d, p) array_like
            Directions and states that the space must hold.

        Returns
        -------
        OUProcess
            Of ``Q.T @ (X - m)``: its mean is 0.
        (d, q) float64
            ``Q``, orthonormal, ``q <= r + p``; its first columns are the basis.

        Examples
        --------
        >>> U = np.eye(5)[:, :2]
        >>> process = LowRankOU(basis=U, drift=np.eye(2), noise=np.eye(2), rest_drift=0.1,
        ...     rest_noise=0.2)
        >>> small, Q = process.projected(np.ones((5, 1)))
        >>> small.dimension, bool(np.allclose(Q @ (Q.T @ np.ones(5)), np.ones(5)))
        (3, True)
        """
        given = finite_array("onto", onto, shape=(self.dimension, None))
        rest = given - self.basis @ (self.basis.T @ given)
        rest -= self.basis @ (self.basis.T @ rest)  # twice is enough
        Q = np.hstack([self.basis, _range(rest, np.linalg.norm(given, axis=0))])
        inside = self.basis.shape[1]
        drift = self.rest_drift * np.eye(Q.shape[1])
        noise = self.rest_noise * np.eye(Q.shape[1])
        drift[:inside, :inside], noise[:inside, :inside] = self.drift, self.noise
        return OUProcess(drift=drift, noise=noise), Q

    def dense(self) -> OUProcess:
        """Return the same process with its matrices written down.

        Returns
        -------
        OUProcess
        """
        U, identity = self.basis, np.eye(self.dimension)
        drift = self.rest_drift * identity
        noise = self.rest_noise * identity
        r = np.eye(U.shape[1])
        drift = drift + U @ (self.drift - self.rest_drift * r) @ U.T
        noise = noise + U @ (self.noise - self.rest_noise * r) @ U.T
        return OUProcess(drift=drift, noise=0.5 * (noise + noise.T), mean=self.mean)


def _union(F: FloatArray, W: FloatArray) -> FloatArray:
    # An orthonormal basis of the columns of both, each column counted at its own size.
    columns = np.hstack([F, W])
    basis = _range(columns, np.linalg.norm(columns, axis=0))
    if basis.shape[1] == 0:
        msg = "`drift_factor` and `noise_factor` span nothing: all columns vanish; use DiagonalOU"
        raise ShapeError(msg)
    return basis


def _range(columns: FloatArray, sizes: FloatArray) -> FloatArray:
    # An orthonormal basis of columns; those that are rounding beside their sizes are left out.
    keep = sizes > 0.0
    scaled = columns[:, keep] / sizes[keep]
    if scaled.shape[1] == 0:
        return np.empty((len(columns), 0))
    left, values, _ = np.linalg.svd(scaled, full_matrices=False)
    return np.asarray(left[:, values > _DEPENDENT])
