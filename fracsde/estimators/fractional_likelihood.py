r"""The order of a fractional clock by maximum likelihood of the subordinated law.

.. math::
    \ell(\vartheta) = \sum_r \sum_i \ln p\bigl(x_r(t_i), t_i;\, \vartheta\bigr), \qquad
    p(x, t) = \int_0^\infty M_\alpha(z)\, N\bigl(x;\, \mu(z), v(z)\bigr)\, dz,

over chains ``r`` that start at known places, with mean :math:`\mu` and variance :math:`v` of the
ordinary process at operational time :math:`t^\alpha z`
(:mod:`fracsde.estimators.clock_mixture`).  With one time it is the likelihood.  With several it
is the composite likelihood of the single times: maximal at the truth, because each summand is,
though the times of a chain are not independent.  Its curvature therefore says nothing about the
error, and the error is taken over chains: each leaves in turn, and the maximum moves by one
Newton step,

.. math::
    \hat\vartheta_{(r)} = \hat\vartheta - (H - H_r)^{-1} s_r, \qquad
    s_r = \sum_i \nabla \ln p(x_r(t_i), t_i), \qquad H = -\nabla^2 \ell ,

which to first order is the sandwich :math:`H^{-1} \bigl(\sum_r s_r s_r^T\bigr) H^{-1}`.

It uses the whole law, its peak at the start and its tails, where the mean relaxation uses one
moment: the order is seen even where the mean does not move.  It also believes the whole law: a
loss that is not quadratic, or noise that is not Gaussian, bends it.

References: [VarinReidFirth2011]_ for composite likelihood, [Efron1982]_ for the jackknife,
[Mainardi2010]_ for the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import choice
from fracsde.errors import RecordError
from fracsde.estimators.clock_mixture import HIGHEST_ORDER, LOWEST_ORDER, ClockMixture
from fracsde.estimators.fractional_law import (
    FractionalLawFit,
    Motion,
    fitted,
    moving_record,
)

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["FractionalLikelihoodFit", "fit_fractional_likelihood"]

_MAX_STEPS = 100
_GAIN, _ROUGH = 1e-9, 1e-2  # of a log-likelihood, at which a climb is over
_STEP = 1e-4  # of parameters in the central difference of the scores


@dataclass(frozen=True, kw_only=True, eq=False)
class FractionalLikelihoodFit(FractionalLawFit):
    """A law on the fractional clock, fitted by likelihood.

    Parameters
    ----------
    log_likelihood : float [1]
        At the maximum, over all observations.
    ordinary_log_likelihood : float [1]
        Its largest value with the order held at 1.
    """

    citation: ClassVar[tuple[str, ...]] = ("VarinReidFirth2011", "Efron1982", "Mainardi2010")

    log_likelihood: float
    ordinary_log_likelihood: float


def fit_fractional_likelihood(
    times: ArrayLike,
    positions: ArrayLike,
    *,
    motion: Motion = "confined",
    starts: ArrayLike | None = None,
) -> FractionalLikelihoodFit:
    r"""Fit order and scales of a law on the fractional clock to positions of many chains.

    Parameters
    ----------
    times : (t,) array_like [t]
        Since the start of the motion, not negative, increasing.
    positions : (chain, t) array_like [x]
        One coordinate of every chain, ``run.values[:, :, k]`` of a Trajectory.
    motion : {"confined", "free"}
        A quadratic well, or flat ground (``t`` well before the relaxation).
    starts : float or (chain,) array_like, optional [x]
        Positions at time 0; taken from the record if it begins there.

    Returns
    -------
    FractionalLikelihoodFit

    Raises
    ------
    RecordError
        If there are fewer than 16 chains, no time after the start, fewer observations than
        parameters can be told from, no starts, or nothing moves.

    References
    ----------
    [VarinReidFirth2011]_

    Examples
    --------
    >>> from fracsde.special import sample_inverse_stable
    >>> rng = np.random.default_rng(3)
    >>> clock = sample_inverse_stable(1.0, 0.6, (400, 1), rng)
    >>> x = np.sqrt(2.0 * clock) * rng.standard_normal((400, 1))
    >>> fit = fit_fractional_likelihood([1.0], x, motion="free", starts=0.0)
    >>> low, high = fit.alpha_interval(0.999)
    >>> low < 0.6 < high
    True
    """
    choice("motion", motion, ("confined", "free"))
    elapsed, x, begin = moving_record(times, positions, starts)
    reference = float(np.exp(np.mean(np.log(elapsed))))
    mixture = ClockMixture(motion=motion, elapsed=elapsed, reference=reference)
    if motion == "confined" and len(elapsed) < 2 and np.ptp(begin) == 0.0:
        msg = (
            "order, timescale, centre and variance cannot all be told from one time and one "
            "start; record at least 2 times, or start chains at different places"
        )
        raise RecordError(msg)
    moved = np.square(x - begin[:, None]).mean(axis=0)
    ordinary, ordinary_value = _ordinary(mixture, x, begin, moved)
    theta, value = _maximum(mixture, x, begin, ordinary)
    moves = _moves(mixture, theta, x, begin)
    one_sided = bool(theta[0] >= HIGHEST_ORDER)
    if one_sided and ordinary_value >= value:
        theta, value = ordinary, ordinary_value
    theta[0] = 1.0 if one_sided else theta[0]
    method = (
        f"composite likelihood of the {motion} law on the fractional clock at {len(elapsed)} "
        f"times, jackknife over {len(x)} chains"
    )
    fields = fitted(motion, theta, moves, reference, x.shape, one_sided=one_sided, method=method)
    return FractionalLikelihoodFit(
        **fields, log_likelihood=value, ordinary_log_likelihood=ordinary_value
    )


def _ordinary(
    mixture: ClockMixture, x: FloatArray, begin: FloatArray, moved: FloatArray
) -> tuple[FloatArray, float]:
    # Maximum with the order held at 1, from the best of several timescales.
    if mixture.motion == "free":
        rate = np.mean(moved / (2.0 * mixture.elapsed / mixture.reference))
        return _climb(mixture, np.array([1.0, np.log(rate)]), x, begin, held=True)
    late = x[:, -1]
    variance = max(float(late.var()), 1e-6 * float(moved.max()))
    tries = []
    for scale in np.geomspace(mixture.elapsed[0], mixture.elapsed[-1], 5):
        guess = np.array([1.0, np.log(scale), late.mean(), np.log(variance)])
        tries.append((mixture.scores(guess, x, begin)[0].sum(), guess))
    best = max(tries, key=lambda entry: float(entry[0]))[1]
    return _climb(mixture, best, x, begin, held=True)


def _maximum(
    mixture: ClockMixture, x: FloatArray, begin: FloatArray, ordinary: FloatArray
) -> tuple[FloatArray, float]:
    # Climb from two orders, so that a flat start cannot hold the search, and the higher to its top.
    found = []
    for alpha in (0.5, 0.85):
        guess = ordinary.copy()
        guess[0] = alpha
        found.append(_climb(mixture, guess, x, begin, held=False, gain=_ROUGH))
    best = max(found, key=lambda entry: entry[1])[0]
    return _climb(mixture, best, x, begin, held=False)


def _climb(
    mixture: ClockMixture,
    theta: FloatArray,
    x: FloatArray,
    begin: FloatArray,
    *,
    held: bool,
    gain: float = _GAIN,
) -> tuple[FloatArray, float]:
    # Damped scoring with the outer products of the observations' scores, until a step promises
    # less than `gain`; the order is held at a bound while the gradient points outwards.
    damping = 1e-3
    low, high = np.full(len(theta), -np.inf), np.full(len(theta), np.inf)
    low[0], high[0] = (1.0, 1.0) if held else (LOWEST_ORDER, HIGHEST_ORDER)
    density, scores = mixture.scores(theta, x, begin)
    value = float(density.sum())
    for _ in range(_MAX_STEPS):
        flat = scores.reshape(-1, len(theta))
        gradient = flat.sum(axis=0)
        free = ~(((theta >= high) & (gradient >= 0)) | ((theta <= low) & (gradient <= 0)))
        normal = flat[:, free].T @ flat[:, free]
        scale = np.diag(normal.diagonal() + 1e-14 * normal.trace() + 1e-300)
        settled = False
        for _ in range(_MAX_STEPS):
            step = np.zeros_like(theta)
            step[free] = np.linalg.solve(normal + damping * scale, gradient[free])
            trial = np.clip(
                theta + np.clip(step, -2.0, 2.0 * np.maximum(1.0, abs(theta))), low, high
            )
            settled = bool(gradient @ (trial - theta) <= gain)
            density, scores = mixture.scores(trial, x, begin)
            if settled or density.sum() >= value:
                break
            damping *= 4.0
        theta, value, damping = trial, float(density.sum()), damping / 8.0
        if settled:
            break
    return theta, value


def _moves(
    mixture: ClockMixture, theta: FloatArray, x: FloatArray, begin: FloatArray
) -> FloatArray:
    # Where the maximum moves to, in one Newton step, when each chain leaves.
    count = len(theta)
    scores = mixture.scores(theta, x, begin)[1].sum(axis=1)
    curvature = np.empty((len(x), count, count))
    for j in range(count):
        size = _STEP * max(1.0, abs(theta[j]))
        ahead, behind = theta.copy(), theta.copy()
        ahead[j] += size
        behind[j] -= size
        if j == 0:
            ahead[0] = min(ahead[0], HIGHEST_ORDER)
        rise = mixture.scores(ahead, x, begin)[1] - mixture.scores(behind, x, begin)[1]
        curvature[:, :, j] = -rise.sum(axis=1) / (ahead[j] - behind[j])
    curvature = 0.5 * (curvature + curvature.transpose(0, 2, 1))
    whole = curvature.sum(axis=0)
    rest = scores.sum(axis=0)  # not zero where the order stands on its bound
    size = np.sqrt(np.abs(whole.diagonal()))
    scaled = (whole - curvature) / size[:, None] / size
    moves = np.linalg.solve(scaled, ((rest / len(x) - scores) / size)[:, :, None])[:, :, 0] / size
    return np.asarray(moves, dtype=np.float64)
