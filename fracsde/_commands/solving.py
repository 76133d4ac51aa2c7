"""The command that solves a problem in a file; imported by :mod:`fracsde._commands.command`."""

from __future__ import annotations

import io
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["EXAMPLE", "solve"]

EXAMPLE = """\
# A particle in a double well whose clock stops for heavy-tailed times.
[problem]
potential = "(x**2 - 1)**2 / a"
parameters = { a = 4.0 }
diffusion = 0.1
domain = [-inf, inf]

[start]
gaussian = { mean = 1.0, std = 0.1 }

[clock]
alpha = 0.6

[times]
at = [0.1, 1.0, 10.0, 100.0]

[method]
scheme = { name = "Propagator", rtol = 1e-8 }
space = { name = "FiniteVolume", cells = 512 }
"""
_ROWS = 12  # times shown


def solve(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="The problem, in TOML.")] = None,
    output: Annotated[Path, typer.Option(help="Where the numbers go.")] = Path("solution.npz"),
    figure: Annotated[Path | None, typer.Option(help="Draw them too, e.g. as PNG.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File that a march saves itself to, and resumes from.")
    ] = None,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
    example: Annotated[bool, typer.Option("--example", help="Print a problem and stop.")] = False,
) -> None:
    """Solve a Fokker-Planck problem or a fractional ODE written in a file.

    Raises
    ------
    InputError
        If there is no file, or nothing can be written where the output should go.
    """
    if example:
        typer.echo(EXAMPLE, nl=False)
        return
    import numpy as np

    import fracsde
    from fracsde._commands.problem_file import read_job
    from fracsde._files import refuse_place, replace_file
    from fracsde.errors import InputError

    if file is None:
        msg = "name a problem file; `fracsde solve --example` prints one to begin with"
        raise InputError(msg)
    for place in (output, figure):
        if place is not None:
            refuse_place(place)
    job = read_job(file)
    solution = fracsde.solve(
        job.problem,
        job.times,
        scheme=job.scheme,
        space=job.space,
        checkpoint=checkpoint,
        progress=progress and sys.stderr.isatty(),  # a log would get an empty line for it
    )
    context.obj.check()
    arrays = _arrays(solution)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    replace_file(output, buffer.getvalue())
    typer.echo(_summary(solution))
    typer.echo(f"\nResult: {output}")
    if figure is not None:
        _draw(solution, figure)
        typer.echo(f"Figure: {figure}")


def _arrays(solution: Any) -> dict[str, Any]:
    about = {
        "status": solution.status.name,
        "scheme": repr(solution.scheme),
        "error_estimate": solution.error_estimate,
        "provenance": solution.provenance.to_dict(),
    }
    found = {"times": solution.times}
    if hasattr(solution, "values"):
        found["values"] = solution.values
    else:
        about["space"] = repr(solution.space)
        found["density"] = solution.density
        found |= {f"x{axis}": points for axis, points in enumerate(solution.points)}
    return found | {"about": json.dumps(about)}


def _summary(solution: Any) -> str:
    import numpy as np

    if hasattr(solution, "values"):
        head = ["time", *(f"y{k}" for k in range(solution.values.shape[1]))]
        rows = np.column_stack([solution.times, solution.values])
    else:
        head = ["time", "mass", *(f"mean {axis}" for axis in "xyz"[: len(solution.points)])]
        mean = np.reshape(solution.mean(), (len(solution.times), -1))
        rows = np.column_stack([solution.times, 1.0 + solution.mass_defect(), mean])
    lines = ["".join(f"{name:>16}" for name in head)]
    shown = np.unique(np.linspace(0, len(rows) - 1, _ROWS).round().astype(int))
    lines += ["".join(f"{value:16.8g}" for value in rows[k]) for k in shown]
    how = [repr(solution.scheme)] + ([repr(solution.space)] if hasattr(solution, "space") else [])
    lines += ["", f"{solution.status.sentence} {', '.join(how)}"]
    if solution.error_estimate is not None:
        lines.append(f"Estimated error: {np.max(solution.error_estimate):.1e}")
    return "\n".join(lines)


def _draw(solution: Any, path: Path) -> None:
    from fracsde._figures import COLOURS, png_bytes, style
    from fracsde._files import replace_file

    with style():
        colours = import_module("cycler").cycler(color=COLOURS)  # curves need no markers
        with import_module("matplotlib").rc_context({"axes.prop_cycle": colours}):
            axes = solution.plot()
    panel: Any = axes.ravel()[0] if hasattr(axes, "ravel") else axes
    replace_file(path, png_bytes(panel.figure))
