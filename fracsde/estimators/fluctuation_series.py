r"""The second fluctuation-dissipation relation by a series of learning rates, without a Hessian.

Let :math:`g = \nabla L + n` be the gradient of a batch, weight decay in it, with noise of mean zero
and covariance :math:`C`, independent from step to step.  In the stationary law at rate
:math:`\eta`, momentum :math:`\mu` and dampening :math:`\tau`,

.. math::
    \langle |g|^2 \rangle = \operatorname{Tr} C + \langle |\nabla L|^2 \rangle, \qquad
    \langle |\nabla L|^2 \rangle = \tfrac12 \operatorname{Tr}(H C)\, \epsilon + b\, \epsilon^2
    + O(\epsilon^3), \qquad \epsilon = \frac{\eta (1 - \tau)}{1 - \mu} .

For a quadratic loss with constant noise, mode by mode and whether or not ``H`` and ``C`` commute,

.. math::
    \langle |\nabla L|^2 \rangle = \sum_i C_{ii}\,
    \frac{(1 + \mu)\,\epsilon h_i}{2(1 + \mu) - (1 - \mu)\,\epsilon h_i}, \qquad
    b = \frac14\,\frac{1 - \mu}{1 + \mu} \operatorname{Tr}(H^2 C)
    \ge \frac{1 - \mu}{1 + \mu}\,\frac{(\frac12 \operatorname{Tr} HC)^2}{\operatorname{Tr} C},

the bound by Cauchy and Schwarz.  So the intercept measures the noise, the slope
:math:`\operatorname{Tr}(HC)`, and the bend is *not* anharmonicity by itself: a quadratic loss bends
too, upward.  What a loss that is not quadratic adds to the bend is of the same order; for one
weight with :math:`L = \frac h2 w^2 + \frac q4 w^4` it is

.. math:: b - \tfrac14\,\tfrac{1-\mu}{1+\mu}\, h^2 C = \tfrac34\, q\, C^2 / h .

Told ``H`` and ``C``, all orders of the quadratic loss from the second are taken out and the rest of
the bend is measured with its sign: it is zero at every rate where the loss is quadratic.  Without
them the bend can only be found below what every quadratic loss has, which shows a loss that
softens; higher orders of a quadratic loss, all positive, make that verdict careful.  Nesterov's
momentum has :math:`\frac{1 + \mu - 2\mu^2 - 4\mu^3}{1 + \mu}` in place of
:math:`\frac{1-\mu}{1+\mu}` in ``b``, negative above :math:`\mu = 0.6`: it is served with matrices.

Noise that depends on the weights changes the slope of :math:`\langle |g|^2 \rangle` at the same
order, by :math:`\frac12 \partial^2 \operatorname{Tr} C : \Sigma / \epsilon`, and leaves that of
:math:`\langle |\nabla L|^2 \rangle` as it is: where the gradients of the whole loss are known along
the runs, their squares are fitted in place of the batches', through zero.

The fit is in :mod:`fracsde.estimators.rate_polynomials`;
``tests/estimators/test_fluctuation_series.py`` holds all of this against exact maps.

References: [Yaida2019]_ has the relation and its use over rates, and reads the bend as
anharmonicity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import stats

from fracsde._check import integer, real
from fracsde.errors import InputError, RecordError, ShapeError, UnsupportedError
from fracsde.estimators.diagnostics import check_stationary
from fracsde.estimators.fluctuation_streams import (
    products_of_streams,
    settings_of_series,
    stream,
    streams_of,
)
from fracsde.estimators.rate_polynomials import (
    MeanSquare,
    Points,
    bends_of,
    enough,
    higher_orders,
    modes_of,
    polynomial,
    straight_to,
)
from fracsde.estimators.ratios import replicates
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.records.measurement import Measurement

__all__ = ["FluctuationSeries", "fluctuation_dissipation_series"]

_SQUARE, _BEND = "(loss/weight)^2", "loss^4/weight^6"
_OF_LOSS, _OF_BATCH = "loss_gradient_norm_squared", "gradient_norm_squared"


@dataclass(frozen=True, kw_only=True, eq=False)
class FluctuationSeries:
    """Noise, curvature and anharmonicity from runs at several learning rates.

    Parameters
    ----------
    rates : (rate,) ndarray of float64 [weight^2/loss]
        Effective rates ``eta (1 - tau) / (1 - mu)``, increasing.
    value, stderr : (rate,) ndarray of float64 [(loss/weight)^2]
        Mean square of the gradient at each, and its standard error.
    fitted : (rate,) ndarray of float64 [(loss/weight)^2]
        The polynomial there.
    noise : Measurement or None
        ``Tr C`` of a batch; None where gradients of the whole loss were fitted.
    curvature_noise : Measurement
        ``Tr(H C)`` of a batch.
    bend : Measurement
        The coefficient ``b`` of the squared rate.
    anharmonicity : Measurement
        The bend less that of a quadratic loss: of the given matrices, else the least that any
        quadratic loss has.
    told : bool
        Whether matrices were given.
    misfit : float [1]
        Chance of so large a misfit of the polynomial, were it right.
    linear_to : float [weight^2/loss]
        The largest rate up to which a straight line fits; NaN if not even the lowest rates lie on
        one.
    stationary : (rate,) tuple of bool
        Whether each run had settled.
    anharmonic : bool
        Whether the bend cannot be that of a quadratic loss with constant noise, at the level.
    sentence : str
        What was found, in words.
    """

    citation: ClassVar[tuple[str, ...]] = ("Yaida2019",)

    rates: FloatArray
    value: FloatArray
    stderr: FloatArray
    fitted: FloatArray
    noise: Measurement | None
    curvature_noise: Measurement
    bend: Measurement
    anharmonicity: Measurement
    told: bool
    misfit: float
    linear_to: float
    stationary: tuple[bool, ...]
    anharmonic: bool
    sentence: str


def fluctuation_dissipation_series(
    runs: Sequence[Any],
    *,
    learning_rates: ArrayLike | None = None,
    momentum: float | None = None,
    dampening: float | None = None,
    weight_decay: float | None = None,
    nesterov: bool | None = None,
    hessian: ArrayLike | None = None,
    gradient_noise: ArrayLike | None = None,
    start: int | Sequence[int] = 0,
    degree: int = 2,
    level: float = 1e-3,
) -> FluctuationSeries:
    r"""Measure noise, curvature and anharmonicity from stationary runs at several learning rates.

    .. math:: \langle |g|^2 \rangle = \operatorname{Tr} C
        + \tfrac12 \operatorname{Tr}(H C)\, \epsilon + b\, \epsilon^2 + \dots

    Parameters
    ----------
    runs : sequence of StoredRun or mapping
        One per rate, alike in all else.  Each is a stored run that kept scalars or whole gradients,
        or maps names to arrays ``(chain, draw)`` or ``(draw,)``: ``"gradient_norm_squared"`` of
        batches, with ``"weight_dot_gradient"`` and ``"weight_norm_squared"`` where an optimiser
        adds a weight decay to gradients recorded without it.  Where all have
        ``"loss_gradient_norm_squared"``, of the gradient of the whole loss, that is fitted.
    learning_rates : (rate,) array_like, optional [weight^2/loss]
        Of the runs in their order; by default what stored runs say.
    momentum, dampening, weight_decay : float, optional
        Of all runs; by default what stored runs say, else none.
    nesterov : bool, optional
        Whether their momentum is Nesterov's, which needs both matrices.
    hessian, gradient_noise : (P, P) array_like, optional [loss/weight^2, (loss/weight)^2]
        ``H`` and ``C`` of a batch at the minimum: tell anharmonicity from the bend that a quadratic
        loss has.
    start : int or sequence of int
        Draws left out at the beginning of every run, or of each.
    degree : int
        Of the polynomial, 2 to 4.  Rates near the critical one need more.
    level : float [1]
        Chance of calling a quadratic loss anharmonic, and that a settled run is called drifting.

    Returns
    -------
    FluctuationSeries

    Raises
    ------
    InputError
        If two rates are equal, there are fewer than the polynomial needs, settings of the runs
        differ, or a matrix is not what it must be.
    RecordError
        If a stream is missing, or a run diverged or is too short.
    UnsupportedError
        If noise is not independent from step to step, the optimiser is not SGD, or its momentum
        is Nesterov's and there are no matrices.

    References
    ----------
    [Yaida2019]_

    Examples
    --------
    >>> def parabola(eta, rng=np.random.default_rng(0)):  # 64 chains, L = w^2/2, C = 1
    ...     w, squares = np.zeros(64), []
    ...     for _ in range(800):
    ...         g = w + rng.normal(size=64)
    ...         squares += [g * g]
    ...         w = w - eta * g
    ...     return {"gradient_norm_squared": np.transpose(squares)}
    >>> rates = [0.1, 0.2, 0.3, 0.4, 0.5]
    >>> found = fluctuation_dissipation_series(
    ...     [parabola(eta) for eta in rates], learning_rates=rates, start=100,
    ...     hessian=[[1.0]], gradient_noise=[[1.0]])
    >>> abs(found.noise.value[0] - 1) < 4 * found.noise.stderr[0], found.anharmonic
    (np.True_, False)
    """
    level = real("level", level, low=0.0, high=1.0)
    degree = integer("degree", degree, low=2, high=4)
    modes = modes_of(hessian, gradient_noise)
    runs = _listed(runs)
    read = [streams_of(run) for run in runs]
    given = (momentum, dampening, weight_decay, nesterov)
    optimisers = settings_of_series([told for _, told in read], learning_rates, given)
    _, mu, tau, decay, ahead = optimisers[0]
    if ahead and modes is None:
        msg = (
            "the bend of a quadratic loss under Nesterov's momentum has a sign that depends on the "
            "momentum, and no bound without matrices; pass `hessian` and `gradient_noise`"
        )
        raise UnsupportedError(msg)
    rates = np.array([row[0] for row in optimisers]) * (1.0 - tau) / (1.0 - mu)
    order = np.argsort(rates)
    whole = all(_OF_LOSS in streams for streams, _ in read)
    powers = np.arange(1 if whole else 0, degree + 1)
    enough(rates[order], len(powers) + 1)
    starts = _starts(start, len(runs))
    squares = []
    for i in order:
        which = f"the run at rate {optimisers[i][0]:g}"
        found = _mean_square(read[i][0], decay, starts[i], level, which, whole=whole)
        squares.append(found)
    rates, bends, known = rates[order], bends_of(mu, nesterov=ahead), np.zeros(len(order))
    if modes is not None:
        known = higher_orders(*modes, rates, mu, nesterov=ahead)
    points = Points(rates=rates, powers=powers, known=known, squares=tuple(squares))
    return _series(points, bends, modes, level)


def _series(
    points: Points, bends: float, modes: tuple[FloatArray, FloatArray] | None, level: float
) -> FluctuationSeries:
    fit, told = polynomial(points), modes is not None
    found = dict(zip(points.powers.tolist(), fit.coefficients.tolist(), strict=True))
    unit = {int(p): np.eye(len(points.powers))[i] for i, p in enumerate(points.powers)}
    noise = None
    if 0 in found:
        noise = fit.measured(unit[0], found[0], "trace of the gradient noise", _SQUARE)
    slope = fit.measured(
        2.0 * unit[1], 2.0 * found[1], "trace of curvature times noise", "loss^3/weight^4"
    )
    whole, rest, away = found[2], found[2], unit[2]
    if modes is not None:
        whole += 0.25 * bends * float(np.sum(modes[1] * modes[0] ** 2))
    elif noise is not None:
        ratio = found[1] / found[0]
        rest -= bends * ratio * found[1]
        away = unit[2] - bends * (2.0 * ratio * unit[1] - ratio**2 * unit[0])
    bend = fit.measured(unit[2], whole, "bend of the squared gradient", _BEND)
    excess = fit.measured(away, rest, "anharmonic bend", _BEND)
    z = float(excess.value[0] / excess.stderr[0])
    limit = float(stats.t.isf(0.5 * level if told else level, excess.n_effective[0] - 1.0))
    anharmonic = z < -limit or (told and z > limit)
    settled = tuple(square.stationary for square in points.squares)
    linear_to = straight_to(points, level)
    return FluctuationSeries(
        rates=points.rates,
        value=np.array([square.value for square in points.squares]),
        stderr=np.sqrt([square.variance for square in points.squares]),
        fitted=fit.fitted,
        noise=noise,
        curvature_noise=slope,
        bend=bend,
        anharmonicity=excess,
        told=told,
        misfit=fit.misfit,
        linear_to=linear_to,
        stationary=settled,
        anharmonic=bool(anharmonic),
        sentence=_sentence(
            slope,
            excess,
            told,
            bool(anharmonic),
            fit.misfit,
            level,
            linear_to,
            settled,
        ),
    )


def _sentence(
    slope: Measurement,
    excess: Measurement,
    told: bool,
    anharmonic: bool,
    misfit: float,
    level: float,
    linear_to: float,
    settled: tuple[bool, ...],
) -> str:
    b, error = float(excess.value[0]), float(excess.stderr[0])
    said = [f"Tr(HC) is {slope.value[0]:.4g} with standard error {slope.stderr[0]:.2g}"]
    against = "a quadratic loss" if told else "the least of any quadratic loss"
    side = "above" if b > 0.0 else "below"
    said.append(f"the bend is {abs(b):.3g} {side} {against}, with standard error {error:.2g}")
    if anharmonic:
        what = "stiffens" if b > 0.0 else "softens"
        said.append(f"the loss {what} away from the minimum, or its noise is not constant")
    elif not told:
        said.append(
            "a quadratic loss can bend so; tell `hessian` and `gradient_noise` to measure the rest"
        )
    else:
        said.append("that is as a quadratic loss bends")
    if not np.isnan(linear_to):
        said.append(f"a straight line fits up to the effective rate {linear_to:.4g}")
    if misfit < level:
        said.append("the polynomial does not fit: leave out large rates, or raise `degree`")
    if not all(settled):
        said.append(f"{settled.count(False)} of {len(settled)} runs had not settled")
    return "; ".join(said) + "."


def _mean_square(
    streams: Mapping[str, FloatArray],
    decay: float,
    start: int,
    level: float,
    which: str,
    *,
    whole: bool,
) -> MeanSquare:
    values = streams[_OF_LOSS] if whole else _squares(streams, decay, which)
    if values.min() < -1e-9 * values.max():
        msg = f"{which}: a squared gradient cannot be negative, got {values.min():g}"
        raise RecordError(msg)
    start = integer("start", start, low=0, high=values.shape[1] - 1)
    times = np.arange(start, values.shape[1], dtype=np.float64)
    try:
        series = Trajectory(
            values=values[:, start:, None], times=times, names=("squared gradient",)
        )
        rows, _ = replicates(series)
        settled = check_stationary(series, level=level).stationary
    except RecordError as error:
        msg = f"{which}: {error}"
        raise RecordError(msg) from error
    count = len(rows)
    variance = float(rows.var(ddof=1)) / count
    if not variance > 0.0:
        msg = f"{which}: the gradient does not vary, so that it has no error; is it a run of SGD?"
        raise RecordError(msg)
    return MeanSquare(
        value=float(rows.mean()), variance=variance, count=float(count), stationary=settled
    )


def _squares(streams: Mapping[str, FloatArray], decay: float, which: str) -> FloatArray:
    # Squared gradients of batches, weight decay in them.
    if decay > 0.0:
        return products_of_streams(streams, decay)[1]
    if _OF_BATCH in streams or "gradients" not in streams:
        return stream(streams, _OF_BATCH, f"{which} needs it")
    g = streams["gradients"]
    return np.asarray(np.einsum("cdp,cdp->cd", g, g), dtype=np.float64)


def _listed(runs: Any) -> list[Any]:
    if isinstance(runs, (str, bytes)) or not isinstance(runs, Sequence):
        msg = f"`runs` must be a sequence of runs, one per learning rate, got {type(runs).__name__}"
        raise InputError(msg)
    if not runs:
        msg = "`runs` is empty; pass one run per learning rate"
        raise InputError(msg)
    return list(runs)


def _starts(start: Any, count: int) -> list[int]:
    if not isinstance(start, Sequence) and np.ndim(start) == 0:
        return [integer("start", start, low=0)] * count
    if len(start) != count:
        msg = f"`start` must be one number, or one per run, got {len(start)} for {count} runs"
        raise ShapeError(msg)
    return [integer("start", each, low=0) for each in start]
