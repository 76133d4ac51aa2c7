"""Recording runs of training: what to keep, when, and where to.

>>> from fracsde.recording import Every, LogSpaced, RandomProjection, Recorder

The folder is read with :func:`fracsde.open_run`.
"""

from __future__ import annotations

from fracsde.recording.observe import Coordinates, Full, Observe, Projection, RandomProjection
from fracsde.recording.recorder import Recorder
from fracsde.recording.saving import save_run
from fracsde.recording.schedule import AnyOf, Every, LogSpaced, Schedule, Windows
from fracsde.records.store import RunStatus, Stream

__all__ = [
    "AnyOf",
    "Coordinates",
    "Every",
    "Full",
    "LogSpaced",
    "Observe",
    "Projection",
    "RandomProjection",
    "Recorder",
    "RunStatus",
    "Schedule",
    "Stream",
    "Windows",
    "save_run",
]
