r"""What bends a learning coefficient over temperatures: poles that are equal, or near.

.. math::
    Z(t) \propto t^{-\lambda} \bigl(1 - e^{-\delta x}\bigr)^{m - 1}, \qquad
    t\,E_t[L] = \lambda - \frac{(m - 1)\,\delta}{e^{\delta x} - 1}, \qquad x = \log t + c ,

``m`` simple poles of the zeta function at distances :math:`\delta`, with residues of alternating
sign, as a monomial has them under a prior that falls away from its singularity.  As
:math:`\delta \to 0` they merge into one pole of order ``m``, and the correction is
:math:`(m - 1) / x`.  No measurement tells a double pole from two that are near, while their
coefficients differ: what is stated is the profile of the likelihood over all of them,

.. math::
    \bigl\{\lambda : \min_{m, \delta, c} \chi^2(\lambda, m, \delta, c) \le \chi^2_{\min} + 1.96^2
    \bigr\} .

For a monomial :math:`c = \log L_{\max} - \psi(\lambda)`, with its largest loss in the box.  Losses
of order 1 and coefficients from 1/8 to 2 give 3, up to a few: the offset counts as one datum more,
:math:`3 \pm 5`, without which any multiplicity, far off, is a constant.  Poles closer than
:math:`1 / (2 \log t)` count as one.

Not here: the single pole, and the weight of either (:mod:`fracsde.estimators.temperature_fit`).

References: [Watanabe2009]_ for the poles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["USUAL_OFFSET", "Bend", "Data", "Profile", "bending", "profile"]

USUAL_OFFSET = 3.0, 5.0  # and its standard deviation
_REACH, _FAR_REACH = 1.96, 3.29  # of 95 % and of 99.9 %, in standard errors
_LEAST_DEPTH = 0.05  # of log t + c at the highest temperature
_NEAREST, _FARTHEST = 0.5, 2.0  # gap between poles; the first over log t
_GAPS, _ROUNDS, _ZOOMS = 16, 5, 5
_ENOUGH = 6  # gaps inside the interval
_COARSE, _FINE, _SCAN = 48, 17, 41  # depths of one look


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """Coefficients at several temperatures.

    Parameters
    ----------
    log_t : (temperature,) ndarray of float64 [1]
        Logarithms of the inverse temperatures.
    values, sigma : (temperature,) ndarray of float64 [1]
        Coefficients and their standard errors.
    """

    log_t: FloatArray
    values: FloatArray
    sigma: FloatArray

    def limits(self, bends: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the coefficient that fits best beside each bend, and its chi square.

        Parameters
        ----------
        bends : (..., temperature) ndarray of float64 [1]
            What is added to the coefficient at each temperature.

        Returns
        -------
        (...,) ndarray of float64 [1]
            Coefficients, all with the standard error :attr:`stderr`.
        (...,) ndarray of float64 [1]
            Chi squares.
        """
        weights = self.sigma**-2
        rest = self.values - bends
        found = rest @ (weights / weights.sum())
        return found, np.square(rest - found[..., None]) @ weights

    @property
    def stderr(self) -> float:
        """Standard error of a coefficient whose bend is known."""
        return float(np.sum(self.sigma**-2) ** -0.5)


@dataclass(frozen=True, kw_only=True)
class Bend:
    """The best fit of one multiplicity, of equal or of distinct poles.

    Parameters
    ----------
    multiplicity : int
        Number of poles.
    gap : float [1]
        Between neighbours; 0 where they are equal.
    value, stderr : float [1]
        The coefficient, and its standard error within this fit.
    offset : float [1]
        ``c``.
    chi_squared : float [1]
        Of the values and of the offset.
    """

    multiplicity: int
    gap: float
    value: float
    stderr: float
    offset: float
    chi_squared: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What all bends together say.

    Parameters
    ----------
    value, stderr : float [1]
        Middle of the interval of 95 % and its half-width over 1.96.
    far_stderr : float [1]
        Farthest end of the interval of 99.9 % from that middle over 3.29, and no less than
        ``stderr``: a likelihood with two humps has no one width.
    chi_squared : float [1]
        The least.
    bends : tuple of Bend
        For each multiplicity that of equal and that of distinct poles.
    """

    value: float
    stderr: float
    far_stderr: float
    chi_squared: float
    bends: tuple[Bend, ...]


def bending(x: FloatArray, gap: FloatArray) -> FloatArray:
    r"""Return :math:`\delta / (e^{\delta x} - 1)`, and :math:`1/x` at :math:`\delta = 0`.

    Parameters
    ----------
    x : (...) ndarray of float64 [1]
        Positive.
    gap : ndarray of float64 [1]
        Not negative; broadcast against ``x``.

    Returns
    -------
    (...) ndarray of float64 [1]

    Examples
    --------
    >>> bending(np.array([2.0, 2.0]), np.array([0.0, 1.0])).round(4).tolist()
    [0.5, 0.1565]
    """
    merged = gap * x < 1e-300
    exponent = np.minimum(np.where(merged, 1.0, gap * x), 700.0)
    return np.asarray(np.where(merged, 1.0 / x, gap / np.expm1(exponent)))


def profile(data: Data, most: int) -> Profile:
    """Fit poles of multiplicities 2 to ``most``, equal and distinct.

    Parameters
    ----------
    data : Data
        What was measured.
    most : int
        Largest multiplicity, at least 2.

    Returns
    -------
    Profile

    Examples
    --------
    Two poles at a distance of 1/4:

    >>> t = np.linspace(5.0, 15.0, 6)
    >>> y = 0.5 - bending(t + 2.0, np.array(0.25))
    >>> found = profile(Data(log_t=t, values=y, sigma=np.full(6, 1e-4)), 2)
    >>> two = found.bends[1]
    >>> round(two.value, 3), round(two.gap, 2)
    (0.5, 0.25)
    """
    orders = np.arange(2.0, most + 1.0)
    nearest = _NEAREST / data.log_t.max()
    grid = np.append(0.0, np.geomspace(nearest, max(_FARTHEST, 4.0 * nearest), _GAPS))
    gaps = np.tile(grid, (len(orders), 1))
    seen = _Seen.empty(len(orders))
    for _ in range(_ROUNDS):
        seen = seen.joined(_over_depths(data, orders, gaps))
        if seen.resolved():
            break
        gaps = seen.closer()
    values, chi = seen.scanned
    least = float(chi.min())
    (low, high), outer = (_ends(data, values, chi - least, reach) for reach in (_REACH, _FAR_REACH))
    middle = 0.5 * (low + high)
    farthest = max(middle - outer[0], outer[1] - middle)
    bends = (
        _bend(data, int(order), *seen.best(row, apart=apart))
        for row, order in enumerate(orders)
        for apart in (False, True)
    )
    return Profile(
        value=middle,
        stderr=(high - middle) / _REACH,
        far_stderr=max((high - middle) / _REACH, farthest / _FAR_REACH),
        chi_squared=least,
        bends=tuple(bends),
    )


def _ends(data: Data, values: FloatArray, excess: FloatArray, reach: float) -> tuple[float, float]:
    # Of all coefficients whose chi square is within the square of the reach above the least.
    inside = excess <= reach**2
    room = data.stderr * np.sqrt(reach**2 - excess[inside])
    return float((values[inside] - room).min()), float((values[inside] + room).max())


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    # Axes (order, gap), sorted by gap; `scanned` are flat coefficients and chi squares.
    gaps: FloatArray
    depths: FloatArray
    values: FloatArray
    chi: FloatArray
    scanned: tuple[FloatArray, FloatArray]

    @classmethod
    def empty(cls, orders: int) -> _Seen:
        none = np.empty((orders, 0))
        return cls(gaps=none, depths=none, values=none, chi=none, scanned=(none[0], none[0]))

    def joined(self, other: _Seen) -> _Seen:
        gaps = np.concatenate([self.gaps, other.gaps], axis=1)
        by_gap = np.argsort(gaps, axis=1, kind="stable")

        def both(first: FloatArray, second: FloatArray) -> FloatArray:
            return np.take_along_axis(np.concatenate([first, second], axis=1), by_gap, axis=1)

        return _Seen(
            gaps=both(self.gaps, other.gaps),
            depths=both(self.depths, other.depths),
            values=both(self.values, other.values),
            chi=both(self.chi, other.chi),
            scanned=(
                np.concatenate([self.scanned[0], other.scanned[0]]),
                np.concatenate([self.scanned[1], other.scanned[1]]),
            ),
        )

    def resolved(self) -> bool:
        # Whether enough gaps lie inside the interval to tell its ends.
        return int(np.sum(self.chi[:, 1:] <= self.chi.min() + _REACH**2)) >= _ENOUGH

    def closer(self) -> FloatArray:
        # Three gaps on either side of the best of each order, up to its neighbours.
        rows = np.arange(len(self.gaps))
        at = 1 + np.argmin(self.chi[:, 1:], axis=1)
        here = self.gaps[rows, at]
        before = self.gaps[rows, np.maximum(at - 1, 1)]
        after = self.gaps[rows, np.minimum(at + 1, self.gaps.shape[1] - 1)]
        part = np.array([0.25, 0.5, 0.75])
        down, up = np.outer(before - here, part), np.outer(after - here, part)
        return np.asarray(here[:, None] + np.concatenate([down, up], axis=1))

    def best(self, row: int, *, apart: bool) -> tuple[float, float, float, float]:
        # Gap, depth, coefficient and chi square of equal poles (the first gap is 0) or others.
        at = 1 + int(np.argmin(self.chi[row, 1:])) if apart else 0
        found = (self.gaps, self.depths, self.values, self.chi)
        gap, depth, value, chi = (float(column[row, at]) for column in found)
        return gap, depth, value, chi


def _over_depths(data: Data, orders: FloatArray, gaps: FloatArray) -> _Seen:
    # The best depth x of the highest temperature for each order and gap, and chi squares about it.
    first, (usual, spread) = data.log_t.min(), USUAL_OFFSET
    later = data.log_t - first
    times, apart = orders[:, None] - 1.0, gaps

    def look(logs: FloatArray) -> tuple[FloatArray, FloatArray]:
        x = later + np.exp(logs)[..., None]
        bends = bending(x, apart[..., None, None])
        values, chi = data.limits(-times[..., None, None] * bends)
        return values, chi + np.square((np.exp(logs) - first - usual) / spread)

    low, high = np.log(_LEAST_DEPTH), np.log(first + usual + 4.0 * spread)
    logs = np.broadcast_to(np.linspace(low, high, _COARSE), (*gaps.shape, _COARSE))
    for _ in range(_ZOOMS):
        step = logs[..., 1] - logs[..., 0]
        values, chi = look(logs)
        at = np.argmin(chi, axis=-1)[..., None]
        centre, value, least = (np.take_along_axis(a, at, axis=-1) for a in (logs, values, chi))
        logs = np.clip(centre + step[..., None] * np.linspace(-1.0, 1.0, _FINE), low, high)
    depth = np.exp(centre[..., 0])
    # How well the depth is known beside the coefficient says how far to look about it.
    slopes = (
        times[..., None] * depth[..., None] * _slope(later + depth[..., None], apart[..., None])
    )
    _, known = Data(log_t=data.log_t, values=0.0 * later, sigma=data.sigma).limits(slopes)
    reach = np.minimum(4.0 / np.sqrt(known + np.square(depth / spread)), 8.0)
    about = np.clip(centre + reach[..., None] * np.linspace(-1.0, 1.0, _SCAN), low, high)
    scanned = look(np.concatenate([centre, about], axis=-1))
    return _Seen(
        gaps=gaps,
        depths=depth,
        values=value[..., 0],
        chi=least[..., 0],
        scanned=(scanned[0].ravel(), scanned[1].ravel()),
    )


def _slope(x: FloatArray, gap: FloatArray) -> FloatArray:
    # Of minus the bending in x.
    b = bending(x, gap)
    return np.asarray(b * (b + gap))


def _bend(
    data: Data, multiplicity: int, gap: float, depth: float, value: float, chi: float
) -> Bend:
    x = data.log_t - data.log_t.min() + depth
    b, times = bending(x, np.asarray(gap)), multiplicity - 1.0
    columns = [np.ones_like(x), times * _slope(x, np.asarray(gap))]
    if gap > 0.0:
        columns.append(times * b * (x * (b + gap) - 1.0) / gap)
    design = np.stack(columns, axis=1) / data.sigma[:, None]
    information = design.T @ design
    information[1, 1] += USUAL_OFFSET[1] ** -2
    size = np.sqrt(information.diagonal())
    covariance = np.linalg.pinv(information / size[:, None] / size) / size[:, None] / size
    return Bend(
        multiplicity=multiplicity,
        gap=gap,
        value=value,
        stderr=float(np.sqrt(covariance[0, 0])),
        offset=depth - float(data.log_t.min()),
        chi_squared=chi,
    )
