"""Fluctuation-dissipation relations of Yaida (2019): where they hold and where they do not.

The first is bookkeeping: it holds for any sampling, up to what the two ends of a run leave.  The
second is exact for quadratic losses without momentum; taken over to momentum as it is printed, it
is short by about ``1 - mu``; it also needs noise that is independent from step to step.
"""

from __future__ import annotations

import numpy as np
import pytest

from fracsde.observables import fluctuation_dissipation
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance
from fracsde.transients import mean_square_displacement
from tests.support.laws import seed_of
from tests.support.linear_laws import sgd

EXAMPLES, BATCH = 60, 3
HESSIAN = np.diag([1.0, 0.3, 0.05])


def batches(sampling: str, steps: int, rng: np.random.Generator) -> np.ndarray:
    if sampling == "with replacement":
        return rng.integers(EXAMPLES, size=(steps, BATCH))
    if sampling == "without replacement":
        return np.argsort(rng.random((steps, EXAMPLES)), axis=1)[:, :BATCH]
    epochs = steps * BATCH // EXAMPLES
    return np.argsort(rng.random((epochs, EXAMPLES)), axis=1).reshape(-1, BATCH)


def run(sampling: str, *, eta: float, mu: float = 0.0, nu: float = 0.0, steps: int = 40_000):
    """Train on a quadratic loss whose examples differ in their gradients; return time averages.

    Yaida's update: v' = mu v - (1 - nu) g, w' = w + eta v'.
    """
    rng = np.random.default_rng(seed_of(f"yaida {sampling} {eta} {mu} {nu}"))
    shifts = rng.normal(size=(EXAMPLES, 3))
    shifts -= shifts.mean(axis=0)
    noise = shifts[batches(sampling, steps, rng)].mean(axis=1)
    w, v = np.zeros(3), np.zeros(3)
    sums = np.zeros(4)
    burn = steps // 10
    for t in range(steps):
        g = HESSIAN @ w + noise[t]
        if t >= burn:
            G = HESSIAN @ w
            sums += w @ g, v @ v, G @ G, g @ HESSIAN @ g
        v = mu * v - (1.0 - nu) * g
        w = w + eta * v
    return sums / (steps - burn)


@pytest.mark.parametrize(
    ("sampling", "options"),
    [
        ("with replacement", {"eta": 0.5}),
        ("without replacement", {"eta": 0.2, "mu": 0.9, "nu": 0.5}),
        ("shuffled epochs", {"eta": 0.5}),
        ("shuffled epochs", {"eta": 0.2, "mu": 0.9}),
    ],
)
def test_first_relation_holds_for_any_sampling(sampling: str, options: dict) -> None:
    position, velocity, _, _ = run(sampling, **options)
    eta, mu, nu = (options.get(name, 0.0) for name in ("eta", "mu", "nu"))
    right = eta * (1.0 + mu) / (2.0 * (1.0 - nu)) * velocity
    # Both ends of the run together count 1 / (steps eta h_min), and no sample is too small.
    assert position == pytest.approx(right, rel=0.02)
    if mu:
        assert abs(position / (eta / 2.0 * velocity) - 1.0) > 0.5


def test_second_relation_fails_for_shuffled_epochs() -> None:
    independent, shuffled = (
        run(sampling, eta=0.1) for sampling in ("with replacement", "shuffled epochs")
    )
    ratios = [(0.05 * curved) / gradient for _, _, gradient, curved in (independent, shuffled)]
    assert ratios[0] == pytest.approx(1.0, abs=0.1)
    assert ratios[1] > 1.8


def test_second_relation_of_shuffled_epochs_is_too_large_by_what_the_table_says() -> None:
    # Equal noise in all directions, exactly: a step's displacement is the rate times its gradient.
    given = {"hessian": HESSIAN, "gradient_noise": np.eye(3), "learning_rate": 0.1}
    for sampling, expected in (("without_replacement", 1.0), ("shuffled", 2.6165)):
        law = SGDNearMinimum(**given, batch_size=BATCH, dataset_size=EXAMPLES, sampling=sampling)
        curvatures = np.diag(HESSIAN)
        spread = np.diag(stationary_covariance(law).matrix)
        moved = mean_square_displacement(law, [1], directions=np.eye(3))[0]
        left = curvatures**2 @ spread
        right = 0.05 * curvatures @ moved / 0.1**2
        assert right / left == pytest.approx(expected, rel=1e-4)


def printed_second(law) -> tuple[float, float]:
    # Left and right side of the relation without momentum, put to the law as it is.
    S, K = stationary_covariance(law).matrix, law.curvature
    second_moment = law.batch_noise + K @ S @ K
    left = np.trace(K @ S @ K)
    return left, 0.5 * law.learning_rate * np.trace(K @ second_moment)


@pytest.mark.parametrize("eta", [0.01, 0.5, 1.5])
def test_second_relation_is_exact_without_momentum(eta: float) -> None:
    left, right = printed_second(sgd(learning_rate=eta))
    assert right == pytest.approx(left, rel=1e-12)


@pytest.mark.parametrize("mu", [0.5, 0.9, 0.99])
def test_second_relation_as_printed_fails_with_momentum(mu: float) -> None:
    law = sgd(learning_rate=1e-3 * (1.0 - mu), momentum=mu)
    left, right = printed_second(law)
    assert right / left == pytest.approx(1.0 - mu, rel=2e-3)
    assert abs(fluctuation_dissipation(law).residuals[1]) < 1e-8
