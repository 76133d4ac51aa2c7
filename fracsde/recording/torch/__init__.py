"""Recording of PyTorch runs, and the questions to ask of one first; needs the extra ``torch``.

>>> from fracsde.recording.torch import examine, record

Importing this package without PyTorch raises :class:`~fracsde.errors.BackendUnavailable`.
"""

from __future__ import annotations

from fracsde.errors import BackendUnavailable

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    msg = (
        "`fracsde.recording.torch` needs PyTorch, which is not installed; pip install "
        '"fracsde[torch]"'
    )
    raise BackendUnavailable(msg) from error

from fracsde.recording.torch.probes import Examination, Finding, examine
from fracsde.recording.torch.recorder import TorchRecorder, record

__all__ = ["Examination", "Finding", "TorchRecorder", "examine", "record"]
