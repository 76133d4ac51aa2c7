r"""Problems written in TOML: what ``fracsde solve`` reads.

A file has up to five tables; everything in it is data, and expressions are read by a whitelist
(:mod:`fracsde.problems.expressions`), never evaluated as code:

.. code-block:: toml

    [problem]                       # the operator L p = div(p grad V) - div(F p) + div(D grad p)
    variables = ["x"]               # default x, or x, y (and z) by the number of axes
    potential = "x**4/4 - x**2/2"
    diffusion = 0.2                 # a number, one per axis, a matrix or an expression
    domain = [-inf, inf]            # one pair per axis
    parameters = {}                 # numbers that expressions may name

    [start]                         # gaussian, point or density
    gaussian = {mean = 1.0, std = 0.3}

    [clock]                         # ordinary if absent
    alpha = 0.6

    [times]                         # at = [...], or uniform, graded or geometric meshes
    at = [0.1, 1.0, 10.0]

    [method]                        # scheme and space by name, with their options
    scheme = {name = "L1", history = {name = "Exponentials", rtol = 1e-10}}
    space = {name = "FiniteVolume", cells = 512}

A system of fractional ordinary differential equations stands in a table ``[system]`` instead of
the first three (:mod:`fracsde._commands.system_file`).

Not here: the command itself (:mod:`fracsde._commands.solving`).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fracsde
from fracsde._check import finite_array
from fracsde._commands.problem_values import (
    SCHEMES,
    SPACES,
    SYSTEM_SCHEMES,
    read_named,
    read_table,
    read_times,
    refuse_large_numbers,
    refuse_unknown,
    tuples,
)
from fracsde._commands.system_file import read_system
from fracsde.errors import InputError
from fracsde.problems.expressions import Expression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["Job", "read_job"]

_TABLES = {
    "problem": ("problem", "start", "clock", "times", "method"),
    "system": ("system", "times", "method"),
}
_PROBLEM = (
    "variables",
    "parameters",
    "potential",
    "force",
    "diffusion",
    "domain",
    "boundary",
    "source",
    "reaction",
    "time_dependent",
)
_LARGEST_FILE = 1_000_000  # bytes
_MOST_AXES = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a file asks for.

    Parameters
    ----------
    problem : FokkerPlanck, FractionalFokkerPlanck or FractionalODE
        The problem.
    times : TimeGrid or (t,) ndarray [t]
        A mesh, or the wanted times.
    scheme, space : object or None
        Methods; ``None`` leaves the choice to ``solve``.
    """

    problem: Any
    times: Any
    scheme: Any
    space: Any


def read_job(path: Path) -> Job:
    """Read a problem file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Job

    Raises
    ------
    InputError
        If the file cannot be read, is not TOML, or asks for something that does not exist; the
        message names the table and the key.
    """
    content = _content(path)
    kind = "system" if "system" in content else "problem"
    refuse_unknown("the file", content, _TABLES[kind])
    for table in ("system", "times") if kind == "system" else ("problem", "start", "times"):
        if table not in content:
            msg = f"`{path}` needs a table [{table}]; `fracsde solve --example` prints a whole file"
            raise InputError(msg)
    method = read_table("method", content.get("method", {}))
    refuse_unknown("[method]", method, ("scheme", "space"))
    given = method.get("space")
    times = read_times(read_table("times", content["times"]))
    if kind == "system":
        refuse_unknown("[method]", method, ("scheme",))
        scheme = read_named("method.scheme", method.get("scheme"), SYSTEM_SCHEMES)
        return Job(problem=read_system(content["system"]), times=times, scheme=scheme, space=None)
    return Job(
        problem=_clocked(_base(content), read_table("clock", content.get("clock", {}))),
        times=times,
        scheme=read_named("method.scheme", method.get("scheme"), SCHEMES),
        space=given if given == "auto" else read_named("method.space", given, SPACES),
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        msg = f"`{path}` cannot be read: {error.strerror}; pass a TOML file"
        raise InputError(msg) from error
    if len(raw) > _LARGEST_FILE:
        msg = f"`{path}` is longer than {_LARGEST_FILE} bytes, no problem is; pass a TOML file"
        raise InputError(msg)
    try:
        content = tomllib.loads(raw.decode("utf-8-sig"))
        refuse_large_numbers(content)
    except RecursionError as error:
        msg = f"`{path}` is nested too deeply; a problem has tables in tables in tables at most"
        raise InputError(msg) from error
    except ValueError as error:  # also of undecodable bytes, and of integers with many digits
        msg = f"`{path}` is not TOML: {error}"
        raise InputError(msg) from error
    return content


# --- the problem ------------------------------------------------------------------------------


def _base(content: Mapping[str, Any]) -> FokkerPlanck:
    given = read_table("problem", content["problem"])
    refuse_unknown("[problem]", given, _PROBLEM)
    for key in ("diffusion", "domain"):
        if key not in given:
            msg = f"[problem] needs `{key}`"
            raise InputError(msg)
    axes = _axes(given["domain"])
    variables = given.get("variables", ["x", "y", "z"][:axes])
    if axes > _MOST_AXES:
        msg = f"[problem] `domain` has {axes} axes; up to {_MOST_AXES} are served"
        raise InputError(msg)
    if not isinstance(variables, list) or len(variables) != axes:
        msg = f"[problem] `variables` must name {axes} axes, got {variables!r}"
        raise InputError(msg)
    parameters = read_table("problem.parameters", given.get("parameters", {}))
    moving = given.get("time_dependent", False)
    if not isinstance(moving, bool):
        msg = f"[problem] `time_dependent` must be true or false, got {moving!r}"
        raise InputError(msg)

    def function(key: str, text: Any, *, timed: bool) -> Callable[..., Any]:
        if not isinstance(text, (str, int, float)) or isinstance(text, bool):
            msg = f"[problem] `{key}` must be an expression in quotes, got {text!r}"
            raise InputError(msg)
        names = ("t", *variables) if timed else tuple(variables)
        return Expression(str(text), variables=names, parameters=parameters)

    arguments: dict[str, Any] = {"domain": tuples(given["domain"]), "time_dependent": moving}
    for key, timed in (("potential", False), ("reaction", False), ("source", True)):
        if key in given:
            arguments[key] = function(key, given[key], timed=timed)
    if "force" in given:
        arguments["force"] = _fields("force", given["force"], axes, moving, function)
    arguments["diffusion"] = _diffusion(given["diffusion"], axes, moving, function)
    if "boundary" in given:
        walls = given["boundary"]
        arguments["boundary"] = tuples(walls) if isinstance(walls, list) else walls
    arguments["initial"] = _start(read_table("start", content["start"]), variables, parameters)
    return fracsde.FokkerPlanck(**arguments)


def _axes(domain: Any) -> int:
    if not isinstance(domain, list) or not domain:
        msg = f"[problem] `domain` must be [a, b], or one pair per axis, got {domain!r}"
        raise InputError(msg)
    return len(domain) if isinstance(domain[0], list) else 1


def _fields(key: str, value: Any, axes: int, moving: bool, function: Any) -> Any:
    # One expression in one dimension, one per axis in more.
    if axes == 1:
        only = value[0] if isinstance(value, list) and len(value) == 1 else value
        return function(key, only, timed=moving)
    if not isinstance(value, list) or len(value) != axes:
        msg = f"[problem] `{key}` must be a list of {axes} expressions, one per axis, got {value!r}"
        raise InputError(msg)
    parts = [function(key, each, timed=moving) for each in value]
    return lambda *x: tuple(part(*x) for part in parts)


def _diffusion(value: Any, axes: int, moving: bool, function: Any) -> Any:
    numbers = (int, float)
    if isinstance(value, numbers) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list) and not any(isinstance(each, str) for each in value):
        remedy = "numbers or expressions, one per axis, or in the plane a matrix of numbers"
        return finite_array("[problem] diffusion", value, ndim=(1, 2), remedy=remedy)
    if isinstance(value, list):
        return _fields("diffusion", value, axes, moving, function)
    return function("diffusion", value, timed=moving)


def _start(table: Mapping[str, Any], variables: list[str], parameters: Mapping[str, Any]) -> Any:
    kinds = ("gaussian", "point", "density")
    refuse_unknown("[start]", table, kinds)
    if len(table) != 1:
        msg = f"[start] needs one of {', '.join(kinds)}, got {', '.join(table) or 'nothing'}"
        raise InputError(msg)
    kind, value = next(iter(table.items()))
    if kind == "density":
        if not isinstance(value, str):
            msg = f"[start] `density` must be an expression in quotes, got {value!r}"
            raise InputError(msg)
        return Expression(value, variables=tuple(variables), parameters=parameters)
    given = {key: tuples(each) for key, each in read_table(f"start.{kind}", value).items()}
    refuse_unknown(f"[start] {kind}", given, ("mean", "std") if kind == "gaussian" else ("at",))
    if kind == "point" and "at" not in given:
        msg = "[start] `point` needs `at`, e.g. point = {at = 0.5}"
        raise InputError(msg)
    return fracsde.Gaussian(**given) if kind == "gaussian" else fracsde.PointMass(**given)


def _clocked(base: FokkerPlanck, table: Mapping[str, Any]) -> Any:
    refuse_unknown("[clock]", table, ("alpha", "timescale", "form"))
    if not table:
        return base
    return fracsde.FractionalFokkerPlanck(base=base, **{"alpha": 1.0, **table})
