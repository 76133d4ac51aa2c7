r"""One interval of a collocated equation: the nodes' coupled system, and its operator.

With the matrix ``B`` of product integration and :math:`\eta` the power of the interval's length,
the states at the nodes solve

.. math::
    x_k - \eta \sum_l B_{kl}\, L_l x_l = r_k
    \qquad\Longleftrightarrow\qquad
    \sum_l (B^{-1})_{kl}\, x_l - \eta\, L_k x_k = \sum_l (B^{-1})_{kl}\, r_l ,

the second of which is what is solved: there the nodes are coupled by numbers alone.  ``B`` is well
conditioned (35 for eight nodes), its eigenvectors less so: where one operator serves all nodes
and they uncouple, the solution is refined.

==========================  =======================================================================
operators                   road
==========================  =======================================================================
one chain in a row          half as many complex shifted solves as nodes, refined
chains in a row             block elimination (:mod:`fracsde.backends.collocation_numba`)
any other, few points       one dense matrix, or dense complex ones for one operator
any other                   the same with sparse LU
==========================  =======================================================================

States are masses of points.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lu_factor, lu_solve
from scipy.sparse.linalg import splu

from fracsde.operators.chain import CellChain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fracsde._typing import FloatArray

__all__ = ["Modes", "NodeOperators", "modes_of", "operators_at_nodes"]

_DENSE = 1200  # unknowns of an interval up to which a dense matrix is solved
_REFINEMENTS = 3
_CLEAN = 1e-15  # relative residual at which refinement stops: mass is kept as well


@dataclass(frozen=True, eq=False)
class Modes:
    """A matrix of product integration, its inverse, and the eigenvectors that uncouple nodes."""

    inverse: FloatArray
    """``(m, m)``."""
    eigenvalues: npt.NDArray[np.complex128]
    """Of the inverse, one of each conjugate pair."""
    into: npt.NDArray[np.complex128]
    """``(k, m)``, from nodes to modes."""
    back: npt.NDArray[np.complex128]
    """``(m, k)``, from modes to nodes, of which the real part counts."""


def modes_of(B: FloatArray) -> Modes:
    """Return the inverse of a matrix of product integration and its modes.

    Parameters
    ----------
    B : (m, m) float64
        The matrix.

    Returns
    -------
    Modes
    """
    return _modes_of(B.tobytes(), len(B))


@lru_cache(maxsize=64)
def _modes_of(data: bytes, m: int) -> Modes:
    inverse = np.asarray(np.linalg.inv(np.frombuffer(data).reshape(m, m)), dtype=np.float64)
    values, vectors = np.linalg.eig(inverse)  # of a real matrix: exact conjugate pairs
    values, vectors = values.astype(np.complex128), vectors.astype(np.complex128)
    into = np.linalg.inv(vectors)
    kept = np.flatnonzero(values.imag >= 0.0)
    double = np.where(values.imag[kept] > 0.0, 2.0, 1.0)
    return Modes(
        inverse=inverse,
        eigenvalues=values[kept],
        into=into[kept],
        back=vectors[:, kept] * double,
    )


class NodeOperators(ABC):
    """The operators at the nodes of an interval."""

    @abstractmethod
    def apply(self, x: FloatArray) -> FloatArray:
        """Return ``L_k x_k``.

        Parameters
        ----------
        x : (m, n) float64
            States at the nodes.

        Returns
        -------
        (m, n) ndarray
        """

    @abstractmethod
    def solve(self, modes: Modes, eta: float, rhs: FloatArray) -> FloatArray:
        """Return the states at the nodes.

        Parameters
        ----------
        modes : Modes
            Of the matrix of product integration.
        eta : float
            Power of the interval's length.
        rhs : (m, n) float64
            What the states would be without operator.

        Returns
        -------
        (m, n) ndarray
        """

    @property
    @abstractmethod
    def speed(self) -> float:
        """A bound of the operators' size [1/t]."""


@dataclass(frozen=True, eq=False)
class _Chains(NodeOperators):
    # Rates (m, n) at the nodes, which are views of one row where ``same``.
    right: FloatArray
    left: FloatArray
    loss: FloatArray
    same: bool
    engine: Any

    def apply(self, x: FloatArray) -> FloatArray:
        return np.asarray(self.engine.flows(self.right, self.left, self.loss, x))

    @property
    def speed(self) -> float:
        return 2.0 * float((self.right + self.left + self.loss).max())

    def solve(self, modes: Modes, eta: float, rhs: FloatArray) -> FloatArray:
        right, left, loss = eta * self.right, eta * self.left, eta * self.loss
        if not self.same:
            rhs = modes.inverse @ rhs
            return np.asarray(self.engine.solve_coupled(modes.inverse, right, left, loss, rhs))

        def once(r: FloatArray) -> FloatArray:
            f = modes.into @ r
            modal = self.engine.solve_uncoupled(modes.eigenvalues, right[0], left[0], loss[0], f)
            return np.ascontiguousarray((modes.back @ modal).real)

        return _refined(once, self.apply, modes, eta, rhs)


@dataclass(frozen=True, eq=False)
class _Matrices(NodeOperators):
    # Matrices on masses, one for each node, or one for all.
    matrices: tuple[Any, ...]
    nodes: int

    def apply(self, x: FloatArray) -> FloatArray:
        if len(self.matrices) == 1:
            return np.asarray((self.matrices[0] @ x.T).T)
        return np.array([L @ row for L, row in zip(self.matrices, x, strict=True)])

    @property
    def speed(self) -> float:
        return max(float(abs(L).sum(axis=0).max()) for L in self.matrices)

    @cached_property
    def _dense(self) -> bool:
        return bool(self.nodes * self.matrices[0].shape[0] <= _DENSE)

    def solve(self, modes: Modes, eta: float, rhs: FloatArray) -> FloatArray:
        if len(self.matrices) > 1:
            return self._coupled(modes, eta, rhs)
        L = self.matrices[0]
        n = L.shape[0]
        solvers: list[Any]
        if self._dense:
            L = L.toarray() if sp.issparse(L) else L
            factors = [lu_factor(z * np.eye(n) - eta * L) for z in modes.eigenvalues]
            solvers = [partial(lu_solve, factor) for factor in factors]
        else:
            eye = sp.identity(n, dtype=np.complex128, format="csc")
            solvers = [splu(sp.csc_matrix(z * eye - eta * L)).solve for z in modes.eigenvalues]

        def once(r: FloatArray) -> FloatArray:
            f = modes.into @ r
            modal = np.array([solver(row) for solver, row in zip(solvers, f, strict=True)])
            return np.ascontiguousarray((modes.back @ modal).real)

        return _refined(once, self.apply, modes, eta, rhs)

    def _coupled(self, modes: Modes, eta: float, rhs: FloatArray) -> FloatArray:
        f = (modes.inverse @ rhs).reshape(-1)
        n = self.matrices[0].shape[0]
        if self._dense:
            matrix = np.kron(modes.inverse, np.eye(n))
            for k, L in enumerate(self.matrices):
                block = slice(k * n, (k + 1) * n)
                matrix[block, block] -= eta * (L.toarray() if sp.issparse(L) else L)
            return np.asarray(np.linalg.solve(matrix, f).reshape(rhs.shape))
        operator = sp.block_diag(self.matrices, format="csc")
        matrix = sp.kron(modes.inverse, sp.identity(n), format="csc") - eta * operator
        return np.asarray(splu(sp.csc_matrix(matrix)).solve(f).reshape(rhs.shape))


def _refined(once: Any, apply: Any, modes: Modes, eta: float, rhs: FloatArray) -> FloatArray:
    # Solutions by eigenvectors, corrected by the residual of the real system.
    f = modes.inverse @ rhs
    x = once(f)
    size = np.abs(f).max() + np.abs(modes.inverse).max() * np.abs(x).max()
    before = np.inf
    for _ in range(_REFINEMENTS):
        gap = f - modes.inverse @ x + eta * apply(x)
        off = float(np.abs(gap).max())
        if not off > _CLEAN * size or off > 0.5 * before:
            break
        x, before = x + once(gap), off
    return np.asarray(x)


def operators_at_nodes(generators: Sequence[Any], engine: Any) -> NodeOperators:
    """Return the operators at the nodes of an interval, ready to be solved with.

    Parameters
    ----------
    generators : sequence of Generator
        One per node; the same object where the operator does not depend on time.
    engine : module
        :mod:`fracsde.backends.collocation_numba` or ``collocation_reference``.

    Returns
    -------
    NodeOperators
    """
    first = generators[0]
    same = all(generator is first for generator in generators)
    if isinstance(first, CellChain) and not first.periodic:
        shape = (len(generators), len(first.right))

        def at_nodes(name: str) -> FloatArray:
            chosen = generators[:1] if same else generators
            return np.broadcast_to(np.array([getattr(g, name) for g in chosen]), shape)

        right, left, loss = (at_nodes(name) for name in ("right", "left", "loss"))
        return _Chains(right, left, loss, same, engine)
    matrices = tuple(mass_matrix(g) for g in (generators[:1] if same else generators))
    return _Matrices(matrices, len(generators))


def mass_matrix(generator: Any) -> Any:
    """Return the matrix of a generator on masses of points, sparse or dense.

    Parameters
    ----------
    generator : Generator
        Cells in a ring, cells on a tensor grid with a sparse ``matrix()``, or any other by what
        ``apply`` does to each point.

    Returns
    -------
    (n, n) sparse array or ndarray [1/t]
    """
    if isinstance(generator, CellChain):
        n = len(generator.right)
        i = np.arange(n)
        rows = np.concatenate([i, (i + 1) % n, (i - 1) % n])
        out = generator.right + generator.left + generator.loss
        rates = np.concatenate([-out, generator.right, generator.left])
        return sp.csr_array((rates, (rows, np.tile(i, 3))), shape=(n, n))
    if callable(getattr(generator, "matrix", None)):
        return generator.matrix()
    widths = generator.widths
    return generator.apply(np.diag(1.0 / widths)).T * widths[:, None]
