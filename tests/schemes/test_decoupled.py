"""Coordinates that move independently carry the stationary law, and are found where they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.schemes import decoupled as module
from fracsde.schemes.decoupled import decoupled
from fracsde.simulate import simulate
from fracsde.stationary import stationary_covariance

A = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 0.7]])
N = np.array([[1.0, 0.2, 0.0], [0.2, 2.0, -0.4], [0.0, -0.4, 0.5]])
PROCESSES = {
    "diagonal": OUProcess(drift=np.diag([3.0, 0.1, 2.0]), noise=np.diag([1.0, 0.0, 2.0])),
    "even noise": OUProcess(drift=A, noise=2.0 * np.eye(3)),
    "noise of the drift": OUProcess(drift=A, noise=A @ A),
    "detailed balance": OUProcess(drift=N @ A, noise=N),
    "map": LinearRecursion(transition=np.eye(3) - 0.7 * A, noise=np.eye(3)),
    "diagonal map": LinearRecursion(transition=np.diag([0.5, -0.9, 0.0]), noise=np.eye(3)),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_exact_stationary_law_is_independent_in_these_coordinates(name: str) -> None:
    form = decoupled(PROCESSES[name])
    assert form is not None
    deviation = form.stationary()
    assert deviation is not None
    found = (form.basis * deviation**2) @ form.basis.T
    expected = stationary_covariance(PROCESSES[name]).matrix
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 * np.abs(expected).max())
    np.testing.assert_allclose(form.basis @ form.inverse, np.eye(3), rtol=0, atol=1e-14)


@pytest.mark.twin
def test_law_of_a_flow_is_not_that_of_a_map_of_the_same_rates() -> None:
    flow, one = decoupled(PROCESSES["even noise"]), decoupled(PROCESSES["map"])
    assert flow is not None
    assert one is not None
    assert np.abs(flow.stationary() - one.stationary()).max() > 0.01


@pytest.mark.parametrize("rate", [-1e-3, 0.0, 1e-9])
def test_rates_that_may_not_be_positive_are_left_to_those_who_ask(rate: float) -> None:
    form = decoupled(OUProcess(drift=np.diag([1.0, rate]), noise=np.eye(2)))
    assert form is not None
    assert form.stationary() is None


def test_a_map_beyond_its_border_has_no_stationary_deviation() -> None:
    form = decoupled(LinearRecursion(transition=np.diag([0.5, -1.1]), noise=np.eye(2)))
    assert form is not None
    assert form.stationary() is None


@pytest.mark.parametrize("seed", range(5))
def test_a_process_without_detailed_balance_is_told_without_eigenvectors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(2, 6, 6))
    drift, noise = B[0] @ B[0].T + np.triu(B[0]), B[1] @ B[1].T + np.eye(6)
    assert not module._may_be_reversible(drift, noise)
    assert decoupled(OUProcess(drift=drift + 50.0 * np.eye(6), noise=noise)) is None


@pytest.mark.parametrize("condition", [1.0, 1e3, 9e5])
def test_no_process_with_detailed_balance_is_missed(condition: float) -> None:
    rng = np.random.default_rng(1)
    V = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    noise = (V * np.geomspace(1.0, condition, 8)) @ V.T
    noise = 0.5 * (noise + noise.T)
    B = rng.normal(size=(8, 8))
    pull = noise @ (B @ B.T + np.eye(8))
    assert module._may_be_reversible(pull, noise)
    # A rounding of the drift is what the bound has to allow.
    assert module._may_be_reversible(pull * (1.0 + 1e-15 * rng.normal(size=(8, 8))), noise)


@pytest.mark.parametrize("name", ["even noise", "detailed balance", "map"])
def test_the_first_state_depends_on_the_seed_alone(name: str) -> None:
    process = PROCESSES[name]
    runs = [simulate(process, times, chains=9, rng=3) for times in ([0.0], [0.0, 1.0], [4.0, 9.0])]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.values[:, 0], runs[0].values[:, 0])


class Mirrored:
    """The exact steps, in coordinates of the other sign."""

    citation = ()

    def steps(self, process, gaps):
        steps = decoupled(process).steps(gaps)
        return replace(steps, basis=-steps.basis, inverse=-steps.inverse)


def test_a_scheme_may_have_coordinates_of_its_own() -> None:
    run = simulate(PROCESSES["even noise"], [0.0, 1e-14], chains=9, rng=3, scheme=Mirrored())
    np.testing.assert_allclose(run.values[:, 1], run.values[:, 0], rtol=0, atol=1e-5)
