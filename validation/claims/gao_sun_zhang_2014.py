"""L1 and L1-2 on a power, the first example of Gao, Sun and Zhang (2014)."""

from __future__ import annotations

from math import gamma
from typing import TYPE_CHECKING

import numpy as np

from fracsde.schemes.l1 import L1
from fracsde.schemes.l12 import L12
from validation.claim import Claim

if TYPE_CHECKING:
    from fracsde.schemes.base import ConvolutionScheme

ALPHA = 0.5
SIZES = (10, 640)


def error(scheme: ConvolutionScheme, steps: int) -> float:
    """Return the error of the derivative of ``t**(4 + alpha)`` at 1."""
    t = np.arange(steps + 1) / steps
    found = scheme.weights(t, alpha=ALPHA) @ np.diff(t ** (4 + ALPHA))
    return float(abs(found - gamma(5 + ALPHA) / gamma(5)))


CLAIM = Claim(
    title="L1 and L1-2 on t**(4 + alpha)",
    quantity="error of the Caputo derivative at t = 1",
    problem="u = t**4.5, alpha = 0.5, N equal steps",
    source="G. Gao, Z. Sun, H. Zhang, J. Comput. Phys. 259 (2014) 33, example 1",
    origin="recomputed",
    published=(
        ("L1, N = 10", "9.1701e-2"),
        ("L1, N = 640", "2.2275e-4"),
        ("L1-2, N = 10", "1.3507e-2"),
        ("L1-2, N = 640", "5.0953e-7"),
    ),
    compute=lambda: [error(scheme, n) for scheme in (L1(), L12()) for n in SIZES],
)
