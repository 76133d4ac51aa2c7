r"""The displacement exponent of Gaussian self-similar motion, by its exact likelihood.

Increments of fractional Brownian motion with exponent :math:`H`, recorded at equal times with
independent errors of variance :math:`r\sigma^2`, are stationary and normal with

.. math::
    \frac{\gamma(k)}{\sigma^2} = \tfrac12\big(|k+1|^{2H} - 2|k|^{2H} + |k-1|^{2H}\big)
    + r\,(2\delta_{k0} - \delta_{k1}), \qquad
    \mathrm{MSD}(t) = \sum_c \sigma_c^2\, t^{2H} + 2 r\sigma_c^2 .

For each :math:`H` the amplitudes have a closed form, :math:`n\hat\sigma_c^2 = y_c^T T^{-1} y_c`,
the ratio :math:`r` is found by bisection, and

.. math::
    \ell(H) = -\tfrac12 \sum_c n \log\hat\sigma_c^2 - \tfrac12 \log\det T + \text{const}

is maximised.  The standard error is that of the curvature of :math:`\ell` over one standard error,
so that the interval is nearly the likelihood's own.

A straight line through one curve of displacements on log axes claims errors of a third to a tenth
of their size, since its points share one path; this likelihood uses the path itself, and for one
chain of a thousand draws its error of the slope is also half that of the line.  It holds for what
it assumes: normal increments whose law does not change, over all scales recorded.  A mixture of
relaxing modes is not of this kind: compare :func:`~fracsde.estimators.growth_laws`.

References: [Beran1994]_ for the likelihood, [Kepten2015]_ for the lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import optimize

from fracsde._check import truth
from fracsde.errors import RecordError
from fracsde.estimators.chains import as_trajectory, named
from fracsde.estimators.exponents import ExponentMeasurement
from fracsde.estimators.toeplitz import innovations

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.records.measurement import Quantity
    from fracsde.records.trajectory import Trajectory

__all__ = ["LikelihoodExponent", "exponent_by_likelihood"]

_LOW, _HIGH = 0.001, 0.999
_MIN_INCREMENTS, _MOST_INCREMENTS = 30, 100_000
_MOST_NOISE = 0.999  # of the noise's share r / (1 + r)


@dataclass(frozen=True, kw_only=True, eq=False)
class LikelihoodExponent(ExponentMeasurement):
    """An exponent found by likelihood; all increments take part, so its window is the record.

    Parameters
    ----------
    amplitude : (coordinate,) ndarray of float64 [weight^2]
        Mean square displacement of each coordinate in one spacing, noise apart.
    noise : (coordinate,) ndarray of float64 [weight^2]
        Variance of the error of one recorded position; zero if none was asked for.
    log_likelihood : float [1]
        At the maximum.
    """

    citation: ClassVar[tuple[str, ...]] = ("Beran1994",)

    amplitude: FloatArray
    noise: FloatArray
    log_likelihood: float


def exponent_by_likelihood(
    trajectory: Trajectory | ArrayLike,
    *,
    noise: bool = False,
    drift: bool = False,
    quantity: Quantity | None = None,
) -> LikelihoodExponent:
    """Measure the displacement exponent of Gaussian self-similar motion from one chain or many.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [weight]
        Equally spaced draws; chains and coordinates are taken as independent, with one exponent
        and an amplitude for each coordinate.
    noise : bool
        Whether positions carry independent errors, of a size that is found beside the exponent.
    drift : bool
        Whether each chain and coordinate moves with a constant velocity of its own besides.
    quantity : Quantity, optional
        Name of the result, ``"displacement exponent"`` if not given.

    Returns
    -------
    LikelihoodExponent
        The slope of log R; twice it is the exponent of the mean square displacement.  Cost grows
        with the square of the draws: some milliseconds for a thousand.

    Raises
    ------
    RecordError
        If there are fewer than 30 increments or more than 100 000, a coordinate stands still, or
        the likelihood grows up to an exponent of 0 or 1.

    References
    ----------
    [Beran1994]_

    Examples
    --------
    >>> walk = np.cumsum(np.random.default_rng(3).standard_normal((1, 1000, 1)), axis=1)
    >>> found = exponent_by_likelihood(walk)
    >>> bool(abs(found.value[0] - 0.5) < 3 * found.stderr[0] < 0.1)
    True
    """
    run = as_trajectory(trajectory)
    with_noise, drifts = truth("noise", noise), truth("drift", drift)
    profile = _Profile(run, with_noise, drifts)
    value, stderr = _summit(profile.at, profile.pilot(), profile.count)
    best = profile.parts(value)
    extent = run.spacing
    parts = ["fractional Gaussian increments", *["noise"] * with_noise, *["drift"] * drifts]
    return LikelihoodExponent(
        quantity=named(quantity, "displacement exponent", "1", ("",)),
        value=np.array([value]),
        stderr=np.array([stderr]),
        n_effective=np.array([float(profile.count)]),
        method=(
            f"exact likelihood of {' with '.join(parts)}, {profile.count} increments in "
            f"{run.chains} chains"
        ),
        window=(extent, float(run.times[-1] - run.times[0])),
        points=run.draws - 1,
        r_squared=float("nan"),
        whole_record=value,
        amplitude=best[1],
        noise=best[1] * best[2],
        log_likelihood=best[0],
    )


class _Profile:
    # The likelihood of the exponent, at its best over everything else.

    def __init__(self, run: Trajectory, noise: bool, drift: bool) -> None:
        n = run.draws - 1
        if not _MIN_INCREMENTS <= n <= _MOST_INCREMENTS:
            what = "record longer" if n < _MIN_INCREMENTS else "keep every k-th draw"
            msg = (
                f"the likelihood of an exponent needs {_MIN_INCREMENTS} to {_MOST_INCREMENTS} "
                f"increments per chain, got {n}; {what}"
            )
            raise RecordError(msg)
        _ = run.spacing  # equally spaced, or it says so
        steps = np.diff(run.values, axis=1)
        still = np.flatnonzero((np.ptp(steps, axis=1) == 0.0).any(axis=0))
        if still.size:
            msg = (
                f"coordinate {int(still[0])} of some chain moves by the same amount in every step, "
                "so it has no exponent of its own; drop frozen parameters"
            )
            raise RecordError(msg)
        self.d, self.n = run.dimension, n
        self.noise, self.drift = noise, drift
        self.count = run.chains * n * run.dimension
        # Coordinates first, so that each owns a block of rows.
        self.steps = np.moveaxis(steps, 2, 0).reshape(-1, n)
        self.series = np.concatenate([self.steps, np.ones((1, n))]) if drift else self.steps

    def pilot(self) -> float:
        # Half the slope between neighbouring lags, about the mean velocity.
        steps = self.steps - self.steps.mean(axis=1, keepdims=True)
        pairs = steps[:, 1:] + steps[:, :-1]
        ratio = np.square(pairs).mean() / np.square(steps).mean()
        return float(np.clip(0.5 * np.log2(max(ratio, 1e-3)), 0.1, 0.9))

    def at(self, exponent: float) -> float:
        return self.parts(exponent)[0]

    def parts(self, exponent: float) -> tuple[float, FloatArray, float]:
        # Return the likelihood, the amplitudes and the ratio r.
        gamma = increments_covariance(exponent, self.n)
        if not self.noise:
            return (*self._of(gamma), 0.0)

        def loss(share: float) -> float:
            return -self._of(_with_noise(gamma, share))[0]

        found = optimize.minimize_scalar(
            loss, bounds=(0.0, _MOST_NOISE), method="bounded", options={"xatol": 1e-5}
        )
        # Bounded search never tries its ends, and no noise at all is one.
        share = 0.0 if loss(0.0) <= found.fun else float(found.x)
        return (*self._of(_with_noise(gamma, share)), share / (1.0 - share))

    def _of(self, gamma: FloatArray) -> tuple[float, FloatArray]:
        log_det, white = innovations(gamma, self.series)
        if not np.isfinite(log_det):
            return -np.inf, np.ones(self.d)
        degrees = self.n
        if self.drift:
            one, white = white[-1], white[:-1]
            white = white - np.outer(white @ one / (one @ one), one)
            degrees -= 1
        squares = np.square(white).reshape(self.d, -1).sum(axis=1)
        rows = len(white) // self.d
        amplitude = squares / (rows * degrees)
        value = -0.5 * rows * (degrees * np.log(amplitude).sum() + self.d * log_det)
        if self.drift:  # the likelihood of contrasts, which velocities do not enter
            value -= 0.5 * rows * self.d * np.log(one @ one)
        constant = 0.5 * rows * degrees * self.d * (1.0 + np.log(2.0 * np.pi))
        return float(value - constant), amplitude


def increments_covariance(exponent: float, count: int) -> FloatArray:
    """Return the autocovariance of unit increments of fractional Brownian motion.

    Parameters
    ----------
    exponent : float [1]
        The displacement exponent, between 0 and 1.
    count : int
        Number of lags, from 0.

    Returns
    -------
    (count,) ndarray of float64 [1]

    Examples
    --------
    >>> increments_covariance(0.5, 3).round(12)
    array([1., 0., 0.])
    """
    k = np.arange(1.0, count)
    power = 2.0 * exponent
    # k^p ((1 + 1/k)^p - 2 + (1 - 1/k)^p) / 2, without the difference of large numbers.
    with np.errstate(divide="ignore"):
        both = np.expm1(power * np.log1p(1.0 / k)) + np.expm1(power * np.log1p(-1.0 / k))
    return np.concatenate([[1.0], 0.5 * k**power * both])[:count]


def _with_noise(gamma: FloatArray, share: float) -> FloatArray:
    # Return the covariance with noise whose ratio to the amplitude is share / (1 - share).
    ratio = share / (1.0 - share)
    mixed = gamma.copy()
    mixed[0] += 2.0 * ratio
    mixed[1] -= ratio
    return mixed


def _summit(profile: Callable[[float], float], start: float, count: int) -> tuple[float, float]:
    # Return the maximum and the error that its curvature gives: parabolas through three points a
    # standard error apart, since over that distance the curvature is the one that counts.
    known: dict[float, float] = {}

    def at(h: float) -> float:
        if h not in known:
            known[h] = profile(h)
        return known[h]

    centre, step = start, min(0.1, 0.8 / np.sqrt(count))
    for _ in range(20):
        room = min(centre - _LOW, _HIGH - centre)
        step = min(step, 0.9 * room)
        low, middle, high = at(centre - step), at(centre), at(centre + step)
        if not np.isfinite(low + middle + high):  # rounding, close to an edge
            break
        bend, slope = (low - 2.0 * middle + high) / step**2, (high - low) / (2.0 * step)
        error = 1.0 / np.sqrt(-bend) if bend < 0 else 2.0 * step
        move = -slope / bend if bend < 0 else np.copysign(4.0 * step, slope)
        fits = 0.7 * error < step < 1.4 * error or step > 0.89 * room
        if bend < 0 and abs(move) < 0.02 * error and fits and room > 1e-3:
            return centre + float(move), float(error)
        centre += float(np.clip(move, -0.5 * room, 0.5 * room))
        step = float(error)
    return _summit_near_an_edge(at)


def _summit_near_an_edge(at: Callable[[float], float]) -> tuple[float, float]:
    # Where no parabola fits: the error is the distance, away from the nearer edge, at which the
    # likelihood has fallen by one half.
    found = optimize.minimize_scalar(
        lambda h: -at(float(h)), bounds=(_LOW, _HIGH), method="bounded", options={"xatol": 1e-6}
    )
    best, top = float(found.x), -float(found.fun)
    inner = _HIGH if best < 0.5 else _LOW
    if min(best - _LOW, _HIGH - best) > 1e-3 and at(inner) < top - 0.5:
        fallen = optimize.brentq(lambda h: at(float(h)) - top + 0.5, best, inner, xtol=1e-6)
        return best, abs(float(fallen) - best)
    msg = (
        f"the likelihood grows to the edge of exponents, {best:.3f}: the path is "
        f"{'smoother' if best > 0.5 else 'rougher'} than self-similar motion, or short; record "
        "longer or at other spacings, ask for `noise`, or measure `displacement_exponent` over "
        "chains"
    )
    raise RecordError(msg)
