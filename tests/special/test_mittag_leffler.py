"""Closed forms, limits, shapes and refusals of the scalar Mittag-Leffler function."""

import os
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
from scipy.special import dawsn, erfcx, gamma, rgamma

from fracsde.errors import InputError, NotFiniteError, OutOfRangeError
from fracsde.special import mittag_leffler
from tests.support.exact import relaxation
from tests.support.mittag_leffler import LARGEST, references, relative_errors, scaled_errors

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-13

PLANE = np.multiply.outer(
    [1e-8, 0.02, 0.3, 1.0, 2.44, 4.0, 7.0, 12.0, 26.0], np.exp(1j * np.linspace(-3.1, np.pi, 6))
).ravel()

# (alpha, beta) and the function in closed form, in mpmath.
CLOSED = {
    "exponential": (1.0, 1.0, mpmath.exp),
    "shifted exponential": (1.0, 2.0, lambda z: mpmath.expm1(z) / z),
    "exponential, beta zero": (1.0, 0.0, lambda z: z * mpmath.exp(z)),
    "hyperbolic cosine": (2.0, 1.0, lambda z: mpmath.cosh(mpmath.sqrt(z))),
    "hyperbolic sine": (2.0, 2.0, lambda z: mpmath.sinh(mpmath.sqrt(z)) / mpmath.sqrt(z)),
    "hyperbolic cosine less one": (2.0, 3.0, lambda z: (mpmath.cosh(mpmath.sqrt(z)) - 1) / z),
    "error function": (0.5, 1.0, lambda z: mpmath.exp(z * z) * mpmath.erfc(-z)),
    "error function, beta one half": (
        0.5,
        0.5,
        lambda z: 1 / mpmath.sqrt(mpmath.pi) + z * mpmath.exp(z * z) * mpmath.erfc(-z),
    ),
    "error function, beta three halves": (
        0.5,
        1.5,
        lambda z: (mpmath.exp(z * z) * mpmath.erfc(-z) - 1) / z,
    ),
}


def worst_against(closed, values):
    with mpmath.workdps(60):
        expected = [complex(closed(mpmath.mpc(z))) for z in PLANE.tolist()]
    return scaled_errors(values, expected).max()


@pytest.mark.parametrize("name", CLOSED)
def test_exact_closed_form(name):
    alpha, beta, closed = CLOSED[name]
    assert worst_against(closed, mittag_leffler(PLANE, alpha, beta)) < TOLERANCE


@pytest.mark.twin
@pytest.mark.parametrize("name", CLOSED)
def test_closed_form_rejects_an_order_off_by_a_few_roundings(name):
    alpha, beta, closed = CLOSED[name]
    assert not worst_against(closed, mittag_leffler(PLANE, alpha * (1 - 1e-12), beta)) < TOLERANCE


def worst_at_half(evaluate):
    x = np.concatenate([[0.0], np.logspace(-12, 12, 4001)])
    return np.abs(evaluate(x) / erfcx(x) - 1).max()


def test_exact_half_order_is_scaled_erfc():
    assert worst_at_half(lambda x: mittag_leffler(-x, 0.5)) < 1e-14


@pytest.mark.twin
def test_exact_half_order_rejects_an_order_off_by_a_part_in_a_million_million():
    assert not worst_at_half(lambda x: mittag_leffler(-x, 0.500000000001)) < 1e-14


def test_exact_half_order_on_the_imaginary_axis_is_dawsons_integral():
    x = np.linspace(-8, 8, 161)
    values = mittag_leffler(1j * x, 0.5)
    assert np.abs(values.imag - 2 / np.sqrt(np.pi) * dawsn(x)).max() < 1e-14
    assert np.abs(values.real - np.exp(-x * x)).max() < 1e-14


def test_routes_agree_with_the_spectral_integral():
    for x, alpha in [(0.3, 0.3), (5.0, 0.6), (12.0, 0.9), (40.0, 0.99)]:
        assert abs(mittag_leffler(-x, alpha) / relaxation(x, alpha) - 1) < TOLERANCE


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.8, 0.999])
def test_exact_relative_accuracy_of_the_tail(alpha):
    x = np.array([1e3, 1e8, 1e150, 1e300])
    first = float(mpmath.rgamma(1 - mpmath.mpf(alpha))) / x
    second = float(mpmath.rgamma(1 - 2 * mpmath.mpf(alpha))) / x / x
    values = mittag_leffler(-x, alpha)
    assert np.abs(values / (first - second) - 1)[1:].max() < 1e-14
    assert abs(values[0] / first[0] - 1) < 5e-3


def test_limit_order_one_is_the_exponential():
    x = np.logspace(-3, 2.5, 2001)
    assert np.abs(mittag_leffler(-x, 1.0) / np.exp(-x) - 1).max() < 1e-15
    for gap in (1e-6, 1e-9):
        assert np.abs(mittag_leffler(-x, 1 - gap) - np.exp(-x)).max() < 0.4 * gap


def test_limit_order_nought_is_the_geometric_series():
    z = np.array([-0.9, -0.5, 0.3j, 0.5 + 0.2j])
    for alpha in (1e-2, 1e-3):
        assert np.abs(mittag_leffler(z, alpha) - 1 / (1 - z)).max() < 2.5 * alpha


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.95, 0.9999])
def test_keeps_monotone_decay_across_the_roads(alpha):
    x = np.concatenate([np.linspace(0, 0.6, 700), np.linspace(0.61, 150, 4000)])
    values = mittag_leffler(-x, alpha)
    assert values[0] == 1.0
    assert np.all(np.diff(values) < 0)
    assert np.all(values > 0)


@pytest.mark.parametrize("alpha", [0.1, 0.7, 1.3, 2.0])
@pytest.mark.parametrize("beta", [-1.0, 0.0, 1.0, 2.7])
def test_exact_at_nought(alpha, beta):
    assert mittag_leffler(0.0, alpha, beta) == rgamma(beta)
    assert mittag_leffler(-0.0, alpha, beta) == rgamma(beta)
    for order in (1, 2, 3):
        expected = gamma(order + 1) * rgamma(order * alpha + beta)
        found = mittag_leffler(0.0, alpha, beta, derivative=order)
        assert abs(found - expected) <= 4e-15 * abs(expected)


# Limits, and what has none.


def test_keeps_nan_and_nothing_else_becomes_nan():
    z = np.array([np.nan, -1.0, 0.5])
    for alpha in (0.3, 1.0, 1.7, 2.0):
        values = mittag_leffler(z, alpha)
        assert np.isnan(values).tolist() == [True, False, False]
        assert np.array_equal(values[1:], mittag_leffler(z[1:], alpha))
        assert np.isnan(mittag_leffler(z + 0j, alpha)).tolist() == [True, False, False]


@pytest.mark.parametrize("alpha", [0.3, 1.0, 1.7])
def test_limit_at_infinity_is_nought_on_one_side_and_infinite_on_the_other(alpha):
    with np.errstate(all="raise", under="ignore"):
        assert mittag_leffler(-np.inf, alpha) == 0.0
        assert mittag_leffler(np.inf, alpha) == np.inf


def test_limit_at_infinity_is_none_for_a_cosine():
    assert np.isnan(mittag_leffler(-np.inf, 2.0))


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 1.5, 2.0])
def test_overflow_is_infinite_and_silent(alpha):
    reach = np.log(LARGEST) + np.log(alpha)
    with np.errstate(all="raise", under="ignore"):
        below, above = mittag_leffler(np.array([reach - 0.01, reach + 0.01]) ** alpha, alpha)
        assert np.isinf(abs(mittag_leffler((reach + 0.01) ** alpha + 0j, alpha)))
    assert np.isfinite(below)
    assert below > 0.9 * LARGEST / np.exp(0.02)
    assert above == np.inf


# Shapes and arguments.


def test_shapes_follow_the_argument():
    assert mittag_leffler(-1.0, 0.5).shape == ()
    assert mittag_leffler(np.zeros((2, 0)), 0.5).shape == (2, 0)
    assert mittag_leffler([[-1.0, 0.0]], 0.5).shape == (1, 2)


def test_shapes_of_numbers_are_numbers():
    assert isinstance(mittag_leffler(-1.0, 0.5), np.float64)
    assert isinstance(mittag_leffler(-1, 1), np.float64)
    assert isinstance(mittag_leffler(1j, 0.5), np.complex128)


def test_shapes_of_orders_broadcast():
    z, alpha = np.linspace(-3, 1, 5)[:, None], np.array([0.3, 0.8, 1.6])
    beta = np.array([1.0, 0.5])[:, None, None]
    values = mittag_leffler(z, alpha, beta)
    assert values.shape == (2, 5, 3)
    for i in range(2):
        for k in range(3):
            one = mittag_leffler(z[:, 0], alpha[k], beta[i, 0, 0])
            assert np.array_equal(values[i, :, k], one)


def test_types_follow_the_argument():
    assert mittag_leffler(np.float32([-1, 1]), 0.5).dtype == np.float64
    assert mittag_leffler(np.arange(3), 0.5).dtype == np.float64
    assert mittag_leffler(np.complex64([1j]), 0.5).dtype == np.complex128
    whole = np.array([0, 3], dtype=np.uint8)
    assert np.array_equal(mittag_leffler(whole, 0.5), mittag_leffler([0.0, 3.0], 0.5))


@pytest.mark.parametrize("kind", [float, complex])
def test_keeps_values_of_strided_and_reversed_input(kind):
    z = np.linspace(-9, 3, 4001).astype(kind) * (1 if kind is float else 0.7 + 0.7j)
    whole = mittag_leffler(z, 0.6)
    assert np.array_equal(mittag_leffler(z[::3], 0.6), whole[::3])
    assert np.array_equal(mittag_leffler(z[::-1], 0.6), whole[::-1])
    square = z[:4000].reshape(40, 100)
    assert np.array_equal(mittag_leffler(square.T, 0.6), whole[:4000].reshape(40, 100).T)
    big_end = z.astype(z.dtype.newbyteorder(">"))
    assert np.array_equal(mittag_leffler(big_end, 0.6), whole)


def test_keeps_values_one_by_one_and_all_together(seed):
    z = np.random.default_rng(seed).uniform(-30, 3, size=300)
    for beta in (1.0, 0.4):
        one = np.array([mittag_leffler(v, 0.7, beta) for v in z])
        assert np.array_equal(one, mittag_leffler(z, 0.7, beta))


def test_keeps_its_arguments():
    z, alpha, beta = -np.linspace(0, 200, 50), np.full(50, 0.7), np.ones(50)
    before = z.copy(), alpha.copy(), beta.copy()
    for array in (z, alpha, beta):
        array.flags.writeable = False
    mittag_leffler(z, alpha, beta)
    mittag_leffler(z, alpha, beta, derivative=1)
    for now, then in zip((z, alpha, beta), before, strict=True):
        assert np.array_equal(now, then)


def test_keeps_results_fresh():
    first = mittag_leffler(np.array([-1.0, 0.5]), 0.5)
    first[...] = 0.0
    assert mittag_leffler(np.array([-1.0, 0.5]), 0.5).min() > 0.3


THREADS = """
import hashlib, numpy as np
import numba; numba.set_num_threads({threads})
from fracsde.special import mittag_leffler
rng = np.random.default_rng(1)
z = rng.uniform(-40, 4, 200_000)
c = z * np.exp(1j * rng.uniform(-3, 3, z.size))
bits = b"".join(mittag_leffler(v, 0.6).tobytes() for v in (z, c))
print(hashlib.sha256(bits).hexdigest())
"""


@pytest.mark.slow
def test_keeps_bits_whatever_the_number_of_threads():
    found = {
        subprocess.run(
            [sys.executable, "-c", THREADS.format(threads=threads)],
            cwd=ROOT,
            env=os.environ | {"NUMBA_NUM_THREADS": "2"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in (1, 2)
    }
    assert len(found) == 1


def test_exact_in_arrays_large_enough_to_be_shared_among_threads(seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 60, size=100_003)
    z = x * np.exp(1j * rng.uniform(-np.pi, np.pi, size=x.size))
    chosen = rng.choice(x.size, size=40, replace=False)
    for argument in (-x, z):
        values = mittag_leffler(argument, 0.6)
        errors = scaled_errors(values[chosen], references(argument[chosen], 0.6))
        assert errors.max() < TOLERANCE
    small = mittag_leffler(-x[:50], 0.6)
    assert relative_errors(small, mittag_leffler(-x, 0.6)[:50]).max() == 0.0


# Refusals.


@pytest.mark.parametrize("alpha", [0.0, -0.5, np.array([0.5, 0.0])])
def test_refuses_orders_that_are_not_positive(alpha):
    with pytest.raises(OutOfRangeError, match=r"`alpha` must lie in \[1e-12, "):
        mittag_leffler(-1.0, alpha)


def test_refuses_what_cannot_be_meant():
    with pytest.raises(NotFiniteError, match="`alpha` must be finite"):
        mittag_leffler(-1.0, np.nan)
    with pytest.raises(NotFiniteError, match="`beta` must be finite"):
        mittag_leffler(-1.0, 0.5, np.inf)
    with pytest.raises(InputError, match="`z` must be"):
        mittag_leffler("a", 0.5)
    with pytest.raises(InputError, match="`alpha` must be"):
        mittag_leffler(-1.0, 0.5j)
    with pytest.raises(InputError, match="`derivative` must be a whole number"):
        mittag_leffler(-1.0, 0.5, derivative=0.5)
    with pytest.raises(OutOfRangeError, match="`derivative` must be"):
        mittag_leffler(-1.0, 0.5, derivative=-1)


@pytest.mark.parametrize("exponent", [15.9, 16.5, 20.0, 40.0, 320.0])
@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5, 0.9])
def test_limit_of_overflow_on_the_positive_axis_is_positive(alpha, exponent):
    z = 10.0 ** min(alpha * exponent, 300.0)
    assert mittag_leffler(z, alpha) == np.inf
    assert not mittag_leffler(z, alpha, 1.0, 2) < 0


def test_refuses_orders_that_are_steps_and_points_that_are_none():
    with pytest.raises(OutOfRangeError, match="alpha"):
        mittag_leffler(1.0, 1e-300)
    with pytest.raises(InputError, match="array of numbers"):
        mittag_leffler(None, 0.5)
    with pytest.raises(InputError, match="array of numbers"):
        mittag_leffler([1.0, None], 0.5)
