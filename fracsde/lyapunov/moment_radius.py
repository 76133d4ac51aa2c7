r"""How fast second moments relax, or grow: the spectral radius of their map.

The covariance of the state of a run on quadratic losses moves by :math:`X' = \mathcal L(X)` plus
what the noise of the minimum adds,

.. math::
    \mathcal L(X) = T X T^T + \tfrac fB\,\eta^2\,G P\,\mathcal V(X_{ww})\,P G^T .

``L`` maps positive matrices to positive ones, so that its spectral radius :math:`\varrho` is an
eigenvalue with a positive eigenmatrix.  With :math:`\mathcal D_s` the denominators of
:mod:`fracsde.problems.second_moments` for the transition :math:`T/\sqrt s`, it is the ``s`` at
which the largest eigenvalue of

.. math::
    \mathcal D_s^{-1/2}\,\tfrac fB\mathcal V\,\mathcal D_s^{-1/2} ,

a symmetric problem, falls through 1; where that is nowhere, it is the square of the mean's radius.

A mode with momentum has the polynomial :math:`z^2 + a z + b`, in units of :math:`\sqrt s`, and its
weight answers to a kick by :math:`(\alpha z + \beta)/(z^2 + a z + b)`.  By Yule's equations of two
modes the heavy ball, :math:`\alpha = 0` and one ``b`` for all modes, has

.. math::
    \eta^2 \mathcal D_{s,ij} = \frac{s}{1 - b^2} \big[(1 - b^2)^2 + b (a_i - a_j)^2
        - (1 - b)^2 a_i a_j\big], \qquad b = \frac\mu s ,

and Nesterov, :math:`\alpha = (1+\mu)/\sqrt s`, :math:`\beta = -\mu/s`,
:math:`b_i = \mu (1 - k_i)/s` and :math:`a_i = -(1 + \mu)(1 - k_i)/\sqrt s`,

.. math::
    \eta^2 \mathcal D_{s,ij} = \frac{(1 - b_i)(1 - b_j)\,[(1 + b_i)(1 + b_j) - a_i a_j]
        + (b_i - b_j)^2}{\alpha^2 (1 - b_i)(1 - b_j) + \beta^2 (1 - b_i b_j)} .

Both are positive for every ``s`` above the square of the mean's radius, where :math:`|b| < 1`; of
Nesterov's that is seen in this form alone.

**Bounds.**  Where the Rayleigh quotient of some matrix is above 1, :math:`\varrho \ge s`.
:math:`\varrho < s` is proved by a positive ``Y`` that :math:`\mathcal D_s - \frac fB\mathcal V`
maps to a positive matrix, as Collatz and Wielandt have it, on the cone of positive matrices: the
solution for the identity, by conjugate gradients.  Both hold up to the rounding of a few products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.optimize import brentq

from fracsde.errors import InputError
from fracsde.lyapunov.conjugate_gradients import conjugate_gradients
from fracsde.lyapunov.rounding import EPS
from fracsde.problems.critical_rate import leading_eigenmatrix
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.second_moments import SecondMoments
    from fracsde.problems.sgd_steps import StepRule

__all__ = ["SpectralRadius", "second_moment_radius"]

# Bounds are tried this far from the value, relative to it.
_GAPS = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4)
_TINY = float(np.finfo(np.float64).tiny)
_LEAST = 1e-75  # a radius whose powers still are numbers


@dataclass(frozen=True, kw_only=True)
class SpectralRadius:
    """Spectral radius of the map of second moments, between bounds.

    Parameters
    ----------
    value : float [1]
        The radius.
    lower, upper : float [1]
        Proved bounds; ``upper`` is infinite where no proof was found.
    mean : float [1]
        Square of the spectral radius of the mean: the radius without the noise's growth.
    """

    citation: ClassVar[tuple[str, ...]] = ("Collatz1942",)

    value: float
    lower: float
    upper: float
    mean: float


def second_moment_radius(problem: Any) -> SpectralRadius:
    """Compute the factor by which second moments shrink or grow in a step, in the long run.

    Parameters
    ----------
    problem : LeastSquaresSGD, GaussianLeastSquaresSGD or QuadraticSGD
        Stable or not.

    Returns
    -------
    SpectralRadius
        Of the directions that examples move; below 1 exactly while second moments are stable.

    Raises
    ------
    InputError
        If the problem is none of these, or no example moves anything.
    UnsupportedError
        If epochs are shuffled.

    References
    ----------
    [Collatz1942]_

    Examples
    --------
    >>> from fracsde.problems.least_squares import LeastSquaresSGD
    >>> sgd = LeastSquaresSGD(inputs=[[1.0], [2.0]], targets=[1.0, 1.0], learning_rate=0.1,
    ...                       batch_size=1)
    >>> round(second_moment_radius(sgd).value, 12)  # ((1 - 0.1)**2 + (1 - 0.4)**2) / 2
    0.585
    """
    if not isinstance(problem, QuadraticLossSGD):
        msg = (
            "`problem` must be a LeastSquaresSGD, a GaussianLeastSquaresSGD or a QuadraticSGD, got "
            f"{type(problem).__name__}; noise that does not depend on the state leaves the radius "
            "to the square of the transition's"
        )
        raise InputError(msg)
    moments, rate = problem.second_moments, problem.learning_rate
    if len(moments.curvatures) == 0:
        msg = "no example moves the weights, so their second moments have no map; give other inputs"
        raise InputError(msg)
    floor = float(_radii(moments, rate).max()) ** 2

    def value(s: float) -> float:
        return leading_eigenmatrix(moments.spread, _scaled(moments, rate, s))[0]

    low = floor * (1.0 + 1e-12) + _LEAST
    if value(low) < 1.0:
        upper = _upper(moments, rate, floor)
        return SpectralRadius(value=floor, lower=floor, upper=upper, mean=floor)
    high = max(2.0 * low, 1.0)
    while value(high) >= 1.0:
        low, high = high, 2.0 * high
    root = float(brentq(lambda s: np.log(value(s)), low, high, xtol=_TINY, rtol=4.0 * EPS))
    lower = next((s for gap in _GAPS if value(s := root * (1.0 - gap)) >= 1.0), floor)
    return SpectralRadius(
        value=root, lower=max(lower, floor), upper=_upper(moments, rate, root), mean=floor
    )


def _radii(moments: SecondMoments, rate: float) -> FloatArray:
    # Spectral radius of each mode's transition.
    rule = moments.rule
    pulls = rate * moments.curvatures
    if not rule.has_velocity:
        return np.asarray(np.abs(1.0 - pulls))
    a, b = _polynomial(rule, pulls)
    root = np.sqrt((a**2 - 4.0 * b).astype(np.complex128))
    return np.asarray(0.5 * np.maximum(np.abs(root - a), np.abs(root + a)))


def _polynomial(rule: StepRule, pulls: FloatArray) -> tuple[FloatArray, FloatArray]:
    # a and b of the polynomial z^2 + a z + b whose roots are the eigenvalues of a mode.
    mu = rule.momentum
    if rule.nesterov:
        return (1.0 + mu) * (pulls - 1.0), mu * (1.0 - pulls)
    return rule.gains[0] * pulls - (1.0 + mu), np.full_like(pulls, mu)


def _scaled(moments: SecondMoments, rate: float, s: float) -> FloatArray:
    # D for the transition T / sqrt(s): 1 / D sums s^-t times the responses after t steps.
    rule = moments.rule
    pulls = rate * moments.curvatures
    if not rule.has_velocity:
        left = 1.0 - pulls
        return np.asarray((s - np.multiply.outer(left, left)) / rate**2)
    # Of each mode, in units of sqrt(s), in a column.
    a, b = (x[:, None] for x in _polynomial(rule, pulls))
    a, b = a / np.sqrt(s), b / s
    if not rule.nesterov:
        lost = (1.0 - b) * (1.0 + b)
        bent = b * (a - a.T) ** 2 - (1.0 - b) ** 2 * a * a.T
        return np.asarray((lost + bent / lost) * s / (rate * rule.gains[0]) ** 2)
    inside = (1.0 - b) * (1.0 - b.T)
    below = inside * ((1.0 + b) * (1.0 + b.T) - a * a.T) + (b - b.T) ** 2
    first, second = (1.0 + rule.momentum) ** 2 / s, (rule.momentum / s) ** 2
    return np.asarray(below / (first * inside + second * (1.0 - b * b.T)) / rate**2)


def _upper(moments: SecondMoments, rate: float, value: float) -> float:
    # The least bound for which a proof is found.
    one = np.eye(len(moments.curvatures))
    for gap in _GAPS:
        s = value * (1.0 + gap) + _LEAST
        D = _scaled(moments, rate, s)
        # The eigenmatrix carries nearly all of the solution; what is left converges fast.
        _, S = leading_eigenmatrix(moments.spread, D)
        stretch = float(np.sum(S * (D * S - moments.spread(S))))
        start = S * (np.trace(S) / stretch) if stretch > 0.0 else None
        status, Y = conjugate_gradients(moments.spread, D, one, start=start)
        left = D * Y - moments.spread(Y)
        if status.ok and np.linalg.eigvalsh(Y)[0] > 0.0 and np.linalg.eigvalsh(left)[0] > 0.0:
            return s
    return float("inf")
