"""Processes on a fractional clock and structured bases: what they accept and stand for."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from fracsde.errors import (
    IndefiniteError,
    InputError,
    NotFiniteError,
    OutOfRangeError,
    ShapeError,
)
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.problems.subordinated import SubordinatedOU
from tests.support.damage import transposed
from tests.support.exact import close

RNG = np.random.default_rng(5)
BASIS = np.linalg.qr(RNG.normal(size=(6, 2)))[0]
SMALL = np.array([[1.0, 2.0], [-0.5, 0.7]])
NOISE = np.array([[1.0, 0.3], [0.3, 0.5]])
LOW_RANK = LowRankOU(basis=BASIS, drift=SMALL, noise=NOISE, rest_drift=0.4, rest_noise=0.9)


def test_scale_of_the_clock_has_the_units_of_time() -> None:
    process = SubordinatedOU(base=OUProcess(drift=1.0, noise=2.0), alpha=0.5, timescale=4.0)
    assert close(process.operational([0.0, 1.0, 4.0, 9.0]), np.array([0.0, 2.0, 4.0, 6.0]))
    minute = SubordinatedOU(base=OUProcess(drift=60.0, noise=2.0), alpha=0.5, timescale=4.0 / 60)
    assert close(60.0 * minute.operational(9.0 / 60.0), process.operational(9.0))


def test_at_order_one_the_clock_is_time() -> None:
    process = SubordinatedOU(base=OUProcess(drift=1.0, noise=2.0), alpha=1.0, timescale=7.0)
    assert close(process.operational([0.3, 5.0]), np.array([0.3, 5.0]), units=2)


def test_low_rank_is_the_dense_process_it_stands_for() -> None:
    dense, outside = LOW_RANK.dense(), np.eye(6) - BASIS @ BASIS.T
    assert close(dense.drift, BASIS @ SMALL @ BASIS.T + 0.4 * outside)
    assert close(dense.noise, BASIS @ NOISE @ BASIS.T + 0.9 * outside)


@pytest.mark.twin
def test_low_rank_check_rejects_a_transposed_drift() -> None:
    outside = np.eye(6) - BASIS @ BASIS.T
    wrong = BASIS @ transposed(SMALL) @ BASIS.T + 0.4 * outside
    assert not close(LOW_RANK.dense().drift, wrong)


@pytest.mark.parametrize("shared", [False, True])
def test_factors_give_the_sums_they_mean(shared: bool) -> None:
    F, W = RNG.normal(size=(6, 2)), RNG.normal(size=(6, 3))
    W[:, 0] = F[:, 0] if shared else W[:, 0]
    weights = np.array([2.0, -0.3])
    process = LowRankOU.from_factors(
        drift_rest=0.5,
        drift_factor=F,
        drift_weights=weights,
        noise_rest=0.1,
        noise_factor=W,
        mean=3.0,
    )
    dense = process.dense()
    assert process.basis.shape[1] == (4 if shared else 5)
    assert close(dense.drift, 0.5 * np.eye(6) + (F * weights) @ F.T, units=60)
    assert close(dense.noise, 0.1 * np.eye(6) + W @ W.T, units=60)
    assert dense.mean.tolist() == [3.0] * 6


def test_projection_keeps_the_law_of_the_directions() -> None:
    onto = RNG.normal(size=(6, 2))
    small, Q = LOW_RANK.projected(onto)
    dense = LOW_RANK.dense()
    assert close(Q.T @ Q, np.eye(4))
    assert close(Q @ (Q.T @ onto), onto, units=60)
    # The space is invariant, so that nothing outside reaches the directions.
    assert close(dense.drift @ Q, Q @ small.drift, units=60)
    assert close(dense.noise @ Q, Q @ small.noise, units=60)


def test_projection_adds_nothing_for_what_the_basis_holds() -> None:
    onto = np.column_stack([np.zeros(6), BASIS @ [1.0, 2.0]])
    assert LOW_RANK.projected(onto)[1].shape == (6, 2)


def test_diagonal_is_the_dense_process_it_stands_for() -> None:
    process = DiagonalOU(drift=[1.0, 2.0], noise=0.5, mean=1.0)
    assert process.dense().drift.tolist() == [[1.0, 0.0], [0.0, 2.0]]
    assert process.dense().noise.tolist() == [[0.5, 0.0], [0.0, 0.5]]
    assert process.dimension == 2


def test_keeps_copies_that_nobody_can_write_to() -> None:
    drift = np.ones(2)
    process = DiagonalOU(drift=drift, noise=1.0)
    drift[0] = 5.0
    assert process.drift[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        process.drift[0] = 2.0
    with pytest.raises(FrozenInstanceError):
        process.drift = drift
    with pytest.raises(ValueError, match="read-only"):
        LOW_RANK.basis[0, 0] = 2.0


BASE = OUProcess(drift=1.0, noise=2.0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: SubordinatedOU(base=1.0, alpha=0.5), InputError, "must be an OUProcess"),
        (
            lambda: SubordinatedOU(base=LinearRecursion(transition=0.5, noise=1.0), alpha=0.5),
            InputError,
            "flow",
        ),
        (lambda: SubordinatedOU(base=BASE, alpha=0.0), OutOfRangeError, "second initial value"),
        (lambda: SubordinatedOU(base=BASE, alpha=1.2), OutOfRangeError, "`alpha` must lie in"),
        (
            lambda: SubordinatedOU(base=BASE, alpha=0.5, timescale=0.0),
            OutOfRangeError,
            "`timescale`",
        ),
        (
            lambda: SubordinatedOU(base=BASE, alpha=0.5).operational([1.0, -1.0]),
            OutOfRangeError,
            "starts at time 0",
        ),
        (lambda: DiagonalOU(drift=[1.0], noise=[-1.0]), OutOfRangeError, "not be negative"),
        (lambda: DiagonalOU(drift=[], noise=1.0), ShapeError, "at least one"),
        (lambda: DiagonalOU(drift=[1.0, np.inf], noise=1.0), NotFiniteError, "finite"),
        (lambda: DiagonalOU(drift=[1.0, 2.0], noise=[1.0] * 3), ShapeError, "`noise`"),
        (
            lambda: LowRankOU(
                basis=2 * BASIS, drift=SMALL, noise=NOISE, rest_drift=1.0, rest_noise=1.0
            ),
            InputError,
            "np.linalg.qr",
        ),
        (
            lambda: LowRankOU(
                basis=BASIS.T, drift=SMALL, noise=NOISE, rest_drift=1.0, rest_noise=1.0
            ),
            ShapeError,
            "no fewer rows",
        ),
        (
            lambda: LowRankOU(
                basis=BASIS, drift=np.eye(3), noise=NOISE, rest_drift=1.0, rest_noise=1.0
            ),
            ShapeError,
            "`drift` must be 2 x 2",
        ),
        (
            lambda: LowRankOU(
                basis=BASIS, drift=SMALL, noise=-NOISE, rest_drift=1.0, rest_noise=1.0
            ),
            IndefiniteError,
            "semi-definite",
        ),
        (
            lambda: LowRankOU(
                basis=BASIS, drift=SMALL, noise=NOISE, rest_drift=1.0, rest_noise=-1.0
            ),
            OutOfRangeError,
            "`rest_noise`",
        ),
        (
            lambda: LowRankOU.from_factors(
                drift_rest=1.0,
                drift_factor=np.zeros((3, 1)),
                drift_weights=1.0,
                noise_rest=1.0,
                noise_factor=np.zeros((3, 1)),
            ),
            ShapeError,
            "use DiagonalOU",
        ),
        (
            lambda: LowRankOU.from_factors(
                drift_rest=1.0,
                drift_factor=np.ones((3, 1)),
                drift_weights=1.0,
                noise_rest=1.0,
                noise_factor=np.ones((4, 1)),
            ),
            ShapeError,
            "`noise_factor`",
        ),
    ],
)
def test_refuses_what_cannot_be_meant(call, error, words: str) -> None:
    with pytest.raises(error, match=words):
        call()
