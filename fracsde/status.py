"""The outcomes a computation can have, each with one sentence for a person."""

from __future__ import annotations

from enum import Enum

__all__ = ["Status"]


class Status(Enum):
    """Outcome of a computation.

    Examples
    --------
    >>> Status.SUCCESS.ok
    True
    >>> Status.UNSTABLE.sentence
    'The process has no stationary law: perturbations grow.'
    """

    SUCCESS = "The computation succeeded."
    UNSTABLE = "The process has no stationary law: perturbations grow."
    MARGINAL = "The process has no unique stationary law: some directions neither decay nor grow."
    INACCURATE = "The result is less accurate than it should be: do not rely on it."
    NOT_CONVERGED = "The iteration stopped before it met its tolerance."
    NOT_FINITE = "The computation produced NaN or infinity."

    @property
    def ok(self) -> bool:
        """Whether the result can be used."""
        return self is Status.SUCCESS

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        return self.value
