"""All assumptions of the theory, asked of one run as far as what it recorded allows.

What could not be asked is among the answers, UNDECIDED, with the reason and the remedy: a report
that leaves a question out looks like one in which it was answered.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from fracsde._check import real, truth
from fracsde.errors import InputError, RecordError
from fracsde.estimators.assumptions._deciding import LEVEL
from fracsde.estimators.assumptions._material import material_of
from fracsde.estimators.assumptions._regression import MOST_COORDINATES
from fracsde.estimators.assumptions.batch_noise import NAME as SCALING
from fracsde.estimators.assumptions.batch_noise import QUESTION as SCALING_QUESTION
from fracsde.estimators.assumptions.batch_noise import TOLERANCE as SCALING_TOLERANCE
from fracsde.estimators.assumptions.batch_noise import noise_by_batch_size
from fracsde.estimators.assumptions.constant_noise import QUESTION as NOISE_QUESTION
from fracsde.estimators.assumptions.constant_noise import TOLERANCE as NOISE_TOLERANCE
from fracsde.estimators.assumptions.constant_noise import constant_noise
from fracsde.estimators.assumptions.gaussianity import KURTOSIS, gaussianity
from fracsde.estimators.assumptions.gaussianity import QUESTION as GAUSSIAN_QUESTION
from fracsde.estimators.assumptions.independence import QUESTION as BATCHES_QUESTION
from fracsde.estimators.assumptions.independence import TOLERANCE as BATCHES_TOLERANCE
from fracsde.estimators.assumptions.independence import independent_batches
from fracsde.estimators.assumptions.quadratic_loss import QUESTION as LOSS_QUESTION
from fracsde.estimators.assumptions.quadratic_loss import TOLERANCE as LOSS_TOLERANCE
from fracsde.estimators.assumptions.quadratic_loss import quadratic_loss
from fracsde.estimators.assumptions.stationarity import QUESTION as STATIONARY_QUESTION
from fracsde.estimators.assumptions.stationarity import VARIANCE, stationarity_of
from fracsde.estimators.assumptions.step_rule import QUESTION as STEP_QUESTION
from fracsde.estimators.assumptions.step_rule import TOLERANCE as STEP_TOLERANCE
from fracsde.estimators.assumptions.step_rule import stated_steps
from fracsde.records.assumption import AssumptionTest
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fracsde._typing import ArrayLike
    from fracsde.estimators.assumptions._material import Material

__all__ = ["examine"]

_REBUILT = (
    "either batches know of each other, or the momentum is not the stated one: gradients were "
    "rebuilt from the weights and cannot tell; record gradients"
)


def examine(
    run: Any,
    *,
    loss: Any = None,
    minimum: ArrayLike | None = None,
    gradients: Trajectory | ArrayLike | None = None,
    rebuilt: bool = False,
    hessian: ArrayLike | None = None,
    noise: ArrayLike | None = None,
    training: Mapping[str, Any] | None = None,
    whole: bool | None = None,
    start: float | None = None,
    level: float = LEVEL,
) -> tuple[AssumptionTest, ...]:
    """Ask of a run every assumption for which it holds the data.

    Parameters
    ----------
    run : StoredRun, Trajectory or (chain, draw, coordinate) array_like [weight]
        A stationary run.  A stored run brings its gradients, its attached curvature and what its
        metadata say of the training.
    loss : loss, optional
        Network or torch loss, asked at recorded positions; needs whole weight vectors.
    minimum : (coordinate,) array_like, optional [weight]
        The minimum, if it is known; that of an attached curvature if not given.
    gradients : Trajectory or (chain, draw, coordinate) array_like, optional [loss / weight]
        The gradients of the steps, if the run is no stored run.
    rebuilt : bool
        Whether they are those of :func:`gradients_from_weights`, made by the very rule that
        ``training`` states, which then cannot be asked of them.
    hessian : (coordinate, coordinate) array_like, optional [loss / weight^2]
        The Hessian at the minimum in the recorded coordinates; that of an attached curvature if not
        given.
    noise : (coordinate, coordinate) array_like, optional [loss^2 / weight^2]
        Covariance of one example's gradient there, likewise.
    training : mapping, optional
        ``learning_rate``, ``momentum``, ``dampening``, ``weight_decay``, ``nesterov``,
        ``optimizer``, ``batch_size``, ``dataset_size``, ``sampling``, as far as they are known;
        ``metadata["training"]`` of a stored run if not given.
    whole : bool, optional
        Whether the recorded coordinates move independently of those not recorded: true of whole
        weight vectors and of projections on eigenvectors of the Hessian.  If not given, true unless
        a stored run says that it holds projections or chosen coordinates.
    start : float, optional [step]
        Steps before this one are left out, as not yet stationary.
    level : float [1]
        Two-sided level of each test.

    Returns
    -------
    tuple of AssumptionTest
        Stationarity, Gaussianity, quadratic loss, constant noise, independence of batches, step
        rule; UNDECIDED with a reason where the data do not allow the question.  Where gradients
        were recorded and the noise of one example is known, also whether that of a batch is as
        stated.

    Raises
    ------
    InputError
        If the run is none, or ``training`` is no mapping.
    RecordError
        If nothing moves in a record of many coordinates.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(1).standard_normal((32, 20_000, 1))
    >>> for test in examine(noise, training={"sampling": "shuffled"}):
    ...     print(test.finding)
    stationarity HOLDS
    Gaussianity HOLDS
    quadratic loss is UNDECIDED
    constant noise is UNDECIDED
    independence of batches FAILS
    step rule as stated is UNDECIDED
    """
    level = real("level", level, low=0.0, high=1.0)
    data = material_of(run, loss, minimum, gradients, hessian, noise, training, whole, start)
    data = replace(data, rebuilt=truth("rebuilt", rebuilt))
    few = data.reduced()

    return tuple(
        _ask(name, question, tolerance, level, call, data, few)
        for name, (question, tolerance, call) in _QUESTIONS.items()
        if name != SCALING or data.states_noise
    )


def _loss_test(data: Material, few: Material, level: float) -> AssumptionTest:
    other = few.gradients is not None or few.minimum is not None
    if data.asks_loss or (data.loss is not None and not other):
        return quadratic_loss(data.weights, loss=data.loss, minimum=data.minimum, level=level)
    if not other:
        msg = "no loss was given, no gradients were recorded and no minimum is known; pass a `loss`"
        raise RecordError(msg)
    return quadratic_loss(few.weights, gradients=few.gradients, minimum=few.minimum, level=level)


def _noise_test(data: Material, few: Material, level: float) -> AssumptionTest:
    if data.asks_loss or (data.loss is not None and few.gradients is None):
        return constant_noise(data.weights, loss=data.loss, minimum=data.minimum, level=level)
    if few.gradients is None:
        msg = "no loss was given and no gradients were recorded; pass a `loss`, or record gradients"
        raise RecordError(msg)
    return constant_noise(few.weights, gradients=few.gradients, level=level)


_COUPLED = (
    "the recorded coordinates move with others that were not recorded, which looks like {what}; "
    "record whole weight vectors or projections on eigenvectors of the Hessian and say whole=True, "
    "or pass a `loss` or a Hessian"
)


def _scaling_test(_: Material, few: Material, level: float) -> AssumptionTest:
    training, batch = few.training, few.training.get("batch_size")
    if not few.whole:
        raise RecordError(_COUPLED.format(what="more noise"))
    if not isinstance(batch, int):
        msg = "the batch size is not known; record it in the metadata, or pass it"
        raise RecordError(msg)
    assert few.gradients is not None  # of what `states_noise`
    sampling, total = training.get("sampling", "unknown"), training.get("dataset_size")
    return noise_by_batch_size(
        {batch: few.gradients},
        weights={batch: few.weights},
        noise=few.noise,
        sampling="with_replacement" if sampling == "unknown" else sampling,
        dataset_size=total,
        level=level,
    )


def _batch_test(data: Material, few: Material, level: float) -> AssumptionTest:
    training = data.training
    sampling = training.get("sampling", "unknown")
    if sampling == "shuffled":
        return independent_batches(sampling=sampling, level=level)
    if few.gradients is None:
        msg = "no gradients were recorded; record them at every step, or declare the sampling"
        raise RecordError(msg)
    if not few.whole:
        raise RecordError(_COUPLED.format(what="dependent noise"))
    epoch = _epoch(training)
    if epoch is not None and (epoch < 2 or few.gradients.draws <= 4 * epoch):
        epoch = None
    if not data.rebuilt:
        return independent_batches(
            few.weights, few.gradients, epoch=epoch, hessian=few.hessian, level=level
        )
    # The Hessian has units that a wrong learning rate would get wrong; a regression has not.
    found = independent_batches(few.weights, few.gradients, epoch=epoch, level=level)
    return replace(found, consequence=_REBUILT, method=f"{found.method}, rebuilt from the weights")


def _epoch(training: Mapping[str, Any]) -> int | None:
    # Batches in an epoch, the last one perhaps smaller; None where it is not known.
    batch, total = training.get("batch_size"), training.get("dataset_size")
    if not all(isinstance(n, int) and n > 0 for n in (batch, total)):
        return None
    return -(-int(total or 0) // int(batch or 1))


def _step_test(data: Material, few: Material, level: float) -> AssumptionTest:
    training = data.training
    if data.rebuilt:
        msg = (
            "gradients were not recorded but rebuilt from the weights by this very rule; record "
            "gradients"
        )
        raise RecordError(msg)
    if training.get("learning_rate") is None or data.gradients is None:
        msg = "it needs recorded gradients and a stated learning rate; record gradients"
        raise RecordError(msg)
    if training.get("nesterov") or str(training.get("optimizer", "SGD")) != "SGD":
        other = "Nesterov's momentum" if training.get("nesterov") else "another optimiser"
        msg = f"it is asked of heavy-ball SGD alone, and the metadata state {other}"
        raise RecordError(msg)
    # A linear rule holds along any direction, so the first coordinates do.
    first = slice(None, MOST_COORDINATES)
    weights, gradients = data.weights, data.gradients
    return stated_steps(
        Trajectory(values=weights.values[..., first], times=weights.times),
        Trajectory(values=gradients.values[..., first], times=gradients.times),
        learning_rate=training["learning_rate"],
        momentum=training.get("momentum") or 0.0,
        dampening=training.get("dampening") or 0.0,
        weight_decay=training.get("weight_decay") or 0.0,
        level=level,
    )


_Call: TypeAlias = "Callable[[Material, Material, float], AssumptionTest]"

# What is asked, of all there is and of few coordinates of it, in the order of the answers.
_QUESTIONS: Mapping[str, tuple[str, float, _Call]] = {
    "stationarity": (
        STATIONARY_QUESTION,
        VARIANCE,
        lambda _, few, level: stationarity_of(few.weights, level=level),
    ),
    "Gaussianity": (
        GAUSSIAN_QUESTION,
        KURTOSIS,
        lambda _, few, level: gaussianity(few.weights, level=level),
    ),
    "quadratic loss": (LOSS_QUESTION, LOSS_TOLERANCE, _loss_test),
    "constant noise": (NOISE_QUESTION, NOISE_TOLERANCE, _noise_test),
    SCALING: (SCALING_QUESTION, SCALING_TOLERANCE, _scaling_test),
    "independence of batches": (BATCHES_QUESTION, BATCHES_TOLERANCE, _batch_test),
    "step rule as stated": (STEP_QUESTION, STEP_TOLERANCE, _step_test),
}


def _ask(
    name: str,
    question: str,
    tolerance: float,
    level: float,
    call: _Call,
    data: Material,
    few: Material,
) -> AssumptionTest:
    try:
        return call(data, few, level)
    except InputError as error:  # the record is not what this question needs
        return AssumptionTest.unasked(
            name, str(error).rstrip("."), question=question, tolerance=tolerance, level=level
        )
