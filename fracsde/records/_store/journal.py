"""Writing the rows of one chain: one call of the system per row, and nothing kept back.

A row that :meth:`Journal.append` returned from is in the hands of the system: another process
reads it at once, and the death of this one cannot lose it.  Power loss can lose the last seconds,
since files are forced to disk at intervals.  What fails in the middle leaves part of a row, which
the next call cuts off.
"""

from __future__ import annotations

import os
import weakref
from time import monotonic
from typing import TYPE_CHECKING

from fracsde.errors import RecordError
from fracsde.records._store.places import exists, lock, refuse, size_of, writing

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Journal"]

_force = getattr(os, "fdatasync", os.fsync)


def _write(file: int, parts: tuple[memoryview, ...]) -> int:
    if len(parts) > 1 and hasattr(os, "writev"):
        return os.writev(file, parts)
    return os.write(file, parts[0])


class Journal:
    """The open file of one chain's rows; one process at a time has it.

    Parameters
    ----------
    path : Path
        The file, made if there is none.
    row_bytes : int
        Length of a row.
    sync_seconds : float [s]
        Longest time between two moments when rows are forced to disk.

    Raises
    ------
    RecordError
        If another recorder has it.
    """

    def __init__(self, path: Path, row_bytes: int, sync_seconds: float) -> None:
        self.path, self._row_bytes, self._interval = path, row_bytes, sync_seconds
        self.rows, self._torn, self._synced = 0, False, monotonic()
        if exists(path):
            size_of(path)  # refuses links and pipes, which opening would follow
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        flags |= getattr(os, "O_BINARY", 0)
        with writing(path, "nothing was changed"):
            self._file = os.open(path, flags, 0o666)
        self._close = weakref.finalize(self, os.close, self._file)
        if not lock(self._file, wait=False):
            self._close()
            msg = (
                f"{self.path} is being recorded by another process or recorder; record another "
                "chain, or end that one first"
            )
            raise RecordError(msg)

    def keep(self, rows: int) -> None:
        """Keep the first rows and cut off all that follows.

        Parameters
        ----------
        rows : int
            How many.
        """
        with writing(self.path, f"the {rows} rows before are unchanged"):
            os.ftruncate(self._file, rows * self._row_bytes)
        self.rows, self._torn = rows, False

    def append(self, parts: tuple[memoryview, ...]) -> None:
        """Append whole rows.

        Parameters
        ----------
        parts : tuple of memoryview
            Their bytes, in one place or in several.
        """
        self.settle()
        self._torn = True
        try:
            length = sum(map(len, parts))
            written = _write(self._file, parts)
            while written < length:  # a signal or a limit cut the call short
                written += os.write(self._file, b"".join(parts)[written:])
        except OSError as error:
            refuse(self.path, error, f"the {self.rows} rows before are whole and readable")
        self.rows += length // self._row_bytes
        self._torn = False
        if monotonic() - self._synced >= self._interval:
            self.sync()

    def sync(self) -> None:
        """Force rows to disk, where power loss does not reach them."""
        self._synced = monotonic()
        with writing(self.path, "rows of the last seconds may be lost if the machine stops"):
            _force(self._file)

    def settle(self) -> None:
        """Cut off the part of a row that a failure left."""
        if self._torn:
            self.keep(self.rows)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._close()
