"""What a caller names as a theory of a run: a law, a theory, or predictions made before.

A law by its name is one of the run's own settings, or of the SGD that is on trial.  Not here: what
they say about a run (:mod:`fracsde._runs.laws`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fracsde._check import choice
from fracsde._leading import moving, upright
from fracsde.closure import GaussianClosure
from fracsde.errors import InputError
from fracsde.predict import LAWS
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.records.measurement import Prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "RunRivals",
    "RunTheory",
    "Trial",
    "matrices_of",
    "rivals_of",
    "settings_of",
    "trial_of",
]

RunTheory: TypeAlias = Any
"""Name of a law, theory that :func:`fracsde.predict` takes, predictions, or {name: one of these}"""

RunRivals: TypeAlias = "str | Sequence[RunTheory] | Mapping[str, RunTheory]"

_SETTINGS = (
    "learning_rate",
    "batch_size",
    "momentum",
    "dampening",
    "nesterov",
    "weight_decay",
    "dataset_size",
    "sampling",
    "drop_last",
)
_PER_COORDINATE = (
    "stationary mean",
    "stationary variance",
    "stationary standard deviation",
    "integrated autocorrelation time",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One theory as the caller named it: a law, a theory or one of its laws, or predictions."""

    name: str
    law: str | None = None
    theory: Any = None
    ready: tuple[Prediction, ...] = ()

    @property
    def kind(self) -> str:
        """What it is, for the settings of a report."""
        if self.ready:
            return "predictions"
        if self.theory is None:
            return "law of the run's settings"
        return type(self.theory).__name__

    @property
    def states_steps(self) -> bool:
        """Whether it is SGD, with curvature and settings of its own and the laws of them."""
        return isinstance(self.theory, (SGDNearMinimum, QuadraticLossSGD))

    @property
    def tags(self) -> tuple[str, ...] | None:
        """Labels of the coordinates of ready predictions; None where they name none."""
        for one in self.ready:
            if one.quantity.name in _PER_COORDINATE:
                return tuple(one.quantity.labels) or ("",)
        return None


def trial_of(argument: str, value: Any) -> Trial:
    """Return what a caller named as a theory.

    Parameters
    ----------
    argument : str
        For the error.
    value : RunTheory
        What was passed.

    Returns
    -------
    Trial

    Raises
    ------
    InputError
        If it is none.
    """
    if isinstance(value, Mapping):
        if len(value) != 1:
            msg = (
                f"`{argument}` must be one theory; a mapping gives it a name, as in "
                f"{{'mine': theory}}, got {len(value)} entries"
            )
            raise InputError(msg)
        [(name, inner)] = value.items()
        return _named(argument, name, inner)
    if isinstance(value, str):
        choice(argument, value, LAWS)
        return Trial(name=value, law=value)
    if isinstance(value, Prediction):
        value = (value,)
    listed = isinstance(value, Iterable) and not isinstance(value, (np.ndarray, bytes))
    if value is None or listed:
        ready = tuple(value or ())
        if not ready or not all(isinstance(one, Prediction) for one in ready):
            msg = (
                f"`{argument}` must be the name of a law, a theory or Predictions, got "
                f"{type(value).__name__}: {value!r:.80}"
            )
            raise InputError(msg)
        return Trial(name=ready[0].theory or "predictions", ready=ready)
    return Trial(name=_default_name(value), theory=value)


def rivals_of(rivals: Any) -> tuple[Trial, ...]:
    """Return the rivals that a caller named.

    Parameters
    ----------
    rivals : RunRivals
        What was passed.

    Returns
    -------
    tuple of Trial

    Raises
    ------
    InputError
        If they are none, or two have one name.
    """
    if isinstance(rivals, Mapping):
        found = [_named("rivals", name, one) for name, one in rivals.items()]
    elif isinstance(rivals, str):
        found = [trial_of("rivals", rivals)]
    elif isinstance(rivals, (list, tuple)):
        found = [trial_of("rivals", one) for one in rivals]
    else:
        msg = (
            "`rivals` must be names of laws or theories, e.g. ('flow', closure) or "
            f"{{'flow': 'flow', 'mine': theory}}, got {rivals!r:.80}"
        )
        raise InputError(msg)
    return tuple(found)


def _named(argument: str, name: object, value: Any) -> Trial:
    # A theory under the name that the caller gives it, which rows and figures then show.
    if not isinstance(name, str) or not name:
        msg = f"`{argument}` must have non-empty words as names, got {name!r}"
        raise InputError(msg)
    trial = trial_of(f"{argument}[{name!r}]", value)
    return replace(trial, name=name, ready=tuple(replace(p, theory=name) for p in trial.ready))


def _default_name(theory: Any) -> str:
    if isinstance(theory, GaussianClosure):
        return "closure"
    if isinstance(theory, SGDNearMinimum):
        return "epochs" if theory.sampling == "shuffled" else "map"
    if isinstance(theory, QuadraticLossSGD):
        return "state-dependent noise"
    return type(theory).__name__


def settings_of(theory: Any) -> dict[str, Any]:
    """Return the settings of training that a theory states.

    Returns
    -------
    dict
    """
    if isinstance(theory, QuadraticLossSGD):
        theory = theory.near_minimum()
    if not isinstance(theory, SGDNearMinimum):
        return {}
    return {name: getattr(theory, name) for name in _SETTINGS if getattr(theory, name) is not None}


def matrices_of(theory: Any) -> dict[str, Any]:
    """Return the curvature, noise and minimum that a theory states.

    Those of a closure lie along its leading modes that have noise, and hold the weight decay of its
    loss.

    Returns
    -------
    dict
        Empty where it states none.
    """
    if isinstance(theory, QuadraticLossSGD):
        theory = theory.near_minimum()
    if isinstance(theory, SGDNearMinimum):
        named = ("hessian", "gradient_noise", "minimum")
        return {name: getattr(theory, name) for name in named}
    if isinstance(theory, GaussianClosure):
        at = theory.minimum
        k = np.flatnonzero(moving(at.noise.diagonal()[: at.rank]))
        V = upright(at.leading[:, k])
        signs = np.sign(np.einsum("dk,dk->k", V, at.leading[:, k]))
        return {
            "hessian": np.diag(at.curvatures[k]),
            "gradient_noise": signs[:, None] * at.noise[np.ix_(k, k)] * signs,
            "minimum": V.T @ at.position,
            "directions": V,
        }
    return {}
