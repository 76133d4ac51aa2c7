r"""Mittag-Leffler functions of dense matrices.

Three roads to :math:`E_{\alpha,\beta}(\theta A)\,V`, tried in this order:

``eigenvectors``
    :math:`A = U \Lambda U^{-1}` where ``U`` is unitary (symmetric and other normal matrices) or
    has a condition number below 200.
``contour``
    :math:`A = Q T Q^*` and
    :math:`\sum_k a_k (b_k - \theta T)^{-1} Q^* V` on a hyperbola that passes all poles
    :math:`(\theta\lambda_j)^{1/\alpha}` on the right.  The mid-point and the interlaced
    trapezoidal rule err by opposite amounts: their mean is the value, half their difference
    bounds its error, for normal and defective matrices alike.
``schur-parlett``
    where no hyperbola with at most 200 nodes exists, as for fast oscillations at ``alpha`` near 1
    (:mod:`fracsde.special._schur_parlett`).

Estimates add what rounding in ``A`` itself does.  For eigenvectors a perturbation of size
:math:`\epsilon\|A\|` moves the value by about
:math:`\epsilon\,\theta\|A\| \max_j |E'(\theta\lambda_j)|\,\|V\|`, whatever ``V`` is: rounding
gives it a part along every mode, growing ones included.  On a contour the first-order effect of
two pseudo-random perturbations is summed with the value,
:math:`\sum_k a_k (b_k - \theta T)^{-1} G (b_k - \theta T)^{-1} Q^* V` with ``G`` of rank one, and
the Schur-Parlett road is gone once more with ``A`` disturbed.

Not here: validation, sparse matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg

from fracsde.special._hyperbola import Hyperbola, exponents, hyperbola, poles
from fracsde.special._operator import euclidean
from fracsde.special._schur_parlett import schur_parlett
from fracsde.special.mittag_leffler import mittag_leffler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray

__all__ = ["Dense", "Values", "dense_apply", "factorise", "scalar_values", "slopes"]

_EPS = float(np.finfo(np.float64).eps)
_CONDITION = 200.0  # of eigenvectors: two digits more than rounding are lost to them
_CONTOUR_GOAL = 7e-15
_SECTORS = (0.0, 0.35, 0.7, 1.0)  # left free for matrices far from normal, if they need it
_CHEAP = 40  # nodes for which a contour is tried before Schur-Parlett, however small the matrix
_ENOUGH = 1e-13  # difference of two rules at which no other road is tried
_PROBES = 2  # perturbations whose effect is measured on a contour
_BACKWARD = 4.0  # backward error of a Schur form, in roundings of the norm


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense:
    """A matrix brought to the form its functions are computed from.

    Parameters
    ----------
    eigenvalues : (n,) complex128 or float64 [t**-alpha]
        In the order of the vectors.
    vectors : (n, n)
        Eigenvectors, or Schur vectors where ``triangle`` is given.
    inverse : (n, n) or None
        Inverse of the eigenvectors.
    triangle : (n, n) complex128 or None
        Schur form.
    condition : float
        Of the vectors.
    norm : float [t**-alpha]
        Two-norm, or a bound.
    real : bool
        Whether the matrix is real.
    """

    eigenvalues: NDArray[Any]
    vectors: NDArray[Any]
    inverse: NDArray[Any] | None
    triangle: NDArray[Any] | None
    condition: float
    norm: float
    real: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Values:
    """Values at one time, with what they cost and how far they are to be trusted.

    Parameters
    ----------
    values : ndarray
        Of the shape of ``V``.
    truncation : float
        Estimated error of the method, Frobenius norm.
    rounding : float
        Estimated effect of rounding, Frobenius norm.
    method : str
        Road taken.
    degree : int
        Nodes, blocks or modes.
    """

    values: NDArray[Any]
    truncation: float
    rounding: float
    method: str
    degree: int


def factorise(A: NDArray[Any], *, symmetric: bool) -> Dense:
    """Return the form of a matrix that its functions are computed from.

    Parameters
    ----------
    A : (n, n) float64 or complex128
        Finite.
    symmetric : bool
        Whether ``A`` equals its conjugate transpose.

    Returns
    -------
    Dense
    """
    real = not np.iscomplexobj(A)
    if symmetric:
        values, vectors = scipy.linalg.eigh(A, driver="evd")  # the most orthogonal vectors
        top = float(np.abs(values).max())
        # Below rounding the sign is not known: growth from nothing is the worse reading.
        values = np.where((values > 0) & (values < len(A) * _EPS * top), 0.0, values)
        inverse = vectors.conj().T
        return Dense(
            eigenvalues=values,
            vectors=vectors,
            inverse=inverse,
            triangle=None,
            condition=1.0,
            norm=top,
            real=real,
        )
    T, Q = scipy.linalg.schur(A, output="complex")
    norm = float(np.linalg.norm(T, 2))
    triangle: NDArray[Any] | None = T
    inverse, condition = None, 1.0
    values = T.diagonal().copy()
    if euclidean(np.triu(T, 1)) <= 4.0 * len(A) * _EPS * norm:
        triangle, inverse = None, Q.conj().T
    else:
        vectors = np.linalg.eig(T)[1]
        found = np.linalg.cond(vectors)
        if found < _CONDITION:
            condition, triangle = float(found), None
            inverse = np.linalg.solve(vectors, Q.conj().T)
            Q = Q @ vectors
    return Dense(
        eigenvalues=values,
        vectors=Q,
        inverse=inverse,
        triangle=triangle,
        condition=condition,
        norm=norm,
        real=real,
    )


def dense_apply(form: Dense, V: NDArray[Any], theta: float, alpha: float, beta: float) -> Values:
    """Return the function of ``theta A`` times ``V``.

    Parameters
    ----------
    form : Dense
        The matrix.
    V : (n, k)
        Right-hand sides; real ones of a real matrix give real values.
    theta : float [t**alpha]
        Scale, positive.
    alpha, beta : float [1]
        Parameters of the function.

    Returns
    -------
    Values
    """
    z = theta * form.eigenvalues
    size = euclidean(V)
    if form.triangle is None:
        return _by_eigenvectors(form, V, z, theta * form.norm, alpha, beta)
    found: list[Values] = []

    def enough() -> bool:
        best = min(found, key=_trust)
        return best.truncation <= _ENOUGH * max(size, euclidean(best.values))

    contours = [
        hyperbola(poles(z, alpha), tolerance=_CONTOUR_GOAL, sector=sector) for sector in _SECTORS
    ]
    served = [contour for contour in contours if contour is not None]
    cheap = [contour for contour in served if contour.count <= max(_CHEAP, len(z))]
    for contour in cheap:
        found.append(_by_contour(form, V, theta, alpha, beta, contour))
        if enough():
            return min(found, key=_trust)
    found.append(_by_parlett(form, V, theta, alpha, beta))
    for contour in served[len(cheap) :]:
        if enough():
            break
        found.append(_by_contour(form, V, theta, alpha, beta, contour))
    return min(found, key=_trust)


def _trust(found: Values) -> float:
    return float(np.nan_to_num(found.truncation, nan=np.inf))


def scalar_values(z: NDArray[Any], alpha: float, beta: float, derivative: int = 0) -> NDArray[Any]:
    """Return the scalar function, in real arithmetic where all arguments are real.

    Parameters
    ----------
    z : ndarray [1]
        Arguments.
    alpha, beta : float [1]
        Parameters.
    derivative : int
        Order of the derivative.

    Returns
    -------
    ndarray
    """
    if np.iscomplexobj(z) and not np.any(z.imag):
        z = z.real
    return np.asarray(mittag_leffler(z, alpha, beta, derivative))


def slopes(z: NDArray[Any], alpha: float, beta: float) -> FloatArray:
    """Return the size of the derivative, by its leading term where it would overflow.

    Parameters
    ----------
    z : ndarray [1]
        Arguments.
    alpha, beta : float [1]
        Parameters.

    Returns
    -------
    ndarray of float64
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.abs(scalar_values(z, alpha, beta, derivative=1))
    lost = ~np.isfinite(found)
    if np.any(lost):
        far = z[lost]
        with np.errstate(over="ignore", invalid="ignore"):
            rate = exponents(far, alpha) / (alpha * np.abs(far))
            found[lost] = np.nan_to_num(np.abs(scalar_values(far, alpha, beta)) * rate, nan=np.inf)
    return np.asarray(found, dtype=np.float64)


def _by_eigenvectors(
    form: Dense, V: NDArray[Any], z: NDArray[Any], reach: float, alpha: float, beta: float
) -> Values:
    assert form.inverse is not None
    start = form.inverse @ V
    factors = scalar_values(z, alpha, beta)
    with np.errstate(over="ignore", invalid="ignore"):  # growing modes, told by who asked
        values = form.vectors @ (factors[:, None] * start)
    # Rounding in A moves eigenvalues by eps |A| and mixes the vectors, so that every coefficient
    # is wrong by eps |V|, however small it is; what the vectors lack of completeness shows when
    # V is put together again.
    size = max(euclidean(V), euclidean(start))
    moves = _EPS * reach * euclidean(slopes(z, alpha, beta)) * size
    wrong = 4.0 * _EPS * size + euclidean(V - form.vectors @ start)
    wrong *= max(1.0, float(np.abs(factors).max()))
    return Values(
        values=values.real if form.real and not np.iscomplexobj(V) else values,
        truncation=0.0,
        rounding=form.condition * (moves + wrong),
        method="eigenvectors",
        degree=len(z),
    )


def _by_contour(
    form: Dense, V: NDArray[Any], theta: float, alpha: float, beta: float, contour: Hyperbola
) -> Values:
    # Sum over the nodes of two interlacing rules.
    both = not form.real
    parts = np.hstack([V.real, V.imag]) if not both and np.iscomplexobj(V) else V
    n, k = parts.shape
    # G = g h* moves the value by (b - T)^{-1} g times h* X: solve for g too.
    rng = np.random.default_rng(n)
    g, h = rng.normal(size=(2, n, _PROBES)) / np.sqrt(n)
    start = form.vectors.conj().T @ np.hstack([parts, g])
    across = h.T @ form.vectors

    def response(X: NDArray[Any]) -> NDArray[Any]:
        X, solved = X[:, :k], X[:, k:]
        moves = [solved[:, [i]] * (across[[i]] @ X) for i in range(_PROBES)]
        return np.hstack([X, *moves])

    assert form.triangle is not None
    T = np.asfortranarray(theta * form.triangle)
    diagonal = T.diagonal().copy()
    sums, harm = [], 0.0
    for rule in (contour, contour.interlaced()):
        total = np.zeros((n, k * (1 + _PROBES)), dtype=np.complex128)
        mirrored = np.zeros_like(total)
        for a, b in zip(*rule.terms(alpha, beta), strict=True):
            X = _resolvent(T, diagonal, b, start)
            harm = max(harm, abs(a) * euclidean(X[:, :k]))
            total += a * response(X)
            if both:
                mirrored += np.conj(a) * response(_resolvent(T, diagonal, np.conj(b), start))
        value = form.vectors @ (0.5 * (total + mirrored) if both else total)
        sums.append(value if both else value.real)
    scale = np.exp(contour.right)
    values = 0.5 * scale * (sums[0] + sums[1])[:, :k]
    gap = 0.5 * scale * euclidean((sums[0] - sums[1])[:, :k])
    shifts = [scale * euclidean(one) for one in np.split(sums[0][:, k:], _PROBES, axis=1)]
    moves = _BACKWARD * _EPS * theta * form.norm * np.sqrt(n) * max(shifts)
    if parts is not V:
        values = values[:, : V.shape[1]] + 1j * values[:, V.shape[1] :]
    return Values(
        values=values,
        truncation=gap,
        rounding=4.0 * _EPS * scale * harm + moves,
        method="contour",
        degree=contour.count,
    )


def _resolvent(
    T: NDArray[Any], diagonal: NDArray[Any], b: complex, right: NDArray[Any]
) -> NDArray[Any]:
    # Solve (b - T) X = right; only the diagonal of T is changed, and it is put back by the next.
    np.fill_diagonal(T, diagonal - b)
    return -np.asarray(scipy.linalg.solve_triangular(T, right, check_finite=False))


def _by_parlett(form: Dense, V: NDArray[Any], theta: float, alpha: float, beta: float) -> Values:
    assert form.triangle is not None

    def function(z: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(mittag_leffler(z, alpha, beta), dtype=np.complex128)

    found = schur_parlett(
        theta * form.triangle,
        form.vectors,
        function,
        lambda z: _length(z, alpha),
        disturbance=0.25 * _BACKWARD * _EPS * theta * form.norm,  # that of its own is added
    )
    values = found.vectors @ (found.values @ (found.vectors.conj().T @ V))
    real = form.real and not np.iscomplexobj(V)
    error = found.error * float(np.linalg.norm(V, 2))
    return Values(
        values=values.real if real else values,
        truncation=error,
        rounding=found.rounding * float(np.linalg.norm(V, 2)),
        method="schur-parlett",
        degree=found.blocks,
    )


def _length(z: NDArray[Any], alpha: float) -> FloatArray:
    # Length on which the function changes: it is a power of z away from its exponential sector.
    size = np.maximum(np.abs(z), 1.0)
    grows = np.abs(np.angle(z)) < 0.75 * np.pi * alpha
    return np.asarray(np.where(grows, alpha * size ** (1.0 - 1.0 / alpha), size), dtype=np.float64)
