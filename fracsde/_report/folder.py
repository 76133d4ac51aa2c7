"""A folder that is replaced as a whole, or not at all.

The new folder is written beside the old one, forced to disk and renamed into place; a reader sees
the old report or the new one, never a mixture.  Whatever interrupts this, an exception or the
keyboard, the old folder is put back and nothing else remains.  Only folders that hold nothing but
an earlier report are replaced.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fracsde._files import sibling, write_new
from fracsde.errors import InputError, ReportWriteError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["check_place", "check_target", "file_names", "replace_folder", "write_file"]

MARKER = "report.json"
_OURS = frozenset({MARKER, "index.html", "figures"})
_DESKTOP = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def _failure(path: str | os.PathLike[str], error: OSError) -> str:
    return (
        f"cannot write the report {os.fspath(path)!r}: {error.strerror or error}; what was there "
        "before is unchanged; free some space, check that the folder around it may be written to, "
        "or choose another place"
    )


def check_target(folder: str | os.PathLike[str], schemas: Collection[str]) -> Path:
    """Return the folder to be written, refusing one that holds anything but an earlier report.

    Parameters
    ----------
    folder : path-like
        New, empty, or an earlier report; links are followed.
    schemas : collection of str
        Values of ``"schema"`` in ``report.json`` that mark an earlier report.

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    InputError
        If something else is there.
    ReportWriteError
        If it cannot be looked at.
    """
    target = Path(folder).expanduser().resolve()
    refuse = f"`folder` must be new, empty or an earlier report, got {os.fspath(folder)!r}: "
    try:
        if not target.name or (target.exists() and not target.is_dir()):
            msg = refuse + "that is not a folder that can be replaced; choose another name"
            raise InputError(msg)
        entries = sorted(path.name for path in target.iterdir()) if target.exists() else []
        inside = target / "figures"
        drawn = sorted(path.name for path in inside.iterdir()) if inside.is_dir() else []
    except OSError as error:
        raise ReportWriteError(_failure(folder, error)) from error
    entries = [name for name in entries if name not in _DESKTOP]
    if entries and not _is_report(target, schemas):
        msg = (
            refuse + f"it holds {_some(entries)} and no {MARKER} of ours; choose another folder or "
            "empty this one yourself"
        )
        raise InputError(msg)
    strangers = [name for name in entries if name not in _OURS]
    strangers += [f"figures/{name}" for name in drawn if not name.endswith(".png")]
    if strangers:
        msg = (
            refuse + f"besides the report it holds {_some(strangers)}, which would be lost; move "
            "that elsewhere or choose another folder"
        )
        raise InputError(msg)
    return target


def check_place(target: Path) -> None:
    """Refuse a place in which no folder can be made or replaced.

    Parameters
    ----------
    target : Path
        As :func:`check_target` returned it.

    Raises
    ------
    ReportWriteError
        If a folder cannot be made where the new one would be written.
    """
    try:
        around = next(path for path in target.parents if path.exists())
        trial = sibling(around / target.name, "new")
        try:
            trial.mkdir()
        finally:
            with suppress(OSError):
                trial.rmdir()
    except OSError as error:
        raise ReportWriteError(_failure(target, error)) from error


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _is_report(target: Path, schemas: Collection[str]) -> bool:
    try:
        content = json.loads((target / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("schema") in schemas


def file_names(names: Collection[str], suffix: str) -> dict[str, str]:
    """Return a safe file name for each name, distinct even where case does not count.

    Parameters
    ----------
    names : collection of str
        Names in any script, with any characters.
    suffix : str
        Ending of the file names, with its dot.

    Returns
    -------
    dict
        From name to file name.

    Examples
    --------
    >>> file_names(["Flow / map", "flow: map", "../etc"], ".png")
    {'Flow / map': 'Flow-map.png', 'flow: map': 'flow-map-2.png', '../etc': 'etc.png'}
    """
    taken: set[str] = set()
    chosen = {}
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-._")[:80].rstrip("-._") or "figure"
        if _RESERVED.fullmatch(stem):
            stem = f"figure-{stem}"
        candidate, number = stem, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{stem}-{number}"
        taken.add(candidate.lower())
        chosen[name] = candidate + suffix
    return chosen


def _sync_folder(path: Path) -> None:
    """Force a folder's entries to disk where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_folder(target: Path, files: Mapping[str, bytes], schemas: Collection[str]) -> None:
    """Make ``target`` hold exactly ``files``, all of them or none.

    Parameters
    ----------
    target : Path
        As :func:`check_target` returned it.
    files : mapping from str to bytes
        Contents by path inside the folder, at most one folder deep.
    schemas : collection of str
        As for :func:`check_target`, asked again just before the old folder goes.

    Raises
    ------
    ReportWriteError
        If the system refuses; the old folder is intact.
    """
    fresh = sibling(target, "new")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.mkdir()
            if target.exists():
                fresh.chmod(stat.S_IMODE(target.stat().st_mode))
            for name, content in files.items():
                path = fresh / name
                path.parent.mkdir(exist_ok=True)
                write_new(path, content)
            for folder in {(fresh / name).parent for name in files}:
                _sync_folder(folder)
            check_target(target, schemas)
            _swap(fresh, target)
            with suppress(OSError):  # the new report stands already
                _sync_folder(target.parent)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)  # gone already where all went well
    except ReportWriteError:
        raise
    except OSError as error:
        raise ReportWriteError(_failure(target, error)) from error


def _swap(fresh: Path, target: Path) -> None:
    """Rename ``fresh`` to ``target``; whatever happens, one whole folder stands there after."""
    if not target.exists():
        fresh.rename(target)
        return
    retired = sibling(target, "old")
    try:
        target.rename(retired)
        fresh.rename(target)
    finally:
        if retired.exists():
            if target.exists():
                shutil.rmtree(retired, ignore_errors=True)
            else:
                retired.rename(target)


def write_file(path: str | os.PathLike[str], content: str) -> None:
    """Write a text file in one step: readers see the old content or the new one.

    Parameters
    ----------
    path : path-like
        The file; its folder must exist.
    content : str
        What to write, as UTF-8.

    Raises
    ------
    ReportWriteError
        If the system refuses; the old file is intact.
    """
    target = Path(path).expanduser().resolve()
    fresh = sibling(target, "new")
    try:
        try:
            write_new(fresh, content.encode(errors="backslashreplace"))
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise ReportWriteError(_failure(target, error)) from error
