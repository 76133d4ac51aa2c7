"""Compiled kernels are kept under a hash of all sources, so a stale one is never run.

numba notices a change of the file that holds a cached function, not of the files its callees
come from.  Tests, the processes they start and the documentation share one folder.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numba

ROOT = Path(__file__).resolve().parents[2]


def _source_hash() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted((ROOT / "fracsde").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def share_kernels() -> None:
    """Let this process, and those it starts, keep what they compile where the others look."""
    folder = str(ROOT / ".numba_cache" / _source_hash())
    numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = folder
