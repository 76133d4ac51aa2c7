"""Recording: what was acknowledged is there, after SIGKILL, a full disk, a refusal, a restart."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import fracsde as fs
from fracsde.errors import FileWriteError, InputError, RecordError
from fracsde.recording import (
    Coordinates,
    Every,
    Full,
    Projection,
    RandomProjection,
    Recorder,
    RunStatus,
    Stream,
    Windows,
    save_run,
)
from fracsde.records._store import journal as journal_module
from tests.recording.recording_child import weights

resource = pytest.importorskip("resource", reason="limits stand in for full disks")
ROOT = Path(__file__).resolve().parents[2]
P = 6_000


def child(folder: Path, *, chain: int = 0, stop: int, damage: str = "") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.recording.recording_child", str(folder)]
    command += [str(chain), str(stop), str(P), *([damage] if damage else [])]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def killed_after(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """Kill a process some time after it began to record; return all that it acknowledged."""
    assert process.stdout is not None
    said = os.read(process.stdout.fileno(), 1)
    time.sleep(seconds)
    process.kill()
    said += process.stdout.read()
    process.stdout.close()
    process.wait()
    return said


def finish(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        process.communicate()
        assert process.returncode == 0


def expected(steps: np.ndarray) -> np.ndarray:
    return np.stack([weights(int(step), P) for step in steps])


def test_sigkill_loses_nothing_that_was_acknowledged_and_resuming_ends_as_an_unbroken_run(
    tmp_path, seed
) -> None:
    """Eight kills at random moments of one chain, each resumed, and attachments made meanwhile."""
    rng, folder, rows, kills = np.random.default_rng(seed), tmp_path / "run", 0, 0
    for _ in range(8):
        said = killed_after(child(folder, stop=10**6), float(rng.uniform(0, 0.06)))
        kills += 1
        run = fs.open_run(folder)
        rows += said.count(b".")
        found = len(run.steps(0))
        assert rows <= found <= rows + 1  # one may be written and not yet acknowledged
        rows = found
        np.testing.assert_array_equal(run.steps(0), np.arange(rows))
        part = slice(max(0, rows - 40), rows)
        np.testing.assert_array_equal(run.array("weights", 0)[part], expected(run.steps(0)[part]))
        np.testing.assert_array_equal(run.array("loss", 0)[:, 0], 0.5 * np.arange(rows))
        assert run.verify() == rows
        assert run.status is RunStatus.RECORDING
        if b"a" in said:
            hessian = run.attachment("curvature")["hessian"]
            assert hessian.shape == (60, 60)
            assert np.ptp(hessian) == 0
            assert hessian[0, 0] >= run.metadata["reached"] - 5
    assert kills == 8
    assert rows > 5
    finish(child(folder, stop=rows + 7), child(tmp_path / "unbroken", stop=rows + 7))
    ends = [tmp_path / name / "chains/chain-000000/rows.bin" for name in ("run", "unbroken")]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    assert fs.open_run(folder).content_hash() == fs.open_run(tmp_path / "unbroken").content_hash()


@pytest.mark.twin
def test_sigkill_would_lose_rows_that_are_kept_back(tmp_path) -> None:
    for k in range(4):
        folder = tmp_path / str(k)
        said = killed_after(child(folder, stop=10**6, damage="buffered"), 0.02 + 0.005 * k)
        if len(fs.open_run(folder).steps(0)) < said.count(b"."):
            return
    pytest.fail("rows were kept back and none was lost")


def test_two_processes_record_two_chains_of_one_new_run_at_the_same_time(tmp_path) -> None:
    folder = tmp_path / "run"
    finish(*[child(folder, chain=chain, stop=60) for chain in (0, 3)])
    run = fs.open_run(folder)
    assert run.chains == (0, 3)
    assert run.status is RunStatus.CLOSED
    for chain in run.chains:
        np.testing.assert_array_equal(run.array("weights", chain), expected(np.arange(60)))
    assert not [name for name in os.listdir(folder) if name.endswith(".new")]


def test_a_row_is_read_by_others_as_soon_as_record_returns(tmp_path) -> None:
    with Recorder(tmp_path / "run", parameters=2, streams={"loss": 1}) as recorder:
        for step in range(5):
            recorder.record(step, [1.0 * step, -1.0], loss=step)
            run = fs.open_run(tmp_path / "run")
            assert run.steps(0).tolist() == list(range(step + 1))
            assert run.array("loss", 0)[-1, 0] == step
    assert fs.open_run(tmp_path / "run").status is RunStatus.CLOSED


def test_what_is_not_due_is_not_recorded(tmp_path) -> None:
    schedule = Every(10) | Windows((13,), 2)
    with Recorder(tmp_path / "run", parameters=1, schedule=schedule) as recorder:
        said = [recorder.record(step, [step]) for step in range(31)]
        assert [step for step in range(31) if said[step]] == [0, 10, 13, 14, 20, 30]
        assert recorder.next_step == 31
        assert recorder.rows == 6
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == [0, 10, 13, 14, 20, 30]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("source", ["float16", "float32", "float64", "int64"])
def test_parameters_arrive_as_one_array_or_as_many_in_any_precision(tmp_path, dtype, source):
    flat = (np.random.default_rng(0).normal(size=24) * 100).astype(source)
    shapes = [
        flat,
        flat.reshape(4, 6),
        np.ma.masked_array(flat.reshape(2, 12)),
        np.asfortranarray(flat.reshape(4, 6)),
        np.repeat(flat, 2)[::2],
    ]
    parts = [flat[:6].reshape(2, 3), flat[6], flat[7:7], np.asfortranarray(flat[7:].reshape(17, 1))]
    with Recorder(tmp_path / "run", parameters=24, dtype=dtype) as recorder:
        for step, given in enumerate([*shapes, parts, tuple(parts)]):
            recorder.record(step, given)
    found = fs.open_run(tmp_path / "run").array("weights", 0)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.broadcast_to(flat.astype(dtype), (7, 24)))


@pytest.mark.parametrize(
    "observe",
    [
        Projection(np.random.default_rng(0).normal(size=(50, 3))),
        RandomProjection(3, seed=2),
        RandomProjection(3, seed=2, form="gaussian"),
        RandomProjection(3, seed=2, form="disjoint"),
        Coordinates([40, 2, 7]),
        Coordinates(count=3, seed=5),
        Full(),
    ],
)
def test_weights_and_gradients_are_observed_alike_and_the_reader_knows_how(tmp_path, observe):
    rng = np.random.default_rng(1)
    w, g = rng.normal(size=(4, 50)), rng.normal(size=(4, 50))
    width = 50 if isinstance(observe, Full) else 3
    with Recorder(
        tmp_path / "run",
        parameters=50,
        observe=observe,
        streams={"gradients": width},
        dtype="float64",
    ) as recorder:
        for step in range(3):
            recorder.record(step, w[step], gradients=g[step])
        view = recorder.directions
        if view is not None:
            recorder.record_observed(3, w[3] @ view, gradients=g[3] @ view)
    run = fs.open_run(tmp_path / "run")
    directions, indices = run.observation.directions, run.observation.indices
    for name, given in (("weights", w), ("gradients", g)):
        kept = given[:, indices] if directions is None else given @ directions
        rows = run.array(name, 0)
        np.testing.assert_allclose(rows, kept[: len(rows)], rtol=1e-13, atol=1e-13)
    assert run.verify() == len(run.steps(0))
    assert run.observation.kind == {Full: "full", Coordinates: "coordinates"}.get(
        type(observe), "projection"
    )


def long_rows(folder: Path, size: int, how: str, recorder_kind=Recorder) -> bytes:
    """Record three rows of many parameters and as many gradients, given in one of three ways."""
    w = np.random.default_rng(0).normal(size=(2, 3, size)).astype("float32")
    streams = {"gradients": size, "loss": 1}
    with recorder_kind(folder, parameters=size, streams=streams) as recorder:
        for step in range(3):
            weights_, gradients = w[:, step]
            if how == "parts":
                weights_, gradients = np.array_split(weights_, 3), np.array_split(gradients, 4)
            record = recorder.record_observed if how == "observed" else recorder.record
            record(step, weights_, gradients=gradients, loss=0.5)
    assert fs.open_run(folder).verify() == 3
    np.testing.assert_array_equal(fs.open_run(folder).array("weights", 0), w[0])
    np.testing.assert_array_equal(fs.open_run(folder).array("gradients", 0), w[1])
    return (folder / "chains/chain-000000/rows.bin").read_bytes()


@pytest.mark.parametrize("size", [16_000, 20_000, 20_001])
def test_rows_are_the_same_however_the_parameters_lie_in_memory(tmp_path, size, monkeypatch):
    """Long vectors are written from where they lie, and a call of the system may do a part."""
    kinds = {how: long_rows(tmp_path / how, size, how) for how in ("one", "parts", "observed")}
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda file, parts: real(file, [b"".join(parts)[:50_001]]))
    kinds["cut short"] = long_rows(tmp_path / "cut", size, "one")
    assert len(set(kinds.values())) == 1


@pytest.mark.twin
def test_gradients_flattened_into_the_memory_of_the_weights_would_replace_them(tmp_path) -> None:
    class Damaged(Recorder):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self._row._flat_gradients = self._row._flat

    with pytest.raises(AssertionError):
        long_rows(tmp_path / "run", 20_000, "parts", Damaged)


def test_a_stream_left_out_is_missing_and_not_a_divergence(tmp_path) -> None:
    """At the start there is no gradient yet."""
    with Recorder(tmp_path / "run", parameters=1, streams={"loss": 1, "pair": 2}) as recorder:
        recorder.record(0, [0.0])
        recorder.record(1, [1.0], loss=5.0, pair=None)
        recorder.record(2, [2.0], pair=[1, 2])
    run = fs.open_run(tmp_path / "run")
    assert run.status is RunStatus.CLOSED
    assert run.present("loss", 0).tolist() == [False, True, False]
    assert run.trajectory("loss").times.tolist() == [1.0]
    assert run.trajectory("pair").values.tolist() == [[[1.0, 2.0]]]
    assert np.isnan(run.array("loss", 0)[[0, 2]]).all()


# --- full disks and refusals -------------------------------------------------------------------


def row_bytes(run: Path) -> int:
    return fs.open_run(run)._layout.row_bytes


@pytest.mark.parametrize("size", [3_000, 30_001])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
def test_a_full_disk_loses_nothing_leaves_the_file_whole_and_can_be_tried_again(
    tmp_path, part, size
):
    """A limit on the length of files stands in for the disk: rows are written up to it."""
    folder, w = tmp_path / "run", np.random.default_rng(0).normal(size=(6, size))
    recorder = Recorder(folder, parameters=size)
    for step in range(3):
        recorder.record(step, w[step])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int((3 + part) * row_bytes(folder)), before[1]))
    try:
        for _ in range(2):
            with pytest.raises(FileWriteError, match="the 3 rows before are whole") as caught:
                recorder.record(3, w[3])
        assert caught.value.__cause__.errno == errno.EFBIG
        assert len(fs.open_run(folder).steps(0)) == 3
        assert recorder.next_step == 3
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    for step in range(3, 6):
        recorder.record(step, w[step])
    recorder.close()
    run = fs.open_run(folder)
    np.testing.assert_array_equal(run.array("weights", 0), w.astype("float32"))
    assert run.verify() == 6


@pytest.mark.twin
def test_without_cutting_off_the_torn_row_the_next_ones_would_be_shifted(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module.Journal, "settle", lambda self: None)
    folder, w = tmp_path / "run", np.random.default_rng(0).normal(size=(3, 3_000))
    recorder = Recorder(folder, parameters=3_000)
    recorder.record(0, w[0])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(1.5 * row_bytes(folder)), before[1]))
    try:
        with pytest.raises(FileWriteError):
            recorder.record(1, w[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    for step in (1, 2):
        recorder.record(step, w[step])
    recorder.sync()
    run = fs.open_run(folder)
    assert len(run.steps(0)) < 3 or run.verify() != 3


def test_a_small_disk_that_is_really_full(tmp_path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        recorder = Recorder(disk / "run", parameters=10_000)
        w, step = np.ones(10_000), 0
        with pytest.raises(FileWriteError, match="No space left"):  # noqa: PT012
            while step < 100:
                recorder.record(step, w)
                step += 1
        with pytest.raises(FileWriteError, match="what was attached before is unchanged"):
            recorder.attach("curvature", hessian=np.ones((500, 500)))
        run = fs.open_run(disk / "run")
        assert run.verify() == step == recorder.rows
        assert run.attachments == ()
        with pytest.raises(FileWriteError):
            recorder.update_metadata({"note": "x" * 10_000})
        assert fs.open_run(disk / "run").metadata == {}
        del run
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        recorder.record(step, w)
        recorder.close()
        assert fs.open_run(disk / "run").status is RunStatus.CLOSED
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_a_row_that_cannot_be_forced_to_disk_is_recorded_all_the_same_and_only_once(
    tmp_path, monkeypatch
) -> None:
    recorder = Recorder(tmp_path / "run", parameters=1, sync_seconds=0)

    def refuse(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(journal_module, "_force", refuse)
        with pytest.raises(FileWriteError, match="all rows are recorded"):
            recorder.record(0, [1.0])
    assert recorder.next_step == 1
    with pytest.raises(RecordError, match="not beyond step 0"):
        recorder.record(0, [1.0])
    recorder.record(1, [2.0])
    recorder.close()
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == [0, 1]


def test_an_interrupted_write_is_not_recorded_and_can_be_repeated(tmp_path, monkeypatch) -> None:
    recorder, real = Recorder(tmp_path / "run", parameters=100), os.write
    recorder.record(0, np.zeros(100))

    def interrupted(file: int, data: bytes) -> int:
        real(file, bytes(data)[:37])
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recorder.record(1, np.ones(100))
    monkeypatch.setattr(os, "write", real)
    assert len(fs.open_run(tmp_path / "run").steps(0)) == 1
    recorder.record(1, np.full(100, 2.0))
    recorder.close()
    assert fs.open_run(tmp_path / "run").array("weights", 0)[:, 0].tolist() == [0, 2]


def test_an_error_inside_the_context_keeps_the_rows_and_leaves_the_chain_open(tmp_path) -> None:
    def training() -> None:
        with Recorder(tmp_path / "run", parameters=1) as recorder:
            recorder.record(0, [1.0])
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        training()
    run = fs.open_run(tmp_path / "run")
    assert run.status is RunStatus.RECORDING
    assert len(run.steps(0)) == 1


@pytest.fixture
def powerless():
    """A folder of one user, and the process for a while that of another."""
    base = Path(tempfile.mkdtemp(dir="/tmp"))
    base.chmod(0o755)
    if os.geteuid() == 0:
        yield base, lambda: os.seteuid(65534)
        os.seteuid(0)
    else:
        yield (
            base,
            lambda: [path.chmod(0o555) for path in [base, *base.rglob("*")] if path.is_dir()],
        )
        for path in [base, *base.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
    shutil.rmtree(base)


def test_no_permission_is_said_clearly_and_changes_nothing(powerless) -> None:
    base, take_away = powerless
    with Recorder(base / "mine", parameters=1) as recorder:
        recorder.record(0, [1.0])
    before = fs.open_run(base / "mine").content_hash()
    take_away()
    with pytest.raises(FileWriteError, match="Permission denied"):
        Recorder(base / "new", parameters=1)
    with pytest.raises(FileWriteError, match="Permission denied"):
        Recorder(base / "mine", parameters=1, chain=1)
    with pytest.raises(FileWriteError, match="Permission denied"):
        Recorder(base / "mine", parameters=1, resume=True)
    assert fs.open_run(base / "mine").content_hash() == before
    assert not (base / "new").exists()


# --- resuming ----------------------------------------------------------------------------------


def record(folder: Path, steps: range, **options: object) -> None:
    with Recorder(folder, parameters=2, **options) as recorder:
        for step in steps:
            recorder.record(step, [step, -step])


def test_an_existing_chain_is_refused_without_resume_and_not_changed(tmp_path) -> None:
    record(tmp_path / "run", range(3))
    before = fs.open_run(tmp_path / "run").content_hash()
    with pytest.raises(RecordError, match="nothing is overwritten; pass `resume=True`"):
        Recorder(tmp_path / "run", parameters=2, metadata={"note": "new"})
    assert fs.open_run(tmp_path / "run").content_hash() == before
    assert fs.open_run(tmp_path / "run").status is RunStatus.CLOSED


@pytest.mark.parametrize("torn", [0, 1, 23, 24, 31])
def test_resuming_cuts_the_torn_end_off_and_equals_an_unbroken_run(tmp_path, torn) -> None:
    record(tmp_path / "whole", range(9))
    record(tmp_path / "run", range(4))
    rows = tmp_path / "run/chains/chain-000000/rows.bin"
    (rows.parent / "chain.json").unlink()
    with rows.open("ab") as file:
        file.write(b"\x07" * torn)
    with Recorder(tmp_path / "run", parameters=2, resume=True) as recorder:
        assert recorder.next_step == 4
        with pytest.raises(RecordError, match="step 3 is not beyond step 3"):
            recorder.record(3, [0, 0])
        for step in range(4, 9):
            recorder.record(step, [step, -step])
    assert rows.read_bytes() == (tmp_path / "whole/chains/chain-000000/rows.bin").read_bytes()


def test_rows_of_zeros_that_power_loss_leaves_are_cut_off(tmp_path) -> None:
    record(tmp_path / "run", range(4))
    rows = tmp_path / "run/chains/chain-000000/rows.bin"
    (rows.parent / "chain.json").unlink()
    with rows.open("ab") as file:
        file.write(bytes(3 * row_bytes(tmp_path / "run")))
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == [0, 1, 2, 3]
    record(tmp_path / "run", range(4, 6), resume=True)
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == list(range(6))


def test_rewinding_gives_up_later_rows_because_the_user_said_so(tmp_path) -> None:
    record(tmp_path / "run", range(10))
    with Recorder(tmp_path / "run", parameters=2, resume=True, rewind_to=5) as recorder:
        assert recorder.next_step == 6
        recorder.record(6, [60, 60])
    assert fs.open_run(tmp_path / "run").array("weights", 0)[:, 0].tolist() == [
        0,
        1,
        2,
        3,
        4,
        5,
        60,
    ]
    with pytest.raises(RecordError, match="pass `resume=True` with it"):
        Recorder(tmp_path / "run", parameters=2, rewind_to=5)


def test_resuming_what_does_not_exist_begins(tmp_path) -> None:
    record(tmp_path / "run", range(2), resume=True)
    assert fs.open_run(tmp_path / "run").steps(0).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parameters": 61}, "recorded with another"),
        ({"dtype": "float64"}, "recorded with another stream 'weights'"),
        ({"observe": RandomProjection(4, seed=2)}, "recorded with another observation"),
        ({"observe": RandomProjection(5, seed=1)}, "recorded with another stream 'weights'"),
        ({"observe": RandomProjection(4, seed=1, form="disjoint")}, "another observation"),
        ({"streams": {}}, "recorded with another stream 'loss'"),
        ({"streams": {"loss": 1, "more": 1}}, "recorded with another stream 'more': none"),
        ({"streams": {"loss": 2}}, "recorded with another stream 'loss'"),
        ({"metadata": {"training": {"learning_rate": 0.2}}}, "other metadata 'training'"),
        ({"chain_metadata": {"seed": 8}}, "with other metadata"),
    ],
)
def test_another_recording_is_not_resumed_and_the_difference_is_named(tmp_path, change, words):
    options = {
        "parameters": 60,
        "observe": RandomProjection(4, seed=1),
        "streams": {"loss": 1},
        "metadata": {"training": {"learning_rate": 0.1}},
        "chain_metadata": {"seed": 7},
    }
    with Recorder(tmp_path / "run", **options) as recorder:
        recorder.record(0, np.zeros(60))
    before = fs.open_run(tmp_path / "run").content_hash()
    with pytest.raises(RecordError, match=words):
        Recorder(tmp_path / "run", **(options | change), resume=True)
    assert fs.open_run(tmp_path / "run").content_hash() == before


def test_one_recorder_at_a_time_has_a_chain_and_garbage_gives_it_back(tmp_path) -> None:
    recorder = Recorder(tmp_path / "run", parameters=1)
    with pytest.raises(RecordError, match="being recorded by another process or recorder"):
        Recorder(tmp_path / "run", parameters=1, resume=True)
    del recorder
    Recorder(tmp_path / "run", parameters=1, resume=True).close()


def test_a_closed_recorder_and_one_of_another_process_refuse(tmp_path) -> None:
    recorder = Recorder(tmp_path / "run", parameters=1)
    recorder._process += 1
    with pytest.raises(RecordError, match="belongs to the process that made it"):
        recorder.record(0, [1.0])
    recorder._process -= 1
    recorder.close()
    recorder.close()
    for call in (
        lambda: recorder.record(0, [1.0]),
        lambda: recorder.attach("a", x=1),
        recorder.sync,
    ):
        with pytest.raises(RecordError, match="closed; open the chain again"):
            call()


def test_closing_says_whether_the_chain_is_complete(tmp_path) -> None:
    for status in (RunStatus.RECORDING, RunStatus.CLOSED):
        recorder = Recorder(tmp_path / "run", parameters=1, resume=True)
        recorder.record(recorder.next_step, [1.0])
        recorder.close(status)
        assert fs.open_run(tmp_path / "run").status is status


# --- metadata and attachments ------------------------------------------------------------------


def test_metadata_are_merged_and_changed_only_on_demand(tmp_path) -> None:
    numbers = {"rate": np.float64(0.1), "sizes": np.arange(3), "shuffled": np.bool_(True)}
    with (
        Recorder(tmp_path / "run", parameters=1, metadata=numbers) as recorder,
        Recorder(tmp_path / "run", parameters=1, chain=1, metadata={"more": (1, None)}) as other,
    ):
        other.update_metadata({"rate": 0.2})
        recorder.update_metadata({"device": "GPU"})
    assert fs.open_run(tmp_path / "run").metadata == {
        "rate": 0.2, "sizes": [0, 1, 2], "shuffled": True, "more": [1, None], "device": "GPU",
    }  # fmt: skip


def test_facts_about_a_chain_are_its_own(tmp_path) -> None:
    for chain in (0, 1):
        record(tmp_path / "run", range(2), chain=chain, chain_metadata={"seed": chain})
    run = fs.open_run(tmp_path / "run")
    assert [run.chain_metadata(chain)["seed"] for chain in run.chains] == [0, 1]


def test_an_attachment_is_replaced_whole(tmp_path) -> None:
    with Recorder(tmp_path / "run", parameters=1) as recorder:
        recorder.attach("curvature", hessian=np.eye(2), names=np.array(["a", "é"]))
        recorder.attach("curvature", hessian=3.0 * np.eye(2, dtype="float32"))
        recorder.attach("odd", name=1, file=np.zeros((0, 2)), allow_pickle=np.arange(3)[::2])
    found = fs.open_run(tmp_path / "run").attachment("odd")
    assert {key: array.tolist() for key, array in found.items()} == {
        "name": 1, "file": [], "allow_pickle": [0, 2],
    }  # fmt: skip
    found = fs.open_run(tmp_path / "run").attachment("curvature")
    assert list(found) == ["hessian"]
    np.testing.assert_array_equal(found["hessian"], 3.0 * np.eye(2))


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parameters": 0}, "parameters"),
        ({"parameters": 10**15}, "more than a row can hold"),
        ({"chain": -1}, "chain"),
        ({"chain": 1.5}, "chain"),
        ({"dtype": "int8"}, "dtype"),
        ({"resume": 3}, "resume"),
        ({"sync_seconds": -1.0}, "sync_seconds"),
        ({"observe": "full"}, "`observe` must be a value such as Full"),
        ({"schedule": 10}, "`schedule` must be a value such as Every"),
        ({"streams": {"weights": 2}}, "always there"),
        ({"streams": {"a b": 2}}, "letters, digits and underscores"),
        ({"streams": {"../up": 2}}, "letters, digits and underscores"),
        ({"streams": {"x": 0}}, "width"),
        ({"streams": {"x": True}}, "width"),
        ({"streams": {"x": Stream("y", 1)}}, "declared as 'y'"),
        ({"streams": {"gradients": 1}}, "observed as the weights are: 2 in float32"),
        ({"streams": {"gradients": Stream("gradients", 2)}}, "as the weights are: 2 in float32"),
        ({"streams": {f"s{i}": 1 for i in range(32)}}, "1 to 32 streams, got 33"),
        ({"labels": ["one"]}, "1 labels for 2 numbers"),
        ({"metadata": {"rate": float("nan")}}, "'metadata.rate' is nan"),
        ({"metadata": {"f": print}}, "'metadata.f' is of type"),
        ({"metadata": {1: 2}}, "keys must be text"),
        ({"metadata": [1]}, "`metadata` must be a mapping"),
        ({"chain_metadata": "seed"}, "`chain_metadata` must be a mapping"),
        ({"streams": ["loss"]}, "`streams` must be a mapping"),
        ({"chain_metadata": {"a": {"b": [np.inf]}}}, r"'chain_metadata.a.b\[0\]' is inf"),
        ({"rewind_to": 1.5, "resume": True}, "rewind_to"),
    ],
)
def test_refuses_what_cannot_be_recorded(tmp_path, options, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recorder(tmp_path / "run", **({"parameters": 2} | options))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: r.record(0, [1.0]), "hold 2 numbers, all parameters of the model, got 1"),
        (lambda r: r.record(0, [np.ones(2), np.ones(5)]), "hold 2 numbers.* got 7"),
        (lambda r: r.record(0, np.ones(3)), "hold 2 numbers.* got 3"),
        (lambda r: r.record(0, np.ones(2) + 1j), "real numbers"),
        (lambda r: r.record(0, ["a", "b"]), "real numbers"),
        (lambda r: r.record(0, None), "hold 2 numbers"),
        (lambda r: r.record(0, np.ones(2), speed=3), "'speed' was not declared"),
        (lambda r: r.record(0, np.ones(2), loss=[1, 2]), "'loss' takes one number"),
        (lambda r: r.record(0, np.ones(2), pair=[1, 2, 3]), "'pair' has 2 numbers a step"),
        (lambda r: r.record(0, np.ones(2), pair="ab"), "'pair' has 2 numbers a step"),
        (lambda r: r.record_observed(0, np.ones(3)), "'weights' has 2 numbers a step"),
        (lambda r: r.record(0.5, np.ones(2)), "whole number, got 0.5"),
        (lambda r: r.record(2**60, np.ones(2)), "at most"),
        (lambda r: r.attach("../x", a=1), "letters, digits and underscores"),
        (lambda r: r.attach("x"), "name at least one"),
        (lambda r: r.attach("x", a=np.array([object()])), "attach numbers"),
        (lambda r: r.update_metadata({"a": {"b": np.nan}}), "'metadata.a.b' is nan"),
        (lambda r: r.close("done"), "`status` must be a value such as"),
    ],
)
def test_a_refused_row_leaves_no_trace_and_the_next_one_is_recorded(tmp_path, call, words) -> None:
    recorder = Recorder(tmp_path / "run", parameters=2, streams={"loss": 1, "pair": 2})
    with pytest.raises(RecordError, match=words):
        call(recorder)
    recorder.record(0, [3.0, 4.0], loss=1, pair=[5, 6])
    recorder.close()
    run = fs.open_run(tmp_path / "run")
    assert run.array("weights", 0).tolist() == [[3.0, 4.0]]
    assert run.array("pair", 0).tolist() == [[5.0, 6.0]]
    assert run.verify() == 1


def test_a_folder_of_something_else_is_not_recorded_into(tmp_path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("all my work")
    with pytest.raises(RecordError, match=r"holds 'chapter.tex' and is no run"):
        Recorder(tmp_path / "thesis", parameters=1)
    with pytest.raises(RecordError, match="no folder"):
        Recorder(tmp_path / "thesis/chapter.tex", parameters=1)
    with pytest.raises(FileWriteError, match="Not a directory"):
        Recorder(tmp_path / "thesis/chapter.tex/run", parameters=1)
    assert os.listdir(tmp_path / "thesis") == ["chapter.tex"]


def test_folders_above_a_run_are_made(tmp_path) -> None:
    with Recorder(tmp_path / "runs/today/run", parameters=1) as recorder:
        recorder.record(0, [1.0])
    run = fs.open_run(tmp_path / "runs/today/run")
    assert run.array("weights", 0).tolist() == [[1.0]]
    copy = save_run(tmp_path / "copies/today/run", run.trajectory())
    assert copy.array("weights", 0).tolist() == [[1.0]]


def test_arguments_are_not_written_to(tmp_path) -> None:
    w, options = np.ones(3), {"streams": {"loss": 1}, "metadata": {"a": [1]}}
    w.flags.writeable = False
    with Recorder(tmp_path / "run", parameters=3, **options) as recorder:
        recorder.record(0, w, loss=1.0)
    assert options == {"streams": {"loss": 1}, "metadata": {"a": [1]}}
