"""Question: what does recording every step cost a PyTorch training loop?

A perceptron 784-128-10 (101,770 parameters), batches of 128 drawn with replacement, SGD with and
without momentum, one thread.  Steps with a recorder and without one take turns in blocks, on one
model, so that both meet the same machine; the cost is the median over blocks of the ratio of their
process times, less one.  Recorded at every step: 32 random projections and the scalars (inner
products of whole vectors, learning rate, loss, batch size).

Predicted before the first run: a step takes 1.2 ms; hooks and the row 20 us, inner products 10 us
and disjoint projections 12 us, so 3.5 %.  Dense projections read 13 MB a step, half the time of a
step, whatever is done about them.

Run ``python -m benchmarks.bench_recording_torch``.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.work import header

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde.recording import Observe

BLOCKS, STEPS = 16, 256
SIZES, BATCH, EXAMPLES = (784, 128, 10), 128, 4096


def training(momentum: float) -> tuple[Any, Any, Callable[[Any], None]]:
    import torch

    torch.manual_seed(0)
    inputs = torch.randn(EXAMPLES, SIZES[0])
    labels = torch.randint(0, SIZES[-1], (EXAMPLES,))
    first, second = torch.nn.Linear(*SIZES[:2]), torch.nn.Linear(*SIZES[1:])
    model = torch.nn.Sequential(first, torch.nn.ReLU(), second)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=momentum)

    def step(recorder: Any) -> None:
        chosen = torch.randint(0, EXAMPLES, (BATCH,))
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen])
        loss.backward()
        if recorder is not None:
            recorder.note_loss(loss)
        optimizer.step()

    return model, optimizer, step


def block(step: Callable[[Any], None], recorder: Any) -> float:
    clock = process_time()
    for _ in range(STEPS):
        step(recorder)
    return (process_time() - clock) / STEPS


def cost(momentum: float, observe: Observe, scalars: bool) -> tuple[float, np.ndarray]:
    """Return seconds of a bare step, and the ratio of each pair of blocks."""
    from fracsde.recording.torch import record

    model, optimizer, step = training(momentum)
    ratios, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(BLOCKS + 1):
            without = block(step, None) if pair % 2 else 0.0
            path = Path(folder) / str(pair)
            with record(model, optimizer, path, observe=observe, scalars=scalars) as recorder:
                recorded = block(step, recorder)
            without = without or block(step, None)
            if pair:  # the first compiles
                ratios.append(recorded / without)
                bare.append(without)
    return median(bare), np.array(ratios)


def main() -> None:
    print(header((__doc__ or "").splitlines()[0]))
    if not find_spec("torch"):
        print("torch is not installed")
        return
    import torch

    from fracsde.recording import Coordinates, Full, RandomProjection

    torch.set_num_threads(1)
    cases = (
        ("32 disjoint projections, scalars", RandomProjection(32, form="disjoint"), True),
        ("32 disjoint projections", RandomProjection(32, form="disjoint"), False),
        ("32 coordinates, scalars", Coordinates(count=32), True),
        ("all weights", Full(), False),
        ("32 dense projections, scalars", RandomProjection(32), True),
    )
    print(f"\n{'':38}  momentum  step, us   median  quartiles of the cost")
    for label, observe, scalars in cases:
        for momentum in (0.0, 0.9):
            bare, ratios = cost(momentum, observe, scalars)
            low, mid, high = np.quantile(ratios - 1.0, (0.25, 0.5, 0.75))
            print(
                f"{label:38}  {momentum:8}  {1e6 * bare:8.0f}  {mid:7.1%}  {low:.1%} to {high:.1%}"
            )


if __name__ == "__main__":
    main()
