"""Gradient noise, its scale, and the fluctuation-dissipation relation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import signal

from fracsde import Measurement, Quantity
from fracsde.estimators import (
    fluctuation_dissipation,
    gradient_noise,
    gradient_noise_scale,
    noise_scale_of_batches,
    second_fluctuation_dissipation,
)
from validation.case import Case, intervals, runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from validation.case import Intervals

__all__ = ["CASES"]

_ROOT = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.3, 0.5]])
_NOISE = _ROOT @ _ROOT.T
_H = np.diag([3.0, 1.0, 0.5])
_PLACE = np.array([0.4, 0.5, 0.6])
_WARM = 200  # steps before a run of SGD


@dataclass(frozen=True, kw_only=True)
class _Examples:
    """A parabola with curvature ``_H``, shifted for each example."""

    shifts: np.ndarray

    @property
    def parameters(self) -> int:
        return 3

    @property
    def examples(self) -> int:
        return len(self.shifts)

    def loss_and_gradient(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        b = self.shifts.mean(axis=0)
        return float(0.5 * w @ _H @ w + b @ w), _H @ w + b

    def loss(self, w: np.ndarray) -> float:
        return self.loss_and_gradient(w)[0]

    def gradient(self, w: np.ndarray) -> np.ndarray:
        return self.loss_and_gradient(w)[1]

    def per_example_gradients(self, w: np.ndarray, examples: Any = None) -> np.ndarray:
        return _H @ w + (self.shifts if examples is None else self.shifts[examples])

    def hessian_vector_product(self, w: np.ndarray, v: np.ndarray) -> np.ndarray:
        return _H @ v

    def hessian(self, w: np.ndarray) -> np.ndarray:
        return _H.copy()


def _sample(count: int, freedom: float | None) -> Callable[[np.random.Generator], _Examples]:
    def sample(rng: np.random.Generator) -> _Examples:
        white = rng.standard_normal((count, 3))
        if freedom is not None:
            white = rng.standard_t(freedom, (count, 3)) * np.sqrt(1.0 - 2.0 / freedom)
        return _Examples(shifts=white @ _ROOT.T)

    return sample


_LABELS = ("trace", "entry 0, 0", "entry 0, 2")


def _noise(loss: _Examples) -> Measurement:
    found = gradient_noise(loss, _PLACE, population="distribution")
    C, errors, n = found.matrix, found.stderr, found.n_effective
    return Measurement(
        quantity=Quantity(name="noise", labels=_LABELS),
        value=np.array([found.trace, C[0, 0], C[0, 2]]),
        stderr=np.array([found.trace_stderr, errors[0, 0], errors[0, 2]]),
        n_effective=np.array([found.trace_n_effective, n[0, 0], n[0, 2]]),
    )


def _gaussian_errors(loss: _Examples) -> Measurement:
    # The errors that a covariance of Gaussian gradients would have.
    found = _noise(loss)
    C = np.cov(loss.shifts.T)
    each = (np.outer(C.diagonal(), C.diagonal()) + C * C) / loss.examples
    errors = np.sqrt([2.0 * np.vdot(C, C) / loss.examples, each[0, 0], each[0, 2]])
    return Measurement(
        quantity=found.quantity,
        value=found.value,
        stderr=errors,
        n_effective=float(loss.examples),
    )


def _gradient_noise(law: str, count: int, freedom: float | None) -> Case:
    return runs(
        "gradient noise",
        _noise,
        _sample(count, freedom),
        law=law,
        chains=1,
        draws=count,
        truth=dict(zip(_LABELS, (_NOISE.trace(), _NOISE[0, 0], _NOISE[0, 2]), strict=True)),
        naive=None if freedom is None else _gaussian_errors,
    )


def _scale_at_a_point(weighted: bool) -> Case:
    def stated(loss: _Examples, level: float) -> tuple[float, float]:
        return gradient_noise_scale(
            loss, _PLACE, weighted=weighted, population="distribution", level=level
        ).interval

    gradient, kind = _H @ _PLACE, _H if weighted else np.eye(3)
    return runs(
        f"gradient-noise scale at a point{', weighted' if weighted else ''}",
        intervals(stated),
        _sample(100, None),
        law="Gaussian examples",
        chains=1,
        draws=100,
        truth={"": float(np.sum(kind * _NOISE) / (gradient @ kind @ gradient))},
    )


def _batches(chains: int, draws: int, memory: float) -> Callable[[np.random.Generator], Any]:
    # Squared norms of halves of a batch of 8 and of the whole; the gradient itself wanders.
    def sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        mean = np.full((chains, draws, 5), 0.4)
        if memory:
            drift = rng.standard_normal((chains, draws, 5))
            drift[:, 1:] *= np.sqrt(1.0 - memory**2)
            for t in range(1, draws):
                drift[:, t] += memory * drift[:, t - 1]
            mean = mean + 0.4 * drift
        parts = mean + 0.5 * rng.standard_normal((2, chains, draws, 5))
        return np.square(parts).sum(axis=3).mean(axis=0), np.square(parts.mean(axis=0)).sum(axis=2)

    return sample


def _of_batches(run: tuple[np.ndarray, np.ndarray], level: float) -> tuple[float, float]:
    return noise_scale_of_batches(*run, small_batch=4, large_batch=8, level=level).interval


def _of_draws(run: tuple[np.ndarray, np.ndarray], level: float) -> tuple[float, float]:
    # Every draw taken for a chain of its own.
    return _of_batches((run[0].reshape(-1, 1), run[1].reshape(-1, 1)), level)


def _scale_of_batches(chains: int, draws: int, memory: float) -> Case:
    truth = 5.0 / (5 * 0.16 + (5 * 0.16 if memory else 0.0))
    return runs(
        "gradient-noise scale of batches",
        intervals(_of_batches),
        _batches(chains, draws, memory),
        law="wandering gradient, tau = 9" if memory else "one gradient",
        chains=chains,
        draws=draws,
        truth={"": truth},
        naive=intervals(_of_draws) if memory else None,
    )


def _steps(
    chains: int, draws: int, eta: float, momentum: float = 0.0, every: int = 1, windows: int = 1
) -> Callable[[np.random.Generator], Any]:
    # Products of weights and gradients on a parabola, in their stationary law; windows far apart.
    recursion = [1.0, eta - 1.0 - momentum, momentum]
    there = np.arange(draws) * every + np.arange(draws) * windows // draws * _WARM + _WARM

    def sample(rng: np.random.Generator) -> dict[str, np.ndarray]:
        noise = rng.standard_normal((chains, there[-1] + 1))
        w = np.zeros((chains, 1 + noise.shape[1]))
        w[:, 1:] = signal.lfilter([-eta], recursion, noise, axis=1)
        before, step = w[:, :-1], np.diff(w)
        w, g, v = (part[:, there] for part in (before, before + noise, step))
        return {
            "weight_dot_gradient": w * g,
            "gradient_norm_squared": g * g,
            "velocity_norm_squared": np.square(v / eta),
        }

    return sample


def _relation(eta: float, momentum: float) -> Callable[[Any], Intervals]:
    return intervals(
        lambda run, level: (
            fluctuation_dissipation(run, learning_rate=eta, momentum=momentum, level=level).interval
        )
    )


def _sides_apart(run: dict[str, np.ndarray]) -> Measurement:
    # The two sides taken for independent, though they rise and fall together.
    top, bottom = run["weight_dot_gradient"].ravel(), 0.25 * run["gradient_norm_squared"].ravel()
    value = top.mean() / bottom.mean()
    share = [np.var(side) / side.size / side.mean() ** 2 for side in (top, bottom)]
    return Measurement(
        quantity=Quantity(name="relation"),
        value=value,
        stderr=abs(value) * np.sqrt(sum(share)),
        n_effective=float(top.size),
    )


def _fluctuation(
    chains: int,
    draws: int,
    eta: float,
    momentum: float = 0.0,
    every: int = 1,
    windows: int = 1,
) -> Case:
    law = f"SGD on a parabola, rate {eta:g}"
    law += f", momentum {momentum:g}" if momentum else ""
    law += f", each {every}th step" if every > 1 else ""
    law += f", {windows} windows" if windows > 1 else ""
    return runs(
        "fluctuation-dissipation relation",
        _relation(eta, momentum),
        _steps(chains, draws, eta, momentum, every, windows),
        law=law,
        chains=chains,
        draws=draws,
        truth={"": 1.0},
        naive=_sides_apart if (chains, eta) == (16, 0.5) else None,
        tested=200 if chains < 16 else 500,
    )


def _points(
    chains: int, draws: int, eta: float
) -> Callable[[np.random.Generator], dict[str, np.ndarray]]:
    # Weights and gradients on a parabola of unit curvature, in their stationary law.
    def sample(rng: np.random.Generator) -> dict[str, np.ndarray]:
        noise = rng.standard_normal((chains, draws, 1))
        w = np.empty((chains, draws, 1))
        w[:, 0] = rng.standard_normal((chains, 1)) * np.sqrt(eta / (2.0 - eta))
        for t in range(1, draws):
            w[:, t] = (1.0 - eta) * w[:, t - 1] - eta * noise[:, t - 1]
        return {"weights": w, "gradients": w + noise}

    return sample


class _Parabola(_Examples):
    """One weight on a parabola of unit curvature."""

    @property
    def parameters(self) -> int:
        return 1

    def gradient(self, w: np.ndarray) -> np.ndarray:
        return w

    def loss_and_gradient(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.5 * float(w @ w), w

    def hessian_vector_product(self, w: np.ndarray, v: np.ndarray) -> np.ndarray:
        return v


def _second_relation(chains: int, draws: int, eta: float) -> Case:
    loss = _Parabola(shifts=np.zeros((1, 1)))

    def stated(run: dict[str, np.ndarray], level: float) -> tuple[float, float]:
        return second_fluctuation_dissipation(loss, **run, learning_rate=eta, level=level).interval

    return runs(
        "second fluctuation-dissipation relation",
        intervals(stated),
        _points(chains, draws, eta),
        law=f"SGD on a parabola, rate {eta:g}",
        chains=chains,
        draws=draws,
        truth={"": 1.0},
        tested=200,
    )


CASES = (
    _gradient_noise("Gaussian examples", 150, None),
    _gradient_noise("t(5) examples", 500, 5.0),
    _gradient_noise("t(5) examples", 2000, 5.0),
    _scale_at_a_point(weighted=False),
    _scale_at_a_point(weighted=True),
    _scale_of_batches(20, 20, 0.0),
    _scale_of_batches(2, 400, 0.0),
    _scale_of_batches(20, 40, 0.8),
    _fluctuation(16, 20, 0.5),
    _fluctuation(32, 100, 0.05),
    _fluctuation(1, 1000, 0.5),
    _fluctuation(4, 500, 0.2),
    _fluctuation(1, 2000, 0.2, momentum=0.5),
    _fluctuation(1, 1000, 0.5, every=4),
    _fluctuation(1, 1000, 0.5, windows=2),
    _fluctuation(1, 1000, 0.5, windows=11),
    _fluctuation(4, 500, 0.2, windows=4),
    _second_relation(16, 20, 0.5),
)
