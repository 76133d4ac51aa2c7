"""Tolerances in units of rounding error."""

from __future__ import annotations

import numpy as np

EPS = float(np.finfo(np.float64).eps)


def close(value: object, expected: object, *, units: float = 16.0, scale: object = None) -> bool:
    """Whether values agree to ``units`` rounding errors of ``scale`` (default: the largest)."""
    value, expected = np.asarray(value), np.asarray(expected)
    if value.shape != expected.shape:
        return False
    size = np.abs(expected).max(initial=0.0) if scale is None else np.asarray(scale)
    return bool(np.all(np.abs(value - expected) <= units * EPS * size))
