r"""Mittag-Leffler functions from products with the operator alone.

Steps of Lanczos (symmetric) or Arnoldi (general) build an orthonormal basis with
:math:`L V_m = V_m T_m + \beta_m v_{m+1} e_m^T`, and

.. math::
    E_{\alpha,\beta}(\theta L)\, v \approx \|v\|\, V_m\, E_{\alpha,\beta}(\theta T_m)\, e_1 ,
    \qquad
    \text{error} \approx \|v\|\, \beta_m \theta\,
        \bigl| e_m^T E_{\alpha,\alpha+\beta}(\theta T_m)\, e_1 \bigr| ,

the first term of the error's expansion ([Saad1992]_); for a resolvent, which is what slow
relaxation resembles, it is exactly the norm of the residual.

**A Krylov space knows only the modes inside it.**  The term above is what one unseen mode with
eigenvalue 0 would add; a growing mode that ``v`` touches only through many weak couplings adds
much more, and nothing in a small space tells of it.  So :func:`growth_ahead` looks for growing
modes with a few steps from a pseudo-random vector, and where there are some the estimate is the
larger of two, the other with :math:`\bigl(E(\theta T_m) - E(\theta\omega)\bigr)
(\theta T_m - \theta\omega)^{-1} e_1` for the fastest of them, ``omega``: what it would add if it
sat right behind the last bond.  A growing mode that the probe misses too stays unseen.

Where a check shows that the last
estimate was too small, the next is enlarged as much.  One space serves all times.

Steps needed grow like :math:`\sqrt{\theta\|L\|}` at first and, once the slowest mode matters, like
the square root of the condition number, as with conjugate gradients.  A basis that would not fit
in memory is not kept: three-term recurrences need no old vectors, and a second pass makes them
again for the sum, so that long runs cost twice the products and no memory.  Where the basis is
kept it is reorthogonalised; where not, copies of converged eigenvalues delay convergence and do
no other harm.

Not here: solves (:mod:`fracsde.special._shifted`), validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
from scipy.linalg import eigh_tridiagonal

from fracsde.special._hyperbola import LARGEST_EXPONENT, exponents
from fracsde.special._krylov_spaces import LanczosSpace, Trust, arnoldi_step
from fracsde.special._matrix_dense import dense_apply, factorise, scalar_values, slopes
from fracsde.special._operator import euclidean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray
    from fracsde.special._operator import Operator

__all__ = ["KrylovValues", "arnoldi_apply", "growth_ahead", "lanczos_apply"]

_EPS = float(np.finfo(np.float64).eps)
_KEPT = 2**25  # entries of a basis that is kept in memory
_FIRST, _GROWTH = 8, 1.35  # steps before the first check, and between checks
_LANCZOS_STEPS, _ARNOLDI_STEPS = 4000, 600
_PROBE_STEPS = 12  # in search of growing modes


@dataclass(frozen=True, kw_only=True, eq=False)
class KrylovValues:
    """Values at several times from one Krylov space.

    Parameters
    ----------
    values : (t, n) ndarray
        One row per time.
    error : (t,) float64
        Estimates, Euclidean norm.
    rounding : (t,) float64
        Effect of rounding, Euclidean norm.
    products : int
        Applications of the operator.
    degree : int
        Dimension of the space.
    top : complex [t**-alpha]
        Rightmost Ritz value.
    """

    values: NDArray[Any]
    error: FloatArray
    rounding: FloatArray
    products: int
    degree: int
    top: complex


def growth_ahead(operator: Operator, theta: float, alpha: float) -> tuple[complex | None, int]:
    """Look for growing modes with a few steps from a pseudo-random vector.

    Parameters
    ----------
    operator : Operator
        Any.
    theta : float [t**alpha]
        Largest scale.
    alpha : float [1]
        Order.

    Returns
    -------
    complex or None
        The fastest growing Ritz value; ``None`` if none grows by more than a factor of e.
    int
        Products with the operator.
    """
    if operator.kind != "free" and _never_grows(operator, alpha):
        return None, 0
    n = operator.size
    steps = min(_PROBE_STEPS, n)
    start = np.random.default_rng(n).normal(size=n)
    basis = np.empty((steps + 1, n), dtype=np.float64 if operator.real else np.complex128)
    basis[0] = start / euclidean(start)
    H = np.zeros((steps + 1, steps), dtype=basis.dtype)
    m, closed = 0, False
    while m < steps and not closed:
        m += 1
        closed = arnoldi_step(operator, basis, H, m)
    ritz = np.linalg.eigvals(H[:m, :m]).astype(np.complex128)
    ritz = ritz.real.astype(np.complex128) if operator.symmetric else ritz
    growth = exponents(theta * ritz, alpha)
    worst = int(np.argmax(growth))
    return (complex(ritz[worst]) if growth[worst] > 1.0 else None), m


def _never_grows(operator: Operator, alpha: float) -> bool:
    # Whether Gershgorin's circles of the Hermitian part keep every mode from growing.
    if not operator.symmetric and alpha > 1.0:
        return False
    weight, diagonal = abs(operator.matrix), operator.matrix.diagonal()
    radius = 0.5 * (np.asarray(weight.sum(axis=0)) + np.asarray(weight.sum(axis=1)))
    edge = np.max(diagonal.real + radius - np.abs(diagonal))
    return bool(edge <= 16.0 * _EPS * operator.norm)


def lanczos_apply(
    operator: Operator,
    v: NDArray[Any],
    thetas: FloatArray,
    alpha: float,
    beta: float,
    *,
    rtol: float,
    ahead: complex | None,
    most: int = _LANCZOS_STEPS,
) -> KrylovValues:
    """Return functions of a symmetric operator times a vector.

    Parameters
    ----------
    operator : Operator
        Symmetric.
    v : (n,)
        Not zero.
    thetas : (t,) float64 [t**alpha]
        Scales.
    alpha, beta : float [1]
        Parameters of the function.
    rtol : float [1]
        Stop at this error relative to the larger of argument and value.
    most : int
        Stop at this dimension anyway.

    Returns
    -------
    KrylovValues
    """
    size = euclidean(v)
    steps = LanczosSpace(operator, v / size, kept=max(2, _KEPT // operator.size))
    check, most = _FIRST, min(most, operator.size)
    trust = Trust()
    while True:
        steps.advance(min(check, most))
        ritz, Y = eigh_tridiagonal(np.array(steps.diagonal), np.array(steps.bond[:-1]))
        tiny = len(ritz) * _EPS * float(np.abs(ritz).max())
        ritz = np.where((ritz > 0) & (ritz < tiny), 0.0, ritz)
        z = np.multiply.outer(thetas, ritz)
        with np.errstate(over="ignore", invalid="ignore"):
            f = scalar_values(z, alpha, beta)
            coefficients = (f * Y[0]) @ Y.T
            # Two components, as one alone may pass through zero by chance.
            next_term = (scalar_values(z, alpha, alpha + beta) * Y[0]) @ Y[-2:].T
            ends = np.abs(next_term).max(axis=1)
            if ahead is not None and steps.bond[-1] > 0.0:
                far = (thetas * ahead.real)[:, None]
                unseen = (_quotients(z, f, far, alpha, beta) * Y[0]) @ Y[-2:].T
                ends = np.maximum(ends, np.abs(unseen).max(axis=1))
            error = trust.calibrate(coefficients, _known(steps.bond[-1] * thetas * ends))
            scale = np.array([max(1.0, euclidean(row)) for row in coefficients])
        m = len(ritz)
        finished = m >= most or steps.closed or bool(np.all(error <= rtol * scale))
        if finished or not np.all(np.isfinite(f)):
            break
        check = int(np.ceil(_GROWTH * m))
    values = size * steps.combine(coefficients)
    # As for eigenvectors of a matrix: every coefficient is wrong by a rounding of the whole.
    with np.errstate(over="ignore", invalid="ignore"):
        slope = np.array([euclidean(row) for row in slopes(z, alpha, beta)])
        largest = np.maximum(1.0, np.abs(f).max(axis=1))
        rounding = size * _EPS * (4.0 * largest + thetas * float(np.abs(ritz).max()) * slope)
    return KrylovValues(
        values=values,
        error=size * error,
        rounding=rounding,
        products=steps.products,
        degree=m,
        top=complex(ritz[-1]),
    )


def _quotients(
    z: NDArray[Any], f: NDArray[Any], far: NDArray[Any], alpha: float, beta: float
) -> NDArray[Any]:
    # Divided differences of the function between arguments z and one other.
    gap = z - far
    close = np.abs(gap) <= 1e-8 * np.abs(far)
    found = (f - scalar_values(far, alpha, beta)) / np.where(close, 1.0, gap)
    return np.asarray(np.where(close, slopes(far, alpha, beta), found))


def _known(estimate: FloatArray) -> FloatArray:
    # An estimate that overflowed bounds nothing.
    return np.asarray(np.nan_to_num(estimate, nan=np.inf, posinf=np.inf))


def arnoldi_apply(
    operator: Operator,
    v: NDArray[Any],
    thetas: FloatArray,
    alpha: float,
    beta: float,
    *,
    rtol: float,
    ahead: complex | None,
    most: int = _ARNOLDI_STEPS,
) -> KrylovValues:
    """Return functions of a general operator times a vector.

    Parameters
    ----------
    operator : Operator
        Any.
    v : (n,)
        Not zero.
    thetas : (t,) float64 [t**alpha]
        Scales.
    alpha, beta : float [1]
        Parameters of the function.
    rtol : float [1]
        Stop at this error relative to the larger of argument and value.
    most : int
        Stop at this dimension anyway.

    Returns
    -------
    KrylovValues
    """
    size = euclidean(v)
    n = operator.size
    most = max(1, min(most, n, _KEPT // n))
    basis = np.empty((most + 1, n), dtype=np.result_type(v, np.float64 if operator.real else 1j))
    basis[0] = v / size
    H = np.zeros((most + 1, most), dtype=basis.dtype)
    m, check, closed, trust = 0, min(_FIRST, most), False, Trust()
    while True:
        while m < check and not closed:
            m += 1
            closed = arnoldi_step(operator, basis, H, m)
        small = factorise(H[:m, :m].copy(), symmetric=False)
        start = np.eye(m, 1, dtype=H.dtype)
        found = [dense_apply(small, start, theta, alpha, beta) for theta in thetas]
        after = [dense_apply(small, start, theta, alpha, alpha + beta) for theta in thetas]
        with np.errstate(over="ignore", invalid="ignore"):
            bond = 0.0 if closed else abs(H[m, m - 1])
            # Two components, as one alone may pass through zero by chance.
            ends = np.array([np.abs(one.values[-2:, 0]).max() for one in after])
            coefficients = np.array([one.values[:, 0] for one in found])
            error = trust.calibrate(coefficients, _known(bond * thetas * ends))
            error += np.array([one.truncation for one in found])
            scale = np.array([max(1.0, euclidean(one.values)) for one in found])
            final = m >= most or closed or bool(np.all(error <= rtol * scale))
            if final and not closed and ahead is not None:
                unseen = bond * thetas * _unseen(H[:m, :m], ahead, thetas, alpha, beta)
                error = np.maximum(error, 2.0 * _known(unseen))
        if m >= most or closed or bool(np.all(error <= rtol * scale)):
            break
        lost = any(one.rounding > size for one, size in zip(found, scale, strict=True))
        if lost or not np.all(np.isfinite(coefficients)):
            break
        check = min(most, int(np.ceil(_GROWTH * m)))
    return KrylovValues(
        values=size * (coefficients @ basis[:m]),
        error=size * error,
        rounding=size * np.array([one.rounding for one in found]),
        products=m,
        degree=m,
        top=complex(small.eigenvalues[np.argmax(small.eigenvalues.real)]),
    )


def _unseen(
    H: NDArray[Any], ahead: complex, thetas: FloatArray, alpha: float, beta: float
) -> FloatArray:
    # Divided differences of the function between H and one eigenvalue, from the function of
    # both in one matrix; the last component for each time.
    m = len(H)
    both = scipy.linalg.block_diag(H, ahead if ahead.imag else ahead.real)
    bond = max(float(np.abs(H).max()), abs(ahead))
    both[m, m - 1] = bond
    form = factorise(both, symmetric=False)
    ends = np.full(len(thetas), np.inf)
    for i, theta in enumerate(thetas):
        if exponents(np.array([theta * ahead]), alpha)[0] <= LARGEST_EXPONENT:
            found = dense_apply(form, np.eye(m + 1, 1), theta, alpha, beta)
            ends[i] = (abs(found.values[m, 0]) + found.truncation) / (bond * theta)
    return ends
