"""The how-to's torch model gives the closure of the same network here."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import fracsde as fs
from fracsde.networks import Network, run_sgd, train_to_minimum

HOWTO = Path(__file__).resolve().parents[1] / "docs" / "howto" / "close-a-loss.md"


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
    blocks = re.findall(r"```python\n(.*?)```", HOWTO.read_text(encoding="utf-8"), re.DOTALL)
    block = blocks[1 if form == "short" else 2]
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


def test_redundant_weights_of_a_softmax_are_not_compared_and_enter_no_error(network) -> None:
    """Three of six weights are held by the decay alone: what moves along them is rounding."""
    w = train_to_minimum(network, np.zeros(network.parameters)).parameters
    settings = {"learning_rate": 0.5, "batch_size": 16}
    closure = fs.gaussian_closure(fs.examine_minimum(network, w), **settings)
    assert (closure.variances > 1e-20).tolist() == [True] * 3 + [False] * 3
    assert closure.truncation < 0.05
    (predicted,) = fs.predict(closure, quantities="variance")
    assert predicted.numerical_error[:3].max() < 1e-3 * predicted.value[:3].min()
    start = np.tile(w, (64, 1))
    run = run_sgd(
        network, start, steps=3000, record_positions=range(0, 3001, 5), seed=0, **settings
    )
    report = fs.compare_run(run.positions, theory=closure, tolerance=0.1, assumptions=False)
    assert [row.label for row in report.rows] == ["e1", "e2", "e3"]
    assert report.verdict is fs.Verdict.AGREES
