r"""Fits of laws of growth to a curve whose points are correlated.

.. math::
    \chi^2 = R\,(Dy - Df)^T S^{-1} (Dy - Df)

for logarithms ``y`` of a mean curve and differences ``D`` of neighbours, see
:mod:`fracsde.estimators.growth_laws`.  Laws that are linear in the logarithm of the amplitude and
in an exponent have a closed form; the time of saturation is searched.

References: [Rao1967]_ for errors with an estimated covariance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import linalg, optimize, stats

from fracsde.errors import RecordError
from fracsde.estimators.chains import jackknife_error, leave_one_out_means
from fracsde.estimators.relaxation import shrunk_covariance

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["FORMS", "Curve", "fitted"]

FORMS = {
    "power": ("a t^b", ("a", "b")),
    "log_power": ("a (log t)^q", ("a", "q")),
    "saturating": ("a (1 - exp(-t/tau))", ("a", "tau")),
    "linear": ("a t", ("a",)),
    "ballistic": ("a t^2", ("a",)),
}


class Curve:
    """The logarithm of a mean curve, differenced and whitened by the spread of its chains."""

    def __init__(self, times: FloatArray, curves: FloatArray, unit: float) -> None:
        self.times, self.unit, self.chains = times, unit, len(curves)
        mean = curves.mean(axis=0)
        self.values = np.log(mean)
        self.without = np.log(leave_one_out_means(curves))
        # What each chain adds to the logarithm of the mean, to first order.
        pulls = _differences(curves / mean - 1.0)
        if np.any(pulls.std(axis=0) < 1e-14):
            msg = (
                "all chains move alike, so the curve has no error to compare laws by; pass "
                "independent replicas"
            )
            raise RecordError(msg)
        covariance, _ = shrunk_covariance(pulls)
        self.factor = linalg.cholesky(covariance / self.chains, lower=True)

    def whitened(self, logs: FloatArray) -> FloatArray:
        """Return differences of logarithms in units of their errors; rows are curves.

        Returns
        -------
        (..., t) ndarray of float64 [1]
        """
        found = linalg.solve_triangular(self.factor, _differences(logs).T, lower=True).T
        return np.asarray(found, dtype=np.float64)


def _differences(logs: FloatArray) -> FloatArray:
    return np.concatenate([logs[..., :1], np.diff(logs, axis=-1)], axis=-1)


def fitted(name: str, curve: Curve) -> tuple[Any, Any, float, float, float]:
    """Fit one law.

    Returns
    -------
    list of float, list of float, float, float, float
        Parameters, errors, chi squared, p and AIC.
    """
    target, without = curve.whitened(curve.values), curve.whitened(curve.without)
    if name == "saturating":
        values, singles = _saturation(curve, target, without)
        log_a, log_tau = values
        rest = target - curve.whitened(log_a + _saturating(curve.times, np.exp(log_tau)))
        parameters = np.exp(values)
        errors = np.full(2, np.inf) if singles is None else parameters * jackknife_error(singles)
    else:
        design, offset = _line(name, curve)
        solve = np.linalg.pinv(design)
        values = solve @ (target - offset)
        rest = target - offset - design @ values
        errors = jackknife_error((without - offset) @ solve.T)
        parameters = values.copy()
        parameters[0] = np.exp(values[0])
        errors[0] *= parameters[0]
    chi_squared = float(rest @ rest)
    size = len(FORMS[name][1])
    R, free = curve.chains, len(target) - size
    # The weights fit the chains they came from: the spread along them is too small by the first
    # factor, and they are not the best ones by the second [Rao1967]_.
    inflation = (R - 1.0) / (R - 1 - free) * (R - 2.0) / (R - 2 - free)
    errors = errors * np.sqrt(inflation)
    aic = (R - 1) * float(np.log1p(chi_squared / (R - 1))) + 2.0 * size
    p = _tail(chi_squared, free, R)
    return [float(v) for v in parameters], [float(e) for e in errors], chi_squared, p, aic


def _tail(chi_squared: float, free: int, chains: int) -> float:
    # Hotelling's law for an estimated covariance, where there are chains enough for one.
    last = chains - free
    if last < 2:
        return float(stats.chi2.sf(chi_squared, free))
    return float(stats.f.sf(chi_squared * last / (free * (chains - 1.0)), free, last))


def _line(name: str, curve: Curve) -> tuple[FloatArray, FloatArray]:
    # Laws that are linear in the logarithm of `a` and an exponent: whitened design and offset.
    logs = np.log(curve.times)
    one = np.ones_like(logs)
    columns, known = [one], np.zeros_like(logs)
    if name == "power":
        columns.append(logs)
    elif name == "log_power":
        columns.append(np.log(np.log(curve.times / curve.unit)))
    else:
        known = logs if name == "linear" else 2.0 * logs
    return curve.whitened(np.stack(columns)).T, curve.whitened(known)


def _saturating(times: FloatArray, tau: Any) -> FloatArray:
    return np.asarray(np.log(-np.expm1(-times / tau)), dtype=np.float64)


def _saturation(
    curve: Curve, target: FloatArray, without: FloatArray
) -> tuple[FloatArray, FloatArray | None]:
    # Fit log a and log tau; and again without each chain, by one Gauss-Newton step from there,
    # which is what the jackknife needs: the shift to first order.
    one = curve.whitened(np.ones_like(curve.times))
    low, high = np.log(curve.times[0]) - 3.0, np.log(curve.times[-1]) + 12.0

    def rest(log_tau: float) -> FloatArray:
        gap = target - curve.whitened(_saturating(curve.times, np.exp(log_tau)))
        return np.asarray(gap - one * (one @ gap) / (one @ one))

    def loss(log_tau: float) -> float:
        gap = rest(float(log_tau))
        return float(gap @ gap)

    log_tau = _lowest(loss, low, high)
    shape = curve.whitened(_saturating(curve.times, np.exp(log_tau)))
    log_a = float(one @ (target - shape) / (one @ one))
    step = 1e-4
    ahead = curve.whitened(_saturating(curve.times, np.exp(log_tau + step)))
    behind = curve.whitened(_saturating(curve.times, np.exp(log_tau - step)))
    design = np.stack([one, (ahead - behind) / (2.0 * step)], axis=1)
    values = np.array([log_a, log_tau])
    if not low + 1.0 < log_tau < high - 2.0:  # a straight line or a constant in all but name
        return values, None
    singles = values + (without - shape - one * log_a) @ np.linalg.pinv(design).T
    return values, singles


def _lowest(loss: Callable[[float], float], low: float, high: float) -> float:
    grid = np.linspace(low, high, 60)
    best = int(np.argmin([loss(float(x)) for x in grid]))
    ends = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    found = optimize.minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6})
    return float(found.x)
