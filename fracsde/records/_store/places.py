"""Files inside the folder of a run: ordinary ones only, made once or replaced in one step.

A folder may come from anywhere, so a link or a pipe where a file belongs is refused before it is
opened, and nothing is written through one.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from fracsde.errors import FileWriteError, RecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    import fcntl as _fcntl

    _flock: Callable[[int, int], object] | None = _fcntl.flock
except ImportError:  # systems without it do not lock
    _flock = None

__all__ = [
    "create_once",
    "exists",
    "folder",
    "lock",
    "replace_whole",
    "size_of",
    "sync_folder",
    "writing",
]


def exists(path: Path) -> bool:
    """Return whether there is anything at a place, even a link that leads nowhere.

    Returns
    -------
    bool

    Raises
    ------
    RecordError
        If the system does not say.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise RecordError(_unreadable(path, error)) from error
    return True


def run_folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder of a run that exists.

    Parameters
    ----------
    path : path-like
        The folder.

    Returns
    -------
    Path

    Raises
    ------
    RecordError
        If there is no run.
    """
    try:
        place = Path(os.fspath(path)).expanduser()
        home = place.resolve()
        is_folder = home.is_dir()
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        name: object = str(path) if isinstance(path, os.PathLike) else path
        msg = f"{name!r} is not the folder of a run: {error}; name the one a `Recorder` made"
        raise RecordError(msg) from error
    if not is_folder or not exists(home / "run.json"):
        what = "has no `run.json`" if is_folder else "is no folder"
        msg = f"{str(place)!r} {what}: name the folder that `fracsde record` or a `Recorder` made"
        raise RecordError(msg)
    return home


def size_of(path: Path) -> int:
    """Return the length of an ordinary file [byte].

    Returns
    -------
    int

    Raises
    ------
    RecordError
        If it is missing, or a link, a folder or a device.
    """
    try:
        found = path.lstat()
    except FileNotFoundError as error:
        msg = f"{path} is missing: the run is incomplete; copy its folder again, with all files"
        raise RecordError(msg) from error
    except (OSError, ValueError) as error:
        raise RecordError(_unreadable(path, error)) from error
    if not stat.S_ISREG(found.st_mode):
        msg = (
            f"{path} is {_kind(found.st_mode)} where a run has an ordinary file; it is not read or "
            "written through; put the file itself there"
        )
        raise RecordError(msg)
    return found.st_size


def folder(path: Path) -> None:
    """Refuse what is no folder inside a run.

    Raises
    ------
    RecordError
        If it is missing, a link or a file.
    """
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError) as error:
        raise RecordError(_unreadable(path, error)) from error
    if not stat.S_ISDIR(mode):
        msg = (
            f"{path} is {_kind(mode)} where a run has a folder; it is not followed; put the folder "
            "itself there"
        )
        raise RecordError(msg)


@contextmanager
def writing(path: Path, kept: str) -> Iterator[None]:
    """Turn what the system refuses inside the block into an error that says what is safe.

    Parameters
    ----------
    path : Path
        What is written.
    kept : str
        What is not lost.

    Raises
    ------
    FileWriteError
        For every refusal.
    """
    try:
        yield
    except FileWriteError:
        raise
    except OSError as error:
        refuse(path, error, kept)


def refuse(path: Path, error: OSError, kept: str) -> NoReturn:
    """Say what the system refused and what is safe.

    Parameters
    ----------
    path : Path
        What was written.
    error : OSError
        What the system said.
    kept : str
        What is not lost.

    Raises
    ------
    FileWriteError
        Always.
    """
    reason = error.strerror or str(error)
    msg = (
        f"cannot write {os.fspath(path)!r}: {reason}; {kept}; free some space or correct the "
        "permissions and go on, or choose another place"
    )
    raise FileWriteError(msg) from error


def create_once(path: Path, write: Callable[[BinaryIO], object]) -> bool:
    """Make a file in one step unless there is one: of many processes exactly one succeeds.

    Parameters
    ----------
    path : Path
        The file.
    write : callable
        Writes the content to an open file.

    Returns
    -------
    bool
        Whether this call made it.
    """
    if exists(path):
        return False
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        _write_synced(fresh, write)
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        except OSError:  # file systems without hard links
            if exists(path):
                return False
            fresh.replace(path)
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def replace_whole(path: Path, write: Callable[[BinaryIO], object], mark: str) -> None:
    """Put a file in the place of another in one step.

    Parameters
    ----------
    path : Path
        The file.
    write : callable
        Writes the content to an open file.
    mark : str
        Names the one writer that may use the name beside the file; a process killed in the
        middle leaves that name, and the next call of the writer reuses it.
    """
    fresh = path.with_name(f".{path.name}.{mark}.new")
    fresh.unlink(missing_ok=True)
    try:
        _write_synced(fresh, write)
        fresh.replace(path)
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
    sync_folder(path.parent)


def lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed or its process ends.

    Parameters
    ----------
    handle : int
        The open file.
    wait : bool
        Whether to wait for another that has it.

    Returns
    -------
    bool
        False if another has it.
    """
    if _flock is None:
        return True
    try:
        _flock(handle, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # file systems that cannot lock
        return True
    return True


def sync_folder(path: Path) -> None:
    """Force names in a folder to disk, where the system can."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_synced(path: Path, write: Callable[[BinaryIO], object]) -> None:
    with path.open("xb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a file" if stat.S_ISREG(mode) else "a device or a pipe"


def _unreadable(path: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"cannot read {os.fspath(path)!r}: {reason}; check the name and its permissions"
