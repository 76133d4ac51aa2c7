"""Effects of the assumptions of the theory, where they hold or fail by a known amount.

Where they hold, all intervals of a test at once; where not, each at its own level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.estimators.assumptions import (
    constant_noise,
    gaussianity,
    independent_batches,
    quadratic_loss,
    stated_steps,
    stationarity_of,
)
from validation.case import AR1, LEVEL, OUTER, Case, Intervals, runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fracsde.records.assumption import AssumptionTest

__all__ = ["CASES"]

_WIDE = "wide: holds for all effects together"


def _together(test: Callable[..., AssumptionTest]) -> Callable[[np.ndarray], Intervals]:
    # Zero lies in all intervals of a family if it lies above every low end and below every high.
    def measure(x: np.ndarray) -> Intervals:
        low, high = np.empty((2, 1)), np.empty((2, 1))
        for row, level in enumerate((LEVEL, OUTER)):
            _, lows, highs, _ = np.transpose(list(test(x, level=level).entries.values()))
            low[row], high[row] = lows.max(), highs.min()
        return Intervals(low=low, high=high)

    return measure


def _apart(test: Callable[..., AssumptionTest]) -> Callable[[np.ndarray], Intervals]:
    # Six effects, each at the level that belongs to one: Bonferroni's share given back.
    def measure(x: np.ndarray) -> Intervals:
        found = _together(lambda x, level: test(x, level=min(0.9, 6 * level)))(x)
        return Intervals(low=found.low, high=found.high)

    return measure


def _case(name: str, test: Callable[..., AssumptionTest], law: AR1, shape: tuple[int, int]) -> Case:
    chains, draws = shape
    return runs(
        name,
        _together(test),
        lambda rng: law(rng, chains, draws, 2),
        law=f"{law}, two coordinates",
        chains=chains,
        draws=draws,
        truth={"": 0.0},
        naive=_apart(test) if law.phi else None,
        wide=_WIDE,
        tested=200,
    )


_H = np.array([1.0, 0.4])  # of a parabola of two coordinates


def _steps(chains: int, draws: int, eta: float, jitter: float = 0.0) -> Callable[..., Any]:
    # Weights and gradients of SGD on a parabola, and what moves the weights besides.
    def sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        warm = 60
        g = rng.standard_normal((chains, warm + draws, 2))
        push = jitter * rng.standard_normal(g.shape)
        w = np.zeros_like(g)
        for t in range(1, warm + draws):
            g[:, t] += _H * w[:, t - 1]
            w[:, t] = w[:, t - 1] - eta * g[:, t] + push[:, t]
        return w[:, warm:], g[:, warm:]

    return sample


def _on_steps(
    name: str, test: Callable[..., AssumptionTest], draws: int, *, blind: bool = False
) -> Case:
    together = _together(lambda run, level: test(*run, level=level))
    apart = _together(lambda run, level: test(*run, level=min(0.9, 6 * level)))
    return runs(
        name,
        together,
        _steps(24, draws, 0.3),
        law="SGD on a parabola, two coordinates",
        chains=24,
        draws=draws,
        truth={"": 0.0},
        naive=apart if blind else None,
        wide=_WIDE,
        tested=100,
    )


class _Bent:
    """Curvature 1 + 0.3 w^2 and noise of variance 1 + w^2, of one weight."""

    parameters = 1

    def hessian_vector_product(self, w: np.ndarray, v: np.ndarray) -> np.ndarray:
        return (1.0 + 0.3 * w**2) * v

    def per_example_gradients(self, w: np.ndarray) -> np.ndarray:
        return np.array([[1.0], [-1.0]]) * np.sqrt(1.0 + w**2)


def _each(test: Callable[..., AssumptionTest], effects: int, first: int) -> Callable[..., Any]:
    # The first effects of a test, each at its own level: Bonferroni's share given back.
    def measure(run: Any) -> Intervals:
        low, high = np.empty((2, first)), np.empty((2, first))
        for row, level in enumerate((LEVEL, OUTER)):
            found = test(run, level=effects * level)
            entries = list(found.entries.values()) or [(found.effect, found.low, found.high, 0.0)]
            _, low[row], high[row], _ = np.transpose(entries[:first])
        return Intervals(low=low, high=high)

    return measure


def _known(
    name: str, test: Callable[..., AssumptionTest], effects: int, truth: dict[str, float]
) -> Case:
    return runs(
        name,
        _each(lambda x, level: test(x, loss=_Bent(), minimum=[0.0], level=level), effects, effects),
        lambda rng: 0.3 * AR1(phi=0.6)(rng, 24, 60, 1),
        law="AR(1) Gaussian, tau = 4, bent loss",
        chains=24,
        draws=60,
        truth=truth,
        tested=500,
    )


_KNOWN = (
    _known("constant noise at positions", constant_noise, 1, {"": 0.09}),
    _known("quadratic loss at positions", quadratic_loss, 2, {"curvature": 0.027, "shift": 0.0}),
    runs(
        "stated steps",
        _each(lambda run, level: stated_steps(*run, learning_rate=0.28, level=level), 3, 2),
        _steps(24, 60, 0.3, jitter=0.05),
        law="SGD on a parabola, jittered",
        chains=24,
        draws=60,
        truth={"learning rate": 0.3 / 0.28 - 1.0, "momentum": 0.0},
        tested=100,
    ),
)

_HELD = tuple(
    _case(name, test, law, shape)
    for name, test in (("Gaussianity", gaussianity), ("stationarity", stationarity_of))
    for law, shape in ((AR1(), (32, 100)), (AR1(phi=0.6), (24, 60)), (AR1(phi=0.6), (2, 2000)))
)

CASES = (
    *_HELD,
    _on_steps(
        "constant noise by gradients",
        lambda w, g, level: constant_noise(w, gradients=g, level=level),
        200,
        blind=True,
    ),
    _on_steps(
        "quadratic loss by gradients",
        lambda w, g, level: quadratic_loss(w, gradients=g, level=level),
        200,
    ),
    _on_steps("independent batches", independent_batches, 200),
    *_KNOWN,
)
