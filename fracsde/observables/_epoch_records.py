r"""Squares that a record of shuffled epochs adds: their mean, and the variance of their mean.

A record begins at any phase of an epoch with equal chance.  Given that phase, squares of normal
variables obey Isserlis' theorem, and with :math:`C_p(s)` the correlation of what is squared at a
draw of phase ``p`` and ``s`` draws later, the mean of ``n`` of them has the variance

.. math::
    \frac{2}{n^2} \Big[ n \langle \|C_p(0)\|^2 \rangle + 2 \sum_{s=1}^{n-1} (n - s)
        \langle \|C_p(s)\|^2 \rangle \Big] + \operatorname{Var}_p \mathrm{E}[\,\cdot\,|\,p] ,

averages and variance over the ``M`` phases, which each draw has as often as the first.  For
increments over ``l`` draws of ``g`` steps, with ``R`` of :mod:`fracsde.lyapunov.epoch_phases`,

.. math::
    C_p(s) = R_{p+lg}(s) - R_p(s + l) - R_{p+lg}(s - l) + R_p(s), \qquad
    R_{p+lg}(s - l) \to R_{p+sg}(l - s)^T \quad (s < l) .

Covariances are told from the factors before anything is subtracted, and what rounding leaves is
refused below six digits.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import OutOfRangeError, UnsupportedError
from fracsde.lyapunov.epoch_phases import PhaseLags
from fracsde.lyapunov.rounding import EPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fracsde._typing import FloatArray, IntArray
    from fracsde.problems.epochs import EpochRecursion

__all__ = ["EpochRecord"]

# Numbers kept, some gigabytes; factors held at once.
_MOST, _HELD = 2 * 10**8, 2**22
# Relative error beyond which a displacement is refused.
_DIGITS = 1e-6


class EpochRecord:
    """A record of shuffled epochs.

    Parameters
    ----------
    process : EpochRecursion
        Stable.
    draws : int
        Length of the record.
    gap : int
        Steps between draws.
    directions : (k, p) float64, optional
        One per column; all weights together where absent.

    Raises
    ------
    OutOfRangeError
        If it needs more memory than there is.
    """

    def __init__(
        self, process: EpochRecursion, draws: int, gap: int, directions: FloatArray | None
    ) -> None:
        self.draws, self.gap, self.epoch = draws, gap, process.steps
        d, s = len(process.observed), 2 if process.rule.has_velocity else 1
        columns = d if directions is None else directions.shape[1]
        if self.epoch * (s + 1) * d * columns + draws * (s * d + columns) > _MOST:
            what = "`directions` one by one" if directions is None else "fewer of either"
            msg = (
                f"a record of {draws} draws of {d} weights through epochs of {self.epoch} steps "
                f"needs more memory than there is; ask for {what}"
            )
            raise OutOfRangeError(msg)
        self.lags = PhaseLags(process, gap, draws)
        self.turned = None if directions is None else self.lags.basis.T @ directions
        # What every draw is squared from: (M, part, d, d), or times a direction on both sides,
        # (M, part, d, p).
        self.parts = np.array([self._part(p) for p in range(self.epoch)])

    def squares(self) -> tuple[FloatArray, FloatArray]:
        """Return the variance of the mean square of the weights, and its mean.

        Returns
        -------
        () or (p,) float64 [weight^4]
        () or (p,) float64 [weight^2]
        """
        n = self.draws
        norms, level = np.zeros((n, *self._shape())), np.empty((self.epoch, *self._shape()))
        for p in range(self.epoch):
            level[p] = self._trace(self.parts[p, 0])
            for block in self._blocks(0, n):
                c = self.lags.factors(p, block)
                c[:, 0] += 1.0
                norms[block] += self._norms(c, self.parts[p])
        return self._variance(norms / self.epoch, level, n), level.mean(axis=0)

    def increments(self, lag: int) -> tuple[FloatArray, FloatArray]:
        """Return the variance of the time-averaged displacement, and its mean.

        Parameters
        ----------
        lag : int
            Draws, less than those of the record.

        Returns
        -------
        () or (p,) float64 [weight^4]
        () or (p,) float64 [weight^2]

        Raises
        ------
        UnsupportedError
            If rounding leaves fewer than six digits.
        """
        n = self.draws - lag
        norms, level = np.zeros((n, *self._shape())), np.empty((self.epoch, *self._shape()))
        for p in range(self.epoch):
            then = (p + lag * self.gap) % self.epoch
            for s in range(min(lag, n)):
                C = self._near(p, then, s, lag)
                norms[s] += self._square(C)
                if s == 0:
                    level[p] = self._trace(C)
            both = np.concatenate([self.parts[then], self.parts[p]])
            for block in self._blocks(lag, n):
                early = slice(block.start - lag, block.stop - lag)
                late = slice(block.start + lag, block.stop + lag)
                there = self.lags.factors(then, block) - self.lags.factors(then, early)
                here = self.lags.factors(p, block) - self.lags.factors(p, late)
                norms[block] += self._norms(np.concatenate([there, here], axis=1), both)
        self._check(level)
        return self._variance(norms / self.epoch, level, n), level.mean(axis=0)

    # --- pieces -----------------------------------------------------------------------------------

    def _part(self, phase: int) -> FloatArray:
        parts = self.lags.parts(phase)
        W = self.turned
        return parts if W is None else np.asarray(W * (parts @ W))

    def _shape(self) -> tuple[int, ...]:
        return () if self.turned is None else self.turned.shape[1:]

    def _blocks(self, first: int, last: int) -> Iterator[slice]:
        size = max(1, _HELD // (6 * len(self.lags.basis)))
        for start in range(first, last, size):
            yield slice(start, min(start + size, last))

    def _near(self, p: int, then: int, s: int, lag: int) -> FloatArray:
        # Increments that overlap, as a matrix or along each direction.
        between = (p + s * self.gap) % self.epoch
        one = self._apart(then, s) - self._apart(p, s + lag) + self._apart(p, s)
        back = self._apart(between, lag - s)
        back = back.T if self.turned is None else back
        return one - back + (self._level(then) - self._level(between))

    def _apart(self, phase: int, lag: int) -> FloatArray:
        # R_p(s) - Sigma_p.
        c = self.lags.factors(phase, slice(lag, lag + 1))[0]
        if self.turned is None:
            return np.asarray(np.einsum("ai,aij->ij", c, self.parts[phase]))
        return np.asarray(np.einsum("ai,aip->p", c, self.parts[phase]))

    def _level(self, phase: int) -> FloatArray:
        whole: FloatArray = self.parts[phase, 0]
        return whole if self.turned is None else np.asarray(whole.sum(axis=0))

    def _metric(self) -> FloatArray | None:
        # V^T V where the modes are not orthogonal.
        V = self.lags.basis
        return V.T @ V if self.lags.turned else None

    def _trace(self, part: FloatArray) -> FloatArray:
        if self.turned is not None:
            return part if part.ndim == 1 else np.asarray(part.sum(axis=0))
        G = self._metric()
        return np.asarray(np.trace(part) if G is None else np.sum(G * part))

    def _square(self, C: FloatArray) -> FloatArray:
        # Squared Frobenius norm.
        if self.turned is not None:
            return C**2
        G = self._metric()
        return np.asarray(np.sum(C * C) if G is None else np.sum((G @ C) * (C @ G)))

    def _norms(self, c: FloatArray, parts: FloatArray) -> FloatArray:
        # Of the sums over parts with factors for their rows, (lag,) or (lag, p).
        if self.turned is not None:
            flat = parts.reshape(-1, parts.shape[2])
            return np.asarray((c.reshape(len(c), -1) @ flat) ** 2)
        G = self._metric()
        total = np.zeros(len(c))
        for a in range(len(parts)):
            for b in range(len(parts)):
                if G is None:
                    product = c[:, a] * c[:, b]
                    total += product @ np.einsum("ij,ij->i", parts[a], parts[b])
                else:
                    inner = G * (parts[a] @ G @ parts[b].T)
                    total += np.einsum("ti,ti->t", c[:, a] @ inner, c[:, b])
        return np.maximum(total, 0.0)

    def _variance(self, norms: FloatArray, level: FloatArray, n: int) -> FloatArray:
        s = np.arange(1, n)
        tail = np.tensordot(1.0 - s / n, norms[1:], axes=1)
        chance = _means(level, self.gap, n).var(axis=0)
        return np.asarray(2.0 * (norms[0] + 2.0 * tail) / n + chance)

    def _check(self, level: FloatArray) -> None:
        sizes = [np.abs(self._trace(part[0])) for part in self.parts]
        mean = level.mean(axis=0)
        if np.any(16.0 * EPS * np.max(sizes, axis=0) > _DIGITS * np.abs(mean)):
            msg = (
                "flat directions spread so far beyond these lags that rounding leaves fewer than "
                "six digits of a displacement; ask for longer lags, a larger weight decay or "
                "batches that use all examples"
            )
            raise UnsupportedError(msg)


def _means(level: FloatArray, gap: int, count: int) -> FloatArray:
    # The mean of ``count`` values a gap apart, from each phase on.
    epoch, out = len(level), np.empty_like(level)
    turns = gcd(gap, epoch)
    period = epoch // turns
    whole, rest = divmod(count, period)
    for first in range(turns):
        orbit: IntArray = (first + gap * np.arange(period)) % epoch
        once = level[orbit]
        sums = np.concatenate([np.zeros_like(once[:1]), np.cumsum(np.concatenate([once] * 2), 0)])
        k = np.arange(period)
        out[orbit] = whole * once.sum(axis=0) + sums[k + rest] - sums[k]
    return out / count
