r"""Potentials from formulas, with their forces, and some well-known ones.

.. math::
    V(x_1, \dots, x_d), \qquad \text{force} = -\nabla V .

A ``Potential`` is an :class:`~fracsde.problems.expressions.Expression`: parsed and never run, exact
in its derivatives, equal to another of the same formula.  It goes into
:class:`~fracsde.problems.fokker_planck.FokkerPlanck` as it is.

===================  ======================================================  =======================
function             formula                                                 minima
===================  ======================================================  =======================
``quadratic``        :math:`\tfrac12 (x - m)^T H (x - m)`                    ``m``
``double_well``      :math:`b\,((x/a)^2 - 1)^2 + c\,x`                       :math:`\pm a` (c = 0)
``quartic``          :math:`\tfrac{k}{2} x^2 + \tfrac{q}{4} x^4`             0, or
                                                                             :math:`\pm\sqrt{-k/q}`
``ring``             :math:`b\,((x^2 + y^2)/r^2 - 1)^2`                      the circle of radius r
``mueller_brown``    four Gaussians [MuellerBrown1979]_                      three, see there
``degenerate``       :math:`s\,x^2 y^2 + \tfrac{k}{2} (x^2 + y^2)`           both axes (k = 0)
===================  ======================================================  =======================

``tests/problems/test_potentials.py`` checks the minima.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from fracsde._check import finite_array, real, symmetric
from fracsde.errors import ShapeError, UnsupportedError
from fracsde.problems._expression_parsing import as_fraction
from fracsde.problems.expressions import Expression

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike

__all__ = [
    "Potential",
    "degenerate",
    "double_well",
    "mueller_brown",
    "quadratic",
    "quartic",
    "ring",
]

_AXES = ("x", "y", "z")


class Potential(Expression):
    """A potential given by a formula.

    Parameters
    ----------
    expression, variables, parameters
        As for :class:`~fracsde.problems.expressions.Expression`; ``V`` is in [x^2/t].

    Examples
    --------
    >>> V = Potential("x**4/4 - a*x**2/2", variables=("x",), parameters={"a": 2})
    >>> V.force(np.array([1.0, 2.0]))
    array([ 1., -4.])
    >>> V.gradient
    (x**3 - 2*x,)
    """

    def force(self, *coordinates: ArrayLike) -> Any:
        """Return minus the gradient at points, as a problem takes its ``force``.

        Parameters
        ----------
        *coordinates : array_like [x]
            One per variable; they broadcast.

        Returns
        -------
        float64 or ndarray, or a tuple of one per variable [x/t]
            An array on a line.
        """
        slopes = self.gradient_at(*coordinates)
        return -slopes[0] if len(slopes) == 1 else tuple(-slope for slope in slopes)


def quadratic(hessian: ArrayLike, *, minimum: ArrayLike = 0.0) -> Potential:
    """Return the harmonic potential of a matrix of second derivatives.

    Parameters
    ----------
    hessian : float or (d, d) array_like [1/t]
        Symmetric, ``d`` at most 3.
    minimum : float or (d,) array_like [x]
        Its stationary point, a minimum where ``hessian`` is positive definite.

    Returns
    -------
    Potential
        In ``x``, ``x, y`` or ``x, y, z``.

    Raises
    ------
    ShapeError
        If ``minimum`` does not have one entry per dimension.
    UnsupportedError
        For more than three dimensions.

    Examples
    --------
    >>> quadratic([[2.0, 1.0], [1.0, 2.0]])
    Potential('x**2 + x*y + y**2', variables=('x', 'y'))
    """
    H = symmetric("hessian", hessian)
    d = len(H)
    if d > len(_AXES):
        msg = f"`hessian` has {d} dimensions, three are served; use OUProcess for more"
        raise UnsupportedError(msg)
    centre = finite_array("minimum", minimum, ndim=(0, 1))
    if centre.ndim == 1 and len(centre) != d:
        msg = f"`minimum` must have one entry per dimension, {d}, got {len(centre)}"
        raise ShapeError(msg)
    symbols = [sp.Symbol(name, real=True) for name in _AXES[:d]]
    away = [
        symbol - as_fraction(float(m))
        for symbol, m in zip(symbols, np.broadcast_to(centre, (d,)), strict=True)
    ]
    terms = (as_fraction(float(H[i, j])) * away[i] * away[j] for i in range(d) for j in range(d))
    return Potential(sum(terms, sp.Integer(0)) / 2, variables=_AXES[:d])


def double_well(
    *, barrier: float = 1.0, half_distance: float = 1.0, tilt: float = 0.0
) -> Potential:
    """Return ``b ((x/a)**2 - 1)**2 + c x``.

    Parameters
    ----------
    barrier : float [x^2/t]
        ``b``, height of the barrier at 0 above the minima where there is no tilt.
    half_distance : float [x]
        ``a``: the minima lie at ``-a`` and ``a`` where there is no tilt.  The curvature is
        ``8 b / a**2`` there and ``-4 b / a**2`` on the barrier.
    tilt : float [x/t]
        ``c``, which favours the left well where positive.

    Returns
    -------
    Potential
        In ``x``.

    Examples
    --------
    >>> double_well(barrier=0.25)
    Potential('(x**2 - 1)**2/4', variables=('x',))
    """
    numbers = {
        "b": real("barrier", barrier, low=0.0),
        "a": real("half_distance", half_distance, low=0.0),
        "c": real("tilt", tilt),
    }
    return Potential("b*((x/a)**2 - 1)**2 + c*x", parameters=numbers)


def quartic(*, strength: float = 1.0, stiffness: float = 0.0) -> Potential:
    """Return ``k x**2 / 2 + q x**4 / 4``.

    Parameters
    ----------
    strength : float [1/(x^2 t)]
        ``q``, positive.
    stiffness : float [1/t]
        ``k``; where negative, the minima lie at ``-sqrt(-k/q)`` and ``sqrt(-k/q)``, else at 0.

    Returns
    -------
    Potential
        In ``x``.

    Examples
    --------
    >>> quartic(stiffness=-1.0)
    Potential('x**4/4 - x**2/2', variables=('x',))
    """
    numbers = {"q": real("strength", strength, low=0.0), "k": real("stiffness", stiffness)}
    return Potential("k*x**2/2 + q*x**4/4", parameters=numbers)


def ring(*, barrier: float = 1.0, radius: float = 1.0) -> Potential:
    """Return ``b ((x**2 + y**2) / r**2 - 1)**2``, the Mexican hat.

    Parameters
    ----------
    barrier : float [x^2/t]
        ``b``, height of the middle above the ring.
    radius : float [x]
        ``r`` of the circle of minima, where the value is 0.

    Returns
    -------
    Potential
        In ``x, y``.

    Examples
    --------
    >>> float(ring(barrier=2.0)(0.6, 0.8)), float(ring(barrier=2.0)(0.0, 0.0))
    (0.0, 2.0)
    """
    numbers = {
        "b": real("barrier", barrier, low=0.0),
        "r": real("radius", radius, low=0.0),
    }
    text = "b*((x**2 + y**2)/r**2 - 1)**2"
    return Potential(text, variables=("x", "y"), parameters=numbers)


# Amplitudes; coefficients of (x - x0)**2, (x - x0)(y - y0), (y - y0)**2; centres: table I there.
_MUELLER_BROWN = (
    (-200, "-1", "0", "-10", "1", "0"),
    (-100, "-1", "0", "-10", "0", "0.5"),
    (-170, "-6.5", "11", "-6.5", "-0.5", "1.5"),
    (15, "0.7", "0.6", "0.7", "-1", "1"),
)


def mueller_brown(*, scale: float = 1.0) -> Potential:
    r"""Return the surface of Müller and Brown, a benchmark for rare transitions.

    .. math::
        V = s \sum_{k=1}^4 A_k \exp\bigl(a_k (x - x_k)^2 + b_k (x - x_k)(y - y_k)
                                         + c_k (y - y_k)^2\bigr)

    with minima -146.700, -108.167 and -80.768 (times ``s``) at (-0.558, 1.442), (0.623, 0.028) and
    (-0.050, 0.467), and saddles -40.665 and -72.249 at (-0.822, 0.624) and (0.212, 0.293).  It
    grows like :math:`e^{0.7 (x^2 + y^2)}` far out.

    Parameters
    ----------
    scale : float [x^2/t]
        ``s``, positive.

    Returns
    -------
    Potential
        In ``x, y``.

    References
    ----------
    [MuellerBrown1979]_

    Examples
    --------
    >>> V = mueller_brown()
    >>> round(float(V(-0.558224, 1.441726)), 3)
    -146.7
    """
    pieces = []
    for amplitude, a, b, c, x0, y0 in _MUELLER_BROWN:
        form = f"({a})*(x - ({x0}))**2 + ({b})*(x - ({x0}))*(y - ({y0})) + ({c})*(y - ({y0}))**2"
        pieces.append(f"({amplitude})*exp({form})")
    return Potential(
        f"s*({' + '.join(pieces)})",
        variables=("x", "y"),
        parameters={"s": real("scale", scale, low=0.0)},
    )


def degenerate(*, strength: float = 1.0, confinement: float = 0.0) -> Potential:
    """Return ``s x**2 y**2 + k (x**2 + y**2) / 2``, which is singular at its minimum.

    Parameters
    ----------
    strength : float [1/(x^2 t)]
        ``s``, positive.
    confinement : float [1/t]
        ``k``, not negative.  At 0 both axes are minima and nothing confines along them; the
        learning coefficient at the origin is then 1/2 with multiplicity 2.

    Returns
    -------
    Potential
        In ``x, y``.

    Examples
    --------
    >>> degenerate()
    Potential('x**2*y**2', variables=('x', 'y'))
    """
    numbers = {
        "s": real("strength", strength, low=0.0),
        "k": real("confinement", confinement, low=0.0, closed="low"),
    }
    return Potential("s*x**2*y**2 + k*(x**2 + y**2)/2", variables=("x", "y"), parameters=numbers)
