"""The command that measures: a stored run, or several that differ in one setting."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fracsde._commands import exit_codes
from fracsde._commands.options import (
    Chains,
    Directions,
    Json,
    Lags,
    Output,
    Quantities,
    Quiet,
    Stop,
    busy,
    chains_of,
    matrix_of,
    numbers_of,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde.records.measurement import Measurement

__all__ = ["measure"]

_MEAN_AND_VARIANCE = ("mean", "stationary variance")


def measure(
    context: typer.Context,
    runs: Annotated[
        list[Path], typer.Argument(help="Folder of a stored run; several with --series.")
    ],
    output: Output = None,
    quantity: Quantities = None,
    start: Annotated[float | None, typer.Option(help="First step of the window.")] = None,
    stop: Stop = None,
    directions: Directions = None,
    lags: Lags = None,
    stream: Annotated[str | None, typer.Option(help="Which stream; weights by default.")] = None,
    chains: Chains = None,
    unequal: Annotated[
        str | None, typer.Option(help="'truncate' keeps the steps that all chains have.")
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(help="What several runs differ in: rates or batches.", metavar="WHAT"),
    ] = None,
    hessian: Annotated[
        str | None, typer.Option(help="FILE or FILE:KEY of the Hessian; with --series rates.")
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(help="FILE or FILE:KEY, of a batch (rates) or one example (batches)."),
    ] = None,
    degree: Annotated[
        int | None, typer.Option(help="Of the polynomial in the rate, 2 to 4; with --series rates.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Largest error of 1/B that agrees; with --series batches.")
    ] = None,
    diagnose: Annotated[bool, typer.Option(help="Refuse a window that drifts.")] = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure stationary quantities of a stored run, or what a series of runs says together."""
    import fracsde
    from fracsde._files import refuse_place
    from fracsde.records.files import as_json as text_of
    from fracsde.records.files import write_measurements
    from fracsde.records.measurement import Measurement

    if output is not None:
        refuse_place(output)
    alone = {
        "quantities": quantity or None,
        "lags": numbers_of("--lags", lags),
        "stream": stream,
        "chains": chains_of(chains),
        "unequal": unequal,
    }
    together = {"hessian": hessian, "noise": noise, "degree": degree, "tolerance": tolerance}
    _refuse_mixture(runs, series, alone, together)
    window = {"start": start, "stop": stop}
    with busy("measuring", quiet=quiet):
        if series is None:
            options: dict[str, Any] = {
                "quantities": _MEAN_AND_VARIANCE,
                "stream": "weights",
                "unequal": "refuse",
            } | {name: value for name, value in alone.items() if value is not None}
            options |= window | {"diagnose": diagnose}
            found = fracsde.measure(runs[0], directions=matrix_of(directions), **options)
            said, code = "", exit_codes.FINISHED
            about = {"run": str(runs[0]), "directions": directions} | options
        else:
            options = window | together | {"directions": directions, "diagnose": diagnose}
            found, finding, code = _of_series(runs, series, options)
            said = finding["sentence"]
            about = {"runs": [str(run) for run in runs], "series": series, "finding": finding}
            about |= options
    context.obj.check()
    if output is not None:
        write_measurements(output, found, about=about)
    typer.echo(text_of(found, Measurement, about=about) if as_json else _measured(found))
    if said and not as_json:
        typer.echo(said)
    if code != exit_codes.FINISHED:
        raise typer.Exit(code)


def _refuse_mixture(
    runs: Sequence[Path],
    series: str | None,
    alone: dict[str, Any],
    together: dict[str, Any],
) -> None:
    # One run has one set of options, a series another.
    if series not in (None, "rates", "batches"):
        msg = f"--series must be rates or batches, what the runs differ in, got {series!r}"
        raise typer.BadParameter(msg)
    if series is None and len(runs) > 1:
        msg = (
            f"{len(runs)} runs are measured together with --series rates or --series batches, "
            "what they differ in; else name one"
        )
        raise typer.BadParameter(msg)
    foreign = together if series is None else alone
    if series is not None:
        of_other = ("tolerance",) if series == "rates" else ("hessian", "degree")
        foreign = foreign | {name: together[name] for name in of_other}
    said = [name for name, value in foreign.items() if value is not None]
    if said:
        where = "one run" if series is None else f"--series {series}"
        words = ", ".join(f"--{'quantity' if name == 'quantities' else name}" for name in said)
        msg = f"{words}: not an option of {where}"
        raise typer.BadParameter(msg)


def _of_series(
    runs: Sequence[Path], series: str, options: dict[str, Any]
) -> tuple[tuple[Measurement, ...], dict[str, Any], int]:
    # What was found, in numbers and in a sentence among plain JSON types, and the exit code.
    from fracsde._runs.series import over_batches, over_rates

    if series == "rates":
        for name in ("stop", "directions"):
            if options[name] is not None:
                msg = f"--{name}: not an option of --series rates, which reads to the end"
                raise typer.BadParameter(msg)
        found, sentence = over_rates(
            runs,
            start=options["start"],
            hessian=matrix_of(options["hessian"]),
            gradient_noise=matrix_of(options["noise"]),
            degree=2 if options["degree"] is None else options["degree"],
            diagnose=options["diagnose"],
        )
        return found, {"sentence": sentence}, exit_codes.FINISHED
    effects, test = over_batches(
        runs,
        start=options["start"],
        stop=options["stop"],
        noise=matrix_of(options["noise"]),
        directions=matrix_of(options["directions"]),
        tolerance=0.05 if options["tolerance"] is None else options["tolerance"],
    )
    finding = test.to_dict() | {"sentence": test.sentence}
    return (effects,), finding, exit_codes.of_assumption(test.verdict.name)


def _measured(found: Sequence[Measurement]) -> str:
    rows = [
        [
            m.quantity.name,
            m.quantity.label(i),
            f"{m.value[i]:.6g}",
            f"{m.stderr[i]:.2g}",
            f"{m.n_effective[i]:.4g}",
            m.quantity.unit,
        ]
        for m in found
        for i in range(m.quantity.size)
    ]
    return table(["quantity", "label", "measured", "± stderr", "n", "unit"], rows)
