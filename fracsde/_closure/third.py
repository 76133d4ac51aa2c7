r"""Third cumulants of the stationary law, and the noise they are worth.

With :math:`x = (\delta, v)`, :math:`x' = Mx - \eta F(r + \xi)`, :math:`F = (I, I)^T` and
:math:`r = g - \bar H\delta` the part of the gradient that is not linear, third cumulants obey

.. math::
    \kappa = M^{\otimes 3}\kappa
    - \eta \sum_{(3)} \mathrm{E}[Mx \otimes Mx \otimes F r]
    + \eta^2 \sum_{(3)} \mathrm{E}[F Q F^T \otimes Mx]
    - \eta^3 F^{\otimes 3} K ,

to leading order in the width of the law, the sums over the three places; ``K`` is the third
cumulant of one batch.  With :math:`T_{ikl} = \partial_i\partial_k\partial_l L`,
:math:`D_{ikl} = \partial_l Q_{ik}` and :math:`C = \mathrm{E}[x\delta^T]`,

.. math::
    \mathrm{E}[x_a x_b r_c] = \sum_{kl} T_{ckl} C_{ak} C_{bl}, \qquad
    \mathrm{E}[Q_{ab} x_c] = \sum_l D_{abl} C_{cl}, \qquad
    X = \mathrm{E}[r x^T] = \tfrac12 \sum_{kl} T_{\cdot kl}\,\kappa_{kl\cdot} .

What Stein's lemma left out of the second moments is ``X``, and adds to them the solution of

.. math::
    \Delta = M \Delta M^T - \eta\,(F X M^T + M X^T F^T) ,

which is that of a white noise :math:`\Delta Q`.  In eigenvectors of the curvature ``M`` is two by
two for each mode, so that every triple of modes is a system of eight equations.

The leading modes feel pairs of all modes, or of ``p`` vectors that stand for them
(:mod:`fracsde._closure.pairs`).  In these the curvature is taken as diagonal outside the leading
block, and third derivatives as zero where none of the three is along a leading mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._closure.fourth import STILL, Along
from fracsde._closure.linear import modal_denominators

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._closure.minimum import LossMinimum
    from fracsde._closure.pairs import Pairs
    from fracsde._typing import FloatArray
    from fracsde.problems.stochastic_loss import StochasticLoss

__all__ = ["MOST", "Bends", "Skewness", "bends", "shares_of", "skewness"]

MOST = 100  # leading modes; 8 p^2 k numbers are held
HELD = 2**22  # numbers held at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Bends:
    """Derivatives: ``k`` leading modes against pairs of ``p``, and along the leading ones."""

    loss: FloatArray  # T: (k, p, p), of the loss
    noise: FloatArray  # D: (p, p, p), of the noise of one example; the last index differentiates
    third: FloatArray  # (p, p, k), third cumulant of one example's gradient
    along: Along

    def among(self, n: int) -> Bends:
        """Return those of pairs of the first ``n``."""
        return Bends(
            loss=self.loss[:, :n, :n],
            noise=self.noise[:n, :n, :n],
            third=self.third[:n, :n],
            along=self.along,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Skewness:
    """Third cumulants of the leading modes, and what they do to them."""

    cumulants: FloatArray  # (k, k, k), of the weights
    beyond: FloatArray  # (k, k): X, of the weights
    noise: FloatArray  # (k, k): the white noise that would change the covariance as X does


def bends(
    at: LossMinimum,
    mean: FloatArray,
    pairs: Pairs,
    steps: FloatArray,
    watch: Callable[[int, int], None],
) -> Bends:
    """Differentiate curvature and noise at the mean of a law, by central differences.

    Returns
    -------
    Bends
    """
    loss, k, U = at.loss, at.rank, pairs.vectors
    p = U.shape[1]
    centre = at.position + at.modes @ mean
    T, D = np.empty((k, p, p)), np.empty((p, p, p))
    curved, loud, skewed = np.empty((k, 3)), np.empty((k, 3)), np.zeros((k, 3))
    curved[:, 1] = np.sum(U[:, :k] * loss.products(centre[None], U[:, :k])[0], axis=0)
    loud[:, 1] = loss.noises(centre[None], U[:, :k])[0][0].diagonal()
    for i, step in enumerate(steps):
        points = centre + np.multiply.outer((step, -step), U[:, i])
        noises, cubes = _noises(loss, points, U, i)
        D[:, :, i] = (noises[0] - noises[1]) / (2.0 * step)
        if i < k:
            H = U.T @ loss.products(points, U)
            T[i] = (H[0] - H[1]) / (2.0 * step)
            curved[i, ::2], loud[i, ::2] = H[::-1, i, i], noises[::-1, i, i]
            skewed[i, ::2] = cubes[::-1]
        watch(i + 1, p)
    T = 0.5 * (T + T.transpose(0, 2, 1))
    both, rows = pairs.weights, loss.examples(centre)
    third, fourth = np.zeros((p, p, k)), np.zeros(k)
    if rows is not None:
        third = _third(rows @ U, k)
        away = rows @ U[:, :k]
        away = away - away.mean(axis=0)
        fourth = np.mean(away**4, axis=0) - 3.0 * np.mean(away**2, axis=0) ** 2
    near = steps[:k]
    return Bends(
        loss=T * both,
        noise=D * both[:, :, None] * both[:, None, :] * both,
        third=third * both[:, :, None],
        along=Along(
            third=np.einsum("iii->i", T[:, :k, :k]),
            fourth=_second(curved) / near**2,
            slope=np.einsum("iii->i", D[:k, :k, :k]),
            bend=_second(loud) / near**2,
            skewness=np.einsum("iii->i", third[:k, :k]),
            skewness_slope=(skewed[:, 2] - skewed[:, 0]) / (2.0 * near),
            kurtosis=fourth,
        ),
    )


def _second(values: FloatArray) -> FloatArray:
    return np.asarray(values[:, 2] - 2.0 * values[:, 1] + values[:, 0])


def _noises(
    loss: StochasticLoss, points: FloatArray, U: FloatArray, i: int
) -> tuple[FloatArray, FloatArray]:
    # Noise of one example at each point along all vectors, and its third cumulant along one;
    # products and projections do not tell that.
    noises, cubes = np.empty((len(points), U.shape[1], U.shape[1])), np.zeros(len(points))
    for j, point in enumerate(points):
        rows = loss.examples(point)
        if rows is None:
            return loss.noises(points, U)[0], cubes
        along = rows @ U
        along -= along.mean(axis=0)
        noises[j] = along.T @ along / len(along)
        cubes[j] = np.mean(along[:, i] ** 3)
    return noises, cubes


def _third(along: FloatArray, k: int) -> FloatArray:
    p = along.shape[1]
    total = np.zeros((p, p * k))
    step = max(1, HELD // (p * k))
    along = along - along.mean(axis=0)
    for start in range(0, len(along), step):
        part = along[start : start + step]
        total += part.T @ (part[:, :, None] * part[:, None, :k]).reshape(len(part), -1)
    return (total / len(along)).reshape(p, p, k)


def skewness(
    found: Bends,
    hessian: FloatArray,
    rest: FloatArray,
    noise: FloatArray,
    *,
    rate: float,
    momentum: float,
    factors: tuple[float, ...],
) -> Skewness:
    """Solve for the third cumulants of a law and for what they do to the second.

    Parameters
    ----------
    found : Bends
        Third derivatives.
    hessian : (k, k) float64
        Mean curvature of the leading modes.
    rest : (p - k,) float64
        That of the others.
    noise : (p, p) float64
        Covariance of the noise of one step.
    rate, momentum : float
        Learning rate and momentum.
    factors : tuple of float
        Second and third cumulant of a batch over those of one example.

    Returns
    -------
    Skewness
    """
    k, p = len(hessian), len(noise)
    values, E = np.linalg.eigh(rate * hessian)
    turn = np.eye(p)
    turn[:k, :k] = E
    T = np.einsum("ia,ikl->akl", E, turn.T @ found.loss @ turn)
    D = factors[0] * np.einsum("ijl,lc->ijc", _both(turn, found.noise), turn)
    K = factors[1] * np.einsum("ijl,lc->ijc", _both(turn, found.third), E)
    h = np.concatenate([values, rate * rest])
    below = modal_denominators(h, momentum)
    W = rate**2 * (turn.T @ noise @ turn) / below
    kappa, M = _cumulants(T, D, K, h, W, rate, momentum)
    X = 0.5 * np.einsum("iab,sabj->sij", T, kappa[0, 0])
    M = M[:, :, :k]
    pushed = -rate * np.einsum("tuj,uij->tij", M, X)  # the same for both rows of F
    source = np.empty((2, 2, k, k))
    for s in (0, 1):
        for t in (0, 1):
            source[s, t] = pushed[t] + pushed[s].T
    system = np.eye(4) - np.einsum("sui,tvj->ijstuv", M, M).reshape(k, k, 4, 4)
    moved = np.linalg.solve(system, source.transpose(2, 3, 0, 1).reshape(k, k, 4, 1))[:, :, 0, 0]
    extra = E @ (below[:k, :k] * moved / rate**2) @ E.T
    third = np.einsum("abc,ia,jb,lc->ijl", kappa[0, 0, 0, :k, :k], E, E, E, optimize=True)
    return Skewness(
        cumulants=third,
        beyond=E @ X[0] @ E.T,
        noise=0.5 * (extra + extra.T),
    )


def shares_of(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Return which share of the variance along each mode another matrix is.

    It is 0 where there is none, or rounding: along redundant weights that a decay alone holds.
    Combinations of modes are not looked at: along the quietest of them any change is large.

    Returns
    -------
    (k,) float64
    """
    here = whole.diagonal()
    out = np.zeros_like(here)
    return np.divide(
        np.abs(part.diagonal()), here, out=out, where=here > STILL * here.max(initial=0.0)
    )


def _both(turn: FloatArray, A: FloatArray) -> FloatArray:
    return np.asarray(np.moveaxis(turn.T @ np.moveaxis(A, 2, 0) @ turn, 0, 2))


def _cumulants(
    T: FloatArray,
    D: FloatArray,
    K: FloatArray,
    h: FloatArray,
    W: FloatArray,
    rate: float,
    mu: float,
) -> tuple[FloatArray, FloatArray]:
    # (2, 2, 2, p, p, k): weight or velocity in each place, and the modes; and M, (2, 2, p).  The
    # last mode is a leading one, so that all third derivatives needed have a leading index.
    k, p = len(T), len(h)
    one = np.ones(p)
    M = np.array([[one - h, mu * one], [-h, mu * one]])
    # E[v_a d_b], and then C = E[Mx d^T].
    cross = W * (np.subtract.outer(h, h).T + (1.0 - mu) * h[:, None]) / ((1.0 - mu) * (1.0 + mu))
    C = np.einsum("sua,uab->sab", M, np.array([W, cross]))
    S = np.empty((2, 2, 2, p, p, k))
    # What r pulls at the last place and at one of the others; what is kicked at the first two
    # places, and at the last and one of the others.
    turned = np.einsum("jxl,tbl->tjbx", _known(T), C, optimize=True)
    last = np.einsum("sax,tjbx->stabj", C, turned[:, :k], optimize=True)
    first = np.einsum("tabx,ujx->tuabj", turned, C[:, :k], optimize=True)
    kicked = np.einsum("abl,ujl->uabj", D, C[:, :k], optimize=True)
    beside = np.einsum("ajl,tbl->tabj", D[:, :k], C, optimize=True)
    skew = rate**3 * K
    for s in (0, 1):
        for t in (0, 1):
            for u in (0, 1):
                pulled = last[s, t] + first[t, u] + first[s, u].transpose(1, 0, 2)
                kicks = kicked[u] + beside[t] + beside[s].transpose(1, 0, 2)
                S[s, t, u] = rate**2 * kicks - rate * pulled - skew
    step = max(1, HELD // (64 * p * k))
    out = np.empty_like(S)
    for start in range(0, p, step):
        part = slice(start, start + step)
        cube = np.einsum("sxa,tyb,uzj->abjstuxyz", M[:, :, part], M, M[:, :, :k], optimize=True)
        system = np.eye(8) - cube.reshape(*cube.shape[:3], 8, 8)
        right = S[:, :, :, part].transpose(3, 4, 5, 0, 1, 2)
        solved = np.linalg.solve(system, right.reshape(*right.shape[:3], 8, 1))
        out[:, :, :, part] = solved.reshape(right.shape).transpose(3, 4, 5, 0, 1, 2)
    return out, M


def _known(T: FloatArray) -> FloatArray:
    # Third derivatives of all pairs with any mode; zero where none of the three is a leading one.
    k, p = T.shape[:2]
    whole = np.zeros((p, p, p))
    whole[:, :, :k] = T.transpose(1, 2, 0)
    whole[:, :k] = T.transpose(1, 0, 2)
    whole[:k] = T
    return whole
