"""Settings as plain JSON types: text, whole and finite numbers, lists and dictionaries."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

from fracsde.errors import InputError

__all__ = ["plain", "to_json"]


def plain(name: str, value: Any) -> Any:
    """Return a copy of ``value`` made of plain JSON types.

    NumPy numbers and arrays become numbers and lists, enumerations their name, paths and dates
    text.  JSON has no NaN and no infinity: they become the text ``"nan"``, ``"inf"``, ``"-inf"``.

    Parameters
    ----------
    name : str
        Where the value came from, for the message.
    value : object
        What the caller passed.

    Returns
    -------
    None, bool, int, float, str, list or dict

    Raises
    ------
    InputError
        If a part of it is none of these.
    """
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, PurePath):
        return value.as_posix()
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(f"{name}[{key!r}]", part) for key, part in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        parts = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [plain(f"{name}[{i}]", part) for i, part in enumerate(parts)]
    msg = (
        f"`{name}` must be text, a number, or lists and mappings of these, got "
        f"{type(value).__name__}; pass str(value) if a description is meant"
    )
    raise InputError(msg)


def to_json(content: Mapping[str, Any]) -> str:
    """Return JSON text, the same for the same content, ending in a newline.

    Returns
    -------
    str
    """
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
