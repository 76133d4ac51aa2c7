"""Arrays kept beside a run, one ``.npz`` file per name; never unpickled, never decompressed."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fracsde.errors import RecordError
from fracsde.records._array_header import array_header
from fracsde.records._store.layout import checked_name
from fracsde.records._store.places import exists, folder, replace_whole, size_of, writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["add_array", "attach", "attached", "attachment_names"]


def attachment_names(run: Path) -> tuple[str, ...]:
    """Return the names of what is attached to a run, sorted.

    Returns
    -------
    tuple of str
    """
    home = run / "attachments"
    if not exists(home):
        return ()
    folder(home)
    names = [entry.name for entry in home.iterdir()]
    return tuple(sorted(n[:-4] for n in names if n.endswith(".npz") and not n.startswith(".")))


def attach(run: Path, name: str, arrays: Mapping[str, Any], mark: str) -> None:
    """Attach arrays, in the place of what had the name before.

    Parameters
    ----------
    run : Path
        Folder of the run.
    name : str
        Name of the attachment.
    arrays : mapping of str to array_like
        The arrays.
    mark : str
        Names the one writer that this call is.

    Raises
    ------
    RecordError
        If there are none, a name is not plain, or one holds objects.
    """
    checked_name("an attachment", name)
    if not arrays:
        msg = f"attachment {name!r} has no arrays; name at least one"
        raise RecordError(msg)
    plain = {checked_name("an array", key): np.asarray(value) for key, value in arrays.items()}
    for key, value in plain.items():
        if value.dtype.kind not in "biufcU":
            msg = (
                f"array {key!r} of attachment {name!r} has type {value.dtype}; attach numbers, "
                "truth values or text"
            )
            raise RecordError(msg)

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for key, value in plain.items():
                add_array(archive, key, value)

    home = run / "attachments"
    path = home / f"{name}.npz"
    with writing(path, "what was attached before is unchanged"):
        home.mkdir(exist_ok=True)
        folder(home)
        if exists(path):
            size_of(path)
        replace_whole(path, write, mark)


def add_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """Write one array into an archive as NumPy does, never pickled.

    Parameters
    ----------
    archive : ZipFile
        Open for writing.
    name : str
        Its name.
    array : ndarray
        The array.
    """
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def attached(run: Path, name: str) -> dict[str, NDArray[Any]]:
    """Read what is attached under a name.

    Parameters
    ----------
    run : Path
        Folder of the run.
    name : str
        Name of the attachment.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    RecordError
        If there is none, or the file is damaged, foreign or compressed.
    """
    checked_name("an attachment", name)
    path = run / "attachments" / f"{name}.npz"
    if not exists(path):
        have = ", ".join(attachment_names(run)) or "none"
        msg = f"nothing is attached as {name!r}; there are: {have}; add it with `Recorder.attach`"
        raise RecordError(msg)
    folder(path.parent)
    size_of(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                checked_name("an array", entry.filename.removesuffix(".npy")): _read(archive, entry)
                for entry in archive.infolist()
            }
    except RecordError as error:
        msg = f"{path} is damaged: {error}"
        raise RecordError(msg) from error
    except (
        OSError, ValueError, EOFError, SyntaxError, OverflowError, MemoryError, RuntimeError,
        zipfile.BadZipFile,
    ) as error:  # fmt: skip
        msg = f"{path} is damaged or no archive of arrays: {error}; attach it again"
        raise RecordError(msg) from error


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array, whose header must promise as many bytes as there are."""
    if entry.compress_type != zipfile.ZIP_STORED:
        msg = f"{entry.filename[:80]!r} is compressed, which a run never is"
        raise RecordError(msg)
    with archive.open(entry) as file:
        shape, dtype = array_header(file)
        promised = dtype.itemsize
        for length in shape:
            promised *= length
        if dtype.hasobject:
            msg = f"{entry.filename[:80]!r} holds Python objects, which are never unpickled"
            raise RecordError(msg)
        if promised != entry.file_size - file.tell():
            msg = f"{entry.filename[:80]!r} promises {promised} bytes that are not there"
            raise RecordError(msg)
    with archive.open(entry) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
