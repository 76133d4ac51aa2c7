"""Linear systems marched by blocks: the compiled loop, and the loop of Newton's method."""

import numpy as np
import pytest

from fracsde import (
    L1,
    BlockFFT,
    Exponentials,
    FractionalODE,
    GrunwaldLetnikov,
    L2Sigma,
    Status,
    TimeGrid,
    solve,
)
from fracsde._ode.linear import _block, _block_reference
from tests.support.fractional_odes import STIFF


@pytest.mark.parametrize("n", [1, 3, 16])
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("point", [1.0, 0.7])
def test_engine_agrees_with_the_reference(n, steps, point):
    rng = np.random.default_rng(n + 100 * steps)
    start = 2
    states = rng.normal(size=(start + 1 + steps, n))
    coefficients = np.tril(rng.normal(size=(steps, start + steps)), k=start)
    inverses, which = rng.normal(size=(2, n, n)), rng.integers(0, 2, size=steps)
    one, two = states.copy(), states.copy()
    _block(one, start, coefficients, inverses, which, point)
    _block_reference(two, start, coefficients, inverses, which, point)
    assert np.abs(one - two).max() < 1e-12 * np.abs(two).max()
    assert np.array_equal(one[: start + 1], states[: start + 1])
    _block_reference(two, start, coefficients, inverses, which, point + 0.01)
    assert np.abs(one - two).max() > 1e-6 * np.abs(two).max()  # twin


@pytest.mark.parametrize(
    ("scheme", "grading"),
    [
        (L1(), 2.0),
        (L2Sigma(), 2.0),
        (L1(history=Exponentials(rtol=1e-8)), 1.0),
        (GrunwaldLetnikov(history=BlockFFT()), 1.0),
    ],
)
def test_routes_agree_with_newtons_method(scheme, grading):
    mesh, start = TimeGrid.graded(2.0, 150, grading), [1.0, -1.0, 2.0]
    plain = solve(FractionalODE(linear=STIFF, initial=start, alpha=0.7), mesh, scheme=scheme)
    newton = solve(
        FractionalODE(rhs=lambda t, y: STIFF @ y, initial=start, alpha=0.7), mesh, scheme=scheme
    )
    assert plain.stats["iterations"] == 0 < newton.stats["iterations"]
    assert np.abs(plain.values - newton.values).max() < 1e-8
    assert plain.residual() < 1e-7


def test_an_overflow_is_reported():
    problem = FractionalODE(linear=[[60.0]], initial=1.0, alpha=1.0)
    solution = solve(problem, TimeGrid.uniform(20.0, 2000), scheme=L1(), throw=False)
    assert solution.status is Status.NOT_FINITE
    assert "overflows at t" in solution.detail


def test_a_step_without_solution_is_reported():
    problem = FractionalODE(linear=[[4.0]], initial=1.0, alpha=1.0)
    solution = solve(problem, TimeGrid.uniform(1.0, 4), scheme=L1(), throw=False)
    assert solution.status is Status.NOT_CONVERGED
