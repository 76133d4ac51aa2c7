"""Problems on intervals, half-lines and the line: what is accepted, boxed and refused."""

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import (
    DensityError,
    GridError,
    InputError,
    NotConfiningError,
    NotFiniteError,
    OutOfRangeError,
    ShapeError,
    UnsupportedError,
)
from fracsde.problems.densities import cell_masses
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.problems.fractional import FractionalFokkerPlanck

LINE = (-np.inf, np.inf)


def problem(**changes):
    given = {
        "potential": lambda x: x**2 / 2,
        "diffusion": 1.0,
        "domain": LINE,
        "initial": Gaussian(mean=1.5, std=0.5),
    }
    return FokkerPlanck(**(given | changes))


def outside(box, *, centre=0.0, std=1.0):
    """Share of a Gaussian's mass outside a box, and by how much the box is too wide."""
    from scipy.special import ndtr

    z = (np.array(box) - centre) / std
    return max(ndtr(z[0]), ndtr(-z[1])), np.abs(z).max()


def is_tight(box, **law):
    share, reach = outside(box, **law)
    return share < 1e-16 and reach < 10.0


@pytest.mark.parametrize("centre", [0.0, 30.0, -1e5])
@pytest.mark.parametrize("std", [1e-3, 1.0, 1e3])
def test_exact_box_holds_the_equilibrium_at_any_place_and_scale(centre, std):
    found = problem(
        potential=lambda x: (x - centre) ** 2 / (2 * std**2),
        initial=Gaussian(mean=centre, std=0.5 * std),
    ).box
    assert is_tight(found, centre=centre, std=std)


@pytest.mark.twin
def test_exact_box_rejects_one_cut_at_eight_deviations():
    assert not is_tight((-8.0, 8.0))
    assert not is_tight((-80.0, 80.0))


def test_exact_box_leaves_room_for_a_point_that_starts_far_up():
    """From x = 20 the density spreads on before it slides: mean 20 e^-t, variance 1 - e^-2t."""
    t = np.linspace(1e-4, 3, 3000)
    reach = (20 * np.exp(-t) + 8.6 * np.sqrt(1 - np.exp(-2 * t))).max()
    a, b = problem(initial=PointMass(at=20.0)).box
    assert reach < b < 1.1 * reach
    assert -9.5 < a < -8.2


def test_exact_box_from_a_force_equals_that_from_its_potential():
    by_force = problem(potential=None, force=lambda x: -x).box
    assert np.allclose(by_force, problem().box, rtol=1e-12)


def test_half_line_keeps_its_wall():
    assert problem(domain=(0.0, np.inf)).box[0] == 0.0
    singular = problem(
        domain=(0.0, np.inf), potential=lambda x: x - np.log(x), initial=Gaussian(mean=1, std=0.2)
    )
    assert singular.box[0] == 0.0
    assert 36 < singular.box[1] < 60


def test_overflow_far_out_counts_as_a_wall():
    assert problem(potential=lambda x: np.exp(x**2)).box[1] < 6.0
    assert np.isfinite(problem(potential=lambda x: np.cosh(x)).box).all()


@pytest.mark.parametrize(
    ("potential", "end"),
    [
        (lambda x: 0 * x, "-inf"),
        (lambda x: x, "-inf"),
        (lambda x: -x, "inf"),
        (lambda x: -(x**2), "inf"),
        (lambda x: 0.5 * np.log1p(x**2), "-inf"),
        (lambda x: x**2 - 1e-6 * x**4, "inf"),
        (lambda x: np.exp(x), "-inf"),
    ],
)
def test_refuses_potentials_that_do_not_confine(potential, end):
    with pytest.raises(NotConfiningError, match=r"does not confine towards .*finite domain with"):
        problem(potential=potential)
    with pytest.raises(NotConfiningError, match=f"towards (-?inf|{end})"):
        problem(potential=potential)


def test_refuses_to_confine_by_nothing():
    with pytest.raises(NotConfiningError, match="`potential` does not confine"):
        problem(potential=None)
    with pytest.raises(NotConfiningError, match="`force` does not confine"):
        problem(potential=None, force=lambda x: x)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"domain": (1.0, 0.0)}, GridError, r"a < b, got \(1, 0\)"),
        ({"domain": (0.0, np.nan)}, NotFiniteError, "use -inf and inf for the line"),
        ({"domain": 3.0}, InputError, r"must be an interval \(a, b\), got 3"),
        ({"domain": ((0, 1),) * 4}, UnsupportedError, "has 4 dimensions; up to 3 are served"),
        ({"time_dependent": True}, UnsupportedError, "must be finite for time-dependent"),
        ({"time_dependent": "yes"}, InputError, "True or False, got 'yes'"),
        ({"boundary": "wrap"}, InputError, "got 'wrap'"),
        ({"boundary": ("periodic", "reflecting")}, InputError, "a pair of the first two"),
        ({"boundary": "absorbing"}, InputError, "at x = -inf, where there is no wall"),
        ({"diffusion": 0.0}, OutOfRangeError, "`diffusion` must lie in"),
        ({"diffusion": np.array([1.0])}, InputError, "`diffusion`"),
        ({"potential": "x**2"}, InputError, "`potential` must be a function or None"),
        ({"initial": [1.0, 2.0, 3.0]}, InputError, "pass a function or a finite domain"),
        ({"initial": lambda x: 1 + 0 * x}, DensityError, "does not fall off towards"),
        ({"initial": lambda x: np.sin(x)}, DensityError, "must not be negative"),
    ],
)
def test_refuses_bad_input_on_the_line(changes, error, words):
    if isinstance(changes.get("diffusion"), np.ndarray):
        changes = {"diffusion": [1.0, 2.0]}
    with pytest.raises(error, match=words):
        problem(**changes)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"initial": lambda x: 1 - 2 * x}, DensityError, "the function is -0.99.* np.maximum"),
        ({"initial": np.array([1.0, -0.5, 1.0])}, DensityError, "the array is -0.5 at x = 0.5"),
        ({"initial": np.zeros(7)}, DensityError, "cannot be normalised: the array has no mass"),
        ({"initial": Gaussian(mean=90.0, std=0.1)}, DensityError, "cannot be normalised"),
        ({"initial": PointMass(at=2.0)}, DensityError, "at x = 2, outside the domain"),
        ({"initial": np.array([1.0, np.nan])}, NotFiniteError, "`initial` must be finite"),
        ({"potential": lambda x: 0.0}, ShapeError, r"shape \(\) came out.*c \+ 0 \* x"),
        ({"potential": lambda x: 1 / (x - 0.5)}, NotFiniteError, "got inf at x = 0.5"),
        ({"potential": lambda x: x + 0j}, InputError, "must return real numbers"),
        ({"diffusion": lambda x: x - 0.5}, OutOfRangeError, "positive, got -0.49.* add a floor"),
        ({"reaction": lambda x: x - 0.5}, OutOfRangeError, "mass enters through `source`"),
        ({"source": lambda t, x: np.nan * x}, NotFiniteError, "`source` at t = 0 must be finite"),
        ({"boundary": "periodic"}, InputError, "put a constant tilt into `force`"),
    ],
)
def test_refuses_bad_input_on_an_interval(changes, error, words):
    given = {"domain": (0.0, 1.0), "initial": lambda x: 1 + 0 * x}
    with pytest.raises(error, match=words):
        problem(**(given | changes))


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.3, np.nan])
def test_refuses_orders_outside_the_interval(alpha):
    with pytest.raises(
        (OutOfRangeError, NotFiniteError), match=r"`alpha`.*(second initial value|finite)"
    ):
        FractionalFokkerPlanck(base=problem(), alpha=alpha)


def test_refuses_other_bases_and_clocks():
    with pytest.raises(InputError, match="`base` must be a FokkerPlanck, got str"):
        FractionalFokkerPlanck(base="ou", alpha=0.5)
    with pytest.raises(OutOfRangeError, match="`timescale` must lie in"):
        FractionalFokkerPlanck(base=problem(), alpha=0.5, timescale=0.0)
    with pytest.raises(OutOfRangeError, match="PointMass has no width"):
        Gaussian(mean=0.0, std=0.0)


@pytest.mark.parametrize("std", [1e-4, 0.02, 0.0301, 0.3, 2.0])
def test_exact_gaussian_cells_have_mass_one_and_the_right_mean(std):
    edges = np.linspace(-20.0, 20.0, 2001)
    masses = cell_masses(Gaussian(mean=0.123, std=std), edges)
    centres = 0.5 * (edges[1:] + edges[:-1])
    assert abs(masses.sum() - 1) < 1e-14
    assert abs(masses @ centres - 0.123) < (1e-13 if std > 0.03 else 0.01)


@pytest.mark.parametrize("at", [0.0, 0.0499, 0.05, 0.31, 0.999, 1.0])
def test_exact_point_mass_keeps_its_mean_between_centres(at):
    edges = np.linspace(0.0, 1.0, 11)
    masses = cell_masses(PointMass(at=at), edges)
    centres = 0.5 * (edges[1:] + edges[:-1])
    assert masses.min() >= 0
    assert abs(masses.sum() - 1) < 1e-15
    assert abs(masses @ centres - np.clip(at, 0.05, 0.95)) < 1e-15


def test_keeps_arguments():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    before = values.copy()

    def greedy(x):
        x *= 0
        return x

    given = problem(domain=(0.0, 1.0), initial=values, potential=greedy)
    assert np.array_equal(values, before)
    values[:] = -1
    assert np.array_equal(given.initial, before)
    x = np.linspace(0.1, 0.9, 5)
    given.potential_at(x)
    assert x[-1] == 0.9


def test_replace_checks_again():
    assert replace(problem(), diffusion=2.0).box[1] > problem().box[1]
    with pytest.raises(NotConfiningError, match="does not confine"):
        replace(problem(), potential=lambda x: 0 * x)


def test_initial_values_near_the_largest_float_are_normalised():
    masses = cell_masses(np.full(4, 1e308), np.linspace(0.0, 4.0, 5))
    np.testing.assert_allclose(masses, 0.25, rtol=1e-15)
    with pytest.raises(DensityError, match="overflows in a cell"), np.errstate(over="ignore"):
        cell_masses(np.full(4, 1e308), np.linspace(0.0, 400.0, 5))


@pytest.mark.parametrize("boundary", [None, 1, (["reflecting"], "absorbing")])
def test_refuses_a_boundary_that_is_no_name(boundary):
    with pytest.raises(InputError, match="`boundary` must be"):
        problem(domain=(-1.0, 1.0), boundary=boundary)


@pytest.mark.parametrize("wrong", [lambda x: x * 1j, lambda x: np.full(x.shape, "a")])
def test_refuses_a_potential_without_real_values_on_the_line(wrong):
    with pytest.raises(InputError, match="`potential` must return real numbers"):
        problem(potential=wrong)


@pytest.mark.parametrize("initial", [Gaussian(mean=1e-100, std=5e-101), PointMass(at=0.0)])
def test_refuses_a_scale_on_the_line_too_short_to_be_seen(initial):
    with pytest.raises(GridError, match="measure x in a smaller unit"):
        problem(potential=lambda x: x**2 / 2, diffusion=1e-200, domain=LINE, initial=initial)
    assert problem(diffusion=1e-10, domain=LINE, initial=PointMass(at=0.0)).box[1] < 1e-4


def test_a_source_that_is_not_finite_later_is_named_with_its_time():
    problem = FokkerPlanck(
        diffusion=1.0,
        domain=(0.0, 1.0),
        initial=Gaussian(mean=0.5, std=0.1),
        source=lambda t, x: np.where(t > 0.5, np.nan, 1.0) + 0 * x,
    )
    with pytest.raises(NotFiniteError, match=r"`source` at t = 0\.75 must be finite"):
        problem.source_at(0.75, np.array([0.5]))
