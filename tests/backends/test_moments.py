"""Engines: compiled weights of a block equal the array formulas that define them."""

import numpy as np
import pytest

from fracsde.backends.moments_numba import exponential_intake
from fracsde.schemes.exponentials import _SERIES, exponential_moments
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.l12 import L12
from fracsde.schemes.piecewise import assembled

MESHES = {
    "uniform": np.arange(34.0),
    "graded": (np.arange(400, 434) / 500.0) ** 4,
    "start": (np.arange(34) / 33.0) ** 9,
    "wild": np.cumsum(10.0 ** np.random.default_rng(3).uniform(-6, 1, 34)),
}
SCHEMES = (L1(), L12(), L2Sigma())


def rows_apart(scheme, times, alpha, shifted=0):
    for first, skip in ((0, 0), (1, 1), (1, 0), (20, 5)):
        expected = scheme.rows(times, alpha=alpha, first=first, skip=skip)
        found = scheme.block_rows(times, alpha=alpha, first=first, skip=skip)
        scale = np.abs(expected).max(axis=1, keepdims=True)
        gap = np.abs(np.roll(found, shifted, axis=1) - expected)
        # Each weight to its own size, but where the two parts of a weight cancel.
        yield float((gap / (np.abs(expected) + 1e-6 * scale)).max())


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.5, 0.8, 0.999, 1.0])
@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_engine_weights_of_a_block_equal_the_reference(scheme, mesh, alpha):
    assert max(rows_apart(scheme, MESHES[mesh], alpha)) < 1e-9


@pytest.mark.twin
def test_engine_weights_reject_a_memory_off_by_one():
    assert not max(rows_apart(L12(), MESHES["uniform"], 0.6, shifted=1)) < 1e-9


def intake_apart(scheme, nodes, series=_SERIES):
    rates, cell = np.geomspace(1e-6, 1e6, 40)[:, None], np.diff(nodes)
    late = 1 if scheme.lean > 0 else 0
    start = 0 if scheme.lean > 0 else 1
    stop = len(cell) - late
    mean, tilt = np.zeros((2, len(rates), len(cell)))
    found = exponential_moments(rates, cell[start:stop])
    since = np.exp(-rates * (nodes[stop] - nodes[start + 1 : stop + 1]))
    mean[:, start:stop], tilt[:, start:stop] = found[0] * since, found[1] * since
    expected = assembled(mean, tilt, cell, scheme.lean)
    compiled = exponential_intake(rates[:, 0], nodes, start, stop, scheme.lean, series)
    return np.abs(compiled - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_engine_intake_equals_the_reference(scheme, mesh):
    assert intake_apart(scheme, MESHES[mesh]) < 1e-13


@pytest.mark.twin
def test_engine_intake_rejects_a_series_of_one_term():
    assert not intake_apart(L12(), MESHES["uniform"], _SERIES[:1]) < 1e-13
