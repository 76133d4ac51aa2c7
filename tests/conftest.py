"""Seeds from names, draws without sampling error, and one folder of compiled kernels for all."""

from __future__ import annotations

import pytest

from tests.support.kernels import share_kernels

share_kernels()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed derived from the test's name."""
    from tests.support.laws import seed_of

    return seed_of(request.node.nodeid)


@pytest.fixture
def smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closures average over draws without sampling error."""
    from fracsde._closure import search
    from tests.support.wells import spaced

    monkeypatch.setattr(search, "matched_draws", spaced)
