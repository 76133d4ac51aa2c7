"""What functions refuse is said in the options of the command that was typed."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("typer")

from typer.main import get_command

from fracsde._commands import command
from fracsde._commands.words import in_options
from fracsde.cli import main
from tests.support.commands import shown_by

COMMANDS = get_command(command.app).commands  # type: ignore[attr-defined]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run a command in this process, as a shell in ``tmp_path`` would."""
    np.save(tmp_path / "one.npy", np.eye(2))
    np.save(tmp_path / "three.npy", np.eye(3))
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "data.npz", inputs=rng.normal(size=(20, 2)), targets=rng.normal(size=20))
    return partial(shown_by, monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("command", "said", "wanted"),
    [
        ("predict", "`learning_rate` must be finite", "--learning-rate must be finite"),
        ("predict", "learning_rate=5 is too large.", "--learning-rate 5 is too large."),
        ("compare", "`level` = 1e-30 cannot be had", "--level 1e-30 cannot be had"),
        ("predict", "use sampling='shuffled', now", "use --sampling shuffled, now"),
        ("predict", 'pass `sampling="shuffled"`', "pass `--sampling shuffled`"),
        ("predict", "`gradient_noise` and `quantities`", "--noise and --quantity"),
        ("predict", "limit='kunin' has none; use map()", "--law kunin has none; use --law map"),
        ("compare", "limit='kunin' fails, use map()", "--theory kunin fails, use --theory map"),
        ("compare", "e.g. lags=[1, 10, 100]", "e.g. --lags 1,10,100"),
        ("compare", "or pass diagnose=False to", "or pass --no-diagnose to"),
        ("compare", "later (`start`, or `burn_in` of a comparison)", "later (--burn-in)"),
        ("measure", "later (`start`, or `burn_in` of a comparison)", "later (--start)"),
        ("compare", "name it: rivals={'a': theory}", "name it: --rival FILE"),
        ("predict", "is needed, got None; since", "is needed; since"),
        ("predict", "must have shape (2, any), got (3, 3);", "must have shape 2 x any, got 3 x 3;"),
        ("record", "use weight_decay > 0, another start, or throw=False.",
         "use --weight-decay above 0, another start."),
        ("record", "`targets` and `inputs`", "`targets` and `inputs`"),
        ("measure", "`momentum` is no option", "`momentum` is no option"),
        ("compare", "pass hessian=..., or Recorder.attach('curvature', hessian=H)",
         "pass --hessian ..., or Recorder.attach('curvature', hessian=H)"),
        ("solve", "`checkpoint` saves marches", "--checkpoint saves marches"),
    ],
)  # fmt: skip
def test_arguments_are_named_as_the_options_of_the_command(command, said, wanted) -> None:
    assert in_options(said, COMMANDS[command].params) == wanted


@pytest.mark.parametrize("name", ["record", "inspect", "measure", "predict", "compare", "solve"])
def test_what_names_no_argument_stays_as_it_is(name: str) -> None:
    said = "the mean, 0.5 <= 0.7 (see f(x) = 3), lies 3 > 2 deviations off; a.start=3, `x`."
    assert in_options(said, COMMANDS[name].params) == said


GOOD = ("--hessian", "one.npy", "--noise", "one.npy", "--learning-rate", "0.1", "--batch-size", "4")
DATA = ("record", "run", "--data", "data.npz", "--objective", "squared_error")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("predict", *GOOD, "--learning-rate", "5"), "--learning-rate 5 is not below the critical"),
        (("predict", *GOOD, "--law", "epochs"), "use --law map, or --sampling shuffled"),
        (("predict", *GOOD, "--noise", "three.npy"), "--noise must be 2 x 2, got shape 3 x 3"),
        (("predict", *GOOD, "--quantity", "autocorrelation"), "pass e.g. --lags 1,10,100"),
        (("predict", *GOOD, "--sampling", "shuffled"), "--dataset-size is needed"),
        ((*DATA, "--directions", "9"), "--directions must lie between 1 and the 3 parameters"),
        ((*DATA, "--batch-size", "30", "--sampling", "without_replacement"),
         "--sampling with_replacement"),
        ((*DATA, "--hidden", "nan"), "--hidden must be whole numbers"),
        ((*DATA, "--hidden", "1.5"), "--hidden must be whole numbers"),
        (("record", "run", "--data", "data.npz"), "use --objective squared_error"),
        (("special", "contour", "--start", "2", "--end", "1"), "--end must lie in [2, inf)"),
        (("compare", "run", "--burn-in", "abc"), "--burn-in must be one number of steps, or auto"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_option_and_what_to_type(run: Any, arguments, word) -> None:
    shown = run(*arguments)
    assert shown.code == 2
    said = " ".join(shown.err.replace("│", " ").split())
    assert word in said
    assert "=" not in said.replace("|", "")
    assert "None" not in said


@pytest.mark.parametrize("name", ["fracsde", "fracsde.cli"])
def test_the_module_is_the_command(name: str, tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", name, "predict"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 2
    assert shown.stderr.startswith("fracsde: --hessian and --noise must be given")
    helped = subprocess.run(
        [sys.executable, "-m", name, "measure", "--help"],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip
    assert helped.returncode == 0
    assert "Usage: fracsde measure" in helped.stdout
    assert max(map(len, helped.stdout.splitlines())) <= 80


def test_who_reads_no_more_is_not_shown_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fracsde", "special", "poles", "--alpha", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
    assert said == b""
    assert process.returncode == 1


def test_a_place_without_permission_is_named(monkeypatch, capsys) -> None:
    def work(**_: object) -> None:
        raise PermissionError(13, "Permission denied", "/runs/mine")

    monkeypatch.setattr(command, "app", work)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "cannot use '/runs/mine': Permission denied" in capsys.readouterr().err
