"""Well-known potentials, ready for a problem: ``fs.potentials.double_well(barrier=2.0)``.

Potentials of your own are formulas, :class:`fracsde.Potential`.
"""

from __future__ import annotations

from fracsde.problems.potentials import (
    degenerate,
    double_well,
    mueller_brown,
    quadratic,
    quartic,
    ring,
)

__all__ = ["degenerate", "double_well", "mueller_brown", "quadratic", "quartic", "ring"]
