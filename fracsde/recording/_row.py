"""Putting the numbers of one step together as the bytes of one row."""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from fracsde.errors import RecordError
from fracsde.recording._flat import Flattener
from fracsde.records._store.layout import HEAD, Layout, Stream, stamp_of, stamp_of_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fracsde._typing import ArrayLike
    from fracsde.recording.observe import Bound

    Parts: TypeAlias = tuple[memoryview, ...]

__all__ = ["Row", "of_kind", "standard_streams", "whole_step"]

_Kind = TypeVar("_Kind")

_UNITS = {
    "weights": "weight",
    "gradients": "loss/weight",
    "loss": "loss",
    "gradient_norm_squared": "(loss/weight)**2",
    "weight_dot_gradient": "loss",
    "velocity_norm_squared": "weight**2",
    "learning_rate": "weight**2/loss",
}
_LONG = 2**16  # bytes; longer vectors are written from where they lie
_DOUBLE, _HEAD = struct.Struct("<d"), struct.Struct("<qQII")


def standard_streams(
    streams: Mapping[str, int | Stream] | None,
    *,
    width: int,
    dtype: str,
    labels: Sequence[str] = (),
) -> tuple[Stream, ...]:
    """Return the streams of a run: the weights, then what is asked for.

    Parameters
    ----------
    streams : mapping of str to int or Stream
        Name and width, or all of it.  Single numbers are kept in double precision, wider ones in
        that of the weights.
    width : int
        Numbers kept of the weights.
    dtype : {"float32", "float64"}
        Precision of the weights.
    labels : sequence of str
        Names of the numbers of ``"weights"``.

    Returns
    -------
    tuple of Stream

    Raises
    ------
    RecordError
        If names or widths cannot be those of streams.
    """
    found = [Stream("weights", width, dtype, _UNITS["weights"], tuple(labels))]
    given: Any = {} if streams is None else streams
    if not isinstance(given, Mapping):
        msg = f"`streams` must be a mapping of names to widths, got {type(given).__name__}"
        raise RecordError(msg)
    for name, value in given.items():
        if name in ("weights", "step"):
            msg = f"the stream {name!r} is always there; leave it out of `streams`"
            raise RecordError(msg)
        if isinstance(value, Stream):
            stream = value
        else:
            kind = dtype if name == "gradients" or value != 1 else "float64"
            stream = Stream(name, value, kind, _UNITS.get(name, "1"))
        alike = (stream.width, stream.dtype) == (width, dtype)
        if stream.name != name or (name == "gradients" and not alike):
            msg = (
                f"stream {name!r} is declared as {stream.name!r} of {stream.width} numbers in "
                f"{stream.dtype}; gradients are observed as the weights are: {width} in {dtype}"
            )
            raise RecordError(msg)
        found.append(stream)
    return tuple(found)


def of_kind(name: str, value: Any, kind: type[_Kind], default: _Kind) -> _Kind:
    """Return a value of a kind, or the default where there is none.

    Parameters
    ----------
    name : str
        What it is, for the message.
    value : object
        The value or None.
    kind : type
        What it must be.
    default : object
        What it is otherwise, and the example of the message.

    Returns
    -------
    object

    Raises
    ------
    RecordError
        If it is of another kind.
    """
    if value is None:
        return default
    if not isinstance(value, kind):
        msg = f"`{name}` must be a value such as {default}, got {value!r:.80}"
        raise RecordError(msg)
    return value


def whole_step(step: Any) -> int:
    """Return a step as an int.

    Parameters
    ----------
    step : int
        Of any integer type.

    Returns
    -------
    int

    Raises
    ------
    RecordError
        If it is no whole number.
    """
    try:
        return operator.index(step)
    except TypeError as error:
        msg = f"`step` must be a whole number, got {step!r:.80}"
        raise RecordError(msg) from error


class Row:
    """The memory of one row, used again at each step.

    Parameters
    ----------
    layout : Layout
        Where the streams lie in it.
    bound : Bound
        What is kept of the parameters.
    parameters : int
        Number P of parameters.

    Raises
    ------
    RecordError
        If it does not fit into memory.
    """

    def __init__(self, layout: Layout, bound: Bound, parameters: int) -> None:
        self._streams, self._bound = layout.streams, bound
        try:
            self._row = bytearray(layout.row_bytes)
        except MemoryError as error:
            msg = (
                f"a row of {layout.row_bytes} bytes does not fit into memory; keep less with "
                "`observe`"
            )
            raise RecordError(msg) from error
        self._bytes = memoryview(self._row)
        self._words = np.frombuffer(self._row, dtype="<u8")
        self._views: list[NDArray[Any]] = [
            np.frombuffer(self._row, s.stored, count=s.width, offset=layout.offsets[s.name])
            for s in self._streams
        ]
        # Two, since weights that are written from where they lie must outlive the gradients.
        self._flat = Flattener(parameters, self._streams[0].dtype)
        self._flat_gradients = Flattener(parameters, self._streams[0].dtype)
        self._in_place = bound.array is None and layout.row_bytes > _LONG
        self._named = [
            (bit, s.name, s.width == 1 and s.dtype == "float64", layout.offsets[s.name])
            for bit, s in enumerate(self._streams)
        ][1:]

    def of_parameters(self, step: int, weights: Any, streams: Mapping[str, ArrayLike]) -> Parts:
        """Return the bytes of a step, from all parameters and whole gradients.

        Parameters
        ----------
        step : int [step]
            Its number.
        weights : array_like or sequence of array_like
            All parameters.
        streams : mapping of str to array_like
            The streams.

        Returns
        -------
        tuple of memoryview
            Valid until the next call, and while ``weights`` are unchanged.
        """
        kept = self._flat(weights)
        if not self._in_place:
            self._bound.apply(kept, self._views[0])
            kept = self._views[0]
        return self._of(step, kept, streams, whole_gradients=True)

    def of_observed(self, step: int, observed: Any, streams: Mapping[str, ArrayLike]) -> Parts:
        """Return the bytes of a step, from weights and gradients that were observed elsewhere.

        Parameters
        ----------
        step : int [step]
            Its number.
        observed : (width,) array_like
            What is kept of the parameters.
        streams : mapping of str to array_like
            The streams.

        Returns
        -------
        tuple of memoryview
            Valid until the next call.
        """
        self._fill(0, observed)
        return self._of(step, self._views[0], streams, whole_gradients=False)

    def _of(
        self,
        step: int,
        kept: NDArray[Any],
        streams: Mapping[str, ArrayLike],
        *,
        whole_gradients: bool,
    ) -> Parts:
        missing, bad, found = 0, 0 if _finite(kept) else 1, 0
        for bit, name, scalar, start in self._named:
            value = streams.get(name)
            found += name in streams
            if value is None:
                missing |= 1 << bit
                self._views[bit].fill(np.nan)
                continue
            if scalar:
                number = _number(name, value)
                _DOUBLE.pack_into(self._row, start, number)
                finite = math.isfinite(number)
            else:
                if whole_gradients and name == "gradients":
                    self._bound.apply(self._flat_gradients(value), self._views[bit])
                else:
                    self._fill(bit, value)
                finite = _finite(self._views[bit])
            if not finite:
                bad |= 1 << bit
        if found != len(streams):
            have = [entry[1] for entry in self._named]
            odd = next(name for name in streams if name not in have)
            msg = f"stream {odd!r} was not declared; name it in `streams`; declared are {have}"
            raise RecordError(msg)
        return self._sealed(step, kept, missing, bad)

    def _sealed(self, step: int, kept: NDArray[Any], missing: int, bad: int) -> Parts:
        _HEAD.pack_into(self._row, 0, step, 0, missing, bad)
        if kept is self._views[0]:
            parts: Parts = (self._bytes,)
            stamp = stamp_of(self._row, self._words)
        else:
            end = HEAD + kept.nbytes
            parts = (self._bytes[:HEAD], kept.data.cast("B"), self._bytes[end:])
            stamp = stamp_of_parts(parts[0], kept, parts[2])
        _HEAD.pack_into(self._row, 0, step, stamp, missing, bad)
        return parts

    def _fill(self, bit: int, value: ArrayLike) -> None:
        stream, given = self._streams[bit], np.asarray(value)
        if given.size != stream.width or given.dtype.kind not in "biuf":
            msg = (
                f"stream {stream.name!r} has {stream.width} numbers a step, got {given.dtype} of "
                f"shape {given.shape}"
            )
            raise RecordError(msg)
        self._views[bit][:] = given.reshape(-1)


def _number(name: str, value: Any) -> float:
    if type(value) is float:
        return value
    given = np.asarray(value)
    if given.size != 1 or given.dtype.kind not in "biuf":
        msg = f"stream {name!r} takes one number a step, got {value!r:.80}"
        raise RecordError(msg)
    return float(given.item())


def _finite(values: NDArray[Any]) -> bool:
    # A sum of squares is finite unless an entry is not (or it overflows): one cheap pass.
    return math.isfinite(np.dot(values, values)) or bool(np.isfinite(values).all())
