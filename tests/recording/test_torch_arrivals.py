"""What is told of steps that were not made: sizes of batches are sums of those that have a part in
a step, counted by hand; and training that goes on without the recorder is noticed."""

from __future__ import annotations

import copy
import gc
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fracsde as fs

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")
from fracsde.recording.torch import arrivals, record  # noqa: E402

torch.set_num_threads(1)


def training(**options: Any) -> tuple[Any, Any]:
    torch.manual_seed(0)
    layers = torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)
    model = torch.nn.Sequential(*layers)
    return model, torch.optim.SGD(model.parameters(), lr=0.05, **options)


def loss_of(model: Any, examples: int) -> Any:
    return model(torch.ones(examples, 5)).square().mean()


def sizes(folder: Path) -> list[float]:
    return fs.open_run(folder).array("batch_size", 0)[1:, 0].tolist()  # type: ignore[no-any-return]


def scaled_run(folder: Path, *, early: bool, to_none: bool, batches: int) -> None:
    # Where not early, the loop forgets the old gradient between forward and backward pass.
    model, optimizer = training()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with record(model, optimizer, folder):
        for examples, overflows in ((8, True), (7, True), (6, False), (5, True), (4, False)):
            if early:
                optimizer.zero_grad(set_to_none=to_none)
            for batch in range(batches):
                loss = loss_of(model, examples) * (float("inf") if overflows else 1.0)
                if not early and batch == 0:
                    optimizer.zero_grad(set_to_none=to_none)
                scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("early", [True, False])
def test_exact_batches_of_steps_that_a_scaler_leaves_out_are_not_counted(
    tmp_path: Path, early: bool, to_none: bool, batches: int
) -> None:
    scaled_run(tmp_path / "run", early=early, to_none=to_none, batches=batches)
    assert sizes(tmp_path / "run") == [6.0 * batches, 4.0 * batches]


@pytest.mark.twin
@pytest.mark.parametrize("early", [True, False])
def test_twin_a_recorder_that_does_not_look_counts_batches_of_other_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    monkeypatch.setattr(arrivals.Arrivals, "_arrived", lambda *_: None)
    scaled_run(tmp_path / "run", early=early, to_none=True, batches=1)
    assert sizes(tmp_path / "run") == [21.0, 9.0]


@pytest.mark.filterwarnings("ignore:.*create_graph=True:UserWarning")
def test_exact_accumulated_batches_are_counted_together(tmp_path: Path) -> None:
    model, optimizer = training()
    parameters = list(model.parameters())
    with record(model, optimizer, tmp_path / "run"):
        for to_none in (True, False):
            optimizer.zero_grad(set_to_none=to_none)
            for examples in range(1, 41):
                loss_of(model, examples).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=to_none)
            for examples in (2, 3, 4):  # each clipped by itself
                loss_of(model, examples).backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1e-3)
            optimizer.step()
        optimizer.zero_grad()
        (loss_of(model, 5) + loss_of(model, 6)).backward()  # two passes, one gradient
        optimizer.step()
        for examples in (7, 8):  # each sum of gradients is a new tensor
            loss_of(model, examples).backward(create_graph=True)
        optimizer.step()
    assert sizes(tmp_path / "run") == [820.0, 9.0, 820.0, 9.0, 11.0, 15.0]


def test_exact_passes_that_no_step_is_made_of_are_not_counted(tmp_path: Path) -> None:
    model, optimizer = training()
    with record(model, optimizer, tmp_path / "run"):
        for _ in range(2):
            model.eval()
            loss_of(model, 100)  # validation with gradients on
            model.train()
            points = torch.ones(8, 5, requires_grad=True)
            model(points).square().mean().backward()  # towards adversarial examples
            optimizer.zero_grad()
            model(points.detach() + points.grad.sign()).square().mean().backward()
            optimizer.step()
        model.eval()
        optimizer.zero_grad()
        loss_of(model, 9).backward()
        optimizer.step()
    assert sizes(tmp_path / "run") == [8.0, 8.0, 9.0]


def train(model: Any, optimizer: Any, steps: int, batches: int = 1) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(batches):
            loss_of(model, 8).backward()
        optimizer.step()


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize(
    ("options", "steps", "batches", "seen"),
    [({}, 8, 1, 8), ({"foreach": False}, 8, 1, 8), ({"fused": True}, 32, 1, 32), ({}, 9, 4, 32)],
)
def test_a_replaced_optimiser_is_noticed_while_it_trains(
    tmp_path: Path, batch_size: int | None, options: Any, steps: int, batches: int, seen: int
) -> None:
    model, optimizer = training()
    recorder = record(model, optimizer, tmp_path / "run", batch_size=batch_size)
    train(model, optimizer, 3)
    other = torch.optim.SGD(model.parameters(), lr=0.05, **options)
    train(model, other, seen // batches - 1, batches)
    with pytest.warns(RuntimeWarning, match=rf"no step after step 3.* {seen} batches.*resume=True"):
        train(model, other, steps - seen // batches + 1, batches)
    recorder.close()  # is not told twice


def test_a_replaced_optimiser_is_told_at_the_end_of_a_short_run(tmp_path: Path) -> None:
    model, optimizer = training()
    recorder = record(model, optimizer, tmp_path / "run")
    train(model, optimizer, 3)
    train(model, torch.optim.SGD(model.parameters(), lr=0.05), 3)
    with pytest.warns(RuntimeWarning, match=r"no step after step 3.* 3 batches"):
        recorder.close()


def test_a_recorder_that_is_dropped_with_its_optimiser_is_missed(tmp_path: Path) -> None:
    model, optimizer = training()
    record(model, optimizer, tmp_path / "run")
    train(model, optimizer, 3)
    del optimizer
    gc.collect()
    other = torch.optim.SGD(model.parameters(), lr=0.05)
    with pytest.warns(RuntimeWarning, match="recorded is gone, and the weights changed"):
        train(model, other, 8)
    gone = weakref.ref(model[2].bias), weakref.ref(model)
    del model, other
    gc.collect()
    assert [held() for held in gone] == [None, None]


def test_a_replaced_optimiser_is_recorded_when_it_is_attached(tmp_path: Path) -> None:
    model, optimizer = training()
    with record(model, optimizer, tmp_path / "run"):
        train(model, optimizer, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with record(model, optimizer, tmp_path / "run", resume=True):
        train(model, optimizer, 40)
    run = fs.open_run(tmp_path / "run")
    assert run.steps(0).tolist() == list(range(44))
    last = torch.cat([p.detach().reshape(-1) for p in model.parameters()]).numpy()
    assert np.array_equal(run.array("weights", 0)[-1], last)


def test_a_state_that_is_loaded_in_mid_run_is_told(tmp_path: Path) -> None:
    model, optimizer = training(momentum=0.5)
    with record(model, optimizer, tmp_path / "run") as recorder:
        start = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        optimizer.load_state_dict(start[1])  # before the first step: nothing to tell
        train(model, optimizer, 2)
        checkpoint = copy.deepcopy((model.state_dict(), optimizer.state_dict(), recorder.step))
        model.load_state_dict(start[0])  # an average that is tried, say, and taken out again
        model.load_state_dict(checkpoint[0])
        train(model, optimizer, 3)
        with pytest.warns(RuntimeWarning, match=r"in mid-run.* resume=step\)"):
            optimizer.load_state_dict(checkpoint[1])
    model.load_state_dict(checkpoint[0])
    with record(model, optimizer, tmp_path / "run", resume=checkpoint[2]) as recorder:
        optimizer.load_state_dict(checkpoint[1])
        train(model, optimizer, 1)
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == [0, 1, 2, 3]


def test_parameters_that_are_frozen_later_are_said_to_stand_still(tmp_path: Path) -> None:
    model, optimizer = training()
    recorder = record(model, optimizer, tmp_path / "run")
    train(model, optimizer, 2)
    model[2].weight.requires_grad_(False)
    train(model, optimizer, 2)
    with pytest.warns(RuntimeWarning, match=r"2\.weight have been frozen"):
        recorder.close()


def test_many_gradients_without_a_step_are_no_replaced_optimiser(tmp_path: Path) -> None:
    model, optimizer = training()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    many = torch.optim.LBFGS(model.parameters(), max_iter=40, tolerance_change=0.0)
    x = torch.randn(50, 5)

    def closure() -> Any:
        many.zero_grad()
        loss = (model(x) - 1.0).square().mean()
        loss.backward()
        return loss

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with record(model, optimizer, tmp_path / "scaled"):
            for _ in range(40):
                optimizer.zero_grad()
                scaler.scale(loss_of(model, 8) * float("inf")).backward()
                scaler.step(optimizer)
                scaler.update()
        with record(model, optimizer, tmp_path / "best"):
            train(model, optimizer, 2)
            best = {name: value.clone() for name, value in model.state_dict().items()}
            loss_of(model, 8).backward()
            model.load_state_dict(best)
        with record(model, many, tmp_path / "many"):
            many.step(closure)
    assert many.state[model[0].weight]["func_evals"] > 32
