r"""Tables of product-integration collocation: nodes, fractional integrals, exponential moments.

A function known at the right Radau nodes :math:`0 < c_1 < \dots < c_m = 1` of an interval of
length ``h`` is replaced by its interpolating polynomial, of which the two integrals that a
Volterra equation needs are exact:

.. math::
    \frac{1}{\Gamma(\alpha)} \int_0^{\theta} (\theta - v)^{\alpha - 1} \ell_j(v)\, dv
    = b_j(\theta), \qquad
    \int_0^1 e^{-z (1 - v)}\, \ell_j(v)\, dv = \beta_j(z) ,

with the Lagrange polynomials :math:`\ell_j` of the nodes.  The first is the part of the interval
itself, :math:`h^\alpha \sum_j b_j(\theta) g_j`, and ``B[i, j]`` is :math:`b_j(c_i)`; the second
carries an interval into the states of a sum of exponentials,
:math:`\psi \leftarrow e^{-s h} \psi + h \sum_j \beta_j(s h)\, g_j`.

Gauss-Jacobi quadrature with ``m`` points is exact for the first; for the second Gauss-Legendre
quadrature serves where the exponential is slow, and where it is fast the integral to infinity, of
which Gauss-Laguerre quadrature is exact, differs by less than rounding.
``tests/schemes/test_collocation_tables.py`` compares all with high precision.

Not here: what is collocated, and the sums of exponentials (:mod:`fracsde.special.exponentials`).

References: [HairerWanner1996]_ for Radau nodes, [Brunner2004]_ for collocation of Volterra
equations.
"""

from __future__ import annotations

from functools import lru_cache
from math import gamma
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import roots_jacobi, roots_laguerre, roots_legendre

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["exponential_moments", "fractional_integrals", "lagrange", "radau_nodes"]

_FAST = 42.0  # decay per interval from which on the far end is below rounding
_LEGENDRE = 48  # points: exp(-42 x) on (0, 1) times a polynomial of degree 30, to rounding


@lru_cache(maxsize=32)
def radau_nodes(count: int) -> FloatArray:
    """Return the right Radau nodes of the unit interval.

    Parameters
    ----------
    count : int
        How many, at least 1.

    Returns
    -------
    (count,) ndarray of float64
        Increasing, the last is 1; read-only.

    Examples
    --------
    >>> radau_nodes(2)
    array([0.33333333, 1.        ])
    """
    inner = roots_jacobi(count - 1, 1.0, 0.0)[0] if count > 1 else np.empty(0)
    nodes = np.append(0.5 * (1.0 + inner), 1.0)
    nodes.flags.writeable = False
    return nodes


def lagrange(nodes: FloatArray, where: FloatArray) -> FloatArray:
    """Return the Lagrange polynomials of some nodes at some points.

    Parameters
    ----------
    nodes : (m,) float64 [1]
        Distinct.
    where : (p,) float64 [1]
        Points.

    Returns
    -------
    (p, m) ndarray of float64

    Examples
    --------
    >>> lagrange(np.array([0.0, 1.0]), np.array([0.25]))
    array([[0.75, 0.25]])
    """
    apart = nodes[:, None] - nodes[None, :]
    np.fill_diagonal(apart, 1.0)
    weights = 1.0 / apart.prod(axis=1)
    gaps = where[:, None] - nodes[None, :]
    hit = gaps == 0.0
    terms = weights / np.where(hit, 1.0, gaps)
    table = terms / terms.sum(axis=1, keepdims=True)
    return np.asarray(np.where(hit.any(axis=1, keepdims=True), hit.astype(np.float64), table))


def fractional_integrals(nodes: FloatArray, where: FloatArray, *, alpha: float) -> FloatArray:
    """Return the fractional integrals of the Lagrange polynomials from 0.

    Parameters
    ----------
    nodes : (m,) float64 [1]
        Distinct.
    where : (p,) float64 [1]
        Upper ends, not negative.
    alpha : float [1]
        Order of the integral, positive.

    Returns
    -------
    (p, m) ndarray of float64
        ``b[i, j]`` of the ``j``-th polynomial to ``where[i]``; with the nodes for ``where``, the
        square matrix ``B``.

    Examples
    --------
    >>> fractional_integrals(radau_nodes(2), radau_nodes(2), alpha=1.0)
    array([[ 0.41666667, -0.08333333],
           [ 0.75      ,  0.25      ]])
    """
    points, weights = roots_jacobi(len(nodes), alpha - 1.0, 0.0)
    inside = where[:, None] * (0.5 * (1.0 + points))
    values = lagrange(nodes, inside.reshape(-1)).reshape(*inside.shape, len(nodes))
    scale = (0.5 * where) ** alpha / gamma(alpha)
    return np.asarray(scale[:, None] * np.einsum("q,pqm->pm", weights, values))


def exponential_moments(nodes: FloatArray, decay: FloatArray) -> FloatArray:
    r"""Return the moments of the Lagrange polynomials that a decaying memory keeps.

    Parameters
    ----------
    nodes : (m,) float64 [1]
        Distinct, in the unit interval.
    decay : (k,) float64 [1]
        ``z``, rate times length of the interval; not negative.

    Returns
    -------
    (k, m) ndarray of float64
        :math:`\beta_j(z)`.

    Examples
    --------
    Without decay the moments are the weights of Radau quadrature, and a fast one sees the end:

    >>> exponential_moments(radau_nodes(2), np.array([0.0, 1e9])).round(6) + 0.0
    array([[0.75, 0.25],
           [0.  , 0.  ]])
    """
    moments = np.empty((len(decay), len(nodes)))
    slow = decay < _FAST
    points, weights, values = _slow_rule(tuple(nodes))
    # points count back from the end of the interval
    moments[slow] = (np.exp(-decay[slow, None] * points) * weights) @ values
    fast = decay[~slow]
    if len(fast):
        points, weights = _laguerre(len(nodes))
        back = 1.0 - points / fast[:, None]
        values = lagrange(nodes, back.reshape(-1)).reshape(*back.shape, len(nodes))
        moments[~slow] = np.einsum("q,kqm->km", weights, values) / fast[:, None]
    # The weights of quadrature are rounded most where the exponential is largest; what a constant
    # leaves is known, and puts them right.
    gone = np.maximum(decay, 1e-300)
    constant = np.where(decay > 0.0, -np.expm1(-decay) / gone, 1.0)
    return np.asarray(moments * (constant / moments.sum(axis=1))[:, None])


@lru_cache(maxsize=32)
def _laguerre(count: int) -> tuple[FloatArray, FloatArray]:
    points, weights = roots_laguerre(count)
    return points, weights


@lru_cache(maxsize=32)
def _slow_rule(nodes: tuple[float, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    points, weights = roots_legendre(_LEGENDRE)
    back = 0.5 * (1.0 + points)
    return back, 0.5 * weights, lagrange(np.array(nodes), 1.0 - back)
