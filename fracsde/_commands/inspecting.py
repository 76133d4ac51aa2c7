"""The command that says what a stored run holds; imported by :mod:`fracsde._commands.command`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fracsde._commands.options import Json, table

if TYPE_CHECKING:
    from fracsde._typing import IntArray
    from fracsde.records.store import StoredRun

__all__ = ["inspect"]

_FEW = 64  # numbers of the weights that are examined for drift


def inspect(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of a stored run.")],
    verify: Annotated[bool, typer.Option(help="Check every row against its check sum.")] = False,
    content_hash: Annotated[
        bool, typer.Option("--hash/--no-hash", help="Read all of it for its hash.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Say what a stored run holds, and whether it has settled."""
    import fracsde

    stored = fracsde.open_run(run)
    verified = {"verified_rows": stored.verify()} if verify else {}  # first: it names what changed
    found = _facts(stored, run) | verified
    if content_hash:
        found["content_hash"] = stored.content_hash()
    context.obj.check()
    typer.echo(json.dumps(found, indent=1, ensure_ascii=False) if as_json else _text(found))


def _facts(run: StoredRun, path: Path) -> dict[str, Any]:
    seen, ends = run.observation, [run.steps(chain) for chain in run.chains]
    rows = [len(steps) for steps in ends]
    inside = [steps for steps in ends if len(steps)]
    fall, said = run.divergence, run.metadata.get("training")
    return {
        "run": str(path),
        "status": run.status.name,
        "sentence": run.status.sentence,
        "observation": {"kind": seen.kind, "kept": seen.width, "parameters": run.parameters},
        "chains": len(run.chains),
        "rows": {"fewest": min(rows, default=0), "most": max(rows, default=0)},
        "steps": [int(min(s[0] for s in inside)), int(max(s[-1] for s in inside))]
        if inside
        else None,
        "gaps": max((_gaps(steps) for steps in ends), default=0),
        "streams": [
            {"name": s.name, "width": s.width, "dtype": s.dtype, "unit": s.unit}
            for s in run.streams.values()
        ],
        "training": dict(said) if isinstance(said, Mapping) else {},
        "attachments": {
            name: {key: list(array.shape) for key, array in run.attachment(name).items()}
            for name in run.attachments
        },
        "first_not_finite": None
        if fall is None
        else {"chain": fall.chain, "step": fall.step, "stream": fall.stream},
        "second_half": _drift(run),
    }


def _gaps(steps: IntArray) -> int:
    """Return where more steps are missing than between other rows of a chain.

    Returns
    -------
    int
        Zero where no distance is that of three quarters.
    """
    import numpy as np

    apart = np.diff(steps)
    wide = np.count_nonzero(apart > apart.min()) if len(apart) else 0
    return int(wide) if 4 * wide <= len(apart) else 0


def _drift(run: StoredRun) -> dict[str, Any]:
    """Return whether the second half of the record is stationary, or why that cannot be said."""
    from fracsde import estimators
    from fracsde._runs.window import refuse_huge
    from fracsde.errors import InputError

    try:
        width = min(_FEW, run.observation.width)
        whole = run.trajectory(coordinates=range(width), unequal="truncate")
        half = whole.between(0.5 * float(whole.times[0] + whole.times[-1]))
        refuse_huge(half)
        check = estimators.check_stationary(half)
    except InputError as error:
        return {"stationary": None, "sentence": str(error)}
    return {"stationary": check.stationary, "sentence": check.sentence}


def _text(found: dict[str, Any]) -> str:
    seen, steps, rows = found["observation"], found["steps"], found["rows"]
    kept = {"full": "all weights", "projection": "projections", "coordinates": "some weights"}
    many = "chain" if found["chains"] == 1 else "chains"
    same = rows["fewest"] == rows["most"]
    span = f"steps {steps[0]} to {steps[1]}" if steps else "no rows yet"
    lines = [
        f"{found['run']}: {found['sentence']}",
        f"{kept[seen['kind']]}: {seen['kept']} numbers of {seen['parameters']} parameters",
        f"{found['chains']} {many}, {span}, "
        + (f"{rows['most']} rows each" if same else f"{rows['fewest']} to {rows['most']} rows")
        + (f", with gaps at {found['gaps']} places" if found["gaps"] else ""),
        "",
        table(
            ["stream", "unit", "width", "dtype"],
            [[s["name"], s["unit"], s["width"], s["dtype"]] for s in found["streams"]],
        ),
        "",
    ]
    lines += [f"training: {name} = {value}" for name, value in found["training"].items()]
    if not found["training"]:
        lines.append("training: the run does not say")
    for name, arrays in found["attachments"].items():
        shapes = ", ".join(f"{key} {tuple(shape)}" for key, shape in arrays.items())
        lines.append(f"attached {name}: {shapes}")
    fall = found["first_not_finite"]
    if fall is not None:
        lines.append(
            f"first not finite: {fall['stream']} of chain {fall['chain']} at step {fall['step']}"
        )
    lines.append(f"second half: {found['second_half']['sentence']}")
    if "verified_rows" in found:
        lines.append(f"verified: {found['verified_rows']} rows are as they were written")
    if "content_hash" in found:
        lines.append(f"content hash: {found['content_hash']}")
    return "\n".join(lines)
