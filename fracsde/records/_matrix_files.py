"""Arrays from files of several formats; lengths are checked against the file before use."""

from __future__ import annotations

import zipfile
import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import io, sparse

from fracsde.errors import BackendUnavailable, RecordError
from fracsde.records._array_header import array_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["FORMATS", "arrays_in"]

FORMATS = (".npy", ".npz", ".mat", ".zarr", ".csv", ".txt")
_MOST = 1 << 35  # bytes of a matrix, as numbers of double precision
_FREE = 1 << 30  # bytes that an archive may hold however well it is compressed
_DENSE = 100  # how many times its size beyond: a matrix of numbers has not so few
_MAGIC = b"\x93NUMPY"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_OBJECTS = "it holds Python objects, which are never unpickled; save numbers"
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    io.matlab.MatReadError,
)


def arrays_in(place: Path, key: str | None) -> NDArray[Any]:
    """Read one array from a file.

    Parameters
    ----------
    place : Path
        The file.
    key : str, optional
        Which array, where there are several.

    Returns
    -------
    ndarray
        Of any type but objects.

    Raises
    ------
    RecordError
        If there is no such file or array, or it is damaged or foreign.
    """
    kind = place.suffix.lower()
    if kind not in FORMATS:
        msg = (
            f"{str(place)!r} must be one of {', '.join(FORMATS)}, got {kind or 'no suffix'}; "
            "np.save(path, array) writes the first"
        )
        raise RecordError(msg)
    if not place.exists() or (place.is_dir() and kind != ".zarr"):
        what = "it is a folder" if place.exists() else "there is no such file"
        msg = f"cannot read {str(place)!r}: {what}; name a file that holds the matrix"
        raise RecordError(msg)
    if kind != ".zarr" and not place.is_file():  # a pipe would be waited for, a device never end
        msg = f"cannot read {str(place)!r}: it is no ordinary file; name one that holds the matrix"
        raise RecordError(msg)
    if key is not None and kind in {".npy", ".csv", ".txt"}:
        msg = f"{str(place)!r} holds one array without a name, and {key!r} was asked for; drop it"
        raise RecordError(msg)
    try:
        return np.asarray(_READERS[kind](place, key))
    except RecordError:
        raise
    except _DAMAGE as error:
        msg = (
            f"cannot read {str(place)!r} as {kind}: {error}; it is damaged, truncated or of "
            "another kind: write it again"
        )
        raise RecordError(msg) from error


def _npy(place: Path, _key: str | None) -> NDArray[Any]:
    with place.open("rb") as file:
        begin = file.read(len(_MAGIC))
        if begin.startswith(b"PK"):
            msg = "it is an archive; name it .npz"
            raise ValueError(msg)
        if begin != _MAGIC:  # NumPy would advise to unpickle it
            msg = f"it begins with {begin!r} and not as np.save writes" if begin else "it is empty"
            raise ValueError(msg)
        file.seek(0)
        shape, dtype = array_header(file)
        held = place.stat().st_size - file.tell()
    if dtype.hasobject:
        raise ValueError(_OBJECTS)
    # Before NumPy, whose own product of the lengths overflows, and takes memory first.
    promised = dtype.itemsize * _entries(place.name, shape)
    if promised > held:
        msg = f"its header promises {promised} bytes where there are {held}"
        raise ValueError(msg)
    return np.asarray(np.load(place, mmap_mode="r", allow_pickle=False))


def _npz(place: Path, key: str | None) -> NDArray[Any]:
    with zipfile.ZipFile(place) as archive:
        entries = {e.filename.removesuffix(".npy"): e for e in archive.infolist()}
        name = _chosen(place, key, list(entries))
        entry = entries[name]
        with archive.open(entry) as file:
            shape, dtype = array_header(file)
            promised = dtype.itemsize * _entries(name, shape)
            held = entry.file_size - file.tell()
        if dtype.hasobject:
            raise ValueError(_OBJECTS)
        if held > max(_FREE, _DENSE * entry.compress_size):
            msg = (
                f"{name!r} is compressed from {held} bytes to {entry.compress_size}, as no matrix "
                "of numbers is; if it is one save it with np.save"
            )
            raise ValueError(msg)
        if promised != held:
            msg = f"{name!r} promises {promised} bytes where there are {held}"
            raise ValueError(msg)
        with archive.open(entry) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _mat(place: Path, key: str | None) -> NDArray[Any]:
    with place.open("rb") as file:
        head = file.read(1024)
    if _HDF5 in head:
        msg = (
            f"{str(place)!r} is a MATLAB file of version 7.3, which is HDF5; save it with "
            "save(name, 'H', '-v7'), or convert it to .npy"
        )
        raise RecordError(msg)
    name = _chosen(place, key, [row[0] for row in io.whosmat(place)])
    found = io.loadmat(place, variable_names=[name])[name]
    if sparse.issparse(found):
        _entries(name, found.shape)
        return np.asarray(found.toarray())
    array = np.asarray(found)
    if array.dtype.hasobject:
        msg = f"{name!r} is a cell, a structure or an object, not a matrix"
        raise TypeError(msg)
    return array


def _zarr(place: Path, key: str | None) -> NDArray[Any]:
    try:
        zarr: Any = import_module("zarr")
    except ImportError as error:
        msg = (
            f"reading {str(place)!r} needs zarr, which is not installed; "
            'pip install "fracsde[store]", or convert the matrix to .npy'
        )
        raise BackendUnavailable(msg) from error
    opened = zarr.open(str(place), mode="r")
    if not hasattr(opened, "dtype"):  # a group
        opened = opened[_chosen(place, key, sorted(opened.array_keys()))]
    elif key is not None:
        msg = f"{str(place)!r} holds one array, and {key!r} was asked for; drop it"
        raise RecordError(msg)
    _entries(place.name, opened.shape)
    return np.asarray(opened[...])


def _text(place: Path, _: str | None) -> NDArray[Any]:
    delimiter = "," if place.suffix.lower() == ".csv" else None
    with place.open(encoding="utf-8") as file:
        if not file.readline().strip():
            msg = "its first line is empty"
            raise ValueError(msg)
    return np.loadtxt(place, delimiter=delimiter, ndmin=2, encoding="utf-8")


def _entries(name: str, shape: Sequence[int]) -> int:
    """Return how many numbers an array holds, refusing more than any matrix."""
    count = 1
    for length in shape:
        count *= int(length)
    if not 0 <= 8 * count <= _MOST:
        msg = f"{name!r} has shape {tuple(shape)}, which is more than a matrix in memory may have"
        raise ValueError(msg)
    return count


def _chosen(place: Path, key: str | None, names: Sequence[str]) -> str:
    listed = ", ".join(map(repr, names)) or "nothing"
    if key is None and len(names) == 1:
        return names[0]
    if key is None:
        msg = f"{str(place)!r} holds {listed}: say which, as {place.name}:KEY or key='KEY'"
        raise RecordError(msg)
    if key not in names:
        msg = f"{str(place)!r} has no array {key!r}; it holds {listed}"
        raise RecordError(msg)
    return key


_READERS: dict[str, Any] = {
    ".npy": _npy,
    ".npz": _npz,
    ".mat": _mat,
    ".zarr": _zarr,
    ".csv": _text,
    ".txt": _text,
}
