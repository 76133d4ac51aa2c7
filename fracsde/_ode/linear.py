r"""Marching a linear system of one order: no Newton's method, and blocks of steps at once.

The step of :math:`D^\alpha y = A y` is that of a density with the generator ``A``, so the march of
:mod:`fracsde.schemes.marching` serves, which reads the history by blocks.  For small dense systems
the steps of a block run compiled, with the inverses of their matrices made beforehand; larger and
sparse ones are factorised once per weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from fracsde._compiled import njit
from fracsde._ode.systems import SingularSystemError, step_solver
from fracsde.operators.base import Generator
from fracsde.schemes.marching import marched

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.problems.fractional_ode import FractionalODE
    from fracsde.schemes.base import ConvolutionScheme
    from fracsde.schemes.checkpoint import Checkpoint

__all__ = ["is_plain", "march_linear"]

_SMALL = 16  # components whose inverses are cheaper than calls


def is_plain(problem: FractionalODE) -> bool:
    """Whether a system is linear with a matrix and of one order.

    Returns
    -------
    bool
    """
    one = bool(np.all(problem.alpha == problem.alpha[0]))
    return problem.rhs is None and one and not isinstance(problem.linear, LinearOperator)


def march_linear(
    problem: FractionalODE,
    scheme: ConvolutionScheme,
    times: FloatArray,
    *,
    watch: Callable[[int], None] | None,
    checkpoint: Checkpoint | None = None,
) -> tuple[FloatArray, float, int]:
    """March a plain linear system through a mesh.

    Parameters
    ----------
    problem : FractionalODE
        For which :func:`is_plain` holds.
    scheme : ConvolutionScheme
        Weights and history.
    times : (N + 1,) float64 [t]
        The mesh.
    watch : callable or None
        Called after each block with the number of steps done.
    checkpoint : Checkpoint, optional
        Where the march is saved and resumed, to the last digit.

    Returns
    -------
    values : (N + 1, n) ndarray of float64 [y]
    residual : float [1]
        Of the last step.
    factorisations : int
    """
    system = _Linear(problem.linear)
    found = marched(
        system,
        scheme,
        times,
        initial=np.array(problem.initial),
        alpha=float(problem.alpha[0]),
        scale=1.0,
        source=None,
        engine=None,
        watch=watch,
        checkpoint=checkpoint,
    )
    return found.states, found.residual, system.factorisations


class _Linear(Generator):
    def __init__(self, matrix: Any) -> None:
        self.matrix, self.factorisations = matrix, 0
        self._ones = np.ones(matrix.shape[0])
        self._shift = np.nan
        self._solve: Callable[[Any], FloatArray] | None = None

    @property
    def points(self) -> FloatArray:
        return np.arange(float(len(self._ones)))

    @property
    def widths(self) -> FloatArray:
        return self._ones

    def apply(self, p: FloatArray) -> FloatArray:
        return np.asarray(self.matrix @ p)

    def solve_shifted(self, shift: float, rhs: FloatArray) -> FloatArray:
        if shift != self._shift or self._solve is None:
            self._solve = step_solver(self.matrix, shift * self._ones, self._ones)
            self._shift = shift
            self.factorisations += 1
        return self._solve(rhs)

    def stationary(self) -> FloatArray:
        msg = "a system of equations has no stationary density"
        raise NotImplementedError(msg)

    def march_block(
        self,
        engine: Any,
        states: FloatArray,
        start: int,
        coefficients: FloatArray,
        shifts: FloatArray,
        sources: FloatArray,
        point: float = 1.0,
    ) -> None:
        n = len(self.widths)
        if n > _SMALL or issparse(self.matrix):
            super().march_block(engine, states, start, coefficients, shifts, sources, point)
            return
        different, which = np.unique(shifts, return_inverse=True)
        self.factorisations += len(different)
        try:
            inverses = np.linalg.inv(different[:, None, None] * np.eye(n) - self.matrix)
        except np.linalg.LinAlgError as error:
            raise SingularSystemError(str(error)) from error
        known = start + 1
        block = states[known : known + len(shifts)]
        np.matmul(coefficients[:, :known], states[:known], out=block)
        block += sources
        _block(states, start, coefficients, inverses, which, point)


def _block_reference(
    states: FloatArray,
    start: int,
    coefficients: FloatArray,
    inverses: FloatArray,
    which: np.ndarray,
    point: float,
) -> None:
    # The compiled loop below, as it is meant.
    for b, i in enumerate(which):
        row = start + 1 + b
        rhs = states[row] + coefficients[b, start + 1 : row] @ states[start + 1 : row]
        states[row] = states[row - 1] + (inverses[i] @ rhs - states[row - 1]) / point


@njit(cache=True, error_model="numpy")
def _block(states, start, coefficients, inverses, which, point):  # type: ignore[no-untyped-def]  # compiled
    n = states.shape[1]
    rhs = np.empty(n)
    for b in range(len(which)):
        row = start + 1 + b
        for i in range(n):
            rhs[i] = states[row, i]
        for k in range(start + 1, row):
            c = coefficients[b, k]
            for i in range(n):
                rhs[i] += c * states[k, i]
        for i in range(n):
            new = 0.0
            for j in range(n):
                new += inverses[which[b], i, j] * rhs[j]
            states[row, i] = states[row - 1, i] + (new - states[row - 1, i]) / point
