"""Engines: compiled weights of a block equal the array formulas that define them."""

import numpy as np
import pytest

from fracsde.backends.moments_numba import exponential_intake, fade_and_add
from fracsde.schemes.exponentials import _SERIES, exponential_moments
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.l12 import L12
from fracsde.schemes.memory import coefficients_of
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


def in_states(rows, scheme, alpha, even):
    count, total = rows.shape
    steps = np.arange(total - count, total)
    newest, point = (np.arange(count), steps), scheme.point(alpha)
    coefficients = np.diff(rows, axis=1, prepend=0.0)
    if scheme.positive:
        coefficients = np.maximum(coefficients, 0.0)
    coefficients[np.arange(total) > steps[:, None]] = 0.0
    coefficients[newest] += (1.0 / point - 1.0) * rows[newest]
    return coefficients, rows[newest] / point if even else coefficients.sum(axis=1)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("first", [0, 20, 32])
def test_engine_coefficients_of_states_equal_the_reference(scheme, even, first):
    times = MESHES["uniform" if even else "graded"]
    rows = scheme.rows(times, alpha=0.6, first=first)
    expected, shifts = in_states(rows, scheme, 0.6, even)
    found, sums = coefficients_of(rows, scheme, alpha=0.6, even=even)
    assert np.array_equal(found, expected)
    assert np.abs(sums / shifts - 1).max() < 1e-14


@pytest.mark.twin
def test_engine_coefficients_reject_weights_of_one_step_less():
    rows = L1().rows(MESHES["graded"], alpha=0.6, first=20)
    expected, _ = in_states(rows[:-1, :-1], L1(), 0.6, False)
    found, _ = coefficients_of(rows[1:, 1:], L1(), alpha=0.6, even=False)
    assert not np.array_equal(found, expected)


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (7, 33)])
def test_engine_shares_fade_as_arrays_do(shape):
    rng = np.random.default_rng(1)
    shares, more, faded = rng.random(shape), rng.random(shape), rng.random(shape[0] + 2)
    expected = faded[: shape[0], None] * shares + more
    fade_and_add(shares, faded, more)
    assert np.allclose(shares, expected, rtol=1e-15, atol=0.0)
