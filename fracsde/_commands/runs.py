"""Commands on a stored run: predict it, judge it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fracsde._commands import exit_codes
from fracsde._commands.options import (
    BatchSize,
    Chains,
    Dampening,
    DatasetSize,
    Directions,
    DropLast,
    Json,
    Lags,
    LearningRate,
    Momentum,
    Nesterov,
    Output,
    Quantities,
    Quiet,
    Sampling,
    Stop,
    Unequal,
    WeightDecay,
    busy,
    chains_of,
    matrix_of,
    numbers_of,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._report.nouns import Report
    from fracsde.records.measurement import Prediction

__all__ = ["compare", "predict"]


def predict(
    context: typer.Context,
    hessian: Annotated[str | None, typer.Option(help="FILE or FILE:KEY of the Hessian.")] = None,
    noise: Annotated[
        str | None, typer.Option(help="FILE or FILE:KEY, covariance of one example's gradient.")
    ] = None,
    minimum: Annotated[str | None, typer.Option(help="FILE or FILE:KEY of the minimum.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Stored run that says the rest, and what is observed.")
    ] = None,
    output: Output = None,
    law: Annotated[
        str | None,
        typer.Option(help="map, epochs, independent, flow, underdamped or kunin."),
    ] = None,
    quantity: Quantities = None,
    directions: Directions = None,
    lags: Lags = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    momentum: Momentum = None,
    dampening: Dampening = None,
    nesterov: Nesterov = None,
    weight_decay: WeightDecay = None,
    dataset_size: DatasetSize = None,
    sampling: Sampling = None,
    drop_last: DropLast = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict stationary quantities of SGD from its Hessian and gradient noise."""
    import fracsde
    from fracsde._files import refuse_place
    from fracsde._runs.predictions import predictions_of
    from fracsde.records.files import as_json as text_of
    from fracsde.records.measurement import Prediction

    if output is not None:
        refuse_place(output)
    settings = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "momentum": momentum,
        "dampening": dampening,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
        "dataset_size": dataset_size,
        "sampling": sampling,
        "drop_last": drop_last,
    }
    matrices = {"hessian": hessian, "gradient_noise": noise, "minimum": minimum}
    with busy("predicting", quiet=quiet):
        found, about = predictions_of(
            None if run is None else fracsde.open_run(run),
            settings,
            {name: matrix_of(text) for name, text in matrices.items()},
            quantities=quantity or None,
            law=law,
            directions=matrix_of(directions),
            lags=numbers_of("--lags", lags),
        )
    context.obj.check()
    about = {"files": matrices | {"directions": directions}} | about
    if output is not None:
        fracsde.write_predictions(output, found, about=about)
    typer.echo(text_of(found, Prediction, about=about) if as_json else _predicted(found))


def compare(
    context: typer.Context,
    what: Annotated[
        list[Path],
        typer.Argument(
            help="A stored run, or a file of measurements and one of predictions.",
            metavar="RUN | MEASUREMENTS PREDICTIONS",
        ),
    ],
    theory: Annotated[
        str | None,
        typer.Option(
            help="Law on trial, or file of predictions; that of how batches were drawn by default.",
            metavar="LAW | FILE",
        ),
    ] = None,
    rival: Annotated[
        list[str] | None,
        typer.Option(
            help="Law, or file of predictions, that the data should exclude; several times.",
            metavar="LAW | FILE",
        ),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Largest deviation that agrees.")] = 0.05,
    level: Annotated[float, typer.Option(help="Level of each row's interval.")] = 1e-3,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the report.")
    ] = None,
    title: Annotated[str, typer.Option(help="Heading of the report.")] = "Theory and measurement",
    figure: Annotated[bool, typer.Option(help="Draw figures.")] = True,
    hessian: Annotated[str | None, typer.Option(help="FILE or FILE:KEY of the Hessian.")] = None,
    noise: Annotated[
        str | None, typer.Option(help="FILE or FILE:KEY, covariance of one example's gradient.")
    ] = None,
    minimum: Annotated[str | None, typer.Option(help="FILE or FILE:KEY of the minimum.")] = None,
    quantity: Quantities = None,
    directions: Directions = None,
    lags: Lags = None,
    burn_in: Annotated[str, typer.Option(help="Steps left out at the start, or auto.")] = "auto",
    stop: Stop = None,
    chains: Chains = None,
    unequal: Unequal = "refuse",
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    momentum: Momentum = None,
    dampening: Dampening = None,
    nesterov: Nesterov = None,
    weight_decay: WeightDecay = None,
    dataset_size: DatasetSize = None,
    sampling: Sampling = None,
    drop_last: DropLast = None,
    assumptions: Annotated[bool, typer.Option(help="Ask which assumptions hold.")] = True,
    diagnose: Annotated[bool, typer.Option(help="Refuse a window that drifts.")] = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge a run by its theory: exit code 0 agrees, 3 disagrees, 4 inconclusive.

    Raises
    ------
    Exit
        With the code of the verdict.
    """
    import fracsde
    from fracsde._report.write import refuse_target

    if output is not None:
        refuse_target(output)
    with busy("comparing", quiet=quiet):
        of_run: dict[str, Any] = {
            "theory": theory,
            "quantities": quantity,
            "hessian": matrix_of(hessian),
            "gradient_noise": matrix_of(noise),
            "minimum": matrix_of(minimum),
            "directions": matrix_of(directions),
            "lags": numbers_of("--lags", lags),
            "burn_in": None if burn_in == "auto" else _step("--burn-in", burn_in),
            "stop": stop,
            "chains": chains_of(chains),
            "unequal": None if unequal == "refuse" else unequal,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "momentum": momentum,
            "dampening": dampening,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "dataset_size": dataset_size,
            "sampling": sampling,
            "drop_last": drop_last,
        }
        said = {name: value for name, value in of_run.items() if value is not None}
        if len(what) == 1 and theory is not None:
            said["theory"] = _theory("--theory", theory)
        if len(what) == 2:
            report = _of_files(what, rival or (), said, tolerance=tolerance, level=level)
        else:
            report = fracsde.compare_run(
                _single(what),
                rivals=None if rival is None else [_theory("--rival", one) for one in rival],
                tolerance=tolerance,
                level=level,
                assumptions=assumptions,
                diagnose=diagnose,
                **said,
            )
        context.obj.check()
        page = None if output is None else report.save(output, title=title, figure=figure)
    if as_json:
        typer.echo(report.to_json(), nl=False)
    else:
        typer.echo(str(report))
        for note in report.settings.get("notes", ()):
            typer.echo(f"Note: {note}.")
        if page is not None:
            typer.echo(f"\nReport: {output / page.name}")  # type: ignore[operator]
    raise typer.Exit(exit_codes.of(report.verdict.name))


def _single(what: Sequence[Path]) -> Path:
    if len(what) != 1:
        msg = (
            "name one stored run, or a file of measurements and one of predictions, got "
            f"{len(what)} places"
        )
        raise typer.BadParameter(msg)
    return what[0]


def _theory(option: str, text: str) -> str | dict[str, tuple[Prediction, ...]]:
    """Return the name of a law, or the predictions of a file under the name of it.

    Returns
    -------
    str or dict

    Raises
    ------
    BadParameter
        If it is neither.
    """
    import fracsde
    from fracsde.predict import LAWS

    if text in LAWS:
        return text
    place = Path(text)
    if not place.suffix and not place.exists():
        closure = (
            "; a closure needs its model: fracsde.write_predictions(FILE, report.predicted) in "
            "Python makes a file of it"
            if text == "closure"
            else ""
        )
        msg = (
            f"{option} must be one of {', '.join(LAWS)}, or a file of predictions as `fracsde "
            f"predict -o FILE` writes it, got {text!r}{closure}"
        )
        raise typer.BadParameter(msg)
    return {place.stem: fracsde.read_predictions(place)}


def _step(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        msg = f"{option} must be one number of steps, or auto, got {text!r}"
        raise typer.BadParameter(msg) from error


def _of_files(
    what: Sequence[Path],
    rivals: Sequence[str],
    said: dict[str, Any],
    *,
    tolerance: float,
    level: float,
) -> Report:
    from dataclasses import replace

    import fracsde

    if said:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in said)
        msg = f"{options} would choose how to measure or predict; two files hold what was"
        raise typer.BadParameter(msg)
    measured = fracsde.read_measurements(what[0])
    predicted = fracsde.read_predictions(what[1])
    others = {Path(name).stem: fracsde.read_predictions(name) for name in rivals}
    if len(others) < len(rivals):
        msg = "--rival files are told apart by their names, and two have the same; rename one"
        raise typer.BadParameter(msg)
    report = fracsde.compare(predicted, measured, tolerance=tolerance, level=level, rivals=others)
    files = {"measurements": str(what[0]), "predictions": str(what[1]), "rivals": list(rivals)}
    return replace(report, settings=files)


def _predicted(found: Sequence[Prediction]) -> str:
    rows = [
        [
            p.quantity.name,
            p.quantity.label(i),
            f"{p.value[i]:.6g}",
            f"{p.numerical_error[i]:.1g}",
            p.theory,
            p.quantity.unit,
        ]
        for p in found
        for i in range(p.quantity.size)
    ]
    return table(["quantity", "label", "predicted", "± numerical", "law", "unit"], rows)
