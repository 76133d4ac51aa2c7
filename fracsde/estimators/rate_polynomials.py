r"""A polynomial in the learning rate through mean squares of gradients, with its errors.

.. math::
    y_k = z_k + \sum_p c_p\, \epsilon_k^p + \text{error}, \qquad
    \hat c = S\, (y - z), \qquad S = (X^T W X)^{-1} X^T W, \qquad
    \operatorname{Cov} \hat c = S\, W^{-1} S^T .

Errors of mean squares grow with them, so that weights from the errors alone would favour values
that came out small: a variance is the relative one times the square of the fitted value, found in a
few rounds.  A function of the coefficients has Satterthwaite's degrees of freedom, from the number
of chains or blocks behind each value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from fracsde._check import positive_semidefinite, symmetric
from fracsde.errors import InputError, ShapeError
from fracsde.records.measurement import Measurement, Quantity

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = [
    "Fit",
    "MeanSquare",
    "Points",
    "bends_of",
    "enough",
    "higher_orders",
    "modes_of",
    "polynomial",
    "straight_to",
]

_ROUNDS = 3  # of weights from fitted values


@dataclass(frozen=True, kw_only=True)
class MeanSquare:
    """A mean square of one run, its variance, and how many chains or blocks these come from."""

    value: float
    variance: float
    count: float
    stationary: bool


@dataclass(frozen=True, kw_only=True)
class Points:
    """Mean squares at increasing rates, what is known of them, and the powers that are fitted."""

    rates: FloatArray
    powers: IntArray
    known: FloatArray  # is added to the polynomial
    squares: tuple[MeanSquare, ...]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Coefficients, their covariance, and the part of it that each run gives."""

    coefficients: FloatArray
    shares: FloatArray  # (coefficient, rate): derivatives by the values
    variances: FloatArray  # of the values
    counts: FloatArray
    fitted: FloatArray
    misfit: float

    def measured(self, gradient: FloatArray, value: float, name: str, unit: str) -> Measurement:
        """Return a function of the coefficients, of the gradient given.

        Returns
        -------
        Measurement
        """
        parts = (gradient @ self.shares) ** 2 * self.variances
        total = float(parts.sum())
        degrees = total**2 / float(np.sum(parts**2 / (self.counts - 1.0)))
        return Measurement(
            quantity=Quantity(name=name, unit=unit),
            value=np.array(value),
            stderr=np.array(np.sqrt(total)),
            n_effective=np.array(1.0 + degrees),
            method=f"polynomial through mean squares of gradients at {len(self.counts)} rates",
        )


def polynomial(points: Points) -> Fit:
    """Fit a polynomial of the powers given.

    Returns
    -------
    Fit
    """
    # Columns scaled to the largest rate, so that the normal equations keep their digits.
    top = points.rates[-1]
    x = (points.rates[:, None] / top) ** points.powers
    y = np.array([square.value for square in points.squares])
    raw = np.array([square.variance for square in points.squares])
    counts = np.array([square.count for square in points.squares])
    variances, fitted = raw, y
    for _ in range(_ROUNDS):
        weights = 1.0 / np.sqrt(variances)
        shares = np.linalg.pinv(x * weights[:, None]) * weights
        fitted = points.known + x @ (shares @ (y - points.known))
        variances = raw * np.maximum(fitted / y, 0.1) ** 2
    shares = shares / top ** points.powers[:, None]
    left = len(y) - len(points.powers)
    square = float(np.sum((y - fitted) ** 2 / variances))
    return Fit(
        coefficients=shares @ (y - points.known),
        shares=shares,
        variances=variances,
        counts=counts,
        fitted=fitted,
        misfit=float(stats.f.sf(square / left, left, counts.min() - 1.0)),
    )


def straight_to(points: Points, level: float) -> float:
    """Return the largest rate up to which a straight line fits, NaN if there is none.

    Returns
    -------
    float
    """
    powers = points.powers[points.powers <= 1]
    reached = np.nan
    for count in range(len(powers) + 1, len(points.rates) + 1):
        part = Points(
            rates=points.rates[:count],
            powers=powers,
            known=np.zeros(count),
            squares=points.squares[:count],
        )
        if polynomial(part).misfit < level:
            break
        reached = float(points.rates[count - 1])
    return reached


def modes_of(hessian: Any, gradient_noise: Any) -> tuple[FloatArray, FloatArray] | None:
    """Return the curvatures of a quadratic loss and the noise along each, None if not given.

    Returns
    -------
    curvatures, noise : (P,) ndarray of float64, or None

    Raises
    ------
    InputError
        If only one matrix is given, or one is not what it must be: the curvature of a minimum.
    ShapeError
        If they do not have one shape.
    """
    if hessian is None and gradient_noise is None:
        return None
    if hessian is None or gradient_noise is None:
        msg = "the bend of a quadratic loss needs both `hessian` and `gradient_noise`; pass both"
        raise InputError(msg)
    H = symmetric("hessian", hessian)
    C = positive_semidefinite("gradient_noise", gradient_noise)
    if H.shape != C.shape:
        msg = f"`hessian` and `gradient_noise` must have one shape, got {H.shape} and {C.shape}"
        raise ShapeError(msg)
    h, U = np.linalg.eigh(H)
    if h[0] < -1e-9 * h[-1]:
        msg = (
            f"`hessian` must not curve downwards, and has the eigenvalue {h[0]:g}: there no "
            "quadratic loss is stationary; add the weight decay, or take it at a minimum"
        )
        raise InputError(msg)
    return h, np.einsum("ji,jk,ki->i", U, C, U)


def bends_of(mu: float, *, nesterov: bool) -> float:
    """Return ``4 b / Tr(H^2 C)``, how much a quadratic loss bends.

    Parameters
    ----------
    mu : float [1]
        Momentum.
    nesterov : bool
        Whether it is Nesterov's.

    Returns
    -------
    float
        Of Nesterov's momentum negative above about 0.6.
    """
    if nesterov:
        return (1.0 + mu - 2.0 * mu**2 - 4.0 * mu**3) / (1.0 + mu)
    return (1.0 - mu) / (1.0 + mu)


def higher_orders(
    h: FloatArray, noise: FloatArray, rates: FloatArray, mu: float, *, nesterov: bool
) -> FloatArray:
    """Return the mean square of the gradient of a quadratic loss, less its first order.

    Parameters
    ----------
    h, noise : (P,) float64
        Curvatures, and the noise along each.
    rates : (rate,) float64
        Effective rates ``eta (1 - tau) / (1 - mu)``.
    mu : float [1]
        Momentum.
    nesterov : bool
        Whether it is Nesterov's.

    Returns
    -------
    (rate,) ndarray of float64

    Raises
    ------
    InputError
        If the loss is unstable at a rate.
    """
    # The mean square of a mode is r c x / 2 with x = e h, the share r - 1 above its first order.
    x = rates[:, None] * h
    k = (1.0 - mu) * x
    left = 2.0 * (1.0 + mu) - (1.0 + 2.0 * mu if nesterov else 1.0) * k
    if np.any(left <= 0.0):
        at = int(np.argmax((left <= 0.0).any(axis=1)))
        msg = (
            f"a quadratic loss with the largest curvature {h.max():g} is unstable at the effective "
            f"rate {rates[at]:g}; leave out that run, or give the `hessian` without it"
        )
        raise InputError(msg)
    if not nesterov:
        return np.asarray((0.5 * noise * x * k / left).sum(axis=1))
    above = (1.0 - mu) * (1.0 + mu - 2.0 * mu**2 - 4.0 * mu**3) + mu**2 * (1.0 + 2.0 * mu) * k**2
    above += 2.0 * mu * (1.0 + mu - 2.0 * mu**2 - 2.0 * mu**3) * k
    return np.asarray((0.5 * noise * x * k * above / (left * (1.0 - mu + mu * k) ** 2)).sum(axis=1))


def enough(rates: FloatArray, needed: int) -> None:
    """Refuse equal rates, and fewer than a polynomial and the test of its fit need.

    Parameters
    ----------
    rates : (rate,) float64
        Increasing.
    needed : int
        How many.

    Raises
    ------
    InputError
        If they are.
    """
    same = rates[1:][np.diff(rates) <= 1e-12 * rates[1:]]
    if len(same):
        msg = (
            f"two runs have the same effective rate, {same[0]:g}; join them as chains of one "
            "run, or say which rates they had by `learning_rates`"
        )
        raise InputError(msg)
    if len(rates) < needed:
        msg = (
            f"the polynomial and the test of its fit need at least {needed} rates, got "
            f"{len(rates)}; run SGD at more of them, from a tenth to a third of the critical one"
        )
        raise InputError(msg)
