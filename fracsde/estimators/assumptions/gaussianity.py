r"""Whether the stationary law is Gaussian: cumulants, L-moments and the whole law at once.

For each coordinate, with :math:`z = (x - m)/s`,

.. math::
    \gamma = E z^3, \qquad \kappa = E z^4 - 3, \qquad
    \kappa_L = \frac{\tau_4 - \tau_4^{\mathrm{Gauss}}}{c},
    \quad \tau_4 = \frac{\lambda_4}{\lambda_2},

and for all coordinates together, with :math:`y` the whitened position,

.. math::
    \kappa_M = 3\left( \frac{E|y|^4}{d(d+2)} - 1 \right),

all zero for a Gaussian law.  :math:`\lambda_r` are Hosking's L-moments, which are linear in the
ordered draws and exist wherever the mean does, so that :math:`\kappa_L` decides where the tails are
too heavy for the fourth moment to have a useful error; its unit ``c`` is that of a weakly
non-Gaussian law of excess kurtosis 1, for which :math:`\kappa_L = \kappa`.  Mardia's
:math:`\kappa_M` is the common excess kurtosis of an elliptical law, which every direction shares.

The variance that a linear theory predicts does not need Gaussianity; densities, escape, and the
fluctuation of the loss do.  With :math:`|\kappa| \le 0.2` the variance of a quadratic loss is off
by at most 10 %; with :math:`|\gamma| \le 0.1` the weight beyond two standard deviations on one side
by at most 12 % (to first order of Edgeworth's series).

Few draws show no tails, and give a fourth moment too small together with its error.  No error is
therefore taken below that of a Gaussian law whose correlation falls exponentially, as fast as that
of the squares does,

.. math::
    \sigma_\gamma^2 \ge \frac{6\,\tau_3}{RN}, \quad \sigma_\kappa^2 \ge \frac{24\,\tau_4}{RN},
    \quad \sigma_{\kappa_M}^2 \ge \frac{72\,\tau_4}{d(d+2)\,RN}, \qquad
    \tau_p = \frac{1 + \rho^p}{1 - \rho^p},

:math:`\rho` being read off :math:`\sigma^2(\overline{z^2}) = 2 \tau_2 / (RN)`.

References: [Mardia1970]_, [Hosking1990]_.
"""

from __future__ import annotations

from dataclasses import replace
from math import atan, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import RecordError
from fracsde.estimators.assumptions._deciding import (
    LEVEL,
    decide,
    joined,
    positive_tolerance,
    with_influence,
)
from fracsde.estimators.autocovariance import centre_of
from fracsde.estimators.chains import as_trajectory, coordinate_names

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.records.assumption import AssumptionTest
    from fracsde.records.measurement import Measurement
    from fracsde.records.trajectory import Trajectory

__all__ = ["gaussianity"]

NAME = "Gaussianity"
QUESTION = "Is the stationary law Gaussian along every coordinate, and as a whole?"
KURTOSIS, SKEWNESS = 0.2, 0.1

_GAUSS_L = 30.0 / pi * atan(sqrt(2.0)) - 9.0  # L-kurtosis of a Gaussian law
# Of the law with quantiles z + k (z^3 - 3 z) / 24 the L-kurtosis is _GAUSS_L + _PER_KURTOSIS k, to
# first order in k; tests/estimators/test_assumptions_gaussianity.py integrates it.
_PER_KURTOSIS = 0.04689147479985


def gaussianity(
    trajectory: Trajectory | ArrayLike,
    *,
    kurtosis: float = KURTOSIS,
    skewness: float = SKEWNESS,
    level: float = LEVEL,
) -> AssumptionTest:
    """Ask whether the stationary law is Gaussian.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        A stationary run.
    kurtosis, skewness : float [1]
        Largest excess kurtosis and skewness that do not matter.
    level : float [1]
        Two-sided level of all intervals together.

    Returns
    -------
    AssumptionTest

    Raises
    ------
    RecordError
        If a coordinate is constant, coordinates depend linearly on one another, or there are fewer
        than 16 chains and they hold fewer than 50 autocorrelation times.

    References
    ----------
    [Mardia1970]_, [Hosking1990]_

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> gaussianity(rng.standard_normal((32, 20_000, 1))).verdict.name
    'HOLDS'
    >>> gaussianity(rng.laplace(size=(32, 20_000, 1))).verdict.name
    'FAILS'
    """
    run = as_trajectory(trajectory)
    heavy = positive_tolerance("kurtosis", kurtosis)
    skewed = positive_tolerance("skewness", skewness)
    x = run.values - centre_of(run, None)
    names = coordinate_names(run)
    scale = np.sqrt(np.square(x).mean(axis=(0, 1)))
    _refuse_constant(scale, run, names)
    floors = [_floors(x[..., k] / scale[k], run.times) for k in range(len(names))]
    parts = [
        _of_one(x[..., k] / scale[k], name, run.times, floors[k]) for k, name in enumerate(names)
    ]
    tolerances = [skewed, heavy, heavy] * len(names)
    if len(names) > 1:
        parts.append(_of_all(x / scale, run.times, max(floor[1] for floor in floors)))
        tolerances.append(heavy)
    return decide(
        joined(parts),
        name=NAME,
        question=QUESTION,
        tolerances=tolerances,
        level=level,
        consequence=(
            "variances of a linear theory stay right, but densities, escape and the fluctuation of "
            "the loss do not; see whether the loss is quadratic and the noise constant, and use "
            "`stationary_cumulants` or `gaussian_closure`"
        ),
        method="skewness, excess kurtosis by moments and L-moments, Mardia's kurtosis",
    )


def _refuse_constant(scale: FloatArray, run: Trajectory, names: tuple[str, ...]) -> None:
    floor = np.abs(run.values[0, 0]) * 4 * np.finfo(np.float64).eps
    if np.any(scale <= floor):
        name = names[int(np.argmax(scale <= floor))]
        msg = f"coordinate {name!r} does not vary; drop constant coordinates and frozen parameters"
        raise RecordError(msg)


def _floors(z: FloatArray, times: FloatArray) -> tuple[float, float]:
    # Errors of skewness and kurtosis of a Gaussian law as correlated as z is.
    square = z * z - 1.0
    found = with_influence(["variance"], [0.0], square[..., None], times)
    tau = max(1.0, 0.5 * float(found.stderr[0]) ** 2 * z.size)
    q = (tau - 1.0) / (tau + 1.0)  # rho^2

    def error(power: float, variance: float) -> float:
        return sqrt(variance * (1.0 + q**power) / ((1.0 - q**power) * z.size))

    return error(1.5, 6.0), error(2.0, 24.0)


def _at_least(found: Measurement, floors: ArrayLike) -> Measurement:
    return replace(found, stderr=np.maximum(found.stderr, np.asarray(floors)))


def _of_one(
    z: FloatArray, name: str, times: FloatArray, floors: tuple[float, float]
) -> Measurement:
    # Skewness and excess kurtosis of one standardised coordinate (chain, draw).
    square = z * z
    third, fourth = float((square * z).mean()), float((square * square).mean())
    skewed = square * z - third - 3.0 * z - 1.5 * third * (square - 1.0)
    heavy = square * square - fourth - 4.0 * third * z - 2.0 * fourth * (square - 1.0)
    ratio, influence = l_kurtosis(z)
    labels = (
        f"skewness of {name!r}",
        f"excess kurtosis of {name!r}",
        f"excess kurtosis of {name!r} by L-moments",
    )
    value = [third, fourth - 3.0, (ratio - _GAUSS_L) / _PER_KURTOSIS]
    series = np.stack([skewed, heavy, influence / _PER_KURTOSIS], axis=-1)
    return _at_least(with_influence(labels, value, series, times), [*floors, 0.0])


def l_kurtosis(x: FloatArray) -> tuple[float, FloatArray]:
    r"""Return Hosking's :math:`\lambda_4 / \lambda_2` and its influence at every draw.

    Returns
    -------
    float and ndarray of the shape of ``x``
    """
    order = np.argsort(x, axis=None)
    ordered = x.ravel()[order]
    count = len(ordered)

    def moment(r: int) -> tuple[float, FloatArray]:
        # The weight is the shifted Legendre polynomial; its influence has it for a derivative.
        at = _legendre(r, (np.arange(count) + 0.5) / count)
        value = float((ordered * at).mean())
        slope = np.diff(ordered) * _legendre(r, np.arange(1, count) / count)
        series = np.concatenate([[0.0], np.cumsum(slope)])
        return value, series - series.mean()

    second, by_second = moment(1)
    fourth, by_fourth = moment(3)
    ratio = fourth / second
    influence = np.empty(count)
    influence[order] = (by_fourth - ratio * by_second) / second
    return ratio, influence.reshape(x.shape)


def _legendre(degree: int, at: FloatArray) -> FloatArray:
    u = 2.0 * at - 1.0
    return u if degree == 1 else 0.5 * u * (5.0 * u * u - 3.0)


def _of_all(z: FloatArray, times: FloatArray, floor: float) -> Measurement:
    # Mardia's kurtosis of standardised coordinates (chain, draw, coordinate).
    d = z.shape[-1]
    covariance = np.tensordot(z, z, axes=((0, 1), (0, 1))) / (z.shape[0] * z.shape[1])
    values, vectors = np.linalg.eigh(covariance)
    if values[0] <= 1e-10 * values[-1]:
        msg = (
            "some coordinates are linear combinations of others, so the law has no density in "
            f"them; keep at most {int(np.sum(values > 1e-10 * values[-1]))} of {d} coordinates"
        )
        raise RecordError(msg)
    y = z @ (vectors / np.sqrt(values))
    square = np.square(y).sum(axis=-1)
    fourth = float(np.square(square).mean())
    weighted = y * square[..., None]
    tilt = weighted.mean(axis=(0, 1))
    second = np.tensordot(weighted, y, axes=((0, 1), (0, 1))) / square.size
    quadratic = np.einsum("rti,ij,rtj->rt", y, second, y, optimize=True) - np.trace(second)
    influence = np.square(square) - fourth - 2.0 * quadratic - 4.0 * (y @ tilt)
    unit = 3.0 / (d * (d + 2.0))
    label = "excess kurtosis of the law as a whole (Mardia)"
    found = with_influence([label], [unit * fourth - 3.0], (unit * influence)[..., None], times)
    return _at_least(found, floor * sqrt(unit))
