"""Options that several commands share, and how their text is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.status import Status

    from fracsde._typing import FloatArray

__all__ = [
    "BatchSize",
    "Chains",
    "Dampening",
    "DatasetSize",
    "Directions",
    "DropLast",
    "Json",
    "Lags",
    "LearningRate",
    "Momentum",
    "Nesterov",
    "Output",
    "Quantities",
    "Quiet",
    "Sampling",
    "Stop",
    "Unequal",
    "WeightDecay",
    "busy",
    "chains_of",
    "matrix_of",
    "numbers_of",
    "table",
]

_MOST_CHAINS = 1_000_000

Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write, JSON.")]
Quantities = Annotated[
    list[str] | None,
    typer.Option("--quantity", "-q", help="Name of a quantity; may be given several times."),
]
Directions = Annotated[
    str | None, typer.Option(help="FILE or FILE:KEY of directions, one per column.")
]
Lags = Annotated[str | None, typer.Option(help="Distances in steps, e.g. 1,10,100.")]
Stop = Annotated[float | None, typer.Option(help="Last step of the window.")]
Chains = Annotated[str | None, typer.Option(help="Which chains, e.g. 0,2,8-15.")]
Unequal = Annotated[
    str, typer.Option(help="'truncate' keeps the steps that all chains have.", metavar="HOW")
]
LearningRate = Annotated[float | None, typer.Option(help="Of the optimiser.")]
BatchSize = Annotated[int | None, typer.Option(help="Examples per step.")]
Momentum = Annotated[float | None, typer.Option(help="Of the heavy ball.")]
Dampening = Annotated[float | None, typer.Option(help="As in PyTorch.")]
Nesterov = Annotated[bool | None, typer.Option(help="Whether steps look ahead.")]
WeightDecay = Annotated[float | None, typer.Option(help="Of the optimiser.")]
DatasetSize = Annotated[int | None, typer.Option(help="Examples in all.")]
Sampling = Annotated[
    str | None, typer.Option(help="with_replacement, without_replacement or shuffled.")
]
DropLast = Annotated[bool | None, typer.Option(help="Whether a short last batch is dropped.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def matrix_of(text: str | None) -> FloatArray | None:
    """Read FILE or FILE:KEY.

    Returns
    -------
    ndarray of float64 or None
    """
    from fracsde.records.files import read_matrix

    if text is None:
        return None
    name, separator, key = text.rpartition(":")
    if not separator or Path(text).exists() or not Path(name).suffix:
        return read_matrix(text)
    return read_matrix(name, key)


def numbers_of(option: str, text: str | None) -> list[float] | None:
    """Read numbers separated by commas.

    Returns
    -------
    list of float or None

    Raises
    ------
    BadParameter
        If they are none.
    """
    if text is None:
        return None
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        msg = f"{option} must be numbers such as 1,10,100, got {text!r}"
        raise typer.BadParameter(msg) from error
    return found


def chains_of(text: str | None) -> list[int] | None:
    """Read numbers of chains, single or from-to, separated by commas.

    Returns
    -------
    list of int or None

    Raises
    ------
    BadParameter
        If they are none.

    Examples
    --------
    >>> chains_of("0,2,8-10")
    [0, 2, 8, 9, 10]
    """
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        first, separator, last = part.strip().partition("-")
        ends = [first, last if separator else first]
        if not all(end.isascii() and end.isdigit() and len(end) < 10 for end in ends):
            msg = f"--chains must be numbers such as 0,2,8-15, got {text!r}"
            raise typer.BadParameter(msg)
        chosen = range(int(ends[0]), int(ends[1]) + 1)
        if not chosen or len(chosen) > _MOST_CHAINS:
            msg = (
                f"--chains must run upwards over at most {_MOST_CHAINS} chains, as 0-63 does, got "
                f"{part.strip()!r}"
            )
            raise typer.BadParameter(msg)
        found += chosen
    return found


def busy(what: str, *, quiet: bool) -> Status:
    """Return a context that shows on a terminal that work goes on; never on standard output.

    Returns
    -------
    Status
    """
    return Console(stderr=True, quiet=quiet).status(what)


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return columns of text, the first two to the left.

    Returns
    -------
    str
    """
    texts = [[str(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(len(row[k]) for row in texts) for k in range(len(heads))]
    lines = []
    for row in texts:
        cells = [
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
