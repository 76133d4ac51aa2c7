"""Learning coefficients against what is known exactly, at a temperature or in the limit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import dblquad, quad
from scipy.stats import t as student

from fracsde.backends.langevin import Law
from fracsde.backends.philox import seed_key
from fracsde.errors import (
    ComputationError,
    InputError,
    NotFiniteError,
    OutOfRangeError,
    SamplingError,
    ShapeError,
    UnstableError,
    UnsupportedError,
)
from fracsde.estimators import (
    Doubt,
    FunctionLoss,
    fit_temperatures,
    learning_coefficient,
    learning_coefficient_at,
    quadratic_coefficient,
)
from fracsde.estimators._learning.engine import Plan, run_chains
from fracsde.estimators._learning.statistics import Evidence, estimate
from fracsde.estimators.known_coefficients import (
    deep_linear,
    monomial,
    monomial_at_temperature,
    reduced_rank,
    regular,
)
from fracsde.networks import Network
from fracsde.status import Status
from tests.support.laws import covers, follows

CURVATURES = np.geomspace(0.01, 10.0, 10)


def loss_of(value, gradient, parameters, **options):
    return FunctionLoss(
        value=value,
        gradient=gradient,
        parameters=parameters,
        examples=1000,
        vectorized=True,
        **options,
    )


def power(k):
    return loss_of(lambda w: (w ** (2 * k)).sum(1), lambda w: 2 * k * w ** (2 * k - 1), 1)


def bowl(h=CURVATURES):
    h = np.asarray(h)
    return loss_of(
        lambda w: 0.5 * (w * w) @ h, lambda w: w * h, len(h), hessian=lambda w: np.diag(h)
    )


def crossing(k1, k2, wall=np.inf):
    """w1^(2 k1) w2^(2 k2), infinite beyond a wall."""

    def value(w):
        inside = np.abs(w).max(axis=1) <= wall
        return np.where(inside, w[:, 0] ** (2 * k1) * w[:, 1] ** (2 * k2), np.inf)

    def gradient(w):
        x, y = w.T
        one = 2 * k1 * x ** (2 * k1 - 1) * y ** (2 * k2)
        two = 2 * k2 * x ** (2 * k1) * y ** (2 * k2 - 1)
        return np.stack([one, two], axis=1)

    return loss_of(value, gradient, 2)


def linear_network(widths, seed, target=None):
    """A linear network on inputs of unit covariance: mean loss |product - target|^2 / 2."""
    rng, M = np.random.default_rng(seed), widths[0]
    inputs = np.linalg.qr(rng.normal(size=(M, M)))[0] * M**0.5
    product = np.zeros((M, widths[-1])) if target is None else target
    return Network(
        inputs=inputs,
        targets=inputs @ product,
        hidden=widths[1:-1],
        activation="identity",
        objective="squared_error",
        bias=False,
    )


def curvature_at(net, w, h=1e-5):
    """Hessian by central differences, exact to 1e-9 for a polynomial of this degree."""
    columns = [(net.gradient(w + e) - net.gradient(w - e)) / (2 * h) for e in h * np.eye(len(w))]
    return 0.5 * (np.array(columns) + np.array(columns).T)


def within(found, expected, sigma=None):
    """Whether an estimate from many chains is where the law says."""
    return follows(found.value, expected, found.stderr if sigma is None else sigma)


# Exact values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("n_beta", [1.0, 1e3, 1e8])
def test_exact_even_power_at_every_temperature(k, n_beta):
    """n beta E[L] = 1 / (2 k) whatever n beta is, and the virial leaves no noise of it."""
    options = {"localization": 0.0, "chains": 8, "draws": 200, "burn_in": 200, "rng": 1}
    found = learning_coefficient(power(k), [0.0], n_beta=n_beta, **options)
    assert abs(found.value[0] - 1 / (2 * k)) < 1e-12
    assert abs(found.value[0] - 1 / (2 * k)) <= 5 * found.stderr[0]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_law_even_power_without_the_virial(k, seed):
    options = {"localization": 0.0, "chains": 100, "draws": 400, "burn_in": 200, "rng": seed}
    found = learning_coefficient(power(k), [0.0], control="none", **options)
    assert within(found, 1 / (2 * k))
    assert found.stderr[0] < 0.01


@pytest.mark.parametrize("sampler", ["mala", "hmc"])
def test_law_truncated_drift_leaves_the_law_alone(sampler, seed):
    """Far out in w^10 a whole force would throw; the law must be right there too."""
    options = {"localization": 0.0, "chains": 400, "draws": 300, "burn_in": 200, "rng": seed}
    found = learning_coefficient(power(5), [0.0], sampler=sampler, control="none", **options)
    assert within(found, 0.1)
    assert abs(found.virial - 1.0) < 6 * found.virial_stderr


@pytest.mark.parametrize("localization", [1.0, 100.0])
def test_law_square_valley_has_the_closed_form(localization, seed):
    options = {"chains": 60, "draws": 400, "burn_in": 300, "rng": seed}
    found = learning_coefficient(
        bowl(), np.zeros(10), localization=localization, preconditioner="hessian", **options
    )
    stiffness = found.n_beta * CURVATURES + localization
    expected = 0.5 * (found.n_beta * CURVATURES / stiffness).sum()
    assert within(found, expected)
    assert found.stderr[0] < 0.01
    assert quadratic_coefficient(
        CURVATURES, n_beta=found.n_beta, localization=localization
    ) == pytest.approx(expected, rel=1e-13)


@pytest.mark.twin
@pytest.mark.parametrize("damage", ["pull", "temperature"])
def test_law_square_valley_rejects_damage(damage, seed):
    options = {"chains": 60, "draws": 400, "burn_in": 300, "rng": seed}
    found = learning_coefficient(
        bowl(), np.zeros(10), localization=5.0, preconditioner="hessian", **options
    )
    beta = found.n_beta * (1.3 if damage == "temperature" else 1.0)
    stiffness = beta * CURVATURES + 5.0 * (0.7 if damage == "pull" else 1.0)
    assert not within(found, 0.5 * (beta * CURVATURES / stiffness).sum())


def test_routes_agree_metrics_do_not_change_the_law(seed):
    rng = np.random.default_rng(seed)
    root = np.eye(10) + 0.2 * rng.normal(size=(10, 10))
    options = {"chains": 60, "draws": 800, "burn_in": 300, "localization": 30.0}
    metrics = None, np.linspace(0.5, 2.0, 10), root @ root.T
    found = [
        learning_coefficient(bowl(), np.zeros(10), preconditioner=m, rng=i, **options)
        for i, m in enumerate(metrics)
    ]
    expected = quadratic_coefficient(CURVATURES, n_beta=found[0].n_beta, localization=30.0)
    assert all(within(one, expected) for one in found)


def test_corrected_square_valley_is_half_the_resolved_directions(seed):
    options = {"chains": 60, "draws": 400, "burn_in": 300, "rng": seed}
    h = np.array([5.0, 2.0, 0.7, 1e-4])
    found = learning_coefficient(bowl(h), np.zeros(4), localization=40.0, **options)
    rest = 0.5 * found.n_beta * 1e-4 / (found.n_beta * 1e-4 + 40.0)
    corrected = found.corrected(h)
    assert follows(corrected.value, 1.5 + rest, found.stderr)
    assert found.value[0] < 1.3
    np.testing.assert_allclose(found.corrected(np.diag(h)).value, corrected.value, rtol=1e-13)


# SGLD -------------------------------------------------------------------------------------------

SGLD = {"sampler": "sgld", "chains": 200, "draws": 600, "burn_in": 600}


@pytest.mark.parametrize(("step", "localization"), [(1e-3, 100.0), (2e-3, 100.0), (1.5e-3, 30.0)])
def test_law_sgld_has_the_bias_of_its_step(step, localization, seed):
    h = CURVATURES[4:]
    found = learning_coefficient(
        bowl(h), np.zeros(6), step=step, localization=localization, rng=seed, **SGLD
    )
    stiffness = found.n_beta * h + localization
    expected = 0.5 * (found.n_beta * h / (stiffness * (1 - step * stiffness / 4))).sum()
    assert within(found, expected)
    formula = {"n_beta": found.n_beta, "localization": localization, "step": step}
    assert quadratic_coefficient(h, **formula) == pytest.approx(expected, rel=1e-12)
    # Twins: no step, the pull with the wrong sign, another temperature.
    assert not within(found, quadratic_coefficient(h, **formula | {"step": 0.0}))
    assert not within(found, quadratic_coefficient(h, **formula | {"n_beta": 1.1 * found.n_beta}))
    wrong = found.n_beta * h - localization
    assert not within(found, 0.5 * (found.n_beta * h / (wrong * (1 - step * wrong / 4))).sum())
    loose = found.n_beta * h <= localization
    rest = 0.5 * (found.n_beta * h / (stiffness * (1 - step * stiffness / 4)))[loose].sum()
    assert follows(found.corrected(h).value, 0.5 * (~loose).sum() + rest, found.stderr)


def test_law_sgld_in_a_metric_has_the_closed_form(seed):
    rng = np.random.default_rng(seed)
    root = np.eye(3) + 0.3 * rng.normal(size=(3, 3))
    hessian, metric = np.diag([4.0, 1.0, 0.3]), root @ root.T
    found = learning_coefficient(
        bowl(np.diag(hessian)),
        np.zeros(3),
        step=2e-3,
        localization=20.0,
        preconditioner=metric,
        rng=seed,
        **SGLD,
    )
    options = {"n_beta": found.n_beta, "localization": 20.0, "preconditioner": metric}
    assert within(found, quadratic_coefficient(hessian, step=2e-3, **options))
    assert not within(found, quadratic_coefficient(hessian, **options))
    assert follows(found.corrected(hessian).value, 1.5, found.stderr)


def noisy_bowl(h, centres):
    """Examples are squares about centres of their own: noise that is the same everywhere."""

    def on_batch(w, rows):
        away = w[:, None] - centres[rows]
        return 0.5 * (away**2 @ h).mean(axis=1), (away * h).mean(axis=1)

    constant = 0.5 * (centres**2 @ h).mean()
    return FunctionLoss(
        value=lambda w: 0.5 * (w * w) @ h + constant,
        gradient=lambda w: w * h,
        parameters=len(h),
        examples=len(centres),
        vectorized=True,
        on_batch=on_batch,
    )


def test_law_sgld_on_batches_has_the_closed_form_with_their_noise(seed):
    rng = np.random.default_rng(seed)
    h = np.array([3.0, 1.0])
    centres = rng.normal(size=(200, 2))
    centres -= centres.mean(axis=0)
    loss = noisy_bowl(h, centres)
    noise = np.diag(h) @ np.cov(centres.T, bias=True) @ np.diag(h)
    found = learning_coefficient(
        loss, np.zeros(2), n_beta=40.0, step=0.01, localization=1.0, batch_size=8, rng=seed, **SGLD
    )
    formula = {"n_beta": 40.0, "localization": 1.0, "step": 0.01}
    batches = {"gradient_noise": noise, "batch_size": 8}
    expected = quadratic_coefficient(np.diag(h), **formula, **batches)
    assert within(found, expected)
    assert not within(found, quadratic_coefficient(h, **formula))
    assert follows(found.corrected(np.diag(h), gradient_noise=noise).value, 1.0, found.stderr)
    assert found.batch_size == 8
    assert np.isnan(found.acceptance).all()


# Singular losses --------------------------------------------------------------------------------


@pytest.mark.parametrize("powers", [(1, 1), (1, 2), (2, 2)])
def test_law_normal_crossing_in_a_box_has_the_exact_value_of_its_temperature(powers, seed):
    found = learning_coefficient(
        crossing(*powers, wall=1.0),
        np.zeros(2),
        n_beta=1000.0,
        localization=0.0,
        chains=200,
        draws=600,
        burn_in=400,
        control="none",
        rng=seed,
    )
    exact = monomial_at_temperature(1000.0, powers)
    assert within(found, exact)
    # The limit of low temperature is not what a perfect sampler finds here.
    assert not within(found, float(monomial(powers).value))
    # The box has walls, at which the virial is not the number of parameters: that is seen.
    assert Doubt.VIRIAL in found.doubts


@pytest.mark.parametrize("powers", [(1, 1), (1, 2)])
def test_law_localized_normal_crossing_is_a_double_integral(powers, seed):
    t, pull = 100.0, 2.0

    def weight(y, x):
        return np.exp(
            -t * x ** (2 * powers[0]) * y ** (2 * powers[1]) - 0.5 * pull * (x * x + y * y)
        )

    def energy(y, x):
        return t * x ** (2 * powers[0]) * y ** (2 * powers[1]) * weight(y, x)

    box = 0.0, 6.0, 0.0, 6.0
    exact = dblquad(energy, *box, epsabs=1e-7)[0] / dblquad(weight, *box, epsabs=1e-7)[0]
    options = {"n_beta": t, "localization": pull, "chains": 1600, "draws": 500, "burn_in": 300}
    found, plain = (
        learning_coefficient(crossing(*powers), np.zeros(2), rng=seed, control=how, **options)
        for how in ("virial", "none")
    )
    assert within(found, exact)
    assert within(plain, exact)
    assert found.stderr[0] < 0.85 * plain.stderr[0]  # about 0.75 and 0.57


def two_rows(M, N, t, pull):
    """Value at a finite temperature of a linear network M-2-N with truth zero, about the origin.

    The second layer is Gaussian given the first and integrates out; of the first only the two
    singular values are left: ``t E[L] = < sum N/2 t s^2 / (t s^2 + pull) >``.
    """

    def weight(v, u):
        # s = exp(u): the turn of the power law at s^2 = pull / t is far below the width.
        s, r = np.exp(u), np.exp(v)
        bulk = abs(s * s - r * r) * (s * r) ** (M - 1) * np.exp(-0.5 * pull * (s * s + r * r))
        return bulk * ((t * s * s + pull) * (t * r * r + pull)) ** (-0.5 * N) * t**N

    def share(v, u):
        parts = [t * np.exp(2 * x) / (t * np.exp(2 * x) + pull) for x in (u, v)]
        return 0.5 * N * sum(parts) * weight(v, u)

    low = 0.5 * np.log(pull / t) - 12.0
    box = low, np.log(8.0 / pull**0.5)
    grid = np.linspace(*box, 1201)
    v, u = np.meshgrid(grid, grid)
    return float(share(v, u).sum() / weight(v, u).sum())


@pytest.mark.parametrize("widths", [(2, 2, 2), (3, 2, 3)])
def test_exact_integral_of_linear_networks_tends_to_the_published_coefficient(widths):
    known = reduced_rank(*widths, 0)
    assert known.multiplicity == 1
    far, farther = (two_rows(widths[0], widths[2], t, 1.0) for t in (1e8, 1e12))
    assert farther == pytest.approx(float(known.value), rel=2e-3)
    assert abs(farther - float(known.value)) < abs(far - float(known.value))


@pytest.mark.parametrize("widths", [(2, 2, 2), (3, 2, 3)])
def test_law_linear_network_at_the_origin_has_its_exact_value(widths, seed):
    net = linear_network(widths, seed)
    options = {"n_beta": 200.0, "localization": 1.0, "chains": 64, "draws": 3000, "burn_in": 2000}
    found = learning_coefficient(net, np.zeros(net.parameters), rng=seed, **options)
    assert found.status.ok, found.warnings
    assert within(found, two_rows(widths[0], widths[2], 200.0, 1.0))
    assert found.stderr[0] < 0.04
    assert not within(found, float(regular(net.parameters).value))


@pytest.mark.parametrize(
    ("widths", "rank"), [((3, 2, 3), 2), ((2, 3, 2), 2), ((3, 2, 2, 3), 2), ((2, 2, 3), 1)]
)
def test_law_smooth_minimum_of_a_linear_network_is_half_its_rank(widths, rank, seed):
    """Where all layers have full rank the minima are smooth, of the map's own dimension."""
    rng = np.random.default_rng(seed)
    layers = [np.linalg.qr(rng.normal(size=(5, 5)))[0][:a, :b] for a, b in pairwise(widths)]
    layers = [
        np.eye(a, b) + 0.3 * layer for (a, b), layer in zip(pairwise(widths), layers, strict=True)
    ]
    if rank < min(widths):
        layers[-1] = np.outer([1.0, -0.5], [1.0, 0.3, -0.4])
    product = np.linalg.multi_dot(layers)
    net, w = linear_network(widths, seed, product), np.concatenate([a.ravel() for a in layers])
    hessian, t, pull = curvature_at(net, w), 1e8, 1e5
    values = np.linalg.eigvalsh(hessian)
    directions = int((values > 1e-6 * values[-1]).sum())
    metric = np.linalg.inv(t * hessian + pull * np.eye(len(w)))
    found = learning_coefficient(
        net,
        w,
        n_beta=t,
        localization=pull,
        preconditioner=0.5 * (metric + metric.T),
        chains=32,
        draws=1000,
        burn_in=500,
        rng=seed,
    )
    assert found.status.ok, found.warnings
    assert found.stderr[0] < 0.015
    assert follows(found.corrected(hessian).value, directions / 2, found.stderr)
    assert found.farthest < 0.1
    if rank == min(widths):
        assert 2 * deep_linear(widths, rank).value == directions


def test_slow_virial_is_no_control():
    """Directions that localization alone holds are slow: the virial waits for them."""
    net = linear_network((2, 2, 2), 1)
    options = {"n_beta": 1000.0, "chains": 64, "draws": 1000, "burn_in": 500, "rng": 1}
    found = learning_coefficient(net, np.zeros(8), **options)
    forced = learning_coefficient(net, np.zeros(8), control="virial", **options)
    exact = two_rows(2, 2, 1000.0, 1.0)
    assert found.control_slope == 0.0
    assert within(found, exact)
    # Twin: what the virial would have made of chains that have not arrived.
    assert not within(forced, exact)
    assert Doubt.VIRIAL in found.doubts


# Intervals --------------------------------------------------------------------------------------


def interval_hits(loss, law, truth, control, seed, repeats=300, chains=6):
    """How many stated intervals of 95 %, and of half their width, hold the truth."""
    size = len(law.anchor)
    plan = Plan("mala", 1, 0.574, None, 0, 0, repeats * chains, 200, 150, seed_key(seed))
    _, records = run_chains(loss, law, plan, (0.0, np.zeros(size)), None, None)
    hits, half_hits = 0, 0
    for first in range(0, repeats * chains, chains):
        rows = slice(first, first + chains)
        found = estimate(
            Evidence(
                heights=law.n_beta * records.losses[rows, 200:],
                virials=records.virials[rows, 200:],
                distances=records.distances[rows, 200:],
                parameters=size,
                acceptances=records.acceptances[rows, 200:].mean(axis=1),
                adjusted=True,
                full=True,
                lost=0,
            ),
            control,
        )
        half = student.ppf(0.975, found.n_effective - 1.0) * found.stderr
        hits += abs(found.value - truth) <= half
        half_hits += abs(found.value - truth) <= 0.5 * half
    return hits, half_hits, repeats


@pytest.mark.parametrize("control", ["none", "virial"])
def test_law_intervals_cover_the_truth(control, seed):
    h, t, pull = np.array([1.0, 0.2]), 145.0, 30.0
    law = Law(t, pull, np.zeros(2), np.ones((1, 2)), False)
    truth = quadratic_coefficient(h, n_beta=t, localization=pull)
    hits, half_hits, repeats = interval_hits(bowl(h), law, truth, control, seed)
    assert covers(hits, repeats, 0.95)
    # Twin: errors half as large.
    assert not covers(half_hits, repeats, 0.95)


def test_law_intervals_cover_the_truth_of_a_quartic(seed):
    t, pull = 145.0, 10.0

    def density(w):
        return np.exp(-t * w**4 - 0.5 * pull * w * w)

    truth = quad(lambda w: t * w**4 * density(w), 0, 3)[0] / quad(density, 0, 3)[0]
    law = Law(t, pull, np.zeros(1), np.ones((1, 1)), False)
    for control in ("none", "auto"):
        hits, _, repeats = interval_hits(power(2), law, truth, control, seed)
        assert covers(hits, repeats, 0.95)


# Temperatures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("powers", "multiplicity", "value"), [((1, 1), 2, 0.5), ((2, 2), 2, 0.25), ((3,), 1, 1 / 6)]
)
def test_exact_fit_to_exact_values_finds_coefficient_and_multiplicity(powers, multiplicity, value):
    t = np.geomspace(1e2, 1e4, 5)
    exact = [monomial_at_temperature(x, powers) for x in t]
    fit = fit_temperatures(t, exact, np.full(5, 1e-5))
    assert fit.multiplicity == multiplicity
    assert fit.fits[0].value == pytest.approx(value, abs=3e-5)
    assert abs(fit.value[0] - value) < 2.0 * fit.stderr[0]  # other multiplicities are not excluded
    assert fit.status is Status.SUCCESS
    equal = [one for one in fit.fits if one.gap == 0.0]
    assert equal[1].criterion > equal[0].criterion + (10.0 if multiplicity > 1 else 1.9)


def test_exact_fit_to_exact_values_of_two_near_poles_finds_coefficient_and_gap():
    t = np.geomspace(1e2, 1e4, 5)
    exact = [monomial_at_temperature(x, (1, 2)) for x in t]
    fit = fit_temperatures(t, exact, np.full(5, 1e-5))
    assert fit.multiplicity == 2
    assert fit.gap == pytest.approx(0.25, abs=0.01)
    assert abs(fit.value[0] - 0.25) < 2.0 * fit.stderr[0] < 2e-3
    assert fit.status is Status.SUCCESS
    # Without a gap nothing fits.
    assert min(one.chi_squared for one in fit.fits if one.gap == 0.0) > 1e3


@pytest.mark.parametrize("powers", [(1, 1, 1), (2, 1, 1), (3, 2, 1)])
def test_three_poles_are_covered_or_doubted(powers):
    t, rng = np.geomspace(1e2, 1e4, 5), np.random.default_rng(5)
    exact = np.array([monomial_at_temperature(x, powers) for x in t])
    for error in (1e-2, 3e-3, 1e-3, 1e-4):
        for _ in range(4):
            values = exact * (1.0 + error * rng.normal(size=5))
            fit = fit_temperatures(t, values, error * exact)
            wrong = abs(fit.value[0] - 0.5 / max(powers)) > 3.0 * fit.stderr[0]
            assert not (wrong and fit.status.ok)


@pytest.mark.parametrize(
    ("powers", "doubted"),
    [((1, 1, 1, 1), True), ((2, 2, 2, 2), True), ((1, 1), False), ((2, 1), False), ((2,), False)],
)
def test_law_four_poles_are_doubted_at_coarse_errors_and_two_are_not(powers, doubted, seed):
    # Of 40 runs, 34 and more are expected, and 2 at most.
    t, rng = np.geomspace(1e2, 1e4, 5), np.random.default_rng(seed)
    exact = np.array([monomial_at_temperature(x, powers) for x in t])
    fits = [
        fit_temperatures(t, exact * (1.0 + 0.03 * rng.normal(size=5)), 0.03 * exact)
        for _ in range(40)
    ]
    count = sum(not fit.status.ok for fit in fits)
    assert (count >= 22) if doubted else (count <= 10)


@pytest.mark.parametrize("powers", [(1, 1), (2, 1)])
def test_interval_holds_the_coefficients_of_equal_and_of_near_poles_where_errors_hide_which(powers):
    t = np.geomspace(1e3, 1e7, 5)
    exact = [monomial_at_temperature(x, powers) for x in t]
    fit = fit_temperatures(t, exact, np.full(5, 0.005))
    equal, apart = (
        min(
            (one for one in fit.fits if one.multiplicity == 2 and (one.gap > 0.0) == wanted),
            key=lambda one: one.chi_squared,
        )
        for wanted in (False, True)
    )
    assert equal.value > apart.value + 1.5 * apart.stderr * (powers == (2, 1))
    assert abs(equal.chi_squared - apart.chi_squared) < 3.84  # which of them, nobody can tell
    for one in (equal, apart):
        assert abs(one.value - fit.value[0]) < 2.0 * fit.stderr[0]


def test_fit_of_multiplicity_one_alone_is_the_weighted_mean():
    fit = fit_temperatures([1e2, 1e3, 1e4], [0.4, 0.5, 0.6], [0.1, 0.1, 0.2], most=1)
    assert fit.value[0] == pytest.approx((40.0 + 50.0 + 15.0) / 225.0)
    assert fit.stderr[0] == pytest.approx(1.0 / 15.0)
    assert (fit.bent, fit.gap, len(fit.fits)) == (0.0, 0.0, 1)


def test_fit_reports_a_misfit_where_values_fall_towards_the_limit():
    t = np.geomspace(1e2, 1e4, 5)
    fit = fit_temperatures(t, 0.25 + 0.1 * t**-0.25, np.full(5, 1e-4))
    assert fit.misfit > 100.0
    assert fit.status is Status.INACCURATE


def test_law_fit_has_the_error_that_it_states(seed):
    rng = np.random.default_rng(seed)
    t, sigma = np.geomspace(1e2, 1e6, 8), 2e-4
    exact = np.array([monomial_at_temperature(x, (1, 1)) for x in t])
    fits = [
        fit_temperatures(t, exact + sigma * rng.normal(size=8), np.full(8, sigma))
        for _ in range(100)
    ]
    assert all(fit.bent > 0.999 for fit in fits)
    assert any(fit.n_effective[0] < 3.0 for fit in fits)  # a likelihood with two humps
    for level in (0.95, 0.999):
        widths = [student.ppf(0.5 + 0.5 * level, fit.n_effective[0] - 1.0) for fit in fits]
        inside = [
            abs(fit.value[0] - 0.5) <= width * fit.stderr[0]
            for fit, width in zip(fits, widths, strict=True)
        ]
        assert covers(sum(inside), len(fits), level)


def test_law_measured_temperatures_of_a_crossing(seed):
    fit = learning_coefficient_at(
        crossing(1, 1, wall=1.0),
        np.zeros(2),
        np.geomspace(1e2, 1e4, 5),
        localization=0.0,
        control="none",
        chains=100,
        draws=800,
        burn_in=300,
        rng=seed,
    )
    exact = [monomial_at_temperature(x, (1, 1)) for x in fit.n_betas]
    assert follows(fit.values, exact, fit.stderrs)
    two = next(one for one in fit.fits if one.multiplicity == 2)
    assert follows(two.value, 0.5, two.stderr)
    assert len(fit.measurements) == 5
    assert fit.status is Status.INACCURATE  # the walls, which every measurement names


# What speaks against an estimate ----------------------------------------------------------------


def test_chains_that_never_move_are_no_estimate():
    with pytest.raises(ComputationError, match="hardly ever moved"):
        learning_coefficient(bowl(), np.zeros(10), step=1e6, draws=50, burn_in=10, rng=1)


def test_chains_that_always_move_are_doubted():
    found = learning_coefficient(bowl(), np.zeros(10), step=1e-9, draws=50, burn_in=0, rng=1)
    assert {Doubt.TIMID, Doubt.FEW} <= set(found.doubts)
    assert found.status is Status.NOT_CONVERGED


def test_chains_that_all_diverge_are_no_estimate():
    with pytest.raises(ComputationError, match="All 8 chains left the finite numbers"):
        learning_coefficient(
            power(2), [0.0], sampler="sgld", step=10.0, localization=0.0, draws=50, rng=1
        )


def test_chains_that_diverge_are_dropped_and_counted():
    found = learning_coefficient(
        power(3),
        [0.0],
        sampler="sgld",
        step=0.008,
        n_beta=1000.0,
        localization=0.0,
        chains=64,
        draws=300,
        burn_in=0,
        rng=1,
    )
    assert Doubt.LOST in found.doubts
    assert found.status is Status.NOT_FINITE
    assert 4 <= len(found.per_chain) < 64
    assert found.losses.shape == (len(found.per_chain), 300)
    assert np.isfinite(found.losses).all()


def test_start_that_is_no_minimum_gives_a_negative_estimate_that_is_kept_and_doubted():
    found = learning_coefficient(bowl([1.0, 1.0]), [1.0, 0.0], localization=0.1, rng=1)
    assert found.value[0] < 0.0
    assert Doubt.BELOW_START in found.doubts
    assert "Train on" in found.warnings[found.doubts.index(Doubt.BELOW_START)]


def test_burn_in_too_short_is_seen():
    found = learning_coefficient(
        bowl([1.0] * 4), np.zeros(4), step=5e-6, chains=32, draws=400, burn_in=0, rng=1
    )
    assert Doubt.DRIFTING in found.doubts


def test_virial_tells_the_step_of_sgld_from_a_law():
    options = {"sampler": "sgld", "localization": 1.0, "chains": 50, "draws": 500}
    long, short = (
        learning_coefficient(bowl([1.0, 1.0]), [0.0, 0.0], step=step, rng=1, **options)
        for step in (1e-2, 1e-3)
    )
    stiffness = long.n_beta + 1.0
    assert follows(long.virial, 1 / (1 - 1e-2 * stiffness / 4), long.virial_stderr)
    assert Doubt.VIRIAL in long.doubts
    assert Doubt.VIRIAL not in short.doubts


def test_doubts_raise_if_asked():
    with pytest.raises(ComputationError, match="Every move was accepted"):
        learning_coefficient(
            bowl(), np.zeros(10), step=1e-9, draws=50, burn_in=0, rng=1, throw=True
        )


def test_healthy_chains_are_not_doubted(seed):
    for number in range(5):
        found = learning_coefficient(
            bowl([1.0, 0.5]), [0.0, 0.0], draws=1000, burn_in=300, rng=seed + number
        )
        assert found.status is Status.SUCCESS, found.warnings


# Manners ----------------------------------------------------------------------------------------


def test_few_chains_take_the_error_along_them(seed):
    found = learning_coefficient(power(1), [0.0], chains=2, draws=3000, control="none", rng=seed)
    assert "autocorrelation" in found.method
    assert found.n_effective[0] > 10
    expected = quadratic_coefficient([2.0], n_beta=found.n_beta, localization=1.0)
    assert within(found, expected)


def test_few_short_chains_are_no_estimate():
    with pytest.raises(ComputationError, match="at least 4 chains"):
        learning_coefficient(power(1), [0.0], chains=1, draws=30, rng=1, control="none")


def test_default_temperature_is_that_of_the_examples():
    found = learning_coefficient(power(1), [0.0], draws=50, burn_in=50, rng=1)
    assert found.n_beta == pytest.approx(1000 / np.log(1000))


def test_same_seed_same_numbers_and_nothing_is_written_to():
    w = np.zeros(10)
    metric = np.ones(10)
    calls = []
    runs = [
        learning_coefficient(
            bowl(),
            w,
            preconditioner=metric,
            draws=40,
            burn_in=20,
            rng=7,
            progress=lambda done, total: calls.append((done, total)),
            keep_trace=keep,
        )
        for keep in (True, False)
    ]
    np.testing.assert_array_equal(runs[0].per_chain, runs[1].per_chain)
    np.testing.assert_array_equal(w, 0.0)
    np.testing.assert_array_equal(metric, 1.0)
    assert w.flags.writeable
    assert calls[-1] == (60, 60)
    assert runs[0].losses.shape == (8, 40)
    assert runs[0].burn_in_losses.shape == (8, 20)
    assert runs[1].losses is None
    other = learning_coefficient(bowl(), w, preconditioner=metric, draws=40, burn_in=20, rng=8)
    assert not np.array_equal(other.per_chain, runs[0].per_chain)


def test_loss_without_batches_of_positions_runs_one_by_one():
    h = np.array([1.0, 2.0])
    one_by_one = FunctionLoss(
        value=lambda w: 0.5 * w @ (h * w), gradient=lambda w: h * w, parameters=2, examples=1000
    )
    options = {"draws": 30, "burn_in": 20, "rng": 3}
    one = learning_coefficient(one_by_one, [0.0, 0.0], **options)
    two = learning_coefficient(bowl(h), [0.0, 0.0], **options)
    np.testing.assert_allclose(one.per_chain, two.per_chain, rtol=1e-8)


class Plain:
    """A loss with the smallest interface there is."""

    parameters, examples = 2, 50

    def loss_and_gradient(self, w):
        return 0.5 * float(w @ w), w.copy()


def test_smallest_interface_is_enough():
    found = learning_coefficient(Plain(), [0.0, 0.0], draws=400, burn_in=200, rng=1)
    expected = quadratic_coefficient([1.0, 1.0], n_beta=found.n_beta, localization=1.0)
    assert within(found, expected)


GOOD = {"draws": 30, "burn_in": 10, "rng": 1}


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"sampler": "nuts"}, InputError, "sampler"),
        ({"n_beta": 0.0}, OutOfRangeError, "n_beta"),
        ({"n_beta": np.inf}, NotFiniteError, "n_beta"),
        ({"localization": -1.0}, OutOfRangeError, "localization"),
        ({"step": 0.0}, OutOfRangeError, "step"),
        ({"draws": 19}, OutOfRangeError, "draws"),
        ({"burn_in": 0}, OutOfRangeError, "burn_in"),
        ({"chains": 0}, OutOfRangeError, "chains"),
        ({"chains": 2.5}, InputError, "chains"),
        ({"rng": None}, InputError, "rng"),
        ({"control": "all"}, InputError, "control"),
        ({"batch_size": 4}, UnsupportedError, "verdict of sampler"),
        ({"batch_size": 4, "sampler": "sgld"}, UnsupportedError, "has no `batch_losses"),
        ({"preconditioner": "diagonal"}, InputError, "preconditioner"),
        ({"preconditioner": [1.0, 0.0]}, OutOfRangeError, "positive entries"),
        ({"preconditioner": np.ones(3)}, ShapeError, "preconditioner"),
        ({"preconditioner": np.ones((2, 2))}, OutOfRangeError, "positive definite"),
        ({"leaps": 0, "sampler": "hmc"}, OutOfRangeError, "leaps"),
    ],
)
def test_refuses_arguments_that_mean_nothing(options, error, match):
    with pytest.raises(error, match=match):
        learning_coefficient(bowl([1.0, 2.0]), [0.0, 0.0], **GOOD | options)


def test_refuses_a_point_of_the_wrong_size_and_what_is_no_loss():
    with pytest.raises(ShapeError, match="one flat vector of all parameters"):
        learning_coefficient(bowl(), np.zeros(9), **GOOD)
    with pytest.raises(NotFiniteError, match="`w` must be finite"):
        learning_coefficient(bowl(), np.full(10, np.nan), **GOOD)
    with pytest.raises(InputError, match="wrap functions in FunctionLoss"):
        learning_coefficient(lambda w: 0.0, np.zeros(1), **GOOD)


def test_refuses_a_loss_that_is_not_finite_at_the_point():
    with pytest.raises(NotFiniteError, match="must be finite with a finite gradient"):
        learning_coefficient(crossing(1, 1, wall=1.0), [2.0, 0.0], **GOOD)


def test_refuses_a_loss_that_does_not_hold_its_chains():
    flat = loss_of(lambda w: 0 * w[:, 0], lambda w: 0 * w, 1)
    with pytest.raises(ComputationError, match="pass localization > 0"):
        learning_coefficient(flat, [0.0], localization=0.0, **GOOD)


def test_refuses_batches_larger_than_the_data():
    loss = noisy_bowl(np.ones(1), np.zeros((5, 1)))
    with pytest.raises(SamplingError, match="there are 5 examples"):
        learning_coefficient(loss, [0.0], sampler="sgld", batch_size=6, **GOOD)


def test_refuses_a_default_temperature_of_one_example():
    loss = noisy_bowl(np.ones(1), np.zeros((1, 1)))
    with pytest.raises(InputError, match="pass `n_beta`"):
        learning_coefficient(loss, [0.0], **GOOD)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: quadratic_coefficient([1.0], n_beta=10.0, step=0.5), UnstableError, "between 0"),
        (lambda: quadratic_coefficient([0.0], n_beta=10.0), UnstableError, "localization"),
        (
            lambda: quadratic_coefficient([1.0, 2.0], n_beta=1.0, preconditioner=[1.0, 2.0]),
            InputError,
            "pass the Hessian",
        ),
        (
            lambda: quadratic_coefficient(np.eye(2), n_beta=1.0, preconditioner=[1.0, -2.0]),
            OutOfRangeError,
            "positive entries",
        ),
        (
            lambda: quadratic_coefficient(np.eye(2), n_beta=1.0, preconditioner=np.ones(3)),
            InputError,
            "of 2 parameters",
        ),
        (lambda: fit_temperatures([1e2, 1e3], [1, 1], [1, 1]), ShapeError, "three"),
        (lambda: fit_temperatures([1, 2, 3], [1, 1, 1], [1, 1, 1]), OutOfRangeError, "above 1"),
        (lambda: fit_temperatures([2, 2, 3], [1, 1, 1], [1, 1, 1]), InputError, "distinct"),
        (lambda: fit_temperatures([2, 3, 4], [1, 1], [1, 1, 1]), ShapeError, "values"),
        (
            lambda: FunctionLoss(value=3.0, gradient=abs, parameters=1, examples=1),
            InputError,
            "`value` must be a function",
        ),
        (
            lambda: loss_of(lambda w: w, lambda w: w, 2).loss([0.0, 0.0]),
            ShapeError,
            "the losses must have shape",
        ),
        (lambda: power(1).hessian([0.0]), UnsupportedError, "no `hessian`"),
        (
            lambda: power(1).batch_losses_and_gradients(np.zeros((1, 1)), np.zeros((1, 1))),
            UnsupportedError,
            "on_batch",
        ),
    ],
)
def test_refuses_what_has_no_closed_form(call, error, match):
    with pytest.raises(error, match=match):
        call()
