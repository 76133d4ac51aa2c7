r"""Exact steps of a linear process over gaps of time that differ between chains.

.. math::
    Y' - m = E(\Delta)\,(Y - m) + L(\Delta)\, z, \qquad L L^T = G(\Delta), \quad z \sim N(0, I) .

==============================  ===================================================================
base                            step over a random gap
==============================  ===================================================================
decoupled, or ``DiagonalOU``    one scalar step a coordinate
``LowRankOU``                   the small process inside the basis, one scalar factor outside
any other                       the gap in base 16, one fixed law a digit
==============================  ===================================================================

In the last row a gap is :math:`\sum_l g_l\, 16^l h` with digits :math:`g_l < 16`, and
:math:`16 \times` twenty or so laws, made once by doubling, serve all chains; what is shorter than
``h``, :math:`10^{-17}` of the fastest time, is a step of diffusion alone.  The law is exact to
rounding for every gap, and a step costs some fourteen products in place of a decomposition a chain.

``tests/schemes/test_subordinated.py`` compares transition and covariance of a step, for each of
these, with the law of the gap.

Not here: gaps that all chains share (:mod:`fracsde.schemes.paths`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fracsde.lyapunov.evolution import finite
from fracsde.lyapunov.propagators import composed, gap_law
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.structured import DiagonalOU
from fracsde.schemes.decoupled import decoupled
from fracsde.schemes.paths import noise_factor

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.structured import LowRankOU
    from fracsde.problems.subordinated import BaseProcess

__all__ = ["Normals", "RandomGap", "random_gap"]

_RADIX = 16
_SHORTEST = 2.0**-56  # of the fastest time


class Normals(Protocol):
    """Standard normals of all chains at the current step."""

    def __call__(self, columns: int, lane: int = 0) -> FloatArray:
        """Return them.

        Parameters
        ----------
        columns : int
            Normals for each chain.
        lane : int
            Different lanes are independent.

        Returns
        -------
        (chain, columns) float64
        """
        ...


class RandomGap(Protocol):
    """Exact steps of a base process over gaps that differ between chains."""

    def inward(self, state: FloatArray) -> FloatArray:
        """Return the coordinates in which steps are taken.

        Parameters
        ----------
        state : (chain, d) float64 [x]
            Relative to the mean.

        Returns
        -------
        (chain, ...) float64
        """
        ...

    def outward(self, inner: FloatArray) -> FloatArray:
        """Return the state, relative to the mean.

        Parameters
        ----------
        inner : (chain, ...) float64
            Coordinates.

        Returns
        -------
        (chain, d) float64 [x]
        """
        ...

    def advance(self, inner: FloatArray, gaps: FloatArray, normals: Normals) -> FloatArray:
        """Return coordinates after a gap.

        Parameters
        ----------
        inner : (chain, ...) float64
            Coordinates before.
        gaps : (chain,) float64 [t]
            Not negative.
        normals : callable
            Of this step.

        Returns
        -------
        (chain, ...) float64
        """
        ...


def random_gap(base: BaseProcess) -> RandomGap:
    """Return the steps of a base process.

    Parameters
    ----------
    base : OUProcess, DiagonalOU or LowRankOU
        Stable or not.

    Returns
    -------
    RandomGap
    """
    if isinstance(base, DiagonalOU):
        return _Scalars(pull=base.drift, noise=base.noise, basis=None, inverse=None)
    if not isinstance(base, OUProcess):
        return _Split(base)
    form = decoupled(base)
    if form is not None:
        pull, noise = form.modal.pull, form.variance
        return _Scalars(pull=pull, noise=noise, basis=form.basis, inverse=form.inverse)
    return _Digits(base)


def _growth(rate: FloatArray | float, gaps: FloatArray) -> FloatArray:
    # (1 - exp(-r g)) / r, which is g at r = 0.
    safe = np.where(rate == 0.0, 1.0, rate)
    return np.where(rate == 0.0, gaps, -np.expm1(-safe * gaps) / safe)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scalars:
    # Independent scalar steps, in coordinates of their own where there is a basis.
    pull: FloatArray
    noise: FloatArray
    basis: FloatArray | None
    inverse: FloatArray | None

    def inward(self, state: FloatArray) -> FloatArray:
        return state if self.inverse is None else np.asarray(state @ self.inverse.T)

    def outward(self, inner: FloatArray) -> FloatArray:
        return inner if self.basis is None else np.asarray(inner @ self.basis.T)

    def advance(self, inner: FloatArray, gaps: FloatArray, normals: Normals) -> FloatArray:
        gap = gaps[:, None]
        with np.errstate(over="ignore", invalid="ignore"):  # then what comes out is refused
            scale = np.sqrt(np.maximum(self.noise * _growth(2.0 * self.pull, gap), 0.0))
            after = np.exp(-self.pull * gap) * inner + scale * normals(inner.shape[1])
        return finite(after)


class _Split:
    # Inside and outside the basis of a LowRankOU: columns of the coordinates, side by side.
    def __init__(self, base: LowRankOU) -> None:
        self.basis, self.rank = base.basis, base.basis.shape[1]
        self.inside = random_gap(OUProcess(drift=base.drift, noise=base.noise))
        self.pull, self.noise = base.rest_drift, base.rest_noise

    def inward(self, state: FloatArray) -> FloatArray:
        core = state @ self.basis
        return np.hstack([self.inside.inward(core), state - core @ self.basis.T])

    def outward(self, inner: FloatArray) -> FloatArray:
        core = self.inside.outward(inner[:, : self.rank])
        return np.asarray(core @ self.basis.T + inner[:, self.rank :])

    def advance(self, inner: FloatArray, gaps: FloatArray, normals: Normals) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore"):  # then what comes out is refused
            rest = np.exp(-self.pull * gaps)[:, None] * inner[:, self.rank :]
            if self.noise > 0.0 and rest.shape[1] > self.rank:
                z = normals(rest.shape[1])
                z -= (z @ self.basis) @ self.basis.T
                rest += np.sqrt(self.noise * _growth(2.0 * self.pull, gaps))[:, None] * z
        rest = finite(rest)

        def other(columns: int, lane: int = 0) -> FloatArray:
            return normals(columns, lane + 1)

        return np.hstack([self.inside.advance(inner[:, : self.rank], gaps, other), rest])


class _Digits:
    # Gaps written in base 16; the law of each digit is made when it is first met.
    def __init__(self, base: OUProcess) -> None:
        size = float(np.linalg.norm(base.drift, 2))
        self.dimension = base.dimension
        # A power of two: digits of a gap are then exact.
        self.unit = 2.0 ** np.floor(np.log2(_SHORTEST / size)) if size > 0.0 else np.inf
        self.law = gap_law(base)
        self.small = noise_factor(base.noise)
        self.laws: dict[tuple[int, int], tuple[FloatArray, FloatArray]] = {}

    def inward(self, state: FloatArray) -> FloatArray:
        return state

    def outward(self, inner: FloatArray) -> FloatArray:
        return inner

    def advance(self, inner: FloatArray, gaps: FloatArray, normals: Normals) -> FloatArray:
        state, left = np.array(inner), np.array(gaps)
        longest = float(gaps.max(initial=0.0))
        top = int(np.log(longest / self.unit) / np.log(_RADIX)) + 1 if longest > self.unit else -1
        for level in range(top, -1, -1):
            length = self.unit * float(_RADIX) ** level
            digits = np.floor(left / length).astype(np.int64)
            if not digits.any():
                continue
            left -= digits * length
            z = normals(self.dimension, level + 1)
            for digit in np.unique(digits[digits > 0]):
                E, L = self._law(level, int(digit))
                of = np.flatnonzero(digits == digit)
                state[of] = state[of] @ E.T + z[of, : L.shape[1]] @ L.T
        if left.any():
            rank = self.small.shape[1]
            state += np.sqrt(left)[:, None] * (normals(self.dimension)[:, :rank] @ self.small.T)
        return state

    def _law(self, level: int, digit: int) -> tuple[FloatArray, FloatArray]:
        if (level, digit) not in self.laws:
            once = self.law(self.unit * float(_RADIX) ** level)
            E, _, G = composed(once, digit)
            self.laws[level, digit] = E, noise_factor(G)
        return self.laws[level, digit]
