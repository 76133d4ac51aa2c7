r"""Stationary covariances of processes: which equation, whether it has a solution, how good.

A flow has a stationary law when every eigenvalue of its drift has a positive real part, a map
when every eigenvalue of its transition lies inside the unit circle.  An eigenvalue that rounding
cannot tell from the border is *marginal*: the direction neither decays nor grows.

Not here: the record that users see, :mod:`fracsde.stationary`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import ComputationError, InputError, UnstableError, UnsupportedError
from fracsde.lyapunov.dense import (
    Decomposition,
    decompose,
    in_units,
    measured,
    solve_decomposed,
)
from fracsde.lyapunov.heavy_ball import heavy_ball
from fracsde.lyapunov.rounding import EPS, in_own_unit, spectral_tolerance
from fracsde.problems.epochs import EpochRecursion
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD, instead_of
from fracsde.problems.sgd import SGDNearMinimum
from fracsde.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray
    from fracsde.lyapunov.propagators import LinearProcess

__all__ = [
    "StationaryState",
    "as_epochs",
    "as_linear",
    "nothing",
    "outcome",
    "require_stationary",
    "stationary_state",
    "usable",
    "white_noise",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class StationaryState:
    """Stationary covariance of a whole state.

    Parameters
    ----------
    matrix : (d, d) float64 [x^2]
        The covariance; NaN where there is none.
    residual : float [1]
        Relative residual of the equation; NaN where it was not solved.
    error_estimate : float [x^2]
        Bound on the spectral norm of the error of ``matrix``.
    status : Status
        The outcome.
    method : {"eigen", "tridiagonal", "bartels_stewart"}
        How the equation was, or would have been, solved.
    detail : str
        What was found, for messages; empty on success.
    """

    matrix: FloatArray
    residual: float
    error_estimate: float
    status: Status
    method: str
    detail: str = ""


def as_linear(process: Any) -> LinearProcess:
    """Return a linear process; SGD stands for its map.

    Parameters
    ----------
    process : OUProcess, LinearRecursion or SGDNearMinimum
        What the caller passed.

    Returns
    -------
    OUProcess or LinearRecursion

    Raises
    ------
    InputError
        If it is none of them.
    UnsupportedError
        If it has shuffled epochs, whose noise is correlated.
    """
    if isinstance(process, SGDNearMinimum):
        return process.map()
    if isinstance(process, (OUProcess, LinearRecursion)):
        return process
    if isinstance(process, EpochRecursion):
        msg = (
            "shuffled epochs are no linear process with independent noise; stationary_covariance, "
            "phase_covariance, autocovariance, mean_square_displacement, mean_at, covariance_at, "
            "relaxation_rates and fracsde.observables know them"
        )
        raise UnsupportedError(msg)
    remedy = (
        "ask its near_minimum(), whose noise does not depend on the state"
        if isinstance(process, QuadraticLossSGD)
        else instead_of(process) or "wrap matrices as OUProcess(drift=A, noise=Q)"
    )
    msg = (
        "`process` must be an OUProcess, a LinearRecursion or an SGDNearMinimum, got "
        f"{type(process).__name__}; {remedy}"
    )
    raise InputError(msg)


def as_epochs(process: Any) -> EpochRecursion | None:
    """Return the recursion of shuffled epochs that SGD stands for, nothing for anything else.

    Parameters
    ----------
    process : object
        What the caller passed.

    Returns
    -------
    EpochRecursion or None
    """
    if isinstance(process, SGDNearMinimum) and process.sampling == "shuffled":
        return process.epochs()
    return process if isinstance(process, EpochRecursion) else None


def white_noise(process: Any) -> Any:
    """Return shuffled epochs as a map with independent noise, which moves the mean alike.

    Parameters
    ----------
    process : object
        What the caller passed.

    Returns
    -------
    LinearRecursion or object
        Of shuffled epochs, with noise of one example's covariance; anything else as it is.
    """
    epochs = as_epochs(process)
    if epochs is None:
        return process
    return LinearRecursion(
        transition=epochs.transition,
        noise=epochs.kick,
        mean=np.append(epochs.mean, np.zeros(epochs.dimension - len(epochs.mean))),
        observe=epochs.observed,
        context=epochs.context,
    )


def stationary_state(process: LinearProcess, *, method: str = "auto") -> StationaryState:
    """Solve for the stationary covariance; failure is a status.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        The process.
    method : {"auto", "eigen", "bartels_stewart"}
        As for :func:`fracsde.lyapunov.solve_lyapunov`.

    Returns
    -------
    StationaryState
    """
    flow = isinstance(process, OUProcess)
    array = process.drift if isinstance(process, OUProcess) else process.transition
    # In units of their own the matrices neither overflow nor underflow, and lose no digit.
    noise, size = in_own_unit(process.noise)
    scaled, rate = in_own_unit(array) if flow else (array, 1.0)
    ball = None
    if isinstance(process, LinearRecursion) and method in {"auto", "eigen"}:
        ball = heavy_ball(process)
    if ball is not None:
        used = "eigen"
        status, detail = outcome(
            ball.eigenvalues(), ball.margins(), ball.tolerance(), discrete=True
        )
    else:
        name = "drift" if flow else "transition"
        form = decompose(scaled, discrete=not flow, method=method, name=name)
        used = form.method
        status, detail = outcome(
            rate * form.eigenvalues, _margins(form), _tolerance(form), discrete=form.discrete
        )
    if not status.ok:
        return nothing(process, status, used, detail)
    try:
        if ball is None:
            solution = solve_decomposed(form, noise)
        else:
            solution = measured(
                array,
                noise,
                replace(ball, noise=ball.noise / size).covariance(),
                discrete=True,
                method=used,
                norm=ball.inverse_norm(),
            )
        solution = in_units(solution, size, rate)
    except ComputationError as error:
        return nothing(process, error.status, used, error.detail)
    limit = 10.0 * EPS * max(10, len(array))
    if not solution.residual <= limit:
        status = Status.INACCURATE
        detail = f"The relative residual is {solution.residual:.3g}; {limit:.3g} is expected."
    return StationaryState(
        matrix=solution.matrix,
        residual=solution.residual,
        error_estimate=solution.error_estimate,
        status=status,
        method=solution.method,
        detail=detail,
    )


def require_stationary(process: LinearProcess, *, method: str = "auto") -> StationaryState:
    """Solve for the stationary covariance or raise.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        The process.
    method : {"auto", "eigen", "bartels_stewart"}
        As for :func:`stationary_state`.

    Returns
    -------
    StationaryState

    Raises
    ------
    UnstableError
        If perturbations grow, or neither decay nor grow.
    ComputationError
        If the result is inaccurate or not finite.
    """
    return usable(stationary_state(process, method=method))


def usable(state: StationaryState) -> StationaryState:
    """Return a stationary covariance, or raise what its status says.

    Parameters
    ----------
    state : StationaryState
        What was found.

    Returns
    -------
    StationaryState

    Raises
    ------
    UnstableError
        If perturbations grow, or neither decay nor grow.
    ComputationError
        If the result is inaccurate or not finite.
    """
    if state.status in {Status.UNSTABLE, Status.MARGINAL}:
        msg = f"{state.status.sentence} {state.detail}"
        raise UnstableError(msg)
    if not state.status.ok:
        raise ComputationError(state.status, state.detail)
    return state


def nothing(
    process: LinearProcess | EpochRecursion, status: Status, method: str, detail: str
) -> StationaryState:
    """Return what there is to say where there is no covariance.

    Parameters
    ----------
    process : OUProcess, LinearRecursion or EpochRecursion
        The process.
    status : Status
        The outcome.
    method : str
        How the equation would have been solved.
    detail : str
        What was found.

    Returns
    -------
    StationaryState
    """
    return StationaryState(
        matrix=np.full((process.dimension, process.dimension), np.nan),
        residual=float("nan"),
        error_estimate=float("inf"),
        status=status,
        method=method,
        detail=f"{detail} {process.context}".strip(),
    )


def _margins(form: Decomposition) -> FloatArray:
    # Positive where a mode decays.
    if form.discrete and form.method == "eigen":
        return np.asarray(np.minimum(form.form, 2.0 - form.form))
    return np.asarray(1.0 - np.abs(form.eigenvalues) if form.discrete else form.eigenvalues.real)


def outcome(
    values: NDArray[Any], margin: FloatArray, tolerance: float, *, discrete: bool
) -> tuple[Status, str]:
    """Say whether a process with the given eigenvalues has a stationary law.

    Parameters
    ----------
    values : (n,) float64 or complex128
        Eigenvalues.
    margin : (n,) float64
        Distance of each inside the border of stability.
    tolerance : float
        What rounding can move a margin by.
    discrete : bool
        Whether they are of a transition.

    Returns
    -------
    Status
    str
        What was found, empty on success.
    """
    growing = int(np.sum(margin < -tolerance))
    level = int(np.sum(np.abs(margin) <= tolerance))
    worst = complex(values[int(np.argmin(margin))])
    number = f"{worst.real:.6g}" if worst.imag == 0.0 else f"{worst:.6g}"
    what, border = (
        ("transition", "all must be inside the unit circle")
        if discrete
        else ("drift", "all must have positive real parts")
    )
    if growing:
        return Status.UNSTABLE, (
            f"{growing} of {len(values)} modes are unstable: the {what} has the eigenvalue "
            f"{number} ({border})."
        )
    if level:
        return Status.MARGINAL, (
            f"{level} of {len(values)} modes are marginal: the {what} has the eigenvalue "
            f"{number} to rounding ({border}); stay below the limit, or leave such directions out."
        )
    return Status.SUCCESS, ""


def _tolerance(form: Decomposition) -> float:
    # The symmetric map is decomposed as I - T, whose eigenvalues are as small as the learning
    # rate and carry an error in proportion, though T itself was rounded at 1.
    if form.discrete and form.method == "eigen":
        return 4.0 * EPS + 4.0 * len(form.form) * EPS * float(np.abs(form.form).max())
    if form.method in {"eigen", "tridiagonal"}:
        return 4.0 * len(form.matrix) * EPS * float(np.abs(form.eigenvalues).max())
    return spectral_tolerance(form.matrix)
