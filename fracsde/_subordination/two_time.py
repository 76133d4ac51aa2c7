r"""Covariances between two times on the clock.

Let ``Z = Y - x_0`` from a start at :math:`x_0 = m + v`, :math:`D(\tau) = (E(\tau) - I)\,v` and
:math:`s \le t`.  Given the clock,

.. math::
    \mathrm{E}[Z_t Z_s^T] = H(E_s), \quad
    H(\tau) = E(E_t - \tau)\, \bigl[G + D D^T\bigr](\tau) + (E(E_t - \tau) - I)\, v\, D(\tau)^T .

:math:`H(0) = 0`, and by the equations of ``G`` and ``D``

.. math::
    H'(\tau) = E(E_t - \tau)\, Q(\tau) + (E(E_t - \tau) - I)\, v\, D'(\tau)^T, \qquad
    Q = N - \bigl[G + D\,(E v)^T\bigr] A^T, \quad D' = -A E v .

The subordinator ``U`` starts afresh whenever it is: at operational time :math:`\tau < E_s` it is at
:math:`y = U(\tau) < s` and what is left of :math:`E_t` is distributed like :math:`E_{t-y}`.  With

.. math::
    \int_0^\infty g(\tau)\,P(U(\tau) \in dy)\,d\tau
    = \mathbb{E}[\xi\, g(\vartheta\xi)]\,d\vartheta ,

where :math:`\xi` is the clock at scale 1 and :math:`\vartheta` the scale at time ``y``,

.. math::
    \mathrm{E}[Z_t Z_s^T] = \int_0^{\theta(s)} \Bigl\{
        \mathbb{E}[E(E_{t-y})]\; \mathbb{E}[\xi\, Q(\vartheta\xi)]
        + \mathbb{E}[E(E_{t-y}) - I]\, v\; \mathbb{E}[\xi\, D'(\vartheta\xi)]^T
        \Bigr\}\, d\vartheta .

In scalar form, for exponentials alone, this is

.. math::
    \mathbb{E}\, e^{-\mu E_s - \lambda (E_t - E_s)} = E_\alpha(-\lambda t^\alpha)
    + (\lambda - \mu) \int_0^s y^{\alpha-1} E_{\alpha,\alpha}(-\mu y^\alpha)\,
      E_\alpha(-\lambda (t-y)^\alpha)\, dy ,

of which [Leonenko2013]_ has the case :math:`\mu = 0`, the stationary start.  A random start adds
its own term, :math:`\mathrm{E}[E(E_t)\, C_0\, E(E_s)^T]`, by the same steps.

The clock enters through three arrays of numbers: weights of averages at ``t`` and at ``s``, and a
matrix of joint weights.  The outer integral is taken over :math:`r = \vartheta/\theta(s)` by
sixteen-point Gauss rules, halved towards both ends until products of averages of the process's own
rates are resolved.  ``tests/test_subordination.py`` measures an error below 1e-12 of the largest
entry, and relative to the correlation itself where it has decayed.

Not here: one time (:mod:`fracsde._subordination.moments`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._subordination.flows import ModalFlow, growth
from fracsde._subordination.lattice import clock_lattice
from fracsde.lyapunov.evolution import finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fracsde._subordination.flows import Flow
    from fracsde._subordination.starts import Start
    from fracsde._typing import FloatArray

__all__ = ["TwoTimes", "covariance_along", "covariance_between", "ordinary", "two_times"]

_NODES = 16
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(_NODES)
_LAST = (
    np.polynomial.legendre.legvander(_POINTS, _NODES - 1)[:, -4:]
    * _WEIGHTS[:, None]
    * (np.arange(_NODES - 4, _NODES) + 0.5)
)
_TAIL = 1e-14  # of the last Legendre coefficients, times the width, beside the whole integral
_FINEST = 2.0**-50
_PROXIES = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoTimes:
    """All that the clock has to say about two times.

    Parameters
    ----------
    nodes : (k,) float64 [t]
        Operational times, 0 among them.
    later, earlier : (k,) float64 [1]
        Weights of averages over the clock at ``t`` and at ``s``.
    joint : (k, k) float64 [t]
        Weight of the law at ``nodes[i]`` after the passage and at ``nodes[j]`` before it.
    """

    nodes: FloatArray
    later: FloatArray
    earlier: FloatArray
    joint: FloatArray


def two_times(
    alpha: float, timescale: float, rates: NDArray[np.complex128], s: float, t: float
) -> TwoTimes:
    """Return the weights of two times.

    Parameters
    ----------
    alpha : float [1]
        Order, ``0 < alpha < 1``.
    timescale : float [t]
        Of the clock.
    rates : (d,) complex128 [1/t]
        Eigenvalues of the drift.
    s, t : float [t]
        ``0 < s <= t``.

    Returns
    -------
    TwoTimes
    """
    scale_s = timescale * (s / timescale) ** alpha
    scale_t = timescale * (t / timescale) ** alpha
    both = np.concatenate([rates, 2.0 * rates])
    lattice = clock_lattice(alpha, both, scale_s, scale_t)
    proxies = _proxies(rates, scale_s)
    images = np.exp(-np.multiply.outer(lattice.nodes, proxies))

    def panel(left: float, width: float, *, end: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
        # Weights after and before the passage, and of the outer rule; `end` counts from r = 1.
        q = left + 0.5 * width * (1.0 + _POINTS)
        logs = np.log1p(-q) if end else np.log(q)
        gone = timescale * ((t - s - s * np.expm1(logs / alpha)) / timescale) ** alpha
        after = lattice.weights(gone)[0]
        before = lattice.weights(scale_s * np.exp(logs))[1]
        return after, before, 0.5 * width * scale_s * _WEIGHTS

    parts = _panels(panel, images)
    after, before, outer = (np.concatenate(each) for each in zip(*parts, strict=True))
    ends = lattice.weights(np.array([scale_t, scale_s]))[0]
    return TwoTimes(
        nodes=lattice.nodes,
        later=ends[0],
        earlier=ends[1],
        joint=(outer[:, None] * after).T @ before,
    )


def _panels(
    panel: Callable[..., tuple[FloatArray, FloatArray, FloatArray]], images: NDArray[np.complex128]
) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    # Panels of r in [0, 1], counted from the nearer end, halved until the proxies are resolved.
    def products(part: tuple[FloatArray, ...]) -> NDArray[np.complex128]:
        return (part[0] @ images)[:, :, None] * (part[1] @ images)[:, None, :]

    waiting = [(0.0, 0.5, False), (0.0, 0.5, True)]
    trial = [panel(2.0**-k, 2.0**-k, end=end) for k in range(2, 24) for end in (False, True)]
    size = sum(np.einsum("n,nij->ij", part[2], np.abs(products(part))) for part in trial)
    kept = []
    while waiting:
        left, width, end = waiting.pop()
        part = panel(left, width, end=end)
        tails = np.abs(np.einsum("nij,nk->ijk", products(part), _LAST)).max(axis=2)
        if width > _FINEST and np.any(tails * part[2].sum() > _TAIL * size):
            waiting += [(left, 0.5 * width, end), (left + 0.5 * width, 0.5 * width, end)]
        else:
            kept.append(part)
    return kept


def _proxies(rates: NDArray[np.complex128], scale: float) -> NDArray[np.complex128]:
    # A few rates that stand for all: the extremes, and a geometric choice between them.
    one = np.unique(rates.real + 1j * np.abs(rates.imag))
    fastest = float(np.abs(one).max())
    steps = fastest * 4.0 ** -np.arange(0.0, 4.0 + max(0.0, np.log2(max(1.0, fastest * scale)) / 2))
    if np.all((one.imag == 0.0) & (one.real >= 0.0)):
        return np.concatenate([2.0 * steps[:1], steps]).astype(np.complex128)
    order = np.argsort(np.abs(one))
    chosen = one[order[np.unique(np.linspace(0, len(one) - 1, _PROXIES).astype(int))]]
    turned = one[np.argmax(np.abs(np.angle(one)))]
    return np.unique(np.concatenate([chosen, [turned], 2.0 * chosen[-1:]]))


def covariance_between(flow: Flow, clock: TwoTimes, start: Start) -> FloatArray:
    """Return ``Cov(X_t, X_s)``, the row belonging to ``t``.

    Parameters
    ----------
    flow : ModalFlow or DenseFlow
        The base.
    clock : TwoTimes
        Weights of the clock.
    start : Start
        Normal law at time 0.

    Returns
    -------
    (d, d) float64 [x^2]
    """
    if isinstance(flow, ModalFlow):
        inner = _modal_between(flow, clock, start)
        return finite(inner if flow.basis is None else flow.basis @ inner @ flow.basis.T)
    s, v = clock.nodes, start.away
    E, away, G = flow.laws(s)
    D, Ev = away @ v, E @ v
    spread = G + D[:, :, None] * Ev[:, None, :]
    if start.covariance is not None:
        spread = spread + E @ start.covariance @ E.transpose(0, 2, 1)
    Q = flow.noise - spread @ flow.drift.T
    mixed = np.tensordot(clock.joint, Q, axes=1)
    total = (E @ mixed).sum(axis=0) + D.T @ clock.joint @ (-Ev @ flow.drift.T)
    if start.covariance is not None:
        total += np.tensordot(clock.later, E, axes=1) @ start.covariance
    return finite(np.asarray(total - np.outer(clock.later @ D, clock.earlier @ D)))


def _modal_between(flow: ModalFlow, clock: TwoTimes, start: Start) -> FloatArray:
    # The same in the coordinates of the flow, where E is diagonal and A is `pull`.
    s, v = clock.nodes, flow.inward(start.away)
    E, away = flow.carried(s), flow.away(s)
    D, Ev = away * v, E * v
    noise = flow.noise if flow.noise.ndim == 2 else np.diag(flow.noise)
    grown = noise * growth(np.add.outer(flow.pull, flow.pull), s)
    spread = grown + D[:, :, None] * Ev[:, None, :]
    inner = None
    if start.covariance is not None:
        given = start.covariance
        inner = np.diag(given) if given.ndim == 1 else flow.inward(flow.inward(given).T)
        spread += E[:, :, None] * inner * E[:, None, :]
    mixed = np.tensordot(clock.joint, noise - spread * flow.pull, axes=1)
    total = (E[:, :, None] * mixed).sum(axis=0) + D.T @ clock.joint @ (-Ev * flow.pull)
    if inner is not None:
        total += (clock.later @ E)[:, None] * inner
    return np.asarray(total - np.outer(clock.later @ D, clock.earlier @ D))


def covariance_along(
    flow: Flow, clock: TwoTimes, start: Start, directions: FloatArray
) -> FloatArray:
    """Return ``u @ Cov(X_t, X_s) @ u`` for each direction.

    Parameters
    ----------
    flow : ModalFlow or DenseFlow
        The base; where all is diagonal no matrix of its size is formed.
    clock : TwoTimes
        Weights of the clock.
    start : Start
        Normal law at time 0.
    directions : (d, p) float64 [1]
        One direction per column.

    Returns
    -------
    (p,) float64 [x^2]
    """
    if not (isinstance(flow, ModalFlow) and flow.noise.ndim == 1):
        inner = covariance_between(flow, clock, start)
        return np.asarray(np.einsum("dp,de,ep->p", directions, inner, directions))
    s, v, pull = clock.nodes, start.away, flow.pull
    E, away = flow.carried(s), flow.away(s)
    D, Ev = away * v, E * v
    spread = flow.variances(s) * flow.noise
    if start.covariance is not None:
        spread += E * E * start.covariance
    joint, out = clock.joint, np.empty(directions.shape[1])
    for i, u in enumerate(directions.T):
        turned = E * u
        # Rows of the joint weights belong to E, columns to everything before the passage.
        laws = (turned @ (flow.noise * u))[:, None] - (turned * (pull * u)) @ spread.T
        laws -= (turned @ D.T) * (Ev @ (pull * u))
        laws -= np.multiply.outer(D @ u, Ev @ (pull * u))
        out[i] = (joint * laws).sum() - (clock.later @ D @ u) * (clock.earlier @ D @ u)
        if start.covariance is not None:
            out[i] += (clock.later @ E) @ (start.covariance * u * u)
    return finite(out)


def ordinary(flow: Flow, start: Start, s: float, t: float) -> FloatArray:
    """Return ``Cov(X_t, X_s)`` on the ordinary clock, ``alpha = 1``.

    Parameters
    ----------
    flow : ModalFlow or DenseFlow
        The base.
    start : Start
        Normal law at time 0.
    s, t : float [t]
        ``0 <= s <= t``.

    Returns
    -------
    (d, d) float64 [x^2], or (d,) where all is diagonal
    """
    given = start.covariance
    if isinstance(flow, ModalFlow):
        E, further = flow.carried(np.array([s, t - s]))
        if flow.noise.ndim == 1:
            spread = flow.noise * flow.variances(np.array([s]))[0]
            return finite(further * (spread if given is None else spread + E * E * given))
        inner = flow.noise * growth(np.add.outer(flow.pull, flow.pull), np.array([s]))[0]
        if given is not None:
            inner = inner + np.outer(E, E) * flow.inward(flow.inward(given).T)
        inner = further[:, None] * inner
        return finite(inner if flow.basis is None else flow.basis @ inner @ flow.basis.T)
    (early, late), _, (spread, _) = flow.laws(np.array([s, t - s]))
    if given is not None:
        spread = spread + early @ given @ early.T
    return finite(late @ spread)
