"""Tensor cells: identities to rounding, equilibrium, order, walls, lattice directions, solves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_continuous_lyapunov

from fracsde.errors import (
    BackendUnavailable,
    GridError,
    NotFiniteError,
    OutOfRangeError,
    ShapeError,
    UnsupportedError,
)
from fracsde.grids import SpaceGrid
from fracsde.operators import shifted
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.lattice import selling
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from tests.support.damage import one_sign
from tests.support.exact import EPS
from tests.support.orders import observed_order

PERIODIC, OPEN, CLOSED = (("periodic",) * 2, ("absorbing",) * 2, ("reflecting",) * 2)
WALLS = [
    "reflecting",
    "absorbing",
    "periodic",
    (PERIODIC, ("absorbing", "reflecting")),
    (("reflecting", "absorbing"), PERIODIC),
]
A = np.array([[1.0, 0.5], [0.5, 1.0]])
OU_BOX = ((-7.0, 7.0), (-6.0, 6.0))


def wavy(boundary="reflecting", **changes):
    """Everything variable, period one along both axes."""
    given_ = {
        "potential": lambda x, y: np.cos(2 * np.pi * x) * (2 + np.sin(2 * np.pi * y)),
        "force": lambda x, y: (np.sin(2 * np.pi * y), 2 + np.cos(2 * np.pi * x)),
        "diffusion": lambda x, y: (1 + 0.3 * np.sin(2 * np.pi * y), 1.2 + 0 * x),
        "domain": ((0.0, 1.0), (0.0, 1.0)),
        "initial": lambda x, y: 1 + 0 * x * y,
        "boundary": boundary,
    }
    return FokkerPlanck(**(given_ | changes))


def coupled(**changes):
    given_ = {
        "potential": lambda x, y: (x**2 + x * y + y**2) / 2,
        "diffusion": 1.0,
        "domain": OU_BOX,
        "initial": Gaussian(mean=(1.0, 0.0), std=0.5),
    }
    return FokkerPlanck(**(given_ | changes))


def uneven(shape, seed=0):
    rng = np.random.default_rng(seed)
    edges = []
    for n in shape:
        widths = rng.uniform(0.3, 1.0, n)
        edges.append(np.concatenate([[0.0], np.cumsum(widths) / widths.sum()]))
    return SpaceGrid(edges=tuple(edges))


def columns_close(L, loss):
    off = L - np.diag(np.diag(L))
    return np.all(off >= 0) and np.abs(L.sum(axis=0) + loss).max() <= 64 * EPS * np.abs(L).max()


# --- identities -------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", WALLS)
@pytest.mark.parametrize("diffusion", [None, 0.7, [[1.0, 0.6], [0.6, 0.8]]])
def test_exact_columns_sum_to_minus_the_losses(boundary, diffusion):
    changes = {} if diffusion is None else {"diffusion": diffusion}
    space = FiniteVolume(cells=(12, 14) if np.ndim(diffusion) else 12)
    if not np.ndim(diffusion):
        space = FiniteVolume(grid=uneven((7, 9)))
    grid = space.discretise(wavy(boundary, reaction=lambda x, y: x + y, **changes))
    assert columns_close(grid.matrix().toarray(), grid.loss.ravel())
    assert not grid.conserves_mass


@pytest.mark.twin
def test_exact_columns_reject_one_sign():
    L = FiniteVolume(cells=6).discretise(wavy()).matrix().toarray()
    assert not columns_close(one_sign(L), np.zeros(36))


@pytest.mark.parametrize("boundary", ["reflecting", (PERIODIC, CLOSED)])
def test_exact_equilibrium_is_the_boltzmann_density_at_the_centres(boundary):
    problem = wavy(boundary, force=None, diffusion=0.4)
    grid = FiniteVolume(grid=uneven((11, 8))).discretise(problem)
    x, y = np.meshgrid(*grid.axes, indexing="ij")
    expected = np.exp(-problem.potential_at(x, y) / 0.4).ravel()
    expected /= expected @ grid.widths
    assert grid.detailed_balance
    assert np.abs(grid.stationary() / expected - 1).max() < 1e-13
    rates = np.abs(grid.matrix().diagonal()).max()
    assert np.abs(grid.apply(expected)).max() < 1e-14 * rates * expected.max()


@pytest.mark.twin
def test_exact_equilibrium_rejects_a_force():
    grid = FiniteVolume(cells=8).discretise(wavy())
    assert not grid.detailed_balance
    # Turned round by the force: the equilibrium carries a current, and is not exp(-V/D).
    problem = wavy(force=None, diffusion=0.4)
    expected = np.exp(-problem.potential_at(*grid.mesh) / 0.4).ravel()
    expected /= expected @ grid.widths
    assert np.abs(grid.apply(expected)).max() > 0.1


def test_exact_equilibrium_of_a_matrix_where_the_drift_is_its_gradient():
    """b = -D grad U has the equilibrium exp(-U), to rounding for quadratic U."""
    D = np.array([[1.0, 0.6], [0.6, 0.8]])
    drift = -D @ A
    problem = coupled(
        potential=None,
        force=lambda x, y: (
            drift[0, 0] * x + drift[0, 1] * y,
            drift[1, 0] * x + drift[1, 1] * y,
        ),
        diffusion=D,
    )
    grid = FiniteVolume(cells=(28, 24)).discretise(problem)
    x, y = grid.points.T
    expected = np.exp(-0.5 * (x * x + x * y + y * y))
    expected /= expected @ grid.widths
    assert grid.detailed_balance
    found = grid.stationary()
    assert np.abs(found - expected).max() < 1e-13 * expected.max()
    assert not FiniteVolume(cells=(28, 24)).discretise(coupled(diffusion=D)).detailed_balance


@pytest.mark.parametrize("seed", range(5))
def test_exact_squares_of_lattice_vectors_add_up_to_the_matrix(seed):
    rng = np.random.default_rng(seed)
    angle, ratio = rng.uniform(0, np.pi), 10.0 ** rng.uniform(0, 4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    M = (turn * [1.0, ratio]) @ turn.T
    terms = selling(M)
    rebuilt = sum(w * np.multiply.outer(e, e) for w, e in terms)
    assert len(terms) <= 3
    assert all(w > 0 for w, _ in terms)
    assert np.abs(rebuilt - M).max() < 1e-10 * ratio


@pytest.mark.twin
def test_exact_squares_reject_a_vector_for_its_mirror_image():
    M = np.array([[1.0, 0.6], [0.6, 0.8]])
    terms = [(w, (e[0], -e[1])) for w, e in selling(M)]
    assert np.abs(sum(w * np.multiply.outer(e, e) for w, e in terms) - M).max() > 1.0


def test_exact_one_axis_is_the_line():
    """A plane that does not depend on y is the chain of x, cell by cell."""
    line = FokkerPlanck(
        potential=lambda x: np.cos(6 * x),
        force=lambda x: 2 + x,
        diffusion=lambda x: 1 + x**2,
        domain=(0.0, 1.0),
        initial=lambda x: 1 + 0 * x,
        boundary=("absorbing", "reflecting"),
    )
    plane = FokkerPlanck(
        potential=lambda x, y: np.cos(6 * x) + 0 * y,
        force=lambda x, y: (2 + x, 0 * y),
        diffusion=lambda x, y: 1 + x**2 + 0 * y,
        domain=((0.0, 1.0), (0.0, 2.0)),
        initial=lambda x, y: 1 + 0 * x * y,
        boundary=(("absorbing", "reflecting"), CLOSED),
    )
    chain = FiniteVolume(cells=9).discretise(line)
    grid = FiniteVolume(cells=(9, 5)).discretise(plane)
    m = np.random.default_rng(0).uniform(size=9)
    found = grid.apply_to_masses(np.multiply.outer(m, np.ones(5)).ravel()).reshape(9, 5)
    expected = chain.apply_to_masses(m)
    assert np.abs(found - expected[:, None]).max() < 64 * EPS * np.abs(chain.matrix()).max()


# --- order ------------------------------------------------------------------------------------


def moments_error(problem, n, drift):
    """Distance of the stationary covariance from the Lyapunov equation's."""
    grid = FiniteVolume(cells=n).discretise(problem)
    masses = grid.stationary() * grid.widths
    x = grid.points
    found = (x * masses[:, None]).T @ x
    exact = solve_continuous_lyapunov(drift, 2.0 * problem.tensor)
    return float(np.abs(found - exact).max())


def swirl(x, y):
    return -1.5 * y, 1.5 * x


ROTATED = {
    "potential": lambda x, y: (x**2 + 2 * y**2) / 2,
    "force": swirl,
}
ROTATED_DRIFT = np.array([[1.0, 1.5], [-1.5, 2.0]])
CASES = [
    ({"diffusion": (1.0, 0.4)}, A),
    ({"diffusion": [[1.0, 0.6], [0.6, 0.8]]}, A),
    (ROTATED, ROTATED_DRIFT),
    (ROTATED | {"diffusion": [[1.0, -0.5], [-0.5, 0.7]]}, ROTATED_DRIFT),
]


@pytest.mark.parametrize(("changes", "drift"), CASES)
def test_order_two_of_stationary_laws_with_currents(changes, drift):
    """Ring currents and full matrices against the exact Gaussian law."""
    problem = coupled(**changes)
    table = observed_order(lambda n: moments_error(problem, n, drift), (20, 28, 40, 56, 80), 2.0)
    assert table.agrees(), str(table)


@pytest.mark.twin
def test_order_two_rejects_the_transposed_drift():
    problem = coupled(**ROTATED)
    table = observed_order(
        lambda n: moments_error(problem, n, ROTATED_DRIFT.T), (20, 28, 40, 56, 80), 2.0
    )
    assert not table.agrees(), str(table)


def residual_of_a_wave(n, boundary, diffusion):
    """Error of (1 - L) p = s for a smooth p that satisfies the walls."""

    def p(x, y):
        wave = {"periodic": np.cos, "absorbing": np.sin}
        f, g = (wave[b] for b in boundary)
        scale = [2 if b == "periodic" else 1 for b in boundary]
        return f(scale[0] * np.pi * x) * g(scale[1] * np.pi * y)

    problem = FokkerPlanck(
        potential=lambda x, y: 0.3 * np.cos(2 * np.pi * x) * np.cos(2 * np.pi * y),
        diffusion=diffusion,
        domain=((0, 1), (0, 1)),
        initial=lambda x, y: 1 + 0 * x * y,
        boundary=tuple((b,) * 2 for b in boundary),
    )
    grid = FiniteVolume(cells=n).discretise(problem)
    fine = 1e-4
    x, y = np.meshgrid(*grid.axes, indexing="ij")

    def flux_divergence(u, v):
        # L p by fourth-order differences of the exact fluxes' ingredients.
        def d(f, axis):
            e = np.array([fine, 0.0]) if axis == 0 else np.array([0.0, fine])
            return lambda a, b: (
                (
                    8 * (f(a + e[0], b + e[1]) - f(a - e[0], b - e[1]))
                    - (f(a + 2 * e[0], b + 2 * e[1]) - f(a - 2 * e[0], b - 2 * e[1]))
                )
                / (12 * fine)
            )

        total = 0.0
        for axis in range(2):
            D = np.broadcast_to(diffusion, 2)[axis]
            gradient, slope = d(p, axis), d(problem.potential, axis)
            total = total + d(lambda a, b: p(a, b) * slope(a, b) + D * gradient(a, b), axis)(u, v)  # noqa: B023
        return total

    s = p(x, y) - flux_divergence(x, y)
    found = grid.solve_shifted(1.0, s.ravel()).reshape(x.shape)
    return float(np.abs(found - p(x, y)).max())


@pytest.mark.parametrize(
    "boundary", [("periodic", "absorbing"), ("absorbing", "absorbing"), ("periodic", "periodic")]
)
def test_order_two_up_to_mixed_walls(boundary):
    table = observed_order(
        lambda n: residual_of_a_wave(n, boundary, (1.0, 0.6)), (12, 16, 24, 32, 48), 2.0
    )
    assert table.agrees(), str(table)


@pytest.mark.parametrize(("wall", "expected"), [("reflecting", 1.0), ("absorbing", 2.0)])
def test_order_of_a_full_matrix_oblique_to_its_walls(wall, expected):
    """One at reflecting walls that the density touches, two at absorbing ones."""
    problem = wavy(wall, potential=None, force=None, diffusion=[[1.0, 0.6], [0.6, 0.8]])
    coarse, inner = None, []
    for n in (9, 27, 81, 243):  # cells cut in three keep their centres
        grid = FiniteVolume(cells=n).discretise(problem)
        x, y = grid.points.T
        u = grid.solve_shifted(1.0, 1 + x + np.cos(2 * x + y)).reshape(n, n)
        if coarse is not None:
            part = slice(n // 9, 2 * n // 9)
            inner.append(np.abs(u[1::3, 1::3] - coarse)[part, part].max())
        coarse = u
    assert abs(np.log(inner[-2] / inner[-1]) / np.log(3) - expected) < 0.15, inner


# --- kept -------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    boundary=st.sampled_from(WALLS),
    tilt=st.floats(-200.0, 200.0),
    log_shift=st.floats(-3.0, 6.0),
    full=st.booleans(),
)
def test_keeps_positivity_and_mass_on_random_cells(seed, boundary, tilt, log_shift, full):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(2, 2))
    changes = {"diffusion": matrix @ matrix.T + 0.2 * np.eye(2)} if full else {}
    problem = wavy(boundary, force=lambda x, y: (tilt + 0 * x * y, -tilt * x), **changes)
    space = FiniteVolume(cells=(24, 20)) if full else FiniteVolume(grid=uneven((6, 5), seed))
    try:
        grid = space.discretise(problem)
    except GridError:
        return  # too oblong a matrix for so few cells
    n = len(grid.widths)
    rhs = rng.uniform(0.0, 1.0, n) * (rng.random(n) < 0.5)
    shift = 10.0**log_shift
    p = grid.solve_shifted(shift, rhs)
    assert np.all(p >= 0)
    balance = shift * (p @ grid.widths) + grid.loss.ravel() @ (p * grid.widths)
    assert abs(balance - rhs @ grid.widths) <= 1e-9 * (rhs @ grid.widths)


def test_keeps_arguments_unmodified():
    grid = FiniteVolume(cells=6).discretise(wavy())
    rhs = np.linspace(1.0, 2.0, 36)
    before = rhs.copy()
    grid.solve_shifted(1.0 + 1.0j, rhs)
    grid.apply(rhs)
    assert np.array_equal(rhs, before)
    with pytest.raises(ValueError, match="read-only"):
        grid.matrix().data[0] = 1.0


# --- solves -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.3, 2.0 + 3.0j, -1.0 + 4.0j])
@pytest.mark.parametrize("changes", [{}, ROTATED, {"diffusion": [[1.0, 0.6], [0.6, 0.8]]}])
def test_routes_agree_direct_and_multigrid_and_dense(shift, changes):
    pytest.importorskip("pyamg")
    grid = FiniteVolume(cells=(18, 16)).discretise(coupled(**changes))
    rhs = grid.project(coupled().initial)
    size = len(rhs)
    dense = np.linalg.solve(shift * np.eye(size) - grid.matrix().toarray(), rhs)
    for method in ("direct", "multigrid"):
        solver = grid.solver(method)
        found = solver.solve(shift, rhs)
        assert np.iscomplexobj(found) == np.iscomplexobj(shift)
        assert np.abs(found - dense).max() < 1e-10 * np.abs(dense).max()
    assert (
        np.abs(grid.solve_shifted(shift, rhs / grid.widths) * grid.widths - dense).max()
        < 1e-10 * np.abs(dense).max()
    )


def test_routes_agree_lines_and_direct_in_three_dimensions():
    problem = FokkerPlanck(
        potential=lambda x, y, z: x**2 + 0.5 * y**2 + np.cos(z),
        diffusion=(1.0, 0.5, 2.0),
        domain=((-3, 3), (-3, 3), (-np.pi, np.pi)),
        initial=Gaussian(mean=(0.3, 0.0, 0.0), std=0.6),
        boundary=(("reflecting", "absorbing"), CLOSED, PERIODIC),
    )
    grid = FiniteVolume(cells=(9, 8, 10)).discretise(problem)
    assert grid.lines is not None
    rhs = grid.project(problem.initial)
    for shift in (0.5, 1.0 + 2.0j):
        lines, direct = (grid.solver(m).solve(shift, rhs) for m in ("lines", "direct"))
        assert np.abs(lines - direct).max() < 1e-11 * np.abs(direct).max()


@pytest.mark.twin
def test_lines_are_seen_in_the_rates_not_believed():
    """A coupling of a millionth is a coupling."""
    kept = {"domain": OU_BOX, "diffusion": 1.0, "initial": Gaussian(mean=(0.0, 0.0), std=1.0)}
    for coupling, apart in ((0.0, True), (1e-6, False)):
        problem = FokkerPlanck(
            potential=lambda x, y, c=coupling: x**2 / 2 + y**4 / 8 + c * x * y, **kept
        )
        assert (FiniteVolume(cells=16).discretise(problem).lines is not None) is apart


def test_factors_are_kept_for_the_shifts_of_one_solver():
    solver = FiniteVolume(cells=8).discretise(coupled()).solver()
    rhs = np.ones(64)
    for shift in (1.0, 2.0, 1.0, 2.0):
        solver.solve(shift, rhs)
    assert solver.stats["factorisations"] == 2
    assert solver.stats["solves"] == 4


def test_exact_smearing_is_the_artificial_diffusion_of_the_fluxes():
    """With a constant tilt jumps both ways spread by more than they should, by just this much."""
    for diffusion in (0.5, [[0.5, 0.2], [0.2, 0.4]]):
        problem = wavy(
            "periodic",
            potential=None,
            force=lambda x, y: (6.0 + 0 * x * y, 0 * x * y),
            diffusion=diffusion,
        )
        grid = FiniteVolume(cells=(16, 12)).discretise(problem)
        smearing = grid.smearing(np.ones(192))
        spread = np.zeros(2)
        for bond in grid.bonds:
            true = bond.onward[3, 3] / (bond.tilt[3, 3] / np.expm1(bond.tilt[3, 3])
                                        if bond.tilt[3, 3] else 1.0)  # fmt: skip
            extra = 0.5 * (bond.onward + bond.back)[3, 3] / true - 1.0
            for axis, step in enumerate(bond.offset):
                spread[axis] = max(spread[axis], extra * (step != 0))
        assert np.allclose(smearing, spread, rtol=1e-12, atol=1e-14)
        assert smearing[0] > 0.04


# --- between the cells ------------------------------------------------------------------------


def interpolation_error(n):
    problem = wavy((PERIODIC, ("absorbing", "reflecting")), force=None)
    grid = FiniteVolume(cells=n).discretise(problem)

    def p(x, y):
        return (1 + 0.5 * np.cos(2 * np.pi * x)) * np.sin(0.5 * np.pi * y)

    x, y = np.random.default_rng(1).uniform(size=(2, 4000))
    found = grid.interpolate(p(*grid.mesh)[None], (x, y))[0]
    return float(np.abs(found - p(x, y)).max())


def test_order_two_between_the_cells_up_to_the_walls():
    table = observed_order(interpolation_error, (10, 20, 40, 80, 160), 2.0)
    assert abs(np.log2(table.errors[0] / table.errors[-1]) / 4 - 2.0) < 0.15, str(table)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: FiniteVolume(cells=(8, 8, 8)).discretise(wavy()), ShapeError, "3 numbers and the"),
        (lambda: FiniteVolume(cells=(8, 2)), OutOfRangeError, r"`cells\[1\]` must be at least 3"),
        (lambda: FiniteVolume(cells=8192).discretise(wavy()), GridError, "16777216 are served"),
        (
            lambda: FiniteVolume(grid=uneven((5, 5, 5))).discretise(wavy()),
            ShapeError,
            "3 dimensions and the problem 2",
        ),
        (
            lambda: FiniteVolume(grid=uneven((5, 5))).discretise(coupled()),
            GridError,
            "along axis 0 and the domain at -7",
        ),
        (
            lambda: FiniteVolume(grid=uneven((5, 5))).discretise(
                wavy(diffusion=[[1, 0.5], [0.5, 1]])
            ),
            UnsupportedError,
            "needs equal",
        ),
        (
            lambda: FiniteVolume(cells=16).discretise(
                wavy(diffusion=[[1.0, 0.999], [0.999, 0.9981]])
            ),
            GridError,
            "so oblong .* use more of them",
        ),
        (
            lambda: FiniteVolume(cells=8).discretise(wavy("absorbing")).stationary(),
            UnsupportedError,
            "all of it is gone in the end",
        ),
        (
            lambda: FiniteVolume(cells=8).discretise(wavy()).solve_shifted(-1.0, np.ones(64)),
            OutOfRangeError,
            "`shift` must be positive or off the real axis",
        ),
        (
            lambda: FiniteVolume(cells=8).discretise(wavy()).solve_shifted(1.0, np.ones(63)),
            ShapeError,
            "`rhs` must have shape",
        ),
        (
            lambda: FiniteVolume(cells=8).discretise(wavy()).solver("lines"),
            UnsupportedError,
            "falls apart into lines",
        ),
        (
            lambda: FiniteVolume(cells=8).discretise(
                wavy(
                    time_dependent=True,
                    force=lambda t, x, y: (x, y),
                    diffusion=1.0,
                )
            ),
            UnsupportedError,
            r"problem.frozen_at\(t\)",
        ),
        (
            lambda: FiniteVolume(cells=64).discretise(
                wavy(potential=None, diffusion=1.0, force=lambda x, y: (1 / (x - 0.5), 0 * y))
            ),
            NotFiniteError,
            r"`force\[0\]` must be finite, got .* at \(x, y\) = \(0.5",
        ),
    ],
)
def test_refuses_what_has_no_cells(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_refuses_multigrid_that_is_not_installed(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(shifted, "import_module", absent)
    solver = FiniteVolume(cells=8).discretise(coupled()).solver("multigrid")
    with pytest.raises(BackendUnavailable, match=r"fracsde\[multigrid\]"):
        solver.solve(1.0, np.ones(64))
