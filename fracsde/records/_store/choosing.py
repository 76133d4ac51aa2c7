"""Which rows and numbers of a run a caller asked for, and whether they can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import real
from fracsde.errors import RecordError
from fracsde.provenance import Provenance, provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from fracsde._typing import FloatArray, IntArray

__all__ = [
    "chosen_chains",
    "chosen_coordinates",
    "common_steps",
    "end_of",
    "extent",
    "first_bad",
    "read_values",
    "recorded_provenance",
]


def chosen_chains(chains: Any, have: tuple[int, ...]) -> tuple[int, ...]:
    """Return the chosen chains of a run.

    Parameters
    ----------
    chains : int, sequence of int or None
        What was asked for; None for all.
    have : tuple of int
        What there is.

    Returns
    -------
    tuple of int

    Raises
    ------
    RecordError
        If there is no such chain, or one is named twice.
    """
    picked = have if chains is None else tuple(np.atleast_1d(chains).ravel().tolist())
    for chain in picked:
        if type(chain) is not int or chain not in have:
            msg = f"the run has no chain {chain!r}; it has: {', '.join(map(str, have)) or 'none'}"
            raise RecordError(msg)
    if not picked:
        msg = "the run has no chain yet, or `chains` chooses none; record one, or name some"
        raise RecordError(msg)
    if len(set(picked)) != len(picked):
        msg = f"`chains` names one twice: {picked}"
        raise RecordError(msg)
    return picked


def chosen_coordinates(coordinates: Any, width: int) -> IntArray:
    """Return the chosen numbers of a stream.

    Parameters
    ----------
    coordinates : sequence of int, slice or None
        What was asked for.
    width : int
        How many there are.

    Returns
    -------
    ndarray of int64

    Raises
    ------
    RecordError
        If it is no choice among them.
    """
    if coordinates is None:
        return np.arange(width)
    if isinstance(coordinates, slice):
        found = np.arange(width)[coordinates]
    else:
        found = np.atleast_1d(np.asarray(coordinates))
    if found.ndim != 1 or found.size == 0 or found.dtype.kind not in "iu":
        msg = (
            f"`coordinates` must be whole numbers or a slice that chooses some, got {coordinates!r}"
        )
        raise RecordError(msg)
    if found.min() < 0 or found.max() >= width:
        msg = f"`coordinates` must lie in 0 to {width - 1}, got {found.min()} to {found.max()}"
        raise RecordError(msg)
    return np.asarray(found, dtype=np.int64)


def end_of(name: str, value: Any, open_end: float) -> float:
    """Return one end of a range of steps.

    Parameters
    ----------
    name : str
        Its name.
    value : float or None [step]
        What was asked for; None or ``open_end`` for no end.
    open_end : float
        Minus or plus infinity.

    Returns
    -------
    float
    """
    if value is None or (isinstance(value, float) and value == open_end):
        return open_end
    return real(name, value)


def common_steps(
    chains: tuple[int, ...],
    steps: Sequence[IntArray],
    places: Sequence[IntArray],
    *,
    truncate: bool,
) -> tuple[IntArray, list[IntArray]]:
    """Return the steps that all chains have, and the rows of each that hold them.

    Parameters
    ----------
    chains : tuple of int
        Their numbers.
    steps, places : sequence of ndarray
        Steps of each, and the rows they are in.
    truncate : bool
        Whether chains may differ.

    Returns
    -------
    (ndarray, list of ndarray)

    Raises
    ------
    RecordError
        If they may not and do.
    """
    first = steps[0]
    odd = [k for k, other in enumerate(steps) if not np.array_equal(first, other)]
    if not odd:
        return first, list(places)
    if not truncate:
        other = steps[odd[0]]
        msg = (
            f"chains hold different steps: chain {chains[0]} {_span(first)}, chain "
            f'{chains[odd[0]]} {_span(other)}; pass `unequal="truncate"` to keep the steps that '
            "all have, or choose `chains`; where they were recorded alike `verify()`, or fracsde "
            "inspect --verify, names rows that were damaged"
        )
        raise RecordError(msg)
    common = first
    for other in steps[1:]:
        common = np.intersect1d(common, other, assume_unique=True)
    if common.size == 0:
        msg = "chains have no step in common; read them one by one, with `chains`"
        raise RecordError(msg)
    kept = [rows[np.isin(own, common)] for own, rows in zip(steps, places, strict=True)]
    return common, kept


def first_bad(values: FloatArray, chains: tuple[int, ...], steps: IntArray, stream: str) -> None:
    """Refuse values that are not finite.

    Parameters
    ----------
    values : (chain, draw, coordinate) ndarray
        The values.
    chains : tuple of int
        Numbers of the chains.
    steps : ndarray of int64
        Steps of the draws.
    stream : str
        Name of the stream.

    Raises
    ------
    RecordError
        If one is not; says where, and what can be read.
    """
    # A sum is finite unless an entry is not (or it overflows): one cheap pass over a large run.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return
    bad = np.any(~np.isfinite(values), axis=2)
    if not bad.any():
        return
    draw = int(np.argmax(bad.any(axis=0)))
    chain = chains[int(np.argmax(bad[:, draw]))]
    finite = (
        f"pass `stop={int(steps[draw - 1])}` to read the finite part"
        if draw
        else "nothing before is finite"
    )
    msg = (
        f"`values` must be finite: chain {chain} is NaN or infinite at time {int(steps[draw])} in "
        f"stream {stream!r}, and {int(bad[:, -1].sum())} of {len(bad)} chains are so at the end; "
        f"the run diverged, lower the learning rate, or {finite}, or choose `chains` that stayed "
        "finite"
    )
    raise RecordError(msg)


def read_values(
    arrays: Iterable[NDArray[Any]], places: Sequence[IntArray], columns: IntArray, width: int
) -> FloatArray:
    """Read the chosen rows and numbers of each chain.

    Parameters
    ----------
    arrays : iterable of (n, width) ndarray
        One per chain; read one after the other.
    places : sequence of ndarray of int64
        Rows of each.
    columns : ndarray of int64
        Numbers of each row.
    width : int
        How many there are.

    Returns
    -------
    (chain, draw, coordinate) ndarray of float64
    """
    values = np.empty((len(places), len(places[0]), len(columns)))
    everything = np.array_equal(columns, np.arange(width))
    for into, array, rows in zip(values, arrays, places, strict=True):
        if rows[-1] - rows[0] == len(rows) - 1:
            part = array[rows[0] : rows[-1] + 1]
            into[...] = part if everything else part[:, columns]
        else:
            into[...] = array[rows] if everything else array[np.ix_(rows, columns)]
    return values


def recorded_provenance(
    saved: Any,
    stream: str,
    chains: tuple[int, ...],
    steps: IntArray,
    rows: Iterable[NDArray[np.uint8]],
) -> Provenance:
    """Return where values came from: what was saved with them, or the check sums of the rows.

    Parameters
    ----------
    saved : mapping or None
        The provenance of a trajectory that was stored.
    stream : str
        Name of the stream.
    chains : tuple of int
        Numbers of the chains.
    steps : ndarray of int64
        Steps that were read.
    rows : iterable of ndarray of uint8
        All rows of each chain.

    Returns
    -------
    Provenance
    """
    try:
        return Provenance(
            backend=saved["backend"],
            seed=saved["seed"],
            input_hash=saved["input_hash"],
            versions=tuple(sorted(saved["versions"].items())),
        )
    except (TypeError, KeyError, AttributeError):  # nothing of the kind was saved
        stamps = [np.array(part[:, 8:16]) for part in rows]
        return provenance(stream, list(chains), steps, stamps, backend="recorded")


def extent(steps: Mapping[int, IntArray]) -> str:
    """Return which steps some chains hold, in words.

    Returns
    -------
    str
    """
    return "; ".join(
        f"chain {chain} runs from step {own[0]} to {own[-1]}"
        if len(own)
        else f"chain {chain} has no rows"
        for chain, own in steps.items()
    )


def _span(steps: IntArray) -> str:
    if len(steps) == 0:
        return "has none there"
    return f"has {len(steps)} from {int(steps[0])} to {int(steps[-1])}"
