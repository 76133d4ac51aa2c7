r"""Densities and probabilities of a process on the clock: what is mixed, and on which panels.

Not here: the mixture (:mod:`fracsde._subordination.densities`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde._subordination.averages import reduced, small_enough
from fracsde._subordination.correlations import written_down
from fracsde._subordination.densities import (
    mixture,
    normal_cdf,
    normal_density,
    normal_density_in_space,
)
from fracsde._subordination.flows import flow_of
from fracsde._subordination.moments import along, laws_from, rule_of
from fracsde.errors import UnsupportedError

if TYPE_CHECKING:
    from fracsde._subordination.flows import Flow
    from fracsde._subordination.starts import Start
    from fracsde._typing import FloatArray
    from fracsde.problems.subordinated import SubordinatedOU

__all__ = ["marginal", "space_density"]

_STEP = 4.0  # deviations by which the mean may move between neighbouring nodes
_TOGETHER = 128  # points that share panels


def marginal(
    process: SubordinatedOU,
    x: FloatArray,
    direction: FloatArray,
    t: float,
    start: Start,
    *,
    density: bool,
) -> FloatArray:
    """Return density or distribution function of one direction.

    Parameters
    ----------
    process : SubordinatedOU
        The process.
    x : (n,) float64 [x]
        Points.
    direction : (d,) float64 [1]
        Which combination of the coordinates.
    t : float [t]
        Positive.
    start : Start
        Normal law at time 0.
    density : bool
        Density, or probability below.

    Returns
    -------
    (n,) float64

    Raises
    ------
    UnsupportedError
        If nothing, or nothing bounded, is there to be returned.
    """
    part = reduced(process.base, start, direction[:, None])
    flow, U = part.flow, part.directions
    theta = float(process.operational(t))
    begin = float(direction @ process.base.mean + U[:, 0] @ part.start.away)
    noise = _noise_along(flow, U[:, 0])
    first = float(along(flow, np.zeros(1), part.start, U)[1][0, 0])
    if density and not (noise > 0.0 or first > 0.0):
        msg = (
            "the direction carries no noise of its own, and from a point its density need not be "
            "bounded; use distribution_at, or give the start a covariance"
        )
        raise UnsupportedError(msg)
    function = normal_density if density else normal_cdf

    def law(u: FloatArray) -> tuple[FloatArray, FloatArray]:
        moved, variance = along(flow, theta * u, part.start, U)
        if np.any(variance[:, 0] <= 0.0):
            msg = (
                "nothing is random along the direction at a fixed operational time: the law is "
                "that of the clock alone; see fracsde.special"
            )
            raise UnsupportedError(msg)
        return begin + moved[:, 0], variance[:, 0]

    if process.alpha == 1.0:
        return np.asarray(function(x, *law(np.ones(1)))[0])
    edges = rule_of(flow, process.alpha, theta).edges
    out = np.empty(len(x))
    # Neighbours are narrow in the same panels.
    order = np.argsort(x)
    for part_of in np.array_split(order, max(1, len(x) // _TOGETHER)):
        points = x[part_of]

        def kernel(u: FloatArray, points: FloatArray = points) -> tuple[FloatArray, bool]:
            mean, variance = law(u)
            steps = np.abs(np.diff(mean)) / np.sqrt(np.minimum(variance[1:], variance[:-1]))
            reach = 8.0 * np.sqrt(variance)
            inside = (points >= (mean - reach).min()) & (points <= (mean + reach).max())
            hidden = bool(steps.max() > _STEP and inside.any())
            return function(points, mean, variance), hidden

        thinnest = _thinnest(np.abs(points - begin), noise * theta, first)
        out[part_of] = mixture(process.alpha, edges, thinnest, kernel)
    return out


def space_density(process: SubordinatedOU, x: FloatArray, t: float, start: Start) -> FloatArray:
    """Return the density of the whole state.

    Parameters
    ----------
    process : SubordinatedOU
        In two dimensions or more.
    x : (n, d) float64 [x]
        Points.
    t : float [t]
        Positive.
    start : Start
        Normal law at time 0.

    Returns
    -------
    (n,) float64 [x^-d]
        Infinite where a point start was, if ``alpha < 1``.

    Raises
    ------
    UnsupportedError
        If the noise is singular and the start is too.
    """
    base, alpha = small_enough(process.base), process.alpha
    law = written_down(process.base, start)
    flow, theta = flow_of(base), float(process.operational(t))
    begin = base.mean + law.away
    values = np.linalg.eigvalsh(base.noise)
    widths = np.zeros(1) if law.covariance is None else np.linalg.eigvalsh(law.covariance)
    singular = values[0] <= 1e-14 * max(values[-1], 0.0)
    if singular and widths[0] <= 1e-14 * max(widths[-1], 0.0):
        msg = (
            "the noise and the start are singular: the state need not have a bounded density; "
            "ask for one direction, or give the start a regular covariance"
        )
        raise UnsupportedError(msg)

    def kernel(u: FloatArray) -> tuple[FloatArray, bool]:
        moved, covariance = laws_from(flow, theta * u, law)
        values = normal_density_in_space(apart, begin + moved, covariance)
        steps = np.diff(moved, axis=0)
        narrow = np.linalg.solve(covariance[1:], steps[:, :, None])[:, :, 0]
        far = np.sqrt(np.maximum((steps * narrow).sum(axis=1), 0.0)).max(initial=0.0)
        return values, bool(far > _STEP)

    gaps = np.linalg.norm(x - begin, axis=1)
    at_start = (gaps == 0.0) & (law.covariance is None) & (alpha < 1.0)
    out, apart = np.full(len(x), np.inf), x[~at_start]
    if alpha == 1.0:
        return np.asarray(kernel(np.ones(1))[0][0])
    if len(apart):
        thinnest = _thinnest(gaps[~at_start], float(values[-1]) * theta, float(widths[0]))
        edges = rule_of(flow, alpha, theta).edges
        out[~at_start] = mixture(alpha, edges, thinnest, kernel)
    return out


def _noise_along(flow: Flow, u: FloatArray) -> float:
    # Noise along a direction given in the coordinates of the process.
    inner = flow.inward(u[:, None])[:, 0]
    noise = flow.noise * inner if flow.noise.ndim == 1 else flow.noise @ inner
    return max(0.0, float(inner @ noise))


def _thinnest(gaps: FloatArray, noise: float, first: float) -> float:
    # Where the spread of the noise, in sqrt(u), meets the nearest point or the spread at the start.
    nearest = float(gaps[gaps > 0.0].min(initial=np.inf)) / 9.0
    if first > 0.0:
        nearest = min(nearest, 0.3 * np.sqrt(first))
    return nearest / np.sqrt(noise) if noise > 0.0 else np.inf
