"""Seeds from names, and one folder of compiled kernels for all."""

from __future__ import annotations

import pytest

from tests.support.kernels import share_kernels

share_kernels()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed derived from the test's name."""
    from tests.support.laws import seed_of

    return seed_of(request.node.nodeid)
