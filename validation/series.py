"""Stationary series whose mean, variance and correlation are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

__all__ = ["AR1"]


@dataclass(frozen=True, kw_only=True)
class AR1:
    """A stationary autoregression with innovations of any law, scaled to variance 1.

    Parameters
    ----------
    phi : float
        Correlation of neighbours; the integrated time is ``(1 + phi) / (1 - phi)`` draws.
    innovations : str
        Their law: Gaussian, t(5), t(3), Laplace, log-normal (of a logarithm with standard
        deviation 1), log-normal(1/2), Weibull(1/2); Pareto(3) and Cauchy are not scaled.
    """

    phi: float = 0.0
    innovations: str = "Gaussian"

    def __str__(self) -> str:
        if self.phi == 0.0:
            return f"independent {self.innovations}"
        tau = (1.0 + self.phi) / (1.0 - self.phi)
        return f"AR(1) {self.innovations}, tau = {tau:.3g}"

    def __call__(self, rng: np.random.Generator, chains: int, draws: int, width: int) -> np.ndarray:
        """Return runs of the given shape, of mean 0 and variance 1."""
        decay = np.log(1e-8) / np.log(max(abs(self.phi), 1e-8))
        warm = 0 if self.phi == 0.0 or self.innovations == "Gaussian" else int(decay)
        noise = _unit(rng, self.innovations, (chains, warm + draws, width))
        if self.phi == 0.0:
            return noise
        noise[:, 1:] *= np.sqrt(1.0 - self.phi**2)
        return signal.lfilter([1.0], [1.0, -self.phi], noise, axis=1)[:, warm:]


def _unit(rng: np.random.Generator, law: str, shape: tuple[int, ...]) -> np.ndarray:
    # Draws of mean 0 and variance 1.
    if law == "Gaussian":
        return rng.standard_normal(shape)
    if law == "Pareto(3)":  # as it is: above 1, of index 3
        return rng.pareto(3.0, shape) + 1.0
    if law == "Cauchy":
        return rng.standard_cauchy(shape)
    if law == "Laplace":
        return rng.laplace(scale=0.5**0.5, size=shape)
    if law.startswith("log-normal"):
        square = 1.0 if law == "log-normal" else 0.25
        draws = np.expm1(np.sqrt(square) * rng.standard_normal(shape)) - np.expm1(0.5 * square)
        return draws / np.sqrt(np.exp(square) * np.expm1(square))
    if law == "Weibull(1/2)":  # mean 2, variance 20
        return (rng.weibull(0.5, shape) - 2.0) / np.sqrt(20.0)
    freedom = {"t(3)": 3.0, "t(5)": 5.0}[law]
    return rng.standard_t(freedom, shape) * np.sqrt((freedom - 2.0) / freedom)
