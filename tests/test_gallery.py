"""Every script of the gallery gives the number its page states, and draws its picture."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.mittag_leffler import references

GALLERY = Path(__file__).resolve().parents[1] / "docs/gallery"
COLUMNS = 24
TOLERANCE = 1e-13


def script(name):
    spec = importlib.util.spec_from_file_location(f"gallery_{name}", GALLERY / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_script_has_a_page_and_every_page_a_script():
    scripts = {path.stem for path in GALLERY.glob("*.py")}
    pages = {path.stem for path in GALLERY.glob("*.md")} - {"index"}
    listed = (GALLERY / "index.md").read_text(encoding="utf-8").split()
    assert scripts == pages
    assert scripts <= set(listed)


def test_exact_mittag_leffler_over_the_plane():
    assert script("mittag_leffler").worst(columns=COLUMNS) < TOLERANCE


@pytest.mark.twin
def test_mittag_leffler_map_rejects_a_neighbouring_order(monkeypatch):
    module = script("mittag_leffler")
    right = module.mittag_leffler
    monkeypatch.setattr(module, "mittag_leffler", lambda z, alpha: right(z, alpha * (1 + 1e-12)))
    assert not module.worst(columns=8) < TOLERANCE


def test_exact_error_of_a_graded_march_is_what_the_page_states():
    assert 4e-6 < script("work_precision").worst() < 6e-6


@pytest.mark.twin
def test_work_precision_rejects_a_mesh_that_is_not_graded_enough(monkeypatch):
    module = script("work_precision")
    graded = module.TimeGrid.graded

    class Lazy:
        graded = staticmethod(lambda T, n, r: graded(T, n, 0.8 * r))

    monkeypatch.setattr(module, "TimeGrid", Lazy)
    assert not module.worst() < 6e-6


def test_picture_of_work_and_precision_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "work.png"
    assert script("work_precision").draw(path, sizes=(20, 40)) > 1e-5
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("alpha", [0.3, 0.8, 1.5])
def test_routes_agree_of_the_references_of_the_page_and_of_the_tests(alpha):
    module = script("mittag_leffler")
    x, y = module.grid(alpha, 6)
    z = x + 1j * y[:, None]
    assert np.abs(module.reference(z, alpha) / references(z, alpha) - 1).max() < 4e-16


def test_exact_correction_to_kramers_rate():
    assert abs(script("escape").correction() - 0.375) < 4e-4


@pytest.mark.twin
def test_correction_to_kramers_rate_rejects_a_prefactor_off_by_one_per_thousand(monkeypatch):
    module = script("escape")
    right = module.eyring_kramers
    monkeypatch.setattr(module, "eyring_kramers", lambda barrier: 1.001 * right(barrier))
    assert not abs(module.correction() - 0.375) < 4e-4


def test_picture_of_the_escape_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "escape.png"
    assert abs(script("escape").draw(path, count=8, cells=64) - 0.375) < 0.1
    assert path.read_bytes().startswith(b"\x89PNG")


def test_picture_of_the_mittag_leffler_map_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "map.png"
    assert script("mittag_leffler").draw(path, columns=8) < TOLERANCE
    assert path.read_bytes().startswith(b"\x89PNG")


def test_routes_agree_a_fractional_density_is_a_mean_of_ordinary_ones():
    assert script("mueller_brown").worst(cells=32) < 1e-9


@pytest.mark.twin
def test_the_mean_of_ordinary_densities_rejects_another_clock(monkeypatch):
    module = script("mueller_brown")
    right = module.wright_m
    monkeypatch.setattr(module, "wright_m", lambda u, alpha: right(u, alpha + 0.001))
    assert module.worst(cells=16) > 1e-5


def test_picture_of_the_valleys_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "valleys.png"
    assert script("mueller_brown").draw(path, cells=64) < 1e-9
    assert path.read_bytes().startswith(b"\x89PNG")


# --- a driven particle ----------------------------------------------------------------------------


def test_exact_mean_of_the_driven_particle():
    assert script("driven_particle").worst(cells=128, count=12) < 1e-5


@pytest.mark.twin
def test_mean_of_the_driven_particle_is_not_that_of_the_ad_hoc_form():
    module = script("driven_particle")
    module.driven_mean = module.ad_hoc_mean
    assert module.worst(cells=64, count=12) > 0.3


def test_law_of_the_walk_is_the_driven_equation_and_not_the_ad_hoc_form():
    """20,000 walkers: a standard error of 0.01, so five of them are a tenth of the difference."""
    module = script("driven_particle")
    times = np.array([2.0, 5.0, 8.2, 11.5])
    walked = module.walked_mean(times, np.random.default_rng(77), 20_000)
    spread = np.sqrt(2 * module.DIFFUSION * times[-1] ** 0.5 + 1.0) / np.sqrt(20_000)
    assert np.abs(walked - module.driven_mean(times)).max() < 5 * spread
    assert np.abs(walked - module.ad_hoc_mean(times)).max() > 20 * spread


def test_picture_of_the_driven_particle_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "means.png"
    assert script("driven_particle").draw(path, cells=64, walkers=200) < 1e-3
    assert path.read_bytes().startswith(b"\x89PNG")


# --- flat directions ------------------------------------------------------------------------------


def test_law_of_the_walks_from_a_saddle():
    assert script("flat_directions").worst() < 4.5


@pytest.mark.twin
def test_walks_from_a_saddle_reject_a_rate_that_is_a_tenth_too_large(monkeypatch):
    module = script("flat_directions")
    right = module.variance_growth
    monkeypatch.setattr(
        module,
        "variance_growth",
        lambda sgd, steps: right(replace(sgd, learning_rate=1.1 * sgd.learning_rate), steps),
    )
    assert not module.worst() < 4.5


def test_picture_of_the_saddle_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "saddle.png"
    assert script("flat_directions").draw(path, runs=40, last=50) < 6
    assert path.read_bytes().startswith(b"\x89PNG")


# --- validity of the closure ----------------------------------------------------------------------


def test_exact_share_of_the_maps_error_that_the_closure_leaves():
    module = script("closure_validity")
    one = module.ratios()
    assert abs(one["map"] - 1.0) > 0.005
    assert abs(one["closure"] - 1.0) < 0.01 * abs(one["map"] - 1.0)


@pytest.mark.twin
def test_share_of_the_closure_rejects_half_the_fourth_derivative(monkeypatch):
    module = script("closure_validity")
    half = replace(
        module.well(),
        gradient=lambda w: w + w**3 / 6,
        hessian_products=lambda w, V: (1 + w**2 / 2)[:, :, None] * V,
    )
    monkeypatch.setattr(module, "well", lambda: half)
    one = module.ratios()
    assert not abs(one["closure"] - 1.0) < 0.01 * abs(one["map"] - 1.0)


def test_picture_of_the_validity_is_drawn_and_the_stored_runs_are_those_of_the_text(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "validity.png"
    module = script("closure_validity")
    assert abs(module.draw(path)) < 0.01
    assert path.read_bytes().startswith(b"\x89PNG")
    points = module.stored()
    gentle = [point for point in points if point["settings"]["rate"] <= 1.0]
    assert len(gentle) < len(points)
    assert all(abs(np.median(point["closure"]) - 1.0) < 0.02 for point in gentle)
    assert all(abs(np.median(point["third"]) - 1.0) < 0.03 for point in gentle)
    assert max(np.median(point["map"]) for point in points) > 1.5


def within(point: dict, name: str, share: float = 1.0) -> bool:
    """Whether all variances are as near as a share of what is said, beyond the errors of both."""
    said = point["said"][name]
    error = np.hypot(point["stderr"], said["stderr"])
    off = np.abs(np.array(point[name]) - 1.0)
    return bool(np.all(off < share * said["truncation"] + 4.5 * error))


@pytest.mark.parametrize("name", ["closure", "third"])
def test_closures_of_the_map_are_as_near_as_they_say(name):
    """At every rate, and where a tenth is exceeded the status says so."""
    points = script("closure_validity").stored()
    assert len(points) == 23
    for point in points:
        said = point["said"][name]
        assert within(point, name), point["settings"]
        assert (said["status"] == "INACCURATE") == (said["truncation"] > 0.1)
    doubted = [point for point in points if point["said"][name]["status"] == "INACCURATE"]
    assert [point["settings"]["rate"] for point in doubted] == [3.0]
    assert np.max(np.abs(np.array(doubted[0][name]) - 1.0)) > 0.1


@pytest.mark.twin
def test_closures_of_the_map_are_not_as_near_as_pairs_of_stiff_modes_say():
    """The 24 stiffest of 226 knew a tenth of it at the largest rate; a third is too little."""
    points = script("closure_validity").stored()
    assert not all(within(point, "closure", 1 / 3) for point in points)


# --- displacement laws ----------------------------------------------------------------------------


def test_law_displacements_of_three_motions_are_exact():
    assert script("displacement_laws").worst() < 4.5


@pytest.mark.twin
def test_displacements_of_three_motions_reject_a_neighbouring_exponent(monkeypatch):
    module = script("displacement_laws")
    right = module.exact
    monkeypatch.setattr(module, "exact", lambda name, t: right(name, t) * t**0.08)
    assert not module.worst() < 4.5


def test_picture_of_three_motions_is_drawn(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    path, module = tmp_path / "laws.png", script("displacement_laws")
    monkeypatch.setattr(module, "CHAINS", 40)
    monkeypatch.setattr(module, "DRAWS", 300)
    assert module.draw(path) < 6.0
    assert path.read_bytes().startswith(b"\x89PNG")


# --- the local learning coefficient ---------------------------------------------------------------


def test_law_coefficients_of_one_weight_and_of_two_are_those_of_their_temperature():
    assert script("learning_coefficient").worst() < 4.5


@pytest.mark.twin
def test_measured_coefficients_reject_the_limit_and_a_pull_that_is_twice_as_strong():
    module = script("learning_coefficient")
    module.TEMPERATURES = (100.0,)
    found = module.measured()
    right = module.exact
    assert module.worst(found) < 4.5
    for wrong in (lambda *_: 0.5, lambda name, t: right(name, t / 4)):
        module.exact = wrong
        crossing = {"crossing": found["crossing"]}
        assert not module.worst(crossing) < 4.5


@pytest.mark.parametrize("widths", [(3, 1, 4), (2, 3, 4), (4, 3, 2), (3, 4, 5)])
def test_exact_integral_of_linear_networks_does_not_know_which_end_is_the_input(widths):
    """The two ends integrate out different layers, with one or several singular values left."""
    module = script("learning_coefficient")
    one, other = (module.exact_network(ends, 300.0) for ends in (widths, widths[::-1]))
    assert abs(one / other - 1) < 1e-6


@pytest.mark.parametrize("widths", [(2, 2, 2), (3, 2, 3), (3, 4, 3), (5, 3, 4)])
def test_limit_of_the_integral_of_linear_networks_is_aoyagis(widths):
    module = script("learning_coefficient")
    known = module.deep_linear(widths, 0)
    away = [float(known.value) - module.exact_network(widths, t) for t in (1e6, 1e10)]
    if known.multiplicity == 1:
        assert abs(away[1]) < 2e-3 * float(known.value)
    else:  # (m - 1) / log t, up to what the constant beside the logarithm adds
        assert abs(1 / away[1] - 1 / away[0] - np.log(1e4)) < 0.1 * np.log(1e4)


def test_picture_of_the_learning_coefficient_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path, module = tmp_path / "coefficient.png", script("learning_coefficient")
    module.TEMPERATURES, module.NETWORKS = (10.0, 100.0), module.NETWORKS[::5]
    short = {"chains": 8, "draws": 100, "burn_in": 50}
    module.LENGTHS = {1: short, 2: short}
    module.HAMILTON, module.VERDICTS = module.HAMILTON | short, short
    assert module.draw(path) < 8.0
    assert path.read_bytes().startswith(b"\x89PNG")
