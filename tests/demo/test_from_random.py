"""The demo's fractional prediction against the closed moments, and its measurements."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import erfcx

from fracsde.compare import Verdict, compare
from fracsde.demo.from_random import Relaxation, measure_spread, predict_spread

TAU, PLATEAU, SPREAD = 40.0, 2.0, 0.3


def _relaxation(alpha: float, values: np.ndarray) -> Relaxation:
    fit = SimpleNamespace(alpha=alpha, timescale=TAU, plateau=PLATEAU, amplitude=-PLATEAU)
    return Relaxation(
        times=np.array([0.0, 10.0, 40.0, 120.0]),
        values=values,
        spread=SPREAD,
        fit=fit,
        ordinary=fit,
        checks=np.array([1, 2, 3]),
    )


def test_exact_mean_and_spread_are_the_closed_moments() -> None:
    """x = plateau - plateau E(-s), Var = spread^2 (1 - E(-2s)) + plateau^2 (E(-2s) - E(-s)^2)."""
    relaxation = _relaxation(0.5, np.zeros((20, 4)))
    predictions, _ = predict_spread(relaxation, relaxation.fit, "fractional")
    s = np.sqrt(relaxation.times[1:] / TAU)
    one, two = erfcx(s), erfcx(2.0 * s)
    mean = PLATEAU * (1.0 - one)
    variance = SPREAD**2 * (1.0 - two) + PLATEAU**2 * (two - one**2)
    found_mean, found_spread, _ = predictions
    assert np.all(np.abs(found_mean.value - mean) <= found_mean.numerical_error)
    assert np.all(np.abs(found_spread.value - np.sqrt(variance)) <= found_spread.numerical_error)


@pytest.mark.parametrize("alpha", [1.0, pytest.param(0.5, marks=pytest.mark.twin)])
def test_ordinary_replicas_agree_with_the_ordinary_equation_alone(alpha: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    decay = np.exp(-np.array([0.0, 10.0, 40.0, 120.0]) / TAU)
    noise = rng.standard_normal((4000, 4)) * SPREAD * np.sqrt(1.0 - decay**2)
    relaxation = _relaxation(alpha, PLATEAU * (1.0 - decay) + noise)
    predictions, _ = predict_spread(relaxation, relaxation.fit, "equation")
    report = compare(predictions, measure_spread(relaxation), tolerance=0.08)
    agrees = report.verdict is Verdict.AGREES
    assert agrees == (alpha == 1.0)


def test_share_of_none_is_uncertain() -> None:
    relaxation = _relaxation(1.0, np.linspace(0.0, 0.1, 20)[:, None] * np.ones(4))
    share = measure_spread(relaxation)[2]
    assert np.all(share.value == 0.0)
    assert np.all(share.stderr > 0.0)
