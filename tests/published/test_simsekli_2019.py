"""Tail indices of pooled coordinates, as in Simsekli, Sagun, Gurbuzbalaban (ICML 2019)."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.estimators import vector_tail_index
from tests.support.laws import follows


def _pooled(vectors, block):
    """Their estimator as used: all coordinates of all draws in one sequence of numbers."""
    flat = vectors.ravel()
    flat = flat[: len(flat) // block * block].reshape(-1, block)
    growth = np.mean(np.log(np.abs(flat.sum(axis=1)))) - np.mean(np.log(np.abs(flat)))
    return np.log(block) / growth


def _noise(seed, spread, draws=400, d=2000):
    # Gaussian, with scales of coordinates that spread log-normally.
    rng = np.random.default_rng(seed)
    return rng.standard_normal((draws, d)) * np.exp(spread * rng.standard_normal(d))


def test_pooled_coordinates_hold_for_equal_scales(seed):
    assert abs(_pooled(_noise(seed, 0.0), 100) - 2.0) < 0.05


@pytest.mark.parametrize(("spread", "seen"), [(1.0, 1.43), (2.0, 0.86)])
def test_pooled_coordinates_fail_on_gaussian_noise_of_unequal_scales(spread, seen, seed):
    noise = _noise(seed, spread)
    assert abs(_pooled(noise, 100) - seen) < 0.15
    whole = vector_tail_index(noise[None])
    assert follows(whole.value[0], 2.0, whole.stderr[0])
    assert whole.stderr[0] < 0.1
