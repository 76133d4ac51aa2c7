r"""Which limit a run of SGD breaks, and where it has no stationary law at all.

==================  ==========================================================  =================
law                 has a stationary covariance where                           limit on the rate
==================  ==========================================================  =================
the flow            every curvature is positive                                 none
the map's mean      also :math:`\eta h_{\max}` is below ``largest_pull``        ``mean``
its second moment   also noise that depends on the state does not amplify       ``second_moment``
==================  ==========================================================  =================

with :math:`h_{\max}` the largest eigenvalue of :math:`P K`.  Where the noise does not depend on the
state the last two limits are one.

A direction of zero curvature does not decay: it keeps all the noise it receives, or its start.
A singular preconditioner makes such directions of its own: those it sends to zero never move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import IndefiniteError

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["StabilityLimits", "require_curvature", "zeros"]

# As for every matrix that callers pass: a Hessian in float32 is known to 1e-7 at best.
_ROUNDING = 1e-6
_SHOWN = 8
# What one step takes below this is not told from nothing.
_UNSEEN = 1e-13


@dataclass(frozen=True, kw_only=True, eq=False)
class StabilityLimits:
    """The learning rates at which each law of a run ends.

    Parameters
    ----------
    learning_rate : float [weight^2/loss]
        The rate of the run.
    flow : float [weight^2/loss]
        Infinite, or zero where some direction has no restoring force.
    mean : float [weight^2/loss]
        Where the noise-free iteration stops converging.
    second_moment : float [weight^2/loss]
        Where the covariance stops being finite; below ``mean`` where the noise grows with the
        distance from the minimum.
    flat : (f,) int64
        Directions without curvature, counted in the eigenvectors of the regularised Hessian by
        ascending eigenvalue.
    frozen : int
        Number of directions that the preconditioner sends to zero.
    slowest : float [1]
        The share of its deviation that the slowest of the other modes loses in a step.
    """

    learning_rate: float
    flow: float
    mean: float
    second_moment: float
    flat: IntArray
    frozen: int
    slowest: float = 1.0

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of the limits that the learning rate does not stay below."""
        names = ("flow", "mean", "second_moment")
        return tuple(name for name in names if not self.learning_rate < getattr(self, name))

    def why(self, *, flow: bool = False, shuffled: bool = False) -> str:
        """Return sentences that say which limit is broken and what to do, or which is nearest.

        Parameters
        ----------
        flow : bool
            Whether the question is about the continuum limit, which has no limit on the rate.
        shuffled : bool
            Whether batches are blocks of shuffled epochs, which do not let flat directions spread
            as others do.

        Returns
        -------
        str
        """
        said = []
        spread = (
            "how far they spread say covariance_at and, by kind of direction, "
            "fs.variance_growth(fs.SGDNearCriticalPoint(...), steps)."
        )
        if shuffled:
            spread = (
                "over whole epochs of equal batches that use all examples they do not spread, "
                "within one they go to and fro, as covariance_at says."
            )
        if len(self.flat):
            said.append(
                f"The curvature of {_several(len(self.flat), 'direction')} is zero to rounding "
                f"({_listed(self.flat)} among the ascending eigenvectors of the regularised "
                "Hessian): nothing pulls them back; raise the weight decay, or project them out; "
                f"{spread}"
            )
        if self.frozen:
            said.append(
                f"The preconditioner is singular: it sends {_several(self.frozen, 'direction')} to "
                "zero, which never move from where they start; leave them out."
            )
        if flow:
            return " ".join(said)
        if not self.learning_rate < self.mean:
            said.append(
                f"learning_rate={self.learning_rate:g} is not below the critical learning rate "
                f"{self.mean:g} of the mean; lower it."
            )
        elif not self.learning_rate < self.second_moment:
            said.append(
                f"learning_rate={self.learning_rate:g} is below the limit {self.mean:g} of the "
                f"mean but not below the limit {self.second_moment:g} of the second moment, where "
                "the variance stops being finite; lower it."
            )
        elif not said and self.slowest < _UNSEEN:
            said.append(
                f"The slowest mode loses the share {self.slowest:.3g} of its deviation in a step, "
                "which a step in floating point cannot tell from nothing; raise the learning rate "
                "or the weight decay, or ask for the flow()."
            )
        elif not said:
            said.append(
                f"SGD with learning_rate={self.learning_rate:g} is stable below the critical "
                f"learning rate {self.second_moment:g}."
            )
        return " ".join(said)

    def __str__(self) -> str:
        """Return one line per limit."""
        rows = [
            ("the flow", self.flow, "no limit where all curvatures are positive"),
            ("the mean", self.mean, "the noise-free iteration converges below it"),
            ("the second moment", self.second_moment, "the covariance is finite below it"),
        ]
        lines = [f"learning rate {self.learning_rate:g}"]
        for name, value, words in rows:
            mark = "kept" if self.learning_rate < value else "BROKEN"
            lines.append(f"  {name:<18} {value:<12.6g} {mark:<7} {words}")
        return "\n".join(lines)


def require_curvature(curvatures: FloatArray, weight_decay: float) -> None:
    """Refuse a loss that curves down along some direction.

    Parameters
    ----------
    curvatures : (d,) float64 [loss/weight^2]
        Eigenvalues of the regularised Hessian, ascending.
    weight_decay : float [loss/weight^2]
        What they include.

    Raises
    ------
    IndefiniteError
        If one is negative beyond rounding; says which and how many.
    """
    negative = np.flatnonzero(curvatures < -_ROUNDING * np.abs(curvatures).max())
    if len(negative) == 0:
        return
    low = float(curvatures[0])
    values = ", ".join(f"{value:.6g}" for value in curvatures[negative[:_SHOWN]])
    more = ", ..." if len(negative) > _SHOWN else ""
    msg = (
        f"`hessian` with weight_decay={weight_decay:g} must be positive semi-definite: "
        f"{len(negative)} of {len(curvatures)} curvatures are negative, {values}{more} "
        f"({_listed(negative)} among the ascending eigenvectors); there is no stationary law along "
        f"those directions: train further, raise the weight decay above {weight_decay - low:.6g}, "
        "or project onto the directions with positive curvature; how far each direction spreads "
        "says fs.variance_growth(fs.SGDNearCriticalPoint(...), steps), which takes any curvature "
        "but no preconditioner, Nesterov's step or shuffled epochs"
    )
    raise IndefiniteError(msg)


def zeros(values: FloatArray) -> IntArray:
    """Return which eigenvalues of a semi-definite matrix are zero to rounding.

    Parameters
    ----------
    values : (d,) float64
        Eigenvalues.

    Returns
    -------
    (f,) int64
    """
    # A curvature of zero is computed as a few roundings of the largest.
    rounding = 4.0 * len(values) * float(np.finfo(np.float64).eps) * float(np.abs(values).max())
    return np.flatnonzero(values <= rounding)


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count > 1 else "")


def _listed(index: IntArray) -> str:
    shown = ", ".join(str(i) for i in index[:_SHOWN])
    return f"number {shown}" + (", ..." if len(index) > _SHOWN else "")
