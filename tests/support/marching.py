"""One relaxing number as an operator, and damaged schemes."""

from dataclasses import dataclass

import numpy as np

from fracsde.grids import TimeGrid
from fracsde.operators.base import Generator
from fracsde.schemes.base import ConvolutionScheme
from fracsde.schemes.grunwald_letnikov import GrunwaldLetnikov
from fracsde.schemes.l1 import L1
from fracsde.schemes.l2_sigma import L2Sigma
from fracsde.schemes.l12 import L12
from fracsde.schemes.marching import march
from tests.support.damage import newest_weight


@dataclass(frozen=True)
class Decay(Generator):
    """``L p = -rate p`` on one cell."""

    rate: float
    points = np.zeros(1)
    widths = np.ones(1)

    def apply(self, p):
        return -self.rate * p

    def solve_shifted(self, shift, rhs):
        return rhs / (shift + self.rate)

    def stationary(self):
        return np.zeros(1)


class HeavyNewestL1(L1):
    """Newest weight one per cent too large."""

    def weights(self, times, *, alpha):
        return newest_weight(super().weights(times, alpha=alpha))


class HeavyNewestGL(GrunwaldLetnikov):
    """Newest weight one per cent too large."""

    def weights(self, times, *, alpha):
        return newest_weight(super().weights(times, alpha=alpha))


def _forget_one(weights):
    damaged = np.array(weights)
    damaged[:-1] = np.append(weights[0], weights[:-2]) if len(weights) > 1 else []
    return damaged


class LateL1(L1):
    """Memory off by one place."""

    def weights(self, times, *, alpha):
        return _forget_one(super().weights(times, alpha=alpha))


class LateGL(GrunwaldLetnikov):
    """Memory off by one place."""

    def weights(self, times, *, alpha):
        return _forget_one(super().weights(times, alpha=alpha))


class HeavyNewestL12(L12):
    """Newest weight one per cent too large."""

    def block_rows(self, times, *, alpha, first, skip=0):
        return self.rows(times, alpha=alpha, first=first, skip=skip)

    def rows(self, times, *, alpha, first, skip=0):
        return _heavy(super().rows(times, alpha=alpha, first=first, skip=skip))

    def lags(self, times, *, alpha):
        return ConvolutionScheme.lags(self, times, alpha=alpha)


class HeavyNewestL2Sigma(L2Sigma):
    """Newest weight one per cent too large."""

    def block_rows(self, times, *, alpha, first, skip=0):
        return self.rows(times, alpha=alpha, first=first, skip=skip)

    def rows(self, times, *, alpha, first, skip=0):
        return _heavy(super().rows(times, alpha=alpha, first=first, skip=skip))

    def lags(self, times, *, alpha):
        return ConvolutionScheme.lags(self, times, alpha=alpha)


def _heavy(rows):
    # The last entries of the last rows.
    damaged = np.array(rows)
    steps, total = damaged.shape
    damaged[np.arange(steps), np.arange(total - steps, total)] *= 1.01
    return damaged


class EndOfStepL2Sigma(L2Sigma):
    """The operator at the end of the step, where the derivative is not."""

    def point(self, alpha):
        return 1.0

    def block_rows(self, times, *, alpha, first, skip=0):
        return self.rows(times, alpha=alpha, first=first, skip=skip)

    def rows(self, times, *, alpha, first, skip=0):
        return L2Sigma().rows(times, alpha=alpha, first=first, skip=skip)


class StraightL12(L12):
    """Chords instead of parabolas."""

    lean = 0


def relax(scheme, n, *, alpha, rate, grading=1.0, source=None, start=1.0):
    """March one number through ``n`` steps to time 1; returns times and values."""
    times = TimeGrid.graded(1.0, n, grading).times
    states = march(
        Decay(rate),
        scheme,
        times,
        initial=np.array([start]),
        alpha=alpha,
        scale=1.0,
        source=source,
        engine=None,
    )
    return times, states[:, 0]
