"""Tests of sampled quantities against a stated law, under one budget of false alarms.

The whole suite may fail by chance once in a million runs.  Each look at random data spends an
equal share of that budget, so a look fails when its deviation exceeds ``sigmas()`` standard
errors of the law (not of the sample).  Sample sizes are fixed in advance.
"""

from __future__ import annotations

import hashlib

import numpy as np
from scipy import stats

BUDGET = 1e-6
LOOKS = 1000  # more than the suite takes; raise it when the suite outgrows it


def sigmas() -> float:
    """Return the two-sided normal quantile that one look may use: about 6.1."""
    return float(stats.norm.isf(0.5 * BUDGET / LOOKS))


def seed_of(name: str) -> int:
    """Return a seed derived from a test's name, so that no seed is ever chosen."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def follows(sample_value: object, expected: object, law_stderr: object) -> bool:
    """Whether every entry lies within ``sigmas()`` standard errors of its expected value."""
    gap = np.abs(np.asarray(sample_value) - np.asarray(expected))
    return bool(np.all(gap <= sigmas() * np.asarray(law_stderr)))
