r"""The Mittag-Leffler function of a matrix, alone and acting on vectors.

.. math::
    u(t) = E_\alpha(t^\alpha L)\, v
    = \frac{1}{2\pi i} \int e^{st} s^{\alpha - 1} (s^\alpha - L)^{-1} v\, ds

solves :math:`D_t^\alpha u = L u`, ``u(0) = v`` (for ``1 < alpha <= 2`` with ``u'(0) = 0``), without
a time step.  :func:`mittag_leffler_action` chooses the road by what the operator is:

====================================  ============================================================
operator                              road
====================================  ============================================================
dense array                           eigenvectors, contour on the Schur form, or Schur-Parlett
                                      (:mod:`fracsde.special._matrix_dense`)
sparse or banded                      shifted solves: rational form, shared contours, or a contour
                                      round a wedge (:mod:`fracsde.special._shifted`)
``LinearOperator``; sparse where no   Lanczos or Arnoldi (:mod:`fracsde.special._krylov`)
contour serves
====================================  ============================================================

Errors are relative to the larger of the norms of ``v`` and of the value.  The method's own error
is kept below ``rtol``.  Rounding comes on top: no method in double precision can know a slow mode
better than :math:`\epsilon\, t^\alpha \|L\|\, |E'|` when ``L`` itself is rounded.  Both are
estimated, and ``full_output=True`` returns them.  Rounding gives ``v`` a small part along every
mode, so that growing modes bring an error of :math:`\epsilon \max_j |E(t^\alpha\lambda_j)|` even
where ``v`` itself does not touch them.  Estimates of Krylov spaces see only modes inside the space
and growing ones that a short probe finds.  ``tests/special/test_matrix.py`` and
``tests/special/test_krylov.py`` measure both against high precision and known eigenvectors.

Not here: operators that depend on time, sources, the scalar function
(:mod:`fracsde.special.mittag_leffler`).
"""

from __future__ import annotations

from dataclasses import replace
from math import frexp, log
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from scipy.special import rgamma

from fracsde._check import choice, finite_array, real
from fracsde.errors import ComputationError, InputError, NotFiniteError, OutOfRangeError, ShapeError
from fracsde.special._hyperbola import LARGEST_EXPONENT, exponents
from fracsde.special._matrix_dense import dense_apply, factorise
from fracsde.special._matrix_roads import (
    ActionInfo,
    Ledger,
    close_ledger,
    open_ledger,
    overflowing,
    travel,
)
from fracsde.special._operator import euclidean, read_operator
from fracsde.status import Status

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fracsde._typing import FloatArray
    from fracsde.special._operator import Operator

__all__ = ["ActionInfo", "mittag_leffler_action", "mittag_leffler_matrix"]

_EPS = float(np.finfo(np.float64).eps)
_METHODS = ("auto", "dense", "shifted", "krylov")


@overload
def mittag_leffler_action(
    operator: Any,
    v: ArrayLike,
    times: ArrayLike,
    alpha: float,
    *,
    rtol: float = ...,
    beta: float = ...,
    symmetric: bool | None = ...,
    method: str = ...,
    throw: bool = ...,
    full_output: Literal[False] = ...,
) -> NDArray[Any]: ...


@overload
def mittag_leffler_action(
    operator: Any,
    v: ArrayLike,
    times: ArrayLike,
    alpha: float,
    *,
    rtol: float = ...,
    beta: float = ...,
    symmetric: bool | None = ...,
    method: str = ...,
    throw: bool = ...,
    full_output: Literal[True],
) -> tuple[NDArray[Any], ActionInfo]: ...


def mittag_leffler_action(
    operator: Any,
    v: ArrayLike,
    times: ArrayLike,
    alpha: float,
    *,
    rtol: float = 1e-12,
    beta: float = 1.0,
    symmetric: bool | None = None,
    method: str = "auto",
    throw: bool = True,
    full_output: bool = False,
) -> NDArray[Any] | tuple[NDArray[Any], ActionInfo]:
    r"""Evaluate :math:`E_{\alpha,\beta}(t^\alpha L)\, v` at several times.

    Parameters
    ----------
    operator : (n, n) array_like, scipy.sparse matrix or LinearOperator [t**-alpha]
        ``L``, real or complex, with entries up to 1e150.
    v : (n,) or (n, k) array_like
        One vector or several.
    times : float or (t,) array_like [t]
        Not negative, in any order.
    alpha : float [1]
        Order, ``0 < alpha <= 2``.
    rtol : float [1]
        Largest error of the method, relative to the larger of ``|v|`` and ``|value|``; at least
        1e-14.
    beta : float [1]
        Second parameter; there is no factor ``t**(beta - 1)``.
    symmetric : bool, optional
        Whether ``L`` equals its conjugate transpose.  Found out for matrices; a ``LinearOperator``
        is taken to be general unless this is ``True``, which is checked with two vectors.
    method : {"auto", "dense", "shifted", "krylov"}
        Road; ``auto`` chooses as the module's table says.  The estimates of ``krylov`` know only
        modes that its space has seen, and growing ones that a short probe finds.
    throw : bool
        Whether to raise where ``rtol`` was not met or a value overflows; otherwise the values are
        returned as they are (NaN where they overflow) and the status says so.
    full_output : bool
        Whether to return an :class:`ActionInfo` too.

    Returns
    -------
    values : (t, \*v.shape) ndarray
        Without the time axis where ``times`` is a number.  Float64 if ``operator`` and ``v`` are
        real.  At ``t = 0`` with ``beta = 1`` exactly ``v``.
    info : ActionInfo
        Only with ``full_output``.

    Raises
    ------
    ShapeError
        If ``operator``, ``v`` and ``times`` do not fit.
    OutOfRangeError
        If a time is negative.
    ComputationError
        If ``rtol`` was not met or a value overflows, and ``throw``.

    References
    ----------
    [GarrappaPopolizio2018]_ for dense matrices, [Saad1992]_ for Krylov spaces,
    [WeidemanTrefethen2007]_ for contours.

    Examples
    --------
    >>> L = np.array([[-2.0, 1.0], [1.0, -2.0]])
    >>> u = mittag_leffler_action(L, [1.0, 1.0], [0.0, 1.0], 0.5)
    >>> from scipy.special import erfcx
    >>> bool(np.allclose(u, [[1.0, 1.0], [erfcx(1.0), erfcx(1.0)]], rtol=1e-14, atol=0))
    True
    """
    alpha = _order(alpha)
    rtol = real("rtol", rtol, low=1e-14, high=1.0, closed="low", remedy=_BEST)
    beta = real("beta", beta)
    method = choice("method", method, _METHODS)
    _flag("throw", throw)
    _flag("full_output", full_output)
    clock = finite_array("times", times, ndim=(0, 1))
    if np.any(clock < 0.0):
        msg = f"`times` must not be negative, got {float(clock.min()):g}; the start is at t = 0"
        raise OutOfRangeError(msg)
    L = read_operator(operator, symmetric)
    V = _vectors(v, L)
    distinct, place = np.unique(clock, return_inverse=True)
    # The function is linear in v: a power of two keeps its squares within the floats.
    unit = _unit(V)
    W = V / unit
    ledger = open_ledger(L, V, distinct)
    moving = distinct > 0.0
    ledger.values[~moving] = W * rgamma(beta) if beta != 1.0 else W
    if np.any(moving) and np.any(V):
        travel(ledger, L, W, distinct, alpha, beta, rtol, method)
    with np.errstate(over="ignore", invalid="ignore"):
        beyond = ~np.isfinite(ledger.values * unit).all(axis=(1, 2))
    ledger.values[beyond] = np.nan
    info = close_ledger(ledger, W, rtol)
    ledger.values *= unit
    if beta == 1.0:
        ledger.values[~moving] = V
    if throw and not info.status.ok:
        raise ComputationError(info.status, _detail(ledger, info, L, distinct, alpha, rtol))
    values = ledger.values[place.reshape(clock.shape)]
    values = values.reshape(*clock.shape, *np.shape(v))
    if not full_output:
        return values
    index = place.reshape(-1)
    error, rounding = info.error_estimate[index], info.rounding[index]
    return values, replace(info, error_estimate=error, rounding=rounding)


def mittag_leffler_matrix(A: ArrayLike, alpha: float, beta: float = 1.0) -> NDArray[Any]:
    r"""Evaluate :math:`E_{\alpha,\beta}(A)` for a dense matrix.

    Parameters
    ----------
    A : (n, n) array_like [1]
        Real or complex; normal, defective or neither.
    alpha : float [1]
        Order, ``0 < alpha <= 2``.
    beta : float [1]
        Second parameter.

    Returns
    -------
    (n, n) ndarray
        Float64 if ``A`` is real, symmetric if it is.

    Raises
    ------
    InputError
        If ``A`` is not a dense matrix.
    ComputationError
        If the value overflows or no road gives six digits.

    References
    ----------
    [DaviesHigham2003]_, [GarrappaPopolizio2018]_

    Examples
    --------
    >>> block = np.array([[0.0, 1.0], [0.0, 0.0]])
    >>> from math import gamma
    >>> F = mittag_leffler_matrix(block, 0.5)
    >>> bool(np.allclose(F, [[1.0, 1.0 / gamma(1.5)], [0.0, 1.0]], rtol=1e-14))
    True
    """
    alpha = _order(alpha)
    beta = real("beta", beta)
    L = read_operator(A, None, "A")
    if L.kind != "dense":
        msg = (
            f"`A` must be a dense array, got {type(A).__name__}; the value of a sparse matrix is "
            "dense: pass `A.toarray()`, or use `mittag_leffler_action` with the vectors you need"
        )
        raise InputError(msg)
    form = factorise(L.matrix, symmetric=L.symmetric)
    top = overflowing(form.eigenvalues, 1.0, alpha)
    if top is not None:
        raise ComputationError(Status.NOT_FINITE, _overflow(*top))
    found = dense_apply(form, np.eye(L.size), 1.0, alpha, beta)
    size = euclidean(found.values)
    whole = max(size, float(np.sqrt(L.size)))
    if not (found.truncation <= 1e-6 * size and found.rounding <= 1e-6 * whole):
        detail = (
            f"The roads differ by {found.truncation:.2g} and rounding changes the value by "
            f"{found.rounding:.2g} where it has norm {size:.2g}; scale the matrix down or split "
            "off its fastest modes."
        )
        raise ComputationError(Status.INACCURATE, detail)
    F = found.values
    return np.asarray(0.5 * (F + F.conj().T) if L.symmetric else F)


_BEST = "1e-14 is the best that double precision offers"


def _order(alpha: float) -> float:
    remedy = "larger orders grow on the negative axis too and are another problem"
    return real("alpha", alpha, low=0.0, high=2.0, closed="high", remedy=remedy)


def _vectors(v: Any, L: Operator) -> NDArray[Any]:
    # Return ``v`` as a finite (n, k) array of its own.
    try:
        V = np.array(None if np.ma.is_masked(v) else v)
    except (TypeError, ValueError):
        V = np.array(None)
    if V.dtype.kind not in "biufc":
        msg = f"`v` must be an array of numbers without a mask, got {type(v).__name__}"
        raise InputError(msg)
    if V.ndim not in {1, 2} or len(V) != L.size:
        msg = (
            f"`v` must have shape ({L.size},) or ({L.size}, k) for an operator of shape "
            f"({L.size}, {L.size}), got shape {V.shape}"
        )
        raise ShapeError(msg)
    V = V.astype(np.complex128 if V.dtype.kind == "c" else np.float64).reshape(L.size, -1)
    bad = int(np.sum(~np.isfinite(V)))
    if bad:
        msg = f"`v` must be finite: {bad} of {V.size} entries are NaN or infinite"
        raise NotFiniteError(msg)
    return V


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, (bool, np.bool_)):
        msg = f"`{name}` must be True or False, got {value!r}"
        raise InputError(msg)


def _unit(V: NDArray[Any]) -> float:
    # The power of two next to the largest entry.
    parts = max(float(np.abs(V.real).max(initial=0.0)), float(np.abs(V.imag).max(initial=0.0)))
    return float(2.0 ** max(frexp(parts)[1] - 1, -1000)) if parts > 0.0 else 1.0


def _overflow(eigenvalue: complex, excess: float) -> str:
    return (
        f"The mode of eigenvalue {_shown(eigenvalue)} grows to the exponential of "
        f"{excess * LARGEST_EXPONENT:.4g}, past the largest float; scale the matrix down."
    )


def _shown(value: complex) -> str:
    return f"{value.real:.6g}" if value.imag == 0.0 else f"{value:.6g}"


def _detail(
    ledger: Ledger,
    info: ActionInfo,
    L: Operator,
    times: FloatArray,
    alpha: float,
    rtol: float,
) -> str:
    # What was measured and what to do.
    if info.status is Status.NOT_FINITE:
        growth = float(exponents(np.array([ledger.top]), alpha)[0])
        last = (LARGEST_EXPONENT + log(alpha)) / growth if growth > 0.0 else np.inf
        if last > times[-1]:
            return "A value passes the largest float as `v` is large; scale `v` down."
        return (
            f"The mode of eigenvalue {_shown(ledger.top)} passes the largest float at "
            f"t = {last:.4g}, and values were asked for up to t = {times[-1]:.4g}; ask for "
            "earlier times."
        )
    worst = int(np.argmax(info.error_estimate))
    if not np.isfinite(info.error_estimate[worst]):
        return (
            f"Modes may grow past the largest float at t = {times[worst]:.4g} and rounding alone "
            "excites them; ask for earlier times."
        )
    reached = f"{info.error_estimate[worst]:.2g} at t = {times[worst]:.4g}"
    if info.status is Status.INACCURATE:
        return (
            f"Rounding of the operator alone may change the value by {reached} (relative); "
            "shorter times or an operator without its fastest modes are better conditioned."
        )
    if L.kind == "free" or info.method in {"lanczos", "arnoldi"}:
        remedy = (
            "pass the operator as a scipy.sparse array, so that shifted systems can be solved"
            if L.kind == "free"
            else "ask for shorter times, where fewer modes are stiff"
        )
        return (
            f"`rtol` = {rtol:g} was asked for and {info.degree} steps of {info.method} reached "
            f"{reached}; {remedy}, or ask for {2.0 * info.error_estimate[worst]:.1g}."
        )
    return (
        f"`rtol` = {rtol:g} was asked for and {info.method} reached {reached}; ask for "
        f"{2.0 * info.error_estimate[worst]:.1g}, the best that can be had here."
    )
