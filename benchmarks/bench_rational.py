"""Question: how few solves or exponentials does a tolerance need, and what does finding them cost.

Four tables: poles of the relaxation against SciPy's AAA on the same samples (cleaned of poles on
the half-line, residues refitted) and the best possible, Halphen's rate, at order one; nodes of
contours against the balanced parameters of Weideman and Trefethen; terms of ``t**-0.6`` against
the double-exponential trapezoidal rule and the fast half alone of the rule of Jiang, Zhang, Zhang
and Zhang (a lower bound of its size); terms of the relaxation against non-negative least squares
on a grid of rates.

Predicted before the first run: one solve less than AAA at 1e-11, two nodes less than the balanced
contour, and exponentials by a third fewer than the trapezoidal rule.  Seen: as many solves as
AAA once that is cleaned and refitted, in all but three rows; one or two nodes less; exponentials
by a fifth to two fifths fewer, least where the window is long.

Times are process times of a first, uncached build in milliseconds.  Run
``python -m benchmarks.bench_rational``.
"""

from __future__ import annotations

import warnings
from time import process_time
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import AAA
from scipy.optimize import nnls

from benchmarks.work import header
from fracsde.errors import OutOfRangeError
from fracsde.special.contours import contour, relaxation_oracle
from fracsde.special.exponentials import power_exponentials, relaxation_exponentials
from fracsde.special.rational import relaxation_poles

if TYPE_CHECKING:
    from collections.abc import Callable

HALPHEN = 9.28902549
POLE_TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11, 1e-13)
TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)
RATIOS = (1.0, 3.0, 10.0, 30.0, 100.0)
SPANS = (1e3, 1e5, 1e7, 1e9)
# numerics of the peers for the exponent 0.6: trapezoidal rule, and the fast half alone
TRAPEZOID = {
    1e3: (14, 22, 28, 37, 43),
    1e5: (20, 29, 38, 48, 57),
    1e7: (25, 37, 48, 60, 71),
    1e9: (30, 44, 58, 72, 85),
}
FAST_HALF = {
    1e3: (17, 25, 33, 41, 49),
    1e5: (25, 36, 47, 59, 70),
    1e7: (33, 47, 62, 77, 92),
    1e9: (40, 58, 76, 95, 113),
}
# largest errors of the balanced contour: ratio -> nodes -> error
BALANCED = {
    1.0: {4: 1.7e-4, 8: 1.9e-8, 12: 1.7e-12},
    10.0: {8: 5.9e-4, 12: 1.0e-5, 16: 1.7e-7, 24: 4.8e-11},
    100.0: {12: 1.1e-3, 16: 7.5e-5, 24: 4.9e-7, 32: 2.8e-9},
}


def timed(build: Callable[[], object]) -> tuple[object, float]:
    start = process_time()
    found = build()
    return found, 1e3 * (process_time() - start)


def aaa_solves(alpha: float, rtol: float) -> tuple[int, float]:
    """Solves of the smallest cleaned AAA form that keeps the tolerance, and its error."""
    y = np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    x = (1 + y) / (1 - y)
    values = relaxation_oracle(x, alpha)
    dense = np.concatenate([[0.0], np.geomspace(1e-6, 1e12, 4001)])
    exact = relaxation_oracle(dense, alpha)
    for terms in range(2, 24):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that it stops at ``terms`` is meant
            poles = AAA(y, values, rtol=1e-16, max_terms=terms, clean_up=False).poles()
        poles = (1 + poles) / (1 - poles)
        on_line = (np.abs(poles.imag) < 1e-6 * np.abs(poles)) & (poles.real > -1e-3)
        poles = poles[~on_line & (poles.imag >= -1e-9 * np.abs(poles))]
        if len(poles) == 0:
            continue

        def columns(at: np.ndarray, poles: np.ndarray = poles) -> np.ndarray:
            b = np.abs(poles) / (at[:, None] - poles)
            return np.hstack([np.ones((len(at), 1)), b.real, b.imag[:, np.abs(poles.imag) > 0]])

        matrix = columns(x)
        scale = np.linalg.norm(matrix, axis=0)
        fit = np.linalg.lstsq(matrix / scale, values, rcond=None)[0] / scale
        error = float(np.abs(columns(dense) @ fit - exact).max())
        if error <= rtol:
            return len(poles), error
    return 0, np.nan


def poles_table() -> None:
    print("\nPoles: solves (ours, AAA cleaned; 0: not reached), our error, build ms")
    for alpha in (0.2, 0.6, 0.8, 1.0):
        for rtol in POLE_TOLERANCES:
            form, ms = timed(lambda a=alpha, r=rtol: relaxation_poles(a, rtol=r))
            peer, _ = aaa_solves(alpha, rtol)
            best = f"  Halphen {np.log(1 / rtol) / np.log(HALPHEN):4.1f}" if alpha == 1.0 else ""
            print(
                f"alpha {alpha:3.1f}  rtol {rtol:.0e}  {form.solves:2d} {peer:2d}"
                f"  {form.error:.1e}  {ms:6.1f}{best}"
            )


def contour_table() -> None:
    print("\nContours: nodes by tolerance and ratio (build ms)")
    for rtol in TOLERANCES:
        cells = []
        for ratio in RATIOS:
            rule, ms = timed(lambda r=rtol, q=ratio: contour(rtol=r, window=(1.0, q)))
            cells.append(f"{len(rule.nodes):3d} ({ms:4.0f})")
        print(f"rtol {rtol:.0e}  " + "  ".join(cells))
    print("balanced parameters: nodes for an error, ours for the same")
    for ratio, rows in BALANCED.items():
        for nodes, error in rows.items():
            ours = len(contour(rtol=error, window=(1.0, ratio)).nodes)
            print(f"ratio {ratio:5.0f}  {error:.1e}  {nodes:2d}  {ours:2d}")


def power_table() -> None:
    print("\nt**-0.6: terms ours / trapezoidal / fast half of Jiang et al. (build ms)")
    for span in SPANS:
        cells = []
        for k, rtol in enumerate(TOLERANCES):
            found, ms = timed(lambda r=rtol, s=span: power_exponentials(0.6, rtol=r, window=(1, s)))
            peers = f"{TRAPEZOID[span][k]:2d}/{FAST_HALF[span][k]:3d}"
            cells.append(f"{len(found.rates):2d}/{peers} ({ms:4.0f})")
        print(f"T/delta {span:.0e}  " + "  ".join(cells))


def least_squares_terms(alpha: float, largest: float) -> tuple[int, float]:
    """Terms and error of non-negative least squares on four hundred rates."""
    y = np.concatenate([[0.0], np.geomspace(1e-3, largest, 500)])
    u = np.geomspace(1e-2 / largest, 50.0, 400)
    weights = nnls(np.exp(-np.outer(y, u)), relaxation_oracle(y, alpha), maxiter=40_000)[0]
    dense = np.geomspace(1e-4, largest, 4001)
    error = np.exp(-np.outer(dense, u)) @ weights - relaxation_oracle(dense, alpha)
    return int(np.count_nonzero(weights)), float(np.abs(error).max())


def relaxation_table() -> None:
    print("\nRelaxation: terms by tolerance (build ms), then least squares on a grid of rates")
    for alpha in (0.3, 0.6, 0.9):
        for largest in (1e3, 1e5):
            cells = []
            for rtol in (*TOLERANCES, 1e-13):
                try:
                    found, ms = timed(
                        lambda a=alpha, r=rtol, y=largest: relaxation_exponentials(
                            a, rtol=r, largest=y
                        )
                    )
                except OutOfRangeError:
                    cells.append("out of reach")
                    continue
                cells.append(f"{len(found.rates):2d} ({ms:4.0f})")
            terms, error = least_squares_terms(alpha, largest)
            print(
                f"alpha {alpha:3.1f}  to {largest:.0e}  {'  '.join(cells)}   {terms} ({error:.0e})"
            )


def main() -> None:
    print(header(__doc__.splitlines()[0]))
    poles_table()
    contour_table()
    power_table()
    relaxation_table()


if __name__ == "__main__":
    main()
