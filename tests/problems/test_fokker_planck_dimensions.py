"""Problems in the plane and in space: what is accepted, boxed and refused, and frozen in time."""

import numpy as np
import pytest
from scipy.special import ndtr

from fracsde.errors import (
    DensityError,
    IndefiniteError,
    InputError,
    NotConfiningError,
    NotFiniteError,
    OutOfRangeError,
    ShapeError,
    UnsupportedError,
)
from fracsde.operators.richardson import Richardson
from fracsde.operators.sinc import Sinc
from fracsde.problems.densities import cell_masses, tensor_masses
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian, PointMass
from fracsde.simulate import simulate

INF = np.inf
PLANE = ((-INF, INF), (-INF, INF))
SQUARE = ((-2.0, 2.0), (-1.0, 3.0))


def plane(**changes):
    given = {
        "potential": lambda x, y: (x**2 + x * y + y**2) / 2,
        "diffusion": 1.0,
        "domain": PLANE,
        "initial": Gaussian(mean=(1.0, 0.0), std=0.5),
    }
    return FokkerPlanck(**(given | changes))


def square(**changes):
    return plane(**({"domain": SQUARE} | changes))


def is_tight(boxes, stds, slack=1.3):
    """Whether boxes hold a Gaussian round 0 to 1e-16, and not much more."""
    ends = np.array(boxes) / np.array(stds)[:, None]
    return max(ndtr(ends[:, 0]).max(), ndtr(-ends[:, 1]).max()) < 1e-16 and (
        np.abs(ends).max() < slack * 8.6
    )


# --- boxes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("coupling", [0.0, 0.5, 0.95, 0.9995])
@pytest.mark.parametrize("diffusion", [1.0, (1.0, 1.0), [[1.0, 0.0], [0.0, 1.0]]])
def test_exact_box_holds_a_tilted_equilibrium(coupling, diffusion):
    """Covariance is the inverse of [[1, c], [c, 1]]: long wells lie askew to the axes."""
    problem = plane(
        potential=lambda x, y: (x**2 + 2 * coupling * x * y + y**2) / 2, diffusion=diffusion
    )
    assert is_tight(problem.boxes, [(1 - coupling**2) ** -0.5] * 2)


@pytest.mark.twin
def test_exact_box_of_the_axes_alone_would_cut_the_tilted_well():
    """Where the potential is high enough on both axes it still is not along the diagonal."""
    assert not is_tight([(-8.6, 8.6)] * 2, [(1 - 0.95**2) ** -0.5] * 2)


def test_exact_box_holds_unequal_diffusion_and_three_dimensions():
    spread = plane(diffusion=(1.0, 0.01)).boxes
    lyapunov = np.array([[1.0, 0.5], [0.5, 1.0]])
    covariance = np.linalg.solve(
        np.kron(lyapunov, np.eye(2)) + np.kron(np.eye(2), lyapunov),
        2 * np.diag([1.0, 0.01]).ravel(),
    ).reshape(2, 2)
    assert is_tight(spread, np.sqrt(np.diag(covariance)), slack=4.0)
    space = FokkerPlanck(
        potential=lambda x, y, z: (x**2 + y**2 + 4 * z**2) / 2,
        diffusion=1.0,
        domain=((-INF, INF), (0.0, INF), (-INF, INF)),
        initial=Gaussian(mean=(0.0, 1.0, 0.0), std=0.2),
    ).boxes
    assert space[1][0] == 0.0
    assert is_tight([space[0], space[2]], [1.0, 0.5])


@pytest.mark.parametrize(("centre", "std"), [(0.0, 1e-3), (1e4, 0.1), (-30.0, 1e3)])
def test_exact_box_is_found_at_any_place_and_scale(centre, std):
    problem = plane(
        potential=lambda x, y: ((x - centre) ** 2 + y**2) / (2 * std**2),
        initial=Gaussian(mean=(centre, 0.0), std=0.5 * std),
    )
    assert is_tight(np.array(problem.boxes) - [[centre], [0.0]], [std, std])


def test_exact_box_leaves_room_for_a_point_that_starts_far_up():
    (a, b), (c, d) = plane(
        potential=lambda x, y: (x**2 + y**2) / 2, initial=PointMass(at=(20.0, 0.0))
    ).boxes
    assert 20.0 < b < 24.0
    assert min(-a, -c, d) > 20.0  # the weight of its height is kept on every side


@pytest.mark.parametrize(
    "potential",
    [
        lambda x, y: x**2 + 0 * y,
        lambda x, y: x**2 * y**2,
        lambda x, y: -(x**2) - y**2,
        lambda x, y: x**2 + y**2 - 1e-6 * (x**4 + y**4),
        lambda x, y: 0.5 * np.log1p(x**2 + y**2),
    ],
)
def test_refuses_potentials_that_do_not_confine(potential):
    with pytest.raises(NotConfiningError, match=r"does not confine.*finite domain with walls"):
        plane(potential=potential)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"force": lambda x, y: (-y, x)}, UnsupportedError, "`force` is a function.*finite domain"),
        ({"diffusion": lambda x, y: 1 + x**2}, UnsupportedError, "`diffusion` is a function"),
        ({"initial": lambda x, y: 1 + 0 * x * y}, DensityError, "does not fall off"),
        ({"initial": np.ones((4, 4))}, InputError, "has no cells yet"),
        ({"boundary": "absorbing"}, InputError, "there is no wall"),
        ({"time_dependent": True}, UnsupportedError, "need not hold that of another"),
    ],
)
def test_refuses_what_is_not_safe_on_the_plane(changes, error, words):
    with pytest.raises(error, match=words):
        plane(**changes)


# --- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"domain": ((0, 1), (1, 0))}, InputError, r"a < b, got \(1, 0\)"),
        ({"domain": ((0, 1), (1, 0), (2,))}, InputError, "one per axis"),
        ({"boundary": ("periodic", "absorbing")}, InputError, r"\(\(left, right\), "),
        (
            {"boundary": (("periodic", "absorbing"), ("reflecting",) * 2)},
            InputError,
            "a pair of the first two",
        ),
        ({"diffusion": (1.0, 2.0, 3.0)}, ShapeError, "`diffusion` must have shape"),
        ({"diffusion": (1.0, -2.0)}, OutOfRangeError, r"`diffusion\[1\]` must lie in"),
        ({"diffusion": [[1, 2], [2, 1]]}, IndefiniteError, "lowest eigenvalue is -1"),
        ({"diffusion": [[1, 0.5], [0.2, 1]]}, InputError, "must be symmetric"),
        ({"initial": Gaussian(mean=(1.0, 2.0, 3.0))}, ShapeError, "`mean` must hold 2 coordinates"),
        ({"initial": PointMass(at=1.0)}, ShapeError, "`at` must hold 2 coordinates"),
        ({"initial": PointMass(at=(0.0, 4.0))}, DensityError, "x = 4, outside"),
        ({"initial": np.ones(12)}, ShapeError, "must have 2 axes"),
        ({"initial": lambda x, y: x + 0 * y}, DensityError, r"the function is -1.9.* at \(x, y\)"),
        ({"initial": lambda x, y: np.stack([x, x])}, ShapeError, "one value per point"),
        (
            {"potential": lambda x, y: np.log(x - y)},
            NotFiniteError,
            r"`potential` must be finite, got nan at \(x, y\) = \(-1.93",
        ),
        ({"force": lambda x, y: -y}, ShapeError, "`force` must return 2 arrays"),
        (
            {"force": lambda x, y: (x, 1 / (0 * y))},
            NotFiniteError,
            r"`force\[1\]` must be finite, got .* at \(x, y\)",
        ),
        (
            {"diffusion": lambda x, y: 1.0 - x + 0 * y},
            OutOfRangeError,
            r"`diffusion` must be positive, got -0.93.* at \(x, y\) = \(1.93",
        ),
        (
            {"diffusion": lambda x, y: (1 + x**2, y)},
            OutOfRangeError,
            r"`diffusion\[1\]` must be positive",
        ),
        ({"reaction": lambda x, y: y}, OutOfRangeError, r"`reaction` removes mass.*\(x, y\)"),
        (
            {"boundary": "periodic"},
            InputError,
            r"periodic on \(-2.0, 2.0\).*of axis 0; put a constant tilt into `force`",
        ),
    ],
)
def test_refuses_bad_input_on_a_square(changes, error, words):
    with pytest.raises(error, match=words):
        square(**changes)


def test_refuses_a_full_matrix_in_space_and_reads_a_diagonal_one():
    given = {"domain": ((0, 1),) * 3, "initial": lambda x, y, z: 1 + 0 * (x + y + z)}
    full = np.eye(3)
    assert np.all(FokkerPlanck(diffusion=full, **given).tensor == np.eye(3))
    full = full + 0.1
    with pytest.raises(UnsupportedError, match="turn the coordinates to its eigenvectors"):
        FokkerPlanck(diffusion=full, **given)


@pytest.mark.parametrize(
    "consumer",
    [
        lambda p: Sinc(points=32).discretise(p),
        lambda p: Richardson(cells=9).discretise(p),
    ],
)
def test_refuses_the_plane_where_the_line_alone_is_served(consumer):
    with pytest.raises(UnsupportedError, match="serves one dimension, the problem has 2"):
        consumer(square())


def test_refuses_to_simulate_the_plane():
    from fracsde.problems.fractional import FractionalFokkerPlanck
    from fracsde.schemes.subordinated import Subordinated

    process = FractionalFokkerPlanck(base=square(), alpha=0.6)
    with pytest.raises(UnsupportedError, match="`simulate` serves one dimension"):
        simulate(process, [0.0, 1.0], chains=2, rng=1, scheme=Subordinated(step=0.1))


# --- values -----------------------------------------------------------------------------------


def test_exact_fields_have_the_shape_of_the_mesh():
    x, y = np.array([[0.0], [1.0]]), np.array([[1.0, 2.0, 3.0]])
    problem = square(force=lambda x, y: (-y, x), diffusion=lambda x, y: 1 + x**2)
    first, second = problem.force_at(x, y)
    assert first.shape == second.shape == (2, 3)
    assert np.all(first == -y)
    assert np.all(second == x + 0 * y)
    assert np.all(problem.diffusion_at(x, y)[1] == 1 + x**2 + 0 * y)
    diagonal = square(diffusion=lambda x, y: (1 + x**2, 2 + y**2)).diffusion_at(x, y)
    assert np.all(diagonal[0] == 1 + x**2 + 0 * y)
    assert np.all(diagonal[1] == 2 + y**2 + 0 * x)
    assert np.all(square(diffusion=(1.0, 2.0)).diffusion_at(x, y)[1] == 2.0)
    with pytest.raises(UnsupportedError, match="read `tensor`"):
        square(diffusion=[[1, 0.5], [0.5, 1]]).diffusion_at(x, y)


def test_exact_products_share_their_mass_axis_by_axis():
    edges = (np.linspace(-2, 2, 21), np.linspace(-1, 3, 31) ** 3)
    found = tensor_masses(Gaussian(mean=(0.3, 1.0), std=(0.5, 2.0)), edges)
    one = cell_masses(Gaussian(mean=0.3, std=0.5), edges[0])
    other = cell_masses(Gaussian(mean=1.0, std=2.0), edges[1])
    assert np.array_equal(found, np.multiply.outer(one, other))
    by_function = tensor_masses(Gaussian(mean=(0.3, 8.0), std=(0.9, 9.0)).__call__, edges)
    as_product = tensor_masses(Gaussian(mean=(0.3, 8.0), std=(0.9, 9.0)), edges)
    assert np.allclose(by_function, as_product, rtol=1e-12)
    point = tensor_masses(PointMass(at=(0.1, 0.5)), edges)
    centres = [0.5 * (e[1:] + e[:-1]) for e in edges]
    assert np.isclose(point.sum(axis=1) @ centres[0], 0.1)
    assert np.isclose(point.sum(axis=0) @ centres[1], 0.5)


@pytest.mark.twin
def test_exact_products_reject_swapped_axes():
    edges = (np.linspace(-2, 2, 21), np.linspace(-1, 3, 31))
    right = tensor_masses(Gaussian(mean=(0.3, 1.0), std=(0.5, 2.0)), edges)
    wrong = tensor_masses(Gaussian(mean=(1.0, 0.3), std=(2.0, 0.5)), edges)
    assert np.abs(right - wrong).max() > 0.5 * right.max()


# --- coefficients that depend on time ---------------------------------------------------------


def shaken(**changes):
    given = {
        "force": lambda t, x, y: (np.sin(t) - x, t * y),
        "diffusion": lambda t, x, y: 1 + t * x**2,
        "time_dependent": True,
    }
    return square(**(given | changes))


def test_exact_frozen_coefficients_are_those_of_the_time():
    x, y = np.array([[0.0], [1.0]]), np.array([[1.0, 2.0]])
    problem = shaken()
    frozen = problem.frozen_at(2.0)
    assert not frozen.time_dependent
    assert problem.time_dependent
    assert frozen.boxes == problem.boxes
    assert frozen.time == 2.0
    assert np.all(frozen.force_at(x, y)[0] == np.sin(2.0) - x + 0 * y)
    assert np.all(frozen.diffusion_at(x, y)[0] == 1 + 2 * x**2 + 0 * y)
    assert frozen.frozen_at(5.0) is frozen
    line = FokkerPlanck(
        force=lambda t, x: np.cos(t) - x,
        diffusion=1.0,
        domain=(-8, 8),
        initial=Gaussian(),
        time_dependent=True,
    )
    assert np.array_equal(line.frozen_at(0.0).force_at(np.array([0.0, 1.0])), [1.0, 0.0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: p.force_at(np.zeros(2), np.zeros(2)), r"frozen_at\(t\).force_at"),
        (lambda p: p.diffusion_at(np.zeros(2), np.zeros(2)), r"frozen_at\(t\).diffusion_at"),
    ],
)
def test_refuses_coefficients_of_no_time(call, words):
    with pytest.raises(UnsupportedError, match=words):
        call(shaken())


def test_refuses_what_goes_wrong_later_and_names_the_time():
    late = shaken(force=lambda t, x, y: (x / (t < 1), y)).frozen_at(3.0)
    with pytest.raises(NotFiniteError, match=r"`force\[0\]` at t = 3 must be finite.*\(x, y\) = "):
        late.force_at(np.ones(2), np.ones(2))
    negative = shaken(diffusion=lambda t, x, y: 1 - t + 0 * x * y).frozen_at(3.0)
    with pytest.raises(OutOfRangeError, match="`diffusion` at t = 3 must be positive, got -2"):
        negative.diffusion_at(np.ones(2), np.ones(2))
