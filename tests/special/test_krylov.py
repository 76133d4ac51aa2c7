"""Krylov spaces: products only, against known modes; memory, estimates and refusals."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.fft import dct
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from fracsde.errors import (
    ComputationError,
    InputError,
    NotFiniteError,
    NotSymmetricError,
    ShapeError,
)
from fracsde.special import _krylov
from fracsde.special.matrix import mittag_leffler_action
from fracsde.special.mittag_leffler import mittag_leffler
from fracsde.status import Status


def chain(n):
    """A reflecting chain: eigenvectors are cosines, the slowest eigenvalue is zero."""
    L = sp.diags_array([np.ones(n - 1), -2 * np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1])
    L = L.tolil()
    L[0, 0] = L[-1, -1] = -1.0
    k = np.arange(n)
    modes = dct(np.eye(n), type=2, norm="ortho", axis=0).T
    return L.tocsr(), -4.0 * np.sin(0.5 * np.pi * k / n) ** 2, modes


def relaxed(rates, modes, v, times, alpha):
    f = mittag_leffler(np.multiply.outer(np.asarray(times) ** alpha, rates), alpha)
    return (f * (modes.T @ v)) @ modes.T


@pytest.mark.parametrize("alpha", [0.4, 0.8, 1.0, 1.5])
def test_exact_lanczos_on_a_chain_with_an_honest_estimate(alpha, seed):
    L, rates, modes = chain(500)
    v = np.random.default_rng(seed).normal(size=500)
    t = np.array([0.0, 1e-3, 1.0, 30.0])
    for rtol in (1e-4, 1e-8, 1e-12):
        u, info = mittag_leffler_action(
            aslinearoperator(L), v, t, alpha, rtol=rtol, symmetric=True, full_output=True
        )
        assert info.method == "lanczos"
        error = np.linalg.norm(u - relaxed(rates, modes, v, t, alpha), axis=1) / np.linalg.norm(v)
        assert np.all(error <= rtol)
        assert np.all(error <= 4 * info.error_estimate + 1e-15)
        hardest = info.error_estimate[-1]
        assert hardest < 1e3 * max(error[-1], 1e-15)
        assert np.array_equal(u[0], v)


def test_two_passes_give_what_a_kept_basis_gives(monkeypatch, seed):
    L, rates, modes = chain(400)
    v = np.random.default_rng(seed).normal(size=400)
    t = [0.1, 3.0, 100.0]
    kept, info = mittag_leffler_action(L, v, t, 0.6, method="krylov", full_output=True)
    monkeypatch.setattr(_krylov, "_KEPT", 20 * 400)
    again, other = mittag_leffler_action(L, v, t, 0.6, method="krylov", full_output=True)
    exact = relaxed(rates, modes, v, t, 0.6)
    assert np.linalg.norm(kept - exact) < 1e-12 * np.linalg.norm(v)
    assert np.linalg.norm(again - exact) < 1e-12 * np.linalg.norm(v)
    assert info.products == info.degree
    assert other.products > 1.5 * other.degree


@pytest.mark.twin
def test_two_passes_reject_a_lost_vector(monkeypatch, seed):
    L, rates, modes = chain(400)
    v = np.random.default_rng(seed).normal(size=400)
    monkeypatch.setattr(_krylov, "_KEPT", 20 * 400)
    keep = _krylov.LanczosSpace._keep

    def late(self, previous, w):
        if self._count < self.kept or len(self.diagonal) > self.kept:
            keep(self, previous, w)

    monkeypatch.setattr(_krylov.LanczosSpace, "_keep", late)
    u = mittag_leffler_action(L, v, 100.0, 0.6, method="krylov")
    exact = relaxed(rates, modes, v, [100.0], 0.6)[0]
    assert not np.linalg.norm(u - exact) < 1e-12 * np.linalg.norm(v)


@pytest.mark.parametrize("alpha", [0.6, 1.0])
def test_exact_arnoldi_on_rotations(alpha):
    n = 200
    K = sp.diags_array([np.ones(n - 1), -np.ones(n - 1)], offsets=[1, -1]).tocsr()
    k = np.arange(1, n + 1)
    speeds = 2j * np.cos(np.pi * k / (n + 1))
    U = np.sqrt(2.0 / (n + 1)) * np.sin(np.pi * (np.outer(k, k) % (2 * n + 2)) / (n + 1))
    U = (1j ** np.arange(n))[:, None] * U  # K = D S D*, D = diag(i**k)
    v = np.random.default_rng(5).normal(size=n)
    t = np.array([1.0, 20.0])
    values = mittag_leffler(np.multiply.outer(t**alpha, speeds), alpha)
    exact = ((values * (U.conj().T @ v)) @ U.T).real
    u, info = mittag_leffler_action(aslinearoperator(K), v, t, alpha, full_output=True)
    assert info.method == "arnoldi"
    scale = np.maximum(np.linalg.norm(v), np.linalg.norm(exact, axis=1))
    assert np.all(np.linalg.norm(u - exact, axis=1) < 1e-12 * scale)


def test_an_eigenvector_takes_the_fewest_products():
    L, rates, modes = chain(50)
    u, info = mittag_leffler_action(
        aslinearoperator(L), modes[:, 7], 2.0, 0.5, symmetric=True, full_output=True
    )
    expected = mittag_leffler(2.0**0.5 * rates[7], 0.5) * modes[:, 7]
    np.testing.assert_allclose(u, expected, rtol=0, atol=1e-14)
    assert info.degree <= 8


def test_several_columns_and_complex_vectors(seed):
    L, rates, modes = chain(60)
    rng = np.random.default_rng(seed)
    V = rng.normal(size=(60, 2)) + 1j * rng.normal(size=(60, 2))
    for operator in (L, aslinearoperator(L)):
        u = mittag_leffler_action(operator, V, [0.5, 2.0], 0.7, method="krylov")
        for j in range(2):
            exact = relaxed(rates, modes, V[:, j], [0.5, 2.0], 0.7)
            assert np.linalg.norm(u[..., j] - exact) < 1e-12 * np.linalg.norm(V)


def test_too_few_steps_say_what_was_reached_and_what_helps(monkeypatch):
    L, *_ = chain(2000)
    monkeypatch.setattr(_krylov.lanczos_apply, "__kwdefaults__", {"most": 30})
    v = np.zeros(2000)
    v[1000] = 1.0
    operator = aslinearoperator(L * 1e4)
    with pytest.raises(ComputationError, match=r"30 steps of lanczos.*scipy.sparse") as caught:
        mittag_leffler_action(operator, v, 1.0, 0.6, symmetric=True)
    assert caught.value.status is Status.NOT_CONVERGED
    u, info = mittag_leffler_action(
        operator, v, 1.0, 0.6, symmetric=True, throw=False, full_output=True
    )
    assert np.all(np.isfinite(u))
    assert info.error_estimate[0] > 1e-6


def test_refuses_operators_that_break():
    broken = LinearOperator((3, 3), matvec=lambda x: x * np.nan, dtype=float)
    with pytest.raises(NotFiniteError, match="returned NaN or infinity"):
        mittag_leffler_action(broken, np.ones(3), 1.0, 0.5)
    with pytest.raises(InputError, match="needs the entries of the operator"):
        mittag_leffler_action(aslinearoperator(np.eye(3)), np.ones(3), 1.0, 0.5, method="dense")


def test_growth_past_the_largest_float_is_named():
    L, *_ = chain(40)
    grows = aslinearoperator(L + 5.0 * sp.eye_array(40))
    with pytest.raises(ComputationError, match="eigenvalue 5 passes the largest float at t = 28"):
        mittag_leffler_action(grows, np.ones(40), 1e3, 0.5, symmetric=True)


@pytest.mark.parametrize(
    ("matvec", "error", "text"),
    [
        (lambda x: 1j * x, InputError, "declare it with dtype=complex"),
        (lambda x: np.ones(len(x) + 1), ShapeError, "vector of the same length"),
        (lambda x: np.array([None] * len(x)), InputError, "must return numbers"),
    ],
)
def test_refuses_operators_that_return_something_else(matvec, error, text):
    operator = LinearOperator((3, 3), matvec=matvec, dtype=float)
    with pytest.raises(error, match=text):
        mittag_leffler_action(operator, np.ones(3), 1.0, 0.5)


def test_refuses_an_operator_that_is_wrongly_said_to_be_symmetric():
    skew = aslinearoperator(np.triu(np.ones((30, 30))))
    with pytest.raises(NotSymmetricError, match="leave `symmetric` out"):
        mittag_leffler_action(skew, np.ones(30), 1.0, 0.5, symmetric=True)
    rounded = aslinearoperator(-np.ones((30, 30), dtype=np.float32) / 3)
    u = mittag_leffler_action(rounded, np.ones(30), 1.0, 0.5, symmetric=True)
    assert np.all(np.isfinite(u))
