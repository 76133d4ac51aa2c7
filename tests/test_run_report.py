"""The whole road from a run to a verdict, on runs whose law is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

import fracsde as fs
from fracsde.errors import (
    DiagnosticsError,
    InputError,
    RecordError,
    ShapeError,
    UnsupportedError,
)
from fracsde.recording import Coordinates, Projection
from tests.support.laws import seed_of
from tests.support.quadratic_loss import QuadraticLoss
from tests.support.runs import TRAINING, matrices, sgd_run, store

if TYPE_CHECKING:
    from pathlib import Path

H, C, MINIMUM = matrices()
GIVEN: dict[str, Any] = {
    "hessian": H,
    "gradient_noise": C,
    "minimum": MINIMUM,
    "learning_rate": TRAINING["learning_rate"],
    "momentum": TRAINING["momentum"],
    "batch_size": TRAINING["batch_size"],
    "sampling": "with_replacement",
}
QUICK: dict[str, Any] = {"tolerance": 0.08, "assumptions": False, "rivals": ()}


@pytest.fixture(scope="module")
def run() -> fs.Trajectory:
    # 32 chains of 3000 steps: a variance to about 0.7 %, a wrong rate of 10 % moves it by 10 %.
    return sgd_run(seed_of("test_run_report"))


def variances(report: fs.Report) -> np.ndarray:
    return np.array([row.predicted for row in report.rows if row.quantity == "stationary variance"])


def test_true_settings_agree_in_every_quantity(run: fs.Trajectory) -> None:
    report = fs.compare_run(
        run,
        quantities=("mean", "variance", "covariance", "autocorrelation", "msd"),
        lags=[2, 10],
        **GIVEN | QUICK,
    )
    assert report.verdict is fs.Verdict.AGREES, str(report)


@pytest.mark.twin
@pytest.mark.parametrize("wrong", ["learning_rate", "batch_size", "gradient_noise", "momentum"])
@pytest.mark.parametrize("factor", [0.89, 1.12])
def test_a_wrong_setting_disagrees(run: fs.Trajectory, wrong: str, factor: float) -> None:
    settings = GIVEN | {"batch_size": 100, "gradient_noise": C * (100 / TRAINING["batch_size"])}
    value = settings[wrong] * factor if wrong != "momentum" else 0.2 + 0.1 * np.sign(factor - 1)
    settings[wrong] = round(value) if wrong == "batch_size" else value
    report = fs.compare_run(run, **settings | QUICK | {"tolerance": 0.05})
    assert report.verdict is fs.Verdict.DISAGREES, str(report)


def test_few_data_are_inconclusive_though_the_theory_is_true() -> None:
    short = sgd_run(seed_of("few"), draws=60)
    report = fs.compare_run(short, **GIVEN | QUICK | {"tolerance": 0.05})
    assert report.verdict is fs.Verdict.INCONCLUSIVE


def test_prediction_is_that_of_the_stein_equation(run: fs.Trajectory) -> None:
    rate, mu, batch = 0.4, 0.2, 8
    one = np.eye(4)
    T = np.block([[one - rate * H, mu * one], [-rate * H, mu * one]])
    Q = np.kron(np.ones((2, 2)), rate**2 * C / batch)
    exact = solve_discrete_lyapunov(T, Q)[:4, :4].diagonal()
    found = variances(fs.compare_run(run, directions=one, **GIVEN | QUICK))
    assert np.abs(found / exact - 1.0).max() < 1e-12


def test_every_road_to_the_coordinates_gives_the_same_prediction(
    run: fs.Trajectory, tmp_path: Path
) -> None:
    _, U = np.linalg.eigh(H)
    U = U[:, ::-1]
    V = np.random.default_rng(1).normal(size=(4, 3))
    few = run.between(0.0, 800.0)
    alone = {"assumptions": False, "tolerance": 0.3, "rivals": ()}
    whole = store(tmp_path / "whole", few)
    sigma = fs.compare_run(whole, quantities="covariance", directions=np.eye(4), **alone)
    variance = variances(fs.compare_run(whole, directions=np.eye(4), **alone))
    S = np.diag(variance)
    for row in sigma.rows:
        i, j = (int(part) for part in row.label.split(", "))
        S[i, j] = S[j, i] = row.predicted

    def along(directions: np.ndarray) -> np.ndarray:
        return np.einsum("dp,de,ep->p", directions, S, directions)

    top = U[:, :3]
    small = {"hessian": top.T @ H @ top, "gradient_noise": top.T @ C @ top}
    roads = {
        "leading eigenvectors by default": (whole, {}, along(U)),
        "directions given": (whole, {"directions": V}, along(V)),
        "random projections recorded": (
            store(tmp_path / "random", few.project(V), observe=Projection(V), parameters=4),
            {},
            along(V),
        ),
        "eigenvectors recorded, two of four": (
            store(
                tmp_path / "modes", few.project(U[:, 1:3]), observe=Projection(U[:, 1:3]),
                parameters=4,
            ),
            {},
            along(U[:, 1:3]),
        ),
        "some weights recorded": (
            store(
                tmp_path / "some",
                fs.Trajectory(values=few.values[..., [2, 0]], times=few.times),
                observe=Coordinates([2, 0]),
                parameters=4,
            ),
            {},
            variance[[2, 0]],
        ),
        "matrices in the recorded coordinates": (
            store(
                tmp_path / "small", few.project(top), observe=Projection(top), parameters=4,
                curvature={},
            ),
            small,
            along(top),
        ),
        "matrices along directions of their own": (
            store(tmp_path / "own", few, curvature=small | {"directions": top}),
            {},
            along(top),
        ),
    }  # fmt: skip
    for name, (source, options, expected) in roads.items():
        found = variances(fs.compare_run(source, **alone | options))
        assert np.abs(found / expected - 1.0).max() < 1e-6, name


@pytest.mark.twin
def test_cutting_matrices_down_along_other_directions_is_wrong_and_refused(
    run: fs.Trajectory, tmp_path: Path
) -> None:
    V, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 2)))
    cut = fs.SGDNearMinimum(
        hessian=V.T @ H @ V,
        gradient_noise=V.T @ C @ V,
        learning_rate=0.4,
        batch_size=8,
        momentum=0.2,
    )
    whole = fs.SGDNearMinimum(
        hessian=H, gradient_noise=C, learning_rate=0.4, batch_size=8, momentum=0.2
    )
    [wrong], [right] = (
        fs.predict(sgd, quantities="variance", directions=D) for sgd, D in ((cut, None), (whole, V))
    )
    assert np.abs(wrong.value / right.value - 1.0).max() > 1e-3
    small = {"hessian": V.T @ H @ V, "gradient_noise": V.T @ C @ V}
    where = {"observe": Projection(V), "parameters": 4}
    source = store(tmp_path / "run", run.project(V), curvature=small, **where)
    with pytest.raises(UnsupportedError, match="right for eigenvectors only"):
        fs.compare_run(source, **QUICK)


def test_flat_weights_elsewhere_do_not_matter_along_eigenvectors(run: fs.Trajectory) -> None:
    wide = np.zeros((5, 5))
    wide[:4, :4] = H
    noise = np.eye(5)
    noise[:4, :4] = C
    free = np.concatenate([run.values, np.zeros((*run.values.shape[:2], 1))], axis=2)
    U = np.eye(5)[:, :4]
    report = fs.compare_run(
        fs.Trajectory(values=free, times=run.times),
        directions=U,
        **GIVEN | QUICK | {"hessian": wide, "gradient_noise": noise, "minimum": None},
    )
    assert report.verdict is fs.Verdict.AGREES


@pytest.mark.parametrize("noise", [0.0, pytest.param(1e-6, marks=pytest.mark.twin)])
def test_directions_that_only_a_decay_holds_are_left_out(run: fs.Trajectory, noise: float) -> None:
    """Redundant weights, as softmax has, lie among the leading eigenvectors and do not move."""
    rng = np.random.default_rng(3)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    held = np.median(np.linalg.eigvalsh(H))
    wide, kicks = np.diag([0.0] * 4 + [held]), np.diag([0.0] * 4 + [noise])
    wide[:4, :4], kicks[:4, :4] = H, C
    still = noise**0.5 * rng.normal(size=(*run.values.shape[:2], 1))
    values = np.concatenate([run.values, still], axis=2) @ turn.T
    report = fs.compare_run(
        fs.Trajectory(values=values, times=run.times),
        **GIVEN
        | QUICK
        | {
            "hessian": turn @ wide @ turn.T,
            "gradient_noise": turn @ kicks @ turn.T,
            "minimum": None,
        },
    )
    labels = [row.label for row in report.rows]
    if noise:
        assert labels == ["e1", "e2", "e3", "e4", "e5"]
        assert report.verdict is not fs.Verdict.AGREES
    else:
        assert len(labels) == 4
        assert report.verdict is fs.Verdict.AGREES
        assert "along which there is no noise" in report.settings["coordinates"]


def test_a_stored_run_needs_no_arguments_and_its_settings_repeat_it(
    run: fs.Trajectory, tmp_path: Path
) -> None:
    store(tmp_path / "run", run)
    report = fs.compare_run(tmp_path / "run", tolerance=0.08)
    assert report.verdict is fs.Verdict.AGREES
    assert report.excluded("flow")
    said = report.settings
    assert said["content_hash"] == fs.open_run(tmp_path / "run").content_hash()
    assert said["training"] | {"optimizer": "SGD"} == said["training"] | TRAINING
    assert "no" not in {test.verdict.name for test in report.assumptions}
    assert {test.name for test in report.assumptions} >= {"stationarity", "Gaussianity"}
    again = fs.compare_run(
        said["run"],
        theory=said["law"],
        burn_in=said["window"][0],
        stop=said["window"][1],
        tolerance=0.08,
    )
    assert [row.ratio for row in again.rows] == [row.ratio for row in report.rows]


@pytest.fixture(scope="module")
def every_step() -> fs.Trajectory:
    return sgd_run(seed_of("every step"), chains=16, draws=4000, every=1)


def verdicts(report: fs.Report) -> dict[str, str]:
    return {test.name: test.verdict.name for test in report.assumptions}


REBUILT = ("constant noise", "independence of batches")


def test_gradients_that_were_not_recorded_are_rebuilt_from_every_step(
    every_step: fs.Trajectory,
) -> None:
    report = fs.compare_run(every_step, **GIVEN | {"tolerance": 0.1, "rivals": ()})
    found = verdicts(report)
    assert {found[name] for name in REBUILT} == {"HOLDS"}, str(report)
    assert all(f"'{i}'" not in str(report) for i in range(4))  # named as the rows are
    assert found["step rule as stated"] == "UNDECIDED"
    assert "by this very rule" in str(report).replace("\n  ", " ")
    sparse = replace(every_step, values=every_step.values[:, ::2], times=every_step.times[::2])
    single = np.float64(np.float32(every_step.values + 1e5))
    for left in (sparse, replace(every_step, values=single)):
        other = verdicts(fs.compare_run(left, **GIVEN | {"rivals": (), "diagnose": False}))
        assert {other[name] for name in REBUILT} == {"UNDECIDED"}


@pytest.mark.twin
def test_rebuilt_gradients_blame_batches_that_know_of_each_other_and_not_a_wrong_rate(
    every_step: fs.Trajectory,
) -> None:
    said = GIVEN | {"momentum": 0.0, "rivals": ()}
    rng = np.random.default_rng(seed_of("pairs"))
    noise = rng.standard_normal((16, 4000, 4))
    noise[:, 1::2] -= noise[:, ::2]  # what a batch takes too much of, the next takes too little
    x, path = np.zeros((16, 4)), np.empty((16, 4000, 4))
    for step in range(4000):
        x = x - 0.4 * (x @ H + noise[:, step])
        path[:, step] = x
    paired = verdicts(fs.compare_run(fs.Trajectory(values=path, times=np.arange(4e3)), **said))
    assert paired["independence of batches"] == "FAILS"
    wrong = verdicts(fs.compare_run(every_step, **GIVEN | {"learning_rate": 0.48, "rivals": ()}))
    assert wrong["independence of batches"] == "HOLDS"
    late = fs.compare_run(every_step, **GIVEN | {"momentum": 0.6, "rivals": ()})
    (blamed,) = (t for t in late.assumptions if t.name == "independence of batches")
    assert blamed.verdict.name == "FAILS"
    assert "or the momentum is not the stated one" in blamed.sentence


def test_a_loss_does_not_hide_the_gradients_that_were_recorded(
    every_step: fs.Trajectory, tmp_path: Path
) -> None:
    from fracsde.estimators.assumptions import gradients_from_weights

    rule = {"learning_rate": TRAINING["learning_rate"], "momentum": TRAINING["momentum"]}
    pulls = gradients_from_weights(every_step, **rule)
    kept = every_step.between(2.0)
    source = store(tmp_path / "run", kept, streams={"gradients": pulls.values})
    shifts = np.random.default_rng(0).standard_normal((50, 4))
    asked = QuadraticLoss(H=H, shifts=shifts - shifts.mean(axis=0), centre=MINIMUM)
    report = fs.compare_run(source, loss=asked, rivals=(), tolerance=0.1)
    found = verdicts(report)
    assert found["quadratic loss"] == found["step rule as stated"] == "HOLDS", str(report)
    (batches,) = (t for t in report.assumptions if t.name == "independence of batches")
    assert "excess variance of the noise" in batches.sentence


def test_what_is_given_goes_before_what_was_recorded_and_is_noted(
    run: fs.Trajectory, tmp_path: Path
) -> None:
    source = store(tmp_path / "run", run)
    report = fs.compare_run(source, learning_rate=0.44, **QUICK | {"tolerance": 0.04})
    assert report.verdict is fs.Verdict.DISAGREES
    assert report.settings["notes"] == [
        "`learning_rate` was given as 0.44 where the run recorded 0.4"
    ]
    assert report.settings["sources"]["learning_rate"] == "given"


def test_unknown_sampling_is_named_as_an_assumption(run: fs.Trajectory, tmp_path: Path) -> None:
    source = store(tmp_path / "run", run, training=TRAINING | {"sampling": "unknown"})
    report = fs.compare_run(source, **QUICK)
    assert "assumes independent batches" in report.settings["notes"][0]


def test_shuffled_batches_are_judged_by_the_law_of_their_epochs(
    run: fs.Trajectory, tmp_path: Path
) -> None:
    training = TRAINING | {"sampling": "shuffled", "dataset_size": 80, "momentum": 0.0}
    source = store(tmp_path / "run", run, training=training)
    report = fs.compare_run(source, tolerance=0.05, assumptions=False)
    assert report.settings["law"] == "epochs"
    assert report.verdict is fs.Verdict.DISAGREES  # its batches were independent
    assert set(report.rivals) == {"independent", "flow"}
    asked = fs.compare_run(source, theory="map", **QUICK)
    assert asked.settings["law"] == "independent"
    assert variances(asked)[0] > 1.2 * variances(report)[0]


def test_a_run_recorded_at_the_ends_of_epochs_is_judged_at_them() -> None:
    # Forty examples in five batches, in a new order each epoch.
    rng = np.random.default_rng(seed_of("epochs"))
    gradients = rng.normal(size=(40, 4)) @ np.linalg.cholesky(C).T
    gradients -= gradients.mean(axis=0)
    noise = gradients.T @ gradients / 40
    x, ends = np.zeros((32, 4)), np.empty((32, 500, 4))
    for epoch in range(500):
        ends[:, epoch] = x
        order = rng.permuted(np.tile(np.arange(40), (32, 1)), axis=1).reshape(32, 5, 8)
        for step in range(5):
            x = x - 0.2 * (x @ H + gradients[order[:, step]].mean(axis=1))
    run = fs.Trajectory(values=ends, times=5.0 * np.arange(500))
    known = {"hessian": H, "gradient_noise": noise, "learning_rate": 0.2, "batch_size": 8}
    more = {"sampling": "shuffled", "dataset_size": 40, "assumptions": False, "tolerance": 0.1}
    report = fs.compare_run(run, **known | more)
    assert report.settings["phases"] == [0]
    assert report.verdict is fs.Verdict.AGREES, str(report)
    assert report.excluded("independent")
    law = fs.SGDNearMinimum(**known, sampling="shuffled", dataset_size=40)
    [averaged] = fs.predict(law, quantities="variance")
    assert averaged.value.sum() > 2.0 * variances(report).sum()  # over all phases it is not
    with pytest.raises(UnsupportedError, match="all phases"):
        fs.compare_run(run, quantities="msd", lags=[5], **known | more)


def test_a_rate_that_changes_is_refused_with_the_window_that_does_not(
    run: fs.Trajectory, tmp_path: Path
) -> None:
    rates = np.full((run.chains, run.draws), 0.4)
    rates[:, :300] = 0.7
    source = store(tmp_path / "run", run, streams={"learning_rate": rates})
    with pytest.raises(RecordError, match=r"pass burn_in=600, stop=2998"):
        fs.compare_run(source, burn_in=0, **QUICK)
    report = fs.compare_run(source, burn_in=600, stop=2998, **QUICK)
    assert report.verdict is fs.Verdict.AGREES
    # The automatic window starts later than the change only where half of the record does.
    assert fs.compare_run(source, burn_in=700, **QUICK).settings["training"]["learning_rate"] == 0.4


def test_a_run_that_has_not_settled_is_not_judged() -> None:
    start = 8.0 * np.ones(4)
    falling = sgd_run(seed_of("falling"), draws=100, every=1, start=start)
    with pytest.raises(DiagnosticsError, match=r"from 0 to 99.*burn-in.*window begin at \d+"):
        fs.compare_run(falling, burn_in=0, **GIVEN | QUICK)


def test_the_automatic_window_leaves_out_what_falls() -> None:
    # From far away ten relaxation times are not enough: e^-10 of it is still a thousand deviations.
    falling = sgd_run(seed_of("far"), draws=1500, every=1, start=4e6 * np.ones(4))
    report = fs.compare_run(falling, **GIVEN | QUICK | {"tolerance": 0.15})
    assert report.verdict is fs.Verdict.AGREES
    assert report.settings["window"][0] > 30


def test_a_diverged_run_is_refused_at_its_step(run: fs.Trajectory, tmp_path: Path) -> None:
    values = run.values.copy()
    broken = {"loss": np.where(np.arange(run.draws) < 700, 1.0, np.nan) * np.ones((32, 1))}
    source = store(tmp_path / "run", fs.Trajectory(values=values, times=run.times), streams=broken)
    with pytest.raises(DiagnosticsError, match=r"'loss' of chain 0 .* at step 1400"):
        fs.compare_run(source, **QUICK)
    assert fs.compare_run(source, stop=1398, **QUICK | {"tolerance": 0.12}).verdict.name == "AGREES"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"hessian": None}, InputError, "`hessian` must be known"),
        ({"learning_rate": None}, InputError, "`learning_rate` must be known"),
        ({"batch_size": None}, InputError, "pass batch_size="),
        ({"hessian": np.eye(3), "gradient_noise": np.eye(3)}, ShapeError, "minimum"),
        ({"gradient_noise": np.eye(3)}, ShapeError, "4 x 4"),
        ({"hessian": np.eye(7), "gradient_noise": np.eye(7), "minimum": None}, ShapeError, "4"),
        ({"directions": np.zeros((4, 1))}, ShapeError, "none that is zero"),
        ({"directions": np.eye(3)}, ShapeError, "directions"),
        ({"theory": "maps"}, InputError, "theory"),
        ({"rivals": ("map",)}, InputError, "other laws"),
        ({"rivals": 3}, InputError, "names of laws"),
        ({"chains": "all"}, InputError, "numbers of chains"),
        ({"burn_in": "soon"}, InputError, "auto"),
        ({"quantities": "speed"}, InputError, "no quantity 'speed'"),
        ({"quantities": "autocorrelation"}, InputError, "needs `lags`"),
        ({"sampling": "sorted"}, InputError, "sampling"),
        ({"tolerance": 1.5}, InputError, "tolerance"),
        ({"learning_rate": 5.0}, InputError, "no stationary law"),
        ({"chains": [0]}, InputError, "stored run"),
    ],
)
def test_refuses_what_cannot_be_judged(
    run: fs.Trajectory, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        fs.compare_run(run, **GIVEN | QUICK | change)


def test_refuses_other_optimisers_and_names_their_theory(
    run: fs.Trajectory, tmp_path: Path
) -> None:
    source = store(tmp_path / "run", run, training=TRAINING | {"optimizer": "Adam"})
    with pytest.raises(UnsupportedError, match="adaptive_near_minimum"):
        fs.compare_run(source)


def test_refuses_a_run_without_curvature(run: fs.Trajectory, tmp_path: Path) -> None:
    source = store(tmp_path / "run", run, curvature={})
    with pytest.raises(InputError, match=r"Recorder\.attach\('curvature'"):
        fs.compare_run(source)


def test_arguments_are_left_as_they_were(run: fs.Trajectory) -> None:
    before = {name: np.copy(GIVEN[name]) for name in ("hessian", "gradient_noise", "minimum")}
    fs.compare_run(run, **GIVEN | QUICK)
    assert all(np.array_equal(before[name], GIVEN[name]) for name in before)


def test_the_report_draws_what_the_run_holds(run: fs.Trajectory, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    asked = {"quantities": ("variance", "msd"), "lags": [2, 4, 8], "assumptions": False}
    report = fs.compare_run(run.between(0, 800), **GIVEN | asked | {"tolerance": 0.3})
    assert list(report.figures()) == ["Spectrum", "Density", "Displacement"]
    assert np.allclose(report.eigenvalues, np.linspace(1.0, 0.6, 4), rtol=1e-12)
    page = report.save(tmp_path / "report")
    drawn = sorted(path.name for path in (page.parent / "figures").iterdir())
    assert drawn == ["Density.png", "Displacement.png", "Result.png", "Spectrum.png"]
    V = np.random.default_rng(1).normal(size=(4, 2))
    other = fs.compare_run(run.between(0, 800), directions=V, **GIVEN | QUICK)
    assert list(other.figures()) == ["Density"]


def test_gradients_are_asked_in_the_coordinates_that_are_compared(tmp_path: Path) -> None:
    # Recorded every step with the gradients that made them, along turned directions.
    rng = np.random.default_rng(seed_of("gradients"))
    root = np.linalg.cholesky(C) / np.sqrt(8)
    x, steps = np.zeros((16, 4)), 3000
    path, pulls = np.empty((2, 16, steps, 4))
    path[:, 0], pulls[:, 0] = x, 0.0
    for step in range(1, steps):
        pulls[:, step] = x @ H + rng.standard_normal((16, 4)) @ root.T
        x = x - 0.4 * pulls[:, step]
        path[:, step] = x
    _, U = np.linalg.eigh(H)
    turn, _ = np.linalg.qr(rng.normal(size=(2, 2)))
    V = U[:, :2] @ turn
    where = {"observe": Projection(V), "parameters": 4}
    run = fs.Trajectory(values=path @ V, times=np.arange(float(steps)))
    training = TRAINING | {"momentum": 0.0, "sampling": "unknown"}
    matrices_ = {"hessian": H, "gradient_noise": C, "minimum": np.zeros(4)}
    source = store(
        tmp_path / "run",
        run,
        training=training,
        curvature=matrices_,
        streams={"gradients": pulls @ V},
        **where,
    )
    report = fs.compare_run(source, tolerance=0.1)
    found = {test.name: test.verdict.name for test in report.assumptions}
    assert found["constant noise"] == "HOLDS", str(report)
    assert found["step rule as stated"] == "HOLDS"
    assert "FAILS" not in found.values()


def test_directions_that_changed_on_disk_are_not_compared_along(
    run: fs.Trajectory, tmp_path: Path
) -> None:
    few, V = run.between(0.0, 200.0), np.eye(4)[:, :2]
    source = store(tmp_path / "run", few.project(V), observe=Projection(V), parameters=4)
    [path] = (tmp_path / "run").glob("observation-*.npy")
    np.save(path, np.eye(4)[:, 2:])
    with pytest.raises(RecordError, match="does not have the content its name promises"):
        fs.compare_run(fs.open_run(source.path), **QUICK)
