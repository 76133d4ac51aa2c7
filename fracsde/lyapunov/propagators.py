r"""The law of a linear process over a gap of time, with no limit on the gap.

Given :math:`X_0`, the state after the gap ``t`` is normal with mean
:math:`m + E(t)(X_0 - m)` and covariance :math:`G(t)`,

.. math::
    E(t) = e^{-At}, \quad G(t) = \int_0^t e^{-As}\,\texttt{noise}\,e^{-A^T s}\,ds
    \qquad\text{(flow)},

.. math::
    E(k) = T^k, \quad G(k) = \sum_{j < k} T^j\,\texttt{noise}\,(T^T)^j
    \qquad\text{(map)} .

Symmetric matrices use their eigenvectors, with
:math:`\tilde G_{ij} = \tilde N_{ij}\,(1 - e^{-(l_i + l_j)t})/(l_i + l_j)` through ``expm1``, so
that zero and negative rates need no special case.  Others start from a step so short that the
block exponential of [VanLoan1978]_ is harmless and double it,

.. math:: E(2t) = E(t)^2, \qquad G(2t) = G(t) + E(t)\,G(t)\,E(t)^T ,

a sum of semi-definite terms: nothing cancels, however long the gap or unstable the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import scipy.linalg

from fracsde.errors import ComputationError
from fracsde.lyapunov.rounding import is_symmetric
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray, IntArray

__all__ = ["Law", "LinearProcess", "Modes", "composed", "distinct_gaps", "gap_law", "modes"]

LinearProcess: TypeAlias = OUProcess | LinearRecursion
# Gaps that differ by more than this share are never one, however coarse their times.
_ONE_GAP = 1e-8
# Transition E, its distance E - I from the identity, and covariance G.
Law: TypeAlias = "tuple[FloatArray, FloatArray, FloatArray]"


def gap_law(process: LinearProcess) -> Callable[[float], Law]:
    """Return the function from a gap to the law of the state after it.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        Stable or not.

    Returns
    -------
    callable
        From a gap [t, or a whole number of steps], not negative, to ``(E, E - I, G)``, each
        ``(d, d)``; the second is free of cancellation where the process is symmetric.
        Decompositions are made once, here.
    """
    modal = modes(process)
    if modal is not None:
        law = _symmetric(modal, process.noise)
    elif isinstance(process, OUProcess):
        law = _general_flow(process)
    else:
        law = _general_map(process)

    def checked(gap: float) -> Law:
        with np.errstate(over="ignore", invalid="ignore"):
            parts = law(gap)
        if not all(np.all(np.isfinite(part)) for part in parts):
            detail = f"The process grows beyond the largest float within {gap:g}; ask for less."
            raise ComputationError(Status.NOT_FINITE, detail)
        return parts

    return checked


def composed(law: Law, steps: int) -> Law:
    """Return the law of ``steps`` equal gaps, by repeated doubling.

    Parameters
    ----------
    law : tuple of three (d, d) float64
        ``(E, E - I, G)`` of one gap.
    steps : int
        Not negative.

    Returns
    -------
    tuple of three (d, d) float64
        ``(E, E - I, G)``.
    """
    once_E, once_away, once_G = law
    E, away, G = np.eye(len(once_E)), np.zeros_like(once_E), np.zeros_like(once_E)
    while steps:
        if steps % 2:
            E, away, G = once_E @ E, once_away @ E + away, once_G + once_E @ G @ once_E.T
        steps //= 2
        if steps:
            once_G = once_G + once_E @ once_G @ once_E.T
            once_away = once_away @ once_E + once_away
            once_E = once_E @ once_E
    return E, away, 0.5 * (G + G.T)


def distinct_gaps(times: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return the different gaps between neighbouring times, and which gap is which.

    Gaps that differ by no more than the rounding of their times are one gap, so that an equally
    spaced grid has one; a short gap keeps its length beside times that are very much longer.

    Parameters
    ----------
    times : (n + 1,) float64 [t]
        Increasing.

    Returns
    -------
    (g,) float64 [t]
        The gaps.
    (n,) int64
        For each pair of neighbours, the index of its gap.
    """
    gaps = np.diff(times)
    index = np.zeros(len(gaps), dtype=np.int64)
    if len(gaps) == 0:
        return gaps, index
    order = np.argsort(gaps)
    ordered = gaps[order]
    reach = np.maximum(np.abs(times[1:]), np.abs(times[:-1]))[order]
    rounding = 4.0 * float(np.finfo(np.float64).eps) * reach
    starts, first = [0], 0
    allowed = np.minimum(np.maximum(rounding[0], rounding), _ONE_GAP * ordered)
    if np.any(ordered - ordered[0] > allowed):  # more than one, which takes a loop to see
        for i, gap in enumerate(ordered):
            if gap - ordered[first] > min(max(rounding[first], rounding[i]), _ONE_GAP * gap):
                starts.append(i)
                first = i
    index[order] = np.searchsorted(starts, np.arange(len(gaps)), side="right") - 1
    stops = [*starts[1:], len(gaps)]
    middles = [0.5 * (ordered[a] + ordered[b - 1]) for a, b in zip(starts, stops, strict=True)]
    return np.array(middles), index


@dataclass(frozen=True, kw_only=True, eq=False)
class Modes:
    """Orthogonal eigenvectors of a symmetric drift or transition, with the rates of its modes.

    Parameters
    ----------
    basis : (d, d) float64
        Eigenvectors, one per column.
    pull : (d,) float64
        Eigenvalues of the drift [1/t], or of ``I - T``.
    discrete : bool
        Whether time is counted in steps.
    """

    basis: FloatArray
    pull: FloatArray
    discrete: bool

    def decay(self, gap: FloatArray | float) -> FloatArray:
        """Return the eigenvalues of ``E`` after each gap, ``(..., d)`` [1].

        Returns
        -------
        (..., d) float64
        """
        gap = np.asarray(gap, dtype=np.float64)[..., None]
        if not self.discrete:
            return np.asarray(np.exp(-self.pull * gap))
        near = np.abs(self.pull) < 0.5
        careful = np.exp(gap * np.log1p(-np.where(near, self.pull, 0.0)))
        return np.where(near, careful, (1.0 - self.pull) ** gap)

    def away(self, gap: FloatArray | float) -> FloatArray:
        """Return the eigenvalues of ``E - I`` after each gap without cancellation.

        Returns
        -------
        (..., d) float64
        """
        gap = np.asarray(gap, dtype=np.float64)[..., None]
        if not self.discrete:
            return np.asarray(np.expm1(-self.pull * gap))
        return -self.pull * _geometric_sum(self.pull, gap)

    def spread(self, gap: float) -> FloatArray:
        """Return the factors by which the noise of one unit of time grows in ``G``.

        Returns
        -------
        (d, d) float64 [t, or steps]
        """
        sums = np.add.outer(self.pull, self.pull)
        if self.discrete:
            return _geometric_sum(sums - np.multiply.outer(self.pull, self.pull), gap)
        return _integral(sums, gap)


def modes(process: LinearProcess) -> Modes | None:
    """Return the modes of a symmetric process, nothing for any other.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        The process.

    Returns
    -------
    Modes or None
    """
    flow = isinstance(process, OUProcess)
    matrix = process.drift if isinstance(process, OUProcess) else process.transition
    if not is_symmetric(matrix):
        return None
    even = 0.5 * (matrix + matrix.T)
    pull, basis = np.linalg.eigh(even if flow else np.eye(len(even)) - even)
    return Modes(basis=basis, pull=pull, discrete=not flow)


def _symmetric(modal: Modes, noise: FloatArray) -> Callable[[float], Law]:
    V = modal.basis
    turned = V.T @ noise @ V

    def law(gap: float) -> Law:
        G = V @ (turned * modal.spread(gap)) @ V.T
        return (V * modal.decay(gap)) @ V.T, (V * modal.away(gap)) @ V.T, 0.5 * (G + G.T)

    return law


def _integral(rates: FloatArray, gap: float) -> FloatArray:
    # (1 - exp(-r t)) / r, which is t at r = 0.
    safe = np.where(rates == 0.0, 1.0, rates)
    return np.where(rates == 0.0, gap, -np.expm1(-safe * gap) / safe)


def _geometric_sum(loss: FloatArray, steps: FloatArray | float) -> FloatArray:
    # (1 - p^k) / (1 - p) at p = 1 - loss, which is k at loss = 0; cancels where p is near 1.
    safe = np.where(loss == 0.0, 1.0, loss)
    near = np.abs(safe) < 0.5
    careful = -np.expm1(steps * np.log1p(-np.where(near, safe, 0.0)))
    plain = 1.0 - (1.0 - safe) ** steps
    return np.where(loss == 0.0, steps, np.where(near, careful, plain) / safe)


def _general_flow(process: OUProcess) -> Callable[[float], Law]:
    A, noise = process.drift, process.noise
    d, size = len(A), float(np.linalg.norm(A, 1))

    def law(gap: float) -> Law:
        # Halve until the short gap is at most half the fastest time.
        reach = 2.0 * size * gap
        halvings = int(np.ceil(np.log2(reach))) if reach > 1.0 else 0
        short = gap / 2.0**halvings
        block = scipy.linalg.expm(short * np.block([[-A, noise], [np.zeros((d, d)), A.T]]))
        E = block[:d, :d]
        G = block[:d, d:] @ E.T
        return composed((E, E - np.eye(d), 0.5 * (G + G.T)), 2**halvings)

    return law


def _general_map(process: LinearRecursion) -> Callable[[float], Law]:
    T = process.transition
    once = (T, T - np.eye(len(T)), process.noise)
    return lambda gap: composed(once, round(gap))
