"""Orders of a fractional clock, from relaxations and moments, and its spread over chains."""

from __future__ import annotations

from math import gamma
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from fracsde import Measurement, OUProcess, Quantity, SubordinatedOU, simulate
from fracsde.errors import RecordError
from fracsde.estimators import (
    fit_fractional_likelihood,
    fit_fractional_moments,
    fit_fractional_order,
    log_clock_variance,
    memory_or_modes,
)
from fracsde.special import mittag_leffler, sample_inverse_stable
from validation.case import LEVEL, OUTER, Case, Intervals, intervals, runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["CASES"]

_ORDER = 0.6
_FOUR = np.geomspace(0.1, 10.0, 4)
_TWELVE = np.geomspace(0.05, 30.0, 12)


def _stated(fit: Any) -> Intervals:
    ends = np.array([fit.alpha_interval(1.0 - level) for level in (LEVEL, OUTER)])
    return Intervals(low=ends[:, :1], high=ends[:, 1:])


def _paths(chains: int) -> Callable[[np.random.Generator], np.ndarray]:
    process = SubordinatedOU(base=OUProcess(drift=[[0.0]], noise=[[2.0]]), alpha=_ORDER)

    def sample(rng: np.random.Generator) -> np.ndarray:
        times = np.append(0.0, _FOUR)
        return simulate(process, times, chains=chains, rng=rng, start=[0.0]).values[:, :, 0]

    return sample


def _stated_if_identified(fit: Any) -> Intervals:
    # A fit that calls its order undetermined has refused.
    if not fit.identified:
        raise RecordError(fit.reason)
    return _stated(fit)


_UNDETERMINED = "refuses where the order is not determined"


def _through_the_moments(x: np.ndarray) -> Measurement:
    # A line through the logarithms of mean squares, its error from its own residuals.
    line = stats.linregress(np.log(_FOUR), np.log(np.square(x[:, 1:]).mean(axis=0)))
    return Measurement(
        quantity=Quantity(name="order"), value=line.slope, stderr=line.stderr, n_effective=1e9
    )


def _by_moments(chains: int) -> Case:
    times = np.append(0.0, _FOUR)
    return runs(
        "fractional order by moments",
        lambda x: _stated_if_identified(fit_fractional_moments(times, x, motion="free")),
        _paths(chains),
        law=f"flat ground, clock of order {_ORDER:g}",
        chains=chains,
        draws=len(_FOUR),
        truth={"": _ORDER},
        naive=_through_the_moments,
        refusing=_UNDETERMINED if chains < 100 else "",
        tested=200,
    )


def _by_likelihood(chains: int) -> Case:
    times = np.append(0.0, _FOUR)
    return runs(
        "fractional order by likelihood",
        lambda x: _stated_if_identified(fit_fractional_likelihood(times, x, motion="free")),
        _paths(chains),
        law=f"flat ground, clock of order {_ORDER:g}",
        chains=chains,
        draws=len(_FOUR),
        truth={"": _ORDER},
        refusing=_UNDETERMINED if chains < 100 else "",
        tested=100,
    )


def _unasked(chains: int) -> Case:
    # The interval of every fit, determined or not.
    times = np.append(0.0, _FOUR)
    return runs(
        "fractional order by moments, undetermined too",
        lambda x: _stated(fit_fractional_moments(times, x, motion="free")),
        _paths(chains),
        law=f"flat ground, clock of order {_ORDER:g}",
        chains=chains,
        draws=len(_FOUR),
        truth={"": _ORDER},
        wide="wide: all of [0, 1] where it is not determined",
        tested=100,
    )


def _scale(fit: Any, name: str) -> Measurement:
    # What a fit says of another parameter than the order.
    return next(m for m in fit.to_measurements() if m.quantity.name == name)


def _intercept(x: np.ndarray) -> Measurement:
    # The same line where it meets time 1, its error from its own residuals.
    line = stats.linregress(np.log(_FOUR), np.log(np.square(x[:, 1:]).mean(axis=0)))
    value = 0.5 * gamma(1.0 + line.slope) * np.exp(line.intercept)
    return Measurement(
        quantity=Quantity(name="diffusion"),
        value=value,
        stderr=value * line.intercept_stderr,
        n_effective=1e9,
    )


def _diffusion(chains: int) -> Case:
    times = np.append(0.0, _FOUR)
    return runs(
        "diffusion coefficient by moments",
        lambda x: _scale(fit_fractional_moments(times, x, motion="free"), "diffusion coefficient"),
        _paths(chains),
        law=f"flat ground, clock of order {_ORDER:g}",
        chains=chains,
        draws=len(_FOUR),
        truth={"": 1.0},
        naive=_intercept,
        tested=200,
    )


_GAP = np.abs(np.subtract.outer(np.log(_TWELVE), np.log(_TWELVE)))
_MIX = np.linalg.cholesky(np.exp(-_GAP)).T  # correlated along a chain over half a decade


def _curves(alpha: float) -> Callable[[np.random.Generator], np.ndarray]:
    def sample(rng: np.random.Generator) -> np.ndarray:
        mean = mittag_leffler(-(_TWELVE**alpha), alpha)
        return mean + 0.2 * rng.standard_normal((64, len(_TWELVE))) @ _MIX

    return sample


def _relaxation(alpha: float) -> Case:
    return runs(
        "fractional order of a relaxation",
        lambda x: _stated_if_identified(fit_fractional_order(_TWELVE, x, plateau=0.0)),
        _curves(alpha),
        law=f"order {alpha:g}, correlated noise",
        chains=64,
        draws=12,
        truth={"": alpha},
        tested=200,
    )


def _timescale(alpha: float) -> Case:
    return runs(
        "timescale of a relaxation",
        lambda x: _scale(fit_fractional_order(_TWELVE, x, plateau=0.0), "relaxation timescale"),
        _curves(alpha),
        law=f"order {alpha:g}, correlated noise",
        chains=64,
        draws=12,
        truth={"": 1.0},
        tested=100,
    )


def _clocked(alpha: float) -> Callable[[np.random.Generator], np.ndarray]:
    def sample(rng: np.random.Generator) -> np.ndarray:
        clock = np.ones(256) if alpha == 1.0 else sample_inverse_stable(1.0, alpha, 256, rng)
        run = np.zeros((256, 2, 2))
        run[:, 1] = np.sqrt(clock)[:, None] * rng.standard_normal((256, 2)) @ [[1, 0.5], [0, 3]]
        return run

    return sample


def _blind(run: np.ndarray) -> Measurement:
    # The error that a variance of Gaussian logarithms would have.
    found = log_clock_variance(run, [1])
    spread = found.value + np.pi**2 / 6.0  # and that of a chi-square of two degrees
    return Measurement(
        quantity=found.quantity,
        value=found.value,
        stderr=spread * np.sqrt(2.0 / len(run)),
        n_effective=found.n_effective,
    )


def _spread(alpha: float) -> Case:
    return runs(
        f"variance of the log clock, order {alpha:g}",
        lambda run: log_clock_variance(run, [1]),
        _clocked(alpha),
        law="flat ground, two coordinates",
        chains=256,
        draws=2,
        truth={"": np.pi**2 / 6.0 * (1.0 - alpha**2)},
        naive=_blind if alpha == 1.0 else None,
    )


def _share(alpha: float) -> Case:
    def stated(run: np.ndarray, level: float) -> tuple[float, float]:
        found = memory_or_modes(run, [1], order=0.5, level=level)
        return found.low, found.high

    return runs(
        f"share of memory, order {alpha:g}",
        intervals(stated),
        _clocked(alpha),
        law="flat ground, two coordinates",
        chains=256,
        draws=2,
        truth={"": (1.0 - alpha**2) / 0.75},
    )


CASES = (
    _by_moments(100),
    _by_moments(48),
    _by_likelihood(100),
    _unasked(16),
    _diffusion(100),
    _relaxation(0.7),
    _timescale(0.7),
    *(_spread(alpha) for alpha in (0.5, 1.0)),
    *(_share(alpha) for alpha in (0.5, 1.0)),
)
