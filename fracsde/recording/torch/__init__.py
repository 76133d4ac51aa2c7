"""PyTorch: the only folder that imports it."""

from __future__ import annotations

from fracsde.errors import BackendUnavailable

try:
    import torch as _torch  # noqa: F401
except ImportError as _error:
    _msg = "`recording.torch` needs PyTorch, which is not installed; pip install fracsde[torch]"
    raise BackendUnavailable(_msg) from _error

from fracsde.recording.torch.loss import TorchLoss

__all__ = ["TorchLoss"]
