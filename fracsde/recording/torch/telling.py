"""What a recorder warns of, in words: training goes on, and what is recorded of it does not."""

from __future__ import annotations

import os
import warnings
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fracsde.recording.torch.parameters import TrainedParameters
    from fracsde.recording.torch.recorder import TorchRecorder

__all__ = ["ANEW", "reloaded", "tell_divergence", "tell_lost", "unrecorded"]

ANEW = "record what follows as a run of its own"
_ATTACH = (
    "where the optimiser was replaced, close the recorder there and call record(model, optimizer, "
    "path, resume=True) with the new one before its first step; or " + ANEW
)


def tell_divergence(step: int, path: Path, *, stops: bool) -> None:
    """Warn of numbers that are not finite.

    Parameters
    ----------
    step : int
        The first step with one.
    path : path-like
        Folder of the run.
    stops : bool
        Whether recording ends.
    """
    message = (
        f"the run diverged: weights or gradient of step {step}, or their squares, are not "
        f"finite; recording {'has stopped' if stops else 'goes on'}, in {path}"
    )
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def tell_lost(parameters: TrainedParameters, optimizer: Any, path: Path) -> bool:
    """Warn of tensors that optimiser or model have put down or taken up since.

    Parameters
    ----------
    parameters : TrainedParameters
        What is recorded.
    optimizer : torch.optim.Optimizer or None
        What moves it, if it is still there.
    path : path-like
        Folder of the run.

    Returns
    -------
    bool
        Whether there are such.
    """
    lost = None if optimizer is None else parameters.lost(optimizer)
    if lost is not None:
        warnings.warn(f"{lost}, in {path}; {ANEW}", RuntimeWarning, stacklevel=3)
    return lost is not None


def reloaded(recorder: TorchRecorder) -> Callable[[Any], None]:
    """Return what warns of a state that is loaded into an optimiser in the middle of a record.

    Parameters
    ----------
    recorder : TorchRecorder
        Whose steps go on; it is not kept alive.

    Returns
    -------
    callable
        To be called with the optimiser.
    """
    path, process, held = recorder.path, os.getpid(), weakref.ref(recorder)
    start = recorder._step

    def tell(optimizer: Any) -> None:
        alive = held()
        if alive is None or os.getpid() != process or alive._step == start:
            return
        message = (
            "a state was loaded into the recorded optimiser in mid-run, and steps are counted on "
            f"as if none had been, in {path}; to go back to a checkpoint, close the recorder, load "
            "model and optimiser, and call record(..., resume=step) with the step of the "
            "checkpoint; to take up another run, " + ANEW
        )
        warnings.warn(message, RuntimeWarning, stacklevel=3)

    return tell


def unrecorded(recorder: TorchRecorder) -> Callable[[int], None]:
    """Return what warns that something else than the recorded optimiser moves the weights.

    Parameters
    ----------
    recorder : TorchRecorder
        Whose steps end; it is not kept alive.

    Returns
    -------
    callable
        To be called with the number of batches without a step.
    """
    path, process, held = recorder.path, os.getpid(), weakref.ref(recorder)

    def tell(batches: int) -> None:
        if os.getpid() != process:
            return
        alive = held()
        if alive is None:
            found = "the optimiser that was recorded is gone, and"
        else:
            found = f"the recorded optimiser has made no step after step {alive._step}, but"
        message = (
            f"{found} the weights changed with each of the {batches} batches since: another "
            f"optimiser moves them, or code of yours, and nothing of it is recorded, in {path}; "
            f"{_ATTACH}"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=2)

    return tell
