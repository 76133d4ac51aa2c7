r"""Eigenvalues of a covariance measured from correlated draws, their bias removed.

With :math:`\hat\Sigma = \sum_i \hat\lambda_i v_i v_i^T` and :math:`s_{ij}` the standard error of
the entry :math:`v_i^T \hat\Sigma v_j`, second-order perturbation theory gives

.. math::
    \mathbb E \hat\lambda_i - \lambda_i
    \simeq \sum_{j \ne i} \frac{s_{ij}^2}{\lambda_i - \lambda_j} ,
    \qquad
    \mathrm{se}(\hat\lambda_i) \simeq s_{ii} ,
    \qquad
    \mathrm{angle}_i^2 \simeq \sum_{j \ne i} \frac{s_{ij}^2}{(\lambda_i - \lambda_j)^2} .

Large eigenvalues come out too large and small ones too small.  For ``n`` independent Gaussian
draws :math:`s_{ij}^2 = \lambda_i\lambda_j / n` and the bias is Lawley's; here every :math:`s_{ij}`
is measured in the coordinates :math:`v_i` as :mod:`fracsde.estimators.moments` measures
covariances, so that autocorrelation and tails are in it.  The bias is subtracted.

The expansion fails where neighbours lie closer than their noise: the eigenvalues of a sample repel
each other, and two equal ones appear at a distance of about :math:`2.5\,s_{ij}`.  With gaps in
units of the noise, :math:`x_{ij} = (\hat\lambda_i - \hat\lambda_j) / s_{ij}`, each is therefore
drawn towards the others by the share

.. math::
    w_{ij} = \frac{k_{ij}}{1 + \sum_{l \ne i} k_{il}^2}, \qquad
    k_{ij} = \frac{1}{1 + \max(0, x_{ij}^2 - 9)} ,

of their distance, which of neighbours far apart is the bias above and of two that are not told
apart gives both their mean.  What it is drawn by is uncertain as well: with
:math:`w_{ii} = 1 - \sum_{j \ne i} w_{ij}`,

.. math::
    \hat\lambda_i - \sum_j w_{ij} (\hat\lambda_i - \hat\lambda_j), \qquad
    \mathrm{se}_i^2 = \sum_j w_{ij}^2 s_{jj}^2
    + 2 \Bigl(\sum_j w_{ij} |\hat\lambda_i - \hat\lambda_j|\Bigr)^2 .

The 9 and the 2 were fitted to Gaussian matrices with two to eight eigenvalues at distances from
none to ten :math:`s_{ij}`, and are no theorem: on other matrices of that kind intervals of 95 %
held 94 to 98.8 % for both ends of a group and for pairs, more for the inner ones of several that
are equal.  Those less than :math:`5\,s_{ij}` from a neighbour (5 % of pairs of equal ones are
further) are called *not resolved*.

No interval of an inner one of many can do better by much.  Of eight, all equal, or four and four
:math:`2\,s_{ij}` apart, or three and five, the samples' laws differ by at most 1/4 in total
variation: no test of 5 % sees the difference in more than 30 % of cases.  Yet the fourth lies at
the mean, :math:`s_{ij}` above it, or :math:`\tfrac34 s_{ij}` below, and the sample's fourth
scatters by :math:`0.7\,s_{ij}`.  An interval that holds all three in 95 % of cases reaches
:math:`2.1\,s_{ij}` to either side, and holds 99.8 % where all are equal.  What is known better is
the mean of those not told apart, :attr:`EigenvalueMeasurement.means`, with an interval that holds
as often as it says.

Not here: eigenvalues of a Hessian, where the matrix is known through its products.

References: [Lawley1956]_, [Anderson1963]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import integer, vector
from fracsde.errors import RecordError
from fracsde.estimators.autocovariance import centre_of, equally_spaced
from fracsde.estimators.chains import MIN_CHAINS, as_trajectory, blocks, measured, named
from fracsde.estimators.eigenvalue_groups import group_means, groups_of
from fracsde.estimators.second_moments import across, along, outer_products
from fracsde.records.measurement import Measurement

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, BoolArray, FloatArray, IntArray
    from fracsde.records.measurement import Quantity
    from fracsde.records.trajectory import Trajectory

__all__ = ["EigenvalueMeasurement", "covariance_eigenvalues"]

_APART = 5.0  # distance of neighbours in units of s_ij from which they are told apart
_GROUPS_APART = 7.0  # the same between groups: 0.2 % of pairs of equal ones are further
_NEAR = 9.0  # its square below which nothing of it is believed
_DRAWN = 2.0  # variance of what a value is drawn by, over its square
_MOST_BIAS = 0.5  # of an eigenvalue, beyond which an expansion in it says nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class EigenvalueMeasurement(Measurement):
    """Measured eigenvalues, largest first, with their directions.

    Parameters
    ----------
    vectors : (coordinate, size) ndarray of float64 [1]
        One unit vector per eigenvalue.
    angle : (size,) ndarray of float64 [rad]
        Standard error of its direction; infinite where a neighbour is not told apart.
    bias : (size,) ndarray of float64 [x^2]
        What was subtracted from the sample's eigenvalue.
    resolved : (size,) ndarray of bool
        Whether it can be told from its neighbours.
    group : (size,) ndarray of int64
        Number of the group that it cannot be told apart from, from 0.
    means : Measurement or None [x^2]
        The mean of each group, ``"2 to 4"`` for one of several; without the last one where ``top``
        cuts it in two, and None where nothing else is left.
    """

    citation: ClassVar[tuple[str, ...]] = ("Lawley1956", "Anderson1963")

    vectors: FloatArray
    angle: FloatArray
    bias: FloatArray
    resolved: BoolArray
    group: IntArray
    means: Measurement | None


def covariance_eigenvalues(
    trajectory: Trajectory | ArrayLike,
    *,
    top: int | None = None,
    about: ArrayLike | None = None,
    quantity: Quantity | None = None,
) -> EigenvalueMeasurement:
    r"""Measure the eigenvalues of the stationary covariance, largest first.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        A stationary run.
    top : int, optional
        How many of the largest; all if not given.  The cost of the errors is that of
        ``top * coordinates`` covariances.
    about : (coordinate,) array_like, optional [x]
        The mean, if it is known.
    quantity : Quantity, optional
        Name and labels of the result, ``"covariance eigenvalue"`` and ranks if not given.

    Returns
    -------
    EigenvalueMeasurement

    Raises
    ------
    RecordError
        If a direction does not vary, the record is so short that the bias exceeds half an
        eigenvalue, or there are fewer than 16 chains and they hold fewer than 50 autocorrelation
        times.

    References
    ----------
    [Lawley1956]_, [Anderson1963]_

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(0.0, [1.0, 2.0, 4.0], (64, 200, 3))
    >>> m = covariance_eigenvalues(draws)
    >>> bool(np.all(abs(m.value - [16.0, 4.0, 1.0]) < 4 * m.stderr)), m.resolved.tolist()
    (True, [True, True, True])

    Of equal ones the mean is known best:

    >>> m = covariance_eigenvalues(draws / [1.0, 2.0, 2.0])
    >>> m.group.tolist(), m.means.quantity.labels
    ([0, 1, 1], ('1', '2 to 3'))
    >>> bool(abs(m.means.value[1] - 1.0) < 4 * m.means.stderr[1] < 4 * m.stderr[1])
    True
    """
    run = as_trajectory(trajectory)
    d = run.dimension
    k = d if top is None else integer("top", top, low=1, high=d)
    label = named(quantity, "covariance eigenvalue", "weight^2", [str(i + 1) for i in range(k)])
    known = None if about is None else vector("about", about, length=d)
    if run.chains >= MIN_CHAINS:
        axes = _directions(across(run, known, outer_products)[0])
        value, stderr, effective = _across(run, known, axes, k)
        method = f"spread across {run.chains} chains"
    else:
        axes = _directions(_pooled(equally_spaced(run), known))
        value, stderr, effective = _along(run, known, axes, k)
        method = f"integrated autocorrelation time of {run.chains * run.draws} draws"
    # Entries: k rows of all pairs, then the diagonal.
    rows, own = stderr[: k * d].reshape(k, d), stderr[k * d :]
    spread, freedom = value[k * d :], effective[k * d :]
    _refuse_flat(spread, own)
    gap = spread[:k, None] - spread
    away = np.abs(gap) > _APART * rows
    away[np.arange(k), np.arange(k)] = True
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(away & (gap != 0.0), rows / gap, 0.0)
    _refuse_bias((rows * ratio).sum(axis=1), spread[:k])
    share = _shares(gap, rows)
    near = np.where(share > 0.1, freedom, np.inf).min(axis=1)
    drawn = np.sum(share * np.abs(gap), axis=1)
    resolved = np.asarray(away.all(axis=1))
    plain = measured(
        label,
        spread[:k] - np.sum(share * gap, axis=1),
        np.sqrt(np.square(share) @ np.square(own) + _DRAWN * np.square(drawn)),
        near,
        f"{method}, no bias",
    )
    group, whole = groups_of(np.abs(gap) > _GROUPS_APART * rows)
    inside = group < whole
    others = np.ones((k, d), dtype=bool)
    others[:, :k] = group[:, None] != group
    outside = (rows * ratio * others).sum(axis=1)
    return EigenvalueMeasurement(
        quantity=label,
        value=plain.value,
        stderr=plain.stderr,
        n_effective=plain.n_effective,
        method=plain.method,
        vectors=axes[:, :k],
        angle=np.where(resolved, np.sqrt(np.square(ratio).sum(axis=1)), np.inf),
        bias=spread[:k] - plain.value,
        resolved=resolved,
        group=group,
        means=group_means(
            run, known, axes[:, :k][:, inside], group[inside], spread[:k] - outside, plain, label
        )
        if whole
        else None,
    )


def _shares(gap: FloatArray, noise: FloatArray) -> FloatArray:
    # How much of each sample eigenvalue is in each value.
    k = len(gap)
    with np.errstate(divide="ignore", over="ignore"):
        square = np.square(gap / noise)
    kernel = 1.0 / (1.0 + np.maximum(0.0, square - _NEAR))
    kernel[np.arange(k), np.arange(k)] = 0.0
    share = kernel / (1.0 + np.square(kernel).sum(axis=1, keepdims=True))
    share[np.arange(k), np.arange(k)] = 1.0 - share.sum(axis=1)
    return np.asarray(share, dtype=np.float64)


def _directions(matrix: FloatArray) -> FloatArray:
    # Eigenvectors by falling eigenvalue, their largest entries positive.
    vectors = np.linalg.eigh(matrix)[1][:, ::-1]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return np.ascontiguousarray(vectors * np.where(largest < 0.0, -1.0, 1.0))


def _pooled(run: Trajectory, about: FloatArray | None) -> FloatArray:
    centre = centre_of(run, about)
    total = np.zeros((run.dimension, run.dimension))
    for part in blocks(run):
        total += outer_products(run.values[part] - centre).sum(axis=0)
    return total / (run.chains * run.draws)


def _across(
    run: Trajectory, about: FloatArray | None, axes: FloatArray, k: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    def products(x: FloatArray) -> FloatArray:
        pairs = np.swapaxes(x[..., :k], 1, 2) @ x
        squares = np.square(x).sum(axis=1)
        return np.concatenate([pairs.reshape(len(x), -1), squares], axis=1)

    return across(run, about, products, axes)


def _along(
    run: Trajectory, about: FloatArray | None, axes: FloatArray, k: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    d = run.dimension
    rotated = run.project(axes, names=[f"direction {i + 1}" for i in range(d)])
    # Pairs of the leading k among themselves are needed once only.
    above, right = np.triu_indices(k, 0, d)
    i, j = np.concatenate([above, np.arange(k, d)]), np.concatenate([right, np.arange(k, d)])
    found = along(rotated, None if about is None else about @ axes, i, j)
    n = len(above)
    entries = []
    for each in found:
        rows = np.empty((k, d))
        rows[above, right] = each[:n]
        rows[:, :k] = np.where(np.tri(k, k, -1) > 0.0, rows[:, :k].T, rows[:, :k])
        diagonal = np.concatenate([rows[:, :k].diagonal(), each[n:]])
        entries.append(np.concatenate([rows.ravel(), diagonal]))
    return entries[0], entries[1], entries[2]


def _refuse_flat(value: FloatArray, stderr: FloatArray) -> None:
    flat = ~(stderr > 0.0) | (value <= 1e-14 * value.max())
    if np.any(flat):
        msg = (
            f"the run does not vary in {int(flat.sum())} of {len(value)} directions, or by less "
            "than the rounding of the largest: drop constant or dependent coordinates, record more "
            "draws than coordinates, or measure coordinates of so unlike scales apart"
        )
        raise RecordError(msg)


def _refuse_bias(bias: FloatArray, value: FloatArray) -> None:
    large = np.abs(bias) > _MOST_BIAS * value
    if np.any(large):
        k = int(np.argmax(large))
        msg = (
            f"eigenvalue {k + 1} of the sample has a bias of about {bias[k] / value[k]:.2g} of its "
            "size: the record is too short for so many coordinates; record longer or more chains, "
            "project on fewer directions, or ask for the `top` ones"
        )
        raise RecordError(msg)
