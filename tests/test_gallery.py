"""Every script of the gallery gives the number its page states, and draws its picture."""

import importlib.util
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
