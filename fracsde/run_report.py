r"""From a stored run to a verdict: read, predict, measure, compare.

.. code-block:: text

    run -> training -> curvature and noise -> coordinates -> law -> predictions -+
     |                                                                           +-> Report
     +---> window (burn-in, constant rate) -> diagnosis -> measurements ---------+

What the run says of itself is used unless the caller says otherwise, and every choice is written
into ``report.settings``, so that another person can repeat or dispute it.  The law is the exact one
of how the batches were drawn: the map, or for shuffled batches that of the epochs.

Nothing here is arithmetic of its own: :func:`fracsde.predict`, :func:`fracsde.measure` and
:func:`fracsde.compare` do the work and can be called one by one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, real
from fracsde._runs.assumptions import assumptions_of
from fracsde._runs.figures import RunReport
from fracsde._runs.laws import burn_in_of, exact_law, look, look_at_rivals
from fracsde._runs.record import compared_labels, settle, settle_beside
from fracsde._runs.trials import Trial, matrices_of, rivals_of, settings_of, trial_of
from fracsde._runs.window import opened, read_window
from fracsde.closure import GaussianClosure
from fracsde.compare import compare
from fracsde.errors import UnsupportedError
from fracsde.estimators.gapped import spacing
from fracsde.measure import examine as examine_window
from fracsde.measure import measure
from fracsde.records import quantities as names
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fracsde._runs.laws import Law
    from fracsde._runs.record import Settled
    from fracsde._runs.training import Training
    from fracsde._runs.trials import RunRivals, RunTheory
    from fracsde._runs.window import Source
    from fracsde._typing import ArrayLike
    from fracsde.records.assumption import AssumptionTest
    from fracsde.records.measurement import Prediction
    from fracsde.records.store import StoredRun
    from fracsde.records.trajectory import Trajectory

__all__ = ["RunReport", "compare_run"]


def compare_run(
    run: Source,
    *,
    hessian: ArrayLike | None = None,
    gradient_noise: ArrayLike | None = None,
    minimum: ArrayLike | None = None,
    theory: RunTheory | None = None,
    rivals: RunRivals | None = None,
    tolerance: float = 0.05,
    level: float = 1e-3,
    quantities: str | Sequence[str] | None = None,
    directions: ArrayLike | None = None,
    lags: ArrayLike | None = None,
    burn_in: float | str = "auto",
    stop: float | None = None,
    chains: Sequence[int] | None = None,
    unequal: str = "refuse",
    learning_rate: float | None = None,
    batch_size: int | None = None,
    momentum: float | None = None,
    dampening: float | None = None,
    nesterov: bool | None = None,
    weight_decay: float | None = None,
    dataset_size: int | None = None,
    sampling: str | None = None,
    drop_last: bool | None = None,
    assumptions: bool | Iterable[AssumptionTest] = True,
    loss: Any = None,
    diagnose: bool = True,
) -> RunReport:
    r"""Say whether a run of SGD agrees with the theory of its own settings.

    Parameters
    ----------
    run : StoredRun, path, Trajectory or (chain, draw, coordinate) array_like
        The run.  A stored one says how it was trained (``metadata["training"]``) and may carry its
        curvature (attachment ``"curvature"``); of others this must be passed.
    hessian, gradient_noise : array_like, optional [loss/weight^2], [loss^2/weight^2]
        Of the loss that the optimiser sees, without its own weight decay, and of one example's
        gradient: for all weights, or for the recorded coordinates where those are eigenvectors.
    minimum : array_like, optional [weight]
        Needed for the mean.
    theory : str, theory, Prediction or iterable of Predictions, optional
        What is on trial; the law of the batches if not given: the map, or for shuffled batches
        the epochs.  A law of the run's own settings by its name: ``"map"``, which takes shuffled
        batches for independent ones, ``"epochs"``, ``"independent"``, ``"flow"``,
        ``"underdamped"`` or ``"kunin"``.  Or a theory that :func:`fracsde.predict` takes, such as
        an :class:`SGDNearMinimum`, an :class:`OUProcess` or a
        :class:`~fracsde.closure.GaussianClosure`, of all weights or of the numbers that were
        recorded; time is counted in steps.  Or what was predicted before, with the labels of what
        is compared.  ``{"mine": theory}`` gives it a name.
    rivals : sequence of those, or mapping from names to them, optional
        What the data should exclude.  If not given, beside an exact law the flow, and for shuffled
        batches also the independent ones; beside another theory the exact law of the run's
        settings, where they are known.
    tolerance : float [1]
        Largest relative deviation that counts as agreement.
    level : float [1]
        Two-sided level of each row's interval.
    quantities : str or sequence of str, optional
        Names of :mod:`fracsde.records.quantities`; the variance if not given, or what was
        predicted before.
    directions : (k, p) array_like, optional [1]
        Of what the run kept, one per column.  If not given: what it kept, and where it kept all
        weights those of the twenty leading eigenvectors of the curvature along which there is
        noise; the leading modes of a closure where it alone knows the curvature.
    lags : (lag,) array_like, optional [step]
        For autocorrelations and displacements.
    burn_in : float or "auto" [step]
        The window begins here; ``"auto"`` leaves out ten relaxation times of the slowest
        direction, at most half of the record, and what the diagnosis finds beyond that.
    stop : float, optional [step]
        The window ends here.
    chains : sequence of int, optional
        Which chains of a stored run.
    unequal : {"refuse", "truncate"}
        What to do with chains of a stored run that were recorded at different steps.
    learning_rate, batch_size, momentum, weight_decay : float or int, optional
        As in :class:`SGDNearMinimum`; what is given goes before what the run recorded, and the
        difference is noted.
    dampening, nesterov, dataset_size, sampling, drop_last : optional
        Likewise.
    assumptions : bool or iterable of AssumptionTest
        Whether to ask of the run whether the law's assumptions hold, with
        :func:`fracsde.estimators.assumptions.examine`; or what was found.  Where no gradients were
        recorded and every step was, they are rebuilt from the weights.
    loss : Network, TorchLoss or the like, optional
        Asked for curvature and noise at recorded weights, where the run kept all of them.
    diagnose : bool
        Whether to refuse a window that :func:`fracsde.estimators.diagnose` refuses.

    Returns
    -------
    RunReport
        Its ``settings`` hold what is needed to repeat it, and ``settings["notes"]`` what a reader
        of the verdict must know.

    Raises
    ------
    DiagnosticsError
        If the window is not stationary, or the run diverged.
    InputError
        If something that the theory needs is known from nowhere, or does not fit.
    UnsupportedError
        If the optimiser is not SGD and the theory one of SGD's laws by name.
    UnstableError
        If the theory has no stationary law.
    ComputationError
        If a closure is passed that found no fixed point.

    Examples
    --------
    >>> import fracsde as fs
    >>> H, C = np.diag([1.0, 0.3]), np.eye(2)
    >>> sgd = fs.SGDNearMinimum(hessian=H, gradient_noise=C, learning_rate=0.5, batch_size=4)
    >>> run = fs.simulate(sgd.map(), range(0, 2000, 4), chains=128, rng=0)
    >>> matrices = {"hessian": H, "gradient_noise": C, "batch_size": 4}
    >>> report = compare_run(run, learning_rate=0.5, **matrices)
    >>> report.verdict.name, bool(report.excluded("flow"))
    ('AGREES', True)
    >>> compare_run(run, learning_rate=0.55, **matrices).verdict.name
    'DISAGREES'

    A theory says what it needs by itself:

    >>> report = compare_run(run, theory=sgd, rivals={"half the noise": fs.OUProcess(
    ...     drift=0.5 * H, noise=0.5**2 * C / 8)})
    >>> report.verdict.name, bool(report.excluded("half the noise"))
    ('AGREES', True)
    """
    trial = None if theory is None else trial_of("theory", theory)
    others = None if rivals is None else rivals_of(rivals)
    wanted = names.chosen(_quantities(trial) if quantities is None else quantities)
    tolerance = real("tolerance", tolerance, low=0.0, high=1.0)
    level = real("level", level, low=0.0, high=1.0)
    given = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "momentum": momentum,
        "dampening": dampening,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
        "dataset_size": dataset_size,
        "sampling": sampling,
        "drop_last": drop_last,
    }
    matrices = {"hessian": hessian, "gradient_noise": gradient_noise, "minimum": minimum}
    source = opened(run)
    part: dict[str, Any] = {
        "directions": directions,
        "chains": chains,
        "stop": stop,
        "unequal": unequal,
    }
    if trial is None or (trial.law is not None and trial.theory is None):
        needed = "stationary mean" in wanted
        settled = settle(source, given, matrices, need_minimum=needed, **part)
        law = exact_law(settled.training)
        trial = Trial(name=law, law=law) if trial is None else trial
    else:
        stated = settings_of(trial.theory) | {k: v for k, v in given.items() if v is not None}
        own = matrices_of(trial.theory)
        said: dict[str, Any] = {"own": own, "tags": trial.tags, "ready": bool(trial.ready)}
        settled = settle_beside(source, given | stated, matrices, **said, **part)
    return _judged(
        source,
        trial,
        others,
        settled,
        wanted,
        lags=lags,
        burn_in=burn_in,
        part={"chains": chains, "unequal": unequal},
        tolerance=tolerance,
        level=level,
        assumptions=assumptions,
        loss=loss,
        diagnose=diagnose,
    )


def _quantities(trial: Trial | None) -> tuple[str, ...]:
    # Those that were predicted, or else the variance.
    if trial is None or not trial.ready:
        return ("stationary variance",)
    return tuple(one.quantity.name for one in trial.ready)


def _judged(
    source: StoredRun | Trajectory,
    trial: Trial,
    named: tuple[Trial, ...] | None,
    settled: Settled,
    wanted: tuple[str, ...],
    *,
    lags: ArrayLike | None,
    burn_in: float | str,
    part: Mapping[str, Any],
    tolerance: float,
    level: float,
    assumptions: bool | Iterable[AssumptionTest],
    loss: Any,
    diagnose: bool,
) -> RunReport:
    """Look at the theories, then read the window, measure and compare.

    Returns
    -------
    RunReport
    """
    record, place, training = settled.record, settled.place, settled.training
    labels = compared_labels(source, place)
    law = look(trial, settled, wanted, labels)
    rivals, absent = look_at_rivals(trial, law, named, settled, wanted, labels)
    start = _burn_in(burn_in, trial, settled)
    record.refuse_changing_rate(start)
    where: dict[str, Any] = {
        "directions": place.measure,
        "start": start,
        "stop": record.last,
        "labels": place.labels,
        **part,
    }
    window = read_window(source, **where)
    named_run = replace(window.trajectory, names=window.labels)
    window = replace(window, trajectory=named_run)
    if diagnose:
        settled_part = examine_window(window.trajectory, level=level, cut=burn_in == "auto")
        window = replace(window, trajectory=settled_part)
        where["start"] = float(settled_part.times[0])
    found = window.trajectory
    measured = measure(
        found,
        quantities=wanted,
        lags=lags,
        labels=window.labels,
        unit=window.unit,
        diagnose=False,
    )
    said: dict[str, Any] = {
        "lags": lags,
        "labels": window.labels,
        "unit": window.unit,
        "spacing": spacing(found) if "integrated autocorrelation time" in wanted else 1.0,
    }
    predicted = law.predictions(found, wanted, said)
    against: dict[str, Sequence[Prediction]] = {}
    for rival in rivals:
        try:
            against[rival.name] = rival.predictions(found, wanted, said)
        except UnsupportedError as error:
            absent.append(f"rival {rival.name!r} predicts nothing: {error}")
    tests = assumptions_of(source, settled, window, where, assumptions, loss, level)
    report = compare(
        predicted, measured, tolerance=tolerance, level=level, rivals=against, assumptions=tests
    )
    settings = record.about | {
        "law": law.name,
        "theory": trial.kind,
        "training": {name: training.values[name] for name in training.sources},
        "sources": dict(training.sources),
        "coordinates": place.about,
        "quantities": list(wanted),
        "lags": None if lags is None else np.ravel(lags).tolist(),
        "window": [float(found.times[0]), float(found.times[-1])],
        "burn_in": burn_in,
        "chains": found.chains,
        "draws": found.draws,
        "diagnosed": diagnose,
        "phases": law.phases(found),
        "notes": [
            *training.notes,
            *_law_notes(trial, law, training),
            *_closure_notes((trial, *(named or ()))),
            *absent,
        ],
    }
    return RunReport(
        rows=report.rows,
        rivals=report.rivals,
        tolerance=report.tolerance,
        level=report.level,
        provenance=report.provenance,
        assumptions=report.assumptions,
        settings=settings,
        measured=measured,
        predicted=predicted,
        predicted_by_rivals=against,
        trajectory=found,
        eigenvalues=place.eigenvalues,
    )


def _burn_in(burn_in: float | str, trial: Trial, settled: Settled) -> float:
    if not isinstance(burn_in, str):
        return real("burn_in", burn_in, low=0.0, closed="low")
    choice("burn_in", burn_in, ("auto",))
    return burn_in_of(trial, settled.sgd, settled.record)


def _law_notes(trial: Trial, law: Law, training: Training) -> list[str]:
    if not training.shuffled or (trial.law is None and not trial.states_steps):
        return []
    if law.view is not None and law.view.name == "epochs":
        return [
            "batches are blocks of shuffled epochs: the law on trial is that of the epochs, and "
            "'independent' is the map with as much noise per step and no memory"
        ]
    return ["batches are blocks of shuffled epochs, which this law takes for independent ones"]


def _closure_notes(trials: Sequence[Trial]) -> list[str]:
    # What closures that have a law say against themselves.
    return [
        f"the closure {one.name!r} is to be doubted: {one.theory.status.sentence}"
        for one in trials
        if isinstance(one.theory, GaussianClosure)
        and one.theory.status in {Status.INACCURATE, Status.NOT_CONVERGED}
    ]
