r"""What was measured, what was predicted, and the quantity in which they meet.

A :class:`Measurement` and a :class:`Prediction` can be compared exactly when they name the same
:class:`Quantity`.  Values may be arrays; each entry is then compared on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import finite_array
from fracsde.errors import InputError, OutOfRangeError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import FloatArray

__all__ = ["Measurement", "Prediction", "Quantity"]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A named thing with a unit that theory can predict and a run can show.

    Parameters
    ----------
    name : str
        The name on which predictions and measurements meet, e.g. ``"stationary variance"``.
    unit : str
        Its unit, ``"1"`` if it has none.
    labels : sequence of str
        One label per entry for array quantities, e.g. the direction; empty for a number.

    Raises
    ------
    InputError
        If the name or the unit is empty.

    Examples
    --------
    >>> Quantity(name="stationary variance", unit="weight^2", labels=("e1", "e2")).size
    2
    """

    name: str
    unit: str = "1"
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.name or not self.unit:
            msg = f"a quantity needs a name and a unit, got {self.name!r} and {self.unit!r}"
            raise InputError(msg)
        object.__setattr__(self, "labels", tuple(self.labels))

    @property
    def size(self) -> int:
        """Number of entries."""
        return max(1, len(self.labels))

    def label(self, index: int) -> str:
        """Return the label of an entry, empty for a number.

        Returns
        -------
        str
        """
        return self.labels[index] if self.labels else ""


def _entries(name: str, value: object, size: int) -> FloatArray:
    array = finite_array(name, value, ndim=(0, 1))
    if array.size not in {1, size}:
        msg = (
            f"`{name}` must hold {size} entries, one per label of the quantity, got {array.size}; "
            "give the quantity as many labels as values"
        )
        raise ShapeError(msg)
    entries = np.broadcast_to(array.reshape(-1), (size,)).copy()
    entries.flags.writeable = False
    return entries


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """A measured quantity with its standard error.

    Parameters
    ----------
    quantity : Quantity
        What was measured.
    value : float or (size,) array_like [unit of the quantity]
        The estimate.
    stderr : float or (size,) array_like [unit of the quantity]
        Its standard error, positive.
    n_effective : float or (size,) array_like [1]
        Effective number of independent observations behind each entry, at least 2.
    method : str
        How it was measured, for the report.

    Raises
    ------
    OutOfRangeError
        If a standard error is not positive or an effective size is below 2.
    """

    quantity: Quantity
    value: FloatArray
    stderr: FloatArray
    n_effective: FloatArray
    method: str = ""

    def __post_init__(self) -> None:
        for field in ("value", "stderr", "n_effective"):
            entries = _entries(field, getattr(self, field), self.quantity.size)
            object.__setattr__(self, field, entries)
        if np.any(self.stderr <= 0):
            msg = (
                f"`stderr` of {self.quantity.name!r} must be positive, got {self.stderr.min():g}; "
                "a measurement without error cannot be compared, a constant series has none"
            )
            raise OutOfRangeError(msg)
        if np.any(self.n_effective < 2):
            msg = (
                f"`n_effective` of {self.quantity.name!r} must be at least 2, got "
                f"{self.n_effective.min():g}; record longer or more chains"
            )
            raise OutOfRangeError(msg)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """A predicted quantity with the numerical error of the prediction.

    Parameters
    ----------
    quantity : Quantity
        What is predicted.
    value : float or (size,) array_like [unit of the quantity]
        The prediction.
    numerical_error : float or (size,) array_like [unit of the quantity]
        Bound on the error of computing it, not of the theory's assumptions; zero for closed forms.
    theory : str
        Which theory, for the report.
    scale : float or (size,) array_like, optional [unit of the quantity]
        What a relative difference is relative to; ``abs(value)`` if not given.  Needed where the
        value may be near zero, as an off-diagonal covariance is: its natural scale is the
        geometric mean of the two variances.

    Raises
    ------
    OutOfRangeError
        If a numerical error is negative or a scale is not positive.
    """

    quantity: Quantity
    value: FloatArray
    numerical_error: FloatArray
    theory: str = ""
    scale: FloatArray | None = None

    def __post_init__(self) -> None:
        size = self.quantity.size
        object.__setattr__(self, "value", _entries("value", self.value, size))
        error = _entries("numerical_error", self.numerical_error, size)
        object.__setattr__(self, "numerical_error", error)
        if self.scale is not None:
            object.__setattr__(self, "scale", _entries("scale", self.scale, size))
        if np.any(error < 0):
            msg = f"`numerical_error` of {self.quantity.name!r} must not be negative"
            raise OutOfRangeError(msg)
        if np.any(self.relative_to <= 0):
            msg = (
                f"`scale` of {self.quantity.name!r} must be positive: the predicted value is zero, "
                "and a relative difference needs something to be relative to; pass `scale`"
            )
            raise OutOfRangeError(msg)

    @property
    def relative_to(self) -> FloatArray:
        """The scale of each entry [unit of the quantity]."""
        # Not stored: a copy with another value has another scale.
        return np.abs(self.value) if self.scale is None else self.scale
