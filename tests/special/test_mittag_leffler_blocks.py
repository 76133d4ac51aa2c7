"""Residues in blocks of points equal those of one point after the other, and their parts are right.

What is compared is :mod:`fracsde.special._ml_plane` with the scalar road of
:mod:`fracsde.special._ml_poles` and :mod:`fracsde.special._ml_residues`, which serves all else.
"""

import mpmath
import numpy as np
import pytest

from fracsde.special import _ml_plane as blocks
from fracsde.special import mittag_leffler
from fracsde.special._ml_poles import COLUMNS, find_poles
from fracsde.special._ml_residues import switch_on_complex
from fracsde.special._ml_tables import table
from tests.support.mittag_leffler import references, scaled_errors

ALPHAS = (0.01, 0.1, 0.5, 0.8, 1.0, 1.3, 1.9, 2.0)
TOLERANCE = 1e-13
DIGITS = 50


def plan_of(alpha, beta):
    entries = table(alpha, beta, 0, relative=False)
    return entries, (alpha, beta, *map(float, entries.contour))


def in_blocks(z, alpha, beta, plan=None):
    """Residues and roads of points with a tidy memory, as the module takes them."""
    entries, own = plan_of(alpha, beta)
    out, road = np.full(len(z), np.nan + 0j), np.full(len(z), 99)
    edges = blocks.reach(alpha, entries.small, entries.large)
    blocks.switch_on_plane(np.ascontiguousarray(z), out, road, edges, plan or own)
    return out, road


def one_by_one(z, alpha, beta):
    entries, plan = plan_of(alpha, beta)
    out, road, counts = np.empty(len(z), complex), np.empty(len(z), int), np.empty(len(z), int)
    held = np.empty((len(z), int(alpha) + 2, COLUMNS))
    z = np.ascontiguousarray(z)
    find_poles(z, entries.small, entries.large, False, 0, -42.0, plan, counts, held)
    switch_on_complex(z, counts, held, out, road, 0, entries)
    return out, road


def points(alpha, count, rng):
    reach = 10 ** rng.uniform(-3, 2.8, size=count)
    z = reach**alpha * np.exp(1j * rng.uniform(-np.pi, np.pi, size=count))
    z[::17] = z[::17].real  # both halves of the real axis
    return z


def apart(z, alpha, beta, plan=None):
    """Worst difference of residues where blocks serve, and the share of points they serve."""
    fast, roads = in_blocks(z, alpha, beta, plan)
    slow, expected = one_by_one(z, alpha, beta)
    served = roads != blocks.ASIDE
    assert np.array_equal(roads[served], expected[served])
    slow = np.where(z.imag == 0, slow.real, slow)  # poles left out there have a partner below
    fast = np.where(z.imag == 0, fast.real, fast)
    return scaled_errors(fast[served], slow[served]).max(initial=0.0), served.mean()


@pytest.mark.parametrize("beta", [-1.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_engine_blocks_equal_the_scalar_road(alpha, beta, seed):
    z = points(alpha, 4001, np.random.default_rng(seed))
    worst, share = apart(z, alpha, beta)
    assert worst < TOLERANCE
    assert share > (0.6 if alpha < 0.3 else 0.85)


@pytest.mark.twin
@pytest.mark.parametrize("which", [2, 3, 4])
def test_engine_blocks_reject_a_contour_off_by_a_part_in_a_million_million(which, seed):
    z = points(0.8, 4001, np.random.default_rng(seed))
    plan = list(plan_of(0.8, 1.0)[1])
    plan[which] *= 1 + 1e-12
    assert not apart(z, 0.8, 1.0, tuple(plan))[0] < TOLERANCE


@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 129, 4099])
def test_engine_blocks_of_any_length_give_the_same_bits(count, seed):
    z = points(1.4, 4099, np.random.default_rng(seed))
    whole, roads = in_blocks(z, 1.4, 1.0)
    some, own = in_blocks(z[:count], 1.4, 1.0)
    assert np.array_equal(some, whole[:count])
    assert np.array_equal(own, roads[:count])
    strided, _ = in_blocks(z[::3], 1.4, 1.0)
    assert np.array_equal(strided, whole[::3])


def test_keeps_aside_what_is_not_finite_or_too_large():
    z = np.array([np.nan, np.inf, 1j * np.nan, complex(0, -np.inf), 1e300, 1e200j, 0.0, 1e-300])
    assert np.all(in_blocks(z, 0.7, 1.0)[1] == blocks.ASIDE)


def test_keeps_conjugates(seed):
    z = points(1.6, 2000, np.random.default_rng(seed))
    upper, lower = in_blocks(z, 1.6, 0.4)[0], in_blocks(z.conj(), 1.6, 0.4)[0]
    assert np.array_equal(upper[z.imag != 0], lower[z.imag != 0].conj())


def test_exact_complex_numbers_on_the_real_axis_at_order_two():
    # Two poles on the imaginary axis each; one of them is on the edge of what has a second pole.
    x = np.linspace(0.01, 600, 997)
    values = mittag_leffler(-x + 0j, 2.0)
    assert np.abs(values - np.cos(np.sqrt(x))).max() < 1e-14
    growing = mittag_leffler(x + 0j, 2.0) / np.cosh(np.sqrt(x))
    assert np.abs(growing - 1).max() < 2e-15


@pytest.mark.parametrize("alpha", [0.05, 0.4, 1.0, 1.7])
def test_exact_where_a_pole_is_as_large_as_blocks_take(alpha):
    edge = min(300.0, 1000.0 * alpha)
    turn = (
        np.linspace(0.3, 1.0, 25) * np.pi / 2
    )  # the residue grows at one end, swings at the other
    z = (0.999 * edge) ** alpha * np.exp(1j * alpha * turn)
    assert np.all(in_blocks(z, alpha, 1.0)[1] != blocks.ASIDE)
    errors = scaled_errors(mittag_leffler(z, alpha), references(z, alpha))
    assert errors.max() < TOLERANCE


def worst_over_the_plane(alpha, seed, order=None):
    rng = np.random.default_rng(seed)
    s = rng.uniform(0.01, 40, size=150) * np.exp(1j * rng.uniform(-np.pi, np.pi, size=150))
    z = np.abs(s) ** alpha * np.exp(1j * np.angle(s))
    return scaled_errors(mittag_leffler(z, order or alpha), references(z, alpha)).max()


@pytest.mark.parametrize("alpha", [0.3, 0.9, 1.5])
def test_exact_to_a_few_roundings_over_the_plane(alpha, seed):
    # Without the step of Newton's method for a pole's place on the contour it is 2e-14.
    assert worst_over_the_plane(alpha, seed) < 4e-15


@pytest.mark.twin
def test_exact_to_a_few_roundings_rejects_an_order_off_by_a_hundred(seed):
    assert not worst_over_the_plane(0.9, seed, order=0.9 * (1 + 1e-14)) < 4e-15


# Logarithms and exponentials of pairs.


def scratch(n):
    return np.empty((2, n), np.int64), np.empty((9, n))


def logarithms(z):
    pairs = np.empty((4, len(z)))
    blocks._logarithms(len(z), z.real.copy(), z.imag.copy(), *pairs, *scratch(len(z)))
    return pairs


def off(high, low, expected):
    with mpmath.workdps(DIGITS):
        sums = [mpmath.mpf(h) + mpmath.mpf(e) for h, e in zip(high, low, strict=True)]
        return np.array([float(abs(s - e)) for s, e in zip(sums, expected, strict=True)])


def upper_half(rng, count=300):
    turns = np.concatenate([rng.uniform(0, np.pi, count), [0, np.pi / 4, np.pi / 2, np.pi]])
    z = 10 ** rng.uniform(-8, 8, len(turns)) * np.exp(1j * turns)
    return z.real + 1j * np.abs(z.imag)


@pytest.mark.parametrize("pairs", [True, pytest.param(False, marks=pytest.mark.twin)])
def test_exact_logarithms_of_pairs(pairs, seed):
    z = upper_half(np.random.default_rng(seed))
    lh, ll, th, tl = logarithms(z)
    with mpmath.workdps(DIGITS):
        exact = [mpmath.log(mpmath.mpc(v)) for v in z.tolist()]
        real, imag = [v.real for v in exact], [v.imag for v in exact]
    worst = max(off(lh, ll * pairs, real).max(), off(th, tl * pairs, imag).max())
    assert (worst < 2e-20) == pairs


@pytest.mark.parametrize("pairs", [True, pytest.param(False, marks=pytest.mark.twin)])
def test_exact_exponentials_of_pairs(pairs, seed):
    rng = np.random.default_rng(seed)
    n = 300
    lh, th = rng.uniform(-300, 300, n), rng.uniform(-300, 300, n)
    ll, tl = 1e-17 * lh, 1e-17 * th
    rh, rl, ih, il = np.empty((4, n))
    blocks._exponentials(n, lh, ll, th, tl, rh, rl, ih, il, *scratch(n))
    with mpmath.workdps(DIGITS):
        logs = [
            mpmath.mpc(mpmath.mpf(a) + mpmath.mpf(b), mpmath.mpf(c) + mpmath.mpf(d))
            for a, b, c, d in zip(lh, ll, th, tl, strict=True)
        ]
        exact = [mpmath.exp(v) for v in logs]
        size = np.array([float(abs(v)) for v in exact])
        real, imag = [v.real for v in exact], [v.imag for v in exact]
    worst = max((off(rh, rl * pairs, real) / size).max(), (off(ih, il * pairs, imag) / size).max())
    assert (worst < 4e-18) == pairs
