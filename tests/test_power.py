"""Power of a comparison: a theory that is 10 % off is found out, the right one passes.

The run of the second half: 64 chains of 4000 draws, three modes whose squares have autocorrelation
times of at most 4.6 steps, hence at least 55 000 effective draws; tolerance 5 %, level 1e-3.  The
number of repetitions is fixed, and at least 95 % of them must be decided rightly.
"""

from __future__ import annotations

from functools import cache
from math import sqrt

import numpy as np
import pytest
from scipy import stats

import fracsde as fs
from fracsde.errors import OutOfRangeError
from fracsde.estimators import variances
from fracsde.report import samples_to_decide
from tests.support.laws import BUDGET, LOOKS, seed_of

TOLERANCE, LEVEL = 0.05, 1e-3

# ---------------------------------------------------------------- how many samples


def _decided(error: float, count: int, trials: int, seed: str) -> dict[str, int]:
    """Return the verdicts on variances of ``count`` Gaussian draws, by normal theory of means."""
    rng = np.random.default_rng(seed_of(seed))
    size = sqrt(2.0) * (1.0 + error)
    values = 1.0 + error + size / sqrt(count) * rng.standard_normal(trials)
    errors = size * np.sqrt(rng.chisquare(count - 1, trials) / (count - 1) / count)
    seen = {"AGREES": 0, "DISAGREES": 0, "INCONCLUSIVE": 0}
    quantity = fs.Quantity(name="variance")
    theory = fs.Prediction(quantity=quantity, value=1.0, numerical_error=0.0)
    for value, stderr in zip(values, errors, strict=True):
        run = fs.Measurement(quantity=quantity, value=value, stderr=stderr, n_effective=count)
        seen[fs.compare(theory, run, tolerance=TOLERANCE, level=LEVEL).verdict.name] += 1
    return seen


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(0.1, "DISAGREES"), (-1 / 11, "DISAGREES"), (0.0, "AGREES"), (0.02, "AGREES")],
)
@pytest.mark.parametrize("power", [0.5, 0.95])
def test_routes_agree_formula_and_simulated_power(error: float, verdict: str, power: float) -> None:
    count = samples_to_decide(error, tolerance=TOLERANCE, power=power)
    trials = 2000
    hits = _decided(error, count, trials, f"power {error} {power}")[verdict]
    law = stats.binom(trials, power)
    assert law.cdf(hits) > BUDGET / LOOKS
    # For an error the formula is exact; at error zero it counts both edges, and so is it there.
    assert law.sf(hits - 1) > BUDGET / LOOKS


def test_twin_with_half_the_samples_does_not_reach_the_power() -> None:
    count = samples_to_decide(0.1, tolerance=TOLERANCE) // 2
    hits = _decided(0.1, count, 1000, "half")["DISAGREES"]
    assert stats.binom(1000, 0.95).cdf(hits) < 1e-9


def test_few_samples_count_with_student() -> None:
    # A large error is seen in few draws, where the normal quantile would promise too much.
    count = samples_to_decide(9.0, tolerance=0.05, spread=0.5)
    hits = samples_to_decide(9.0, tolerance=0.05, spread=0.5, power=0.999)
    assert 3 <= count <= hits <= 40


@pytest.mark.parametrize("name", ["power", "spread", "level", "distance"])
def test_more_is_asked_more_samples_are_needed(name: str) -> None:
    base = samples_to_decide(0.1, tolerance=0.05)
    harder = {
        "power": samples_to_decide(0.1, tolerance=0.05, power=0.99),
        "spread": samples_to_decide(0.1, tolerance=0.05, spread=2.0),
        "level": samples_to_decide(0.1, tolerance=0.05, level=1e-6),
        "distance": samples_to_decide(0.08, tolerance=0.05),
    }
    assert harder[name] > base


def test_refuses_what_no_data_decide() -> None:
    with pytest.raises(OutOfRangeError, match="on the edge"):
        samples_to_decide(-0.05, tolerance=0.05)
    with pytest.raises(OutOfRangeError, match="power"):
        samples_to_decide(0.1, tolerance=0.05, power=1.0)
    with pytest.raises(OutOfRangeError, match="error"):
        samples_to_decide(-1.0, tolerance=0.05)


# ---------------------------------------------------------------- a run, and theories 10 % off

CHAINS, DRAWS, REPETITIONS = 64, 4000, 40
HESSIAN, NOISE, RATE, BATCH = np.diag([5.0, 3.0, 2.0]), np.eye(3), 0.1, 10
QUANTITY = fs.Quantity(name="stationary variance", unit="weight^2", labels=("e1", "e2", "e3"))


@cache
def _runs() -> tuple[fs.Measurement, ...]:
    rng = np.random.default_rng(seed_of("power of a run"))
    shrink = 1.0 - RATE * HESSIAN.diagonal()
    kick = RATE / sqrt(BATCH)
    law = np.sqrt(kick**2 / (1.0 - shrink**2))
    found = []
    for _ in range(REPETITIONS):
        w = np.empty((CHAINS, DRAWS, 3))
        noise = kick * rng.standard_normal(w.shape)
        w[:, 0] = law * rng.standard_normal((CHAINS, 3))
        for t in range(1, DRAWS):
            w[:, t] = shrink * w[:, t - 1] + noise[:, t]
        found.append(variances(w, quantity=QUANTITY))
    return tuple(found)


def _theory(rate: float = 1.0, batch: float = 1.0, noise: float = 1.0) -> fs.Prediction:
    sgd = fs.SGDNearMinimum(
        hessian=HESSIAN,
        gradient_noise=noise * NOISE,
        learning_rate=rate * RATE,
        batch_size=round(batch * BATCH),
    )
    value = fs.stationary_covariance(sgd.map()).matrix.diagonal()
    return fs.Prediction(quantity=QUANTITY, value=value, numerical_error=0.0, theory="map")


@pytest.mark.parametrize("wrong", ["rate", "batch", "noise"])
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_theory_with_a_setting_10_percent_off_disagrees_and_the_report_says_so(
    wrong: str, factor: float
) -> None:
    theory = _theory(**{wrong: factor})
    reports = [fs.compare(theory, run, tolerance=TOLERANCE) for run in _runs()]
    found = [report for report in reports if report.verdict is fs.Verdict.DISAGREES]
    assert len(found) >= 0.95 * REPETITIONS
    assert all("with 'map' by more than 5 %" in report.sentence for report in found)
    assert all("No assumption was tested" in report.next_step for report in found)


def test_right_theory_agrees_and_never_disagrees() -> None:
    verdicts = [fs.compare(_theory(), run, tolerance=TOLERANCE).verdict.name for run in _runs()]
    assert verdicts.count("AGREES") >= 0.95 * REPETITIONS
    assert "DISAGREES" not in verdicts


def test_size_of_the_run_is_what_the_formula_asks_for() -> None:
    square = (1.0 - RATE * HESSIAN.diagonal().min()) ** 2
    tau = (1.0 + square) / (1.0 - square)
    one_chain = sqrt(2.0 * tau / DRAWS)
    for error in (0.1, -1 / 11, 0.0):
        needed = samples_to_decide(error, tolerance=TOLERANCE, power=0.98, spread=one_chain)
        assert needed <= CHAINS
