"""The window of a run that is measured: read from a trajectory, an array, a store or its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fracsde._check import real
from fracsde.errors import InputError, ShapeError
from fracsde.estimators.chains import as_trajectory, coordinate_names

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from fracsde._typing import ArrayLike
    from fracsde.records.trajectory import Trajectory

    Source: TypeAlias = Trajectory | str | PathLike[str] | ArrayLike

__all__ = ["Window", "read_window"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """What is measured."""

    trajectory: Trajectory
    labels: tuple[str, ...]
    unit: str  # of a coordinate


def read_window(
    run: Any,
    *,
    directions: ArrayLike | None = None,
    start: float | None = None,
    stop: float | None = None,
    stream: str = "weights",
    chains: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    unit: str | None = None,
) -> Window:
    """Read the window that :func:`fracsde.measure` was asked to measure.

    Returns
    -------
    Window

    Raises
    ------
    InputError
        If an option is meant for a stored run and there is none.
    ShapeError
        If there is not one label per coordinate.
    """
    begin = -np.inf if start is None else real("start", start)
    end = np.inf if stop is None else real("stop", stop)
    if stream != "weights" or chains is not None:
        msg = "`stream` and `chains` choose from a stored run; pass its path or open_run(path)"
        raise InputError(msg)
    whole = as_trajectory(run)
    found = whole.between(begin, end)
    if directions is not None:
        found = found.project(directions)
    tags = coordinate_names(found) if labels is None else tuple(labels)
    if len(tags) != found.dimension:
        msg = f"`labels` must hold {found.dimension} names, one per coordinate, got {len(tags)}"
        raise ShapeError(msg)
    return Window(trajectory=found, labels=tags, unit="weight" if unit is None else unit)
