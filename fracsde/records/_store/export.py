"""A run in formats that other programs read: NumPy's archive, HDF5 and Zarr.

Two levels: a group for each chain, for the observation and for each attachment, and arrays in
it.  Header and metadata are JSON text.  Everything is written beside its place and moved there
when it is whole.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._files import place_of
from fracsde.errors import BackendUnavailable, FileWriteError
from fracsde.records._store.places import exists, sync_folder, writing
from fracsde.records._store.rows import block_length

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = Mapping[tuple[str, ...], NDArray[Any]]

__all__ = ["write_export"]


def write_export(
    path: str | os.PathLike[str], kind: str, head: Mapping[str, Any], arrays: Arrays
) -> Path:
    """Write arrays in groups.

    Parameters
    ----------
    path : path-like
        Where to.
    kind : {"npz", "hdf5", "zarr"}
        Format.
    head : mapping
        Plain JSON types.
    arrays : mapping of (group, name) to ndarray
        The arrays.

    Returns
    -------
    Path

    Raises
    ------
    FileWriteError
        If there is something already, or the system refuses.
    """
    write: Callable[[Path, Mapping[str, Any], Arrays], None] = {
        "npz": _npz,
        "hdf5": _hdf5,
        "zarr": _zarr,
    }[kind]
    target = place_of(path)
    if exists(target):
        msg = (
            f"cannot write {str(target)!r}: it exists, and nothing is overwritten; remove it first"
        )
        raise FileWriteError(msg)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    with writing(target, "the run is unchanged"):
        try:
            write(fresh, head, arrays)
            fresh.rename(target)
        finally:
            _remove(fresh)
        sync_folder(target.parent)
    return target


def _npz(path: Path, head: Mapping[str, Any], arrays: Arrays) -> None:
    named: dict[str, Any] = {"_".join(key): array for key, array in arrays.items()}
    with path.open("xb") as file:
        np.savez(file, allow_pickle=False, header=np.array(json.dumps(head)), **named)
        file.flush()
        os.fsync(file.fileno())


def _hdf5(path: Path, head: Mapping[str, Any], arrays: Arrays) -> None:
    h5py = _needed("h5py")
    with h5py.File(path, "x") as file:
        for key, value in head.items():
            file.attrs[key] = json.dumps(value)
        for (group, name), array in arrays.items():
            home = file.require_group(group)
            if array.dtype.kind == "U":
                home.attrs[name] = json.dumps(array.tolist())
                continue
            _fill(home.create_dataset(name, shape=array.shape, dtype=array.dtype), array)
    with path.open("rb") as whole:
        os.fsync(whole.fileno())


def _zarr(path: Path, head: Mapping[str, Any], arrays: Arrays) -> None:
    zarr = _needed("zarr")
    root = zarr.open_group(str(path), mode="w")
    for key, value in head.items():
        root.attrs[key] = json.dumps(value)
    for (group, name), array in arrays.items():
        home = root.require_group(group)
        if array.dtype.kind == "U":
            home.attrs[name] = json.dumps(array.tolist())
            continue
        chunks = array.shape
        if array.ndim:
            chunks = (max(1, min(len(array), block_length(array))), *array.shape[1:])
            chunks = tuple(max(1, length) for length in chunks)
        _fill(home.create_array(name, shape=array.shape, dtype=array.dtype, chunks=chunks), array)


def _fill(into: Any, array: NDArray[Any]) -> None:
    """Copy block by block: a run need not fit into memory."""
    if array.ndim == 0:
        into[...] = array
        return
    step = block_length(array)
    for start in range(0, len(array), step):
        into[start : start + step] = np.ascontiguousarray(array[start : start + step])


def _needed(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        msg = (
            f"this format needs {package}, which is not installed; pip install 'fracsde[store]', "
            'or export with `format="npz"`'
        )
        raise BackendUnavailable(msg) from error


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
