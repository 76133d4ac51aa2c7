r"""What the theories of a run say along what is compared.

What an object says of all weights is looked at along

.. math:: V = D\,M,

with the directions or weights :math:`D` that were recorded and the directions :math:`M` of those
numbers that are compared.  An object with as many coordinates as numbers were recorded is a law of
these.  Ready predictions are taken as they are: their labels say along what.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._prediction_views import view_of
from fracsde._runs.frame import directions_on, refuse_coupled
from fracsde._runs.trials import Trial, matrices_of
from fracsde.closure import GaussianClosure
from fracsde.errors import ComputationError, InputError, UnstableError, UnsupportedError
from fracsde.predict import diagonal, from_view
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.transients import relaxation_rates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fracsde._prediction_views import View
    from fracsde._runs.record import Record, Settled
    from fracsde._runs.training import Training
    from fracsde.records.measurement import Prediction
    from fracsde.records.trajectory import Trajectory

__all__ = ["Law", "burn_in_of", "default_rivals", "exact_law", "look", "look_at_rivals"]

_RELAXATIONS = 10.0  # of the slowest direction, after which e^-10 of the start is left
_RELAXING = (
    SGDNearMinimum,
    QuadraticLossSGD,
    OUProcess,
    LinearRecursion,
    DiagonalOU,
    LowRankOU,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """A theory, looked at along the coordinates that are compared."""

    name: str
    view: View | None
    ready: tuple[Prediction, ...] = ()

    def phases(self, window: Trajectory) -> list[int] | None:
        """Return the phases of an epoch at which a run was recorded; None where all were.

        Returns
        -------
        list of int or None
        """
        if self.view is None or self.view.name != "epochs":
            return None
        process = self.view.process
        epochs = process.epochs() if isinstance(process, SGDNearMinimum) else process
        when = np.rint(window.times).astype(np.int64) % epochs.steps
        seen = np.bincount(when, minlength=epochs.steps)
        every: list[int] = np.flatnonzero(seen).tolist()
        return None if 2 * seen.min() > seen.max() else every

    def predictions(
        self, window: Trajectory, wanted: tuple[str, ...], said: Mapping[str, Any]
    ) -> tuple[Prediction, ...]:
        """Return what it predicts for a window.

        Returns
        -------
        tuple of Prediction
        """
        if self.view is None:
            return self.ready
        phases = self.phases(window)
        return from_view(self.view, wanted, phases=phases, theory_name=self.name, **said)


def look(
    trial: Trial,
    settled: Settled,
    wanted: tuple[str, ...],
    labels: Sequence[str],
    *,
    rival: bool = False,
) -> Law:
    """Look at a theory along what is compared, and refuse one that has no law.

    Parameters
    ----------
    trial : Trial
        The theory.
    settled : Settled
        The run, its coordinates and settings.
    wanted : tuple of str
        Quantities.
    labels : sequence of str
        Of the coordinates that are compared.
    rival : bool
        Whether ready predictions may be of some of the quantities only.

    Returns
    -------
    Law

    Raises
    ------
    InputError
        If it has no stationary law, belongs to other coordinates, or needs what is not known.
    UnsupportedError
        If the mean is asked of a law whose minimum is not known.
    """
    if trial.ready:
        _refuse_unlike(trial, wanted, labels, rival=rival)
        return Law(name=trial.name, view=None, ready=trial.ready)
    only = diagonal(wanted)
    if trial.theory is None:
        if "stationary mean" in wanted and settled.place.minimum is None:
            msg = f"the mean of the law {trial.law!r} needs `minimum`, which the run does not say"
            raise UnsupportedError(msg)
        return _of_settings(trial, settled, only)
    theory = trial.theory
    if trial.law not in {None, "epochs", "independent"}:
        theory = _batches_apart(theory)
    seen, size = settled.record.seen, _dimension(theory)
    try:
        V = directions_on(size, seen, settled.place.measure)
        if trial.states_steps and size != seen.whole:
            refuse_coupled(matrices_of(theory)["hessian"])
        view = view_of(theory, trial.law, V, only_diagonal=only)
    except InputError as error:
        msg = f"the theory {trial.name!r} cannot be compared with this run: {error}"
        raise type(error)(msg) from error
    return Law(name=trial.name, view=view)


def _of_settings(trial: Trial, settled: Settled, only_diagonal: bool) -> Law:
    # A named law of what the run says of itself.
    sgd, law = settled.sgd, trial.law
    if sgd is None:
        msg = f"the law {law!r} is one of the run's own settings, and {settled.lacking}"
        raise InputError(msg)
    if law == "map" and settled.training.shuffled:
        law = "independent"
    process = sgd if law in {"epochs", "independent"} else _batches_apart(sgd)
    view = view_of(process, law, settled.place.predict, only_diagonal=only_diagonal)
    return Law(name=str(law) if trial.name == trial.law else trial.name, view=view)


def _batches_apart(theory: Any) -> Any:
    # The laws that take batches of shuffled epochs for independent ones.
    if getattr(theory, "sampling", None) != "shuffled":
        return theory
    near = theory.near_minimum() if isinstance(theory, QuadraticLossSGD) else theory
    return independent(near)


def _dimension(theory: Any) -> int | None:
    # Of the weights that a theory describes; None where it is no theory, which `view_of` refuses.
    if isinstance(theory, GaussianClosure):
        return theory.minimum.dimension
    observed = getattr(theory, "observed", None)
    if observed is not None:
        return len(observed)
    size = getattr(theory, "dimension", None)
    return size if isinstance(size, int) else None


def _refuse_unlike(
    trial: Trial, wanted: tuple[str, ...], labels: Sequence[str], *, rival: bool
) -> None:
    held = tuple(one.quantity.name for one in trial.ready)
    if not set(held) <= set(wanted) or (not rival and len(held) < len(wanted)):
        msg = (
            f"the predictions of {trial.name!r} are of {', '.join(map(repr, held))}, and compared "
            f"are {', '.join(map(repr, wanted))}; name the quantities of the predictions"
        )
        raise InputError(msg)
    tags = trial.tags
    if tags is not None and tags != tuple(labels):
        msg = (
            f"the predictions of {trial.name!r} are along {_few(tags)}, and the run is compared "
            f"along {_few(labels)}; predict along these, or pass the `directions` of the "
            "predictions"
        )
        raise InputError(msg)


def _few(labels: Sequence[str]) -> str:
    shown = ", ".join(map(repr, labels[:3]))
    return f"{shown}, ... ({len(labels)} in all)" if len(labels) > 3 else shown


def burn_in_of(trial: Trial, sgd: SGDNearMinimum | None, record: Record) -> float:
    """Return where a window may begin: ten relaxation times of the slowest direction after start.

    Half of the record where no law tells how fast it relaxes, and at most that.

    Returns
    -------
    float [step]
    """
    half = 0.5 * (record.last - record.first)
    slowest = _slowest(trial, sgd)
    wait = half if slowest <= 0.0 else min(half, ceil(_RELAXATIONS / slowest))
    return record.first + wait


def _slowest(trial: Trial, sgd: SGDNearMinimum | None) -> float:
    theory = trial.theory
    if isinstance(theory, GaussianClosure):
        theory = theory.law()
    process = theory if isinstance(theory, _RELAXING) else sgd
    if process is None:
        return 0.0
    return float(relaxation_rates(_batches_apart(process)).real.min())


def independent(sgd: SGDNearMinimum) -> SGDNearMinimum:
    """Return the same run with batches that do not know of each other.

    Returns
    -------
    SGDNearMinimum
    """
    return replace(sgd, sampling="without_replacement", drop_last=False)


def default_rivals(trial: Trial, settled: Settled) -> list[Trial]:
    """Return the rivals of a theory for which none were named.

    The flow beside an exact law, and for shuffled batches also the independent ones; the exact law
    beside what is none.

    Returns
    -------
    list of Trial
    """
    if trial.states_steps:
        shuffled = getattr(trial.theory, "sampling", None) == "shuffled"
        others = ["independent", "flow"] if shuffled else ["flow"]
        if isinstance(trial.theory, QuadraticLossSGD):
            others = ["map"]
        return [Trial(name=law, law=law, theory=trial.theory) for law in others]
    if trial.theory is not None or trial.ready:
        exact = exact_law(settled.training)
        known = settled.sgd is not None and exact != trial.name
        return [Trial(name=exact, law=exact)] if known else []
    exact_ones = ["epochs", "independent"] if settled.training.shuffled else ["map"]
    law = trial.law
    if law == "map" and settled.training.shuffled:
        law = "independent"
    rivals = [name for name in (*exact_ones, "flow") if name != law]
    rivals = rivals if law == exact_ones[0] else rivals[:1]
    return [Trial(name=name, law=name) for name in rivals]


def exact_law(training: Training) -> str:
    """Return the law that is exact for how batches were drawn.

    Returns
    -------
    str
    """
    return "epochs" if training.shuffled else "map"


def look_at_rivals(
    trial: Trial,
    law: Law,
    named: tuple[Trial, ...] | None,
    settled: Settled,
    wanted: tuple[str, ...],
    labels: Sequence[str],
) -> tuple[list[Law], list[str]]:
    """Look at the rivals, and note each that has no stationary law.

    Parameters
    ----------
    trial : Trial
        The theory on trial.
    law : Law
        What it says.
    named : tuple of Trial, optional
        The rivals; :func:`default_rivals` where none were named.
    settled, wanted, labels
        As for :func:`look`.

    Returns
    -------
    list of Law, list of str

    Raises
    ------
    InputError
        If two have one name, or a rival is none of this run.
    """
    found: list[Law] = []
    absent: list[str] = []
    for rival in default_rivals(trial, settled) if named is None else named:
        if rival.law is not None and trial.states_steps:
            rival = replace(rival, theory=trial.theory)  # a law of the SGD on trial
        if rival.name in {law.name, trial.name}:
            msg = (
                f"`rivals` must be other laws than the one on trial, {law.name!r}; leave it out, "
                "or name it: rivals={'another': theory}"
            )
            raise InputError(msg)
        if rival.name in {other.name for other in found}:
            msg = (
                f"`rivals` must have different names, and two are {rival.name!r}; name them: "
                "rivals={'one': theory, 'another': theory}"
            )
            raise InputError(msg)
        try:
            found.append(look(rival, settled, wanted, labels, rival=True))
        except (ComputationError, UnstableError, UnsupportedError) as error:
            absent.append(f"rival {rival.name!r} predicts nothing: {error}")
    return found, absent
