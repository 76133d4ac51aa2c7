"""Figures from plain records: they show what was given, repeat, and need no colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fracsde._figures import png_bytes
from fracsde._figures.house import COLOURS, LINES, MARKERS
from fracsde.errors import InputError, OutOfRangeError, RecordError, ShapeError
from fracsde.records.measurement import Measurement, Prediction, Quantity
from fracsde.report import (
    autocorrelation_plot,
    density_plot,
    displacement_plot,
    relaxation_plot,
    spectrum_plot,
)
from tests.support.laws import seed_of

if TYPE_CHECKING:
    from collections.abc import Callable

T = np.geomspace(1.0, 100.0, 12)
SIZE = len(T)


def measured(value: Any, stderr: Any = 0.01, name: str = "variance") -> Measurement:
    quantity = Quantity(name=name, unit="weight^2", labels=[str(k) for k in range(SIZE)])
    return Measurement(quantity=quantity, value=value, stderr=stderr, n_effective=64)


def theory(value: Any, name: str = "map") -> Prediction:
    quantity = measured(1.0).quantity
    return Prediction(quantity=quantity, value=value, numerical_error=0.0, theory=name)


def spectrum() -> Any:
    return spectrum_plot(
        T,
        measured(1 / T, 0.05 / T),
        {"map": theory(1 / T), "flow": theory(0.9 / T, "flow")},
        tolerance=0.05,
    )


def displacement() -> Any:
    curve = {"map": (T, T), "closure $x_{": (T, 1.1 * T)}
    windows = [(1, 10, "slope 1.00 ± 0.01"), (20, 80, "$_{")]
    return displacement_plot(T, measured(T, 0.05 * T), curves=curve, windows=windows)


def relaxation() -> Any:
    curves = {"exponential": (T, np.exp(-T / 30)), "power": (T, T**-0.5)}
    return relaxation_plot(T, measured(T**-0.5), curves)


def correlation() -> Any:
    return autocorrelation_plot(T, measured(np.cos(T)), {"map": (T, np.cos(T))})


def density() -> Any:
    draws = np.random.default_rng(seed_of("density")).standard_normal((4, 500))
    x = np.linspace(-4, 4, 101)
    return density_plot(draws, {"Gaussian": (x, np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi))})


ALL = pytest.mark.parametrize(
    "draw", [spectrum, displacement, relaxation, correlation, density], ids=lambda f: f.__name__
)


@ALL
def test_figure_is_the_same_twice_and_holds_no_date(draw: Callable[[], Any]) -> None:
    first, second = png_bytes(draw()), png_bytes(draw())
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert b"tIME" not in first


@ALL
def test_axes_have_words_and_series_a_legend(draw: Callable[[], Any]) -> None:
    figure = draw()
    png_bytes(figure)
    assert all(axes.get_xlabel() or axes.get_shared_x_axes() for axes in figure.axes)
    assert figure.axes[0].get_ylabel()
    (legend,) = figure.legends
    assert "measured" in [text.get_text() for text in legend.get_texts()]


def test_series_differ_in_line_and_marker_and_not_in_colour_alone() -> None:
    lines = [line for line in spectrum().axes[0].lines if not line.get_label().startswith("_")]
    looks = {(line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == len(lines) == 3
    assert len({str(line) for line in LINES}) == len(set(MARKERS)) == len(set(COLOURS)) == 6


def test_spectrum_draws_the_values_and_their_ratio_to_the_first_theory() -> None:
    top, bottom = spectrum().axes
    by = {line.get_label(): line.get_ydata() for line in top.lines}
    np.testing.assert_allclose(by["measured"], 1 / T)
    np.testing.assert_allclose(by["flow"], 0.9 / T)
    below = {line.get_label(): line.get_ydata() for line in bottom.lines}
    np.testing.assert_allclose(below["flow"], 0.9)
    np.testing.assert_allclose(below["measured"], 1.0)


def test_displacement_shows_the_local_slope_of_data_and_curves() -> None:
    _, bottom = displacement().axes
    for line in bottom.lines:
        if len(line.get_ydata()) > 2:
            np.testing.assert_allclose(line.get_ydata(), 1.0, rtol=1e-12)
    quadratic = displacement_plot(T, measured(T**2, 0.01 * T**2))
    slope = quadratic.axes[1].lines[0].get_ydata()
    np.testing.assert_allclose(slope, 2.0, rtol=1e-12)


def test_displacement_takes_slopes_with_errors() -> None:
    figure = displacement_plot(T, measured(T), slopes=(T, measured(1.0, 0.1)))
    assert any(line.get_label() == "measured" for line in figure.axes[1].lines)


def test_histogram_has_unit_mass_and_bars_of_counting() -> None:
    figure = density()
    left = figure.axes[0]
    stairs = left.patches[0].get_data()
    assert float((stairs.values * np.diff(stairs.edges)).sum()) == pytest.approx(1.0)
    bars = left.collections[0].get_segments()
    assert len(bars) == 40
    assert all(low[1] <= high[1] for low, high in bars)


def test_fewer_effective_draws_have_wider_bars() -> None:
    draws = np.random.default_rng(seed_of("bars")).standard_normal(2000)

    def height(count: float | None) -> float:
        figure = density_plot(draws, {}, n_effective=count)
        return sum(high[1] - low[1] for low, high in figure.axes[0].collections[0].get_segments())

    assert height(200.0) > 2.0 * height(None)


def test_values_that_a_logarithm_cannot_show_are_left_out() -> None:
    value = np.where(T > 50, -0.01, T**-0.5)
    figure = relaxation_plot(T, measured(value, 0.1), {})
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "measured"]
    assert np.all(line.get_ydata() > 0)
    assert png_bytes(figure)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: spectrum_plot(T[:3], measured(T), theory(T)), ShapeError, "one for each entry"),
        (lambda: spectrum_plot(-T, measured(T), theory(T)), OutOfRangeError, "logarithmic axis"),
        (lambda: spectrum_plot(T, T, theory(T)), InputError, "must be a Measurement"),
        (lambda: spectrum_plot(T, measured(T), {"a": 3}), InputError, "must be a Prediction"),
        (lambda: spectrum_plot(T, measured(T), {}), InputError, "at least one theory"),
        (lambda: spectrum_plot(T, measured(T), theory(-T)), InputError, "positive variances"),
        (
            lambda: displacement_plot(T, measured(T), windows=[(5, 1, "")]),
            OutOfRangeError,
            "windows",
        ),
        (lambda: displacement_plot(T, measured(T), windows=[3]), InputError, "triples"),
        (lambda: displacement_plot(T, measured(T), slopes=T), InputError, "slopes"),
        (lambda: relaxation_plot(T, measured(T), {"a": T}), InputError, "must be a pair"),
        (lambda: relaxation_plot(T, measured(T), {"a": (T, T[:2])}), ShapeError, "curves"),
        (lambda: relaxation_plot(T, measured(T), {}, level=2.0), OutOfRangeError, "level"),
        (lambda: density_plot(np.ones(9), {}), RecordError, "must vary"),
        (lambda: density_plot(np.arange(9.0), {}, bins=1), OutOfRangeError, "bins"),
    ],
)
def test_refuses_what_cannot_be_drawn(
    call: Callable[[], Any], error: type[InputError], match: str
) -> None:
    with pytest.raises(error, match=match):
        call()


def test_a_spectrum_within_half_a_decade_has_marks_that_can_be_read_apart() -> None:
    variance = Quantity(name="stationary variance", unit="weight^2", labels=("e1", "e2", "e3"))
    run = Measurement(quantity=variance, value=[0.1, 0.2, 0.2], stderr=0.01, n_effective=99)
    theory = Prediction(quantity=variance, value=run.value, numerical_error=0.0, theory="map")
    for eigenvalues, scale in (([0.132, 0.105, 0.096], "linear"), ([1.0, 0.1, 0.01], "log")):
        figure = spectrum_plot(eigenvalues, run, theory)
        assert {axes.get_xscale() for axes in figure.axes} == {scale}
