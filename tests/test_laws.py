"""The hierarchy of laws: which are exact, which are near, in which order they fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fracsde as fs
from fracsde.errors import InputError, ShapeError, UnstableError
from fracsde.laws import laws
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.stationary import stationary_covariance

TURN = np.linalg.qr(np.array([[1.0, 0.2, 0.3], [0.5, 2.0, 0.1], [0.3, 0.7, 1.0]]))[0]
HESSIAN = (TURN * np.array([1.0, 0.4, 0.05])) @ TURN.T
NOISE = np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.1], [0.2, 0.1, 0.5]])


def sgd(**changes) -> SGDNearMinimum:
    given = {
        "hessian": HESSIAN,
        "gradient_noise": NOISE,
        "learning_rate": 0.05,
        "batch_size": 4,
        "momentum": 0.9,
    }
    return SGDNearMinimum(**{**given, **changes})


@pytest.mark.parametrize("preconditioner", [None, [1.0, 2.0, 0.3], NOISE])
@pytest.mark.parametrize("rule", [{}, {"momentum": 0.0}, {"nesterov": True}, {"dampening": 0.3}])
def test_closed_form_is_the_map_and_flows_are_the_flows(rule, preconditioner) -> None:
    problem = sgd(**rule, preconditioner=preconditioner)
    table = laws(problem)
    assert table["map"].error == 0.0
    assert table["closed form"].error < 1e-12
    for name in {law.name for law in table} & {"overdamped", "underdamped", "kunin"}:
        dense = stationary_covariance(problem.flow(limit=name)).matrix
        np.testing.assert_allclose(
            table[name].matrix, dense, rtol=0, atol=1e-12 * np.abs(dense).max()
        )


def test_errors_grow_with_every_assumption_for_noise_that_does_not_commute() -> None:
    table = laws(sgd(learning_rate=0.02, momentum=0.95))
    errors = [table[name].error for name in ("kunin", "underdamped", "overdamped", "isotropic")]
    assert errors == sorted(errors)
    assert errors[0] < 0.02 < 0.1 < errors[-1]


@pytest.mark.twin
def test_closed_form_rejects_the_heavy_ball_in_place_of_nesterov() -> None:
    exact = laws(sgd(nesterov=True))["map"].matrix
    wrong = laws(sgd())["closed form"].matrix
    assert np.linalg.norm(wrong - exact) > 0.01 * np.linalg.norm(exact)


def test_isotropic_and_commuting_laws_hold_under_their_assumptions() -> None:
    table = laws(sgd(gradient_noise=HESSIAN, learning_rate=1e-6))
    assert table["isotropic"].error < 1e-4
    assert table["commuting"].error < 1e-9
    P = np.diag([1.0, 2.0, 0.5])
    slow = sgd(gradient_noise=HESSIAN, learning_rate=1e-6, preconditioner=P, momentum=0.0)
    assert laws(slow)["isotropic"].error < 1e-4


def test_shuffled_epochs_are_compared_with_independent_batches() -> None:
    problem = sgd(sampling="shuffled", dataset_size=40, momentum=0.0)
    table = laws(problem, directions=1)
    assert [law.name for law in table][:3] == ["epochs", "independent", "commuting"]
    independent = stationary_covariance(replace(problem, sampling="without_replacement")).matrix
    np.testing.assert_allclose(table["independent"].matrix, independent, rtol=1e-12)
    assert table["independent"].error > 1.0


def test_errors_along_directions_are_of_variances_there() -> None:
    problem = sgd()
    table = laws(problem, directions=np.eye(3)[:, :2])
    exact, flow = table["map"].matrix, table["overdamped"]
    expected = np.diag(flow.matrix)[:2] / np.diag(exact)[:2] - 1.0
    np.testing.assert_allclose(flow.along, expected, rtol=1e-12)
    leading = laws(problem, directions=2).directions
    np.testing.assert_allclose(HESSIAN @ leading, leading * [1.0, 0.4], atol=1e-14)
    lines = str(table).splitlines()
    assert len(lines) == 1 + len(table)
    assert lines[1].startswith("map ")
    assert "\nisotropic" in str(fs.laws(problem, directions=0))


def test_no_noise_is_met_exactly_by_every_law() -> None:
    full = sgd(sampling="without_replacement", dataset_size=4)
    assert all(law.error == 0.0 and np.all(law.along == 0.0) for law in laws(full))


def test_refuses_what_is_not_a_stable_run() -> None:
    with pytest.raises(InputError, match="must be an SGDNearMinimum, got OUProcess"):
        laws(sgd().flow())
    with pytest.raises(UnstableError, match="critical learning rate"):
        laws(sgd(learning_rate=100.0))
    with pytest.raises(ShapeError, match="`directions`"):
        laws(sgd(), directions=np.eye(2))
    with pytest.raises(InputError, match="there is no law 'langevin' for this run; the laws are"):
        laws(sgd())["langevin"]
