"""The store: rows by length alone, partial reads, check sums, and folders from anywhere."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fracsde as fs
from fracsde.errors import BackendUnavailable, FileWriteError, InputError, RecordError
from fracsde.recording import Projection, RandomProjection, Recorder, RunStatus, Stream
from fracsde.records import store as module
from fracsde.records._store.layout import HEAD, stamps_of

if TYPE_CHECKING:
    from pathlib import Path

ROWS = "chains/chain-000000/rows.bin"


def make(folder: Path, steps=range(12), chain: int = 0, width: int = 3, **options) -> Path:
    """Record a chain whose numbers are functions of (chain, step, place)."""
    with Recorder(
        folder, parameters=width, chain=chain, streams={"loss": 1}, resume=True, **options
    ) as recorder:
        for step in steps:
            recorder.record(step, value(chain, step, width), loss=step / 8)
    return folder


def value(chain: int, step: int, width: int = 3) -> np.ndarray:
    return 1000.0 * chain + step + np.arange(width) / 4


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make(tmp_path / "run")


@pytest.fixture
def opened(run: Path) -> Path:
    """A run whose recorder died before it was closed."""
    (run / ROWS).with_name("chain.json").unlink()
    return run


# --- rows --------------------------------------------------------------------------------------


def rows_by_length(path: Path) -> int:
    return len(fs.open_run(path).steps(0))


def check_every_torn_length(path: Path, count) -> None:
    """Cut the file at every byte of its last rows: whole rows count, and no other."""
    content, length = (path / ROWS).read_bytes(), HEAD + 16 + 8
    for size in range(len(content) - 2 * length - 1, len(content) + 1):
        (path / ROWS).write_bytes(content[:size])
        assert count(path) == size // length
    (path / ROWS).write_bytes(content)


def test_a_row_counts_when_the_file_holds_it_whole(opened: Path) -> None:
    check_every_torn_length(opened, rows_by_length)


@pytest.mark.twin
@pytest.mark.parametrize("damage", ["header", "upwards"])
def test_a_reader_that_trusts_a_count_or_rounds_up_is_caught(opened: Path, damage: str) -> None:
    said = rows_by_length(opened)

    def count(path: Path) -> int:
        return said if damage == "header" else -(-(path / ROWS).stat().st_size // (HEAD + 24))

    with pytest.raises(AssertionError):
        check_every_torn_length(opened, count)


NAMES = st.lists(
    st.sampled_from(["loss", "gradients", "a", "learning_rate", "x_1"]), unique=True, max_size=4
)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_recorded_is_what_is_read(data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 7))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    streams = {
        name: Stream(
            name,
            width if name == "gradients" else data.draw(st.integers(1, 5)),
            dtype if name == "gradients" else data.draw(st.sampled_from(["float32", "float64"])),
        )
        for name in data.draw(NAMES)
    }
    chains = data.draw(st.lists(st.integers(0, 2000), unique=True, min_size=1, max_size=3))
    steps = sorted(data.draw(st.sets(st.integers(0, 2**40), max_size=8)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    written: dict[tuple[str, int], np.ndarray] = {}
    with tempfile.TemporaryDirectory() as home:
        for chain in chains:
            rows = {"weights": rng.normal(size=(len(steps), width))}
            rows |= {name: rng.normal(size=(len(steps), s.width)) for name, s in streams.items()}
            written |= {(name, chain): array for name, array in rows.items()}
            with Recorder(
                home + "/run", parameters=width, dtype=dtype, streams=streams, chain=chain
            ) as recorder:
                for k, step in enumerate(steps):
                    more = {name: rows[name][k] for name in streams}
                    recorder.record(step, rows["weights"][k], **more)
        found = fs.open_run(home + "/run")
        assert found.chains == tuple(sorted(chains))
        assert found.streams == {"weights": Stream("weights", width, dtype, "weight")} | streams
        assert found.verify() == len(steps) * len(chains)
        for (name, chain), array in written.items():
            kept = array.astype(found.streams[name].dtype)
            np.testing.assert_array_equal(found.array(name, chain), kept)
            np.testing.assert_array_equal(found.steps(chain), steps)
        if steps:
            for name in found.streams:
                whole = np.stack([written[name, c] for c in sorted(chains)])
                values = found.trajectory(name).values
                np.testing.assert_array_equal(values, whole.astype(found.streams[name].dtype))


def test_reads_are_mapped_read_only_and_of_the_stored_type(run: Path) -> None:
    array = fs.open_run(run).array("weights", 0)
    assert isinstance(array, np.memmap)
    assert (array.dtype, array.shape) == (np.dtype("<f4"), (12, 3))
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1.0


def test_a_chain_without_rows_is_legal(tmp_path: Path) -> None:
    make(tmp_path / "run", range(0))
    found = fs.open_run(tmp_path / "run")
    assert (found.chains, len(found.steps(0)), found.verify()) == ((0,), 0, 0)
    assert found.array("weights", 0).shape == (0, 3)
    with pytest.raises(RecordError, match="chain 0 has no rows"):
        found.trajectory()


def test_constant_series_are_legal(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", parameters=2) as recorder:
        for step in range(4):
            recorder.record(step, [5.0, 5.0])
    assert np.ptp(fs.open_run(tmp_path / "run").trajectory().values) == 0


def test_a_snapshot_does_not_change_while_the_run_grows(run: Path) -> None:
    before = fs.open_run(run)
    make(run, range(12, 20))
    assert before.trajectory().draws == 12
    assert fs.open_run(run).trajectory().draws == 20


# --- partial reads -----------------------------------------------------------------------------


def test_a_part_is_that_part_of_the_whole(tmp_path: Path) -> None:
    for chain in (0, 1, 5):
        make(tmp_path / "run", range(0, 60, 3), chain=chain)
    found = fs.open_run(tmp_path / "run")
    whole = found.trajectory()
    assert whole.values.shape == (3, 20, 3)
    np.testing.assert_array_equal(whole.values[2, 4], value(5, 12))
    part = found.trajectory(chains=(5, 0), coordinates=[2, 0], start=4, stop=40, every=2)
    assert part.times.tolist() == [6, 12, 18, 24, 30, 36]
    np.testing.assert_array_equal(part.values, whole.values[[2, 0]][:, 2:13:2][:, :, [2, 0]])
    sliced = found.trajectory(coordinates=slice(None, None, 2), stop=9)
    np.testing.assert_array_equal(sliced.values, whole.values[:, :4, ::2])
    assert found.trajectory("loss", chains=1).values[0, :, 0].tolist() == [
        s / 8 for s in range(0, 60, 3)
    ]


def test_labels_follow_the_coordinates(tmp_path: Path) -> None:
    make(tmp_path / "run", labels=["x", "y", "z"])
    found = fs.open_run(tmp_path / "run")
    assert found.trajectory().names == ("x", "y", "z")
    assert found.trajectory(coordinates=[2, 1]).names == ("z", "y")
    assert found.trajectory("loss").names == ()


def test_unequal_chains_are_refused_and_the_remedy_keeps_the_common_steps(tmp_path: Path) -> None:
    make(tmp_path / "run", range(0, 40, 2))
    make(tmp_path / "run", range(0, 30, 3), chain=1)
    found = fs.open_run(tmp_path / "run")
    words = r'chain 0 has 20 from 0 to 38, chain 1 has 10 from 0 to 27; pass `unequal="truncate"`'
    with pytest.raises(RecordError, match=words):
        found.trajectory()
    common = found.trajectory(unequal="truncate")
    assert common.times.tolist() == [0, 6, 12, 18, 24]
    np.testing.assert_array_equal(common.values[1, 3], value(1, 18))
    assert found.trajectory(chains=[1]).draws == 10
    assert found.trajectory(start=1, stop=5, unequal="truncate", chains=[0]).draws == 2
    with pytest.raises(RecordError, match="no step in common"):
        found.trajectory(start=1, stop=5, unequal="truncate")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: r.trajectory("speed"), "no stream 'speed'; it has: weights, loss"),
        (lambda r: r.trajectory(chains=[3]), "no chain 3; it has: 0"),
        (lambda r: r.trajectory(chains=[0, 0]), "names one twice"),
        (lambda r: r.trajectory(start=100), "chain 0 runs from step 0 to 11"),
        (lambda r: r.trajectory(coordinates=[3]), "must lie in 0 to 2, got 3 to 3"),
        (lambda r: r.trajectory(coordinates=[-1]), "must lie in 0 to 2"),
        (lambda r: r.trajectory(coordinates=[0.5]), "whole numbers or a slice"),
        (lambda r: r.trajectory(coordinates=[]), "whole numbers or a slice"),
        (lambda r: r.trajectory(coordinates=slice(9, 10)), "whole numbers or a slice"),
        (lambda r: r.trajectory(every=0), "every"),
        (lambda r: r.trajectory(unequal="pad"), "unequal"),
        (lambda r: r.array("weights", 1), "no chain 1"),
        (lambda r: r.steps("0"), "no chain '0'"),
        (lambda r: r.attachment("curvature"), "there are: none; add it with"),
        (lambda r: r.attachment("../run"), "letters, digits and underscores"),
    ],
)
def test_refuses_what_the_run_does_not_have(run: Path, call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(fs.open_run(run))


# --- divergence --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_divergence_is_found_named_and_read_around(tmp_path: Path, bad: float) -> None:
    make(tmp_path / "run", range(0, 50, 10))
    with Recorder(tmp_path / "run", parameters=3, streams={"loss": 1}, chain=4) as recorder:
        for step in range(0, 50, 10):
            w = value(4, step)
            w[1] = bad if step >= 30 else w[1]
            recorder.record(step, w, loss=bad if step >= 20 else 1.0)
    found = fs.open_run(tmp_path / "run")
    assert found.status is RunStatus.DIVERGED
    assert not found.status.ok
    assert found.divergence == module.Divergence(4, 20, "loss")
    words = r"chain 4 is NaN or infinite at time 30 in stream 'weights', and 1 of 2 .* `stop=20`"
    with pytest.raises(RecordError, match=words):
        found.trajectory()
    assert found.trajectory(stop=20).draws == 3
    assert found.trajectory(chains=[0]).draws == 5
    with pytest.raises(RecordError, match="nothing before is finite"):
        found.trajectory(start=30)


def test_huge_finite_numbers_are_no_divergence(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", parameters=2, dtype="float64") as recorder:
        for step in range(3):
            recorder.record(step, [1e308, 1e308])
    found = fs.open_run(tmp_path / "run")
    assert found.status is RunStatus.CLOSED
    assert found.trajectory().values.max() == 1e308


def test_what_overflows_in_single_precision_is_a_divergence(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", parameters=2) as recorder:
        recorder.record(0, [1e300, 0.0])
    assert fs.open_run(tmp_path / "run").divergence == module.Divergence(0, 0, "weights")


# --- check sums and hashes ---------------------------------------------------------------------


@pytest.mark.parametrize("width", [3, 2_000])
def test_every_changed_bit_is_found(tmp_path: Path, width: int, seed: int) -> None:
    """Rows of both kinds of check sum; a changed row of the step, the marks or the numbers."""
    run = make(tmp_path / "run", range(5), width=width)
    content = bytearray((run / ROWS).read_bytes())
    rng = np.random.default_rng(seed)
    places = {*range(0, HEAD), *rng.integers(0, len(content), 60).tolist(), len(content) - 1}
    for place in places:
        changed = content.copy()
        changed[place] ^= 1 << int(rng.integers(8))
        (run / ROWS).write_bytes(changed)
        with pytest.raises(RecordError, match=r"1 of 5 rows differ .* first is row"):
            fs.open_run(run).verify()
    (run / ROWS).write_bytes(content)
    assert fs.open_run(run).verify() == 5


@pytest.mark.twin
def test_a_check_sum_that_leaves_the_numbers_out_is_caught(run: Path, monkeypatch) -> None:
    from fracsde.records._store import sums

    content = bytearray((run / ROWS).read_bytes())
    content[HEAD + 1] ^= 1
    (run / ROWS).write_bytes(content)
    monkeypatch.setattr(sums, "stamps_of", lambda rows: rows[:, 8:16].view("<u8")[:, 0])
    assert fs.open_run(run).verify() == 12


@pytest.mark.parametrize("width", [16, 8_192])
def test_rows_of_zeros_never_carry_their_check_sum(width: int) -> None:
    assert (stamps_of(np.zeros((2, width), dtype=np.uint8)) != 0).all()


def test_verify_sees_changed_directions_and_attachments(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", parameters=9, observe=RandomProjection(2)) as recorder:
        recorder.record(0, np.ones(9))
        recorder.attach("curvature", hessian=np.eye(3))
    (name,) = (tmp_path / "run").glob("observation-*.npy")
    for path in (name, tmp_path / "run/attachments/curvature.npz"):
        content = path.read_bytes()
        place = content.index(np.ones(1).tobytes()) if path is not name else len(content) - 3
        path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
        with pytest.raises(RecordError, match=r"damaged"):
            fs.open_run(tmp_path / "run").verify()
        path.write_bytes(content)
    assert fs.open_run(tmp_path / "run").verify() == 1


def test_the_hash_is_that_of_the_content_however_it_was_written(tmp_path: Path) -> None:
    make(tmp_path / "a", range(10))
    make(tmp_path / "b", range(4))
    assert fs.open_run(tmp_path / "a").content_hash() != fs.open_run(tmp_path / "b").content_hash()
    make(tmp_path / "b", range(4, 10))
    (tmp_path / "b/.left.over.new").write_bytes(b"x")
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    hashes = {fs.open_run(tmp_path / name).content_hash() for name in "abc"}
    assert len(hashes) == 1
    make(tmp_path / "c", range(0), metadata={"note": "other"})
    assert fs.open_run(tmp_path / "c").content_hash() not in hashes


# --- folders from anywhere ---------------------------------------------------------------------


def changed_header(run: Path, **changes: object) -> None:
    header = json.loads((run / "run.json").read_text())
    for key, value_ in changes.items():
        place, last = header, key.split("__")
        for part in last[:-1]:
            place = place[int(part) if part.isdigit() else part]
        name = last[-1]
        if value_ is ...:
            del place[name]
        else:
            place[name] = value_
    (run / "run.json").write_text(json.dumps(header))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "something"}, "not the header of a run"),
        ({"version": 2}, "version 2, this fracsde reads version 1; install a newer"),
        ({"version": "one"}, "record the run again"),
        ({"parameters": 0}, "`parameters` must be an integer"),
        ({"parameters": 10**40}, "`parameters` must be an integer"),
        ({"parameters": True}, "`parameters` must be an integer"),
        ({"parameters": 2}, "of at most 2 numbers"),
        ({"parameters": 4}, "all 4 parameters are kept"),
        ({"streams": ...}, "'streams' is missing"),
        ({"streams": []}, "1 to 32 streams, got 0"),
        ({"streams": 7}, "damaged"),
        ({"streams": [None]}, "damaged"),
        ({"streams__0__width": 10**30}, "more than a row can hold"),
        ({"streams__0__width": -3}, "`width` must be a whole number"),
        ({"streams__0__width": 1.5}, "`width` must be a whole number"),
        ({"streams__1__width": 2**36}, "truncated or changed"),
        ({"streams__1__width": 2**38}, "more than a row can hold"),
        ({"streams__0__dtype": "object"}, "`dtype` must be one of"),
        ({"streams__0__dtype": ["float32"]}, "`dtype` must be one of"),
        ({"streams__0__name": "../../etc/passwd"}, "letters, digits and underscores"),
        ({"streams__0__name": "loss"}, "two streams have one name"),
        ({"streams__0__labels": "abc"}, "must be a list"),
        ({"streams__0__unit": 3}, "must be text"),
        ({"observation": []}, "missing or of the wrong kind"),
        ({"observation__kind": "everything"}, "observation kind must be one of"),
        ({"observation__file": "/etc/passwd"}, "cannot have the file"),
        ({"observation__kind": "projection"}, "cannot have the file"),
        ({"observation__made_by": 3}, "must be a mapping"),
        ({"clock": "time"}, "stream 'time', which the run does not have"),
        ({"clock": "sundial"}, "clock must be one of"),
    ],
)
def test_a_hostile_header_is_refused_by_name(run: Path, changes, words: str) -> None:
    changed_header(run, **changes)
    with pytest.raises(RecordError, match=words):
        fs.open_run(run)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged or no file of a run"),
        (b"\x80\x04pickle", "damaged or no file of a run"),
        (b"[" * 200_000, "damaged or no file of a run"),
        (b'{"a": ' * 100_000, "damaged or no file of a run"),
        (b'{"parameters": ' + b"9" * 10_000 + b"}", "damaged or no file of a run"),
        (b'{"parameters": NaN}', "NaN is no JSON"),
        (b"[1, 2]", "list where a mapping belongs"),
        (b"{}", "not the header of a run"),
    ],
)
def test_a_file_that_is_no_header_is_refused(run: Path, content: bytes, words: str) -> None:
    (run / "run.json").write_bytes(content)
    with pytest.raises(RecordError, match=words):
        fs.open_run(run)


def test_a_header_too_long_to_be_one_is_not_read(run: Path) -> None:
    os.truncate(run / "run.json", 2**40)
    with pytest.raises(RecordError, match="no header of a run"):
        fs.open_run(run)


@pytest.mark.parametrize(
    "name", ["run.json", "metadata.json", ROWS, "chains/chain-000000/chain.json"]
)
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_nothing_but_ordinary_files_is_opened(run: Path, name: str, kind: str) -> None:
    path, elsewhere = run / name, run.parent / "secret"
    if path.exists():
        path.rename(elsewhere)
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(RecordError, match="where a run has an ordinary file"):
        fs.open_run(run)
    if name != "run.json" or kind != "link":
        with pytest.raises((RecordError, FileWriteError)):
            make(run, range(12, 13), metadata={"a": 1})


@pytest.mark.parametrize("name", ["chains", "chains/chain-000000"])
def test_links_to_folders_are_not_followed(run: Path, name: str) -> None:
    (run / name).rename(run.parent / "elsewhere")
    (run / name).symlink_to(run.parent / "elsewhere")
    for call in (lambda: fs.open_run(run), lambda: make(run, range(12, 13))):
        with pytest.raises(RecordError, match="a symbolic link where a run has a folder"):
            call()


def test_rows_of_another_run_are_refused(opened: Path) -> None:
    (opened / ROWS).write_bytes(os.urandom(4096))
    with pytest.raises(RecordError, match=r"no row that fits `run\.json`"):
        fs.open_run(opened)


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_closed_chain_that_was_truncated_or_grew_is_refused(run: Path, size: int) -> None:
    os.truncate(run / ROWS, size)
    with pytest.raises(RecordError, match=r"was closed with 12 rows .* truncated or changed"):
        fs.open_run(run)


def test_steps_that_do_not_increase_are_refused(run: Path) -> None:
    content = bytearray((run / ROWS).read_bytes())
    content[3 * 48 : 3 * 48 + 8] = (1).to_bytes(8, "little")
    (run / ROWS).write_bytes(content)
    with pytest.raises(RecordError, match=r"row 3 has step 1, and steps increase"):
        fs.open_run(run).trajectory()


@pytest.mark.parametrize(
    "content",
    [b"[]", b'{"closed": 1}', b'{"closed": true, "rows": -1, "metadata": {}, "schedule": {}}'],
)
def test_a_damaged_state_of_a_chain_is_refused(run: Path, content: bytes) -> None:
    (run / ROWS).with_name("chain.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"chain.json is damaged"):
        fs.open_run(run)


def test_places_that_are_no_run_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for path, words in [
        (tmp_path / "empty", "has no `run.json`"),
        (tmp_path / "file", "is no folder"),
        (tmp_path / "nothing", "is no folder"),
        ("a\0b", "not the folder of a run"),
        (3, "not the folder of a run"),
    ]:
        with pytest.raises(RecordError, match=words):
            fs.open_run(path)


def test_chains_under_odd_names_are_refused_or_passed_over(run: Path) -> None:
    (run / "chains/notes").mkdir()
    assert fs.open_run(run).chains == (0,)
    (run / "chains/chain-00000007").mkdir()
    with pytest.raises(RecordError, match="chain 7 under a wrong name"):
        fs.open_run(run)


class Evil:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("/tmp/unpickled-by-fracsde",)


@pytest.mark.parametrize(
    "damage",
    ["pickled", "missing", "shape", "kind", "huge", "text", "truncated", "link"],
)
def test_hostile_directions_are_refused_and_never_unpickled(tmp_path: Path, damage: str) -> None:
    with Recorder(tmp_path / "run", parameters=9, observe=Projection(np.eye(9)[:, :2])) as recorder:
        recorder.record(0, np.ones(9))
    (path,) = (tmp_path / "run").glob("observation-*.npy")
    good = path.read_bytes()
    path.unlink()
    if damage == "pickled":
        np.save(path, np.array([Evil()], dtype=object), allow_pickle=True)
    elif damage == "shape":
        np.save(path, np.ones((8, 2), dtype="float32"))
    elif damage == "kind":
        np.save(path, np.ones((9, 2), dtype="int32"))
    elif damage == "huge":
        path.write_bytes(good.replace(b"(9, 2)", b"(9999999999999, 2)"))
    elif damage == "text":
        path.write_bytes(b"hello")
    elif damage == "truncated":
        path.write_bytes(good[:-1])
    elif damage == "link":
        (tmp_path / "real").write_bytes(good)
        path.symlink_to(tmp_path / "real")
    with pytest.raises(RecordError):
        _ = fs.open_run(tmp_path / "run").observation.directions
    assert not os.path.exists("/tmp/unpickled-by-fracsde")


def test_hostile_indices_are_refused(tmp_path: Path) -> None:
    from fracsde.recording import Coordinates

    with Recorder(tmp_path / "run", parameters=9, observe=Coordinates([1, 2])) as recorder:
        recorder.record(0, np.ones(9))
    (path,) = (tmp_path / "run").glob("observation-*.npy")
    np.save(path, np.array([1, 9]))
    with pytest.raises(RecordError, match="outside 0 to 8"):
        _ = fs.open_run(tmp_path / "run").observation.indices


@pytest.mark.parametrize(
    "damage", ["pickled", "bomb", "lying", "text", "truncated", "link", "name"]
)
def test_hostile_attachments_are_refused_and_never_unpickled(run: Path, damage: str) -> None:
    (run / "attachments").mkdir()
    path = run / "attachments/curvature.npz"
    if damage == "pickled":
        np.savez(path, hessian=np.array([Evil()], dtype=object))
    elif damage == "bomb":
        np.savez_compressed(path, hessian=np.zeros(10**6))
    elif damage == "lying":
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }"
        with zipfile.ZipFile(path, "w") as archive:
            length = len(header).to_bytes(2, "little")
            archive.writestr("hessian.npy", b"\x93NUMPY\x01\x00" + length + header + b"1234")
    elif damage == "text":
        path.write_bytes(b"hello")
    elif damage == "name":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../../x.npy", b"")
    else:
        np.savez(path, hessian=np.eye(3))
        if damage == "truncated":
            path.write_bytes(path.read_bytes()[:-40])
        else:
            path.rename(run.parent / "real.npz")
            path.symlink_to(run.parent / "real.npz")
    with pytest.raises(RecordError):
        fs.open_run(run).attachment("curvature")
    assert not os.path.exists("/tmp/unpickled-by-fracsde")


# --- export ------------------------------------------------------------------------------------


@pytest.fixture
def rich(tmp_path: Path) -> module.StoredRun:
    for chain in (0, 2):
        with Recorder(
            tmp_path / "rich",
            parameters=40,
            observe=RandomProjection(3, seed=1, form="disjoint"),
            streams={"loss": 1},
            chain=chain,
            metadata={"training": {"learning_rate": 0.1}},
        ) as recorder:
            for step in range(0, 70, 10):
                recorder.record(step, np.full(40, step + chain), loss=step)
            recorder.attach("curvature", hessian=np.eye(3), names=np.array(["é", "b"]))
    return fs.open_run(tmp_path / "rich")


def check_export(run: module.StoredRun, read) -> None:
    for chain in run.chains:
        np.testing.assert_array_equal(read(f"chain{chain}", "steps"), run.steps(chain))
        for name in run.streams:
            found = read(f"chain{chain}", name)
            assert found.dtype == run.streams[name].dtype
            np.testing.assert_array_equal(found, run.array(name, chain))
    np.testing.assert_array_equal(read("observation", "directions"), run.observation.directions)
    np.testing.assert_array_equal(read("attachment_curvature", "hessian"), np.eye(3))


def test_exports_numpys_archive(rich, tmp_path: Path) -> None:
    path = rich.export(tmp_path / "out.npz")
    with np.load(path, allow_pickle=False) as found:
        check_export(rich, lambda group, name: found[f"{group}_{name}"])
        head = json.loads(str(found["header"]))
    assert head["metadata"] == {"training": {"learning_rate": 0.1}}
    assert head["run"]["parameters"] == 40


def test_exports_hdf5(rich, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(rich.export(tmp_path / "out.h5", format="hdf5")) as found:
        check_export(rich, lambda group, name: found[group][name][...])
        assert json.loads(found.attrs["metadata"]) == dict(rich.metadata)
        assert json.loads(found["attachment_curvature"].attrs["names"]) == ["é", "b"]


def test_exports_zarr(rich, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    found = zarr.open_group(str(rich.export(tmp_path / "out.zarr", format="zarr")), mode="r")
    check_export(rich, lambda group, name: found[group][name][...])
    assert json.loads(found.attrs["metadata"]) == dict(rich.metadata)
    assert json.loads(found["attachment_curvature"].attrs["names"]) == ["é", "b"]


@pytest.mark.parametrize(("format_", "package"), [("hdf5", "h5py"), ("zarr", "zarr")])
def test_an_absent_package_is_named_with_its_extra(rich, tmp_path, monkeypatch, format_, package):
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendUnavailable, match=rf"needs {package}, .* 'fracsde\[store\]'"):
        rich.export(tmp_path / "out", format=format_)
    assert not list(tmp_path.glob("*out*"))


def test_an_export_overwrites_nothing_and_leaves_nothing_when_it_fails(
    rich, tmp_path: Path, monkeypatch
) -> None:
    rich.export(tmp_path / "out.npz")
    with pytest.raises(FileWriteError, match="it exists, and nothing is overwritten"):
        rich.export(tmp_path / "out.npz")
    with pytest.raises(InputError, match="format"):
        rich.export(tmp_path / "other", format="csv")

    def full(file, **arrays):
        file.write(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(FileWriteError, match=r"No space left .* the run is unchanged"):
        rich.export(tmp_path / "other.npz")
    assert not [path for path in tmp_path.iterdir() if "other" in path.name]
