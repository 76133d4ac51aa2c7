"""Sphinx configuration: warnings are errors."""

from __future__ import annotations

from importlib.metadata import version as package_version

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
exclude_patterns = ["_build", "mathematics/_sgd"]
html_theme = "furo"
html_title = "fracsde"
html_static_path: list[str] = []
nitpicky = False

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"

autosummary_generate = True
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
    from pathlib import Path

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


def setup(app) -> None:
    """Connect the citation filter before numpydoc reads the docstrings, and draw the gallery."""
    app.connect("autodoc-process-docstring", _citations_to_roles, priority=100)
    app.connect("builder-inited", _draw_gallery)
