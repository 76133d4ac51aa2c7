r"""From a theory to predictions, in the words in which runs are measured.

Along directions :math:`V` of the weights the stationary law has

.. math::
    \operatorname{E} V^T w = V^T m, \qquad
    \operatorname{Cov} V^T w = V^T \Sigma V, \qquad
    \rho_u(s) = \frac{u^T R(s)\, u}{u^T \Sigma u}, \qquad
    \sum_u \operatorname{E}[u \cdot (w_{t+s} - w_t)]^2 ,

whatever the directions: the law of all weights is computed and looked at along :math:`V`, so a
random projection is served as exactly as an eigenvector.  Cutting the *matrices* down first,
:math:`V^T H V` and :math:`V^T C V`, gives the same only where :math:`H V` stays in the span of
:math:`V`, as eigenvectors do.

The numerical error of a variance is the bound that comes with the covariance
(:class:`~fracsde.stationary.StationaryCovariance`), and rounding.  That of an autocorrelation, a
displacement or an integrated time is ten times what the covariance's error would do to it, an
estimate; that of a closure, three standard errors of its averages, the worst direction's for all.

A deviation of the mean or of an entry off the diagonal is relative to standard deviations, since
both may be zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fracsde._check import finite_array, real
from fracsde._prediction_views import LAWS, at_phases, view_of
from fracsde.errors import InputError, OutOfRangeError, ShapeError, UnsupportedError
from fracsde.lyapunov.evolution import evolve, lifted
from fracsde.lyapunov.moments import equal_moments
from fracsde.lyapunov.processes import as_linear, require_stationary
from fracsde.problems.epochs import EpochRecursion
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion
from fracsde.records import quantities as names
from fracsde.records.measurement import Prediction
from fracsde.transients import autocovariance, mean_square_displacement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._prediction_views import View
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.closure import GaussianClosure
    from fracsde.problems.matrix_free import MatrixFreeOU, MatrixFreeSGD
    from fracsde.problems.ornstein_uhlenbeck import OUProcess
    from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
    from fracsde.problems.sgd import SGDNearMinimum
    from fracsde.problems.structured import DiagonalOU, LowRankOU
    from fracsde.records.measurement import Quantity

    Theory: TypeAlias = (
        SGDNearMinimum
        | QuadraticLossSGD
        | OUProcess
        | LinearRecursion
        | EpochRecursion
        | MatrixFreeSGD
        | MatrixFreeOU
        | DiagonalOU
        | LowRankOU
        | GaussianClosure
    )

__all__ = ["LAWS", "predict"]

_EPS = float(np.finfo(np.float64).eps)
_IN_TIME = 10.0  # errors of the covariance that count for what is made of it at a lag


def predict(
    theory: Theory,
    *,
    quantities: str | Sequence[str] = ("mean", "stationary variance"),
    law: str | None = None,
    directions: ArrayLike | None = None,
    lags: ArrayLike | None = None,
    spacing: float = 1.0,
    phases: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    theory_name: str | None = None,
    unit: str = "weight",
) -> tuple[Prediction, ...]:
    r"""Predict stationary quantities of a run, each with the numerical error of computing it.

    Parameters
    ----------
    theory : SGDNearMinimum, LeastSquaresSGD, QuadraticSGD, OUProcess, LinearRecursion, ...
        What to believe.  Also the processes of :mod:`fracsde.stationary_large`, which know means
        and variances, and a :class:`~fracsde.closure.GaussianClosure`.
    quantities : str or sequence of str
        Names of :mod:`fracsde.records.quantities`.
    law : {"map", "epochs", "independent", "flow", "underdamped", "kunin"}, optional
        Which law of SGD.  ``"map"`` and, for shuffled batches, ``"epochs"`` are exact and what is
        taken if nothing is said; ``"independent"`` treats the batches of an epoch as independent;
        the last three are continuum limits.  SGD on quadratic losses has the noise of its state
        unless a law is named, and then that of its minimum.
    directions : (d, p) array_like, optional [1]
        Along which, one per column, used as they are; each coordinate by itself if not given, the
        leading modes for a closure.
    lags : (lag,) array_like, optional [step or time]
        For autocorrelations and displacements.
    spacing : float [step or time]
        Distance of the draws over which an integrated time sums.
    phases : (q,) array_like of int, optional [step]
        Steps of the epoch already taken at which a shuffled run is looked at, all of them if not
        given: at the end of epochs it varies less than within them.
    labels : (p,) sequence of str, optional
        Names of the directions; numbers from 0 if not given, as an unnamed record has.
    theory_name : str, optional
        For the report; the law if not given.
    unit : str
        Unit of a coordinate.

    Returns
    -------
    tuple of Prediction
        One per quantity, in the order asked for.

    Raises
    ------
    InputError
        If a quantity needs lags and there are none, or the theory is something else.
    UnsupportedError
        If the theory does not know a quantity.
    OutOfRangeError
        If nothing moves along a direction, or a lag is not positive.
    UnstableError
        If there is no stationary law.
    ShapeError
        If directions or labels do not fit.

    Examples
    --------
    >>> from fracsde import SGDNearMinimum
    >>> sgd = SGDNearMinimum(hessian=np.diag([1.0, 0.5]), gradient_noise=np.eye(2),
    ...                      learning_rate=0.5, batch_size=1)
    >>> mean, variance = predict(sgd)
    >>> variance.quantity.name, variance.value.round(6).tolist(), variance.theory
    ('stationary variance', [0.333333, 0.571429], 'map')
    >>> predict(sgd, quantities="variance", law="flow")[0].value.round(6).tolist()
    [0.25, 0.5]
    """
    wanted = names.chosen(quantities)
    return from_view(
        view_of(theory, law, directions, only_diagonal=diagonal(wanted)),
        wanted,
        lags=lags,
        spacing=spacing,
        phases=phases,
        labels=labels,
        theory_name=theory_name,
        unit=unit,
    )


def from_view(
    view: View,
    wanted: tuple[str, ...],
    *,
    lags: ArrayLike | None = None,
    spacing: float = 1.0,
    phases: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    theory_name: str | None = None,
    unit: str = "weight",
) -> tuple[Prediction, ...]:
    """Read predictions from a law that was looked at along directions.

    Parameters
    ----------
    view : View
        The law.
    wanted : tuple of str
        Full names of quantities.
    lags, spacing, phases, labels, theory_name, unit
        As for :func:`predict`.

    Returns
    -------
    tuple of Prediction

    Raises
    ------
    OutOfRangeError
        If nothing moves along a direction.
    ShapeError
        If there is not one label per direction.
    """
    if phases is not None:
        view = at_phases(view, phases)
    count = len(view.variances)
    tags = names.numbered(count) if labels is None else tuple(labels)
    if len(tags) != count:
        msg = f"`labels` must hold {count} names, one per direction, got {len(tags)}"
        raise ShapeError(msg)
    if not np.all(view.variances > 0.0):
        k = int(np.argmin(view.variances > 0.0))
        msg = (
            f"nothing moves along {tags[k]!r}: its variance is {view.variances[k]:g}; leave that "
            "direction out, or give it gradient noise"
        )
        raise OutOfRangeError(msg)
    when = None if lags is None else _positive(lags)
    said = view.name if theory_name is None else theory_name
    step = real("spacing", spacing, low=0.0)
    return tuple(_one(view, name, tags, unit, when, step, said) for name in wanted)


def _positive(lags: ArrayLike) -> FloatArray:
    when = finite_array("lags", lags, ndim=(0, 1)).reshape(-1)
    if np.any(when <= 0.0):
        msg = f"`lags` must be positive, got {when.min():g}; at lag 0 nothing has happened"
        raise OutOfRangeError(msg)
    return when


def diagonal(wanted: tuple[str, ...]) -> bool:
    """Return whether means and variances suffice for these quantities.

    Returns
    -------
    bool
    """
    known = {"stationary mean", "stationary variance", "stationary standard deviation"}
    return known.issuperset(wanted)


def _one(
    view: View,
    name: str,
    tags: tuple[str, ...],
    unit: str,
    lags: FloatArray | None,
    spacing: float,
    theory: str,
) -> Prediction:
    variances, relative = view.variances, view.error / view.variances
    spread = np.sqrt(variances)
    scale: FloatArray | None = None
    if name == "stationary mean":
        quantity, value, scale = names.stationary_mean(tags, unit), view.mean, spread
        error = 4.0 * _EPS * np.abs(value) + (relative * spread if _is_closure(view) else 0.0)
    elif name == "stationary variance":
        quantity, value, error = names.stationary_variance(tags, unit), variances, view.error
    elif name == "stationary standard deviation":
        quantity = names.stationary_standard_deviation(tags, unit)
        value, error = spread, 0.5 * relative * spread
    elif name == "stationary covariance":
        quantity = names.stationary_covariance(tags, unit=unit)
        i, j = np.triu_indices(len(tags), 1)
        value, scale = _whole(view)[i, j], spread[i] * spread[j]
        error = np.sqrt(view.error[i] * view.error[j])
    elif name == "integrated autocorrelation time":
        quantity = names.integrated_time(tags)
        value, error = _integrated(view, spacing)
    else:
        quantity, value, error, scale = _at_lags(view, name, tags, unit, lags)
    return Prediction(
        quantity=quantity, value=value, numerical_error=error, theory=theory, scale=scale
    )


def _at_lags(
    view: View, name: str, tags: tuple[str, ...], unit: str, lags: FloatArray | None
) -> tuple[Quantity, FloatArray, FloatArray, FloatArray | None]:
    if lags is None or lags.size == 0:
        msg = f"{name!r} needs `lags`: at which distances in time; pass e.g. lags=[1, 10, 100]"
        raise InputError(msg)
    process, U = _process(view), view.directions
    relative = _IN_TIME * view.error / view.variances
    if name == "autocorrelation":
        value = autocovariance(process, lags, directions=U) / view.variances
        error = np.broadcast_to(relative, value.shape)
        quantity = names.autocorrelation(tags, lags.tolist())
        return quantity, value.ravel(), error.ravel(), np.ones(value.size)
    value = mean_square_displacement(process, lags, directions=U).sum(axis=1)
    quantity = names.mean_square_displacement(lags.tolist(), unit)
    # The displacement is -2 u^T (E - 1) Sigma u: a relative error of Sigma is one of its own.
    return quantity, value, float(relative.max()) * value, None


def _integrated(view: View, spacing: float) -> tuple[FloatArray, FloatArray]:
    # s + 2 s sum_k R(ks): the sum is (1 - E)^-1 E Sigma, all in the state.
    if isinstance(view.process, EpochRecursion):
        msg = "the integrated time of shuffled epochs is not known here; ask for autocorrelations"
        raise UnsupportedError(msg)
    linear = as_linear(equal_moments(_process(view)))
    if isinstance(linear, LinearRecursion) and not spacing.is_integer():
        msg = f"`spacing` of a map must be a whole number of steps, got {spacing:g}"
        raise OutOfRangeError(msg)
    U = lifted(linear, view.directions)
    columns = require_stationary(linear).matrix @ U
    when = np.array([spacing])
    rest = -evolve(linear, when, np.eye(linear.dimension), away=True)[0]  # 1 - E
    total = np.linalg.solve(rest, columns) - columns
    tau = 1.0 + 2.0 * np.einsum("dp,dp->p", U, total) / view.variances
    relative = _IN_TIME * view.error / view.variances
    return spacing * tau, spacing * relative * (1.0 + np.abs(tau)) * float(np.linalg.cond(rest))


def _whole(view: View) -> FloatArray:
    if view.covariance is None:
        msg = (
            "without dense matrices only means, variances and standard deviations are known; "
            "pass theory.dense() where it fits in memory"
        )
        raise UnsupportedError(msg)
    return view.covariance


def _process(view: View) -> Any:
    if view.process is None and view.name == "epochs":
        msg = (
            "autocorrelations and displacements of shuffled epochs are known averaged over all "
            "phases of an epoch; leave `phases` out, and record every step or a number of steps "
            "that has no factor in common with those of an epoch"
        )
        raise UnsupportedError(msg)
    if view.process is None:
        msg = (
            "without dense matrices only means, variances and standard deviations are known; pass "
            "theory.dense() where it fits in memory, and for a closure directions in the span of "
            "its leading modes"
        )
        raise UnsupportedError(msg)
    return view.process


def _is_closure(view: View) -> bool:
    return view.name == "closure"
