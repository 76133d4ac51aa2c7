"""The Mittag-Leffler function and its derivative: V. Q. Tran's files of reference values.

Each file lists both on a ray of the plane, summed with more than a thousand digits.  The last
digits of sixteen are left off here, two or three on the axis and five off it: there arguments were
printed rounded, and a value that has turned many times feels that.
"""

from __future__ import annotations

from fracsde.special import mittag_leffler
from validation.claim import Claim

# File, alpha, argument, and the digits of the function and its derivative, real and imaginary.
AXIS = (
    ("c01", 0.85, -45.0, "3.6930827578439e-3", "8.486317294263e-5"),
    ("c01", 0.85, -40.0, "4.1724999667220e-3", "1.083353438051e-4"),
    ("c11", 1.25, -100.0, "-2.0834272808352e-3", "-2.127712619061e-5"),
    ("c11", 1.25, -99.0, "-2.1049239452560e-3", "-2.171846783135e-5"),
)
RAY = (  # of oscillation, at three eighths of pi
    (
        ("8.304230482322447", "20.04818585549492"),
        ("-0.89883861396", "-0.97828755765", "-1.6622038441", "-4.6723225583"),
    ),
    (
        ("9.050463175434373", "21.84975094389193"),
        ("0.44100420037", "-1.2461858333", "3.4164322849", "-3.7906080096"),
    ),
)
PARTS = ("Re E", "Im E", "Re E'", "Im E'")


def numbers() -> list[float]:
    """Return what the package makes of the arguments."""
    found = []
    for _, alpha, z, *_digits in AXIS:
        found += [mittag_leffler(z, alpha), mittag_leffler(z, alpha, derivative=1)]
    for (real, imaginary), _ in RAY:
        z = complex(float(real), float(imaginary))
        for derivative in (0, 1):
            value = mittag_leffler(z, 0.75, derivative=derivative)
            found += [value.real, value.imag]
    return found


CLAIM = Claim(
    title="the Mittag-Leffler function and its derivative",
    quantity="E_alpha(z) and its derivative in z",
    problem="no problem: the function itself",
    source="V. Q. Tran, github.com/tranqv/Mittag-Leffler-function-and-its-derivative, "
    "tcases/tt_mlfm_c01.txt, c05 and c11, commit 30fe9bf",
    origin="seen",
    published=(
        *(
            (f"{file}, alpha = {alpha}, {name}({z:g})", digits)
            for file, alpha, z, *both in AXIS
            for name, digits in zip(("E", "E'"), both, strict=True)
        ),
        *(
            (f"c05, alpha = 0.75, {part}({real[:5]} + {imaginary[:5]}i)", digits)
            for (real, imaginary), four in RAY
            for part, digits in zip(PARTS, four, strict=True)
        ),
    ),
    compute=numbers,
)
