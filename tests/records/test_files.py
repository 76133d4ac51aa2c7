"""Files of measurements, predictions and matrices: nothing is lost, and nothing is run."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import io, sparse

from fracsde.errors import BackendUnavailable, FileWriteError, InputError, RecordError
from fracsde.records import Measurement, Prediction, Quantity
from fracsde.records.files import (
    read_matrix,
    read_measurements,
    read_predictions,
    write_measurements,
    write_predictions,
)

if TYPE_CHECKING:
    from pathlib import Path

QUANTITY = Quantity(name="stationary variance", unit="weight^2", labels=("e1", "é, 2"))
AWKWARD = np.array([1.0 / 3.0, 5e-324])
MEASURED = Measurement(
    quantity=QUANTITY, value=AWKWARD, stderr=[0.1, 1e300], n_effective=[2.0, np.nextafter(9, 10)]
)
PREDICTED = Prediction(
    quantity=QUANTITY,
    value=AWKWARD,
    numerical_error=[0.0, 1e-320],
    theory="map",
    scale=[1.0, np.pi],
)


def same(one: Any, other: Any) -> bool:
    names = [n for n in ("value", "stderr", "n_effective", "numerical_error", "relative_to")]
    held = [n for n in names if hasattr(one, n)]
    return one.quantity == other.quantity and all(
        np.array_equal(getattr(one, n), getattr(other, n)) for n in held
    )


def test_measurements_come_back_bit_for_bit(tmp_path: Path) -> None:
    single = Measurement(quantity=Quantity(name="loss"), value=0.1, stderr=0.2, n_effective=3)
    write_measurements(tmp_path / "m.json", [MEASURED, single], about={"run": "a"})
    again = read_measurements(tmp_path / "m.json")
    assert [same(a, b) for a, b in zip(again, (MEASURED, single), strict=True)] == [True, True]
    assert again[0].method == MEASURED.method


def test_predictions_come_back_bit_for_bit(tmp_path: Path) -> None:
    plain = Prediction(quantity=Quantity(name="loss"), value=-0.1, numerical_error=0)
    write_predictions(tmp_path / "p.json", (PREDICTED, plain))
    again = read_predictions(tmp_path / "p.json")
    assert same(again[0], PREDICTED)
    assert same(again[1], plain)
    assert again[1].scale is None
    assert again[0].theory == "map"


def damaged(change: Any) -> bytes:
    content = {
        "schema": {"name": "fracsde measurements", "version": 1},
        "about": {},
        "measurements": [
            {
                "name": "x", "unit": "1", "labels": [], "value": [1.0], "stderr": [0.1],
                "n_effective": [9.0], "method": "",
            }
        ],
    }  # fmt: skip
    change(content)
    return json.dumps(content).encode()


def at_first(name: str, value: Any) -> Any:
    return lambda content: content["measurements"][0].__setitem__(name, value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "truncated or foreign"),
        (damaged(lambda c: None)[:-20], "truncated or foreign"),
        (b"[1, 2]", "holds a list"),
        (b"\xff\xfe\x00", "truncated or foreign"),
        (b"[" * 100_000, "truncated or foreign"),
        (b'{"a": 1}', "does not say what it holds"),
        (b'{"schema": "fracsde measurements"}', "does not say what it holds"),
        (damaged(lambda c: c["schema"].update(name="fracsde predictions")), "predictions"),
        (damaged(lambda c: c["schema"].update(version=2)), "install the fracsde that wrote it"),
        (damaged(lambda c: c.update(measurements=[])), "not empty"),
        (damaged(lambda c: c.update(measurements={"a": 1})), "must be a list"),
        (damaged(lambda c: c["measurements"].append(3)), "entry 1 is no object"),
        (damaged(lambda c: c["measurements"][0].pop("stderr")), "lacks 'stderr'"),
        (damaged(at_first("colour", "red")), "unknown 'colour'"),
        (damaged(at_first("name", 3)), "must be words"),
        (damaged(at_first("labels", [3])), "must be words"),
        (damaged(at_first("value", "1.0")), "'x'.*real numbers"),
        (damaged(at_first("value", [1.0, 2.0])), "1 entries"),
        (damaged(at_first("stderr", [0.0])), "must be positive"),
        (damaged(at_first("n_effective", [1.0])), "at least 2"),
        (damaged(at_first("value", [float("nan")])), "must be finite"),
        (damaged(at_first("name", "")), "needs a name"),
    ],
)
def test_refuses_foreign_truncated_and_hostile_files(
    content: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=words) as caught:
        read_measurements(path)
    assert "m.json" in str(caught.value)


def test_refuses_a_file_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="No such file"):
        read_measurements(tmp_path / "nothing.json")
    with pytest.raises(RecordError, match="cannot read"):
        read_predictions(tmp_path)


def test_refuses_to_write_nothing_and_foreign_things(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to write"):
        write_measurements(tmp_path / "m.json", [])
    with pytest.raises(InputError, match="must be Measurements, got Prediction"):
        write_measurements(tmp_path / "m.json", [PREDICTED])
    with pytest.raises(InputError, match="plain JSON"):
        write_measurements(tmp_path / "m.json", MEASURED, about={"what": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    write_measurements(tmp_path / "m.json", MEASURED)
    before = (tmp_path / "m.json").read_bytes()
    with pytest.raises(InputError):
        write_measurements(tmp_path / "m.json", MEASURED, about={"what": object()})
    assert (tmp_path / "m.json").read_bytes() == before
    with pytest.raises(FileWriteError, match="cannot write"):
        write_measurements(tmp_path / "no" / "m.json", MEASURED)


MATRIX = np.array([[1.0 / 3.0, 2.0], [2.0, -1e-300]])


def write(path: Path) -> Path:
    writers = {
        ".npy": lambda: np.save(path, MATRIX),
        ".npz": lambda: np.savez(path, H=MATRIX),
        ".mat": lambda: io.savemat(path, {"H": MATRIX}),
        ".csv": lambda: np.savetxt(path, MATRIX, delimiter=",", fmt="%.17g"),
        ".txt": lambda: np.savetxt(path, MATRIX, fmt="%.17g"),
    }
    writers[path.suffix]()
    return path


@pytest.mark.parametrize("kind", [".npy", ".npz", ".mat", ".csv", ".txt"])
def test_a_matrix_comes_back_from_every_format(kind: str, tmp_path: Path) -> None:
    assert np.array_equal(read_matrix(write(tmp_path / f"H{kind}")), MATRIX)


def test_a_key_chooses_among_several(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "both.npz", H=MATRIX, C=2 * MATRIX)
    io.savemat(tmp_path / "both.mat", {"H": MATRIX, "C": sparse.csc_matrix(2 * MATRIX)})
    for name in ("both.npz", "both.mat"):
        assert np.array_equal(read_matrix(tmp_path / name, "C"), 2 * MATRIX)
        with pytest.raises(RecordError, match=r"holds 'H', 'C': say which"):
            read_matrix(tmp_path / name)
        with pytest.raises(RecordError, match=r"no array 'K'; it holds 'H', 'C'"):
            read_matrix(tmp_path / name, "K")


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def hostile(path: Path, trap: Path) -> None:
    objects = np.empty(1, dtype=object)
    objects[0] = _Trap(trap)
    if path.suffix == ".npy":
        np.save(path, objects, allow_pickle=True)
    else:
        np.savez(path, H=objects)


@pytest.mark.parametrize("kind", [".npy", ".npz"])
def test_nothing_is_unpickled(kind: str, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    hostile(tmp_path / f"H{kind}", trap)
    with pytest.raises(RecordError, match="cannot read"):
        read_matrix(tmp_path / f"H{kind}")
    assert not trap.exists()
    bare = tmp_path / "bare.npy"
    bare.write_bytes(pickle.dumps(_Trap(trap)))
    with pytest.raises(RecordError, match="cannot read") as caught:
        read_matrix(bare)
    assert "allow_pickle" not in str(caught.value)  # no advice to load it unsafely
    with pytest.raises(RecordError, match="Python objects, which are never unpickled"):
        read_matrix(tmp_path / f"H{kind}")
    assert not trap.exists()


@pytest.mark.parametrize("kind", [".npy", ".npz", ".mat", ".csv"])
def test_refuses_a_truncated_matrix(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"H{kind}")
    path.write_bytes(path.read_bytes()[: 40 if kind != ".csv" else 0])
    with pytest.raises(RecordError, match=r"damaged, truncated or of another kind"):
        read_matrix(path)


@pytest.mark.parametrize("side", [50_000, 1_000_000, 10**10])  # the last overflows in NumPy
def test_a_header_that_promises_more_than_the_file_takes_no_memory(
    side: int, tmp_path: Path
) -> None:
    huge = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({side}, {side}), }}".encode()
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + huge.ljust(117) + b"\n"
    (tmp_path / "H.npy").write_bytes(header + bytes(800))
    with zipfile.ZipFile(tmp_path / "H.npz", "w") as archive:
        archive.writestr("H.npy", header + bytes(800))
    side = 10**6  # of indices of four bytes, which is what the format has
    sheet = sparse.coo_matrix(([1.0], ([0], [0])), shape=(side, side))
    io.savemat(tmp_path / "H.mat", {"H": sheet})
    for name in ("H.npy", "H.npz", "H.mat"):
        with pytest.raises(RecordError, match="cannot read"):
            read_matrix(tmp_path / name)


@pytest.mark.parametrize(
    "array", [np.ones((2, 2, 2)), np.ones((2, 2)) + 1j, np.array(["a"]), np.ones((0, 2))]
)
def test_refuses_what_is_no_matrix_of_real_numbers(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "H.npy", array)
    with pytest.raises(RecordError, match="a matrix or a vector of real numbers"):
        read_matrix(tmp_path / "H.npy")


def test_refuses_matlab_files_of_version_7_3_and_structures(tmp_path: Path) -> None:
    (tmp_path / "new.mat").write_bytes(bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(RecordError, match=r"'-v7'"):
        read_matrix(tmp_path / "new.mat")
    io.savemat(tmp_path / "cells.mat", {"H": {"inside": MATRIX}})
    with pytest.raises(RecordError, match="a cell, a structure or an object"):
        read_matrix(tmp_path / "cells.mat")


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("missing.npy", None, "no such file"),
        ("matrix.pkl", None, "must be one of .npy"),
        ("matrix", None, "no suffix"),
        ("folder.npy", None, "it is a folder"),
        ("H.npy", "C", "without a name"),
    ],
)
def test_refuses_other_files(name: str, key: str | None, words: str, tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    np.save(tmp_path / "H.npy", MATRIX)
    with pytest.raises(RecordError, match=words):
        read_matrix(tmp_path / name, key)


@pytest.mark.skipif(find_spec("zarr") is not None, reason="zarr is installed")
def test_says_what_zarr_needs(tmp_path: Path) -> None:
    (tmp_path / "H.zarr").mkdir()
    with pytest.raises(BackendUnavailable, match=r"fracsde\[store\]"):
        read_matrix(tmp_path / "H.zarr")


def test_reads_zarr(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.save_array(str(tmp_path / "H.zarr"), MATRIX)
    assert np.array_equal(read_matrix(tmp_path / "H.zarr"), MATRIX)


def test_a_small_archive_of_a_huge_matrix_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fracsde.records._matrix_files._FREE", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", H=np.zeros((1000, 1000)))
    with pytest.raises(RecordError, match="as no matrix of numbers is"):
        read_matrix(tmp_path / "bomb.npz")
    rng = np.random.default_rng(0)
    np.savez_compressed(tmp_path / "H.npz", H=rng.normal(size=(400, 400)))
    assert read_matrix(tmp_path / "H.npz").shape == (400, 400)


@pytest.mark.parametrize("read", [read_matrix, read_predictions, read_measurements])
def test_a_pipe_is_refused_and_not_waited_for(read: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(RecordError, match=r"no ordinary file|a pipe or a device"):
        read(tmp_path / "pipe.npy")
    (tmp_path / "endless.npy").symlink_to("/dev/zero")
    with pytest.raises(RecordError, match=r"no ordinary file|a pipe or a device"):
        read(tmp_path / "endless.npy")


HEADERS = (b"{'descr': '<f8', (((", b"'''abc", b"\\", b"(" * 5000, b"-" * 9000 + b"1", b"[1, 2]",
           b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4), }")  # fmt: skip


@pytest.mark.parametrize("text", HEADERS, ids=range(len(HEADERS)))
@pytest.mark.parametrize("kind", [".npy", ".npz"])
def test_a_header_that_no_parser_likes_is_damage(kind: str, text: bytes, tmp_path: Path) -> None:
    head = b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text + b"\n"
    path = tmp_path / f"H{kind}"
    if kind == ".npy":
        path.write_bytes(head + bytes(64))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("H.npy", head + bytes(64))
    with pytest.raises(RecordError, match="damaged, truncated or of another kind"):
        read_matrix(path)


def test_a_matlab_file_of_zeros_and_a_torn_compressed_archive_are_damage(tmp_path: Path) -> None:
    (tmp_path / "H.mat").write_bytes(bytes(300))
    np.savez_compressed(tmp_path / "H.npz", H=np.random.default_rng(0).normal(size=(50, 50)))
    raw = bytearray((tmp_path / "H.npz").read_bytes())
    raw[2000:2100] = bytes(100)
    (tmp_path / "H.npz").write_bytes(raw)
    for name in ("H.mat", "H.npz"):
        with pytest.raises(RecordError, match="damaged, truncated or of another kind"):
            read_matrix(tmp_path / name)
