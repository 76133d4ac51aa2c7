"""Liu, Ziyin and Ueda 2021: the general theorem on momentum with a matrix for a learning rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance

TURN = np.linalg.qr(np.array([[1.0, 0.2, 0.3], [0.5, 2.0, 0.1], [0.3, 0.7, 1.0]]))[0]
H = (TURN * np.array([1.0, 0.4, 0.05])) @ TURN.T
C = np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.1], [0.2, 0.1, 0.5]])
RATES = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 0.7]])


def sgd(**changes) -> SGDNearMinimum:
    given = {
        "hessian": H,
        "gradient_noise": C,
        "learning_rate": 0.8,
        "batch_size": 2,
        "momentum": 0.6,
        "preconditioner": RATES,
    }
    return SGDNearMinimum(**{**given, **changes})


def theorem_defect(problem: SGDNearMinimum, *, last: float = 1.0) -> float:
    """Return what the theorem's equation leaves, relative to its right-hand side."""
    mu, S = problem.momentum, stationary_covariance(problem).matrix
    L = problem.learning_rate * problem.preconditioner
    LH = L @ problem.hessian
    left = (1 - mu) * (LH @ S + S @ LH.T)
    left -= (1 + mu**2) / (1 - mu**2) * LH @ S @ LH.T
    left += last * mu / (1 - mu**2) * (LH @ LH @ S + S @ LH.T @ LH.T)
    right = L @ problem.batch_noise @ L
    return float(np.linalg.norm(left - right) / np.linalg.norm(right))


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.6, 0.95])
def test_theorem_holds_for_rates_and_noise_that_commute_with_nothing(momentum: float) -> None:
    assert theorem_defect(sgd(momentum=momentum)) < 1e-12


@pytest.mark.twin
def test_theorem_rejects_its_last_term_one_per_cent_too_large() -> None:
    assert theorem_defect(sgd(), last=1.01) > 1e-3


def test_theorem_is_not_nesterovs() -> None:
    assert theorem_defect(replace(sgd(), nesterov=True)) > 0.3
