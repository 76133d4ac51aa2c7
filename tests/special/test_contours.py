"""Contours: one certificate for every order, tight at order one, and the sector it allows."""

import dataclasses
from itertools import pairwise

import mpmath
import numpy as np
import pytest

from fracsde.errors import InputError, OutOfRangeError
from fracsde.special import mittag_leffler
from fracsde.special.rational import contour, contour_windows, oracle_contour, relaxation_poles

ALPHAS = (0.05, 0.3, 0.6, 0.9, 1.0)
RATIOS = (1.0, 3.0, 10.0, 30.0, 100.0)
# Nodes of the module's table.
TABLE = {1e-6: (5, 9, 13, 17, 21), 1e-10: (9, 15, 22, 29, 36), 1e-12: (11, 18, 26, 34, 43)}
# Nodes of the balanced parameters without the search, mid-point rule, upper half plane.
UNSEARCHED = {1e-6: 15, 1e-10: 24}  # window ratio 10


def inverted(rule, t, transform):
    # In extended precision: what is tested are nodes and weights, not how a machine rounds the sum.
    s, w = (part.astype(np.clongdouble) for part in (rule.nodes, rule.weights))
    growth = w * np.exp(np.multiply.outer(np.asarray(t, dtype=np.longdouble), s))
    return np.einsum("tk,k...->t...", growth, transform(s)).real


def worst_error(rule, alpha, seed, count=400):
    """Largest error of the relaxation at random times, ends included, and random rates."""
    rng = np.random.default_rng(seed)
    first, last = rule.window
    t = np.concatenate([[first, last], np.exp(rng.uniform(np.log(first), np.log(last), 30))])
    r = np.exp(rng.uniform(np.log(1e-5 / last), np.log(1e6 / first), count))
    lam = np.concatenate([[0.0], r**alpha])
    ours = inverted(rule, t, lambda s: s[:, None] ** (alpha - 1.0) / (s[:, None] ** alpha + lam))
    exact = (
        np.exp(-np.outer(t, lam))
        if alpha == 1.0
        else mittag_leffler(-np.outer(t**alpha, lam), alpha)
    )
    return float(np.abs(ours - exact).max())


def damages(rule):
    small = np.array([1e-4, *np.zeros(len(rule.nodes) - 1)])
    return [
        dataclasses.replace(rule, nodes=rule.nodes * (1.0 + small)),
        dataclasses.replace(rule, weights=rule.weights * (1.0 + small)),
        dataclasses.replace(rule, nodes=rule.nodes[:-1], weights=rule.weights[:-1]),
        dataclasses.replace(rule, window=(rule.window[0], 2.0 * rule.window[1])),
        dataclasses.replace(rule, window=(0.5 * rule.window[0], rule.window[1])),
    ]


@pytest.mark.parametrize("rtol", [1e-4, 1e-12])
@pytest.mark.parametrize("window", [(2.0, 2.0), (0.01, 0.03), (5.0, 50.0), (1.0, 100.0)])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_to_one_certificate_for_every_order(alpha, window, rtol, seed):
    rule = contour(rtol=rtol, window=window)
    assert rule.error <= rtol
    assert worst_error(rule, alpha, seed) <= rule.error


@pytest.mark.twin
@pytest.mark.parametrize("damage", range(5))
def test_exact_to_the_certificate_rejects_damaged_rules(damage, seed):
    damaged = damages(contour(rtol=1e-8, window=(0.1, 1.0)))[damage]
    assert not worst_error(damaged, 1.0, seed) <= damaged.error


def scanned_error(rule, times=700, rates=3000):
    """Largest error for ``exp(-r t)`` over a fine grid, none of whose points the package uses."""
    first, last = rule.window
    t = np.unique(
        np.concatenate([np.geomspace(first, last, times), np.linspace(first, last, times)])
    )
    r = np.geomspace(2e-3 / last, 20.0 * abs(rule.nodes[-1]), rates)
    growth, poles = rule.weights * np.exp(np.outer(t, rule.nodes)), 1 / (rule.nodes[:, None] + r)
    ours = growth.real @ poles.real - growth.imag @ poles.imag
    return float(np.abs(ours - np.exp(-np.outer(t, r))).max())


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("rtol", [1e-4, 1e-8, 1e-11])
def test_certificate_is_attained_at_order_one_to_a_tenth(ratio, rtol):
    rule = contour(rtol=rtol, window=(1.0, ratio))
    assert 0.9 * rule.error <= scanned_error(rule) <= rule.error


@pytest.mark.parametrize("rtol", sorted(TABLE))
def test_nodes_are_those_of_the_table(rtol):
    nodes = tuple(len(contour(rtol=rtol, window=(1.0, ratio)).nodes) for ratio in RATIOS)
    assert np.all(np.abs(np.subtract(nodes, TABLE[rtol])) <= 1)  # by the search's last digits


@pytest.mark.parametrize("rtol", sorted(UNSEARCHED))
def test_searched_parameters_save_nodes(rtol):
    assert len(contour(rtol=rtol, window=(1.0, 10.0)).nodes) < UNSEARCHED[rtol]


def test_rational_form_of_a_single_time_needs_half_the_solves():
    assert 2 * relaxation_poles(0.6, rtol=1e-10).solves < len(
        contour(rtol=1e-10, window=(1.0, 1.0)).nodes
    )


def relaxation_in_the_plane(lam, t, alpha):
    """``E_alpha(-lam t**alpha)`` from its power series, in as many digits as cancel."""
    size = abs(lam) ** (1.0 / alpha) * t
    with mpmath.workdps(40 + int(size / 1.5)):
        z = -mpmath.mpc(lam) * mpmath.mpf(t) ** mpmath.mpf(alpha)
        total, k = mpmath.mpc(0), 0
        while True:
            term = z**k * mpmath.rgamma(1 + mpmath.mpf(alpha) * k)
            total, k = total + term, k + 1
            if alpha * k > 3 * size + 5 and abs(term) < mpmath.mpf(10) ** -30:
                return complex(total)


def worst_in_the_plane(rule, alpha, angle):
    """Largest error for eigenvalues ``-lam`` at an angle, conjugates taken together."""
    first, last = rule.window
    worst = 0.0
    for r in np.geomspace(0.03 / first, 30.0 / last, 5):
        lam = r**alpha * np.exp(1j * angle)
        for t in (first, np.sqrt(first * last), last):
            growth = rule.weights * np.exp(rule.nodes * t)
            power = rule.nodes**alpha

            def summed(value, growth=growth, power=power):
                return (growth * power / rule.nodes / (power + value)).sum()

            ours = 0.5 * (summed(lam) + summed(lam.conjugate()).conjugate())
            worst = max(worst, abs(ours - relaxation_in_the_plane(lam, t, alpha)))
    return worst


@pytest.mark.parametrize("half_angle", [0.0, 0.4])
@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9, 1.0])
def test_exact_for_eigenvalues_anywhere_in_the_sector(alpha, half_angle):
    rule = contour(rtol=1e-8, window=(1.0, 10.0), half_angle=half_angle)
    for part in (0.5, 0.9, 1.0):
        assert worst_in_the_plane(rule, alpha, part * rule.sector(alpha)) <= rule.error / alpha


@pytest.mark.twin
@pytest.mark.parametrize("alpha", [0.6, 1.0])
def test_exact_in_the_sector_rejects_eigenvalues_beyond_it(alpha):
    rule = contour(rtol=1e-8, window=(1.0, 10.0))
    beyond = rule.sector(alpha) + 0.4 * alpha
    assert not worst_in_the_plane(rule, alpha, beyond) <= rule.error / alpha


def test_sector_is_the_half_plane_and_more_for_small_orders():
    rule = contour(rtol=1e-6, window=(1.0, 2.0))
    assert rule.sector(1.0) == 0.0
    assert rule.sector(0.5) == pytest.approx(np.pi / 2)
    wide = contour(rtol=1e-6, window=(1.0, 2.0), half_angle=0.5)
    assert wide.sector(1.0) == 0.5
    assert len(wide.nodes) >= len(rule.nodes)


@pytest.mark.parametrize("ratio", [None, 10.0, 3.0])
def test_windows_cover_the_interval_without_gaps(ratio):
    rules = contour_windows(2e-3, 7.0, rtol=1e-9, ratio=ratio)
    assert rules[0].window[0] == 2e-3
    assert rules[-1].window[1] == 7.0
    for left, right in pairwise(rules):
        assert left.window[1] == right.window[0]
    for rule in rules:
        assert rule.error <= 1e-9
        assert ratio is None or rule.window[1] / rule.window[0] <= ratio * (1 + 1e-12)


@pytest.mark.parametrize("span", [2.0, 1e2, 1e4, 1e7])
def test_windows_of_free_ratio_have_no_more_nodes_than_fixed_ones(span):
    def nodes(ratio):
        return sum(len(c.nodes) for c in contour_windows(1.0, span, rtol=1e-10, ratio=ratio))

    assert nodes(None) <= min(nodes(r) for r in (3.0, 10.0, 30.0))


def test_every_window_keeps_its_certificate(seed):
    for rule in contour_windows(1e-3, 1e2, rtol=1e-10, ratio=10.0):
        assert worst_error(rule, 1.0, seed) <= rule.error
        assert worst_error(rule, 0.5, seed) <= rule.error


@pytest.mark.parametrize("alpha", ALPHAS)
def test_oracle_errs_by_rounding_only(alpha, seed):
    rule = oracle_contour(0.37)
    assert len(rule.nodes) == 20
    assert worst_error(rule, alpha, seed) < 1.5e-15
    assert rule.error < 2.5e-15


@pytest.mark.twin
def test_oracle_errs_by_rounding_only_rejects_its_use_at_another_time(seed):
    moved = dataclasses.replace(oracle_contour(0.37), window=(0.39, 0.39))
    assert not worst_error(moved, 1.0, seed) < 1.5e-15


def test_limit_of_small_tolerances_is_monotone():
    rules = [contour(rtol=r, window=(1.0, 5.0)) for r in np.geomspace(1e-2, 1e-13, 7)]
    assert np.all(np.diff([len(rule.nodes) for rule in rules]) >= 0)


@pytest.mark.parametrize("call", [contour, None])
def test_refuses_what_rounding_forbids_and_says_what_can_be_had(call):
    def ask(rtol):
        if call is None:
            return contour_windows(1.0, 10.0, rtol=rtol)[0]
        return call(rtol=rtol, window=(1.0, 10.0))

    with pytest.raises(OutOfRangeError, match="ask for") as caught:
        ask(1e-16)
    offered = float(str(caught.value).split("ask for ")[1].split()[0])
    assert ask(offered).error <= offered < 1e-14


def test_refuses_windows_that_no_contour_serves():
    with pytest.raises(OutOfRangeError, match="split the window"):
        contour(rtol=1e-12, window=(1.0, 1e6))


@pytest.mark.parametrize("window", [(1.0,), 2.0, (1.0, 2.0, 3.0)])
def test_refuses_windows_that_are_not_pairs(window):
    with pytest.raises(InputError, match="pair of times"):
        contour(window=window)


@pytest.mark.parametrize("window", [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_refuses_windows_that_do_not_increase_from_a_positive_time(window):
    with pytest.raises(OutOfRangeError, match="window"):
        contour(window=window)


def test_keeps_one_object_for_equal_arguments_and_its_arrays_read_only():
    rule = contour(rtol=1e-7, window=(1.0, 4.0))
    assert rule is contour(rtol=1e-7, window=[1.0, 4.0])
    assert oracle_contour(1.0) is oracle_contour(1.0)
    assert not rule.nodes.flags.writeable
    assert not rule.weights.flags.writeable


@pytest.mark.parametrize(
    ("last", "rtol"), [(1e8, 1e-12), (1e20, 1e-8), (1e10, 1e-10), (1e6, 1e-14), (1e100, 1e-12)]
)
def test_windows_of_free_ratio_are_found_wherever_narrow_ones_would_do(last, rtol):
    rules = contour_windows(1.0, last, rtol=rtol)
    assert all(rule.error <= rtol for rule in rules)
    assert (rules[0].window[0], rules[-1].window[1]) == (1.0, last)


@pytest.mark.parametrize("angle", [-1, 2.0, "x", None, [0.1], np.nan])
@pytest.mark.parametrize(
    "build",
    [lambda a: contour(window=(1, 2), half_angle=a), lambda a: contour_windows(1, 2, half_angle=a)],
)
def test_refuses_half_angles_that_are_none(build, angle):
    with pytest.raises(InputError, match="half_angle"):
        build(angle)


@pytest.mark.parametrize("window", [(1e-200, 1e200), (1e-308, 1e-308), (1.0, 1e300)])
def test_refuses_windows_whose_nodes_overflow(window):
    for build in (lambda: contour(window=window), lambda: contour_windows(*window)):
        with pytest.raises(OutOfRangeError, match="`window` must"):
            build()


def test_refuses_more_windows_than_could_be_meant():
    with pytest.raises(OutOfRangeError, match="at most 10000"):
        contour_windows(1.0, 10.0, ratio=1.0 + 1e-9)
