"""Random series whose laws are known in closed form."""

from __future__ import annotations

import numpy as np
from scipy import signal


def ar1(
    rng: np.random.Generator, chains: int, draws: int, phi: float, dimension: int = 1
) -> np.ndarray:
    """Stationary autoregressive paths of unit variance: autocovariance ``phi**k``."""
    noise = rng.standard_normal((chains, draws, dimension))
    noise[:, 1:] *= np.sqrt(1.0 - phi**2)
    return signal.lfilter([1.0], [1.0, -phi], noise, axis=1)


def ar1_variance_of_autocovariance(draws: int, phi: float, lag: int) -> float:
    """Variance of ``mean(x[t] x[t + lag])`` over one path of known mean (Isserlis)."""
    m = np.arange(-(draws - lag - 1), draws - lag)
    pairs = draws - lag - np.abs(m)

    def c(k: np.ndarray) -> np.ndarray:
        return phi ** np.abs(k)

    return float((pairs * (c(m) ** 2 + c(m + lag) * c(m - lag))).sum() / (draws - lag) ** 2)


def walk(rng: np.random.Generator, chains: int, draws: int, dimension: int = 1) -> np.ndarray:
    """Random walks with unit steps of variance 1, starting at 0."""
    steps = rng.standard_normal((chains, draws, dimension))
    steps[:, 0] = 0.0
    return np.cumsum(steps, axis=1)


def fractional_walk(rng: np.random.Generator, chains: int, draws: int, hurst: float) -> np.ndarray:
    """Fractional Brownian motion at 0, 1, 2, ...: ``E x(t)**2 = t**(2 hurst)``.

    Increments are drawn exactly, by embedding their covariance in a circulant matrix.
    """
    steps = draws - 1
    k = np.arange(steps + 1.0)
    rho = 0.5 * ((k + 1) ** (2 * hurst) - 2 * k ** (2 * hurst) + np.abs(k - 1) ** (2 * hurst))
    row = np.concatenate([rho, rho[-2:0:-1]])
    eigenvalues = np.fft.fft(row).real
    assert eigenvalues.min() > -1e-10  # fractional Gaussian noise embeds for every exponent
    shape = (chains, len(row))
    noise = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    increments = np.fft.fft(noise * np.sqrt(np.maximum(eigenvalues, 0) / len(row)), axis=1)
    paths = np.zeros((chains, draws, 1))
    paths[:, 1:, 0] = np.cumsum(increments.real[:, :steps], axis=1)
    return paths
