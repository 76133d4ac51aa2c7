"""Where a result came from: versions, engine, seed and a hash of the input."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np

__all__ = ["Provenance", "input_hash", "provenance"]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What is needed to make a result again.

    Parameters
    ----------
    backend : str
        The engine that ran.
    seed : str
        The random seed, empty where nothing random happened.
    input_hash : str
        Hash of the input, see :func:`input_hash`.
    versions : tuple of (str, str)
        Package and version, sorted by package.
    """

    backend: str
    seed: str
    input_hash: str
    versions: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON types.

        Returns
        -------
        dict
        """
        return {
            "backend": self.backend,
            "seed": self.seed,
            "input_hash": self.input_hash,
            "versions": dict(self.versions),
        }


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    for package in ("fracsde", "numba", "numpy", "scipy"):
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            found.append((package, "not installed"))
    return tuple(sorted(found))


def provenance(*inputs: Any, backend: str = "numpy", seed: Any = "") -> Provenance:
    """Describe a computation on ``inputs``.

    Parameters
    ----------
    *inputs : object
        What went in: arrays, numbers, strings, frozen dataclasses, and containers of these.
    backend : str
        The engine that ran.
    seed : object
        The seed, kept as text.

    Returns
    -------
    Provenance
    """
    return Provenance(
        backend=backend, seed=str(seed), input_hash=input_hash(*inputs), versions=_versions()
    )


def input_hash(*inputs: Any) -> str:
    """Hash the content of ``inputs``: equal content, equal hash, on every machine.

    Parameters
    ----------
    *inputs : object
        Arrays, numbers, strings, frozen dataclasses, and containers of these.  A callable
        counts by its qualified name alone.

    Returns
    -------
    str
        Sixteen hexadecimal digits.

    Examples
    --------
    >>> input_hash(np.arange(3.0)) == input_hash([0.0, 1.0, 2.0])
    False
    >>> input_hash(np.arange(3.0)) == input_hash(np.arange(3.0).copy())
    True
    """
    digest = hashlib.sha256()
    for item in inputs:
        _feed(digest, item)
    return digest.hexdigest()[:16]


def _feed(digest: Any, item: Any) -> None:
    if isinstance(item, np.ndarray):
        digest.update(f"array:{item.dtype.str}:{item.shape}:".encode())
        data = np.ascontiguousarray(item)
        # A gigabyte of numbers is read in place.
        digest.update(data if data.dtype.kind in "biufc" else data.tobytes())
    elif is_dataclass(item) and not isinstance(item, type):
        digest.update(f"{type(item).__qualname__}:".encode())
        for field in fields(item):
            digest.update(f"{field.name}=".encode())
            _feed(digest, getattr(item, field.name))
    elif isinstance(item, dict):
        for key in sorted(item, key=str):
            digest.update(f"{key}=".encode())
            _feed(digest, item[key])
    elif isinstance(item, (list, tuple)):
        digest.update(f"{type(item).__name__}:{len(item)}:".encode())
        for part in item:
            _feed(digest, part)
    elif callable(item):
        digest.update(f"callable:{getattr(item, '__qualname__', type(item).__name__)};".encode())
    else:
        digest.update(f"{type(item).__name__}:{item!r};".encode())
