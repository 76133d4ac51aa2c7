r"""Wedges of the complex plane that hold the field of values of a sparse operator.

.. math::
    \{\lambda : |\arg(a - \lambda)| \le \gamma\} ,
    \qquad a = \frac{1}{\sin\gamma}
        \lambda_{\max}\Bigl(\tfrac12\bigl(e^{i\psi} L + e^{-i\psi} L^*\bigr)\Bigr),
    \qquad \psi = \pi/2 - \gamma .

The eigenvalue is bounded by Gershgorin's circles or, closer, by inverse iteration whose outcome is
proved: elimination without pivoting of ``shift - H`` has positive pivots only if no eigenvalue lies
above the shift (Sylvester's law of inertia).  A symmetric operator has ``gamma = 0``.

Not here: contours that pass a wedge (:mod:`fracsde.special._hyperbola`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import splu

from fracsde.special._krylov_spaces import top_of_spectrum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde.special._operator import Operator

__all__ = ["Wedge", "edge_of", "wedges_of"]

_EPS = float(np.finfo(np.float64).eps)
_HALF_ANGLES = (0.25, 0.6, 1.0, 1.3, 0.5 * np.pi)  # of wedges that are tried


@dataclass(frozen=True, kw_only=True)
class Wedge:
    """A set that holds the field of values.

    Parameters
    ----------
    apex : float [t**-alpha]
        ``a``, its rightmost point.
    half_angle : float [rad]
        ``gamma``, zero for real spectra.
    """

    apex: float
    half_angle: float


def edge_of(operator: Operator, wedge: Wedge) -> NDArray[Any]:
    """Return points on the upper edge of a wedge, as far as the operator's norm reaches.

    Parameters
    ----------
    operator : Operator
        Sparse or banded.
    wedge : Wedge
        The wedge.

    Returns
    -------
    (m,) complex128 [t**-alpha]
    """
    reach = 2.0 * operator.norm + abs(wedge.apex)
    distance = np.append(0.0, np.geomspace(1e-12, 1.0, 240) * reach)
    return np.asarray(wedge.apex - distance * np.exp(-1j * wedge.half_angle))


def wedges_of(operator: Operator) -> list[Wedge]:
    """Return wedges that hold the field of values, narrow ones first.

    Parameters
    ----------
    operator : Operator
        Sparse or banded.

    Returns
    -------
    list of Wedge
    """
    if operator.norm == 0.0:
        return [Wedge(apex=0.0, half_angle=0.0)]
    slack = 16.0 * _EPS * operator.norm
    if operator.symmetric:
        safe = _gershgorin(operator, 0.0) <= slack or _positive(operator.matrix, slack) is not None
        return [Wedge(apex=0.0 if safe else max(0.0, _support(operator, 0.0)), half_angle=0.0)]
    found = []
    for gamma in _HALF_ANGLES:
        normal = 0.5 * np.pi - gamma
        apex = _gershgorin(operator, normal)
        if apex > slack:
            apex = min(apex, _support(operator, normal))
        found.append(Wedge(apex=0.0 if apex <= slack else apex / np.sin(gamma), half_angle=gamma))
        if found[-1].apex == 0.0:
            break  # wider ones only cost more
    return found


def _gershgorin(operator: Operator, normal: float) -> float:
    # Bound the field of values in two conjugate directions by circles.
    A = operator.matrix
    diagonal = A.diagonal()
    weight = abs(A)
    radius = 0.5 * (np.asarray(weight.sum(axis=0)) + np.asarray(weight.sum(axis=1)))
    radius = radius - np.abs(diagonal)
    along = [np.real(np.exp(sign * 1j * normal) * diagonal) for sign in (-1.0, 1.0)]
    return float((np.maximum(*along) + radius).max())


def _support(operator: Operator, normal: float) -> float:
    # Bound the field of values in two conjugate directions by eigenvalues.
    A = operator.matrix
    turned = A.conj().T.tocsc()
    signs = (1.0,) if operator.real or normal == 0.0 else (-1.0, 1.0)
    tops = []
    for sign in signs:
        phase = np.exp(sign * 1j * normal) if normal else 1.0
        part = (0.5 * (phase * A + np.conj(phase) * turned)).tocsc()
        tops.append(_top_eigenvalue(part))
    return max(tops)


def _top_eigenvalue(H: Any) -> float:
    # Bound the largest eigenvalue of a Hermitian matrix from above, closely.
    weight = abs(H)
    diagonal = H.diagonal().real
    radius = np.asarray(weight.sum(axis=0)) - np.abs(diagonal)
    bound, low = float((diagonal + radius).max()), float(diagonal.max())
    slack = 32.0 * _EPS * float(np.asarray(weight.sum(axis=0)).max())
    rng = np.random.default_rng(H.shape[0])
    start = rng.normal(size=H.shape[0]).astype(H.dtype)
    for _ in range(2):
        if bound - low <= max(slack, 1e-6 * abs(bound)):
            break
        # Inverse iteration from above; what it finds is a lower bound of the eigenvalue.
        factors = _positive(H, bound + slack)
        if factors is None:
            break
        ritz = top_of_spectrum(factors.solve, start, 30)
        low = max(low, bound + slack - 1.0 / ritz)
        # A candidate is an upper bound if elimination finds no eigenvalue above it.
        for margin in (1e-9, 1e-4, 0.1):
            candidate = low + margin * max(bound - low, abs(low)) + slack
            if candidate < bound and _positive(H, candidate + slack) is not None:
                bound = candidate
                break
    return bound


def _positive(H: Any, shift: float) -> Any:
    # Factors of shift - H if elimination without pivoting proves it positive definite.
    shifted = (shift * scipy.sparse.eye_array(H.shape[0], format="csc") - H).tocsc()
    try:
        factors = splu(
            shifted,
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
    except RuntimeError:  # an exact zero on the diagonal
        return None
    same = np.array_equal(factors.perm_r, factors.perm_c)
    return factors if same and np.all(factors.U.diagonal().real > 0.0) else None
