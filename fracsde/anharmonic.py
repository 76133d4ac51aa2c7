r"""How far the mean of SGD settles from the minimum, to first order in the noise.

In a stationary state the gradient vanishes on average, :math:`\mathrm E\,\nabla L(w) = 0`, at any
learning rate and momentum and with any preconditioner that can be inverted: the mean velocity is
zero.  Expanded about the minimum, with :math:`K = \nabla^2 L(w^*)`,

.. math::
    0 = K\,\mathrm E[w - w^*] + \tfrac12\, \nabla^3 L : \mathrm E[(w-w^*)(w-w^*)^T] + \dots, \qquad
    \mathrm E[w] - w^* = -\tfrac12 K^{-1}\, (\nabla^3 L : \Sigma) + O(\Sigma^{3/2}) .

The next term is :math:`-\tfrac16 K^{-1} \nabla^4 L : \mathrm E[(w-w^*)^{\otimes 3}]`, which is of
order :math:`\Sigma^2` where the noise has no third cumulant.

The learning rate, the batch size and the dependence of the noise on the state enter through the
covariance :math:`\Sigma` alone; weight decay through ``K`` too, its third derivative being zero.
The mean moves toward where the loss is flatter.

:math:`\nabla^3 L : \Sigma = \sum_i \sigma_i^2\, \nabla^3 L[\hat u_i, \hat u_i]` over orthogonal
directions of :math:`\Sigma`, each from products with the Hessian at four points,

.. math::
    D(\epsilon) = \frac{K(w^* + \epsilon \hat u)\hat u - K(w^* - \epsilon \hat u)\hat u}{2\epsilon},
    \qquad \nabla^3 L[\hat u, \hat u] = \tfrac13\,(4 D(\epsilon) - D(2\epsilon)) + O(\epsilon^4),

with rounding errors near :math:`2^{-52}\,|K \hat u|/\epsilon`, or what the products' own precision,
single or double, makes of it: how far they are from linear tells.  The equation with ``K`` is
solved by conjugate gradients.  No matrix is formed.

With Nesterov's momentum the gradient is taken ahead, and :math:`\Sigma` and the mean are those of
the points where it is.  Shuffled epochs are different: what is left of an epoch's data is
correlated with the weights, so that the *mean* gradient need not vanish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

from fracsde._check import finite_array, integer, positive_semidefinite, real
from fracsde.errors import (
    ComputationError,
    IndefiniteError,
    InputError,
    NotFiniteError,
    NotSymmetricError,
    OutOfRangeError,
    ShapeError,
)
from fracsde.provenance import Provenance, provenance
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray

    Product = Callable[[FloatArray, FloatArray], FloatArray]

__all__ = ["AnharmonicDrift", "anharmonic_drift"]

_EPS = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)
_LARGEST = 1e100  # of what is squared and multiplied
_ASYMMETRY = 1e-6  # of two products; float32 arithmetic stays below


@dataclass(frozen=True, kw_only=True, eq=False)
class AnharmonicDrift:
    """Shift of the stationary mean from the minimum.

    Parameters
    ----------
    drift : (d,) float64 [weight]
        ``E[w] - w*`` to first order in the noise.
    mean : (d,) float64 [weight]
        The minimum plus the drift.
    third : (d,) float64 [loss/weight]
        The contraction of third derivatives with the covariance.
    residual : float [1]
        Of the equation with ``K``, relative.
    error_estimate : float [weight]
        Estimate of the Euclidean length of the numerical error of ``drift``: differences,
        rounding and the equation.  What higher orders add is not in it.
    iterations : int
        Of conjugate gradients.
    status : Status
        ``INACCURATE`` where the numerical error exceeds a hundredth of the drift and matters
        beside the standard deviation, ``NOT_CONVERGED`` where the iteration stopped early.
    provenance : Provenance
        Where the result came from.
    """

    drift: FloatArray
    mean: FloatArray
    third: FloatArray
    residual: float
    error_estimate: float
    iterations: int
    status: Status
    provenance: Provenance


def anharmonic_drift(
    hessian_product: Product,
    minimum: ArrayLike,
    covariance: ArrayLike | None = None,
    *,
    factor: ArrayLike | None = None,
    weight_decay: float = 0.0,
    third_product: Product | None = None,
    step: float | None = None,
    rtol: float = 1e-10,
    max_iterations: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    throw: bool = True,
) -> AnharmonicDrift:
    """Compute the first-order shift of the stationary mean from the minimum.

    Parameters
    ----------
    hessian_product : callable
        ``hessian_product(w, v)`` returns the Hessian of the loss at ``w`` times ``v``, ``(d,)``.
    minimum : (d,) array_like [weight]
        ``w*``, where the gradient of the loss, weight decay included, vanishes.
    covariance : (d, d) array_like [weight^2]
        ``Sigma`` of the stationary law: measured, or of a theory.
    factor : (d, r) array_like, optional [weight]
        In place of the covariance, ``F`` with ``Sigma = F F^T``: four products per column.
    weight_decay : float [loss/weight^2]
        Added to the Hessian, for losses whose products leave it out.
    third_product : callable, optional
        ``third_product(w, u)`` returns the third derivative applied twice to ``u``, ``(d,)``, in
        place of differences.
    step : float, optional [weight]
        ``epsilon``; by default ``2^-10.4`` times the largest of 1 and the weights' root mean
        square, which balances the two errors where the loss changes over a unit of weight.
    rtol : float [1]
        Relative residual at which conjugate gradients stop.
    max_iterations : int, optional
        Their largest number; by default ten times the dimension.
    progress : callable, optional
        Called as ``progress(directions_done, directions)``.
    throw : bool
        Whether to raise where the result is inaccurate or the iteration does not converge.

    Returns
    -------
    AnharmonicDrift

    Raises
    ------
    InputError
        If a product is not callable, or not exactly one of covariance and factor is given.
    ShapeError
        If shapes do not fit, or a product returns another shape.
    NotFiniteError
        If a product returns NaN or infinity.
    NotSymmetricError
        If products disagree with a symmetric Hessian.
    IndefiniteError
        If the Hessian has a direction without positive curvature.
    OutOfRangeError
        If a number is too large to be squared, or lies outside its range.
    ComputationError
        If ``throw`` and the status is not a success.

    Notes
    -----
    ``tests/test_anharmonic.py`` measures the order of what is left out.

    Examples
    --------
    A loss ``w^2/2 + w^3/6`` has curvature ``1 + w``; noise of variance 0.01 shifts the mean by half
    of that, to the flatter side:

    >>> found = anharmonic_drift(lambda w, v: (1.0 + w) * v, [0.0], [[0.01]])
    >>> found.drift.round(10)
    array([-0.005])
    """
    for name, product in (("hessian_product", hessian_product), ("third_product", third_product)):
        if not callable(product) and not (name == "third_product" and product is None):
            msg = f"`{name}` must be callable as {name}(w, v), got {type(product).__name__}"
            raise InputError(msg)
    place = finite_array("minimum", minimum, shape=(None,))
    if np.abs(place).max(initial=0.0) >= _LARGEST:
        msg = f"`minimum` must be below {_LARGEST:g}, got {np.abs(place).max():g}; rescale weights"
        raise OutOfRangeError(msg)
    if progress is not None and not callable(progress):
        msg = f"`progress` must be callable, got {progress!r}"  # type: ignore[unreachable]
        raise InputError(msg)
    if place.size == 0:
        msg = "`minimum` must hold at least one weight, got none"
        raise ShapeError(msg)
    columns = _columns(covariance, factor, len(place))
    decay = real("weight_decay", weight_decay, low=0.0, high=_LARGEST, closed="low")
    size = max(1.0, float(np.sqrt(np.mean(place**2))))
    width = (
        _EPS**0.2 * size if step is None else real("step", step, low=1.0 / _LARGEST, high=_LARGEST)
    )
    tolerance = real("rtol", rtol, low=0.0, high=1.0)
    most = 10 * len(place) if max_iterations is None else max_iterations
    most = integer("max_iterations", most, low=1)

    def curvature(v: FloatArray) -> FloatArray:
        return (
            _checked("hessian_product", hessian_product(place.copy(), v.copy()), len(v)) + decay * v
        )

    precision = _probe(hessian_product, place)
    if third_product is None:
        third, left_out, size = _differences(hessian_product, place, columns, width, progress)
    else:
        third, left_out, size = _exact(third_product, place, columns, progress)
    rounding = precision * size
    solved = _conjugate_gradients(curvature, -0.5 * third, tolerance, most)
    drift, error = solved.solution, 0.0
    if np.any(left_out):
        error = float(np.linalg.norm(_conjugate_gradients(curvature, left_out, 0.1, most).solution))
    length = float(np.linalg.norm(third))
    stiffness = max(solved.lowest, _EPS * solved.highest)
    # Products in single precision leave a residual that no iteration removes.
    left = 8.0 * precision * solved.highest * float(np.linalg.norm(drift))
    reached = solved.residual <= max(2.0 * tolerance, left / max(length, _TINY))
    error = 0.5 * error + 0.5 * (rounding + solved.residual * length) / stiffness
    matters = max(0.01 * float(np.linalg.norm(drift)), 1e-4 * float(np.linalg.norm(columns)))
    status = Status.SUCCESS if reached else Status.NOT_CONVERGED
    if status.ok and error > matters:
        status = Status.INACCURATE
    if throw and not status.ok:
        detail = (
            f"The residual is {solved.residual:.2g} after {solved.iterations} iterations and the "
            f"error about {error:.2g} of a drift of {np.linalg.norm(drift):.2g}; raise "
            "`max_iterations`, change `step`, or make products in double precision."
        )
        raise ComputationError(status, detail)
    return AnharmonicDrift(
        drift=drift,
        mean=place + drift,
        third=third,
        residual=solved.residual,
        error_estimate=error,
        iterations=solved.iterations,
        status=status,
        provenance=provenance(hessian_product, place, columns, decay, width),
    )


def _columns(covariance: ArrayLike | None, factor: ArrayLike | None, d: int) -> FloatArray:
    # Columns of a factor of Sigma, zero ones left out.
    if (covariance is None) == (factor is None):
        both = "neither" if factor is None else "both"
        msg = f"exactly one of `covariance` and `factor` must be given, got {both}"
        raise InputError(msg)
    if factor is not None:
        columns = finite_array("factor", factor, shape=(d, None))
    else:
        values, vectors = np.linalg.eigh(positive_semidefinite("covariance", covariance, size=d))
        columns = vectors * np.sqrt(np.maximum(values, 0.0))
    if np.abs(columns).max(initial=0.0) >= _LARGEST:
        msg = f"standard deviations must be below {_LARGEST:g}; rescale weights"
        raise OutOfRangeError(msg)
    lengths = np.linalg.norm(columns, axis=0)
    kept = lengths > _EPS * lengths.max(initial=0.0)
    return np.asarray(columns[:, kept], dtype=np.float64)


def _checked(name: str, value: object, d: int) -> FloatArray:
    array = np.asarray(value)
    if array.shape != (d,) or array.dtype.kind not in "iuf":
        msg = f"`{name}` must return real numbers of shape ({d},), got {array.dtype} {array.shape}"
        raise ShapeError(msg)
    found = np.asarray(array, dtype=np.float64)
    if not (np.abs(found) < _LARGEST).all():
        msg = (
            f"`{name}` must return finite numbers below {_LARGEST:g}, got {np.abs(found).max():g}; "
            "is the loss smooth here?"
        )
        raise NotFiniteError(msg)
    return found


def _probe(hessian_product: Product, place: FloatArray) -> float:
    # Products see an asymmetric Hessian, or one that changes from call to call; their precision.
    rng, d = np.random.default_rng(0), len(place)
    u, v = rng.standard_normal(d), rng.standard_normal(d)
    given = [hessian_product(place.copy(), x) for x in (u.copy(), v.copy(), u + np.pi * v)]
    left, right, mixed = (_checked("hessian_product", product, d) for product in given)
    gap = abs(float(v @ left - u @ right))
    scale = float(np.linalg.norm(left) * np.linalg.norm(v))
    scale += float(np.linalg.norm(right) * np.linalg.norm(u))
    if gap > _ASYMMETRY * scale:
        msg = (
            "`hessian_product` must be that of a symmetric matrix: v.(H u) and u.(H v) are "
            f"{v @ left:.6g} and {u @ right:.6g}; is there dropout or another random part?"
        )
        raise NotSymmetricError(msg)
    kind = np.asarray(given[0]).dtype
    stated = float(np.finfo(kind).eps) if kind.kind == "f" else _EPS
    bent = float(np.linalg.norm(mixed - left - np.pi * right))
    size = float(np.linalg.norm(left) + np.linalg.norm(right))
    return max(_EPS, stated, 2.0 * bent / size if size > 0.0 else 0.0)


def _differences(
    hessian_product: Product,
    place: FloatArray,
    columns: FloatArray,
    step: float,
    progress: Callable[[int, int], None] | None,
) -> tuple[FloatArray, FloatArray, float]:
    # The contraction, an estimate of what the differences left out, and what rounding acts on.
    d, r = columns.shape
    third, left_out, rounding = np.zeros(d), np.zeros(d), 0.0
    for i in range(r):
        variance = float(columns[:, i] @ columns[:, i])
        unit = columns[:, i] / np.sqrt(variance)

        def ahead(x: float, unit: FloatArray = unit) -> FloatArray:
            product = hessian_product(place + x * unit, unit.copy())
            return _checked("hessian_product", product, d)

        near, far = ahead(step), ahead(2.0 * step)
        narrow = (near - ahead(-step)) / (2.0 * step)
        wide = (far - ahead(-2.0 * step)) / (4.0 * step)
        third += variance * (4.0 * narrow - wide) / 3.0
        # That of the narrow difference: more than that of the combination.
        left_out += variance * (narrow - wide) / 3.0
        rounding += (variance * float(np.linalg.norm(near)) / step) ** 2
        if progress is not None:
            progress(i + 1, r)
    return third, left_out, 2.0 * float(np.sqrt(rounding))


def _exact(
    third_product: Product,
    place: FloatArray,
    columns: FloatArray,
    progress: Callable[[int, int], None] | None,
) -> tuple[FloatArray, FloatArray, float]:
    d, r = columns.shape
    third, size = np.zeros(d), 0.0
    for i in range(r):
        term = _checked("third_product", third_product(place.copy(), columns[:, i].copy()), d)
        third += term
        size += float(np.linalg.norm(term))
        if progress is not None:
            progress(i + 1, r)
    return third, np.zeros(d), 4.0 * size


class _Solved(NamedTuple):
    """A solution by conjugate gradients, and the ends of the spectrum that they saw."""

    solution: FloatArray
    residual: float
    lowest: float
    highest: float
    iterations: int


def _conjugate_gradients(
    curvature: Callable[[FloatArray], FloatArray], goal: FloatArray, rtol: float, most: int
) -> _Solved:
    size = float(np.linalg.norm(goal))
    x, r = np.zeros_like(goal), goal.copy()
    p, squared = r.copy(), float(r @ r)
    steps: list[float] = []
    turns: list[float] = []
    while size > 0.0 and len(steps) < most and np.sqrt(squared) > rtol * size:
        q = curvature(p)
        bend = float(p @ q)
        if bend <= 0.0:
            msg = (
                f"the Hessian has curvature {bend / float(p @ p):.3g} along a direction of the "
                "drift: there is no minimum here; train further or raise the weight decay"
            )
            raise IndefiniteError(msg)
        steps.append(squared / bend)
        x += steps[-1] * p
        r -= steps[-1] * q
        before, squared = squared, float(r @ r)
        turns.append(squared / before)
        p = r + turns[-1] * p
    if not steps:
        return _Solved(x, 0.0, 1.0, 1.0, 0)
    # Conjugate gradients are Lanczos's iteration: its tridiagonal matrix knows the spectrum.
    a, b = np.array(steps), np.array(turns[:-1])
    main = 1.0 / a
    main[1:] += b / a[:-1]
    ritz = eigvalsh_tridiagonal(main, np.sqrt(b) / a[:-1])
    true = float(np.linalg.norm(goal - curvature(x))) / size
    return _Solved(x, true, float(ritz[0]), float(ritz[-1]), len(steps))
