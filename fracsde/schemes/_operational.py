r"""Steps of a one-dimensional Fokker-Planck problem in operational time, between clock values.

The Itô equation whose density solves
:math:`\partial_t p = \partial_x(p V') - \partial_x(F p) + \partial_x(D\,\partial_x p)` is

.. math:: dY = b(Y)\,d\tau + \sqrt{2 D(Y)}\,dW, \qquad b = -V' + F + D' .

A step of length ``h`` with ``dW = sqrt(h) z`` is

.. math::
    Y' = Y + \tfrac{h}{2}\bigl(b(Y) + b(Y + b(Y) h + \sqrt{2D}\,dW)\bigr) + \sqrt{2D}\,dW
    \quad\text{(Heun, constant } D), \qquad
    Y' = Y + b\,h + \sqrt{2 D}\,dW \quad\text{(Euler)}.

Heun's is of weak order 2 for noise that does not depend on the state, Euler's of order 1.  A path
that would leave through a reflecting wall is folded back, which keeps order 1
[BossyGobetTalay2004]_; on a ring it is wrapped.  ``V'`` and ``D'`` are sixth-order differences of
the problem's functions, with a spacing of 1e-3 of the box, one-sided at walls.

``tests/schemes/test_subordinated.py`` measures the orders without sampling error, by Gauss-Hermite
averages of one step on a fine grid.

Not here: the clock (:mod:`fracsde.schemes.subordinated`), absorbing walls, sources, reactions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr, ndtri

from fracsde._compiled import njit
from fracsde.backends.normals import philox_normal_pair
from fracsde.backends.philox import philox4x32
from fracsde.errors import ComputationError, UnsupportedError
from fracsde.problems.densities import Gaussian, PointMass, cell_masses
from fracsde.problems.fokker_planck import require_line
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray, IntArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = ["OperationalSteps", "draw_initial", "operational_paths", "operational_steps"]

_PURPOSE_STEP, _PURPOSE_INITIAL = 8, 9
_FAR = 100.0  # widths of the box
_SPACING = 1e-3  # of differences, in units of the box
# First derivative on seven points from left to right, times 60: at the middle, and from one end.
_MIDDLE = np.array([-1.0, 9.0, -45.0, 0.0, 45.0, -9.0, 1.0])
_FIRST = np.array([-147.0, 360.0, -450.0, 400.0, -225.0, 72.0, -10.0])
_CELLS = 1 << 16  # on which a callable initial density is drawn from


@dataclass(frozen=True, kw_only=True, eq=False)
class OperationalSteps:
    """One step of many chains.

    Parameters
    ----------
    drift : callable
        ``b`` [x/t] at points.
    spread : callable
        ``sqrt(2 D)`` [x/t^(1/2)] at points.
    additive : bool
        Whether ``spread`` is constant.
    ends : (float, float) [x]
        Walls, infinite where there are none.
    periodic : bool
        Whether the ends are glued together.
    far : float [x]
        Further than this from 0 only paths that have run away come.
    """

    drift: Callable[[FloatArray], FloatArray]
    spread: Callable[[FloatArray], FloatArray]
    additive: bool
    ends: tuple[float, float]
    periodic: bool
    far: float = np.inf

    def advance(self, x: FloatArray, h: FloatArray, z: FloatArray) -> FloatArray:
        """Return positions after one step.

        Parameters
        ----------
        x : (n,) float64 [x]
            Inside the walls.
        h : (n,) float64 [t]
            Length of each step.
        z : (n,) float64 [1]
            Standard normals.

        Returns
        -------
        (n,) float64 [x]
        """
        b = self.drift(x)
        noise = self.spread(x) * np.sqrt(h) * z
        moved = x + b * h + noise
        if self.additive:
            moved = x + 0.5 * h * (b + self.drift(self.inside(moved))) + noise
        return self.inside(moved)

    def inside(self, x: FloatArray) -> FloatArray:
        """Return positions folded or wrapped into the domain.

        Returns
        -------
        (n,) float64 [x]
        """
        a, b = self.ends
        if self.periodic:
            return np.asarray(a + np.mod(x - a, b - a))
        if np.isfinite(a) and np.isfinite(b):
            q = np.mod(x - a, 2.0 * (b - a))
            return np.asarray(a + np.minimum(q, 2.0 * (b - a) - q))
        if np.isfinite(a):
            return np.asarray(a + np.abs(x - a))
        return np.asarray(b - np.abs(b - x)) if np.isfinite(b) else x


def operational_steps(problem: FokkerPlanck) -> OperationalSteps:
    """Return the steps of a problem.

    Parameters
    ----------
    problem : FokkerPlanck
        With reflecting or periodic walls, and no source or reaction.

    Returns
    -------
    OperationalSteps

    Raises
    ------
    UnsupportedError
        If mass enters or leaves.
    """
    require_line(problem, "`simulate`")
    if not problem.conserves_mass:
        msg = (
            "paths of a problem with absorbing walls, a source or a reaction begin or end on the "
            "way, which a Trajectory cannot hold; use `solve`"
        )
        raise UnsupportedError(msg)
    width = problem.box[1] - problem.box[0]
    ends, spacing = problem.domain, _SPACING * width

    def slope(values: Callable[[FloatArray], FloatArray], x: FloatArray) -> FloatArray:
        return _slope(values, x, spacing, ends, periodic=problem.periodic)

    def drift(x: FloatArray) -> FloatArray:
        b: FloatArray = problem.force_at(x)
        if problem.potential is not None:
            b = b - slope(problem.potential_at, x)
        if callable(problem.diffusion):
            b = b + slope(problem.diffusion_at, x)
        return b

    return OperationalSteps(
        drift=drift,
        spread=lambda x: np.sqrt(2.0 * problem.diffusion_at(x)),
        additive=not callable(problem.diffusion),
        ends=ends,
        periodic=problem.periodic,
        far=max(abs(end) for end in problem.box) + _FAR * width,
    )


def operational_paths(
    steps: OperationalSteps, clock: FloatArray, start: FloatArray, step: float, key: Any
) -> FloatArray:
    """Return positions at clock values.

    Parameters
    ----------
    steps : OperationalSteps
        Of the base.
    clock : (chain, n) float64 [t]
        Operational times, not decreasing along a row.
    start : (chain,) float64 [x]
        Positions at operational time 0.
    step : float [t]
        Longest step; a gap is divided into equal ones.
    key : two uint32
        From :func:`fracsde.backends.philox.seed_key`.

    Returns
    -------
    (chain, n) float64 [x]

    Raises
    ------
    ComputationError
        If a path runs away, as explicit steps do where the force grows faster than linearly.
    """
    values = np.empty(clock.shape)
    x, taken = np.array(start), np.zeros(len(start), dtype=np.int64)
    z = np.empty(len(start))
    for n in range(clock.shape[1]):
        gaps = clock[:, n] - (clock[:, n - 1] if n else 0.0)
        counts = np.ceil(gaps / step).astype(np.int64)
        # Longest first: the chains still under way are then the first so many.
        order = np.argsort(-counts, kind="stable")
        sorted_counts = counts[order]
        lengths = gaps[order] / np.maximum(sorted_counts, 1)
        moving, number = x[order], taken[order]
        for k in range(int(sorted_counts[0])):
            m = int(np.searchsorted(-sorted_counts, -k, side="left"))
            _normals(z[:m], order[:m], number[:m] + k, *key)
            with np.errstate(all="ignore"):
                moving[:m] = steps.advance(moving[:m], lengths[:m], z[:m])
            if not np.all(np.abs(moving[:m]) <= steps.far):
                detail = f"A path ran away; take a `step` shorter than {step:g}."
                raise ComputationError(Status.NOT_FINITE, detail)
        x[order] = moving
        taken += counts
        values[:, n] = x
    return values


def draw_initial(problem: FokkerPlanck, chains: int, key: Any) -> FloatArray:
    """Return starting points drawn from the initial density.

    Parameters
    ----------
    problem : FokkerPlanck
        The problem; a callable density is drawn from as a broken line on 65 536 cells of its box.
    chains : int
        How many.
    key : two uint32
        From :func:`fracsde.backends.philox.seed_key`.

    Returns
    -------
    (chains,) float64 [x]
        The first ones do not depend on how many there are.
    """
    initial: Any = problem.initial
    if isinstance(initial, PointMass):
        return np.full(chains, initial.at)
    uniform = np.empty(chains)
    _uniforms(uniform, *key)
    if isinstance(initial, Gaussian):
        low, high = ((end - initial.mean) / initial.std for end in problem.domain)
        if low > 0.0:  # the tail is taken on the side where it is small
            share = ndtr(-low) - uniform * (ndtr(-low) - ndtr(-high))
            return np.asarray(np.clip(initial.mean - initial.std * ndtri(share), *problem.domain))
        share = ndtr(low) + uniform * (ndtr(high) - ndtr(low))
        return np.asarray(np.clip(initial.mean + initial.std * ndtri(share), *problem.domain))
    count = len(initial) if isinstance(initial, np.ndarray) else _CELLS
    a, b = problem.box
    edges = np.linspace(a, b, count + 1)
    shares = np.append(0.0, np.cumsum(cell_masses(initial, edges)))
    return np.asarray(np.interp(uniform * shares[-1], shares, edges))


def _slope(
    values: Callable[[FloatArray], FloatArray],
    x: FloatArray,
    spacing: float,
    ends: tuple[float, float],
    *,
    periodic: bool,
) -> FloatArray:
    # Seven-point differences, central wherever all points lie inside.
    reach = 3.0 * spacing
    low, high = (x - reach < ends[0]) & ~periodic, (x + reach > ends[1]) & ~periodic
    first = np.where(low, x, np.where(high, x - 2.0 * reach, x - reach))
    points = first[:, None] + spacing * np.arange(7.0)
    if periodic:
        points = ends[0] + np.mod(points - ends[0], ends[1] - ends[0])
    found = values(points.ravel()).reshape(points.shape)
    weights = np.where(low[:, None], _FIRST, np.where(high[:, None], -_FIRST[::-1], _MIDDLE))
    return np.asarray((found * weights).sum(axis=1) / (60.0 * spacing))


@njit(cache=False, error_model="numpy")
def _normals(out: FloatArray, chain: IntArray, step: IntArray, k0: Any, k1: Any) -> None:
    # The normal of each chain at its own step; two steps share a block.
    for i in range(len(out)):
        pair = philox_normal_pair(0, step[i] >> 1, chain[i], _PURPOSE_STEP, k0, k1)
        out[i] = pair[1] if step[i] & 1 else pair[0]


@njit(cache=False, error_model="numpy")
def _uniforms(out: FloatArray, k0: Any, k1: Any) -> None:
    # One number in the open unit interval for each chain.
    for i in range(len(out)):
        w0, w1, _, _ = philox4x32(0, 0, i, _PURPOSE_INITIAL, k0, k1)
        high = np.float64(np.uint64(w0) >> np.uint64(6))  # 26 bits
        low = np.float64(np.uint64(w1) >> np.uint64(6))
        out[i] = (high * 67108864.0 + low + 0.5) * 2.0**-52
