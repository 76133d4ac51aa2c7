r"""Traces of stationary laws whose covariance is known, or solved, as a whole.

Of an OU process with drift ``A`` and noise ``N``, :math:`\operatorname{Tr} A \Sigma =
\tfrac12 \operatorname{Tr} N` whatever ``A`` is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.processes import as_linear, require_stationary
from fracsde.lyapunov.rounding import EPS
from fracsde.problems.ornstein_uhlenbeck import OUProcess
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.stationary_large.low_rank import diagonal_variances, of_low_rank_ou

if TYPE_CHECKING:
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["whole_trace"]


def whole_trace(
    process: DiagonalOU | LowRankOU | SGDNearMinimum | OUProcess,
    weight: str,
) -> tuple[float, float, int]:
    """Return a trace of the stationary covariance of a process solved as a whole.

    Parameters
    ----------
    process : DiagonalOU, LowRankOU, SGDNearMinimum or OUProcess
        Whose.
    weight : {"identity", "curvature", "hessian"}
        As for :func:`fracsde.stationary_trace`.

    Returns
    -------
    value : float
        The trace.
    error : float
        Bound on its error.
    held : int
        Bytes that the solve held.
    """
    if isinstance(process, DiagonalOU):
        variances = diagonal_variances(process)
        value = float(variances.sum() if weight == "identity" else 0.5 * process.noise.sum())
        error, held = 4.0 * EPS * len(variances) ** 0.5 * value, variances.nbytes
    elif isinstance(process, LowRankOU):
        covariance = of_low_rank_ou(process)
        held = covariance.basis.nbytes
        value, error = covariance.trace(), covariance.error_bound * process.dimension
        if weight != "identity":
            outside = process.dimension - len(process.noise)
            value = 0.5 * float(np.trace(process.noise)) + 0.5 * process.rest_noise * outside
            error = 4.0 * EPS * len(process.noise) ** 0.5 * value
    else:
        linear = as_linear(process)
        state = require_stationary(linear)
        S = state.matrix[np.ix_(linear.observed, linear.observed)]
        if isinstance(process, OUProcess):
            K = process.drift
        else:
            decay = process.weight_decay if weight == "curvature" else 0.0
            K = process.hessian + decay * np.eye(len(S))
        value = float(np.trace(S) if weight == "identity" else np.einsum("ij,ji->", K, S))
        size = 1.0 if weight == "identity" else float(np.linalg.norm(K, 2))
        error, held = state.error_estimate * len(S) * size, 4 * S.nbytes
    return value, error, held
