"""Linear systems of Newton's method: all forms of the Jacobian, one solution."""

import numpy as np
import pytest
from scipy.sparse import csc_array
from scipy.sparse.linalg import aslinearoperator

from fracsde._ode.systems import SingularSystemError, mixed, stage_solver, step_solver
from fracsde._ode.tables import polynomials

FORMS = [np.asarray, csc_array, aslinearoperator]


def jacobian(n):
    """A stiff tridiagonal matrix."""
    return n * (np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1) - 2.1 * np.eye(n))


@pytest.mark.parametrize("form", FORMS)
def test_routes_agree_on_a_step(form):
    J = jacobian(12)
    weights, share = np.linspace(3.0, 9.0, 12), np.linspace(0.6, 1.0, 12)
    r = np.cos(np.arange(12.0))
    x = step_solver(form(J), weights, share)(r)
    assert np.abs(weights * x - share * (J @ x) - r).max() < 1e-6
    assert np.abs(weights * x - (J @ x) - r).max() > 1e-3  # twin: the share forgotten


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("n", "orders"),
    [(1, (0.6,)), (2, (0.6,)), (2, (0.4, 0.9)), (30, (0.6,)), (30, (0.4, 0.9))],
)
def test_routes_agree_on_the_stages(form, n, orders):
    basis, J = polynomials(5), jacobian(n) if n > 1 else np.array([[-7.0]])
    which = np.arange(n) % len(orders)
    tables = np.stack([0.2**a * basis.integrals(a, basis.nodes)[:, :-1] for a in orders])
    R = np.sin(np.arange(5.0 * n)).reshape(5, n)
    X = stage_solver(form(J), tables, which)(R)
    left = X - mixed(tables, which, X @ J.T) - R
    assert np.abs(left).max() < 1e-6
    assert np.abs(X - mixed(tables[:, ::-1], which, X @ J.T) - R).max() > 1e-3  # twin


def test_refuses_singular_matrices():
    with pytest.raises(SingularSystemError):
        step_solver(np.eye(3), np.ones(3), np.ones(3))
    with pytest.raises(SingularSystemError):
        step_solver(csc_array(np.eye(3)), np.ones(3), np.ones(3))
