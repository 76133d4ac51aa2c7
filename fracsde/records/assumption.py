r"""Whether an assumption of the theory holds for a run, as an equivalence question.

For an effect :math:`e` that is zero where the assumption holds exactly, with its interval
:math:`[e_-, e_+]` at level :math:`\ell` and the largest effect :math:`\delta` that does not matter,

* the assumption HOLDS where :math:`-\delta \le e_- \le e_+ \le \delta`;
* it FAILS where :math:`e_- > \delta` or :math:`e_+ < -\delta`;
* it is UNDECIDED otherwise.

The question is not whether the effect is zero, which it never is, but whether it is large enough to
matter; few data make the interval wide, and a wide interval neither holds nor fails
[Schuirmann1987]_.  An assumption within tolerance FAILS with probability at most :math:`\ell`, and
one beyond it HOLDS with probability at most :math:`\ell / 2`.

Not here: how effects are measured (:mod:`fracsde.estimators.assumptions`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from fracsde._check import real
from fracsde.errors import InputError, OutOfRangeError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AssumptionTest", "AssumptionVerdict"]


class AssumptionVerdict(Enum):
    """Where the interval of an effect lies against the largest that does not matter.

    Examples
    --------
    >>> print(AssumptionVerdict.FAILS, AssumptionVerdict.FAILS.symbol)
    FAILS ✗
    """

    HOLDS = "The effect is smaller than what matters."
    FAILS = "The effect is larger than what matters."
    UNDECIDED = "These data do not tell whether the effect matters."

    @property
    def sentence(self) -> str:
        """What it means, for a person."""
        return self.value

    @property
    def symbol(self) -> str:
        """One character, so that a verdict never rests on colour alone."""
        return {"HOLDS": "✓", "FAILS": "✗", "UNDECIDED": "?"}[self.name]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class AssumptionTest:
    """One assumption, the effect of its failure with an interval, and a verdict.

    Parameters
    ----------
    name : str
        The assumption in a few words that can stand before "holds", e.g. ``"quadratic loss"``.
    question : str
        What was asked of the run.
    effect : float [1]
        The effect, zero where the assumption holds exactly; of several, the one that decides.
    stderr : float [1]
        Its standard error; zero for what is declared rather than measured.
    low, high : float [1]
        Its interval at ``level``, taken for all effects of the test together.
    tolerance : float [1]
        Largest effect that does not matter, positive.
    level : float [1]
        Two-sided level of the interval, in (0, 1).
    meaning : str
        What the effect is, e.g. ``"relative change of the curvature along 'v1'"``.
    consequence : str
        What a failure means for the theory, and what to do.
    n_effective : float [1]
        Independent values behind the standard error.
    method : str
        How the effect was measured.
    entries : mapping from str to (effect, low, high, tolerance), optional [1]
        All effects where there are several, each by what it is.
    reason : str
        Why the question could not be asked; empty where it was.

    Raises
    ------
    InputError
        If the name is empty or a number is no number.
    OutOfRangeError
        If the tolerance or the standard error is negative, the level is outside (0, 1), or the
        interval does not hold the effect.

    Examples
    --------
    >>> test = AssumptionTest(
    ...     name="quadratic loss", question="does the curvature change over the law?",
    ...     effect=0.2, stderr=0.01, low=0.16, high=0.24, tolerance=0.05, level=1e-3,
    ...     meaning="relative change of the curvature", consequence="lower the learning rate",
    ...     n_effective=64)
    >>> test.verdict.name
    'FAILS'
    >>> test.sentence
    'Quadratic loss FAILS: relative change of the curvature 0.2 in [0.16, 0.24], where up to 0.05 \
would not matter; lower the learning rate.'
    """

    name: str
    question: str
    effect: float
    stderr: float
    low: float
    high: float
    tolerance: float
    level: float = 1e-3
    meaning: str = "effect"
    consequence: str = ""
    n_effective: float = math.inf
    method: str = ""
    entries: Mapping[str, tuple[float, float, float, float]] = field(default_factory=dict)
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            msg = "an assumption needs a name that can stand before 'holds'"
            raise InputError(msg)
        real("tolerance", self.tolerance, low=0.0)
        real("level", self.level, low=0.0, high=1.0)
        kept = {key: tuple(float(v) for v in row) for key, row in self.entries.items()}
        object.__setattr__(self, "entries", kept)
        for name in ("effect", "stderr", "low", "high", "tolerance", "level", "n_effective"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.reason:
            return
        if not self.low <= self.effect <= self.high:
            msg = (
                f"the interval of {self.name!r} must hold its effect, got {self.effect:g} and "
                f"[{self.low:g}, {self.high:g}]"
            )
            raise OutOfRangeError(msg)
        if not self.stderr >= 0:
            msg = f"`stderr` of {self.name!r} must not be negative, got {self.stderr:g}"
            raise OutOfRangeError(msg)

    @classmethod
    def unasked(
        cls, name: str, reason: str, *, question: str, tolerance: float, level: float
    ) -> AssumptionTest:
        """Return a test that could not be made; its verdict is UNDECIDED.

        Parameters
        ----------
        name, question : str
            The assumption and what would have been asked.
        reason : str
            Why not, and what it needs.
        tolerance, level : float [1]
            What would have been used.

        Returns
        -------
        AssumptionTest

        Examples
        --------
        >>> print(AssumptionTest.unasked("constant noise", "no gradients were recorded",
        ...     question="", tolerance=0.05, level=1e-3).sentence)
        Constant noise is UNDECIDED: no gradients were recorded.
        """
        return cls(
            name=name,
            question=question,
            effect=math.nan,
            stderr=math.inf,
            low=-math.inf,
            high=math.inf,
            tolerance=tolerance,
            level=level,
            n_effective=0.0,
            reason=reason,
        )

    @property
    def asked(self) -> bool:
        """Whether the run held what the question needs."""
        return not self.reason

    @property
    def verdict(self) -> AssumptionVerdict:
        """Where the interval lies against ``[-tolerance, tolerance]``."""
        if -self.tolerance <= self.low and self.high <= self.tolerance:
            return AssumptionVerdict.HOLDS
        if self.low > self.tolerance or self.high < -self.tolerance:
            return AssumptionVerdict.FAILS
        return AssumptionVerdict.UNDECIDED

    @property
    def finding(self) -> str:
        """Name and verdict in words that can stand in a list, e.g. ``"Gaussianity FAILS"``."""
        verdict = self.verdict
        verb = "is " if verdict is AssumptionVerdict.UNDECIDED else ""
        return f"{self.name} {verb}{verdict.name}"

    @property
    def sentence(self) -> str:
        """The verdict, the numbers behind it and what to do, for a person."""
        head = self.finding[:1].upper() + self.finding[1:]
        if self.reason:
            return f"{head}: {self.reason}."
        verdict = self.verdict
        would = "does" if verdict is AssumptionVerdict.HOLDS else "would"
        numbers = (
            f"{self.meaning} {self.effect:.3g} in [{self.low:.3g}, {self.high:.3g}], where up to "
            f"{self.tolerance:.3g} {would} not matter"
        )
        advice = {
            AssumptionVerdict.HOLDS: "",
            AssumptionVerdict.FAILS: self.consequence,
            AssumptionVerdict.UNDECIDED: "record longer or more chains",
        }[verdict]
        return f"{head}: {numbers}{'; ' if advice else ''}{advice}."

    def to_dict(self) -> dict[str, Any]:
        """Return the test as plain JSON types; what is not finite becomes null.

        Returns
        -------
        dict
        """
        return {
            "name": self.name,
            "question": self.question,
            "verdict": self.verdict.name,
            "sentence": self.sentence,
            "meaning": self.meaning,
            "effect": _plain(self.effect),
            "stderr": _plain(self.stderr),
            "interval": [_plain(self.low), _plain(self.high)],
            "tolerance": self.tolerance,
            "level": self.level,
            "n_effective": _plain(self.n_effective),
            "method": self.method,
            "entries": {key: [_plain(v) for v in row] for key, row in self.entries.items()},
            "reason": self.reason,
        }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
