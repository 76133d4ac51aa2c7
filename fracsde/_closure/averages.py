r"""Averages of gradient, curvature and noise over a Gaussian law, from common matched draws.

Positions are :math:`w^* + U(m \pm \Lambda z)` with :math:`\Lambda\Lambda^T = \Sigma`, in modes
:math:`U` of the Hessian.  The numbers ``z`` are drawn once (*common*), used with both signs
(*antithetic*) and, in groups, turned so that the second moments of the leading coordinates are
exactly those of :math:`\Sigma` (*matched*).  So averages of every function of second order in the
leading coordinates are exact, and the law moves smoothly from one iteration to the next.  What
matching costs is of the fourth order: fourth moments of a group of ``n`` are low by ``2 / n``.

With even and odd parts :math:`g_\pm` of the gradient, the part of it that is not linear is

.. math::
    R = \operatorname{Cov}(g - \bar H (w - \bar w))
      = \operatorname{Cov}(g_+) + \operatorname{Cov}(g_- - \bar H \Lambda z) .
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._closure.minimum import LossMinimum
    from fracsde._typing import FloatArray

__all__ = ["Averages", "average", "matched_draws", "root"]

MATCHED = 20  # leading coordinates whose second moments are matched at most
GROUP = 24  # antithetic pairs in a group at least
GROUPS = (4, 8)  # how many groups, at least and at most
HELD = 2**22  # numbers held at once for callables that take many points


@dataclass(frozen=True, kw_only=True, eq=False)
class Averages:
    """Averages by group: ``G`` groups, ``r`` modes, ``k`` of them leading.

    Curvature varies less than noise and costs more, so fewer groups serve for it.
    """

    gradient: FloatArray  # (G, r)
    hessian: FloatArray  # (about G / 2, r, k): all rows of the leading columns
    noise: FloatArray  # (G, k, k), of one example
    trace: FloatArray  # (G,)
    residual: FloatArray  # (G, k, k): R
    odd: FloatArray  # (k,): variance of the odd part of R's gradient
    rest_residual: FloatArray  # (G,): trace of Cov(g_+) over the other modes
    bend: FloatArray  # (G,): mean curvature of the other modes, weighted by variance, over H's


def matched_draws(rng: np.random.Generator, draws: int, modes: int, rank: int) -> FloatArray:
    """Draw standard normals in groups of matched second moments.

    Returns
    -------
    (G, n, r) float64
        About ``draws`` in all, in groups of equal size.
    """
    groups = int(np.clip(draws // GROUP, *GROUPS))
    size = max(GROUP, draws // groups)
    q = min(rank, MATCHED)
    Z = rng.standard_normal((groups, size, modes))
    for group in Z:
        # The polar factor is the nearest matrix with orthogonal columns.
        left, _, right = np.linalg.svd(group[:, :q], full_matrices=False)
        group[:, :q] = size**0.5 * left @ right
    return Z


def root(sigma: FloatArray, rank: int) -> FloatArray:
    """Return a root of a covariance, leading coordinates first: they use the first draws alone.

    Returns
    -------
    (r, r) float64
    """
    lead = _symmetric_root(sigma[:rank, :rank])
    out = np.zeros_like(sigma)
    out[:rank, :rank] = lead
    if rank < len(sigma):
        below = np.linalg.pinv(lead, hermitian=True) @ sigma[:rank, rank:]
        out[rank:, :rank] = below.T
        left = sigma[rank:, rank:] - below.T @ below
        jitter = 1e-13 * float(left.diagonal().max(initial=0.0))
        try:
            out[rank:, rank:] = np.linalg.cholesky(left + jitter * np.eye(len(left)))
        except np.linalg.LinAlgError:  # directions without noise have no variance
            out[rank:, rank:] = _symmetric_root(left)
    return out


def _symmetric_root(sigma: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(sigma)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def average(
    at: LossMinimum,
    mean: FloatArray,
    sigma: FloatArray,
    Z: FloatArray,
    *,
    spread: float,
    seed: int,
    watch: Callable[[int, int], None],
) -> Averages:
    """Average over the law of mean ``mean`` and covariance ``sigma``, in modes.

    ``spread`` is the standard deviation of each weight outside the modes, drawn from ``seed``.

    Returns
    -------
    Averages
    """
    groups, size, r = Z.shape
    k, U, loss = at.rank, at.leading, at.loss
    moved = Z @ root(sigma, k).T
    centre = at.position + at.modes @ mean
    gradients = np.empty((groups, 2, size, r))
    hessian, noise = np.zeros((max(2, groups // 2), r, k)), np.zeros((groups, k, k))
    trace = np.zeros(groups)
    step = size if loss.batched and size * at.dimension * k <= HELD else 1
    for g in range(groups):
        products = np.zeros((at.dimension, k))
        away = moved[g] @ at.modes.T
        if spread > 0.0:
            away += _outside(at, spread, size, (seed, g))
        for sign in (0, 1):
            points = centre + (1.0 - 2.0 * sign) * away
            slopes = np.empty_like(points)
            for start in range(0, size, step):
                part = slice(start, start + step)
                slopes[part] = loss.gradients(points[part])
                if g < len(hessian):
                    products += loss.products(points[part], U).sum(axis=0)
                C, traces = loss.noises(points[part], U)
                noise[g] += C.sum(axis=0)
                trace[g] += traces.sum()
                watch((2 * g + sign) * size + min(start + step, size), 2 * groups * size)
            # One product with all modes for all points: one for each would read them as often.
            gradients[g, sign] = slopes @ at.modes
        if g < len(hessian):
            hessian[g] = at.modes.T @ products
    hessian /= 2 * size
    # Symmetric among the leading modes, whatever the last digits of the products.
    hessian[:, :k] = 0.5 * (hessian[:, :k] + hessian[:, :k].transpose(0, 2, 1))
    even, odd = 0.5 * (gradients[:, 0] + gradients[:, 1]), 0.5 * (gradients[:, 0] - gradients[:, 1])
    residual, rest, turned = _residual(even, odd, moved, hessian.mean(axis=0))
    pulled = np.sum(odd[:, :, k:] * moved[:, :, k:], axis=(1, 2))
    frozen = np.sum(at.curvatures[k:] * moved[:, :, k:] ** 2, axis=(1, 2))
    return Averages(
        gradient=even.mean(axis=1),
        hessian=hessian,
        noise=noise / (2 * size),
        trace=trace / (2 * size),
        residual=residual,
        odd=turned,
        rest_residual=rest,
        bend=np.divide(pulled, frozen, out=np.ones(groups), where=frozen > 0.0),
    )


def _outside(at: LossMinimum, spread: float, count: int, key: tuple[int, int]) -> FloatArray:
    away = spread * np.random.default_rng(key).standard_normal((count, at.dimension))
    return np.asarray(away - (away @ at.modes) @ at.modes.T)


def _residual(
    even: FloatArray, odd: FloatArray, moved: FloatArray, hessian: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    k, count = hessian.shape[1], even.shape[0] * even.shape[1]
    bend = even - even.mean(axis=(0, 1))
    turn = odd[:, :, :k] - moved @ hessian
    square = np.einsum("gni,gnj->gij", bend[:, :, :k], bend[:, :, :k])
    square *= count / max(count - 1, 1)
    square += np.einsum("gni,gnj->gij", turn, turn)
    rest = np.sum(bend[:, :, k:] ** 2, axis=(1, 2))
    return square / even.shape[1], rest / even.shape[1], np.mean(turn**2, axis=(0, 1))
