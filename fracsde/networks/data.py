"""Targets as rows of numbers: class labels and real values, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, integer
from fracsde.errors import InputError, OutOfRangeError, ShapeError

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["class_rows", "value_rows"]


def class_rows(targets: Any, rows: int, classes: int | None) -> tuple[Any, FloatArray]:
    """Check class labels.

    Returns
    -------
    tuple of (N,) int64 and (N, classes) float64
        The labels, and rows with a one at the label.

    Raises
    ------
    InputError
        If a label is not a whole number.
    OutOfRangeError
        If a label is negative or too large.
    """
    values = finite_array("targets", targets, shape=(rows,), remedy="one label per example")
    labels = values.astype(np.int64)
    if np.any(labels != values):
        first = values[np.flatnonzero(labels != values)[0]]
        msg = (
            f"`targets` must be whole class labels for the cross-entropy, got {first:g}; "
            "for real targets use objective='squared_error'"
        )
        raise InputError(msg)
    top = int(labels.max())
    count = max(top + 1, 2) if classes is None else integer("classes", classes, low=2)
    if labels.min() < 0 or top >= count:
        msg = (
            f"`targets` must lie between 0 and {count - 1}, got labels from {labels.min()} to "
            f"{top}; number classes from 0"
        )
        raise OutOfRangeError(msg)
    labels.flags.writeable = False
    goals = np.zeros((rows, count))
    goals[np.arange(rows), labels] = 1.0
    return labels, goals


def value_rows(targets: Any, rows: int) -> tuple[FloatArray, FloatArray]:
    """Check real targets.

    Returns
    -------
    tuple of array of float64 and (N, outputs) float64
        The targets as given, and one row per example.

    Raises
    ------
    ShapeError
        If there is not one row per example.
    """
    values = finite_array("targets", targets, ndim=(1, 2))
    if len(values) != rows or values.size == 0:
        msg = f"`targets` must have {rows} rows, one per example, got shape {values.shape}"
        raise ShapeError(msg)
    return values, np.array(values.reshape(rows, -1))
