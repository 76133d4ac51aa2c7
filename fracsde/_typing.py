"""Names for the array types that signatures use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["ArrayLike", "BoolArray", "FloatArray", "IntArray", "RandomState"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
ArrayLike: TypeAlias = NDArray[Any] | Sequence[Any] | float
RandomState: TypeAlias = int | np.random.SeedSequence | np.random.Generator
