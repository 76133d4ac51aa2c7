"""Rows that wait to be written: many are fetched and written at once, at most a second late.

Between two steps of training every call is slow, since its code and data have left the caches;
and on a device every transfer waits for all that was asked of it.  So a row is only put down when
its step is made.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fracsde.recording.recorder import Recorder

__all__ = ["Rows"]

_MOST = 256  # rows
_NUMBERS = 2**22  # that wait at most
_SECONDS = 1.0
_PRODUCTS = ("weight_dot_gradient", "gradient_norm_squared", "weight_norm_squared")


class Rows:
    """The rows of the last steps.

    Parameters
    ----------
    recorder : Recorder
        Writes them.
    reader : HostReader or TensorReader
        Made them; may be replaced while none is waiting.
    width : int
        Numbers observed.
    kept : sequence of str
        Streams beside the weights.
    """

    def __init__(self, recorder: Recorder, reader: Any, width: int, kept: Sequence[str]) -> None:
        self.recorder, self.reader = recorder, reader
        self._kept = tuple(kept)
        self._most = max(1, min(_MOST, _NUMBERS // (width * (1 + ("gradients" in kept)))))
        self._steps: list[int] = []
        self._values: list[dict[str, Any]] = []
        self._since = monotonic()

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
        self._steps.append(step)
        self._values.append(values)
        return len(self._steps) >= self._most or monotonic() - self._since > _SECONDS

    def write(self) -> int | None:
        """Write the rows that wait.

        Returns
        -------
        int or None
            The first step at which weights or gradient are not finite.
        """
        steps, values = self._steps, self._values
        self._steps, self._values, self._since = [], [], monotonic()
        if not steps:
            return None
        observed = self.reader.fetch([row["weights"] for row in values])
        streams: dict[str, Any] = {}
        if "gradient_norm_squared" in self._kept:
            table = self._column(values, "products", 3)
            streams.update(zip(_PRODUCTS, np.ma.hsplit(table, 3), strict=True))
        for stream in self.recorder.streams[1:]:
            if stream.name not in streams:
                streams[stream.name] = self._column(values, stream.name, stream.width)
        self.recorder.record_block(steps, observed, **streams)
        finite = np.isfinite(observed).all(axis=1)
        for name in {"gradients", "gradient_norm_squared"} & set(streams):
            finite &= np.isfinite(streams[name]).filled(fill_value=True).all(axis=1)
        return None if finite.all() else steps[int(np.argmin(finite))]

    def _column(self, values: list[dict[str, Any]], name: str, width: int) -> Any:
        """Return one stream of all rows; rows without it are hidden.

        Returns
        -------
        (n, width) masked array
        """
        have = [row[name] for row in values if name in row]
        table: NDArray[Any] = np.zeros((len(values), width))
        here = np.array([name in row for row in values])
        if have:
            away = any(isinstance(value, torch.Tensor) for value in have)
            found = self._together(have) if away else np.array(have, dtype=np.float64)
            table[here] = found.reshape(len(have), width)
        return np.ma.array(table, mask=np.repeat(~here[:, None], width, axis=1))

    @staticmethod
    def _together(values: list[Any]) -> NDArray[Any]:
        home = next(value.device for value in values if isinstance(value, torch.Tensor))
        types = {getattr(value, "dtype", None) for value in values}
        if len(types) > 1 or types & {torch.float16, torch.bfloat16}:
            kind = torch.float64 if torch.float64 in types else torch.float32
            values = [torch.as_tensor(value).to(home, kind) for value in values]
        stacked: NDArray[Any] = torch.stack(values).cpu().numpy()
        return stacked
