"""Convolution quadrature: weights and corrections exactly, orders from both sides."""

from fractions import Fraction
from functools import cache
from math import factorial, gamma

import mpmath
import numpy as np
import pytest

import fracsde as fs
from fracsde.errors import GridError, InputError, OutOfRangeError
from fracsde.grids import TimeGrid
from fracsde.schemes.block_fft import BlockFFT
from fracsde.schemes.convolution_quadrature import (
    ConvolutionQuadrature,
    correction_terms,
    difference_symbol,
    source_terms,
)
from fracsde.schemes.grunwald_letnikov import GrunwaldLetnikov
from fracsde.schemes.history import Direct
from fracsde.special import mittag_leffler
from tests.support.damage import newest_weight
from tests.support.marching import relax
from tests.support.orders import observed_order

ORDERS = range(1, 7)
SIZES = (64, 128, 256, 512, 1024)
# Orders five and six reach rounding within two halvings, and the parasitic roots of the sixth
# formula (0.86 in size) are below rounding from 200 steps on.
SHORT = (64, 80, 96, 112, 128)
LONG = (224, 256, 320, 384, 448)
FINE = (448, 512, 640, 768, 896)
RATE = 0.1


class HeavyNewest(ConvolutionQuadrature):
    """Newest weight one per cent too large."""

    def weights(self, times, *, alpha):
        return newest_weight(super().weights(times, alpha=alpha))


class WrongStart(ConvolutionQuadrature):
    """First correction one per cent too large."""

    def corrections(self):
        return super().corrections() * np.append(1.01, np.ones(self.bdf - 2))


class WrongSource(ConvolutionQuadrature):
    """Corrections of the source turned round."""

    def source_corrections(self):
        return -super().source_corrections()


# --- weights ------------------------------------------------------------------------------------


@cache
def exact_weights(bdf, alpha, n):
    """Coefficients of (1 - z)**(alpha - 1) q(z)**alpha: one recurrence for the product, 40 digits.

    From P' / P: with A = (1 - z) q, it is A P' = ((1 - alpha) q + alpha (1 - z) q') P.
    """
    with mpmath.workdps(40):
        a = mpmath.mpf(alpha)
        q = [mpmath.mpf(c.numerator) / c.denominator for c in difference_symbol(bdf)]
        slope = [j * c for j, c in enumerate(q)][1:]
        left = [x - y for x, y in zip([*q, 0], [0, *q], strict=True)]
        steep = [x - y for x, y in zip([*slope, 0], [0, *slope], strict=True)]
        right = [(1 - a) * c for c in q]
        for j, c in enumerate(steep):
            right[j] += a * c
        series = [q[0] ** a]
        for m in range(1, n):
            total = sum(c * series[m - 1 - j] for j, c in enumerate(right) if j < m)
            total -= sum(c * (m - j) * series[m - j] for j, c in enumerate(left) if 1 <= j < m)
            series.append(total / (m * left[0]))
        return series


def weight_error(scheme, alpha, n=10_000):
    weights = scheme.weights(np.arange(n + 1.0), alpha=alpha)[::-1]
    exact = exact_weights(scheme.bdf, alpha, n)
    return max(abs(float(w / e) - 1) for w, e in zip(weights.tolist(), exact, strict=True))


@pytest.mark.parametrize(("bdf", "alpha"), [(2, 0.5), (3, 0.1), (4, 0.95), (5, 0.6), (6, 0.4)])
def test_exact_weights_are_those_of_the_generating_function(bdf, alpha):
    assert weight_error(ConvolutionQuadrature(bdf=bdf), alpha) < 1e-14


@pytest.mark.twin
def test_exact_weights_reject_a_heavy_newest_one():
    assert not weight_error(HeavyNewest(bdf=2), 0.5) < 1e-14


def transform_error(scheme, alpha, n=10_000):
    """Against the inverse transform of the symbol on a circle, which is accurate absolutely."""
    weights = scheme.weights(np.arange(n + 1.0), alpha=alpha)[::-1]
    count, radius = 8 * n, 1e-16 ** (1 / (9 * n))
    z = radius * np.exp(-2j * np.pi * np.arange(count // 2 + 1) / count)
    delta = sum((1 - z) ** j / j for j in range(1, scheme.bdf + 1))
    found = np.fft.irfft(delta**alpha / (1 - z), count)[:n] * radius ** -np.arange(n)
    return np.abs(weights - found).max()


@pytest.mark.parametrize("bdf", ORDERS)
def test_routes_agree_with_the_transform_of_the_symbol(bdf):
    assert transform_error(ConvolutionQuadrature(bdf=bdf), 0.6) < 1e-12


@pytest.mark.twin
def test_routes_agree_rejects_a_heavy_newest_weight():
    assert not transform_error(HeavyNewest(bdf=3), 0.6) < 1e-12


@pytest.mark.parametrize("alpha", [0.2, 0.7, 1.0])
def test_limit_bdf_one_is_grunwald_letnikov_to_the_last_bit(alpha):
    t = TimeGrid.uniform(0.7, 500).times
    one = ConvolutionQuadrature(bdf=1)
    assert np.array_equal(one.weights(t, alpha=alpha), GrunwaldLetnikov().weights(t, alpha=alpha))
    assert len(one.corrections()) == 0
    assert one.source_corrections().shape == (0, 0)


@pytest.mark.parametrize("bdf", ORDERS)
def test_limit_order_one_is_the_ordinary_formula(bdf):
    """Increments of z -> 1/(1 - z) weighted by q are the ordinary differences, exactly."""
    weights = ConvolutionQuadrature(bdf=bdf).weights(np.arange(9.0), alpha=1.0)[::-1]
    assert np.array_equal(weights[:bdf], [float(c) for c in difference_symbol(bdf)])
    assert not weights[bdf:].any()


# --- corrections --------------------------------------------------------------------------------


def times(a, b, size):
    """Product of two polynomials in 1 - z, cut."""
    out = [Fraction(0)] * size
    for i, x in enumerate(a[:size]):
        for j, y in enumerate(b[: size - i]):
            out[i + j] += x * y
    return out


def defect(bdf, factors):
    """Coefficients of (z / (1 - z) + sum a_j z**j) delta(z) - 1 up to (1 - z)**(k - 1).

    In y = 1 - z, so that z = 1 - y and delta / (1 - z) = sum y**(j - 1) / j.
    """
    z = [Fraction(1), Fraction(-1)]
    quotient = [Fraction(1, j) for j in range(1, bdf + 1)]  # delta over y
    power, polynomial = [Fraction(1)], [Fraction(0)] * bdf
    for a in factors:
        power = times(power, z, bdf)
        polynomial = [p + a * c for p, c in zip(polynomial, [*power, *[0] * bdf], strict=False)]
    start = times(z, quotient, bdf)
    rest = times(polynomial, [Fraction(0), *quotient], bdf)
    return [x + y for x, y in zip(start, rest, strict=True)]


@pytest.mark.parametrize("bdf", ORDERS)
def test_exact_corrections_complete_the_symbol(bdf):
    """The condition of Jin, Li and Zhou, by another road than Bernoulli numbers."""
    assert defect(bdf, correction_terms(bdf)[0]) == [1] + [0] * (bdf - 1)


@pytest.mark.twin
def test_exact_corrections_reject_one_changed_in_the_last_place():
    factors = list(correction_terms(6)[0])
    factors[4] += Fraction(1, 10**6)
    assert defect(6, factors) != [1] + [0] * 5


@pytest.mark.parametrize("bdf", [3, 4, 5, 6])
def test_exact_source_terms_complete_every_power(bdf):
    """Sums of n**l z**n / l! plus corrections against delta**(-l - 1), near z = 1, in 60 digits."""
    with mpmath.workdps(60):
        for power, row in enumerate(correction_terms(bdf)):
            conditions = bdf - power - 1
            gaps = []
            for x in (mpmath.mpf(10) ** -4, mpmath.mpf(10) ** -5):
                z = mpmath.exp(-x)
                total = mpmath.polylog(-power, z) / factorial(power)
                total += sum(
                    mpmath.mpf(d.numerator) / d.denominator * z ** (j + 1)
                    for j, d in enumerate(row)
                )
                delta = sum((1 - z) ** j / j for j in range(1, bdf + 1))
                gaps.append(abs(total - delta ** (-power - 1)))
            observed = mpmath.log10(gaps[0] / gaps[1])
            assert observed > conditions - 0.1, (bdf, power)


@pytest.mark.parametrize("bdf", [3, 4, 5, 6])
def test_exact_source_matrix_differentiates_polynomials(bdf):
    """On values n**l the matrix gives l! times the factors of the power l."""
    size, terms, matrix = bdf - 1, correction_terms(bdf), source_terms(bdf)
    for power in range(bdf - 1):
        values = [Fraction(n) ** power for n in range(size)]
        found = [sum(c * v for c, v in zip(row, values, strict=True)) for row in matrix]
        wanted = [factorial(power) * d for d in terms[power]] if power else []
        assert found == wanted + [0] * (size - len(wanted))


# --- orders -------------------------------------------------------------------------------------


def stepped(scheme, n, *, alpha, rate, start=1.0, source=None):
    """March one number to time 1 as the equation is written, by increments."""
    t = np.arange(n + 1) / n
    w = scheme.weights(t, alpha=alpha)[::-1]
    a, c = scheme.corrections(), scheme.source_corrections()
    s = np.zeros(n + 1) if source is None else np.array([source(x) for x in t])
    u, moved = np.full(n + 1, start), np.zeros(n)
    for m in range(1, n + 1):
        right = s[m] - rate * u[m - 1] - moved[: m - 1] @ w[m - 1 : 0 : -1]
        if m <= len(a):
            right += a[m - 1] * (s[0] - rate * start)
        if m <= len(c):
            right += c[m - 1] @ s[: len(c)]
        moved[m - 1] = right / (w[0] + rate)
        u[m] = u[m - 1] + moved[m - 1]
    return t, u


def singular(scheme, alpha, *, final, sizes=SIZES):
    def error(n):
        t, u = stepped(scheme, n, alpha=alpha, rate=RATE)
        gap = np.abs(u - mittag_leffler(-RATE * t**alpha, alpha))
        return float(gap[-1] if final else gap.max())

    return observed_order(error, sizes, scheme.order(alpha=alpha, final=final))


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("bdf", [1, 2, 3, 4])
def test_order_at_the_final_time_for_singular_data(bdf, alpha):
    sizes = SIZES if bdf < 4 else (16, 24, 32, 48, 64)
    table = singular(ConvolutionQuadrature(bdf=bdf), alpha, final=True, sizes=sizes)
    assert table.agrees(), table


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8])
def test_order_at_the_final_time_of_the_fifth_formula(alpha):
    table = singular(ConvolutionQuadrature(bdf=5), alpha, final=True, sizes=SHORT)
    assert table.agrees(), table


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("bdf", ORDERS)
def test_order_of_the_largest_nodal_error_for_singular_data(bdf, alpha):
    table = singular(ConvolutionQuadrature(bdf=bdf), alpha, final=False)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("bdf", [2, 3, 4, 5, 6])
def test_order_without_corrections_is_one(bdf):
    plain = ConvolutionQuadrature(bdf=bdf, corrected=False)
    table = singular(plain, 0.5, final=True)
    assert table.expected == 1.0
    assert table.agrees(), table
    assert not abs(table.observed - bdf) < 0.15


@pytest.mark.twin
@pytest.mark.parametrize("damaged", [HeavyNewest(bdf=3), WrongStart(bdf=3)])
def test_order_tables_reject_damage(damaged):
    assert not singular(damaged, 0.5, final=True).agrees()


def exact_sixth(alpha, n):
    """The error at time 1 of the sixth formula for singular data, in 30 digits."""
    with mpmath.workdps(30):
        step = mpmath.mpf(1) / n
        w = [x * step**-alpha for x in exact_weights(6, alpha, 448)[:n]]
        a = [mpmath.mpf(x.numerator) / x.denominator for x in correction_terms(6)[0]]
        rate, u, moved = mpmath.mpf(RATE), mpmath.mpf(1), []
        for m in range(n):
            right = -rate * u - mpmath.fdot(w[m:0:-1], moved)
            right -= a[m] * rate if m < len(a) else 0
            moved.append(right / (w[0] + rate))
            u += moved[-1]
        series = [(-rate) ** k / mpmath.gamma(alpha * k + 1) for k in range(60)]
        return float(abs(u - mpmath.fsum(series)))


def test_order_at_the_final_time_of_the_sixth_formula():
    alpha = 0.5
    expected = ConvolutionQuadrature(bdf=6).order(alpha=alpha, final=True)
    table = observed_order(lambda n: exact_sixth(alpha, n), LONG, expected)
    assert table.agrees(), table


@cache
def answer_to_a_wave(alpha, rate, frequency, phase):
    """Solution at time 1 of D u = -rate u + cos(frequency t + phase), u(0) = 1, by its series."""
    with mpmath.workdps(40):
        a, total = mpmath.mpf(alpha), mpmath.mpc(0)
        for m in range(90):
            inner = [(-rate) ** j / mpmath.gamma(m + 1 + (j + 1) * a) for j in range(160)]
            total += mpmath.mpc(0, frequency) ** m * mpmath.fsum(inner)
        wave = (mpmath.exp(mpmath.mpc(0, phase)) * total).real
    return float(wave) + float(mittag_leffler(-rate, alpha))


def driven(scheme, alpha, sizes):
    """Start, source and all derivatives of the source at 0 are there."""
    exact = answer_to_a_wave(alpha, 1.0, 10.0, 0.7)

    def error(n):
        wave = stepped(scheme, n, alpha=alpha, rate=1.0, source=lambda t: np.cos(10 * t + 0.7))
        return float(abs(wave[1][-1] - exact))

    return observed_order(error, sizes, scheme.order(alpha=alpha, final=True))


@pytest.mark.parametrize("alpha", [0.3, 0.8])
@pytest.mark.parametrize("bdf", ORDERS)
def test_order_at_the_final_time_with_a_source(bdf, alpha):
    sizes = (256, 512, 1024, 2048, 4096) if bdf < 4 else FINE if bdf == 5 else LONG
    table = driven(ConvolutionQuadrature(bdf=bdf), alpha, sizes)
    assert table.agrees(), table


@pytest.mark.twin
@pytest.mark.parametrize("bdf", [3, 4, 5, 6])
def test_order_with_a_source_needs_its_derivatives_at_the_start(bdf):
    table = driven(WrongSource(bdf=bdf), 0.8, LONG)
    assert not table.agrees()
    assert abs(table.observed - 2.0) < 0.15, table


def smooth(scheme, alpha, sizes):
    """Source of u = t**8: nothing to correct, every formula has its order at every node."""
    power = float(mpmath.gamma(9) / mpmath.gamma(9 - alpha))

    def error(n):
        t, u = stepped(
            scheme,
            n,
            alpha=alpha,
            rate=1.0,
            start=0.0,
            source=lambda t: power * t ** (8 - alpha) + t**8,
        )
        return float(np.abs(u - t**8).max())

    return observed_order(error, sizes, scheme.bdf)


@pytest.mark.parametrize("alpha", [0.4, 1.0])
@pytest.mark.parametrize("bdf", ORDERS)
def test_order_for_smooth_data_that_vanish_at_the_start(bdf, alpha):
    plain = ConvolutionQuadrature(bdf=bdf, corrected=False)
    table = smooth(plain, alpha, SIZES if bdf < 4 else LONG)
    assert table.agrees(), table


@pytest.mark.twin
def test_order_for_smooth_data_rejects_a_heavy_newest_weight():
    assert not smooth(HeavyNewest(bdf=3, corrected=False), 0.4, SIZES).agrees()


# --- stability ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("bdf", "degrees"), [(3, 86.03), (4, 73.35), (5, 51.84), (6, 17.84)])
def test_exact_angles_of_stability(bdf, degrees):
    z = np.exp(1j * np.linspace(1e-3, np.pi, 200_001))
    delta = sum((1 - z) ** j / j for j in range(1, bdf + 1))
    assert abs(180 - np.degrees(np.abs(np.angle(delta)).max()) - degrees) < 0.01


@pytest.mark.parametrize("bdf", [3, 4, 5, 6])
def test_keeps_stiff_real_spectra_bounded(bdf):
    """Corrected first steps overshoot; then the memory decays like t**-alpha / rate."""
    for rate in (1e2, 1e4, 1e8):
        _, u = stepped(ConvolutionQuadrature(bdf=bdf), 600, alpha=0.7, rate=rate)
        assert np.abs(u).max() <= 3.6
        assert abs(u[-1] * rate * gamma(0.3) - 1) < 0.01


# --- refusals -----------------------------------------------------------------------------------


def test_refuses_what_is_no_formula():
    for wrong in (0, 7):
        with pytest.raises(OutOfRangeError, match=r"`bdf` must be between 1 and 6.*unstable"):
            ConvolutionQuadrature(bdf=wrong)
    with pytest.raises(InputError, match="`bdf` must be a whole number"):
        ConvolutionQuadrature(bdf=2.5)
    with pytest.raises(InputError, match="`corrected` must be True or False"):
        ConvolutionQuadrature(corrected="yes")


def test_refuses_unequal_steps_and_too_few_of_them():
    with pytest.raises(GridError, match=r"ConvolutionQuadrature needs equal steps.*power series"):
        ConvolutionQuadrature().check(TimeGrid.graded(1.0, 10, 2.0))
    with pytest.raises(GridError, match="`grading` must be 1, got 2"):
        ConvolutionQuadrature().order(alpha=0.5, grading=2.0)
    with pytest.raises(GridError, match=r"at least 5 steps .*bdf=6.*got 4; take more steps or a l"):
        ConvolutionQuadrature(bdf=6).check(TimeGrid.uniform(1.0, 4))
    ConvolutionQuadrature(bdf=6).check(TimeGrid.uniform(1.0, 5))
    ConvolutionQuadrature(bdf=6, corrected=False).check(TimeGrid.uniform(1.0, 1))


# --- the contract with histories ----------------------------------------------------------------


def gap(scheme, march, n=200, alpha=0.6):
    """Largest difference from the equation as it is written."""
    _, u = stepped(scheme, n, alpha=alpha, rate=2.0, source=np.cos)
    return np.abs(march(scheme, n, alpha) - u).max()


def by_memory(scheme, n, alpha):
    """Step by step through the memory, as a solver of nonlinear systems does."""
    t, a, c = np.arange(n + 1) / n, scheme.corrections(), scheme.source_corrections()
    memory, u = Direct().begin(scheme, t, np.ones(1), alpha=alpha), np.ones(n + 1)
    for m in range(1, n + 1):
        w = memory.newest()
        right = w * u[m - 1] - memory.past()[0] + np.cos(t[m])
        right += a[m - 1] * (1.0 - 2.0) if m <= len(a) else 0.0
        right += c[m - 1] @ np.cos(t[: len(c)]) if m <= len(c) else 0.0
        u[m] = right / (w + 2.0)
        memory.push(u[m : m + 1])
    return u


def by_march(scheme, n, alpha):
    """Through the march of linear operators."""
    return relax(scheme, n, alpha=alpha, rate=2.0, source=lambda t: np.array([np.cos(t)]))[1]


@pytest.mark.parametrize("march", [by_memory, by_march])
@pytest.mark.parametrize("bdf", ORDERS)
def test_routes_agree_with_memory_and_march(bdf, march):
    assert gap(ConvolutionQuadrature(bdf=bdf), march) < 1e-13
    assert gap(ConvolutionQuadrature(bdf=bdf, history=BlockFFT()), march) < 1e-12


@pytest.mark.twin
@pytest.mark.parametrize("damaged", [WrongStart, WrongSource])
def test_routes_agree_rejects_wrong_corrections(damaged):
    assert (
        not gap(ConvolutionQuadrature(bdf=4), lambda _, *given: by_march(damaged(bdf=4), *given))
        < 1e-13
    )


def test_order_at_the_final_time_through_solve():
    """The mean of a fractional Ornstein-Uhlenbeck process on cells, against a fine march."""
    base = fs.FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-5.0, 5.0),
        initial=fs.Gaussian(mean=1.0, std=0.7),
        source=lambda t, x: np.exp(-(x**2)) * np.cos(t),
    )
    problem = fs.FractionalFokkerPlanck(base=base, alpha=0.6)

    def end(n, bdf):
        scheme = ConvolutionQuadrature(bdf=bdf, history=fs.AllAtOnce(oversampling=8))
        given = {"scheme": scheme, "space": fs.FiniteVolume(cells=40), "save_at": [1.0]}
        return fs.solve(problem, fs.TimeGrid.uniform(1.0, n), **given).density[0]

    fine = end(400, 6)
    for bdf, sizes in ((2, (64, 128, 256, 512, 1024)), (4, (24, 32, 48, 64, 96))):
        order = ConvolutionQuadrature(bdf=bdf).order(alpha=0.6, final=True)
        table = observed_order(lambda n, k=bdf: np.abs(end(n, k) - fine).max(), sizes, order)
        assert table.agrees(), table
