"""Making the folder of a run, or joining one that others have made: the first header stands."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fracsde.errors import FileWriteError, RecordError
from fracsde.records._store.header import Header, plain, read_header, read_json, to_json
from fracsde.records._store.observation import digest_of, observation_of
from fracsde.records._store.places import (
    create_once,
    exists,
    folder,
    lock,
    refuse,
    replace_whole,
    size_of,
    writing,
)
from fracsde.records._store.rows import chain_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fracsde.recording.observe import Bound, Observe
    from fracsde.records._store.layout import Stream

__all__ = [
    "bind_stored",
    "facts_of",
    "join_run",
    "make_chain",
    "merge_metadata",
    "place_of_run",
    "refuse_chain",
    "write_state",
]

_OURS = re.compile(r"\..*|observation-.*\.npy|chains|attachments|metadata\.json")


def place_of_run(path: str | os.PathLike[str]) -> Path:
    """Return where the folder of a run is or will be.

    Parameters
    ----------
    path : path-like
        The folder; the one it is in must exist.

    Returns
    -------
    Path

    Raises
    ------
    FileWriteError
        If the name cannot be that of a folder.
    RecordError
        If there is something else.
    """
    try:
        place = Path(os.fspath(path)).expanduser().resolve()
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        msg = f"cannot record to {path!r}: {error}; name a folder"
        raise FileWriteError(msg) from error
    if exists(place):
        if not place.is_dir():
            msg = f"{place} is no folder; name a new folder for the run"
            raise RecordError(msg)
        with writing(place, "nothing was changed"):
            names = sorted(entry.name for entry in place.iterdir())
        foreign = [name for name in names if not _OURS.fullmatch(name)]
        if "run.json" not in names and foreign:
            msg = f"{place} holds {foreign[0]!r} and is no run; name a new folder for the run"
            raise RecordError(msg)
    return place


def bind_stored(run: Path, observe: Observe, parameters: int, dtype: str) -> Bound:
    """Prepare an observation; a random one that the run has stored is read, not drawn again.

    Parameters
    ----------
    run : Path
        Folder of the run.
    observe : Observe
        The observation.
    parameters : int
        Number of parameters.
    dtype : str
        Precision.

    Returns
    -------
    Bound
    """
    if exists(run / "run.json"):
        header = read_header(run / "run.json")
        random = header.made_by.get("kind") == "random"
        same = header.parameters == parameters and header.streams[0].dtype == dtype
        if random and same and dict(header.made_by) == observe.made_by():
            return observe.bind(parameters, dtype, observation_of(header, run).stored())
    return observe.bind(parameters, dtype)


def join_run(
    run: Path, bound: Bound, streams: tuple[Stream, ...], *, parameters: int, clock: str = "step"
) -> Header:
    """Make the folder of a run and its header, or find them and agree.

    Parameters
    ----------
    run : Path
        The folder.
    bound : Bound
        What is kept of the parameters.
    streams : tuple of Stream
        What is kept at each step.
    parameters : int
        Number of parameters.
    clock : str
        What times are.

    Returns
    -------
    Header

    Raises
    ------
    RecordError
        If the run there is another one; says what differs.
    """
    name = "" if bound.array is None else f"observation-{digest_of(bound.array)}.npy"
    header = Header(
        parameters=parameters,
        kind=bound.kind,
        structure=bound.structure,
        file=name,
        made_by=bound.made_by,
        streams=streams,
        clock=clock,
    )
    with writing(run, "nothing was recorded yet"):
        run.mkdir(parents=True, exist_ok=True)
        if not exists(run / "run.json"):
            if bound.array is not None:
                array = bound.array
                create_once(run / name, lambda file: _save(file, array))
            create_once(run / "run.json", lambda file: file.write(to_json(header.to_dict())))
        (run / "chains").mkdir(exist_ok=True)
    folder(run / "chains")
    found = read_header(run / "run.json")
    _agree(run, found, header)
    return found


def make_chain(run: Path, chain: int, *, resume: bool) -> Path:
    """Make the folder of a chain; of many processes exactly one does.

    Parameters
    ----------
    run : Path
        Folder of the run.
    chain : int
        Number of the chain.
    resume : bool
        Whether there may be one.

    Returns
    -------
    Path

    """
    home = chain_folder(run, chain)
    try:
        home.mkdir()
    except FileExistsError:
        if not resume:
            refuse_chain(run, chain)
    except OSError as error:
        refuse(home, error, "nothing was recorded")
    folder(home)
    return home


def refuse_chain(run: Path, chain: int) -> None:
    """Refuse to record a chain that there is.

    Parameters
    ----------
    run : Path
        Folder of the run.
    chain : int
        Number of the chain.

    Raises
    ------
    RecordError
        If there is one.
    """
    if exists(chain_folder(run, chain)):
        msg = (
            f"{run} has a chain {chain}, and nothing is overwritten; pass `resume=True` to go on "
            "with it, or give another `chain` or folder"
        )
        raise RecordError(msg)


def facts_of(name: str, value: Any) -> dict[str, Any]:
    """Return facts as plain JSON types.

    Parameters
    ----------
    name : str
        Their name, for the message.
    value : mapping or None
        The facts.

    Returns
    -------
    dict

    Raises
    ------
    RecordError
        If they are no mapping, or hold something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        msg = f"`{name}` must be a mapping of names to values, got {type(value).__name__}"
        raise RecordError(msg)
    facts: dict[str, Any] = plain(name, dict(value))
    return facts


def merge_metadata(run: Path, new: Mapping[str, Any] | None, mark: str, *, change: bool) -> None:
    """Add facts about a run to those that are there.

    Parameters
    ----------
    run : Path
        The folder.
    new : mapping or None
        The facts.
    mark : str
        Names the one writer that this call is.
    change : bool
        Whether facts that are there may be changed.

    Raises
    ------
    RecordError
        If one is there, differs and may not; names it.
    """
    if new is None:
        return
    facts = facts_of("metadata", new)
    path = run / "metadata.json"
    with _alone(run):
        found = read_json(path) if exists(path) else {}
        odd = [key for key in facts if key in found and found[key] != facts[key]]
        if odd and not change:
            msg = (
                f"the run at {run} has other metadata {odd[0]!r}: {found[odd[0]]!r:.200}, now "
                f"{facts[odd[0]]!r:.200}; name another folder, pass facts about one chain as "
                "`chain_metadata`, or change it with `update_metadata`"
            )
            raise RecordError(msg)
        merged = found | facts
        if merged != found or not exists(path):
            content = to_json(merged)
            with writing(path, "the metadata before are unchanged"):
                replace_whole(path, lambda file: file.write(content), mark)


def write_state(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``chain.json`` in one step.

    Parameters
    ----------
    path : Path
        The file.
    content : mapping
        Plain JSON types.
    """
    text = to_json(content)
    if exists(path):
        size_of(path)
    with writing(path, "recorded rows are unchanged"):
        replace_whole(path, lambda file: file.write(text), "own")


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Let one process at a time read, change and write."""
    path = run / ".metadata.lock"
    if exists(path):
        size_of(path)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with writing(path, "the metadata before are unchanged"):
        handle = os.open(path, flags, 0o666)
    try:
        lock(handle, wait=True)
        yield
    finally:
        os.close(handle)


def _save(file: BinaryIO, array: np.ndarray) -> None:
    np.save(file, array, allow_pickle=False)


def _agree(run: Path, found: Header, asked: Header) -> None:
    there, here = found.to_dict(), asked.to_dict()
    if there == here:
        return
    renamed = {stream.name: stream for stream in found.streams}
    for stream in asked.streams:
        other = renamed.pop(stream.name, None)
        if other != stream:
            what = f"stream {stream.name!r}"
            _refuse(run, what, "none" if other is None else other, stream)
    if renamed:
        name = next(iter(renamed))
        _refuse(run, f"stream {name!r}", renamed[name], "none")
    for key, value in here.items():
        if there[key] != value:
            _refuse(run, key, there[key], value)


def _refuse(run: Path, what: str, there: object, here: object) -> None:
    msg = (
        f"the run at {run} was recorded with another {what}: {there!s:.300}; now {here!s:.300}; "
        "record the same, or name another folder"
    )
    raise RecordError(msg)
