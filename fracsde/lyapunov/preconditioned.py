r"""The stationary law of preconditioned SGD, at the cost of a symmetric matrix of half the size.

The transition of :math:`\eta P K` is not symmetric, but similar to one that is: in the modes of
:mod:`fracsde.lyapunov.sgd_modes` its Stein equation falls apart like that of plain SGD.  The
residual is that of the equation itself, in the weights.

Not here: SGD without preconditioner, whose map shows its symmetry
(:mod:`fracsde.lyapunov.processes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import ComputationError
from fracsde.lyapunov.dense import in_units, measured
from fracsde.lyapunov.processes import StationaryState, nothing, outcome
from fracsde.lyapunov.rounding import EPS, binary_unit
from fracsde.lyapunov.sgd_modes import StepModes, step_modes
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["inverse_norm", "preconditioned_state", "steps_outcome"]


def preconditioned_state(sgd: SGDNearMinimum) -> StationaryState:
    """Solve for the stationary covariance of SGD by its modes; failure is a status.

    Parameters
    ----------
    sgd : SGDNearMinimum
        With independent batches.

    Returns
    -------
    StationaryState
    """
    process, rate = sgd.map(), sgd.learning_rate
    size = binary_unit(process.noise)
    steps = step_modes(
        sgd.rule, rate * sgd.curvature, rate**2 * sgd.batch_noise / size, sgd.preconditioner
    )
    status, detail = steps_outcome(steps)
    if not status.ok:
        return nothing(process, status, "eigen", detail)
    S = steps.ball().covariance() if sgd.rule.has_velocity else steps.map_covariance()
    try:
        solution = measured(
            process.transition,
            process.noise / size,
            S,
            discrete=True,
            method="eigen",
            norm=inverse_norm(steps) * steps.spread,
        )
        solution = in_units(solution, size)
    except ComputationError as error:
        return nothing(process, error.status, "eigen", error.detail)
    limit = 10.0 * EPS * max(10, len(S)) * steps.spread
    if not solution.residual <= limit:
        status = Status.INACCURATE
        detail = f"The relative residual is {solution.residual:.3g}; {limit:.3g} is expected."
    return StationaryState(
        matrix=solution.matrix,
        residual=solution.residual,
        error_estimate=solution.error_estimate,
        status=status,
        method="eigen",
        detail=detail,
    )


def steps_outcome(steps: StepModes) -> tuple[Status, str]:
    """Say whether steps of SGD have a stationary law.

    Parameters
    ----------
    steps : StepModes
        Their modes.

    Returns
    -------
    Status
    str
        What was found, empty on success.
    """
    if steps.rule.has_velocity:
        ball = steps.ball()
        return outcome(ball.eigenvalues(), ball.margins(), ball.tolerance(), discrete=True)
    pull = steps.pull
    limit = 4.0 * EPS + 4.0 * len(pull) * EPS * float(np.abs(pull).max())
    return outcome(1.0 - pull, np.minimum(pull, 2.0 - pull), limit, discrete=True)


def inverse_norm(steps: StepModes) -> float:
    """Return the norm of the map from what a step adds to the covariance, mode by mode.

    Parameters
    ----------
    steps : StepModes
        Of a stable run.

    Returns
    -------
    float
    """
    if steps.rule.has_velocity:
        return steps.ball().inverse_norm()
    return float(1.0 / (steps.pull * (2.0 - steps.pull)).min())
