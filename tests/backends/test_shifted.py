"""Complex shifts: compiled equals reference, reference equals high precision, mass is kept."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.backends import shifted_numba, shifted_reference
from tests.support.exact import EPS

ENGINES = [shifted_numba, shifted_reference]


def rates_of(n, rng, *, ring, lossy, decades=2.0):
    right, left = 10.0 ** rng.uniform(-decades, decades, (2, n))
    if not ring:
        right[-1] = left[0] = 0.0
    loss = rng.uniform(0, 1, n) * (rng.random(n) < 0.3) if lossy else np.zeros(n)
    return right, left, loss


def shifts_of(count, rng, *, decades=3.0, widest=2.7):
    size = 10.0 ** rng.uniform(-decades, decades, count)
    return size * np.exp(1j * rng.uniform(-widest, widest, count))


def task(n, count, seed, *, ring=False, lossy=False):
    rng = np.random.default_rng(seed)
    rates = rates_of(n, rng, ring=ring, lossy=lossy)
    return shifts_of(count, rng), *rates, rng.uniform(0, 1, n), rng.uniform(1, 2, n)


def gap(one, other):
    """Largest difference over the largest entry, solution by solution; and of the measures."""
    solutions = np.abs(one[0] - other[0]).max(axis=(0, 1), initial=0.0)
    scale = np.abs(other[0]).max(axis=(0, 1), initial=0.0)
    measures = np.abs(one[1] - other[1]).max(axis=0, initial=0.0)
    sizes = np.abs(other[1]).max(axis=0, initial=0.0)
    return max((solutions / scale).max(initial=0.0), (measures / sizes).max(initial=0.0))


# Three cells, a prime, more than one block of 24 lanes; no shift, one, a prime, whole blocks.
SHAPES = [(3, 0), (3, 1), (4, 7), (31, 24), (97, 29), (200, 48)]


@pytest.mark.parametrize(("n", "count"), SHAPES)
@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("lossy", [False, True])
def test_engine_numba_equals_reference(n, count, ring, lossy):
    given_ = task(n, count, n + count, ring=ring, lossy=lossy)
    compiled, read = (engine.solve_shifts(*given_) for engine in ENGINES)
    assert compiled[0].shape == read[0].shape == (n, 2, count)
    assert gap(compiled, read) <= 8 * EPS * n


@pytest.mark.parametrize("ring", [False, True])
def test_engine_on_all_cores_equals_one_core_to_the_last_bit(ring):
    given_ = task(40, 77, 5, ring=ring)
    one, all_ = (shifted_numba.solve_shifts(*given_, threads=t) for t in (False, True))
    assert np.array_equal(one[0], all_[0])
    assert np.array_equal(one[1], all_[1])


@pytest.mark.twin
def test_engine_equality_rejects_a_shift_of_the_wrong_half_plane():
    shifts, *rest = task(31, 24, 1)
    compiled = shifted_numba.solve_shifts(shifts.conj(), *rest)
    read = shifted_reference.solve_shifts(shifts, *rest)
    assert gap(compiled, read) > 1e-3


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(3, 40),
    count=st.integers(1, 50),
    ring=st.booleans(),
    lossy=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_engine_equals_reference_on_random_chains(n, count, ring, lossy, seed):
    given_ = task(n, count, seed, ring=ring, lossy=lossy)
    compiled, read = (engine.solve_shifts(*given_) for engine in ENGINES)
    assert gap(compiled, read) <= 16 * EPS * n


# --- weighted sums of solutions ---------------------------------------------------------------


def sums_task(n, count, rows, seed, *, lossy=False):
    """Weights of both signs; the last row is left without a solution."""
    shifts, *rest = task(n, count, seed, lossy=lossy)
    rng = np.random.default_rng(seed + 1)
    weights = rng.normal(size=count) + 1j * rng.normal(size=count)
    return shifts, weights, rng.integers(0, max(rows - 1, 1), count), rows, *rest


def sums_gap(found, given_):
    """Largest difference from sums of separate solutions, over the sizes of their terms."""
    shifts, weights, rows, count, *rest = given_
    solutions, measures = shifted_reference.solve_shifts(shifts, *rest)
    x = solutions[:, 0] + 1j * solutions[:, 1]
    choice = np.eye(count)[rows].reshape(-1, count)
    exact, sizes = (x * weights).real @ choice, np.abs(x * weights) @ choice
    worst = np.abs(found[0] - exact).max(axis=0) / np.maximum(sizes.max(axis=0), 1e-300)
    peaks = np.abs(found[1] - measures[2]) / measures[2]
    return max(worst.max(initial=0.0), peaks.max(initial=0.0))


# No shift, one, a prime, one block of 36 lanes, one more, several.
SUMS = [(3, 0, 1), (3, 1, 2), (4, 7, 1), (31, 36, 9), (97, 37, 5), (200, 100, 17)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("n", "count", "rows"), SUMS)
@pytest.mark.parametrize("lossy", [False, True])
def test_engine_sums_equal_sums_of_solutions(engine, n, count, rows, lossy):
    given_ = sums_task(n, count, rows, n + count, lossy=lossy)
    copies = [np.copy(a) for a in given_]
    found = engine.sum_shifts(*given_)
    assert found[0].shape == (n, rows)
    assert found[1].shape == (count,)
    assert sums_gap(found, given_) <= 16 * EPS * n
    assert all(np.array_equal(a, b) for a, b in zip(given_, copies, strict=True))
    if rows > 1:
        assert not found[0][:, -1].any()


@pytest.mark.twin
@pytest.mark.parametrize("harm", ["conjugate", "weight", "row"])
def test_engine_sums_reject_a_damaged_task(harm):
    given_ = sums_task(97, 37, 5, 3)
    shifts, weights, rows, *rest = given_
    weights, rows = weights.copy(), rows.copy()
    if harm == "conjugate":
        shifts = shifts.conj()
    elif harm == "weight":
        weights[-1] *= 1 + 1e-6
    else:
        rows[-1] = (rows[-1] + 1) % 4
    found = shifted_numba.sum_shifts(shifts, weights, rows, *rest)
    assert sums_gap(found, given_) > 1e-9


def test_exact_sums_for_rates_over_many_decades():
    """Real parts of separate solutions, each in a row of its own."""
    for seed in range(4):
        shifts, *rest = stiff(seed, ring=False)
        rows = np.arange(len(shifts))
        re, im = (
            shifted_numba.sum_shifts(shifts, np.full(len(shifts), w), rows, len(shifts), *rest)[0]
            for w in (1.0 + 0.0j, -1.0j)
        )
        assert worst((np.stack([re, im], axis=1),), shifts, *rest) < 64 * EPS


# --- against high precision -------------------------------------------------------------------


def matrix_of(right, left, loss):
    n = len(right)
    L, i = np.diag(-(right + left + loss)), np.arange(n)
    np.add.at(L, ((i + 1) % n, i), right)
    np.add.at(L, ((i - 1) % n, i), left)
    return L


def high_precision(shift, right, left, loss, rhs):
    with mpmath.workdps(60):
        n = len(rhs)
        A = mpmath.matrix(n, n)
        for i in range(n):
            A[i, i] += mpmath.mpmathify(complex(shift))
            for rate in (right[i], left[i], loss[i]):
                A[i, i] += mpmath.mpf(float(rate))
            A[(i + 1) % n, i] -= mpmath.mpf(float(right[i]))
            A[(i - 1) % n, i] -= mpmath.mpf(float(left[i]))
        x = mpmath.lu_solve(A, mpmath.matrix([mpmath.mpf(float(b)) for b in rhs]))
        return np.array([complex(v) for v in x])


def stiff(seed, *, ring):
    """Rates over 24 decades, shifts over 12, up to 155 degrees off the positive axis."""
    rng = np.random.default_rng(seed)
    rates = rates_of(11, rng, ring=ring, lossy=False, decades=12.0)
    return shifts_of(8, rng, decades=6.0), *rates, rng.uniform(0, 1, 11), np.ones(11)


def worst(solved, shifts, *rest):
    found = solved[0][:, 0] + 1j * solved[0][:, 1]
    error = 0.0
    for k, shift in enumerate(shifts):
        exact = high_precision(shift, *rest[:4])
        error = max(error, np.abs(found[:, k] - exact).sum() / np.abs(exact).sum())
    return error


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ring", [False, True])
def test_exact_for_rates_over_many_decades(engine, ring):
    for seed in range(4):
        given_ = stiff(seed, ring=ring)
        assert worst(engine.solve_shifts(*given_), *given_) < 64 * EPS


@pytest.mark.twin
def test_exact_rejects_elimination_with_the_pivots_themselves():
    """Dense Gaussian elimination with pivoting loses all that the large rates drown."""
    lost = 0.0
    for seed in range(4):
        shifts, right, left, loss, rhs, _ = given_ = stiff(seed, ring=False)
        L = matrix_of(right, left, loss)
        dense = np.array([np.linalg.solve(z * np.eye(11) - L, rhs) for z in shifts]).T
        lost = max(lost, worst((np.stack([dense.real, dense.imag], 1),), *given_))
    assert lost > 1e-9


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ring", [False, True])
def test_keeps_mass_whatever_the_shift(engine, ring):
    """Columns of the shifted matrix sum to the shift."""
    shifts, *rest = task(300, 24, 9, ring=ring)
    sums = engine.solve_shifts(shifts, *rest)[1]
    mass = (sums[0] + 1j * sums[1]) * shifts
    assert np.abs(mass - rest[3].sum()).max() < 300 * 16 * EPS * rest[3].sum()


def test_keeps_what_it_is_given():
    given_ = task(17, 30, 2, ring=True)
    copies = [a.copy() for a in given_]
    for engine in ENGINES:
        engine.solve_shifts(*given_)
    assert all(np.array_equal(a, b) for a, b in zip(given_, copies, strict=True))
