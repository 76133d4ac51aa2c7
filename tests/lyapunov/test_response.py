"""One equation for flow, map and heavy ball, against the equations of states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.lyapunov.response import Response, response
from tests.support.large import LAWS, curvature, exact, problem


def defect(act: Response, process, S: np.ndarray) -> float:
    A = curvature(process)
    dense = process.dense()
    N = dense.noise if act.border == np.inf else process.learning_rate**2 * dense.batch_noise
    return float(np.linalg.norm(act.apply(A, S) - N) / np.linalg.norm(N))


@pytest.mark.parametrize("law", LAWS)
def test_exact_covariance_of_the_state_solves_the_one_equation(law: str) -> None:
    process = problem(law, "products", d=20, weight_decay=0.02)
    assert defect(response(process), process, exact(process)) < 1e-11


@pytest.mark.twin
@pytest.mark.parametrize("law", ["map", "heavy ball"])
def test_equation_rejects_a_border_one_per_cent_off(law: str) -> None:
    process = problem(law, "products", d=20)
    act = response(process)
    assert defect(replace(act, border=1.01 * act.border), process, exact(process)) > 1e-4


@pytest.mark.parametrize("law", LAWS)
def test_variances_of_modes_need_the_diagonal_of_the_noise_alone(law: str) -> None:
    process = problem(law, "products", d=20)
    a, V = np.linalg.eigh(curvature(process))
    act, S = response(process), V.T @ exact(process) @ V
    noise = S * act.pairs(a)
    np.testing.assert_allclose(np.diag(S), act.gain(a) * np.diag(noise), rtol=1e-11)


@pytest.mark.parametrize("law", LAWS)
def test_inverse_keeps_matrices_positive_and_attains_its_norm_at_the_identity(law: str) -> None:
    act = response(problem(law))
    a = np.geomspace(0.01, 1.0, 40)
    kernel = 1.0 / act.pairs(a)
    # Schur's product theorem: positive kernels keep matrices positive.
    assert np.linalg.eigvalsh(kernel)[0] > -1e-13 * kernel.max()
    assert act.largest_gain(0.01, 1.0) == pytest.approx(np.diag(kernel).max(), rel=1e-13)


def test_gain_is_infinite_at_both_borders() -> None:
    act = Response(linear=0.5, border=2.0)
    assert act.largest_gain(0.0, 1.0) == np.inf
    assert act.largest_gain(0.1, 2.0) == np.inf
