"""Several stored runs measured together by the command: what it finds, says and refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("typer")

from fracsde.estimators import fluctuation_dissipation_series
from fracsde.records.trajectory import Trajectory
from tests.support.laws import seed_of
from tests.support.runs import store
from tests.test_run_cli import command

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]

H = np.array([1.0, 0.4])
RATES = (0.1, 0.2, 0.3, 0.4)
NOISE_OF_ONE = np.array([[2.0, 0.5], [0.5, 1.0]])


def _sgd(
    folder: Path, *, rate: float = 0.2, batch: int = 4, power: float = 1.0, start: float = 0.0
) -> Any:
    # A run on a parabola whose noise is that of one example over a power of the batch size.
    rng = np.random.default_rng(seed_of(f"{rate} {batch} {power}"))
    root = np.linalg.cholesky(NOISE_OF_ONE / float(batch) ** power)
    w = np.full((32, 2), start)
    for _ in range(0 if start else 100):
        w = w - rate * (w * H + rng.standard_normal(w.shape) @ root.T)
    weights, gradients = [], []
    for _ in range(600):
        g = w * H + rng.standard_normal(w.shape) @ root.T
        w = w - rate * g
        weights.append(w)
        gradients.append(g)
    run = Trajectory(values=np.stack(weights, axis=1), times=np.arange(1.0, 601.0))
    g = np.stack(gradients, axis=1)
    streams = {"gradients": g, "gradient_norm_squared": np.square(g).sum(axis=2)}
    training = {"optimizer": "SGD", "learning_rate": rate, "batch_size": batch, "momentum": 0.0}
    training["sampling"] = "with_replacement"
    return store(folder, run, training=training, streams=streams, curvature={})


@pytest.fixture
def rates(tmp_path: Path) -> list[Any]:
    np.savez(tmp_path / "at.npz", H=np.diag(H), C=NOISE_OF_ONE / 4.0, one=NOISE_OF_ONE)
    return [_sgd(tmp_path / f"r{i}", rate=rate) for i, rate in enumerate(RATES)]


NAMES = [f"r{i}" for i in range(len(RATES))]


def test_series_of_rates_measures_what_the_function_does(command: Any, rates: list[Any]) -> None:
    shown = command(
        "measure", *NAMES, "--series", "rates", "--json", "--start", "50",
        "--hessian", "at.npz:H", "--noise", "at.npz:C",
    )  # fmt: skip
    assert shown.code == 0
    found = json.loads(shown.out)
    expected = fluctuation_dissipation_series(
        rates, start=49, hessian=np.diag(H), gradient_noise=NOISE_OF_ONE / 4.0
    )
    rows = {row["name"]: row for row in found["measurements"]}
    np.testing.assert_array_equal(rows["mean square gradient"]["value"], expected.value)
    slope = rows["trace of curvature times noise"]
    np.testing.assert_array_equal(slope["value"], expected.curvature_noise.value)
    # Tr(HC) of a batch: (2 + 0.4) / 4.
    assert abs(slope["value"][0] - 0.6) < 5 * slope["stderr"][0]
    assert found["about"]["finding"]["sentence"] == expected.sentence


def test_series_of_rates_prints_a_table_and_what_it_means(command: Any, rates: list[Any]) -> None:
    shown = command("measure", *NAMES, "--series", "rates", "-o", "series.json")
    assert shown.code == 0
    assert "effective rate 0.3" in shown.out
    assert "trace of the gradient noise" in shown.out
    assert "Tr(HC) is" in shown.out.splitlines()[-1]
    again = command("measure", *NAMES, "--series", "rates", "--json")
    assert again.code == 0


def test_series_with_a_run_that_drifts_ends_with_five_unless_told(
    command: Any, rates: list[Any], tmp_path: Path
) -> None:
    _sgd(tmp_path / "far", rate=0.05, start=60.0)
    shown = command("measure", *NAMES, "far", "--series", "rates")
    assert shown.code == 5
    assert "have not settled, at effective rate 0.05" in shown.err
    assert command("measure", *NAMES, "far", "--series", "rates", "--no-diagnose").code == 0


@pytest.mark.parametrize(
    ("power", "code", "verdict"),
    [(1.0, 0, "HOLDS"), pytest.param(0.5, 3, "FAILS", marks=pytest.mark.twin)],
)
def test_series_of_batches_tells_whether_noise_falls_as_one_over_the_size(
    command: Any, tmp_path: Path, power: float, code: int, verdict: str
) -> None:
    for batch in (4, 16):
        _sgd(tmp_path / f"b{batch}", batch=batch, power=power)
    arguments = ("measure", "b4", "b16", "--series", "batches", "--tolerance", "0.15")
    shown = command(*arguments)
    assert shown.code == code, shown.err
    assert verdict in shown.out
    assert "noise times batch size at 16" in shown.out
    found = json.loads(command(*arguments, "--json").out)
    assert len(found["about"]["finding"]["entries"]) == 2  # one per direction
    if power == 1.0:
        assert command(*arguments[:-1], "0.001").code == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("r0", "r1"), "measured together with --series"),
        (("r0", "--series", "steps"), "must be rates or batches"),
        (("r0", "r1", "--series", "rates"), "at least 4 rates, got 2"),
        (("r0", "r0", "r1", "r2", "--series", "rates"), "same effective rate"),
        (("r0", "r1", "--series", "batches"), "two runs have batches of 4"),
        (("r0", "--series", "batches"), "nothing to be compared with"),
        (("r0", "--degree", "3"), "--degree: not an option of one run"),
        ((*NAMES, "--series", "rates", "--tolerance", "0.1"), "--tolerance: not an option of"),
        ((*NAMES, "--series", "rates", "--quantity", "mean"), "--quantity: not an option of"),
        ((*NAMES, "--series", "rates", "--stop", "90"), "--stop: not an option of --series rates"),
        ((*NAMES, "--series", "rates", "--degree", "7"), "degree"),
        ((*NAMES, "nowhere", "--series", "rates"), "nowhere"),
    ],
)
def test_refuses_what_is_no_series(
    command: Any, rates: list[Any], arguments: tuple[str, ...], message: str
) -> None:
    shown = command("measure", *arguments)
    assert shown.code == 2
    assert message in " ".join(shown.err.replace("│", " ").split())


def test_refuses_a_run_without_a_batch_size(command: Any, tmp_path: Path) -> None:
    run = Trajectory(values=np.ones((2, 3, 1)), times=np.arange(3.0))
    store(tmp_path / "silent", run, training={"optimizer": "SGD"}, curvature={})
    shown = command("measure", "silent", "--series", "batches")
    assert shown.code == 2
    assert "does not say its batch size" in shown.err
