"""SGD with a recorded gradient at every step, and one knob for each assumption to be broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["correlated", "recorded_sgd"]


def recorded_sgd(
    seed: int,
    *,
    chains: int = 32,
    steps: int = 4000,
    curvature: tuple[float, ...] = (1.0, 0.3),
    learning_rate: float = 0.3,
    momentum: float = 0.0,
    epoch: int | None = None,
    quartic: float = 0.0,
    multiplicative: float = 0.0,
    sloped: float = 0.0,
    burn_in: int = 200,
) -> tuple[Trajectory, Trajectory]:
    """Return positions after each step and the gradient that the step used.

    The gradient of one coordinate is ``h w + quartic w^3`` plus noise of variance
    ``1 + sloped w + multiplicative w^2``, independent from step to step, or with an ``epoch``
    summing to zero over every epoch.
    """
    rng = np.random.default_rng(seed)
    h = np.asarray(curvature)
    w, v = np.zeros((chains, len(h))), np.zeros((chains, len(h)))
    weights, gradients = (np.empty((chains, steps, len(h))) for _ in range(2))
    start = -burn_in if epoch is None else -epoch * (burn_in // epoch)
    noise = np.empty((chains, epoch or 1, len(h)))
    for t in range(start, steps):
        place = t % (epoch or 1)
        if place == 0:
            noise = rng.standard_normal(noise.shape)
            if epoch is not None:
                noise -= noise.mean(axis=1, keepdims=True)
                noise /= np.sqrt(1.0 - 1.0 / epoch)
        size = np.sqrt(np.maximum(1.0 + sloped * w + multiplicative * w**2, 0.0))
        gradient = h * w + quartic * w**3 + size * noise[:, place]
        v = momentum * v + gradient
        w = w - learning_rate * v
        if t >= 0:
            weights[:, t], gradients[:, t] = w, gradient
    times = np.arange(1.0, steps + 1.0)
    return Trajectory(values=weights, times=times), Trajectory(values=gradients, times=times)


def correlated(
    rng: np.random.Generator, chains: int, draws: int, dimension: int, memory: float
) -> FloatArray:
    """Return a Gaussian series of unit variance whose correlation falls by ``memory`` a draw."""
    x = rng.standard_normal((chains, draws, dimension))
    x[:, 1:] *= np.sqrt(1.0 - memory**2)
    for t in range(1, draws):
        x[:, t] += memory * x[:, t - 1]
    return x
