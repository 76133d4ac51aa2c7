"""The how-to's torch model gives the closure of the same network here."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import fracsde as fs
from fracsde.networks import Network, train_to_minimum

HOWTO = Path(__file__).resolve().parents[1] / "docs" / "howto" / "close-a-loss.md"
BLOCKS = re.findall(r"```python\n(.*?)```", HOWTO.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    y = (x[:, 0] + 0.5 * rng.normal(size=40) > 0).astype(np.int64)
    return Network(inputs=x, targets=y, hidden=(), weight_decay=0.1)


@pytest.mark.parametrize("form", ["short", "by hand"])
def test_routes_agree_torch_model_of_the_howto_and_compiled_network(form, network) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    w = train_to_minimum(network, np.zeros(network.parameters)).parameters
    block = BLOCKS[1 if form == "short" else 2]
    names = {
        "fs": fs,
        "train_to_minimum": train_to_minimum,
        "model": torch.nn.Linear(2, 2),
        "inputs": torch.tensor(network.inputs),
        "labels": torch.tensor(network.targets),
        "weight_decay": 0.1,
    }
    exec(compile(block, str(HOWTO), "exec"), names)
    # torch keeps weights as (fan out, fan in), row after row; here it is (fan in, fan out).
    order = np.array([0, 2, 1, 3, 4, 5])
    options = {"learning_rate": 0.5, "batch_size": 16, "draws": 96, "cumulants": 3}
    at = names["at"] if form == "short" else fs.examine_minimum(names["loss"], w[order])
    np.testing.assert_allclose(at.position, w[order], atol=1e-8)
    theirs = fs.gaussian_closure(at, **options)
    ours = fs.gaussian_closure(fs.examine_minimum(network, w), **options)
    np.testing.assert_allclose(theirs.variances, ours.variances, rtol=1e-3, atol=1e-12)
    assert theirs.third is not None
    lengths = [np.linalg.norm(found.third) for found in (theirs, ours)]
    np.testing.assert_allclose(*lengths, rtol=1e-3)


def test_the_closure_of_a_torch_loss_is_on_trial_as_the_howto_says(network) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from torch.nn.functional import cross_entropy

    from fracsde.networks import run_sgd
    from fracsde.recording.torch import TorchLoss

    w = train_to_minimum(network, np.zeros(network.parameters)).parameters
    settings = {"learning_rate": 0.5, "batch_size": 4}
    walk = run_sgd(
        network, w, replicas=64, steps=2000, seed=1, record_positions=range(2001), **settings
    )
    order = np.array([0, 2, 1, 3, 4, 5])
    path = walk.positions.values[..., order]
    loss = TorchLoss(
        torch.nn.Linear(2, 2),
        cross_entropy,
        torch.tensor(network.inputs),
        torch.tensor(network.targets),
        weight_decay=0.1,
        dtype=torch.float64,
    )
    # Three directions move; the other three are those of the decay alone.
    at = fs.examine_minimum(loss, w[order], rank=3)
    closure = fs.gaussian_closure(at, draws=96, **settings)
    block = next(b for b in BLOCKS if "theory=closure" in b)
    V = closure.minimum.leading[:, :2]
    run = fs.Trajectory(values=path @ V, times=np.arange(2001.0))
    names = {"fs": fs, "closure": closure, "run": run}
    with pytest.raises(fs.errors.ShapeError, match="the 2 numbers that the run kept"):
        exec(compile(block, str(HOWTO), "exec"), names)
    whole = fs.Trajectory(values=path, times=np.arange(2001.0))
    asked = {"tolerance": 0.2, "assumptions": False}
    report = fs.compare_run(whole, theory=closure, **settings, **asked)
    assert report.verdict is fs.Verdict.AGREES, str(report)
    for row, frozen in zip(report.rows, report.rivals["map"], strict=True):
        assert abs(row.ratio - 1.0) < 0.5 * abs(frozen.ratio - 1.0)  # 2 % in place of 6
