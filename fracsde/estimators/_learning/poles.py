r"""What bends a learning coefficient over temperatures: poles that are equal, or near.

With the bend :math:`b_m(x; \delta, \lambda)` of ``m`` poles at distances :math:`\delta`, see
``fracsde/estimators/_learning/bends.py``,

.. math::
    t\,E_t[L] = \lambda - b_m(x; \delta, \lambda), \qquad x = \log t + c .

No measurement tells a double pole from two that are near, while their coefficients differ: what is
stated is the profile of the likelihood over all of them,

.. math::
    \bigl\{\lambda : \min_{m, \delta, c} \chi^2(\lambda, m, \delta, c) \le \chi^2_{\min} + 1.96^2
    \bigr\} .

At equal poles :math:`c = \log L - \psi(\lambda)`, with the largest loss in the box.  Losses of
order 1 and coefficients from 1/8 to 2 give 3, up to a few: the offset counts as one datum more,
:math:`3 \pm 5`, without which any multiplicity, far off, is a constant.  Poles closer than
:math:`1 / (2 \log t)` count as one.

Not here: the single pole, and the weight of either (:mod:`fracsde.estimators.temperature_fit`).

References: [Watanabe2009]_ for the poles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.estimators._learning.bends import bending

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["USUAL_OFFSET", "Bend", "Data", "Profile", "profile"]

USUAL_OFFSET = 3.0, 5.0  # and its standard deviation
_REACH, _FAR_REACH = 1.96, 3.29  # of 95 % and of 99.9 %, in standard errors
_LEAST_DEPTH = 0.05  # of log t + c at the highest temperature
_NEAREST, _FARTHEST = 0.5, 2.0  # gap between poles; the first over log t
_GAPS, _ROUNDS, _ZOOMS = 16, 9, 5
_ENOUGH = 6  # gaps inside the interval
_NEARER = 0.1  # chi square
_COARSE, _FINE, _SCAN = 48, 17, 41  # depths of one look
_SMALLEST = 0.02  # coefficient in a bend
_SECANTS, _DIFFERENCE = (5, 3), 1e-4  # secants in the first look, and in others


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
    >>> y = 0.5 - bending(2, t + 2.0, np.array(0.25), np.array(0.5))
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
        before, seen = seen, seen.joined(_over_depths(data, orders, gaps))
        if seen.resolved() or seen.hopeless(before):
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

    def hopeless(self, before: _Seen) -> bool:
        # Whether distinct poles are outside, and the last gaps brought them no nearer.
        if not before.gaps.size:
            return False
        now, then = float(self.chi[:, 1:].min()), float(before.chi[:, 1:].min())
        return now > self.chi.min() + _REACH**2 and now > then - _NEARER

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

    def look(logs: FloatArray, near: FloatArray, rounds: int) -> tuple[FloatArray, FloatArray]:
        depths = np.exp(logs)
        x = later + depths[..., None]
        rows = [
            _limits(data, int(m), x[i], gaps[i, :, None], near[i], rounds)
            for i, m in enumerate(orders)
        ]
        values, chi = (np.stack(column) for column in zip(*rows, strict=True))
        return values, chi + np.square((depths - first - usual) / spread)

    low, high = np.log(_LEAST_DEPTH), np.log(first + usual + 4.0 * spread)
    logs = np.broadcast_to(np.linspace(low, high, _COARSE), (*gaps.shape, _COARSE))
    value = np.full((*gaps.shape, 1), data.values.max())
    for zoom in range(_ZOOMS):
        step = logs[..., 1] - logs[..., 0]
        values, chi = look(logs, value, _SECANTS[zoom > 0])
        at = np.argmin(chi, axis=-1)[..., None]
        centre, value, least = (np.take_along_axis(a, at, axis=-1) for a in (logs, values, chi))
        logs = np.clip(centre + step[..., None] * np.linspace(-1.0, 1.0, _FINE), low, high)
    depth = np.exp(centre[..., 0])
    # How well the depth is known beside the coefficient says how far to look about it.
    slopes = np.stack(
        [
            np.subtract(
                *(
                    bending(
                        int(m), later + by * depth[i, :, None], gaps[i], _positive(value[i, :, 0])
                    )
                    for by in (1.0 - _DIFFERENCE, 1.0 + _DIFFERENCE)
                )
            )
            for i, m in enumerate(orders)
        ]
    ) / (2.0 * _DIFFERENCE)
    _, known = Data(log_t=data.log_t, values=0.0 * later, sigma=data.sigma).limits(slopes)
    reach = np.minimum(4.0 / np.sqrt(known + np.square(depth / spread)), 8.0)
    about = np.clip(centre + reach[..., None] * np.linspace(-1.0, 1.0, _SCAN), low, high)
    scanned = look(np.concatenate([centre, about], axis=-1), value, _SECANTS[1])
    return _Seen(
        gaps=gaps,
        depths=depth,
        values=value[..., 0],
        chi=least[..., 0],
        scanned=(scanned[0].ravel(), scanned[1].ravel()),
    )


def _limits(
    data: Data, order: int, x: FloatArray, gap: FloatArray, near: FloatArray, rounds: int
) -> tuple[FloatArray, FloatArray]:
    # Coefficients and chi squares; the bend depends on the coefficient too, which is iterated from
    # one near it (secants).  What is left to converge counts as so many standard errors.
    def fitted(given: FloatArray) -> tuple[FloatArray, FloatArray]:
        values, chi = data.limits(-bending(order, x, gap, given))
        bad = ~np.isfinite(chi)
        return np.where(bad, given, values), np.where(bad, np.inf, chi)

    here = np.broadcast_to(_positive(near), x.shape[:-1])
    values, chi = fitted(here)
    if order == 2:
        return values, chi
    following = _positive(values)
    for _ in range(rounds):
        last, off = here, values - here
        here = following
        values, chi = fitted(here)
        turn = values - here - off
        step = (values - here) * (here - last) / np.where(turn == 0.0, np.inf, turn)
        following = _positive(here - step)
    return values, chi + np.square((_positive(values) - here) / data.stderr)


def _positive(coefficient: Any) -> Any:
    return np.maximum(coefficient, _SMALLEST)


def _bend(
    data: Data, multiplicity: int, gap: float, depth: float, value: float, chi: float
) -> Bend:
    later = data.log_t - data.log_t.min()
    at = np.array([_positive(value), depth] + [gap] * (gap > 0.0))

    def bent(numbers: FloatArray) -> FloatArray:
        apart = numbers[2] if len(numbers) > 2 else 0.0
        x = later + numbers[1]
        return bending(multiplicity, x, np.asarray(apart), np.asarray(numbers[0]))

    steps = _DIFFERENCE * np.diag(at)
    columns = [(bent(at - h) - bent(at + h)) / (2.0 * h.sum()) for h in steps]
    columns[0] = columns[0] + 1.0
    design = np.nan_to_num(np.stack(columns, axis=1)) / data.sigma[:, None]
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
