r"""Stationary covariances of SGD with shuffled epochs, mode by mode and phase by phase.

With :math:`z_0` the state at the start of an epoch and :math:`g_m = F^m G` the answer to one kick,
the state after ``p`` full batches of ``B`` is
:math:`z_p = F^p z_0 + \sum_{m<p} g_m n_{p-1-m}`.  The noise of :mod:`fracsde.problems.epochs`,
with :math:`c = N/(N-1)`, adds

.. math::
    A_p = \frac{c}{B} \sum_{m<p} g_m \otimes g_m - \frac{c}{N}\, \Gamma_p \otimes \Gamma_p
        = \frac{c}{B} \Big[ \sum_{m<p} (g_m - \bar g) \otimes (g_m - \bar g)
        + \Big(\frac1p - \frac BN\Big) \Gamma_p \otimes \Gamma_p \Big], \qquad
    \Gamma_p = \sum_{m<p} g_m ,

and the covariance at phase ``p`` is :math:`\Sigma_p = F^p \Sigma_0 F^{pT} + A_p`, where
:math:`\Sigma_0 = \Sigma_M` closes the epoch.  The phases are :math:`p = 0, \dots, M - 1`, the steps
already taken; the phase average is over these.

**Without cancellation.**  The second form of :math:`A_p` adds semi-definite terms.  Blocks of steps
are joined as by [Chan1983]_, whose difference of means is that of *deviations*
:math:`\bar g - G`, small where a mode is slow, and :math:`F^m - I` is carried beside
:math:`F^m`.  With momentum the slow coordinate is :math:`u = w + b v / (1 - \mu)`, which only the
curvature moves.  Relative accuracy is kept down to the flattest mode.

**Cost.**  In the eigenvectors of :math:`R^T K R`, :math:`P = R R^T`, every pair of modes is a
1 x 1 or 2 x 2 problem: :math:`O(d^3)` for the eigenvectors and
:math:`O(d^2 \log (M / \eta h_{\min}))` for the rest; memory is some 20 arrays of the size of the
state's covariance.

Not here: lags, :mod:`fracsde.lyapunov.epoch_lags`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.lyapunov.heavy_ball import HeavyBall
from fracsde.lyapunov.processes import StationaryState, outcome
from fracsde.lyapunov.rounding import EPS, binary_unit, spectral_norm
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.epochs import EpochRecursion

__all__ = ["EpochModes", "Phases", "epoch_modes", "stationary_phases"]

# Steps beyond any time in which a mode that is told from a flat one decays.
_DOUBLINGS = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochModes:
    """Modes of a recursion with shuffled epochs; ``s`` is 1, or 2 with a velocity.

    Parameters
    ----------
    process : EpochRecursion
        Whose modes they are.
    basis : (d, d) float64
        ``V``, with ``w = V x`` and ``x`` the modes.
    spread : float [1]
        Condition number of ``V``, squared.
    pull : (d,) float64 [1]
        What one step takes of each mode.
    noise : (d, d) float64 [weight^2]
        Noise of one example, mode by mode.
    lean : float [1]
        ``b / (1 - mu)``: the slow coordinate is ``w + lean v``.
    gain : (s,) float64 [1]
        ``G``, what a kick adds to the slow coordinate and the velocity.
    away : (s, s, d) float64 [1]
        ``F - I`` in these coordinates.
    """

    process: EpochRecursion
    basis: FloatArray
    spread: float
    pull: FloatArray
    noise: FloatArray
    lean: float
    gain: FloatArray
    away: FloatArray

    @property
    def kicks(self) -> FloatArray:
        """What a kick adds to each mode, ``(s, d)`` [1]."""
        return np.repeat(self.gain[:, None], len(self.pull), axis=1)

    def to_state(self, pairs: FloatArray) -> FloatArray:
        """Return a covariance of modes as one of weights and velocities.

        Parameters
        ----------
        pairs : (s, s, d, d) float64 [weight^2]
            Pairs of modes.

        Returns
        -------
        (s d, s d) float64 [weight^2]
        """
        s, V = len(self.gain), self.basis
        turn = np.array([[1.0, -self.lean], [0.0, 1.0]])[:s, :s]
        plain = np.einsum("xa,acij,yc->xyij", turn, pairs, turn)
        blocks = [[V @ plain[x, y] @ V.T for y in range(s)] for x in range(s)]
        return np.block(blocks)

    def ball(self) -> HeavyBall:
        """Return the modes without their noise, for eigenvalues and norms; needs momentum.

        Returns
        -------
        HeavyBall
        """
        rule = self.process.rule
        return HeavyBall(
            pull=(1.0 - rule.dampening) * self.pull,
            basis=self.basis,
            momentum=rule.momentum,
            noise=self.noise,
            nesterov=rule.nesterov,
        )


def epoch_modes(process: EpochRecursion) -> EpochModes:
    """Return the modes of a recursion with shuffled epochs.

    Parameters
    ----------
    process : EpochRecursion
        The recursion.

    Returns
    -------
    EpochModes
    """
    root, spread = _root(process.preconditioner, len(process.curvature))
    pull, turn = np.linalg.eigh(root.T @ process.curvature @ root)
    basis = root @ turn
    rule = process.rule
    mu, (a, b, c) = rule.momentum, rule.gains
    lean = b / (1.0 - mu)
    gain, away = np.array([a + c * lean, c]), np.zeros((2, 2, len(pull)))
    away[:, 0] = -np.multiply.outer(gain, pull)
    away[:, 1] = lean * np.multiply.outer(gain, pull)
    away[1, 1] -= 1.0 - mu
    s = 2 if rule.has_velocity else 1
    return EpochModes(
        process=process,
        basis=basis,
        spread=spread,
        pull=pull,
        # The noise n = eta P xi in the modes, where w = R U x, is U^T R^T (eta^2 C) R U.
        noise=basis.T @ process.noise @ basis,
        lean=lean,
        gain=gain[:s],
        away=away[:s, :s],
    )


def _root(preconditioner: FloatArray | None, size: int) -> tuple[FloatArray, float]:
    # R with R R^T = P, and its condition number squared.
    if preconditioner is None:
        return np.eye(size), 1.0
    if preconditioner.ndim == 1:
        values, vectors = preconditioner, np.eye(size)
    else:
        values, vectors = np.linalg.eigh(preconditioner)
        values = np.maximum(values, 0.0)
    low, high = float(values.min()), float(values.max())
    spread = high / low if low > 0.0 else float("inf")
    return (vectors * np.sqrt(values)) @ vectors.T, spread


@dataclass(frozen=True, kw_only=True, eq=False)
class _Steps:
    # Sums over the first ``count`` steps, from which longer ones are joined.
    count: int
    away: FloatArray  # F^m - I                                         (s, s, d)
    total: FloatArray  # Gamma_m                                         (s, d)
    drift: FloatArray  # mean of g_j - G                                 (s, d)
    scatter: FloatArray  # sum of (g_j - mean)(g_j - mean)               (s, s, d, d)
    squares: FloatArray  # W_m, sum of g_j g_j                           (s, s, d, d)
    past_squares: FloatArray  # sum of W_p over p < m                    (s, s, d, d)
    past_totals: FloatArray  # sum of Gamma_p over p < m                 (s, d)
    past_products: FloatArray  # sum of Gamma_p Gamma_p over p < m       (s, s, d, d)


@dataclass(frozen=True, kw_only=True, eq=False)
class Phases:
    """Covariances through an epoch, before they are turned back to weights.

    Parameters
    ----------
    modes : EpochModes
        The modes.
    start : (s, s, d, d) float64 [weight^2]
        Covariance at the start of an epoch.
    """

    modes: EpochModes
    start: FloatArray

    def at(self, phase: int) -> FloatArray:
        """Return the covariance of the whole state after ``phase`` steps of an epoch.

        Parameters
        ----------
        phase : int
            Between 0 and ``M``, where the last is the first.

        Returns
        -------
        (s d, s d) float64 [weight^2]
        """
        pairs = self.start
        if 0 < phase < self.modes.process.steps:
            sums = _steps(self.modes, phase)
            pairs = _moved(sums.away, self.start) + _added(self.modes, sums)
        return _even(self.modes.to_state(pairs))

    def average(self) -> tuple[FloatArray, FloatArray]:
        """Return the average over phases, and what one step adds to it.

        Returns
        -------
        (s d, s d) float64 [weight^2]
            The covariance of the whole state.
        (s d, s d) float64 [weight^2]
            ``S - F S F^T`` as the correlation of the noise gives it, for the residual.
        """
        modes, process = self.modes, self.modes.process
        N, B, M = process.dataset_size, process.batch_size, process.steps
        sums, carried = _steps(modes, M), _carried(modes, self.start, M)
        unit = modes.noise * _between(N)
        within = sums.past_squares / B - sums.past_products / N
        pairs = (carried + within * unit) / M
        each = float(np.mean(1.0 / process.batch_sizes)) - 1.0 / N
        G = modes.kicks
        # Noise of a step and the state before it: minus the kicks of the same epoch.
        memory = -_outer(_apply(modes.away, sums.past_totals) + sums.past_totals, G) / (N * M)
        fresh = (each * _outer(G, G) + memory + memory.transpose(1, 0, 3, 2)) * unit
        return _even(modes.to_state(pairs)), _even(modes.to_state(fresh))


def stationary_phases(process: EpochRecursion) -> tuple[StationaryState, Phases | None]:
    """Solve for the covariances of a recursion with shuffled epochs; failure is a status.

    Parameters
    ----------
    process : EpochRecursion
        The recursion.

    Returns
    -------
    StationaryState
        Averaged over the phases of an epoch.
    Phases or None
        Each phase; nothing where there is no stationary law.
    """
    modes = epoch_modes(process)
    pull = modes.pull
    if process.rule.has_velocity:
        ball = modes.ball()
        status, detail = outcome(
            ball.eigenvalues(), ball.margins(), ball.tolerance(), discrete=True
        )
    else:
        margins = np.minimum(pull, 2.0 - pull)
        limit = 4.0 * EPS + 4.0 * len(pull) * EPS * float(np.abs(pull).max())
        status, detail = outcome(1.0 - pull, margins, limit, discrete=True)
    size = process.dimension
    if not status.ok:
        nothing = np.full((size, size), np.nan)
        detail = f"{detail} {process.context}".strip()
        return _state(nothing, float("nan"), float("inf"), status, detail), None
    phases = Phases(modes=modes, start=_closed(modes))
    S, fresh = phases.average()
    if not np.all(np.isfinite(S)):
        nothing = np.full((size, size), np.nan)
        return _state(nothing, float("nan"), float("inf"), Status.NOT_FINITE, "Rescale it."), None
    T, unit = process.transition, binary_unit(S)
    gap = float(np.linalg.norm(T @ (S / unit) @ T.T + fresh / unit - S / unit))
    scale = (1.0 + spectral_norm(T) ** 2) * float(np.linalg.norm(S / unit))
    scale += float(np.linalg.norm(fresh / unit))
    norm = modes.ball().inverse_norm() if process.rule.has_velocity else _plain_norm(pull)
    error = (gap + EPS * scale) * norm * modes.spread * unit
    residual = gap / scale if scale > 0.0 else 0.0
    limit = 10.0 * EPS * max(10, len(S)) * modes.spread
    if not residual <= limit:
        status = Status.INACCURATE
        detail = f"The relative residual is {residual:.3g}; {limit:.3g} is expected."
    return _state(S, residual, error, status, detail), phases


def _state(
    S: FloatArray, residual: float, error: float, status: Status, detail: str
) -> StationaryState:
    return StationaryState(
        matrix=S,
        residual=residual,
        error_estimate=error,
        status=status,
        method="eigen",
        detail=detail,
    )


def _plain_norm(pull: FloatArray) -> float:
    return float(1.0 / (pull * (2.0 - pull)).min())


def _closed(modes: EpochModes) -> FloatArray:
    # The covariance at the start of an epoch: S = F^M S F^MT + A_M by doubling.
    away, S = _epoch(modes)
    for _ in range(_DOUBLINGS):
        new = S + _moved(away, S)
        if np.array_equal(new, S):
            break
        S, away = new, _composed(away, away)
    return S


def _epoch(modes: EpochModes) -> tuple[FloatArray, FloatArray]:
    # F^M - I and A_M, a short last batch included.
    process = modes.process
    N, B, M = process.dataset_size, process.batch_size, process.steps
    last = int(process.batch_sizes[-1])
    if last == B:
        sums = _steps(modes, M)
        return sums.away, _added(modes, sums)
    sums, G, seen = _steps(modes, M - 1), modes.kicks, N - last
    # Kicks b_j x_j: those of the full batches after one more step, and the last one.
    full = (_apply(modes.away, sums.total) + sums.total) / seen
    apart = full - G / last
    added = _moved(modes.away, sums.scatter) / B + (seen * last / N) * _outer(apart, apart)
    return _composed(modes.away, sums.away), added * (modes.noise * _between(N))


def _between(examples: int) -> float:
    # N / (N - 1): examples drawn without replacement; one example alone has no noise.
    return examples / (examples - 1) if examples > 1 else 0.0


def _added(modes: EpochModes, sums: _Steps) -> FloatArray:
    # A_p of p full batches.
    N, B, p = modes.process.dataset_size, modes.process.batch_size, sums.count
    left = (N - p * B) / (p * N)
    pairs = sums.scatter + left * _outer(sums.total, sums.total)
    return pairs * (modes.noise * (_between(N) / B))


def _steps(modes: EpochModes, count: int) -> _Steps:
    # The sums over ``count`` steps by repeated doubling.
    G = modes.kicks
    once = _outer(G, G)
    block = _Steps(
        count=1,
        away=modes.away,
        total=G,
        drift=np.zeros_like(G),
        scatter=np.zeros_like(once),
        squares=once,
        past_squares=np.zeros_like(once),
        past_totals=np.zeros_like(G),
        past_products=np.zeros_like(once),
    )
    result: _Steps | None = None
    while count:
        if count % 2:
            result = block if result is None else _joined(block, result, G)
        count //= 2
        if count:
            block = _joined(block, block, G)
    assert result is not None  # there is a step at least
    return result


def _joined(one: _Steps, two: _Steps, G: FloatArray) -> _Steps:
    # Steps of ``two`` come after those of ``one``: their kicks are F^m g.
    m, n = one.count, two.count
    later_total = _apply(one.away, two.total) + two.total
    later_drift = _apply(one.away, G) + _apply(one.away, two.drift) + two.drift
    apart = one.drift - later_drift
    later_past = _apply(one.away, two.past_totals) + two.past_totals
    cross = _outer(one.total, later_past)
    return _Steps(
        count=m + n,
        away=_composed(one.away, two.away),
        total=one.total + later_total,
        drift=(m * one.drift + n * later_drift) / (m + n),
        scatter=one.scatter
        + _moved(one.away, two.scatter)
        + (m * n / (m + n)) * _outer(apart, apart),
        squares=one.squares + _moved(one.away, two.squares),
        past_squares=one.past_squares + n * one.squares + _moved(one.away, two.past_squares),
        past_totals=one.past_totals + n * one.total + later_past,
        past_products=one.past_products
        + n * _outer(one.total, one.total)
        + cross
        + cross.transpose(1, 0, 3, 2)
        + _moved(one.away, two.past_products),
    )


def _carried(modes: EpochModes, start: FloatArray, count: int) -> FloatArray:
    # Sum over p < count of F^p start F^pT, by doubling.
    away, block = modes.away, start
    done_away = np.zeros_like(away)
    result = np.zeros_like(start)
    while count:
        if count % 2:
            result = result + _moved(done_away, block)
            done_away = _composed(done_away, away)
        count //= 2
        if count:
            block = block + _moved(away, block)
            away = _composed(away, away)
    return result


def _composed(one: FloatArray, two: FloatArray) -> FloatArray:
    # E F - I from E - I and F - I.
    return np.asarray(np.einsum("xai,ayi->xyi", one, two) + one + two)


def _apply(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("xai,ai->xi", matrix, vector))


def _outer(one: FloatArray, two: FloatArray) -> FloatArray:
    return one[:, None, :, None] * two[None, :, None, :]


def _moved(away: FloatArray, pairs: FloatArray) -> FloatArray:
    # E S E^T for every pair of modes, with E = I + away.
    s = len(away)
    E = away + np.eye(s)[:, :, None]
    half = sum(E[:, a, None, :, None] * pairs[None, a] for a in range(s))
    moved = sum(half[:, c, None] * E[None, :, c, None, :] for c in range(s))
    return np.asarray(moved)


def _even(array: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (array + array.T))
