"""Commands run in the process of the test, as a shell would run them."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fracsde.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Shown:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def shown_by(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: object) -> Shown:
    """Run a command in ``folder``; what :func:`main` does not catch fails the test."""
    with monkeypatch.context() as shell:
        shell.chdir(folder)
        out, err = io.StringIO(), io.StringIO()
        shell.setattr(sys, "argv", ["fracsde", *map(str, arguments)])
        shell.setattr(sys, "stdout", out)
        shell.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as caught:
            main()
    found = Shown(int(caught.value.code or 0), out.getvalue(), err.getvalue())
    assert "Traceback" not in found.err
    return found
