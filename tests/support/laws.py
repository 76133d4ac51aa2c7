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


def covers(hits: int, trials: int, level: float) -> bool:
    """Whether ``hits`` of ``trials`` intervals of the given level is a likely count.

    At 300 trials of level 0.95 it sees a coverage below about 0.87: errors too small by a third.
    """
    law = stats.binom(trials, level)
    return bool(min(law.cdf(hits), law.sf(hits - 1)) > 0.5 * BUDGET / LOOKS)


def honest(values: object, stderrs: object) -> bool:
    """Whether standard errors have, on average, the size of the values' actual spread.

    The tolerance is that of a normal sample's variance and of the mean of the squared errors; at
    300 trials it sees errors wrong by a fifth to a quarter, too small or too large.
    """
    values, squared = np.asarray(values), np.square(np.asarray(stderrs))
    trials = len(values)
    ratio = squared.mean() / values.var(ddof=1)
    noise = np.hypot(np.sqrt(2.0 / (trials - 1)), squared.std() / squared.mean() / trials**0.5)
    return bool(abs(np.log(ratio)) <= sigmas() * noise)
