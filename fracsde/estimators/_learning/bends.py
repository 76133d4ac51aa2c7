r"""What several poles of the zeta function, equal or near, take off a learning coefficient.

Losses have the density :math:`s^{\lambda - 1} (1 - (s / L)^\delta)^{m - 1}`, of which

.. math::
    Z(t) \propto \sum_{j=0}^{m-1} (-1)^j \binom{m-1}{j} \Gamma(\lambda + j \delta)\,
    (t L)^{-\lambda - j \delta}, \qquad
    t\,E_t[L] = -\frac{d \log Z}{d \log t} = \lambda - b_m(x; \delta, \lambda), \qquad
    x = \log t + c ,

``m`` simple poles of the zeta function at distances :math:`\delta`, with residues of alternating
sign, as a monomial has them under a prior that falls away from its singularity.  With the ratio of
the first two terms written :math:`-e^{-\delta x}`, two poles bend by
:math:`b_2 = \delta / (e^{\delta x} - 1)`, whatever :math:`\lambda` is.  As :math:`\delta \to 0`
they merge into one pole of order ``m``, and with ``Y`` of the gamma law of shape :math:`\lambda`

.. math::
    b_m = (m - 1)\,\frac{E[X^{m-2}]}{E[X^{m-1}]}, \qquad X = x - \log Y + \psi(\lambda) ,

:math:`1/x` for :math:`m = 2` and :math:`2 x / (x^2 + \psi'(\lambda))` for :math:`m = 3`.

Not here: how a fit finds them (:mod:`fracsde.estimators._learning.poles`).

References: [Watanabe2009]_ for the poles.
"""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["bending"]


def bending(order: int, x: FloatArray, gap: FloatArray, coefficient: FloatArray) -> FloatArray:
    r"""Return :math:`b_m`, by which poles bend a coefficient; not finite where none can.

    Parameters
    ----------
    order : int
        ``m``, at least 2.
    x : (..., temperature) ndarray of float64 [1]
        Positive.
    gap, coefficient : (...) ndarray of float64 [1]
        Distance of the poles, not negative, and the first of them, positive.

    Returns
    -------
    (..., temperature) ndarray of float64 [1]

    Examples
    --------
    >>> half = np.array([0.5, 0.5])
    >>> x = np.array([[2.0], [2.0]])
    >>> bending(2, x, np.array([0.0, 1.0]), half).round(4).ravel().tolist()
    [0.5, 0.1565]
    >>> bending(3, x, np.array([0.0, 1e-4]), half).round(3).ravel().tolist()
    [0.448, 0.448]
    """
    x, gap, coefficient = np.broadcast_arrays(x, gap[..., None], coefficient[..., None])
    gap, coefficient = gap[..., :1], coefficient[..., :1]
    near = gap[..., 0] > 0.0
    found = np.empty(x.shape)
    with np.errstate(all="ignore"):
        found[near] = _apart(order, x[near], gap[near], coefficient[near])
        found[~near] = _merged(order, x[~near], coefficient[~near])
    return found


def _merged(order: int, x: FloatArray, coefficient: FloatArray) -> FloatArray:
    # Moments of X from its cumulants: the mean x, and those of minus the logarithm of Y.
    cumulants = [(-1.0) ** n * special.polygamma(n - 1, coefficient) for n in range(2, order)]
    moments = [np.ones_like(x), x]
    for n in range(2, order):
        terms = (comb(n - 1, k) * cumulants[k - 1] * moments[n - 1 - k] for k in range(1, n))
        moments.append(x * moments[-1] + sum(terms))
    return np.asarray((order - 1) * moments[order - 2] / moments[order - 1])


def _apart(order: int, x: FloatArray, gap: FloatArray, coefficient: FloatArray) -> FloatArray:
    fall = np.minimum(gap * x, 700.0)
    if order == 2:
        return np.asarray(gap / np.expm1(fall))
    first = special.gammaln(coefficient)
    step = special.gammaln(coefficient + gap) - first
    whole, sloped = np.ones_like(x), np.zeros_like(x)
    for j in range(1, order):
        lift = special.gammaln(coefficient + j * gap) - first - j * step
        term = (-1.0) ** j * comb(order - 1, j) * np.exp(np.minimum(lift - j * fall, 700.0))
        whole, sloped = whole + term, sloped + j * term
    # Nearer to its zero than the power that it tends to, the sum is of no loss.
    return np.where(
        whole >= (1.0 - 1e-9) * (-np.expm1(-fall)) ** (order - 1), -gap * sloped / whole, np.nan
    )
