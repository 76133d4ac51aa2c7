"""L1 on the mesh of Stynes, O'Riordan and Gracia (2017), on fractional relaxation."""

from __future__ import annotations

import numpy as np

from fracsde.grids import TimeGrid
from fracsde.schemes.history import Direct
from fracsde.schemes.l1 import L1
from fracsde.special import mittag_leffler
from validation.claim import Claim

ALPHA = 0.6


def error(steps: int) -> float:
    """Return the largest nodal error of D u = -u, u(0) = 1, up to time 1."""
    t = TimeGrid.graded(1.0, steps, (2 - ALPHA) / ALPHA).times
    memory, u = Direct().begin(L1(), t, np.ones(1), alpha=ALPHA), np.ones(steps + 1)
    for n in range(1, steps + 1):
        w = memory.newest()
        u[n] = (w * u[n - 1] - memory.past()[0]) / (w + 1.0)
        memory.push(u[n : n + 1])
    return float(np.abs(u - mittag_leffler(-(t**ALPHA), ALPHA)).max())


SIZES = (64, 128, 256, 512, 1024)
DIGITS = ("1.3922e-3", "5.5229e-4", "2.1578e-4", "8.3468e-5", "3.2075e-5")

CLAIM = Claim(
    title="L1 on its optimal graded mesh",
    quantity="largest nodal error",
    problem="D u = -u, u(0) = 1, alpha = 0.6, t_k = (k / N)**(7 / 3)",
    source="mesh and order of M. Stynes, E. O'Riordan, J. L. Gracia, SIAM J. Numer. Anal. 55 "
    "(2017) 1057, on a scalar problem of our own",
    origin="recomputed",
    published=tuple((f"N = {n}", digits) for n, digits in zip(SIZES, DIGITS, strict=True)),
    compute=lambda: [error(n) for n in SIZES],
)
