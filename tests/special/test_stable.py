"""Stable laws against closed forms, high precision, other orders, and themselves at seams."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from scipy.special import erf, erfc

from fracsde.errors import InputError, NotFiniteError, OutOfRangeError, ShapeError, UnsupportedError
from fracsde.special._stable_tables import stable_table
from fracsde.special.stable import (
    inverse_stable_cdf,
    inverse_stable_logpdf,
    inverse_stable_pdf,
    inverse_stable_sf,
    stable_cdf,
    stable_logpdf,
    stable_pdf,
    stable_sf,
    wright_m,
)
from tests.support.exact import relaxation

CLOSE = 4e-15


def at_argument(alpha: float, log_p: float) -> float:
    """Return ``z`` at which the exponent ``P`` of the tail has the given logarithm."""
    return math.exp((1 - alpha) * (log_p - stable_table(alpha).shift[0]))


def by_series(z: float, alpha: float) -> tuple[mpmath.mpf, ...]:
    """Return density, cdf and sf of ``E_1`` from the power series."""
    with mpmath.workdps(40):
        a, z = mpmath.mpf(alpha), mpmath.mpf(z)
        density, below, n = mpmath.mpf(0), mpmath.mpf(0), 0
        while True:
            n += 1
            size = mpmath.gamma(a * n) * z ** (n - 1) / mpmath.factorial(n - 1)
            term = (-1) ** (n - 1) * size * mpmath.sin(mpmath.pi * a * n) / mpmath.pi
            density, below = density + term, below + term * z / n
            if size < mpmath.mpf(10) ** -25 * abs(density):
                return density, below, 1 - below


def by_integral(z: object, alpha: float) -> tuple[mpmath.mpf, ...]:
    """Return the same from Zolotarev's integral by the trapezoidal rule: even and analytic."""
    with mpmath.workdps(34):
        a, z = mpmath.mpf(alpha), mpmath.mpf(z)
        gap = 1 - a
        y = z ** (1 / gap)
        least = gap * a ** (a / gap)
        above, weighted = mpmath.exp(-y * least) / 2, least * mpmath.exp(-y * least) / 2
        # In v the tail falls within 1 - alpha, the peak has width (alpha P)**-1/2.
        step = min(0.12 * gap, 0.3 / mpmath.sqrt(a * y * least), mpmath.mpf(1) / 8)
        v = mpmath.mpf(0)
        while True:
            v += step
            u = 2 * mpmath.atan(mpmath.sinh(v))
            A = mpmath.sin(gap * u) * mpmath.sin(a * u) ** (a / gap) / mpmath.sin(u) ** (1 / gap)
            value = mpmath.exp(-y * A) / mpmath.cosh(v)
            above, weighted = above + value, weighted + A * value
            if y * (A - least) > 60:
                break
        above, weighted = 2 * step * above / mpmath.pi, 2 * step * weighted / mpmath.pi
        return weighted * y / (gap * z), 1 - above, above


def relative(values: object, expected: object) -> float:
    """Return the largest relative error, with the subtraction in high precision."""
    pairs = zip(np.ravel(values), np.ravel(expected), strict=True)
    return max(abs(float(mpmath.mpf(float(v)) / e - 1)) for v, e in pairs)


def worst_against_precision(alpha: float, log_p: float, order: float | None = None) -> float:
    z = at_argument(alpha, log_p)
    exact = by_series(z, alpha) if z < 0.7 else by_integral(z, alpha)
    used = alpha if order is None else order
    values = wright_m(z, used), inverse_stable_cdf(z, 1.0, used), inverse_stable_sf(z, 1.0, used)
    return relative(values, exact)


# From the start of the series to the smallest normal number: exp(-665) = 1e-289.
PLACES = [
    *((alpha, log_p) for alpha in (0.01, 0.05, 0.3, 0.7) for log_p in (-3.0, 0.7, 3.1, 4.6, 6.5)),
    *((alpha, log_p) for alpha in (0.9, 0.97) for log_p in (-40.0, -9.0, 1.3, 3.15, 6.5)),
    *((0.99, log_p) for log_p in (-400.0, -110.0, -62.0, 2.1, 6.5)),
]


@pytest.mark.parametrize(("alpha", "log_p"), PLACES)
def test_exact_against_high_precision(alpha, log_p):
    assert worst_against_precision(alpha, log_p) < CLOSE


@pytest.mark.parametrize(
    ("alpha", "log_p"),
    [
        *((0.001, log_p) for log_p in (-2.0, 0.7, 3.0, 6.5)),
        *((0.999, log_p) for log_p in (-6500.0, -900.0, 6.5)),
        *((0.9999, log_p) for log_p in (-60000.0, -9000.0)),
        *((1e-6, log_p) for log_p in (0.7, 6.5)),
    ],
)
def test_exact_against_high_precision_at_extreme_orders(alpha, log_p):
    assert worst_against_precision(alpha, log_p) < 1e-14


def worst_in_both_arguments(alpha: float, t: float, *, ulps: int = 0) -> float:
    s = at_argument(alpha, 6.4) * t**alpha
    with mpmath.workdps(34):
        z = mpmath.mpf(s) * mpmath.mpf(t) ** -mpmath.mpf(alpha)
        density, _, above = by_integral(z, alpha)
        exact = density * z / mpmath.mpf(s), above
    t *= 1 + ulps * 2.3e-16
    return relative((inverse_stable_pdf(s, t, alpha), inverse_stable_sf(s, t, alpha)), exact)


@pytest.mark.parametrize("alpha", [0.3, 0.97])
@pytest.mark.parametrize("t", [1e-9, 3.3, 7e5])
def test_exact_in_the_tail_at_any_time(alpha, t):
    assert worst_in_both_arguments(alpha, t) < CLOSE


@pytest.mark.twin
@pytest.mark.parametrize("alpha", [0.3, 0.97])
def test_exact_in_the_tail_rejects_a_time_off_by_one_ulp(alpha):
    assert not worst_in_both_arguments(alpha, 3.3, ulps=1) < CLOSE


@pytest.mark.twin
@pytest.mark.parametrize(("alpha", "log_p"), PLACES[::4])
def test_exact_against_high_precision_rejects_an_order_off_in_the_twelfth_digit(alpha, log_p):
    assert not worst_against_precision(alpha, log_p, alpha * (1 + 1e-12)) < CLOSE


def carried(exponent: object, alpha: float, exact: mpmath.mpf) -> mpmath.mpf:
    # From a rational order to the double next to it exp(-P) changes by up to 1e-13, the rest of
    # the law by less than 1e-16.
    def factor(a: mpmath.mpf) -> mpmath.mpf:
        return (1 - a) * mpmath.exp(exponent(a) / (1 - a))

    return mpmath.exp(factor(exact) - factor(mpmath.mpf(alpha)))


def third(x: np.ndarray) -> list[mpmath.mpf]:
    with mpmath.workdps(30):
        root, exact = mpmath.cbrt(3), mpmath.mpf(1) / 3
        found = []
        for v in map(mpmath.mpf, map(float, x)):
            factor = carried(lambda a, v=v: mpmath.log(a**a * v), 1 / 3, exact) if v else 1
            found.append(factor * root**2 * mpmath.airyai(v / root))
        return found


def test_exact_third_order_is_airy():
    x = np.concatenate([np.linspace(0, 10, 21), np.geomspace(12, 142, 12)])
    assert 1e-300 < wright_m(x[-1], 1 / 3) < 1e-280
    assert relative(wright_m(x, 1 / 3), third(x)) < CLOSE


@pytest.mark.twin
def test_exact_third_order_rejects_arguments_off_in_the_fourteenth_digit():
    x = np.linspace(0, 10, 21)
    assert not relative(wright_m(x * (1 + 1e-14), 1 / 3), third(x)) < CLOSE


def two_thirds(x: np.ndarray) -> list[mpmath.mpf]:
    with mpmath.workdps(30):
        exact = mpmath.mpf(2) / 3
        found = []
        for v in map(mpmath.mpf, map(float, x)):
            w = mpmath.whitw(mpmath.mpf(1) / 2, mpmath.mpf(1) / 6, 4 / (27 * v**2))
            value = mpmath.sqrt(3 / mpmath.pi) / v * mpmath.exp(-2 / (27 * v**2)) * w
            found.append(carried(lambda a, v=v: a * mpmath.log(a / v), 2 / 3, exact) * value)
        return found


def test_exact_two_thirds_order_is_whittaker():
    x = np.concatenate([np.geomspace(0.01486, 1.0, 30), np.geomspace(2.0, 1e6, 12)])
    assert 1e-300 < stable_pdf(x[0], 2 / 3) < 1e-280
    assert relative(stable_pdf(x, 2 / 3), two_thirds(x)) < CLOSE


@pytest.mark.twin
def test_exact_two_thirds_order_rejects_the_neighbouring_double():
    x = np.geomspace(0.01486, 0.02, 10)
    wrong = np.nextafter(np.nextafter(2 / 3, 1.0), 1.0)
    assert not relative(stable_pdf(x, wrong), two_thirds(x)) < CLOSE


def test_exact_half_order_is_levy_and_half_normal():
    x = np.geomspace(3.6e-4, 1e12, 60)
    s = 1 / np.sqrt(x)
    with mpmath.workdps(30):
        exact = [
            (
                mpmath.exp(-1 / (4 * v)) / (2 * mpmath.sqrt(mpmath.pi) * v ** mpmath.mpf(1.5)),
                mpmath.erfc(1 / (2 * mpmath.sqrt(v))),
                mpmath.erf(1 / (2 * mpmath.sqrt(v))),
            )
            for v in map(mpmath.mpf, map(float, x))
        ]
        normal = [mpmath.exp(-(mpmath.mpf(v) ** 2) / 4) / mpmath.sqrt(mpmath.pi) for v in s]
        log = [mpmath.log(e[0]) for e in exact]
    for law, expected in zip(
        (stable_pdf, stable_cdf, stable_sf), zip(*exact, strict=True), strict=True
    ):
        assert relative(law(x, 0.5), expected) < CLOSE
    assert relative(wright_m(s, 0.5), normal) < CLOSE
    expected = np.array(log, dtype=float)
    np.testing.assert_allclose(stable_logpdf(x, 0.5), expected, rtol=4e-16, atol=4e-15)


@pytest.mark.twin
def test_exact_tail_rejects_an_exponent_in_working_precision():
    x = np.geomspace(3.6e-4, 5e-4, 60)
    with mpmath.workdps(30):
        exact = [mpmath.erfc(1 / (2 * mpmath.sqrt(mpmath.mpf(v)))) for v in x]
    # What the tables hold, times exp(-P) with P as one number from one logarithm.
    log_p = -np.log(x) + np.log(0.25)
    plain = stable_cdf(x, 0.5) * np.exp(0.25 / x) * np.exp(-np.exp(log_p))
    assert relative(stable_cdf(x, 0.5), exact) < CLOSE
    assert not relative(plain, exact) < 1e-13


@pytest.mark.parametrize("t", [1e-8, 0.3, 7.0, 1e9])
def test_exact_half_order_at_any_time(t):
    s = np.array([1e-12, 0.01, 0.5, 1.7, 9.0, 30.0]) * np.sqrt(t)
    y = s / np.sqrt(4 * t)
    np.testing.assert_allclose(inverse_stable_cdf(s, t, 0.5), erf(y), rtol=2e-15)
    np.testing.assert_allclose(inverse_stable_sf(s, t, 0.5), erfc(y), rtol=3e-13)
    density = np.exp(-y * y) / np.sqrt(np.pi * t)
    np.testing.assert_allclose(inverse_stable_pdf(s, t, 0.5), density, rtol=2e-13)
    np.testing.assert_allclose(
        inverse_stable_logpdf(s, t, 0.5),
        -y * y - 0.5 * np.log(np.pi * t),
        rtol=4e-16,
        atol=4e-15,
    )


@pytest.mark.parametrize("alpha", [0.05, 0.4, 0.8, 0.99])
@pytest.mark.parametrize("p", [50.0, 1e3, 3e4])
def test_exact_logarithms_also_where_densities_underflow(alpha, p):
    z = at_argument(alpha, math.log(p))
    x = z ** (-1 / alpha)
    with mpmath.workdps(34):
        of_inverse = float(mpmath.log(by_integral(z, alpha)[0]))
        a, place = mpmath.mpf(alpha), mpmath.mpf(x)
        of_stable = float(mpmath.log(by_integral(place**-a, alpha)[0] * a * place ** (-a - 1)))
    assert (of_inverse < -745) == (wright_m(z, alpha) == 0.0)
    values = inverse_stable_logpdf(z, 1.0, alpha), stable_logpdf(x, alpha)
    np.testing.assert_allclose(values, (of_inverse, of_stable), rtol=4e-16, atol=4e-15)


def gauss(edges: np.ndarray, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    x, w = np.polynomial.legendre.leggauss(n)
    half = 0.5 * np.diff(edges)[:, None]
    return (0.5 * (edges[1:] + edges[:-1])[:, None] + half * x).ravel(), (half * w).ravel()


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_exact_density_is_the_slope_of_the_distribution(alpha):
    low, high = stable_table(alpha).edges[0], math.log(60.0)
    log_p = np.linspace(low - 1.0, high, int(4 * (high - low)))
    edges = np.array([at_argument(alpha, v) for v in log_p])
    x, w = gauss(edges, 24)
    cells = (wright_m(x, alpha) * w).reshape(len(edges) - 1, -1).sum(axis=1)
    below, above = inverse_stable_cdf(edges, 1.0, alpha), inverse_stable_sf(edges, 1.0, alpha)
    steps = np.where(below[1:] < 0.5, np.diff(below), -np.diff(above))
    size = np.where(below[1:] < 0.5, below[1:], above[:-1])
    # Nodes are rounded: that is worth P / (1 - alpha) ulps.
    gap = np.abs((cells - steps) / size)
    assert np.all(gap < 4e-15 + 1e-16 * np.exp(log_p[1:]) / (1 - alpha))


@pytest.mark.twin
def test_exact_slope_rejects_the_density_of_a_neighbouring_order():
    x, w = gauss(np.linspace(0.1, 2.0, 8))
    step = inverse_stable_cdf(2.0, 1.0, 0.6) - inverse_stable_cdf(0.1, 1.0, 0.6)
    assert abs(w @ wright_m(x, 0.6) - step) < 1e-14
    assert not abs(w @ wright_m(x, 0.6 + 1e-12) - step) < 1e-14


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.6, 0.9, 0.98])
def test_exact_moments_and_laplace_transform(alpha):
    knee = at_argument(alpha, 0.0)
    far = at_argument(alpha, math.log(80.0))
    near_knee = knee + (1 - alpha) * np.linspace(-8, 8, 65)
    edges = np.concatenate([[0.0], near_knee[(near_knee > 0) & (near_knee < far)], [far]])
    edges = np.unique(np.concatenate([edges, np.linspace(0, far, 60)]))
    x, w = gauss(edges)
    density = wright_m(x, alpha)
    for n in range(5):
        exact = math.gamma(1 + n) / math.gamma(1 + n * alpha)
        assert abs(w @ (x**n * density) / exact - 1) < 1e-13
    for p in (0.1, 1.0, 5.0, 30.0):
        assert abs(w @ (np.exp(-p * x) * density) - relaxation(p, alpha)) < 2e-14


@pytest.mark.twin
def test_exact_laplace_transform_rejects_another_time():
    x, w = gauss(np.linspace(0, 30, 40))
    assert (
        not abs(w @ (np.exp(-x) * inverse_stable_pdf(x, 1.00001, 0.5)) - relaxation(1.0, 0.5))
        < 1e-6
    )


@pytest.mark.parametrize(("inner", "outer"), [(0.5, 0.9), (0.7, 0.6), (0.9, 0.3)])
def test_routes_agree_on_one_clock_run_by_another(inner, outer):
    # E of order a at the time shown by an independent E of order b is an E of order a b.
    x = np.array([0.0, 0.2, 1.0, 3.0])
    log_s, w = gauss(np.linspace(-40 / (1 - inner), math.log(at_argument(outer, 4.1)), 600))
    s = np.exp(log_s)
    mixed = inverse_stable_pdf(x[:, None], s, inner) @ (w * s * wright_m(s, outer))
    np.testing.assert_allclose(mixed, wright_m(x, inner * outer), rtol=2e-12)


@pytest.mark.parametrize("alpha", [0.02, 0.3, 0.6, 0.95, 0.995])
def test_keeps_monotone_distributions_across_the_seams(alpha):
    table = stable_table(alpha)
    log_p = np.concatenate([np.linspace(-20, 6, 3001), table.edges])
    seams = np.exp((1 - alpha) * (np.sort(log_p) - table.shift[0]))
    z = np.unique(np.concatenate([[0.0, 1e-300], seams, [table.series_up_to]]))
    below, above = inverse_stable_cdf(z, 1.0, alpha), inverse_stable_sf(z, 1.0, alpha)
    assert below[0] == 0.0
    assert above[0] == 1.0
    assert np.all((below >= 0) & (below <= 1) & (above >= 0) & (above <= 1))
    assert np.all(np.diff(below) >= -4e-16 * below[1:])
    assert np.all(np.diff(above) <= 4e-16)
    assert np.abs(below + above - 1).max() < 2e-15
    assert np.all(wright_m(z, alpha) >= 0)


@pytest.mark.parametrize("alpha", [0.02, 0.5, 0.9, 0.995])
def test_keeps_values_across_the_seams(alpha):
    table = stable_table(alpha)
    seams = np.exp((1 - alpha) * (table.edges - table.shift[0]))
    left, right = seams * (1 - 2e-16), seams * (1 + 2e-16)
    slope = (1 + np.exp(table.edges)) / (1 - alpha)  # of the logarithm, at most
    for law in (wright_m, inverse_stable_cdf, inverse_stable_sf):
        extra = () if law is wright_m else (1.0,)
        gap = np.abs(law(left, *extra, alpha) / law(right, *extra, alpha) - 1)
        assert np.all(gap < 4e-15 + 5e-16 * slope)


def test_exact_scaling_at_extreme_times():
    with np.errstate(all="raise"):
        for t in (5e-324, 1e-300, 1e-10, 1.0, 1e10, 1.7e308):
            log_s = 0.3 * np.log(t) + np.array([-2.0, 0.0, 2.0])
            value = inverse_stable_logpdf(np.exp(log_s), t, 0.3)
            np.testing.assert_allclose(
                value, np.log(wright_m(np.exp([-2.0, 0, 2]), 0.3)) - 0.3 * np.log(t), rtol=2e-12
            )


@pytest.mark.parametrize("alpha", [1e-4, 0.05, 0.5, 0.99, 0.9999])
def test_keeps_numbers_for_all_representable_arguments(alpha):
    x = np.array([-1.0, 0.0, 5e-324, 1e-308, 1e-300, 1e-9, 1.0, 1e9, 1e300, 1.7e308])
    for law in (stable_pdf, stable_cdf, stable_sf, stable_logpdf):
        assert not np.isnan(law(x, alpha)).any()
    t = x[2:]
    for law in (inverse_stable_pdf, inverse_stable_cdf, inverse_stable_sf, inverse_stable_logpdf):
        assert not np.isnan(law(x[:, None], t, alpha)).any()
    np.testing.assert_array_equal(stable_cdf(x[:2], alpha), 0.0)
    np.testing.assert_array_equal(stable_sf(x[:2], alpha), 1.0)
    np.testing.assert_array_equal(stable_logpdf(x[:2], alpha), -np.inf)
    assert inverse_stable_pdf(-1.0, 1.0, alpha) == 0.0
    assert inverse_stable_sf(-1.0, 1.0, alpha) == 1.0


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_limit_values_at_zero_and_far_out(alpha):
    assert abs(wright_m(0.0, alpha) * math.gamma(1 - alpha) - 1) < 2e-15
    x = 1e150
    assert abs(stable_sf(x, alpha) * x**alpha * math.gamma(1 - alpha) - 1) < 2e-13 + x**-alpha
    slope = stable_pdf(x, alpha) * x / stable_sf(x, alpha)
    assert abs(slope / alpha - 1) < 1e-14 + x**-alpha


def test_limit_order_zero_is_exponential():
    z = np.linspace(0, 20, 101)
    for alpha in (1e-4, 1e-6):
        ratio = inverse_stable_sf(z, 1.0, alpha) / np.exp(-z)
        assert np.abs(ratio - 1).max() < 100 * alpha


def test_keeps_arguments_and_shapes():
    s, t = np.array([[0.5], [1.5]]), np.array([1.0, 2.0, 3.0])
    before = s.copy(), t.copy()
    assert inverse_stable_pdf(s, t, 0.5).shape == (2, 3)
    assert np.array_equal(s, before[0])
    assert np.array_equal(t, before[1])
    assert stable_pdf(np.zeros((0, 2)), 0.5).shape == (0, 2)
    assert np.ndim(wright_m(1.0, 0.5)) == 0
    assert wright_m(np.arange(6.0)[::2], 0.5).shape == (3,)


def test_keeps_tables_read_only():
    assert all(not a.flags.writeable for a in stable_table(0.5) if isinstance(a, np.ndarray))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: stable_pdf(1.0, 1.0), OutOfRangeError, "point masses"),
        (lambda: inverse_stable_pdf(1.0, 1.0, 1.2), OutOfRangeError, "alpha"),
        (lambda: wright_m(1.0, 0.0), OutOfRangeError, "alpha"),
        (lambda: wright_m(1.0, 1e-300), UnsupportedError, "at least 1e-06"),
        (lambda: stable_cdf(1.0, 0.999999), UnsupportedError, "at most 0.9999"),
        (lambda: stable_pdf(1.0, True), InputError, "real number, got True$"),
        (lambda: stable_pdf(1.0, "half"), InputError, "real number, got 'half'$"),
        (lambda: wright_m(-0.1, 0.5), UnsupportedError, "half-line"),
        (lambda: inverse_stable_cdf(1.0, 0.0, 0.5), OutOfRangeError, "no density"),
        (lambda: inverse_stable_sf([1.0, 2.0], [1.0, 2.0, 3.0], 0.5), ShapeError, "broadcast"),
        (lambda: stable_cdf(np.nan, 0.5), NotFiniteError, "`x`"),
        (lambda: stable_sf("one", 0.5), InputError, "`x`"),
    ],
)
def test_refuses_what_it_cannot_mean(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_density_near_the_smallest_argument_keeps_thirteen_digits():
    x, alpha = 1e-307, 1e-5
    with mpmath.workdps(34):
        a, place = mpmath.mpf(alpha), mpmath.mpf(x)
        z = place**-a
        exact = by_integral(z, alpha)[0] * a * z / place
    assert relative(stable_pdf(x, alpha), [exact]) < 1e-13
