"""Sphinx configuration: warnings are errors."""

from __future__ import annotations

import sys
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.kernels import share_kernels

share_kernels()

project = "fracsde"
author = "The fracsde developers"
copyright = "2026, The fracsde developers"
version = release = package_version("fracsde")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx-mathjax-offline",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build", "mathematics/_sgd", "start/drawn"]
html_theme = "furo"
html_title = "fracsde"
html_static_path: list[str] = []
nitpicky = False

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"

autosummary_generate = True
autodoc_mock_imports = [] if find_spec("torch") else ["torch"]
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False


def _citations_to_roles(app, what, name, obj, options, lines) -> None:
    """Turn ``[Key]_`` of docstrings into citations of the one bibliography."""
    import re

    for number, line in enumerate(lines):
        lines[number] = re.sub(r"\[(\w+\d{4}\w?)\]_", r":cite:`\1`", line)


def _draw_gallery(app) -> None:
    """Draw the picture of every gallery script that is older than what it shows."""
    import runpy

    import fracsde

    gallery = Path(app.srcdir) / "gallery"
    drawn = gallery / "drawn"
    drawn.mkdir(exist_ok=True)
    package = Path(fracsde.__path__[0]).rglob("*.py")
    changed = max(path.stat().st_mtime for path in package)
    for script in sorted(gallery.glob("*.py")):
        picture = drawn / f"{script.stem}.png"
        newest = max(changed, script.stat().st_mtime)
        if not picture.exists() or picture.stat().st_mtime < newest:
            runpy.run_path(str(script))["draw"](picture)


def _run_tutorial(app) -> None:
    """Run the PyTorch script of the tutorial and keep what it prints and draws.

    It runs again when the script or the package is newer than the result; without PyTorch the page
    says so in place of the result.

    Raises
    ------
    RuntimeError
        If the script fails; holds what it said.
    """
    import os
    import shutil
    import subprocess

    import fracsde

    start = Path(app.srcdir) / "start"
    script, drawn = start / "pytorch_run.py", start / "drawn"
    drawn.mkdir(exist_ok=True)
    printed = drawn / "pytorch-printed.md"
    if not find_spec("torch"):
        printed.write_text("PyTorch is not installed here: the script was not run.\n")
        return
    picture = drawn / "pytorch-ratios.png"
    package = Path(fracsde.__path__[0]).rglob("*.py")
    newest = max(path.stat().st_mtime for path in (*package, script))
    if picture.exists() and printed.exists() and printed.stat().st_mtime > newest:
        return
    folder = drawn / "run"
    shutil.rmtree(folder, ignore_errors=True)
    root = str(Path(app.srcdir).parent)
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(script), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1"},
    )
    if done.returncode:
        msg = f"{script.name} failed:\n{done.stderr}"
        raise RuntimeError(msg)
    shutil.move(folder / "ratios.png", picture)
    shutil.rmtree(folder)
    block = f"```text\n{done.stdout.strip()}\n```\n"
    image = "```{image} drawn/pytorch-ratios.png\n:alt: Measured over predicted variances\n```\n"
    printed.write_text(f"{block}\n{image}", encoding="utf-8")


def _make_pictures(app) -> None:
    """Draw the gallery while the tutorial runs in its process."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=1) as pool:
        tutorial = pool.submit(_run_tutorial, app)
        _draw_gallery(app)
        tutorial.result()


def setup(app) -> None:
    """Connect the citation filter and what makes pictures."""
    app.connect("autodoc-process-docstring", _citations_to_roles, priority=100)
    app.connect("builder-inited", _make_pictures)
