"""Question: what does a formula cost, against the same written by hand in NumPy.

The surface of Mueller and Brown and its gradient on lists of points of growing length, on a tensor
grid, and a quartic on a long list; beside it what SymPy's ``lambdify`` makes of the same formula,
with common pieces taken out (it runs generated text, which a formula of unknown origin forbids).

Predicted before the first run: twice the cost of NumPy where arrays are short and the price of a
call decides, the same where they are long.  Seen: up to 1.8 times where they are short; a third to
a half of NumPy and of ``lambdify`` where they are long, because slabs stay in cache; a twentieth
for the quartic, whose powers are products.

Times are process times of the fastest of several calls, in milliseconds; ratios are to NumPy of the
same run.  Run ``python -m benchmarks.bench_expressions``.
"""

from __future__ import annotations

from time import process_time
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from benchmarks.work import header
from fracsde.problems.potentials import mueller_brown, quartic

if TYPE_CHECKING:
    from collections.abc import Callable

A, X, Y = (-200, -100, -170, 15), (1, 0, -0.5, -1), (0, 0.5, 1.5, 1)
a, b, c = (-1, -1, -6.5, 0.7), (0, 0, 11, 0.6), (-10, -10, -6.5, 0.7)
LENGTHS = (100, 10_000, 1_000_000)


def surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return sum(
        A[k]
        * np.exp(a[k] * (x - X[k]) ** 2 + b[k] * (x - X[k]) * (y - Y[k]) + c[k] * (y - Y[k]) ** 2)
        for k in range(4)
    )


def slopes(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    gx, gy = 0.0, 0.0
    for k in range(4):
        u, v = x - X[k], y - Y[k]
        e = A[k] * np.exp(a[k] * u**2 + b[k] * u * v + c[k] * v**2)
        gx, gy = gx + e * (2 * a[k] * u + b[k] * v), gy + e * (b[k] * u + 2 * c[k] * v)
    return gx, gy


def well(x: np.ndarray) -> np.ndarray:
    return x**4 / 4 - x**2 / 2


def fastest(function: Callable[..., object], *arguments: np.ndarray, calls: int = 15) -> float:
    function(*arguments)
    times = []
    for _ in range(calls):
        start = process_time()
        function(*arguments)
        times.append(process_time() - start)
    return 1e3 * min(times)


def row(name: str, formula: object, hand: object, generated: object, *points: np.ndarray) -> None:
    times = [fastest(f, *points) for f in (formula, hand, generated)]
    shown = "".join(f"{t:11.3f}" for t in times)
    print(f"{name:>24}{shown}{times[0] / times[1]:10.2f}{times[2] / times[1]:10.2f}")


def main() -> None:
    print(header(__doc__.splitlines()[0]))
    V, W = mueller_brown(), quartic(stiffness=-1.0)
    plain = sp.lambdify(V.symbols, V.sympy, "numpy", cse=True)
    sloped = sp.lambdify(V.symbols, V.gradient, "numpy", cse=True)
    quick = sp.lambdify(W.symbols, W.sympy, "numpy", cse=True)
    print(f"\n{'':>24}{'formula':>11}{'NumPy':>11}{'lambdify':>11}{'ratio':>10}{'ratio':>10}")
    for n in LENGTHS:
        x, y = np.linspace(-1.0, 1.0, n), np.linspace(0.0, 1.5, n)
        row(f"surface, {n}", V, surface, plain, x, y)
        row(f"its gradient, {n}", V.gradient_at, slopes, sloped, x, y)
    x = np.linspace(-1.0, 1.0, 1000)
    row("surface, 1000 x 1000", V, surface, plain, x[:, None], x)
    row("quartic, 1000000", W, well, quick, np.linspace(-1.0, 1.0, 1_000_000))


if __name__ == "__main__":
    main()
