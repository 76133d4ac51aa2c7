r"""One row of a chain: all streams of one step beside one another, in little-endian bytes.

.. code-block:: text

    offset  0   8        16          20          24
            step stamp    missing     not finite  stream 0 | stream 1 | ...     (each from a
            i8   u8       u4          u4          multiple of 8; the rest of a row is zero)

A row is written by one call and is there when the file is long enough to hold it, so streams of
one step cannot disagree.  ``missing`` and ``not finite`` hold one bit per stream.

``stamp`` is a check sum of the row with the stamp itself set to zero: CRC-32 for rows of at most
4096 bytes, for longer ones the sum of their 64-bit words modulo :math:`2^{64}`, which costs a
tenth of writing them; to both a constant is added, so that a row of zeros, as power loss leaves
them, does not pass.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import RecordError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import IntArray

__all__ = [
    "DTYPES",
    "HEAD",
    "Layout",
    "Stream",
    "checked_name",
    "stamp_of",
    "stamp_of_parts",
    "stamps_of",
]

HEAD = 24
DTYPES = ("float32", "float64")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_MOST_STREAMS = 32
_LONGEST_ROW = 2**40
_LONGEST_CRC = 4096
_SALT = 0x9E3779B97F4A7C15
_SIXTY_FOUR = 2**64 - 1


def checked_name(what: str, name: Any) -> str:
    """Return a name that is safe as a file name and as a keyword.

    Parameters
    ----------
    what : str
        What is named, for the message.
    name : object
        The name.

    Returns
    -------
    str

    Raises
    ------
    RecordError
        If it is anything else.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        shown = name[:80] if isinstance(name, str) else name
        msg = (
            f"the name of {what} must be letters, digits and underscores, at most 64, not "
            f"starting with a digit, got {shown!r}"
        )
        raise RecordError(msg)
    return name


@dataclass(frozen=True)
class Stream:
    """One kind of numbers kept at each recorded step.

    Parameters
    ----------
    name : str
        ``"weights"``, ``"gradients"``, ``"loss"`` and so on.
    width : int
        Numbers per step.
    dtype : {"float64", "float32"}
        How they are stored.
    unit : str
        Unit of the numbers.
    labels : tuple of str
        One name per number, or none.

    Raises
    ------
    RecordError
        If a field cannot mean a stream.

    Examples
    --------
    >>> Stream("loss", 1)
    Stream(name='loss', width=1, dtype='float64', unit='1', labels=())
    """

    name: str
    width: int
    dtype: str = "float64"
    unit: str = "1"
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checked_name("a stream", self.name)
        width: Any = self.width
        if isinstance(width, np.integer):
            object.__setattr__(self, "width", int(width))
        elif not isinstance(width, int) or isinstance(width, bool):
            width = 0
        if width < 1:
            msg = f"stream {self.name!r}: `width` must be a whole number, got {self.width!r:.80}"
            raise RecordError(msg)
        if self.width > _LONGEST_ROW // 8:
            msg = f"stream {self.name!r}: `width` {self.width} is more than a row can hold"
            raise RecordError(msg)
        if self.dtype not in DTYPES:
            msg = f"stream {self.name!r}: `dtype` must be one of {DTYPES}, got {self.dtype!r}"
            raise RecordError(msg)
        object.__setattr__(self, "labels", tuple(self.labels))
        if not isinstance(self.unit, str) or not all(isinstance(x, str) for x in self.labels):
            msg = f"stream {self.name!r}: `unit` and `labels` must be text"
            raise RecordError(msg)
        if self.labels and len(self.labels) != self.width:
            msg = f"stream {self.name!r}: {len(self.labels)} labels for {self.width} numbers"
            raise RecordError(msg)

    @property
    def stored(self) -> np.dtype[Any]:
        """The little-endian type in the file."""
        return np.dtype("<f4" if self.dtype == "float32" else "<f8")


class Layout:
    """Where each stream lies in a row.

    Parameters
    ----------
    streams : sequence of Stream
        At most 32, with different names.

    Raises
    ------
    RecordError
        If there are none, too many, two of one name, or a row is absurdly long.
    """

    def __init__(self, streams: tuple[Stream, ...]) -> None:
        names = [stream.name for stream in streams]
        if not 1 <= len(names) <= _MOST_STREAMS:
            msg = f"a run has 1 to {_MOST_STREAMS} streams, got {len(names)}; put scalars together"
            raise RecordError(msg)
        if len(set(names)) != len(names):
            msg = f"two streams have one name: {names}"
            raise RecordError(msg)
        self.streams, self.offsets = streams, {}
        self.bits = {name: i for i, name in enumerate(names)}
        end = HEAD
        for stream in streams:
            self.offsets[stream.name] = end
            end += -(-stream.width * stream.stored.itemsize // 8) * 8
        if end > _LONGEST_ROW:
            msg = f"a row of {end} bytes is longer than {_LONGEST_ROW}; record fewer numbers"
            raise RecordError(msg)
        self.row_bytes = end

    def column(self, rows: NDArray[np.uint8], stream: Stream) -> NDArray[Any]:
        """Return one stream of many rows (n, width), a view of (n, row_bytes) bytes.

        Returns
        -------
        ndarray
        """
        start = self.offsets[stream.name]
        part = rows[:, start : start + stream.width * stream.stored.itemsize]
        return part.view(stream.stored)

    @staticmethod
    def steps(rows: NDArray[np.uint8]) -> IntArray:
        """Return the step of each row.

        Returns
        -------
        (n,) ndarray of int64
        """
        return np.array(rows[:, 0:8].view("<i8")[:, 0], dtype=np.int64)

    @staticmethod
    def marks(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """Return what is missing and what is not finite in each row, one bit per stream.

        Returns
        -------
        (n, 2) ndarray of uint32
        """
        return np.array(rows[:, 16:24].view("<u4"), dtype=np.uint32)


def stamp_of(row: bytearray, words: NDArray[np.uint64]) -> int:
    """Return the stamp of one row whose stamp is zero.

    Parameters
    ----------
    row : bytearray
        The row.
    words : ndarray of uint64
        The same memory.

    Returns
    -------
    int
    """
    if len(row) <= _LONGEST_CRC:
        return (zlib.crc32(row) + _SALT) & _SIXTY_FOUR
    return (int(np.add.reduce(words)) + _SALT) & _SIXTY_FOUR


def stamp_of_parts(head: memoryview, vector: NDArray[Any], rest: memoryview) -> int:
    """Return the stamp of one long row that lies in three places, its stamp zero.

    Parameters
    ----------
    head, rest : memoryview
        Bytes before and after the vector; the rest begins with the zeros that fill a word up.
    vector : (n,) ndarray of float32 or float64
        Contiguous.

    Returns
    -------
    int
    """
    raw = vector.view(np.uint8)
    whole, fill = len(raw) // 8 * 8, -len(raw) % 8
    total = int(np.add.reduce(np.frombuffer(head, "<u8")))
    total += int(np.add.reduce(raw[:whole].view("<u8")))
    total += int.from_bytes(raw[whole:].tobytes(), "little")
    total += int(np.add.reduce(np.frombuffer(rest[fill:], "<u8")))
    return (total + _SALT) & _SIXTY_FOUR


def stamps_of(rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the stamps that rows (n, row_bytes) should carry, whatever they carry.

    Returns
    -------
    (n,) ndarray of uint64
    """
    if rows.shape[1] > _LONGEST_CRC:
        words = rows.view("<u8")
        sums = np.add.reduce(words, axis=1, dtype=np.uint64) - words[:, 1]
    else:
        blank = rows.copy()
        blank[:, 8:16] = 0
        sums = np.fromiter(map(zlib.crc32, blank), dtype=np.uint64, count=len(rows))
    return np.asarray(sums + np.uint64(_SALT), dtype=np.uint64)
