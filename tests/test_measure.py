"""Measuring a run is estimating on its window, whatever holds the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fracsde as fs
from fracsde import estimators
from fracsde.errors import (
    DiagnosticsError,
    InputError,
    OutOfRangeError,
    RecordError,
    ShapeError,
)
from fracsde.records import quantities as names
from tests.support.laws import seed_of
from tests.support.runs import sgd_run, store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def run() -> fs.Trajectory:
    return sgd_run(seed_of("test_measure"), chains=20, draws=400, every=3)


def same(one: fs.Measurement, other: fs.Measurement) -> bool:
    return one.quantity == other.quantity and all(
        np.allclose(getattr(one, name), getattr(other, name), rtol=1e-12, atol=0.0)
        for name in ("value", "stderr", "n_effective")
    )


def test_measures_what_the_estimators_do(run: fs.Trajectory) -> None:
    found = fs.measure(run, quantities=names.NAMES, lags=[3, 30])
    labels = names.numbered(4)
    tau = estimators.integrated_time(run)
    moved = estimators.mean_square_displacement(run, [1, 10], kind="time_averaged")
    expected = [
        estimators.mean(run),
        estimators.variances(run),
        estimators.covariance_entries(run),
        estimators.standard_deviations(run),
        estimators.autocorrelation_at(
            run, [1, 10], quantity=names.autocorrelation(labels, [3, 30])
        ),
        moved.to_measurement(quantity=names.mean_square_displacement([3, 30])),
        fs.Measurement(
            quantity=names.integrated_time(labels),
            value=3.0 * tau.value,
            stderr=3.0 * tau.stderr,
            n_effective=tau.n_effective,
        ),
    ]
    assert [m.quantity.name for m in found] == list(names.NAMES)
    for one, other in zip(found, expected, strict=True):
        assert same(one, other), one.quantity.name


@pytest.mark.parametrize("name", names.NAMES)
def test_predictions_and_measurements_meet(run: fs.Trajectory, name: str) -> None:
    options: dict[str, Any] = {"quantities": name, "lags": [3, 30]}
    [measured] = fs.measure(run, **options)
    one = np.eye(4)
    for process in (
        fs.LinearRecursion(transition=0.5 * one, noise=one),
        fs.OUProcess(drift=one, noise=one),
    ):
        [predicted] = fs.predict(process, **options)
        assert measured.quantity == predicted.quantity


def test_directions_are_those_of_the_projected_run(run: fs.Trajectory, tmp_path: Path) -> None:
    V = np.random.default_rng(2).normal(size=(4, 2))
    [expected] = fs.measure(run.project(V), quantities="variance")
    stored = store(tmp_path / "run", run)
    for source in (run, stored, tmp_path / "run", str(tmp_path / "run")):
        [found] = fs.measure(source, quantities="variance", directions=V)
        assert same(found, expected)


def test_window_leaves_out_what_lies_outside(run: fs.Trajectory, tmp_path: Path) -> None:
    store(tmp_path / "run", run)
    expected = fs.measure(run.between(300, 900))
    for source in (run, tmp_path / "run"):
        found = fs.measure(source, start=299.5, stop=901)
        assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def test_other_streams_have_units_of_their_own(run: fs.Trajectory, tmp_path: Path) -> None:
    loss = np.square(run.values).sum(axis=2)
    stored = store(tmp_path / "run", run, streams={"loss": loss})
    mean, variance = fs.measure(stored, stream="loss")
    assert (mean.quantity.unit, variance.quantity.unit) == ("loss", "loss^2")
    assert abs(mean.value[0] - loss.mean()) < 1e-12


def test_chains_of_unequal_length_are_refused_or_cut(run: fs.Trajectory, tmp_path: Path) -> None:
    from fracsde.recording import Recorder

    store(tmp_path / "run", run)
    with Recorder(tmp_path / "run", parameters=4, chain=20, dtype="float64") as recorder:
        for step in range(0, 300, 3):
            recorder.record(step, run.values[0, step // 3] + 0.01)
    with pytest.raises(RecordError, match='unequal="truncate"'):
        fs.measure(tmp_path / "run")
    V = np.eye(4)[:, :2]
    [cut] = fs.measure(tmp_path / "run", quantities="mean", unequal="truncate")
    [along] = fs.measure(tmp_path / "run", quantities="mean", unequal="truncate", directions=V)
    assert cut.n_effective[0] == 21
    assert np.allclose(along.value, cut.value[:2], rtol=1e-12)


def test_a_run_that_drifts_is_refused_with_the_remedy_that_serves() -> None:
    falling = sgd_run(seed_of("drift"), draws=200, every=1, start=5.0 * np.ones(4))
    with pytest.raises(DiagnosticsError, match=r"from 0 to 199.*window begin at "):
        fs.measure(falling)
    assert len(fs.measure(falling, start=40)) == 2
    assert len(fs.measure(falling, diagnose=False)) == 2


def test_a_diverged_run_is_refused_at_its_step_and_measured_before(
    run: fs.Trajectory, tmp_path: Path
) -> None:
    bad = np.ones((run.chains, run.draws))
    bad[7, 200] = np.inf
    stored = store(tmp_path / "run", run, streams={"loss": bad})
    with pytest.raises(DiagnosticsError, match=r"'loss' of chain 7 .* step 600"):
        fs.measure(stored)
    assert len(fs.measure(stored, stop=599)) == 2
    others = [chain for chain in range(20) if chain != 7]
    assert len(fs.measure(stored, chains=others)) == 2


def test_a_nan_in_an_array_is_named(run: fs.Trajectory) -> None:
    values = run.values.copy()
    values[3, 100:] = np.nan
    with pytest.raises(RecordError, match="chain 3 is NaN or infinite at time 100"):
        fs.measure(values)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"quantities": "autocorrelation"}, InputError, "needs `lags`"),
        ({"quantities": "msd", "lags": []}, InputError, "needs `lags`"),
        ({"quantities": "msd", "lags": [4]}, RecordError, "multiples of 3"),
        ({"quantities": "msd", "lags": [3000]}, RecordError, "between 3 and 1197"),
        ({"quantities": "msd", "lags": [0]}, OutOfRangeError, "must be positive"),
        ({"quantities": "variance", "lags": [-1]}, OutOfRangeError, "must be positive"),
        ({"quantities": "nothing"}, InputError, "no quantity"),
        ({"start": 5000}, RecordError, "nothing was recorded"),
        ({"start": 1180}, RecordError, "draws"),
        ({"labels": ["a"]}, ShapeError, "4 names"),
        ({"directions": np.eye(3)}, ShapeError, "directions"),
        ({"stream": "loss"}, InputError, "stored runs"),
        ({"diagnose": 1}, InputError, "True or False"),
    ],
)
def test_refuses_what_cannot_be_measured(
    run: fs.Trajectory, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        fs.measure(run, **options)


def test_refuses_constant_series_and_missing_streams(run: fs.Trajectory, tmp_path: Path) -> None:
    still = run.values.copy()
    still[..., 1] = 3.0
    with pytest.raises(RecordError, match=r"'1'|same in every chain|constant"):
        fs.measure(still, diagnose=False)
    stored = store(tmp_path / "run", run)
    with pytest.raises(RecordError, match="no stream 'loss'"):
        fs.measure(stored, stream="loss")
    with pytest.raises(RecordError, match="no chain 99"):
        fs.measure(stored, chains=[99])


def test_refuses_foreign_folders(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(RecordError, match=r"run\.json"):
        fs.measure(tmp_path)
