"""Modules that need PyTorch are not collected where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["fracsde/recording/torch/*.py"]
