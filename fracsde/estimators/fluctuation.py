r"""Fluctuation-dissipation relations of SGD, measured along a run.

With :math:`g` the gradient of a batch, the weight decay in it, and steps
:math:`v' = \mu v - \eta (1 - \tau) g`, :math:`w' = w + v'`, a law that does not change from one
step to the next has :math:`2 \langle w \cdot v' \rangle + \langle |v'|^2 \rangle = 0` and
:math:`\langle w \cdot v \rangle = \frac12 \langle |v|^2 \rangle`, and so

.. math::
    \langle w \cdot g \rangle = \frac{1 + \mu}{2 \eta (1 - \tau)} \langle |v|^2 \rangle
    = \frac{\eta (1 + \mu)}{2 (1 - \tau)} \langle |b|^2 \rangle , \qquad v = -\eta b,

the second form for the buffer of torch, :math:`b' = \mu b + (1 - \tau) g`,
:math:`w' = w - \eta b'`.  Without momentum it is
:math:`\langle w \cdot g \rangle = \frac\eta2 \langle |g|^2 \rangle`.  This holds for every loss and
every way to draw batches, and :math:`w` may be counted from any place: over consecutive steps the
two sides differ by what :math:`|w|^2` has gained, with momentum by what
:math:`|w'|^2 - \mu |w|^2 + \mu |v'|^2` has, and by nothing else.  The error of their ratio is then
that of the two ends of a chain, :mod:`fracsde.estimators.ends`.

Nesterov's momentum as in torch, :math:`b' = \mu b + g`, :math:`w' = w - \eta (g + \mu b')`, has
:math:`x' = x + v'` with the position :math:`x = w - \mu v` behind the look-ahead, and with
:math:`2\mu \langle v \cdot \eta g \rangle = \eta^2 \langle |g|^2 \rangle
- (1 - \mu^2) \langle |v|^2 \rangle`, from the buffer's own stationarity,

.. math::
    \langle w \cdot g \rangle = \frac\eta2 \langle |g|^2 \rangle
        + \frac{\mu(1+\mu)}{2\eta} \langle |v|^2 \rangle ,

where the sides differ by what :math:`|x'|^2 - \mu|x|^2` has gained and by the ends of
:math:`|v|^2`.

Contracted with the curvature,

.. math::
    \langle \nabla L \cdot g \rangle = \frac{1 + \mu}{2\eta(1 - \tau)} \langle v^T H v \rangle
    \quad\text{or}\quad
    \frac\eta2 \langle g^T H g \rangle + \frac{\mu(1+\mu)}{2\eta} \langle v^T H v \rangle,

exact for a quadratic loss.  Without momentum the right side is
:math:`\frac\eta2 \langle g^T H g \rangle`.  Where noise is independent from step to step the left
is :math:`\langle |\nabla L|^2 \rangle`, which scatters less; in shuffled epochs it is not, as the
noise of a batch is remembered by the others of its epoch.  [Yaida2019]_ has the first with
momentum, and the second without.

Each is measured as left over right, 1 where it holds, with the error of a ratio of two means of
one run.  Of the second, and of the first where steps are skipped, nothing telescopes; the error of
few chains is then that of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import choice, finite_array, integer, real, truth
from fracsde.errors import RecordError, ShapeError
from fracsde.estimators.diagnostics import check_stationary
from fracsde.estimators.ends import ratio_of_ends
from fracsde.estimators.fluctuation_streams import (
    may_be_consecutive,
    products_of_streams,
    settings_of,
    stream,
    streams_of,
    velocity_of,
)
from fracsde.estimators.loss import at
from fracsde.estimators.ratios import ratio_of_means
from fracsde.records.measurement import Measurement, Quantity
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.estimators.fluctuation_streams import Settings
    from fracsde.estimators.loss import DifferentiableLoss

__all__ = [
    "FluctuationRatio",
    "fluctuation_dissipation",
    "second_fluctuation_dissipation",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class FluctuationRatio(Measurement):
    """Left over right side of a fluctuation-dissipation relation: 1 where it holds.

    Parameters
    ----------
    left, right : float [loss, or loss^2/weight^2 of the second]
        Both sides.
    interval : tuple of float [1]
        Fieller's interval of the ratio at the level asked for.
    stationary : bool
        Whether both sides kept their means and spreads from the first half of the record to the
        second: without that the relation is not expected to hold.
    sentence : str
        What was found, in words.
    """

    citation: ClassVar[tuple[str, ...]] = ("Yaida2019",)

    left: float
    right: float
    interval: tuple[float, float]
    stationary: bool
    sentence: str


def fluctuation_dissipation(
    run: Any,
    *,
    learning_rate: float | None = None,
    momentum: float | None = None,
    dampening: float | None = None,
    weight_decay: float | None = None,
    nesterov: bool | None = None,
    velocity: str | None = None,
    start: int = 0,
    level: float = 1e-3,
    quantity: Quantity | None = None,
) -> FluctuationRatio:
    r"""Measure the first fluctuation-dissipation relation along a run.

    .. math:: \langle w \cdot g \rangle \Big/ \tfrac{1+\mu}{2\eta(1-\tau)} \langle |v|^2 \rangle
        \quad\text{or}\quad \langle w \cdot g \rangle \Big/ \big[\tfrac\eta2 \langle |g|^2 \rangle
        + \tfrac{\mu(1+\mu)}{2\eta} \langle |v|^2 \rangle\big]

    The second is that of Nesterov's momentum.

    Parameters
    ----------
    run : StoredRun or mapping
        A stored run with the streams named below; or arrays by these names, ``(chain, draw)`` or
        ``(draw,)``.  Consecutive steps give by far the smallest error, and of a run that kept all
        weights and gradients at each of them the vectors are used.

        ``"weight_dot_gradient"``, ``"gradient_norm_squared"``: of the weights before a step and
        the gradient of that step.  In their place vectors ``"weights"`` (before the step) and
        ``"gradients"``, ``(chain, draw, P)``, may be given; weights are then counted from their
        mean, which removes most of the error of a record that skips steps.

        ``"velocity_norm_squared"``: needed with momentum.

        ``"weight_norm_squared"``: needed where an optimiser adds a weight decay to gradients that
        were recorded without it.
    learning_rate, momentum, dampening, weight_decay : float, optional
        Of the optimiser; by default what a stored run says, else no momentum, dampening or decay.
    nesterov : bool, optional
        Whether momentum is Nesterov's, as in torch; by default what a stored run says, else not.
    velocity : {"buffer", "step"}, optional
        What the velocity is: torch's momentum buffer, in units of the gradient, or the step of
        the weights.  By default the unit of the stream of a stored run says it, and of arrays it
        is the buffer.
    start : int
        Draws that are left out at the beginning.
    level : float [1]
        Chance that the interval misses, and that a stationary run is called drifting.
    quantity : Quantity, optional
        Name of the result.

    Returns
    -------
    FluctuationRatio
        Of fewer than 16 chains the error is that of their ends where the record shows that steps
        are consecutive, which its ``method`` says, and of blocks elsewhere.  Where arrays join
        windows of consecutive steps, what their gaps add is seen in the record.

    Raises
    ------
    RecordError
        If a stream is missing, the record is too short, or it diverged.
    UnsupportedError
        If the run used another optimiser than SGD, or its learning rate changed.

    References
    ----------
    [Yaida2019]_, [Fieller1954]_, [EngleGranger1987]_

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> w, cross, square = np.zeros(32), [], []
    >>> for _ in range(400):  # 32 chains of one weight on a parabola
    ...     g = w + rng.normal(size=32)
    ...     cross += [w * g]
    ...     square += [g * g]
    ...     w = w - 0.2 * g
    >>> streams = {"weight_dot_gradient": np.transpose(cross),
    ...            "gradient_norm_squared": np.transpose(square)}
    >>> found = fluctuation_dissipation(streams, learning_rate=0.2, start=100)
    >>> found.interval[0] < 1.0 < found.interval[1], found.stationary
    (True, True)
    """
    streams, told = streams_of(run)
    optimiser = settings_of(told, learning_rate, momentum, dampening, weight_decay, nesterov)
    of_gradient, of_velocity = _weights_of(optimiser, velocity_of(run, velocity))
    level = real("level", level, low=0.0, high=1.0)
    cross, square = products_of_streams(streams, optimiser.weight_decay)
    right = of_gradient * square
    if of_velocity:
        why = f"the momentum {optimiser.momentum:g} needs it"
        right = right + of_velocity * stream(streams, "velocity_norm_squared", why)
    label = quantity or Quantity(name="first fluctuation-dissipation ratio")
    follow = may_be_consecutive(run)
    return _measured(label, cross, right, start, level, telescopes=follow)


def second_fluctuation_dissipation(
    loss: DifferentiableLoss,
    *,
    weights: ArrayLike,
    gradients: ArrayLike,
    velocities: ArrayLike | None = None,
    learning_rate: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    velocity: str = "buffer",
    shuffled: bool = False,
    level: float = 1e-3,
    quantity: Quantity | None = None,
) -> FluctuationRatio:
    r"""Measure the second fluctuation-dissipation relation at points of a run.

    .. math:: \langle |\nabla L|^2 \rangle \Big/
        \tfrac{1+\mu}{2\eta(1-\tau)} \langle v^T H v \rangle
        \quad\text{or}\quad \langle |\nabla L|^2 \rangle \Big/ \big[
        \tfrac\eta2 \langle g^T H g \rangle
        + \tfrac{\mu(1+\mu)}{2\eta} \langle v^T H v \rangle\big]

    The second is that of Nesterov's momentum.

    Parameters
    ----------
    loss : DifferentiableLoss
        The loss that was trained, weight decay included; asked for its gradient and one product
        at every point, two of Nesterov's momentum.
    weights, gradients : (chain, draw, P) or (draw, P) array_like
        Weights before a step, and the gradient of the batch of that step, without weight decay.
        Points far apart serve as well as consecutive ones.
    velocities : like weights, optional
        After the step; needed with momentum.
    learning_rate, momentum, dampening : float
        Of the optimiser.
    nesterov : bool
        Whether momentum is Nesterov's, as in torch.
    velocity : {"buffer", "step"}
        What velocities are: torch's buffer, or the step of the weights; ``v`` of Nesterov's.
    shuffled : bool
        Whether batches are those of shuffled epochs: the left side is then that of
        :math:`\langle \nabla L \cdot g \rangle`, and points must come from all phases alike.
    level : float [1]
        Chance that the interval misses, and that a stationary run is called drifting.
    quantity : Quantity, optional
        Name of the result.

    Returns
    -------
    FluctuationRatio
        Not 1 where the loss is not quadratic over the law of the run, or noise of successive
        steps is not independent, as in shuffled epochs that are not said to be.

    Raises
    ------
    RecordError
        If there is momentum and there are no velocities, or the record is too short.
    ShapeError
        If the arrays do not have one shape.

    References
    ----------
    [Yaida2019]_, [Fieller1954]_

    Examples
    --------
    >>> from fracsde.networks import Network
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 1))
    >>> line = Network(inputs=x, targets=2 * x[:, 0] + rng.normal(size=40), hidden=(), bias=False,
    ...                objective="squared_error")
    >>> w, weights, gradients = np.zeros((32, 1)), [], []
    >>> for _ in range(200):  # 32 chains, one example a step
    ...     chosen = rng.integers(40, size=32)
    ...     g = [line.per_example_gradients(v, [i])[0] for v, i in zip(w, chosen)]
    ...     weights += [w]
    ...     gradients += [g]
    ...     w = w - 0.1 * np.array(g)
    >>> points, slopes = (np.swapaxes(rows, 0, 1)[:, 60:] for rows in (weights, gradients))
    >>> found = second_fluctuation_dissipation(line, weights=points, gradients=slopes,
    ...                                        learning_rate=0.1)
    >>> found.interval[0] < 1.0 < found.interval[1], found.stationary
    (True, True)
    """
    optimiser = settings_of({}, learning_rate, momentum, dampening, None, nesterov)
    choice("velocity", velocity, ("buffer", "step"))
    shuffled = truth("shuffled", shuffled)
    level = real("level", level, low=0.0, high=1.0)
    w, g = _vectors("weights", weights), _vectors("gradients", gradients)
    g = g + float(getattr(loss, "weight_decay", 0.0)) * w
    pushes = list(zip(_weights_of(optimiser, velocity), (g, g), strict=True))
    if pushes[1][0]:
        if velocities is None:
            msg = f"the momentum {momentum:g} needs `velocities`; record the momentum buffer"
            raise RecordError(msg)
        pushes[1] = (pushes[1][0], _vectors("velocities", velocities))
    shapes = [w.shape, g.shape, pushes[1][1].shape]
    if len(set(shapes)) > 1:
        msg = f"weights, gradients and velocities must have one shape, got {shapes}"
        raise ShapeError(msg)
    at(loss, w[0, 0])
    left, right = np.empty(w.shape[:2]), np.zeros(w.shape[:2])
    for place in np.ndindex(*w.shape[:2]):
        slope = loss.gradient(w[place])
        left[place] = slope @ (g[place] if shuffled else slope)
        for factor, moves in pushes:
            if factor:
                x = moves[place]
                right[place] += factor * (x @ loss.hessian_vector_product(w[place], x))
    label = quantity or Quantity(name="second fluctuation-dissipation ratio")
    return _measured(label, left, right, 0, level, telescopes=False)


def _weights_of(optimiser: Settings, velocity: str) -> tuple[float, float]:
    # Those of the squares of gradients and of velocities in what the noise pushes.
    eta, mu = optimiser.learning_rate, optimiser.momentum
    if mu == 0.0:
        return 0.5 * eta, 0.0
    unit = 0.5 * (1.0 + mu) * (eta if velocity == "buffer" else 1.0 / eta)
    if optimiser.nesterov:
        return 0.5 * eta, mu * unit
    return 0.0, unit / (1.0 - optimiser.dampening)


def _measured(
    label: Quantity,
    left: FloatArray,
    right: FloatArray,
    start: int,
    level: float,
    *,
    telescopes: bool,
) -> FluctuationRatio:
    draws = left.shape[1]
    start = integer("start", start, low=0, high=draws - 1)
    values = np.stack([left, right], axis=2)[:, start:]
    times = np.arange(start, draws, dtype=np.float64)
    series = Trajectory(values=values, times=times, names=("left side", "right side"))
    settled = check_stationary(series, level=level)
    ends = ratio_of_ends(series, level=level) if telescopes else None
    ratio = ends or ratio_of_means(series, level=level)
    low, high = ratio.interval
    sentence = (
        f"Left over right is {ratio.value:.4g} with standard error {ratio.stderr:.2g}; at level "
        f"{level:g} it lies between {low:.4g} and {high:.4g}."
    )
    if not settled.stationary:
        sentence += f"  The run had not settled: {settled.sentence}"
    return FluctuationRatio(
        quantity=label,
        value=np.array(ratio.value),
        stderr=np.array(ratio.stderr),
        n_effective=np.array(ratio.n_effective),
        method=f"ratio of means over {ratio.method}",
        left=ratio.top,
        right=ratio.bottom,
        interval=ratio.interval,
        stationary=settled.stationary,
        sentence=sentence,
    )


def _vectors(name: str, values: Any) -> FloatArray:
    found = finite_array(name, values, ndim=(2, 3))
    return found[None] if found.ndim == 2 else found
