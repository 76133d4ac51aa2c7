"""Everything the demo on digits is told before it runs.

The defaults were chosen after pilot runs on the same data: the lengths so that intervals are narrow
and records stationary, and those of the random starts so that a relaxation falls into the window.
A new seed is new evidence for a finding; a new run with the same settings and seed is not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fracsde._check import integer

__all__ = ["DigitsSettings", "Regime"]


@dataclass(frozen=True, kw_only=True)
class Regime:
    """One learning rate, given by its product with the largest curvature, and one momentum.

    Parameters
    ----------
    rate : float [1]
        ``eta h_max``.
    momentum : float [1]
        Fraction of the velocity that is kept.
    """

    rate: float
    momentum: float

    @property
    def effective_rate(self) -> float:
        """``eta h_max / (1 - mu)`` [1], which sets the width of the law at small rates."""
        return self.rate / (1.0 - self.momentum)

    @property
    def name(self) -> str:
        """A label for tables and figures."""
        tail = f", momentum {self.momentum:g} (effective rate {self.effective_rate:.2g})"
        return f"η·h_max = {self.rate:g}{tail if self.momentum else ''}"


@dataclass(frozen=True, kw_only=True)
class DigitsSettings:
    """Settings of ``fracsde demo digits``.

    Parameters
    ----------
    replicas : int
        Independent runs of each kind.
    batch_size : int
        Examples per step, drawn with replacement.
    weight_decay : float [loss/weight^2]
        Part of the loss, so that a true minimum exists.
    hidden : int
        Hidden units of the multilayer perceptron.
    directions : int
        Leading Hessian eigenvectors that are compared.
    relaxations : float [1]
        Length of a stationary record in relaxation times of the slowest compared direction.
    burn_in : float [1]
        Steps dropped before it, in the same unit.
    positions : int
        Points of the stationary law at which noise and curvature are measured again.
    closure_draws : int
        Antithetic pairs of positions over which the closure takes its averages.
    closure_rtol : float [1]
        Largest change of curvature and noise before its last step; after it they are about ten
        times closer.
    closure_rounds : int
        Rounds after which a closure counts as not found; those that were found took seven at most.
    random_relaxations : float [1]
        Length of a run from a random start in relaxation times of the weight decay.
    late_from : float [1]
        Where its late window starts, as a fraction of its length.
    tolerance, level : float [1]
        Of every comparison.
    seed : int
        Of every random number.
    """

    replicas: int = 256
    batch_size: int = 32
    weight_decay: float = 1e-2
    hidden: int = 16
    directions: int = 20
    relaxations: float = 300.0
    burn_in: float = 60.0
    positions: int = 96
    closure_draws: int = 96
    closure_rtol: float = 5e-2
    closure_rounds: int = 8
    random_relaxations: float = 15.0
    late_from: float = 1 / 30
    tolerance: float = 0.05
    level: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        integer("replicas", self.replicas, low=16, remedy="errors are taken across replicas")
        integer("seed", self.seed, low=0)

    @classmethod
    def short(cls, **settings: Any) -> DigitsSettings:
        """Return settings for a look: a twentieth of the steps, so that most rows stay open.

        Parameters
        ----------
        **settings
            Other settings, which take precedence.

        Returns
        -------
        DigitsSettings
        """
        quick = {"relaxations": 15.0, "positions": 16, "random_relaxations": 5.0}
        return cls(**{**quick, **settings})

    @property
    def regimes(self) -> tuple[Regime, ...]:
        """The regimes: two rates, without momentum and with; the last one goes too far."""
        pairs = ((0.1, 0.0), (0.1, 0.9), (0.5, 0.0), (0.5, 0.5), (0.5, 0.9))
        return tuple(Regime(rate=rate, momentum=momentum) for rate, momentum in pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain types.

        Returns
        -------
        dict
        """
        return asdict(self)
