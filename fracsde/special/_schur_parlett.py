r"""Functions of a triangular matrix by blocks of close eigenvalues.

Let ``T`` be upper triangular with blocks :math:`T_{ij}` whose diagonal blocks have no close
eigenvalues in common.  ``F = f(T)`` commutes with ``T``, so that above the diagonal

.. math::
    T_{ii} F_{ij} - F_{ij} T_{jj} = F_{ii} T_{ij} - T_{ij} F_{jj}
        + \sum_{i < k < j} (F_{ik} T_{kj} - T_{ik} F_{kj}) ,

and on it ``f`` is a Taylor series about the mean :math:`\sigma` of the block's eigenvalues,

.. math::
    f(T_{ii}) = \sum_k c_k (T_{ii} - \sigma)^k, \qquad
    c_k = \frac{1}{2\pi r^k} \int_0^{2\pi} f(\sigma + r e^{i\theta}) e^{-ik\theta}\, d\theta .

``f`` is entire, so the coefficients come from its values on a circle and need no derivatives;
the radius is the one at which rounding in the values does least harm to the sum.

No bound is known for the error of the recurrence.  Three separations of blocks, each with an order
and radii of its own, are evaluated.  The middle one works backwards and with values of ``f``
disturbed by a few roundings; of the others the one nearer to it is believed, and the difference is
the estimate of the error.  A fourth, of a matrix that is disturbed by a given amount, tells what
rounding does to the value.
``tests/special/test_matrix.py`` measures it.

Not here: how to choose between this road and others (:mod:`fracsde.special._matrix_dense`).

References: [DaviesHigham2003]_ for the blocks, [GarrappaPopolizio2018]_ for the Mittag-Leffler
function.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Scalar = Callable[[NDArray[Any]], NDArray[Any]]

__all__ = ["TriangularFunction", "schur_parlett"]

_EPS = float(np.finfo(np.float64).eps)
_POINTS = 128  # on each circle
_DISTURBANCE = 2e-15
_TERMS = 64  # at most half the points, lest coefficients alias
_SEPARATIONS = (0.5, 0.1, 0.02)
_RADII = 2.0 ** np.arange(-4.0, 9.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class TriangularFunction:
    """``f(Q T Q*) = Q F Q*`` with the unitary factor as reordered.

    Parameters
    ----------
    vectors : (n, n) complex128
        ``Q``.
    values : (n, n) complex128
        ``F``, upper triangular.
    error : float
        Estimate of the error of ``F`` in the Frobenius norm.
    rounding : float
        Effect of the disturbance on ``F``, Frobenius norm.
    blocks : int
        Number of diagonal blocks.
    """

    vectors: NDArray[Any]
    values: NDArray[Any]
    error: float
    rounding: float
    blocks: int


def schur_parlett(
    T: NDArray[Any], Q: NDArray[Any], function: Scalar, length: Scalar, *, disturbance: float
) -> TriangularFunction:
    """Evaluate an entire function of ``Q T Q*``.

    Parameters
    ----------
    T, Q : (n, n) complex128
        Schur form and vectors.
    function : callable
        ``f`` of an array of complex numbers; may overflow to infinity.
    length : callable
        Length on which ``f`` changes near each of an array of complex numbers.
    disturbance : float
        Size of the perturbation of ``T`` that stands for its backward error.

    Returns
    -------
    TriangularFunction
    """
    trials = [
        _evaluate(T, Q, function, length, separation, turn)
        for turn, separation in enumerate(_SEPARATIONS)
    ]
    full = [one.vectors @ one.values @ one.vectors.conj().T for one in trials]
    gaps = np.array([np.linalg.norm(full[k] - full[1]) for k in (0, 2)])
    if not np.any(np.isfinite(gaps)):
        return replace(trials[0], error=np.inf, rounding=np.inf)
    gap = float(np.nanmin(gaps))
    chosen = 2 * int(np.nanargmin(gaps))
    rounding = _EPS * float(np.linalg.norm(trials[chosen].values))
    moved = np.array(T)
    noise = np.random.default_rng(len(T)).normal(size=(2, *T.shape))
    moved += disturbance / np.sqrt(2.0 * len(T)) * (noise[0] + 1j * noise[1])
    R, U = scipy.linalg.schur(moved, output="complex")
    other = _evaluate(R, Q @ U, function, length, _SEPARATIONS[chosen], chosen)
    again = other.vectors @ other.values @ other.vectors.conj().T
    shift = float(np.nan_to_num(np.linalg.norm(again - full[chosen]), nan=np.inf))
    return replace(trials[chosen], error=max(gap, rounding), rounding=max(shift, rounding))


def _evaluate(
    T: NDArray[Any],
    Q: NDArray[Any],
    function: Scalar,
    length: Scalar,
    separation: float,
    turn: int,
) -> TriangularFunction:
    # One blocking: reorder, Taylor series on the diagonal, recurrence above it.
    T, Q, ends = _reordered(T, Q, length, separation, turn)
    starts = [0, *ends[:-1]]
    cuts = [slice(a, b) for a, b in zip(starts, ends, strict=True)]
    F = np.zeros_like(T)
    error = 0.0
    for cut in cuts:
        F[cut, cut], own = _taylor(T[cut, cut], function, length, turn)
        error = float(np.hypot(error, own))
        if turn % 2:  # what the recurrence makes of errors in f must show in the difference
            F[cut, cut] *= 1.0 + _DISTURBANCE * np.cos(5.0 * cut.start)
            error = max(error, _DISTURBANCE * float(np.linalg.norm(F[cut, cut])))
    if not np.all(np.isfinite(F)):
        return TriangularFunction(
            vectors=Q, values=F, error=np.inf, rounding=np.inf, blocks=len(cuts)
        )
    (trsyl,) = scipy.linalg.get_lapack_funcs(("trsyl",), (T,))
    for distance in range(1, len(cuts)):
        for i in range(len(cuts) - distance):
            row, column = cuts[i], cuts[i + distance]
            between = slice(cuts[i].stop, column.start)
            right = F[row, row] @ T[row, column] - T[row, column] @ F[column, column]
            right += F[row, between] @ T[between, column] - T[row, between] @ F[between, column]
            X, scale, _ = trsyl(T[row, row], T[column, column], right, isgn=-1)
            F[row, column] = X / scale
    return TriangularFunction(vectors=Q, values=F, error=error, rounding=0.0, blocks=len(cuts))


def _reordered(
    T: NDArray[Any], Q: NDArray[Any], length: Scalar, separation: float, turn: int
) -> tuple[NDArray[Any], NDArray[Any], list[int]]:
    # Bring close eigenvalues together; return also where each block ends.
    z = T.diagonal()
    near = separation * length(z)
    close = np.abs(z[:, None] - z) <= np.minimum(near[:, None], near)
    count, label = connected_components(close, directed=False)
    # Blocks in the order of the mean place of their members, which needs few swaps; in every
    # second trial backwards, so that the recurrence rounds differently.
    place = np.bincount(label, weights=np.arange(len(z))) / np.bincount(label)
    place *= (-1.0) ** turn
    label = np.argsort(np.argsort(place, kind="stable"))[label]
    T, Q = np.array(T, order="F"), np.array(Q, order="F")
    (trexc,) = scipy.linalg.get_lapack_funcs(("trexc",), (T,))
    order = list(label)
    for target in range(len(order)):
        source = min(range(target, len(order)), key=lambda k: (order[k], k))
        if source != target:
            T, Q, _ = trexc(T, Q, source + 1, target + 1, overwrite_a=1, overwrite_q=1)
            order.insert(target, order.pop(source))
    return np.triu(T), Q, [int(k) for k in np.cumsum(np.bincount(label, minlength=count))]


def _taylor(
    T: NDArray[Any], function: Scalar, length: Scalar, turn: int
) -> tuple[NDArray[Any], float]:
    # Sum the Taylor series of one block and bound what rounding and truncation leave.
    z = T.diagonal()
    if len(z) == 1:
        value = function(z)
        return value[:, None], _EPS * float(np.abs(value[0]))
    centre = np.mean(z)
    N = T - centre * np.eye(len(z))
    spread = float(np.abs(z - centre).max())
    own = float(np.abs(length(np.array([centre]))[0]))
    radii = np.append(_RADII * own, np.array([1.5, 2.0, 3.0, 5.0]) * spread)
    radii = np.unique(radii[radii > 1.2 * spread]) * 1.1**turn
    turns = np.exp(2j * np.pi / _POINTS * np.arange(_POINTS))
    values = function(centre + np.multiply.outer(radii, turns))
    peaks = np.abs(values).max(axis=1)
    usable = np.flatnonzero(np.isfinite(peaks) & (peaks > 0.0))
    if not len(usable):
        return np.full_like(T, np.nan), np.inf
    # Powers of N over a common length, so that none overflows; the first _POINTS / 2 at most.
    base = max(spread, float(np.linalg.norm(N)) / len(z), float(radii[usable[0]]))
    powers, sizes = _powers(N / base)
    k = np.arange(len(sizes))
    with np.errstate(over="ignore", invalid="ignore"):
        ratios = (base / radii[usable])[:, None] ** k
        harm = peaks[usable] * (ratios * sizes).sum(axis=1)
    best = int(np.argmin(np.where(np.isfinite(harm), harm, np.inf)))
    c = np.fft.fft(values[usable[best]])[: len(sizes)] / _POINTS * ratios[best]
    F = np.tensordot(c, powers, axes=1)
    tail = 0.0 if len(sizes) < _TERMS else float(np.abs(c[-2:]) @ sizes[-2:])
    return F, 2.0 * _EPS * float(harm[best]) + tail


def _powers(N: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    # Powers of N and their norms, until they vanish.
    powers = [np.eye(len(N), dtype=np.complex128)]
    sizes = [float(np.sqrt(len(N)))]
    while len(powers) < _TERMS:
        power = powers[-1] @ N
        size = float(np.linalg.norm(power))
        if size == 0.0 or not np.isfinite(size):
            break
        powers.append(power)
        sizes.append(size)
    return np.array(powers), np.array(sizes)
