"""Question: what does recording every step cost a PyTorch training loop?

A perceptron 784-128-10 (101,770 parameters), batches of 128 drawn with replacement, SGD with and
without momentum, one thread.  Steps with a recorder and without one take turns, eight at a time, on
the same weights, so that both meet the same machine; the first two of each eight, which find the
caches as the others left them, are not counted.  The cost is the difference of the median processor
times of a step, and the time of writing a row, of many at once, which is measured apart.
Recorded at every step: 32 random projections and the scalars (inner products of whole vectors,
learning rate, loss, batch size).

Predicted before signs were packed and compiled code was entered without numba's dispatch: a step
takes 1.0 ms; the call before the model 10 us, the call after the optimiser 12 us with a pass of 8,
writing 3, so 3.5 % for projections; scalars read 0.8 MB more and ask each gradient where it is,
another 50 us.  Dense projections read 13 MB a step, half the time of a step, whatever is done.
Counted on afterwards, not before it was measured, from the parts: 4 us for counting in place of 11
and 5 us less for the rest, so 35 us, 4 %; 35 us more for scalars at every step, 7.5 %; 4.5 % for
those of every tenth step.  Measured were 4 to 5 %, 9 to 11 % and 6 to 7 %.  Then a hook was set on
a gradient: predicted were 2 us more, 0.15 %, less than what two runs differ by.

Run ``python -m benchmarks.bench_recording_torch``.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.work import header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fracsde.recording import Observe

ROUNDS, TURN, LEFT_OUT = 180, 8, 2
SIZES, BATCH, EXAMPLES = (784, 128, 10), 128, 4096


def training(momentum: float) -> list[tuple[Any, Any, Callable[[Any], None]]]:
    """Return a model, its optimiser and a step twice, of which one will be recorded."""
    import torch

    torch.manual_seed(0)
    inputs = torch.randn(EXAMPLES, SIZES[0])
    labels = torch.randint(0, SIZES[-1], (EXAMPLES,))
    layers = torch.nn.Linear(*SIZES[:2]), torch.nn.ReLU(), torch.nn.Linear(*SIZES[1:])

    def twin() -> tuple[Any, Any, Callable[[Any], None]]:
        model = torch.nn.Sequential(*layers)  # the same weights
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

    return [twin(), twin()]


def turn(step: Callable[[Any], None], recorder: Any) -> list[float]:
    """Return the processor times of some steps."""
    times = []
    for _ in range(TURN):
        clock = process_time()
        step(recorder)
        times.append(process_time() - clock)
    return times[LEFT_OUT:]


@contextmanager
def unwatched(model: Any) -> Iterator[None]:
    """Take the hook away that watches gradients: both train the same weights."""
    hooks = model[-1].bias._post_accumulate_grad_hooks
    held = dict(hooks)
    hooks.clear()
    yield
    hooks.update(held)


def cost(momentum: float, rows: int, **options: Any) -> tuple[float, float, np.ndarray]:
    """Return seconds of a bare step and of writing a row, and the cost in each of five parts."""
    from fracsde.recording.torch import record

    (_, _, bare_step), (model, optimizer, step) = training(momentum)
    bare, recorded, written = [], [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        record(model, optimizer, folder + "/run", **options) as recorder,
    ):
        for _ in range(4):  # compiles
            step(recorder)
        for round_ in range(ROUNDS):
            with unwatched(model):
                bare.append(turn(bare_step, None))
            recorded.append(turn(step, recorder))
            if (round_ + 1) % (rows // TURN) == 0:
                clock = process_time()
                recorder.flush()
                written.append((process_time() - clock) / rows)
    writing = median(written)
    parts = zip(np.array_split(bare, 5), np.array_split(recorded, 5), strict=True)
    costs = [(np.median(with_) + writing) / np.median(without) - 1 for without, with_ in parts]
    return float(np.median(bare)), writing, np.sort(costs)


def main() -> None:
    print(header((__doc__ or "").splitlines()[0]))
    if not find_spec("torch"):
        print("torch is not installed")
        return
    import torch

    from fracsde.recording import Coordinates, Every, Full, RandomProjection

    torch.set_num_threads(1)
    disjoint = RandomProjection(32, form="disjoint")
    cases: tuple[tuple[str, Observe, dict[str, Any]], ...] = (
        ("32 disjoint projections", disjoint, {"scalars": False}),
        ("the same, batch size given", disjoint, {"scalars": False, "batch_size": BATCH}),
        ("32 disjoint projections, scalars", disjoint, {}),
        ("the same, batch size given", disjoint, {"batch_size": BATCH}),
        ("scalars, products every 10 steps", disjoint, {"scalars": Every(10)}),
        ("32 coordinates", Coordinates(count=32), {"scalars": False}),
        ("all weights", Full(), {"scalars": False}),
        ("32 dense projections, scalars", RandomProjection(32), {}),
    )
    print(f"\n{'':34}  momentum  step, us  row, us    cost  in fifths of the run")
    for label, observe, options in cases:
        for momentum in (0.0, 0.9):
            rows = 32 if isinstance(observe, Full) else 240
            bare, writing, costs = cost(momentum, rows, observe=observe, **options)
            spread = f"{costs[0]:.1%} to {costs[-1]:.1%}"
            print(
                f"{label:34}  {momentum:8}  {1e6 * bare:8.0f}  {1e6 * writing:7.1f}"
                f"  {costs[2]:6.1%}  {spread}",
                flush=True,
            )


if __name__ == "__main__":
    main()
