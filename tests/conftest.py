"""Compiled kernels are cached under a hash of all sources, so a stale one is never run.

numba notices a change of the file that holds a cached function, not of the files its callees
come from.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numba
import pytest

ROOT = Path(__file__).resolve().parents[1]


def _source_hash() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted((ROOT / "fracsde").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


numba.config.CACHE_DIR = str(ROOT / ".numba_cache" / _source_hash())


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed derived from the test's name."""
    from tests.support.laws import seed_of

    return seed_of(request.node.nodeid)
