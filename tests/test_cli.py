"""The command line: exit codes, messages, and no traceback for what a user can mend."""

from __future__ import annotations

import cmath
import contextlib
import ctypes
import json
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("typer")

import fracsde as fs
from fracsde.cli import Interrupts, main
from fracsde.errors import FracsdeError
from tests.support.commands import shown_by

COMMAND = [sys.executable, "-c", "from fracsde.cli import main; main()"]


def process(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=120, **options
    )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run a command in this process, as a shell in ``tmp_path`` would."""
    return partial(shown_by, monkeypatch, tmp_path)


def test_version_and_help_succeed(run: Any) -> None:
    assert process("--version").stdout.strip() == fs.__version__
    shown = run("--help")
    assert shown.code == 0
    assert "demo" in shown.out


def test_doctor_lists_the_engines(run: Any) -> None:
    shown = run("doctor")
    assert shown.code == 0
    assert "numba" in shown.out
    assert "numpy" in shown.out


@pytest.mark.parametrize("arguments", [("nothing",), ("demo", "digits", "--replicas", "3")])
def test_refuses_bad_usage_with_code_two(run: Any, arguments: tuple[str, ...]) -> None:
    shown = run(*arguments)
    assert shown.code == 2


def test_refuses_a_foreign_folder_with_code_two(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    (tmp_path / "letter.txt").write_text("mine")
    shown = run("demo", "digits", "--output", str(tmp_path), "--no-progress")
    assert shown.code == 2
    assert "letter.txt" in shown.err


def test_says_which_extra_is_missing(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('hidden', name='typer')")
    shown = process("doctor", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert shown.returncode == 2
    assert 'pip install "fracsde[cli]"' in shown.stderr


def test_prints_on_a_terminal_that_knows_no_greek() -> None:
    say = "command.app = lambda **_: print('\\u03b7 = 1')"
    code = f"from fracsde import cli; from fracsde._commands import command; {say}; cli.main()"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == "? = 1\n"


def test_interrupt_dropped_by_a_callback_is_raised_again(capsys) -> None:
    """As in a compiler: ctypes prints what a callback raises, and goes on."""
    callback = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        interrupts.check()
        callback()
        assert interrupts.seen
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert capsys.readouterr().err == ""
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("error", [RuntimeError("no compiled object"), FracsdeError("half done")])
def test_error_that_follows_a_dropped_interrupt_is_the_interrupt(error, monkeypatch) -> None:
    from fracsde._commands import command

    def work(obj: Interrupts, **_: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise error

    monkeypatch.setattr(command, "app", work)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130


def test_error_without_an_interrupt_is_not_hidden(monkeypatch) -> None:
    from fracsde._commands import command

    def work(obj: Interrupts, **_: object) -> None:
        msg = "a defect"
        raise RuntimeError(msg)

    monkeypatch.setattr(command, "app", work)
    with pytest.raises(RuntimeError, match="a defect"):
        main()


def test_too_little_memory_is_said_without_a_traceback(monkeypatch, capsys) -> None:
    from fracsde._commands import command

    def work(obj: Interrupts, **_: object) -> None:
        msg = "Unable to allocate 7.11 PiB"
        raise MemoryError(msg)

    monkeypatch.setattr(command, "app", work)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "not enough memory (Unable to allocate 7.11 PiB); use fewer" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_interrupt_ends_without_a_traceback_and_without_a_report(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    target = tmp_path / "digits"
    with subprocess.Popen(
        [*COMMAND, "demo", "digits", "--output", str(target), "--no-progress"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        time.sleep(6.0)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not target.exists()
    assert list(tmp_path.iterdir()) == []


def test_special_prints_values_that_complex_calls_give(run: Any) -> None:
    shown = run("special", "mittag-leffler", "--alpha", "1", "--json", "--", "-3", "1+2i")
    assert shown.code == 0
    rows = json.loads(shown.out)
    for row, z in zip(rows, (-3.0, 1.0 + 2.0j), strict=True):
        assert abs(complex(*row["value"]) - cmath.exp(z)) < 1e-13 * abs(cmath.exp(z))


def test_special_tables_reproduce_the_function(run: Any) -> None:
    # exp(-1) from each of the three printed tables alone.
    table = json.loads(run("special", "poles", "--alpha", "1", "--rtol", "1e-8", "--json").out)
    poles, residues = ([complex(*each) for each in table[name]] for name in ("pole", "residue"))
    value = table["constant"] + sum(
        (c / (1.0 - q)).real for c, q in zip(residues, poles, strict=True)
    )
    assert abs(value - math.exp(-1.0)) < 1e-8
    options = ("--start", "1", "--end", "10", "--rtol", "1e-8", "--json")
    table = json.loads(run("special", "contour", *options).out)
    nodes, weights = ([complex(*each) for each in table[name]] for name in ("node", "weight"))
    value = sum((w * cmath.exp(s) / (s + 1.0)).real for w, s in zip(weights, nodes, strict=True))
    assert abs(value - math.exp(-1.0)) < 1e-8
    options = ("--alpha", "0.5", "--largest", "10", "--rtol", "1e-8", "--json")
    table = json.loads(run("special", "exponentials", *options).out)
    value = sum(w * math.exp(-u) for w, u in zip(table["weight"], table["rate"], strict=True))
    assert abs(value - math.e * math.erfc(1.0)) < 1e-8


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("mittag-leffler", "--alpha", "0.5", "abc"), "number"),
        (("mittag-leffler", "--alpha", "-1", "1"), "alpha"),
        (("poles", "--alpha", "0.5", "--rtol", "1e-30"), "rtol"),
    ],
)
def test_special_refuses_with_code_two(run: Any, arguments: tuple[str, ...], word: str) -> None:
    shown = run("special", *arguments)
    assert shown.code == 2
    assert word in shown.err


def test_solve_does_what_its_file_says(run: Any, tmp_path: Path) -> None:
    from fracsde._commands.solving import EXAMPLE

    text = EXAMPLE.replace("cells = 512", "cells = 64")
    (tmp_path / "problem.toml").write_text(text)
    shown = run("solve", "problem.toml", "--figure", "density.png")
    assert shown.code == 0, shown.err
    assert "The computation succeeded." in shown.out
    assert (tmp_path / "density.png").read_bytes().startswith(b"\x89PNG")
    found = np.load(tmp_path / "solution.npz", allow_pickle=False)
    base = fs.FokkerPlanck(
        potential=lambda x: (x**2 - 1) ** 2 / 4,
        diffusion=0.1,
        domain=(-np.inf, np.inf),
        initial=fs.Gaussian(mean=1.0, std=0.1),
    )
    problem = fs.FractionalFokkerPlanck(base=base, alpha=0.6)
    again = fs.solve(problem, found["times"], space=fs.FiniteVolume(cells=64))
    assert np.abs(found["density"] - again.density).max() < 1e-7
    assert json.loads(str(found["about"]))["status"] == "SUCCESS"


def test_solve_serves_systems(run: Any, tmp_path: Path) -> None:
    (tmp_path / "decay.toml").write_text(
        '[system]\nunknowns = ["y"]\nrhs = ["-y"]\ninitial = [1.0]\nalpha = 0.5\n'
        "[times]\nat = [1.0]\n"
    )
    shown = run("solve", "decay.toml", "--output", "decay.npz")
    assert shown.code == 0, shown.err
    found = np.load(tmp_path / "decay.npz", allow_pickle=False)
    assert abs(found["values"][0, 0] - math.e * math.erfc(1.0)) < 1e-5


LONG = """\
[problem]
potential = "x**2 / 2"
diffusion = 1.0
domain = [-5, 5]
source = "0.1 * exp(-x**2 - t)"
[start]
gaussian = { mean = 1.0, std = 0.5 }
[clock]
alpha = 0.6
[times]
graded = { end = 2.0, steps = 200, exponent = 2.0 }
[method]
scheme = "L1"
space = { name = "FiniteVolume", cells = 32 }
"""


def test_solve_goes_on_after_an_interrupt_to_the_last_bit(tmp_path, monkeypatch, capsys) -> None:
    from fracsde.schemes.keeping import Keeper

    file, mark = tmp_path / "long.toml", tmp_path / "run.npz"
    file.write_text(LONG)

    def command(output: str, *more: str) -> int:
        arguments = ["solve", str(file), "--output", str(tmp_path / output), "--no-progress"]
        monkeypatch.setattr(sys, "argv", ["fracsde", *arguments, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0

    def density(output: str):
        with np.load(tmp_path / output, allow_pickle=False) as found:
            return found["density"]

    blocks: list[int] = []
    publish = Keeper.publish

    def pressing(keeper: Keeper, arrays) -> None:
        publish(keeper, arrays)
        blocks.append(1)
        if len(blocks) == 3:
            signal.raise_signal(signal.SIGINT)

    assert command("whole.npz") == 0
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "publish", pressing)
        assert command("resumed.npz", "--checkpoint", str(mark)) == 130
        assert "fracsde: interrupted\n" in capsys.readouterr().err
        assert mark.exists()
        assert not (tmp_path / "resumed.npz").exists()
        # Another problem is refused, and leaves the file.
        before = mark.read_bytes()
        file.write_text(LONG.replace("alpha = 0.6", "alpha = 0.7"))
        assert command("resumed.npz", "--checkpoint", str(mark)) == 2
        assert "is of another problem" in capsys.readouterr().err
        assert mark.read_bytes() == before
        file.write_text(LONG)
        begun = len(blocks)
        assert command("resumed.npz", "--checkpoint", str(mark)) == 0
        assert len(blocks) - begun == 7 - 3  # of 32 steps each: it did not start again
    assert np.array_equal(density("resumed.npz"), density("whole.npz"))


def test_solve_prints_an_example_that_it_reads(run: Any) -> None:
    from fracsde._commands.solving import EXAMPLE

    assert run("solve", "--example").out == EXAMPLE


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "--example"),
        (("missing.toml",), "missing.toml"),
        (("missing.toml", "--output", "nowhere/solution.npz"), "nowhere"),
    ],
)
def test_solve_refuses_with_code_two(
    run: Any, arguments: tuple[str, ...], word: str, tmp_path: Path
) -> None:
    shown = run("solve", *arguments)
    assert shown.code == 2
    assert word in shown.err
    assert list(tmp_path.iterdir()) == []
