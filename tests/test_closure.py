"""The Gaussian closure where its answer, or the law itself, is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde._closure import search as module
from fracsde._closure.averages import average, matched_draws, root
from fracsde.closure import examine_minimum, gaussian_closure
from fracsde.errors import (
    ComputationError,
    IndefiniteError,
    InputError,
    NotFiniteError,
    NotSymmetricError,
    OutOfRangeError,
    ShapeError,
    UnstableError,
    UnsupportedError,
)
from fracsde.networks import Network, run_sgd, train_to_minimum
from fracsde.problems.least_squares import LeastSquaresSGD
from fracsde.problems.stochastic_loss import StochasticLoss
from fracsde.stationary import stationary_covariance
from fracsde.status import Status
from tests.support.laws import follows, honest, seed_of, sigmas
from tests.support.orders import observed_order

N, D, BATCH, RATE = 40, 3, 4, 0.25


@pytest.fixture(scope="module")
def regression():
    """Ridge regression on few data: the noise depends on the state, second moments are exact."""
    rng = np.random.default_rng(seed_of("regression"))
    inputs = rng.normal(size=(N, D)) * [1.0, 0.7, 0.4]
    targets = inputs @ [[1.0], [-1.0], [0.5]] + rng.normal(size=(N, 1))
    network = Network(
        inputs=inputs,
        targets=targets,
        hidden=(),
        objective="squared_error",
        weight_decay=0.05,
        bias=False,
    )
    minimum = train_to_minimum(network, np.zeros(D)).parameters
    return network, inputs, targets[:, 0], minimum


def generalised_stein(regression, momentum: float, factor: float, *, constant: bool = False):
    """Solve X = T X T^T + K Q(X_ww) K^T as one linear system."""
    _, x, y, w = regression
    data = x.T @ x / N
    eye = np.eye(D)
    pull = RATE * (data + 0.05 * eye)
    T = np.block([[eye - pull, momentum * eye], [-pull, momentum * eye]])
    K = RATE * np.vstack([eye, eye])
    fourth = np.einsum("na,nb,nc,nd->abcd", x, x, x, x) / N
    decay = np.outer(0.05 * w, 0.05 * w)
    Q0 = (x * (x @ w - y)[:, None] ** 2).T @ x / N - decay

    def step(X):
        S = X[:D, :D]
        Q = Q0 if constant else Q0 + np.einsum("abcd,cd->ab", fourth, S) - data @ S @ data
        return T @ X @ T.T + factor * K @ Q @ K.T

    zero = step(np.zeros((2 * D, 2 * D)))
    units = np.eye(4 * D * D).reshape(-1, 2 * D, 2 * D)
    L = np.array([(step(unit) - zero).ravel() for unit in units]).T
    X = np.linalg.solve(np.eye(len(L)) - L, zero.ravel()).reshape(2 * D, 2 * D)
    return X[:D, :D]


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement"])
def test_exact_on_quadratic_losses_whose_noise_depends_on_the_state(
    regression, momentum, sampling
) -> None:
    """Matched draws average a noise of second order exactly, so no sampling error is left."""
    network, *_, w = regression
    factor = 1.0 / BATCH * (1.0 if sampling == "with_replacement" else (N - BATCH) / (N - 1))
    found = gaussian_closure(
        examine_minimum(network, w),
        learning_rate=RATE,
        batch_size=BATCH,
        momentum=momentum,
        sampling=sampling,
        dataset_size=N,
        draws=96,
        rtol=1e-12,
    )
    U = found.minimum.leading
    covariance = U @ found.covariance @ U.T
    exact = generalised_stein(regression, momentum, factor)
    np.testing.assert_allclose(covariance, exact, rtol=0, atol=1e-10 * np.abs(exact).max())
    np.testing.assert_allclose(found.mean, w, atol=1e-10)
    assert found.status is Status.SUCCESS
    assert np.all(found.stderr < 1e-9 * np.abs(exact).max())
    np.testing.assert_allclose(found.variance_along(np.eye(D)), np.diag(exact), rtol=1e-9)
    np.testing.assert_allclose(
        found.operator() @ np.eye(D), exact, atol=1e-10 * np.abs(exact).max()
    )


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_routes_agree_closure_and_exact_second_moments_of_least_squares(
    regression, momentum
) -> None:
    """One iterates averages over draws, the other solves the generalised Stein equation."""
    network, inputs, targets, w = regression
    found = gaussian_closure(
        examine_minimum(network, w),
        learning_rate=RATE,
        batch_size=BATCH,
        momentum=momentum,
        draws=96,
        rtol=1e-12,
    )
    exact = stationary_covariance(
        LeastSquaresSGD(
            inputs=inputs,
            targets=targets,
            ridge=0.05,
            learning_rate=RATE,
            batch_size=BATCH,
            momentum=momentum,
        )
    )
    U = found.minimum.leading
    np.testing.assert_allclose(
        U @ found.covariance @ U.T,
        exact.matrix,
        rtol=0,
        atol=1e-10 * found.variances.max() + exact.error_estimate,
    )


@pytest.mark.twin
def test_twin_frozen_noise_misses_the_quadratic_loss(regression) -> None:
    network, *_, w = regression
    found = gaussian_closure(
        examine_minimum(network, w), learning_rate=RATE, batch_size=BATCH, draws=96
    )
    U = found.minimum.leading
    frozen = generalised_stein(regression, 0.0, 1.0 / BATCH, constant=True)
    np.testing.assert_allclose(U @ found.map_covariance @ U.T, frozen, atol=1e-10)
    exact = generalised_stein(regression, 0.0, 1.0 / BATCH)
    assert np.all(np.diag(exact) > 1.04 * np.diag(frozen))


# One dimension: the stationary law of w' = w - eta V'(w) + eta sqrt(q C(w)) xi on a fine grid.


def well(cubic: float, quartic: float, bend: float) -> StochasticLoss:
    """V = w^2/2 + cubic w^3/6 + quartic w^4/24, noise C = 1 + bend w^2."""
    return StochasticLoss(
        gradient=lambda w: w + cubic * w**2 / 2 + quartic * w**3 / 6,
        hessian_products=lambda w, V: (1 + cubic * w + quartic * w**2 / 2)[:, :, None] * V,
        projected_noise=lambda w, V: (1 + bend * w**2)[:, :, None] * np.ones((len(w), 1, 1)),
        batched=True,
    )


def exact_variance(loss: StochasticLoss, rate: float, batch: int) -> float:
    """Variance of the stationary law of a Markov operator with Gaussian kernel."""
    reach = 10.0 * (rate / batch / (2.0 - rate)) ** 0.5
    w = np.linspace(-reach, reach, 801)
    mean = w - rate * loss.gradients(w[:, None])[:, 0]
    sd = rate * np.sqrt(loss.noises(w[:, None], np.ones((1, 1)))[0][:, 0, 0] / batch)
    kernel = np.exp(-0.5 * ((w[:, None] - mean) / sd) ** 2) / sd
    kernel /= kernel.sum(axis=0)
    p = np.exp(-0.5 * (5.0 * w / reach) ** 2)
    for _ in range(2000):
        new = kernel @ p
        new /= new.sum()
        if np.abs(new - p).sum() < 1e-14:
            break
        p = new
    centre = p @ w
    return float(p @ (w - centre) ** 2)


def errors(loss: StochasticLoss, batch: int) -> tuple[float, float]:
    """Relative errors of closure and map."""
    exact = exact_variance(loss, 0.4, batch)
    found = gaussian_closure(
        examine_minimum(loss, [0.0]),
        learning_rate=0.4,
        batch_size=batch,
        draws=2**13,
        rtol=1e-9,
    )
    return (
        abs(float(found.variances[0]) / exact - 1.0),
        abs(float(found.map_covariance[0, 0]) / exact - 1.0),
    )


SIZES = [16, 32, 64, 128, 256]


@pytest.mark.parametrize("bend", [0.0, 1.0])
def test_order_of_the_error_is_two_in_an_even_well_where_that_of_the_map_is_one(bend) -> None:
    """The law widens like 1 / B: what is not Gaussian in it is its kurtosis."""
    loss = well(0.0, 2.0, bend)
    table = observed_order(lambda n: errors(loss, n)[0], SIZES, 2.0)
    assert table.agrees(), table
    frozen = observed_order(lambda n: errors(loss, n)[1], SIZES, 1.0)
    assert frozen.agrees(), frozen
    assert errors(loss, SIZES[0])[0] < 0.2 * errors(loss, SIZES[0])[1]


def test_order_of_the_error_is_one_in_a_skewed_well(monkeypatch) -> None:
    """A third derivative meets the law's third cumulant, which the closure has not."""
    loss = well(0.6, 0.0, 0.0)
    table = observed_order(lambda n: errors(loss, n)[0], SIZES, 1.0)
    assert table.agrees(), table
    # In the limit of a small rate half of the map's error goes; see the derivation.
    closed, frozen = errors(loss, SIZES[-1])
    assert closed < 0.7 * frozen


@pytest.mark.twin
def test_twin_without_the_spread_of_the_gradient_the_order_is_lost() -> None:
    """Without Cov(grad L) the equation is that of the flow, off by eta h / 2 at every size."""
    loss = well(0.0, 2.0, 0.0)

    def damaged(batch: int) -> float:
        found = gaussian_closure(
            examine_minimum(loss, [0.0]), learning_rate=0.4, batch_size=batch, draws=96
        )
        without = 0.4 / batch / (2.0 * found.hessian[0, 0])
        return abs(without / exact_variance(loss, 0.4, batch) - 1.0)

    assert not observed_order(damaged, SIZES, 2.0).agrees()
    assert damaged(SIZES[-1]) > 0.1


# The error bar.


def steep(w: np.ndarray, V: np.ndarray) -> np.ndarray:
    """A noise of fourth order, whose average no matching of second moments makes exact."""
    return (1.0 + w**4)[:, :, None] * np.ones((len(w), 1, 1))


QUADRATIC = StochasticLoss(
    gradient=lambda w: w,
    hessian_products=lambda w, V: np.ones((len(w), 1, 1)) * V,
    projected_noise=steep,
    batched=True,
)


def test_law_of_the_error_bar_is_that_of_the_errors() -> None:
    """(2 - eta) v = eta (1 + 3 v^2): the answer without draws, with a strong feedback on itself."""
    at = examine_minimum(QUADRATIC, [0.0])
    rate = 0.4
    exact = ((2 - rate) - ((2 - rate) ** 2 - 12 * rate**2) ** 0.5) / (6 * rate)
    gain = 6 * rate * exact / (2 - rate)
    assert 0.4 < gain < 0.8
    trials = [
        gaussian_closure(at, learning_rate=rate, batch_size=1, draws=2048, rtol=1e-4, rng=seed)
        for seed in np.random.SeedSequence(seed_of("error bar")).spawn(150)
    ]
    values = np.array([found.variances[0] for found in trials])
    stderrs = np.array([found.variance_stderr[0] for found in trials])
    assert honest(values, stderrs)
    assert not honest(values, (1.0 - gain) * stderrs)  # twin: errors that do not grow
    # Matching lowers the fourth moment of each group by 2 / n, here a quarter of the error bar.
    assert follows(values.mean(), exact, np.hypot(stderrs.mean() / 150**0.5, 0.02 * exact))


# Leading modes, and what a result can be used for.


@pytest.fixture(scope="module")
def perceptron():
    rng = np.random.default_rng(seed_of("perceptron"))
    inputs = rng.normal(size=(150, 4)) * [1.0, 0.8, 0.6, 0.5]
    labels = np.argmax(inputs[:, :3] + 0.5 * rng.normal(size=(150, 3)), axis=1)
    network = Network(inputs=inputs, targets=labels, hidden=(3,), weight_decay=0.03)
    minimum = train_to_minimum(network, network.initial_parameters(rng))
    assert minimum.status is Status.SUCCESS
    return network, minimum.parameters


@pytest.fixture(scope="module")
def closed(perceptron):
    network, w = perceptron
    at = examine_minimum(network, w, rank=6)
    options = {"learning_rate": 0.3 / at.curvatures[0], "batch_size": 24, "momentum": 0.5}
    return at, options, gaussian_closure(at, **options, draws=384)


def test_exact_law_of_the_leading_modes_has_their_covariance(closed) -> None:
    *_, found = closed
    law = found.law()
    matrix = stationary_covariance(law).matrix
    np.testing.assert_allclose(matrix, found.covariance, atol=1e-10 * found.variances.max())
    np.testing.assert_allclose(
        law.mean[:6], (found.mean - found.minimum.position) @ found.minimum.leading
    )


def test_routes_agree_leading_modes_and_all_of_them(perceptron, closed) -> None:
    network, w = perceptron
    _, options, part = closed
    whole = gaussian_closure(
        examine_minimum(network, w), **options, draws=256, rtol=1e-2, throw=False
    )
    # It is the flattest modes that are doubted.
    assert part.status is Status.SUCCESS
    assert whole.status is Status.INACCURATE
    assert part.truncation < 0.1 < whole.truncation
    np.testing.assert_allclose(part.variances, whole.variances[:6], rtol=0.02)
    assert part.over_map.mean() > 1.03  # what is compared is not nothing
    assert np.all(whole.shrinkage <= 1.0)


def test_law_of_a_run_is_that_of_the_closure_and_not_of_the_map(perceptron, closed) -> None:
    network, w = perceptron
    at, options, found = closed
    run = run_sgd(
        network,
        w,
        **options,
        steps=1100,
        replicas=128,
        seed=seed_of("run of the perceptron"),
        directions=at.leading,
        origin=w,
        project_every=3,
        first_projection=300,
    ).projections.values
    each = np.mean((run - run.mean(axis=(0, 1))) ** 2, axis=1)
    measured, error = each.mean(axis=0), each.std(axis=0) / len(each) ** 0.5
    error = np.hypot(error, found.variance_stderr)
    allowed = 0.02 * found.variances  # third cumulants
    assert np.all(np.abs(measured - found.variances) < allowed + sigmas() * error)
    assert np.mean(measured / found.map_covariance.diagonal()) > 1.03


def test_routes_agree_three_forms_of_the_noise_one_point_or_many(perceptron) -> None:
    network, w = perceptron
    C = network.gradient_noise
    plain = {"gradient": network.gradient, "hessian_products": network.hessian_vector_product}
    many = {
        "gradient": lambda w: np.array([network.gradient(p) for p in w]),
        "hessian_products": lambda w, V: np.array(
            [network.hessian_vector_product(p, V) for p in w]
        ),
    }
    losses = [
        network,
        StochasticLoss(**plain, noise_products=lambda w, V: C(w) @ V),
        StochasticLoss(**plain, projected_noise=lambda w, V: V.T @ C(w) @ V),
        StochasticLoss(
            **many, projected_noise=lambda w, V: np.array([V.T @ C(p) @ V for p in w]), batched=True
        ),
    ]
    found = []
    for loss in losses:
        minimum = examine_minimum(loss, w, rank=4)
        inside = gaussian_closure(minimum, learning_rate=0.2, batch_size=64, draws=96).covariance
        # Of weights: the sign of an eigenvector is not told.
        found.append(minimum.leading @ inside @ minimum.leading.T)
    # Products and projections do not tell the noise of the other modes.
    np.testing.assert_allclose(found[1], found[0], atol=2e-3 * found[0].max())
    for other in found[2:]:
        np.testing.assert_allclose(other, found[1], atol=1e-9 * found[0].max())


def test_routes_agree_all_modes_and_leading_ones_with_an_isotropic_rest() -> None:
    """Curvature and noise of the rest are all alike, so that the isotropic rest is the truth."""
    size = 70
    h = np.concatenate([[1.0, 0.8, 0.6], np.full(size - 3, 0.2)])
    loss = StochasticLoss(
        gradient=lambda w: h * w,
        hessian_products=lambda w, V: h[:, None] * V,
        # What the leading modes feel depends on how far the rest has moved.
        noise_products=lambda w, V: (1.0 + 0.02 * (w @ w)) * h[:, None] * V,
    )
    options = {"learning_rate": 0.5, "batch_size": 1, "draws": 128}
    whole = gaussian_closure(examine_minimum(loss, np.zeros(size), rank=3), **options)
    part = examine_minimum(loss, np.zeros(size), rank=3, modes=3)
    assert abs(part.rest_curvature - 0.2) < 1e-12
    assert abs(part.rest_noise - 0.2) < 1e-12
    isotropic = gaussian_closure(part, **options)
    np.testing.assert_allclose(isotropic.variances, whole.variances, rtol=0.01)
    u = np.eye(size)[:, -1]
    np.testing.assert_allclose(isotropic.variance_along(u), whole.variance_along(u), rtol=0.01)
    none = examine_minimum(loss, np.zeros(size), rank=3, modes=3, rest="none")
    without = gaussian_closure(none, **options)
    assert np.all(without.variances < 0.9 * whole.variances)  # twin: the rest is felt
    assert without.variance_along(u) == 0.0


def test_keeps_draws_matched_and_roots_causal() -> None:
    Z = matched_draws(np.random.default_rng(3), 200, 9, 5)
    assert Z.shape == (8, 25, 9)
    for group in Z:
        np.testing.assert_allclose(group[:, :5].T @ group[:, :5] / 25, np.eye(5), atol=1e-12)
    A = np.random.default_rng(4).normal(size=(9, 9))
    L = root(A @ A.T, 5)
    np.testing.assert_allclose(L @ L.T, A @ A.T, atol=1e-10)
    assert np.all(L[:5, 5:] == 0.0)
    flat = np.diag([1.0, 2.0, 0.0, 0.5, 0.0])
    np.testing.assert_allclose(root(flat, 2) @ root(flat, 2).T, flat, atol=1e-7)


@pytest.mark.twin
def test_twin_fresh_draws_in_every_round_never_settle(monkeypatch) -> None:
    at = examine_minimum(QUADRATIC, [0.0])
    rng = np.random.default_rng(seed_of("fresh draws"))

    def fresh(at, mean, sigma, Z, **options):
        return average(at, mean, sigma, matched_draws(rng, 512, 1, 1), **options)

    monkeypatch.setattr(module, "average", fresh)
    options = {"learning_rate": 0.4, "batch_size": 1, "draws": 512, "max_rounds": 15}
    with pytest.raises(ComputationError, match="still change by"):
        gaussian_closure(at, **options, rtol=1e-6)
    monkeypatch.undo()
    assert gaussian_closure(at, **options, rtol=1e-6).status is Status.SUCCESS


def test_keeps_results_equal_for_equal_seeds_and_reports_progress(closed) -> None:
    at, options, _ = closed
    seen: list[tuple[int, float]] = []
    one = gaussian_closure(at, **options, draws=96, rng=7, progress=lambda *now: seen.append(now))
    two = gaussian_closure(at, **options, draws=96, rng=7)
    assert np.array_equal(one.covariance, two.covariance)
    assert seen[-1] == (one.rounds, 1.0)
    assert seen == sorted(seen)
    assert one.provenance.seed == "7"
    assert not np.array_equal(one.covariance, gaussian_closure(at, **options, draws=96).covariance)


# What has no fixed point, and what has no meaning.


def growing(strength: float) -> StochasticLoss:
    return StochasticLoss(
        gradient=lambda w: w,
        hessian_products=lambda w, V: V,
        projected_noise=lambda w, V: (1.0 + strength * (w @ w)) * np.ones((1, 1)),
    )


def test_variance_that_feeds_its_own_noise_has_a_fixed_point_up_to_the_critical_strength() -> None:
    """Stationary where 2 - eta > eta a / B."""
    rate = 0.5
    inside = gaussian_closure(
        examine_minimum(growing(2.9), [0.0]),
        learning_rate=rate,
        batch_size=1,
        draws=96,
        rtol=1e-9,
    )
    np.testing.assert_allclose(inside.variances, rate / (2 - rate - 2.9 * rate), rtol=1e-7)
    at = examine_minimum(growing(3.3), [0.0])
    beyond = gaussian_closure(at, learning_rate=rate, batch_size=1, draws=96, throw=False)
    assert not beyond.status.ok
    with pytest.raises((UnstableError, ComputationError)):
        gaussian_closure(at, learning_rate=rate, batch_size=1, draws=96)


def test_exact_point_where_there_is_no_noise() -> None:
    loss = replace(growing(0.0), projected_noise=lambda w, V: np.zeros((1, 1)))
    found = gaussian_closure(
        examine_minimum(loss, [0.0]), learning_rate=0.5, batch_size=1, momentum=0.5, draws=96
    )
    assert found.status is Status.SUCCESS
    assert found.covariance[0, 0] == 0.0
    assert found.over_map[0] == 1.0
    assert stationary_covariance(found.law()).matrix[0, 0] == 0.0


def test_refuses_rates_beyond_the_limit_and_says_which() -> None:
    at = examine_minimum(growing(0.0), [0.0])
    with pytest.raises(UnstableError, match=r"limit is 2; lower the learning rate"):
        gaussian_closure(at, learning_rate=2.0, batch_size=1)
    found = gaussian_closure(at, learning_rate=2.5, batch_size=1, throw=False)
    assert found.status is Status.UNSTABLE
    assert np.all(np.isnan(found.covariance))
    with pytest.raises(ComputationError, match="no stationary law"):
        found.law()


def test_callable_that_fails_away_from_the_minimum_is_a_status() -> None:
    loss = replace(growing(0.0), gradient=lambda w: w if abs(w[0]) < 1e-3 else np.array([np.nan]))
    at = examine_minimum(loss, [0.0])
    found = gaussian_closure(at, learning_rate=0.1, batch_size=1, throw=False)
    assert found.status is Status.NOT_FINITE
    assert "`gradient` must be finite" in found.detail


PAIR = np.array([[1.0, 0.3], [0.3, 0.5]])


def quadratic(**changes) -> StochasticLoss:
    callables = {
        "gradient": lambda w: PAIR @ w,
        "hessian_products": lambda w, V: PAIR @ V,
        "projected_noise": lambda w, V: V.T @ V,
    }
    return StochasticLoss(**{**callables, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"gradient": lambda w: np.zeros(3)}, ShapeError, "`gradient` must have shape"),
        ({"gradient": lambda w: w * np.nan}, NotFiniteError, "`gradient` must be finite"),
        ({"gradient": lambda w: PAIR @ w + 1.0}, InputError, "must be a minimum"),
        ({"gradient": lambda w: 2.0 * PAIR @ w}, InputError, "derivative of `gradient`"),
        (
            {"gradient": lambda w: np.random.default_rng().normal(size=2)},
            InputError,
            "gave two answers",
        ),
        ({"hessian_products": lambda w, V: V[:, :1]}, ShapeError, "`hessian_products`"),
        (
            {"hessian_products": lambda w, V: np.triu(PAIR) @ V},
            NotSymmetricError,
            "symmetric",
        ),
        (
            {"gradient": lambda w: -PAIR @ w, "hessian_products": lambda w, V: -PAIR @ V},
            IndefiniteError,
            "2 of 2 curvatures are not positive",
        ),
        ({"projected_noise": lambda w, V: -V.T @ V}, IndefiniteError, "must be a covariance"),
        ({"projected_noise": lambda w, V: "no"}, InputError, "`projected_noise`"),
    ],
)
def test_refuses_callables_that_are_not_what_they_should_be(changes, error, message) -> None:
    with pytest.raises(error, match=message):
        examine_minimum(quadratic(**changes), [0.0, 0.0])


def test_refuses_losses_without_or_with_two_forms_of_the_noise() -> None:
    with pytest.raises(InputError, match="exactly one of"):
        quadratic(projected_noise=None)
    with pytest.raises(InputError, match="got per_example_gradients and projected_noise"):
        quadratic(per_example_gradients=lambda w: w)
    with pytest.raises(InputError, match="must be a function of the weights"):
        quadratic(gradient=PAIR)
    with pytest.raises(InputError, match="lacks gradient"):
        examine_minimum(PAIR, [0.0, 0.0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"draws": 10}, OutOfRangeError, "would not tell their own error"),
        ({"rtol": 0.0}, OutOfRangeError, "`rtol`"),
        ({"max_rounds": 0}, OutOfRangeError, "`max_rounds`"),
        ({"momentum": 1.0}, OutOfRangeError, "`momentum`"),
        ({"batch_size": 0}, OutOfRangeError, "`batch_size`"),
        ({"sampling": "without_replacement"}, InputError, "`dataset_size` is needed"),
        ({"sampling": "shuffled", "dataset_size": 9}, UnsupportedError, "shuffled"),
    ],
)
def test_refuses_options_without_a_meaning(options, error, message) -> None:
    at = examine_minimum(quadratic(), [0.0, 0.0])
    with pytest.raises(error, match=message):
        gaussian_closure(at, **{"learning_rate": 0.1, "batch_size": 1, **options})


def test_refuses_a_loss_in_the_place_of_a_minimum() -> None:
    with pytest.raises(InputError, match="make one by examine_minimum"):
        gaussian_closure(quadratic(), learning_rate=0.1, batch_size=1)


@pytest.mark.parametrize("options", [{"rank": 3}, {"rank": 2, "modes": 1}, {"rest": "some"}])
def test_refuses_ranks_that_do_not_fit(options) -> None:
    with pytest.raises(InputError):
        examine_minimum(quadratic(), [0.0, 0.0], **options)
