r"""Whether the batches of different steps are independent.

With the noise :math:`r_t` of the gradient of step ``t``, and sums over windows of ``L`` steps,

.. math::
    e_L = \frac1d \sum_k
    \frac{\operatorname{Var}\bigl(\sum_{t \in \text{window}} r_{t,k}\bigr)}
         {L\,\operatorname{Var} r_{t,k}} - 1 .

A direction whose relaxation takes longer than ``L`` steps feels the sums, so :math:`e_L` is the
relative error of its variance in a theory that believes the batches independent.  Independent
batches have :math:`e_L = 0`.  An epoch that is shuffled and read once has sums of zero:
:math:`e_L = -1` where a window is an epoch of ``L = M`` batches, :math:`-(L-1)/(M-1)` in windows
inside one, the lag-one correlation :math:`-1/(M-1)` being the case ``L = 2``.

The noise is what is left of the recorded gradients after their regression on position, or after
subtracting :math:`H (w - \bar w)` for a given Hessian.  Two limits:

* with shuffled epochs positions know what is left of the epoch, and the regression absorbs part of
  the dependence: windows of an epoch show about :math:`-0.6` in flat directions in place of the
  :math:`-1` that a given Hessian shows.  Batches that *are* independent are not called dependent
  for this reason; ``tests/estimators/test_assumptions_independence.py`` shows both.
* a gradient that also depends on coordinates that were not recorded leaves their motion in the
  residual, which looks like dependence.  Record whole weight vectors, or project on eigenvectors of
  the Hessian.

Where the gradients were not recorded, heavy-ball steps give them back,
:math:`(1 - d)\,\eta\, g_t = \mu (w_{t-1} - w_{t-2}) - (w_t - w_{t-1})` for momentum :math:`\mu` and
dampening ``d``: :func:`gradients_from_weights`.

References: [Sokal1997]_ for the variance of sums.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import choice, integer, matrix, real
from fracsde.errors import RecordError
from fracsde.estimators.assumptions._deciding import (
    LEVEL,
    decide,
    joined,
    positive_tolerance,
    with_influence,
)
from fracsde.estimators.assumptions._regression import design_of, paired, regress
from fracsde.estimators.chains import as_trajectory
from fracsde.records.assumption import AssumptionTest

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.estimators.assumptions._regression import Pairs, Regression
    from fracsde.records.measurement import Measurement
    from fracsde.records.trajectory import Trajectory

__all__ = ["gradients_from_weights", "independent_batches"]

NAME = "independence of batches"
QUESTION = "Do sums of gradient noise over a window vary as sums of independent terms would?"
TOLERANCE = 0.1
SAMPLING = ("with_replacement", "without_replacement", "shuffled", "unknown")
CONSEQUENCE = (
    "directions that relax more slowly than an epoch feel other noise than the theory gives them; "
    "use `EpochRecursion`, the law of shuffled epochs"
)


def independent_batches(
    weights: Trajectory | ArrayLike | None = None,
    gradients: Trajectory | ArrayLike | None = None,
    *,
    epoch: int | None = None,
    hessian: ArrayLike | None = None,
    sampling: str = "unknown",
    tolerance: float = TOLERANCE,
    level: float = LEVEL,
) -> AssumptionTest:
    """Ask whether the noise of a step knows that of earlier steps.

    Parameters
    ----------
    weights : Trajectory or (chain, draw, coordinate) array_like, optional [weight]
        Positions after each step, recorded at every step: whole weight vectors or projections on
        eigenvectors of the Hessian.  Not needed where the sampling is declared to be shuffled.
    gradients : Trajectory or (chain, draw, coordinate) array_like, optional [loss / weight]
        The gradients of the same steps, or what :func:`gradients_from_weights` returns.
    epoch : int, optional [step]
        Batches in an epoch.  Windows of an epoch start where epochs do, at steps 1, 1 + epoch, ...;
        if not given, windows of 2, 8 and 32 steps are tried.
    hessian : (coordinate, coordinate) array_like, optional [loss / weight^2]
        The Hessian in the recorded coordinates, instead of the regression on position.
    sampling : {"with_replacement", "without_replacement", "shuffled", "unknown"}
        How the batches are declared to be drawn.  ``"shuffled"`` fails by declaration; batches
        drawn without replacement inside one step, independently of other steps, do not.
    tolerance : float [1]
        Largest relative error of the variance of flat directions that does not matter.
    level : float [1]
        Two-sided level of all intervals together.

    Returns
    -------
    AssumptionTest

    Raises
    ------
    RecordError
        If there is nothing to measure, or the record is too short.
    OutOfRangeError
        If an epoch has fewer than two batches.

    References
    ----------
    [Sokal1997]_

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> g = rng.standard_normal((32, 4001, 2))
    >>> w = np.zeros_like(g)
    >>> for t in range(1, 4001):
    ...     g[:, t] += 1.0 * w[:, t - 1]
    ...     w[:, t] = w[:, t - 1] - 0.1 * g[:, t]
    >>> independent_batches(w, g, epoch=20).verdict.name
    'HOLDS'
    >>> independent_batches(sampling="shuffled").verdict.name
    'FAILS'
    """
    band = positive_tolerance("tolerance", tolerance)
    declared = choice("sampling", sampling, SAMPLING)
    length = None if epoch is None else integer("epoch", epoch, low=2)
    if declared == "shuffled":
        return _declared(band, real("level", level, low=0.0, high=1.0))
    if weights is None or gradients is None:
        msg = (
            "independence of batches is read off the gradients and the positions at which they "
            "were taken; record both, or rebuild gradients with `gradients_from_weights`"
        )
        raise RecordError(msg)
    pairs = paired(weights, gradients)
    fit = _noise(pairs, hessian)
    windows = _windows(pairs, length)
    parts = [_excess(pairs, fit, L, length) for L in windows]
    return decide(
        joined(parts),
        name=NAME,
        question=QUESTION,
        tolerances=band,
        level=level,
        consequence=CONSEQUENCE,
        method="variance of sums of residual gradients over windows",
    )


def _declared(tolerance: float, level: float) -> AssumptionTest:
    return AssumptionTest(
        name=NAME,
        question=QUESTION,
        effect=-1.0,
        stderr=0.0,
        low=-1.0,
        high=-1.0,
        tolerance=tolerance,
        level=level,
        meaning="excess variance of the noise summed over an epoch, by declaration of shuffling,",
        consequence=CONSEQUENCE,
        method="declared, not measured: shuffled epochs sum to the whole gradient",
    )


def _noise(pairs: Pairs, hessian: ArrayLike | None) -> Regression:
    centred = pairs.positions - pairs.positions.mean(axis=(0, 1))
    if hessian is None:
        return regress(design_of(centred), pairs.gradients)
    known = matrix("hessian", hessian, size=pairs.positions.shape[-1])
    left = pairs.gradients - centred @ known.T
    return regress(np.ones((*left.shape[:2], 1)), left)


def _windows(pairs: Pairs, epoch: int | None) -> list[int]:
    chains, draws = pairs.positions.shape[:2]
    wanted = sorted({2, epoch}) if epoch is not None else [2, 8, 32]
    fit = [L for L in wanted if L == 2 or draws >= 4 * L]
    if draws < 8 or (epoch is not None and epoch not in fit):
        needed = 4 * (epoch or 2)
        msg = (
            f"{draws} consecutive gradients in each of {chains} chains are too few; record at "
            f"least {needed} steps, four epochs"
        )
        raise RecordError(msg)
    return fit


def _excess(pairs: Pairs, fit: Regression, length: int, epoch: int | None) -> Measurement:
    """Return the excess variance of sums over windows, averaged over coordinates."""
    first = int(-(pairs.steps[0] - 1.0) % length) if length == epoch else 0
    count = (pairs.positions.shape[1] - first) // length
    cut = slice(first, first + count * length)

    def per_window(series: FloatArray) -> FloatArray:
        # Means over the steps of each window: (chain, window, ...).
        part = series[:, cut]
        shape = (part.shape[0], count, length, *part.shape[2:])
        return np.asarray(part.reshape(shape).mean(axis=2), dtype=np.float64)

    r = fit.residuals
    sums = length * per_window(r)
    square = per_window(np.square(r))
    one, many = square.mean(axis=(0, 1)), np.square(sums).mean(axis=(0, 1)) / length
    if not np.all(one > 0):
        msg = "a coordinate of the gradients has no noise; leave it out"
        raise RecordError(msg)
    ratio = many / one
    # Influence of a window on the two variances, and through the coefficients of the regression.
    influence = (np.square(sums) / length - many) / one - ratio / one * (square - one)
    design = length * per_window(fit.design)
    overlap = np.einsum("rwk,rwp->pk", sums, design) / (sums.shape[0] * count)
    for k in range(r.shape[-1]):
        coefficients = per_window(fit.solved * r[..., k : k + 1])
        influence[..., k] -= 2.0 / (length * one[k]) * (coefficients @ overlap[:, k])
    label = f"excess variance of the noise summed over {length} steps"
    if length == epoch:
        label += ", an epoch,"
    times = pairs.steps[cut][::length]
    effect = [float(ratio.mean()) - 1.0]
    return with_influence([label], effect, influence.mean(axis=-1)[..., None], times)


def gradients_from_weights(
    weights: Trajectory | ArrayLike,
    *,
    learning_rate: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
) -> Trajectory:
    r"""Rebuild the gradients of heavy-ball SGD from positions at every step.

    .. math::
        g_t = \frac{\mu\,(w_{t-1} - w_{t-2}) - (w_t - w_{t-1})}{\eta\,(1 - d)} - \lambda w_{t-1}

    with the whole buffer dampened as torch does it, :math:`v \leftarrow \mu v + (1 - d) g`,
    :math:`w \leftarrow w - \eta v`.

    Parameters
    ----------
    weights : Trajectory or (chain, draw, coordinate) array_like [weight]
        Positions after every step; at least three.
    learning_rate, momentum, dampening, weight_decay : float
        Those of the optimiser, constant over the record.

    Returns
    -------
    Trajectory
        The gradient of every step but the first two, with the weight decay taken out.  Its errors
        are those of the recorded positions divided by the learning rate.

    Raises
    ------
    RecordError
        If consecutive steps were not recorded, or fewer than three.
    OutOfRangeError
        If a parameter of the optimiser lies outside its range.

    Examples
    --------
    Steps of one tenth of the gradients 1, 2, 3:

    >>> w = np.array([[[0.0], [-0.1], [-0.3], [-0.6]]])
    >>> gradients_from_weights(w, learning_rate=0.1).values.ravel().round(12)
    array([2., 3.])
    """
    run = as_trajectory(weights)
    rate = real("learning_rate", learning_rate, low=0.0)
    mu = real("momentum", momentum, low=0.0, high=1.0, closed="low")
    damped = real("dampening", dampening, low=0.0, high=1.0, closed="low")
    decay = real("weight_decay", weight_decay, low=0.0, closed="low")
    if run.draws < 3 or np.any(np.abs(np.diff(run.times) - 1.0) > 1e-9):
        msg = (
            "gradients can be rebuilt only from positions at every step, at least three, got "
            f"{run.draws} draws; record every step, or record gradients"
        )
        raise RecordError(msg)
    moved = np.diff(run.values, axis=1)
    values = (mu * moved[:, :-1] - moved[:, 1:]) / (rate * (1.0 - damped))
    values -= decay * run.values[:, 1:-1]
    return replace(run, values=values, times=run.times[2:])
