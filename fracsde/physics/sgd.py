r"""SGD late in training as fractional diffusion on its loss.

.. math::
    \tau^{\alpha-1} D_t^\alpha p = \nabla\cdot (D_\xi \nabla p + \gamma\, p\, \nabla L), \qquad
    p_s \propto e^{-\gamma L / D_\xi}, \qquad
    D_\xi = D_0\, \xi^{2 - 2 \lambda / d_s} ,

with learning rate :math:`\gamma`, learning coefficient :math:`\lambda` of the loss (in the role of
a fractal dimension), spectral dimension :math:`d_s` and coarse-graining length :math:`\xi`
[Hennick2025]_.  The paper prints the drift with the other sign, for which the stationary density
would be :math:`e^{+\gamma L / D}` and the mass goes to the walls (``tests/physics/test_sgd.py``);
the sign here is that of its stationary law, and there is no switch.

Three exponents are kept apart:

=====================  ======================================  ==================================
name                   meaning                                 value
=====================  ======================================  ==================================
``walk_dimension``     :math:`R \sim t^{1/d_w}`                :math:`2 \lambda / d_s`
``caputo_order``       of the equation, :math:`\langle R^2     :math:`\min(1, 2/d_w) =
                       \rangle \sim t^\alpha`                  \min(1, d_s/\lambda)`
displacement exponent  slope of :math:`\log R`                 :math:`1/d_w`
=====================  ======================================  ==================================

``D_xi`` is a scaling law: for :math:`\xi < 1` it grows with :math:`\lambda`, for :math:`\xi > 1` it
falls, and at 1 it is :math:`D_0` always.  The stationary law is local: ``D_xi`` must be constant
where it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fracsde._check import real
from fracsde.errors import InputError
from fracsde.problems._expression_parsing import as_fraction
from fracsde.problems.expressions import Expression
from fracsde.problems.fokker_planck import FokkerPlanck
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.potentials import Potential

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "caputo_order",
    "effective_diffusion",
    "sgd_fractional_fokker_planck",
    "walk_dimension",
]


def walk_dimension(learning_coefficient: float, spectral_dimension: float) -> float:
    """Return ``2 lambda / d_s``, the power of length that time goes with.

    Parameters
    ----------
    learning_coefficient : float [1]
        ``lambda``, positive.
    spectral_dimension : float [1]
        ``d_s``, positive.

    Returns
    -------
    float [1]
        2 for ordinary diffusion, larger for slower.

    Examples
    --------
    >>> walk_dimension(3.0, 2.0)
    3.0
    """
    coefficient = real("learning_coefficient", learning_coefficient, low=0.0)
    return 2.0 * coefficient / real("spectral_dimension", spectral_dimension, low=0.0)


def caputo_order(learning_coefficient: float, spectral_dimension: float) -> float:
    """Return ``min(1, d_s / lambda)``, the order of the derivative in time.

    Parameters
    ----------
    learning_coefficient : float [1]
        ``lambda``, positive.
    spectral_dimension : float [1]
        ``d_s``, positive.

    Returns
    -------
    float [1]

    Examples
    --------
    >>> caputo_order(4.0, 3.0)
    0.75
    """
    return min(1.0, 2.0 / walk_dimension(learning_coefficient, spectral_dimension))


def effective_diffusion(
    xi: float, learning_coefficient: float, spectral_dimension: float, *, base: float = 1.0
) -> float:
    """Return ``D0 xi**(2 - 2 lambda / d_s)``.

    Parameters
    ----------
    xi : float [1]
        Length of the coarse-graining, positive.
    learning_coefficient, spectral_dimension : float [1]
        ``lambda`` and ``d_s``, positive.
    base : float [x^2/t]
        ``D0``, the diffusion at ``xi = 1``.

    Returns
    -------
    float [x^2/t]

    References
    ----------
    [Hennick2025]_

    Examples
    --------
    >>> effective_diffusion(0.5, 3.0, 2.0), effective_diffusion(2.0, 3.0, 2.0)
    (2.0, 0.5)
    """
    length, scale = real("xi", xi, low=0.0), real("base", base, low=0.0)
    return float(scale * length ** (2.0 - walk_dimension(learning_coefficient, spectral_dimension)))


def sgd_fractional_fokker_planck(
    *,
    loss: Expression | str | Callable[..., Any],
    learning_rate: float,
    domain: Any,
    initial: Any,
    alpha: float | None = None,
    effective_diffusion: float | None = None,
    xi: float | None = None,
    learning_coefficient: float | None = None,
    spectral_dimension: float | None = None,
    base_diffusion: float = 1.0,
    timescale: float = 1.0,
    boundary: Any = "reflecting",
) -> FractionalFokkerPlanck:
    """Return the equation of SGD on a loss.

    Parameters
    ----------
    loss : Potential, str or callable
        ``L(*w)``; text is a formula in ``x``, with ``y`` and ``z`` where the domain has more axes.
    learning_rate : float [w^2/(t L)]
        ``gamma``, positive.
    domain, initial, boundary
        As in :class:`~fracsde.problems.fokker_planck.FokkerPlanck`.
    alpha : float, optional [1]
        Order of the derivative; by default that of the geometry, :func:`caputo_order`.
    effective_diffusion : float, optional [w^2/t]
        ``D_xi``; or
    xi, learning_coefficient, spectral_dimension : float, optional [1]
        what it follows from, by :func:`effective_diffusion` with ``base_diffusion``.
    base_diffusion : float [w^2/t]
        ``D0``.
    timescale : float [t]
        ``tau``.

    Returns
    -------
    FractionalFokkerPlanck
        With potential ``gamma L`` and diffusion ``D_xi``.

    Raises
    ------
    InputError
        If the diffusion is given twice or not at all, or there is no order.

    References
    ----------
    [Hennick2025]_

    Examples
    --------
    >>> from fracsde import Gaussian
    >>> problem = sgd_fractional_fokker_planck(loss="x**2/2", learning_rate=0.5, xi=0.5,
    ...     learning_coefficient=0.5, spectral_dimension=0.4, domain=(-8.0, 8.0),
    ...     initial=Gaussian(mean=1.5, std=0.5))
    >>> round(problem.alpha, 12), round(problem.base.diffusion, 6)
    (0.8, 1.414214)
    """
    gamma = real("learning_rate", learning_rate, low=0.0)
    geometry = {
        "xi": xi,
        "learning_coefficient": learning_coefficient,
        "spectral_dimension": spectral_dimension,
    }
    diffusion = _diffusion(effective_diffusion, geometry, base_diffusion)
    if alpha is None:
        if learning_coefficient is None or spectral_dimension is None:
            msg = (
                "`alpha` is needed: pass the order, or learning_coefficient and "
                "spectral_dimension, from which it follows"
            )
            raise InputError(msg)
        alpha = caputo_order(learning_coefficient, spectral_dimension)
    base = FokkerPlanck(
        potential=_potential(loss, gamma, domain),
        diffusion=diffusion,
        domain=domain,
        initial=initial,
        boundary=boundary,
    )
    return FractionalFokkerPlanck(base=base, alpha=alpha, timescale=timescale)


def _diffusion(given: float | None, geometry: dict[str, float | None], base: float) -> float:
    if given is not None:
        if geometry["xi"] is not None:
            msg = "the diffusion is given twice: pass `effective_diffusion` or `xi`, not both"
            raise InputError(msg)
        return real("effective_diffusion", given, low=0.0)
    missing = [name for name, value in geometry.items() if value is None]
    if missing:
        msg = (
            "the diffusion is not given: pass `effective_diffusion`, or xi, learning_coefficient "
            f"and spectral_dimension (missing: {', '.join(missing)})"
        )
        raise InputError(msg)
    numbers: Any = geometry
    return effective_diffusion(base=base, **numbers)


def _potential(loss: Any, gamma: float, domain: Any) -> Any:
    # A formula stays one, so that the problem is known by its content.
    if isinstance(loss, str):
        axes = 1 if not hasattr(domain[0], "__len__") else len(domain)
        loss = Potential(loss, variables=("x", "y", "z")[:axes])
    if isinstance(loss, Expression):
        return Potential(as_fraction(gamma) * loss.sympy, variables=loss.variables)
    if not callable(loss):
        msg = f"`loss` must be a Potential, a formula or a function, got {loss!r}"
        raise InputError(msg)
    return lambda *w: gamma * loss(*w)
