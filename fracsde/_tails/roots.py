"""The tail index from a law of norms, or from populations, with its interval and its status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from fracsde._tails.laws import NormLaw, root_of
from fracsde._tails.populations import Growth, Population, growth
from fracsde.errors import UnsupportedError
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._tails.populations import Step

__all__ = ["Found", "from_law", "from_populations", "from_samples"]

_EPS = float(np.finfo(np.float64).eps)
_FEW = 1000.0  # samples behind a moment below which its error cannot be trusted
_THIN = 16.0  # vectors of a population likewise
_HIGHEST = 64.0  # order of a moment up to which populations are asked
_NAN = float("nan")
_INF = float("inf")


@dataclass(frozen=True)
class Found:
    """What was found; the fields are those of :class:`fracsde.tails.TailIndex`."""

    index: float
    interval: tuple[float, float]
    lyapunov: float
    lyapunov_error: float
    status: Status
    detail: str


def _no_law(lyapunov: float, error: float) -> Found | None:
    # Without a negative exponent, beyond its error, there is nothing stationary to have a tail.
    if lyapunov < -error:
        return None
    grows = lyapunov > error
    detail = (
        f"The top Lyapunov exponent is {lyapunov:.6g} per step, known to {error:.2g}; it must be "
        "negative beyond that. Lower `learning_rate`, raise `batch_size` or, where it was sampled, "
        "`steps`."
    )
    status = Status.UNSTABLE if grows else Status.MARGINAL
    return Found(_NAN, (_NAN, _NAN), lyapunov, error, status, detail)


def from_law(
    law_at: Callable[[float, float], NormLaw], *, rounding: float, complete: bool
) -> Found:
    """Solve for the index with laws that are exact up to quadrature.

    ``law_at(order, coarsen)`` tabulates the law for moments up to ``order``; ``rounding`` is the
    relative rounding error of its weights; ``complete`` says that the law has no values beyond
    those tabulated, so that a largest one of 1 bounds all moments.

    Returns
    -------
    Found
    """
    order = 4.0
    law = law_at(order, 1.0)
    lyapunov = law.lyapunov
    gap = abs(law_at(order, 1.25).lyapunov - lyapunov) if np.isfinite(lyapunov) else 0.0
    lyapunov_error = gap + rounding
    refused = _no_law(lyapunov, lyapunov_error)
    if refused is not None:
        return refused
    if complete and law.largest <= 4.0 * _EPS:
        return Found(_INF, (_INF, _INF), lyapunov, lyapunov_error, Status.SUCCESS, "")
    index = root_of(law.excess, most=order)
    while not np.isfinite(index) and order < 2.0**40:
        try:
            law = law_at(4.0 * order, 1.0)
        except UnsupportedError as limit:
            detail = f"The moment of order {order:g} is finite; beyond, {limit}."
            status = Status.NOT_CONVERGED
            return Found(_NAN, (order, _INF), lyapunov, lyapunov_error, status, detail)
        order *= 4.0
        index = root_of(law.excess, most=order)
    if not np.isfinite(index):
        return Found(_INF, (order, _INF), lyapunov, lyapunov_error, Status.SUCCESS, "")
    slope = law.slope(index)
    coarse = root_of(law_at(order, 1.25).excess, most=2.0 * order)
    error = abs(coarse - index) + (rounding + 8.0 * _EPS * index * (1.0 + slope)) / slope
    status = Status.SUCCESS if error < 1e-8 * index else Status.INACCURATE
    detail = "" if status.ok else f"The error of the quadrature is {error:.2g}."
    interval = (index - error, index + error)
    return Found(index, interval, lyapunov, lyapunov_error, status, detail)


def from_samples(law: NormLaw, *, confidence: float, bounded: bool = False) -> Found:
    """Solve for the index with a sample of the law, all weights equal.

    ``bounded`` says that no multiplier exceeds 1, those that were not drawn included.

    Returns
    -------
    Found
    """
    count = len(law.log_norm)
    reach = float(stats.norm.isf(0.5 * (1.0 - confidence)))
    lyapunov = law.lyapunov
    finite = np.isfinite(lyapunov)
    lyapunov_error = reach * float(np.std(law.log_norm)) / np.sqrt(count) if finite else 0.0
    refused = _no_law(lyapunov, lyapunov_error)
    if refused is not None:
        return refused
    if bounded:
        return Found(_INF, (_INF, _INF), lyapunov, lyapunov_error, Status.SUCCESS, "")
    if law.largest <= 4.0 * _EPS:
        detail = f"None of {count} samples exceeds 1 in size, which bounds no moment."
        inaccurate = Status.INACCURATE
        return Found(_INF, (0.0, _INF), lyapunov, lyapunov_error, inaccurate, detail)
    index = root_of(law.excess)
    effective = law.effective(index)
    # h(alpha) = 1 by now, so its relative variance is count / effective - 1.
    stderr = np.sqrt(max(count / effective - 1.0, 0.0) / count) / law.slope(index)
    status, detail = Status.SUCCESS, ""
    if effective < _FEW:
        status = Status.INACCURATE
        detail = (
            f"Of {count} samples {effective:.0f} carry the moment of order {index:.3g}: its error "
            "is not known. Pass `values` and `weights` if the law has few values."
        )
    interval = (max(0.0, float(index - reach * stderr)), float(index + reach * stderr))
    return Found(index, interval, lyapunov, lyapunov_error, status, detail)


def from_populations(
    step: Step,
    dimension: int,
    *,
    bounded: bool,
    size: Population,
    confidence: float,
    rng: np.random.Generator,
    watch: Callable[[], None] | None,
) -> Found:
    """Solve for the index with populations of vectors.

    Returns
    -------
    Found
    """
    reach = float(stats.t.isf(0.5 * (1.0 - confidence), size.replicas - 1))

    def at(s: float, chosen: Population) -> Growth:
        return growth(step, dimension, s, rng, chosen, watch)

    start = at(0.0, size)
    lyapunov, lyapunov_error = start.slope, reach * start.slope_stderr
    refused = _no_law(lyapunov, lyapunov_error)
    if refused is not None:
        return refused
    if bounded:
        return Found(_INF, (_INF, _INF), lyapunov, lyapunov_error, Status.SUCCESS, "")
    quick = size._replace(replicas=max(4, size.replicas // 4), steps=max(1, size.steps // 4))
    low, high, thin = _bracket(lambda s: at(s, quick))
    if high == _INF:
        detail = f"The moment of order {low:g} is finite and no root above it could be resolved."
        if thin:
            detail += " Too few vectors carry it; raise `vectors`."
        status = Status.NOT_CONVERGED
        return Found(_NAN, (low, _INF), lyapunov, lyapunov_error, status, detail)
    return _refined(lambda s: at(s, size), 0.5 * (low + high), reach, lyapunov, lyapunov_error)


def _bracket(at: Callable[[float], Growth]) -> tuple[float, float, bool]:
    # Orders on both sides of the root, as well as short runs can tell, an eighth apart.
    low, high, thin = 0.0, 1.0, False
    while True:
        found = at(high)
        thin = found.effective < _THIN
        if found.rate > 0.0:
            break
        if high >= _HIGHEST or thin:
            return low if thin else high, _INF, thin
        low, high = high, 2.0 * high
    while high - low > 0.125 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if at(middle).rate <= 0.0 else (low, middle)
    return low, high, thin


def _refined(
    at: Callable[[float], Growth],
    s: float,
    reach: float,
    lyapunov: float,
    lyapunov_error: float,
) -> Found:
    # Two of Newton's steps with long runs; the error is that of the second.
    for _ in range(2):
        here, found = s, at(s)
        slope = max(found.slope, _EPS)
        s = min(max(here - found.rate / slope, 0.5 * here), 2.0 * here)
    error = (reach * found.stderr + found.spread**2) / slope
    reasons = []
    if found.effective < _THIN:
        reasons.append(f"{found.effective:.1f} vectors carry a population: raise `vectors`.")
    if abs(found.settled) > 4.5:
        reasons.append("The growth changes along the run: raise `steps`.")
    if abs(s - here) > 0.25 * here or found.slope <= 0.0:
        reasons.append("The root lies far from where the moment was measured: raise `steps`.")
    status = Status.INACCURATE if reasons else Status.SUCCESS
    interval = (max(0.0, float(s - error)), float(s + error))
    return Found(float(s), interval, lyapunov, lyapunov_error, status, " ".join(reasons))
