"""A process that records and says so, row by row, until it is killed.

``python -m tests.recording.recording_child FOLDER CHAIN STOP PARAMETERS [buffered]``
"""

from __future__ import annotations

import os
import sys

import numpy as np

from fracsde.recording import Recorder
from fracsde.records._store.journal import Journal


def weights(step: int, parameters: int) -> np.ndarray:
    """Return the weights that step holds: a function of the step alone."""
    return np.random.default_rng(step).normal(size=parameters).astype("float32")


class Buffered(Journal):
    """The damage: rows are kept back and written sixteen at a time."""

    kept: bytes = b""

    def append(self, parts: tuple[memoryview, ...], last: int) -> None:
        row = b"".join(parts)
        self.kept += row
        if len(self.kept) >= 16 * len(row):
            super().append((memoryview(self.kept),), last)
            self.kept = b""


def main(folder: str, chain: str, stop: str, parameters: str, *damage: str) -> None:
    if damage:
        from fracsde.recording import _chain as module

        module.Journal = Buffered  # type: ignore[misc]
    size = int(parameters)
    with Recorder(
        folder,
        parameters=size,
        streams={"loss": 1, "pair": 2},
        chain=int(chain),
        metadata={"training": {"learning_rate": 0.1}},
        resume=True,
    ) as recorder:
        os.write(1, b"r")  # ready
        for step in range(recorder.next_step, int(stop)):
            recorder.record(step, weights(step, size), loss=0.5 * step, pair=[step, -step])
            os.write(1, b".")
            if step % 5 == 4:
                recorder.attach("curvature", hessian=np.full((60, 60), float(step)))
                recorder.update_metadata({"reached": step})
                os.write(1, b"a")


if __name__ == "__main__":
    main(*sys.argv[1:])
