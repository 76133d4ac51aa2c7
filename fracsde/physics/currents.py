r"""Stationary densities and currents.

.. math::
    J = F p - p\, \nabla V - D\, \nabla p, \qquad \tau^{\alpha-1} D_t^\alpha p = -\nabla\cdot J .

On faces between cells the current is the difference of two jump rates, and its divergence is
:math:`-L p` to rounding.  A stationary state does not depend on the clock.  Where it carries a
current it is not a Boltzmann factor; in a ring of length ``l`` with
:math:`\Phi = \int (V' - F) / D\, dx`

.. math::
    J = D\, \frac{1 - e^{\Phi(l)}}{\int_0^l \int_x^{x+l} e^{\Phi(y) - \Phi(x)}\, dy\, dx}

for constant ``D`` [Stratonovich1958]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import UnsupportedError
from fracsde.operators.chain import CellChain
from fracsde.physics._chains import discretised, parts, solved

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.operators.base import Space
    from fracsde.problems.fokker_planck import FokkerPlanck
    from fracsde.problems.fractional import FractionalFokkerPlanck
    from fracsde.solution import Solution

__all__ = ["probability_current", "stationary_current", "stationary_density"]


def stationary_density(
    problem: FokkerPlanck | FractionalFokkerPlanck, *, space: Space | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the density that does not change, of mass one.

    Parameters
    ----------
    problem : FokkerPlanck or FractionalFokkerPlanck
        Without losses and sources.
    space : FiniteVolume, optional
        By default 512 cells on a line, 64 per axis in the plane, 20 in space.

    Returns
    -------
    points : (n,) or (n, d) ndarray [x]
        Cell centres.
    density : (n,) ndarray [1/x^d]

    Raises
    ------
    UnsupportedError
        If mass disappears or enters.

    Examples
    --------
    >>> from fracsde import FokkerPlanck, Gaussian
    >>> problem = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0,
    ...     domain=(-np.inf, np.inf), initial=Gaussian())
    >>> x, p = stationary_density(problem)
    >>> bool(np.abs(p - np.exp(-x**2 / 2) / np.sqrt(2 * np.pi)).max() < 1e-12)
    True
    """
    generator = _settling(problem, space)
    return generator.points, generator.stationary()


def stationary_current(
    problem: FokkerPlanck | FractionalFokkerPlanck, *, space: Space | None = None
) -> Any:
    """Return the current of the state that does not change.

    Parameters
    ----------
    problem : FokkerPlanck or FractionalFokkerPlanck
        Without losses and sources.
    space : FiniteVolume, optional
        As in :func:`stationary_density`.

    Returns
    -------
    float [1/t]
        On a line, where it is the same everywhere: zero in a row, round a ring positive towards
        larger ``x``.
    tuple of ndarray [x^(1-d)/t]
        In the plane and in space, one per axis, of the grid's shape: through the upper face of each
        cell, per area.

    Raises
    ------
    UnsupportedError
        If mass disappears or enters.

    References
    ----------
    [Stratonovich1958]_

    Examples
    --------
    Free drift round a ring of length 2:

    >>> from fracsde import FokkerPlanck, Gaussian
    >>> ring = FokkerPlanck(force=lambda x: 3.0 + 0 * x, diffusion=1.0, domain=(0.0, 2.0),
    ...     boundary="periodic", initial=Gaussian(mean=1.0, std=0.2))
    >>> round(stationary_current(ring), 9)
    1.5
    """
    generator = _settling(problem, space)
    masses = generator.stationary() * generator.widths
    if isinstance(generator, CellChain):
        if not generator.periodic:
            return 0.0
        return float(np.mean(_faces(parts(problem)[0], generator, masses[None])[0, 1:]))
    return tuple(J[0] for J in _tensor_faces(generator, masses[None]))


def probability_current(solution: Solution) -> Any:
    r"""Return the current at the times of a solution.

    On a fractional clock it is the current of the equation, whose divergence is
    :math:`\tau^{\alpha-1} D_t^\alpha p`, not :math:`\partial_t p`.

    Parameters
    ----------
    solution : Solution
        On cells.

    Returns
    -------
    (t, n + 1) ndarray [1/t]
        On a line, through the cell edges from left to right: negative at the first where mass
        leaves there; in a ring the first is the last.
    tuple of (t, \*shape) ndarray [x^(1-d)/t]
        In the plane and in space, one per axis: through the upper face of each cell, per area,
        walls left out.

    Raises
    ------
    InputError
        If it is no solution.
    UnsupportedError
        If the solution is not on cells.

    Examples
    --------
    >>> from fracsde import FokkerPlanck, Gaussian, solve
    >>> problem = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0,
    ...     domain=(-6.0, 6.0), initial=Gaussian(mean=1.0, std=0.5))
    >>> J = probability_current(solve(problem, [0.1, 40.0]))
    >>> bool(J[0].min() < -0.1), bool(np.abs(J[1]).max() < 1e-12)
    (True, True)
    """
    base = solved(solution)
    generator = solution.generator
    if not hasattr(generator, "apply_to_masses"):
        msg = "`solution` must be on cells, its points are nodes; solve with space=FiniteVolume()"
        raise UnsupportedError(msg)
    masses = solution.density.reshape(len(solution.times), -1) * generator.widths
    if isinstance(generator, CellChain):
        return _faces(base, generator, masses)
    return _tensor_faces(generator, masses)


def _settling(problem: Any, space: Space | None) -> Any:
    base, _, _ = parts(problem)
    if not base.conserves_mass:
        why, instead = (
            ("has a source", "solve to a late time")
            if base.source is not None
            else (
                "loses mass to walls or reaction",
                "eigenmodes(problem, 1) gives the shape in which what is left decays",
            )
        )
        msg = f"`problem` {why}, and has no stationary density of its own; {instead}"
        raise UnsupportedError(msg)
    return discretised(base, space)


def _faces(base: FokkerPlanck, chain: CellChain, masses: FloatArray) -> FloatArray:
    onward = masses * chain.right
    back = np.roll(masses * chain.left, -1, axis=-1)
    J = np.empty((len(masses), masses.shape[1] + 1))
    J[:, 1:] = onward - back
    J[:, 0] = J[:, -1]
    if not chain.periodic:
        # What the outermost cells lose to reaction is no current.
        walls = chain.loss[[0, -1]] - base.reaction_at(chain.points[[0, -1]])
        open_ends = [wall == "absorbing" for wall in base.walls[0]]
        J[:, 0] = -masses[:, 0] * walls[0] if open_ends[0] else 0.0
        J[:, -1] = masses[:, -1] * walls[1] if open_ends[1] else 0.0
    return J


def _tensor_faces(generator: Any, masses: FloatArray) -> tuple[FloatArray, ...]:
    shape = generator.shape
    m = masses.reshape(len(masses), *shape)
    found = []
    for axis in range(len(shape)):
        unit = tuple(int(k == axis) for k in range(len(shape)))
        along = [bond for bond in generator.bonds if bond.offset == unit]
        if len(generator.bonds) != len(shape) or not along:
            msg = (
                "currents need jumps along the axes alone; a full diffusion matrix jumps along "
                "diagonals too: turn the axes so that it becomes diagonal"
            )
            raise UnsupportedError(msg)
        through = m * along[0].onward - np.roll(m * along[0].back, -1, axis=axis + 1)
        width = np.diff(generator.edges[axis])
        area = generator.widths.reshape(shape) / width.reshape(
            [-1 if k == axis else 1 for k in range(len(shape))]
        )
        found.append(through / area)
    return tuple(found)
