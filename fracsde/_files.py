"""Files that are replaced in one step: readers see the old content or the new one, never a part."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from fracsde.errors import FileWriteError

__all__ = ["place_of", "refuse_place", "replace_file", "sibling", "write_new"]


def sibling(target: Path, kind: str) -> Path:
    """Return a hidden name beside a file that nothing else uses.

    Returns
    -------
    Path
    """
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.{kind}")


def place_of(path: str | os.PathLike[str]) -> Path:
    """Return where a file is, links followed.

    Returns
    -------
    Path

    Raises
    ------
    FileWriteError
        If the name cannot be one of a file.
    """
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # loops, homes of nobody, zero bytes
        msg = f"cannot write {os.fspath(path)!r}: {error}; choose another place"
        raise FileWriteError(msg) from error


def write_new(path: Path, content: bytes) -> None:
    """Write a file that does not exist yet and force it to disk.

    Parameters
    ----------
    path : Path
        The file.
    content : bytes
        What to write.
    """
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def refuse_place(path: str | os.PathLike[str]) -> Path:
    """Refuse a place where no file can be written, before the work that would fill it.

    Parameters
    ----------
    path : path-like
        The file; its folder must exist.

    Returns
    -------
    Path
        The resolved path.

    Raises
    ------
    FileWriteError
        If the folder does not exist or refuses new files, or the place is a folder or a device.
    """
    target = place_of(path)
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "no ordinary file"
        msg = f"cannot write {os.fspath(path)!r}: it is {kind}; name a file"
        raise FileWriteError(msg)
    trial = sibling(target, "try")
    try:
        try:
            write_new(trial, b"")
        finally:
            with suppress(OSError):
                trial.unlink(missing_ok=True)
    except OSError as error:
        raise FileWriteError(_failure(path, error)) from error
    return target


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file in one step.

    Parameters
    ----------
    path : path-like
        The file; its folder must exist.
    content : bytes
        What to write.

    Raises
    ------
    FileWriteError
        If the system refuses; the old file is intact.
    """
    target = place_of(path)
    fresh = sibling(target, "new")
    try:
        try:
            write_new(fresh, content)
            fresh.replace(target)
        finally:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
    except OSError as error:
        raise FileWriteError(_failure(path, error)) from error


def _failure(path: str | os.PathLike[str], error: OSError) -> str:
    reason = error.strerror or str(error)
    return (
        f"cannot write {os.fspath(path)!r}: {reason}; what was there before is unchanged; free "
        "some space, or choose another place"
    )
