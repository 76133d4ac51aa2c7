"""What is to be solved, whatever the points, and what came of it on some points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.schemes.collocation import HpCollocation
from fracsde.schemes.propagator import Propagator

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from fracsde._typing import FloatArray
    from fracsde.grids import TimeGrid
    from fracsde.problems.fokker_planck import FokkerPlanck
    from fracsde.schemes.base import ConvolutionScheme
    from fracsde.schemes.checkpoint import Checkpoint
    from fracsde.schemes.driven import LeMcLeanMustapha

__all__ = ["Outcome", "Request"]

# Where the caller names no tolerance: the estimated error, relative to the largest density, above
# which a propagated result is called inaccurate.
_TRUSTED = 1e-8


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is to be solved, whatever the points.

    Parameters
    ----------
    base : FokkerPlanck
        Operator, start and source.
    alpha : float [1]
        Order of the derivative.
    timescale : float [t]
        ``tau``.
    driven : bool
        Whether the operator stands outside the memory.
    grid : TimeGrid
        The mesh of a marching scheme.
    mesh_given : bool
        Whether the caller chose that mesh, or only the wanted times.
    wanted : (t,) float64 [t]
        When densities are wanted.
    scheme : ConvolutionScheme, Propagator, HpCollocation, LeMcLeanMustapha or None
        What was asked for.
    engine : str
        Which engine to use.
    checkpoint : Checkpoint or None
        Where a march is saved and resumed.
    bar : callable
        From a number of steps, and ``word=`` for what they are, to a context that gives the
        function to call after each.
    refuse : bool
        Whether cells too wide for the drift are refused before the first step.
    """

    base: FokkerPlanck
    alpha: float
    timescale: float
    driven: bool = False
    grid: TimeGrid
    mesh_given: bool
    wanted: FloatArray
    scheme: Any
    engine: str
    bar: Callable[..., AbstractContextManager[Callable[[int], None] | None]]
    checkpoint: Checkpoint | None = None
    refuse: bool = False

    @property
    def tolerance(self) -> float:
        """The relative error a propagated result may have."""
        named = isinstance(self.scheme, (Propagator, HpCollocation))
        return float(self.scheme.rtol) if named else _TRUSTED


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """Densities at the wanted times, what made them, and what is known of their errors.

    Parameters
    ----------
    density : (t, n) float64 [1/x]
        One row per wanted time.
    scheme : ConvolutionScheme, Propagator, HpCollocation or LeMcLeanMustapha
        What made them.
    engine : str
        Which engine ran.
    residual : float [1]
        Of the equations that were solved, relative to their largest term.
    mesh : (m,) float64 [t]
        Times that were stepped through; the wanted ones where nothing was.
    error : float or None [1/x]
        Estimated error of the densities; ``None`` if nothing is known.
    relative : float [1]
        The same, relative to the largest density at the same time.
    allowed : float [1]
        Largest ``relative`` that is a success.
    stats : dict
        Steps, solves and the like.
    complaint : str
        What is wrong with the cells, empty if nothing is.
    """

    density: FloatArray
    scheme: ConvolutionScheme | Propagator | HpCollocation | LeMcLeanMustapha
    engine: str
    residual: float
    mesh: FloatArray
    error: float | None = None
    relative: float = 0.0
    allowed: float = np.inf
    stats: dict[str, Any] = field(default_factory=dict)
    complaint: str = ""
