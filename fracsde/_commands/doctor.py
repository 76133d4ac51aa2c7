"""The command that says what is installed and what the machine offers."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from fracsde._commands.options import Json  # noqa: TC001 - Typer reads it

__all__ = ["doctor"]

_THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def doctor(as_json: Json = False) -> None:
    """Say which engines and optional packages are installed, and where compiled code is kept."""
    found = _facts()
    typer.echo(json.dumps(found, indent=1) if as_json else _text(found))


def _facts() -> dict[str, Any]:
    from fracsde.backends import registry

    engines = [
        {"name": e.name, "installed": e.installed, "version": _version(e.needs), "about": e.about}
        | {"install": e.install}
        for e in reversed(registry.BACKENDS)
    ]
    packages = [
        {
            "name": package,
            "installed": find_spec(package) is not None,
            "version": _version(package),
            "about": about,
            "install": install,
        }
        for package, install, about in registry.OPTIONAL
    ]
    return {
        "fracsde": _version("fracsde"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "threads": {name: os.environ[name] for name in _THREADS if name in os.environ},
        "engines": engines,
        "packages": packages,
        "cache": _cache(),
    }


def _version(package: str) -> str | None:
    names = {"sklearn": "scikit-learn", "tables": "pytables"}
    try:
        return metadata.version(names.get(package, package))
    except metadata.PackageNotFoundError:
        return None


def _cache() -> dict[str, Any]:
    """Return where compiled kernels are kept, and whether they can be."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else Path(__file__).parent / "backends" / "__pycache__"
    around = folder if folder.exists() else folder.parent
    try:
        with tempfile.TemporaryFile(dir=around):
            writable = True
    except OSError:
        writable = False
    return {"folder": str(folder), "writable": writable}


def _text(found: dict[str, Any]) -> str:
    lines = [f"fracsde {found['fracsde']} on Python {found['python']}, {found['cpus']} CPUs"]
    lines += [f"{name} = {value}" for name, value in found["threads"].items()]
    rows = []
    for heading in ("engines", "packages"):
        for each in found[heading]:
            state = each["version"] or "installed" if each["installed"] else "not installed"
            advice = "" if each["installed"] else f": {each['install']}"
            rows.append([each["name"], state, f"{each['about']}{advice}"])
    lines += ["", _left(rows), ""]
    cache = found["cache"]
    state = "writable" if cache["writable"] else "not writable: kernels are compiled in each run"
    lines.append(f"compiled kernels: {cache['folder']}, {state}")
    return "\n".join(lines)


def _left(rows: list[list[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(2)]
    return "\n".join(
        f"{name.ljust(widths[0])}  {state.ljust(widths[1])}  {about}" for name, state, about in rows
    )
