"""Putting the numbers of many steps together as the bytes of as many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import RecordError
from fracsde.records._store.layout import stamps_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from fracsde.records._store.layout import Layout, Stream

__all__ = ["block_of"]


def block_of(
    layout: Layout, steps: ArrayLike, observed: ArrayLike, streams: Mapping[str, ArrayLike | None]
) -> NDArray[np.uint8]:
    """Return rows of many steps.

    Parameters
    ----------
    layout : Layout
        Where the streams lie in a row.
    steps : (n,) array_like of int [step]
        Increasing.
    observed : (n, width) array_like
        The weights.
    streams : mapping of str to (n,) or (n, width) array_like
        The streams; what a masked array hides, and what is None or absent, is missing.

    Returns
    -------
    (n, row_bytes) ndarray of uint8

    Raises
    ------
    RecordError
        If shapes do not fit the streams, or steps do not increase.
    """
    numbers = np.atleast_1d(np.asarray(steps))
    numbers = numbers if numbers.size else numbers.astype(np.int64)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or np.any(np.diff(numbers) <= 0):
        msg = f"`steps` must be whole numbers that increase, got {numbers!s:.80}"
        raise RecordError(msg)
    names = [stream.name for stream in layout.streams[1:]]
    odd = next((name for name in streams if name not in names), None)
    if odd is not None:
        msg = f"stream {odd!r} was not declared; name it in `streams`; declared are {names}"
        raise RecordError(msg)
    rows = np.zeros((len(numbers), layout.row_bytes), dtype=np.uint8)
    rows[:, :8].view("<i8")[:, 0] = numbers
    marks = rows[:, 16:24].view("<u4")
    for bit, stream in enumerate(layout.streams):
        given = observed if bit == 0 else streams.get(stream.name)
        hidden, bad = _fill(layout.column(rows, stream), stream, given)
        marks[:, 0] |= hidden.astype(np.uint32) << np.uint32(bit)
        marks[:, 1] |= bad.astype(np.uint32) << np.uint32(bit)
    rows[:, 8:16].view("<u8")[:, 0] = stamps_of(rows)
    return rows


def _fill(into: NDArray[Any], stream: Stream, given: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Write one stream of all rows; say where it is missing and where not finite.

    Returns
    -------
    (ndarray of bool, ndarray of bool)

    Raises
    ------
    RecordError
        If it does not fit.
    """
    count, width = into.shape
    if given is None:
        into[...] = np.nan
        return np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
    array: Any = given if isinstance(given, np.ndarray) else np.ma.asarray(given)
    if array.size != count * width or array.dtype.kind not in "biuf":
        msg = (
            f"stream {stream.name!r} needs {count} rows of {width} numbers, got {array.dtype} of "
            f"shape {array.shape}"
        )
        raise RecordError(msg)
    array = array.reshape(count, width)
    hidden = np.zeros(count, dtype=bool)
    if np.ma.isMaskedArray(array):
        hidden = np.asarray(np.ma.getmaskarray(array).any(axis=1))
    with np.errstate(over="ignore", invalid="ignore"):
        into[...] = np.ma.getdata(array)
    into[hidden] = np.nan
    return hidden, ~hidden & ~np.isfinite(into).all(axis=1)
