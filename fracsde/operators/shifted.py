r"""Shifted systems of a tensor grid: lines, sparse factors, or multigrid.

.. math:: (\sigma I - L)\, x = r

==============  =====================================================  =========================
method          what                                                   in ``auto`` for
==============  =====================================================  =========================
``direct``      sparse LU by minimum degree, without pivoting          small grids
``lines``       fast diagonalisation                                   large ones that fall apart
``multigrid``   Krylov with an algebraic multigrid cycle               the others
==============  =====================================================  =========================

Columns of :math:`\sigma I - L` add up to :math:`\sigma` plus losses and nothing off the diagonal is
positive, so that for :math:`\sigma > 0` elimination needs no pivots and substitution adds
positive numbers only: a right-hand side without negative entries gives a solution without any.
For complex shifts the matrix, turned in the plane, has a definite part wherever the chain is
similar to a symmetric one, and needs no pivots either; one step of refinement mends what a chain
with currents leaves.

A multigrid hierarchy is built on the matrix with the shift's modulus in place of the shift, and
serves all shifts within a factor of four.

``tests/operators/test_tensor.py`` holds the methods together.

Not here: the matrix (:mod:`fracsde.operators.tensor`).

References: [Liu1985]_ for the order of elimination, [RugeStuben1987]_ for the cycle.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from fracsde._check import choice
from fracsde.errors import BackendUnavailable, ComputationError, OutOfRangeError, UnsupportedError
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde.operators.separable import Lines

__all__ = ["ShiftedSolver"]

_DIRECT = {2: 400_000, 3: 30_000}  # cells up to which factors are small
_KEPT = 2**20  # cells whose factors are kept, over all shifts: about a gigabyte
_REFINED = 1e-12  # residual over right-hand side from which a step of refinement is taken
_SCALED = 1e-10  # residual over right-hand side up to which lines are trusted
_NEAR = 4.0  # ratio of shifts up to which one multigrid hierarchy serves both
_CYCLES = 3  # hierarchies that are kept
_ITERATIONS = 200


class ShiftedSolver:
    """Solves systems of one matrix with many shifts, and keeps what it has prepared.

    Parameters
    ----------
    matrix : (n, n) csr_array [1/t]
        ``L``, acting on masses.
    shape : tuple of int
        Of the grid.
    lines : Lines or None
        What the grid falls apart into.
    method : {"auto", "lines", "direct", "multigrid"}
        See the module.
    rtol : float [1]
        Residual over right-hand side at which iterations end.

    kept : int, optional
        How many factorisations are kept; by default as many as a gigabyte holds.

    Raises
    ------
    UnsupportedError
        If ``lines`` is asked for and the grid does not fall apart.
    """

    def __init__(
        self,
        matrix: Any,
        shape: tuple[int, ...],
        lines: Lines | None,
        *,
        method: str = "auto",
        rtol: float = 1e-12,
        kept: int | None = None,
    ) -> None:
        choice("method", method, ("auto", "lines", "direct", "multigrid"))
        if method == "lines" and lines is None:
            msg = (
                '`method="lines"` needs a grid that falls apart into lines: a potential that is a '
                'sum of functions of one coordinate, and diagonal diffusion; use method="auto"'
            )
            raise UnsupportedError(msg)
        self.chosen = method == "auto"
        if method == "auto":
            small = matrix.shape[0] <= _DIRECT[len(shape)]
            method = "direct" if small else "lines" if lines is not None else "multigrid"
        self.matrix, self.lines, self.method, self.rtol = matrix, lines, method, rtol
        self.stats = {"factorisations": 0, "solves": 0, "iterations": 0}
        self.kept = max(_KEPT // matrix.shape[0], 1) if kept is None else kept
        self._factors: dict[complex, Any] = {}
        self._cycles: list[tuple[float, Any]] = []

    def solve(self, shift: complex, rhs: Any) -> Any:
        """Return the solution of ``(shift I - L) x = rhs``, masses on both sides.

        Parameters
        ----------
        shift : float or complex [1/t]
            Positive, or off the real axis.
        rhs : (n,) ndarray [1/t]
            Real or complex.

        Returns
        -------
        (n,) ndarray [1]
            Real where both are.

        Raises
        ------
        OutOfRangeError
            If the shift is a real number that is not positive, or is not finite.
        """
        z = complex(shift)
        if not np.isfinite(z) or (z.imag == 0.0 and not z.real > 0.0):
            msg = (
                f"`shift` must be positive or off the real axis, got {shift}; a generator itself "
                "is singular"
            )
            raise OutOfRangeError(msg)
        self.stats["solves"] += 1
        real = z.imag == 0.0 and not np.iscomplexobj(rhs)
        if self.method == "lines":
            assert self.lines is not None
            sigma = z.real if z.imag == 0.0 else z
            x = self.lines.function(lambda rates: 1.0 / (sigma + rates), rhs)
            if not self.chosen:
                return x
            gap = rhs - self._shifted(z.real if real else z, x)
            if np.abs(gap).max() <= _SCALED * np.abs(rhs).max():
                return x
            self.method = "multigrid"  # scaling by the equilibrium has cost too many digits
        if self.method == "multigrid":
            return self._by_multigrid(z.real if real else z, rhs)
        return self._by_factors(z, rhs)

    # --- direct -------------------------------------------------------------------------------

    def _by_factors(self, z: complex, rhs: Any) -> Any:
        factors = self._factors.get(z)
        if factors is None:
            if len(self._factors) >= self.kept:
                del self._factors[next(iter(self._factors))]
            factors = self._factors[z] = self._factorised(z)
        if z.imag == 0.0 and np.iscomplexobj(rhs):
            real = [factors.solve(np.ascontiguousarray(part)) for part in (rhs.real, rhs.imag)]
            return real[0] + 1j * real[1]
        wanted = rhs.astype(np.complex128) if z.imag else rhs
        x = factors.solve(wanted)
        if z.imag:
            gap = wanted - self._shifted(z, x)
            if np.abs(gap).max() > _REFINED * np.abs(wanted).max():
                x = x + factors.solve(gap)
        return x

    def _factorised(self, z: complex) -> Any:
        self.stats["factorisations"] += 1
        sigma = z if z.imag else z.real
        size = self.matrix.shape[0]
        system = sparse.csc_matrix(sigma * sparse.eye_array(size, format="csc") - self.matrix)
        try:
            return linalg.splu(
                system,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except (RuntimeError, MemoryError) as error:
            detail = f"The system with shift {z:.3g} could not be factorised: {error}."
            raise ComputationError(Status.NOT_FINITE, detail) from error

    def _shifted(self, z: complex, x: Any) -> Any:
        if np.iscomplexobj(x):
            return z * x - (self.matrix @ x.real + 1j * (self.matrix @ x.imag))
        return z * x - self.matrix @ x

    # --- multigrid ----------------------------------------------------------------------------

    def _by_multigrid(self, z: Any, rhs: Any) -> Any:
        cycle = self._cycle_for(abs(z))
        size = self.matrix.shape[0]

        def precondition(r: Any) -> Any:
            if np.iscomplexobj(r):
                return cycle(np.ascontiguousarray(r.real)) + 1j * cycle(
                    np.ascontiguousarray(r.imag)
                )
            return cycle(r)

        kind = np.complex128 if np.iscomplexobj(z) or np.iscomplexobj(rhs) else np.float64
        system = linalg.LinearOperator(
            (size, size), matvec=lambda x: self._shifted(z, x.ravel()), dtype=kind
        )
        helper = linalg.LinearOperator(
            (size, size), matvec=lambda r: precondition(r.ravel()), dtype=kind
        )
        counted = [0]

        def count(_: Any) -> None:
            counted[0] += 1

        wanted = rhs.astype(kind)
        x, failed = linalg.gmres(
            system,
            wanted,
            M=helper,
            rtol=self.rtol,
            restart=40,
            maxiter=_ITERATIONS,
            callback=count,
            callback_type="pr_norm",
        )
        self.stats["iterations"] += counted[0]
        if failed:
            gap = np.linalg.norm(wanted - self._shifted(z, x)) / np.linalg.norm(wanted)
            if gap > 100.0 * self.rtol:
                detail = (
                    f"The system with shift {z:.3g} was left with a residual of {gap:.1e} after "
                    f'{counted[0]} iterations; use fewer cells and method="direct".'
                )
                raise ComputationError(Status.INACCURATE, detail)
        return x

    def _cycle_for(self, size: float) -> Any:
        for other, cycle in self._cycles:
            if 1.0 / _NEAR <= size / other <= _NEAR:
                return cycle
        try:
            pyamg = import_module("pyamg")
        except ImportError as error:
            msg = (
                'multigrid needs pyamg, which is not installed; pip install "fracsde[multigrid]", '
                'or use fewer cells, for which method="direct" serves'
            )
            raise BackendUnavailable(msg) from error
        self.stats["factorisations"] += 1
        n = self.matrix.shape[0]
        system = sparse.csr_matrix(size * sparse.eye_array(n, format="csr") - self.matrix)
        system.indices = system.indices.astype(np.int32)
        system.indptr = system.indptr.astype(np.int32)
        hierarchy = pyamg.ruge_stuben_solver(system, max_coarse=200)
        cycle = hierarchy.aspreconditioner(cycle="V").matvec
        self._cycles = [*self._cycles[1 - _CYCLES :], (size, cycle)]
        return cycle
