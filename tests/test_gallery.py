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


def test_picture_of_the_mittag_leffler_map_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "map.png"
    assert script("mittag_leffler").draw(path, columns=8) < TOLERANCE
    assert path.read_bytes().startswith(b"\x89PNG")
