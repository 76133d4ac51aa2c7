"""Question: what does an exact covariance with state-dependent noise cost, by which road.

Three roads to the stationary covariance of least squares in ``d`` weights, ``N = 2 d`` examples:
conjugate gradients on ``d x d`` matrices, the ``d^2 x d^2`` matrix of the map of second moments
solved as it stands, and a simulation, whose error falls with the root of its steps.

Predicted.  An iteration is two products of ``N x d`` with ``d x d`` and three of ``d x d``, 14 d^3
operations or so; some 20 iterations for the solution and its error bound make 300 d^3.  The written
map costs ``2/3 d^6``: level with the others near d = 6, ten times as much at d = 15, and its matrix
alone 5 GB at d = 160.  A simulation needs about ``2 / error^2`` independent draws for one variance,
an independent draw ``1 / (eta h)`` steps: 1e6 steps for 1 %, whatever the dimension, and 1e28 for
rounding; so the exact road is ahead of a simulation of 1 % up to some d = 1000.

Every covariance must agree with the others to its stated error before any timing.  Run
``python -m benchmarks.bench_second_moments``.
"""

from __future__ import annotations

from time import process_time

import numpy as np

from benchmarks.work import header
from fracsde.lyapunov.moments import stationary_moments
from fracsde.problems.least_squares import LeastSquaresSGD

SIZES = (5, 10, 20, 50, 100, 200, 400)
WRITTEN_UP_TO = SIMULATED_UP_TO = 50
BATCH, SHARE, REPLICAS = 8, 0.3, 100


def problem(d: int) -> LeastSquaresSGD:
    rng = np.random.default_rng(d)
    X = rng.normal(size=(2 * d, d)) * np.geomspace(1.0, 0.3, d)
    y = X @ rng.normal(size=d) + rng.normal(size=2 * d)
    H = np.einsum("ni,nj->ij", X, X) / (2 * d)
    rate = SHARE * 2.0 * BATCH / (np.trace(H) + (BATCH + 1) * np.linalg.norm(H, 2))
    return LeastSquaresSGD(inputs=X, targets=y, learning_rate=rate, batch_size=BATCH)


def fresh(sgd: LeastSquaresSGD) -> LeastSquaresSGD:
    # Nothing remembered from an earlier call.
    return LeastSquaresSGD(
        inputs=sgd.inputs,
        targets=sgd.targets,
        learning_rate=sgd.learning_rate,
        batch_size=sgd.batch_size,
    )


def best(call: object, repeats: int) -> tuple[float, object]:
    assert callable(call)
    times, value = [], None
    for _ in range(repeats):
        begin = process_time()
        value = call()
        times.append(process_time() - begin)
    return min(times), value


def simulation(sgd: LeastSquaresSGD) -> float:
    # Seconds for a relative error of 1 % in the summed variance, from the error it had.
    rng, w = np.random.default_rng(1), np.tile(sgd.minimum, (REPLICAS, 1))
    X, y, total = sgd.inputs, sgd.targets, np.zeros(REPLICAS)
    steps = int(5.0 / (sgd.learning_rate * np.linalg.eigvalsh(sgd.curvature)[0]))
    begin = process_time()
    for step in range(2 * steps):
        batch = rng.integers(len(X), size=(REPLICAS, BATCH))
        rows = X[batch]
        r = (rows @ w[:, :, None])[:, :, 0] - y[batch]
        w = w - sgd.learning_rate / BATCH * (r[:, None, :] @ rows)[:, 0]
        if step >= steps:
            total += np.square(w - sgd.minimum).sum(axis=1) / steps
    seconds = process_time() - begin
    error = float(total.std(ddof=1) / total.mean() / np.sqrt(REPLICAS))
    exact = float(np.trace(stationary_moments(sgd).matrix))
    assert abs(total.mean() / exact - 1.0) < 6 * error, "simulation and equation disagree"
    return seconds * (error / 0.01) ** 2


def main() -> None:
    print(header("What does an exact covariance with state-dependent noise cost?"))
    print("seconds of processor time; error relative to the largest eigenvalue")
    print(f"{'d':>5} {'gradients':>10} {'error':>9} {'per d^3':>9} {'written':>9} {'sim 1 %':>9}")
    for d in SIZES:
        sgd = problem(d)
        repeats = 5 if d <= 100 else 2
        ours, found = best(lambda: stationary_moments(fresh(sgd)), repeats)  # noqa: B023
        size = np.linalg.norm(found.matrix, 2)
        assert found.status.ok
        written = float("nan")
        if d <= WRITTEN_UP_TO:
            written, other = best(
                lambda: stationary_moments(fresh(sgd), method="vectorised"),  # noqa: B023
                2 if d < 20 else 1,
            )
            gap = np.linalg.norm(found.matrix - other.matrix, 2)
            assert gap <= found.error_estimate + other.error_estimate
        simulated = simulation(sgd) if d <= SIMULATED_UP_TO else float("nan")
        print(
            f"{d:5d} {ours:10.4f} {found.error_estimate / size:9.1e} {1e9 * ours / d**3:7.0f}ns "
            f"{written:9.3f} {simulated:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
