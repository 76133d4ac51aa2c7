r"""Pieces of escape rates on a line: the exact rate of the flow, and factors of formulas.

With :math:`\varphi' = 2 B (1 - \mu) L' / (\eta C)` and :math:`D = \eta^2 C / [2 B (1 - \mu)^2]` the
mean time of the overdamped flow from the minimum to the far side is

.. math::
    \int_{w_0}^{b} dy\, e^{\varphi(y)} \int_{a}^{y} dz\, \frac{e^{-\varphi(z)}}{D(z)} ,

``a`` the closed end of the well, and with respect to :math:`e^{-\varphi}/D` Laplace's method gives
Kramers' rate.  Integrals are composite Gauss rules with the integrals to inner points.

Not here: what users call, :mod:`fracsde.physics.escape`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from fracsde.errors import OutOfRangeError, UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.physics.passage import mean_first_passage_time
from fracsde.problems.densities import PointMass
from fracsde.problems.fokker_planck import FokkerPlanck

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.problems.barrier import SGDOverBarrier

__all__ = [
    "Way",
    "finite_rate",
    "growth_at_saddle",
    "log_cells",
    "log_depopulation",
    "log_kramers",
    "log_momentum",
    "second_order",
    "size_of_second",
]

_PANELS, _POINTS = 400, 10  # of the quadrature
_HIGHEST = 1e6  # temperatures; the top is then a thousandth of the way wide
_DEEP = 40.0  # temperatures above the minimum beyond which nothing gets


class Way:
    """The way from the closed end of a well over its barrier, on the panels of a quadrature.

    Parameters
    ----------
    sgd : SGDOverBarrier
        The problem; ``height`` is that of its barrier in temperatures, ``log_rate`` the logarithm
        of the inverse of the mean passage time of its flow.
    """

    def __init__(self, sgd: SGDOverBarrier) -> None:
        self.sgd = sgd
        self.edge = _closed_end(sgd)
        x, weights = np.polynomial.legendre.leggauss(_POINTS)
        # Integrals from a panel's start to each of its points, and to its end.
        powers = np.polynomial.legendre.legvander(x, _POINTS - 1)
        inner = np.array([_primitive(x, k) for k in range(_POINTS)]).T @ np.linalg.inv(powers)
        beyond = sgd.far_side
        edges = np.linspace(self.edge, beyond, _PANELS + 1)
        half = 0.5 * (edges[1] - edges[0])
        points = edges[:-1, None] + half * (1.0 + x)
        noise, rate = sgd.noise_at(points), sgd.learning_rate / (1.0 - sgd.momentum)
        steepest = float(np.abs(sgd.gradient_at(points)).max()) * abs(beyond - self.edge)
        low = 0.5 * rate * float(noise.min())
        if not (rate**2 > 0.0 and steepest < 1e300 * low):
            _refuse_height(np.inf)
        # phi is the integral of drift / D, with D = rate^2 C / (2 B).
        slope = 2.0 * sgd.gradient_at(points) / (rate * noise)
        steps = half * (slope @ weights)
        before = np.append(0.0, np.cumsum(steps)[:-1])
        phi = before[:, None] + half * (slope @ inner.T)
        ahead = (points - sgd.minimum) / (beyond - sgd.minimum) >= 0.0
        behind = (points - sgd.saddle) / (beyond - sgd.saddle) <= 0.0
        low, high = float(phi[behind].min()), float(phi[ahead].max())
        if not high - low < _HIGHEST:
            _refuse_height(high - low)
        # Where the far side is deeper than the well by hundreds of temperatures, time is short.
        density = np.exp(np.minimum(low - phi, 600.0)) / (0.5 * rate**2 * noise)
        hill = np.exp(np.where(ahead, phi - high, -np.inf))
        mass = abs(half) * (density @ weights)
        inside = np.append(0.0, np.cumsum(mass)[:-1])[:, None] + abs(half) * (density @ inner.T)
        integral = abs(half) * float(np.sum((hill * inside) @ weights))
        self.log_rate = low - high - float(np.log(integral))
        self.height = _height(sgd)


def _refuse_height(height: float) -> NoReturn:
    msg = (
        f"the barrier must be lower than {_HIGHEST:g} temperatures, got {height:.3g}: nothing "
        "escapes, and its top is too narrow to be integrated; look for a wrong unit"
    )
    raise OutOfRangeError(msg)


def _primitive(x: FloatArray, k: int) -> FloatArray:
    # Of Legendre's polynomials, from -1.
    coefficients = np.polynomial.legendre.legint([0.0] * k + [1.0], lbnd=-1)
    return np.asarray(np.polynomial.legendre.legval(x, coefficients))


def _height(sgd: SGDOverBarrier) -> float:
    # Of the barrier in temperatures.
    x, weights = np.polynomial.legendre.leggauss(_POINTS)
    edges = np.linspace(sgd.minimum, sgd.saddle, 41)
    half = 0.5 * (edges[1] - edges[0])
    w = edges[:-1, None] + half * (1.0 + x)
    slope = 2.0 * (1.0 - sgd.momentum) * sgd.gradient_at(w) / sgd.noise_at(w)
    return float(half / sgd.learning_rate * np.sum(slope @ weights))


def _closed_end(sgd: SGDOverBarrier) -> float:
    # On the side without the barrier: far above the minimum, or where the loss stops rising.
    back = -1.0 if sgd.saddle > sgd.minimum else 1.0
    way = sgd.minimum + back * abs(sgd.saddle - sgd.minimum) * np.linspace(0.0, 10.0, 20001)
    rise = sgd.climb(way)
    high = rise >= _DEEP
    last = int(np.argmax(high | np.append(np.diff(rise) <= 0.0, True)))
    over = float(sgd.climb(np.linspace(sgd.minimum, sgd.saddle, 20001))[-1])
    if not high[last] and rise[last] < over + 5.0:
        msg = (
            "the well is not closed on the other side: the loss stops rising, or is looked at no "
            f"further, at w = {way[last]:g}, {rise[last]:.3g} temperatures above the minimum, "
            f"where the barrier has {over:.3g}"
        )
        raise UnsupportedError(msg)
    return float(way[last])


def log_kramers(sgd: SGDOverBarrier, way: Way) -> float:
    """Return the logarithm of Kramers' rate of the overdamped flow.

    Parameters
    ----------
    sgd : SGDOverBarrier
        Its noise may depend on the place.
    way : Way
        Its way.

    Returns
    -------
    float
    """
    bottom, top = sgd.curvatures
    here, there = (float(sgd.noise_at(w)) for w in (sgd.minimum, sgd.saddle))
    rate = sgd.learning_rate / (1.0 - sgd.momentum)
    factor = rate * np.sqrt(-bottom * top * here / there) / (2.0 * np.pi)
    return float(np.log(factor)) - way.height


def growth_at_saddle(steepness: float, momentum: float) -> float:
    """Return the rate per step at which a deviation from a saddle grows.

    Parameters
    ----------
    steepness : float [1]
        ``eta |h|`` along it.
    momentum : float [1]
        ``mu``.

    Returns
    -------
    float
    """
    # Rate per step at which a deviation from a saddle grows; `steepness` is eta |h|.
    if momentum == 0.0:
        return steepness
    # z - 1 of z^2 - (1 + mu + x) z + mu = 0, without the subtraction.
    b = 1.0 - momentum - steepness
    root = np.sqrt(b * b + 4.0 * steepness)
    away = 2.0 * steepness / (root + b) if b > 0.0 else 0.5 * (root - b)
    return float(np.log1p(away))


def log_momentum(sgd: SGDOverBarrier) -> float:
    """Return the logarithm of the growth at the saddle over that of the overdamped flow.

    Parameters
    ----------
    sgd : SGDOverBarrier
        The problem.

    Returns
    -------
    float
    """
    steepness = -sgd.learning_rate * sgd.curvatures[1]
    return float(
        np.log(growth_at_saddle(steepness, sgd.momentum) * (1.0 - sgd.momentum) / steepness)
    )


def log_depopulation(sgd: SGDOverBarrier) -> float:
    """Return the logarithm of the share that is left of a rate at low friction.

    From the energy lost on one round below the barrier [MelnikovMeshkov1986]_.

    Parameters
    ----------
    sgd : SGDOverBarrier
        With momentum.

    Returns
    -------
    float
    """
    top = float(sgd.loss_at(sgd.saddle))
    back = -1.0 if sgd.saddle > sgd.minimum else 1.0
    way = sgd.minimum + back * abs(sgd.saddle - sgd.minimum) * np.linspace(0.0, 10.0, 20001)
    outer = float(way[int(np.argmax(sgd.loss_at(way) >= top))])
    # Square roots vanish at both ends: Chebyshev's nodes.
    angle = (np.arange(4000) + 0.5) * np.pi / 4000
    w = 0.5 * (outer + sgd.saddle) + 0.5 * (outer - sgd.saddle) * np.cos(angle)
    energy = np.maximum(top - sgd.loss_at(w), 0.0)
    width = 0.5 * abs(outer - sgd.saddle) * np.pi / 4000 * np.sin(angle)
    round_trip = 2.0 * float(np.sqrt(2.0 * sgd.learning_rate * energy) @ width)
    delta = (1.0 - sgd.momentum) * round_trip / (sgd.learning_rate * sgd.temperature)
    # x = tan(t) / 2 makes dx / (x^2 + 1/4) = 2 dt; even in t.
    t = (np.arange(20000) + 0.5) * (0.5 * np.pi) / 20000
    spent = delta * 0.25 / np.cos(t) ** 2
    return float(np.sum(np.log(-np.expm1(-spent))) / 20000)


def finite_rate(sgd: SGDOverBarrier) -> float:
    """Return the relative change of a rate that the finite learning rate makes.

    Known without momentum and for constant noise, else an estimate of its size.

    Parameters
    ----------
    sgd : SGDOverBarrier
        The problem.

    Returns
    -------
    float
    """
    bottom, top = (sgd.learning_rate * curvature for curvature in sgd.curvatures)
    if sgd.momentum > 0.0 or callable(sgd.noise):
        return max(bottom, -top)  # an estimate of the size alone
    # The integral in the exponent by parts: of -2 L' L''^2, from the minimum to the saddle.
    work = _along_way(sgd, lambda slope, bend: slope * bend**2)
    tilt = sgd.learning_rate**2 * work / (6.0 * sgd.temperature)
    return float((1.0 + 0.25 * (bottom + top)) * np.exp(tilt) - 1.0)


def second_order(sgd: SGDOverBarrier) -> float:
    r"""Return the size of what the second order of the learning rate changes of a rate.

    The logarithm of the rate of the steps over that of :func:`finite_rate` is

    .. math::
        \frac{5 \eta^2}{48} \bigl(L''(w_0)^2 + L''(w_s)^2\bigr) + \frac{\eta^3}{12\, T}
        \int_{w_0}^{w_s} L' L''^3\, dw + \frac{\eta^2}{32} \bigl(L''(w_0) - |L''(w_s)|\bigr)^2

    without momentum and for constant noise; elsewhere the exponent is left out.

    Parameters
    ----------
    sgd : SGDOverBarrier
        Without momentum.

    Returns
    -------
    float
    """
    scaled = sgd.learning_rate * np.array(sgd.curvatures)
    exponent = 0.0
    if not callable(sgd.noise):
        work = _along_way(sgd, lambda slope, bend: slope * bend**3)
        exponent = sgd.learning_rate**3 * work / (12.0 * sgd.temperature)
    return size_of_second(scaled, 0.25 * float(scaled.sum()), exponent)


def size_of_second(scaled: FloatArray, first: float, exponent: float = 0.0) -> float:
    """Return the size of the second order from the ends of a way.

    Parameters
    ----------
    scaled : (n,) float64 [1]
        Learning rate times the curvatures at the minimum and at the saddle.
    first : float [1]
        The first order.
    exponent : float [1]
        What the way between them adds.

    Returns
    -------
    float
        Infinite where steps overshoot the well.
    """
    steep = float(np.abs(scaled).max())
    if steep >= 2.0:
        return float("inf")
    size = abs(5.0 / 48.0 * float(scaled @ scaled) + 0.5 * first**2 + exponent)
    # Higher orders grow without bound towards 2: the cube is seen, not derived, to hold them.
    return size / (1.0 - 0.5 * steep) ** 3


def _along_way(
    sgd: SGDOverBarrier, integrand: Callable[[FloatArray, FloatArray], FloatArray]
) -> float:
    # The integral of a function of slope and curvature from the minimum to the saddle.
    x, weights = np.polynomial.legendre.leggauss(100)
    half = 0.5 * (sgd.saddle - sgd.minimum)
    w = sgd.minimum + half * (1.0 + x)
    return half * float(integrand(sgd.gradient_at(w), sgd.curvature_at(w)) @ weights)


def log_cells(sgd: SGDOverBarrier, way: Way) -> float:
    """Return the logarithm of the rate of the flow on cells.

    Parameters
    ----------
    sgd : SGDOverBarrier
        Without momentum.
    way : Way
        Its way.

    Returns
    -------
    float

    Raises
    ------
    UnsupportedError
        If the barrier is too high for passage times in double precision.
    """
    if way.height > 600.0:
        msg = (
            f"a barrier of {way.height:.4g} temperatures is too high for passage times in double "
            "precision; method='quadrature' has their logarithm"
        )
        raise UnsupportedError(msg)
    eta = sgd.learning_rate
    low, high = sorted((way.edge, sgd.far_side))
    right = sgd.saddle > sgd.minimum
    problem = FokkerPlanck(
        potential=lambda w: 0.5 * eta**2 * sgd.noise_at(w),
        force=lambda w: -eta * sgd.gradient_at(w),
        diffusion=lambda w: 0.5 * eta**2 * sgd.noise_at(w),
        domain=(low, high),
        boundary=("reflecting", "absorbing") if right else ("absorbing", "reflecting"),
        initial=PointMass(at=sgd.minimum),
    )
    times = mean_first_passage_time(problem, space=FiniteVolume(cells=4096))
    return -float(np.log(times.average()))
