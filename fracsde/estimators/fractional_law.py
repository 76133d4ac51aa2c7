r"""What a fit of a law on the fractional clock finds, and the record it takes.

In a quadratic well, ``confined``, with operational time :math:`S` of mean
:math:`(t/\tau)^\alpha / \Gamma(1 + \alpha)`,

.. math::
    x(t) \mid S \sim N\bigl(m + (x_0 - m)\, e^{-S},\; \sigma^2 (1 - e^{-2S})\bigr) ;

on flat ground, ``free``, :math:`\mathbb E\,(x - x_0)^2 = 2 K t^\alpha / \Gamma(1 + \alpha)`.

An order is stated where its interval is narrow enough, hence more often where its standard error
came out too small: of 48 chains on flat ground, of which 57 % have one, plain intervals held 93 %
of the orders stated, and 95.5 % of all.  With
:math:`s = 1 / \sqrt{2 (n - 1)}`, the relative error of a standard error of ``n`` effective values,
:math:`\ln\hat\sigma` that was let through below a border :math:`\ln b` follows a truncated normal
law, and its likeliest mean :math:`\ln\sigma = \ln b + s m` solves

.. math::
    m - \frac{\varphi(m)}{\Phi(-m)} = \frac{\ln(\hat\sigma / b)}{s} .

That is what is stated, at most :math:`b` itself.

Not here: the fits (:mod:`fracsde.estimators.fractional_likelihood`,
:mod:`fracsde.estimators.fractional_moments`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import optimize, stats

from fracsde._check import finite_array, real
from fracsde.errors import RecordError
from fracsde.estimators.chains import freedom_of, jackknife_error
from fracsde.records.measurement import Measurement, Quantity

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["FractionalLawFit", "Motion", "fitted", "moving_record"]

Motion = Literal["confined", "free"]

_MIN_CHAINS = 16
_MAX_WIDTH = 0.35  # of the 95 % interval of the order


@dataclass(frozen=True, kw_only=True, eq=False)
class FractionalLawFit:
    r"""A law on the fractional clock, fitted to positions.

    Parameters
    ----------
    motion : {"confined", "free"}
        Quadratic well or flat ground.
    alpha, stderr : float [1]
        The order, in (0, 1], and its standard error; like all standard errors infinite where the
        record does not determine the order.
    timescale, timescale_stderr : float [t]
        :math:`\tau` of the well and its standard error; NaN for free motion.
    plateau, plateau_stderr : float [x]
        Centre ``m`` of the well and its standard error; NaN for free motion.
    variance, variance_stderr : float [x^2]
        :math:`\sigma^2` of the well's stationary law; NaN for free motion.
    diffusion, diffusion_stderr : float [x^2 t^-alpha]
        ``K`` of free motion; NaN in a well.
    n_effective : float [1]
        Values behind the standard error of the order: fewer than chains, since their moves are
        skewed.
    chains, points : int
        Chains, and times of each.
    one_sided : bool
        Whether the estimate sits on the boundary 1, so that intervals only bound it below.
    identified : bool
        Whether the record determines the order.
    reason : str
        Why not, and what would; empty if it does.
    method : str
        How it was fitted, for the report.
    """

    motion: Motion
    alpha: float
    stderr: float
    timescale: float
    timescale_stderr: float
    plateau: float
    plateau_stderr: float
    variance: float
    variance_stderr: float
    diffusion: float
    diffusion_stderr: float
    n_effective: float
    chains: int
    points: int
    one_sided: bool
    identified: bool
    reason: str
    method: str

    def alpha_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return a confidence interval of the order.

        Parameters
        ----------
        level : float [1]
            Coverage, between 0 and 1.

        Returns
        -------
        (float, float) [1]
            Student's interval with ``n_effective - 1`` degrees of freedom, cut to [0, 1]; all of
            [0, 1] if not :attr:`identified`.
        """
        level = real("level", level, low=0.0, high=1.0)
        if not self.identified:
            return 0.0, 1.0
        reach = float(stats.t.ppf(0.5 + 0.5 * level, self.n_effective - 1.0)) * self.stderr
        return max(0.0, self.alpha - reach), min(1.0, self.alpha + reach)

    def to_measurements(self) -> tuple[Measurement, ...]:
        """Return the order and the scales of the motion as measurements.

        Returns
        -------
        tuple of Measurement

        Raises
        ------
        RecordError
            If the record does not determine the order.
        """
        if not self.identified:
            raise RecordError(self.reason)
        bound = ", on the boundary: one-sided" if self.one_sided else ""
        rows = [("fractional order", "1", self.alpha, self.stderr)]
        if self.motion == "confined":
            rows.append(("relaxation timescale", "t", self.timescale, self.timescale_stderr))
            rows.append(("stationary variance", "x^2", self.variance, self.variance_stderr))
        else:
            unit = "x^2 t^-alpha"
            rows.append(("diffusion coefficient", unit, self.diffusion, self.diffusion_stderr))
        return tuple(
            Measurement(
                quantity=Quantity(name=name, unit=unit),
                value=np.array(value),
                stderr=np.array(stderr),
                n_effective=np.array(
                    self.n_effective if unit == "1" else self._of_scale(value, stderr)
                ),
                method=self.method + bound,
            )
            for name, unit, value, stderr in rows
        )

    def _of_scale(self, value: float, stderr: float) -> float:
        # What is fitted as a logarithm has an interval that reaches farther up; see
        # `fracsde.estimators.autocorrelation` for the degrees of freedom that reach as far.
        ends = stderr / (value * float(np.sqrt(8.0)))
        return 1.0 + max(1.0, 1.0 / (1.0 / (self.n_effective - 1.0) + ends))


def moving_record(
    times: ArrayLike, positions: ArrayLike, starts: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Check a record of motion and return what comes after the start.

    Parameters
    ----------
    times : (t,) array_like [t]
        Since the start of the motion.
    positions : (chain, t) array_like [x]
        One coordinate of every chain.
    starts : float or (chain,) array_like, optional [x]
        Positions at time 0; taken from the record if it begins there.

    Returns
    -------
    (t',) ndarray of float64 [t]
        Positive times.
    (chain, t') ndarray of float64 [x]
        Positions then.
    (chain,) ndarray of float64 [x]
        Starts.

    Raises
    ------
    RecordError
        If there are fewer than 16 chains, no time after the start, no starts, or nothing moves.
    """
    t = finite_array("times", times, ndim=1)
    x = finite_array(
        "positions", positions, shape=(None, len(t)), remedy="pass run.values[:, :, k]"
    )
    if len(t) == 0 or t[0] < 0 or np.any(np.diff(t) <= 0):
        msg = "`times` must increase from 0 or later; count from the start of the motion"
        raise RecordError(msg)
    if starts is None:
        if t[0] != 0.0:
            msg = (
                f"positions at time 0 are needed, the record begins at {t[0]:g}; pass `starts`, "
                "or count times from the first draw and keep it"
            )
            raise RecordError(msg)
        begin = x[:, 0].copy()
    else:
        given = finite_array("starts", starts, ndim=(0, 1))
        if given.ndim and given.shape != (len(x),):
            msg = f"`starts` must be one number or one per chain, {len(x)}, got {given.shape}"
            raise RecordError(msg)
        begin = np.broadcast_to(given, (len(x),)).copy()
    late = t > 0
    if len(x) < _MIN_CHAINS or not late.any():
        msg = (
            f"the order needs at least {_MIN_CHAINS} chains and a time after the start, got "
            f"{len(x)} chains and {int(late.sum())} times; run more replicas"
        )
        raise RecordError(msg)
    moved = np.any(x[:, late] != begin[:, None], axis=0)
    if not moved.all():
        msg = (
            f"no chain has moved at time {t[late][np.argmin(moved)]:g}; drop the times before the "
            "first movement"
        )
        raise RecordError(msg)
    way = x[:, late] - begin[:, None]
    if not np.any(np.ptp(way, axis=0) > 1e-14 * np.abs(way).max()):
        msg = (
            f"all {len(x)} chains move alike, so that nothing has an error; give each chain a seed "
            "of its own"
        )
        raise RecordError(msg)
    return t[late], x[:, late], begin


def fitted(
    motion: Motion,
    theta: FloatArray,
    moves: FloatArray,
    reference: float,
    shape: tuple[int, ...],
    *,
    one_sided: bool,
    method: str,
) -> dict[str, Any]:
    r"""Return the fields of a fit from its parameters and their moves without each chain.

    Parameters
    ----------
    motion : {"confined", "free"}
        Parameters are :math:`(\alpha, \ln\tau, m, \ln\sigma^2)`, or
        :math:`(\alpha, \ln (K t_*^\alpha))`.
    theta : (parameter,) ndarray of float64
        At the optimum.
    moves : (chain, parameter) ndarray of float64
        How they change when a chain leaves.
    reference : float [t]
        :math:`t_*`.
    shape : (int, int)
        Chains and times.
    one_sided : bool
        Whether the order stands on 1.
    method : str
        For the report.

    Returns
    -------
    dict
    """
    nan, stderr = float("nan"), jackknife_error(moves)
    scales = dict.fromkeys(("timescale", "plateau", "variance", "diffusion"), (nan, nan))
    if motion == "confined":
        timescale, variance = float(np.exp(theta[1])), float(np.exp(theta[3]))
        scales["timescale"] = (timescale, timescale * float(stderr[1]))
        scales["plateau"] = (float(theta[2]), float(stderr[2]))
        scales["variance"] = (variance, variance * float(stderr[3]))
    else:
        diffusion = float(np.exp(theta[1]) * reference ** -theta[0])
        log_error = float(jackknife_error(moves[:, 1] - np.log(reference) * moves[:, 0]))
        scales["diffusion"] = (diffusion, diffusion * log_error)
    quantile = float(stats.t.ppf(0.975, shape[0] - 1))
    width = 2.0 * quantile * float(stderr[0])
    reason = ""
    if not width <= _MAX_WIDTH:
        reason = (
            f"the 95 % interval of the order is {width:.3g} wide, {_MAX_WIDTH:g} is allowed; run "
            "more chains, or record at times spread over decades"
        )
    n_effective = float(freedom_of(moves[:, 0]))
    border = 0.5 * _MAX_WIDTH / quantile
    fields: dict[str, Any] = {}
    for name, (value, error) in scales.items():
        # An error of an error is too large here for any of them to be stated.
        fields |= {name: value, f"{name}_stderr": np.inf if reason and error == error else error}
    return fields | {
        "motion": motion,
        "alpha": float(theta[0]),
        "stderr": np.inf if reason else _let_through(float(stderr[0]), border, n_effective),
        "n_effective": n_effective,
        "chains": shape[0],
        "points": shape[1],
        "one_sided": one_sided,
        "identified": not reason,
        "reason": reason,
        "method": method,
    }


def _let_through(stderr: float, border: float, n_effective: float) -> float:
    # The likeliest standard error where this one was let through below the border, see the module.
    spread = float((2.0 * (n_effective - 1.0)) ** -0.5)
    if stderr <= 0.0:
        return stderr
    seen = float(np.log(stderr / border)) / spread
    if seen >= -((2.0 / np.pi) ** 0.5):
        return border

    def gap(m: float) -> float:
        return m - float(np.exp(stats.norm.logpdf(m) - stats.norm.logsf(m))) - seen

    return border * float(np.exp(spread * optimize.brentq(gap, seen, 0.0)))
