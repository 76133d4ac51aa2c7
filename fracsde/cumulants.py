r"""Moments and cumulants of the stationary law of one weight, to any order, without a limit.

**Noise that does not depend on the state** enters a linear filter.  With the response
:math:`\psi_j` of the weight to a unit kick ``j`` steps ago (:math:`\psi_j = \phi^j` without
momentum, :math:`\phi = 1 - \eta(h + \lambda)`) and cumulants :math:`\kappa_n` of one example's
gradient,

.. math::
    \kappa_n(w) = \frac{(-\eta)^n\,\kappa_n}{B^{n-1}} \sum_{j\ge0} \psi_j^n
    = \frac{(-\eta)^n\,\kappa_n}{B^{n-1}\,(1 - \phi^n)} \quad (\mu = 0) .

**Noise of quadratic losses** depends on the state.  With the curvature :math:`c_B` and the gradient
:math:`g_B` of a batch at the minimum, a step is affine with random coefficients, so moments of
degree ``n`` of the state :math:`(w - w^*, v)` obey linear equations in those of degree up to ``n``;
without momentum, in :math:`w - w^*`,

.. math::
    \bigl(1 - \mathbb E M^n\bigr)\,\mathbb E w^n = \sum_{j<n} \binom nj\,
    \mathbb E[M^j q^{n-j}]\,\mathbb E w^j, \qquad M = 1 - \eta c_B, \quad q = -\eta g_B .

An even moment is finite exactly when the homogeneous part of its degree has a spectral radius below
one, an odd one at least when the next even one is.

Not here: more than one weight; covariances there are :func:`~fracsde.stationary_covariance`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, ClassVar, NoReturn

import numpy as np

from fracsde._check import finite_array, integer
from fracsde._tails.joint_moments import batch_moments
from fracsde._tails.responses import polynomial_product, response_sum
from fracsde.errors import InputError, OutOfRangeError, ShapeError, UnstableError, UnsupportedError
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.provenance import Provenance, provenance
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import FloatArray
    from fracsde.problems.sgd_steps import StepRule

__all__ = ["StationaryCumulants", "stationary_cumulants"]

_HIGHEST = 12
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, eq=False)
class StationaryCumulants:
    """Cumulants of the stationary law of one weight.

    Parameters
    ----------
    cumulants : (order,) float64 [weight^n]
        Those of order 1, 2, ...: mean, variance, third, fourth, ...  Infinite where the even moment
        is; NaN where an odd moment lies between a finite even one and an infinite one.
    relative_error : float [1]
        Bound on the rounding error of each cumulant where the noise does not depend on the state,
        else of the moments about the minimum that they are made of, in units of these or of the
        standard deviation to their power.
    finite_order : int
        Largest even order asked about whose moment is finite.
    status : Status
        ``UNSTABLE`` if not even the variance is finite.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Liu2021", "Ziyin2022")

    cumulants: FloatArray
    relative_error: float
    finite_order: int
    status: Status
    provenance: Provenance

    @property
    def mean(self) -> float:
        """Mean of the weight."""
        return float(self.cumulants[0])

    @property
    def variance(self) -> float:
        """Variance of the weight."""
        return float(self.cumulants[1])

    @property
    def skewness(self) -> float:
        """Third cumulant over the variance to the power 3/2; zero for a symmetric law."""
        return self.standardised(3)

    @property
    def excess_kurtosis(self) -> float:
        """Fourth cumulant over the squared variance; zero for a Gaussian law."""
        return self.standardised(4)

    def standardised(self, order: int) -> float:
        """Return a cumulant in units of the standard deviation.

        Parameters
        ----------
        order : int
            Up to the order that was computed.

        Returns
        -------
        float
            NaN where the variance is zero or infinite.
        """
        n = integer("order", order, low=1, high=len(self.cumulants))
        variance = self.variance
        if not 0.0 < variance < np.inf:
            return float("nan")
        return float(self.cumulants[n - 1] / variance ** (0.5 * n))


def stationary_cumulants(
    sgd: SGDNearMinimum | QuadraticLossSGD,
    *,
    order: int = 4,
    noise_cumulants: Sequence[float] | None = None,
    throw: bool = True,
) -> StationaryCumulants:
    """Compute the cumulants of the stationary law of one weight.

    Parameters
    ----------
    sgd : SGDNearMinimum, LeastSquaresSGD, GaussianLeastSquaresSGD or QuadraticSGD
        With one weight.
    order : int
        Largest order, from 2 to 12.
    noise_cumulants : sequence of float, optional [loss^n/weight^n]
        Of order 3, 4, ... of one example's gradient, where the noise does not depend on the
        state; zero, as for Gaussian noise, where not given.
    throw : bool
        Whether to raise where the variance is infinite.

    Returns
    -------
    StationaryCumulants

    Raises
    ------
    InputError
        If the problem is of another kind, or noise is given twice.
    ShapeError
        If there is more than one weight.
    UnsupportedError
        If steps are correlated, or cumulants are given for batches without replacement.
    UnstableError
        If the variance is infinite.

    Examples
    --------
    Exponential noise of variance 1, skewness 2 and excess kurtosis 6, halved at every step:

    >>> sgd = SGDNearMinimum(
    ...     hessian=[[1.0]], gradient_noise=[[1.0]], learning_rate=0.5, batch_size=1
    ... )
    >>> stationary_cumulants(sgd, noise_cumulants=[2.0, 6.0]).cumulants.round(4)
    array([ 0.    ,  0.3333, -0.2857,  0.4   ])
    """
    top = integer("order", order, low=2, high=_HIGHEST)
    if not isinstance(sgd, (SGDNearMinimum, QuadraticLossSGD)):
        msg = (  # type: ignore[unreachable]  # callers need not check types
            "`sgd` must be SGDNearMinimum or SGD on quadratic losses, got " + type(sgd).__name__
        )
        raise InputError(msg)
    if sgd.dimension != 1:
        msg = (
            f"cumulants are computed for one weight, got {sgd.dimension}; project onto a direction "
            "that the noise does not couple to the others, or use stationary_covariance"
        )
        raise ShapeError(msg)
    if isinstance(sgd, SGDNearMinimum):
        with np.errstate(over="ignore", invalid="ignore"):
            cumulants, error = _filtered(sgd, top, noise_cumulants)
        if sgd.is_stable() and not np.isfinite(cumulants).all():
            _refuse_size()
    elif noise_cumulants is not None:
        msg = "`noise_cumulants` follow from the data of quadratic losses; leave them out"
        raise InputError(msg)
    else:
        moments, error = _affine(sgd, top)
        cumulants = np.append(0.0, _cumulants(moments))
    finite = int(np.max(np.flatnonzero(np.isfinite(cumulants[::2])))) * 2
    stable = finite >= 2
    if throw and not stable:
        limit = sgd.critical_learning_rate()
        msg = (
            f"the variance is infinite: learning_rate={sgd.learning_rate:g} is not below "
            f"{limit:g}, where it ceases to be finite"
        )
        raise UnstableError(msg)
    cumulants[1] = float(sgd.minimum[0]) if stable else np.nan
    return StationaryCumulants(
        cumulants=cumulants[1 : top + 1],
        relative_error=error,
        finite_order=finite,
        status=Status.SUCCESS if stable else Status.UNSTABLE,
        provenance=provenance(sgd, top, noise_cumulants),
    )


def _filtered(
    sgd: SGDNearMinimum, order: int, noise_cumulants: Sequence[float] | None
) -> tuple[FloatArray, float]:
    # Cumulants about the minimum (order + 1,) of filtered noise.
    given = [] if noise_cumulants is None else noise_cumulants
    high = finite_array("noise_cumulants", given, ndim=1)
    if sgd.sampling == "shuffled":
        msg = "steps of shuffled epochs are correlated and have no such filter; see `sampling`"
        raise UnsupportedError(msg)
    if np.any(high) and sgd.sampling != "with_replacement":
        msg = (
            "cumulants of batches without replacement need the data, not `noise_cumulants` alone; "
            "use QuadraticSGD with equal Hessians, or sampling='with_replacement'"
        )
        raise UnsupportedError(msg)
    if not sgd.is_stable():
        return np.array([0.0, np.nan] + [np.inf, np.nan] * order)[: order + 1], float("nan")
    rate = sgd.learning_rate
    if sgd.preconditioner is not None:
        rate *= float(np.ravel(sgd.preconditioner)[0])
    pull = rate * (float(sgd.hessian[0, 0]) + sgd.weight_decay)
    cumulants, error = np.zeros(order + 1), 0.0
    for n in range(2, order + 1):
        if n == 2:
            kick = rate**2 * float(sgd.batch_noise[0, 0])
        elif n - 3 < len(high):
            kick = (-rate) ** n * float(high[n - 3]) / float(sgd.batch_size) ** (n - 1)
        else:
            kick = 0.0
        response, bound = response_sum(sgd.rule, pull, n)
        cumulants[n] = kick * response
        # Of cumulants that are not zero; a kick is a product of n rounded factors.
        error = max(error, bound + 4.0 * n * _EPS) if kick else error
    return cumulants, error


def _affine(sgd: QuadraticLossSGD, order: int) -> tuple[FloatArray, float]:
    # Moments about the minimum (order + 1,) where the noise depends on the state.
    modes = sgd.second_moments
    even = order + order % 2
    unmoved = np.zeros(order + 1)
    unmoved[0] = 1.0
    if modes.basis.shape[1] == 0:
        return unmoved, 0.0
    scale = float(modes.basis[0, 0])
    try:
        joint = batch_moments(
            modes.noise,
            decay=sgd.about_minimum.decay * scale**2,
            batch=sgd.batch_size,
            order=even,
            replace=sgd.sampling == "with_replacement",
        )
    except OverflowError:
        _refuse_size()
    noise = float(modes.frozen()[0, 0])
    if not noise > 0.0:  # interpolated data, or batches that hold all of it
        return unmoved, 0.0
    # In units in which one kick of the gradient is of order one.
    unit = sgd.learning_rate * np.sqrt(noise)
    powers = np.arange(even + 1)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        joint = joint * sgd.learning_rate ** np.add.outer(powers, powers) / unit**powers
        back = (unit * scale) ** powers
    used = np.add.outer(powers, powers) <= even
    if not (np.isfinite(joint[used]).all() and np.isfinite(back).all()):
        _refuse_size()
    known: list[FloatArray] = [np.ones(1)]  # moments of w^(n-i) v^i, by degree
    errors: list[FloatArray] = [np.zeros(1)]
    moments = np.full(even + 1, np.nan)
    moments[0] = 1.0
    for n in range(1, even + 1):
        lost, source = _equations(sgd.rule, joint, known, n)
        if n % 2 == 0 and _radius(lost) >= 1.0:
            moments[n] = np.inf
            moments[n - 1] = np.nan
            moments[n + 2 :: 2] = np.inf
            break
        known.append(np.asarray(np.linalg.solve(lost, source), dtype=np.float64))
        errors.append(_rounding(sgd.rule, joint, known, errors, lost))
        moments[n] = known[n][0]
    return moments[: order + 1] * back[: order + 1], _relative(moments, errors)


def _rounding(
    rule: StepRule,
    joint: FloatArray,
    known: list[FloatArray],
    errors: list[FloatArray],
    lost: FloatArray,
) -> FloatArray:
    # Bounds on the rounding error of the last moments: entry by entry, since slow modes have
    # equations that are badly scaled, but whose small entries are known as well as large ones.
    n = len(known) - 1
    moments = [np.abs(part) for part in known]
    sizes, source = _equations(rule, joint, moments, n, sizes=True)
    _, inherited = _equations(rule, joint, errors, n, sizes=True)
    fresh = 16.0 * n * _EPS * ((sizes + np.abs(lost)) @ moments[n] + source)
    return np.asarray(np.abs(np.linalg.inv(lost)) @ (fresh + inherited))


def _relative(moments: FloatArray, errors: list[FloatArray]) -> float:
    # In units of the moment, or of the standard deviation to its power: odd ones may vanish.
    if len(errors) < 3:
        return float("nan")
    n = np.arange(1, len(errors))
    units = np.maximum(np.abs(moments[n]), moments[2] ** (0.5 * n))
    return float(max(error[0] / unit for error, unit in zip(errors[1:], units, strict=True)))


def _refuse_size() -> NoReturn:
    msg = "moments of this order overflow; choose other units, or ask for a lower `order`"
    raise OutOfRangeError(msg)


def _radius(lost: FloatArray) -> float:
    return float(np.abs(np.linalg.eigvals(np.eye(len(lost)) - lost)).max())


def _equations(
    rule: StepRule, joint: FloatArray, known: list[FloatArray], n: int, *, sizes: bool = False
) -> tuple[FloatArray, FloatArray]:
    r"""Return ``I - M_n`` and what lower degrees add, for monomials ``w^(n-i) v^i``.

    With :math:`u = \eta (c_B w + g_B)` the state moves to :math:`w' = w + b v - a u`,
    :math:`v' = \mu v - c u`; powers of ``u`` are averaged over batches.  With ``sizes`` the sums of
    the absolute values of what is rounded.

    Returns
    -------
    (n + 1, n + 1) float64, (n + 1,) float64
    """
    a, b, c = rule.gains
    mu = rule.momentum
    size = n + 1 if rule.has_velocity else 1
    lost, source = np.zeros((size, size)) if sizes else np.eye(size), np.zeros(size)
    for i in range(size):
        for r in range(n - i + 1):
            for s in range(i + 1):
                ways = comb(n - i, r) * comb(i, s) * (-a) ** r * (-c) ** s
                if ways == 0.0:
                    continue
                # (w + b v)^(n-i-r) (mu v)^(i-s), then w^l of u^(r+s).
                rest = polynomial_product(np.array([1.0, b]), n - i - r, np.array([0.0, mu]), i - s)
                rest = rest[:size]
                for left in range(r + s + 1):
                    mean = ways * comb(r + s, left) * joint[left, r + s - left]
                    mean = -abs(mean) if sizes else mean
                    degree = n - r - s + left
                    if degree == n:
                        lost[i, : len(rest)] -= mean * rest
                    elif sizes:
                        source[i] -= mean * float(known[degree][: len(rest)] @ rest)
                    else:
                        source[i] += mean * float(known[degree][: len(rest)] @ rest)
    if sizes:
        lost[0, 0] -= 1.0  # the weight itself is kept without rounding
    return lost, source


def _cumulants(moments: FloatArray) -> FloatArray:
    # Of order 1, 2, ...; an infinite even moment makes an infinite cumulant.
    order = len(moments) - 1
    cumulants = np.full(order + 1, np.nan)
    for n in range(1, order + 1):
        if not np.isfinite(moments[n]):
            cumulants[n] = moments[n]
            continue
        lower = sum(comb(n - 1, k - 1) * cumulants[k] * moments[n - k] for k in range(1, n))
        cumulants[n] = moments[n] - lower
    return cumulants[1:]
