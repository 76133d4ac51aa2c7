r"""How a linear process gets where it settles: means, covariances and displacements in time.

.. math::
    \mathrm{E}X_t = m + E(t)(X_0 - m), \qquad
    \operatorname{Cov} X_t = E(t)\operatorname{Cov}(X_0)E(t)^T + G(t),

.. math::
    R(s) = \mathrm{E}[(X_{t+s} - m)(X_t - m)^T] = E(s)\,\Sigma
    \qquad\text{(stationary; the later time on the left)},

.. math::
    \mathrm{E}|X_{t+s} - X_t|^2 = 2\operatorname{Tr}(\Sigma - R(s))
    = -2\operatorname{Tr}[(E(s) - I)\,\Sigma],

with :math:`E` and :math:`G` of :mod:`fracsde.lyapunov.propagators`: :math:`E(t) = e^{-At}` for the
flow and :math:`T^t` for the map, whose times are whole numbers of steps.  What is not stationary
needs no stability.

On a fractional clock, :math:`X_t = Y(E_t)` with ``Y`` the flow, each is the flow's, averaged over
:math:`E_t`, and a covariance gains that of the mean's path (:mod:`fracsde.subordination`).

Results hold the observed coordinates only (the weights).  Starting states may give the weights
alone; velocities then start at zero.  SGD stands for its map, or for its shuffled epochs: what is
stationary is then averaged over phases, what is not begins with an epoch.  Where noise depends
on the state (LeastSquaresSGD, QuadraticSGD) see also :mod:`fracsde.lyapunov.moment_paths`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array
from fracsde._subordination.averages import (
    clock_autocovariance,
    clock_covariance,
    clock_displacement,
    clock_mean,
    small_enough,
)
from fracsde._subordination.starts import read_start
from fracsde._transient_inputs import (
    read_covariance,
    read_epoch_directions,
    read_state,
    read_times,
)
from fracsde.errors import (
    InputError,
    UnsupportedError,
)
from fracsde.lyapunov.epoch_lags import epoch_autocovariance, epoch_displacement
from fracsde.lyapunov.epoch_transients import epoch_law
from fracsde.lyapunov.evolution import along, evolve, evolve_observed, finite, lifted
from fracsde.lyapunov.moment_paths import covariances_along, displacements_from
from fracsde.lyapunov.moments import equal_moments, frozen_noise
from fracsde.lyapunov.processes import as_epochs, as_linear, require_stationary, white_noise
from fracsde.lyapunov.propagators import distinct_gaps, gap_law, modes
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.problems.subordinated import SubordinatedOU

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.grids import TimeGrid
    from fracsde.lyapunov.propagators import Law
    from fracsde.problems.sgd import SGDNearMinimum

    Linear = OUProcess | LinearRecursion | SGDNearMinimum | QuadraticLossSGD
    Process = Linear | SubordinatedOU | DiagonalOU | LowRankOU

__all__ = [
    "autocovariance",
    "covariance_at",
    "mean_at",
    "mean_square_displacement",
    "relaxation_rates",
]


def mean_at(
    process: Process,
    times: TimeGrid | ArrayLike,
    initial: ArrayLike,
) -> FloatArray:
    """Return the mean of the observed coordinates at given times.

    Parameters
    ----------
    process : OUProcess, LinearRecursion, SGDNearMinimum, SubordinatedOU or a structured base
        Stable or not; the mean knows nothing of the noise, nor of how it is shuffled.
    times : TimeGrid or (t,) array_like [t, or steps]
        Not negative, in any order; whole numbers for a map.
    initial : (k,) or (d,) array_like [x]
        Observed coordinates or the whole state at time 0; where epochs are shuffled the start of
        one, or a state that knows nothing of its batches.

    Returns
    -------
    (t, k) float64 [x]

    Examples
    --------
    >>> process = OUProcess(drift=[[1.0]], noise=[[2.0]])
    >>> mean_at(process, [0.0, np.log(2.0)], [3.0]).round(12)
    array([[3. ],
           [1.5]])
    """
    clock = _on_clock(process)
    if clock is not None:
        return clock_mean(clock, read_times("times", times, clock), initial)
    linear = as_linear(white_noise(frozen_noise(process)))
    when = read_times("times", times, linear)
    start = read_state("initial", linear, initial) - linear.mean
    moved = evolve(linear, when, start[:, None])[:, :, 0]
    return np.asarray((linear.mean + moved)[:, linear.observed])


def covariance_at(
    process: Process,
    times: TimeGrid | ArrayLike,
    initial_covariance: ArrayLike = 0.0,
    *,
    initial: ArrayLike | str | None = None,
) -> FloatArray:
    """Return the covariance of the observed coordinates at given times.

    Parameters
    ----------
    process : OUProcess, LinearRecursion, SGDNearMinimum, SubordinatedOU or a structured base
        Stable or not: free directions diffuse, unstable ones spread exponentially.
    times : TimeGrid or (t,) array_like [t, or steps]
        Not negative, in any order; whole numbers for a map, of shuffled epochs from the start of
        one.
    initial_covariance : 0, (k, k) or (d, d) array_like [x^2]
        Covariance of the observed coordinates or of the whole state at time 0; 0 for a start
        from one point.
    initial : (d,) array_like [x] or "stationary", optional
        Mean at time 0, which a SubordinatedOU needs, and which SGD with state-dependent noise
        takes for the minimum unless told; others spread alike from everywhere.

    Returns
    -------
    (t, k, k) float64 [x^2]

    Raises
    ------
    ShapeError
        If the initial covariance fits neither the observed coordinates nor the state.
    InputError
        If ``initial`` is a word where there is no random clock.

    Examples
    --------
    A direction without restoring force diffuses:

    >>> covariance_at(OUProcess(drift=[[0.0]], noise=[[2.0]]), [0.0, 3.0]).ravel()
    array([0., 6.])
    """
    clock = _on_clock(process)
    if clock is not None:
        dense = replace(clock, base=small_enough(clock.base))
        if clock is not process and initial is None:
            initial = dense.base.mean
        start = read_start(dense.base, initial, initial_covariance)
        return clock_covariance(dense, read_times("times", times, clock), start)
    epochs = as_epochs(process)
    linear = as_linear(frozen_noise(process) if epochs is None else white_noise(epochs))
    when = read_times("times", times, linear)
    if isinstance(initial, str):
        msg = (
            f"`initial` = {initial!r} has no meaning without a random clock, where the spread does "
            "not depend on the mean; the stationary covariance is stationary_covariance(process)"
        )
        raise InputError(msg)
    begin = linear.mean if initial is None else read_state("initial", linear, initial)
    current = read_covariance(linear, initial_covariance)
    if isinstance(process, QuadraticLossSGD):
        return finite(covariances_along(process, when, begin, current))
    observed = np.ix_(linear.observed, linear.observed)
    out = np.empty((len(when), len(linear.observed), len(linear.observed)))
    if epochs is not None:
        law = epoch_law(epochs)
        for place, time in enumerate(when):
            E, _, A = law(float(time))
            out[place] = (E @ current @ E.T + A)[observed]
        return finite(out)
    law = gap_law(linear)
    order = np.argsort(when, kind="stable")
    gaps, index = distinct_gaps(np.append(0.0, when[order]))
    laws = [law(gap) for gap in gaps]
    for place, which in zip(order, index, strict=True):
        E, _, G = laws[which]
        current = E @ current @ E.T + G
        out[place] = 0.5 * (current + current.T)[observed]
    return finite(out)


def autocovariance(
    process: Process, lags: ArrayLike, *, directions: ArrayLike | None = None
) -> FloatArray:
    """Return the stationary autocovariance ``R(s) = E[(X_{t+s} - m)(X_t - m)^T]``.

    The row belongs to the later time.  On a random clock ``t`` is 0, where the clock starts; in
    shuffled epochs it is averaged over the phases of an epoch.
    Along a direction ``u`` it is ``u^T R(s) u``, which for a linear process needs no matrix for
    each lag.

    Parameters
    ----------
    process : OUProcess, LinearRecursion, SGDNearMinimum, SubordinatedOU or a structured base
        Stable.
    lags : (lag,) array_like [t, or steps]
        Not negative, in any order; whole numbers for a map.
    directions : (k, p) array_like [1], optional
        One direction per column, used as they are, not normalised.

    Returns
    -------
    (lag, k, k) or (lag, p) float64 [x^2]
        The matrices, or the number along each direction.

    Examples
    --------
    >>> autocovariance(LinearRecursion(transition=[[0.5]], noise=[[0.75]]), [0, 1, 2]).ravel()
    array([1.  , 0.5 , 0.25])
    """
    clock = _on_clock(process)
    if clock is not None:
        whole = clock_autocovariance(clock, read_times("lags", lags, clock))
        return whole if directions is None else _forms(whole, directions)
    epochs = as_epochs(process)
    if epochs is not None:
        whole = epoch_autocovariance(epochs, read_times("lags", lags, epochs))
        return whole if directions is None else _forms(whole, directions)
    linear = as_linear(equal_moments(process))
    when = read_times("lags", lags, linear)
    if directions is not None:
        U = lifted(linear, directions)
        return along(linear, when, U, require_stationary(linear).matrix @ U)
    columns = require_stationary(linear).matrix[:, linear.observed]
    return evolve_observed(linear, when, columns)


def mean_square_displacement(
    process: Process,
    lags: ArrayLike,
    *,
    directions: ArrayLike | None = None,
    start: ArrayLike | None = None,
) -> FloatArray:
    r"""Return the mean-square displacement over each lag.

    Stationary, along a direction ``u`` of the observed coordinates,
    :math:`\mathrm{E}[u\cdot(X_{t+s} - X_t)]^2 = -2\,u^T (E(s) - I)\,\Sigma\,u`; from a given
    start, :math:`[u\cdot(E(s) - I)(X_0 - m)]^2 + u^T G(s)\,u`.

    Parameters
    ----------
    process : OUProcess, LinearRecursion, SGDNearMinimum, SubordinatedOU or a structured base
        On a random clock lags are counted from its start.  Stable, unless ``start`` is given.
    lags : (lag,) array_like [t, or steps]
        Not negative, in any order; whole numbers for a map.
    directions : (k, p) array_like [1], optional
        One direction per column, used as they are, not normalised.
    start : (k,) or (d,) array_like [x], optional
        Where all paths start, those of shuffled epochs at the start of one; without it the process
        is stationary.

    Returns
    -------
    (lag,) or (lag, p) float64 [x^2]
        Summed over the observed coordinates, or along each direction.

    Raises
    ------
    InputError
        If ``start`` is a word.

    Examples
    --------
    >>> process = OUProcess(drift=[[1.0]], noise=[[2.0]])
    >>> mean_square_displacement(process, [0.0, 1e9])
    array([0., 2.])
    """
    clock = _on_clock(process)
    if clock is not None:
        if directions is not None:
            directions = finite_array("directions", directions, shape=(clock.dimension, None))
        if isinstance(start, str):
            msg = f"`start` must be a position or None for the stationary law, got {start!r}"
            raise InputError(msg)
        at = None if start is None else read_start(clock.base, start, 0.0)
        return clock_displacement(clock, read_times("lags", lags, clock), at, directions)
    epochs = as_epochs(process)
    if epochs is not None:
        U, when = read_epoch_directions(epochs, directions), read_times("lags", lags, epochs)
        if start is None:
            each = epoch_displacement(epochs, when, U)
        else:
            linear = as_linear(white_noise(epochs))
            begin = read_state("start", linear, start) - linear.mean
            each = _displacement_from(epoch_law(epochs), when, begin, lifted(linear, U))
        each = finite(np.maximum(each, 0.0))
        return each if directions is not None else np.asarray(each.sum(axis=1))
    linear = as_linear(equal_moments(process) if start is None else frozen_noise(process))
    when = read_times("lags", lags, linear)
    U = lifted(linear, directions)
    if start is not None and isinstance(process, QuadraticLossSGD):
        each = displacements_from(process, when, read_state("start", linear, start), U)
    elif start is not None:
        begin = read_state("start", linear, start) - linear.mean
        each = _displacement_from(gap_law(linear), when, begin, U)
    else:
        cross = require_stationary(linear).matrix @ U
        each = -2.0 * along(linear, when, U, cross, away=True)
    each = finite(np.maximum(each, 0.0))
    return each if directions is not None else np.asarray(each.sum(axis=1))


def relaxation_rates(process: Process) -> NDArray[np.complex128]:
    """Return the rates at which perturbations decay, slowest first.

    Parameters
    ----------
    process : OUProcess, LinearRecursion or SGDNearMinimum
        Stable or not.

    Returns
    -------
    (d,) complex128 [1/t, or 1/step]
        Eigenvalues of the drift, or minus the principal logarithm of those of the transition: a
        mode that alternates in sign has imaginary part pi in magnitude, one that vanishes in one
        step an infinite rate.  One per coordinate of the state, velocities included.

    Raises
    ------
    UnsupportedError
        If the process runs on a fractional clock, where nothing decays exponentially.

    Examples
    --------
    >>> relaxation_rates(OUProcess(drift=[[2.0, 0.0], [0.0, 1.0]], noise=np.eye(2)))
    array([1.+0.j, 2.+0.j])
    """
    if isinstance(process, SubordinatedOU):
        msg = (
            "nothing decays exponentially on a fractional clock; ask for "
            "relaxation_rates(process.base)"
        )
        raise UnsupportedError(msg)
    clock = _on_clock(process)
    alone = frozen_noise(process) if clock is None else small_enough(clock.base)
    linear = as_linear(white_noise(alone))
    modal = modes(linear)
    if isinstance(linear, OUProcess):
        values = np.linalg.eigvals(linear.drift) if modal is None else modal.pull
        return np.sort_complex(values.astype(np.complex128))
    if modal is not None:
        away = -modal.pull.astype(np.complex128)
    else:
        away = np.linalg.eigvals(linear.transition).astype(np.complex128) - 1.0
    rates = np.full(len(away), np.inf, dtype=np.complex128)
    moving = away != -1.0
    # log|1 + z| through log1p keeps the rates of slow modes.
    z = away[moving]
    size = 0.5 * np.log1p(2.0 * z.real + z.real**2 + z.imag**2)
    rates[moving] = -size - 1j * np.angle(1.0 + z)
    return np.sort_complex(rates)


def _on_clock(process: Any) -> SubordinatedOU | None:
    # What is averaged over a clock, a structured process over the ordinary one; or nothing.
    if isinstance(process, (DiagonalOU, LowRankOU)):
        return SubordinatedOU(base=process, alpha=1.0)
    return process if isinstance(process, SubordinatedOU) else None


def _forms(whole: FloatArray, directions: ArrayLike) -> FloatArray:
    # The quadratic forms of matrices along directions.
    U = finite_array("directions", directions, shape=(whole.shape[1], None))
    return np.asarray(np.einsum("dp,tde,ep->tp", U, whole, U))


def _displacement_from(
    law: Callable[[float], Law], times: FloatArray, start: FloatArray, U: FloatArray
) -> FloatArray:
    out = np.empty((len(times), U.shape[1]))
    for i, time in enumerate(times):
        _, away, G = law(float(time))
        out[i] = ((away @ start) @ U) ** 2 + np.einsum("dp,dp->p", U, G @ U)
    return out
