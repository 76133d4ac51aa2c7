"""The commands themselves; imported by :mod:`fracsde.cli` once Typer is known to be there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fracsde._commands.doctor import doctor
from fracsde._commands.inspecting import inspect
from fracsde._commands.measuring import measure
from fracsde._commands.recording import record
from fracsde._commands.runs import compare, predict
from fracsde._commands.solving import solve
from fracsde._commands.special import app as special
from fracsde._commands.words import Speaking

__all__ = ["app"]

app = typer.Typer(
    help="Where SGD settles, how it gets there, and whether a run agrees.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
demo = typer.Typer(help="Run a worked comparison on real data.", no_args_is_help=True)
app.add_typer(demo, name="demo")
app.add_typer(special, name="special")
for _command in (record, inspect, measure, predict, compare, solve, doctor):
    # What a command raises is for readers of the code.
    _words, _, _ = (_command.__doc__ or "").partition("\n\n")
    app.command(_command.__name__, cls=Speaking, help=_words)(_command)


@demo.command("digits", cls=Speaking)
def digits(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the report.")] = Path(
        "reports/digits"
    ),
    replicas: Annotated[int, typer.Option(min=16, help="Replicas of each run.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random number.")] = 0,
    quick: Annotated[
        bool, typer.Option(help="A twentieth of the steps: to look, not to judge.")
    ] = False,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Compare SGD on handwritten digits with its theories and write a report."""
    from fracsde.demo.digits import run_digits
    from fracsde.demo.settings import DigitsSettings

    make = DigitsSettings.short if quick else DigitsSettings
    settings = make(replicas=replicas, seed=seed)
    console = Console(stderr=True)
    hidden = not (progress and console.is_terminal)  # a log would get an empty line for it
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("digits", total=1.0)

        def show(what: str, done: float) -> None:
            context.obj.check()
            bar.update(task, description=what, completed=done)

        result = run_digits(output, settings, show)
    typer.echo(result.table)
    typer.echo(f"\nReport: {output / 'index.html'}\n")
    typer.echo(result.sentence)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Where SGD settles, how it gets there, and whether a run agrees.

    Raises
    ------
    Exit
        After the version was printed.
    """
    if show:
        import fracsde

        typer.echo(fracsde.__version__)
        raise typer.Exit
