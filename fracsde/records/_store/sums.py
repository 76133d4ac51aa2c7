"""A run as a whole: its check sums and its hash."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import RecordError
from fracsde.records._store.layout import Layout, stamps_of
from fracsde.records._store.rows import blocks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["content_hash", "verify_rows"]


def verify_rows(chain: int, rows: NDArray[np.uint8], layout: Layout) -> None:
    """Compare the stamp of every row with its content.

    Parameters
    ----------
    chain : int
        Number of the chain.
    rows : (n, row_bytes) ndarray of uint8
        Its rows.
    layout : Layout
        Where the streams lie in a row.

    Raises
    ------
    RecordError
        If one differs; names the first and says how many do.
    """
    wrong = []
    for start, part in blocks(rows):
        carried = part[:, 8:16].view("<u8")[:, 0]
        wrong.append(start + np.flatnonzero(carried != stamps_of(part)))
    bad = np.concatenate(wrong) if wrong else np.empty(0, dtype=np.int64)
    if bad.size:
        row = int(bad[0])
        step = int(layout.steps(rows[row : row + 1])[0])
        msg = (
            f"chain {chain} has changed on disk: {bad.size} of {len(rows)} rows differ from their "
            f"check sums, the first is row {row} (step {step}); copy the run again"
        )
        raise RecordError(msg)


def content_hash(
    head: list[Any],
    chains: Mapping[int, tuple[Mapping[str, Any], NDArray[np.uint8]]],
    attachments: Mapping[str, Mapping[str, NDArray[Any]]],
) -> str:
    """Hash a run.

    Parameters
    ----------
    head : list
        Header and metadata, as plain JSON types.
    chains : mapping of int to (mapping, ndarray)
        Metadata and rows of each chain.
    attachments : mapping of str to mapping of str to ndarray
        What is attached.

    Returns
    -------
    str
        Sixty-four hexadecimal digits.
    """
    digest = hashlib.sha256(_canonical(head))
    for chain, (metadata, rows) in sorted(chains.items()):
        digest.update(_canonical([chain, len(rows), dict(metadata)]))
        for _, part in blocks(rows):
            digest.update(np.ascontiguousarray(part).data)
    for name, arrays in sorted(attachments.items()):
        for key, array in sorted(arrays.items()):
            digest.update(_canonical([name, key, array.dtype.str, list(array.shape)]))
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _canonical(content: list[Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n"
