"""Start corrections of convolution quadrature: the fractions of Jin, Li and Zhou (2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fracsde.schemes.convolution_quadrature import correction_terms
from validation.claim import Claim

if TYPE_CHECKING:
    from fractions import Fraction

PUBLISHED = {
    2: "1/2",
    3: "11/12 -5/12",
    4: "31/24 -7/6 3/8",
    5: "1181/720 -177/80 341/240 -251/720",
    6: "2837/1440 -2543/720 17/5 -1201/720 95/288",
}


def fractions() -> list[Fraction]:
    """Return what the package solves for."""
    return [a for bdf in PUBLISHED for a in correction_terms(bdf)[0]]


CLAIM = Claim(
    title="start corrections of BDF2 to BDF6",
    quantity="factors a_j of L u_0 + s(0), exactly",
    problem="any linear problem",
    source="B. Jin, B. Li, Z. Zhou, SIAM J. Sci. Comput. 39 (2017) A3129, section 2; the digits "
    "from notes on that paper, those of BDF3 besides from a public program that cites it",
    origin="quoted",
    published=tuple(
        (f"BDF{bdf}, a_{j}", digits)
        for bdf, line in PUBLISHED.items()
        for j, digits in enumerate(line.split(), start=1)
    ),
    compute=fractions,
)
