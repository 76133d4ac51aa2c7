r"""Where a linear process settles: its stationary covariance.

.. math::
    A\Sigma + \Sigma A^T = \texttt{noise} \quad\text{(flow)}, \qquad
    \Sigma = T \Sigma T^T + \texttt{noise} \quad\text{(map)} .

SGD near a minimum stands for its map: the covariance at the learning rate it has, not in the limit
of a small one.  For a continuum limit pass ``sgd.flow()``.  With shuffled epochs it stands for
``sgd.epochs()``, whose covariance depends on the phase ``p``, the steps of the epoch already taken:
:func:`stationary_covariance` averages over :math:`p = 0, \dots, M - 1`, and
:func:`phase_covariance` has each.

References: [Mandt2017]_ for the flow, [Liu2021]_ for the map, [BartelsStewart1972]_ and
[Kitagawa1977]_ for the equations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import choice
from fracsde.errors import InputError, OutOfRangeError, UnsupportedError
from fracsde.lyapunov.dense import METHODS
from fracsde.lyapunov.epochs import stationary_phases
from fracsde.lyapunov.moments import stationary_moments
from fracsde.lyapunov.preconditioned import preconditioned_state
from fracsde.lyapunov.processes import as_epochs, as_linear, stationary_state, usable
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.provenance import Provenance, provenance

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.lyapunov.processes import StationaryState
    from fracsde.problems.epochs import EpochRecursion
    from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
    from fracsde.status import Status

__all__ = ["StationaryCovariance", "checked_phases", "phase_covariance", "stationary_covariance"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StationaryCovariance:
    """Stationary covariance, with the residual of the equation it solves.

    Parameters
    ----------
    matrix : (k, k) float64 [x^2]
        Covariance of the observed coordinates: the weights.
    state_matrix : (d, d) float64 [x^2]
        Covariance of the whole state, velocities included.
    residual : float [1]
        Relative residual, as :mod:`fracsde.lyapunov.dense` defines it.
    error_estimate : float [x^2]
        Bound on the spectral norm of the numerical error of ``state_matrix``.
    status : Status
        The outcome; the matrices are NaN unless it is ``SUCCESS`` or ``INACCURATE``.
    method : str
        How the equation was solved: ``"eigen"``, ``"tridiagonal"``, ``"bartels_stewart"``,
        ``"conjugate_gradients"`` or ``"vectorised"``.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("BartelsStewart1972", "Kitagawa1977")

    matrix: FloatArray
    state_matrix: FloatArray
    residual: float
    error_estimate: float
    status: Status
    method: str
    provenance: Provenance


def stationary_covariance(
    process: (OUProcess | LinearRecursion | EpochRecursion | SGDNearMinimum | QuadraticLossSGD),
    *,
    method: str = "auto",
    throw: bool = True,
) -> StationaryCovariance:
    """Compute the stationary covariance of a linear process.

    Parameters
    ----------
    process : OUProcess, LinearRecursion, EpochRecursion, SGDNearMinimum or QuadraticLossSGD
        SGD stands for its map, ``sgd.map()``; in shuffled epochs for ``sgd.epochs()``, averaged
        over the phases of an epoch.  The noise of a LeastSquaresSGD or QuadraticSGD depends on
        the state (:mod:`fracsde.lyapunov.moments`).
    method : {"auto", "eigen", "bartels_stewart", "conjugate_gradients", "vectorised"}
        ``"eigen"`` needs a symmetric drift or transition, or the map of symmetric curvature with
        momentum, and is taken for those by ``"auto"``, but for flows of 256 coordinates or more,
        whose tridiagonal form is enough if they are stable; anything else, defective matrices
        included, goes through a Schur form.  ``"auto"`` solves preconditioned SGD by the modes of
        its symmetric form; shuffled epochs have no other way.  Where the noise depends on the
        state the methods are ``"conjugate_gradients"`` and ``"vectorised"``.
    throw : bool
        Whether to raise where there is no stationary law or the residual is too large; with
        ``False`` look at ``status``.

    Returns
    -------
    StationaryCovariance

    Raises
    ------
    UnstableError
        If perturbations grow, or some direction neither decays nor grows, as at the critical
        learning rate; the message names the eigenvalue and, for SGD, that rate.
    ComputationError
        If the residual is larger than rounding explains, or the result is not finite.
    UnsupportedError
        If a Schur form is asked of shuffled epochs.

    Examples
    --------
    Momentum changes the variance at a finite learning rate and not in the continuum limit:

    >>> from fracsde.problems.sgd import SGDNearMinimum
    >>> sgd = SGDNearMinimum(
    ...     hessian=[[1.0]], gradient_noise=[[1.0]], learning_rate=0.5, batch_size=1, momentum=0.5
    ... )
    >>> round(float(stationary_covariance(sgd).matrix[0, 0]), 12)
    0.6
    >>> round(float(stationary_covariance(sgd.flow()).matrix[0, 0]), 12)
    0.5
    """
    if isinstance(process, QuadraticLossSGD):
        state = stationary_moments(process, method=method)
        return _record(usable(state) if throw else state, process, method)
    choice("method", method, METHODS)
    epochs = as_epochs(process)
    if epochs is None:
        linear = as_linear(process)
        if isinstance(process, SGDNearMinimum) and _by_modes(process, method):
            state = preconditioned_state(process)
        else:
            state = stationary_state(linear, method=method)
        return _record(usable(state) if throw else state, linear, method)
    if method == "bartels_stewart":
        msg = "shuffled epochs are solved in modes, not in a Schur form; use method='auto'"
        raise UnsupportedError(msg)
    state, _ = stationary_phases(epochs)
    return _record(usable(state) if throw else state, epochs, method)


def phase_covariance(process: EpochRecursion | SGDNearMinimum, phases: ArrayLike) -> FloatArray:
    """Return the stationary covariance of the weights at given phases of a shuffled epoch.

    Parameters
    ----------
    process : EpochRecursion or SGDNearMinimum
        SGD with ``sampling="shuffled"``.
    phases : (p,) array_like of int
        Steps of the epoch already taken, from 0, its start, to ``M``, its end, which is the
        start of the next and has the same covariance.

    Returns
    -------
    (p, d, d) float64 [weight^2]

    Raises
    ------
    InputError
        If there are no epochs, or the phases are not whole numbers.
    OutOfRangeError
        If a phase is not between 0 and ``M``.
    UnstableError
        If there is no stationary law.

    Examples
    --------
    A flat direction hardly moves between the ends of epochs; within one it goes to and fro:

    >>> from fracsde.problems.sgd import SGDNearMinimum
    >>> sgd = SGDNearMinimum(
    ...     hessian=1e-9, gradient_noise=1.0, learning_rate=1.0, batch_size=5, dataset_size=20,
    ...     sampling="shuffled",
    ... )
    >>> phase_covariance(sgd, [0, 1, 2, 3]).ravel().round(6)
    array([0.      , 0.157895, 0.210526, 0.157895])
    """
    epochs, wanted = checked_phases(process, phases)
    state, found = stationary_phases(epochs)
    usable(state)
    assert found is not None  # it is usable
    d = len(epochs.observed)
    out = np.empty((len(wanted), d, d))
    for place, phase in enumerate(wanted):
        out[place] = found.at(int(phase))[:d, :d]
    return out


def checked_phases(
    process: Any, phases: ArrayLike, *, last: bool = True
) -> tuple[EpochRecursion, IntArray]:
    """Return shuffled epochs and phases of them, checked.

    Parameters
    ----------
    process : EpochRecursion or SGDNearMinimum
        What the caller passed.
    phases : (p,) array_like of int
        Steps of the epoch already taken, or one number.
    last : bool
        Whether the end of the epoch counts as a phase.

    Returns
    -------
    EpochRecursion
    (p,) int64

    Raises
    ------
    InputError
        If there are no epochs, or the phases are not whole numbers.
    OutOfRangeError
        If a phase is outside the epoch.
    """
    epochs = as_epochs(process)
    if epochs is None:
        msg = (
            "`process` must be an EpochRecursion, or an SGDNearMinimum with sampling='shuffled', "
            f"got {type(process).__name__}; stationary_covariance(process) has the one covariance "
            "of others"
        )
        raise InputError(msg)
    wanted = np.atleast_1d(np.asarray(phases))
    if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
        msg = f"`phases` must be whole numbers, a vector of them or one, got {phases!r}"
        raise InputError(msg)
    most = epochs.steps if last else epochs.steps - 1
    if wanted.size and not (wanted.min() >= 0 and wanted.max() <= most):
        odd = wanted.max() if wanted.min() >= 0 else wanted.min()
        end = "the" if last else f"{most}, before the last of the"
        msg = f"`phases` must lie between 0 and {end} {epochs.steps} steps of an epoch, got {odd}"
        raise OutOfRangeError(msg)
    return epochs, wanted.astype(np.int64)


def _by_modes(sgd: SGDNearMinimum, method: str) -> bool:
    # Other maps show their symmetry, or have been asked for another method.
    return sgd.preconditioner is not None and method == "auto"


def _record(
    state: StationaryState,
    process: OUProcess | LinearRecursion | EpochRecursion | QuadraticLossSGD,
    method: str,
) -> StationaryCovariance:
    observed = process.observed
    return StationaryCovariance(
        matrix=state.matrix[np.ix_(observed, observed)],
        state_matrix=state.matrix,
        residual=state.residual,
        error_estimate=state.error_estimate,
        status=state.status,
        method=state.method,
        provenance=provenance(process, method),
    )
