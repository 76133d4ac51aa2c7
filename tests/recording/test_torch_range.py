"""What training loops do with a model beside the plain: recorded rightly, or said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fracsde as fs
from fracsde.errors import InputError
from fracsde.recording import Full, RandomProjection

torch = pytest.importorskip("torch")

from fracsde.recording.torch import TorchLoss, examine, record  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

nn, F = torch.nn, torch.nn.functional


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def layers() -> Any:
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def data(rows: int = 12) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 6, generator=generator)
    return x, torch.randint(0, 3, (rows,), generator=generator)


class Words(nn.Module):
    """A model of which gradients are sparse."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(7, 4, sparse=sparse), nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return self.last(torch.tanh(self.words(x)).mean(1))


def words() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randint(0, 7, (12, 3), generator=generator)
    return x, torch.randint(0, 3, (12,), generator=generator)


@pytest.mark.parametrize("scalars", [True, False])
def test_closures_count_the_batch_of_their_first_evaluation(tmp_path: Path, scalars: bool) -> None:
    model, (x, y) = layers(), data()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    calls = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        calls.append(1)
        return loss

    with record(model, optimizer, tmp_path / "run", scalars=scalars):
        for _ in range(3):
            optimizer.step(closure)
    assert len(calls) > 6, "a closure is evaluated once"
    run = fs.open_run(tmp_path / "run")
    assert run.metadata["training"]["batch_size"] == 12
    assert "batch_size_varies" not in run.metadata["training"]
    if scalars:
        assert np.array(run.array("batch_size", 0))[1:, 0].tolist() == [12.0] * 3


@pytest.mark.parametrize("observe", [Full(), RandomProjection(4, form="orthonormal")])
def test_exact_rows_of_steps_under_autocast_are_those_without(tmp_path: Path, observe: Any) -> None:
    x, y = data()
    for rounding in (False, True):
        torch.manual_seed(0)
        model = layers()
        model[2].bfloat16()  # so that operations of torch read it
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        path = tmp_path / str(rounding)
        with record(model, optimizer, path, observe=observe, gradients=True):
            for _ in range(4):
                optimizer.zero_grad()
                hidden = model[1](model[0](x)).bfloat16()
                F.cross_entropy(model[2](hidden).float(), y).backward()
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=rounding):
                    assert not rounding or (x @ x.T).dtype is torch.bfloat16
                    optimizer.step()
    plain, rounded = (fs.open_run(tmp_path / str(rounding)) for rounding in (False, True))
    for stream in plain.streams:
        one, other = (np.array(run.array(stream, 0)) for run in (plain, rounded))
        assert np.array_equal(one, other, equal_nan=True), stream


def test_parameters_that_are_trained_later_are_said_not_to_be_recorded(tmp_path: Path) -> None:
    model, (x, y) = layers(), data()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = record(model, optimizer, tmp_path / "run")
    for step in range(3):
        model[0].weight.requires_grad_(step == 2)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if step < 2:
            recorder.flush()  # no warning: it is frozen
    with pytest.warns(RuntimeWarning, match=r"moves 0\.weight by now, which is not recorded"):
        recorder.close()


def test_routes_agree_sparse_and_dense_embeddings_have_one_curvature() -> None:
    x, y = words()
    losses = []
    for sparse in (True, False):
        torch.manual_seed(0)
        losses.append(TorchLoss(Words(sparse=sparse), F.cross_entropy, x, y, dtype=torch.float64))
    w = losses[0].initial_parameters
    assert [loss.route for loss in losses] == ["torch.func"] * 2
    assert np.array_equal(losses[0].hessian(w), losses[1].hessian(w))


def test_sparse_gradients_are_examined_as_they_add_up() -> None:
    model = Words(sparse=True)
    assert examine(model, F.cross_entropy, *words()).ok
    assert model.words.sparse
    with torch.no_grad():
        model.words.weight[3] = torch.nan
    found = examine(model, F.cross_entropy, *words()).findings
    assert [finding.name for finding in found] == ["not finite"]


def test_refuses_to_examine_what_a_pass_would_change() -> None:
    model = nn.Sequential(nn.LazyLinear(5), nn.Tanh(), nn.LazyLinear(3))
    with pytest.raises(InputError, match="run it once on a batch"):
        examine(model, F.cross_entropy, *data())
    model(data()[0])
    assert examine(model, F.cross_entropy, *data()).ok


def test_refuses_the_second_derivative_that_torch_gets_wrong() -> None:
    """Of weight_norm: its fused form takes the norms for constants in the second pass."""
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)))
    loss = TorchLoss(model, F.cross_entropy, *data(), dtype=torch.float64)
    w = loss.initial_parameters
    v, h = np.cos(np.arange(len(w))), 1e-5
    assert loss.loss(w + h * v) - loss.loss(w - h * v) == pytest.approx(
        2 * h * loss.gradient(w) @ v, rel=1e-7
    )
    with pytest.raises(fs.errors.UnsupportedError, match="weight_norm"):
        loss.hessian(w)
