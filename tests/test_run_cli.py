"""The commands on stored runs: exit codes that a script can use, and what they print."""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("typer")

import fracsde as fs
from fracsde.cli import main
from tests.support.commands import shown_by
from tests.support.laws import seed_of
from tests.support.runs import TRAINING, matrices, sgd_run, store

if TYPE_CHECKING:
    from pathlib import Path

H, C, MINIMUM = matrices()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run a command in this process, as a shell in ``tmp_path`` would."""
    return partial(shown_by, monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def paths() -> fs.Trajectory:
    return sgd_run(seed_of("test_run_cli"))


@pytest.fixture
def run(paths: fs.Trajectory, tmp_path: Path) -> fs.StoredRun:
    np.save(tmp_path / "H.npy", H)
    np.savez(tmp_path / "both.npz", C=C, H=H, minimum=MINIMUM)
    return store(tmp_path / "run", paths)


QUICK = ("--no-assumptions", "--quiet", "--tolerance", "0.08")


def test_compare_ends_with_zero_where_theory_and_run_agree(command: Any, run: Any) -> None:
    shown = command("compare", "run", *QUICK)
    assert shown.code == 0
    assert shown.out.startswith("AGREES: All 4 rows agree with 'map' to within 8 %")


def test_compare_ends_with_three_where_they_disagree(command: Any, run: Any) -> None:
    shown = command("compare", "run", *QUICK[:2], "--learning-rate", "0.44")
    assert shown.code == 3
    assert shown.out.startswith("DISAGREES")
    assert "`learning_rate` was given as 0.44 where the run recorded 0.4" in shown.out


def test_compare_ends_with_four_where_the_data_do_not_decide(
    command: Any, paths: fs.Trajectory, tmp_path: Path
) -> None:
    store(tmp_path / "short", paths.between(0, 400))
    shown = command("compare", "short", *QUICK[:2], "--tolerance", "0.01", "--burn-in", "0")
    assert shown.code == 4
    assert shown.out.startswith("INCONCLUSIVE")


def test_compare_ends_with_five_where_the_run_is_refused(command: Any, tmp_path: Path) -> None:
    falling = sgd_run(seed_of("falling cli"), draws=100, every=1, start=8.0 * np.ones(4))
    store(tmp_path / "run", falling)
    shown = command("compare", "run", "--burn-in", "0", "--quiet")
    assert shown.code == 5
    assert shown.out == ""
    assert "window begin at " in shown.err


def test_a_diverged_run_ends_with_five_and_names_the_step(
    command: Any, paths: fs.Trajectory, tmp_path: Path
) -> None:
    loss = np.ones((paths.chains, paths.draws))
    loss[2, 50:] = np.nan
    store(tmp_path / "run", paths, streams={"loss": loss})
    for name in ("measure", "compare"):
        shown = command(name, "run", "--quiet")
        assert shown.code == 5
        assert "'loss' of chain 2 is NaN or infinite at step 100" in shown.err
    seen = command("inspect", "run", "--json")
    assert seen.code == 0
    found = json.loads(seen.out)
    assert found["status"] == "DIVERGED"
    assert found["first_not_finite"] == {"chain": 2, "step": 100, "stream": "loss"}


def test_compare_writes_the_report_that_it_prints(command: Any, run: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shown = command("compare", "run", *QUICK, "--json", "-o", "report", "--title", "My run")
    assert shown.code == 0
    printed = json.loads(shown.out)
    written = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert printed["rows"] == written["rows"]
    assert printed["settings"]["content_hash"] == run.content_hash()
    assert "My run" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_measure_and_predict_meet_in_files(command: Any, run: Any, tmp_path: Path) -> None:
    asked = ("-q", "mean", "-q", "variance", "-q", "autocorrelation", "--lags", "2,10", "--quiet")
    assert command("measure", "run", "-o", "m.json", "--start", "100", *asked).code == 0
    assert command("predict", "--run", "run", "-o", "p.json", *asked).code == 0
    assert command("predict", "--run", "run", "-o", "flow.json", "--law", "flow", *asked).code == 0
    shown = command(
        "compare", "m.json", "p.json", "--rival", "flow.json", "--tolerance", "0.1", "--quiet"
    )
    assert shown.code == 0, shown.out
    assert "the data exclude 'flow'" in shown.out
    [mean, variance, _] = fs.read_measurements(tmp_path / "m.json")
    again = fs.measure(run, start=100)
    assert np.array_equal(mean.value, again[0].value)
    assert np.array_equal(variance.stderr, again[1].stderr)


def test_measure_and_predict_meet_without_options(command: Any, run: Any) -> None:
    assert command("measure", "run", "-o", "m.json", "--quiet").code == 0
    assert command("predict", "--run", "run", "-o", "p.json", "--quiet").code == 0
    assert command("compare", "m.json", "p.json", "--tolerance", "0.1", "--quiet").code == 0


def test_predict_reads_matrices_alone(command: Any, run: Any) -> None:
    known = ("--learning-rate", "0.4", "--batch-size", "8", "--momentum", "0.2")
    shown = command(
        "predict", "--hessian", "H.npy", "--noise", "both.npz:C", "--minimum",
        "both.npz:minimum", *known, "--json", "--quiet",
    )  # fmt: skip
    assert shown.code == 0, shown.err
    sgd = fs.SGDNearMinimum(
        hessian=H, gradient_noise=C, learning_rate=0.4, batch_size=8, momentum=0.2, minimum=MINIMUM
    )
    found = json.loads(shown.out)["predictions"]
    for row, expected in zip(found, fs.predict(sgd), strict=True):
        assert row["value"] == expected.value.tolist()
        assert row["numerical_error"] == expected.numerical_error.tolist()


def test_matrices_given_replace_those_attached(
    command: Any, paths: fs.Trajectory, tmp_path: Path
) -> None:
    store(tmp_path / "run", paths, curvature={}, training=None)
    np.savez(tmp_path / "both.npz", C=C, H=H)
    shown = command(
        "compare", "run", *QUICK, "--hessian", "both.npz:H", "--noise", "both.npz:C",
        "--learning-rate", "0.4", "--batch-size", "8", "--momentum", "0.2", "--sampling",
        "with_replacement",
    )  # fmt: skip
    assert shown.code == 0, shown.err
    assert command("compare", "run", *QUICK).code == 2


def test_inspect_says_what_the_run_holds(command: Any, run: Any) -> None:
    shown = command("inspect", "run", "--verify")
    assert shown.code == 0
    for words in (
        "all weights: 4 numbers of 4 parameters",
        "32 chains, steps 0 to 2998, 1500 rows each",
        "training: learning_rate = 0.4",
        "attached curvature: hessian (4, 4)",
        "second half: ",
        f"content hash: {run.content_hash()}",
        "verified: 48000 rows",
    ):
        assert words in shown.out
    found = json.loads(command("inspect", "run", "--json", "--no-hash").out)
    assert found["streams"][0]["name"] == "weights"
    assert found["training"] == TRAINING
    assert "content_hash" not in found
    assert found["run"] == "run"  # as it was asked for
    assert shown.out.startswith("run: ")


def test_a_run_with_gaps_is_measured_at_the_steps_it_kept(command: Any, tmp_path: Path) -> None:
    whole = sgd_run(seed_of("gaps"), chains=1, draws=6000, every=1, learning_rate=0.2)
    kept = np.concatenate([np.arange(100) + start for start in range(0, 6000, 150)])
    store(tmp_path / "run", fs.Trajectory(values=whole.values[:, kept], times=whole.times[kept]))
    seen = command("inspect", "run")
    assert "4000 rows each, with gaps at 39 places" in seen.out
    asked = ("--quantity", "variance", "--quantity", "autocorrelation", "--lags", "7", "--json")
    shown = command("measure", "run", *asked)
    assert shown.code == 0, shown.err
    [variance, correlation] = json.loads(shown.out)["measurements"]
    law = fs.SGDNearMinimum(
        hessian=H,
        gradient_noise=C,
        **{n: TRAINING[n] for n in ("momentum", "batch_size", "sampling")},
        learning_rate=0.2,
    ).map()
    S = fs.stationary_covariance(law).state_matrix
    later = np.linalg.matrix_power(law.transition, 7) @ S
    for found, exact in (
        (variance, S.diagonal()[:4]),
        (correlation, later.diagonal()[:4] / S.diagonal()[:4]),
    ):
        z = (np.array(found["value"]) - exact) / np.array(found["stderr"])
        assert np.abs(z).max() < 5.0
    beyond = command("measure", "run", "--quantity", "autocorrelation", "--lags", "120")
    assert beyond.code == 2
    assert "distances in a part without gaps" in beyond.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "nowhere"), "is no folder"),
        (("compare", "."), "run.json"),
        (("compare", "run", "--hessian", "no.npy"), "no such file"),
        (("compare", "run", "--hessian", "both.npz"), "say which"),
        (("compare", "run", "--hessian", "both.npz:K"), "no array 'K'"),
        (("compare", "run", "--theory", "maps"), "theory"),
        (("compare", "run", "--rival", "map"), "other laws"),
        (("compare", "run", "--tolerance", "2"), "tolerance"),
        (("compare", "run", "--burn-in", "soon"), "--burn-in"),
        (("compare", "run", "--chains", "a"), "--chains"),
        (("compare", "run", "--chains", "77"), "no chain 77"),
        (("compare", "run", "--lags", "a"), "--lags"),
        (("compare", "run", "-q", "speed"), "no quantity 'speed'"),
        (("compare", "run", "-o", "letters"), "letters"),
        (("compare", "a", "b", "c"), "3 places"),
        (("compare", "run", "H.npy"), "cannot read"),
        (("compare", "H.npy", "H.npy", "--theory", "map"), "--theory"),
        (("compare", "run", "--learning-rate", "fast"), "valid number"),
        (("measure", "run", "-o", "no/m.json"), "cannot write"),
        (("measure", "run", "--stream", "loss"), "no stream 'loss'"),
        (("measure", "run", "--start", "1e6"), "nothing"),
        (("predict", "--hessian", "H.npy"), "--noise must be given, or a run"),
        (
            ("predict", "--hessian", "H.npy", "--noise", "both.npz:C"),
            "pass --learning-rate ..., --batch",
        ),
        (("inspect", "H.npy"), "is no folder"),
        (("record", "run2", "--data", "no.csv"), "no such file"),
        (("record", "run2", "--data", "H.npy", "--hidden", "x"), "--hidden"),
    ],
)
def test_bad_input_ends_with_two_and_says_why(
    arguments: tuple[str, ...], words: str, command: Any, run: Any, tmp_path: Path
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("mine")
    shown = command(*arguments)
    assert shown.code == 2, shown.out
    assert words in shown.err
    assert shown.out == ""


def test_doctor_answers_people_and_programs(command: Any) -> None:
    shown = command("doctor")
    assert shown.code == 0
    for words in ("numba", "numpy", "zarr", "torch", "compiled kernels"):
        assert words in shown.out
    found = json.loads(command("doctor", "--json").out)
    engines = {each["name"]: each for each in found["engines"]}
    assert engines["numpy"]["installed"] is True
    assert engines["numpy"]["version"] == np.__version__
    assert found["cache"]["writable"] in {True, False}


def points(path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = (x @ [1.0, -1.0] + rng.normal(size=60) > 0).astype(float)
    np.savetxt(path, np.column_stack([x, y]), delimiter=",", fmt="%.6g")


RECORD = ("--data", "points.csv", "--directions", "2", "--chains", "16", "--every", "5", "--quiet")


def test_a_recorded_run_carries_all_that_compare_needs(command: Any, tmp_path: Path) -> None:
    points(tmp_path / "points.csv")
    shown = command("record", "run", *RECORD, "--steps", "1000", "--learning-rate", "0.05")
    assert shown.code == 0, shown.err
    assert "effective draws, which will hardly decide a variance within 5 %" in shown.out
    run = fs.open_run(tmp_path / "run")
    assert run.trajectory().values.shape == (16, 201, 2)
    assert run.metadata["training"]["learning_rate"] == 0.05
    assert run.metadata["training"]["dataset_size"] == 60
    assert set(run.attachment("curvature")) == {"hessian", "gradient_noise", "minimum"}
    judged = command("compare", "run", "--quiet", "--tolerance", "0.5", "--burn-in", "500")
    assert judged.code in {0, 4}, judged.err
    again = command("record", "run", *RECORD, "--steps", "1000", "--learning-rate", "0.05")
    assert again.code == 2
    assert "nothing is overwritten; go on with it by --resume" in again.err
    assert fs.open_run(tmp_path / "run").content_hash() == run.content_hash()


def test_a_resumed_run_ends_as_if_it_had_not_been_stopped(command: Any, tmp_path: Path) -> None:
    from fracsde._commands import networks

    points(tmp_path / "points.csv")
    options = (*RECORD, "--learning-rate", "0.05", "--momentum", "0.5", "--sampling", "shuffled")
    assert command("record", "whole", *options, "--steps", "600").code == 0
    advance, calls = networks._advance, []

    def stopped(*arguments: Any) -> Any:
        found = advance(*arguments)  # rows of the block are on disk, its state is not
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "_advance", stopped)
        from fracsde import cli

        def seen(interrupts: Any) -> None:
            interrupts.seen = True

        patch.setattr(cli.Interrupts, "check", lambda self: seen(self))
        shown = command("record", "run", *options, "--steps", "600")
    assert shown.code == 130
    assert fs.open_run(tmp_path / "run").status.name == "RECORDING"
    other = command("record", "run", *options, "--steps", "600", "--resume", "--seed", "5")
    assert other.code == 2
    assert "seed: 0 then, 5 now" in other.err
    assert command("record", "run", *options, "--steps", "600", "--resume").code == 0
    one, two = (fs.open_run(tmp_path / name) for name in ("whole", "run"))
    assert np.array_equal(one.trajectory().values, two.trajectory().values)
    assert one.steps(3).tolist() == two.steps(3).tolist() == list(range(0, 601, 5))
    assert "Nothing to do" in command("record", "run", *options, "--steps", "600", "--resume").out


def test_steps_that_are_no_multiple_of_the_rows_end_at_the_last_row(
    command: Any, tmp_path: Path
) -> None:
    points(tmp_path / "points.csv")
    assert command("record", "run", *RECORD, "--steps", "53").code == 0
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == list(range(0, 51, 5))
    short = command("record", "other", *RECORD, "--steps", "3")
    assert short.code == 2
    assert "--steps must be at least 5" in short.err


def test_rates_without_a_law_and_too_many_parameters_are_refused(
    command: Any, tmp_path: Path
) -> None:
    points(tmp_path / "points.csv")
    fast = command("record", "run", *RECORD, "--learning-rate", "1e4")
    assert fast.code == 2
    assert "stops converging" in fast.err
    wide = command("record", "run", *RECORD, "--hidden", "2000")
    assert wide.code == 2
    assert "fewer hidden units" in wide.err
    many = command("record", "run", *RECORD[:2], "--directions", "99", "--quiet")
    assert many.code == 2
    assert "between 1 and the 6 parameters" in many.err
    assert not (tmp_path / "run").exists()


def test_inspect_says_which_rows_changed_where_a_step_did(command: Any, tmp_path: Path) -> None:
    with fs.recording.Recorder(tmp_path / "run", parameters=3) as recorder:
        for step in range(10):
            recorder.record(step, np.full(3, float(step)))
    (rows,) = (tmp_path / "run").rglob("rows.bin")
    content = bytearray(rows.read_bytes())
    content[5 * (len(content) // 10)] = 1  # the sixth row now says step 1
    rows.write_bytes(content)
    plain, verified = command("inspect", "run"), command("inspect", "run", "--verify")
    assert plain.code == verified.code == 2
    assert "steps increase" in plain.err
    assert "1 of 10 rows differ" in verified.err
    assert "row 5" in verified.err


def test_a_file_of_predictions_is_put_on_trial_and_beside_it(
    command: Any, run: Any, tmp_path: Path
) -> None:
    assert command("predict", "--run", "run", "-o", "mine.json", "-q", "variance").code == 0
    asked = ("predict", "--run", "run", "--law", "flow", "-q", "variance", "-o", "slow.json")
    assert command(*asked).code == 0
    shown = command("compare", "run", *QUICK, "--theory", "mine.json", "--rival", "slow.json")
    assert shown.code == 0, shown.err
    assert shown.out.startswith("AGREES: All 4 rows agree with 'mine' to within 8 %")
    assert "Rival 'slow'" in shown.out
    other = command("compare", "run", *QUICK, "--theory", "slow.json", "--rival", "map")
    assert other.code == 3
    # What a comparison predicted, along eigenvectors, is found again along them.
    report = fs.compare_run(tmp_path / "run", tolerance=0.08, assumptions=False)
    fs.write_predictions(tmp_path / "along.json", report.predicted)
    again = command("compare", "run", *QUICK, "--theory", "along.json", "--json")
    rows = json.loads(again.out)["rows"]
    assert [row["measured"] for row in rows] == [row.measured for row in report.rows]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--theory", "closure"), "a closure needs its model"),
        (("--theory", "maps"), "must be one of map, epochs"),
        (("--rival", "missing.json"), "cannot read 'missing.json'"),
        (("--theory", "H.npy"), "no file of predictions"),
        (("--theory", "two.json"), "are along '0', '1'"),
        (("--theory", "map", "--rival", "map"), "other laws"),
    ],
)
def test_a_theory_that_is_none_ends_with_two(
    command: Any, run: Any, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    law = fs.OUProcess(drift=np.eye(2), noise=np.eye(2))
    fs.write_predictions(tmp_path / "two.json", fs.predict(law, quantities="variance"))
    shown = command("compare", "run", *QUICK, *options)
    assert shown.code == 2
    assert words in " ".join(shown.err.replace("│", " ").split()), shown.err
    assert shown.out == ""


def test_rival_files_of_one_name_are_refused(command: Any, run: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    command("measure", "run", "-o", "m.json", "-q", "variance", "--start", "100", "--quiet")
    command("predict", "--run", "run", "-o", "p.json", "-q", "variance")
    for place in ("r.json", "other/r.json"):
        command("predict", "--run", "run", "--law", "flow", "-o", place, "-q", "variance")
    asked = ("compare", "m.json", "p.json", "--rival", "r.json", "--rival", "other/r.json")
    shown = command(*asked)
    assert shown.code == 2
    assert "told apart by their names" in " ".join(shown.err.replace("│", " ").split())


@pytest.mark.parametrize("columns", [40, 79, 80])
@pytest.mark.parametrize("name", ["record", "measure", "predict", "compare", "solve"])
def test_help_cuts_no_name_of_an_option(
    command: Any, name: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = []
    for width in (200, columns):
        monkeypatch.setenv("COLUMNS", str(width))
        options.append(set(re.findall(r"--[a-z-]+", command(name, "--help").out)))
    assert len(options[0]) > 5
    assert options[1] == options[0]


@pytest.mark.twin
def test_twin_panels_cut_names_of_options(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("fracsde._commands.words._NARROW", 1)
    shown = command("solve", "--help").out
    assert "--progress" not in shown
    assert "--prog" in shown


@pytest.mark.parametrize("name", ["record", "inspect", "measure", "predict", "compare", "doctor"])
def test_help_speaks_of_the_command_and_not_of_its_code(command: Any, name: str) -> None:
    shown = command(name, "--help")
    assert shown.code == 0
    for word in ("Raises", "Returns", "----"):
        assert word not in shown.out


@pytest.mark.parametrize("text", ["3-1", "0-999999999"])
def test_chains_that_run_backwards_or_without_end_are_refused(
    command: Any, run: Any, text: str
) -> None:
    shown = command("compare", "run", *QUICK, "--chains", text)
    assert shown.code == 2
    assert "must run upwards" in " ".join(shown.err.replace("│", " ").split())


def test_a_lag_beyond_the_record_is_refused_in_steps(command: Any, run: Any) -> None:
    shown = command("compare", "run", *QUICK, "-q", "msd", "--lags", "6000", "--burn-in", "0")
    assert shown.code == 2
    assert "must lie between 2 and 2998" in shown.err
    assert "got 6000" in shown.err


def test_names_that_are_no_unicode_are_written_and_read_again(
    command: Any, run: Any, tmp_path: Path
) -> None:
    odd = tmp_path / "run\udcff"
    try:
        (tmp_path / "run").rename(odd)
    except OSError:  # a system of files that takes Unicode alone
        pytest.skip("no such names here")
    assert command("compare", odd, *QUICK, "--no-figure", "-o", "report\udcff").code == 0
    found = json.loads((tmp_path / "report\udcff" / "report.json").read_bytes())
    assert found["settings"]["run"].endswith("run\udcff")
    assert command("measure", odd, "-o", "m\udcff.json", "--start", "100").code == 0
    assert command("predict", "--run", odd, "-o", "p.json").code == 0
    assert command("compare", "m\udcff.json", "p.json", "--tolerance", "0.3").code == 0


def test_numbers_whose_squares_overflow_are_refused(command: Any, tmp_path: Path) -> None:
    values = 1e200 * np.random.default_rng(0).normal(size=(4, 100, 4))
    store(tmp_path / "run", fs.Trajectory(values=values, times=np.arange(100.0)))
    for name in ("measure", "compare"):
        shown = command(name, "run", "--quiet")
        assert shown.code == 5
        assert "beyond double precision" in shown.err
    seen = command("inspect", "run")
    assert seen.code == 0
    assert "beyond double precision" in seen.out
    assert seen.err == ""


def test_a_run_that_diverged_at_its_start_offers_no_window_before_it(
    command: Any, tmp_path: Path
) -> None:
    paths = fs.Trajectory(values=np.ones((2, 9, 4)), times=np.arange(9.0))
    loss = np.ones((2, 9))
    loss[1] = np.nan
    store(tmp_path / "run", paths, streams={"loss": loss})
    shown = command("measure", "run", "--quiet")
    assert shown.code == 5
    assert "what is finite with --chains 0" in shown.err
    assert "--stop" not in shown.err


@pytest.mark.parametrize("said", [[1, 2], "SGD", None, {"learning_rate": 0.4, "sampling": ["x"]}])
def test_odd_words_about_the_training_are_shown_or_refused(
    command: Any, paths: fs.Trajectory, tmp_path: Path, said: Any
) -> None:
    store(tmp_path / "run", paths.between(0, 100), training=said or "gone")
    text = (tmp_path / "run" / "metadata.json").read_text()
    (tmp_path / "run" / "metadata.json").write_text(text.replace('"gone"', json.dumps(said)))
    assert command("inspect", "run").code == 0
    assert command("compare", "run", "--quiet").code == 2
    shown = command("compare", "run", "--sampling", "shuffled", "--quiet")
    assert shown.code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--momentum", "2"), "--momentum must lie in"),
        (("--sampling", "sorted"), "--sampling must be one of"),
        (("--sampling", "shuffled", "--batch-size", "9999"), "must not exceed"),
        (("--learning-rate", "-1"), "--learning-rate must lie in"),
        (("--learning-rate", "nan"), "--learning-rate must be finite"),
        (("--directions", "99"), "between 1 and the 6 parameters"),
        ((), "holds a run and nothing is overwritten; go on with it by --resume"),
    ],
)
def test_record_refuses_before_it_trains(
    command: Any,
    run: Any,
    tmp_path: Path,
    options: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points(tmp_path / "points.csv")
    monkeypatch.setattr("fracsde._commands.networks.train_to_minimum", None)
    place = "other" if options else "run"
    shown = command("record", place, "--data", "points.csv", *options)
    assert shown.code == 2
    assert shown.err.startswith("fracsde: ")  # no bar, and no line left for one, in a log
    assert words in shown.err
    assert not (tmp_path / "other").exists()


def test_results_that_cannot_be_written_end_with_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        full = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError:
        pytest.skip("there is no /dev/full here")
    monkeypatch.setattr(sys, "argv", ["fracsde", "doctor"])
    with monkeypatch.context() as streams:
        streams.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as caught:
            main()
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    assert "cannot write the results: No space left on device" in shown
    assert "Traceback" not in shown
    full.close()  # what it still held is given up
