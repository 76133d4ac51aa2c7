"""How many SGD replica-steps per second, against PyTorch's own loop and torch.func.vmap?

Network 64-16-10 (tanh, cross-entropy, weight decay), 1797 handwritten digits, batches of 32,
momentum 0.9, everything in float64 on one core for PyTorch, on all for the compiled replicas.
One unit is one step of one replica.  Before any timing, the PyTorch loop is fed the batches
that :func:`fracsde.networks.batch_indices` says the compiled loop reads, and must end where it
ends: the rows time the same computation.

Predicted before the first run: per core the compiled replicas take 20 times as many steps as
PyTorch's loop over one replica, and 5 times as many as vmap over 64.  Projections on 20
directions at every step cost a quarter.

Run with ``OPENBLAS_NUM_THREADS=1 python -m benchmarks.bench_sgd_replicas``.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.work import Absent, Timing, header, measure, table
from fracsde.networks import Network, batch_indices, run_sgd

if TYPE_CHECKING:
    from collections.abc import Callable

RATE, MOMENTUM, DECAY, BATCH = 0.1, 0.9, 1e-2, 32


def digits(hidden: int) -> Network:
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    inputs = inputs / 16
    return Network(
        inputs=inputs - inputs.mean(axis=0), targets=labels, hidden=(hidden,), weight_decay=DECAY
    )


def compiled(
    net: Network, start: np.ndarray, replicas: int, steps: int, **options: Any
) -> np.ndarray:
    return run_sgd(
        net,
        start,
        learning_rate=RATE,
        momentum=MOMENTUM,
        batch_size=BATCH,
        steps=steps,
        replicas=replicas,
        seed=1,
        **options,
    ).final_positions


def torch_loop(net: Network, start: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """One replica with torch.nn and torch.optim.SGD, as one would write it."""
    import torch

    torch.set_num_threads(1)
    x, y = torch.tensor(np.array(net.inputs)), torch.tensor(np.array(net.targets))
    shapes = net.layer_shapes
    model = torch.nn.Sequential(
        torch.nn.Linear(*shapes[0]), torch.nn.Tanh(), torch.nn.Linear(*shapes[1])
    ).double()
    with torch.no_grad():
        for layer, (weights, bias) in zip((model[0], model[2]), net.unflatten(start), strict=True):
            layer.weight.copy_(torch.tensor(weights.T.copy()))
            layer.bias.copy_(torch.tensor(bias.copy()))
    # Buffer b <- mu b + g, w <- w - eta b is the heavy ball with v = -eta b.
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    for rows in torch.tensor(batches):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()
    parts = [
        part
        for layer in (model[0], model[2])
        for part in (layer.weight.detach().T.reshape(-1), layer.bias.detach())
    ]
    return torch.cat(parts).numpy()


def torch_vmap(net: Network, start: np.ndarray, replicas: int, steps: int) -> Callable[[], object]:
    """Many replicas with torch.func: a gradient, mapped over replicas."""
    import torch

    torch.set_num_threads(1)
    x, y = torch.tensor(np.array(net.inputs)), torch.tensor(np.array(net.targets))
    (fan_in, hidden), (_, outputs) = net.layer_shapes
    split = fan_in * hidden

    def loss(w: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        first = w[:split].reshape(fan_in, hidden)
        end = split + hidden + hidden * outputs
        last = w[split + hidden : end].reshape(hidden, outputs)
        z = torch.tanh(x[rows] @ first + w[split : split + hidden]) @ last + w[end:]
        return torch.nn.functional.cross_entropy(z, y[rows])

    gradient = torch.func.vmap(torch.func.grad(loss))

    def run() -> torch.Tensor:
        w = torch.tensor(start).repeat(replicas, 1)
        v = torch.zeros_like(w)
        for _ in range(steps):
            rows = torch.randint(0, net.examples, (replicas, BATCH))
            v.mul_(MOMENTUM).sub_(RATE * (gradient(w, rows) + DECAY * w))
            w.add_(v)
        return w

    return run


def rows(hidden: int) -> list[Timing | Absent]:
    net = digits(hidden)
    start = net.initial_parameters(np.random.default_rng(0))
    directions = np.linalg.qr(np.random.default_rng(1).normal(size=(net.parameters, 20)))[0]
    name = f"hidden {hidden}: "
    found: list[Timing | Absent] = [
        measure(
            name + "compiled, 256 replicas",
            lambda: compiled(net, start, 256, 200),
            units=256 * 200,
        ),
        measure(
            name + "the same with 20 projections a step",
            lambda: compiled(net, start, 256, 200, directions=directions),
            units=256 * 200,
        ),
        measure(name + "compiled, 1 replica", lambda: compiled(net, start, 1, 5000), units=5000),
    ]
    if find_spec("torch") is None:
        return [
            *found,
            Absent(label=name + "torch loop, 1 replica", reason="torch is not installed"),
            Absent(label=name + "torch.func.vmap, 64 replicas", reason="torch is not installed"),
        ]
    batches = batch_indices(net.examples, BATCH, 500, seed=1)
    gap = np.abs(torch_loop(net, start, batches) - compiled(net, start, 1, 500)[0]).max()
    if gap > 1e-9:
        msg = f"the PyTorch loop ends {gap:.2g} away from the compiled one"
        raise AssertionError(msg)
    vmapped = torch_vmap(net, start, 64, 50)
    found.append(
        measure(name + "torch loop, 1 replica", lambda: torch_loop(net, start, batches), units=500)
    )
    found.append(measure(name + "torch.func.vmap, 64 replicas", vmapped, units=64 * 50))
    return found


def main() -> None:
    print(header(__doc__.splitlines()[0]))
    for hidden in (16, 64):
        found = rows(hidden)
        print()
        print(table(found, unit="steps", reference=found[0].label))


if __name__ == "__main__":
    main()
