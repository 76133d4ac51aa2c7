r"""What a closure iterates: mean, curvature and noise, and the law that follows from them.

The unknown is :math:`y = (m, \bar H, Q, s, b)` in modes of the Hessian: the mean, the leading
columns of the mean curvature, the leading block of the noise of one step,

.. math:: Q = \frac{f}{B}\,\bar C + R,

and the factors ``s`` and ``b`` by which noise and curvature of the other modes have grown as a
whole; by Stein's lemma the latter needs only gradients.  In units of the minimum's own law the
entries of ``y`` are of order one.

An entry that the draws do not determine is shrunk towards its value at the minimum: one that
differs from it by ``x``, with standard error ``e``, keeps the share :math:`x^2 / (x^2 + e^2)` of
the difference; the curvature ``h`` of a leading mode keeps :math:`h^2 / (h^2 + 9 e^2)` of it.
Between leading modes and others, whose own curvature stays behind, the coupling
:math:`H_{22}^{-1/2}\bar H_{21}\bar H_{11}^{-1/2}` keeps singular values below 0.3, so that it
makes no direction flat.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fracsde._closure.fourth import fourth_shares
from fracsde._closure.linear import leading_recursion, modal_denominators, stationary_weights
from fracsde._closure.pairs import Pairs, pairs_of
from fracsde._closure.third import Bends, Skewness, bends, skewness

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._closure.averages import Averages
    from fracsde._closure.minimum import LossMinimum
    from fracsde._typing import FloatArray

__all__ = ["Frame", "State"]

# Means of modes flatter than this share of the largest curvature move by damped steps: there the
# curvature of the minimum says little about that of the law.
FLAT = 0.02
COUPLED = 0.3  # largest singular value of the coupling to modes of frozen curvature
TRUST = 3.0  # standard errors of a curvature that weigh as much as the curvature itself


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """One iterate, in modes."""

    mean: FloatArray  # (r,)
    hessian: FloatArray  # (r, k)
    noise: FloatArray  # (k, k)
    growth: float
    bend: float
    shrinkage: FloatArray  # (k,) what is kept of a change of curvature, 1 where all


class Frame:
    """A minimum with the hyper-parameters: the units, the frozen law and the map ``F``."""

    def __init__(
        self,
        at: LossMinimum,
        *,
        rate: float,
        momentum: float,
        factors: tuple[float, float, float],
    ) -> None:
        self.at, self.rate, self.momentum, self.factors = at, rate, momentum, factors
        self.factor = factors[0]
        self.bends: Bends | None = None  # third cumulants count from when they are known
        h, k = at.curvatures, at.rank
        straight = np.zeros((len(h), k))
        straight[:k] = np.diag(h[:k])
        self.start = State(
            mean=np.zeros(len(h)),
            hessian=straight,
            noise=self.factor * at.noise[:k, :k],
            growth=1.0,
            bend=1.0,
            shrinkage=np.ones(k),
        )
        self._root = _inverse_root(self.start.noise)
        self.frozen, self.low, self.high = self.law(self.start)
        self._sd = _unit(self.frozen.diagonal())
        self._kick = _unit(self.start.noise.diagonal())
        self._bend = np.sqrt(np.multiply.outer(h, h[:k]))
        self._upper = np.triu_indices(k)

    def law(self, state: State) -> tuple[FloatArray, float, float]:
        """Return the covariance of a state and the extreme eigenvalues of rate times curvature."""
        return stationary_weights(*self._linear(state), rate=self.rate, momentum=self.momentum)

    def recursion(self, state: State) -> tuple[FloatArray, FloatArray]:
        """Return transition and noise of the leading modes."""
        beyond = None
        if self.bends is not None and self.momentum == 0.0:
            beyond = self.skewness(state, self.bends).beyond
        return leading_recursion(
            *self._linear(state),
            rate=self.rate,
            momentum=self.momentum,
            beyond=beyond,
        )

    def look(self, state: State, watch: Callable[[int, int], None]) -> Bends:
        """Differentiate curvature and noise at a state."""
        pairs = self.pairs
        sd = pairs.means(_unit(self.law(state)[0].diagonal()), self.spread(state))
        return bends(self.at, state.mean, pairs, pairs.steps(sd), watch)

    @cached_property
    def pairs(self) -> Pairs:
        """The vectors in which modes are paired."""
        outside = self.spread(self.start) > 0.0
        return pairs_of(self.at, self.frozen.diagonal(), outside=outside)

    def skewness(self, state: State, found: Bends, *, whole: bool = False) -> Skewness:
        """Return the third cumulants of a state's law, and what they do.

        From pairs of the stiffest modes, or of the whole: vectors that stand for many modes sample
        their sum, well enough for the size of an error.

        Returns
        -------
        Skewness
        """
        hessian, rest, noise = self._paired(state)
        n = len(noise) if whole else self.pairs.single
        return skewness(
            found.among(n),
            hessian,
            rest[: n - len(hessian)],
            noise[:n, :n],
            rate=self.rate,
            momentum=self.momentum,
            factors=self.factors,
        )

    def fourth(self, state: State, found: Bends, odd: FloatArray) -> FloatArray:
        """Return the share of each leading variance that fourth cumulants are."""
        k = self.at.rank
        return fourth_shares(
            found.along,
            state.hessian[:k].diagonal(),
            self.law(state)[0].diagonal()[:k],
            odd,
            rate=self.rate,
            momentum=self.momentum,
            factors=self.factors,
        )

    def _paired(self, state: State) -> tuple[FloatArray, FloatArray, FloatArray]:
        # Curvature of the leading modes, that of the other vectors, and the noise of all.
        k, pairs = self.at.rank, self.pairs
        columns, rest, noise = self._linear(state)
        n = pairs.single
        h = np.concatenate([columns[:k].diagonal(), rest])
        h_all = pairs.means(h, state.bend * self.at.rest_curvature)
        Q = np.zeros((len(h_all),) * 2)
        Q[:n, :n] = noise[:n, :n]
        if n < len(h_all):
            # A vector of many modes has their mean variance.
            one = modal_denominators(self.rate * h, self.momentum).diagonal()
            mean = pairs.means(noise.diagonal() / one, (self.spread(state) / self.rate) ** 2)
            each = np.arange(n, len(h_all))
            below = modal_denominators(self.rate * h_all, self.momentum).diagonal()
            Q[each, each] = (mean * below)[n:]
        return columns[:k], h_all[k:], Q

    def packed_noise(self, extra: FloatArray) -> FloatArray:
        """Return what an extra noise adds to :meth:`pack`."""
        r, k = self.start.hessian.shape
        return self._packed(np.zeros(r), np.zeros((r, k)), extra, 0.0, 0.0)

    def _linear(self, state: State) -> tuple[FloatArray, FloatArray, FloatArray]:
        k, Q0 = self.at.rank, self.factor * self.at.noise
        N = state.growth * Q0
        N[:k, :k] = state.noise
        if k < len(N):
            # What turns the leading block of Q0 into the new one also turns what couples it to
            # the rest, so that the whole stays a covariance.
            turn = _root(state.noise) @ self._root
            N[:k, k:] = state.growth**0.5 * turn @ Q0[:k, k:]
            N[k:, :k] = N[:k, k:].T
        return state.hessian, state.bend * self.at.curvatures[k:], N

    def spread(self, state: State) -> float:
        """Return the standard deviation of each weight outside the modes."""
        h = self.rate * state.bend * self.at.rest_curvature
        if h <= 0.0:
            return 0.0
        mu = self.momentum
        below = 2.0 * (1.0 - mu) * h - (1.0 - mu) / (1.0 + mu) * h * h
        q = self.factor * state.growth * self.at.rest_noise
        return float(np.sqrt(self.rate**2 * q / below))

    def image(self, state: State, found: Averages, skew: Skewness | None = None) -> State:
        """Return what averages over the law of a state and its cumulants make of it: one round."""
        k, at = self.at.rank, self.at
        bent = found.hessian.mean(axis=0) - self.start.hessian
        error = _error(found.hessian)
        kept = at.curvatures[:k] / np.hypot(at.curvatures[:k], TRUST * error[:k].diagonal())
        bent[:k] *= np.multiply.outer(kept, kept)
        bend = float(found.bend.mean())
        bent[k:] = _limited(
            _shrunk(bent[k:], error[k:]),
            self.start.hessian[:k] + bent[:k],
            np.maximum(bend, 0.0) * at.curvatures[k:],
        )
        stiff = np.maximum(at.curvatures, FLAT * at.curvatures[0])
        mean = state.mean - found.gradient.mean(axis=0) / stiff
        noise = self.factor * found.noise.mean(axis=0) + found.residual.mean(axis=0)
        return State(
            mean=_shrunk(mean, _error(found.gradient) / stiff),
            hessian=self.start.hessian + bent,
            noise=noise if skew is None else noise + skew.noise,
            growth=float(self._growth(found).mean()),
            bend=bend,
            shrinkage=kept**2,
        )

    def deviations(self, found: Averages) -> FloatArray:
        """Return how the groups of draws differ in ``F``, packed: ``(G, y)``.

        Their sum of squares over ``G (G - 1)`` is the squared standard error.

        Returns
        -------
        (G, y) float64
        """
        groups, few = len(found.gradient), len(found.hessian)
        stiff = np.maximum(self.at.curvatures, FLAT * self.at.curvatures[0])
        noise = self.factor * found.noise + found.residual
        growth = self._growth(found)
        # Fewer groups say what the curvature is, so each of them weighs more.
        weight = np.sqrt(groups * (groups - 1) / (few * (few - 1)))
        rows = []
        for g in range(groups):
            bent = np.zeros_like(self.start.hessian)
            if g < few:
                bent = weight * (found.hessian[g] - found.hessian.mean(axis=0))
            rows.append(
                self._packed(
                    (found.gradient.mean(axis=0) - found.gradient[g]) / stiff,
                    bent,
                    noise[g] - noise.mean(axis=0),
                    float(growth[g] - growth.mean()),
                    float(found.bend[g] - found.bend.mean()),
                )
            )
        return np.array(rows)

    def pack(self, state: State) -> FloatArray:
        """Return a state as numbers of order one."""
        return self._packed(state.mean, state.hessian, state.noise, state.growth, state.bend)

    def unpack(self, y: FloatArray, like: State) -> State:
        """Return the state that :meth:`pack` made these numbers of."""
        k, r = self.at.rank, len(self.at.curvatures)
        ends = np.cumsum([r, r * k, k * (k + 1) // 2])
        mean, hessian, upper, factors = np.split(y, ends)
        noise = np.zeros((k, k))
        noise[self._upper] = upper
        noise = (noise + np.triu(noise, 1).T) * np.multiply.outer(self._kick, self._kick)
        return State(
            mean=mean * self._sd,
            hessian=hessian.reshape(r, k) * self._bend,
            noise=noise,
            growth=float(factors[0]),
            bend=float(factors[1]),
            shrinkage=like.shrinkage,
        )

    def distance(self, y: FloatArray, other: FloatArray) -> float:
        """Return the largest difference in what the leading modes feel."""
        k, r = self.at.rank, len(self.at.curvatures)
        apart = np.abs(y - other)
        return float(max(apart[:k].max(), apart[r : r + k * k].max(), apart[r + r * k :].max()))

    def variances(self, deviations: FloatArray, state: State) -> FloatArray:
        """Return covariances of the leading modes at a state moved by each row, ``(n, k, k)``."""
        k, out = self.at.rank, []
        y = self.pack(state)
        for row in deviations:
            moved = self.unpack(y + row, state)
            sigma, _, _ = stationary_weights(
                moved.hessian[:k], np.empty(0), moved.noise, rate=self.rate, momentum=self.momentum
            )
            out.append(sigma)
        return np.array(out)

    def _growth(self, found: Averages) -> FloatArray:
        # Of the noise outside the leading modes, relative to the minimum.
        k, at = self.at.rank, self.at
        inside, before = np.trace(found.noise, axis1=1, axis2=2), np.trace(at.noise[:k, :k])
        rest = float(np.trace(at.noise[k:, k:]))
        if at.loss.per_example_gradients is None or k == len(at.curvatures) or rest <= 0.0:
            return np.asarray(inside / before if before > 0.0 else np.ones_like(inside))
        grown = (found.trace - inside) / (at.noise_trace - before)
        return np.asarray(grown + found.rest_residual / (self.factor * rest))

    def _packed(
        self,
        mean: FloatArray,
        hessian: FloatArray,
        noise: FloatArray,
        growth: float,
        bend: float,
    ) -> FloatArray:
        scaled = noise / np.multiply.outer(self._kick, self._kick)
        factors = np.array([growth, bend])
        parts = [mean / self._sd, (hessian / self._bend).ravel(), scaled[self._upper], factors]
        return np.concatenate(parts)


def _unit(variances: FloatArray) -> FloatArray:
    # Standard deviations, 1 where there is none.
    sd = np.sqrt(np.maximum(variances, 0.0))
    sd[sd <= 1e-8 * sd.max(initial=0.0)] = sd.max(initial=0.0) or 1.0
    return np.asarray(sd)


def _root(Q: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(Q)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def _inverse_root(Q: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(Q)
    large = values > 1e-12 * max(float(values[-1]), 0.0)
    inverse = np.where(large, 1.0 / np.sqrt(np.where(large, values, 1.0)), 0.0)
    return np.asarray((vectors * inverse) @ vectors.T)


def _limited(coupling: FloatArray, leading: FloatArray, rest: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(leading)
    if len(rest) == 0 or values[0] <= 0.0 or rest.min() <= 0.0:
        return coupling
    root = (vectors * np.sqrt(values)) @ vectors.T
    left, sizes, right = np.linalg.svd(
        coupling / np.sqrt(rest)[:, None] @ np.linalg.inv(root), full_matrices=False
    )
    if sizes[0] <= COUPLED:
        return coupling
    limited = (left * np.minimum(sizes, COUPLED)) @ right @ root
    return np.asarray(np.sqrt(rest)[:, None] * limited)


def _error(groups: FloatArray) -> FloatArray:
    spread: FloatArray = groups.std(axis=0) / np.sqrt(len(groups) - 1)
    return spread


def _shrunk(x: FloatArray, error: FloatArray) -> FloatArray:
    below = x * x + error * error
    return np.asarray(x * np.divide(x * x, below, out=np.ones_like(x), where=below > 0.0))
