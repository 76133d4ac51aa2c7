"""PyTorch runs: recording them, questions to ask first, and a model as a loss; the extra ``torch``.

>>> from fracsde.recording.torch import TorchLoss, examine, record

Importing this package without PyTorch raises :class:`~fracsde.errors.BackendUnavailable`.
"""

from __future__ import annotations

from fracsde.errors import BackendUnavailable

try:
    import torch as _torch  # noqa: F401
except ImportError as _error:
    _msg = (
        "`fracsde.recording.torch` needs PyTorch, which is not installed; pip install "
        '"fracsde[torch]"'
    )
    raise BackendUnavailable(_msg) from _error

from fracsde.recording.torch.attaching import record
from fracsde.recording.torch.loss import TorchLoss
from fracsde.recording.torch.probes import Examination, Finding, examine
from fracsde.recording.torch.recorder import TorchRecorder

__all__ = ["Examination", "Finding", "TorchLoss", "TorchRecorder", "examine", "record"]
