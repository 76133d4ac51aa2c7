"""Rows that wait to be written: many are fetched and written at once, at most a second late.

Between two steps of training every call is slow, since its code and data have left the caches;
and on a device every transfer waits for all that was asked of it.  So a row is only put down when
its step is made.
"""

from __future__ import annotations

import os
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fracsde.errors import FileWriteError
from fracsde.records.store import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fracsde.recording.recorder import Recorder
    from fracsde.recording.torch.reading import HostReader, TensorReader

__all__ = ["Rows", "abandon"]

_MOST = 1024  # rows: a second of steps of a millisecond
_SPARE = 8  # slots of the reader beyond them
_NUMBERS = 2**22  # that wait at most
_SECONDS = 1.0
_PRODUCTS = ("weight_dot_gradient", "gradient_norm_squared", "weight_norm_squared")


class Rows:
    """The rows of the last steps.

    Parameters
    ----------
    recorder : Recorder
        Writes them.
    width : int
        Numbers observed.
    kept : sequence of str
        Streams beside the weights.
    """

    __slots__ = ("_kept", "_since", "_waiting", "most", "reader", "recorder", "slot", "slots")

    reader: HostReader | TensorReader  # made the rows; may be replaced while none is waiting

    def __init__(self, recorder: Recorder, width: int, kept: Sequence[str]) -> None:
        self.recorder = recorder
        self._kept = tuple(kept)
        self.most = max(1, min(_MOST, _NUMBERS // (width * (1 + ("gradients" in kept)))))
        self.slots = self.most + _SPARE
        self._waiting: list[tuple[int, dict[str, Any]]] = []
        self.slot = 0  # where the reader puts the next row: memory that no waiting row uses
        self._since = monotonic()

    @property
    def count(self) -> int:
        """Number of rows that wait."""
        return len(self._waiting)

    def forget(self) -> None:
        """Drop the rows that wait, in a process that has nothing to do with them."""
        self._waiting.clear()

    def add(self, step: int, values: dict[str, Any]) -> bool:
        """Put a row down.

        Parameters
        ----------
        step : int
            Its step.
        values : dict
            ``weights``, and what is known of the other streams; ``products`` are three of them.

        Returns
        -------
        bool
            Whether it is time to write.
        """
        self.slot = (self.slot + 1) % self.slots  # first: an interrupt in between wastes a slot
        waiting = self._waiting
        waiting.append((step, values))
        return len(waiting) >= self.most or monotonic() - self._since > _SECONDS

    def write(self) -> int | None:
        """Write the rows that wait.

        Rows leave the list when they are written, so that an interrupt (Ctrl-C) loses none.

        Returns
        -------
        int or None
            The first step at which weights or gradient are not finite.
        """
        written = self.recorder.next_step
        waiting = [row for row in self._waiting if row[0] >= written]
        self._since = monotonic()
        bad = self._saved(waiting) if waiting else None
        self._waiting.clear()
        return bad

    def _saved(self, waiting: list[tuple[int, dict[str, Any]]]) -> int | None:
        try:
            return self._record(waiting)
        except FileWriteError:  # of a full disk: as many as there is space for, then the error
            found = [self._record([row]) for row in waiting]
        return next((step for step in found if step is not None), None)

    def _record(self, waiting: list[tuple[int, dict[str, Any]]]) -> int | None:
        steps, values = [step for step, _ in waiting], [row for _, row in waiting]
        observed = self.reader.fetch([row["weights"] for row in values])
        streams: dict[str, Any] = {}
        if "gradient_norm_squared" in self._kept:
            table = self._column(values, "products", 3, _together)
            for i, name in enumerate(_PRODUCTS):
                streams[name] = table[:, i]
        for stream in self.recorder.streams[1:]:
            if stream.name not in streams:
                stack = self.reader.fetch if stream.name == "gradients" else _together
                streams[stream.name] = self._column(values, stream.name, stream.width, stack)
        self.recorder.record_block(steps, observed, **streams)
        finite = np.isfinite(observed).all(axis=1)
        if "gradients" in streams:
            finite &= _finite(streams["gradients"]).all(axis=1)
        if "gradient_norm_squared" in streams:
            finite &= _finite(streams["gradient_norm_squared"])
        return None if finite.all() else steps[int(np.argmin(finite))]

    @staticmethod
    def _column(
        values: list[dict[str, Any]], name: str, width: int, stack: Callable[[list[Any]], Any]
    ) -> Any:
        """Return one stream of all rows; rows without it are hidden.

        Returns
        -------
        (n, width) array, masked where a row is without it
        """
        have = [row[name] for row in values if name in row]
        if len(have) == len(values):
            return stack(have).reshape(len(have), width)
        here = np.array([name in row for row in values])
        table: NDArray[Any] = np.zeros((len(values), width))
        if have:
            table[here] = stack(have).reshape(len(have), width)
        return np.ma.array(table, mask=np.repeat(~here[:, None], width, axis=1))


def _finite(values: Any) -> Any:
    """Return where numbers are finite, or hidden.

    Returns
    -------
    ndarray of bool
    """
    return np.ma.filled(np.isfinite(values), fill_value=True)


def _together(values: list[Any]) -> NDArray[Any]:
    """Return numbers, arrays and tensors as one array, fetched in one transfer.

    Returns
    -------
    ndarray
    """
    kinds = set(map(type, values))
    if not any(issubclass(kind, torch.Tensor) for kind in kinds):
        return np.array(values, dtype=np.float64)
    if len(kinds) > 1 or len({value.dtype for value in values}) > 1:
        return np.array([_alone(value) for value in values])
    stacked = torch.stack(values)
    if stacked.dtype in (torch.float16, torch.bfloat16):
        stacked = stacked.float()
    found: NDArray[Any] = stacked.cpu().numpy()
    return found


def _alone(value: Any) -> NDArray[Any]:
    number = value.detach().cpu().double().numpy() if isinstance(value, torch.Tensor) else value
    return np.asarray(number, dtype=np.float64)


def abandon(rows: Rows, process: int, handles: list[Any]) -> None:
    """Leave a run that nobody closed as one that may go on.

    Parameters
    ----------
    rows : Rows
        What waits to be written.
    process : int
        The one that may write.
    handles : list
        Of the hooks.
    """
    for handle in handles:
        handle.remove()
    if os.getpid() == process:
        with suppress(FileWriteError):
            rows.write()
            rows.recorder.close(RunStatus.RECORDING)
