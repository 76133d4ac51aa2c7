"""The façade: every name is there, is what its home holds, and nothing is computed on import."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import fracsde


@pytest.mark.parametrize("name", fracsde.__all__)
def test_name_is_the_object_of_its_home_and_is_documented(name: str) -> None:
    value = getattr(fracsde, name)
    assert value is getattr(import_module(f"fracsde.{fracsde._HOME[name]}"), name)
    assert value.__doc__


def test_verb_stays_a_verb_after_its_module_was_imported() -> None:
    import_module("fracsde.solve")
    assert callable(fracsde.solve)


def test_import_is_lazy() -> None:
    code = "import sys, fracsde; sys.exit(any(m in sys.modules for m in ('numba', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fracsde.nothing


def test_types_are_those_of_the_facade() -> None:
    stub = Path(fracsde.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    pairs = re.findall(r"^from fracsde\.([\w.]+) import \w+ as (\w+)$", stub, re.MULTILINE)
    seen = {name: home for home, name in pairs}
    assert seen == fracsde._HOME
    folders = set(re.findall(r"^from fracsde import \w+ as (\w+)$", stub, re.MULTILINE))
    assert folders == set(fracsde._FOLDERS)
