"""Escape over a barrier: the formula, the flow and the steps, and by how much they differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import InputError, OutOfRangeError, UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.physics._barriers import log_depopulation, second_order
from fracsde.physics.escape import escape_rate, eyring_kramers
from fracsde.physics.modes import eigenmodes
from fracsde.problems.barrier import SGDOverBarrier
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.potentials import ring
from fracsde.status import Status
from tests.support.orders import observed_order


def wells(eta: float = 0.02, temperature: float = 0.1, mu: float = 0.0, **changes):
    """Two wells at +-1, a barrier of one between them, at a given temperature."""
    given = {
        "loss": "(x**2 - 1)**2",
        "noise": 2 * temperature * (1 - mu) / eta,
        "minimum": -1.0,
        "saddle": 0.0,
        "learning_rate": eta,
        "momentum": mu,
    }
    return SGDOverBarrier(**{**given, **changes})


def rate(method: str, *args, **kwargs) -> float:
    return escape_rate(wells(*args, **kwargs), method=method).rate


# --- routes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [10.0, "10 + 4 * x", lambda w: 10 + 3 * np.sin(2 * w)])
def test_routes_agree_on_the_flow_by_quadrature_and_on_cells(noise) -> None:
    one, two = (rate(m, noise=noise) for m in ("quadrature", "fokker_planck"))
    assert two == pytest.approx(one, rel=3e-5)


def test_routes_agree_on_the_steps_by_elimination_and_by_the_slowest_mode() -> None:
    """Two equal wells come to equilibrium at twice the rate of one escape."""
    sgd = wells(0.02, 0.1)
    w = np.linspace(-2.2, 2.2, 240)
    mean = w - sgd.learning_rate * sgd.gradient_at(w)
    spread = sgd.learning_rate * np.sqrt(sgd.noise_at(w))[:, None]
    K = np.exp(-0.5 * ((w - mean[:, None]) / spread) ** 2) / spread / np.sqrt(2 * np.pi)
    slowest = np.sort(np.linalg.eigvals(K * (w[1] - w[0])).real)[-2]
    # The mean time counts the way from the minimum; the mode does not: a part in exp(10).
    assert escape_rate(sgd, method="map").rate == pytest.approx((1 - slowest) / 2, rel=5e-4)


def test_exact_mirror_image_escapes_as_fast() -> None:
    tilted = {"loss": "(x**2 - 1)**2 + x**3 / 5 - 3 * x**2 / 10", "noise": "8 + x"}
    turned = {"loss": "(x**2 - 1)**2 - x**3 / 5 - 3 * x**2 / 10", "noise": "8 - x"}
    # Critical points of 4 x^3 +- 3/5 x^2 - 23/5 x.
    bottom = (-0.6 - np.sqrt(0.36 + 4 * 4 * 4.6)) / 8
    for method in ("kramers", "quadrature", "fokker_planck", "map"):
        one = rate(method, **tilted, minimum=bottom)
        two = rate(method, **turned, minimum=-bottom)
        assert two == pytest.approx(one, rel=1e-9)


def test_keeps_a_copy_with_another_rate_what_it_would_be_if_written_so() -> None:
    copied, written = replace(wells(0.1), learning_rate=0.02), wells(0.02, noise=2.0)
    assert copied.far_side == written.far_side
    assert escape_rate(copied).rate == escape_rate(written).rate


# --- finite barriers ------------------------------------------------------------------------------


def test_order_of_kramers_formula_in_the_inverse_barrier_with_laplaces_coefficient() -> None:
    def error(n: int) -> float:
        return 1 - rate("quadrature", temperature=1 / n) / rate("kramers", temperature=1 / n)

    table = observed_order(error, [8, 16, 32, 64, 128, 256], expected=1.0)
    assert table.agrees(), str(table)
    assert 256 * table.errors[-1] == pytest.approx(3 / 8, rel=0.01)


@pytest.mark.twin
def test_order_rejects_a_prefactor_off_by_one_per_cent() -> None:
    def error(n: int) -> float:
        return 1 - 0.99 * rate("quadrature", temperature=1 / n) / rate("kramers", temperature=1 / n)

    table = observed_order(error, [8, 16, 32, 64, 128, 256], expected=1.0)
    assert not table.agrees(), str(table)


def test_what_the_formula_says_it_leaves_out_is_what_it_leaves_out() -> None:
    for temperature in (0.4, 0.2, 0.05):
        found = escape_rate(wells(0.001, temperature))
        true = rate("quadrature", 0.001, temperature) / found.rate - 1
        assert found.low_barrier == pytest.approx(true, rel=1e-9)
        assert f"{100 * true:.2g} % for its height" in found.validity
        assert (found.status is Status.SUCCESS) == (temperature < 0.3)


def test_barriers_of_a_thousand_temperatures_have_a_logarithm() -> None:
    found = escape_rate(wells(temperature=1e-3))
    assert found.rate == 0.0
    assert found.log_rate == pytest.approx(
        -1000 + np.log(0.02 * np.sqrt(32) / 2 / np.pi), rel=1e-12
    )
    assert escape_rate(wells(temperature=1e-3), method="quadrature").log_rate == pytest.approx(
        found.log_rate + np.log1p(found.low_barrier), rel=1e-12
    )


# --- finite rates ---------------------------------------------------------------------------------

RATES = [25, 50, 100, 200, 400]  # inverse learning rates


@pytest.mark.parametrize(("method", "expected"), [("quadrature", 1.0), ("finite_rate", 2.0)])
def test_order_in_the_learning_rate_against_the_steps(method: str, expected: float) -> None:
    def error(n: int) -> float:
        return abs(rate(method, 1 / n) / rate("map", 1 / n) - 1)

    table = observed_order(error, RATES, expected=expected)
    assert table.agrees(), str(table)


@pytest.mark.twin
def test_order_rejects_the_stationary_law_without_its_change_of_volume() -> None:
    """exp(-(L - eta L'^2 / 4) / T) alone, without -eta L'' / 2 in the exponent."""

    def error(n: int) -> float:
        lost = np.exp(-0.5 * (8 + 4) / n)
        return abs(lost * rate("finite_rate", 1 / n) / rate("map", 1 / n) - 1)

    table = observed_order(error, RATES, expected=2.0)
    assert not table.agrees(), str(table)


def test_exponent_of_the_finite_rate_is_of_second_order_and_counts_at_high_barriers() -> None:
    """At eta L'' = 0.32 and 16 temperatures it is two thirds of the whole correction."""
    eta, temperature = 0.04, 1 / 16
    exact = rate("map", eta, temperature)
    assert rate("finite_rate", eta, temperature) == pytest.approx(exact, rel=0.025)
    prefactor = 1 + 0.25 * eta * (8 - 4)
    without = prefactor * rate("quadrature", eta, temperature)
    assert without / exact < 0.955


# --- momentum -------------------------------------------------------------------------------------


def chain_rate(sgd: SGDOverBarrier, low: float, high: float) -> float:
    """The rate of heavy ball with normal noise, from pairs of neighbouring weights.

    One step takes the density of (w_{k-1}, w_k) to that of (w_k, w_{k+1}); what leaves the interval
    is lost, and the share that is lost from what survives is the rate.
    """
    deviation = sgd.learning_rate * np.sqrt(float(sgd.noise_at(0.0)))
    w = np.linspace(low, high, int((high - low) / (0.9 * deviation)))
    n, h = len(w), w[1] - w[0]
    m = min(n - 1, int(9 * deviation / np.sqrt(1 - sgd.momentum**2) / h))
    jump = np.arange(-m, m + 1)  # in cells, from the weight before and to the one after
    slope = sgd.learning_rate * sgd.gradient_at(w)
    short = h * (jump + sgd.momentum * jump[:, None]) + slope[:, None, None]
    K = np.exp(-0.5 * (short / deviation) ** 2) * h / (np.sqrt(2 * np.pi) * deviation)
    after = np.arange(n)[:, None] + jump
    inside = (after >= 0) & (after < n)
    f = np.exp(
        -200 * ((w[:, None] - sgd.minimum) ** 2 + (w[:, None] + h * jump - sgd.minimum) ** 2)
    )
    f /= f.sum()
    before = lost = 0.0
    for _ in range(60):
        for _ in range(20):
            g = np.matmul(f[:, None, :], K)[:, 0, :]
            # What went ahead by b is, seen from there, what came from behind by -b.
            f = np.where(inside, g[after.clip(0, n - 1), np.arange(2 * m, -1, -1)], 0.0)
            lost = 1 - f.sum()
            f /= f.sum()
        if abs(lost - before) < 1e-6 * lost:
            break
        before = lost
    return float(lost)


@pytest.mark.parametrize("mu", [0.5, 0.8, 0.95])
def test_routes_agree_with_momentum_within_what_the_formula_leaves_out(mu: float) -> None:
    sgd = wells(0.01, 0.2, mu)
    found = escape_rate(sgd)
    exact = chain_rate(sgd, -1.8, 1.0)
    left_out = exact / found.rate / (1 + found.low_barrier) - 1
    assert abs(left_out) < 1.5 * found.finite_rate
    assert found.finite_rate == pytest.approx(0.08)


@pytest.mark.twin
def test_momentum_rejects_the_overdamped_formula_and_one_without_the_loss_of_energy() -> None:
    sgd = wells(0.01, 0.2, 0.97)
    exact = chain_rate(sgd, -1.8, 1.0)
    overdamped = 0.01 * np.sqrt(32) / 0.03 / (2 * np.pi) * np.exp(-5)
    assert overdamped / exact > 3
    found = escape_rate(sgd)
    share = np.exp(log_depopulation(sgd))
    assert 0.7 < share < 0.9
    assert found.rate / share / exact > 1.2
    assert found.rate / exact == pytest.approx(1.0, abs=0.1)


def test_limit_of_no_momentum_and_of_high_friction() -> None:
    assert rate("kramers", 1e-4, mu=1e-12) == pytest.approx(rate("kramers", 1e-4), rel=1e-3)
    # At a fixed temperature momentum multiplies the rate of the overdamped flow by 1/(1 - mu).
    slow = rate("kramers", 1e-5, mu=0.5)
    assert slow == pytest.approx(2 * rate("kramers", 1e-5), rel=1e-3)


# --- more dimensions ------------------------------------------------------------------------------


def test_order_of_eyring_kramers_in_the_plane_is_one_in_the_temperature() -> None:
    """The channel widens towards the saddle, so that the ratio of determinants matters."""
    narrow = 3 - 2 * np.exp(-2)

    def loss(x, y):
        return (x**2 - 1) ** 2 + (3 - 2 * np.exp(-2 * x**2)) * y**2 / 2

    def ratio(temperature: float) -> float:
        eta = 0.001
        found = eyring_kramers(
            height=1.0,
            hessian_minimum=np.diag([8.0, narrow]),
            hessian_saddle=np.diag([-4.0, 1.0]),
            gradient_noise=2 * temperature / eta * np.eye(2),
            learning_rate=eta,
        )
        problem = FokkerPlanck(
            potential=lambda x, y: eta * loss(x, y),
            diffusion=eta * temperature,
            domain=((-1.7, 1.7), (-3.0, 3.0)),
            initial=Gaussian(mean=(-1.0, 0.0), std=0.1),
        )
        coarse, fine = (
            eigenmodes(problem, 2, space=FiniteVolume(cells=n)).rates[1] for n in (40, 80)
        )
        return float((fine + (fine - coarse) / 3) / 2 / found.rate)

    gaps = np.array([1 - ratio(T) for T in (0.2, 0.1, 0.05)])
    np.testing.assert_allclose(np.log2(gaps[:-1] / gaps[1:]), 1.0, atol=0.1)
    # Without the determinants the rate would be a third too small, at any temperature.
    assert abs(1 - narrow**0.5 * (1 - gaps[-1])) > 5 * gaps[-1]


def test_limit_of_one_dimension_is_the_line() -> None:
    for mu in (0.0, 0.6):
        flat = eyring_kramers(
            height=1.0,
            hessian_minimum=8.0,
            hessian_saddle=-4.0,
            gradient_noise=2 * 0.1 * (1 - mu) / 0.02,
            learning_rate=0.02,
            momentum=mu,
        )
        assert flat.rate == pytest.approx(rate("kramers", mu=mu), rel=1e-6)
    assert eyring_kramers(
        height=1.0,
        hessian_minimum=8.0,
        hessian_saddle=-4.0,
        gradient_noise=10.0,
        learning_rate=0.02,
    ).finite_rate == pytest.approx(0.02)


# --- refusals -------------------------------------------------------------------------------------


def test_refuses_points_that_are_no_minimum_and_no_barrier() -> None:
    with pytest.raises(InputError, match=r"Newton's method moves it to -1\.0"):
        wells(minimum=-1.01)
    with pytest.raises(InputError, match="must be positive"):
        wells(minimum=0.0, saddle=1.0)
    with pytest.raises(InputError, match="two points"):
        wells(saddle=-1.0)
    with pytest.raises(InputError, match="greatest at `saddle`"):
        wells(loss="(x**2 - 1)**2 * (x**2 - 9)**2", minimum=-3.0)
    with pytest.raises(OutOfRangeError, match="past the saddle"):
        wells(beyond=-0.5)
    with pytest.raises(OutOfRangeError, match="without noise nothing escapes"):
        wells(noise="(x + 1)**2")
    with pytest.raises(OutOfRangeError, match="without noise nothing escapes"):
        wells(noise="x**2")  # on the saddle, between two points of any mesh
    with pytest.raises(InputError, match="pass `loss` as a formula"):
        wells(loss=lambda w: (w**2 - 1) ** 2)
    with pytest.raises(InputError, match="leave it out"):
        wells(gradient=np.sin)
    with pytest.raises(InputError, match="one variable"):
        wells(loss=ring())


def test_refuses_methods_that_do_not_serve() -> None:
    sgd = wells(mu=0.5)
    with pytest.raises(UnsupportedError, match="without momentum"):
        escape_rate(sgd, method="map")
    with pytest.raises(UnsupportedError, match="depends on the place"):
        escape_rate(replace(sgd, noise="5 + x"))
    with pytest.raises(UnsupportedError, match="'map' is exact"):
        escape_rate(wells(noise="5 + x"), method="finite_rate")
    with pytest.raises(UnsupportedError, match="quadrature"):
        escape_rate(wells(1e-5), method="map")
    with pytest.raises(UnsupportedError, match="not closed on the other side"):
        escape_rate(wells(loss="cos(3*x)", minimum=np.pi / 3, saddle=2 * np.pi / 3))
    with pytest.raises(InputError, match="eyring_kramers"):
        escape_rate(3.0)
    given = {"height": 1.0, "gradient_noise": 1.0, "learning_rate": 0.1}
    with pytest.raises(InputError, match="index one"):
        eyring_kramers(hessian_minimum=np.eye(2), hessian_saddle=-np.eye(2), **given)
    with pytest.raises(InputError, match="positive definite"):
        eyring_kramers(hessian_minimum=-1.0, hessian_saddle=-1.0, **given)
    with pytest.raises(UnsupportedError, match="prefers directions"):
        eyring_kramers(
            hessian_minimum=np.eye(2),
            hessian_saddle=np.diag([-1.0, 1.0]),
            **(given | {"gradient_noise": np.diag([1.0, 2.0])}),
        )


def test_limit_of_what_is_integrated_is_a_million_temperatures() -> None:
    # Kramers' next coefficient, -3/8, is still there at a hundred thousand.
    high = wells(temperature=1e-5)
    gap = escape_rate(high, method="quadrature").log_rate - escape_rate(high).log_rate
    assert abs(1e5 * gap + 0.375) < 0.03
    for temperature in (1e-7, 1e-300):
        with pytest.raises(OutOfRangeError, match="temperatures"):
            escape_rate(wells(temperature=temperature))


WELLS = {"two wells": ("(x**2 - 1)**2", -1.0, 0.0), "one well": ("x**2/2 - x**3/3", 0.0, 1.0)}


def of_height(kind: str, barrier: float, pull: float) -> SGDOverBarrier:
    # A barrier of so many temperatures, at eta L'' = pull in the well.
    loss, minimum, saddle = WELLS[kind]
    bend, height = {"two wells": (8.0, 1.0), "one well": (1.0, 1.0 / 6.0)}[kind]
    rate = pull / bend
    return SGDOverBarrier(
        loss=loss,
        noise=2.0 * height / barrier / rate,
        minimum=minimum,
        saddle=saddle,
        learning_rate=rate,
    )


@pytest.mark.parametrize("kind", WELLS)
@pytest.mark.parametrize("barrier", [5.0, 12.0])
def test_status_knows_rates_that_the_first_order_does_not(kind: str, barrier: float) -> None:
    """A flow that is trusted is off by less than a fifth, also where the first order cancels."""
    trusted = []
    for pull in (0.2, 0.4, 0.6, 0.8):
        sgd = of_height(kind, barrier, pull)
        steps = escape_rate(sgd, method="map").rate
        flow = escape_rate(sgd, method="quadrature")
        trusted.append(flow.status.ok)
        off = abs(flow.rate / steps - 1.0)
        assert off < 0.2 or not flow.status.ok
        assert off > 0.1 or flow.status.ok
        later = escape_rate(sgd, method="finite_rate")
        assert abs(later.rate / steps - 1.0) < later.finite_rate
    assert trusted[0]
    assert not trusted[-1]


@pytest.mark.twin
def test_the_first_order_alone_would_trust_a_rate_that_is_off_by_a_third() -> None:
    sgd = of_height("one well", 5.0, 0.8)
    flow = escape_rate(sgd, method="quadrature")
    assert abs(flow.finite_rate) < 0.2
    assert escape_rate(sgd, method="map").rate / flow.rate > 1.33
    assert not flow.status.ok


def test_status_knows_steps_that_overshoot_the_well_in_more_dimensions() -> None:
    # Curvatures whose first order cancels, at eta L'' = 0.9.
    settings = {"height": 1.0, "hessian_minimum": 1.0, "hessian_saddle": -1.0}
    found = [
        eyring_kramers(**settings, gradient_noise=0.1 / rate, learning_rate=rate)
        for rate in (0.2, 0.9, 3.0)
    ]
    assert [one.finite_rate for one in found] == [0.0, 0.0, 0.0]
    assert [one.status.ok for one in found] == [True, False, False]


def beyond_first_order(kind: str, pull: float) -> tuple[float, float]:
    # What the first order leaves, measured, and the second order as derived.
    sgd = of_height(kind, 30.0, pull)
    steps, known = (escape_rate(sgd, method=m).log_rate for m in ("map", "finite_rate"))
    return steps - known, second_order(sgd) * (1.0 - 0.5 * pull) ** 3


@pytest.mark.parametrize("kind", WELLS)
def test_order_beyond_the_second_is_at_least_three(kind: str) -> None:
    measured, derived = np.array([beyond_first_order(kind, pull) for pull in (0.1, 0.2, 0.4)]).T
    assert measured[0] == pytest.approx(derived[0], rel=0.05)
    left = np.abs(measured - derived)
    assert np.all(np.log2(left[1:] / left[:-1]) > 2.9)


@pytest.mark.twin
def test_second_order_rejects_a_quarter_of_the_square() -> None:
    for kind in WELLS:
        measured, _ = beyond_first_order(kind, 0.1)
        assert abs(0.25 * 0.1**2 / measured - 1.0) > 0.15
