"""Commands that print values of special functions and tables of nodes, for use elsewhere."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fracsde._commands.words import Speaking

if TYPE_CHECKING:
    import numpy as np

__all__ = ["app"]

app = typer.Typer(
    help="Mittag-Leffler functions, and tables of poles, contours and exponentials.",
    no_args_is_help=True,
)

Alpha = Annotated[float, typer.Option(help="Order.")]
Tolerance = Annotated[float, typer.Option(help="Largest error wanted.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of columns.")]


@app.command("mittag-leffler", cls=Speaking)
def mittag_leffler(
    z: Annotated[list[str], typer.Argument(help="Arguments, e.g. 1.5 or 2+1j; negative after --.")],
    alpha: Alpha,
    beta: Annotated[float, typer.Option(help="Second parameter.")] = 1.0,
    derivative: Annotated[int, typer.Option(min=0, help="Order of the derivative in z.")] = 0,
    as_json: Json = False,
) -> None:
    """Print E_{alpha,beta}(z) or a derivative of it, e.g. `--alpha 0.6 -- -3 1+2j`."""
    import numpy as np

    from fracsde.special import mittag_leffler as function

    points = np.array([_number(text) for text in z])
    if not np.any(points.imag):
        points = points.real
    values = np.atleast_1d(function(points, alpha, beta, derivative))
    if as_json:
        rows = [{"z": _plain(p), "value": _plain(v)} for p, v in zip(points, values, strict=True)]
        typer.echo(json.dumps(rows))
        return
    for point, value in zip(points, values, strict=True):
        typer.echo(f"{_text(point):<30}  {_text(value)}")


@app.command("poles", cls=Speaking)
def poles(alpha: Alpha, rtol: Tolerance = 1e-10, as_json: Json = False) -> None:
    """Print poles q and residues c of E_alpha(-x) = c0 + Re sum c / (x - q) on x >= 0."""
    from fracsde.special import relaxation_poles

    table = relaxation_poles(alpha, rtol=rtol)
    head = {"alpha": alpha, "constant": float(table.constant), "error": table.error}
    _table(head, {"residue": table.residues, "pole": table.poles}, as_json=as_json)


@app.command("contour", cls=Speaking)
def contour(
    start: Annotated[float, typer.Option(help="First time of the window.")],
    end: Annotated[float, typer.Option(help="Last time of the window.")],
    rtol: Tolerance = 1e-10,
    as_json: Json = False,
) -> None:
    """Print nodes s and weights w of f(t) = Re sum w exp(s t) F(s), F the Laplace transform."""
    from fracsde.special import contour as build

    table = build(rtol=rtol, window=(start, end))
    head = {"start": start, "end": end, "error": table.error}
    _table(head, {"weight": table.weights, "node": table.nodes}, as_json=as_json)


@app.command("exponentials", cls=Speaking)
def exponentials(
    alpha: Alpha,
    largest: Annotated[float, typer.Option(help="Largest argument.")],
    rtol: Tolerance = 1e-10,
    as_json: Json = False,
) -> None:
    """Print weights w > 0 and rates u of E_alpha(-y) = sum w exp(-u y) on 0 <= y <= largest."""
    from fracsde.special import relaxation_exponentials

    table = relaxation_exponentials(alpha, rtol=rtol, largest=largest)
    head = {"alpha": alpha, "largest": largest, "error": table.error}
    _table(head, {"weight": table.weights, "rate": table.rates}, as_json=as_json)


def _number(text: str) -> complex:
    try:
        return complex(text[:-1] + "j" if text.endswith("i") else text)
    except ValueError as error:
        msg = f"an argument must be a number such as 1.5 or 2+1j, got {text!r}"
        raise typer.BadParameter(msg) from error


def _table(head: dict[str, Any], columns: dict[str, np.ndarray], *, as_json: bool) -> None:
    if as_json:
        body = {name: [_plain(each) for each in values] for name, values in columns.items()}
        typer.echo(json.dumps(head | body))
        return
    typer.echo("  ".join(f"{name} = {value!r}" for name, value in head.items()))
    typer.echo("  ".join(f"{name:<50}" for name in columns).rstrip())
    for row in zip(*columns.values(), strict=True):
        typer.echo("  ".join(f"{_text(value):<50}" for value in row).rstrip())


def _text(value: Any) -> str:
    if isinstance(value, complex):
        return f"{value.real!r} {value.imag:+.17g}j"
    return repr(float(value))


def _plain(value: Any) -> Any:
    # JSON has neither complex numbers (a pair, then) nor infinities (their names).
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    number = float(value)
    return number if math.isfinite(number) else str(number)
