r"""How far the squares of a record are from having an error of their own.

The mean of ``m`` independent squares :math:`y` has an error that rests on :math:`\operatorname{Var}
y`.  Where draws beyond the record's largest carry much of it, as with a log-normal law, records
that missed them state a small error around a value that is too low, and no moment of those draws
tells them apart.  What the record does show is its tail.  Excesses over the ``k``-th largest square
follow a generalised Pareto law of shape :math:`\xi`; with their mean :math:`a_0` and
:math:`a_1`, the mean of excess times the share of excesses that are larger,

.. math::
    \hat\xi = 2 - \frac{a_0}{a_0 - 2 a_1}, \qquad k = 2\sqrt m, \qquad
    \xi_+ = \max\bigl(0,\; \hat\xi + 1/\sqrt k\bigr) ,

by probability-weighted moments [HoskingWallis1987]_ and its upper end at one standard error.
Squares of Gaussian draws have :math:`\xi = 0`, of exponential tails a small one, of Student's law
:math:`2/\nu`; from 1/2 on they have no variance.  The degrees of freedom of a standard error of
squares then add like resistances in parallel with

.. math::
    \nu_\xi = \frac{k}{300\, \xi_+^4} .

The power and the factor were fitted to simulated variances of 200 to 10 000 draws of twelve laws
and are no theorem; ``validation/covered/moments.py`` counts what they hold, on other draws and on
laws that were not among them.  Products :math:`x_i x_j` have at most the mean of the two shapes, by
the inequality of Cauchy and Schwarz, and less where the two are not large at once: of independent
factors half the larger of their shapes, beside logarithms.  Where products are at hand, the largest
of :math:`|x_i x_j - \overline{x_i x_j}|` tell their own shape, and the lesser of the two counts.
Fewer than 100 independent draws show no tail, and are left as they are.

References: [HoskingWallis1987]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.estimators.largest_squares import largest_squares, square_sums

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.records.trajectory import Trajectory

__all__ = [
    "burden_of_largest",
    "burden_of_run",
    "burden_of_squares",
    "largest_kept",
    "lightened",
    "sharper",
]

_FEWEST = 100.0  # independent draws that show a tail
_SHARE = 2.0  # exceedances, in roots of the independent draws
_SCALE = 300.0
_BLOCK = 1 << 21  # numbers held at a time


def burden_of_squares(squares: FloatArray, independent: ArrayLike) -> FloatArray:
    r"""Return :math:`\nu_\xi^{-1/4}` of the columns of squares.

    Parameters
    ----------
    squares : (draw, column) ndarray of float64 [x^2]
        Not negative.
    independent : float or (column,) array_like [1]
        How many of the draws are independent.

    Returns
    -------
    (column,) ndarray of float64 [1]
        Zero for light tails.

    Examples
    --------
    >>> draws = np.random.default_rng(1).standard_normal((2000, 1))
    >>> light, heavy = burden_of_squares(draws**2, 2000.0), burden_of_squares(draws**6, 2000.0)
    >>> bool(light[0] < 0.5 < heavy[0])
    True
    """
    count, width = squares.shape
    held = np.clip(np.broadcast_to(independent, (width,)).astype(np.float64), 1.0, count)
    found = np.zeros(width)
    for i in np.flatnonzero(held >= _FEWEST):
        kept = largest_kept(count, float(held[i]))
        found[i] = burden_of_largest(
            np.partition(squares[:, i], count - kept)[count - kept :, None], float(held[i])
        )[0]
    return found


def largest_kept(count: int, independent: float) -> int:
    """Return how many of the largest squares :func:`burden_of_largest` looks at.

    Returns
    -------
    int
    """
    return min(int(_SHARE * count / max(independent, 1.0) ** 0.5) + 1, count)


def burden_of_largest(largest: FloatArray, independent: float) -> FloatArray:
    """Return :func:`burden_of_squares` of records of which only the largest squares were kept.

    Parameters
    ----------
    largest : (kept, column) ndarray of float64 [x^2]
        As many as :func:`largest_kept` says, in any order.
    independent : float [1]
        How many of the record's draws are independent.

    Returns
    -------
    (column,) ndarray of float64 [1]
    """
    if independent < _FEWEST:
        return np.zeros(largest.shape[1])
    ordered = np.sort(largest, axis=0)
    excess = ordered[1:] - ordered[0]
    n, k = len(excess), _SHARE * independent**0.5
    size = excess[-1]
    excess = excess / np.where(size > 0.0, size, 1.0)
    share = (n - np.arange(n) - 0.35) / n  # of excesses that are larger
    mean = excess.mean(axis=0)
    slope = mean - 2.0 * share @ excess / n
    # Where the largest are equal, as of a clipped record, no tail is seen.
    shape = 2.0 - np.divide(mean, slope, out=np.full_like(mean, np.inf), where=slope > 0.0)
    return np.asarray(np.maximum(0.0, shape + k**-0.5) * (_SCALE / k) ** 0.25)


def burden_of_run(
    run: Trajectory,
    centre: FloatArray,
    independent: FloatArray | None = None,
    axes: FloatArray | None = None,
) -> FloatArray:
    """Return :func:`burden_of_squares` of the squared distances of a run from a centre.

    Parameters
    ----------
    run : Trajectory
        Chains.
    centre : (coordinate,) ndarray [x]
        What distances are taken from.
    independent : (k,) ndarray, optional [1]
        Independent draws of each coordinate; by default what the spread of the chains' means of
        squares says.
    axes : (coordinate, k) ndarray, optional [1]
        New coordinates.

    Returns
    -------
    (k,) ndarray of float64 [1]
    """
    count = run.chains * run.draws
    if count < _FEWEST:
        return np.zeros(run.dimension if axes is None else axes.shape[1])
    if axes is None:
        return _burden(run.values, centre, independent)
    away, width = run.values - centre, axes.shape[1]
    found = np.empty(width)
    step = max(1, _BLOCK // count)
    for start in range(0, width, step):
        part = slice(start, start + step)
        turned = away @ np.ascontiguousarray(axes[:, part])
        held = None if independent is None else independent[part]
        found[part] = _burden(turned, np.zeros(turned.shape[2]), held)
    return found


def _burden(x: FloatArray, centre: FloatArray, independent: FloatArray | None) -> FloatArray:
    chains, draws, width = x.shape
    count = chains * draws
    x = np.ascontiguousarray(x)
    held = _independent(x, centre) if independent is None else independent
    held = np.clip(held, 1.0, count)
    found = np.zeros(width)
    kept = np.array([largest_kept(count, float(m)) for m in held])
    most = int(kept[held >= _FEWEST].max(initial=0))
    if most == 0:
        return found
    step = max(1, _BLOCK // most)
    for first in range(0, width, step):
        last = min(first + step, width)
        largest = np.sort(largest_squares(x, centre, first, last, most), axis=1)
        for i in first + np.flatnonzero(held[first:last] >= _FEWEST):
            seen = largest[i - first, most - kept[i] :, None]
            found[i] = burden_of_largest(seen, float(held[i]))[0]
    return found


def _independent(x: FloatArray, centre: FloatArray) -> FloatArray:
    # How many draws would spread as the chains' means of squares do.
    chains, draws, _ = x.shape
    squares, fourths = square_sums(x, centre)
    # Fourth powers may leave the range of float64; nothing is then said of the tail.
    with np.errstate(over="ignore", invalid="ignore"):
        means = squares / draws
        between = means.var(axis=0, ddof=1) / chains
        within = fourths.sum(axis=0) / (chains * draws) - np.square(means.mean(axis=0))
        held = within / np.maximum(between, np.finfo(np.float64).tiny)
    held = np.clip(np.nan_to_num(held, posinf=chains * draws), chains, chains * draws)
    return np.asarray(held, dtype=np.float64)


def sharper(own: FloatArray, bound: FloatArray) -> FloatArray:
    """Return the burden of products: their own where it is seen and below that of their factors.

    Returns
    -------
    (...) ndarray of float64 [1]

    Examples
    --------
    >>> sharper(np.array([0.3, 0.9, 0.0]), np.array([0.8, 0.8, 0.8]))
    array([0.3, 0.8, 0.8])
    """
    return np.where(own > 0.0, np.minimum(own, bound), bound)


def lightened(n_effective: FloatArray, burden: FloatArray) -> FloatArray:
    """Return the effective number behind an error of squares that carry a burden.

    Returns
    -------
    (...) ndarray of float64 [1]
        From 2.

    Examples
    --------
    >>> lightened(np.array([101.0, 101.0]), np.array([0.0, 0.5])).round(2)
    array([101.  ,  14.79])
    """
    degrees = 1.0 / (1.0 / np.maximum(n_effective - 1.0, 1.0) + burden**4)
    return np.asarray(1.0 + np.maximum(degrees, 1.0), dtype=np.float64)
