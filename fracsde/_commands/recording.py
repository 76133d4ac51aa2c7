"""The command that records SGD on a small network; imported by :mod:`fracsde._commands.command`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fracsde._commands.options import Quiet, numbers_of

if TYPE_CHECKING:
    from fracsde.networks import Network

__all__ = ["record"]


def record(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of the run, made if there is none.")],
    data: Annotated[
        str,
        typer.Option(help="'digits'; a .npz with `inputs` and `targets`; a .csv, targets last."),
    ] = "digits",
    hidden: Annotated[str, typer.Option(help="Units of hidden layers, e.g. 16,16.")] = "",
    activation: Annotated[str, typer.Option(help="tanh or relu.")] = "tanh",
    objective: Annotated[
        str, typer.Option(help="cross_entropy or squared_error.")
    ] = "cross_entropy",
    weight_decay: Annotated[float, typer.Option(help="In the loss.")] = 0.01,
    learning_rate: Annotated[
        float | None, typer.Option(help="Chosen from the curvature if not given.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples per step.")] = 32,
    momentum: Annotated[float, typer.Option(help="Of the heavy ball.")] = 0.0,
    sampling: Annotated[
        str, typer.Option(help="with_replacement, without_replacement or shuffled.")
    ] = "with_replacement",
    chains: Annotated[int, typer.Option(min=1, max=512, help="Replicas.")] = 64,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Chosen from the slowest direction if not given.")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(min=1, help="Steps between rows; 1 if not given: gradients can be rebuilt."),
    ] = None,
    directions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Leading eigenvectors of the Hessian to record along; 5, or all, if not given.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random number.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Record replicas of SGD on a small network, near the minimum of its loss."""
    from fracsde._commands.networks import Plan, record_network
    from fracsde.networks import Network

    inputs, targets = _data(data)
    network: Network = Network(
        inputs=inputs,
        targets=targets,
        hidden=_widths(hidden),
        activation=activation,
        objective=objective,
        weight_decay=weight_decay,
    )
    plan = Plan(
        learning_rate=learning_rate,
        batch_size=batch_size,
        momentum=momentum,
        sampling=sampling,
        chains=chains,
        steps=steps,
        every=every,
        directions=min(5, network.parameters) if directions is None else directions,
        seed=seed,
    )
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    hidden_bar = quiet or not console.is_terminal  # a log would get an empty line for it
    with Progress(*columns, console=console, transient=True, disable=hidden_bar) as bar:
        task = bar.add_task("record", total=1.0)

        def show(what: str, done: float) -> None:
            context.obj.check()
            bar.update(task, description=what, completed=done)

        done = record_network(run, network, plan, resume=resume, progress=show)
    typer.echo(done)


def _widths(text: str) -> list[int]:
    found = (numbers_of("--hidden", text) or []) if text else []
    if not all(n.is_integer() and n > 0.0 for n in found):
        msg = f"--hidden must be whole numbers from 1 on, such as 16,16, got {text!r}"
        raise typer.BadParameter(msg)
    return [int(n) for n in found]


def _data(name: str) -> tuple[Any, Any]:
    from fracsde.demo.digits import load_digits
    from fracsde.records.files import read_matrix

    if name == "digits":
        return load_digits()
    if Path(name).suffix.lower() == ".npz":
        return read_matrix(name, "inputs"), read_matrix(name, "targets")
    table = read_matrix(name)
    if table.ndim != 2 or table.shape[1] < 2:
        msg = f"--data must hold inputs and, in its last column, targets; got shape {table.shape}"
        raise typer.BadParameter(msg)
    return table[:, :-1], table[:, -1]
