r"""The Mittag-Leffler function in the complex plane, and its derivatives in ``z`` and the order.

.. math::
    E_{\alpha,\beta}(z) = \sum_{k \ge 0} \frac{z^k}{\Gamma(\alpha k + \beta)}
    = \frac{1}{2\pi i} \int \frac{e^s s^{\alpha - \beta}}{s^\alpha - z}\, ds .

At ``beta = 1`` and :math:`z = -\lambda t^\alpha` it solves :math:`D_t^\alpha u = -\lambda u`,
``u(0) = 1``.

Three roads share the plane by the size of ``z``: power series, integral on one hyperbola, and
asymptotic series.  The hyperbola does not move with ``z``, so its nodes are tabulated once per
``(alpha, beta)`` and a point costs additions and divisions.  What the trapezoidal rule gets wrong
when a pole :math:`s_*^\alpha = z` stands near the hyperbola, or right of it, is known in closed
form and added (:mod:`fracsde.special._ml_residues`, for most complex points in blocks by
:mod:`fracsde.special._ml_plane`), so there are no sectors and no seams.  Where ``beta`` is
below -4 or above 20, of derivatives above 30, the contour follows ``beta``
(:mod:`fracsde.special._ml_far_beta`, :mod:`fracsde.special._ml_far_slopes`).

Errors against high precision, over points near every switch; ``tests/special`` measures them:

==============================================  ================================================
what                                            error
==============================================  ================================================
values, ``alpha <= 8``, ``-4 <= beta <= 20``    1e-13 of ``1 + abs(E)``, most below 1e-14
values, ``beta < -4`` and ``beta > 20``         1e-13 of ``E``, but near its zeros and where it is
                                                below the smallest normal float
real ``z < 0``, ``alpha <= 2``, not at zeros    1e-13 of ``E`` for ``0 <= beta <= 3``, however
                                                close ``alpha`` is to 1; 3e-13 where ``beta`` and
                                                ``alpha`` are both below 0.02
derivatives in ``z`` of order 1 to 3            1e-13 of one plus the derivative for
                                                ``-4 <= beta <= 30``
... of order 4, and 5 to 8                      2e-12, and 1e-9, of one plus the derivative
derivative in ``alpha``, ``-1 <= beta <= 30``   1e-13 of one plus the derivative
all derivatives, ``beta > 30``                  1e-13 of the derivative, but near its zeros and
                                                where it is below the smallest normal float
... and ``-20 <= beta < -4``                    1e-13 of one plus the derivative, and of a tenth of
                                                ``z`` times the next one near its zeros; 4e-13 for
                                                orders 4 to 8
... and ``beta < -20``, ``alpha <= 2``          1e-13 of the derivative, but near its zeros
==============================================  ================================================

Beyond about ``abs(z)**(1 / alpha) = 1e16``, or ``abs(beta) = 1e15``, the phase of an oscillating
value is not determined by a pair of floats; at orders 1 and 1/2 it is exact.  Values that overflow
are infinite: at ``beta = 1`` from about ``z**(1 / alpha) = 709.8 + log(alpha)`` on, in general
where ``exp(s) s**(1 - beta) / alpha``, ``s = z**(1 / alpha)``, passes 1.8e308.

Not here: matrices (:mod:`fracsde.special.matrix`), and the three-parameter function.

References: [WeidemanTrefethen2007]_ for integrals on hyperbolas, [TrefethenWeideman2014]_ for what
poles do to the trapezoidal rule, [GorenfloEtAl2020]_ for the function.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import lgamma
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import get_num_threads

from fracsde._check import integer, real
from fracsde.errors import InputError, NotFiniteError, OutOfRangeError, ShapeError, UnsupportedError
from fracsde.special._ml_far_beta import far_beta
from fracsde.special._ml_far_slopes import far_derivative
from fracsde.special._ml_plane import ASIDE, reach, switch_on_plane
from fracsde.special._ml_poles import COLUMNS, find_poles
from fracsde.special._ml_residues import BY_ALPHA, at_infinity, switch_on_complex, switch_on_real
from fracsde.special._ml_sums import add_sums_complex, add_sums_real
from fracsde.special._ml_tables import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["mittag_leffler", "mittag_leffler_alpha_derivative", "relaxation_alpha_derivative"]

_ALPHA_LOW = 1e-12  # below it z**(1/alpha) is a step at |z| = 1
_ALPHA_HIGH, _DERIVATIVE_HIGH = 8.0, 8
# On the common contour, which does not depend on beta:
_NEAR, _NEAR_SLOPES = (-4.0, 20.0), (-4.0, 30.0)  # beta, of values, and of derivatives
_LARGEST = float(np.finfo(np.float64).max)
_CHUNK = 4096  # points handed to a thread at once
_UNDERFLOW, _NEGLIGIBLE = -745.0, -42.0  # logarithms of residues that do not count


def mittag_leffler(
    z: ArrayLike | complex, alpha: ArrayLike, beta: ArrayLike = 1.0, derivative: int = 0
) -> Any:
    r"""Evaluate :math:`E_{\alpha,\beta}(z)` or a derivative in ``z``.

    Parameters
    ----------
    z : array_like [1]
        Real or complex, any shape.  NaN gives NaN, an infinite ``z`` the limit, or NaN where
        there is none.
    alpha : array_like of float [1]
        Order, ``1e-12 <= alpha <= 8``; broadcast against ``z``.
    beta : array_like of float [1]
        Second parameter, finite; broadcast against ``z``.
    derivative : int
        Order of the derivative in ``z``, 0 to 8.

    Returns
    -------
    ndarray of float64 or complex128, or a number
        Of the broadcast shape; complex if ``z`` is.  Infinite where the value overflows: at
        ``beta = 1`` from about ``z**(1 / alpha) = 709.8 + log(alpha)`` on.

    Raises
    ------
    OutOfRangeError
        If ``alpha``, ``beta`` or ``derivative`` is out of range.

    References
    ----------
    [WeidemanTrefethen2007]_, [TrefethenWeideman2014]_.

    Examples
    --------
    >>> from scipy.special import erfcx
    >>> bool(abs(mittag_leffler(-3.0, 0.5) - erfcx(3.0)) < 1e-15)
    True
    >>> mittag_leffler([1j, -1.0], 1.0).shape
    (2,)
    """
    order = integer("derivative", derivative, low=0, high=_DERIVATIVE_HIGH)
    return _broadcast(z, alpha, beta, order)


def mittag_leffler_alpha_derivative(
    z: ArrayLike | complex, alpha: ArrayLike, beta: ArrayLike = 1.0
) -> Any:
    r"""Evaluate :math:`\partial_\alpha E_{\alpha,\beta}(z)` at fixed ``z``.

    Parameters
    ----------
    z : array_like [1]
        Real or complex, any shape.
    alpha : array_like of float [1]
        Order, ``0 < alpha <= 8``; broadcast against ``z``.
    beta : array_like of float [1]
        Second parameter, finite; broadcast against ``z``.

    Returns
    -------
    ndarray of float64 or complex128, or a number
        Of the broadcast shape; complex if ``z`` is.

    Examples
    --------
    >>> near = (mittag_leffler(2j, 0.8001) - mittag_leffler(2j, 0.7999)) / 2e-4
    >>> bool(abs(mittag_leffler_alpha_derivative(2j, 0.8) - near) < 1e-6)
    True
    """
    return _broadcast(z, alpha, beta, BY_ALPHA)


def relaxation_alpha_derivative(x: ArrayLike, alpha: float) -> FloatArray:
    r"""Evaluate :math:`\partial_\alpha E_\alpha(-x)` at fixed ``x``.

    For :math:`x = \lambda t^\alpha` a fit of the order adds the chain rule's
    :math:`x \ln t\, E_\alpha'(-x)` term, or fits at fixed ``x``.

    Parameters
    ----------
    x : array_like [1]
        Not negative, any shape.
    alpha : float [1]
        Order, ``0 < alpha <= 1``.

    Returns
    -------
    ndarray of float64
        Of the shape of ``x``.

    Raises
    ------
    UnsupportedError
        If ``x`` is complex or negative.

    Examples
    --------
    >>> near = (mittag_leffler(-2.0, 0.6001) - mittag_leffler(-2.0, 0.5999)) / 2e-4
    >>> bool(abs(relaxation_alpha_derivative(2.0, 0.6) - near) < 1e-8)
    True
    """
    remedy = "relaxation is of order at most 1; use `mittag_leffler_alpha_derivative` above"
    alpha = real("alpha", alpha, low=0.0, high=1.0, closed="high", remedy=remedy)
    points = _points("x", x)
    if np.iscomplexobj(points) or np.any(points < 0):
        msg = (
            f"`x` must be real and not negative, got {_worst(points)}; "
            "`mittag_leffler_alpha_derivative` serves the whole plane"
        )
        raise UnsupportedError(msg)
    value: FloatArray = _broadcast(-points, alpha, 1.0, BY_ALPHA)
    return value


def _worst(points: NDArray[Any]) -> str:
    return str(points.dtype) if np.iscomplexobj(points) else f"{np.nanmin(points):g}"


def _points(name: str, z: Any) -> NDArray[Any]:
    # Return ``z`` as float64 or complex128, perhaps the caller's own memory.
    try:
        raw = np.asarray(z)
        if raw.dtype.kind == "O":
            if any(each is None for each in raw.flat):
                raise TypeError  # which NumPy would call NaN
            raw = raw.astype(np.complex128 if any(map(np.iscomplexobj, raw.flat)) else np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"`{name}` must be an array of numbers, got {type(z).__name__}: {z!r:.200}"
        raise InputError(msg) from error
    if raw.dtype.kind not in "biufc" or np.ma.is_masked(z):
        what = "a masked array" if np.ma.is_masked(z) else f"{raw.dtype}"
        msg = f"`{name}` must be an array of numbers, got {what}; fill or convert it first"
        raise InputError(msg)
    return raw.astype(np.complex128 if raw.dtype.kind == "c" else np.float64, copy=False)


def _parameter(name: str, value: Any, low: float, high: float, remedy: str = "") -> NDArray[Any]:
    # Return ``alpha`` or ``beta`` as an array inside its range, ends included.
    array = _points(name, value)
    if np.iscomplexobj(array):
        msg = f"`{name}` must be real, got {array.dtype}; only ``z`` may be complex"
        raise InputError(msg)
    if array.ndim == 0:
        return np.asarray(
            real(name, float(array), low=low, high=high, closed="both", remedy=remedy)
        )
    if not np.all(np.isfinite(array)):
        msg = f"`{name}` must be finite, got NaN or infinite entries"
        raise NotFiniteError(msg)
    bad = (array > high) | (array < low)
    if np.any(bad):
        msg = f"`{name}` must lie in [{low:g}, {high:g}], got {array[bad].flat[0]:g}"
        raise OutOfRangeError(f"{msg}; {remedy}" if remedy else msg)
    return array


def _broadcast(z: Any, alpha: Any, beta: Any, order: int) -> Any:
    # Evaluate pair by pair of the parameters.
    points = _points("z", z)
    a = _parameter("alpha", alpha, _ALPHA_LOW, _ALPHA_HIGH)
    b = _parameter("beta", beta, -_LARGEST, _LARGEST)
    if a.ndim == 0 and b.ndim == 0:
        flat = points.reshape(-1)
        if not (flat.flags.c_contiguous and flat.flags.writeable):
            flat = flat.copy()  # one kind of memory: each would be compiled for
        return _evaluate(flat, float(a), float(b), order).reshape(points.shape)[()]
    try:
        points, a, b = np.broadcast_arrays(points, a, b)
    except ValueError as error:
        msg = (
            f"`z`, `alpha` and `beta` must broadcast, got shapes {points.shape}, {a.shape} and "
            f"{b.shape}"
        )
        raise ShapeError(msg) from error
    flat = points.reshape(-1)
    values = np.empty_like(flat)
    pairs, which = np.unique(
        np.stack([a.reshape(-1), b.reshape(-1)], axis=1), axis=0, return_inverse=True
    )
    by_pair = np.argsort(which.reshape(-1), kind="stable")
    ends = np.searchsorted(which.reshape(-1)[by_pair], np.arange(len(pairs) + 1))
    for i, (one_alpha, one_beta) in enumerate(pairs):
        part = by_pair[ends[i] : ends[i + 1]]
        values[part] = _evaluate(flat[part], float(one_alpha), float(one_beta), order)
    return values.reshape(points.shape)[()]


def _evaluate(flat: NDArray[Any], alpha: float, beta: float, order: int) -> NDArray[Any]:
    # Evaluate at contiguous points for one pair of parameters.
    is_real = flat.dtype.kind == "f"
    lowest, highest = _NEAR if order == 0 else _NEAR_SLOPES
    if not lowest <= beta <= highest:
        return _evaluate_far(flat, alpha, beta, order)
    power = 1.0 - beta
    if is_real and alpha == 1.0 and order >= 0 and (power == 0.0 or (order == 0 and _whole(power))):
        return _exponential(flat, int(power))
    entries = table(alpha, beta, order, relative=is_real and order == 0)
    if is_real and order == 0:
        points, switch_on, add_sums = flat, switch_on_real, add_sums_real
        mode: tuple[Any, ...] = (entries,)
        threshold, halved = _UNDERFLOW, True
    else:
        points, switch_on, add_sums = flat, switch_on_complex, add_sums_complex
        points = points.astype(np.complex128, copy=False)
        mode, halved = (order, entries), False
        threshold = _NEGLIGIBLE - lgamma(max(beta, 1.0))  # values are of the size of 1 / gamma
    values = np.empty_like(points)
    plan = (alpha, beta, *map(float, entries.contour))
    sizes = entries.small, entries.large

    in_blocks = not is_real and order == 0 and alpha <= 2.0 and -1.0 <= beta <= 3.0
    edges = reach(alpha, *sizes)

    def residues(some: NDArray[Any], out: NDArray[Any], road: NDArray[np.int64]) -> None:
        counts = np.empty(len(some), np.int64)
        held = np.empty((len(some), int(alpha) + 2, COLUMNS))
        find_poles(some, *sizes, halved, order, threshold, plan, counts, held)
        switch_on(some, counts, held, out, road, *mode)

    def work(part: slice) -> None:
        some, out = points[part], values[part]
        road = np.empty(len(some), np.int64)
        if in_blocks:
            switch_on_plane(some, out, road, edges, plan)
            aside = np.flatnonzero(road == ASIDE)
            if len(aside):
                rest, sums, roads = some[aside], np.empty(len(aside), some.dtype), road[aside]
                residues(rest, sums, roads)
                out[aside], road[aside] = sums, roads
        else:
            residues(some, out, road)
        add_sums(some, out, road, *mode)

    _share(work, len(points))
    return np.ascontiguousarray(values.real) if is_real else values


def _evaluate_far(flat: NDArray[Any], alpha: float, beta: float, order: int) -> NDArray[Any]:
    # The same where the common contour does not reach.
    values = np.full(len(flat), np.nan, np.complex128)
    with np.errstate(over="ignore"):
        size = np.abs(flat)
    finite = size < np.inf
    points = flat[finite].astype(np.complex128)
    if order == 0:
        values[finite] = far_beta(points, alpha, beta)
    else:
        values[finite] = far_derivative(points, alpha, beta, order)
    for i in np.flatnonzero(size == np.inf):
        values[i] = at_infinity(complex(flat[i]), alpha)
    if flat.dtype.kind == "f":
        return np.ascontiguousarray(values.real)
    values.imag[flat.imag == 0.0] = 0.0
    return values


def _whole(power: float) -> bool:
    return power > 0.0 and power % 1.0 == 0.0


def _exponential(x: FloatArray, power: int) -> FloatArray:
    # Evaluate ``x**power * exp(x)``, which is what is left at alpha = 1 and beta = 1 - power.
    with np.errstate(over="ignore", under="ignore"):
        x = np.maximum(x, -1e4)
        decay = np.exp(x)
        return decay if power == 0 else np.where(decay == 0.0, 0.0, x**power * decay)


def _share(work: Callable[[slice], None], count: int) -> None:
    # Deal out chunks to as many threads as Numba may use; each point is computed by itself.
    threads = get_num_threads()
    parts = [slice(start, start + _CHUNK) for start in range(0, count, _CHUNK)]
    if len(parts) <= 2 or threads == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(max_workers=min(threads, len(parts))) as pool:
        list(pool.map(work, parts))
