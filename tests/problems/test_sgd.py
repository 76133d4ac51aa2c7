"""SGD near a minimum: exact laws with momentum, the small-rate limit, the edge of stability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.errors import (
    IndefiniteError,
    InputError,
    OutOfRangeError,
    SamplingError,
    ShapeError,
    UnstableError,
    UnsupportedError,
)
from fracsde.lyapunov.sgd_modes import step_modes
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.problems.subordinated import SubordinatedOU
from fracsde.stationary import stationary_covariance
from fracsde.status import Status
from tests.support.exact import close
from tests.support.orders import observed_order

CURVATURES = np.array([1.0, 0.4, 0.05])
TURN = np.linalg.qr(np.array([[1.0, 0.2, 0.3], [0.5, 2.0, 0.1], [0.3, 0.7, 1.0]]))[0]
HESSIAN = (TURN * CURVATURES) @ TURN.T
NOISE = np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.1], [0.2, 0.1, 0.5]])


def sgd(**changes) -> SGDNearMinimum:
    given = {
        "hessian": HESSIAN,
        "gradient_noise": NOISE,
        "learning_rate": 0.3,
        "batch_size": 4,
        "momentum": 0.8,
    }
    return SGDNearMinimum(**{**given, **changes})


def closed_form(problem: SGDNearMinimum, *, sign: float = 1.0) -> np.ndarray:
    """Stationary covariance with momentum for any noise, entry by entry in the eigenbasis."""
    h, V = np.linalg.eigh(problem.hessian)
    h = h + problem.weight_decay
    eta, mu = problem.learning_rate, problem.momentum
    total, apart = np.add.outer(h, h), np.subtract.outer(h, h)
    shape = sign * mu * apart**2 - (1 - mu) ** 2 * np.multiply.outer(h, h)
    below = (1 - mu) * eta * total + eta**2 * shape / (1 - mu**2)
    Q = V.T @ problem.batch_noise @ V
    return V @ (eta**2 * Q / below) @ V.T


CASES = [
    {"momentum": 0.0},
    {"momentum": 0.5},
    {"momentum": 0.95, "learning_rate": 0.05},
    {"learning_rate": 3.5},
    {"weight_decay": 0.1},
    {"sampling": "without_replacement", "dataset_size": 10},
]


@pytest.mark.parametrize("changes", CASES)
def test_exact_map_equals_the_closed_form_for_noise_that_does_not_commute(changes) -> None:
    problem = sgd(**changes)
    found = stationary_covariance(problem)
    expected = closed_form(problem)
    assert found.error_estimate < 1e-10 * np.linalg.norm(expected, 2)
    np.testing.assert_allclose(found.matrix, expected, rtol=0, atol=found.error_estimate + 1e-14)


@pytest.mark.twin
def test_closed_form_rejects_the_wrong_sign_of_its_commutator() -> None:
    problem = sgd()
    found = stationary_covariance(problem)
    wrong = closed_form(problem, sign=-1.0)
    assert np.abs(found.matrix - wrong).max() > 1e-3 * np.abs(wrong).max()


def test_exact_velocity_variance_of_one_mode() -> None:
    h, c, eta, mu, batch = 0.7, 2.0, 0.9, 0.6, 3
    problem = SGDNearMinimum(
        hessian=h, gradient_noise=c, learning_rate=eta, batch_size=batch, momentum=mu
    )
    state = stationary_covariance(problem).state_matrix
    below = (1 - mu) * (2 * (1 + mu) - eta * h)
    assert state[0, 0] == pytest.approx(eta * (1 + mu) * c / batch / (h * below), rel=1e-14)
    assert state[1, 1] == pytest.approx(2 * eta**2 * c / batch / below, rel=1e-14)


def test_limit_of_the_map_at_small_rates_is_the_flow_at_order_one() -> None:
    def error(n: int) -> float:
        problem = sgd(learning_rate=0.4 / n)
        step, flow = stationary_covariance(problem), stationary_covariance(problem.flow())
        return float(np.linalg.norm(step.matrix - flow.matrix) / np.linalg.norm(flow.matrix))

    table = observed_order(error, [16, 32, 64, 128, 256], expected=1.0)
    assert table.agrees(), str(table)


@pytest.mark.twin
def test_limit_rejects_a_flow_with_noise_one_per_cent_too_large() -> None:
    def error(n: int) -> float:
        problem = sgd(learning_rate=0.4 / n)
        step = stationary_covariance(problem).matrix
        flow = 1.01 * stationary_covariance(problem.flow()).matrix
        return float(np.linalg.norm(step - flow) / np.linalg.norm(flow))

    table = observed_order(error, [16, 32, 64, 128, 256], expected=1.0)
    assert not table.agrees(), str(table)


@pytest.mark.twin
@pytest.mark.parametrize(("rate", "momentum", "factor"), [(0.1, 0.9, 5.6), (0.01, 0.99, 49.0)])
def test_rescaling_by_momentum_alone_fails_off_the_diagonal(rate, momentum, factor) -> None:
    # Mandt, Hoffman and Blei, equation 25: the flow without momentum at rate / (1 - momentum).
    # Its correlation is 0.158 whatever the rate; the map's is smaller by `factor`.
    problem = SGDNearMinimum(
        hessian=np.diag([1.0, 0.01]),
        gradient_noise=[[1.0, 0.08], [0.08, 0.01]],
        learning_rate=rate,
        batch_size=1,
        momentum=momentum,
    )
    exact = stationary_covariance(problem).matrix
    rescaled = stationary_covariance(problem.flow()).matrix

    def correlation(S):
        return S[0, 1] / np.sqrt(S[0, 0] * S[1, 1])

    assert correlation(rescaled) == pytest.approx(0.158, abs=1e-3)
    assert rescaled[0, 1] / exact[0, 1] == pytest.approx(factor, rel=0.02)
    if rate == 0.1:
        # 0.0279 in the underdamped flow; the map adds a correction of the size of the rate.
        assert correlation(exact) == pytest.approx(0.0279, rel=0.05)
    np.testing.assert_allclose(np.diag(exact), np.diag(rescaled), rtol=0.1)


def test_weight_decay_is_curvature() -> None:
    one = stationary_covariance(sgd(weight_decay=0.2))
    two = stationary_covariance(sgd(hessian=HESSIAN + 0.2 * np.eye(3)))
    assert close(one.matrix, two.matrix, units=100)


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_scalar_preconditioner_is_a_learning_rate(momentum: float) -> None:
    scaled = sgd(preconditioner=2.0, momentum=momentum)
    faster = sgd(learning_rate=0.6, momentum=momentum)
    for one, two in [(scaled.map(), faster.map()), (scaled.flow(), faster.flow())]:
        a, b = stationary_covariance(one).matrix, stationary_covariance(two).matrix
        assert close(a, b, units=200)
    assert scaled.critical_learning_rate() == pytest.approx(faster.critical_learning_rate() / 2)


@pytest.mark.parametrize("rule", [{"momentum": 0.0}, {}, {"nesterov": True}, {"dampening": 0.4}])
@pytest.mark.parametrize("preconditioner", [[1.0, 2.0, 0.5], NOISE])
def test_routes_agree_on_preconditioned_steps_by_modes_and_by_schur_form(
    rule, preconditioner
) -> None:
    problem = sgd(**rule, preconditioner=preconditioner)
    one = stationary_covariance(problem)
    two = stationary_covariance(problem, method="bartels_stewart")
    assert (one.method, two.method) == ("eigen", "bartels_stewart")
    scale = np.abs(two.state_matrix).max()
    np.testing.assert_allclose(one.state_matrix, two.state_matrix, rtol=0, atol=1e-12 * scale)
    gap = np.linalg.norm(one.state_matrix - two.state_matrix, 2)
    assert gap <= one.error_estimate + two.error_estimate
    other = stationary_covariance(sgd(**rule, preconditioner=1.01 * np.array(preconditioner)))
    assert np.abs(other.state_matrix - two.state_matrix).max() > 1e-3 * scale


def test_batches_without_replacement_are_quieter_by_the_finite_factor() -> None:
    whole = sgd(sampling="without_replacement", dataset_size=10, batch_size=4)
    np.testing.assert_allclose(whole.batch_noise, NOISE / 4 * (10 - 4) / (10 - 1), rtol=1e-15)
    full = sgd(sampling="without_replacement", dataset_size=4, batch_size=4)
    assert np.abs(stationary_covariance(full).matrix).max() == 0.0
    alone = sgd(sampling="without_replacement", dataset_size=1, batch_size=1)
    assert np.abs(alone.batch_noise).max() == 0.0


@pytest.mark.parametrize(
    "rule",
    [
        {"momentum": 0.0},
        {"momentum": 0.5},
        {"momentum": 0.99},
        {"momentum": 0.5, "nesterov": True},
        {"momentum": 0.99, "nesterov": True},
        {"momentum": 0.7, "dampening": 0.4},
    ],
)
@pytest.mark.parametrize("preconditioner", [None, [1.0, 2.0, 0.5], NOISE])
def test_spectral_radius_crosses_one_at_the_critical_rate(rule, preconditioner) -> None:
    problem = sgd(**rule, preconditioner=preconditioner, weight_decay=0.03)
    critical = problem.critical_learning_rate()

    def radius(factor: float) -> float:
        at = sgd(
            **rule,
            preconditioner=preconditioner,
            weight_decay=0.03,
            learning_rate=factor * critical,
        )
        assert at.is_stable() == (factor < 1)
        return float(np.abs(np.linalg.eigvals(at.map().transition)).max())

    assert radius(1 - 1e-3) < 1 < radius(1 + 1e-3)


def test_flat_directions_are_not_stable_and_no_curvature_has_no_limit() -> None:
    flat = sgd(hessian=np.diag([1.0, 0.5, 0.0]))
    assert not flat.is_stable()
    assert sgd(hessian=np.diag([1.0, 0.5, 0.0]), weight_decay=0.1).is_stable()
    assert sgd(hessian=np.zeros((3, 3))).critical_learning_rate() == float("inf")


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_directions_flat_to_rounding_are_flat(momentum: float, seed: int) -> None:
    for B in np.random.default_rng(seed).normal(size=(20, 4, 2)):
        problem = SGDNearMinimum(
            hessian=B @ B.T,
            gradient_noise=np.eye(4),
            learning_rate=0.01,
            batch_size=1,
            momentum=momentum,
        )
        assert not problem.is_stable()
        for process in (problem, problem.flow()):
            assert stationary_covariance(process, throw=False).status is Status.MARGINAL


def test_mean_of_flow_and_map_is_the_minimum() -> None:
    problem = sgd(minimum=[1.0, 2.0, 3.0])
    assert problem.flow().mean.tolist() == [1.0, 2.0, 3.0]
    assert problem.map().mean.tolist() == [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]
    assert problem.map().observed.tolist() == [0, 1, 2]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    fraction=st.floats(0.01, 0.99),
    momentum=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_keeps_semidefiniteness_symmetry_and_arguments(seed, fraction, momentum) -> None:
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(4, 4)), rng.normal(size=(4, 2))
    H, C = A @ A.T + 0.1 * np.eye(4), B @ B.T
    kept = H.copy(), C.copy()
    critical = 2 * (1 + momentum) / np.linalg.eigvalsh(H)[-1]
    problem = SGDNearMinimum(
        hessian=H,
        gradient_noise=C,
        learning_rate=fraction * critical,
        batch_size=2,
        momentum=momentum,
    )
    for process in (problem, problem.flow()):
        found = stationary_covariance(process)
        np.testing.assert_array_equal(found.matrix, found.matrix.T)
        assert np.linalg.eigvalsh(found.state_matrix)[0] >= -found.error_estimate
    np.testing.assert_array_equal(H, kept[0])
    np.testing.assert_array_equal(C, kept[1])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"hessian": np.diag([1.0, -0.1, 1.0])}, IndefiniteError, "raise the weight decay"),
        (
            {"hessian": np.diag([1.0, -0.5, -0.1]), "weight_decay": 0.05},
            IndefiniteError,
            r"2 of 3 curvatures are negative, -0.45, -0.05 \(number 0, 1 among .* above 0.5",
        ),
        ({"nesterov": True, "momentum": 0.0}, InputError, "needs momentum"),
        ({"nesterov": True, "dampening": 0.1}, InputError, "no dampening"),
        ({"dampening": -0.1}, OutOfRangeError, "`dampening`"),
        ({"drop_last": True}, SamplingError, "needs sampling='shuffled'"),
        ({"drop_last": 1}, InputError, "True or False"),
        ({"learning_rate": 0.0}, OutOfRangeError, "`learning_rate`"),
        ({"momentum": 1.0}, OutOfRangeError, "fraction of the velocity"),
        ({"weight_decay": -0.1}, OutOfRangeError, "`weight_decay`"),
        ({"batch_size": 0}, OutOfRangeError, "at least 1"),
        ({"sampling": "without_replacement"}, SamplingError, "`dataset_size` is needed"),
        ({"sampling": "shuffled", "dataset_size": 3}, SamplingError, "must not exceed the 3"),
        ({"preconditioner": [1.0, 2.0]}, ShapeError, "`preconditioner`"),
        ({"preconditioner": [1.0, 2.0, -1.0]}, OutOfRangeError, "rates are positive"),
    ],
)
def test_refuses_what_is_not_sgd_near_a_minimum(changes, error, words) -> None:
    with pytest.raises(error, match=words):
        sgd(**changes)


def test_refuses_to_predict_shuffled_epochs_as_independent_batches() -> None:
    problem = sgd(sampling="shuffled", dataset_size=100)
    for verb in (problem.map, problem.flow):
        with pytest.raises(UnsupportedError, match="the noise of an epoch sums to zero"):
            verb()
    with pytest.raises(UnsupportedError, match="has no epochs: its batches are independent"):
        sgd().epochs()


def test_a_negative_curvature_lifted_by_weight_decay_is_accepted() -> None:
    lifted = sgd(hessian=np.diag([1.0, 0.5, -0.1]), weight_decay=0.2)
    assert lifted.is_stable()
    same = sgd(hessian=np.diag([1.2, 0.7, 0.1]))
    one, two = stationary_covariance(lifted).matrix, stationary_covariance(same).matrix
    assert close(one, two, units=200)


def test_limits_say_which_is_broken_and_what_to_do() -> None:
    kept = sgd().stability()
    assert kept.broken == ()
    assert kept.flow == float("inf")
    assert kept.mean == kept.second_moment == sgd().critical_learning_rate()
    fast = sgd(learning_rate=4.0)
    assert fast.stability().broken == ("mean", "second_moment")
    assert "BROKEN" in str(fast.stability())
    with pytest.raises(
        UnstableError, match=r"not below the critical learning rate 3.6 of the mean"
    ):
        stationary_covariance(fast)
    flat = sgd(hessian=np.diag([1.0, 0.0, 0.0]))
    assert flat.stability().broken == ("flow",)
    words = r"2 directions is zero to rounding \(number 0, 1 .* raise the weight decay"
    for process in (flat, flat.flow(), flat.flow(limit="underdamped")):
        with pytest.raises(UnstableError, match=words):
            stationary_covariance(process)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize(
    "preconditioner", [[1.0, 0.0, 2.0], np.diag([0.0, 0.0, 1.0]), np.zeros((3, 3))]
)
def test_directions_that_a_singular_preconditioner_freezes_are_named(
    momentum, preconditioner
) -> None:
    problem = sgd(preconditioner=preconditioner, momentum=momentum)
    diagonal = preconditioner if np.ndim(preconditioner) == 1 else np.diag(preconditioner)
    assert problem.stability().frozen == 3 - np.count_nonzero(diagonal)
    assert not problem.is_stable()
    for process in (problem, problem.flow()):
        with pytest.raises(UnstableError, match="never move from where they start"):
            stationary_covariance(process)


def test_dampening_is_a_learning_rate_with_momentum_and_nothing_without() -> None:
    damped = stationary_covariance(sgd(dampening=0.4)).matrix
    slower = stationary_covariance(sgd(learning_rate=0.6 * 0.3)).matrix
    assert close(damped, slower, units=50)
    alone = stationary_covariance(sgd(momentum=0.0, dampening=0.4)).matrix
    assert close(alone, stationary_covariance(sgd(momentum=0.0)).matrix, units=0)


def shape_error(limit: str, n: int, *, factor: float = 1.0) -> float:
    """Distance of an inertial flow from the map, the rate in proportion to ``(1 - mu)^2``."""
    loss = 0.4 / n
    problem = sgd(momentum=1.0 - loss, learning_rate=2.0 * loss**2)
    exact = stationary_covariance(problem).matrix
    flow = factor * stationary_covariance(problem.flow(limit=limit)).matrix
    return float(np.linalg.norm(flow - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize(("limit", "order"), [("underdamped", 1.0), ("kunin", 2.0)])
def test_order_of_the_flows_with_inertia_as_momentum_tends_to_one(limit, order) -> None:
    table = observed_order(lambda n: shape_error(limit, n), [4, 8, 16, 32, 64], expected=order)
    assert table.agrees(), str(table)


@pytest.mark.twin
@pytest.mark.parametrize(("limit", "order"), [("underdamped", 1.0), ("kunin", 2.0)])
def test_order_rejects_a_flow_with_noise_one_per_cent_too_large(limit, order) -> None:
    table = observed_order(
        lambda n: shape_error(limit, n, factor=1.01), [4, 8, 16, 32, 64], expected=order
    )
    assert not table.agrees(), str(table)


def test_limit_of_momentum_to_one_is_not_the_overdamped_flow() -> None:
    near, nearer = (shape_error("overdamped", n) for n in (64, 256))
    assert nearer == pytest.approx(near, rel=0.01)
    assert nearer > 0.04


@pytest.mark.parametrize("limit", ["underdamped", "kunin"])
def test_routes_agree_dense_lyapunov_and_the_commutator_for_flows_with_inertia(limit) -> None:
    problem = sgd(momentum=0.9, learning_rate=0.02, preconditioner=NOISE)
    mass = 1.0 if limit == "underdamped" else 0.95
    modes = step_modes(
        problem.rule, 0.02 * HESSIAN, 0.02**2 * problem.batch_noise, problem.preconditioner
    )
    flow = problem.flow(limit=limit)
    found = stationary_covariance(flow)
    assert found.matrix.shape == (3, 3)
    np.testing.assert_allclose(found.matrix, modes.flow_covariance(mass), rtol=1e-12, atol=0)
    wrong = modes.flow_covariance(0.0)  # without the commutator: the twin
    assert np.abs(found.matrix - wrong).max() > 0.01 * np.abs(wrong).max()
    assert flow.mean.tolist() == [0.0] * 6


def test_variances_of_the_flows_agree_where_noise_and_curvature_commute() -> None:
    problem = sgd(gradient_noise=HESSIAN @ HESSIAN, momentum=0.9, learning_rate=0.02)
    one, two, three = (
        stationary_covariance(problem.flow(limit=limit)).matrix
        for limit in ("overdamped", "underdamped", "kunin")
    )
    np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(one, three, rtol=1e-12, atol=1e-16)


def test_refuses_flows_it_does_not_have() -> None:
    with pytest.raises(InputError, match="`limit` must be one of 'overdamped'"):
        sgd().flow(limit="ballistic")
    with pytest.raises(UnsupportedError, match="look-ahead adds friction"):
        sgd(nesterov=True).flow(limit="kunin")
    assert stationary_covariance(sgd(nesterov=True).flow(limit="underdamped")).status.ok
    with pytest.raises(UnsupportedError, match=r"observes 3 of 6 coordinates; .* without inertia"):
        SubordinatedOU(base=sgd().flow(limit="kunin"), alpha=0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1e200},
        {"learning_rate": 1e100, "gradient_noise": [[1e150]]},
        {"learning_rate": 1e149, "hessian": [[1e160]]},
        {"preconditioner": 1e155},
    ],
)
def test_refuses_steps_beyond_the_largest_float(changes: dict[str, object]) -> None:
    run = {"hessian": [[1.0]], "gradient_noise": [[1.0]], "learning_rate": 0.1, "batch_size": 1}
    with pytest.raises(OutOfRangeError, match="choose other units"):
        SGDNearMinimum(**{**run, **changes})


@pytest.mark.parametrize("sampling", ["with_replacement", "shuffled"])
def test_refuses_steps_too_small_to_be_seen_with_the_share(sampling: str) -> None:
    run = SGDNearMinimum(
        hessian=np.diag([1.0, 1e-14]),
        gradient_noise=np.eye(2),
        learning_rate=0.1,
        batch_size=2,
        dataset_size=8,
        sampling=sampling,
    )
    with pytest.raises(UnstableError, match="loses the share 1e-15 of its deviation"):
        stationary_covariance(run)
