"""Engines: listed lazily, refused by name with what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fracsde.backends import registry
from fracsde.backends.registry import available, require
from fracsde.errors import BackendUnavailable


def test_lists_the_fastest_first_and_the_reference_always() -> None:
    assert list(available()) == ["numba", "numpy"]
    assert available()["numpy"]


def test_auto_takes_the_fastest_installed() -> None:
    name, module = require("auto")
    assert name == next(name for name, there in available().items() if there)
    assert module.__name__.startswith("fracsde.backends.")


def test_every_engine_has_the_same_functions() -> None:
    for name in available():
        _, module = require(name)
        for function in ("standard_normals", "dense_paths", "momentum_paths", "decoupled_paths"):
            assert callable(getattr(module, function))


def test_importing_the_registry_imports_no_engine() -> None:
    code = (
        "import sys, fracsde.backends.registry as r; r.available(); "
        "assert 'numba' not in sys.modules, 'numba was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_refuses_an_unknown_engine_and_lists_the_known() -> None:
    with pytest.raises(BackendUnavailable, match="one of 'auto', 'numba', 'numpy', got 'cupy'"):
        require("cupy")


def test_refuses_an_absent_engine_and_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "numba" else object())
    with pytest.raises(BackendUnavailable, match="pip install numba"):
        require("numba")
    assert require("auto")[0] == "numpy"


def test_refuses_a_name_that_is_no_text() -> None:
    with pytest.raises(BackendUnavailable, match="`backend` must be one of"):
        require(["numba"])
