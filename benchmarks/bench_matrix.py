"""Question: what does a Mittag-Leffler function of a matrix cost, beside its nearest peers.

(a) A dense symmetric matrix: the floor is the eigendecomposition.  Predicted: 1.1 to 1.5 times
it.
(b) A sparse chain of 1e3 to 1e5 cells at one time and ``alpha = 1``, against
``scipy.sparse.linalg.expm_multiply``, whose cost grows with ``t |L|``.  Predicted: 50 times faster
at ``t |L| = 1e3``, since seven solves do not see the norm; slower below about 20.
First timings gave 6 to 25 times at 1e3 and 2 to 6 times slower at 10.
(c) The same chain at ``alpha = 0.6``, where SciPy has nothing: shifted solves against Lanczos.

A unit is one cell at one output time.  Every route must agree to 1e-10 with the modes known in
closed form before it is timed.  Run ``python -m benchmarks.bench_matrix``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.fft import dst
from scipy.sparse.linalg import aslinearoperator, expm_multiply

from benchmarks.work import header, measure, table
from fracsde.special.matrix import mittag_leffler_action
from fracsde.special.mittag_leffler import mittag_leffler

if TYPE_CHECKING:
    from collections.abc import Callable

DENSE = (300, 1000)
SPARSE = (1_000, 10_000, 100_000)
STIFF = (10.0, 1e3)  # t |L|


def chain(n: int) -> tuple[sp.csr_array, np.ndarray]:
    e = np.ones(n - 1)
    L = sp.diags_array([e, np.full(n, -2.0), e], offsets=[-1, 0, 1]).tocsr()
    return L, -4.0 * np.sin(0.5 * np.pi * np.arange(1, n + 1) / (n + 1)) ** 2


def exact(rates: np.ndarray, v: np.ndarray, t: float, alpha: float) -> np.ndarray:
    start = dst(v, type=1, norm="ortho")
    return np.asarray(dst(mittag_leffler(t**alpha * rates, alpha) * start, type=1, norm="ortho"))


def compare(
    title: str, routes: dict[str, Callable[[], np.ndarray]], expected: np.ndarray, reference: str
) -> None:
    rows = []
    for label, call in routes.items():
        gap = np.linalg.norm(call() - expected) / np.linalg.norm(expected)
        assert gap < 1e-10, (label, gap)
        rows.append(measure(label, call, units=len(expected), repeats=3))
    print(f"\n{title}")
    print(table(rows, unit="cells", reference=reference))


def dense(n: int) -> None:
    L, rates = chain(n)
    A, v, t = L.toarray(), np.random.default_rng(n).normal(size=n), 2.0

    def floor() -> np.ndarray:
        values, U = scipy.linalg.eigh(A)
        return U @ (mittag_leffler(t**0.6 * values, 0.6) * (U.T @ v))

    routes = {
        "fracsde, dense": lambda: mittag_leffler_action(A, v, t, 0.6),
        "eigh and scalar function": floor,
    }
    compare(f"dense, n = {n}", routes, exact(rates, v, t, 0.6), "eigh and scalar function")


def sparse(n: int, stiff: float) -> None:
    L, rates = chain(n)
    v, t = np.random.default_rng(n).normal(size=n), stiff / 4.0
    routes = {
        "fracsde, poles": lambda: mittag_leffler_action(L, v, t, 1.0),
        "fracsde, lanczos": lambda: mittag_leffler_action(L, v, t, 1.0, method="krylov"),
        "scipy, expm_multiply": lambda: expm_multiply(t * L, v),
    }
    title = f"alpha = 1, n = {n}, t |L| = {stiff:g}"
    compare(title, routes, exact(rates, v, t, 1.0), "fracsde, poles")
    free, s = aslinearoperator(L), (stiff / 4.0) ** (1 / 0.6)
    slow = {
        "fracsde, poles": lambda: mittag_leffler_action(L, v, s, 0.6),
        "fracsde, lanczos": lambda: mittag_leffler_action(free, v, s, 0.6, symmetric=True),
    }
    title = f"alpha = 0.6, n = {n}, t**alpha |L| = {stiff:g}"
    compare(title, slow, exact(rates, v, s, 0.6), "fracsde, poles")


def main() -> None:
    print(header("What does a Mittag-Leffler function of a matrix cost?"))
    for n in DENSE:
        dense(n)
    for n in SPARSE:
        for stiff in STIFF:
            sparse(n, stiff)


if __name__ == "__main__":
    main()
