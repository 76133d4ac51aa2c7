r"""Matrix equations of stationary covariances, and the laws of linear processes in time.

.. math::
    A\Sigma + \Sigma A^T = Q \quad\text{(Lyapunov, a flow)}, \qquad
    \Sigma = T \Sigma T^T + Q \quad\text{(Stein, a map)}.
"""

from __future__ import annotations

from fracsde.lyapunov.dense import MatrixSolution, solve_lyapunov, solve_stein

__all__ = ["MatrixSolution", "solve_lyapunov", "solve_stein"]
