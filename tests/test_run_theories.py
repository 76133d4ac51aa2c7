"""Theories as objects and as ready predictions, on trial and as rivals of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fracsde as fs
from fracsde.errors import ComputationError, InputError, ShapeError, UnstableError, UnsupportedError
from fracsde.recording import Coordinates, Projection
from tests.support.laws import seed_of
from tests.support.runs import TRAINING, matrices, sgd_run, store

if TYPE_CHECKING:
    from pathlib import Path

H, C, MINIMUM = matrices()
SETTINGS: dict[str, Any] = {
    "learning_rate": TRAINING["learning_rate"],
    "momentum": TRAINING["momentum"],
    "batch_size": TRAINING["batch_size"],
}
SGD = fs.SGDNearMinimum(hessian=H, gradient_noise=C, minimum=MINIMUM, **SETTINGS)
QUICK: dict[str, Any] = {"tolerance": 0.2, "assumptions": False}


@pytest.fixture(scope="module")
def run() -> fs.Trajectory:
    return sgd_run(seed_of("test_run_theories"), chains=24, draws=500)


def predicted(report: fs.Report, rival: str | None = None) -> np.ndarray:
    rows = report.rows if rival is None else report.rivals[rival]
    return np.array([row.predicted for row in rows])


def closure(momentum: float, **options: Any) -> fs.GaussianClosure:
    # A quadratic loss, for which the closure is exact: what is left is its draws.
    loss = fs.StochasticLoss(
        gradient=lambda w: (w - MINIMUM) @ H,
        hessian_products=lambda w, V: np.broadcast_to(H @ V, (len(w), *V.shape)),
        projected_noise=lambda w, V: np.broadcast_to(V.T @ C @ V, (len(w), V.shape[1], V.shape[1])),
        batched=True,
    )
    settings = SETTINGS | {"momentum": momentum, "draws": 96} | options
    return fs.gaussian_closure(fs.examine_minimum(loss, MINIMUM), **settings)


@pytest.fixture(scope="module")
def seen(run: fs.Trajectory, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the run as it may have been recorded, and the directions that each shows."""
    place = tmp_path_factory.mktemp("runs")
    V = np.random.default_rng(1).normal(size=(4, 2))
    some = replace(run, values=run.values[..., [2, 0]])
    _, U = np.linalg.eigh(H)
    return {
        "full": (store(place / "full", run), U[:, ::-1]),
        "projection": (
            store(place / "projection", run.project(V), observe=Projection(V), parameters=4),
            V,
        ),
        "coordinates": (
            store(place / "some", some, observe=Coordinates([2, 0]), parameters=4),
            np.eye(4)[:, [2, 0]],
        ),
        "in memory": (run, U[:, ::-1]),
    }


def along(sigma: np.ndarray, V: np.ndarray) -> np.ndarray:
    return np.einsum("dp,de,ep->p", V, sigma, V)


@pytest.mark.parametrize("how", ["full", "projection", "coordinates", "in memory"])
def test_every_kind_of_theory_is_looked_at_along_what_was_recorded(
    seen: dict[str, Any], how: str
) -> None:
    source, V = seen[how]
    sigma = fs.stationary_covariance(SGD.map()).matrix
    flow = fs.stationary_covariance(SGD.flow()).matrix
    report = fs.compare_run(
        source,
        theory=SGD,
        rivals={"recursion": SGD.map(), "OU": SGD.flow(), "law": "flow", "closed": closure(0.2)},
        **QUICK,
    )
    assert report.verdict is fs.Verdict.AGREES, str(report)
    assert np.allclose(predicted(report), along(sigma, V), rtol=1e-6)
    assert np.allclose(predicted(report, "recursion"), along(sigma, V), rtol=1e-6)
    assert np.allclose(predicted(report, "OU"), along(flow, V), rtol=1e-6)
    assert np.allclose(predicted(report, "law"), along(flow, V), rtol=1e-6)
    assert np.allclose(predicted(report, "closed"), along(sigma, V), rtol=1e-3)
    assert set(report.rivals) == {"recursion", "OU", "law", "closed"}
    assert report.settings["law"] == "map"
    assert report.settings["theory"] == "SGDNearMinimum"


@pytest.mark.twin
def test_a_wrong_object_disagrees_and_a_difference_of_settings_is_noted(
    seen: dict[str, Any],
) -> None:
    source, _ = seen["projection"]
    wrong = replace(SGD, learning_rate=0.6)
    report = fs.compare_run(source, theory=wrong, tolerance=0.1, assumptions=False)
    assert report.verdict is fs.Verdict.DISAGREES
    assert "0.6 where the run recorded 0.4" in report.settings["notes"][0]


@pytest.mark.parametrize("momentum", [0.0, 0.2])
def test_a_closure_on_trial_brings_its_modes_to_a_run_without_curvature(
    run: fs.Trajectory, tmp_path: Path, momentum: float
) -> None:
    training = TRAINING | {"momentum": momentum, "weight_decay": 0.3}  # the decay is in the loss
    source = store(tmp_path / "run", run, curvature={}, training=training)
    law = closure(momentum)
    report = fs.compare_run(source, theory=law, quantities=("variance", "mean"), **QUICK)
    assert [row.label for row in report.rows[:4]] == ["e1", "e2", "e3", "e4"]
    assert np.allclose(predicted(report)[:4], law.variances, rtol=1e-10)
    # The default rival is the exact law of the run's settings, from the closure's minimum.
    assert np.allclose(predicted(report, "map")[:4], law.map_covariance.diagonal(), rtol=1e-8)
    assert report.settings["law"] == "closure"
    if momentum:
        assert report.verdict is fs.Verdict.AGREES, str(report)


def test_a_closure_is_looked_at_along_projections_that_are_no_eigenvectors(
    run: fs.Trajectory, tmp_path: Path
) -> None:
    V = np.random.default_rng(2).normal(size=(4, 2))
    where = {"observe": Projection(V), "parameters": 4, "curvature": {}}
    source = store(tmp_path / "run", run.project(V), **where)
    report = fs.compare_run(source, theory=closure(0.2), quantities=("mean", "variance"), **QUICK)
    sigma = fs.stationary_covariance(SGD.map()).matrix
    assert np.allclose(predicted(report), [*(MINIMUM @ V), *along(sigma, V)], rtol=1e-3)
    assert report.verdict is fs.Verdict.AGREES, str(report)
    assert report.rivals == {}
    with pytest.raises(InputError, match="one of the run's own settings"):
        fs.compare_run(source, theory=closure(0.2), rivals=["map"], **QUICK)


def test_a_closure_in_doubt_says_so_on_trial_and_as_a_rival(run: fs.Trajectory) -> None:
    early = replace(closure(0.2), status=fs.Status.NOT_CONVERGED, detail="rounds ran out")
    rough = replace(early, status=fs.Status.INACCURATE)
    report = fs.compare_run(run, theory=early, rivals={"third": rough}, **QUICK)
    stopped, unsure = report.settings["notes"][-2:]
    assert "'closure'" in stopped
    assert "stopped before" in stopped
    assert "'third'" in unsure
    assert "less accurate" in unsure


def test_shuffled_sgd_is_the_law_of_its_epochs(run: fs.Trajectory, tmp_path: Path) -> None:
    shuffled: dict[str, Any] = {"sampling": "shuffled", "dataset_size": 80, "momentum": 0.0}
    source = store(tmp_path / "run", run, training=TRAINING | shuffled)
    named = fs.compare_run(source, **QUICK)
    given = fs.compare_run(source, theory=replace(SGD, **shuffled), **QUICK)
    assert set(given.rivals) == set(named.rivals) == {"independent", "flow"}
    for rival in (None, "independent", "flow"):
        assert np.allclose(predicted(given, rival), predicted(named, rival), rtol=1e-9)
    assert given.settings["notes"] == named.settings["notes"]


def test_a_rival_whose_mean_is_unknown_predicts_none(run: fs.Trajectory) -> None:
    law = fs.LinearRecursion(transition=0.5 * np.eye(4), noise=np.eye(4), mean=MINIMUM)
    known = {"hessian": H, "gradient_noise": C, **SETTINGS}
    report = fs.compare_run(run, theory=law, quantities="mean", **known, **QUICK)
    assert report.rivals == {}
    assert "needs `minimum`" in report.settings["notes"][-1]


def test_noise_that_depends_on_the_state_comes_with_its_own_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(seed_of("least squares"))
    X = rng.normal(size=(40, 3)) @ np.diag([1.0, 0.9, 0.8])
    y = X @ np.ones(3) + rng.normal(size=40)
    sgd = fs.LeastSquaresSGD(inputs=X, targets=y, learning_rate=0.5, batch_size=2)
    w, path = np.zeros((32, 3)), np.empty((32, 2000, 3))
    w += sgd.minimum
    for step in range(-50, 2000):
        batch = rng.integers(40, size=(32, 2))
        gradient = np.einsum(
            "cbd,cb->cd", X[batch], np.einsum("cbd,cd->cb", X[batch], w) - y[batch]
        )
        w = w - 0.5 * gradient / 2
        if step >= 0:
            path[:, step] = w
    walk = fs.Trajectory(values=path, times=np.arange(2000.0))
    report = fs.compare_run(walk, theory=sgd, **QUICK | {"tolerance": 0.12})
    sigma = fs.stationary_covariance(sgd).matrix
    _, U = np.linalg.eigh(sgd.near_minimum().hessian)
    assert np.allclose(predicted(report), along(sigma, U[:, ::-1]), rtol=1e-9)
    assert report.verdict is fs.Verdict.AGREES, str(report)
    assert report.excluded("map"), str(report)


def test_a_theory_of_the_recorded_numbers_is_taken_as_one(seen: dict[str, Any]) -> None:
    source, V = seen["projection"]
    sigma = V.T @ fs.stationary_covariance(SGD.map()).matrix @ V
    small = fs.OUProcess(drift=np.eye(2), noise=2.0 * sigma)
    report = fs.compare_run(source, theory=small, **QUICK)
    assert np.allclose(predicted(report), sigma.diagonal(), rtol=1e-10)
    assert set(report.rivals) == {"map"}  # of the run's own settings


@pytest.mark.twin
def test_matrices_cut_down_to_other_directions_are_no_theory_of_them(seen: dict[str, Any]) -> None:
    source, V = seen["projection"]
    Q, _ = np.linalg.qr(V)
    cut = replace(SGD, hessian=Q.T @ H @ Q, gradient_noise=Q.T @ C @ Q, minimum=MINIMUM @ Q)
    with pytest.raises(UnsupportedError, match="right for eigenvectors only"):
        fs.compare_run(source, theory=cut, **QUICK)
    report = fs.compare_run(source, rivals={"cut": cut}, **QUICK)
    assert report.rivals == {}
    assert "right for eigenvectors only" in report.settings["notes"][-1]


def test_a_rival_may_predict_some_of_the_quantities(seen: dict[str, Any]) -> None:
    source, _ = seen["full"]
    first = fs.compare_run(source, **QUICK)
    few = {"some": first.predicted}
    report = fs.compare_run(source, quantities=("mean", "variance"), rivals=few, **QUICK)
    assert [row.quantity for row in report.rivals["some"]] == ["stationary variance"] * 4
    with pytest.raises(InputError, match="name the quantities of the predictions"):
        fs.compare_run(source, quantities=("mean", "variance"), theory=few, **QUICK)


def test_ready_predictions_are_compared_along_their_labels(
    seen: dict[str, Any], tmp_path: Path
) -> None:
    source, _ = seen["full"]
    first = fs.compare_run(source, quantities=("mean", "variance"), **QUICK)
    again = fs.compare_run(source, theory=first.predicted, rivals=[SGD.flow()], **QUICK)
    assert [row.ratio for row in again.rows] == [row.ratio for row in first.rows]
    assert again.settings["law"] == "map"
    assert again.settings["theory"] == "predictions"
    each = fs.predict(SGD, quantities="variance")
    report = fs.compare_run(source, theory={"weights": each}, rivals=["flow"], **QUICK)
    assert [row.label for row in report.rows] == ["0", "1", "2", "3"]
    assert report.settings["law"] == "weights"
    flow = along(fs.stationary_covariance(SGD.flow()).matrix, np.eye(4))
    assert np.allclose(predicted(report, "flow"), flow, rtol=1e-10)
    # An Adam run may be judged by predictions, though not by the laws of SGD.
    other = store(tmp_path / "adam", sgd_run(3, draws=300), training={"optimizer": "Adam"})
    assert fs.compare_run(other, theory=each, **QUICK).verdict is not fs.Verdict.DISAGREES
    with pytest.raises(InputError, match="trained by 'Adam'"):
        fs.compare_run(other, theory=each, rivals=["flow"], **QUICK)


UNSTABLE = fs.OUProcess(drift=-np.eye(4), noise=np.eye(4))
VARIANCE = fs.predict(SGD, quantities="variance")


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (
            {"theory": fs.OUProcess(drift=np.eye(3), noise=np.eye(3))},
            ShapeError,
            "the 4 numbers that the run",
        ),
        ({"theory": UNSTABLE}, UnstableError, "the theory 'OUProcess' cannot be compared"),
        ({"theory": replace(SGD, learning_rate=9.0)}, UnstableError, "no stationary law"),
        ({"theory": 3.0}, InputError, "GaussianClosure, got float"),
        ({"theory": {}}, InputError, "got 0 entries"),
        ({"theory": {"mine": None}}, InputError, "a theory or Predictions, got NoneType"),
        ({"rivals": [None]}, InputError, "a theory or Predictions, got NoneType"),
        ({"theory": {"": SGD}}, InputError, "non-empty words"),
        ({"theory": [SGD]}, InputError, "name of a law, a theory or Predictions"),
        ({"theory": VARIANCE, "quantities": "mean"}, InputError, "compared are 'stationary mean'"),
        ({"theory": VARIANCE, "directions": np.eye(2)}, InputError, "along '0', '1'"),
        ({"theory": SGD, "rivals": [SGD]}, InputError, "name it: rivals="),
        ({"rivals": [SGD.flow(), SGD.flow(limit="kunin")]}, InputError, "two are 'OUProcess'"),
        ({"rivals": {"mine": 4}}, InputError, "GaussianClosure, got int"),
        ({"theory": closure(0.0, learning_rate=3.0, throw=False)}, ComputationError, "fixed point"),
    ],
)
def test_refuses_what_is_no_theory_of_the_run_before_it_is_read(
    seen: dict[str, Any],
    asked: dict[str, Any],
    error: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, _ = seen["projection" if "directions" in asked else "full"]
    monkeypatch.setattr(fs.run_report, "read_window", None)  # nothing may be read
    with pytest.raises(error, match=words):
        fs.compare_run(source, **QUICK | asked)


def test_a_rival_without_a_stationary_law_is_noted(seen: dict[str, Any]) -> None:
    lost = closure(0.0, learning_rate=3.0, throw=False)
    rivals = {"runaway": UNSTABLE, "lost": lost}
    report = fs.compare_run(seen["full"][0], rivals=rivals, **QUICK)
    assert report.rivals == {}
    for name, note in zip(rivals, report.settings["notes"], strict=True):
        assert f"rival {name!r} predicts nothing" in note


def test_many_weights_without_a_hessian_need_directions() -> None:
    rng = np.random.default_rng(0)
    white = fs.Trajectory(values=rng.normal(size=(16, 400, 30)), times=np.arange(400.0))
    law = fs.LinearRecursion(transition=np.zeros((30, 30)), noise=np.eye(30))
    with pytest.raises(InputError, match=r"30 weights .* pass `directions`"):
        fs.compare_run(white, theory=law, **QUICK)
    asked = {"directions": np.eye(30)[:, :2], "tolerance": 0.2}
    report = fs.compare_run(white, theory=law, **asked)
    assert report.verdict is fs.Verdict.AGREES
    assert {t.verdict.name for t in report.assumptions if t.name == "step rule as stated"} == {
        "UNDECIDED"
    }
