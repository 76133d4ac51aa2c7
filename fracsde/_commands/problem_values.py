"""What a problem file is made of: tables with known keys, times, and methods by name."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import fracsde
from fracsde._check import finite_array
from fracsde.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fracsde._typing import FloatArray
    from fracsde.grids import TimeGrid

__all__ = [
    "SCHEMES",
    "SPACES",
    "SYSTEM_SCHEMES",
    "read_named",
    "read_table",
    "read_times",
    "refuse_large_numbers",
    "refuse_unknown",
    "tuples",
]

SCHEMES = (
    "Propagator",
    "L1",
    "L12",
    "L2Sigma",
    "GrunwaldLetnikov",
    "ConvolutionQuadrature",
    "HpCollocation",
    "LeMcLeanMustapha",
)
SYSTEM_SCHEMES = ("Adaptive", *SCHEMES[1:6])
_HISTORIES = ("Direct", "BlockFFT", "Exponentials", "AllAtOnce")
SPACES = ("FiniteVolume", "Richardson", "Sinc", "Hermite")
_MESHES = {"uniform": ("end", "steps"), "graded": ("end", "steps", "exponent")}
_MESHES["geometric"] = ("first", "end", "steps")


def read_table(name: str, value: Any) -> Mapping[str, Any]:
    """Return a table.

    Parameters
    ----------
    name : str
        Its name in the file.
    value : object
        What stands there.

    Returns
    -------
    mapping

    Raises
    ------
    InputError
        If it is not a table.
    """
    if not isinstance(value, dict):
        msg = f"`{name}` must be a table, got {value!r}; write [{name}] on a line of its own"
        raise InputError(msg)
    return value


def refuse_large_numbers(value: Any, place: str = "") -> None:
    """Refuse integers that TOML does not have, those beyond 64 bits.

    Parameters
    ----------
    value : object
        What a file holds.
    place : str
        Its key.

    Raises
    ------
    InputError
        If there is one.
    """
    if isinstance(value, dict):
        for key, each in value.items():
            refuse_large_numbers(each, key)
    elif isinstance(value, list):
        for each in value:
            refuse_large_numbers(each, place)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        msg = f"`{place}` holds a whole number beyond 64 bits; write 1e30, with an exponent"
        raise InputError(msg)


def refuse_unknown(where: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuse keys that mean nothing, and guess what was meant.

    Parameters
    ----------
    where : str
        The table, for the message.
    given, allowed : iterable of str
        Keys.

    Raises
    ------
    InputError
        If a given key is not allowed.
    """
    allowed = list(allowed)
    for key in given:
        if key not in allowed:
            near = get_close_matches(key, allowed, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(allowed)}"
            msg = f"{where} has no key {key!r}; {hint}"
            raise InputError(msg)


def tuples(value: Any) -> Any:
    """Return lists of lists as tuples of tuples.

    Returns
    -------
    object
    """
    return tuple(tuples(each) for each in value) if isinstance(value, list) else value


def read_times(table: Mapping[str, Any]) -> TimeGrid | FloatArray:
    """Return the wanted times, or a mesh.

    Parameters
    ----------
    table : mapping
        One key: ``at``, ``uniform``, ``graded`` or ``geometric``.

    Returns
    -------
    TimeGrid or ndarray

    Raises
    ------
    InputError
        If it is another, or not one.
    """
    kinds = ("at", *_MESHES)
    refuse_unknown("[times]", table, kinds)
    if len(table) != 1:
        msg = f"[times] needs one of {', '.join(kinds)}, got {', '.join(table) or 'nothing'}"
        raise InputError(msg)
    kind, value = next(iter(table.items()))
    if kind == "at":
        return finite_array("[times] at", value, ndim=(0, 1), remedy="write at = [0.1, 1.0]")
    given = read_table(f"times.{kind}", value)
    refuse_unknown(f"[times] {kind}", given, _MESHES[kind])
    missing = [key for key in _MESHES[kind] if key not in given]
    if missing:
        msg = f"[times] {kind} needs {', '.join(f'`{key}`' for key in missing)}"
        raise InputError(msg)
    make: Callable[..., TimeGrid] = getattr(fracsde.TimeGrid, kind)
    return make(*(given[key] for key in _MESHES[kind]))


def read_named(where: str, value: Any, allowed: tuple[str, ...]) -> Any:
    """Return a frozen value of the package from its name and options.

    Parameters
    ----------
    where : str
        Place in the file, for messages.
    value : str, mapping or None
        A name, or a table with ``name`` and the options of that name.
    allowed : tuple of str
        Names that can stand there.

    Returns
    -------
    object
        ``None`` for ``None``.

    Raises
    ------
    InputError
        If the name or an option does not exist.
    """
    if value is None:
        return None
    options = {"name": value} if isinstance(value, str) else dict(read_table(where, value))
    name = options.pop("name", None)
    if name not in allowed:
        near = get_close_matches(str(name), allowed, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(allowed)}"
        msg = f"`{where}` has no {name!r}; {hint}"
        raise InputError(msg)
    kind = getattr(fracsde, name)
    refuse_unknown(f"`{where}` {name}", options, [each.name for each in fields(kind) if each.init])
    for key, each in options.items():
        if key == "history":
            options[key] = read_named(f"{where}.history", each, _HISTORIES)
        elif isinstance(each, list):
            options[key] = tuples(each)
    return kind(**options)
