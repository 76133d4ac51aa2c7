r"""Squared norms of the correlations of a sampled process, in the basis where they are cheap.

In the eigenvectors of a symmetric process, or of the curvature of SGD with momentum,

.. math::
    R_{ij}(s) = e_i(s)\,\Sigma_{ij} + f_i(s)\,Y_{ij}, \qquad Y_{ij} = \mathrm{E}[v_i w_j],

with ``f`` for the velocities of momentum.  A change of orthogonal basis leaves the norm,

.. math::
    \|R(s)\|_F^2 = \sum_i \Big[ e_i^2 \sum_j \Sigma_{ij}^2 + 2 e_i f_i \sum_j \Sigma_{ij} Y_{ij}
        + f_i^2 \sum_j Y_{ij}^2 \Big] ,

so that a lag costs ``O(d)``; increments are the same with differences of ``e`` and ``f``, as long
as no lag is negative.  Other processes keep their matrices and step them forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fracsde.lyapunov.evolution import momentum_steps, weight_ball
from fracsde.lyapunov.mode_powers import power_rows
from fracsde.lyapunov.processes import require_stationary
from fracsde.lyapunov.propagators import gap_law, modes

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray, IntArray
    from fracsde.lyapunov.propagators import LinearProcess

__all__ = ["Correlations", "correlations"]

# Numbers of the modes' powers that are held at once.
_HELD = 2**22


class Correlations(Protocol):
    """Squared norms of correlations between draws."""

    def kept_norms(self, draws: IntArray) -> FloatArray:
        """Return the squared norm of ``R`` at each number of draws, from 0 on."""
        ...

    def increment_norms(self, lag: int, count: int) -> tuple[FloatArray, float]:
        """Return the squared norms of ``count`` correlations of increments, and their variance."""
        ...


def correlations(process: LinearProcess, spacing: float) -> Correlations:
    """Return the correlations of a process drawn at equal times.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        Stable.
    spacing : float [t, or steps]
        Time between draws.

    Returns
    -------
    Correlations
    """

    def times(draws: IntArray) -> FloatArray:
        return np.asarray(spacing * draws, dtype=np.float64)

    X = require_stationary(process).matrix
    modal, ball = modes(process), weight_ball(process)
    # Norms survive the change of basis only where all coordinates are seen.
    if modal is not None and len(process.observed) == process.dimension:
        V = modal.basis
        return _Modal(
            kept=lambda s: modal.decay(times(s))[None],
            away=lambda s: modal.away(times(s))[None],
            parts=(V.T @ X @ V)[None],
        )
    if ball is not None:
        V, step = ball.basis, momentum_steps(ball)
        return _Modal(
            kept=lambda s: power_rows(step, times(s)),
            away=lambda s: power_rows(step, times(s), distance=True),
            parts=V.T @ X[:, : len(V)].reshape(2, len(V), len(V)) @ V,
        )
    E, away, _ = gap_law(process)(spacing)
    return _Dense(step=E, away=away, covariance=X, observed=process.observed)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Modal:
    """Correlations as sums over modes; ``parts`` are ``Sigma`` and, with momentum, ``Y``."""

    # From numbers of draws (s,) to what multiplies each part in E^s and in E^s - I: (part, s, n).
    kept: Callable[[IntArray], FloatArray]
    away: Callable[[IntArray], FloatArray]
    parts: FloatArray

    def kept_norms(self, draws: IntArray) -> FloatArray:
        return self._norms(draws, self.kept)

    def increment_norms(self, lag: int, count: int) -> tuple[FloatArray, float]:
        def increments(s: IntArray) -> FloatArray:
            return self.away(s + lag) + self.away(s - lag) - 2.0 * self.away(s)

        near = [self._near(s, lag) for s in range(min(lag, count))]
        far = self._norms(np.arange(lag, count), increments)
        once = self.away(np.array([lag]))[:, 0]
        variance = -2.0 * float(np.einsum("an,ann->", once, self.parts))
        return np.concatenate([near, far]), variance

    def _near(self, s: int, lag: int) -> float:
        # Increments that overlap: one of the three lags is negative, and its matrix transposed.
        at = self.away(np.array([s + lag, lag - s, s]))
        later, earlier, same = np.einsum("asn,ank->snk", at, self.parts)
        return float(np.square(later + earlier.T - 2.0 * same).sum())

    def _norms(self, draws: IntArray, factors: Callable[[IntArray], FloatArray]) -> FloatArray:
        products = np.einsum("anj,bnj->abn", self.parts, self.parts)
        out = np.empty(len(draws))
        block = max(1, _HELD // (8 * products.shape[2]))
        for first in range(0, len(draws), block):
            part = slice(first, first + block)
            f = factors(draws[part])
            out[part] = sum(
                (f[a] * f[b]) @ products[a, b] for a in range(len(f)) for b in range(len(f))
            )
        return np.maximum(out, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Dense:
    """Correlations as matrices, stepped forward from draw to draw."""

    step: FloatArray
    away: FloatArray
    covariance: FloatArray
    observed: IntArray

    def kept_norms(self, draws: IntArray) -> FloatArray:
        return self._stepped(self.covariance, len(draws))

    def increment_norms(self, lag: int, count: int) -> tuple[FloatArray, float]:
        lost = self._lost(lag + min(lag, count))
        near = [
            float(np.square(lost[s + lag] + lost[lag - s].T - 2.0 * lost[s]).sum())
            for s in range(min(lag, count))
        ]
        moved = self._moved(self._moved(self.covariance, lag), lag)
        far = self._stepped(moved, max(count - lag, 0))
        return np.concatenate([near, far]), 2.0 * float(np.trace(lost[lag]))

    def _moved(self, X: FloatArray, steps: int) -> FloatArray:
        # (E^steps - I) X.
        Z = np.zeros_like(X)
        for _ in range(steps):
            Z = self.step @ Z + self.away @ X
        return Z

    def _lost(self, steps: int) -> list[FloatArray]:
        # -(E^s - I) Sigma of the observed coordinates, for s = 0 ... steps.
        X = self.covariance[:, self.observed]
        once, Z, lost = self.away @ X, np.zeros_like(X), [np.zeros((len(self.observed),) * 2)]
        for _ in range(steps):
            Z = self.step @ Z + once
            lost.append(-Z[self.observed])
        return lost

    def _stepped(self, X: FloatArray, count: int) -> FloatArray:
        out, X = np.empty(count), X[:, self.observed]
        for s in range(count):
            out[s] = np.square(X[self.observed]).sum()
            X = self.step @ X
        return out
