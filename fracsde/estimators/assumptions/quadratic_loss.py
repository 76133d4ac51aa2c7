r"""Whether the loss is quadratic over the region that the run visits.

A theory that knows the Hessian at the minimum needs it to be the Hessian everywhere the law is.
Along a unit direction ``v``

.. math::
    e_v = \frac{E\, v^T H(w)\, v}{v^T H(w_*)\, v} - 1,

the relative change of the curvature averaged over the law, is to first order the relative error of
the variance predicted along ``v`` (of opposite sign).  The shift of the mean from the minimum,

.. math::
    e_m = \frac{v^T(E w - w_*)}{s_v} \simeq -\frac{u}{2}, \qquad
    u = \frac{s_v\, U'''}{U''},

shows the odd part, whose own effect on the variance is :math:`u^2`: 5 % at :math:`e_m = 0.11`.

With a loss, :math:`e_v` is measured by Hessian products at recorded positions.  From recorded
gradients alone, with the whitened positions :math:`z` of the principal directions,

.. math::
    v_k^T g = a + b^T z + c_2 He_2(z_k) + c_3 He_3(z_k) + \sum_{j \ne k} d_j z_k He_2(z_j) + r,
    \qquad e_k = \frac{b_k}{b_k - 3 c_3 - \sum_j d_j} - 1,

since the averaged slope is :math:`b_k` (Stein's lemma) and that at the centre the denominator.
Gradients of mini-batches are noisy: expect to need some :math:`10^3` relaxation times of the
direction, where a loss needs tens of positions.
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
    from fracsde.estimators.assumptions._positions import CurvedLoss
    from fracsde.records.assumption import AssumptionTest
    from fracsde.records.measurement import Measurement
    from fracsde.records.trajectory import Trajectory

__all__ = ["quadratic_loss"]

NAME = "quadratic loss"
QUESTION = "Is the curvature averaged over the law that at the minimum, and the mean the minimum?"
TOLERANCE = 0.05


def quadratic_loss(
    trajectory: Trajectory | ArrayLike,
    *,
    loss: CurvedLoss | None = None,
    minimum: ArrayLike | None = None,
    gradients: Trajectory | ArrayLike | None = None,
    directions: ArrayLike | None = None,
    positions: int = 128,
    tolerance: float = TOLERANCE,
    level: float = LEVEL,
) -> AssumptionTest:
    """Ask whether the loss is quadratic where the run is.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [weight]
        A stationary run; whole weight vectors where a loss is given.
    loss : loss, optional
        Network or torch loss, asked for Hessian products at recorded positions.
    minimum : (coordinate,) array_like, optional [weight]
        The minimum; the mean of the run stands for it where it is not known.
    gradients : Trajectory or (chain, draw, coordinate) array_like, optional [loss / weight]
        The gradients of the steps, used where there is no loss; recorded at every step.
    directions : (coordinate, k) array_like, optional [1]
        Directions to ask along with a loss; the four leading principal ones if not given.
    positions : int
        About how many positions to ask a loss at.
    tolerance : float [1]
        Largest relative change of the curvature, or of the variance by the shift of the mean, that
        does not matter.
    level : float [1]
        Two-sided level of all intervals together.

    Returns
    -------
    AssumptionTest

    Raises
    ------
    InputError
        If there is neither a loss, nor gradients, nor a minimum.
    RecordError
        If the record is too short, or the curvature at the minimum is not positive.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> class Quartic:
    ...     parameters = 1
    ...     def hessian_vector_product(self, w, v):
    ...         return (1.0 + 0.3 * w**2) * v
    >>> run = 0.1 * rng.standard_normal((32, 200, 1))
    >>> quadratic_loss(run, loss=Quartic(), minimum=[0.0]).verdict.name
    'HOLDS'
    >>> quadratic_loss(10 * run, loss=Quartic(), minimum=[0.0]).verdict.name
    'FAILS'
    """
    run = as_trajectory(trajectory)
    band = positive_tolerance("tolerance", tolerance)
    if loss is None and gradients is None and minimum is None:
        msg = (
            "whether the loss is quadratic can be asked with a `loss`, with recorded `gradients`, "
            "or with a known `minimum`; pass one of them"
        )
        raise InputError(msg)
    parts, tolerances, ways = [], [], []
    if loss is not None:
        found = _by_products(run, loss, minimum, directions, positions)
        parts.append(found)
        tolerances += [band] * found.quantity.size
        ways.append("Hessian products at recorded positions")
    elif gradients is not None:
        found = _by_gradients(run, gradients)
        parts.append(found)
        tolerances += [band] * found.quantity.size
        ways.append("cubic regression of gradients on positions")
    if minimum is not None:
        found = _shift(run, minimum, directions)
        parts.append(found)
        tolerances += [0.5 * band**0.5] * found.quantity.size
        ways.append("distance of the mean from the minimum")
    return decide(
        joined(parts),
        name=NAME,
        question=QUESTION,
        tolerances=tolerances,
        level=level,
        consequence=(
            "variances predicted from the curvature at the minimum are off by about this; lower "
            "the learning rate or use `gaussian_closure`, which averages the curvature over the law"
        ),
        method=" and ".join(ways),
    )


def _by_products(
    run: Trajectory,
    loss: CurvedLoss,
    minimum: ArrayLike | None,
    directions: ArrayLike | None,
    positions: int,
) -> Measurement:
    kept = positions_of(run, loss, positions)
    vectors = directions_of(run, directions)
    centre = minimum_of(run, minimum)
    at_minimum = _curvatures(loss, centre, vectors)
    if np.any(at_minimum <= 0):
        k = int(np.argmin(at_minimum))
        msg = (
            f"the curvature at the minimum along direction {k} is {at_minimum[k]:.3g}, not "
            "positive, so that a relative change has no meaning; leave that direction out, or find "
            "the minimum to higher accuracy"
        )
        raise RecordError(msg)
    change = np.array(
        [[_curvatures(loss, w, vectors) / at_minimum - 1.0 for w in chain] for chain in kept.values]
    )
    labels = tuple(
        f"relative change of the curvature along {name}"
        for name in _direction_names(directions, vectors)
    )
    value = change.mean(axis=(0, 1))
    return with_influence(labels, value, change - value, kept.times)


def _curvatures(loss: CurvedLoss, w: FloatArray, vectors: FloatArray) -> FloatArray:
    products = loss.hessian_vector_product(w, vectors)
    return np.asarray((vectors * products).sum(axis=0), dtype=np.float64)


def _direction_names(directions: ArrayLike | None, vectors: FloatArray) -> list[str]:
    kind = "principal direction" if directions is None else "direction"
    return [f"{kind} {k + 1}" for k in range(vectors.shape[1])]


def _by_gradients(run: Trajectory, gradients: Trajectory | ArrayLike) -> Measurement:
    pairs = paired(run, gradients)
    z, vectors = principal(pairs.positions)
    along = pairs.gradients @ vectors
    parts = []
    for k in range(z.shape[-1]):
        own = z[..., k]
        two = np.square(z) - 1.0
        others = [j for j in range(z.shape[-1]) if j != k]
        design = design_of(
            z, two[..., k], own * (own * own - 3.0), own[..., None] * two[..., others]
        )
        fit = regress(design, along[..., k : k + 1])
        # Terms: 1, z_1 .. z_d, He2(z_k), He3(z_k), z_k He2(z_j).
        d = z.shape[-1]
        weights = np.zeros(design.shape[-1])
        weights[1 + k] = 1.0
        weights[d + 2], weights[d + 3 :] = -3.0, -1.0
        b, centre = float(fit.coefficients[1 + k, 0]), float(weights @ fit.coefficients[:, 0])
        if not centre > 0:
            msg = (
                f"the gradients show no restoring force along principal direction {k + 1} within "
                "their noise; record longer, or pass a loss"
            )
            raise RecordError(msg)
        by_b = fit.influence(0, 1 + k)
        by_centre = (fit.solved @ weights) * fit.residuals[..., 0]
        influence = (by_b - b / centre * by_centre) / centre
        label = f"relative change of the curvature along principal direction {k + 1}"
        parts.append(with_influence([label], [b / centre - 1.0], influence[..., None], pairs.steps))
    return joined(parts)


def _shift(run: Trajectory, minimum: ArrayLike, directions: ArrayLike | None) -> Measurement:
    vectors = directions_of(run, directions)
    distance = (run.values - minimum_of(run, minimum)) @ vectors
    value = distance.mean(axis=(0, 1))
    scale = distance.std(axis=(0, 1))
    if not np.all(scale > 0):
        msg = "a direction does not vary over the run; leave it out"
        raise RecordError(msg)
    z = (distance - value) / scale
    shift = value / scale
    labels = tuple(
        f"shift of the mean from the minimum in deviations along {name}"
        for name in _direction_names(directions, vectors)
    )
    return with_influence(labels, shift, z - 0.5 * shift * (z * z - 1.0), run.times)
