"""All questions at once, of any record; what cannot be asked is said to be so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fracsde.errors import InputError, OutOfRangeError
from fracsde.estimators.assumptions import examine
from tests.support.laws import seed_of
from tests.support.recorded_sgd import recorded_sgd

if TYPE_CHECKING:
    from fracsde.records.assumption import AssumptionTest
    from fracsde.records.trajectory import Trajectory

NAMES = (
    "stationarity",
    "Gaussianity",
    "quadratic loss",
    "constant noise",
    "independence of batches",
    "step rule as stated",
)
TRAINING = {"learning_rate": 0.3, "batch_size": 5, "dataset_size": 100, "sampling": "unknown"}


class Stored:
    """What a stored run shows of itself."""

    def __init__(self, w: Trajectory, g: Trajectory, kind: str = "full", **curvature: Any) -> None:
        self._streams = {"weights": w, "gradients": g}
        self.streams = dict.fromkeys(self._streams)
        self.metadata = {"training": TRAINING}
        self.observation = SimpleNamespace(kind=kind)
        self.attachments = ("curvature",) if curvature else ()
        self._curvature = curvature

    def trajectory(self, stream: str, start: float | None = None) -> Trajectory:
        return self._streams[stream].between(0 if start is None else start)

    def attachment(self, name: str) -> dict[str, Any]:
        assert name == "curvature"
        return self._curvature


def verdicts(tests: tuple[AssumptionTest, ...]) -> dict[str, str]:
    return {test.name: test.verdict.name for test in tests}


def test_stored_run_answers_every_question_in_order() -> None:
    w, g = recorded_sgd(seed_of("stored"), steps=6000)
    tests = examine(Stored(w, g, hessian=np.diag([1.0, 0.3]), minimum=np.zeros(2)), start=100)
    assert tuple(test.name for test in tests) == NAMES
    assert all(test.asked for test in tests)
    assert "FAILS" not in verdicts(tests).values()
    assert verdicts(tests)["independence of batches"] == "HOLDS"


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ({"epoch": 20}, "independence of batches"),
        ({"multiplicative": 1.0}, "constant noise"),
        ({"quartic": 1.0}, "quadratic loss"),
        ({"learning_rate": 0.33}, "step rule as stated"),
    ],
)
def test_assumption_that_is_broken_is_the_one_that_is_named(
    broken: dict[str, Any], name: str
) -> None:
    w, g = recorded_sgd(seed_of(f"broken {name}"), steps=6000, **broken)
    assert verdicts(examine(Stored(w, g)))[name] == "FAILS"


def test_record_alone_says_what_the_other_questions_need() -> None:
    w, _ = recorded_sgd(seed_of("alone"), steps=400)
    tests = {test.name: test for test in examine(w)}
    assert tests["stationarity"].asked
    assert tests["Gaussianity"].asked
    for name in NAMES[2:]:
        assert not tests[name].asked
        assert "record" in tests[name].reason or "pass" in tests[name].reason


def test_projections_that_move_with_others_are_not_asked_about_batches() -> None:
    w, g = recorded_sgd(seed_of("projected"), steps=2000)
    run = Stored(w, g, kind="projection")
    blind = {test.name: test for test in examine(run)}["independence of batches"]
    assert not blind.asked
    assert "eigenvectors" in blind.reason
    told = {test.name: test for test in examine(run, whole=True)}["independence of batches"]
    assert told.asked


@pytest.mark.parametrize("epoch", [None, 20])
def test_many_weights_are_asked_along_their_principal_directions(epoch: int | None) -> None:
    # Forty weights that couple: only the Hessian tells the noise of a few directions apart.
    rng = np.random.default_rng(seed_of("many"))
    basis = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    h = np.linspace(0.3, 1.0, 40)
    w, g = recorded_sgd(seed_of(f"many {epoch}"), steps=1200, curvature=tuple(h), epoch=epoch)
    w, g = w.project(basis.T), g.project(basis.T)
    hessian = basis @ np.diag(h) @ basis.T
    test = {t.name: t for t in examine(w, gradients=g, hessian=hessian, training=TRAINING)}
    assert test["independence of batches"].verdict.name == ("HOLDS" if epoch is None else "FAILS")
    if epoch:
        assert test["independence of batches"].effect == pytest.approx(-1.0, abs=0.01)
    blind = {t.name: t for t in examine(w, gradients=g, training=TRAINING)}
    assert not blind["independence of batches"].asked


def test_refuses_what_is_no_run() -> None:
    with pytest.raises(InputError, match="training"):
        examine(np.zeros((4, 5, 1)), training=3)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(OutOfRangeError, match="level"):
        examine(np.zeros((4, 5, 1)), level=2.0)
    assert not examine(np.zeros((32, 50, 1)))[0].asked
