"""Convolution quadrature of the fourth formula at order one: the NAG Library's example.

At order one the quadrature is the ordinary formula, and the weights of the integral are the power
series of ``1 / delta_4(z)``.
"""

from __future__ import annotations

from validation.claim import Claim
from validation.claims.nag_abel_weights import integral_weights

DIGITS = "0.4800 0.9216 1.0783 1.0504 0.9962 0.9797 0.9894 1.0003 1.0034 1.0017"

CLAIM = Claim(
    title="weights of BDF4 at order 1",
    quantity="convolution weights of the integral, step 1",
    problem="no problem: the weights themselves",
    source="NAG Library, example of d05bwf / d05bwc (volterra_weights), printed results, "
    "support.nag.com/numeric/fl/nagdoc_fl26.2/examples/baseresults/d05bwfe.r.html",
    origin="seen",
    published=tuple((f"n = {n}", digits) for n, digits in enumerate(DIGITS.split())),
    compute=lambda: integral_weights(4, 1.0, 10),
)
