r"""Modes of relaxation: rates, densities and functions.

.. math::
    L \phi_k = -\lambda_k \phi_k, \qquad L^\dagger u_k = -\lambda_k u_k, \qquad
    \int u_j \phi_k\, dx = \delta_{jk}, \qquad
    p(t) = \sum_k \Bigl(\int u_k p_0\, dx\Bigr) E_\alpha(-\lambda_k \tau^{1-\alpha} t^\alpha)\,
    \phi_k .

On an ordinary clock modes decay exponentially, on a fractional one like
:math:`t^{-\alpha} / (\lambda_k \tau^{1 - \alpha} \Gamma(1 - \alpha))`, all with the same power.

=====================================  =======================================================
cells                                  road
=====================================  =======================================================
a row, losses at its walls only        bisection and fluxes: rates and values to relative
                                       accuracy, however small (:mod:`fracsde.physics._rows`)
detailed balance, up to 1500 cells     LAPACK on the symmetrised matrix; functions where it is
                                       small from those beside
detailed balance, more cells           ARPACK, shifted and inverted
a current, up to 800 cells             LAPACK on the matrix itself; rates may be complex
a current, more cells                  ARPACK on the matrix and its transpose
=====================================  =======================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.linalg as la
import scipy.sparse.linalg as sla
from scipy import sparse

from fracsde._check import finite_array, integer
from fracsde.errors import OutOfRangeError, UnsupportedError
from fracsde.operators.chain import CellChain
from fracsde.physics._chains import discretised, log_masses, parts, sparse_matrix
from fracsde.physics._rows import row_functions, row_rates
from fracsde.special import mittag_leffler

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.operators.base import Space
    from fracsde.problems.fokker_planck import FokkerPlanck
    from fracsde.problems.fractional import FractionalFokkerPlanck

__all__ = ["Modes", "eigenmodes"]

_DENSE_SYMMETRIC, _DENSE = 1500, 800  # cells
_SHALLOW = 1e-5  # roots of masses, relative to the largest, below which functions are solved for
_VOID = -600.0  # logarithms of masses
_SHIFT = 1e-9  # of the inverted matrix, relative to the largest rate


@dataclass(frozen=True, kw_only=True, eq=False)
class Modes:
    """Modes of a problem on its cells.

    Parameters
    ----------
    rates : (k,) float64 or complex128 [1/t]
        By real part, ascending; complex where a current flows.
    densities : (k, n) ndarray [1/x^d]
        Right eigenfunctions.
    functions : (k, n) ndarray [1]
        Left ones, dual to them; where there is detailed balance ``functions * equilibrium`` are the
        densities.
    residuals : (k,) float64 [1]
        Of the equation for the densities, relative to the largest rate, in the norm of the
        equilibrium where there is detailed balance.
    points : (n,) or (n, d) float64 [x]
        Cell centres.
    widths : (n,) float64 [x^d]
        Cell volumes.
    alpha, timescale : float
        The clock of the problem.
    generator : Generator
        The chain.
    """

    citation: ClassVar[tuple[str, ...]] = ("DemmelKahan1990", "Metzler1999")

    rates: Any
    densities: Any
    functions: Any
    residuals: FloatArray
    points: FloatArray
    widths: FloatArray
    alpha: float
    timescale: float
    generator: Any

    def amplitudes(self, initial: Any) -> Any:
        """Return how much of each mode a density holds.

        Parameters
        ----------
        initial : Gaussian, PointMass or callable [1/x^d]
            The density.

        Returns
        -------
        (k,) ndarray [1]
        """
        return self.functions @ self.generator.project(initial)

    def relaxation(self, times: ArrayLike) -> Any:
        """Return what is left of each mode.

        Parameters
        ----------
        times : (t,) array_like [t]
            Not negative.

        Returns
        -------
        (t, k) ndarray [1]
        """
        t = _times(times)
        clock = self.timescale ** (1.0 - self.alpha) * t**self.alpha
        return mittag_leffler(-np.multiply.outer(clock, self.rates), self.alpha)

    def density(self, times: ArrayLike, initial: Any) -> FloatArray:
        """Return densities from these modes alone.

        Parameters
        ----------
        times : (t,) array_like [t]
            Not negative; early ones need many modes.
        initial : Gaussian, PointMass or callable [1/x^d]
            The density at time zero.

        Returns
        -------
        (t, n) ndarray [1/x^d]
        """
        shares = self.relaxation(times) * self.amplitudes(initial)
        return np.asarray((shares @ self.densities).real)


def eigenmodes(
    problem: FokkerPlanck | FractionalFokkerPlanck, count: int, *, space: Space | None = None
) -> Modes:
    """Return the slowest modes of a problem.

    Parameters
    ----------
    problem : FokkerPlanck or FractionalFokkerPlanck
        Sources do not count.
    count : int
        How many, at most the number of cells.
    space : FiniteVolume, optional
        By default 512 cells on a line, 64 per axis in the plane, 20 in space.

    Returns
    -------
    Modes

    Raises
    ------
    OutOfRangeError
        If there are fewer cells than modes.
    UnsupportedError
        If a mode spans more than the range of double precision.

    References
    ----------
    [DemmelKahan1990]_

    Examples
    --------
    An Ornstein-Uhlenbeck process relaxes with rates 0, 1, 2, ...:

    >>> from fracsde import FokkerPlanck, Gaussian
    >>> problem = FokkerPlanck(potential=lambda x: x**2 / 2, diffusion=1.0,
    ...     domain=(-np.inf, np.inf), initial=Gaussian())
    >>> np.round(eigenmodes(problem, 4).rates, 2)
    array([0., 1., 2., 3.])
    """
    base, alpha, timescale = parts(problem)
    count = integer("count", count, low=1)
    generator = discretised(base, space)
    n = len(generator.widths)
    if count > n:
        msg = f"`count` must be at most the number of cells, {n}, got {count}; use more cells"
        raise OutOfRangeError(msg)
    logs = log_masses(generator)
    if logs is None:
        rates, right, left = _with_current(generator, count)
    else:
        rates, right, left = _balanced(generator, logs, count)
    left, right = _oriented(left, right)
    return Modes(
        rates=rates,
        densities=right / generator.widths,
        functions=left,
        residuals=_residuals(generator, logs, rates, right),
        points=generator.points,
        widths=generator.widths,
        alpha=alpha,
        timescale=timescale,
        generator=generator,
    )


def _balanced(generator: Any, logs: FloatArray, count: int) -> tuple[Any, Any, Any]:
    masses = np.exp(logs)
    row = isinstance(generator, CellChain) and not generator.periodic
    if row and not np.any(generator.loss[1:-1] > 0.0):
        rates = row_rates(generator, count)
        left = row_functions(generator, rates)
        left = left / _norms(left, logs)[:, None]
        return rates, left * masses, left
    H, scale = _symmetrised(generator, logs), 0.5 * logs
    n = len(logs)
    if n <= _DENSE_SYMMETRIC or count >= n - 1:
        rates, psi = la.eigh(H.toarray(), subset_by_index=(0, count - 1))
    else:
        shift = -_SHIFT * float(H.diagonal().max())
        rates, psi = sla.eigsh(H, k=count, sigma=shift, which="LM", v0=_start(n))
        order = np.argsort(rates)
        rates, psi = rates[order], psi[:, order]
    masses = np.exp(logs)
    left = _continued(generator, rates, psi.T, scale)
    return rates, left * masses, left


def _norms(left: FloatArray, logs: FloatArray) -> FloatArray:
    # Roots of left**2 @ masses; a mode of a barrier is so large on it that its square overflows.
    psi = np.abs(left) * np.exp(0.5 * logs)
    top = psi.max(axis=1)
    with np.errstate(invalid="ignore"):
        norms = top * np.sqrt(((psi / top[:, None]) ** 2).sum(axis=1))
    lost = ~(np.isfinite(norms) & np.isfinite(left).all(axis=1) & (norms > 0.0))
    if np.any(lost):
        msg = (
            f"mode {int(np.argmax(lost))} of this problem spans more than the range of double "
            "precision; ask for fewer modes, or lower the barriers: they are high against the "
            "diffusion"
        )
        raise UnsupportedError(msg)
    return np.asarray(norms)


def _continued(generator: Any, rates: FloatArray, psi: FloatArray, scale: FloatArray) -> Any:
    # Where the equilibrium is small, psi / sqrt(pi) is rounding; there the equation is solved from
    # the values beside, which is stable: paths come back before the mode decays.
    deep = scale - scale.max() > np.log(_SHALLOW)
    left = np.zeros_like(psi)
    left[:, deep] = psi[:, deep] * np.exp(-scale[deep])
    if np.all(deep):
        return left
    backward = sparse_matrix(generator).T.tocsc()
    tail = np.flatnonzero(~deep)
    inner, outer = backward[tail][:, tail], backward[tail][:, np.flatnonzero(deep)]
    for k, rate in enumerate(rates):
        system = (-inner - sparse.diags_array(np.full(len(tail), rate))).tocsc()
        left[k, tail] = sla.splu(system).solve(outer @ left[k, deep])
    return left


def _symmetrised(generator: Any, logs: FloatArray) -> Any:
    # Both triangles from products of rates there and back, which cannot overflow.
    L = sparse_matrix(generator)
    off = L - sparse.diags_array(L.diagonal())
    product = (off.multiply(off.T)).tocsc()
    product.data = -np.sqrt(product.data)
    return (product - sparse.diags_array(L.diagonal())).tocsc()


def _with_current(generator: Any, count: int) -> tuple[Any, Any, Any]:
    L = sparse_matrix(generator)
    n = L.shape[0]
    if n <= _DENSE or count >= n - 2:
        values, left, right = la.eig(L.toarray(), left=True)
        left, right = left.conj().T, right.T
        order = np.argsort(-values.real)[:count]
        values, left, right = values[order], left[order], right[order]
    else:
        shift = _SHIFT * float(-L.diagonal().min())
        values, right = sla.eigs(L, k=count, sigma=shift, which="LM", v0=_start(n))
        others, left = sla.eigs(L.T.tocsc(), k=count + 1, sigma=shift, which="LM", v0=_start(n))
        order = np.lexsort((values.imag, -values.real))
        values, right, left = values[order], right[:, order].T, left.T
        left = left[_partners(values, others)]
    left = la.solve(left @ right.T, left)
    rates = -values
    if np.abs(rates.imag).max() <= 1e-10 * np.abs(rates).max():
        return rates.real, right.real, left.real
    return rates, right, left


def _partners(values: Any, others: Any) -> list[int]:
    # For each eigenvalue the nearest of the transpose's that is left: one of a pair may be cut.
    free = list(range(len(others)))
    found = []
    for value in values:
        nearest = min(free, key=lambda k: abs(others[k] - value))
        free.remove(nearest)
        found.append(nearest)
    return found


def _start(n: int) -> FloatArray:
    return np.asarray(np.sin(1.0 + np.arange(n)) + 1.5)


def _oriented(left: Any, right: Any) -> tuple[Any, Any]:
    # Functions are positive where they are largest among the last tenth of the cells.
    tail = left[:, -max(1, left.shape[1] // 10) :]
    pivot = tail[np.arange(len(left)), np.argmax(np.abs(tail), axis=1)][:, None]
    phase = pivot / np.abs(pivot)
    return left / phase, right * phase


def _residuals(generator: Any, logs: FloatArray | None, rates: Any, right: Any) -> FloatArray:
    L = sparse_matrix(generator)
    lack = (L @ right.T).T + rates[:, None] * right
    weight = np.ones(len(generator.widths))
    if logs is not None:
        held = (
            logs > _VOID
        )  # masses of the others are nothing, and their roots not to be divided by
        weight = np.where(held, np.exp(-0.5 * np.where(held, logs, 0.0)), 0.0)
    largest = float(-L.diagonal().min())
    norms = np.linalg.norm(right * weight, axis=1)
    return np.asarray(np.linalg.norm(lack * weight, axis=1) / (largest * norms))


def _times(times: Any) -> FloatArray:
    t = finite_array("times", times, ndim=(0, 1)).reshape(-1)
    if np.any(t < 0.0):
        msg = f"`times` must not be negative, got {t.min():g}; relaxation starts at 0"
        raise OutOfRangeError(msg)
    return t
