r"""Memory or a mixture of modes: whether slow spreading comes from a random clock.

A displacement that grows like :math:`t^\alpha` has two explanations.  Many ordinary modes with
rates spread over decades, each Gaussian; or one law on a clock that stands still for heavy-tailed
times, with operational time :math:`S`.  Curves of means do not separate them.  The spread over
chains does: the squared length of displacements of ``d`` coordinates over one lag, whitened by
their covariance over chains, is :math:`|z|^2 = u\, \chi^2_d`, where ``u`` is the part of the
variance that the clock reached, and

.. math::
    \operatorname{Var} \ln |z|^2 - \psi'(d/2) = \operatorname{Var} \ln u .

Any mixture of linear modes with Gaussian noise has 0 on the right at every lag, from a fixed or a
Gaussian start.  The clock has

.. math::
    \operatorname{Var} \ln u = \frac{\pi^2}{6} (1 - \alpha^2) \quad \text{before the relaxation},
    \qquad u = 1 - e^{-c S} \quad \text{in a well},

with ``c = 2`` for chains released at the centre and ``c = 1`` for chains that start in the
stationary law, times in units of the relaxation.  The first follows from
:math:`S \propto T^{-\alpha}` with a one-sided stable ``T``, whose logarithm has variance
:math:`\pi^2 (\alpha^{-2} - 1) / 6`.  Logarithms make the statistic light-tailed: kurtosis, which
asks the same, has intervals that cover in four cases of five instead of nineteen of twenty with
256 chains.  Errors are those of the delete-one-chain jackknife.

The verdict places the share ``f`` of the clock's variance that is seen, by least squares over
lags: 0 for modes, 1 for the clock, decided at the halves.  A share beyond 3/2 is neither:
heavy-tailed steps, chains in unlike wells, or a loss far from quadratic also make displacements
non-Gaussian.  Chains of unlike temperature can imitate the clock; their *time-averaged*
displacements then differ in proportion, which
:func:`fracsde.estimators.mean_square_displacement` shows.

References: [Zolotarev1986]_ for logarithms of stable laws, [He2008]_ for the random clock's
spread, [Efron1982]_ for the jackknife.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import stats

from fracsde._check import real
from fracsde.estimators.chains import as_trajectory, freedom_of, jackknife_error
from fracsde.estimators.clock_spread import expected_log_clock_variance, spread_over_lags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.records.trajectory import Trajectory

__all__ = ["MemoryTest", "MemoryVerdict", "memory_or_modes"]


class MemoryVerdict(Enum):
    """What the spread over chains says about slow spreading.

    Examples
    --------
    >>> MemoryVerdict.MODES.sentence
    'Displacements are Gaussian over chains: modes of different rates, no random clock.'
    """

    MEMORY = "Displacements spread over chains as a random clock of this order makes them."
    MODES = "Displacements are Gaussian over chains: modes of different rates, no random clock."
    NEITHER = (
        "Displacements are farther from Gaussian than a random clock of this order makes them."
    )
    UNDECIDED = "The chains are too few to tell a random clock from a mixture of modes."

    @property
    def sentence(self) -> str:
        """What it means, for a person."""
        return self.value


@dataclass(frozen=True, kw_only=True, eq=False)
class MemoryTest:
    """The answer of :func:`memory_or_modes`.

    Parameters
    ----------
    verdict : MemoryVerdict
        MODES where the interval of the share lies below 1/2, MEMORY between 1/2 and 3/2, NEITHER
        above.
    share, stderr : float [1]
        Share of the clock's spread that is seen, 0 for modes and 1 for a clock; its error.
    low, high : float [1]
        Student's interval of the share at ``level``.
    level : float [1]
        Two-sided level of the interval.
    order : float [1]
        The order that was asked about.
    lags : (lag,) int64
        In draws.
    times : (lag,) float64 [t]
        The same in time.
    spread : (lag,) float64 [1]
        The measured variance of the logarithm of the clock.
    expected : (lag,) float64 [1]
        What the clock of this order has.
    chains : int
        Number of chains.
    """

    citation: ClassVar[tuple[str, ...]] = ("Zolotarev1986", "He2008", "Efron1982")

    verdict: MemoryVerdict
    share: float
    stderr: float
    low: float
    high: float
    level: float
    order: float
    lags: IntArray
    times: FloatArray
    spread: FloatArray
    expected: FloatArray
    chains: int

    @property
    def sentence(self) -> str:
        """The answer with its numbers."""
        return (
            f"{self.verdict.sentence} Share of the spread of a clock of order {self.order:g}: "
            f"{self.share:.3g}, between {self.low:.3g} and {self.high:.3g} at level "
            f"{self.level:g}, from {self.chains} chains."
        )


def memory_or_modes(
    trajectory: Trajectory | ArrayLike,
    lags: Sequence[int],
    *,
    order: float,
    start: int = 0,
    timescale: float | None = None,
    released: bool = True,
    level: float = 0.01,
) -> MemoryTest:
    """Ask whether displacements come from a random clock or from a mixture of ordinary modes.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [weight]
        At least 32 chains, and four per coordinate.
    lags : sequence of int
        Lags in draws, best spread over the window in which the order was seen.
    order : float [1]
        The order that a fit of means or displacements suggests, in (0, 1).
    start : int
        The draw from which chains are displaced.
    timescale : float, optional [t]
        Relaxation time of the well; lags short against it, or flat ground, if not given.
    released : bool
        Whether chains start at the centre of the well, or in its stationary law.
    level : float [1]
        Two-sided level of the interval.

    Returns
    -------
    MemoryTest

    Raises
    ------
    RecordError
        If there are too few chains or draws.
    OutOfRangeError
        If the order is not in (0, 1): an ordinary clock has no spread to look for.

    References
    ----------
    [He2008]_, [Zolotarev1986]_

    Examples
    --------
    Ordinary Brownian motion has no random clock:

    >>> steps = np.random.default_rng(1).standard_normal((1000, 16, 3))
    >>> memory_or_modes(np.cumsum(steps, axis=1), [3, 15], order=0.6).verdict.name
    'MODES'
    """
    order = real("order", order, low=0.0, high=1.0)
    level = real("level", level, low=0.0, high=1.0)
    run = as_trajectory(trajectory)
    (value, left), chosen = spread_over_lags(run, lags, start)
    times = run.times[start + chosen] - run.times[start]
    theta = np.zeros(len(times))
    if timescale is not None:
        theta = (times / real("timescale", timescale, low=0.0)) ** order
    expected = expected_log_clock_variance(
        order, theta, start="released" if released else "stationary"
    )
    weight = expected / (expected @ expected)  # least squares through zero: faint lags weigh little
    share = float(value @ weight)
    without = left @ weight
    stderr = float(jackknife_error(without))
    reach = float(stats.t.isf(0.5 * level, freedom_of(without) - 1.0)) * stderr
    return MemoryTest(
        verdict=_verdict(share - reach, share + reach),
        share=share,
        stderr=stderr,
        low=share - reach,
        high=share + reach,
        level=level,
        order=order,
        lags=chosen,
        times=times,
        spread=value,
        expected=expected,
        chains=len(left),
    )


def _verdict(low: float, high: float) -> MemoryVerdict:
    if high < 0.5:
        return MemoryVerdict.MODES
    if low > 1.5:
        return MemoryVerdict.NEITHER
    if low > 0.5 and high < 1.5:
        return MemoryVerdict.MEMORY
    return MemoryVerdict.UNDECIDED
