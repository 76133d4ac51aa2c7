"""Which assumptions of the law hold for a run, in the coordinates in which it is compared.

Gradients are those that were recorded.  Where none were, and every step of the weights was, they
are rebuilt from the weights by the stated step rule; that rule itself then cannot be asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._runs.window import read_window
from fracsde.estimators.assumptions import examine
from fracsde.estimators.assumptions.independence import gradients_from_weights
from fracsde.records.store import StoredRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fracsde._runs.record import Settled
    from fracsde._runs.training import Training
    from fracsde._runs.window import Window
    from fracsde.records.assumption import AssumptionTest
    from fracsde.records.trajectory import Trajectory

__all__ = ["assumptions_of"]

_ROUNDING = 0.01  # of the deviation of a rebuilt gradient, which rounding of weights may make up


def assumptions_of(
    source: StoredRun | Trajectory,
    settled: Settled,
    window: Window,
    where: Mapping[str, Any],
    assumptions: bool | Iterable[AssumptionTest],
    loss: Any,
    level: float,
) -> Iterable[AssumptionTest]:
    """Ask which assumptions of the law hold.

    Parameters
    ----------
    source : StoredRun or Trajectory
        The run.
    settled : Settled
        Its theory and coordinates.
    window : Window
        What is compared.
    where : mapping
        How it was read, as :func:`fracsde._runs.window.read_window` takes it.
    assumptions : bool or iterable of AssumptionTest
        Whether to ask, or what was found.
    loss : Network, TorchLoss or the like, optional
        Asked where the run kept all weights.
    level : float [1]
        Two-sided level of each test.

    Returns
    -------
    iterable of AssumptionTest
    """
    if not isinstance(assumptions, bool):
        return assumptions
    if not assumptions:
        return ()
    training = dict(settled.training.values) | {"optimizer": settled.training.optimizer}
    if settled.training.sources["sampling"] == "assumed":
        training["sampling"] = "unknown"
    place, look, weights = settled.place, dict(where), window.trajectory
    asked: dict[str, Any] = {
        "hessian": place.seen_hessian,
        "noise": place.seen_noise,
        "minimum": place.seen_minimum,
        "whole": place.closed,
    }
    if loss is not None and getattr(loss, "parameters", None) == settled.record.seen.width:
        look |= {"directions": None, "labels": None}
        weights, asked = read_window(source, **look).trajectory, {"whole": True}
    if isinstance(source, StoredRun) and "gradients" in source.streams:
        asked["gradients"] = read_window(source, stream="gradients", **look).trajectory
    else:
        asked["gradients"] = _rebuilt(source, weights, settled.training)
        asked["rebuilt"] = asked["gradients"] is not None
    return examine(weights, loss=loss, training=training, level=level, **asked)


def _rebuilt(
    source: StoredRun | Trajectory, weights: Trajectory, training: Training
) -> Trajectory | None:
    """Return the gradients that moved the weights; None where the record does not hold them."""
    settings = training.values
    if training.optimizer != "SGD" or "learning_rate" not in settings:
        return None
    if settings["nesterov"] or weights.draws < 3 or np.any(np.diff(weights.times) != 1.0):
        return None
    found = gradients_from_weights(
        weights,
        learning_rate=settings["learning_rate"],
        momentum=settings["momentum"],
        dampening=settings["dampening"],
        weight_decay=settings["weight_decay"],
    )
    size = settings["learning_rate"] * (1.0 - settings["dampening"])
    fine = _rounding(source) < _ROUNDING * size * found.values[0].std(axis=0).min()
    return found if fine else None


def _rounding(source: StoredRun | Trajectory) -> float:
    """Return the distance of two neighbouring numbers at the largest weight that was kept."""
    if isinstance(source, StoredRun):
        last = source.array("weights", source.chains[0])[-1]
    else:
        last = source.values[0, -1]
        if np.array_equal(last.astype(np.float32), last):
            last = last.astype(np.float32)
    return float(np.spacing(np.abs(last).max()))
