"""Independent coordinates on one clock equal tensor grids, eigenvectors and exact moments."""

from types import SimpleNamespace

import numpy as np
import pytest

import fracsde.schemes.separable as separable
from fracsde import solve
from fracsde.errors import (
    ComputationError,
    InputError,
    OutOfRangeError,
    ShapeError,
    UnsupportedError,
)
from fracsde.operators.finite_volume import FiniteVolume
from fracsde.operators.sinc import Sinc
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.separable import SeparableFokkerPlanck
from fracsde.problems.subordinated import SubordinatedOU
from fracsde.schemes.l1 import L1
from fracsde.schemes.modes import modes_of
from fracsde.schemes.propagator import Propagator
from fracsde.special import mittag_leffler
from fracsde.status import Status
from fracsde.transients import covariance_at, mean_at
from tests.support.orders import observed_order

ALPHA, TIMES = 0.6, np.array([0.05, 0.5, 5.0])
CELLS = FiniteVolume(cells=64)


def well(rate=1.0, mean=1.0, **changes):
    given = {
        "potential": lambda x: rate * x**2 / 2,
        "diffusion": 1.0,
        "domain": (-8.0, 8.0),
        "initial": Gaussian(mean=mean, std=0.5),
    }
    return FokkerPlanck(**(given | changes))


def separable_problem(*factors, alpha=ALPHA, timescale=1.0):
    return SeparableFokkerPlanck(factors=factors, alpha=alpha, timescale=timescale)


# --- the same equation on a tensor grid -------------------------------------------------------

CASES = {
    "kept": ({}, {}, {}),
    "lost": (
        {"domain": (-3.0, 3.0), "boundary": "absorbing"},
        {"reaction": lambda y: y**2},
        {
            "domain": ((-3.0, 3.0), (-8.0, 8.0)),
            "boundary": (("absorbing",) * 2, ("reflecting",) * 2),
            "reaction": lambda x, y: y**2 + 0 * x,
        },
    ),
}


def both_roads(name, timescale=1.0, **options):
    first, second, both = CASES[name]
    problem = separable_problem(well(**first), well(0.5, -0.7, **second), timescale=timescale)
    plane = {
        "potential": lambda x, y: x**2 / 2 + 0.25 * y**2,
        "diffusion": 1.0,
        "domain": ((-8.0, 8.0),) * 2,
        "initial": Gaussian(mean=(1.0, -0.7), std=0.5),
    }
    tensor = FractionalFokkerPlanck(
        base=FokkerPlanck(**(plane | both)), alpha=ALPHA, timescale=timescale
    )
    return (
        solve(problem, TIMES, space=CELLS, **options),
        solve(tensor, TIMES, space=CELLS),
    )


def apart(a, b):
    # Largest difference at each time over the largest value.
    gap = np.abs(a - b).reshape(len(b), -1).max(axis=1)
    return float((gap / np.abs(b).reshape(len(b), -1).max(axis=1)).max())


@pytest.mark.parametrize("name", CASES)
def test_routes_agree_with_the_tensor_grid(name):
    mixture, tensor = both_roads(name, timescale=0.5)
    assert mixture.status is Status.SUCCESS
    assert mixture.error_estimate < 2e-12
    assert apart(mixture.pair_marginal(0, 1), tensor.density) < 5e-12
    for axis in (0, 1):
        assert apart(mixture.marginal(axis), tensor.marginal(axis)) < 5e-12
    assert np.abs(mixture.mass_defect() - tensor.mass_defect()).max() < 2e-12
    assert np.abs(mixture.mean() - tensor.mean()).max() < 5e-12
    assert np.abs(mixture.covariance() - tensor.covariance()).max() < 2e-11
    assert np.abs(mixture.variance() - tensor.variance()).max() < 2e-11
    assert np.abs(mixture.moment(2) - tensor.moment(2)).max() < 2e-11
    assert np.abs(mixture.moment((1, 2)) - tensor.moment((1, 2))).max() < 2e-11
    x = np.array([-2.9, -0.31, 0.0, 2.77])[:, None], np.array([-7.8, 0.3, 7.8])
    assert apart(mixture.density_at(*x), tensor.density_at(*x)) < 5e-12


@pytest.mark.twin
def test_a_clock_for_each_coordinate_is_rejected():
    mixture, tensor = both_roads("kept")
    product = mixture.marginal(0)[:, :, None] * mixture.marginal(1)[:, None, :]
    assert apart(product, tensor.density) > 0.05
    x, y = mixture.points
    means = mixture.mean()
    areas = np.outer(mixture.widths[0], mixture.widths[1])
    mixed = np.einsum("tnm,n,m->t", product * areas, x, y) - means[:, 0] * means[:, 1]
    assert np.abs(mixed).max() < 1e-14
    assert np.all(np.abs(tensor.covariance()[:, 0, 1]) > 0.002)


@pytest.mark.twin
@pytest.mark.parametrize("what", ["weights", "rates"])
def test_a_wrong_clock_is_rejected_by_the_tensor_grid_and_by_the_estimate(what, monkeypatch):
    true = separable.clock_sum

    def damaged(alpha, rtol, largest):
        found = true(alpha, rtol, largest)
        weights, rates = np.array(found.weights), np.array(found.rates)
        if what == "weights":
            weights[len(weights) // 2] *= 1.01
            weights /= weights.sum()
        else:
            rates[len(rates) // 2] *= 1.01
        return SimpleNamespace(weights=weights, rates=rates, error=found.error, valid=found.valid)

    monkeypatch.setattr(separable, "clock_sum", damaged)
    with pytest.raises(ComputationError, match="estimated error"):
        both_roads("kept")
    mixture, tensor = both_roads("kept", throw=False)
    assert mixture.status is Status.INACCURATE
    assert mixture.error_estimate > 1e-7
    assert apart(mixture.pair_marginal(0, 1), tensor.density) > 1e-7


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
def test_the_certificate_bounds_the_joint_error_in_the_norm_of_the_equilibrium(rtol):
    mixture, tensor = both_roads("kept", scheme=Propagator(rtol=rtol))
    assert mixture.error_estimate <= rtol
    x, y = mixture.points
    rest = np.outer(np.exp(-(x**2) / 2), np.exp(-(y**2) / 4))
    chains = [CELLS.discretise(factor) for factor in mixture.problem.factors]
    start = np.outer(
        *(
            chain.project(f.initial) / chain.widths
            for chain, f in zip(chains, mixture.problem.factors, strict=True)
        )
    )
    size = np.sqrt((start**2 / rest).sum())
    gaps = mixture.pair_marginal(0, 1) - tensor.density
    errors = np.sqrt((gaps**2 / rest).sum(axis=(1, 2))) / size
    # Never more than was promised, and not so much less that the promise is idle.
    assert 0.01 * mixture.stats["certified"] < errors.max() < 1.01 * mixture.stats["certified"]


# --- one coordinate, order one, time zero -----------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"boundary": "absorbing", "domain": (-2.0, 3.0)},
        {"initial": PointMass(at=0.4)},
        {"boundary": "periodic", "domain": (0.0, 2 * np.pi), "potential": np.cos},
        {"reaction": lambda x: 5.0 * (x > 0)},
    ],
)
def test_one_coordinate_is_the_propagator_on_a_line(changes):
    factor = well(**changes)
    mixture = solve(separable_problem(factor), TIMES, space=CELLS)
    line = solve(FractionalFokkerPlanck(base=factor, alpha=ALPHA), TIMES, space=CELLS)
    assert apart(mixture.marginal(0), line.density) < 5e-12
    assert np.abs(mixture.mean()[:, 0] - line.mean()).max() < 1e-11
    assert np.abs(mixture.variance()[:, 0] - line.variance()).max() < 1e-11
    assert apart(mixture.density_at(1.234), line.density_at(1.234)) < 5e-12


def test_order_one_is_the_product_of_ordinary_densities():
    first, second = well(), well(0.5, -0.7)
    mixture = solve(separable_problem(first, second, alpha=1.0), TIMES, space=CELLS)
    lines = [solve(factor, TIMES, space=CELLS) for factor in (first, second)]
    assert len(mixture.weights) == 1
    product = lines[0].density[:, :, None] * lines[1].density[:, None, :]
    assert apart(mixture.pair_marginal(0, 1), product) < 5e-12
    assert np.abs(mixture.covariance()[:, 0, 1]).max() < 1e-15


def test_time_zero_is_the_start():
    factor = well()
    mixture = solve(separable_problem(factor, factor), [0.0, 0.5], space=CELLS)
    start = CELLS.discretise(factor).project(factor.initial)
    assert np.abs(mixture.marginal(1)[0] * mixture.widths[1] - start).max() < 1e-15
    assert abs(mixture.covariance()[0, 0, 1]) < 1e-14


# --- exact moments ----------------------------------------------------------------------------


def test_exact_pair_moments_are_those_of_eigenvectors():
    # E[x y] of both chains on one clock, from eigenvectors and Mittag-Leffler functions.
    factors = well(), well(0.5, -0.7)
    mixture = solve(separable_problem(*factors), TIMES, space=CELLS)
    parts = []
    for factor in factors:
        chain = CELLS.discretise(factor)
        modes = modes_of(chain)
        start = modes.vectors.T @ (chain.project(factor.initial) / np.exp(modes.log_scale))
        parts.append(
            ((chain.points * np.exp(modes.log_scale)) @ modes.vectors * start, modes.rates)
        )
    (a, rates), (b, others) = parts
    for t, found in zip(TIMES, mixture.moment((1, 1)), strict=True):
        decay = mittag_leffler(-np.add.outer(rates, others) * t**ALPHA, ALPHA)
        assert abs(found - a @ decay @ b) < 1e-11
    # A clock for each: the twin.
    apart = [c @ mittag_leffler(-r * TIMES[1] ** ALPHA, ALPHA) for c, r in parts]
    assert abs(apart[0] * apart[1] - mixture.moment((1, 1))[1]) > 0.01


RATES, MEANS = np.linspace(0.5, 2.0, 5), np.linspace(-1.0, 1.2, 5)


def fifty(cells, times):
    factors = [well(r, m) for r, m in zip(RATES, MEANS, strict=True)]
    problem = separable_problem(*factors * 10)
    return solve(problem, times, space=FiniteVolume(cells=cells), scheme=Propagator(rtol=1e-8))


def test_order_two_of_mean_and_covariance_in_fifty_dimensions():
    times = TIMES[:2]
    base = OUProcess(drift=np.diag(np.tile(RATES, 10)), noise=2.0 * np.eye(50))
    process = SubordinatedOU(base=base, alpha=ALPHA)
    start = np.tile(MEANS, 10)
    mean = mean_at(process, times, start)
    covariance = covariance_at(process, times, 0.25 * np.eye(50), initial=start)
    assert np.abs(covariance[:, 0, 1]).min() > 1e-3  # of the common clock
    runs = {n: fifty(n, times) for n in (20, 40, 80, 160, 320)}
    table = observed_order(lambda n: np.abs(runs[n].mean() - mean).max(), tuple(runs), 2.0)
    assert table.agrees(), table
    table = observed_order(
        lambda n: np.abs(runs[n].covariance() - covariance).max(), tuple(runs), 2.0
    )
    assert table.agrees(), table
    off = ~np.eye(50, dtype=bool)
    gap = np.abs(runs[320].covariance() - covariance)[:, off].max()
    assert gap < 1e-3 * np.abs(covariance[:, off]).max()
    # Clocks of their own would make these zero: the twin.
    assert np.abs(covariance[:, off]).max() > 100 * gap


# --- what is kept -----------------------------------------------------------------------------


@pytest.mark.parametrize("start", [Gaussian(mean=6.0, std=0.2), PointMass(at=-2.0)])
def test_keeps_positivity_and_mass(start):
    factors = well(initial=start), well(2.0, domain=(-1.0, np.inf)), well(boundary="absorbing")
    mixture = solve(separable_problem(*factors[:2]), TIMES, space=CELLS)
    assert all(np.all(density >= 0.0) for density in mixture.components)
    assert np.all(mixture.weights > 0.0)
    assert np.abs(mixture.mass_defect()).max() < 1e-14
    assert np.all(mixture.pair_marginal(0, 1) >= 0.0)
    lossy = solve(separable_problem(*factors), TIMES, space=CELLS)
    assert np.all(np.diff(lossy.mass()) < 0.0)
    assert lossy.mass().min() > 0.0
    assert all(np.all(density >= 0.0) for density in lossy.components)


def test_a_thousand_dimensions_hold_no_more_than_their_lines():
    factors = well(), well(0.5, -0.7)
    mixture = solve(separable_problem(*factors * 500), [0.02], space=CELLS)
    two = solve(separable_problem(*factors), [0.02], space=CELLS)
    assert mixture.stats["coordinates"] == 2
    assert mixture.components[998] is mixture.components[0]
    assert np.abs(mixture.mass_defect()).max() < 1e-12
    assert apart(mixture.marginal(999), two.marginal(1)) < 5e-12
    covariance = mixture.covariance()[0]
    assert abs(covariance[0, 999] - two.covariance()[0, 0, 1]) < 5e-12
    assert np.linalg.eigvalsh(covariance)[0] > 0.0
    logs = mixture.log_density_at(*np.zeros(1000))
    assert -2000.0 < logs[0] < -400.0
    assert mixture.density_at(*np.zeros(1000))[0] == np.exp(logs[0])


def test_two_thousand_leaking_coordinates_share_what_is_left():
    # Masses of components below 1e-430: only their logarithms are numbers.
    factor = well(mean=1.5, boundary="absorbing", domain=(-2.0, 2.0))
    mixture = solve(separable_problem(*[factor] * 2000), [0.1], space=FiniteVolume(cells=20))
    assert mixture.log_masses.min() < -1000.0
    assert abs(mixture.shares().sum() - 1.0) < 1e-14
    assert np.all(np.isfinite(mixture.covariance()))


def test_what_has_decayed_costs_no_steps():
    # At late clock values e**-600 is left: digits of that would take a million systems.
    reacting = well(reaction=lambda x: 50.0 + 0 * x)
    mixture = solve(separable_problem(reacting, well()), TIMES, space=CELLS)
    assert mixture.stats["solves"] < 20_000
    line = solve(FractionalFokkerPlanck(base=reacting, alpha=ALPHA), TIMES, space=CELLS)
    assert np.abs(mixture.mass() / (1.0 + line.mass_defect()) - 1.0).max() < 1e-9


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_engine_spaces_and_nodes_are_as_asked(backend):
    factors = well(), well(0.5, -0.7)
    spaces = FiniteVolume(cells=32), FiniteVolume(cells=48)
    mixture = solve(
        separable_problem(*factors), TIMES, space=spaces, backend=backend, save_at=[0.5]
    )
    assert [density.shape[::2] for density in mixture.components] == [(1, 32), (1, 48)]
    assert mixture.pair_marginal(1, 0).shape == (1, 48, 32)
    assert mixture.provenance.backend == backend
    assert mixture.spaces == spaces
    whole = solve(separable_problem(*factors), TIMES, space=spaces)
    assert np.abs(mixture.mean() - whole.mean()[1]).max() < 1e-11


def test_cells_are_those_of_the_start_unless_named():
    values = well(initial=np.linspace(1.0, 2.0, 40))
    mixture = solve(separable_problem(values, values), [0.02])
    assert [len(x) for x in mixture.points] == [40, 40]
    assert mixture.stats["coordinates"] == 1


def test_shows_progress(capsys):
    pytest.importorskip("rich")
    solve(separable_problem(well()), TIMES, space=CELLS, progress=True)
    assert "coordinates" in capsys.readouterr().err


# --- refusals ---------------------------------------------------------------------------------

RING = {"boundary": "periodic", "domain": (0.0, 1.0), "potential": None, "initial": lambda x: 1 + x}


def test_refuses_a_ring_with_a_current_on_a_fractional_clock_only():
    tilted = well(force=lambda x: 2.0 + 0 * x, **RING)
    with pytest.raises(UnsupportedError, match=r"`factors\[1\]` is a ring with a current"):
        solve(separable_problem(well(), tilted), TIMES, space=CELLS)
    ordinary = solve(separable_problem(well(), tilted, alpha=1.0), TIMES, space=CELLS)
    assert apart(ordinary.marginal(1), solve(tilted, TIMES, space=CELLS).density) < 5e-12


@pytest.mark.parametrize(
    ("asked", "error", "match"),
    [
        ({"space": (CELLS,)}, ShapeError, "holds 1 spaces and the problem has 2"),
        ({"space": Sinc(points=32)}, UnsupportedError, r"need cells in a row; use FiniteVolume"),
        ({"space": "auto"}, InputError, "name cells"),
        ({"space": 64}, InputError, "spaces are values"),
        ({"space": FiniteVolume(cells=(8, 8))}, ShapeError, "1 dimensions"),
        ({"scheme": L1()}, UnsupportedError, r"must be Propagator\(\) or None"),
        ({"checkpoint": "march.npz"}, UnsupportedError, "leave it out"),
    ],
)
def test_refuses_what_does_not_fit(asked, error, match):
    with pytest.raises(error, match=match):
        solve(separable_problem(well(), well()), TIMES, **({"space": CELLS} | asked))


def test_a_tolerance_beyond_rounding_is_not_kept_in_silence():
    with pytest.raises(OutOfRangeError, match=r"half of the tolerance.*1e-16"):
        separable.clock_sum(0.9, 1e-16, 10.0)


def test_refuses_more_than_memory_holds(monkeypatch):
    monkeypatch.setattr(separable, "_MOST_BYTES", 2**14)
    with pytest.raises(InputError, match="ask for fewer times with `save_at`"):
        solve(separable_problem(well()), TIMES, space=CELLS)


@pytest.mark.parametrize(
    ("ask", "error", "match"),
    [
        (lambda s: s.marginal(2), OutOfRangeError, "axis"),
        (lambda s: s.pair_marginal(1, 1), InputError, r"marginal\(1\)"),
        (lambda s: s.density_at(0.0), ShapeError, "2 coordinates"),
        (lambda s: s.density_at(0.0, 9.0), OutOfRangeError, r"`x\[1\]` must lie in the domain"),
        (lambda s: s.moment((1, 1, 1)), ShapeError, "one per coordinate"),
        (lambda s: s.moment(-1), OutOfRangeError, "`k`"),
    ],
)
def test_refuses_questions_that_do_not_fit(ask, error, match):
    solution = solve(separable_problem(well(), well()), TIMES, space=CELLS)
    with pytest.raises(error, match=match):
        ask(solution)


# --- cells too wide for the drift -------------------------------------------------------------


@pytest.mark.parametrize("walls", ["reflecting", "absorbing"])
def test_cells_of_each_coordinate_are_judged_by_its_own_density(walls, monkeypatch):
    """As the coordinate is by itself; where nothing is lost before anything is propagated."""
    steep = well(rate=80.0, mean=0.7, domain=(-4.0, 4.0))
    gentle = well(domain=(-4.0, 4.0), boundary=walls)
    problem = separable_problem(gentle, steep)
    verdicts, near = [], 1e-5 if walls == "reflecting" else 0.02  # who is left is so by the clock
    for n in (12, 30, 44, 60):
        cells = FiniteVolume(cells=n)
        found = solve(problem, [1.0], space=cells, throw=False)
        alone = FractionalFokkerPlanck(base=steep, alpha=ALPHA)
        own = solve(alone, [1.0], space=cells, throw=False).stats["smearing"]
        assert found.stats["smearing"][1] == pytest.approx(own[0], rel=near)
        assert found.stats["smearing"][0] < 0.5  # twin: the other coordinate is served
        too_wide, asked = own[0] > 0.5, Propagator(rtol=1e-2)
        verdicts.append(too_wide)
        if not too_wide:
            assert solve(problem, [1.0], scheme=asked, space=cells).status is Status.SUCCESS
            continue
        assert found.status is Status.INACCURATE
        words = (
            r"`factors\[1\]`: (foreseen before the first step.*C|c)ells are too wide for the drift"
        )
        with monkeypatch.context() as patched:
            if walls == "reflecting":
                patched.delattr("fracsde._solving.separable.product_mixture")
            with pytest.raises(ComputationError, match=words):
                solve(problem, [1.0], scheme=asked, space=cells)
    assert {True, False} == set(verdicts)
