"""Going on with a recorded run: the model must be where the record says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import integer
from fracsde.errors import RecordError
from fracsde.recording._folder import bind_stored, place_of_run
from fracsde.recording.torch.reading import reader_for
from fracsde.records.store import open_run

if TYPE_CHECKING:
    import os

    from fracsde.recording.observe import Observe
    from fracsde.recording.torch.parameters import TrainedParameters
    from fracsde.records.store import StoredRun

__all__ = ["resumed_at", "stored_at"]


def stored_at(path: str | os.PathLike[str]) -> StoredRun | None:
    """Return the run in a folder, None where there is none.

    Parameters
    ----------
    path : path-like
        The folder.

    Returns
    -------
    StoredRun or None
    """
    place = place_of_run(path)
    return open_run(place) if (place / "run.json").exists() else None


def resumed_at(
    stored: StoredRun | None,
    chain: int,
    resume: bool | int,
    parameters: TrainedParameters,
    observe: Observe,
    dtype: str,
) -> tuple[int, int | None]:
    """Return the step of the model and the step to rewind to; the model must be where it was.

    Parameters
    ----------
    stored : StoredRun or None
        What is recorded.
    chain : int
        Number of the chain.
    resume : bool or int
        As in :func:`~fracsde.recording.torch.record`.
    parameters : TrainedParameters
        The tensors.
    observe : Observe
        What is kept of them.
    dtype : {"float32", "float64"}
        In which precision.

    Returns
    -------
    (int, int or None)

    Raises
    ------
    RecordError
        If a recorded step has other weights than the model.
    """
    if resume is False:
        return 0, None
    asked = None if resume is True else integer("resume", resume, low=0)
    recorded = stored is not None and chain in stored.chains and len(stored.steps(chain)) > 0
    if stored is None or not recorded:
        return asked or 0, None
    steps = stored.steps(chain)
    step = int(steps[-1]) if asked is None else asked
    row = int(np.searchsorted(steps, step))
    if row < len(steps) and steps[row] == step:
        bound = bind_stored(stored.path, observe, parameters.count, dtype)
        reader = reader_for(parameters, bound, dtype)
        here = np.asarray(reader.fetch([reader.weights(0)])[0], dtype=np.float64)
        there = np.asarray(stored.array("weights", chain)[row], dtype=np.float64)
        width = 64 * np.finfo(dtype).eps * float(np.abs(there).max())
        if here.shape == there.shape and float(np.abs(here - there).max()) > width:
            msg = (
                f"the model is not where chain {chain} of {stored.path} was after step {step}: "
                f"observed weights differ by up to {np.abs(here - there).max():.3g}; load the "
                "checkpoint before `record`, and pass its step as `resume`"
            )
            raise RecordError(msg)
    return step, asked
