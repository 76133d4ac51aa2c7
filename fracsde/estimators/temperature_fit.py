r"""From several temperatures to the limit: a learning coefficient with its multiplicity.

.. math::
    t\,E_t[L - L(w^*)] \simeq \lambda - \frac{m - 1}{\log t + c},
    \qquad
    t = n\beta,

the leading terms of :math:`-d \log Z / d \log t`.  A single pole is a constant.  Where values
bend, they do not tell what bends them: a pole of order ``m``, or ``m`` poles nearby, whose
coefficients differ.  The coefficient of a bend is therefore stated by the profile of the likelihood
over all of them, see ``fracsde/estimators/_learning/poles.py``.  Whether values bend at all was
seen by looking, and what was chosen by looking has no error of its own, so that the coefficient is
the mean of both with Akaike's weights, and its error holds their distance [BurnhamAnderson2002]_,

.. math::
    \hat\lambda = \sum_j w_j \lambda_j, \qquad
    \sigma^2 = \sum_j w_j \bigl[\sigma_j^2 + (\lambda_j - \hat\lambda)^2\bigr], \qquad
    w_j \propto e^{-A_j / 2}, \quad A_j = \chi^2_j + 2 k_j ,

with :math:`k_j` numbers fitted: one for the constant, three for a bend.  A likelihood with two
humps is wider at 99.9 % than its width at 95 % says: the degrees of freedom behind the error,
``n_effective``, are those of a Student deviate with both widths.

Whether even the best of them fits is told by its misfit: values that fall towards the limit are in
none of them.  Where only three poles or more fit, what fits takes their distances for equal and
leaves out the lower powers of the logarithm: others fit as well, with other coefficients, so that
the interval is doubted.  It is doubted as well where more poles than two fit better by 1.5 units of
chi square, long before two are excluded: values of one or two poles do so in at most 6 % of runs
with errors of one to three per cent and in up to a fifth with errors of a thousandth, those of four
equal poles with errors of three per cent in 83 % and more.

References: [Watanabe2009]_, [BurnhamAnderson2002]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, special, stats

from fracsde._check import finite_array, integer
from fracsde.backends.philox import seed_key
from fracsde.errors import InputError, OutOfRangeError, ShapeError
from fracsde.estimators._learning.poles import Data, Profile, profile
from fracsde.estimators.learning_coefficient import learning_coefficient
from fracsde.records.measurement import Measurement, Quantity
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, RandomState
    from fracsde.estimators.learning_result import LearningCoefficient

__all__ = ["MultiplicityFit", "TemperatureFit", "fit_temperatures", "learning_coefficient_at"]

_LEVEL, _SIMPLE_LEVEL = 1e-3, 1e-2
_MOST_GAIN = 1.5  # of chi square, by more than two poles
_INNER = 0.975
_LEVELS = (_INNER, 0.9995)  # of two-sided intervals of 95 % and 99.9 %
_BENT = 3  # numbers that a bend fits: coefficient, offset, and gap or multiplicity


@dataclass(frozen=True, kw_only=True)
class MultiplicityFit:
    """The best fit of one multiplicity.

    Parameters
    ----------
    multiplicity : int
        Which: the number of poles.
    value, stderr : float
        The coefficient.
    offset : float
        ``c``; NaN for multiplicity 1.
    chi_squared : float
        Sum of squared residuals in standard errors, that of the offset from its usual value among
        them.
    parameters : int
        How many were fitted.
    gap : float [1]
        Distance between poles; 0 where they are equal.
    """

    multiplicity: int
    value: float
    stderr: float
    offset: float
    chi_squared: float
    parameters: int
    gap: float = 0.0

    @property
    def criterion(self) -> float:
        """Akaike's: chi square plus twice the number of parameters."""
        return self.chi_squared + 2.0 * self.parameters


@dataclass(frozen=True, kw_only=True, eq=False)
class TemperatureFit(Measurement):
    """A learning coefficient at the limit of low temperature.

    Its interval is ``value`` plus and minus ``stderr`` times the quantile of Student's law with
    ``n_effective - 1`` degrees of freedom.  Those are few where the likelihood has two humps, and
    ``stderr`` is then a scale that means little without them.

    Parameters
    ----------
    multiplicity : int
        Of the best fit.
    gap : float [1]
        Distance between the poles of the best fit; 0 where they are equal.
    fits : tuple of MultiplicityFit
        All multiplicities, of equal poles and of distinct ones, the best first.
    bent : float [1]
        Weight of all bends against a constant.
    misfit : float [1]
        Chi square of the best fit over its degrees of freedom.
    misfit_chance : float [1]
        Chance of a misfit as large if the fit were right.
    two_poles_chance : float [1]
        The same of the best fit of at most two poles.
    more_poles_gain : float [1]
        By how much chi square is smaller with more than two poles; 0 where none were tried.
    n_betas : (temperature,) float64 [1]
        Inverse temperatures.
    values, stderrs : (temperature,) float64 [1]
        What was fitted.
    measurements : tuple of LearningCoefficient
        Where they come from; empty for given numbers.
    """

    multiplicity: int
    gap: float
    fits: tuple[MultiplicityFit, ...]
    bent: float
    misfit: float
    misfit_chance: float
    two_poles_chance: float
    more_poles_gain: float
    n_betas: FloatArray
    values: FloatArray
    stderrs: FloatArray
    measurements: tuple[LearningCoefficient, ...] = ()

    @property
    def status(self) -> Status:
        """``INACCURATE`` where nothing fits or more than two poles do better; else as measured."""
        three = self.two_poles_chance < _SIMPLE_LEVEL or self.more_poles_gain > _MOST_GAIN
        if self.misfit_chance < _LEVEL or three:
            return Status.INACCURATE
        bad = [found.status for found in self.measurements if not found.status.ok]
        return bad[0] if bad else Status.SUCCESS


def fit_temperatures(
    n_betas: ArrayLike,
    values: ArrayLike,
    stderrs: ArrayLike,
    *,
    n_effective: float = np.inf,
    most: int = 4,
) -> TemperatureFit:
    """Fit the limit of low temperature to coefficients at several.

    Parameters
    ----------
    n_betas : (temperature,) array_like [1]
        Inverse temperatures, at least three distinct ones above 1.
    values, stderrs : (temperature,) array_like [1]
        Coefficients there and their independent standard errors.
    n_effective : float
        Independent values behind each standard error.
    most : int
        Largest multiplicity tried.

    Returns
    -------
    TemperatureFit

    Raises
    ------
    ShapeError
        If there are fewer than three, or the lengths differ.
    OutOfRangeError
        If an inverse temperature is not above 1, or a standard error is not positive.
    InputError
        If two temperatures are the same.

    Examples
    --------
    >>> from fracsde.estimators.known_coefficients import monomial_at_temperature
    >>> t = np.geomspace(1e2, 1e4, 5)
    >>> fit = fit_temperatures(t, [monomial_at_temperature(x, [1, 1]) for x in t], np.full(5, 1e-4))
    >>> fit.multiplicity, round(fit.fits[0].value, 3)
    (2, 0.5)

    Two poles close to one another fit as well, and their coefficient is smaller:

    >>> low, high = fit.value[0] + 1.96 * fit.stderr[0] * np.array([-1, 1])
    >>> bool(0.4 < low < 0.47), bool(0.499 < high < 0.51)
    (True, True)
    """
    t = finite_array("n_betas", n_betas, ndim=1)
    y = finite_array("values", values, shape=t.shape)
    errors = finite_array("stderrs", stderrs, shape=t.shape)
    if len(t) < 3:
        msg = f"a coefficient and an offset need at least three temperatures, got {len(t)}"
        raise ShapeError(msg)
    if not t.min() > 1.0 or not errors.min() > 0.0:
        msg = (
            f"`n_betas` must be above 1 and `stderrs` positive, got {t.min():g} and "
            f"{errors.min():g} at least"
        )
        raise OutOfRangeError(msg)
    if len(np.unique(t)) < len(t):
        msg = "`n_betas` must be distinct; average repeated measurements first"
        raise InputError(msg)
    # A Student deviate of few degrees is wider than its standard error says.
    degrees = n_effective - 1.0
    wide = np.sqrt(degrees / (degrees - 2.0)) if 2.0 < degrees < np.inf else 1.0
    data = Data(log_t=np.log(t), values=y, sigma=errors * wide)
    highest = integer("most", most, low=1)
    constant, bends = _constant(data), profile(data, highest) if highest > 1 else None
    fits = sorted((constant, *_fits(bends)), key=lambda fit: fit.criterion)
    best = fits[0]
    simple = max(_chance(fit, len(t)) for fit in fits if fit.multiplicity <= 2)
    least = min(fit.chi_squared for fit in fits if fit.multiplicity <= 2)
    gain = max((least - fit.chi_squared for fit in fits if fit.multiplicity > 2), default=0.0)
    value, stderr, freedom, bent = _of_both(constant, bends)
    poles = (
        f"multiplicity {best.multiplicity}" if best.gap == 0.0 else f"poles {best.gap:.3g} apart"
    )
    return TemperatureFit(
        quantity=Quantity(name="local learning coefficient"),
        value=np.array([value]),
        stderr=np.array([stderr]),
        n_effective=np.array([min(n_effective, freedom + 1.0, 1e9)]),
        method=f"{len(t)} temperatures, {poles}",
        multiplicity=best.multiplicity,
        gap=best.gap,
        fits=tuple(fits),
        bent=bent,
        misfit=best.chi_squared / _free(best, len(t)),
        misfit_chance=_chance(best, len(t)),
        two_poles_chance=simple,
        more_poles_gain=gain,
        n_betas=t,
        values=y,
        stderrs=errors,
    )


def learning_coefficient_at(
    loss: Any, w: ArrayLike, n_betas: ArrayLike, *, rng: RandomState, most: int = 4, **options: Any
) -> TemperatureFit:
    """Estimate a learning coefficient at several temperatures, and its limit.

    Parameters
    ----------
    loss : Network, TorchLoss, FunctionLoss or the like
        The loss.
    w : (P,) array_like [weight]
        A minimum.
    n_betas : (temperature,) array_like [1]
        Inverse temperatures, at least three.
    rng : int, SeedSequence or Generator
        Seed; each temperature has random numbers of its own.
    most : int
        Largest multiplicity tried.
    **options : object
        Passed to :func:`~fracsde.estimators.learning_coefficient`.

    Returns
    -------
    TemperatureFit

    Raises
    ------
    ShapeError
        If there are fewer than three temperatures.

    Examples
    --------
    >>> from fracsde.estimators import FunctionLoss
    >>> bowl = FunctionLoss(value=lambda w: 0.5 * (w * w).sum(1), gradient=lambda w: w,
    ...                     parameters=2, examples=1000, vectorized=True)
    >>> fit = learning_coefficient_at(bowl, np.zeros(2), [100.0, 300.0, 1000.0], rng=1,
    ...                               localization=0.0, draws=200, burn_in=200)
    >>> fit.multiplicity, round(float(fit.value[0]), 3)
    (1, 1.0)
    """
    t = finite_array("n_betas", n_betas, ndim=1)
    if len(t) < 3:
        msg = f"a coefficient and an offset need at least three temperatures, got {len(t)}"
        raise ShapeError(msg)
    words = [int(word) for word in seed_key(rng, "rng")]
    found = tuple(
        learning_coefficient(
            loss, w, n_beta=float(x), rng=np.random.SeedSequence([*words, number]), **options
        )
        for number, x in enumerate(t)
    )
    fit = fit_temperatures(
        t,
        [float(one.value[0]) for one in found],
        [float(one.stderr[0]) for one in found],
        n_effective=min(float(one.n_effective[0]) for one in found),
        most=most,
    )
    fields = {name: getattr(fit, name) for name in fit.__dataclass_fields__}
    return TemperatureFit(**(fields | {"measurements": found}))


def _free(fit: MultiplicityFit, temperatures: int) -> int:
    return temperatures + (fit.multiplicity > 1) - fit.parameters  # the offset is a datum too


def _chance(fit: MultiplicityFit, temperatures: int) -> float:
    return float(stats.chi2.sf(fit.chi_squared, _free(fit, temperatures)))


def _constant(data: Data) -> MultiplicityFit:
    value, chi = data.limits(np.zeros_like(data.values))
    return MultiplicityFit(
        multiplicity=1,
        value=float(value),
        stderr=data.stderr,
        offset=np.nan,
        chi_squared=float(chi),
        parameters=1,
    )


def _fits(bends: Profile | None) -> tuple[MultiplicityFit, ...]:
    return tuple(
        MultiplicityFit(
            multiplicity=bend.multiplicity,
            value=bend.value,
            stderr=bend.stderr,
            offset=bend.offset,
            chi_squared=bend.chi_squared,
            parameters=3 if bend.gap > 0.0 else 2,
            gap=bend.gap,
        )
        for bend in (() if bends is None else bends.bends)
    )


def _of_both(constant: MultiplicityFit, bends: Profile | None) -> tuple[float, float, float, float]:
    # Mean over the constant and the bends with Akaike's weights, its error, the degrees of freedom
    # of a Student deviate that is as wide at 95 % and at 99.9 %, and the weight of the bends.
    if bends is None:
        return constant.value, constant.stderr, np.inf, 0.0
    excess = bends.chi_squared + 2.0 * _BENT - constant.criterion
    bent = float(special.expit(-0.5 * excess))
    value = (1.0 - bent) * constant.value + bent * bends.value

    def error(of_bends: float) -> float:
        square = (1.0 - bent) * (constant.stderr**2 + (constant.value - value) ** 2)
        square += bent * (of_bends**2 + (bends.value - value) ** 2)
        return float(square**0.5)

    near = error(bends.stderr)
    degrees = _degrees(error(bends.far_stderr) / near)
    return (
        value,
        near * float(special.ndtri(_INNER) / special.stdtrit(degrees, _INNER)),
        degrees,
        bent,
    )


def _degrees(ratio: float) -> float:
    # Of the Student deviate whose quantile of 99.9 %, over that of 95 %, is so many times that of a
    # Gaussian one.
    def excess(log_degrees: float) -> float:
        near, far = (special.stdtrit(np.exp(log_degrees), q) / special.ndtri(q) for q in _LEVELS)
        return float(np.log(far / near) - np.log(ratio))

    few, many = 0.0, np.log(1e6)
    if excess(many) >= 0.0:
        return np.inf
    return float(np.exp(optimize.brentq(excess, few, many))) if excess(few) > 0.0 else 1.0
