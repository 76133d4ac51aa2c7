r"""Where a linear process settles: its stationary covariance.

.. math::
    A\Sigma + \Sigma A^T = \texttt{noise} \quad\text{(flow)}, \qquad
    \Sigma = T \Sigma T^T + \texttt{noise} \quad\text{(map)} .

SGD near a minimum stands for its map: the covariance at the learning rate it has, not in the limit
of a small one.  For the continuum limit pass ``sgd.flow()``.

References: [Mandt2017]_ for the flow, [Liu2021]_ for the map, [BartelsStewart1972]_ and
[Kitagawa1977]_ for the equations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde.lyapunov.moments import require_stationary_moments, stationary_moments
from fracsde.lyapunov.processes import as_linear, require_stationary, stationary_state
from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
from fracsde.provenance import Provenance, provenance

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray
    from fracsde.lyapunov.processes import StationaryState
    from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
    from fracsde.problems.sgd import SGDNearMinimum
    from fracsde.status import Status

__all__ = ["StationaryCovariance", "stationary_covariance"]


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
        How the equation was solved: ``"eigen"``, ``"bartels_stewart"``,
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
    process: OUProcess | LinearRecursion | SGDNearMinimum | QuadraticLossSGD,
    *,
    method: str = "auto",
    throw: bool = True,
) -> StationaryCovariance:
    """Compute the stationary covariance of a linear process.

    Parameters
    ----------
    process : OUProcess, LinearRecursion, SGDNearMinimum or QuadraticLossSGD
        SGD near a minimum stands for its map, ``sgd.map()``; a LeastSquaresSGD or QuadraticSGD is
        taken with its noise as it depends on the state.
    method : {"auto", "eigen", "bartels_stewart"}, or {"auto", "conjugate_gradients", "vectorised"}
        ``"eigen"`` needs a symmetric drift or transition and is taken for those by ``"auto"``;
        anything else, defective matrices included, goes through a Schur form.  The second set
        belongs to state-dependent noise, see :mod:`fracsde.lyapunov.moments`.
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
        state = (require_stationary_moments if throw else stationary_moments)(
            process, method=method
        )
        return _packed(state, np.arange(process.dimension), provenance(process, method))
    linear = as_linear(process)
    state = (require_stationary if throw else stationary_state)(linear, method=method)
    return _packed(state, linear.observed, provenance(linear, method))


def _packed(
    state: StationaryState, observed: IntArray, provenance: Provenance
) -> StationaryCovariance:
    return StationaryCovariance(
        matrix=state.matrix[np.ix_(observed, observed)],
        state_matrix=state.matrix,
        residual=state.residual,
        error_estimate=state.error_estimate,
        status=state.status,
        method=state.method,
        provenance=provenance,
    )
