"""SGD on least squares: exact noise, critical rates, what simulations of it settle at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.errors import (
    IndefiniteError,
    InputError,
    NotFiniteError,
    OutOfRangeError,
    SamplingError,
    ShapeError,
    UnstableError,
    UnsupportedError,
)
from fracsde.problems.least_squares import GaussianLeastSquaresSGD, LeastSquaresSGD
from fracsde.simulate import simulate
from fracsde.stationary import stationary_covariance
from fracsde.status import Status
from fracsde.transients import covariance_at
from tests.support.exact import close
from tests.support.laws import sigmas
from tests.support.orders import observed_order

RULES = {
    "plain": {},
    "heavy ball": {"momentum": 0.8},
    "dampened": {"momentum": 0.8, "dampening": 0.5},
    "nesterov": {"momentum": 0.8, "nesterov": True},
}


def data(examples: int = 24, features: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(24)
    X = rng.normal(size=(examples, features)) * np.geomspace(1.5, 0.5, features)
    return X, X @ np.linspace(1.0, -1.0, features) + rng.normal(size=examples)


def problem(**changes) -> LeastSquaresSGD:
    X, y = data()
    given = {"inputs": X, "targets": y, "learning_rate": 0.1, "batch_size": 4}
    return LeastSquaresSGD(**{**given, **changes})


def map_of_second_moments(sgd: LeastSquaresSGD, rate: float) -> np.ndarray:
    # The matrix on vec X, written down from sums over examples.
    X, N, d = sgd.inputs, len(sgd.inputs), sgd.dimension
    H = X.T @ X / N
    factor = 1.0 if sgd.sampling == "with_replacement" else (N - sgd.batch_size) / (N - 1)
    fourth = np.einsum("ni,nj,nk,nl->ijkl", X, X, X, X).reshape(d * d, d * d) / N
    noise = factor / sgd.batch_size * (fourth - np.kron(H, H))
    T = sgd.rule.transition(rate * (H + sgd.ridge * np.eye(d)))
    G = rate * sgd.rule.injection(d)
    weights = np.eye(d, len(T))
    return np.kron(T, T) + np.kron(G, G) @ noise @ np.kron(weights, weights)


# --------------------------------------------------------------------------- simulations
# Replicas are independent; each averages over its own path.  Two million steps a run: the
# smallest error they would see in a variance is 3 %.
REPLICAS, BURN_IN, LENGTH = 4000, 120, 400


def simulated(sgd: LeastSquaresSGD, seed: int) -> tuple[np.ndarray, np.ndarray]:
    # PyTorch's recursion, for all replicas at once.
    rng, B, X, y = np.random.default_rng(seed), sgd.batch_size, sgd.inputs, sgd.targets
    w = np.tile(sgd.minimum, (REPLICAS, 1))
    buffer, second = np.zeros_like(w), np.zeros((REPLICAS, len(w.T), len(w.T)))
    for step in range(BURN_IN + LENGTH):
        if sgd.sampling == "with_replacement":
            batch = rng.integers(len(X), size=(REPLICAS, B))
        else:
            batch = rng.random((REPLICAS, len(X))).argpartition(B, axis=1)[:, :B]
        rows = X[batch]
        r = np.einsum("cbi,ci->cb", rows, w) - y[batch]
        g = np.einsum("cbi,cb->ci", rows, r) / B + sgd.ridge * w
        if sgd.momentum:
            buffer = sgd.momentum * buffer + (1 - sgd.dampening) * g
            g = g + sgd.momentum * buffer if sgd.nesterov else buffer
        w = w - sgd.learning_rate * g
        if step >= BURN_IN:
            u = w - sgd.minimum
            second += u[:, :, None] * u[:, None, :] / LENGTH
    return second.mean(axis=0), second.std(axis=0, ddof=1) / np.sqrt(REPLICAS)


def without(sgd: LeastSquaresSGD, *, drift: float, spread: float) -> np.ndarray:
    # The exact equation with a share of H S H, and of all that depends on the state, left out.
    X, N, d = sgd.inputs, len(sgd.inputs), sgd.dimension
    H, A = X.T @ X / N, np.eye(sgd.dimension)
    S = np.zeros((d, d))
    factor = sgd.second_moments.share * sgd.learning_rate**2
    T = A - sgd.learning_rate * (H + sgd.ridge * A)
    C = sgd.about_minimum.noise.at_minimum()
    for _ in range(3000):
        weights = np.einsum("ni,ij,nj->n", X, S, X) * spread
        Q = C + (X.T * weights) @ X / N - drift * spread * H @ S @ H
        S = T @ S @ T + factor * Q
    return S


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0.2},
        {"learning_rate": 0.2, "sampling": "without_replacement", "batch_size": 8},
        {"learning_rate": 0.05, "momentum": 0.8},
        {"learning_rate": 0.06, "momentum": 0.8, "sampling": "without_replacement"},
        {"learning_rate": 0.2, "ridge": 0.3},
        {"learning_rate": 0.08, "momentum": 0.7, "nesterov": True},
    ],
    ids=["with", "without", "momentum", "momentum without", "ridge", "nesterov"],
)
def test_law_of_simulated_runs_is_the_exact_covariance(changes, seed: int) -> None:
    sgd = problem(**changes)
    found, stderr = simulated(sgd, seed)
    gap = np.abs(found - stationary_covariance(sgd).matrix) / stderr
    assert gap.max() < sigmas()
    assert (stderr / found).diagonal().max() < 0.005  # sharp enough to mean something


@pytest.mark.twin
def test_law_of_simulated_runs_rejects_frozen_noise_and_a_missing_term(seed: int) -> None:
    sgd = problem(learning_rate=0.2)
    found, stderr = simulated(sgd, seed)
    assert close(without(sgd, drift=1.0, spread=1.0), stationary_covariance(sgd).matrix, units=2000)
    frozen = stationary_covariance(sgd.near_minimum()).matrix
    assert close(without(sgd, drift=1.0, spread=0.0), frozen, units=2000)
    for wrong in (frozen, without(sgd, drift=0.0, spread=1.0)):
        assert (np.abs(found - wrong) / stderr).max() > 2 * sigmas()


# --------------------------------------------------------------------------- critical rates
@pytest.mark.parametrize("dimension", [1, 2, 7, 12])
@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_exact_critical_rate_of_isotropic_gaussian_inputs(dimension, batch, momentum) -> None:
    sgd = GaussianLeastSquaresSGD(
        covariance=1.7 * np.eye(dimension),
        label_noise=1.0,
        learning_rate=0.1,
        batch_size=batch,
        momentum=momentum,
    )
    # 2 B / (B + d + 1) in units of the inverse curvature, without momentum.
    damping = 1.0 - momentum
    expected = 2 * batch * damping / (1.7 * (batch * damping / (1 + momentum) + dimension + 1))
    assert sgd.critical_learning_rate() == pytest.approx(expected, rel=4e-15)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement"])
@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_spectral_radius_of_the_second_moments_is_one_at_the_critical_rate(
    rule, sampling, ridge
) -> None:
    sgd = problem(sampling=sampling, ridge=ridge, **RULES[rule])
    critical = sgd.critical_learning_rate()

    def radius(rate: float) -> float:
        return float(np.abs(np.linalg.eigvals(map_of_second_moments(sgd, rate))).max())

    assert radius(critical) == pytest.approx(1.0, abs=1e-13)
    assert radius(critical * (1 - 1e-6)) < 1 < radius(critical * (1 + 1e-6))
    # No other crossing below it.
    assert all(radius(share * critical) < 1 for share in np.linspace(0.02, 0.98, 25))


def test_routes_agree_on_the_critical_rate_by_vectors_and_by_all_eigenvalues() -> None:
    X, y = data(40, 12)
    sgd = LeastSquaresSGD(inputs=X, targets=y, learning_rate=0.1, batch_size=2, momentum=0.5)
    # At a given rate, the largest eigenvalue of a symmetric problem; at the critical one it is 1.
    moments = sgd.second_moments
    scale = 1.0 / np.sqrt(moments.stiffness(sgd.critical_learning_rate()))
    columns = []
    for unit in np.eye(144):
        S = scale * unit.reshape(12, 12)
        columns.append((scale * moments.spread(0.5 * (S + S.T))).ravel())
    assert np.linalg.eigvalsh(np.array(columns))[-1] == pytest.approx(1.0, abs=1e-12)


def test_second_moments_are_less_stable_than_the_mean_and_momentum_makes_them_worse() -> None:
    for rule in RULES.values():
        with_, without_ = (
            problem(sampling=way, **rule) for way in ("with_replacement", "without_replacement")
        )
        a, b = with_.stability(), without_.stability()
        assert a.second_moment < b.second_moment < a.mean
        assert (
            a.mean
            == b.mean
            == pytest.approx(with_.near_minimum().critical_learning_rate(), rel=1e-13)
        )
    plain, ball = (problem(**RULES[rule]) for rule in ("plain", "heavy ball"))
    # The mean gains from momentum; the second moment loses.
    assert ball.stability().mean > 1.5 * plain.stability().mean
    assert ball.critical_learning_rate() < 0.6 * plain.critical_learning_rate()


@pytest.mark.parametrize("rule", RULES)
def test_without_noise_the_second_moment_ends_with_the_mean(rule: str) -> None:
    whole = problem(batch_size=24, sampling="without_replacement", **RULES[rule])
    assert whole.critical_learning_rate() == whole.stability().mean
    assert np.abs(stationary_covariance(whole).matrix).max() == 0.0


def test_learning_rates_beyond_each_limit_are_named() -> None:
    limits = problem().stability()
    between = problem(learning_rate=0.5 * (limits.mean + limits.second_moment))
    assert not between.is_stable()
    with pytest.raises(UnstableError, match=r"not below the limit .* of the second moment"):
        stationary_covariance(between)
    beyond = problem(learning_rate=1.1 * limits.mean)
    with pytest.raises(UnstableError, match=r"critical learning rate .* of the mean"):
        stationary_covariance(beyond)
    for sgd in (between, beyond):
        found = stationary_covariance(sgd, throw=False)
        assert found.status is Status.UNSTABLE
        assert np.isnan(found.matrix).all()


# --------------------------------------------------------------------------- the equation
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_exact_equation_of_least_squares_holds_with_its_ridge_term(ridge: float) -> None:
    sgd = problem(ridge=ridge, learning_rate=0.3, sampling="without_replacement")
    X, y = sgd.inputs, sgd.targets
    S = stationary_covariance(sgd).matrix
    N, H, I = len(X), X.T @ X / len(X), np.eye(3)  # noqa: E741 - as in the docstring
    w = np.linalg.solve(H + ridge * I, X.T @ y / N)
    assert close(sgd.minimum, w, units=64)
    r = y - X @ w
    assert close(sgd.residuals, r, units=64)
    weights = np.einsum("ni,ij,nj->n", X, S, X) + r**2
    Q = (X.T * weights) @ X / N - H @ S @ H - ridge**2 * np.outer(w, w)
    Q *= (N - 4) / (N - 1) / 4
    T = I - 0.3 * (H + ridge * I)
    assert close(T @ S @ T + 0.09 * Q, S, units=64)
    assert sgd.excess_loss(S) == pytest.approx(0.5 * np.trace((H + ridge * I) @ S), rel=1e-14)


def test_order_one_in_the_batch_is_what_freezing_the_noise_costs() -> None:
    def missed(batch: int) -> float:
        sgd = problem(batch_size=batch, learning_rate=0.3)
        exact = stationary_covariance(sgd).matrix
        frozen = stationary_covariance(sgd.near_minimum()).matrix
        return float(np.linalg.norm(exact - frozen) / np.linalg.norm(exact))

    table = observed_order(missed, [4, 8, 16, 32, 64, 128], 1.0)
    assert table.agrees(), table


def test_order_one_in_the_rate_is_what_freezing_the_noise_costs() -> None:
    def missed(halvings: int) -> float:
        sgd = problem(learning_rate=0.2 / halvings, momentum=0.5)
        exact = stationary_covariance(sgd).matrix
        frozen = stationary_covariance(sgd.near_minimum()).matrix
        # The share that near_minimum() names, here within a factor of two.
        share = sgd.learning_rate * np.trace(sgd.curvature) / (2 * 4 * 0.5)
        relative = float(np.linalg.norm(exact - frozen) / np.linalg.norm(exact))
        assert 0.4 * share < relative < 2.0 * share
        return relative

    table = observed_order(missed, [4, 8, 16, 32, 64], 1.0)
    assert table.agrees(), table


@pytest.mark.parametrize(
    ("momentum", "rate", "frozen", "flow"),
    [
        (0.0, 0.01, -0.3, -0.5),
        (0.0, 0.05, -1.6, -2.7),
        (0.0, 0.2, -7.0, -11.1),
        (0.0, 0.6, -25.9, -36.4),
        (0.8, 0.01, -1.6, -1.7),
        (0.8, 0.05, -8.2, -8.8),
        (0.8, 0.2, -34.9, -36.5),
        (0.8, 0.4, -76.6, -77.7),
    ],
)
def test_hierarchy_of_laws_errs_by_the_numbers_of_the_page(momentum, rate, frozen, flow) -> None:
    # Per cent of the variance that docs/mathematics/_sgd/state-dependent-noise.md tabulates.
    sgd = GaussianLeastSquaresSGD(
        covariance=np.diag(np.geomspace(1.0, 0.1, 5)),
        label_noise=1.0,
        learning_rate=rate,
        batch_size=4,
        momentum=momentum,
    )
    exact = stationary_covariance(sgd).matrix.trace()
    near = sgd.near_minimum()
    for law, percent in ((near, frozen), (near.flow(), flow)):
        missed = stationary_covariance(law).matrix.trace() / exact - 1
        assert 100 * missed == pytest.approx(percent, abs=0.051)
    # C is proportional to H here: the flow is the isotropic law eta s^2 / (2 B (1 - mu)).
    isotropic = 5 * rate / (8 * (1 - momentum))
    assert stationary_covariance(near.flow()).matrix.trace() == pytest.approx(isotropic)


def test_interpolated_data_leave_no_noise() -> None:
    X, _ = data()
    sgd = problem(targets=X @ [1.0, 2.0, -1.0], learning_rate=0.3)
    assert np.abs(sgd.residuals).max() == 0.0
    found = stationary_covariance(sgd)
    assert found.status is Status.SUCCESS
    assert np.abs(found.matrix).max() == found.residual == found.error_estimate == 0.0
    # Stable only below the same limit: the noise on the way there is what it is.
    assert sgd.critical_learning_rate() == pytest.approx(problem().critical_learning_rate())


def test_more_weights_than_examples_leave_directions_unseen() -> None:
    X, y = data(4, 7)
    sgd = LeastSquaresSGD(inputs=X, targets=y, learning_rate=0.05, batch_size=2)
    unseen = sgd.unseen
    assert unseen.shape == (7, 3)
    assert np.abs(X @ unseen).max() < 1e-14
    assert np.abs(unseen.T @ sgd.minimum).max() < 1e-14
    assert sgd.is_stable()
    assert np.abs(stationary_covariance(sgd).matrix).max() == 0.0
    # A ridge gives each direction a minimum, and the data a residual.
    ridged = replace(sgd, ridge=0.1)
    assert ridged.unseen.shape == (7, 0)
    found = stationary_covariance(ridged)
    assert found.matrix.trace() > 0
    assert np.abs(unseen.T @ found.matrix).max() < 1e-14 * found.matrix.trace()
    assert close(found.matrix, stationary_covariance(ridged, method="vectorised").matrix, units=512)


def test_more_weights_than_directions_leave_noise_in_those_seen() -> None:
    X, y = data(24, 2)
    wide = X @ np.array([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]])
    sgd = LeastSquaresSGD(inputs=wide, targets=y, learning_rate=0.1, batch_size=4, momentum=0.3)
    S = stationary_covariance(sgd).matrix
    assert sgd.unseen.shape == (3, 1)
    assert np.abs(S @ sgd.unseen).max() < 1e-14 * S.trace()
    # Predictions do not depend on how the weights are written.
    U = np.linalg.qr(sgd.unseen, mode="complete")[0][:, 1:]
    small = LeastSquaresSGD(
        inputs=wide @ U, targets=y, learning_rate=0.1, batch_size=4, momentum=0.3
    )
    assert close(U.T @ S @ U, stationary_covariance(small).matrix, units=512)


def test_nothing_to_learn_from_moves_nothing() -> None:
    sgd = LeastSquaresSGD(inputs=[[0.0], [0.0]], targets=[1.0, 2.0], learning_rate=9, batch_size=1)
    assert sgd.critical_learning_rate() == float("inf")
    assert stationary_covariance(sgd).matrix.tolist() == [[0.0]]
    assert sgd.unseen.shape == (1, 1)


def test_scaled_data_scale_rates_and_covariances() -> None:
    X, y = data()
    one = problem(learning_rate=0.3)
    for size in (1e-50, 1e-6, 1e6, 1e50):
        two = problem(inputs=size * X, targets=y, learning_rate=0.3 / size**2)
        assert two.critical_learning_rate() == pytest.approx(
            one.critical_learning_rate() / size**2, rel=1e-12
        )
        a, b = (stationary_covariance(sgd).matrix for sgd in (one, two))
        assert close(size**2 * b, a, units=512)
        momentum = [
            replace(sgd, momentum=0.5, learning_rate=sgd.learning_rate / 2) for sgd in (one, two)
        ]
        a, b = (stationary_covariance(sgd).matrix for sgd in momentum)
        assert close(size**2 * b, a, units=512)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    share=st.floats(0.05, 0.95),
    rule=st.sampled_from(sorted(RULES)),
    ridge=st.sampled_from([0.0, 0.1]),
)
def test_keeps_positivity_symmetry_and_arguments(seed, share, rule, ridge) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(9, 3)), rng.normal(size=9)
    kept = X.copy(), y.copy()
    sgd = LeastSquaresSGD(
        inputs=X, targets=y, learning_rate=1.0, batch_size=2, ridge=ridge, **RULES[rule]
    )
    sgd = replace(sgd, learning_rate=share * sgd.critical_learning_rate())
    found = stationary_covariance(sgd)
    np.testing.assert_array_equal(found.matrix, found.matrix.T)
    assert np.linalg.eigvalsh(found.state_matrix)[0] >= -found.error_estimate
    # Noise that grows with the state is more noise than that of the minimum.
    more = found.matrix - stationary_covariance(sgd.near_minimum()).matrix
    assert np.linalg.eigvalsh(more)[0] >= -found.error_estimate
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])


# --------------------------------------------------------------------------- Gaussian inputs
def test_exact_closed_form_of_gaussian_inputs_with_a_ridge() -> None:
    # Elementwise but for the number t = Tr(A S), which solves a linear equation of its own.
    rng = np.random.default_rng(3)
    root = rng.normal(size=(4, 4))
    A, B, s, ridge, mu, truth = root @ root.T / 4, 3, 0.7, 0.2, 0.6, rng.normal(size=4)
    sgd = GaussianLeastSquaresSGD(
        covariance=A,
        label_noise=s,
        weights=truth,
        ridge=ridge,
        learning_rate=0.05,
        batch_size=B,
        momentum=mu,
    )
    a, U = np.linalg.eigh(A)
    h, gap = a + ridge, ridge / (a + ridge) * (U.T @ truth)
    C = np.diag((s**2 + a @ gap**2) * a) + np.outer(a * gap, a * gap)
    D = sgd.second_moments.stiffness(0.05) - np.multiply.outer(a, a) / B
    t = np.sum(a * np.diag(C / B / D)) / (1 - np.sum(a**2 / np.diag(D)) / B)
    S = (C + t * np.diag(a)) / B / D
    assert close(stationary_covariance(sgd).matrix, U @ S @ U.T, units=256)
    assert close(U.T @ sgd.minimum, a / h * (U.T @ truth), units=64)


def test_gaussian_inputs_that_miss_a_direction() -> None:
    sgd = GaussianLeastSquaresSGD(
        covariance=np.diag([1.0, 0.0]),
        label_noise=1.0,
        weights=[1.0, 5.0],
        learning_rate=0.1,
        batch_size=2,
    )
    assert sgd.minimum.tolist() == [1.0, 0.0]
    S = stationary_covariance(sgd).matrix
    assert S[0, 0] == pytest.approx(0.1 / (2 * 2 - 0.1 * (2 + 2)), rel=1e-14)
    assert np.abs(S[1]).max() == 0.0


# --------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"inputs": [1.0, 2.0]}, ShapeError, "`inputs`"),
        ({"inputs": np.empty((0, 3))}, ShapeError, "at least one example"),
        ({"targets": np.ones(5)}, ShapeError, "one number per example"),
        ({"targets": np.ones((24, 2))}, ShapeError, "each is a problem of its own"),
        ({"targets": np.full(24, np.nan)}, NotFiniteError, "`targets`"),
        ({"ridge": -0.1}, OutOfRangeError, "`ridge`"),
        ({"learning_rate": 0.0}, OutOfRangeError, "`learning_rate`"),
        ({"learning_rate": "fast"}, InputError, "`learning_rate`"),
        ({"batch_size": 0}, OutOfRangeError, "at least 1"),
        ({"batch_size": 25, "sampling": "without_replacement"}, SamplingError, "24 examples"),
        ({"sampling": "sorted"}, InputError, "`sampling`"),
        ({"momentum": 1.0}, OutOfRangeError, "fraction of the velocity"),
        ({"nesterov": True}, InputError, "needs momentum"),
        ({"preconditioner": [1.0, 1.0]}, ShapeError, "`preconditioner`"),
        ({"preconditioner": [1.0, 0.0, 1.0]}, OutOfRangeError, "leave it out of the weights"),
    ],
)
def test_refuses_what_is_no_least_squares_problem(changes, error, words) -> None:
    with pytest.raises(error, match=words):
        problem(**changes)


def test_refuses_what_are_no_gaussian_inputs() -> None:
    given = {"covariance": np.eye(2), "label_noise": 1.0, "learning_rate": 0.1, "batch_size": 1}
    for changes, error, words in [
        ({"covariance": np.diag([1.0, -1.0])}, IndefiniteError, "`covariance`"),
        ({"label_noise": -1.0}, OutOfRangeError, "`label_noise`"),
        ({"weights": [1.0]}, ShapeError, "`weights`"),
        ({"sampling": "without_replacement"}, SamplingError, "drawn afresh"),
    ]:
        with pytest.raises(error, match=words):
            GaussianLeastSquaresSGD(**{**given, **changes})


def test_paths_are_known_near_the_minimum_only() -> None:
    with pytest.raises(InputError, match="near_minimum"):
        simulate(problem(), [0, 1], chains=2, rng=1)


def test_shuffled_epochs_are_known_near_the_minimum_only() -> None:
    sgd = problem(sampling="shuffled")
    for ask in (sgd.critical_learning_rate, sgd.stability, lambda: stationary_covariance(sgd)):
        with pytest.raises(UnsupportedError, match="near_minimum"):
            ask()
    assert stationary_covariance(sgd.near_minimum()).status is Status.SUCCESS


@pytest.mark.parametrize("inputs", [1e-50, 1.0, 1e50])
@pytest.mark.parametrize("targets", [1e-55, 1.0, 1e55])
def test_exact_covariance_scales_with_the_data(inputs: float, targets: float) -> None:
    X, y = data()
    rate = {"learning_rate": 0.05, "batch_size": 2, "momentum": 0.5}
    plain = stationary_covariance(LeastSquaresSGD(inputs=X, targets=y, **rate)).matrix
    rate["learning_rate"] /= inputs**2
    if not 1e-60 < inputs * targets < 1e60:
        with pytest.raises(OutOfRangeError, match="other units of the loss"):
            stationary_covariance(LeastSquaresSGD(inputs=inputs * X, targets=targets * y, **rate))
        return
    scaled = stationary_covariance(
        LeastSquaresSGD(inputs=inputs * X, targets=targets * y, **rate)
    ).matrix
    ratio = targets / inputs
    assert np.abs(scaled / ratio / ratio - plain).max() < 1e-12 * np.abs(plain).max()


@pytest.mark.parametrize("targets", [1e-150, 1e150, 1e250])
def test_refuses_residuals_whose_squares_are_no_numbers(targets: float) -> None:
    X, y = data()
    problem = LeastSquaresSGD(inputs=X, targets=targets * y, learning_rate=0.05, batch_size=2)
    with pytest.raises(OutOfRangeError, match="for least squares of the targets"):
        stationary_covariance(problem)


def test_refuses_more_steps_than_can_be_taken() -> None:
    X, y = data()
    problem = LeastSquaresSGD(inputs=X, targets=y, learning_rate=0.05, batch_size=2)
    with pytest.raises(OutOfRangeError, match="each step is taken"):
        covariance_at(problem, [2.0**63])


@pytest.mark.parametrize("rate", [1e-200, 1e200])
def test_refuses_rates_whose_squares_are_no_numbers(rate: float) -> None:
    X, y = data()
    with pytest.raises(OutOfRangeError, match="choose other units of weight"):
        LeastSquaresSGD(inputs=X, targets=y, learning_rate=rate, batch_size=2)


def test_refuses_transients_of_shuffled_epochs_with_the_way_out() -> None:
    X, y = data()
    problem = LeastSquaresSGD(
        inputs=X, targets=y, learning_rate=0.05, batch_size=2, sampling="shuffled"
    )
    with pytest.raises(UnsupportedError, match=r"ask near_minimum\(\)"):
        covariance_at(problem, [1])
