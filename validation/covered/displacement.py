"""Displacements, their exponents and laws, ergodicity breaking and waiting times."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, optimize, special, stats

from fracsde import Measurement, Quantity
from fracsde.estimators import (
    FirstPassages,
    aged_displacement,
    displacement_exponent,
    ergodicity_breaking,
    exponent_by_likelihood,
    growth_laws,
    local_exponents,
    mean_passage_time,
    mean_square_displacement,
    survival,
)
from validation.case import AR1, Case, intervals, runs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CASES"]


def fractional(exponent: float, chains: int, draws: int, noise: float = 0.0) -> Callable:
    """Return a sampler of fractional Brownian motion by circulant embedding."""
    k = np.arange(float(draws))
    power = 2.0 * exponent
    rho = 0.5 * ((k + 1) ** power - 2 * k**power + np.abs(k - 1) ** power)
    row = np.concatenate([rho, rho[-2:0:-1]])
    root = np.sqrt(np.maximum(fft.rfft(row).real, 0.0))

    def sample(rng: np.random.Generator) -> np.ndarray:
        white = fft.rfft(rng.standard_normal((chains, len(row))), axis=1)
        steps = fft.irfft(white * root, len(row), axis=1)[:, : draws - 1]
        paths = np.zeros((chains, draws, 1))
        np.cumsum(steps, axis=1, out=paths[:, 1:, 0])
        return paths + noise * rng.standard_normal(paths.shape)

    return sample


def relaxing(phi: float, chains: int, draws: int) -> Callable:
    """Return a sampler of a stationary mode."""
    return lambda rng: AR1(phi=phi)(rng, chains, draws, 1)


def displacement(lag: int, **kept: str) -> Callable:
    def measure(x: np.ndarray) -> Measurement:
        return mean_square_displacement(x, [lag], **kept).to_measurement()

    return measure


def by_windows(lag: int) -> Callable:
    """Return the error that takes all windows of one path as independent."""

    def measure(x: np.ndarray) -> Measurement:
        moved = np.square(x[0, lag:, 0] - x[0, :-lag, 0])
        return _number(moved.mean(), moved.std() / np.sqrt(len(moved)), len(moved))

    return measure


def by_line(x: np.ndarray, kind: str = "time_averaged", share: float = 0.5) -> Measurement:
    """Return slope and error of a least-squares line through one curve."""
    lags = np.unique(np.geomspace(1, x.shape[1] // 4, 25).astype(int))
    moved = mean_square_displacement(x, lags.tolist(), kind=kind)
    line = stats.linregress(np.log(moved.times), share * np.log(moved.value))
    return _number(line.slope, line.stderr, len(lags))


def by_independent_points(x: np.ndarray) -> Measurement:
    """Return the time of saturation from points taken as independent."""
    lags = np.unique(np.geomspace(2, x.shape[1] - 10, 25).astype(int))
    moved = mean_square_displacement(x, lags.tolist())

    def curve(t: np.ndarray, height: float, time: float) -> np.ndarray:
        return -height * np.expm1(-t / time)

    kept = {"p0": (2.0, 20.0), "sigma": moved.stderr, "absolute_sigma": True}
    best, covariance = optimize.curve_fit(curve, moved.times, moved.value, **kept)
    return _number(best[1], np.sqrt(covariance[1, 1]), len(lags))


def by_counting_windows(x: np.ndarray) -> Measurement:
    """Return ergodicity breaking with an error that takes windows for chains."""
    found = ergodicity_breaking(x, [5]).value[0]
    windows = len(x) * (x.shape[1] // 5)
    return _number(found, found * np.sqrt(2.0 / windows), windows)


def law_parameter(name: str, parameter: str) -> Callable:
    def measure(x: np.ndarray) -> Measurement:
        law = growth_laws(x, (2, x.shape[1] - 10.0))[name]
        return _number(law.parameters[parameter], law.stderr[parameter], len(x))

    return measure


def waits(shape: float, chains: int) -> Callable:
    """Return a sampler of Weibull waiting times, censored at random and at 1.8."""

    def sample(rng: np.random.Generator) -> FirstPassages:
        times = rng.weibull(shape, chains)
        end = np.minimum(rng.uniform(0.3, 2.5, chains), 1.8)
        return FirstPassages(times=np.minimum(times, end), observed=times <= end)

    return sample


def leaving_out(passages: FirstPassages, horizon: float = np.inf) -> Measurement:
    """Return the mean of the passages that were seen, cut at the horizon."""
    seen = np.minimum(passages.times[passages.observed], horizon)
    return _number(seen.mean(), seen.std() / np.sqrt(len(seen)), len(seen))


def _number(value: float, stderr: float, n: int) -> Measurement:
    name = Quantity(name="number", unit="1", labels=("",))
    return Measurement(quantity=name, value=value, stderr=stderr, n_effective=float(n))


def brownian(draws: int, lag: int) -> float:
    """Return the exact ergodicity-breaking parameter of Brownian motion."""
    windows = draws - lag
    squares = windows * (2 * lag**2 + 1) / (3 * lag) - (lag**2 - 1) / 6
    return 2 * squares / windows**2


def _displacements() -> list[Case]:
    chains, draws = {"kind": "time_averaged"}, {"kind": "time_averaged", "errors": "draws"}
    name = "mean-square displacement"
    walk, slow = "Brownian motion", "fractional, slope 0.3"
    one = fractional(0.5, 1, 1500)
    return [
        runs(
            f"{name} at lag 30, ensemble",
            displacement(30),
            fractional(0.5, 32, 60),
            law=walk,
            chains=32,
            draws=60,
            truth={"": 30.0},
        ),
        runs(
            f"{name} at lag 5, chains",
            displacement(5, **chains),
            relaxing(0.9, 32, 200),
            law="AR(1) Gaussian, tau = 19",
            chains=32,
            draws=200,
            truth={"": 2 - 2 * 0.9**5},
        ),
        runs(
            f"{name} at lag 10, one chain",
            displacement(10, **draws),
            one,
            law=walk,
            chains=1,
            draws=1500,
            truth={"": 10.0},
            naive=by_windows(10),
        ),
        runs(
            f"{name} at lag 10, one chain",
            displacement(10, **draws),
            fractional(0.3, 1, 1500),
            law=slow,
            chains=1,
            draws=1500,
            truth={"": 10.0**0.6},
        ),
        runs(
            f"{name} at lag 5, one chain",
            displacement(5, **draws),
            relaxing(0.9, 1, 1500),
            law="AR(1) Gaussian, tau = 19",
            chains=1,
            draws=1500,
            truth={"": 2 - 2 * 0.9**5},
        ),
    ]


def _exponents() -> list[Case]:
    found = [
        runs(
            "displacement exponent, likelihood",
            exponent_by_likelihood,
            fractional(slope, 1, 300),
            law=f"fractional, slope {slope:g}",
            chains=1,
            draws=300,
            truth={"": slope},
            naive=by_line,
        )
        for slope in (0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
    ]
    return [
        *found,
        runs(
            "displacement exponent and noise, likelihood",
            lambda x: exponent_by_likelihood(x, noise=True),
            fractional(0.6, 1, 200, noise=0.5),
            law="fractional, slope 0.6, and noise",
            chains=1,
            draws=200,
            truth={"": 0.6},
            naive=exponent_by_likelihood,
        ),
        runs(
            "displacement exponent, jackknife",
            lambda x: displacement_exponent(x, (4, 150)),
            fractional(0.35, 32, 200),
            law="fractional, slope 0.35",
            chains=32,
            draws=200,
            truth={"": 0.35},
            naive=partial(by_line, kind="ensemble"),
        ),
        runs(
            "exponent of the power law among laws of growth",
            law_parameter("power", "b"),
            fractional(0.3, 60, 200),
            law="fractional, slope 0.3",
            chains=60,
            draws=200,
            truth={"": 0.6},
            naive=partial(by_line, kind="ensemble", share=1.0),
        ),
        runs(
            "time of saturation among laws of growth",
            law_parameter("saturating", "tau"),
            relaxing(float(np.exp(-1 / 20)), 100, 200),
            law="AR(1) Gaussian, tau = 40",
            chains=100,
            draws=200,
            truth={"": 20.0},
            naive=by_independent_points,
        ),
    ]


def _local(x: np.ndarray) -> Measurement:
    found = local_exponents(x, factor=4.0, points=8)
    at = len(found.value) // 2
    return _number(found.value[at], found.stderr[at], found.chains)


def _aged(x: np.ndarray) -> Measurement:
    found = aged_displacement(x, 50, [5])
    return found.windows[2].to_measurement()


def _share_left(seen: FirstPassages, level: float) -> tuple[float, float]:
    # The interval from the last passage before time 1/2 on.
    found = survival(seen)
    low, high = found.interval(1.0 - level)
    at = int(np.searchsorted(found.times, 0.5, side="right")) - 1
    return float(low[at]), float(high[at])


def _others() -> list[Case]:
    return [
        runs(
            "ergodicity breaking at lag 5",
            lambda x: ergodicity_breaking(x, [5]),
            fractional(0.5, chains, 60),
            law="Brownian motion",
            chains=chains,
            draws=60,
            truth={"": brownian(60, 5)},
            naive=by_counting_windows,
        )
        for chains in (40, 200)
    ] + [
        runs(
            "local displacement exponent",
            _local,
            fractional(0.35, 32, 200),
            law="fractional, slope 0.35",
            chains=32,
            draws=200,
            truth={"": 0.35},
        ),
        runs(
            "mean-square displacement at lag 5, aged",
            _aged,
            fractional(0.35, 32, 200),
            law="fractional, slope 0.35",
            chains=32,
            draws=200,
            truth={"": 5.0**0.7},
            tested=200,
        ),
        runs(
            "share still waiting",
            intervals(_share_left),
            waits(1.5, 60),
            law="Weibull(3/2), censored",
            chains=60,
            draws=1,
            truth={"": float(np.exp(-(0.5**1.5)))},
        ),
        runs(
            "restricted mean passage time",
            lambda seen: survival(seen).restricted_mean(1.0),
            waits(1.5, 60),
            law="Weibull(3/2), censored",
            chains=60,
            draws=1,
            truth={"": float(special.gammainc(2 / 3, 1.0) * special.gamma(2 / 3) / 1.5)},
            naive=partial(leaving_out, horizon=1.0),
        ),
        runs(
            "mean first-passage time, constant rate",
            lambda seen: mean_passage_time(seen, tail_from=0.0),
            waits(1.0, 60),
            law="exponential, censored",
            chains=60,
            draws=1,
            truth={"": 1.0},
            naive=leaving_out,
        ),
    ]


CASES = (*_displacements(), *_exponents(), *_others())
