"""Second parameters far from zero: relative accuracy, underflow, overflow with the right sign."""

import mpmath
import numpy as np
import pytest
from scipy.special import gammainc, rgamma

from fracsde.errors import NotFiniteError
from fracsde.special import _ml_far_beta as far
from fracsde.special import mittag_leffler
from tests.support.mittag_leffler import LARGEST, reference

ALPHAS = (0.4, 0.8, 1.0, 1.5, 2.0, 8.0)
BETAS = (20.5, 55.0, 100.5, 165.0, -4.5, -9.0, -15.3, -20.5, -33.0, -101.3, -158.0)
TOLERANCE = 1e-13


def points(alpha, beta, rng, count=5):
    """Arguments whose poles lie around the bell of ``exp(s) * s**(1 - beta)``, and nearer to 0."""
    s = np.minimum(abs(beta) * np.exp(rng.normal(scale=0.6, size=count)), 130.0)
    z = s**alpha * np.exp(1j * rng.uniform(-np.pi, np.pi, size=count))
    z[0], z[1] = abs(z[0]), -abs(z[1])
    return z


def relative(values, z, alpha, beta, road="series"):
    """Errors over the exact sizes; an overflow is right where the size overflows."""
    found = []
    for value, point in zip(np.asarray(values).tolist(), z.tolist(), strict=True):
        exact = reference(point, alpha, beta, road=road)
        if max(abs(exact.real), abs(exact.imag)) > LARGEST:
            found.append(0.0 if not np.isfinite(abs(value)) else np.inf)
            continue
        with mpmath.workdps(40):
            found.append(float(abs(mpmath.mpmathify(value) - exact) / abs(exact)))
    return np.array(found)


def said(z, errors, *parameters):
    worst = int(np.argmax(errors))
    return f"{parameters}, z {z[worst]!r}: {errors[worst]:.2e}"


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_relatively_over_the_plane(alpha, beta, seed):
    z = points(alpha, beta, np.random.default_rng(seed))
    errors = relative(mittag_leffler(z, alpha, beta), z, alpha, beta)
    assert errors.max() < TOLERANCE, said(z, errors, alpha, beta)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, -15.0), (2 - 2e-11, -16.0), (2 - 5e-11, -19.0)])
def test_exact_where_almost_nothing_is_left_of_a_large_gamma(alpha, beta):
    # 1 / gamma vanishes at all whole numbers: values of size 1 beside terms of 1e12 and more.
    z = np.array([0.66, -0.66, -1.39, 0.3 + 0.5j, 3.0 + 0.5j])
    errors = np.array(
        [
            float(abs(mpmath.mpc(value) - exact)) / (1 + float(abs(exact)))
            for value, exact in zip(
                mittag_leffler(z, alpha, beta),
                [reference(v, alpha, beta, road="series") for v in z.tolist()],
                strict=True,
            )
        ]
    )
    assert errors.max() < TOLERANCE, said(z, errors, alpha, beta)


@pytest.mark.parametrize("beta", [20.1, 90.5, -4.25, -12.5, -45.5, -90.25])
@pytest.mark.parametrize("alpha", [0.5, 1.3, 1.9])
def test_exact_relatively_on_the_real_axis(alpha, beta, seed):
    s = np.array([1e-3, 1.0, 20.0, 90.0]) * np.random.default_rng(seed).uniform(0.9, 1.1, 4)
    z = np.concatenate([-(s**alpha), s**alpha])
    values = mittag_leffler(z, alpha, beta)
    assert values.dtype == np.float64
    errors = relative(values, z, alpha, beta)
    assert errors.max() < TOLERANCE, said(z, errors, alpha, beta)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9, 1.2])
@pytest.mark.parametrize("beta", [101.5, 140.0, -25.5, -120.3])
def test_exact_relatively_at_large_arguments(alpha, beta):
    turns = np.exp(1j * np.pi * np.array([0.75, 0.9, 1.0, -0.8]))
    z = np.multiply.outer([1e6, 1e10], turns).ravel() * abs(beta) ** alpha
    errors = relative(mittag_leffler(z, alpha, beta), z, alpha, beta, road="asymptotic")
    assert errors.max() < TOLERANCE, said(z, errors, alpha, beta)


@pytest.mark.twin
@pytest.mark.parametrize(
    ("name", "value"), [("_STEP", 0.85), ("_DEPTH", 15.0), ("_SHIFTS", np.array([0.5, 0.1]))]
)
@pytest.mark.parametrize("beta", [150.0, -60.3])
def test_relative_check_rejects_a_coarser_rule(name, value, beta, monkeypatch):
    # Two shifts of which the second is applied to nodes of the first, or a rule that is too coarse.
    alpha, h = 0.8, far._STEP / np.sqrt(abs(beta - 1.0))
    turn = np.array([3.3, 7.6]) * h if beta > 0.0 else np.pi
    size = abs(beta - 1.0) * np.exp(0.0 if beta > 0.0 else np.array([3.3, -4.6]) * h)
    z = size**alpha * np.exp(1j * alpha * turn)
    assert relative(mittag_leffler(z, alpha, beta), z, alpha, beta).max() < TOLERANCE
    monkeypatch.setattr(far, name, value)
    if name == "_SHIFTS":
        nodes = far._average
        monkeypatch.setattr(far, "_average", lambda e, N, terms: nodes(np.roll(e, 1), N, terms))
    assert not relative(mittag_leffler(z, alpha, beta), z, alpha, beta).max() < TOLERANCE


@pytest.mark.twin
def test_relative_check_rejects_the_step_of_a_gaussian_bell_near_the_seam(monkeypatch):
    z = np.array([0.44 - 3.18j, 0.3 - 0.4j, -2.0, 1.1 + 0.2j])
    assert relative(mittag_leffler(z, 0.5, -4.01), z, 0.5, -4.01).max() < TOLERANCE
    monkeypatch.setattr(far, "_FINER", far._STEP)
    assert not relative(mittag_leffler(z, 0.5, -4.01), z, 0.5, -4.01).max() < TOLERANCE


@pytest.mark.twin
@pytest.mark.parametrize("beta", [150.0, -60.3])
def test_relative_check_rejects_a_neighbouring_second_parameter(beta, seed):
    z = points(0.8, beta, np.random.default_rng(seed))
    values = mittag_leffler(z, 0.8, beta * (1 + 1e-14))
    assert not relative(values, z, 0.8, beta).max() < TOLERANCE


# Other roads to the same numbers.


@pytest.mark.parametrize("alpha", [0.05, 0.4, 1.0, 1.8, 5.0])
@pytest.mark.parametrize("beta", [18.5, 20.0, -2.3, -4.0])
def test_routes_agree_with_the_common_contour(alpha, beta, seed):
    z = points(alpha, beta, np.random.default_rng(seed), count=40)
    one, two = far.far_beta(z, alpha, beta), mittag_leffler(z, alpha, beta)
    size = np.abs(one) + (float(mpmath.gamma(1 - beta)) if beta < 0 else 0.0)
    # At 18.5 the circle is not quite wide enough; at 20 the contour is good to 1e-13 just so.
    assert np.abs((two - one) / size).max() < (4 if beta > 0 else 1) * TOLERANCE


@pytest.mark.parametrize("alpha", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("seam", [-4.0, 20.0])
def test_limit_is_the_same_from_both_sides_of_a_seam(alpha, seam, seed):
    z = points(alpha, seam, np.random.default_rng(seed), count=30)
    at, beyond = (mittag_leffler(z, alpha, b) for b in (seam, np.nextafter(seam, 2 * seam)))
    size = np.abs(at) + (0.0 if seam > 0 else float(mpmath.gamma(1 - seam)))
    assert np.abs((at - beyond) / size).max() < 4 * TOLERANCE


@pytest.mark.parametrize("beta", [101.0, 133.7, 160.2])
def test_exact_incomplete_gamma_function_at_order_one(beta):
    z = np.array([1.0, 40.0, 99.0, 130.0, 200.0])
    exact = np.exp(z + (1 - beta) * np.log(z)) * gammainc(beta - 1, z)
    assert np.abs(mittag_leffler(z, 1.0, beta) / exact - 1).max() < 1e-12  # SciPy's own error


@pytest.mark.parametrize("beta", [-21.0, -60.0, -170.0])
def test_exact_where_whole_parameters_leave_only_residues(beta):
    z = np.array([0.3, 1.0, -1.0, 2.5, -7.0, 3 + 1j, -2 + 4j, 0.05j])
    exponential = z ** (1 - beta) * np.exp(z)
    assert np.abs(mittag_leffler(z, 1.0, beta) / exponential - 1).max() < TOLERANCE
    with mpmath.workdps(40):
        k = mpmath.ceil((1 - mpmath.mpf(beta)) / 2)
        rest = 2 * k + mpmath.mpf(beta) - 1
        root = [mpmath.sqrt(mpmath.mpc(v)) for v in z.tolist()]
        odd = [mpmath.sinh(s) / s if rest == 1 else mpmath.cosh(s) for s in root]
        exact = np.array([complex(s ** (2 * k) * f) for s, f in zip(root, odd, strict=True)])
    assert np.abs(mittag_leffler(z, 2.0, beta) / exact - 1).max() < TOLERANCE


@pytest.mark.parametrize("beta", [105.5, 150.25, -22.25, -88.5])
@pytest.mark.parametrize("alpha", [0.0625, 0.5, 1.25, 2.0])
def test_exact_step_in_the_second_parameter(alpha, beta, seed):
    z = points(alpha, beta, np.random.default_rng(seed), count=60)
    low, high = mittag_leffler(z, alpha, beta), z * mittag_leffler(z, alpha, alpha + beta)
    gap = np.abs(low - high - rgamma(beta))
    assert (gap / (np.abs(low) + np.abs(high) + abs(rgamma(beta)))).max() < 4 * TOLERANCE


# Ends.


def test_limit_is_nought_where_values_underflow():
    z = np.array([0.0, 1.0, -1.0, 30.0, -1e10])
    for beta in (250.0, 1e4, 1e17, 1e300):
        assert np.all(mittag_leffler(z, 0.9, beta) == 0.0)
    # Among the subnormal numbers the last bit is what there is.
    exact = [float(reference(v, 0.5, 175.3, road="series")) for v in (1.0, -2.0)]
    assert np.abs(mittag_leffler(np.array([1.0, -2.0]), 0.5, 175.3) - exact).max() <= 1e-323


def test_exact_where_a_residue_alone_does_not_underflow():
    z = np.array([560.0, 700.0]) ** 1.5
    errors = relative(mittag_leffler(z, 1.5, 202.0), z, 1.5, 202.0)
    assert errors.max() < TOLERANCE


@pytest.mark.parametrize("beta", [-180.5, -400.25, -2000.5, -1e6 - 0.5])
def test_overflow_has_the_sign_of_the_leading_term(beta):
    z = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    with np.errstate(all="raise", under="ignore"):
        values = mittag_leffler(z, 1.3, beta)
    assert np.array_equal(values, np.full(5, np.sign(np.sin(np.pi * beta)) * np.inf))


def test_exact_next_to_overflow():
    z = np.array([-1e50, -3e60])
    for beta in (-169.25, -180.5, -200.1):
        errors = relative(mittag_leffler(z, 0.6, beta), z, 0.6, beta, road="asymptotic")
        assert errors.max() < TOLERANCE


def test_keeps_nan_and_limits_at_infinity():
    z = np.array([np.nan, -np.inf, np.inf, 1.0])
    for beta in (150.0, -30.5):
        values = mittag_leffler(z, 0.5, beta)
        assert np.isnan(values).tolist() == [True, False, False, False]
        assert values[1:3].tolist() == [0.0, np.inf]
        both = mittag_leffler(z + 0j, 0.5, beta)
        assert np.array_equal(both.real, values, equal_nan=True)


def test_shapes_of_near_and_far_second_parameters_mix():
    z, beta = np.array([[-1.0], [2.0]]), np.array([-30.5, 1.0, 150.0])
    values = mittag_leffler(z, 0.5, beta)
    assert values.shape == (2, 3)
    for k in range(3):
        assert np.array_equal(values[:, k], mittag_leffler(z[:, 0], 0.5, beta[k]))
    assert mittag_leffler(np.zeros((0, 2)), 0.5, 150.0).shape == (0, 2)
    assert isinstance(mittag_leffler(1j, 0.5, 150.0), np.complex128)


def test_exact_at_nought():
    assert mittag_leffler(0.0, 0.5, -30.0) == 0.0
    for beta in (101.5, 160.0, -40.5, -150.25):
        exact = float(mpmath.rgamma(mpmath.mpf(beta)))
        assert abs(mittag_leffler(0.0, 0.5, beta) / exact - 1) < 1e-14


def test_refuses_infinite_second_parameters():
    with pytest.raises(NotFiniteError, match="`beta` must be finite"):
        mittag_leffler(-1.0, 0.5, np.array([1.0, np.inf]))
    with pytest.raises(NotFiniteError, match="`beta` must be finite"):
        mittag_leffler(-1.0, 0.5, np.array([1.0, np.nan]), derivative=1)
