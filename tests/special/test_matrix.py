"""Mittag-Leffler functions of matrices against high precision, known modes and each other."""

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from mpmath import mp
from scipy.fft import dst
from scipy.sparse.linalg import aslinearoperator, expm_multiply

from fracsde.errors import (
    ComputationError,
    InputError,
    NotFiniteError,
    NotSymmetricError,
    OutOfRangeError,
    ShapeError,
)
from fracsde.special import _matrix_dense, _schur_parlett, _shifted
from fracsde.special.matrix import mittag_leffler_action, mittag_leffler_matrix
from fracsde.special.mittag_leffler import mittag_leffler
from fracsde.status import Status
from tests.support import damage
from tests.support.mittag_leffler import reference

EPS = float(np.finfo(np.float64).eps)


def by_series(A, alpha, beta=1.0):
    """Return the function of a small matrix by its power series in high precision."""
    size = float(np.linalg.norm(A, 2))
    with mp.workdps(40 + int(1.2 * size ** (1 / alpha) / 2.3)):
        M, a = mp.matrix(np.asarray(A).tolist()), mpmath.mpf(alpha)
        total, power, k = mp.zeros(len(A)), mp.eye(len(A)), 0
        while True:
            term = power * mpmath.rgamma(mpmath.mpf(beta) + a * k)
            total, power, k = total + term, power * M, k + 1
            if alpha * k > 1.0 + size ** (1 / alpha) and mp.norm(term, 1) < mpmath.mpf(10) ** -30:
                break
        F = np.array(total.tolist(), dtype=np.complex128)
    return F if np.iscomplexobj(A) else F.real


def by_eigenvectors(A, alpha):
    """Return the function of a triangular matrix with distinct eigenvalues, in high precision."""
    with mp.workdps(60):
        T, n = mp.matrix(np.asarray(A).tolist()), len(A)
        F = mp.zeros(n)
        for j in range(n):
            F[j, j] = reference(T[j, j], alpha)
        for distance in range(1, n):
            for i in range(n - distance):
                j = i + distance
                right = T[i, j] * (F[i, i] - F[j, j])
                for k in range(i + 1, j):
                    right += F[i, k] * T[k, j] - T[i, k] * F[k, j]
                F[i, j] = right / (T[i, i] - T[j, j])
        return np.array(F.tolist(), dtype=np.float64)


def grcar(n):
    return sum(np.eye(n, k=j) for j in range(4)) - np.eye(n, k=-1)


def shear(n):
    rng = np.random.default_rng(7)
    return -np.diag(np.arange(1.0, n + 1)) + 10 * np.triu(rng.normal(size=(n, n)), 1)


def turning():
    return np.kron(np.eye(2), np.array([[-0.1, 6.0], [-6.0, -0.1]])) + np.eye(4, k=2)


MATRICES = {
    "jordan": -2 * np.eye(6) + np.eye(6, k=1),
    "nilpotent": np.eye(5, k=1),
    "growing jordan": 1.5 * np.eye(4) + 3 * np.eye(4, k=1),
    "nearly defective": np.diag([-1.0, -1.0 - 1e-9, -1.0 + 1e-5, -3.0]) + 2 * np.eye(4, k=1),
    "grcar": -grcar(8),
    "growing grcar": grcar(8),
    "shear": shear(6),
    "turning": turning(),
    "complex": turning() + 1j * np.diag([0.0, 1.0, 2.0, -0.5]),
}


def relative(value, expected):
    return np.linalg.norm(value - expected) / max(1.0, np.linalg.norm(expected))


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("alpha", [0.8, 1.0, 1.5])
def test_exact_small_matrices_against_the_series_in_high_precision(name, alpha):
    A = MATRICES[name]
    expected = by_series(A, alpha)
    assert relative(mittag_leffler_matrix(A, alpha), expected) < 4e-14
    v = np.arange(1.0, len(A) + 1)
    u, info = mittag_leffler_action(A, v, 1.0, alpha, full_output=True)
    scale = max(np.linalg.norm(v), np.linalg.norm(expected @ v))
    error = np.linalg.norm(u - expected @ v) / scale
    assert error < 4e-14
    assert error < 8 * max(info.error_estimate[0], EPS)


@pytest.mark.parametrize("name", ["jordan", "shear"])
def test_exact_half_order_against_the_series_in_high_precision(name):
    A = 0.4 * MATRICES[name] if name == "shear" else MATRICES[name]
    assert relative(mittag_leffler_matrix(A, 0.5), by_series(A, 0.5)) < 4e-14


@pytest.mark.twin
def test_exact_small_matrices_reject_a_transpose_and_a_neighbouring_order():
    A = MATRICES["shear"]
    expected = by_series(A, 0.8)
    assert not relative(mittag_leffler_matrix(damage.transposed(A), 0.8), expected) < 4e-14
    assert not relative(mittag_leffler_matrix(A, 0.8 + 1e-9), expected) < 4e-14


@pytest.mark.parametrize("beta", [0.5, 0.8, 2.0])
def test_exact_second_parameter(beta):
    for name in ("jordan", "shear", "turning"):
        A = MATRICES[name]
        assert relative(mittag_leffler_matrix(A, 0.8, beta), by_series(A, 0.8, beta)) < 4e-14


@pytest.mark.parametrize("alpha", [0.4, 0.7, 1.0])
def test_exact_jordan_block_holds_the_derivatives(alpha):
    z, n = -3.0, 5
    F = mittag_leffler_matrix(z * np.eye(n) + np.eye(n, k=1), alpha)
    for k in range(n):
        expected = float(reference(z, alpha, 1, k) / mpmath.factorial(k))
        np.testing.assert_allclose(np.diagonal(F, k), expected, rtol=0, atol=2e-15)


@pytest.mark.parametrize("alpha", [0.5, 0.9, 1.0])
def test_exact_stiff_and_far_from_normal(alpha):
    A = np.array([[-1e-3, 40.0, -7.0], [0.0, -1.0, 300.0], [0.0, 0.0, -1e5]])
    expected = by_eigenvectors(A, alpha)
    found = mittag_leffler_matrix(A, alpha)
    assert np.linalg.norm(found - expected) < 1e-12 * np.linalg.norm(expected)


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.75, 1.0])
def test_exact_one_by_one_is_the_scalar_function(alpha):
    t = np.array([0.0, 1e-8, 1e-3, 1.0, 50.0, 1e8])
    expected = [float(reference(mpmath.mpf(-2) * mpmath.mpf(s) ** alpha, alpha)) for s in t]
    u = mittag_leffler_action([[-2.0]], [1.0], t, alpha)
    np.testing.assert_allclose(u[:, 0], expected, rtol=0, atol=4e-15)


def orthogonal(n, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


@pytest.mark.parametrize("alpha", [0.3, 0.6, 1.0, 1.6])
def test_exact_known_eigenvectors_and_honest_estimate_over_sixteen_decades(alpha, seed):
    n = 60
    Q, rates = orthogonal(n, seed), np.geomspace(1e-4, 1e4, n)
    v = Q @ np.ones(n)
    t = np.array([1e-8, 1e-4, 1.0, 1e4, 1e8])
    u, info = mittag_leffler_action(-(Q * rates) @ Q.T, v, t, alpha, full_output=True)
    assert info.method == "eigenvectors"
    exact = mittag_leffler(-np.multiply.outer(t**alpha, rates), alpha) @ Q.T
    error = np.linalg.norm(u - exact, axis=1) / np.linalg.norm(v)
    assert np.all(error < 20 * info.error_estimate)
    assert np.all(info.error_estimate < 1e3 * np.maximum(error, 4 * EPS))


def laplacian(n):
    h = 1.0 / (n + 1)
    L = sp.diags_array([np.ones(n - 1), -2 * np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1])
    k = np.arange(1, n + 1)
    modes = dst(np.eye(n), type=1, norm="ortho", axis=0)
    return L / h**2, -4 / h**2 * np.sin(0.5 * np.pi * h * k) ** 2, modes


TIMES = np.array([1e-8, 1e-4, 1e-2, 1.0, 1e3])


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.6, 1.0])
def test_routes_agree_on_a_thousand_cells(alpha, seed):
    n = 1000
    L, rates, modes = laplacian(n)
    v = np.random.default_rng(seed).normal(size=n)
    exact = mittag_leffler(np.multiply.outer(TIMES**alpha, rates), alpha) * (modes @ v) @ modes
    ways = {"eigenvectors": L.toarray(), "poles": L, "windows": L.tocsr()}
    for method, operator in ways.items():
        t = TIMES if method != "windows" else np.geomspace(1e-2, 1.0, 40)
        u, info = mittag_leffler_action(operator, v, t, alpha, full_output=True)
        assert info.method == method
        expected = exact
        if method == "windows":
            expected = mittag_leffler(np.multiply.outer(t**alpha, rates), alpha) * (modes @ v)
            expected = expected @ modes
        error = np.linalg.norm(u - expected, axis=1) / np.linalg.norm(v)
        assert np.all(error < 1e-12)
        assert np.all(error < 8 * info.error_estimate)


@pytest.mark.parametrize("alpha", [0.6, 1.0])
def test_routes_agree_dense_sparse_banded_and_matrix_free(alpha, seed):
    n = 200
    L, rates, modes = laplacian(n)
    v = np.random.default_rng(seed).normal(size=n)
    t = np.array([1e-6, 1e-3, 0.1])
    exact = mittag_leffler(np.multiply.outer(t**alpha, rates), alpha) * (modes @ v) @ modes
    shuffled = np.random.default_rng(1).permutation(n)
    ways = {
        "eigenvectors": (L.toarray(), np.arange(n), None),
        "poles": (L, np.arange(n), None),
        "poles of a matrix without a band": (L.tocsr()[shuffled][:, shuffled], shuffled, None),
        "lanczos": (aslinearoperator(L), np.arange(n), True),
    }
    for name, (operator, order, symmetric) in ways.items():
        u, info = mittag_leffler_action(
            operator, v[order], t, alpha, symmetric=symmetric, full_output=True
        )
        assert name.startswith(info.method)
        assert np.linalg.norm(u - exact[:, order], axis=1).max() < 1e-12 * np.linalg.norm(v)


@pytest.mark.twin
def test_routes_reject_a_damaged_pole(monkeypatch):
    import dataclasses

    from fracsde.special.rational import relaxation_poles

    def damaged(alpha, *, rtol):
        form = relaxation_poles(alpha, rtol=rtol)
        return dataclasses.replace(form, poles=form.poles * (1.0 + 1e-9))

    monkeypatch.setattr(_shifted, "relaxation_poles", damaged)
    L, rates, modes = laplacian(200)
    v = np.ones(200)
    u = mittag_leffler_action(L, v, 0.1, 0.6)
    exact = mittag_leffler(0.1**0.6 * rates, 0.6) * (modes @ v) @ modes
    assert not np.linalg.norm(u - exact) < 1e-12 * np.linalg.norm(v)


@pytest.mark.parametrize(("alpha", "method"), [(0.6, "poles"), (1.0, "poles"), (1.5, "hyperbola")])
def test_exact_two_dimensions_by_fast_diagonalisation(alpha, method, seed):
    m = 64
    D, rates, S = laplacian(m)
    V = np.random.default_rng(seed).normal(size=(m, m))
    t = np.array([1e-6, 1e-3, 0.1])
    both = rates[:, None] + rates
    exact = [(S @ (mittag_leffler(s**alpha * both, alpha) * (S @ V @ S)) @ S).ravel() for s in t]
    L = sp.kronsum(D, D, format="csc")
    u, info = mittag_leffler_action(L, V.ravel(), t, alpha, full_output=True)
    assert info.method == method
    error = np.linalg.norm(u - exact, axis=1) / np.linalg.norm(V)
    assert np.all(error < 1e-12)
    assert np.all(error < 4 * info.error_estimate)
    assert np.all(info.error_estimate < 1e2 * np.maximum(error, 1e-15))


def test_growing_modes_are_followed_relative_to_their_growth():
    n = 300
    L, rates, modes = laplacian(n)
    rates = rates + 60.0
    v = modes.sum(axis=1)
    t = np.array([1e-3, 0.1, 0.3])
    grows = (L + 60.0 * sp.eye_array(n)).tocsc()
    for alpha in (0.6, 1.0):
        exact = (mittag_leffler(np.multiply.outer(t**alpha, rates), alpha) * (modes @ v)) @ modes
        for operator in (grows, grows.toarray()):
            u, info = mittag_leffler_action(operator, v, t, alpha, full_output=True)
            error = np.linalg.norm(u - exact, axis=1) / np.linalg.norm(exact, axis=1)
            assert np.all(error < 1e-9)  # the exponent itself is rounded: |L| eps times the slope
            assert np.all(error < 20 * info.error_estimate)
            assert info.method in {"hyperbola", "eigenvectors"}


def test_growth_past_the_largest_float_names_eigenvalue_and_time():
    A = np.diag([-1.0, 4.0])
    text = r"eigenvalue 4 passes the largest float at t = 44\..*ask for earlier times"
    with pytest.raises(ComputationError, match=text) as caught:
        mittag_leffler_action(A, [1.0, 1.0], [1.0, 100.0], 0.5)
    assert caught.value.status is Status.NOT_FINITE
    u, info = mittag_leffler_action(A, [1.0, 1.0], [1.0, 100.0], 0.5, throw=False, full_output=True)
    assert np.all(np.isfinite(u[0]))
    assert np.all(np.isnan(u[1]))
    assert info.status is Status.NOT_FINITE
    last = 709.0 / 16.0
    assert np.all(np.isfinite(mittag_leffler_action(A, [1.0, 1.0], 0.99 * last, 0.5)))
    with pytest.raises(ComputationError, match=r"eigenvalue 177\.25 grows"):
        mittag_leffler_matrix(A * last, 0.5)


def drifting(n, speed):
    h = 1.0 / (n + 1)
    left, right = 1 / h**2 + 0.5 * speed / h, 1 / h**2 - 0.5 * speed / h
    e = np.ones(n - 1)
    return sp.diags_array([left * e, np.full(n, -2 / h**2), right * e], offsets=[-1, 0, 1])


@pytest.mark.parametrize("speed", [20.0, 150.0])
@pytest.mark.parametrize("alpha", [0.6, 0.9, 1.0])
def test_routes_agree_on_convection(speed, alpha, seed):
    n = 100
    A = drifting(n, speed)
    v = np.random.default_rng(seed).normal(size=n)
    t = np.array([1e-5, 1e-3, 1e-1])
    dense = mittag_leffler_action(A.toarray(), v, t, alpha)
    u, info = mittag_leffler_action(A, v, t, alpha, full_output=True)
    assert np.linalg.norm(u - dense, axis=1).max() < 2e-12 * np.linalg.norm(v)
    assert info.status.ok
    if alpha == 1.0:
        exact = [expm_multiply(s * A, v) for s in t]
        assert np.linalg.norm(u - exact, axis=1).max() < 2e-12 * np.linalg.norm(v)


def test_certified_contour_for_a_sector_is_used_and_right(seed):
    n = 100
    A = drifting(n, 20.0)
    v = np.random.default_rng(seed).normal(size=n)
    t = np.array([1e-4, 1e-2])
    u, info = mittag_leffler_action(A, v, t, 0.6, full_output=True, method="shifted")
    assert info.method in {"hyperbola", "windows"}
    dense = mittag_leffler_action(A.toarray(), v, t, 0.6)
    error = np.linalg.norm(u - dense, axis=1) / np.linalg.norm(v)
    assert np.all(error < info.error_estimate)
    assert np.all(info.error_estimate < 1e3 * np.maximum(error, 1e-15))


@pytest.mark.parametrize("name", ["shear", "grcar", "turning"])
def test_limit_order_one_is_the_exponential(name):
    A = MATRICES[name]
    exact = scipy.linalg.expm(A)
    assert relative(mittag_leffler_matrix(A, 1.0), exact) < 4e-14
    assert relative(mittag_leffler_matrix(A, 1 - 1e-10), exact) < 1e-7


@pytest.mark.parametrize("name", ["shear", "turning", "growing jordan"])
def test_routes_agree_contour_and_parlett(name):
    A, alpha = MATRICES[name], 0.8
    form = _matrix_dense.factorise(A, symmetric=False)
    assert form.triangle is not None
    expected = by_series(A, alpha)
    found = _matrix_dense._by_parlett(form, np.eye(len(A)), 1.0, alpha, 1.0)
    error = np.linalg.norm(found.values - expected)
    assert error < 1e-13 * np.linalg.norm(expected)
    assert error < 10 * (found.truncation + found.rounding)
    assert found.truncation < 1e3 * max(error, EPS * np.linalg.norm(expected))


@pytest.mark.twin
def test_parlett_rejects_a_block_that_is_not_reordered(monkeypatch):
    """Eigenvalues a rounding apart in different blocks lose every digit."""
    A = np.diag([-1.0, -2.0, -1.0 - 1e-13]) + 3 * np.eye(3, k=1)
    form = _matrix_dense.factorise(A, symmetric=False)
    good = _matrix_dense._by_parlett(form, np.eye(3), 1.0, 0.8, 1.0)
    monkeypatch.setattr(_schur_parlett, "_SEPARATIONS", (1e-20, 1e-20, 1e-20))
    bad = _matrix_dense._by_parlett(form, np.eye(3), 1.0, 0.8, 1.0)
    assert np.linalg.norm(good.values - by_series(A, 0.8)) < 1e-13
    assert not np.linalg.norm(bad.values - by_series(A, 0.8)) < 1e-13
    assert bad.truncation > 1e-4  # and the estimate says so


def test_complex_operators_and_vectors(seed):
    rng = np.random.default_rng(seed)
    n = 120
    B = sp.random_array((n, n), density=0.04, rng=rng) + 1j * sp.random_array(
        (n, n), density=0.04, rng=rng
    )
    H = (B + B.conj().T - 12 * sp.eye_array(n)).tocsc()
    values, U = np.linalg.eigh(H.toarray())
    v = rng.normal(size=n) + 1j * rng.normal(size=n)
    for operator in (H, H.toarray()):
        u = mittag_leffler_action(operator, v, 0.5, 0.7)
        exact = U @ (mittag_leffler(0.5**0.7 * values, 0.7) * (U.conj().T @ v))
        assert np.linalg.norm(u - exact) < 1e-12 * np.linalg.norm(v)
    L, rates, modes = laplacian(n)
    for operator in (L, L.toarray()):
        u = mittag_leffler_action(operator, v, 0.01, 0.7)
        exact = modes @ (mittag_leffler(0.01**0.7 * rates, 0.7) * (modes @ v))
        assert np.linalg.norm(u - exact) < 1e-12 * np.linalg.norm(v)


def test_shapes_types_and_times_follow_the_arguments():
    L = laplacian(80)[0]
    v = np.arange(80.0)
    one = mittag_leffler_action(L, v, 0.3, 0.6)
    assert one.shape == (80,)
    assert one.dtype == np.float64
    u = mittag_leffler_action(L, v, [0.3, 0.0, 0.3], 0.6)
    assert np.array_equal(u[0], one)
    assert np.array_equal(u[1], v)
    assert np.array_equal(u[2], u[0])
    pair = mittag_leffler_action(L, np.stack([v, v**2], axis=1), [0.3], 0.6)
    assert pair.shape == (1, 80, 2)
    np.testing.assert_allclose(pair[0, :, 0], one, rtol=0, atol=1e-12 * np.abs(v).max())
    assert mittag_leffler_action(L, np.zeros(80), 1.0, 0.6).tolist() == [0.0] * 80
    assert mittag_leffler_action(L.toarray(), v, [], 0.6).shape == (0, 80)
    F = mittag_leffler_matrix(L.toarray() / 1e4, 0.6)
    assert np.array_equal(F, F.T)


def test_keeps_its_arguments():
    L = laplacian(80)[0].tocsc()
    A, v = L.toarray(), np.ones(80)
    before = L.data.copy(), A.copy(), v.copy()
    for operator in (L, A):
        mittag_leffler_action(operator, v, [0.1, 1.0], 0.6)
    mittag_leffler_matrix(A / 1e4, 0.6)
    assert all(np.array_equal(x, y) for x, y in zip(before, (L.data, A, v), strict=True))


def test_symmetry_may_be_said_or_denied():
    A = laplacian(30)[0].toarray() / 900
    u = mittag_leffler_action(A, np.ones(30), 1.0, 0.6)
    for said in (True, False):
        np.testing.assert_allclose(
            mittag_leffler_action(A, np.ones(30), 1.0, 0.6, symmetric=said), u, rtol=1e-12
        )
    with pytest.raises(NotSymmetricError, match="leave `symmetric` out"):
        mittag_leffler_action(np.triu(A), np.ones(30), 1.0, 0.6, symmetric=True)


def test_refuses_what_does_not_fit():
    A = -np.eye(3)
    with pytest.raises(ShapeError, match=r"shape \(3, 3\), got shape \(4,\)"):
        mittag_leffler_action(A, np.ones(4), 1.0, 0.5)
    with pytest.raises(ShapeError, match=r"must be square.*\(3, 2\)"):
        mittag_leffler_action(A[:, :2], np.ones(3), 1.0, 0.5)
    with pytest.raises(NotFiniteError, match="`v` must be finite: 1 of 3"):
        mittag_leffler_action(A, [1.0, np.nan, 0.0], 1.0, 0.5)
    with pytest.raises(NotFiniteError, match="`operator` must be finite"):
        mittag_leffler_action(np.full((3, 3), np.inf), np.ones(3), 1.0, 0.5)
    with pytest.raises(OutOfRangeError, match="`times` must not be negative, got -1"):
        mittag_leffler_action(A, np.ones(3), [1.0, -1.0], 0.5)
    with pytest.raises(OutOfRangeError, match=r"`alpha` must lie in \(0, 2\]"):
        mittag_leffler_action(A, np.ones(3), 1.0, 2.5)
    with pytest.raises(OutOfRangeError, match="1e-14 is the best"):
        mittag_leffler_action(A, np.ones(3), 1.0, 0.5, rtol=1e-17)
    with pytest.raises(InputError, match=r"pass scipy\.sparse\.csc_array"):
        mittag_leffler_action(A, np.ones(3), 1.0, 0.5, method="shifted")
    with pytest.raises(InputError, match="wrap a function in scipy"):
        mittag_leffler_action(lambda x: x, np.ones(3), 1.0, 0.5)
    with pytest.raises(InputError, match=r"pass `A.toarray\(\)`"):
        mittag_leffler_matrix(sp.eye_array(3), 0.5)


def hidden(n, hopping):
    """Slow modes at the near end of a chain, and behind eight sites modes that grow by e^60."""
    d = np.full(n, 60.0)
    d[:8] = -1.0
    return np.diag(d) + hopping * (np.eye(n, k=1) + np.eye(n, k=-1))


def by_positive_series(A, v):
    """Return the exponential of A times v; with A + 1 and v not negative nothing cancels."""
    total, term = np.zeros(len(A)), v
    for k in range(1, 600):
        total, term = total + term, (A @ term + term) / k
    return np.exp(-1.0) * total


@pytest.mark.parametrize("hopping", [0.1, 0.05])
@pytest.mark.parametrize("form", ["dense", "sparse", "lanczos", "arnoldi"])
def test_growing_modes_that_rounding_excites_are_in_the_estimate(form, hopping):
    A, v = hidden(40, hopping), np.eye(40)[0]
    operator = {"dense": A, "sparse": sp.csr_array(A)}.get(form, aslinearoperator(A))
    said = True if form == "lanczos" else None
    exact = by_positive_series(A, v)
    u, info = mittag_leffler_action(
        operator, v, 1.0, 1.0, symmetric=said, throw=False, full_output=True
    )
    error = np.linalg.norm(u - exact) / np.linalg.norm(exact)
    assert error <= info.error_estimate[0]
    assert not info.status.ok


@pytest.mark.parametrize("road", ["contour", "schur-parlett", "arnoldi"])
@pytest.mark.parametrize("b", [1e2, 1e6, 1e9])
def test_rounding_of_a_stiff_defective_matrix_is_in_the_estimate(road, b):
    T = np.diag([-1.0, -1.0, -1.0, -b, -2 * b, -3 * b])
    T[0, 1] = T[1, 2] = 1.0
    F = np.diag(np.exp(np.diag(T)))
    F[0, 1] = F[1, 2] = F[0, 0]
    F[0, 2] = 0.5 * F[0, 0]
    v = np.ones(6)
    for seed in range(1, 4):
        Q = orthogonal(6, seed)
        A, exact = Q @ T @ Q.T, Q @ (F @ (Q.T @ v))
        if road == "schur-parlett":
            form = _matrix_dense.factorise(A, symmetric=False)
            if form.triangle is None:
                continue
            found = _matrix_dense._by_parlett(form, v[:, None], 1.0, 1.0, 1.0)
            u, estimate = found.values[:, 0], found.truncation + found.rounding
        else:
            operator = A if road == "contour" else aslinearoperator(A)
            u, info = mittag_leffler_action(operator, v, 1.0, 1.0, throw=False, full_output=True)
            estimate = info.error_estimate[0] * np.linalg.norm(v)
        error = np.linalg.norm(u - exact)
        assert error <= estimate
        assert estimate < 1e3 * max(error, EPS * b)


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e155, 1e300])
def test_vectors_of_any_size_have_the_same_relative_estimate(size):
    A = np.array([[-1.0, 1.0, -3.0], [0.0, -2.0, 1.0], [0.0, 0.0, -3.0]])
    for operator in (A, A + A.T - 9 * np.eye(3), sp.csr_array(A), aslinearoperator(A)):
        one, plain = mittag_leffler_action(operator, np.ones(3), 1.0, 0.7, full_output=True)
        u, info = mittag_leffler_action(operator, np.full(3, size), 1.0, 0.7, full_output=True)
        np.testing.assert_allclose(u / size, one, rtol=0, atol=1e-13)
        ratio = info.error_estimate[0] / plain.error_estimate[0]
        assert 0.25 < ratio < 4.0


def test_refuses_entries_whose_products_overflow():
    big = np.array([[-1.0, 1.0], [-1.0, -1.0]])
    for scale in (1e200, 1e308):
        for operator in (scale * big, sp.csr_array(scale * big)):
            with pytest.raises(OutOfRangeError, match="measure time in a smaller unit"):
                mittag_leffler_action(operator, np.ones(2), 1.0, 0.5)
    assert np.all(np.isfinite(mittag_leffler_action(-np.eye(2) * 1e149, np.ones(2), 1.0, 0.5)))


def test_refuses_masks_and_flags_that_are_no_flags_and_names_the_argument():
    A = -np.eye(3)
    masked = np.ma.masked_equal(A, 0.0)
    with pytest.raises(InputError, match="`operator` must be a matrix of numbers without a mask"):
        mittag_leffler_action(masked, np.ones(3), 1.0, 0.5)
    with pytest.raises(InputError, match="`v` must be an array of numbers without a mask"):
        mittag_leffler_action(A, np.ma.masked_equal([1.0, 0.0, 2.0], 0.0), 1.0, 0.5)
    for flag in ("throw", "full_output"):
        with pytest.raises(InputError, match=f"`{flag}` must be True or False, got 'no'"):
            mittag_leffler_action(A, np.ones(3), 1.0, 0.5, **{flag: "no"})
    for wrong in (np.ones((2, 3)), [[np.nan]], masked, [[1e200]]):
        with pytest.raises(InputError, match="`A`"):
            mittag_leffler_matrix(wrong, 0.5)
