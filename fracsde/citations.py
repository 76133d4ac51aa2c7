"""Credit for what was actually used: ``cite(result, scheme, ...)`` prints BibTeX.

A class names its sources in a class attribute ``citation``, a tuple of keys of the one
bibliography.  Objects that hold other objects, as a solution holds its scheme, are searched.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from fracsde.errors import InputError

__all__ = ["bibliography", "cite"]


@cache
def bibliography() -> dict[str, str]:
    """Return the BibTeX entries by key.

    Returns
    -------
    dict of str to str
    """
    packaged = resources.files("fracsde") / "references.bib"
    # An editable install has the file in its source place only.
    source = Path(__file__).resolve().parents[1] / "docs" / "references.bib"
    text = (packaged if packaged.is_file() else source).read_text(encoding="utf-8")
    entries = re.findall(r"^@\w+\{(\w+),.*?^\}", text, flags=re.MULTILINE | re.DOTALL)
    bodies = re.findall(r"^@\w+\{\w+,.*?^\}", text, flags=re.MULTILINE | re.DOTALL)
    return dict(zip(entries, bodies, strict=True))


def cite(*objects: Any) -> str:
    """Return BibTeX for the methods behind ``objects``.

    Parameters
    ----------
    *objects : object
        Results, schemes, processes or classes of fracsde; with none, the four papers that the
        package implements.

    Returns
    -------
    str
        BibTeX entries in the order of first use, without repetition.

    Raises
    ------
    InputError
        If an object has no sources of its own or inside it.

    Examples
    --------
    >>> from fracsde.problems.ornstein_uhlenbeck import OUProcess
    >>> print(cite(OUProcess(drift=1.0, noise=2.0)).splitlines()[0])
    @article{UhlenbeckOrnstein1930,
    """
    keys: dict[str, None] = {}
    if not objects:
        keys = dict.fromkeys(("Mandt2017", "SmithLe2018", "Mingard2021", "Hennick2025"))
    for item in objects:
        found = _keys(item, depth=0)
        if not found:
            msg = (
                f"`cite` found no source for {type(item).__name__}; pass a process, a scheme or a "
                "result of fracsde"
            )
            raise InputError(msg)
        keys.update(dict.fromkeys(found))
    entries = bibliography()
    return "\n\n".join(entries[key] for key in keys)


def _keys(item: Any, depth: int) -> list[str]:
    found = list(getattr(item, "citation", ()))
    if depth < 4 and is_dataclass(item) and not isinstance(item, type):
        for field in fields(item):
            found += _keys(getattr(item, field.name), depth + 1)
    return found
