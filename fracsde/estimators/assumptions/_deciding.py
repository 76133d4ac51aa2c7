r"""From effects with errors to a verdict, the rule that all tests of assumptions share.

With ``K`` effects in one test each interval is

.. math::
    e_k \pm t_{1 - \ell / (2K),\; n_k - 1}\, \sigma_k ,

so that all of them hold at once with probability at least :math:`1 - \ell`, however the effects
depend on one another.  The assumption FAILS if one interval lies outside its band, HOLDS if all lie
inside, and is UNDECIDED otherwise; what is reported is the effect that decides.

The error of an effect that is a smooth function of averages is that of the mean of its *influence*

.. math::
    \hat e - e \simeq \frac{1}{RN} \sum_{r,t} \psi(x_{r,t}),

a series like any other: its mean has an error that knows the autocorrelation, from the spread
across chains or from its integrated time (:func:`fracsde.estimators.mean`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from fracsde._check import real
from fracsde.estimators.moments import mean
from fracsde.records.assumption import AssumptionTest
from fracsde.records.measurement import Measurement, Quantity
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["LEVEL", "decide", "joined", "positive_tolerance", "with_influence"]

LEVEL = 1e-3
"""Two-sided level of a test, all its effects together: that of :func:`fracsde.compare`."""


def with_influence(
    labels: Sequence[str], value: ArrayLike, influence: FloatArray, times: FloatArray
) -> Measurement:
    """Return effects with the error that their influence series has.

    Parameters
    ----------
    labels : sequence of str
        What each effect is.
    value : (effect,) array_like [1]
        The effects.
    influence : (chain, draw, effect) ndarray [1]
        Their influence, of mean zero.
    times : (draw,) ndarray [step]
        Times of the draws.

    Returns
    -------
    Measurement
    """
    value = np.asarray(value, dtype=np.float64)
    rounding = 8.0 * np.finfo(np.float64).eps * np.maximum(1.0, np.abs(value))
    varies = np.ptp(influence, axis=(0, 1)) > rounding
    stderr = rounding  # of what is the same everywhere, as the curvature of a quadratic is
    replicas = np.full(len(value), float(max(2, influence.shape[0] * influence.shape[1])))
    method = "the same at every draw"
    if np.any(varies):
        names = tuple(label for label, moves in zip(labels, varies, strict=True) if moves)
        spread = mean(Trajectory(values=influence[..., varies], times=times, names=names))
        stderr[varies] = np.maximum(spread.stderr, rounding[varies])
        replicas[varies] = spread.n_effective
        method = spread.method
    return Measurement(
        quantity=Quantity(name="effect", labels=tuple(labels)),
        value=value,
        stderr=stderr,
        n_effective=replicas,
        method=method,
    )


def joined(parts: Sequence[Measurement]) -> Measurement:
    """Return several measurements of effects as one.

    Returns
    -------
    Measurement
    """
    labels = [label for part in parts for label in part.quantity.labels]
    return Measurement(
        quantity=Quantity(name="effect", labels=tuple(labels)),
        value=np.concatenate([part.value for part in parts]),
        stderr=np.concatenate([part.stderr for part in parts]),
        n_effective=np.concatenate([part.n_effective for part in parts]),
        method="; ".join(dict.fromkeys(part.method for part in parts)),
    )


def decide(
    effects: Measurement,
    *,
    name: str,
    question: str,
    tolerances: ArrayLike,
    level: float,
    consequence: str,
    method: str,
) -> AssumptionTest:
    """Return the verdict on all effects, carried by the one that decides.

    Parameters
    ----------
    effects : Measurement
        One entry per effect; its labels say what each is.
    name, question, consequence : str
        As in :class:`fracsde.AssumptionTest`.
    tolerances : float or (effect,) array_like [1]
        Largest effects that do not matter.
    level : float [1]
        Two-sided level of all intervals together.
    method : str
        How effects were measured; how their errors were is added.

    Returns
    -------
    AssumptionTest
    """
    level = real("level", level, low=0.0, high=1.0)
    count = effects.quantity.size
    band = np.broadcast_to(np.asarray(tolerances, dtype=np.float64), (count,))
    quantile = -stdtrit(effects.n_effective - 1.0, 0.5 * level / count)
    half = quantile * effects.stderr
    low, high = effects.value - half, effects.value + half
    beyond = np.maximum(low - band, -band - high) / band
    reach = np.maximum(np.abs(low), np.abs(high)) / band
    k = int(np.argmax(beyond)) if np.any(beyond > 0) else int(np.argmax(reach))
    labels = [effects.quantity.label(i) for i in range(count)]
    rows = zip(effects.value, low, high, band, strict=True)
    return AssumptionTest(
        name=name,
        question=question,
        effect=float(effects.value[k]),
        stderr=float(effects.stderr[k]),
        low=float(low[k]),
        high=float(high[k]),
        tolerance=float(band[k]),
        level=level,
        meaning=labels[k],
        consequence=consequence,
        n_effective=float(effects.n_effective[k]),
        method=f"{method}; errors: {effects.method}",
        entries=dict(zip(labels, rows, strict=True)) if count > 1 else {},
    )


def positive_tolerance(name: str, value: float) -> float:
    """Return a tolerance, refusing one that is not positive.

    Returns
    -------
    float
    """
    remedy = "a tolerance is the largest effect that does not matter to you"
    return real(name, value, low=0.0, high=math.inf, remedy=remedy)
