r"""Laplace inversion on a hyperbola: fixed nodes for every time of a window.

.. math::
    f(t) = \frac{1}{2\pi i} \int e^{st} F(s)\, ds
    \approx \operatorname{Re} \sum_{k=1}^{n} w_k\, e^{s_k t}\, F(s_k) ,
    \qquad s(u) = \mu\,(1 + \sin(iu - \varphi)) ,

with the mid-point rule in ``u`` and the upper half plane only, for ``F`` with
:math:`F(\bar s) = \overline{F(s)}`.  For the relaxation by an operator ``L``,
:math:`F(s) = s^{\alpha - 1} (s^\alpha - L)^{-1} p`: ``n`` solves serve all times of the window.

**The certificate.**  Relaxation is completely monotone,
:math:`E_\alpha(-\lambda t^\alpha) = \int_0^\infty K(r)\, e^{-rt}\, dr` with :math:`K \ge 0` of mass
one, and the rule is linear.  So its error for any :math:`\alpha` in (0, 1], any
:math:`\lambda \ge 0` and any mixture of them is at most

.. math::
    \sup_{r \ge 0} \Bigl| e^{-rt} - \operatorname{Re} \sum_k \frac{w_k e^{s_k t}}{s_k + r} \Bigr| ,

a number without :math:`\alpha`, attained at :math:`\alpha = 1`.  It is measured over ``r`` and
``t``, finely round the highest points, and enlarged by a twentieth and by the sum's rounding.

Parameters start at the optimum of [WeidemanTrefethen2007]_, which balances the exponents of
truncation and discretisation, and are then moved to where the measured error is smallest; this
gains a factor of ten, one or two nodes.  Rounding grows as
:math:`\varepsilon\, e^{\mu t_1 (1 - \sin\varphi)}` and takes part in the choice: without it, more
nodes make the result worse.  Nodes needed:

=======  ======  ======  ======  ======  ======
rtol     ratio of the window's ends
-------  --------------------------------------
..       1       3       10      30      100
=======  ======  ======  ======  ======  ======
1e-6     5       9       13      17      21
1e-10    9       15      22      29      36
1e-12    11      18      26      34      43
=======  ======  ======  ======  ======  ======

``tests/special/test_contours.py`` measures certificate and table.

Not here: one time only, where :func:`fracsde.special.rational.relaxation_poles` needs half as many
solves; adaptive choice of windows beyond equal ratios.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import real
from fracsde.errors import InputError, OutOfRangeError
from fracsde.special._contour_search import certificate, fewest_predicted, hyperbola, unit_contour

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fracsde._typing import FloatArray

    ComplexArray = npt.NDArray[np.complex128]

__all__ = ["Contour", "contour", "contour_windows", "oracle_contour"]

# Times whose reciprocals, times the size of a node, are numbers; widest ratio; most windows.
_SHORTEST, _LONGEST, _WIDEST, _WINDOWS = 1e-290, 1e290, 1e100, 10_000

# Hyperbola of the oracle: truncation, discretisation and rounding all below 1e-15.
_ORACLE = (20, 0.87, 0.1237243688, 10.362346706)


@dataclass(frozen=True, kw_only=True, eq=False)
class Contour:
    r"""Nodes and weights that invert a Laplace transform for all times of a window.

    :math:`f(t) = \operatorname{Re} \sum_k w_k e^{s_k t} F(s_k)` for transforms with
    :math:`F(\bar s) = \overline{F(s)}` whose singularities fill no more than the sector
    :math:`|\arg(-s)| \le` ``half_angle``.

    Parameters
    ----------
    nodes : (n,) complex128 [1/t]
        Of the upper half plane.
    weights : (n,) complex128 [1/t]
        Without the factor ``exp(nodes * t)``.
    window : tuple of float [t]
        First and last time served; equal for a single time.
    error : float [1]
        Certified bound of the error for every function that relaxes from 1 to 0: of
        ``E_alpha(-lam * t**alpha)`` for all ``lam >= 0`` and ``0 < alpha <= 1``.
    half_angle : float [rad]
        Singularities of ``F`` may lie this far off the negative axis.
    """

    nodes: ComplexArray
    weights: ComplexArray
    window: tuple[float, float]
    error: float
    half_angle: float

    def sector(self, alpha: float) -> float:
        r"""Return how far eigenvalues of ``L`` may lie off the negative axis.

        An eigenvalue :math:`\lambda` with :math:`|\arg(-\lambda)| = \theta` makes
        :math:`(s^\alpha - \lambda)^{-1}` singular at :math:`|\arg s| = (\pi - \theta) / \alpha`, if
        that is at most :math:`\pi`.  So :math:`\theta \le \pi (1 - \alpha) + \alpha\,\delta` is
        allowed, with :math:`\delta` the contour's half angle.  The pole's residue is
        :math:`1 / \alpha`, and the error for complex eigenvalues stays below ``error / alpha``
        in every case measured.

        Parameters
        ----------
        alpha : float [1]
            Order, ``0 < alpha <= 1``.

        Returns
        -------
        float [rad]
        """
        alpha = real("alpha", alpha, low=0.0, high=1.0, closed="high")
        return float(np.pi * (1.0 - alpha) + alpha * self.half_angle)


def contour(*, rtol: float = 1e-12, window: Sequence[float], half_angle: float = 0.0) -> Contour:
    r"""Return the contour with the fewest nodes found for a tolerance and a window of times.

    Parameters
    ----------
    rtol : float [1]
        Largest error, relative to a function that relaxes from 1.
    window : pair of float [t]
        First and last time, between 1e-290 and 1e290, equal for a single time; the last at most
        1e100 times the first.
    half_angle : float [rad]
        Sector of singularities around the negative axis that the contour must leave to its
        left; more costs more nodes.  Zero is right for real spectra.

    Returns
    -------
    Contour
        With ``error <= rtol``; built once for each set of arguments.

    Raises
    ------
    InputError
        If the window is not a pair.
    OutOfRangeError
        If no contour of at most 64 nodes keeps ``rtol``, and the message says what can be had;
        or if the window is beyond the limits above.

    References
    ----------
    [WeidemanTrefethen2007]_ for the optimal parameters.

    Examples
    --------
    >>> rule = contour(rtol=1e-10, window=(0.1, 1.0))
    >>> t, rate = 0.3, 2.0
    >>> value = (rule.weights * np.exp(rule.nodes * t) / (rule.nodes + rate)).sum().real
    >>> bool(abs(value - np.exp(-rate * t)) < 1e-10)
    True
    """
    rtol = real("rtol", rtol, low=0.0, high=1.0)
    first, last = _window(window)
    found = _contour(rtol, first, last, _half_angle(half_angle))
    return _kept(found, rtol, "split the window with `contour_windows`")


def contour_windows(
    t_min: float,
    t_max: float,
    *,
    rtol: float = 1e-12,
    ratio: float | None = None,
    half_angle: float = 0.0,
) -> tuple[Contour, ...]:
    """Return contours whose windows cover an interval of times with the fewest nodes in all.

    Windows have equal ratios, so that all are one contour on different scales.  Few wide windows
    need the fewest solves; where the sums over nodes cost more than the solves, as for very many
    times on a small grid, ``ratio=10`` leaves fewer nodes for each time.

    Parameters
    ----------
    t_min, t_max : float [t]
        First and last time, as for :func:`contour`.
    rtol : float [1]
        As for :func:`contour`.
    ratio : float [1], optional
        Largest ratio of a window's ends; without it, that of the fewest nodes in all.
    half_angle : float [rad]
        As for :func:`contour`.

    Returns
    -------
    tuple of Contour
        In the order of time; each window ends where the next one starts.

    Raises
    ------
    OutOfRangeError
        If windows of this ratio, or without it windows of any ratio from two on, do not keep
        ``rtol``; or if there would be more than ten thousand.

    Examples
    --------
    >>> rules = contour_windows(1e-3, 10.0, rtol=1e-10)
    >>> bool(rules[0].window[0] == 1e-3 and rules[-1].window[1] == 10.0)
    True
    """
    first, last = _window((t_min, t_max))
    rtol = real("rtol", rtol, low=0.0, high=1.0)
    half_angle = _half_angle(half_angle)
    widest = float(np.log(last / first))
    if ratio is not None:
        ratio = real("ratio", ratio, low=1.0, remedy="it is the last time over the first")
        count = max(1.0, np.ceil(widest / np.log(ratio) * (1.0 - 1e-12)))
        if count > _WINDOWS:
            msg = f"`ratio` = {ratio:.12g} makes {count:.3g} windows; at most {_WINDOWS} are served"
            raise OutOfRangeError(msg)
        cover = _cover(first, last, int(count), rtol, half_angle)
        _kept(cover[0], rtol, "take a smaller `ratio`")
        return cover
    most = 1 + int(widest / np.log(2.0))
    counts = _likely_counts(rtol, widest, most, half_angle)
    covers = [_cover(first, last, count, rtol, half_angle) for count in counts]
    kept = [cover for cover in covers if cover[0].error <= rtol]
    if not kept:  # the first count that does, between the likely ones and the most
        low, high = counts[-1], most
        cover = _cover(first, last, high, rtol, half_angle)
        _kept(cover[0], rtol, "take a smaller `half_angle`")
        while high - low > 1:
            middle = (low + high) // 2
            trial = _cover(first, last, middle, rtol, half_angle)
            if trial[0].error <= rtol:
                high, cover = middle, trial
            else:
                low = middle
        return cover
    return min(kept, key=lambda cover: len(cover) * len(cover[0].nodes))


def oracle_contour(t: float) -> Contour:
    r"""Return the contour of twenty nodes whose every source of error is below 1e-15.

    The oracle for a single time: fewer nodes cannot be as accurate, and more would not be.

    Parameters
    ----------
    t : float [t]
        The time, between 1e-290 and 1e290.

    Returns
    -------
    Contour

    Examples
    --------
    >>> rule = oracle_contour(2.0)
    >>> value = (rule.weights * np.exp(rule.nodes * 2.0) / (rule.nodes + 0.5)).sum().real
    >>> bool(abs(value - np.exp(-1.0)) < 2e-15)
    True
    """
    return _oracle(real("t", t, low=_SHORTEST, high=_LONGEST, closed="both"))


def relaxation_oracle(x: FloatArray, alpha: float) -> FloatArray:
    """Evaluate ``E_alpha(-x)`` on the oracle's contour, what certificates are measured against.

    Parameters
    ----------
    x : (m,) float64 [1]
        Not negative.
    alpha : float [1]
        Order, ``0 < alpha <= 1``.

    Returns
    -------
    (m,) float64 [1]
        Absolute error below 2e-15 for every argument and order.
    """
    if alpha == 1.0:
        return np.asarray(np.exp(-x), dtype=np.float64)
    rule = oracle_contour(1.0)
    power = rule.nodes**alpha
    values = np.zeros_like(x)
    for numerator, p in zip(
        rule.weights * np.exp(rule.nodes) * power / rule.nodes, power, strict=True
    ):
        shifted = x + p.real
        values += (numerator.real * shifted + numerator.imag * p.imag) / (shifted**2 + p.imag**2)
    return values


def _likely_counts(rtol: float, widest: float, most: int, half_angle: float) -> list[int]:
    # The number of windows of the fewest nodes, as predicted, and its neighbours.
    guess, fewest = most, 0
    for count in range(1, most + 1):
        if fewest and 2 * count >= fewest:  # no window has less than two nodes
            break
        nodes, good = fewest_predicted(rtol, float(np.exp(widest / count)), half_angle)
        if good and (fewest == 0 or count * nodes < fewest):
            guess, fewest = count, count * nodes
    return [count for count in (guess - 1, guess, guess + 1) if 1 <= count <= most]


def _kept(found: Contour, rtol: float, or_else: str) -> Contour:
    # The contour, if it keeps the tolerance.
    if found.error > rtol:
        first, last = found.window
        offered = 1.1 * found.error
        ask = f"ask for {offered:.1e} or more, or " if offered < 0.95 else ""
        msg = f"`rtol` = {rtol:g} cannot be had in the window {first:g} to {last:g}; {ask}{or_else}"
        raise OutOfRangeError(msg)
    return found


def _half_angle(half_angle: float) -> float:
    # Return the angle, checked.
    return real(
        "half_angle", half_angle, low=0.0, high=0.45 * np.pi, closed="low", remedy="in radians"
    )


@lru_cache(maxsize=64)
def _cover(
    first: float, last: float, count: int, rtol: float, half_angle: float
) -> tuple[Contour, ...]:
    # Windows of equal ratios: one contour on different scales.
    edges = np.geomspace(first, last, count + 1)
    edges[0], edges[-1] = first, last
    ratio = float((last / first) ** (1.0 / count))
    nodes, weights, error = unit_contour(rtol, ratio, half_angle)
    return tuple(
        _frozen(nodes / a, weights / a, (float(a), float(b)), error, half_angle)
        for a, b in pairwise(edges)
    )


@lru_cache(maxsize=64)
def _oracle(t: float) -> Contour:
    n, phi, step, height = _ORACLE
    nodes, weights = hyperbola(n, phi, step, height)
    return _frozen(nodes / t, weights / t, (t, t), certificate(nodes, weights, 1.0, 0.0), 0.0)


def _window(window: Sequence[float]) -> tuple[float, float]:
    # The two times, checked.
    try:
        first, last = window
    except (TypeError, ValueError) as error:
        msg = f"`window` must be a pair of times, got {window!r}"
        raise InputError(msg) from error
    first = real("window[0]", first, low=0.0, remedy="times are positive")
    last = real(
        "window[1]", last, low=first, closed="low", remedy="the window ends after it starts"
    )
    if first < _SHORTEST or last > _LONGEST:
        msg = (
            f"`window` must lie between {_SHORTEST:g} and {_LONGEST:g}, got {first:g} to {last:g}; "
            "scale the time"
        )
        raise OutOfRangeError(msg)
    if last > _WIDEST * first:
        msg = (
            f"`window` must end at most {_WIDEST:g} times later than it starts, got {first:g} to "
            f"{last:g}; serve parts of it"
        )
        raise OutOfRangeError(msg)
    return first, last


@lru_cache(maxsize=256)
def _contour(rtol: float, first: float, last: float, half_angle: float) -> Contour:
    nodes, weights, error = unit_contour(rtol, last / first, half_angle)
    return _frozen(nodes / first, weights / first, (first, last), error, half_angle)


def _frozen(
    nodes: ComplexArray,
    weights: ComplexArray,
    window: tuple[float, float],
    error: float,
    half_angle: float,
) -> Contour:
    nodes.flags.writeable = weights.flags.writeable = False
    return Contour(nodes=nodes, weights=weights, window=window, error=error, half_angle=half_angle)
