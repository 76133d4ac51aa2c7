r"""From several temperatures to the limit: a learning coefficient with its multiplicity.

.. math::
    t\,E_t[L - L(w^*)] \simeq \lambda - \frac{m - 1}{\log t + c},
    \qquad t = n\beta,

the leading terms of :math:`-d \log Z / d \log t`.  For every multiplicity ``m`` the two numbers
:math:`\lambda` and ``c`` (for ``m = 1`` the first alone) are fitted by weighted least squares, and
the smallest of chi square plus twice their count, :math:`A_m`, decides between multiplicities.
What was chosen by looking has no error of its own, so that the coefficient is the mean over all of
them with Akaike's weights, and its error holds their spread [BurnhamAnderson2002]_,

.. math::
    \hat\lambda = \sum_m w_m \lambda_m, \qquad
    \sigma^2 = \sum_m w_m \bigl[\sigma_m^2 + (\lambda_m - \hat\lambda)^2\bigr], \qquad
    w_m \propto e^{-A_m / 2} .

Whether even the best of them fits is told by its misfit: a power of ``t``, as of a second pole
nearby or of the localization, is in none of them, and then the interval is wrong.

References: [Watanabe2009]_, [BurnhamAnderson2002]_.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats
from scipy.optimize import minimize_scalar

from fracsde._check import finite_array, integer
from fracsde.backends.philox import seed_key
from fracsde.errors import InputError, OutOfRangeError, ShapeError
from fracsde.estimators.learning_coefficient import learning_coefficient
from fracsde.records.measurement import Measurement, Quantity
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, RandomState
    from fracsde.estimators.learning_result import LearningCoefficient

__all__ = ["MultiplicityFit", "TemperatureFit", "fit_temperatures", "learning_coefficient_at"]

_LEVEL = 1e-3
_NEAR, _FAR = 0.05, 1e3  # range of log t + c at the highest temperature


@dataclass(frozen=True, kw_only=True)
class MultiplicityFit:
    """The best fit of one multiplicity.

    Parameters
    ----------
    multiplicity : int
        Which.
    value, stderr : float
        The coefficient.
    offset : float
        ``c``; NaN for multiplicity 1.
    chi_squared : float
        Sum of squared residuals in standard errors.
    parameters : int
        How many were fitted.
    """

    multiplicity: int
    value: float
    stderr: float
    offset: float
    chi_squared: float
    parameters: int

    @property
    def criterion(self) -> float:
        """Akaike's: chi square plus twice the number of parameters."""
        return self.chi_squared + 2.0 * self.parameters


@dataclass(frozen=True, kw_only=True, eq=False)
class TemperatureFit(Measurement):
    """A learning coefficient at the limit of low temperature.

    Parameters
    ----------
    multiplicity : int
        Of the best fit.
    fits : tuple of MultiplicityFit
        All multiplicities, the best first.
    misfit : float [1]
        Chi square of the best fit over its degrees of freedom.
    misfit_chance : float [1]
        Chance of a misfit as large if the fit were right.
    n_betas : (temperature,) float64 [1]
        Inverse temperatures.
    values, stderrs : (temperature,) float64 [1]
        What was fitted.
    measurements : tuple of LearningCoefficient
        Where they come from; empty for given numbers.
    """

    multiplicity: int
    fits: tuple[MultiplicityFit, ...]
    misfit: float
    misfit_chance: float
    n_betas: FloatArray
    values: FloatArray
    stderrs: FloatArray
    measurements: tuple[LearningCoefficient, ...] = ()

    @property
    def status(self) -> Status:
        """``INACCURATE`` where no multiplicity fits, else the worst of the measurements."""
        if self.misfit_chance < _LEVEL:
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
    >>> fit.multiplicity, round(float(fit.value[0]), 4)
    (2, 0.5)
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
    log_t, sigma = np.log(t), errors * wide
    highest = integer("most", most, low=1)
    fits = [_fit(log_t, y, sigma, m) for m in range(1, highest + 1)]
    fits.sort(key=lambda fit: fit.criterion)
    best = fits[0]
    free = len(t) - best.parameters
    value, stderr = _over_multiplicities(fits)
    return TemperatureFit(
        quantity=Quantity(name="local learning coefficient"),
        value=np.array([value]),
        stderr=np.array([stderr]),
        n_effective=np.array([min(n_effective, 1e9)]),
        method=f"{len(t)} temperatures, multiplicity {best.multiplicity}",
        multiplicity=best.multiplicity,
        fits=tuple(fits),
        misfit=best.chi_squared / free,
        misfit_chance=float(stats.chi2.sf(best.chi_squared, free)),
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


def _over_multiplicities(fits: list[MultiplicityFit]) -> tuple[float, float]:
    # Mean and error over the fits with Akaike's weights; the best is the first.
    weights = np.exp([0.5 * (fits[0].criterion - fit.criterion) for fit in fits])
    weights /= weights.sum()
    values = np.array([fit.value for fit in fits])
    value = float(weights @ values)
    spread = np.square([fit.stderr for fit in fits]) + np.square(values - value)
    return value, float((weights @ spread) ** 0.5)


def _fit(log_t: FloatArray, y: FloatArray, sigma: FloatArray, m: int) -> MultiplicityFit:
    weights = 1.0 / np.square(sigma)
    if m == 1:
        value = float((weights * y).sum() / weights.sum())
        chi = float((weights * np.square(y - value)).sum())
        error = float(weights.sum() ** -0.5)
        return MultiplicityFit(
            multiplicity=1,
            value=value,
            stderr=error,
            offset=np.nan,
            chi_squared=chi,
            parameters=1,
        )

    def solve(u: float) -> tuple[float, float]:
        shifted = y + (m - 1) / (log_t - log_t.min() + np.exp(u))
        value = float((weights * shifted).sum() / weights.sum())
        return value, float((weights * np.square(shifted - value)).sum())

    # Coarse first: the misfit can have more than one dip.
    grid = np.linspace(np.log(_NEAR), np.log(_FAR), 200)
    low = int(np.argmin([solve(u)[1] for u in grid]))
    ends = float(grid[max(low - 1, 0)]), float(grid[min(low + 1, len(grid) - 1)])
    u = float(minimize_scalar(lambda x: solve(x)[1], bounds=ends, options={"xatol": 1e-10}).x)
    value, chi = solve(u)
    depth = log_t - log_t.min() + np.exp(u)
    design = np.column_stack([np.ones_like(depth), (m - 1) / np.square(depth)]) / sigma[:, None]
    covariance = np.linalg.pinv(design.T @ design)
    return MultiplicityFit(
        multiplicity=m,
        value=value,
        stderr=float(np.sqrt(covariance[0, 0])),
        offset=float(np.exp(u) - log_t.min()),
        chi_squared=chi,
        parameters=2,
    )
