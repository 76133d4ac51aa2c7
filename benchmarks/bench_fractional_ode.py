"""Question: how much sooner than every other package do we reach the error that it reaches?

Relaxation, D^(1/2) y = -y on [0, 10], whose exact solution is erfcx(sqrt t), with all nodes of the
mesh returned; then diffusion on 99 points, D^(1/2) u = A u to t = 1, against the exact solution of
the same system.  Each peer runs its own scheme; ours runs the adaptive scheme with the loosest
tolerance in a row of tens whose error is no larger, and L1 with the same steps, whose histories
may be fast.  CPU time, best of three; a peer's longest runs once.

Predicted: one peer step costs 60 to 100 microseconds and their history is quadratic, ours needs
twenty intervals of half a millisecond: 50 times at 1e4 steps for relaxation, several hundred for
diffusion.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import process_time

import numpy as np
from scipy.sparse import csc_array, diags_array
from scipy.special import erfcx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers.fractional import DIFFUSION, RELAXATION, installed
from benchmarks.work import header
from fracsde import L1, Adaptive, BlockFFT, FractionalODE, TimeGrid, solve

ALPHA, END, POINTS = 0.5, 10.0, 99
TOLERANCES = 10.0 ** -np.arange(1.0, 12.0)

DECAY = FractionalODE(linear=[[-1.0]], initial=1.0, alpha=ALPHA)
WIDTH = 1.0 / (POINTS + 1)
MODE = np.sin(np.pi * WIDTH * np.arange(1, POINTS + 1))
HEAT = FractionalODE(
    linear=csc_array(
        diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(POINTS, POINTS)) / WIDTH**2
    ),
    initial=MODE,
    alpha=ALPHA,
)
HEAT_END = erfcx(4.0 * np.sin(0.5 * np.pi * WIDTH) ** 2 / WIDTH**2) * MODE


def cpu(call: object, repeats: int) -> tuple[float, np.ndarray]:
    """Return the smallest CPU time and the last result."""
    best, found = np.inf, None
    for _ in range(repeats):
        start = process_time()
        found = call()
        best = min(best, process_time() - start)
    return best, found


def relaxation_error(n: int, values: np.ndarray) -> float:
    return float(np.abs(values - erfcx(np.sqrt(np.linspace(0.0, END, n + 1)))).max())


def heat_error(last: np.ndarray) -> float:
    return float(np.abs(last / HEAT_END - 1.0).max())


def adaptive(problem: FractionalODE, grid: TimeGrid, error: object, wanted: float):
    """Return CPU time and error of ours with the loosest tolerance that is good enough."""
    for rtol in TOLERANCES:
        scheme = Adaptive(rtol=rtol, atol=1e-3 * rtol)
        solution = solve(problem, grid, scheme=scheme)
        if error(solution.values) <= wanted:
            return (*cpu(lambda s=scheme: solve(problem, grid, scheme=s).values, 3), rtol)
    return np.inf, None, np.nan


def row(label: str, n: int, seconds: float, error: float, ours: tuple) -> None:
    print(
        f"{label:24}{n:8d}{1e3 * seconds:12.1f}{error:10.1e}{1e3 * ours[0]:10.1f}"
        f"{ours[2]:9.0e}{seconds / ours[0]:9.0f}x"
    )


def compare(title: str, problem: FractionalODE, peers: dict, run: object, error_of: object) -> None:
    print(f"\n{title}\n{'':24}{'steps':>8}{'CPU ms':>12}{'error':>10}{'ours ms':>10}{'rtol':>9}")
    for n in (1_000, 10_000):
        for label, (module, solver, longest) in peers.items():
            if not installed(module):
                print(f"{label:24}{n:8d}  not installed")
            elif n <= longest:
                seconds, values = cpu(lambda s=solver, n=n: run(s, n), 3 if n == 1_000 else 1)
                error = error_of(n, values)
                grid = TimeGrid.uniform(END, n) if problem is DECAY else TimeGrid.uniform(1.0, 1)
                ours = adaptive(
                    problem,
                    grid,
                    lambda v, n=n: error_of(n, v[:, 0] if problem is DECAY else v[-1]),
                    error,
                )
                row(label, n, seconds, error, ours)


def main() -> None:
    print(header((__doc__ or "").splitlines()[0]))
    compare(
        "relaxation",
        DECAY,
        RELAXATION,
        lambda solver, n: solver(ALPHA, END, n),
        relaxation_error,
    )
    compare(
        "diffusion",
        HEAT,
        DIFFUSION,
        lambda solver, n: solver(MODE, ALPHA, 1.0, n),
        lambda n, last: heat_error(last),
    )
    print(f"\nours, L1 with the same steps\n{'':24}{'steps':>8}{'CPU ms':>12}{'error':>10}")
    for n in (1_000, 10_000, 100_000):
        scheme = L1(history=BlockFFT())
        grid = TimeGrid.uniform(END, n)
        seconds, found = cpu(
            lambda s=scheme, g=grid: solve(DECAY, g, scheme=s), 3 if n < 1e5 else 1
        )
        error = relaxation_error(n, found.values[:, 0])
        print(f"{'relaxation':24}{n:8d}{1e3 * seconds:12.1f}{error:10.1e}")


if __name__ == "__main__":
    main()
