r"""Parameters of a hyperbola for a window of times, searched and certified.

The mid-point rule on :math:`s = \mu (1 + \sin(iu - \varphi))` errs by truncation at the first
time, by the strip between contour and spectrum, by the strip on the other side at the last time
and by rounding.  Balancing the first three exponents gives [WeidemanTrefethen2007]_'s parameters;
from there the error measured for :math:`e^{-rt}`, over rates and times, is made smallest.

Not here: what the certificate covers, and the public functions
(:mod:`fracsde.special.contours`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

if TYPE_CHECKING:
    import numpy.typing as npt

    from fracsde._typing import FloatArray

    ComplexArray = npt.NDArray[np.complex128]

__all__ = ["certificate", "fewest_predicted", "hyperbola", "unit_contour"]

_MOST = 64  # nodes; beyond it windows are better split
_UNIT = 1.1e-16  # unit round-off
_SAFETY = 1.05
_PEAKS, _FINE = 32, 33  # points of the scan that are looked at again, and how finely
_TRIALS = 160  # evaluations of the measured error in one choice of parameters


@lru_cache(maxsize=256)
def unit_contour(
    rtol: float, ratio: float, half_angle: float
) -> tuple[ComplexArray, ComplexArray, float]:
    """Return nodes, weights and certificate: the fewest for the window (1, ratio), or the best."""
    n, _ = fewest_predicted(rtol, ratio, half_angle)
    found = _chosen(n, ratio, half_angle)
    if found[2] <= rtol:
        while n > 2:
            fewer = _chosen(n - 1, ratio, half_angle)
            if fewer[2] > rtol:
                break
            n, found = n - 1, fewer
        return found
    best, stale = found, 0
    while n < _MOST and stale < 3:
        n += 1
        found = _chosen(n, ratio, half_angle)
        best, stale = (found, 0) if found[2] < best[2] else (best, stale + 1)
        if best[2] <= rtol:
            break
    return best


def fewest_predicted(rtol: float, ratio: float, half_angle: float) -> tuple[int, bool]:
    """Return the nodes whose predicted error is five times too large, and if any are that good.

    That is about what the search for better parameters makes up for.  Where none are, the nodes
    of the smallest predicted error are returned.

    Returns
    -------
    int, bool
    """
    lowest, best = np.inf, 2
    for n in range(2, _MOST + 1):
        predicted = _balanced(n, ratio, half_angle)[3]
        if predicted <= 5.0 * rtol:
            return n, True
        if predicted < lowest:
            lowest, best = predicted, n
    return best, False


@lru_cache(maxsize=4096)
def _balanced(n: int, ratio: float, half_angle: float) -> tuple[float, float, float, float]:
    # Angle, step and height that balance truncation at the first time against both
    # discretisation errors at the last one, rounding included in the choice of the angle.
    full = np.pi - 2.0 * half_angle
    phi = np.linspace(0.25 * full, 0.5 * full, 202)[1:-1]
    lead = 4.0 * phi - full
    reach = np.arccosh(((full - 2.0 * phi) * ratio + lead) / (lead * np.sin(phi)))
    height = np.pi * lead * n / (reach * ratio)
    error = np.exp(-np.pi * (full - 2.0 * phi) * n / reach) + _UNIT * np.exp(
        np.minimum(height * ratio * (1.0 - np.sin(phi)), 100.0)
    )
    k = int(np.argmin(error))
    return float(phi[k]), float(reach[k] / n), float(height[k]), float(error[k])


@lru_cache(maxsize=1024)
def _chosen(n: int, ratio: float, half_angle: float) -> tuple[ComplexArray, ComplexArray, float]:
    # The parameters of smallest measured error near the balanced ones, certified.
    def measured(p: FloatArray) -> float:
        if not 0.1 < p[0] < 0.5 * np.pi - half_angle:
            return 100.0 + abs(float(p[0]))
        nodes, weights = hyperbola(n, float(p[0]), float(np.exp(p[1])), float(np.exp(p[2])))
        return float(np.log(_error(nodes, weights, *_grid(nodes, ratio, 1), half_angle).max()))

    best, lowest = np.zeros(3), np.inf
    for wider in (0.0, 0.2):  # the second start finds the lower valley where windows are short
        phi, step, height, _ = _balanced(n, ratio, half_angle + wider * (half_angle < 1.0))
        start = np.array([phi, np.log(step), np.log(height)])
        simplex = start + np.vstack([np.zeros(3), np.diag([-0.05, -0.05, 0.08])])
        options = {"maxfev": _TRIALS, "initial_simplex": simplex, "xatol": 1e-4, "fatol": 1e-3}
        found = minimize(measured, start, method="Nelder-Mead", options=options)
        if found.fun < lowest:
            best, lowest = found.x, float(found.fun)
    nodes, weights = hyperbola(n, float(best[0]), float(np.exp(best[1])), float(np.exp(best[2])))
    return nodes, weights, certificate(nodes, weights, ratio, half_angle)


def hyperbola(n: int, phi: float, step: float, height: float) -> tuple[ComplexArray, ComplexArray]:
    """Return nodes and weights of the mid-point rule, upper half plane."""
    angle = 1j * step * (np.arange(n) + 0.5) - phi
    return height * (1.0 + np.sin(angle)), step / np.pi * height * np.cos(angle)


def certificate(
    nodes: ComplexArray, weights: ComplexArray, ratio: float, half_angle: float
) -> float:
    """Return the largest error, enlarged by the margin and the rounding of the sum.

    A scan, and round its highest points a second one that is finer than the error's ripples, whose
    periods are the step of the rule in ``log r`` and one over a node's imaginary part in ``t``.

    Returns
    -------
    float [1]
    """
    times, rates = _grid(nodes, ratio, 4)
    height = _error(nodes, weights, times, rates, half_angle)
    row, column = np.unravel_index(np.argsort(height, axis=None)[-_PEAKS:], height.shape)
    fine = np.linspace(-1.0, 1.0, _FINE)
    worst = max(
        float(
            _error(
                nodes,
                weights,
                np.interp(i + fine, np.arange(len(times)), times),
                np.interp(j + fine, np.arange(len(rates)), rates),
                half_angle,
            ).max()
        )
        for i, j in zip(row, column, strict=True)
    )
    distance = np.where(nodes.real > 0, np.abs(nodes), np.abs(nodes.imag))
    rounding = max(
        float((np.abs(weights * np.exp(nodes * t)) / distance).sum()) for t in (1.0, ratio)
    )
    return _SAFETY * worst + _UNIT * rounding


def _grid(nodes: ComplexArray, ratio: float, density: int) -> tuple[FloatArray, FloatArray]:
    # Times of the window, denser at its end, where ripples are highest and shortest, and rates.
    if ratio == 1.0:
        times = np.ones(1)
    else:
        tail = np.linspace(max(0.85 * ratio, 0.15 + 0.85 * ratio), ratio, 8 * density)
        times = np.unique(np.concatenate([np.geomspace(1.0, ratio, 20 * density), tail]))
    rates = np.geomspace(1e-3 / ratio, 30.0 * np.abs(nodes[-1]), 200 * density)
    return times, np.concatenate([[0.0], rates])


def _error(
    nodes: ComplexArray,
    weights: ComplexArray,
    times: FloatArray,
    rates: FloatArray,
    half_angle: float,
) -> FloatArray:
    # Errors for exp(-r t), times by rates, with rates on the edge of the sector: in its interior
    # the error is analytic, so the maximum lies on the edge.
    growth = weights * np.exp(times[:, None] * nodes)
    if half_angle == 0.0:
        poles = 1.0 / (nodes[:, None] + rates)
        ours = growth.real @ poles.real - growth.imag @ poles.imag
        return np.asarray(np.abs(ours - np.exp(-np.outer(times, rates))), dtype=np.float64)
    r = rates * np.exp(1j * half_angle)
    both = 0.5 * (
        growth @ (1.0 / (nodes[:, None] + r)) + growth.conj() @ (1.0 / (nodes.conj()[:, None] + r))
    )
    return np.asarray(np.abs(both - np.exp(-np.outer(times, r))), dtype=np.float64)
