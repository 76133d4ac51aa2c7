"""Modules that need PyTorch are not collected where it is not installed; options of the tests."""

from __future__ import annotations

import gc
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

collect_ignore_glob = [] if find_spec("torch") else ["fracsde/recording/torch/*.py"]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without a search for garbage, a sixth of that time: what is collected stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of coverage repeat all that their table shows."""
    parser.addoption(
        "--whole",
        action="store_true",
        help="repeat each row of tests/test_coverage.py 2000 times, with fresh seeds, too",
    )
