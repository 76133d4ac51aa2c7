"""The probes name what breaks a theory of the run, find nothing in clean runs, change nothing."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from fracsde.errors import InputError, ShapeError

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.utils.data import (  # noqa: E402
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    WeightedRandomSampler,
)

from fracsde.recording.torch import examine  # noqa: E402

torch.set_num_threads(1)
N = 24


@pytest.fixture
def data() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(N, 6, generator=generator),
        torch.randint(0, 3, (N,), generator=generator),
    )


def network(*middle: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), *middle, nn.Linear(8, 3))


class Noisy(nn.Module):
    """Draws random numbers and is of no known class."""

    def forward(self, x: Any) -> Any:
        return x + torch.randn_like(x)


class Centred(nn.Module):
    """Couples the batch and is of no known class."""

    def forward(self, x: Any) -> Any:
        return x - x.mean(0)


class Remembering(nn.Module):
    """Keeps state from pass to pass."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Any) -> Any:
        self.passes += 1
        return x * self.passes


def names(examination: Any) -> list[str]:
    return [finding.name for finding in examination.findings]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "middle", [(), (nn.LayerNorm(8),), (nn.Dropout(0.0),), (nn.GroupNorm(2, 8),)]
)
def test_nothing_is_found_in_a_clean_run(data: Any, middle: Any, dtype: Any) -> None:
    x, y = data
    examination = examine(network(*middle).to(dtype), nn.CrossEntropyLoss(), x.to(dtype), y)
    assert examination.ok
    assert str(examination) == "nothing stands against a theory of this run"


@pytest.mark.parametrize(
    ("module", "kind", "name"),
    [
        (nn.Dropout(0.3), "Dropout", "random module"),
        (nn.RReLU(), "RReLU", "random module"),
        (Noisy(), "Noisy", "random module"),
        (nn.BatchNorm1d(8), "BatchNorm1d", "coupled batch"),
        (nn.BatchNorm1d(8, track_running_stats=False), "BatchNorm1d", "coupled batch"),
        (Centred(), "Centred", "coupled batch"),
        (Remembering(), "Remembering", "hidden state"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_modules_are_named_with_their_place_and_class(
    data: Any, module: nn.Module, kind: str, name: str
) -> None:
    inner = nn.Sequential(nn.Identity(), module)
    examination = examine(network(inner), nn.CrossEntropyLoss(), *data)
    assert names(examination) == [name]
    assert f"'2.1' ({kind})" in examination.findings[0].found


def test_several_modules_are_each_named_and_not_their_containers(data: Any) -> None:
    model = network(Centred(), nn.Sequential(Noisy()), nn.Dropout(), nn.BatchNorm1d(8))
    examination = examine(model, nn.CrossEntropyLoss(), *data)
    assert names(examination) == ["random module", "coupled batch"]
    assert "'3.0' (Noisy), '4' (Dropout) " in examination.findings[0].found
    assert "'2' (Centred), '5' (BatchNorm1d) " in examination.findings[1].found


@pytest.mark.twin
def test_evaluation_mode_is_not_accused(data: Any) -> None:
    model = network(nn.Dropout(), nn.BatchNorm1d(8)).eval()
    assert examine(model, nn.CrossEntropyLoss(), *data).ok


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (nn.CrossEntropyLoss(reduction="sum"), "sum reduction"),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0, 0.5])), "weighted mean"),
        (nn.CrossEntropyLoss(ignore_index=1), "weighted mean"),
        (lambda out, y: (out @ out.T).logsumexp(1).mean(), "coupled loss"),
        (nn.CrossEntropyLoss(reduction="none"), "loss per example"),
        (lambda out, y: nn.functional.cross_entropy(out * torch.rand(()), y), "random loss"),
        (lambda out, y: nn.functional.cross_entropy(out, y) * float("inf"), "not finite"),
    ],
    ids=["sum", "weights", "ignored", "coupled", "none", "random", "infinite"],
)
def test_losses_that_are_no_mean_are_told_apart(data: Any, loss: Any, name: str) -> None:
    found = names(examine(network(), loss, *data))
    assert found[0] == name
    assert name == "random loss" or len(found) == 1


def test_losses_with_a_penalty_or_of_regression_are_means(data: Any) -> None:
    x, _ = data
    model = network()

    def loss(out: Any, y: Any) -> Any:
        penalty = sum(p.square().sum() for p in model.parameters())
        return (out - y).square().mean() + 1e-2 * penalty

    assert examine(model, loss, x, torch.randn(N, 3)).ok


def test_unused_parameters_and_short_numbers_are_named(data: Any) -> None:
    model = nn.Sequential()
    model.add_module("used", nn.Linear(6, 3))
    model.add_module("twin", nn.Linear(6, 3))
    model.forward = lambda x: model.used(x)
    examination = examine(model, nn.CrossEntropyLoss(), *data)
    assert names(examination) == ["unused parameter"]
    assert "twin.weight, twin.bias" in examination.findings[0].found
    model.twin.requires_grad_(False)
    assert examine(model, nn.CrossEntropyLoss(), *data).ok
    half = examine(model.bfloat16(), nn.CrossEntropyLoss(), data[0].bfloat16(), data[1])
    assert "half precision" in names(half)


class Augmented(Dataset):
    """Images with random noise."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        return torch.full((6,), float(index)) + torch.randn(6), index % 3


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        yield torch.zeros(6), 0


def test_loaders_are_asked_for_augmentation_and_sampling(data: Any) -> None:
    x, y = data
    plain = TensorDataset(x, y)
    cases = {
        ("augmentation",): DataLoader(Augmented(), batch_size=4, shuffle=True),
        (): DataLoader(plain, batch_size=4, shuffle=True),
        ("uneven batches",): DataLoader(plain, batch_size=5, shuffle=True),
        ("sampling",): DataLoader(plain, batch_size=4),
    }
    for expected, loader in cases.items():
        found = examine(network(), nn.CrossEntropyLoss(), x, y, loader=loader)
        assert tuple(names(found)) == expected
        assert not found.skipped
    weighted = DataLoader(plain, batch_size=4, sampler=WeightedRandomSampler([1.0] * N, N))
    found = examine(network(), nn.CrossEntropyLoss(), x, y, loader=weighted)
    assert "WeightedRandomSampler" in found.findings[0].found
    stream = examine(network(), nn.CrossEntropyLoss(), x, y, loader=DataLoader(Stream()))
    assert not stream.ok
    assert "not tried: augmentation" in str(stream)


def test_keeps_mode_buffers_gradients_and_random_numbers(data: Any) -> None:
    x, y = data
    model = network(nn.Dropout(), nn.BatchNorm1d(8), Remembering())
    model[4].eval()
    nn.functional.cross_entropy(model(x), y).backward()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [p.grad for p in model.parameters()]
    values = [g.clone() for g in gradients]
    modes = [module.training for module in model.modules()]
    buffers = [id(b) for b in model.buffers()]

    class Dice(Dataset):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Any:
            return torch.tensor([random.random(), np.random.rand()]), 0  # noqa: NPY002

    before = (torch.get_rng_state(), np.random.get_state()[1], random.getstate())  # noqa: NPY002
    loader = DataLoader(Dice(), batch_size=4, shuffle=True)
    found = examine(model, nn.CrossEntropyLoss(), x, y, loader=loader)
    assert "augmentation" in names(found)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()
    assert all(torch.equal(state[name], t) for name, t in model.state_dict().items())
    assert [id(b) for b in model.buffers()] == buffers
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(torch.equal(g, v) for g, v in zip(gradients, values, strict=True))
    assert [module.training for module in model.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_state_is_restored_where_the_model_fails(data: Any) -> None:
    x, y = data
    model = network(nn.BatchNorm1d(8))
    mean = model[2].running_mean.clone()
    with pytest.raises(RuntimeError, match="size mismatch"):
        examine(model, lambda out, target: out @ target, x, y)
    assert torch.equal(model[2].running_mean, mean)


def test_several_inputs_are_several_arguments(data: Any) -> None:
    x, y = data

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, a: Any, b: Any) -> Any:
            return self.left(a) * self.right(b)

    assert examine(Two(), nn.CrossEntropyLoss(), (x, 2 * x), y).ok


def test_refuses_what_is_no_batch(data: Any) -> None:
    x, y = data
    loss = nn.CrossEntropyLoss()
    with pytest.raises(InputError, match="Module"):
        examine(lambda z: z, loss, x, y)
    with pytest.raises(InputError, match="one example per row"):
        examine(network(), loss, x.numpy(), y)
    with pytest.raises(ShapeError, match="four at least"):
        examine(network(), loss, x[:3], y[:3])
    with pytest.raises(ShapeError, match="one example per row"):
        examine(network(), loss, x, y[:5])
    with pytest.raises(InputError, match="DataLoader"):
        examine(network(), loss, x, y, loader=[x])
