r"""Whether the gradient noise is the same everywhere the run goes.

Along a unit direction ``v``, with the noise covariance :math:`C(w)`,

.. math::
    e_v = \frac{E\, v^T C(w)\, v}{v^T C(w_*)\, v} - 1, \qquad
    e'_v = \frac{s\,\partial_v\, v^T C v}{v^T C v} .

:math:`e_v` is the relative error of the variance predicted from the noise at the minimum;
:math:`e'_v`, the relative change of the noise over one standard deviation to one side, leaves the
variance but gives the law a skewness of :math:`2 e'_v`.

With a loss, :math:`e_v` is measured by the gradients of its examples at recorded positions.  From
recorded mini-batch gradients, with the residuals ``r`` of their regression on position (linear,
with the square and cube of their own direction) and whitened positions ``z``,

.. math::
    r_k^2 = q_0 + \sum_j q_j z_j + \sum_j q_{jj} He_2(z_j) + \dots, \qquad
    e_k = \frac{q_0}{q_0 - \sum_j q_{jj}} - 1, \qquad e'_k = \frac{q_k}{q_0} .
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import InputError, RecordError
from fracsde.estimators.assumptions._deciding import (
    LEVEL,
    decide,
    joined,
    positive_tolerance,
    with_influence,
)
from fracsde.estimators.assumptions._positions import directions_of, minimum_of, positions_of
from fracsde.estimators.assumptions._regression import design_of, paired, principal, regress
from fracsde.estimators.chains import as_trajectory

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.estimators.assumptions._positions import NoisyLoss
    from fracsde.estimators.assumptions._regression import Regression
    from fracsde.records.assumption import AssumptionTest
    from fracsde.records.measurement import Measurement
    from fracsde.records.trajectory import Trajectory

__all__ = ["constant_noise"]

NAME = "constant noise"
QUESTION = "Is the gradient noise averaged over the law that at the minimum?"
TOLERANCE = 0.05


def constant_noise(
    trajectory: Trajectory | ArrayLike,
    *,
    loss: NoisyLoss | None = None,
    minimum: ArrayLike | None = None,
    gradients: Trajectory | ArrayLike | None = None,
    directions: ArrayLike | None = None,
    positions: int = 128,
    tolerance: float = TOLERANCE,
    level: float = LEVEL,
) -> AssumptionTest:
    """Ask whether the gradient noise depends on position.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [weight]
        A stationary run; whole weight vectors where a loss is given.
    loss : loss, optional
        Network or torch loss, asked for the gradients of its examples at recorded positions.
    minimum : (coordinate,) array_like, optional [weight]
        The minimum; the mean of the run stands for it where it is not known.
    gradients : Trajectory or (chain, draw, coordinate) array_like, optional [loss / weight]
        The gradients of the steps, used where there is no loss; recorded at every step.
    directions : (coordinate, k) array_like, optional [1]
        Directions to ask along with a loss; the four leading principal ones if not given.
    positions : int
        About how many positions to ask a loss at.
    tolerance : float [1]
        Largest relative change of the noise that does not matter.
    level : float [1]
        Two-sided level of all intervals together.

    Returns
    -------
    AssumptionTest

    Raises
    ------
    InputError
        If there is neither a loss nor gradients.
    RecordError
        If the record is too short, or there is no noise along a direction.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> class Multiplicative:
    ...     parameters = 1
    ...     def per_example_gradients(self, w):
    ...         return np.array([[1.0], [-1.0]]) * np.sqrt(1.0 + w**2)
    >>> run = 0.1 * rng.standard_normal((32, 200, 1))
    >>> constant_noise(run, loss=Multiplicative(), minimum=[0.0]).verdict.name
    'HOLDS'
    >>> constant_noise(10 * run, loss=Multiplicative(), minimum=[0.0]).verdict.name
    'FAILS'
    """
    run = as_trajectory(trajectory)
    band = positive_tolerance("tolerance", tolerance)
    if loss is not None:
        effects = _by_examples(run, loss, minimum, directions, positions)
        method = "gradients of the examples at recorded positions"
    elif gradients is not None:
        effects = _by_gradients(run, gradients)
        method = "regression of squared residual gradients on positions"
    else:
        msg = (
            "whether the noise is constant can be asked with a `loss` or with recorded "
            "`gradients`; pass one of them"
        )
        raise InputError(msg)
    return decide(
        effects,
        name=NAME,
        question=QUESTION,
        tolerances=band,
        level=level,
        consequence=(
            "a change of the noise puts predicted variances off by about as much, a slope skews "
            "the law; use fracsde.LeastSquaresSGD, QuadraticSGD or gaussian_closure, where noise "
            "depends on position, or lower the learning rate"
        ),
        method=method,
    )


def _by_examples(
    run: Trajectory,
    loss: NoisyLoss,
    minimum: ArrayLike | None,
    directions: ArrayLike | None,
    positions: int,
) -> Measurement:
    kept = positions_of(run, loss, positions)
    vectors = directions_of(run, directions)
    at_minimum = _noise(loss, minimum_of(run, minimum), vectors)
    if not np.all(at_minimum > 0):
        k = int(np.argmin(at_minimum))
        msg = (
            f"there is no gradient noise at the minimum along direction {k}, so that a relative "
            "change has no meaning; leave that direction out"
        )
        raise RecordError(msg)
    change = np.array(
        [[_noise(loss, w, vectors) / at_minimum - 1.0 for w in chain] for chain in kept.values]
    )
    kind = "principal direction" if directions is None else "direction"
    labels = tuple(
        f"relative change of the noise along {kind} {k + 1}" for k in range(vectors.shape[1])
    )
    value = change.mean(axis=(0, 1))
    return with_influence(labels, value, change - value, kept.times)


def _noise(loss: NoisyLoss, w: FloatArray, vectors: FloatArray) -> FloatArray:
    along = np.asarray(loss.per_example_gradients(w)) @ vectors
    return np.asarray(along.var(axis=0), dtype=np.float64)


def _by_gradients(run: Trajectory, gradients: Trajectory | ArrayLike) -> Measurement:
    pairs = paired(run, gradients).thinned(2 * run.dimension + 2)
    z, vectors = principal(pairs.positions)
    d = z.shape[-1]
    two = np.square(z) - 1.0
    along = pairs.gradients @ vectors
    quadratic = design_of(z, two)
    parts = []
    for k in range(d):
        own = z[..., k]
        fit = regress(design_of(z, two, own * (own * own - 3.0)), along[..., k : k + 1])
        noise = regress(quadratic, np.square(fit.residuals))
        parts.append(_changes(noise.coefficients[:, 0], noise, k, d, pairs.steps))
    return joined(parts)


def _changes(q: FloatArray, noise: Regression, k: int, d: int, steps: FloatArray) -> Measurement:
    """Return both effects along a direction from the regression of squared residuals."""
    at_centre = np.zeros(len(q))
    at_centre[0], at_centre[1 + d :] = 1.0, -1.0
    whole, centre = float(q[0]), float(at_centre @ q)
    if not centre > 0:
        msg = (
            f"the noise along principal direction {k + 1} does not extrapolate to the centre of "
            "the law; record longer, or pass a loss"
        )
        raise RecordError(msg)
    squares = noise.residuals[..., 0]
    by_whole = noise.solved[..., 0] * squares
    by_centre = (noise.solved @ at_centre) * squares
    slope = float(q[1 + k]) / whole
    by_slope = (noise.solved[..., 1 + k] * squares - slope * by_whole) / whole
    change = (by_whole - whole / centre * by_centre) / centre
    labels = (
        f"relative change of the noise along principal direction {k + 1}",
        f"relative slope of the noise along principal direction {k + 1} per deviation",
    )
    influence = np.stack([change, by_slope], axis=-1)
    return with_influence(labels, [whole / centre - 1.0, slope], influence, steps)
