r"""Free energy and relative entropy along a solution.

.. math::
    \mathcal F[p] = \int V p + D\, p \ln p\; dx
    = D \int p \ln\frac{p}{\pi}\, dx - D \ln \int e^{-V/D} dx , \qquad \pi \propto e^{-V/D} .

On the ordinary clock :math:`\dot{\mathcal F} = -\int |J|^2 / p\, dx \le 0`; with cells, the
relative entropy to the stationary masses of any Markov chain falls, and this is a sharp test of
sign and balance.  On a fractional clock convexity gives
:math:`D_t^\alpha \mathcal F \le \int \mathcal F'(p)\, D_t^\alpha p\, dx \le 0`, so that the
free energy never exceeds its start; that it falls all the time is seen, not proven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import xlogy

from fracsde.errors import UnsupportedError
from fracsde.physics._chains import solved

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck
    from fracsde.solution import Solution

__all__ = ["free_energy", "relative_entropy"]


def free_energy(solution: Solution) -> FloatArray:
    """Return the free energy at the times of a solution.

    Parameters
    ----------
    solution : Solution
        Of a problem with a potential and constant scalar diffusion, without extra force, losses and
        sources.

    Returns
    -------
    (t,) ndarray [x^2/t]

    Raises
    ------
    InputError
        If it is no solution.
    UnsupportedError
        If the problem has no free energy of this form.

    Examples
    --------
    >>> from fracsde import FokkerPlanck, Gaussian, solve
    >>> problem = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0,
    ...     domain=(-np.inf, np.inf), initial=Gaussian(mean=1.5, std=0.5))
    >>> F = free_energy(solve(problem, [0.0, 0.1, 1.0, 10.0]))
    >>> bool(np.all(np.diff(F) < 0)), bool(abs(F[-1] + np.log(2 * np.pi) / 2) < 1e-5)
    (True, True)
    """
    base = _closed(solution, "free_energy")
    if base.force is not None or callable(base.diffusion) or np.ndim(base.diffusion):
        msg = (
            "`free_energy` needs a potential and one constant diffusion, this problem has an extra "
            "force or another diffusion; use relative_entropy(solution)"
        )
        raise UnsupportedError(msg)
    p, widths = _flat(solution)
    points = np.asarray(solution.generator.points)
    coordinates = [points] if points.ndim == 1 else list(points.T)
    V = base.potential_at(*coordinates)
    return np.asarray((V * p + base.diffusion * xlogy(p, p)) @ widths)


def relative_entropy(solution: Solution) -> FloatArray:
    """Return the entropy relative to the stationary density, at the times of a solution.

    Parameters
    ----------
    solution : Solution
        Of a problem without losses and sources; its stationary state may carry a current.

    Returns
    -------
    (t,) ndarray [1]
        Not negative.

    Raises
    ------
    InputError
        If it is no solution.
    UnsupportedError
        If the problem has losses or sources.

    Examples
    --------
    >>> from fracsde import FokkerPlanck, Gaussian, solve
    >>> problem = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0,
    ...     domain=(-np.inf, np.inf), initial=Gaussian(mean=1.5, std=1.0))
    >>> found = relative_entropy(solve(problem, [0.0, 1.0]))
    >>> np.round(found * 2 / 1.5**2, 3), round(float(np.exp(-2)), 3)
    (array([1.   , 0.135]), 0.135)
    """
    _closed(solution, "relative_entropy")
    p, widths = _flat(solution)
    rest = np.asarray(solution.generator.stationary()).ravel()
    with np.errstate(divide="ignore"):
        logs = np.log(rest)
    held = np.isfinite(logs)
    terms = xlogy(p[:, held], p[:, held]) - p[:, held] * logs[held]
    return np.asarray(terms @ widths[held])


def _closed(solution: Solution, name: str) -> FokkerPlanck:
    base = solved(solution)
    if not base.conserves_mass:
        msg = f"`{name}` needs a problem that keeps its mass; this one has losses or a source"
        raise UnsupportedError(msg)
    return base


def _flat(solution: Any) -> tuple[FloatArray, FloatArray]:
    # Densities by flat cells; a spectral one may be negative by its error.
    p = solution.density.reshape(len(solution.times), -1)
    return np.maximum(p, 0.0), np.asarray(solution.widths).ravel()
