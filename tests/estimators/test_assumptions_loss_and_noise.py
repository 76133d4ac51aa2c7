"""Quadratic loss and constant noise: from a loss, from gradients, from the mean alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from fracsde.errors import InputError, RecordError, ShapeError
from fracsde.estimators.assumptions import constant_noise, quadratic_loss
from fracsde.networks import Network
from tests.support.laws import BUDGET, LOOKS, follows, seed_of
from tests.support.recorded_sgd import recorded_sgd

if TYPE_CHECKING:
    from fracsde._typing import FloatArray


class Polynomial:
    """Loss ``h w^2 / 2 + c w^3 / 6 + q w^4 / 4`` of each weight, noise of variance 1 + m w^2."""

    def __init__(self, h: tuple[float, ...], *, c: float = 0.0, q: float = 0.0, m: float = 0.0):
        self.h, self.c, self.q, self.m = np.asarray(h), c, q, m
        self.parameters = len(h)

    def hessian_vector_product(self, w: FloatArray, v: FloatArray) -> FloatArray:
        curvature = self.h + self.c * w + 3.0 * self.q * w**2
        return curvature.reshape(-1, *[1] * (np.ndim(v) - 1)) * v

    def per_example_gradients(self, w: FloatArray) -> FloatArray:
        signs = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        return signs[:, : self.parameters] * np.sqrt(1.0 + self.m * w**2)


def _law(seed: str, chains: int = 32, draws: int = 400) -> FloatArray:
    rng = np.random.default_rng(seed_of(seed))
    return rng.standard_normal((chains, draws, 2)) * np.array([1.0, 0.5])


# ---------------------------------------------------------------- with a loss


def test_exactly_quadratic_loss_and_constant_noise_hold_to_rounding() -> None:
    loss, x = Polynomial((1.0, 3.0)), _law("exact")
    for test in (quadratic_loss(x, loss=loss), constant_noise(x, loss=loss)):
        assert test.verdict.name == "HOLDS"
        assert abs(test.effect) < 1e-14


def test_effects_are_the_averages_over_the_law() -> None:
    loss = Polynomial((1.0, 3.0), q=0.05, m=0.2)
    x, zero = _law("averages", 64, 64), np.zeros(2)
    bent = quadratic_loss(x, loss=loss, minimum=zero, directions=np.eye(2), positions=4096)
    noisy = constant_noise(x, loss=loss, minimum=zero, directions=np.eye(2), positions=4096)
    curvature = [row[0] for key, row in bent.entries.items() if "curvature" in key]
    noise = [row[0] for row in noisy.entries.values()]
    # 3 q s^2 / h and m s^2, each with the error of a mean of squares over 4096 draws.
    error = np.sqrt(2 / 4096)
    assert follows(curvature, [0.15, 0.0125], np.array([0.15, 0.0125]) * error)
    assert follows(noise, [0.2, 0.05], np.array([0.2, 0.05]) * error)
    assert (bent.verdict.name, noisy.verdict.name) == ("FAILS", "FAILS")


def test_few_positions_leave_a_bent_loss_undecided() -> None:
    loss = Polynomial((1.0, 3.0), q=0.05)
    test = quadratic_loss(_law("few"), loss=loss, minimum=np.zeros(2), positions=16)
    assert test.verdict.name == "UNDECIDED"


def test_network_is_quadratic_near_its_minimum_and_not_far_away() -> None:
    rng = np.random.default_rng(seed_of("network"))
    inputs = rng.standard_normal((40, 2))
    net = Network(
        inputs=inputs, targets=np.sin(inputs[:, :1]), hidden=(2,), objective="squared_error"
    )
    w = net.initial_parameters(rng)
    for _ in range(400):
        w = w - 0.2 * net.gradient(w)
    values, vectors = np.linalg.eigh(net.hessian(w))
    along = vectors[:, values > 0.05 * values[-1]]
    noise = rng.standard_normal((32, 4, along.shape[1])) @ along.T
    answers = {
        size: quadratic_loss(w + size * noise, loss=net, minimum=w, directions=along).entries
        for size in (1e-4, 0.3)
    }
    near, far = (
        max(abs(row[0]) for key, row in answers[size].items() if "curvature" in key)
        for size in (1e-4, 0.3)
    )
    assert near < 1e-3
    assert far > 0.02
    test = constant_noise(w + 1e-4 * noise, loss=net, minimum=w, directions=along)
    assert test.verdict.name == "HOLDS"


# ---------------------------------------------------------------- from gradients


def test_gradients_of_a_quadratic_loss_with_constant_noise_hold() -> None:
    w, g = recorded_sgd(seed_of("quadratic"), steps=20_000, learning_rate=0.5)
    noise = constant_noise(w, gradients=g)
    assert noise.verdict.name == "HOLDS"
    bent = quadratic_loss(w, gradients=g, tolerance=0.1)
    assert bent.verdict.name == "HOLDS"
    assert quadratic_loss(w, minimum=np.zeros(2)).verdict.name == "HOLDS"


def test_twin_with_a_quartic_loss_fails_by_the_share_it_has() -> None:
    w, g = recorded_sgd(seed_of("quartic"), quartic=0.3, steps=8000)
    test = quadratic_loss(w, gradients=g)
    assert test.verdict.name == "FAILS"
    s = w.values.std(axis=(0, 1))
    # Of the stiff direction, whose law is nearly Gaussian: 3 q s^2 / h.
    low, high = test.entries["relative change of the curvature along principal direction 2"][1:3]
    assert low - 0.02 < 3 * 0.3 * s[0] ** 2 < high + 0.02


def test_twin_with_noise_that_grows_fails_and_the_loss_still_holds() -> None:
    w, g = recorded_sgd(seed_of("grows"), multiplicative=0.4, steps=8000)
    test = constant_noise(w, gradients=g)
    assert test.verdict.name == "FAILS"
    expected = 0.4 * w.values.var(axis=(0, 1))[::-1]
    for k, share in enumerate(expected):
        row = test.entries[f"relative change of the noise along principal direction {k + 1}"]
        assert row[1] - 0.02 < share < row[2] + 0.02
    assert quadratic_loss(w, gradients=g, tolerance=0.2).verdict.name != "FAILS"


def test_twin_with_noise_that_is_larger_on_one_side_fails_by_its_slope() -> None:
    w, g = recorded_sgd(seed_of("sloped"), sloped=0.2, steps=6000)
    test = constant_noise(w, gradients=g)
    assert test.verdict.name == "FAILS"
    assert "slope" in test.meaning


def test_short_record_is_undecided_or_refused() -> None:
    w, g = recorded_sgd(seed_of("short"), steps=40)
    assert constant_noise(w, gradients=g).verdict.name == "UNDECIDED"


def test_shift_of_the_mean_shows_an_uneven_loss() -> None:
    rng = np.random.default_rng(seed_of("shift"))
    x = rng.standard_normal((32, 1000, 1))
    test = quadratic_loss(x + 0.3, minimum=[0.0])
    assert test.verdict.name == "FAILS"
    assert test.effect == pytest.approx(0.3, abs=0.04)


def test_coverage_from_gradients_is_at_least_nominal() -> None:
    hits, trials = np.zeros(2, dtype=int), 50
    for k in range(trials):
        w, g = recorded_sgd(seed_of(f"coverage {k}"), chains=24, steps=400)
        for i, test in enumerate(
            (constant_noise(w, gradients=g, level=0.05), quadratic_loss(w, gradients=g, level=0.05))
        ):
            hits[i] += all(low <= 0.0 <= high for _, low, high, _ in test.entries.values())
    assert np.all(stats.binom(trials, 0.95).cdf(hits) > BUDGET / LOOKS)


# ---------------------------------------------------------------- refusals


def test_refuses_questions_without_data() -> None:
    x = _law("refuses")
    with pytest.raises(InputError, match="pass one of them"):
        quadratic_loss(x)
    with pytest.raises(InputError, match="pass one of them"):
        constant_noise(x)
    with pytest.raises(InputError, match="must be a loss with `parameters`"):
        quadratic_loss(x, loss=3)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ShapeError, match="whole weight vectors"):
        quadratic_loss(x, loss=Polynomial((1.0,)))
    with pytest.raises(RecordError, match="not positive"):
        quadratic_loss(x, loss=Polynomial((1.0, -1.0)))
    with pytest.raises(ShapeError, match="none of length zero"):
        quadratic_loss(x, loss=Polynomial((1.0, 1.0)), directions=np.zeros((2, 1)))


def test_refuses_gradients_that_do_not_belong_to_the_weights() -> None:
    w, g = recorded_sgd(seed_of("pairs"), steps=100)
    with pytest.raises(ShapeError, match="same chains, steps"):
        constant_noise(w, gradients=g.between(3))
    thin = [type(r)(values=r.values[:, ::2], times=r.times[::2]) for r in (w, g)]
    with pytest.raises(RecordError, match="record every step"):
        constant_noise(thin[0], gradients=thin[1])
