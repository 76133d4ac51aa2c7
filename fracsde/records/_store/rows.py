"""Reading the rows of one chain: as many as the file is long enough to hold, never more.

What a header or another file says about their number does not count.  Of a chain that was not
closed, rows at the end whose stamp is wrong are left out: so power loss leaves them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import RecordError
from fracsde.records._store.header import read_json
from fracsde.records._store.layout import stamps_of
from fracsde.records._store.places import exists, folder, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fracsde.records._store.layout import Layout

__all__ = [
    "ChainState",
    "block_length",
    "blocks",
    "chain_folder",
    "chains_in",
    "map_rows",
    "read_state",
    "whole",
]

_CHAIN = re.compile(r"chain-(\d{6,9})")
_BLOCK_BYTES = 2**24


@dataclass(frozen=True, kw_only=True)
class ChainState:
    """What ``chain.json`` says: whether a chain was closed, and with how many rows.

    Parameters
    ----------
    closed : bool
        Whether its recorder said that it is complete.
    rows : int
        How many rows it had then; 0 where it was not closed.
    metadata : mapping
        Facts about this chain.
    schedule : mapping
        When it was recorded.
    """

    closed: bool
    rows: int
    metadata: Mapping[str, Any]
    schedule: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain JSON types.

        Returns
        -------
        dict
        """
        return {
            "closed": self.closed,
            "rows": self.rows,
            "metadata": dict(self.metadata),
            "schedule": dict(self.schedule),
        }


def chain_folder(run: Path, chain: int) -> Path:
    """Return the folder of a chain.

    Returns
    -------
    Path
    """
    return run / "chains" / f"chain-{chain:06d}"


def chains_in(run: Path) -> tuple[int, ...]:
    """Return the numbers of the chains of a run.

    Returns
    -------
    tuple of int

    Raises
    ------
    RecordError
        If two folders have one number, or the folder cannot be read.
    """
    home = run / "chains"
    if not exists(home):
        return ()
    folder(home)
    try:
        names = [entry.name for entry in home.iterdir()]
    except OSError as error:
        msg = f"cannot read {str(home)!r}: {error.strerror or error}; check its permissions"
        raise RecordError(msg) from error
    found = sorted(int(match[1]) for match in map(_CHAIN.fullmatch, names) if match)
    for chain in found:
        if chain_folder(run, chain).name not in names:
            msg = f"{home} has a folder of chain {chain} under a wrong name; rename or remove it"
            raise RecordError(msg)
        folder(chain_folder(run, chain))
    return tuple(found)


def read_state(home: Path) -> ChainState:
    """Read ``chain.json``; a chain that was killed before it was written is open.

    Returns
    -------
    ChainState

    Raises
    ------
    RecordError
        If the file is damaged.
    """
    path = home / "chain.json"
    if not exists(path):
        return ChainState(closed=False, rows=0, metadata={}, schedule={})
    found = read_json(path)
    closed, rows = found.get("closed"), found.get("rows")
    metadata, schedule = found.get("metadata"), found.get("schedule")
    if (
        not isinstance(closed, bool)
        or not isinstance(rows, int)
        or rows < 0
        or not isinstance(metadata, dict)
        or not isinstance(schedule, dict)
    ):
        msg = f"{path} is damaged: a field is missing or of the wrong kind; copy the run again"
        raise RecordError(msg)
    return ChainState(closed=closed, rows=rows, metadata=metadata, schedule=schedule)


def map_rows(path: Path, layout: Layout, count: int) -> NDArray[np.uint8]:
    """Map the first rows of a file (count, row_bytes), read-only.

    Returns
    -------
    memmap of uint8

    Raises
    ------
    RecordError
        If the system refuses.
    """
    if count == 0:
        return np.empty((0, layout.row_bytes), dtype=np.uint8)
    try:
        return np.memmap(path, dtype=np.uint8, mode="r", shape=(count, layout.row_bytes))
    except (OSError, ValueError) as error:
        msg = f"cannot read {str(path)!r}: {error}; it may have been truncated since, open it again"
        raise RecordError(msg) from error


def whole(home: Path, layout: Layout, state: ChainState) -> int:
    """Return how many rows of a chain count.

    Parameters
    ----------
    home : Path
        Folder of the chain.
    layout : Layout
        Where the streams lie in a row.
    state : ChainState
        What ``chain.json`` says.

    Returns
    -------
    int

    Raises
    ------
    RecordError
        If a closed chain has lost rows, or not one row of the file fits the header.
    """
    path = home / "rows.bin"
    size = size_of(path) if exists(path) else 0
    count = size // layout.row_bytes
    if state.closed:
        if size != state.rows * layout.row_bytes:
            msg = (
                f"{path} has {size} bytes, {count} whole rows, and was closed with {state.rows} "
                f"rows of {layout.row_bytes} bytes: it was truncated or changed; copy it again, "
                f"or remove {home / 'chain.json'} to read the whole rows that are there"
            )
            raise RecordError(msg)
        return count
    good = count
    rows = map_rows(path, layout, count)
    while good and not _sound(rows[good - 1 : good]):
        good -= 1
    if count and not good:
        msg = (
            f"{path} holds no row that fits `run.json`: the file is damaged or of another run; "
            "copy the run again"
        )
        raise RecordError(msg)
    return good


def block_length(rows: NDArray[Any]) -> int:
    """Return how many entries along the first axis make some megabytes, at least one.

    Parameters
    ----------
    rows : ndarray
        With at least one axis.

    Returns
    -------
    int
    """
    return max(1, _BLOCK_BYTES // max(1, rows[:1].nbytes))


def blocks(rows: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield rows in blocks of some megabytes, with the number of the first of each.

    Yields
    ------
    (int, ndarray)
    """
    step = block_length(rows)
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step]


def _sound(rows: NDArray[np.uint8]) -> bool:
    carried = rows[:, 8:16].view("<u8")[:, 0]
    return bool(np.array_equal(carried, stamps_of(rows)))
