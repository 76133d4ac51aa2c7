"""What the README and the documentation show runs as shown."""

from __future__ import annotations

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _example(path: Path) -> str:
    spec = importlib.util.spec_from_file_location("readme_example", ROOT / "docs/readme_example.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.example(path)


def test_readme_example_runs_and_agrees(tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    program.write_text(_example(ROOT / "README.md"), encoding="utf-8")
    shown = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert shown.returncode == 0, shown.stderr
    assert "AGREES" in shown.stdout


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_examples_of_the_pages_are_true(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    source = "\n".join(block for block in blocks if ">>>" in block)
    test = doctest.DocTestParser().get_doctest(source, {}, page.name, str(page), 0)
    failed, _ = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert failed == 0


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_pages_name_only_what_exists(page: Path) -> None:
    import fracsde as fs

    text = page.read_text(encoding="utf-8")
    names = set(re.findall(r"\bfs\.(\w+)", text))
    assert all(hasattr(fs, name) for name in names), names
    inner = set(re.findall(r"\bestimators\.(\w+)", text))
    assert all(hasattr(fs.estimators, name) for name in inner), inner
