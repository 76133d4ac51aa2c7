"""Modes: rates of known operators, relative accuracy of tiny ones, and what modes add up to."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest
import scipy.linalg as la

from fracsde.errors import InputError, OutOfRangeError, UnsupportedError
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.sinc import Sinc
from fracsde.physics._chains import log_masses, sparse_matrix
from fracsde.physics.modes import _balanced, _with_current, eigenmodes
from fracsde.physics.spectrum import relaxation_spectrum
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.potentials import double_well
from fracsde.solve import solve
from tests.support.orders import observed_order

LINE = (-np.inf, np.inf)


def oscillator(**changes):
    given = {
        "potential": lambda x: x**2 / 2,
        "diffusion": 1.0,
        "domain": LINE,
        "initial": Gaussian(mean=1.5, std=0.5),
    }
    return FokkerPlanck(**(given | changes))


def box(boundary="reflecting", **changes):
    given = {"diffusion": 0.7, "domain": (0.0, 2.0), "boundary": boundary, "initial": np.ones_like}
    return FokkerPlanck(**(given | changes))


def order_of_rates(problem, expected, count=5):
    def error(cells):
        rates = eigenmodes(problem, count, space=FiniteVolume(cells=cells)).rates
        return float(np.abs(rates - expected).max())

    return observed_order(error, (64, 128, 256, 512, 1024), 2.0)


def test_order_of_the_rates_of_the_oscillator():
    table = order_of_rates(oscillator(), np.arange(5.0))
    assert table.agrees(), table


@pytest.mark.twin
def test_order_of_the_rates_rejects_a_diffusion_of_one_per_thousand_more():
    assert not order_of_rates(oscillator(), 1.001 * np.arange(5.0)).agrees()


@pytest.mark.parametrize(
    ("boundary", "numbers"),
    [
        ("reflecting", np.arange(5.0)),
        ("absorbing", 1.0 + np.arange(5.0)),
        (("absorbing", "reflecting"), 0.5 + np.arange(5.0)),
    ],
)
def test_order_of_the_rates_of_the_square_well(boundary, numbers):
    table = order_of_rates(box(boundary), 0.7 * (numbers * np.pi / 2.0) ** 2)
    assert table.agrees(), table


def test_exact_rates_of_equal_cells():
    n, D, h = 100, 0.7, 0.02
    rates = eigenmodes(box(), n, space=FiniteVolume(cells=n)).rates
    exact = 4 * D / h**2 * np.sin(np.arange(n) * np.pi / (2 * n)) ** 2
    assert np.abs(rates[1:] / exact[1:] - 1).max() < 1e-13
    assert rates[0] == 0.0


def steep(cells=24):
    """Wells of depth 60: the rate between them is near 1e-26."""
    problem = FokkerPlanck(
        potential=double_well(barrier=60.0, tilt=1.5),
        diffusion=1.0,
        domain=(-1.6, 1.6),
        initial=np.ones_like,
    )
    return problem, FiniteVolume(cells=cells)


def rates_in_high_precision(chain, count):
    n = len(chain.right)
    with mpmath.workdps(80):
        right, left = [mpmath.mpf(r) for r in chain.right], [mpmath.mpf(r) for r in chain.left]
        H = mpmath.zeros(n)
        for i in range(n):
            H[i, i] = right[i] + left[i] + mpmath.mpf(chain.loss[i])
            if i < n - 1:
                H[i, i + 1] = H[i + 1, i] = -mpmath.sqrt(right[i] * left[i + 1])
        values, vectors = mpmath.eigsy(H)
        order = sorted(range(n), key=lambda k: values[k])[:count]
        masses = [mpmath.mpf(1)]
        for i in range(n - 1):
            masses.append(masses[-1] * right[i] / left[i + 1])
        functions = [[vectors[i, k] / mpmath.sqrt(masses[i]) for i in range(n)] for k in order]
        functions = [[float(v / f[-1]) for v in f] for f in functions]
        return np.array([float(values[k]) for k in order]), np.array(functions)


def worst(found, expected):
    return float(np.abs(found / expected - 1).max())


def test_exact_tiny_rates_and_functions_to_relative_accuracy():
    problem, space = steep()
    modes = eigenmodes(problem, 4, space=space)
    rates, functions = rates_in_high_precision(modes.generator, 4)
    assert 1e-28 < rates[1] < 1e-22
    assert worst(modes.rates[1:], rates[1:]) < 1e-13
    found = modes.functions / modes.functions[:, -1:]
    assert worst(found[:2], functions[:2]) < 1e-13


@pytest.mark.twin
def test_exact_tiny_rates_reject_eigenvalues_of_the_symmetrised_matrix():
    problem, space = steep()
    chain = space.discretise(problem)
    diagonal, bond, _ = chain.symmetrised()
    plain = la.eigh_tridiagonal(diagonal, bond[:-1], eigvals_only=True)
    rates, _ = rates_in_high_precision(chain, 2)
    assert not worst(plain[1:2], rates[1:2]) < 1e-3


def kramers_defect(strength):
    """Return (1 - rate / Eyring-Kramers) for barriers of given height over D = 1."""
    problem = FokkerPlanck(
        potential=double_well(barrier=strength),
        diffusion=1.0,
        domain=(-2.2, 2.2),
        initial=np.ones_like,
    )
    rate = eigenmodes(problem, 2, space=FiniteVolume(cells=4096)).rates[1]
    eyring = 2 * np.sqrt(8 * strength * 4 * strength) / (2 * np.pi) * np.exp(-strength)
    return 1 - rate / eyring


def test_order_of_the_correction_to_eyring_and_kramers():
    """Laplace's method: 1 - 3 D / (8 b) + O(D^2)."""
    table = observed_order(kramers_defect, (4, 8, 16, 32, 64), 1.0)
    assert table.agrees(), table
    assert kramers_defect(64) * 64 == pytest.approx(0.375, abs=0.01)


@pytest.mark.twin
def test_correction_rejects_a_prefactor_that_is_wrong_by_one_per_cent():
    assert not observed_order(
        lambda b: abs(1 - 1.01 * (1 - kramers_defect(b))), (4, 8, 16, 32, 64), 1.0
    ).agrees()


ROADS = {
    "row": {},
    "walls": {"boundary": ("absorbing", "reflecting")},
    "reaction": {"reaction": lambda x: 1.0 + x**2},
    "ring": {"boundary": "periodic"},
    "drift": {"boundary": "periodic", "force": lambda x: 1.0 + 0 * x},
    "well": {"potential": lambda x: 3 * np.cos(np.pi * x)},
}


@pytest.mark.parametrize("road", ROADS)
def test_exact_duality_and_residuals_on_every_road(road):
    modes = eigenmodes(box(**ROADS[road]), 6, space=FiniteVolume(cells=120))
    gram = modes.functions @ (modes.densities * modes.widths).T
    assert np.abs(gram - np.eye(6)).max() < 1e-9
    assert modes.residuals.max() < 1e-13
    assert np.all(np.diff(modes.rates.real) > -1e-9)


@pytest.mark.parametrize("road", ROADS)
def test_routes_agree_of_modes_and_the_matrix(road):
    modes = eigenmodes(box(**ROADS[road]), 6, space=FiniteVolume(cells=90))
    exact = np.sort_complex(-la.eigvals(modes.generator.matrix()))[:6]
    order = np.lexsort((modes.rates.imag, modes.rates.real.round(6)))
    again = np.lexsort((exact.imag, exact.real.round(6)))
    assert np.abs(modes.rates[order] - exact[again]).max() < 1e-8


def test_exact_rates_of_drift_round_a_ring():
    D, n = 0.7, 60
    modes = eigenmodes(box(**ROADS["drift"]), 5, space=FiniteVolume(cells=n))
    chain = modes.generator
    k = np.array([0, 1, -1, 2, -2])
    turn = 2j * np.pi * k / n
    exact = chain.right[0] * (1 - np.exp(-turn)) + chain.left[0] * (1 - np.exp(turn))
    key = lambda z: (z.real.round(8), z.imag)  # noqa: E731
    assert (
        np.abs(np.array(sorted(modes.rates, key=key)) - np.array(sorted(exact, key=key))).max()
        < 1e-10
    )
    assert abs(exact[1] - (D * np.pi**2 + 1j * np.pi)) < 0.02


def test_routes_agree_of_dense_and_iterated_modes(monkeypatch):
    from fracsde.physics import modes as module

    balanced = FiniteVolume(cells=300).discretise(box(**ROADS["reaction"]))
    driven = FiniteVolume(cells=300).discretise(
        box(boundary="periodic", force=lambda x: 1.0 + np.sin(np.pi * x))
    )
    dense = _balanced(balanced, log_masses(balanced), 5)[0], _with_current(driven, 5)[0]
    monkeypatch.setattr(module, "_DENSE_SYMMETRIC", 0)
    monkeypatch.setattr(module, "_DENSE", 0)
    iterated = _balanced(balanced, log_masses(balanced), 5)[0], _with_current(driven, 5)[0]
    for a, b in zip(dense, iterated, strict=True):
        assert np.abs(np.sort_complex(a.round(7)) - np.sort_complex(b.round(7))).max() < 1e-6


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_routes_agree_of_modes_and_solve(alpha):
    base = oscillator()
    problem = FractionalFokkerPlanck(base=base, alpha=alpha, timescale=2.0)
    space = FiniteVolume(cells=200)
    times = [0.5, 3.0]
    solution = solve(problem, times, space=space)
    modes = eigenmodes(problem, 60, space=space)
    assert np.abs(modes.density(times, base.initial) - solution.density).max() < 2e-8


@pytest.mark.twin
def test_routes_of_modes_and_solve_reject_another_timescale():
    base = oscillator()
    problem = FractionalFokkerPlanck(base=base, alpha=0.5, timescale=2.0)
    space = FiniteVolume(cells=200)
    modes = eigenmodes(replace(problem, timescale=2.001), 60, space=space)
    solution = solve(problem, [0.5, 3.0], space=space)
    assert not np.abs(modes.density([0.5, 3.0], base.initial) - solution.density).max() < 2e-8


def test_exact_spectrum_of_observables_of_the_oscillator():
    found = relaxation_spectrum(
        oscillator(), lambda x: x**3, count=5, space=FiniteVolume(cells=800)
    )
    # x^3 = He_3 + 3 He_1: weights 3! and 9.
    assert np.abs(found.weights - [9, 0, 6, 0, 0]).max() < 2e-2
    assert abs(found.missing) < 1e-3
    assert abs(found.variance - 15) < 1e-2


def test_exact_weights_add_up_to_the_variance():
    problem = box(potential=lambda x: np.cos(np.pi * x))
    found = relaxation_spectrum(problem, np.sin, count=59, space=FiniteVolume(cells=60))
    assert abs(found.missing) < 1e-12
    assert abs(found.at(0.0)[0] / found.variance - 1) < 1e-12


def plane(omega=0.0):
    force = None if omega == 0.0 else (lambda x, y: (-omega * y, omega * x))
    return FokkerPlanck(
        potential=lambda x, y: x**2 / 2 + y**2,
        force=force,
        diffusion=1.0,
        domain=((-6.0, 6.0), (-5.0, 5.0)),
        initial=Gaussian(mean=(1.0, 0.0), std=0.5),
    )


def test_exact_rates_in_the_plane_are_sums():
    modes = eigenmodes(plane(), 5, space=FiniteVolume(cells=(48, 40)))
    axes = [
        eigenmodes(
            FokkerPlanck(potential=V, diffusion=1.0, domain=d, initial=np.ones_like),
            5,
            space=FiniteVolume(cells=n),
        ).rates
        for V, d, n in (
            (lambda x: x**2 / 2, (-6.0, 6.0), 48),
            (lambda y: y**2, (-5.0, 5.0), 40),
        )
    ]
    sums = np.sort(np.add.outer(*axes).ravel())[:5]
    assert np.abs(modes.rates - sums).max() < 1e-8
    assert modes.residuals.max() < 1e-12


def test_exact_rates_of_a_stirred_well_are_those_of_its_drift():
    """Linear drift A: rates are sums of the eigenvalues of A."""
    modes = eigenmodes(plane(omega=2.0), 3, space=FiniteVolume(cells=(60, 60)))
    exact = la.eigvals(np.array([[1.0, 2.0], [-2.0, 2.0]]))
    assert abs(modes.rates[0]) < 1e-8
    found = modes.rates[1:][np.argsort(modes.rates[1:].imag)]
    assert np.abs(found - exact[np.argsort(exact.imag)]).max() < 0.03


def test_refuses_more_modes_than_cells_and_nodes_for_cells():
    with pytest.raises(OutOfRangeError, match="more cells"):
        eigenmodes(box(), 40, space=FiniteVolume(cells=20))
    with pytest.raises(UnsupportedError, match="must make cells"):
        eigenmodes(oscillator(), 3, space=Sinc(points=32))
    with pytest.raises(InputError, match="must be a space"):
        eigenmodes(oscillator(), 3, space=64)
    with pytest.raises(InputError, match="must be a FokkerPlanck"):
        eigenmodes("x", 3)
    with pytest.raises(OutOfRangeError, match="must not be negative"):
        eigenmodes(box(), 3).relaxation([-1.0])
    with pytest.raises(UnsupportedError, match="without current"):
        relaxation_spectrum(box(boundary="absorbing"), np.sin)
    moving = box(force=lambda t, x: np.cos(t) + 0 * x, time_dependent=True)
    with pytest.raises(UnsupportedError, match="frozen_at"):
        eigenmodes(moving, 2)


def test_exact_sparse_matrix_is_the_chains_own():
    for changes in ROADS.values():
        chain = FiniteVolume(cells=11).discretise(box(**changes))
        assert np.array_equal(sparse_matrix(chain).toarray(), chain.matrix())


def wells(height):
    return FokkerPlanck(
        potential=lambda x: height * (x**2 - 1.0) ** 2,
        diffusion=1.0,
        domain=(-2.0, 2.0),
        initial=Gaussian(mean=-1.0, std=0.1),
    )


@pytest.mark.filterwarnings("error")
def test_modes_of_a_barrier_whose_square_overflows_are_dual():
    modes = eigenmodes(wells(500.0), 3)  # the fourth is a pair, of one rate to rounding
    assert modes.residuals.max() < 1e-12
    products = (modes.functions * modes.widths) @ modes.densities.T
    assert np.diag(products) == pytest.approx(np.ones(3), rel=1e-12)
    assert np.abs(modes.functions[2]).max() > 1e100


def test_refuses_modes_beyond_the_range_of_double_precision():
    with pytest.raises(UnsupportedError, match="range of double precision; ask for fewer"):
        eigenmodes(wells(2000.0), 4)
