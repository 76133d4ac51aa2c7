"""What ``fracsde predict`` predicts: from matrices alone, or for what a stored run observed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._runs.record import settle
from fracsde._runs.training import read_training
from fracsde.errors import InputError
from fracsde.estimators.gapped import spacing
from fracsde.predict import predict
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.records import quantities as names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fracsde._typing import ArrayLike
    from fracsde.records.measurement import Prediction
    from fracsde.records.store import StoredRun

__all__ = ["predictions_of"]


def predictions_of(
    run: StoredRun | None,
    settings: Mapping[str, Any],
    matrices: Mapping[str, ArrayLike | None],
    *,
    quantities: str | Sequence[str] | None,
    law: str | None,
    directions: ArrayLike | None,
    lags: Sequence[float] | None,
) -> tuple[tuple[Prediction, ...], dict[str, Any]]:
    """Return predictions, and what a reader of them must know.

    Parameters
    ----------
    run : StoredRun, optional
        The run whose record is predicted, number by number of what it kept.
    settings, matrices : mapping
        What the caller names; None where the run is to say.
    quantities : str or sequence of str, optional
        If not given the variance, and the mean where the minimum is known.
    law, directions, lags
        As for :func:`fracsde.predict`; directions are of what the run kept.

    Returns
    -------
    tuple of Prediction, and dict
    """
    wanted = names.chosen(_default(run, matrices) if quantities is None else quantities)
    asked: dict[str, Any] = {"quantities": wanted, "law": law, "lags": lags}
    if run is None:
        sgd, values, notes = _of_matrices(settings, matrices)
        found = predict(sgd, directions=directions, **asked)
        return found, {"training": values, "notes": notes}
    each = directions is None and run.observation.kind == "full"
    settled = settle(
        run,
        settings,
        matrices,
        # weight by weight, as `measure` does
        directions=np.eye(run.parameters) if each else directions,
        need_minimum="stationary mean" in wanted,
    )
    named = each or settled.place.measure is None
    labels = run.streams["weights"].labels if named else ()
    assert settled.sgd is not None  # what `settle` is for
    if "integrated autocorrelation time" in wanted:
        asked["spacing"] = spacing(run.trajectory(coordinates=[0]))
    found = predict(settled.sgd, directions=settled.place.predict, labels=labels or None, **asked)
    training = settled.training
    about = {
        "run": str(run.path),
        "coordinates": settled.place.about,
        "training": dict(training.values),
        "notes": list(training.notes),
    }
    return found, about


def _default(run: StoredRun | None, matrices: Mapping[str, ArrayLike | None]) -> tuple[str, ...]:
    known = matrices.get("minimum") is not None
    if run is not None and matrices.get("hessian") is None and "curvature" in run.attachments:
        known = known or "minimum" in run.attachment("curvature")
    return ("mean", "variance") if known else ("variance",)


def _of_matrices(
    settings: Mapping[str, Any], matrices: Mapping[str, ArrayLike | None]
) -> tuple[SGDNearMinimum, dict[str, Any], list[str]]:
    missing = [name for name in ("hessian", "gradient_noise") if matrices.get(name) is None]
    if missing:
        words = " and ".join(f"`{name}`" for name in missing)
        msg = f"{words} must be given, or a run that carries its curvature, with --run"
        raise InputError(msg)
    training = read_training({}, settings)
    given: dict[str, Any] = {name: value for name, value in matrices.items() if value is not None}
    return (
        SGDNearMinimum(**given, **training.values),
        dict(training.values),
        list(training.notes),
    )
