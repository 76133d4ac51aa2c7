"""Citations that execute."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import fracsde as fs
from fracsde.citations import bibliography, cite
from fracsde.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


def test_cites_what_was_used_without_repetition() -> None:
    sgd = fs.SGDNearMinimum(
        hessian=np.eye(2), gradient_noise=np.eye(2), learning_rate=0.1, batch_size=4
    )
    text = cite(sgd, sgd.flow(), sgd)
    keys = re.findall(r"^@\w+\{(\w+),", text, flags=re.MULTILINE)
    assert keys == ["Mandt2017", "Liu2021", "UhlenbeckOrnstein1930", "Gardiner2009"]


def test_without_arguments_cites_the_four_papers() -> None:
    assert cite().count("@") == 4


def test_refuses_what_has_no_source() -> None:
    with pytest.raises(InputError, match="found no source for int"):
        cite(3)


def test_every_key_in_the_package_has_an_entry() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "fracsde").rglob("*.py"))
    used = set(re.findall(r"\[(\w+\d{4}\w?)\]_", text))
    named = re.findall(r"citation: ClassVar\[tuple\[str, \.\.\.\]\] = \(([^)]*)\)", text)
    used |= set(re.findall(r'"(\w+)"', " ".join(named)))
    assert used
    assert used <= set(bibliography())


def test_every_entry_is_whole() -> None:
    for key, entry in bibliography().items():
        assert entry.count("{") == entry.count("}"), key
        assert all(f"{field} " in entry or f"{field}=" in entry for field in ("title", "year")), key
