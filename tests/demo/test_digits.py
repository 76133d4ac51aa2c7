"""The main job from end to end, shortened; and what happens when it is interrupted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from fracsde.demo import digits as demo
from fracsde.demo.digits import load_digits, run_digits
from fracsde.demo.settings import DigitsSettings
from fracsde.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

SMALL = DigitsSettings.short(replicas=16, relaxations=10.0, burn_in=2.0, positions=4)
KEYS = {
    "quantity",
    "label",
    "unit",
    "theory",
    "predicted",
    "numerical_error",
    "measured",
    "stderr",
    "n_effective",
    "ratio",
    "ratio_interval",
    "verdict",
}


def test_digits_are_centred_and_in_units_of_the_range() -> None:
    inputs, labels = load_digits()
    assert inputs.shape == (1797, 64)
    assert abs(inputs.mean(axis=0)).max() < 1e-14
    assert set(labels) == set(range(10))


@pytest.mark.slow
def test_demo_writes_page_rows_and_figures(tmp_path: Path, monkeypatch) -> None:
    inputs, labels = load_digits()
    monkeypatch.setattr(demo, "load_digits", lambda: (inputs[:400], labels[:400]))
    seen: list[float] = []
    result = run_digits(tmp_path / "digits", SMALL, lambda _, done: seen.append(done))
    assert seen == sorted(seen)
    assert seen[0] == 0.0
    assert abs(seen[-1] - 1.0) < 1e-12
    stored = json.loads((tmp_path / "digits" / "report.json").read_text(encoding="utf-8"))
    assert len(stored["reports"]) == 12
    for report in stored["reports"].values():
        assert all(set(row) == KEYS for row in report["rows"])
        assert {"rivals", "settings", "provenance"} <= set(report)
    assert stored["settings"]["seed"] == 0
    page = (tmp_path / "digits" / "index.html").read_text(encoding="utf-8")
    assert page.count("<img") == len(stored["figures"]) == 7
    assert result.sentence.endswith(".")
    assert "softmax regression" in result.table
    for regimes in result.stationary.values():
        assert regimes[0].curvature.minimum.gradient_norm < 1e-10
        assert regimes[0].curvature.minimum.negative_eigenvalues == 0


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(what: str, done: float) -> None:
        if done > 0.0:
            raise KeyboardInterrupt(what)

    with pytest.raises(KeyboardInterrupt):
        run_digits(tmp_path / "digits", SMALL, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_folder_of_somebody_else_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")

    def worked(what: str, done: float) -> None:
        pytest.fail(f"worked on {what} ({done}) before looking at the folder")

    with pytest.raises(InputError, match=r"thesis\.tex"):
        run_digits(tmp_path, SMALL, worked)
