r"""Whether the stated learning rate and momentum moved the weights.

.. math::
    w_t - w_{t-1} = -\eta (1 - d)\,(g_t + \lambda w_{t-1}) + \mu\,(w_{t-1} - w_{t-2}) + \epsilon_t

is fitted by least squares for :math:`\hat\eta` and :math:`\hat\mu`.  The effects are
:math:`\hat\eta / \eta - 1`, :math:`\hat\mu - \mu` and the share of the motion that the rule does
not explain.  Where weights and gradients are recorded exactly, so is the answer: a learning rate
that a schedule changed, a gradient that was clipped or an optimiser of another name shows at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import real
from fracsde.errors import RecordError
from fracsde.estimators.assumptions._deciding import (
    LEVEL,
    decide,
    joined,
    positive_tolerance,
    with_influence,
)
from fracsde.estimators.assumptions._regression import paired, regress

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.records.assumption import AssumptionTest
    from fracsde.records.trajectory import Trajectory

__all__ = ["stated_steps"]

NAME = "step rule as stated"
QUESTION = "Did the stated learning rate and momentum move the weights?"
TOLERANCE = 0.01


def stated_steps(
    weights: Trajectory | ArrayLike,
    gradients: Trajectory | ArrayLike,
    *,
    learning_rate: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    tolerance: float = TOLERANCE,
    level: float = LEVEL,
) -> AssumptionTest:
    """Ask whether weights moved as the stated optimiser moves them.

    Parameters
    ----------
    weights : Trajectory or (chain, draw, coordinate) array_like [weight]
        Positions after each step, recorded at every step.
    gradients : Trajectory or (chain, draw, coordinate) array_like [loss / weight]
        The gradients of the same steps, without weight decay.
    learning_rate, momentum, dampening, weight_decay : float
        What is stated.
    tolerance : float [1]
        Largest relative error of the learning rate, error of the momentum, and share of the motion
        left unexplained, that do not matter.
    level : float [1]
        Two-sided level of all intervals together.

    Returns
    -------
    AssumptionTest

    Raises
    ------
    RecordError
        If consecutive steps were not recorded, or nothing moved.

    Examples
    --------
    >>> g = np.random.default_rng(1).standard_normal((2, 500, 3))
    >>> w = -0.1 * np.cumsum(g, axis=1)
    >>> stated_steps(w, g, learning_rate=0.1).verdict.name
    'HOLDS'
    >>> stated_steps(w, g, learning_rate=0.11).verdict.name
    'FAILS'
    """
    rate = real("learning_rate", learning_rate, low=0.0)
    mu = real("momentum", momentum, low=0.0, high=1.0, closed="low")
    kept = 1.0 - real("dampening", dampening, low=0.0, high=1.0, closed="low")
    decay = real("weight_decay", weight_decay, low=0.0, closed="low")
    band = positive_tolerance("tolerance", tolerance)
    pairs = paired(weights, gradients)
    moved = pairs.after - pairs.positions
    pull = (pairs.gradients + decay * pairs.positions)[:, 1:]
    if not np.any(moved):
        msg = "the weights never moved; record a run, not a point"
        raise RecordError(msg)
    answer, before = moved[:, 1:], moved[:, :-1]
    # One fit for all coordinates: draws and coordinates stand in one axis.
    shape = (answer.shape[0], -1)
    design = np.stack([(-kept * rate * pull).reshape(shape), before.reshape(shape)], axis=-1)
    fit = regress(design, answer.reshape(*shape, 1))

    def per_draw(series: FloatArray) -> FloatArray:
        return np.asarray(series.reshape(answer.shape).mean(axis=-1), dtype=np.float64)

    ratio, found = (float(c) for c in fit.coefficients[:, 0])
    size = float(np.square(answer).mean())
    rest = np.square(fit.residuals[..., 0])
    share = float(rest.mean()) / size
    spread = (per_draw(rest) - share * np.square(answer).mean(axis=-1)) / size
    influence = np.stack(
        [per_draw(fit.influence(0, 0)), per_draw(fit.influence(0, 1)), spread], axis=-1
    )
    labels = (
        "relative error of the stated learning rate",
        "error of the stated momentum",
        "share of the squared motion that the step rule leaves unexplained",
    )
    effects = with_influence(labels, [ratio - 1.0, found - mu, share], influence, pairs.steps[1:])
    return decide(
        joined([effects]),
        name=NAME,
        question=QUESTION,
        tolerances=band,
        level=level,
        consequence=(
            "the run is not the one that the theory was told of; look for a schedule, clipping, "
            "another optimiser, or a wrong number in the metadata"
        ),
        method="least squares of the motion on gradients and the motion before",
    )
