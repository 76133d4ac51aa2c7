"""Convolution quadrature of the fourth formula at order one half: the NAG Library's example.

The routine integrates against ``1 / sqrt(pi (t - s))``, the fractional integral of order one half;
its weights are the power series of ``delta_4(z)**(-1/2)``.  Ours are those of the derivative,
``delta_4(z)**(1/2) / (1 - z)``; the one is the reciprocal of the other times ``1 - z``.
"""

from __future__ import annotations

import numpy as np

from fracsde.schemes.convolution_quadrature import ConvolutionQuadrature
from validation.claim import Claim


def integral_weights(bdf: int, alpha: float, count: int) -> list[float]:
    """Return the weights of the integral of order ``alpha`` from those of the derivative."""
    weights = ConvolutionQuadrature(bdf=bdf).weights(np.arange(count + 1.0), alpha=alpha)
    symbol = np.diff(weights[::-1], prepend=0.0)
    found = [1.0 / symbol[0]]
    for n in range(1, count):
        found.append(-float(symbol[n:0:-1] @ found) / symbol[0])
    return found


DIGITS = (
    "0.6928 0.6651 0.4589 0.3175 0.2622 0.2451 0.2323 0.2164 "
    "0.2006 0.1878 0.1780 0.1700 0.1629 0.1566 0.1508 0.1457"
)

CLAIM = Claim(
    title="fractional weights of BDF4 at order 1/2",
    quantity="convolution weights of the fractional integral, step 1",
    problem="no problem: the weights themselves",
    source="NAG Library, example of d05byf / d05byc (abel_weak_weights), printed results, "
    "support.nag.com/numeric/fl/nagdoc_fl26/examples/baseresults/d05byfe.r.html",
    origin="seen",
    published=tuple((f"n = {n}", digits) for n, digits in enumerate(DIGITS.split())),
    compute=lambda: integral_weights(4, 0.5, 16),
)
