"""A recorded PyTorch run holds what a hand-written recording of the same run holds."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fracsde as fs
from fracsde.errors import FileWriteError, InputError, RecordError, UnsupportedError
from fracsde.recording import (
    Coordinates,
    Every,
    Full,
    LogSpaced,
    Projection,
    RandomProjection,
    Recorder,
    RunStatus,
)

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")
from fracsde.recording.torch import TorchRecorder, _addresses, record  # noqa: E402
from fracsde.recording.torch.reading import HostReader, TensorReader, Unsuited  # noqa: E402

torch.set_num_threads(1)
EXAMPLES = 40


class Run:
    """A small training run whose every step is noted by hand."""

    def __init__(self, dtype: Any = None, groups: bool = False, **options: Any) -> None:
        generator = torch.Generator().manual_seed(3)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)
        )
        with torch.no_grad():
            for p in self.model.parameters():
                p.copy_(torch.randn(p.shape, generator=generator) / 2)
        self.model.to(dtype or torch.float32)
        settings = {"lr": 0.2, "momentum": 0.5} | options
        parts: Any = self.model.parameters()
        if groups:
            parts = [
                {"params": self.model[0].parameters(), "lr": 0.1},
                {"params": self.model[2].parameters()},
            ]
        self.optimizer = torch.optim.SGD(parts, **settings)
        self.x = torch.randn(EXAMPLES, 5, generator=generator).to(dtype or torch.float32)
        self.y = torch.randint(0, 3, (EXAMPLES,), generator=generator)
        self.generator = torch.Generator().manual_seed(4)
        self.rows: list[dict[str, Any]] = [{"w": self.weights()}]

    def weights(self) -> np.ndarray:
        return flat(p.detach() for p in self.model.parameters())

    def step(self, recorder: Any = None, batches: int = 1) -> None:
        self.optimizer.zero_grad()
        for _ in range(batches):
            i = torch.randint(0, EXAMPLES, (8,), generator=self.generator)
            loss = torch.nn.functional.cross_entropy(self.model(self.x[i]), self.y[i]) / batches
            loss.backward()
        if recorder is not None:
            recorder.note_loss(loss)
        w, g = self.weights(), flat(p.grad for p in self.model.parameters())
        self.optimizer.step()
        state = self.optimizer.state
        v = flat(state[p].get("momentum_buffer") for p in self.model.parameters())
        self.rows.append(
            {"w": self.weights(), "before": w, "g": g, "v": v, "loss": float(loss.detach())}
        )


def flat(tensors: Any) -> np.ndarray:
    parts = [torch.zeros(1) if t is None else t for t in tensors]
    return torch.cat([p.reshape(-1) for p in parts]).double().numpy().copy()


def kept(folder: Path, stream: str, chain: int = 0) -> np.ndarray:
    return np.array(fs.open_run(folder).array(stream, chain), dtype=np.float64)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_exact_full_recording_equals_the_one_by_hand_bit_for_bit(
    tmp_path: Path, dtype: str
) -> None:
    run = Run(getattr(torch, dtype))
    with record(run.model, run.optimizer, tmp_path / "run", gradients=True) as recorder:
        for _ in range(6):
            run.step(recorder)
    stored = fs.open_run(tmp_path / "run")
    assert stored.status is RunStatus.CLOSED
    assert stored.steps(0).tolist() == list(range(7))
    assert np.array_equal(kept(stored.path, "weights"), [row["w"] for row in run.rows])
    assert np.array_equal(kept(stored.path, "gradients")[1:], [row["g"] for row in run.rows[1:]])
    assert not stored.present("gradients", 0)[0]
    assert kept(stored.path, "loss")[1:, 0].tolist() == [row["loss"] for row in run.rows[1:]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(
    "observe",
    [
        RandomProjection(3, seed=1),
        RandomProjection(4, seed=1, form="disjoint"),
        RandomProjection(1, seed=1, form="disjoint"),
        Coordinates([60, 0, 35, 41]),
        Projection(np.linspace(-1.0, 1.0, 132).reshape(66, 2)),
    ],
    ids=["dense", "disjoint", "one", "coordinates", "given"],
)
def test_routes_agree_recorded_projections_and_products_with_the_directions(
    tmp_path: Path, dtype: str, observe: Any
) -> None:
    run = Run(getattr(torch, dtype))
    path = tmp_path / "run"
    with record(run.model, run.optimizer, path, observe=observe, gradients=True) as recorder:
        reader = TensorReader if dtype == "bfloat16" else HostReader
        assert isinstance(recorder._rows.reader, reader)
        for _ in range(5):
            run.step()
    observation = fs.open_run(path).observation
    if observation.kind == "coordinates":
        directions = np.eye(66)[:, observation.indices]
    else:
        directions = np.asarray(observation.directions, dtype=np.float64)
    eps = np.finfo("float64" if dtype == "float64" else "float32").eps
    for stream, key in (("weights", "w"), ("gradients", "g")):
        rows = [row[key] for row in run.rows[1:]]
        error = np.abs(kept(path, stream)[1:] - np.array(rows) @ directions)
        assert error.max() < 30 * eps * np.abs(rows).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_engine_kernels_equal_numpy_over_many_tensors_and_blocks(dtype: str) -> None:
    from fracsde.recording.torch import _kernels

    rng = np.random.default_rng(5)
    sizes = np.array([1, 5000, 8192, 0, 37, 4097, 512])
    total, cuts = int(sizes.sum()), np.cumsum(sizes)[:-1]
    w, g = rng.normal(size=(2, total)).astype(dtype)
    there = [np.split(v, cuts) for v in (w, g)]
    table = np.array([sizes, *([part.ctypes.data for part in v] for v in (*there, there[1]))])
    table[2:, 4] = 0
    g[cuts[3] : cuts[4]] = 0.0
    x, y = w.astype(np.float64), g.astype(np.float64)
    eps = 100 * np.finfo(dtype).eps
    facts = np.zeros(17, dtype=np.int64)  # nobody asks where tensors are
    facts[:2] = len(sizes), table.ctypes.data
    at, out = facts.ctypes.data, np.zeros(3)
    assert _kernels.entry(_kernels.products, dtype)(at, out.ctypes.data, 0.0)
    np.testing.assert_allclose(out, [x @ y, y @ y, x @ x], rtol=eps, atol=eps * (x @ x))
    square = _kernels.entry(_kernels.squares, dtype)(at, 0.0)
    np.testing.assert_allclose(square, y @ y, rtol=eps)
    places = np.array([[0, 5, 4, 2], [0, 4096, 36, 7]])
    plan = np.array([at, places.ctypes.data, 4])
    for which, v in ((1, w), (2, g)):
        picked = np.ones(4, dtype)
        take = _kernels.entry(_kernels.take, dtype)
        assert take(plan.ctypes.data, which, picked.ctypes.data, 0.0)
        offsets = np.concatenate([[0], cuts])
        assert np.array_equal(picked, v[offsets[places[0]] + places[1]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("k", "run"), [(32, 64), (3, 64), (5, 7), (4, 1), (1, 64)])
def test_engine_folds_packed_signs_as_numpy_does_for_any_cut_into_tensors(
    dtype: str, k: int, run: int
) -> None:
    from fracsde.recording.torch import _kernels

    rng = np.random.default_rng(k)
    group = k * run
    m = -(-1024 // group) * group
    for sizes in ([1, 5000, 8192, 0, 37, 4097, 512], [511, 513], [3], [9000]):
        total, at = sum(sizes), np.cumsum(sizes)[:-1]
        w, negative = rng.normal(size=total).astype(dtype), rng.random(total) < 0.5
        parts = np.split(w, at)
        words = _kernels.packed(negative, sizes)
        lengths, sums = rng.random(k).astype(dtype), np.ones(m + _kernels.CHUNK, dtype)
        table = np.zeros((4, len(sizes)), dtype=np.int64)
        table[:2] = sizes, [part.ctypes.data for part in parts]
        facts = np.zeros(17, dtype=np.int64)  # nobody asks where tensors are
        facts[:2] = len(sizes), table.ctypes.data
        places = [array.ctypes.data for array in (facts, words, sums, lengths)]
        plan = np.array([*places[:3], m, run, places[3], k])
        fold, kept = _kernels.entry(_kernels.fold, dtype), np.ones(k, dtype)
        fold(plan.ctypes.data, 1, kept.ctypes.data, 0.0)
        signed = np.where(negative, -1.0, 1.0) * w
        belongs = np.arange(total) // run % k
        expected = lengths * np.bincount(belongs, weights=signed, minlength=k)
        width = 100 * np.finfo(dtype).eps * np.sqrt(w.astype(float) @ w)
        np.testing.assert_allclose(kept, expected, atol=width, rtol=0)
        signed[total // 2] *= -1.0  # twin: one sign
        damaged = lengths * np.bincount(belongs, weights=signed, minlength=k)
        assert np.abs(kept - damaged).max() > width
        table[1] = 0
        fold(plan.ctypes.data, 1, kept.ctypes.data, 0.0)
        assert not kept.any()


def test_exact_scalars_are_those_of_whole_vectors(tmp_path: Path) -> None:
    run = Run(torch.float64, weight_decay=0.01)
    with record(run.model, run.optimizer, tmp_path / "run", observe=Coordinates([0])):
        for _ in range(9):
            run.step()
    rows = run.rows[1:]
    for stream, expected in {
        "gradient_norm_squared": [row["g"] @ row["g"] for row in rows],
        "weight_dot_gradient": [row["before"] @ row["g"] for row in rows],
        "weight_norm_squared": [row["before"] @ row["before"] for row in rows],
        "velocity_norm_squared": [row["v"] @ row["v"] for row in rows],
        "learning_rate": [0.2] * 9,
        "batch_size": [8.0] * 9,
    }.items():
        np.testing.assert_allclose(kept(tmp_path / "run", stream)[1:, 0], expected, rtol=1e-14)


def test_exact_products_of_a_schedule_are_those_of_its_steps_and_no_others(tmp_path: Path) -> None:
    sparse, whole = Run(torch.float64), Run(torch.float64)
    for name, run, scalars in (("sparse", sparse, Every(3)), ("whole", whole, True)):
        with record(run.model, run.optimizer, tmp_path / name, scalars=scalars) as recorder:
            for _ in range(10):
                run.step(recorder)
    assert np.array_equal(sparse.weights(), whole.weights())
    stored = fs.open_run(tmp_path / "sparse")
    norms = [f"{name}_norm_squared" for name in ("gradient", "weight", "velocity")]
    for stream in (*norms, "weight_dot_gradient"):
        assert np.flatnonzero(stored.present(stream, 0)).tolist() == [3, 6, 9]
        values = kept(tmp_path / "sparse", stream)
        assert np.array_equal(values[3::3], kept(tmp_path / "whole", stream)[3::3])
    for stream in ("learning_rate", "loss", "batch_size"):
        values = kept(tmp_path / "sparse", stream)[1:]
        assert np.array_equal(values, kept(tmp_path / "whole", stream)[1:])
    from fracsde.estimators.fluctuation_streams import streams_of

    assert streams_of(stored)[0]["gradient_norm_squared"].shape == (1, 3)
    with pytest.raises(InputError, match="scalars"):
        record(whole.model, whole.optimizer, tmp_path / "other", scalars=3)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_compiled_steps_and_models_are_recorded_like_plain_ones(tmp_path: Path) -> None:
    runs = {}
    for name in ("plain", "compiled"):
        runs[name] = run = Run()
        with record(run.model, run.optimizer, tmp_path / name) as recorder:
            if name == "compiled":
                run.model.compile(backend="eager")
                run.optimizer.step = torch.compile(run.optimizer.step, backend="eager")
            for _ in range(12):
                run.step(recorder)
    assert np.array_equal(runs["plain"].weights(), runs["compiled"].weights())
    for stream in ("weights", "gradient_norm_squared", "velocity_norm_squared"):
        one, other = (kept(tmp_path / name, stream) for name in runs)
        assert np.array_equal(one, other, equal_nan=True)
    assert kept(tmp_path / "compiled", "batch_size")[1:, 0].tolist() == [8] * 12


@pytest.mark.twin
def test_product_of_weights_and_gradient_rejects_weights_after_the_step(tmp_path: Path) -> None:
    run = Run(torch.float64)
    with record(run.model, run.optimizer, tmp_path / "run"):
        for _ in range(9):
            run.step()
    after = [row["w"] @ row["g"] for row in run.rows[1:]]
    measured = kept(tmp_path / "run", "weight_dot_gradient")[1:, 0]
    assert np.abs(measured / after - 1.0).max() > 1e-3


def test_keeps_training_bit_for_bit_and_detaches(tmp_path: Path) -> None:
    bare, watched = Run(), Run()
    with record(watched.model, watched.optimizer, tmp_path / "run", gradients=True) as recorder:
        for _ in range(12):
            bare.step()
            watched.step(recorder)
    assert np.array_equal(bare.weights(), watched.weights())
    watched.step()
    assert fs.open_run(tmp_path / "run").steps(0)[-1] == 12
    assert not watched.optimizer._optimizer_step_pre_hooks
    assert not watched.optimizer._optimizer_step_post_hooks
    assert not watched.model._forward_pre_hooks
    assert "_compiled_call_impl" not in vars(watched.model)


def test_rows_are_only_those_of_the_schedule(tmp_path: Path) -> None:
    run = Run()
    schedule = Every(4) | LogSpaced(2)
    with record(run.model, run.optimizer, tmp_path / "run", schedule=schedule):
        for _ in range(12):
            run.step()
    steps = fs.open_run(tmp_path / "run").steps(0)
    assert steps.tolist() == [0, 1, 3, 4, 8, 10, 12]
    assert np.array_equal(kept(tmp_path / "run", "weights"), [run.rows[s]["w"] for s in steps])


def test_settings_are_read_from_optimiser_and_groups(tmp_path: Path) -> None:
    run = Run(groups=True, nesterov=True, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(run.optimizer, 0.5)
    with record(run.model, run.optimizer, tmp_path / "run", dataset_size=EXAMPLES):
        for _ in range(2):
            run.step()
            scheduler.step()
    training = fs.open_run(tmp_path / "run").metadata["training"]
    assert training["optimizer"] == "SGD"
    assert training["groups"] == [{"learning_rate": 0.1}, {"learning_rate": 0.2}]
    expected = {"momentum": 0.5, "dampening": 0, "nesterov": True, "weight_decay": 1e-3}
    expected |= {"learning_rate": 0.1, "batch_size": 8, "dataset_size": EXAMPLES}
    assert {key: training[key] for key in expected} == expected
    assert kept(tmp_path / "run", "learning_rate")[1:].tolist() == [[0.1, 0.2], [0.05, 0.1]]


def test_loaders_say_how_batches_are_drawn() -> None:
    from torch.utils.data import (
        DataLoader,
        RandomSampler,
        SequentialSampler,
        SubsetRandomSampler,
        TensorDataset,
        WeightedRandomSampler,
    )

    from fracsde.recording.torch.settings import drawing_of

    data = TensorDataset(torch.zeros(10, 2))
    found = {
        "with_replacement": {"sampler": RandomSampler(data, replacement=True)},
        "shuffled": {"shuffle": True, "drop_last": True},
    }
    for sampling, options in found.items():
        drawn = drawing_of(DataLoader(data, batch_size=3, **options))
        assert drawn["sampling"] == sampling
        assert (drawn["batch_size"], drawn["dataset_size"]) == (3, 10)
        assert drawn["drop_last"] is (sampling == "shuffled")
    part = drawing_of(DataLoader(data, batch_size=3, sampler=SubsetRandomSampler(range(6))))
    assert (part["sampling"], part["dataset_size"]) == ("shuffled", 6)
    for sampler in (SequentialSampler(data), WeightedRandomSampler([1.0] * 10, 10)):
        drawn = drawing_of(DataLoader(data, batch_size=3, sampler=sampler))
        assert drawn["sampling"] == "unknown"
    with pytest.raises(InputError, match="DataLoader"):
        drawing_of(data)


def test_batches_that_vary_are_said_to(tmp_path: Path) -> None:
    run = Run()
    with record(run.model, run.optimizer, tmp_path / "run"):
        run.step()
        with torch.no_grad():
            run.model(run.x)  # an evaluation is no part of a batch
        run.step(batches=3)
        run.step()
    training = fs.open_run(tmp_path / "run").metadata["training"]
    assert (training["batch_size"], training["batch_size_varies"]) == (8, True)
    assert kept(tmp_path / "run", "batch_size")[1:, 0].tolist() == [8, 24, 8]
    np.testing.assert_allclose(
        kept(tmp_path / "run", "gradient_norm_squared")[2, 0],
        run.rows[2]["g"] @ run.rows[2]["g"],
        rtol=1e-6,
    )


def test_frozen_and_foreign_parameters_are_left_out_and_named(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    model[0].weight.requires_grad_(False)
    model[2].bias = torch.nn.Parameter(model[2].bias.detach().clone())
    temperature = torch.nn.Parameter(torch.ones(1))
    trained = [model[0].bias, *model[1].parameters(), model[2].weight, temperature]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    with record(model, optimizer, tmp_path / "run"):
        optimizer.zero_grad()
        (model(torch.ones(4, 2)).mean() / temperature).sum().backward()
        optimizer.step()
    stored = fs.open_run(tmp_path / "run")
    described = stored.metadata["model"]
    assert described["names"] == [
        "0.bias", "1.weight", "1.bias", "2.weight", "optimizer.param_groups.0.4",
    ]  # fmt: skip
    assert set(described["excluded"]) == {"0.weight", "2.bias"}
    assert "frozen" in described["excluded"]["0.weight"]
    assert np.array_equal(kept(stored.path, "weights")[1], flat(p.detach() for p in trained))


def test_tied_weights_count_once_and_unused_ones_have_zero_gradient(tmp_path: Path) -> None:
    model = torch.nn.ModuleList([torch.nn.Linear(3, 3, bias=False) for _ in range(3)])
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, tmp_path / "run", gradients=True):
        optimizer.zero_grad()
        model[1](model[0](torch.ones(4, 3))).sum().backward()
        optimizer.step()
    assert fs.open_run(tmp_path / "run").parameters == 18
    gradient = kept(tmp_path / "run", "gradients")[1]
    assert np.abs(gradient[:9]).min() > 0
    assert not gradient[9:].any()


@pytest.mark.parametrize("mixed", [False, True])
def test_sparse_gradients_and_mixed_types_are_read_as_what_they_stand_for(
    tmp_path: Path, mixed: bool
) -> None:
    torch.manual_seed(0)
    table = torch.nn.Embedding(6, 2, sparse=not mixed)
    head = torch.nn.Linear(2, 1)
    if mixed:
        head.double()
        table.half()
    model = torch.nn.ModuleList([table, head])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    observe = RandomProjection(3, seed=2, form="disjoint")
    with record(model, optimizer, tmp_path / "run", observe=observe, gradients=True):
        start = flat(p.detach() for p in model.parameters())
        optimizer.zero_grad()
        head(table(torch.tensor([1, 4, 4])).to(head.weight.dtype)).sum().backward()
        gradients = [p.grad.to_dense() if p.grad.is_sparse else p.grad for p in model.parameters()]
        optimizer.step()
    end = flat(p.detach() for p in model.parameters())
    directions = np.asarray(fs.open_run(tmp_path / "run").observation.directions, np.float64)
    rows = kept(tmp_path / "run", "weights")
    np.testing.assert_allclose(rows, np.array([start, end]) @ directions, atol=1e-6)
    np.testing.assert_allclose(
        kept(tmp_path / "run", "gradients")[1], flat(gradients) @ directions, atol=1e-6
    )


def test_closures_give_loss_and_gradient_of_their_first_evaluation(tmp_path: Path) -> None:
    run = Run(torch.float64)
    optimizer = torch.optim.LBFGS(run.model.parameters(), max_iter=4)
    seen: list[list[Any]] = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(run.model(run.x), run.y)
        loss.backward()
        g = flat(p.grad for p in run.model.parameters())
        seen[-1].append((loss.item(), g @ g, run.weights() @ g))
        return loss

    with record(run.model, optimizer, tmp_path / "run", batch_size=EXAMPLES):
        for _ in range(3):
            seen.append([])
            optimizer.step(closure)
    assert min(map(len, seen)) > 1
    first = np.array([evaluations[0] for evaluations in seen])
    for column, stream in enumerate(("loss", "gradient_norm_squared", "weight_dot_gradient")):
        np.testing.assert_allclose(
            kept(tmp_path / "run", stream)[1:, 0], first[:, column], rtol=1e-13
        )


def test_steps_that_a_gradient_scaler_skips_are_none(tmp_path: Path) -> None:
    run = Run()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    with record(run.model, run.optimizer, tmp_path / "run") as recorder:
        for overflow in (False, True, False):
            run.optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(run.model(run.x), run.y)
            scaler.scale(loss * (float("inf") if overflow else 1.0)).backward()
            norms = [
                float((p.grad.double() / scaler.get_scale()).square().sum())
                for p in run.model.parameters()
            ]
            scaler.step(run.optimizer)
            scaler.update()
        assert recorder.step == 2
    np.testing.assert_allclose(
        kept(tmp_path / "run", "gradient_norm_squared")[2, 0], sum(norms), rtol=1e-5
    )


def test_fused_optimisers_unscale_inside_and_so_does_the_record(tmp_path: Path) -> None:
    run = Run(momentum=0.0, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**6)
    with record(run.model, run.optimizer, tmp_path / "run", gradients=True) as recorder:
        for overflow in (False, True):
            run.optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(run.model(run.x), run.y)
            scaler.scale(loss * (float("inf") if overflow else 1.0)).backward()
            if not overflow:
                g = flat(p.grad for p in run.model.parameters()) / 2.0**6
                w = run.weights()
            scaler.step(run.optimizer)
            scaler.update()
        assert recorder.step == 1
    np.testing.assert_allclose(kept(tmp_path / "run", "gradients")[1], g, rtol=1e-6)
    for stream, value in {"gradient_norm_squared": g @ g, "weight_dot_gradient": w @ g}.items():
        np.testing.assert_allclose(kept(tmp_path / "run", stream)[1, 0], value, rtol=1e-5)


def test_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    whole, broken = Run(), Run()
    with record(whole.model, whole.optimizer, tmp_path / "whole"):
        for _ in range(9):
            whole.step()
    first = record(broken.model, broken.optimizer, tmp_path / "broken")
    for _ in range(4):
        broken.step()
    checkpoint = copy.deepcopy((broken.model.state_dict(), broken.optimizer.state_dict()))
    drawn = broken.generator.get_state()
    step = first.step
    for _ in range(2):
        broken.step()
    first.close(RunStatus.RECORDING)
    with pytest.raises(RecordError, match="resume=True"):
        record(broken.model, broken.optimizer, tmp_path / "broken")
    broken.model.load_state_dict(checkpoint[0])
    broken.optimizer.load_state_dict(checkpoint[1])
    broken.generator.set_state(drawn)
    with pytest.raises(RecordError, match="not where chain 0"):
        record(broken.model, broken.optimizer, tmp_path / "broken", resume=True)
    with pytest.raises(RecordError, match="after step 3"):
        record(broken.model, broken.optimizer, tmp_path / "broken", resume=3)
    assert len(fs.open_run(tmp_path / "broken").steps(0)) == 7
    with record(broken.model, broken.optimizer, tmp_path / "broken", resume=step) as recorder:
        for _ in range(5):
            broken.step()
        assert recorder.step == 9
    for stream in ("weights", "gradient_norm_squared", "velocity_norm_squared"):
        for folder in ("whole", "broken"):
            assert fs.open_run(tmp_path / folder).steps(0).tolist() == list(range(10))
        assert np.array_equal(
            kept(tmp_path / "whole", stream), kept(tmp_path / "broken", stream), equal_nan=True
        )


def test_divergence_is_said_once_with_its_step_and_training_goes_on(tmp_path: Path) -> None:
    for choice, rows in (("record", 6), ("stop", 4)):
        run = Run()
        path = tmp_path / choice
        recorder = record(run.model, run.optimizer, path, on_divergence=choice)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for step in range(5):
                if step == 2:
                    with torch.no_grad():
                        run.model[0].bias[0] = float("nan")
                run.step()
                recorder.flush()
        assert [str(w.message).split(":")[0] for w in caught] == ["the run diverged"]
        assert "step 3" in str(caught[0].message)
        assert len(run.rows) == 6
        recorder.close()
        stored = fs.open_run(path)
        assert stored.status is RunStatus.DIVERGED
        assert stored.divergence.step == 3
        assert len(stored.steps(0)) == rows


@pytest.mark.parametrize("choice", ["raise", "warn"])
def test_full_disk_ends_recording_and_not_training(
    tmp_path: Path, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, run = Run(), Run()
    recorder = record(run.model, run.optimizer, tmp_path / "run", on_write_error=choice)
    for _ in range(3):
        bare.step()
        run.step()
    recorder.flush()

    def refuse(self: Recorder, *_: Any, **__: Any) -> int:
        msg = "cannot write: no space left on device"
        raise FileWriteError(msg)

    monkeypatch.setattr(Recorder, "record_block", refuse)
    recorder._rows.most = 1
    with (
        pytest.warns(RuntimeWarning, match="no space")
        if choice == "warn"
        else pytest.raises(FileWriteError, match="no space")
    ):
        run.step()
    bare.step()
    bare.step()
    run.step()
    assert np.array_equal(bare.weights(), run.weights())
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == [0, 1, 2, 3]


def test_full_disk_takes_the_rows_that_there_is_space_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real = Run(), os.write
    recorder = record(run.model, run.optimizer, tmp_path / "run")
    for _ in range(9):
        run.step()
    full = int(3.5 * recorder.recorder._layout.row_bytes)

    def limited(file: int, data: Any) -> int:
        room = full - os.fstat(file).st_size
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, bytes(data)[:room])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", limited)
        with pytest.raises(FileWriteError, match="3 rows before are whole"):
            recorder.flush()
    stored = fs.open_run(tmp_path / "run")
    assert stored.steps(0).tolist() == [0, 1, 2]
    assert np.array_equal(kept(stored.path, "weights"), [row["w"] for row in run.rows[:3]])
    assert stored.verify() == 3


def test_step_of_a_checkpoint_is_never_ahead_of_the_record(tmp_path: Path) -> None:
    run = Run()
    recorder = record(run.model, run.optimizer, tmp_path / "run")
    for _ in range(5):
        run.step()
    assert fs.open_run(tmp_path / "run").steps(0).size == 0  # twin: rows wait
    assert recorder.step == 5
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == list(range(6))
    run.step()
    recorder.close()
    assert recorder.step == 6


def test_gap_between_record_and_checkpoint_is_said(tmp_path: Path) -> None:
    run = Run()
    with record(run.model, run.optimizer, tmp_path / "run", schedule=Every(4)):
        for _ in range(6):
            run.step()
    for _ in range(3):
        run.step()
    options: dict[str, Any] = {"schedule": Every(4), "resume": 9}
    with pytest.warns(RuntimeWarning, match="steps from 8 to 9 are missing"):
        record(run.model, run.optimizer, tmp_path / "run", **options).close()
    options["resume"] = 7  # no step between 4 and 7 was due
    record(run.model, run.optimizer, tmp_path / "run", **options).close()


def test_interrupts_lose_no_row_and_write_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run()
    plain = Recorder.record_block
    with record(run.model, run.optimizer, tmp_path / "run", gradients=True) as recorder:
        for when in ("before", "after"):
            for _ in range(3):
                run.step(recorder)

            def stopped(self: Recorder, *args: Any, when: str = when, **streams: Any) -> int:
                if when == "after":
                    plain(self, *args, **streams)
                raise KeyboardInterrupt

            monkeypatch.setattr(Recorder, "record_block", stopped)
            with pytest.raises(KeyboardInterrupt):
                recorder.flush()
            monkeypatch.setattr(Recorder, "record_block", plain)
        run.step(recorder)
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == list(range(8))
    assert np.array_equal(kept(tmp_path / "run", "weights"), [row["w"] for row in run.rows])


@pytest.mark.parametrize("form", ["disjoint", "full"])
def test_rows_that_wait_keep_their_numbers_while_slots_are_used_again(
    tmp_path: Path, form: str
) -> None:
    observe = Full() if form == "full" else RandomProjection(4, seed=1, form="disjoint")
    bare, run = Run(), Run()

    def between(*_: Any) -> None:  # a block is written between a gradient and its weights
        if len(run.rows) % 3 == 0:
            watched.flush()

    options = {"observe": observe, "gradients": True}
    with record(run.model, run.optimizer, tmp_path / "run", **options) as watched:
        watched._rows.most, watched._rows.slots = 4, 12
        run.optimizer.register_step_pre_hook(between)
        for _ in range(40):
            run.step(watched)
    with record(bare.model, bare.optimizer, tmp_path / "bare", **options) as recorder:
        for _ in range(40):
            bare.step(recorder)
    for stream in fs.open_run(tmp_path / "bare").streams:
        whole = kept(tmp_path / "bare", stream)
        assert np.array_equal(kept(tmp_path / "run", stream), whole, equal_nan=True), stream


def test_exact_plain_recording_watches_no_more_than_the_end_of_a_step(tmp_path: Path) -> None:
    bare, run = Run(), Run()
    options: dict[str, Any] = {"scalars": False, "schedule": Every(2) | LogSpaced(3)}
    sizes = [8, 8, 24, 8, 16, 8, 8]
    with record(run.model, run.optimizer, tmp_path / "run", **options) as recorder:
        assert run.optimizer._optimizer_step_pre_hooks
        for size in sizes:
            bare.step(batches=size // 8)
            run.step(recorder, batches=size // 8)
            assert not run.optimizer._optimizer_step_pre_hooks
        late = torch.nn.Parameter(torch.ones(2))
        run.optimizer.add_param_group({"params": [late]})
        with pytest.warns(RuntimeWarning, match="added to the optimiser"):
            run.step(recorder)
    bare.step()
    assert np.array_equal(bare.weights(), run.weights())
    steps = fs.open_run(tmp_path / "run").steps(0)
    assert steps.tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert np.array_equal(kept(tmp_path / "run", "weights"), [run.rows[s]["w"] for s in steps])
    training = fs.open_run(tmp_path / "run").metadata["training"]
    assert (training["batch_size"], training["batch_size_varies"]) == (8, True)


def test_steps_that_a_scaler_skips_are_none_without_scalars_too(tmp_path: Path) -> None:
    run = Run(momentum=0.0, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**6)
    with record(run.model, run.optimizer, tmp_path / "run", scalars=False) as recorder:
        for overflow in (False, True, False, True, False):
            run.optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(run.model(run.x), run.y)
            scaler.scale(loss * (float("inf") if overflow else 1.0)).backward()
            scaler.step(run.optimizer)
            scaler.update()
        run.step()  # without the scaler
        assert recorder.step == 4
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == list(range(5))


@pytest.mark.parametrize(
    "observe", [RandomProjection(4, form="disjoint"), Coordinates([3, 65, 40])]
)
def test_weights_and_gradients_are_found_where_they_have_moved(
    tmp_path: Path, observe: Any
) -> None:
    run = Run()
    options = {"observe": observe, "gradients": True}
    with record(run.model, run.optimizer, tmp_path / "run", **options) as recorder:
        for step in range(6):
            if step == 1:
                for p in run.model.parameters():
                    p.data = p.data.clone()
            if step == 3:  # a stride that no compiled loop knows
                run.model[0].weight.data = run.model[0].weight.data.T.contiguous().T
            run.step(recorder)
            assert isinstance(recorder._rows.reader, HostReader) is (step < 3)
    observation = fs.open_run(tmp_path / "run").observation
    indices = observation.indices if observation.kind == "coordinates" else None
    directions = observation.directions if indices is None else np.eye(66)[:, indices]
    for stream, key in (("weights", "w"), ("gradients", "g")):
        rows = np.array([row[key] for row in run.rows[1:]])
        np.testing.assert_allclose(
            kept(tmp_path / "run", stream)[1:], rows @ np.asarray(directions), atol=1e-6
        )


@pytest.mark.parametrize("prefix", [_addresses._PREFIX, "no_such_interface_"])
def test_refuses_to_read_memory_that_holds_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setattr(_addresses, "_PREFIX", prefix)
    run = Run()
    parameters = list(run.model.parameters())
    with record(run.model, run.optimizer, tmp_path / "run") as recorder:
        reader = recorder._rows.reader
        whole = [torch.full_like(p, 2.0) for p in parameters]
        assert reader.squares(0, whole) == 4 * 66
        assert reader.products(0, whole)[1] == 4 * 66
        given_back = torch.ones(7, 5)
        given_back.untyped_storage().resize_(0)
        odd = [torch.ones(3), torch.ones(7, 5).double(), torch.ones(5, 7).T, given_back]
        # Where the first one lies, and at the same address when the next is made.
        odd += [whole[0].view(torch.bfloat16)[:, :5], whole[0].view(-1)[:3]]
        for tensor in odd:
            for read in (reader.squares, reader.products):
                with pytest.raises(Unsuited):
                    read(0, [tensor, *whole[1:]])


@pytest.mark.parametrize(
    "observe", [RandomProjection(4, form="disjoint"), Coordinates([3, 65, 40])]
)
def test_routes_agree_addresses_from_torch_and_from_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, observe: Any
) -> None:
    options: dict[str, Any] = {"observe": observe, "gradients": True}
    for name in ("interface", "python"):
        if name == "python":
            monkeypatch.setattr(_addresses, "_PREFIX", "no_such_interface_")
        assert (_addresses._interface("float32") is None) == (name == "python")
        run = Run()
        with record(run.model, run.optimizer, tmp_path / name, **options) as recorder:
            run.model[0].bias.grad = None
            for _ in range(4):
                run.step(recorder)
                for p in run.model.parameters():
                    p.data = p.data.clone()
            run.optimizer.zero_grad()  # leaves None
            run.optimizer.step()
            assert isinstance(recorder._rows.reader, HostReader)
    for stream in (
        "weights", "gradients", "gradient_norm_squared", "weight_dot_gradient",
        "weight_norm_squared", "velocity_norm_squared",
    ):  # fmt: skip
        one, other = (kept(tmp_path / name, stream) for name in ("interface", "python"))
        assert np.array_equal(one, other, equal_nan=True), stream
    assert kept(tmp_path / "python", "gradient_norm_squared")[-1] == 0.0


@pytest.mark.parametrize("form", ["disjoint", "orthonormal"])
def test_weights_are_read_anew_where_their_memory_is_seen_otherwise(
    tmp_path: Path, form: str
) -> None:
    model = torch.nn.Linear(6, 6, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    options: dict[str, Any] = {"observe": RandomProjection(3, form=form), "scalars": False}
    with record(model, optimizer, tmp_path / "run", **options) as recorder:
        optimizer.step()
        place = model.weight.data_ptr()
        model.weight.data = model.weight.data.T
        assert model.weight.data_ptr() == place
        optimizer.step()
        assert isinstance(recorder._rows.reader, TensorReader)
    directions = np.asarray(fs.open_run(tmp_path / "run").observation.directions)
    flat = model.weight.detach().reshape(-1).numpy()
    np.testing.assert_allclose(kept(tmp_path / "run", "weights")[-1], flat @ directions, atol=1e-6)


@pytest.mark.parametrize("gradients", [True, False])
def test_gradient_whose_memory_holds_the_opposite_number_is_told_apart(
    tmp_path: Path, gradients: bool
) -> None:
    model = torch.nn.ParameterList([torch.tensor(1.0), torch.tensor(2.0)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with record(model, optimizer, tmp_path / "run", gradients=gradients):
        (torch.complex(*model).conj() * (1 + 2j)).real.backward()
        assert model[1].grad.is_neg()
        optimizer.step()
    assert kept(tmp_path / "run", "weight_dot_gradient")[1] == 1.0 * 1.0 + 2.0 * 2.0
    if gradients:
        assert kept(tmp_path / "run", "gradients")[1].tolist() == [1.0, 2.0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_forked_process_trains_on_and_records_nothing(tmp_path: Path) -> None:
    run = Run()
    recorder = record(run.model, run.optimizer, tmp_path / "run")
    run.step(recorder)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run.step(recorder, batches=3)  # of another size
            good = recorder.step == 2
            recorder._rows.most = 1
            run.step(recorder)
            recorder.close()
            status = 0 if good else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for _ in range(2):
        run.step(recorder)
    recorder.close()
    stored = fs.open_run(tmp_path / "run")
    assert stored.steps(0).tolist() == [0, 1, 2, 3]
    assert np.array_equal(kept(stored.path, "weights"), [row["w"] for row in run.rows])
    assert "batch_size_varies" not in stored.metadata["training"]


def test_optimisers_and_models_can_be_copied_while_recorded(tmp_path: Path) -> None:
    run = Run()
    with record(run.model, run.optimizer, tmp_path / "run"):
        run.step()
        twin = copy.deepcopy(run.optimizer)
        model = copy.deepcopy(run.model)
        again = pickle.loads(pickle.dumps((run.optimizer, run.model)))
        twin.step()
        model(run.x).sum().backward()
        again[1](run.x).sum().backward()
        again[0].step()
        run.step()
    assert kept(tmp_path / "run", "batch_size")[1:, 0].tolist() == [8, 8]
    assert np.array_equal(kept(tmp_path / "run", "weights")[2], run.weights())


def test_wrapped_models_are_recorded_like_plain_ones(tmp_path: Path) -> None:
    run = Run()
    wrapped = torch.nn.DataParallel(run.model)
    with record(wrapped, run.optimizer, tmp_path / "run"):
        i = torch.arange(10)
        torch.nn.functional.cross_entropy(wrapped(run.x[i]), run.y[i]).backward()
        run.optimizer.step()
    stored = fs.open_run(tmp_path / "run")
    assert stored.metadata["training"]["batch_size"] == 10
    assert np.array_equal(kept(stored.path, "weights")[1], run.weights())


def test_chains_share_a_folder_and_settings(tmp_path: Path) -> None:
    for chain in range(3):
        run = Run()
        with record(
            run.model, run.optimizer, tmp_path / "run", chain=chain, chain_metadata={"seed": chain}
        ):
            run.step()
    stored = fs.open_run(tmp_path / "run")
    assert stored.chains == (0, 1, 2)
    assert stored.trajectory().values.shape == (3, 2, 66)
    assert stored.chain_metadata(2)["seed"] == 2


def test_run_that_nobody_closed_is_on_disk_and_may_go_on(tmp_path: Path) -> None:
    run = Run()
    recorder = record(run.model, run.optimizer, tmp_path / "run")
    run.step()
    recorder._end()
    stored = fs.open_run(tmp_path / "run")
    assert stored.status is RunStatus.RECORDING
    assert stored.steps(0).tolist() == [0, 1]


def test_divergence_of_the_last_rows_is_said_at_the_end(tmp_path: Path) -> None:
    run = Run()
    recorder = record(run.model, run.optimizer, tmp_path / "run")
    with torch.no_grad():
        run.model[0].bias[0] = float("inf")
    run.step()
    with pytest.warns(
        RuntimeWarning, match="diverged: weights or gradient of step 0, or their squares"
    ):
        recorder.close()
    recorder.close()


def test_parameters_added_later_are_not_recorded_and_this_is_said(tmp_path: Path) -> None:
    run = Run()
    late = torch.nn.Parameter(torch.ones(2))
    with record(run.model, run.optimizer, tmp_path / "run"):
        run.optimizer.add_param_group({"params": [late], "lr": 0.7})
        with pytest.warns(RuntimeWarning, match="added to the optimiser"):
            run.step()
        run.step()
    assert kept(tmp_path / "run", "learning_rate")[1:].tolist() == [[0.2], [0.2]]


def test_parameters_replaced_in_the_optimiser_are_said_to_be_lost(tmp_path: Path) -> None:
    run = Run()
    recorder = record(run.model, run.optimizer, tmp_path / "run")
    run.step(recorder)
    recorder.flush()
    run.optimizer.param_groups[0]["params"][2] = torch.nn.Parameter(torch.ones(3, 7))
    run.step(recorder)
    with pytest.warns(RuntimeWarning, match=r"moves 2\.weight no longer"):
        recorder.close()


def test_parameters_replaced_in_the_model_are_said_to_be_lost(tmp_path: Path) -> None:
    run = Run()
    recorder = record(run.model, run.optimizer, tmp_path / "run")
    state = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.model.load_state_dict(state)
    run.step(recorder)
    recorder.flush()  # no warning: these are the tensors of before
    run.model.load_state_dict(state, assign=True)
    run.optimizer.step()
    with pytest.warns(RuntimeWarning, match=r"in place of 0\.weight.*assign=True"):
        recorder.close()


@pytest.mark.parametrize("observe", [Full(), RandomProjection(4, form="disjoint")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_refuses_a_parameter_that_has_changed_its_length(
    tmp_path: Path, observe: Any, dtype: str
) -> None:
    model = torch.nn.Linear(6, 6, bias=False).to(getattr(torch, dtype))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recorder = record(model, optimizer, tmp_path / "run", observe=observe)
    optimizer.step()
    model.weight.data = model.weight.data[:3]
    with pytest.raises(UnsupportedError, match=r"'weight' has 18 numbers, and had 36"):
        optimizer.step()
    optimizer.step()  # without the recorder
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == [0, 1]
    recorder.close()


def test_batches_are_counted_whatever_hooks_and_copies_a_model_has(tmp_path: Path) -> None:
    run, seen = Run(), [0]
    with record(run.model, run.optimizer, tmp_path / "run") as recorder:
        run.step(recorder)
        shallow, deep = copy.copy(run.model), copy.deepcopy(run.model)
        for twin in (shallow, deep):
            assert "_compiled_call_impl" not in vars(twin)
        with torch.no_grad():
            deep[0].weight += 1.0
        assert not torch.equal(deep(run.x), run.model(run.x))
        run.optimizer.step()  # forgets what was counted above
        for register in (
            run.model.register_forward_hook,
            run.model.register_forward_pre_hook,
            torch.nn.modules.module.register_module_forward_pre_hook,
        ):
            handle = register(lambda *_: seen.__setitem__(0, seen[0] + 1))
            run.step(recorder)
            handle.remove()
        run.model(input=run.x[:3]).sum().backward()
        run.optimizer.step()
    assert seen[0] >= 3
    counted = kept(tmp_path / "run", "batch_size")[1:, 0]
    assert counted.tolist() == [8.0, float(EXAMPLES), 8.0, 8.0, 8.0, 3.0]


def test_batches_of_scripted_models_are_counted(tmp_path: Path) -> None:
    run = Run()
    plain = run.model
    with (
        record(plain, run.optimizer, tmp_path / "plain"),
        pytest.raises(AttributeError, match="record the scripted model, or pass `batch_size`"),
    ):
        torch.jit.script(plain)
    run.model = torch.jit.script(plain)
    with record(run.model, run.optimizer, tmp_path / "run") as recorder:
        for _ in range(3):
            run.step(recorder)
        run.model(run.x[:5]).sum().backward()
        run.optimizer.step()
    assert kept(tmp_path / "run", "batch_size")[1:, 0].tolist() == [8.0, 8.0, 8.0, 5.0]
    assert "_compiled_call_impl" not in vars(run.model)
    with record(plain, torch.optim.SGD(plain.parameters()), tmp_path / "given", batch_size=8):
        torch.jit.script(plain)


def test_without_scalars_only_weights_are_kept(tmp_path: Path) -> None:
    run = Run()
    with record(
        run.model, run.optimizer, tmp_path / "run", scalars=False, observe=Full(), batch_size=8
    ) as recorder:
        assert isinstance(recorder, TorchRecorder)
        run.step(recorder)
    assert set(fs.open_run(tmp_path / "run").streams) == {"weights"}


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"model": 3}, InputError, "torch.nn.Module"),
        ({"optimizer": 3}, InputError, "torch.optim.Optimizer"),
        ({"optimizer": "other"}, InputError, "moves none"),
        ({"sampling": "often"}, InputError, "sampling"),
        ({"batch_size": 0}, InputError, "batch_size"),
        ({"dataset_size": 1.5}, InputError, "dataset_size"),
        ({"resume": -1}, InputError, "resume"),
        ({"scalars": 1}, InputError, "scalars"),
        ({"on_divergence": "cry"}, InputError, "on_divergence"),
        ({"observe": 3}, InputError, "observe"),
        ({"metadata": 3}, InputError, "metadata"),
        ({"observe": Projection(np.eye(3))}, InputError, "directions"),
    ],
)
def test_refuses_what_cannot_be_recorded(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], match: str
) -> None:
    run = Run()
    asked: dict[str, Any] = {"model": run.model, "optimizer": run.optimizer} | change
    if asked["optimizer"] == "other":
        asked["optimizer"] = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.1)
    with pytest.raises(error, match=match):
        record(asked.pop("model"), asked.pop("optimizer"), tmp_path / "run", **asked)
    assert not run.optimizer._optimizer_step_pre_hooks
    assert not (tmp_path / "run").exists()


def test_refuses_complex_parameters_and_losses_of_many_numbers(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2, dtype=torch.complex64)
    with pytest.raises(UnsupportedError, match="complex"):
        record(model, torch.optim.SGD(model.parameters(), lr=0.1), tmp_path / "run")
    run = Run()
    with (
        record(run.model, run.optimizer, tmp_path / "run") as recorder,
        pytest.raises(InputError, match="one number"),
    ):
        recorder.note_loss(torch.ones(3))
