"""What do curvature and gradient noise of a torch model cost, against loops and curvlinops.

A perceptron of 64-32-10 units on the 1797 digits, 2410 parameters, the whole data, one thread.
Units are columns of the Hessian, products, leading eigenpairs, and examples; before any timing the
rows of a table must agree with one another to the rounding of their precision.

Predicted before the first run: in single precision the dense Hessian takes 2 to 3 seconds, ten
times less than column by column, here or in curvlinops; one product is as fast everywhere; ten
leading pairs cost about 100 products, 0.5 to 1 s; gradients of all examples take 0.02 to 0.05 s,
20 to 50 times less than a loop over examples; in double precision everything takes twice as long;
the compiled network of fracsde is five times faster than any of them on the Hessian.

Run ``python -m benchmarks.bench_curvature``.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.work import Absent, Timing, header, measure, table
from fracsde.estimators import curvature
from fracsde.networks import Network
from fracsde.recording.torch import TorchLoss

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = "TorchLoss, float32"
Calls = dict[str, "Callable[[], np.ndarray]"]
Rows = list[Timing | Absent]


def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.data / 16.0, found.target.astype(np.int64)


def perceptron() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))


def loop_columns(
    model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, count: int
) -> np.ndarray:
    """Return columns of the Hessian, as one writes it: a backward pass through the gradient."""
    parameters = list(model.parameters())
    value = torch.nn.functional.cross_entropy(model(x), y)
    slope = torch.cat(
        [g.reshape(-1) for g in torch.autograd.grad(value, parameters, create_graph=True)]
    )
    columns = []
    for k in range(count):
        parts = torch.autograd.grad(slope[k], parameters, retain_graph=True)
        columns.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(columns, dim=1).numpy()


def loop_examples(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Return gradients of examples, one backward pass each."""
    parameters, rows = list(model.parameters()), []
    for i in range(len(y)):
        value = torch.nn.functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        parts = torch.autograd.grad(value, parameters)
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(rows).numpy()


def peer(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[..., np.ndarray]:
    """Return products with the Hessian by curvlinops."""
    from curvlinops import HessianLinearOperator

    operator = HessianLinearOperator(
        model,
        torch.nn.CrossEntropyLoss(),
        list(model.parameters()),
        [(x, y)],
        check_deterministic=False,
    )

    def product(V: np.ndarray) -> np.ndarray:
        return (operator @ torch.as_tensor(V, dtype=torch.float32)).detach().numpy()

    return product


def measured(calls: Calls, expected: np.ndarray, units: float, repeats: int) -> Rows:
    rows: Rows = []
    for label, call in calls.items():
        tolerance = 1e-4 if "float64" not in label and "compiled" not in label else 1e-9
        scale = float(np.abs(expected).max())
        assert np.abs(call() - expected).max() < tolerance * scale, label
        rows.append(measure(label, call, units=units, repeats=repeats))
    if not any("curvlinops" in label for label in calls):
        rows.append(Absent(label="curvlinops", reason="not installed, or has none"))
    return rows


def main() -> None:
    torch.set_num_threads(1)
    print(header(__doc__.splitlines()[0]))
    x, y = digits()
    model = perceptron()
    X, Y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    single = TorchLoss(model, torch.nn.functional.cross_entropy, X, Y)
    double = TorchLoss(model, torch.nn.functional.cross_entropy, x, y, dtype=torch.float64)
    w = single.initial_parameters
    places = single.unflatten(np.arange(single.parameters))
    order = np.concatenate([part.T.ravel() for part in places.values()]).astype(int)
    back = np.argsort(order)
    net = Network(inputs=x, targets=y, hidden=(32,))
    u, P = w[order], single.parameters
    products = peer(model, X, Y) if find_spec("curvlinops") else None
    v = np.random.default_rng(0).normal(size=P)

    H = double.hessian(w)
    calls: Calls = {
        OURS: lambda: single.hessian(w),
        "TorchLoss, float64": lambda: double.hessian(w),
        "compiled network, float64": lambda: net.hessian(u)[np.ix_(back, back)],
        "loop over columns": lambda: loop_columns(model, X, Y, P),
    }
    if products:
        calls["curvlinops, times identity"] = lambda: products(np.eye(P))
    print("\nThe dense Hessian")
    print(table(measured(calls, H, P, 1), unit="column", reference=OURS))

    calls = {
        OURS: lambda: single.hessian_vector_product(w, v),
        "TorchLoss, float64": lambda: double.hessian_vector_product(w, v),
        "compiled network, float64": lambda: net.hessian_vector_product(u, v[order])[back],
    }
    if products:
        calls["curvlinops"] = lambda: products(v)
    print("\nOne product")
    print(table(measured(calls, H @ v, 1, 20), unit="product", reference=OURS))

    calls = {
        OURS: lambda: curvature(single, w, top=10, tolerance=1e-6).eigenvalues,
        "TorchLoss, float64": lambda: curvature(double, w, top=10).eigenvalues,
        "compiled network, float64": lambda: curvature(net, u, top=10).eigenvalues,
    }
    if products:
        from scipy.sparse.linalg import LinearOperator, eigsh

        operator = LinearOperator((P, P), matvec=products, dtype=np.float64)
        calls["curvlinops, eigsh"] = lambda: eigsh(
            operator, k=10, which="LA", tol=1e-6, return_eigenvectors=False
        )[::-1]
    top = np.linalg.eigvalsh(H)[:-11:-1]
    print("\nTen leading eigenpairs")
    print(table(measured(calls, top, 10, 3), unit="pair", reference=OURS))

    calls = {
        OURS: lambda: single.per_example_gradients(w),
        "TorchLoss, float64": lambda: double.per_example_gradients(w),
        "compiled network, float64": lambda: net.per_example_gradients(u)[:, back],
        "loop over examples": lambda: loop_examples(model, X, Y),
    }
    print("\nGradients of all examples")
    rows = double.per_example_gradients(w)
    print(table(measured(calls, rows, len(y), 3), unit="example", reference=OURS))


if __name__ == "__main__":
    main()
