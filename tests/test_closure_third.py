"""The closure with third cumulants, where its answer, or the law itself, is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import binom

from fracsde._closure import state as states
from fracsde._closure.fourth import Along
from fracsde._closure.linear import stationary_weights
from fracsde._closure.third import Bends, skewness
from fracsde.closure import examine_minimum, gaussian_closure
from fracsde.errors import ComputationError, InputError
from fracsde.problems.stochastic_loss import StochasticLoss
from fracsde.status import Status
from fracsde.transients import autocovariance
from tests.support.laws import seed_of
from tests.support.orders import observed_order
from tests.support.wells import (
    RATE,
    SHARES,
    Chebyshev,
    Z,
    averages,
    close,
    exact,
    pairs,
    rows_of,
    well,
)

# The linear algebra, against the equations of the docstring without modes.


UNSEEN = Along(**dict.fromkeys(Along.__dataclass_fields__, np.empty(0)))


def symmetric(A: np.ndarray) -> np.ndarray:
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    return sum(A.transpose(order) for order in orders) / 6.0


def three(A: np.ndarray) -> np.ndarray:
    """Sum over the three places of the last index; symmetric in the others."""
    return A + A.transpose(0, 2, 1) + A.transpose(2, 1, 0)


def dense(H, N, T, D, K, momentum):
    """Return change of the covariance, third cumulants and E[r x^T], from sums over all steps."""
    eye = np.eye(len(H))
    M = np.block([[eye - RATE * H, momentum * eye], [-RATE * H, momentum * eye]])
    F = np.vstack([eye, eye])
    C = M @ solve_discrete_lyapunov(M, RATE**2 * F @ N @ F.T)[:, : len(H)]
    S = -RATE * three(np.einsum("ai,bj,kij,ck->abc", C, C, T, F))
    S += RATE**2 * three(np.einsum("ai,bj,ijl,cl->abc", F, F, D, C))
    S -= RATE**3 * np.einsum("ai,bj,ck,ijk->abc", F, F, F, K)
    kappa, power = S, M
    for _ in range(12):  # 2^12 steps, doubled
        kappa = kappa + np.einsum("ai,bj,ck,ijk->abc", power, power, power, kappa, optimize=True)
        power = power @ power
    w = slice(0, len(H))
    X = 0.5 * np.einsum("ikl,klj->ij", T, kappa[w, w])
    pushed = F @ X @ M.T
    return solve_discrete_lyapunov(M, -RATE * (pushed + pushed.T))[w, w], kappa[w, w, w], X


@pytest.fixture(scope="module")
def tensors():
    rng = np.random.default_rng(seed_of("tensors"))
    size = 5
    A, B = rng.normal(size=(2, size, size))
    D = rng.normal(size=(size,) * 3)
    return (
        A @ A.T / size + 0.3 * np.eye(size),
        B @ B.T,
        symmetric(rng.normal(size=(size,) * 3)),
        D + D.transpose(1, 0, 2),
        symmetric(rng.normal(size=(size,) * 3)),
    )


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_routes_agree_triples_of_modes_and_whole_tensors(tensors, momentum) -> None:
    H, N, T, D, K = tensors
    options = {"rate": RATE, "momentum": momentum}
    change, kappa, X = dense(H, N, T, 0.5 * D, 0.25 * K, momentum)
    whole = Bends(loss=T, noise=D, third=K, along=UNSEEN)
    found = skewness(whole, H, np.empty(0), N, **options, factors=(0.5, 0.25))
    plain, more = (
        stationary_weights(H, np.empty(0), Q, **options)[0] for Q in (N, N + found.noise)
    )
    np.testing.assert_allclose(more - plain, change, atol=1e-11 * np.abs(change).max())
    np.testing.assert_allclose(found.cumulants, kappa, atol=1e-11 * np.abs(kappa).max())
    np.testing.assert_allclose(found.beyond, X[:, :5], atol=1e-11 * np.abs(X).max())


@pytest.mark.parametrize("momentum", [0.0, 0.7])
@pytest.mark.parametrize("noise_couples", [False, True])
def test_exact_leading_block_where_the_others_are_not_coupled_by_curvature(
    tensors, momentum, noise_couples
) -> None:
    """Third derivatives couple them all the same, and noise may: but then by known ones only."""
    H, N, T, D, K = tensors
    k = 2
    inside = np.arange(5) < k
    apart = np.where(np.equal.outer(inside, inside), 1.0, 0.0)
    H = np.where(np.outer(~inside, ~inside), np.diag(H.diagonal()), apart * H)
    if noise_couples:
        T = T.copy()
        T[k:, k:, k:] = 0.0
    else:
        N = apart * N
    _, kappa, X = dense(H, N, T, D, K, momentum)
    part = Bends(loss=T[:k], noise=D, third=K[:, :, :k], along=UNSEEN)
    found = skewness(
        part, H[:k, :k], H.diagonal()[k:], N, rate=RATE, momentum=momentum, factors=(1.0, 1.0)
    )
    np.testing.assert_allclose(found.cumulants, kappa[:k, :k, :k], atol=1e-11 * np.abs(kappa).max())
    np.testing.assert_allclose(found.beyond, X[:k, :k], atol=1e-11 * np.abs(X).max())


SIZES = [8, 16, 32, 64, 128]
WELLS = {"constant noise": (1.2, 1.0, 0.0), "noise that grows": (1.0, 0.6, 0.5)}


@pytest.mark.parametrize("momentum", [0.0, 0.4])
@pytest.mark.parametrize("name", WELLS)
def test_order_of_the_error_is_two_in_a_skewed_well_where_that_of_a_gaussian_law_is_one(
    name, momentum, smooth
) -> None:
    """Constant noise and noise that depends on the state, with momentum and without."""
    loss, bend = well(*WELLS[name]), WELLS[name][2]
    true = {n: exact(loss, n, momentum, bend=bend) for n in SIZES}
    found = {c: {n: close(loss, n, c, momentum=momentum) for n in SIZES} for c in (2, 3)}

    def errors(cumulants: int):
        return lambda n: abs(found[cumulants][n].variances[0] / true[n].variance - 1.0)

    table = observed_order(errors(3), SIZES, 2.0)
    assert table.agrees(), table
    gaussian = observed_order(errors(2), SIZES, 1.0)
    assert gaussian.agrees(), gaussian
    assert errors(3)(SIZES[0]) < 0.1 * errors(2)(SIZES[0])
    # What each of them says about itself: to leading order, the error of the Gaussian law.
    stated = [found[2][n].truncation / errors(2)(n) for n in SIZES]
    np.testing.assert_allclose(stated, 1.0, atol=0.1)
    assert abs(stated[-1] - 1.0) < 0.01
    assert all(errors(3)(n) < found[3][n].truncation for n in SIZES)
    # To leading order the third cumulant itself.
    skew = observed_order(lambda n: abs(found[3][n].third[0, 0, 0] / true[n].third - 1), SIZES, 1.0)
    assert skew.agrees(), skew
    if momentum == 0.0:
        lag = observed_order(
            lambda n: abs(autocovariance(found[3][n].law(), [1]).item() / true[n].later - 1.0),
            SIZES,
            2.0,
        )
        assert lag.agrees(), lag


@pytest.mark.twin
@pytest.mark.parametrize("part", ["loss", "noise"])
def test_twin_without_one_of_the_third_derivatives_the_order_is_lost(
    part, smooth, monkeypatch
) -> None:
    whole = states.bends
    monkeypatch.setattr(
        states,
        "bends",
        lambda *args: replace(found := whole(*args), **{part: 0.9 * getattr(found, part)}),
    )
    loss = well(1.0, 0.6, 0.5)
    table = observed_order(
        lambda n: abs(close(loss, n, 3).variances[0] / exact(loss, n, bend=0.5).variance - 1.0),
        SIZES,
        2.0,
    )
    assert not table.agrees()
    gaussian = close(loss, SIZES[-1], 2)
    error = abs(gaussian.variances[0] / exact(loss, SIZES[-1], bend=0.5).variance - 1.0)
    assert abs(gaussian.truncation / error - 1.0) > 0.01


EXAMPLES = np.array([2.0, -1.0, -1.0]) / 2.0**0.5  # a third of them far out on one side


def test_exact_operator_sees_the_skewness_of_the_batch(smooth) -> None:
    """A few examples, drawn with replacement: the law of the batch's mean is binomial."""
    plain, batch = well(1.0, 0.6, 0.3), 16
    loss = StochasticLoss(
        gradient=lambda w: plain.gradient(w[None])[0],
        hessian_products=lambda w, V: plain.hessian_products(w[None], V)[0],
        per_example_gradients=lambda w: (
            plain.gradient(w[None])[0] + EXAMPLES[:, None] * (1.0 + 0.3 * w)
        ),
    )
    count = np.arange(batch + 1)
    true = exact(
        loss,
        batch,
        values=(3.0 * count / batch - 1.0) / 2.0**0.5,
        shares=binom(batch, 1 / 3).pmf(count),
        bend=0.3,
    ).variance
    with_skew, without, gaussian = (
        close(problem, batch, cumulants, draws=128).variances[0] / true - 1.0
        for problem, cumulants in ((loss, 3), (plain, 3), (loss, 2))
    )
    assert abs(with_skew) < 0.1 * abs(gaussian)
    assert abs(with_skew) < 0.1 * abs(without)  # twin: noise that counts as not skewed


def test_exact_third_cumulant_of_a_quadratic_loss_drawn_without_replacement() -> None:
    """All batches of two of five examples are listed."""
    a = np.array([3.0, 1.0, 0.0, -1.5, -2.5])
    loss = StochasticLoss(
        gradient=lambda w: w,
        hessian_products=lambda w, V: V,
        per_example_gradients=lambda w: w + a[:, None],
    )
    found = close(loss, 2, 3, draws=96, sampling="without_replacement", dataset_size=5)
    means = [np.mean(pair) for pair in combinations(a, 2)]
    kept = 1.0 - RATE
    for n, value in ((2, found.covariance), (3, found.third)):
        exact = (-RATE) ** n * np.mean(np.power(means, n)) / (1.0 - kept**n)
        np.testing.assert_allclose(value.item(), exact, rtol=1e-10)


# Two weights.

CUBIC = symmetric(np.array([[[0.5, 0.7], [0.7, -0.4]], [[0.7, -0.4], [-0.4, 0.6]]]))
STIFF, MIXING = np.array([1.0, 0.5]), np.array([[1.0, 0.0], [0.4, 0.7]])


def pair_of_weights(w: np.ndarray) -> np.ndarray:
    return w * STIFF + 0.5 * np.einsum("ikl,nk,nl->ni", CUBIC, w, w) + 0.3 * w**3


def loudness(w: np.ndarray) -> np.ndarray:
    return 1.0 + 0.4 * w[:, 0] - 0.3 * w[:, 1]


def exact_pair(batch: int) -> np.ndarray:
    """Return the covariance of two weights."""
    sd = (RATE / batch / (2.0 * STIFF - RATE * STIFF**2)) ** 0.5
    X, Y = (Chebyshev(7.0 * one, 22) for one in sd)
    w = np.array(pairs(X, Y)).T
    operator = np.zeros((len(w),) * 2)
    for i, j in product(range(5), repeat=2):
        kick = loudness(w)[:, None] * (MIXING @ [Z[i], Z[j]]) / batch**0.5
        moved = w - RATE * (pair_of_weights(w) + kick)
        operator += SHARES[i] * SHARES[j] * rows_of(X, Y, *moved.T)
    nu = averages(operator)
    apart = w - nu @ w
    return (apart.T * nu) @ apart


def test_order_of_the_error_is_two_for_two_weights(smooth) -> None:
    """A cubic form with mixed terms, noise correlated between the weights and growing with both."""
    loss = StochasticLoss(
        gradient=pair_of_weights,
        hessian_products=lambda w, V: (
            (
                np.diag(STIFF)
                + np.einsum("ikl,nl->nik", CUBIC, w)
                + 0.9 * w[:, :, None] ** 2 * np.eye(2)
            )
            @ V
        ),
        projected_noise=lambda w, V: (
            loudness(w)[:, None, None] ** 2 * (V.T @ MIXING @ MIXING.T @ V)
        ),
        batched=True,
    )

    def errors(cumulants: int):
        def error(batch: int) -> float:
            found, true = close(loss, batch, cumulants, start=(0.0, 0.0)), truths[batch]
            U = found.minimum.leading
            return float(np.abs(U @ found.covariance @ U.T - true).max() / true.max())

        return error

    sizes = [2 * n for n in SIZES]
    truths = {n: exact_pair(n) for n in sizes}
    table = observed_order(errors(3), sizes, 2.0)
    assert table.agrees(), table
    gaussian = observed_order(errors(2), sizes, 1.0)
    assert gaussian.agrees(), gaussian


# When it does not hold, and what has no meaning.


def test_cumulants_too_large_for_an_expansion_are_a_status() -> None:
    """One that did not refuse would be worse than the Gaussian law: the expansion overshoots."""
    loss = well(2.5, 4.0, 0.0)
    found = close(loss, 2, 3, draws=256, throw=False)
    assert found.status is Status.INACCURATE
    assert "expansion in them is trusted up to" in found.detail
    true = exact(loss, 2).variance
    gaussian = close(loss, 2, 2, draws=256, throw=False)
    assert gaussian.status is Status.INACCURATE
    assert "Third cumulants, left out here, would change" in gaussian.detail
    assert abs(found.variances[0] / true - 1.0) > abs(gaussian.variances[0] / true - 1.0)
    with pytest.raises(ComputationError, match="lower the learning rate"):
        close(loss, 2, 3, draws=256)
    for cumulants in (2, 3):
        small = close(loss, 64, cumulants, draws=256)
        assert small.detail == ""
        assert 0.0 < small.truncation < 0.1


def test_keeps_the_gaussian_law_where_nothing_is_skewed() -> None:
    loss = well(0.0, 2.0, 0.0)
    two, three = (close(loss, 32, cumulants, draws=96) for cumulants in (2, 3))
    np.testing.assert_allclose(three.variances, two.variances, rtol=1e-7)
    assert two.third is None
    assert np.abs(three.third).max() < 1e-12
    silent = replace(loss, projected_noise=lambda w, V: np.zeros((len(w), 1, 1)))
    assert close(silent, 1, 3, draws=96).variances[0] == 0.0


def test_keeps_progress_in_order_and_says_when_rounds_run_out_before_third_cumulants() -> None:
    loss, seen = well(1.0, 0.6, 0.5), []
    found = close(loss, 32, 3, draws=96, progress=lambda *now: seen.append(now))
    assert seen == sorted(seen)
    assert seen[-1] == (found.rounds, 1.0)
    gaussian = close(loss, 32, 2, draws=96)
    short = close(loss, 32, 3, draws=96, max_rounds=gaussian.rounds - 1, throw=False)
    assert short.status is Status.NOT_CONVERGED
    assert "no third cumulants yet" in short.detail
    np.testing.assert_array_equal(short.covariance, gaussian.covariance)


@pytest.mark.parametrize("cumulants", [1, 4, 2.5, "3"])
def test_refuses_cumulants_it_does_not_have(cumulants) -> None:
    with pytest.raises(InputError, match="cumulants"):
        close(well(0.0, 1.0, 0.0), 4, cumulants)


def test_refuses_third_cumulants_of_too_many_modes() -> None:
    loss = StochasticLoss(
        gradient=lambda w: w,
        hessian_products=lambda w, V: V,
        noise_products=lambda w, V: V,
    )
    at = examine_minimum(loss, np.zeros(101), rank=101)
    with pytest.raises(InputError, match="at most 100 leading modes"):
        gaussian_closure(at, learning_rate=0.1, batch_size=1, cumulants=3)
