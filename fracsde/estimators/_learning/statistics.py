r"""From losses along chains to a learning coefficient with its error, and what speaks against it.

.. math::
    \hat\lambda = \overline{y} - b\,(\overline{q} - P), \qquad
    y = n\beta\,(L(w) - L(w^*)), \qquad q = (w - w^*) \cdot \nabla U(w) .

By parts, :math:`E[q] = P` for every Gibbs law on the whole space: the virial theorem.  That makes
``q`` a control variate with a known mean, for nothing, since the chains compute the gradient
anyway.  Where the loss is homogeneous and there is no localization ``y`` is a multiple of ``q`` and
no variance is left.  The slope ``b`` is that of a regression of means of tenths of chains, which
see the slow part of the variance.  Control variates of this kind are those of [Mira2013]_.

It also carries over what the chains have not yet seen: directions that the localization alone holds
are slow, the virial waits for them, and the loss need not.  By default it is used only where there
are twenty effective draws per chain of the squared distance from the point, the slow part of ``q``.

The error is that of :mod:`fracsde.estimators.chains` across chains from four chains on: chains are
independent, whatever the correlation along them.  With fewer it is the time series'.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from fracsde.errors import ComputationError, RecordError
from fracsde.estimators.autocorrelation import effective_sample_size
from fracsde.estimators.diagnostics import split_r_hat
from fracsde.estimators.moments import mean
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["Doubt", "Estimate", "Evidence", "doubts", "estimate"]

MIN_DRAWS = 20
_PER_CHAIN = 20.0  # effective draws of the distance, from which the virial may be a control
_PARTS = 10  # of a chain, whose means are regressed
_ACROSS = 4  # chains from which the spread across them is the error
_LEVEL = 1e-3  # chance of a false alarm of each test
_MIN_EFFECTIVE, _R_HAT = 100.0, 1.1
_HARDLY, _NEARLY = 0.01, 0.999
_ROUNDING = 8 * np.finfo(np.float64).eps


class Doubt(Enum):
    """A reason not to trust a learning coefficient."""

    LOST = "Chains left the finite numbers and were dropped; take a shorter step."
    STUCK = "Chains hardly ever moved; take a shorter step, or let burn-in choose it."
    TIMID = (
        "Every move was accepted, so steps are far shorter than the valley is wide; take a longer "
        "step, or let burn-in choose it."
    )
    BELOW_START = (
        "Chains found losses below that of the start, which is no minimum at this temperature; the "
        "estimate is too low, perhaps negative.  Train on, or lower n_beta."
    )
    DRIFTING = "The loss still moves between the halves of the draws; lengthen burn-in."
    UNMIXED = "Chains have not seen the same law; lengthen burn-in and draws."
    FEW = (
        "Draws are so correlated that few are worth an independent one; take more, or "
        'preconditioner="hessian".'
    )
    VIRIAL = (
        "The mean of (w - w*) . dU/dw is not the number of parameters, as it is for a Gibbs law "
        "on the whole space: the step is too long, or the chains have not reached the law, or the "
        'law has walls (then pass control="none").'
    )

    @property
    def sentence(self) -> str:
        """The reason and the remedy, for a person."""
        return self.value

    @property
    def status(self) -> Status:
        """The outcome that a result with this doubt has."""
        if self is Doubt.LOST:
            return Status.NOT_FINITE
        if self in {Doubt.BELOW_START, Doubt.VIRIAL}:
            return Status.INACCURATE
        return Status.NOT_CONVERGED


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What chains left, (chain, draw)."""

    heights: FloatArray  # y [1]
    virials: FloatArray  # q [1]
    distances: FloatArray  # |w - w*|^2 [weight^2]
    parameters: int
    acceptances: FloatArray
    adjusted: bool
    full: bool  # whether losses are of all examples
    lost: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """A learning coefficient and its error."""

    value: float
    stderr: float
    n_effective: float
    per_chain: FloatArray
    slope: float
    effective_draws: float
    r_hat: float
    virial: float
    virial_stderr: float
    method: str


def estimate(evidence: Evidence, control: str) -> Estimate:
    """Estimate the coefficient from what chains left; ``control`` is that of the caller.

    Returns
    -------
    Estimate

    Raises
    ------
    ComputationError
        If no chain moved, or there are too few chains for an error across them and their draws
        are too correlated for one along them.
    """
    y, q = evidence.heights, evidence.virials
    if not np.ptp(y) > 0.0:
        detail = f"The loss is the same at all draws of {len(y)} chains. {Doubt.STUCK.sentence}"
        raise ComputationError(Status.NOT_CONVERGED, detail)
    controlled = control == "virial" or (control == "auto" and _seen(evidence))
    slope = _slope(y, q) if controlled else 0.0
    series = y - slope * (q - evidence.parameters)
    value, stderr, replicas, method = _mean_and_error(series)
    plain = _mean_and_error(y, strict=False)
    virial, virial_stderr, _, _ = _mean_and_error(q / evidence.parameters, strict=False)
    # An exact control variate leaves rounding alone, which is no error of zero.
    stderr = max(stderr, _ROUNDING * float(np.abs(y).max()))
    return Estimate(
        value=value,
        stderr=stderr,
        n_effective=replicas,
        per_chain=series.mean(axis=1),
        slope=slope,
        effective_draws=_effective(y, plain[1]),
        r_hat=_r_hat(y),
        virial=virial,
        virial_stderr=virial_stderr,
        method=method + (", virial control" if controlled else ""),
    )


def _seen(evidence: Evidence) -> bool:
    # Whether judged chains are long enough for the virial.
    if not evidence.adjusted:
        return False
    try:
        found = effective_sample_size(evidence.distances[..., None])[0]
    except RecordError:
        return False
    return bool(found >= _PER_CHAIN * len(evidence.distances))


def _slope(y: FloatArray, q: FloatArray) -> float:
    parts = min(_PARTS, y.shape[1] // 2)
    length = y.shape[1] // parts
    shape = (len(y), parts, length)
    rows = [x[:, : parts * length].reshape(shape).mean(axis=2).ravel() for x in (y, q)]
    away = rows[1] - rows[1].mean()
    total = float(away @ away)
    return float(away @ rows[0]) / total if total > 0.0 else 0.0


def _mean_and_error(x: FloatArray, *, strict: bool = True) -> tuple[float, float, float, str]:
    # Mean, standard error, independent values behind it, and how it was had.
    chains = len(x)
    if chains >= _ACROSS:
        means = x.mean(axis=1)
        error = float(means.std(ddof=1)) / chains**0.5
        return float(means.mean()), error, float(chains), f"spread across {chains} chains"
    try:
        found = mean(x[..., None])
    except RecordError as error:
        if not strict:
            return float(x.mean()), np.nan, np.nan, ""
        detail = (
            f"{chains} chains are too few for an error across them, and along them {error}; for "
            f"the former run at least {_ACROSS} chains."
        )
        raise ComputationError(Status.NOT_CONVERGED, detail) from error
    return float(found.value[0]), float(found.stderr[0]), float(found.n_effective[0]), found.method


def _effective(y: FloatArray, stderr: float) -> float:
    try:
        return float(effective_sample_size(y[..., None])[0])
    except RecordError:
        return float(y.var() / stderr**2) if stderr > 0.0 else np.nan


def _r_hat(y: FloatArray) -> float:
    try:
        return float(split_r_hat(y[..., None])[0])
    except RecordError:
        return np.inf  # a half-chain that never moves


def doubts(evidence: Evidence, found: Estimate) -> tuple[tuple[Doubt, str], ...]:
    """Return what speaks against an estimate, each doubt with the numbers behind it.

    Returns
    -------
    tuple of (Doubt, str)
    """
    rates = evidence.acceptances
    lowest = float(evidence.heights.min()) if evidence.full else found.value
    tolerance = max(3.0 * found.stderr, 0.05 * abs(found.value))
    drift, limit = _drift(evidence.heights)
    gap = abs(found.virial - 1.0)
    far = gap > _quantile(found.n_effective) * found.virial_stderr
    checks = (
        (Doubt.LOST, evidence.lost > 0, f"{evidence.lost} lost"),
        (
            Doubt.STUCK,
            evidence.adjusted and bool(rates.min() < _HARDLY),
            f"lowest acceptance {rates.min():.3g}",
        ),
        (
            Doubt.TIMID,
            evidence.adjusted and bool(rates.min() > _NEARLY),
            f"lowest acceptance {rates.min():.5f}",
        ),
        (Doubt.BELOW_START, lowest < -tolerance, f"n_beta (L - L(w*)) falls to {lowest:.3g}"),
        (Doubt.DRIFTING, drift > limit, f"{drift:.1f} standard errors, {limit:.1f} allowed"),
        (Doubt.UNMIXED, found.r_hat > _R_HAT, f"split R-hat {found.r_hat:.3g}"),
        (
            Doubt.FEW,
            not found.effective_draws >= _MIN_EFFECTIVE,
            f"{found.effective_draws:.0f} effective draws",
        ),
        (
            Doubt.VIRIAL,
            bool(far) and (evidence.adjusted or gap > 0.05),
            f"{found.virial:.4g} +- {found.virial_stderr:.2g} of it",
        ),
    )
    held = [(doubt, figures) for doubt, holds, figures in checks if holds]
    return tuple((doubt, f"{doubt.sentence} ({figures})") for doubt, figures in held)


def _quantile(replicas: float) -> float:
    degrees = max(replicas - 1.0, 1.0)
    return float(stats.t.isf(0.5 * _LEVEL, degrees))


def _drift(y: FloatArray) -> tuple[float, float]:
    # Second half less first, in standard errors across chains, and the limit.
    if len(y) < _ACROSS:
        return 0.0, np.inf
    half = y.shape[1] // 2
    moved = y[:, -half:].mean(axis=1) - y[:, :half].mean(axis=1)
    error = moved.std(ddof=1) / len(y) ** 0.5
    return (float(abs(moved.mean()) / error) if error > 0.0 else 0.0), _quantile(float(len(y)))
