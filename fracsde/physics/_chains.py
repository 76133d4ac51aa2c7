r"""Problems as Markov chains of cells, which is how physics is done here.

.. math::
    \dot m = L m, \qquad \sum_i L_{ij} = -\mathrm{loss}_j, \qquad
    L_{ij} \ge 0 \ (i \ne j) .

``generator.matrix()`` acts on cell masses; where the equilibrium carries no current,
:math:`L_{ij}\, \pi_j = L_{ji}\, \pi_i`, and the logarithm of :math:`\pi` is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from fracsde.errors import InputError, UnsupportedError
from fracsde.operators.chain import CellChain
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck
from fracsde.problems.fractional import FractionalFokkerPlanck

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.operators.base import Space

__all__ = ["discretised", "log_masses", "parts", "solved", "sparse_matrix"]

_CELLS = {1: 512, 2: 64, 3: 20}  # of the default space, per axis


def parts(problem: Any) -> tuple[FokkerPlanck, float, float]:
    """Return the equation, the order and the timescale of a problem.

    Parameters
    ----------
    problem : FokkerPlanck or FractionalFokkerPlanck
        What was passed.

    Returns
    -------
    base : FokkerPlanck
    alpha : float [1]
        1 on an ordinary clock.
    timescale : float [t]

    Raises
    ------
    InputError
        If it is neither.
    UnsupportedError
        If coefficients depend on time.
    """
    base, alpha, timescale = problem, 1.0, 1.0
    if isinstance(problem, FractionalFokkerPlanck):
        base, alpha, timescale = problem.base, problem.alpha, problem.timescale
    if not isinstance(base, FokkerPlanck):
        msg = (
            "`problem` must be a FokkerPlanck or a FractionalFokkerPlanck, got "
            f"{type(problem).__name__}"
        )
        raise InputError(msg)
    if base.time_dependent:
        msg = (
            "`problem` has coefficients that depend on time, and so no modes, passage times or "
            "stationary state of its own; freeze them with problem.frozen_at(t), or solve"
        )
        raise UnsupportedError(msg)
    return base, alpha, timescale


def solved(solution: Any) -> FokkerPlanck:
    """Return the equation that a solution solves.

    Parameters
    ----------
    solution : Solution
        What was passed.

    Returns
    -------
    FokkerPlanck

    Raises
    ------
    InputError
        If it is no solution of such an equation.
    UnsupportedError
        If coefficients depend on time.
    """
    if not (hasattr(solution, "problem") and hasattr(solution, "density")):
        msg = (
            "`solution` must be what solve(problem, times) returns, got "
            f"{type(solution).__name__}; solve first"
        )
        raise InputError(msg)
    return parts(solution.problem)[0]


def discretised(base: FokkerPlanck, space: Space | None) -> Any:
    """Return the chain of cells of a problem.

    Parameters
    ----------
    base : FokkerPlanck
        The problem.
    space : FiniteVolume or None
        ``None`` takes 512 cells on a line, 64 per axis in the plane, 20 in space.

    Returns
    -------
    CellChain or another generator with ``matrix()``

    Raises
    ------
    InputError
        If the space is not one.
    UnsupportedError
        If it does not make a Markov chain.
    """
    points = FiniteVolume(cells=_CELLS[base.dimension]) if space is None else space
    if isinstance(points, type) or not callable(getattr(points, "discretise", None)):
        msg = f"`space` must be a space such as FiniteVolume(cells=512), got {points!r}"
        raise InputError(msg)
    generator = points.discretise(base)
    if not hasattr(generator, "apply_to_masses"):
        msg = f"`space` must make cells, got {points!r}; use FiniteVolume(cells=...)"
        raise UnsupportedError(msg)
    return generator


def sparse_matrix(generator: Any) -> Any:
    """Return ``L`` acting on cell masses, by columns.

    Parameters
    ----------
    generator : CellChain or another generator with ``matrix()``
        The chain.

    Returns
    -------
    (n, n) csc_array [1/t]
    """
    if not isinstance(generator, CellChain):
        return sparse.csc_array(generator.matrix())
    n = len(generator.right)
    i = np.arange(n)
    right, left = generator.right, generator.left
    rows = np.concatenate([i, (i + 1) % n, (i - 1) % n])
    values = np.concatenate([-(right + left + generator.loss), right, left])
    kept = values != 0.0
    entries = (values[kept], (rows[kept], np.tile(i, 3)[kept]))
    return sparse.coo_array(entries, shape=(n, n)).tocsc()


def log_masses(generator: Any) -> FloatArray | None:
    """Return the logarithm of the masses that carry no current, of sum one.

    Losses do not count.

    Parameters
    ----------
    generator : CellChain or another generator
        The chain.

    Returns
    -------
    (n,) ndarray [1] or None
        ``None`` where the equilibrium carries a current.
    """
    if isinstance(generator, CellChain):
        if not generator.detailed_balance:
            return None
        logs = np.append(0.0, -np.cumsum(generator.tilt[:-1]))
    else:
        known = getattr(generator, "log_weight", None)
        if known is None:
            return None
        logs = np.array(known)
    logs = logs + np.log(generator.widths)
    logs -= logs.max()
    return np.asarray(logs - np.log(np.exp(logs).sum()))
