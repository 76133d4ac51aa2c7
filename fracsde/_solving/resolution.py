r"""Whether cells are narrow enough for the drift, before the first step and of the result.

Fluxes between cells of tilt :math:`\delta` add :math:`\tfrac\delta2 \coth\tfrac\delta2 - 1` of the
diffusion to it.  That does harm only where there is density, so that the density decides: the last
one of a solution, and before anything is solved those from which it starts and at which it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import ComputationError
from fracsde.operators.chain import CellChain
from fracsde.operators.tensor import TensorCells
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["complaint", "refuse_smeared", "smearing_of"]

_SMEARED, _SHARP = 0.5, 0.05  # artificial diffusion over the true one: too much, and good


def smearing_of(generator: Any, masses: FloatArray, base: FokkerPlanck) -> tuple[float, ...]:
    """Return the artificial diffusion along each axis, relative to the true one.

    Parameters
    ----------
    generator : Generator
        The operator on its points.
    masses : (n,) float64 [1]
        Where to look.
    base : FokkerPlanck
        The problem.

    Returns
    -------
    tuple of float [1]
        Empty where it is not known: of other operators than cells, and on a line of a force that
        comes and goes, of which the mean counts and not the operator of one time.
    """
    if isinstance(generator, TensorCells):
        return generator.smearing(masses)
    if isinstance(generator, CellChain) and not base.time_dependent:
        return generator.smearing(masses)
    return ()


def complaint(smeared: tuple[float, ...]) -> str:
    """Return what is wrong with the cells and how many would do, empty if they are good enough.

    Parameters
    ----------
    smeared : tuple of float [1]
        The artificial diffusion along each axis.

    Returns
    -------
    str
    """
    if not smeared or max(smeared) <= _SMEARED:
        return ""
    axis = int(np.argmax(smeared))
    share = float(np.sqrt(smeared[axis] / _SHARP))  # it falls with the square of the width
    along, there = (f" along axis {axis}", " along that axis") if len(smeared) > 1 else ("", "")
    return (
        "Cells are too wide for the drift: where the density is, fluxes add "
        f"{smeared[axis]:.2g} of the diffusion{along} to it; use about {share:.3g} "
        f"times as many cells{there}, for which it is {_SHARP:g}."
    )


def refuse_smeared(generator: Any, masses: FloatArray, base: FokkerPlanck) -> None:
    """Refuse cells that are too wide both where the density starts and where it ends.

    Parameters
    ----------
    generator : Generator
        The operator on its points.
    masses : (n,) float64 [1]
        At the start.
    base : FokkerPlanck
        The problem.

    Raises
    ------
    ComputationError
        With the number of cells that would do.  Cells that are too wide in one of the two places
        only are judged by the solution: it may never be there.
    """
    rest = None if base.time_dependent or base.source is not None else _rest(generator)
    if rest is None:
        return
    ends = [smearing_of(generator, where, base) for where in (masses, rest)]
    sentence = complaint(tuple(np.min(ends, axis=0).tolist()))
    if sentence:
        msg = f"Refused before the first step, from start to rest.  {sentence}"
        raise ComputationError(Status.INACCURATE, msg)


def _rest(generator: Any) -> FloatArray | None:
    # The masses at rest, where there is such a state and it costs no solution.
    if not isinstance(generator, CellChain | TensorCells) or not generator.conserves_mass:
        return None
    if isinstance(generator, TensorCells) and generator.log_weight is None:
        return None
    rest = np.asarray(generator.stationary()).ravel() * generator.widths
    return rest if np.all(np.isfinite(rest)) else None
