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
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, real
from fracsde._run_assumptions import assumptions_of
from fracsde._run_figures import RunReport
from fracsde._run_record import settle
from fracsde._run_window import opened, read_window
from fracsde.compare import compare
from fracsde.errors import InputError, UnstableError, UnsupportedError
from fracsde.measure import examine as examine_window
from fracsde.measure import measure
from fracsde.predict import LAWS, predict
from fracsde.records import quantities as names
from fracsde.transients import relaxation_rates

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fracsde._run_record import Record
    from fracsde._run_training import Training
    from fracsde._run_window import Source
    from fracsde._typing import ArrayLike
    from fracsde.problems.sgd import SGDNearMinimum
    from fracsde.records.assumption import AssumptionTest
    from fracsde.records.measurement import Prediction
    from fracsde.records.trajectory import Trajectory

__all__ = ["RunReport", "compare_run"]

_RELAXATIONS = 10.0  # of the slowest direction, after which e^-10 of the start is left


def compare_run(
    run: Source,
    *,
    hessian: ArrayLike | None = None,
    gradient_noise: ArrayLike | None = None,
    minimum: ArrayLike | None = None,
    theory: str | None = None,
    rivals: Sequence[str] | None = None,
    tolerance: float = 0.05,
    level: float = 1e-3,
    quantities: str | Sequence[str] = ("stationary variance",),
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
    theory : {"map", "epochs", "independent", "flow", "underdamped", "kunin"}, optional
        Which law is on trial; that of the batches if not given: the map, or for shuffled batches
        the epochs.  ``"map"`` takes shuffled batches for independent ones.
    rivals : sequence of str, optional
        Laws that the data should exclude; the flow, and for shuffled batches also the independent
        ones, if not given.
    tolerance : float [1]
        Largest relative deviation that counts as agreement.
    level : float [1]
        Two-sided level of each row's interval.
    quantities : str or sequence of str
        Names of :mod:`fracsde.records.quantities`.
    directions : (k, p) array_like, optional [1]
        Of what the run kept, one per column.  If not given: what it kept, and the twenty leading
        eigenvectors of the curvature where it kept all weights.
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
        If the optimiser is not SGD.
    UnstableError
        If the theory has no stationary law.

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
    """
    wanted = names.chosen(quantities)
    tolerance = real("tolerance", tolerance, low=0.0, high=1.0)
    level = real("level", level, low=0.0, high=1.0)
    if theory is not None:
        choice("theory", theory, LAWS)
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
    source = opened(run)
    settled = settle(
        source,
        given,
        {"hessian": hessian, "gradient_noise": gradient_noise, "minimum": minimum},
        directions=directions,
        need_minimum="stationary mean" in wanted,
        chains=chains,
        stop=stop,
        unequal=unequal,
    )
    record, place, training = settled.record, settled.place, settled.training
    sgd = settled.sgd
    start = _burn_in(burn_in, sgd, record)
    record.refuse_changing_rate(start)
    where: dict[str, Any] = {
        "directions": place.measure,
        "start": start,
        "stop": record.last,
        "chains": chains,
        "unequal": unequal,
        "labels": place.labels,
    }
    window = read_window(source, **where)
    named = replace(window.trajectory, names=window.labels)
    window = replace(window, trajectory=named)
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
        "quantities": wanted,
        "directions": place.predict,
        "lags": lags,
        "labels": window.labels,
        "unit": window.unit,
        "spacing": found.spacing if "integrated autocorrelation time" in wanted else 1.0,
    }
    law = _law(theory, training)
    phases = _phases(sgd, found)
    predicted = _predicted(sgd, law, phases, said)
    others, absent = _rivals(sgd, law, rivals, phases, said)
    tests = assumptions_of(source, settled, window, where, assumptions, loss, level)
    report = compare(
        predicted, measured, tolerance=tolerance, level=level, rivals=others, assumptions=tests
    )
    settings = record.about | {
        "law": law,
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
        "phases": phases,
        "notes": [*training.notes, *_law_notes(law, training), *absent],
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
        predicted_by_rivals=others,
        trajectory=found,
        eigenvalues=place.eigenvalues,
    )


def _burn_in(burn_in: float | str, sgd: SGDNearMinimum, record: Record) -> float:
    if not isinstance(burn_in, str):
        return real("burn_in", burn_in, low=0.0, closed="low")
    choice("burn_in", burn_in, ("auto",))
    steps = sgd if sgd.sampling != "shuffled" else _independent(sgd)
    slowest = float(relaxation_rates(steps).real.min())
    half = 0.5 * (record.last - record.first)
    wait = half if slowest <= 0.0 else min(half, ceil(_RELAXATIONS / slowest))
    return record.first + wait


def _independent(sgd: SGDNearMinimum) -> SGDNearMinimum:
    return replace(sgd, sampling="without_replacement", drop_last=False)


def _law(theory: str | None, training: Training) -> str:
    exact = "epochs" if training.shuffled else "map"
    if theory is None:
        return exact
    return "independent" if theory == "map" and training.shuffled else theory


def _phases(sgd: SGDNearMinimum, window: Trajectory) -> list[int] | None:
    """Return the phases of an epoch at which a shuffled run was recorded; None where all were."""
    if sgd.sampling != "shuffled":
        return None
    steps = sgd.epochs().steps
    seen = np.bincount(np.rint(window.times).astype(np.int64) % steps, minlength=steps)
    every: list[int] = np.flatnonzero(seen).tolist()
    return None if 2 * seen.min() > seen.max() else every


def _predicted(
    sgd: SGDNearMinimum, law: str, phases: list[int] | None, said: Mapping[str, Any]
) -> tuple[Prediction, ...]:
    if law == "epochs":
        return predict(sgd, law=law, theory_name=law, phases=phases, **said)
    apart = sgd.sampling == "shuffled" and law != "independent"
    return predict(_independent(sgd) if apart else sgd, law=law, theory_name=law, **said)


def _law_notes(law: str, training: Training) -> list[str]:
    if not training.shuffled:
        return []
    if law == "epochs":
        return [
            "batches are blocks of shuffled epochs: the law on trial is that of the epochs, and "
            "'independent' is the map with as much noise per step and no memory"
        ]
    return ["batches are blocks of shuffled epochs, which this law takes for independent ones"]


def _rivals(
    sgd: SGDNearMinimum,
    law: str,
    rivals: Sequence[str] | None,
    phases: list[int] | None,
    said: Mapping[str, Any],
) -> tuple[dict[str, tuple[Prediction, ...]], list[str]]:
    """Return what the rivals predict, and a note on each that has no stationary law."""
    if isinstance(rivals, str):
        rivals = (rivals,)
    if rivals is not None and not isinstance(rivals, (list, tuple)):
        msg = f"`rivals` must be names of laws, e.g. ('flow',), got {rivals!r}"
        raise InputError(msg)
    if rivals is None:
        exact = ("epochs", "independent") if sgd.sampling == "shuffled" else ("map",)
        rivals = [name for name in (*exact, "flow") if name != law]
        rivals = rivals if law == exact[0] else rivals[:1]
    found: dict[str, tuple[Prediction, ...]] = {}
    absent: list[str] = []
    for name in rivals:
        choice("rivals", name, LAWS)
        if name == law:
            msg = f"`rivals` must be other laws than the one on trial, {law!r}; leave it out"
            raise InputError(msg)
        try:
            found[name] = _predicted(sgd, name, phases, said)
        except (UnstableError, UnsupportedError) as error:
            absent.append(f"rival {name!r} predicts nothing: {error}")
    return found, absent
