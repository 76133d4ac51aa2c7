r"""The order of a fractional clock, fitted to a mean relaxation.

.. math::
    m(t) = m_\infty + (m_0 - m_\infty)\, E_\alpha\bigl(-(t/\tau)^\alpha\bigr),
    \qquad 0 < \alpha \le 1 .

Times recorded along one chain are correlated, so residuals of the mean curve say little about the
error.  With one curve :math:`x_r(t)` per chain and the covariance :math:`S` of the curves shrunk
towards its diagonal, the fit minimises

.. math::
    \chi^2 = R\, (\bar x - m)^T S^{-1} (\bar x - m),

and the error is the delete-one-chain jackknife: each refit leaves a chain out of mean *and*
weights and takes one Gauss-Newton step.  It is right whether or not :math:`S` is.  Weights taken
from the same chains make errors from :math:`S` alone too small; leaving each chain out of them
as well is what keeps the intervals honest.

The misfit is judged by Hotelling's test of smooth residuals: contrasts of low polynomials in
:math:`\ln t`, made orthogonal to the curve's tangents :math:`\partial m / \partial\theta`, must
average to zero over chains.

**What a fit cannot say.**  A sum of exponentials with rates spread over decades also relaxes
slowly, and over a window no wider than that spread the fitted order is below 1 though nothing
is fractional.  Small ``alpha`` with a small ``misfit_p_value`` is this confusion; with a large one
it is still only a description of the window.  Fit one eigendirection at a time, and compare
windows.

References: [SchaeferStrimmer2005]_ for the shrinkage, [Efron1982]_ for the jackknife,
[Hotelling1931]_ for the test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import linalg, stats

from fracsde._check import choice, finite_array, real
from fracsde.errors import RecordError
from fracsde.estimators.chains import jackknife_error
from fracsde.estimators.generalised_fit import jackknife, minimise, misfit_p_value
from fracsde.estimators.relaxation import RelaxationModel, shrunk_covariance
from fracsde.records.measurement import Measurement, Quantity

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["FractionalOrderFit", "fit_fractional_order"]

_MIN_CHAINS, _MIN_TIMES = 16, 8
_MIN_RATIO = 3.0  # how far a relaxation must fall in the window
_MIN_GAIN, _MIN_SEEN = 50.0, 4  # evidence that anything relaxes at all
_MAX_WIDTH = 0.3  # of the 95 % interval of the order


@dataclass(frozen=True, kw_only=True, eq=False)
class FractionalOrderFit:
    """A fitted relaxation.

    Parameters
    ----------
    alpha : float [1]
        The order, in (0, 1].
    stderr : float [1]
        Its standard error; 0 if the order was given, infinite if the window does not determine it.
    timescale, timescale_stderr : float [t]
        ``tau`` and its standard error; infinite like that of the order.
    amplitude : float [x]
        ``m_0 - m_inf``.
    plateau : float [x]
        ``m_inf``, fitted or given.
    misfit : float [1]
        Chi-square per degree of freedom, with the shrunk covariance of the chains; about 1 or
        below for the right model.
    misfit_p_value : float [1]
        Chance that smooth residuals as large arise if the model holds; small means a poor fit.
    window : (float, float) [t]
        First and last time that took part.
    points : int
        Times that took part.
    chains : int
        Number of chains.
    fixed : bool
        Whether the order was given and not fitted.
    identified : bool
        Whether the window determines the order.
    reason : str
        Why not, and what would; empty if it does.
    """

    citation: ClassVar[tuple[str, ...]] = ("SchaeferStrimmer2005", "Efron1982", "Hotelling1931")

    alpha: float
    stderr: float
    timescale: float
    timescale_stderr: float
    amplitude: float
    plateau: float
    misfit: float
    misfit_p_value: float
    window: tuple[float, float]
    points: int
    chains: int
    fixed: bool
    identified: bool
    reason: str

    @property
    def one_sided(self) -> bool:
        """Whether the estimate sits on the boundary 1, so that intervals only bound it below."""
        return self.alpha == 1.0 and not self.fixed

    def alpha_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return a confidence interval of the order.

        Parameters
        ----------
        level : float [1]
            Coverage, between 0 and 1.

        Returns
        -------
        (float, float) [1]
            Student's interval cut to [0, 1].  If :attr:`one_sided`, the upper end is 1 and the
            interval covers with at least ``level``.  All of [0, 1] if not :attr:`identified`.
        """
        level = real("level", level, low=0.0, high=1.0)
        if not (self.identified or self.fixed):
            return 0.0, 1.0
        reach = float(stats.t.ppf(0.5 + 0.5 * level, self.chains - 1)) * self.stderr
        return max(0.0, self.alpha - reach), min(1.0, self.alpha + reach)

    def to_measurements(self) -> tuple[Measurement, ...]:
        """Return the order, unless it was given, and the timescale as measurements.

        Returns
        -------
        tuple of Measurement

        Raises
        ------
        RecordError
            If the window does not determine the order, which was not given.
        """
        if not (self.identified or self.fixed):
            raise RecordError(self.reason)
        bound = ", on the boundary: one-sided" if self.one_sided else ""
        method = (
            f"Mittag-Leffler relaxation on [{self.window[0]:g}, {self.window[1]:g}], jackknife "
            f"over {self.chains} chains{bound}"
        )
        order = (
            ()
            if self.fixed
            else (
                Measurement(
                    quantity=Quantity(name="fractional order"),
                    value=np.array(self.alpha),
                    stderr=np.array(self.stderr),
                    n_effective=np.array(float(self.chains)),
                    method=method,
                ),
            )
        )
        scale = Measurement(
            quantity=Quantity(name="relaxation timescale", unit="t"),
            value=np.array(self.timescale),
            stderr=np.array(self.timescale_stderr),
            n_effective=np.array(float(self.chains)),
            method=method,
        )
        return (*order, scale)


def fit_fractional_order(
    times: ArrayLike,
    relaxation: ArrayLike,
    *,
    window: tuple[float, float] | None = None,
    plateau: float | None = None,
    initial: float | None = None,
    alpha: float | None = None,
    weights: str = "generalised",
) -> FractionalOrderFit:
    r"""Fit :math:`m_\infty + (m_0 - m_\infty) E_\alpha(-(t/\tau)^\alpha)` to the mean over chains.

    Parameters
    ----------
    times : (t,) array_like [t]
        Since the start of the relaxation, not negative, increasing.
    relaxation : (chain, t) array_like [x]
        One coordinate of every chain, ``run.values[:, :, k]`` of a Trajectory.
    window : (float, float), optional [t]
        Times that take part; all if not given.
    plateau : float, optional [x]
        The limit, if it is known; fitted if not.
    initial : float, optional [x]
        The mean at time 0, if it is known; taken from the record if all chains start at one
        value at time 0, else fitted.
    alpha : float, optional [1]
        Hold the order at this value, as for the ordinary rival ``alpha=1``, and fit the rest.
    weights : {"generalised", "diagonal"}
        Whether the covariance between times takes part.  ``"generalised"`` is sharper where the
        model holds.  Where it does not, and chains differ in the length of their way, it can miss
        the level of the mean by far; ``"diagonal"`` stays nearer there, though not for every
        kind of correlation.  Errors come from the jackknife in both cases.

    Returns
    -------
    FractionalOrderFit

    Raises
    ------
    RecordError
        If there are fewer than 16 chains or 8 times in the window, chains differ in fewer than 8
        ways over all times, or the mean does not relax.

    References
    ----------
    [SchaeferStrimmer2005]_, [Efron1982]_, [Hotelling1931]_, [Metzler1999]_

    Examples
    --------
    >>> from scipy.special import erfcx
    >>> times = np.geomspace(0.01, 10.0, 20)
    >>> noise = np.random.default_rng(1).standard_normal((100, 20))
    >>> fit = fit_fractional_order(times, erfcx(times**0.5) + 0.05 * noise, plateau=0.0)
    >>> low, high = fit.alpha_interval(0.999)
    >>> low < 0.5 < high, fit.identified
    (True, True)
    """
    t, x, start = _checked(times, relaxation, window)
    initial = start if initial is None else real("initial", initial, low=-np.inf, high=np.inf)
    if plateau is not None:
        plateau = real("plateau", plateau, low=-np.inf, high=np.inf)
    chains, mean = len(x), x.mean(axis=0)
    if alpha is not None:
        alpha = real("alpha", alpha, low=0.0, high=1.0, closed="high")
    model = RelaxationModel(times=t, plateau=plateau, initial=initial, order=alpha)
    covariance, kept = shrunk_covariance(x)
    if choice("weights", weights, ("generalised", "diagonal")) == "diagonal":
        covariance, kept = np.diag(covariance.diagonal()), 0.0
    factor = linalg.cholesky(covariance / chains, lower=True)
    whiten = linalg.solve_triangular(factor, np.eye(len(t)), lower=True)
    theta = minimise(model, mean, whiten)
    slope = model.jacobian(theta)[:, 0 if alpha is None else 1 :]
    jacobian = whiten @ slope
    gap = whiten @ ((x - mean).T)
    miss = whiten @ (mean - model.values(theta))
    stderr = jackknife_error(jackknife(jacobian, gap, miss, kept))
    stderr = stderr if alpha is None else np.append(0.0, stderr)
    freedom = len(t) - slope.shape[1]
    p_value = misfit_p_value(model, theta, x, slope)
    timescale = float(np.exp(theta[1]))
    amplitude, level = model.linear_part(theta)
    level_only = whiten @ (mean - (np.average(mean) if plateau is None else plateau))
    gain = float(level_only @ level_only - miss @ miss)
    reason = _reason(model.shape(theta), gain, float(stderr[0]), chains)
    if reason and alpha is None:
        stderr = np.full_like(stderr, np.inf)
    return FractionalOrderFit(
        alpha=float(theta[0]),
        stderr=float(stderr[0]),
        timescale=timescale,
        timescale_stderr=timescale * float(stderr[1]),
        amplitude=amplitude,
        plateau=level,
        misfit=float(miss @ miss) / freedom,
        misfit_p_value=p_value,
        window=(float(t[0]), float(t[-1])),
        points=len(t),
        chains=chains,
        fixed=alpha is not None,
        identified=not reason,
        reason=reason,
    )


def _checked(
    times: ArrayLike, relaxation: ArrayLike, window: tuple[float, float] | None
) -> tuple[FloatArray, FloatArray, float | None]:
    # Return the times and curves that take part, and the common starting value if there is one.
    t = finite_array("times", times, ndim=1)
    x = finite_array(
        "relaxation", relaxation, shape=(None, len(t)), remedy="pass run.values[:, :, k]"
    )
    if len(t) == 0 or t[0] < 0 or np.any(np.diff(t) <= 0):
        msg = "`times` must increase from 0 or later; count from the start of the relaxation"
        raise RecordError(msg)
    fixed = np.ptp(x, axis=0) <= 1e-14 * np.abs(x).max()
    start = float(x[0, 0]) if fixed[0] and t[0] == 0 else None
    low, high = (0.0, np.inf) if window is None else (float(end) for end in window)
    if not low < high or (window is not None and (low > t[-1] or high < t[0] or high > t[-1])):
        msg = (
            f"`window` must be times inside the record, {t[0]:g} to {t[-1]:g}, got "
            f"({low:g}, {high:g})"
        )
        raise RecordError(msg)
    keep = (t >= low) & (t <= high) & ~fixed
    if len(x) < _MIN_CHAINS or keep.sum() < _MIN_TIMES:
        msg = (
            f"the order needs at least {_MIN_CHAINS} chains and {_MIN_TIMES} times at which they "
            f"differ, got {len(x)} chains and {int(keep.sum())} times in the window; run more "
            "replicas, widen the window or record more often"
        )
        raise RecordError(msg)
    _refuse_alike(x[:, keep])
    return t[keep], x[:, keep], start


def _refuse_alike(x: FloatArray) -> None:
    # Chains that differ by the same few numbers at all times say nothing of any other difference.
    sizes = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    rank = int(np.sum(sizes > 1e-10 * sizes[0]))
    if rank < _MIN_TIMES:
        msg = (
            f"chains differ in {rank} ways over all times, {_MIN_TIMES} are needed for an error; "
            "where they keep a distance from one another, subtract it, and give each chain noise "
            "of its own"
        )
        raise RecordError(msg)


def _reason(shape: FloatArray, gain: float, stderr: float, chains: int) -> str:
    # Return why the order is not determined, or nothing.
    seen = int(np.sum(shape > 0.05 * shape[0]))
    if gain < _MIN_GAIN or seen < _MIN_SEEN:
        return (
            f"hardly any relaxation is seen: {seen} times before it is over, and chi-square better "
            f"by {gain:.3g} than without one ({_MIN_SEEN} and {_MIN_GAIN:g} are needed); record "
            "earlier and more often, or run more chains"
        )
    ratio = float(shape[0] / max(shape[-1], np.finfo(np.float64).tiny))
    if ratio < _MIN_RATIO:
        return (
            f"the relaxation falls by a factor of only {ratio:.3g} in the window, "
            f"{_MIN_RATIO:g} is needed; record earlier or longer"
        )
    width = 2.0 * float(stats.t.ppf(0.975, chains - 1)) * stderr
    if not width <= _MAX_WIDTH:
        return (
            f"the 95 % interval of the order is {width:.3g} wide, {_MAX_WIDTH:g} is allowed; run "
            "more chains, or give the plateau or the initial value"
        )
    return ""
