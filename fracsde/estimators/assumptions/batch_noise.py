r"""Whether the noise of a batch is that of one example over the size of the batch.

.. math::
    \operatorname{Cov} g_B = \frac{f}{B}\,C, \qquad
    f = 1 \text{ with replacement}, \quad f = \frac{N - B}{N - 1} \text{ without},

is arithmetic where the gradient of a batch is the mean of the gradients of its examples and these
are drawn independently of one another.  Batch normalisation couples the examples of a batch, a
sampler that draws clusters (one file, one user, one episode at a time) makes them alike, and a sum
or a weighted mean over the batch has another power of :math:`B`.  Along a direction ``v`` the
effect is

.. math::
    e_v(B) = \frac{B\, v^T \operatorname{Cov}(g_B)\, v / f}{v^T C v} - 1,

the relative error of a variance predicted from ``C``, which is that of one example where it is
given, and else follows from the smallest batch.

Gradients at one place are compared as they are.  Those of a run move with its weights: what is
compared is what their linear regression on position leaves, so that a noise that depends on
position (:func:`~fracsde.estimators.assumptions.constant_noise`) shows here too.

Not asked: whether the *mean* of the gradient depends on the batch, as batch normalisation makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, finite_array, integer, symmetric
from fracsde.errors import InputError, OutOfRangeError, RecordError, ShapeError
from fracsde.estimators.assumptions._deciding import LEVEL, decide, positive_tolerance
from fracsde.estimators.assumptions._positions import directions_of
from fracsde.estimators.assumptions._regression import design_of, paired, principal, regress
from fracsde.estimators.chains import as_trajectory
from fracsde.estimators.moments import variances
from fracsde.records.measurement import Measurement, Quantity
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fracsde._typing import ArrayLike, FloatArray, RandomState
    from fracsde.records.assumption import AssumptionTest

__all__ = ["batch_gradients", "noise_by_batch_size"]

NAME = "noise proportional to 1/B"
QUESTION = "Is the noise of a batch that of one example over the size of the batch?"
TOLERANCE = 0.05
_SAMPLING = ("with_replacement", "without_replacement", "shuffled")


def noise_by_batch_size(
    gradients: Mapping[int, Trajectory | ArrayLike],
    *,
    noise: ArrayLike | None = None,
    weights: Mapping[int, Trajectory | ArrayLike] | None = None,
    dataset_size: int | None = None,
    sampling: str = "with_replacement",
    directions: ArrayLike | None = None,
    tolerance: float = TOLERANCE,
    level: float = LEVEL,
) -> AssumptionTest:
    """Ask whether gradient noise falls as one over the size of the batch.

    Parameters
    ----------
    gradients : mapping from int to (repetition, coordinate) array_like [loss / weight]
        From the size of the batch to gradients of independent batches at one place, as
        :func:`batch_gradients` makes them; or, with ``weights``, to the recorded gradients of a
        run, a Trajectory or (chain, draw, coordinate).
    noise : (coordinate, coordinate) array_like, optional [loss^2 / weight^2]
        Covariance of one example's gradient; then a single size suffices, and every size is asked.
        If not given the smallest size stands for it.
    weights : mapping from int to Trajectory or array_like, optional [weight]
        Positions of the runs, recorded at every step, for the same sizes.
    dataset_size : int, optional
        Examples in all; needed for batches without replacement.
    sampling : {"with_replacement", "without_replacement", "shuffled"}
        How the examples of one batch were drawn.
    directions : (coordinate, k) array_like, optional [1]
        Directions to ask along; the four leading principal ones of the smallest batch's gradients
        if not given.
    tolerance : float [1]
        Largest relative error of the noise that does not matter.
    level : float [1]
        Two-sided level of all intervals together.

    Returns
    -------
    AssumptionTest
        Of several sizes and directions the effect that decides; all are its ``entries``.

    Raises
    ------
    InputError
        If there is nothing to compare, or sizes and positions do not belong together.
    OutOfRangeError
        If a batch is all of the data, which has no noise.
    RecordError
        If there are too few gradients, or no noise along a direction.
    ShapeError
        If coordinates differ.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> examples = rng.standard_normal((500, 2))
    >>> mean = lambda rows: examples[rows].mean(axis=0)
    >>> sizes = batch_gradients(mean, 500, [4, 64], repetitions=2000, rng=rng)
    >>> noise_by_batch_size(sizes, tolerance=0.3).verdict.name
    'HOLDS'
    >>> root = lambda rows: examples[rows].sum(axis=0) / np.sqrt(len(rows))
    >>> sizes = batch_gradients(root, 500, [4, 64], repetitions=2000, rng=rng)
    >>> noise_by_batch_size(sizes, tolerance=0.3).verdict.name
    'FAILS'
    """
    band = positive_tolerance("tolerance", tolerance)
    choice("sampling", sampling, _SAMPLING)
    series = _series(gradients, weights)
    sizes = sorted(series)
    if noise is None and len(sizes) < 2:
        msg = (
            f"`gradients` of one batch size, {sizes[0]}, have nothing to be compared with; pass "
            "those of two sizes, or the `noise` of one example"
        )
        raise InputError(msg)
    shares = {B: _share(B, dataset_size, sampling) for B in sizes}
    width = next(iter(series.values())).dimension
    vectors = directions_of(series[sizes[0]], directions)
    count = vectors.shape[1]
    C = None if noise is None else symmetric("noise", noise, size=width)
    scaled = {B: _scaled(series[B], vectors, B / shares[B]) for B in sizes}
    if C is None:
        base, asked = scaled[sizes[0]], sizes[1:]
        against = f"batches of {sizes[0]}"
    else:
        exact = np.einsum("dk,de,ek->k", vectors, C, vectors)
        base, asked = (exact, np.zeros(count), np.full(count, np.inf)), sizes
        against = "one example"
    _refuse_silent(base[0])
    kind = "principal direction" if directions is None else "direction"
    labels = tuple(
        f"noise times batch size at {B}, relative to {against}, along {kind} {k + 1}, less one"
        for B in asked
        for k in range(count)
    )
    parts = [_ratio(scaled[B], base) for B in asked]
    return decide(
        Measurement(
            quantity=Quantity(name="effect", labels=labels),
            value=np.concatenate([part[0] for part in parts]),
            stderr=np.concatenate([part[1] for part in parts]),
            n_effective=np.concatenate([part[2] for part in parts]),
            method="spread of the squares",
        ),
        name=NAME,
        question=QUESTION,
        tolerances=band,
        level=level,
        consequence=(
            "predicted variances are off by as much; measure the noise with batches of the size of "
            "the run and pass it times that size, look for batch normalisation and for a sampler "
            "whose examples are alike, and state how batches are drawn"
        ),
        method="variances of batch gradients"
        + ("" if weights is None else " after regression on position"),
    )


def batch_gradients(
    gradient: Callable[[Any], ArrayLike],
    examples: int,
    sizes: Sequence[int],
    *,
    repetitions: int = 32_768,
    sampling: str = "with_replacement",
    rng: RandomState = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, FloatArray]:
    """Draw gradients of independent batches of several sizes at one place.

    Parameters
    ----------
    gradient : callable
        Takes the row numbers of a batch, (B,) int64, and returns its gradient, (coordinate,), as
        training would compute it; for few coordinates of many weights multiply by directions.
    examples : int
        How many rows there are.
    sizes : sequence of int
        Batch sizes, each once.
    repetitions : int
        Batches of each size.  The relative error of a variance is ``sqrt(2 / repetitions)``: as
        many as the default tell 0 from 5 %, a thousand tell it from 40 %.
    sampling : {"with_replacement", "without_replacement", "shuffled"}
        How the rows of one batch are drawn; the batches are independent of one another.
    rng : int, SeedSequence or Generator
        Source of the rows.
    progress : callable, optional
        Called with the batches done and those in all.

    Returns
    -------
    dict from int to (repetition, coordinate) ndarray of float64

    Raises
    ------
    InputError
        If a size occurs twice.
    OutOfRangeError
        If there are fewer rows than a batch without replacement takes.
    """
    examples = integer("examples", examples, low=1)
    repetitions = integer("repetitions", repetitions, low=4)
    choice("sampling", sampling, _SAMPLING)
    wanted = [integer("sizes", B, low=1) for B in sizes]
    if not wanted or len(set(wanted)) < len(wanted):
        msg = f"`sizes` must be different batch sizes, at least one, got {list(sizes)!r}"
        raise InputError(msg)
    again = sampling == "with_replacement"
    if not again and max(wanted) > examples:
        msg = f"a batch of {max(wanted)} cannot be drawn without replacement from {examples} rows"
        raise OutOfRangeError(msg)
    generator, total = np.random.default_rng(rng), repetitions * len(wanted)
    found: dict[int, FloatArray] = {}
    for i, B in enumerate(wanted):
        rows = []
        for k in range(repetitions):
            chosen = generator.choice(examples, size=B, replace=again)
            rows.append(finite_array("gradient", gradient(chosen), ndim=(1,)))
            if progress is not None:
                progress(i * repetitions + k + 1, total)
        found[B] = np.stack(rows)
    return found


def _series(gradients: Any, weights: Any) -> dict[int, Trajectory]:
    # Deviations of gradients from their mean at the place where they were taken, by batch size.
    maps = {"gradients": gradients} | ({} if weights is None else {"weights": weights})
    for name, value in maps.items():
        if not isinstance(value, Mapping) or not value:
            msg = f"`{name}` must map batch sizes to arrays, got {type(value).__name__}"
            raise InputError(msg)
    if weights is not None and set(weights) != set(gradients):
        msg = (
            f"`weights` must be of the same batch sizes as `gradients`, got {sorted(weights)} and "
            f"{sorted(gradients)}"
        )
        raise InputError(msg)
    found = {}
    for size, value in gradients.items():
        B = integer("gradients", size, low=1, remedy="its keys are batch sizes")
        found[B] = _at_one_place(value) if weights is None else _residual(weights[size], value)
    widths = {one.dimension for one in found.values()}
    if len(widths) > 1:
        msg = f"gradients of all batch sizes must have the same coordinates, got {sorted(widths)}"
        raise ShapeError(msg)
    return found


def _at_one_place(value: Any) -> Trajectory:
    if isinstance(value, Trajectory) or np.ndim(value) != 2:
        msg = (
            "gradients at one place must be (repetition, coordinate), got "
            f"{getattr(value, 'values', np.asarray(value)).shape}; those of a run need its "
            "`weights` beside them"
        )
        raise ShapeError(msg)
    rows = finite_array("gradients", value, ndim=(2,))
    if len(rows) < 4:
        msg = f"at least 4 batches of each size are needed, got {len(rows)}; draw more"
        raise RecordError(msg)
    return Trajectory(values=rows[:, None, :], times=np.zeros(1))


def _residual(weights: Any, gradients: Any) -> Trajectory:
    pairs = paired(as_trajectory(weights), as_trajectory(gradients))
    pairs = pairs.thinned(pairs.positions.shape[-1] + 1)
    z, _ = principal(pairs.positions)
    fit = regress(design_of(z), pairs.gradients)
    draws = fit.residuals.shape[0] * fit.residuals.shape[1]
    lost = np.sqrt(draws / (draws - fit.design.shape[-1]))
    return Trajectory(values=fit.residuals * lost, times=pairs.steps)


def _share(B: int, examples: int | None, sampling: str) -> float:
    # How much less batches without replacement vary.
    if sampling == "with_replacement":
        return 1.0
    if examples is None:
        msg = f"`dataset_size` must be given for batches drawn {sampling.replace('_', ' ')}"
        raise InputError(msg)
    total = integer("dataset_size", examples, low=2)
    if total <= B:
        msg = f"a batch of {B} of {total} examples has no noise; leave that size out"
        raise OutOfRangeError(msg)
    return (total - B) / (total - 1)


def _scaled(
    series: Trajectory, vectors: FloatArray, factor: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    found = variances(series.project(vectors))
    return factor * found.value, factor * found.stderr, found.n_effective


def _refuse_silent(base: FloatArray) -> None:
    if not np.all(base > 0.0):
        k = int(np.argmin(base))
        msg = (
            f"there is no gradient noise along direction {k + 1} to compare with; leave that "
            "direction out"
        )
        raise RecordError(msg)


def _ratio(
    top: tuple[FloatArray, FloatArray, FloatArray], base: tuple[FloatArray, FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return ratios of independent variances less one, their errors and effective numbers."""
    ratio = top[0] / base[0]
    a, b = np.square(top[1] / top[0]), np.square(base[1] / base[0])
    spread = a + b
    # Welch and Satterthwaite, of the relative errors.
    freedom = np.square(spread) / (np.square(a) / (top[2] - 1.0) + np.square(b) / (base[2] - 1.0))
    return ratio - 1.0, ratio * np.sqrt(spread), 1.0 + freedom
