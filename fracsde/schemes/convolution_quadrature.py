r"""Convolution quadrature of the backward difference formulas of orders one to six.

The Caputo derivative is the convolution of :math:`u - u_0` with the power series of a power of
the symbol of a multistep method, here the backward difference formula of order ``k``,

.. math::
    (D^\alpha u)(t_n) \approx \sum_{j=0}^{n} g_j\,(u_{n-j} - u_0), \qquad
    \sum_j g_j z^j = \Bigl(\frac{\delta_k(z)}{\tau}\Bigr)^{\alpha}, \qquad
    \delta_k(z) = \sum_{j=1}^{k} \frac{(1 - z)^j}{j} ,

and summed by parts, with :math:`\delta_k(z) = (1 - z)\, q_k(z)`, the weights of increments are

.. math::
    \sum_j w_j z^j = \tau^{-\alpha}\, (1 - z)^{\alpha - 1}\, q_k(z)^\alpha .

The first factor is the Grünwald-Letnikov series, a product of positive factors.  The second comes
from Miller's recurrence for powers of a polynomial; the roots of :math:`q_k` lie outside the unit
circle, so it ends, to rounding, after ``_LENGTH[k]`` terms, and the product of the two is a short
sum for every weight: 15 digits of every one of them, however many there are.

**Corrections.**  Solutions start like :math:`u_0 + c\,t^\alpha`, and without a correction every
order falls back to one.  With

.. math::
    (D^\alpha u)(t_n) \to L u_n + s_n + a_n (L u_0 + s_0) + \sum_i c_{n,i}\, s_i ,
    \qquad n, i < k ,

the order ``k`` is back at every fixed time, whatever the start, for sources that are smooth from 0
on.  The condition for :math:`s = t^l / l!` is that sums over the grid are integrals
([JinLiZhou2017]_, section 2),

.. math::
    \frac{1}{l!} \sum_{n \ge 1} n^l z^n + \sum_{j=1}^{k-l-1} d_{l,j}\, z^j
    = \delta_k(z)^{-l-1} + O\bigl((1 - z)^{k-l-1}\bigr), \qquad a_j = d_{0,j} .

With :math:`z = e^{-x}` the first sum is :math:`x^{-l-1}` plus a power series whose coefficients
are values of the zeta function, hence Bernoulli numbers, and :math:`\delta_k` is
:math:`x + O(x^{k+1})`:

.. math::
    \sum_{j=1}^{k-l-1} d_{l,j}\, j^i = - \frac{\zeta(-l - i)}{l!}
    = \frac{B_{l+i+1}}{(l + i + 1)\, l!}, \qquad i = 0, \dots, k - l - 2 ,

solved in rational numbers.  Derivatives of the source at 0 are those of the polynomial through
its first ``k - 1`` values, which is as exact as the order asks.

=========================================  ========================  ==============
order in ``1/N`` for data that             corrected                 not corrected
=========================================  ========================  ==============
start like ``t**alpha``, at a fixed time   :math:`k`                 1
the same, largest nodal error              :math:`\alpha`            :math:`\alpha`
are smooth and vanish like ``t**k`` at 0   :math:`k`                 :math:`k`
=========================================  ========================  ==============

``tests/schemes/test_convolution_quadrature.py`` measures the table.  The error at :math:`t_n` of
the corrected scheme is :math:`C t_n^{\alpha - k} \tau^k`.

**Stability.**  The formulas are stable in the sector of half-angle :math:`\theta_k` = 90, 90, 86.0,
73.3, 51.8 and 17.8 degrees round the negative axis: from ``k = 3`` on not in the whole half plane.
Their symbol maps the unit disc into :math:`|\arg| < \pi - \theta_k` and its power into
:math:`|\arg| < \alpha (\pi - \theta_k)`, so the scheme is stable for every spectrum with
:math:`|\arg(-\lambda)| \le \pi - \alpha (\pi - \theta_k)`; a real one, that of detailed balance, is
safe with every ``k``.  From ``k = 2`` on coefficients of past states have both signs, and densities
may turn negative by as much as they are wrong.  That is most in the first ``k - 1`` corrected
states: what relaxes within a step is there :math:`-a_n` times its start, up to 0.5, 0.9, 1.3, 2.2
and 3.5 of it for ``k`` = 2 to 6.

Cost per step is one solve with a matrix factorised once, and the history.  At ``k = 1`` this is
Grünwald-Letnikov, at :math:`\alpha = 1` the ordinary formula with a start of full order.

Not here: the march (:mod:`fracsde.schemes.marching`), the whole history in one transform
(:mod:`fracsde.schemes.all_at_once`).

References: [Lubich1986]_ for the quadrature, [JinLiZhou2017]_ for the corrections.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from math import comb, factorial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import integer
from fracsde.errors import GridError, InputError
from fracsde.schemes.base import ConvolutionScheme

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.grids import TimeGrid

__all__ = ["ConvolutionQuadrature", "difference_symbol"]

# Terms after which the power of q_k is below 1e-20 of its sum: the reciprocal of its smallest root
# is 0, 0.33, 0.43, 0.56, 0.71 and 0.86 in size.
_LENGTH = (0, 1, 42, 54, 80, 134, 314)


@dataclass(frozen=True, kw_only=True)
class ConvolutionQuadrature(ConvolutionScheme):
    """Convolution quadrature of a backward difference formula, on equal steps.

    Parameters
    ----------
    history : History
        How the memory sum is evaluated.
    bdf : int
        Order of the formula, 1 to 6.
    corrected : bool
        Whether the first ``bdf - 1`` steps are corrected, which gives the order ``bdf`` at every
        fixed time; without, it is 1.

    References
    ----------
    [Lubich1986]_, [JinLiZhou2017]_

    Examples
    --------
    >>> ConvolutionQuadrature(bdf=3).corrections()
    array([ 0.91666667, -0.41666667])
    """

    citation: ClassVar[tuple[str, ...]] = ("Lubich1986", "JinLiZhou2017")
    positive: ClassVar[bool] = False
    equal_steps_because: ClassVar[str] = "its weights are the power series of one step"

    bdf: int = 2
    corrected: bool = True

    def __post_init__(self) -> None:
        remedy = "backward difference formulas of higher order are unstable"
        object.__setattr__(self, "bdf", integer("bdf", self.bdf, low=1, high=6, remedy=remedy))
        if self.corrected not in (True, False):
            msg = f"`corrected` must be True or False, got {self.corrected!r}"
            raise InputError(msg)

    def order(self, *, alpha: float, grading: float = 1.0, final: bool = False) -> float:
        """Return the order in ``1/N`` for data that start like ``t**alpha``.

        Parameters
        ----------
        alpha : float [1]
            Order of the derivative.
        grading : float [1]
            Exponent of the mesh, 1.
        final : bool
            The error at the final time instead of the largest nodal error.

        Returns
        -------
        float

        Raises
        ------
        GridError
            If the mesh is graded.
        """
        if grading != 1.0:
            msg = f"`grading` must be 1, got {grading:g}; convolution quadrature needs equal steps"
            raise GridError(msg)
        if final:
            return float(self.bdf) if self.corrected else 1.0
        # The ordinary second formula starts with an error of its own order: the exception.
        return 2.0 if alpha == 1.0 and self.bdf == 2 and self.corrected else alpha

    def weights(self, times: FloatArray, *, alpha: float) -> FloatArray:
        """Return the weights of the increments that end at the last time.

        Parameters
        ----------
        times : (n + 1,) float64 [t]
            Equally spaced.
        alpha : float [1]
            Order of the derivative, ``0 < alpha <= 1``.

        Returns
        -------
        (n,) ndarray of float64 [t**-alpha]
            ``w[k]`` multiplies ``u[k + 1] - u[k]``.
        """
        n = len(times) - 1
        step = (times[-1] - times[0]) / n
        slow = np.cumprod(np.append(1.0, 1.0 - alpha / np.arange(1.0, n)))
        both = slow if self.bdf == 1 else np.convolve(slow, _symbol_power(self.bdf, alpha)[:n])[:n]
        return np.asarray(both[::-1] * step**-alpha)

    def corrections(self) -> FloatArray:
        """Return the factors ``a_1, a_2, ...`` of ``L u_0 + s(0)`` in the first steps.

        Returns
        -------
        (bdf - 1,) ndarray [1]
            Empty where nothing is corrected.
        """
        if not self.corrected:
            return np.empty(0)
        return np.array([float(a) for a in correction_terms(self.bdf)[0]])

    def source_corrections(self) -> FloatArray:
        """Return what the first values of a source add to the first steps, besides ``a_n s(0)``.

        Returns
        -------
        (bdf - 1, bdf - 1) ndarray [1]
            Row ``n - 1`` times ``s(0), s(t_1), ...`` is added to the step to ``t_n``.  Empty
            where nothing is, for ``bdf < 3``.

        Examples
        --------
        >>> 12 * ConvolutionQuadrature(bdf=3).source_corrections()
        array([[-1.,  1.],
               [ 0.,  0.]])
        """
        if not self.corrected or self.bdf < 3:
            return np.empty((0, 0))
        exact = source_terms(self.bdf)
        return np.array([[float(c) for c in row] for row in exact])

    def check(self, grid: TimeGrid) -> None:
        """Refuse a mesh that the scheme cannot use.

        Parameters
        ----------
        grid : TimeGrid
            The mesh.

        Raises
        ------
        GridError
            If steps are not equal, or fewer than the corrections need.
        """
        super().check(grid)
        least, steps = self.bdf - 1, len(grid.times) - 1
        if self.corrected and steps < least:
            msg = (
                f"`times` must hold at least {least} steps for ConvolutionQuadrature(bdf="
                f"{self.bdf}), which corrects so many of them, got {steps}; take more steps or a "
                "lower bdf"
            )
            raise GridError(msg)


def difference_symbol(bdf: int) -> list[Fraction]:
    r"""Return the coefficients of :math:`q_k`, with :math:`\delta_k(z) = (1 - z)\, q_k(z)`.

    Parameters
    ----------
    bdf : int
        ``k``.

    Returns
    -------
    list of Fraction
        ``k`` of them, in rising powers of ``z``.

    Examples
    --------
    >>> [str(c) for c in difference_symbol(2)]
    ['3/2', '-1/2']
    """
    sums = [
        sum((Fraction(comb(j - 1, i), j) for j in range(i + 1, bdf + 1)), Fraction(0))
        for i in range(bdf)
    ]
    return [(-1) ** i * total for i, total in enumerate(sums)]


@lru_cache(maxsize=64)
def _symbol_power(bdf: int, alpha: float) -> FloatArray:
    # The power series of q_k**alpha by Miller's recurrence.
    q = np.array([float(c) for c in difference_symbol(bdf)])
    if alpha == 1.0:
        return q
    i = np.arange(1, bdf)
    series = np.zeros(_LENGTH[bdf])
    series[0] = q[0] ** alpha
    for n in range(1, len(series)):
        m = min(n, bdf - 1)
        factors = (alpha + 1.0) * i[:m] - n
        series[n] = (factors * q[1 : m + 1]) @ series[n - i[:m]] / (n * q[0])
    series.flags.writeable = False
    return series


# --- corrections, in rational numbers ---------------------------------------------------------


@cache
def correction_terms(bdf: int) -> tuple[tuple[Fraction, ...], ...]:
    r"""Return :math:`d_{l,j}` for :math:`l = 0, \dots, k - 2` and :math:`j = 1, \dots, k - l - 1`.

    Parameters
    ----------
    bdf : int
        ``k``.

    Returns
    -------
    tuple of tuple of Fraction
        Row ``l``; row 0 holds the factors ``a_j``.  One empty row for ``k = 1``.

    Examples
    --------
    >>> [[str(d) for d in row] for row in correction_terms(4)]
    [['31/24', '-7/6', '3/8'], ['1/6', '-1/12'], ['0']]
    """
    bernoulli = _bernoulli(bdf)
    rows: list[tuple[Fraction, ...]] = []
    for power in range(max(bdf - 1, 1)):
        size = bdf - power - 1
        moments = [
            bernoulli[power + i + 1] / ((power + i + 1) * factorial(power)) for i in range(size)
        ]
        vandermonde = [[Fraction(j) ** i for j in range(1, size + 1)] for i in range(size)]
        rows.append(tuple(_solved(vandermonde, moments)))
    return tuple(rows)


@cache
def source_terms(bdf: int) -> tuple[tuple[Fraction, ...], ...]:
    r"""Return :math:`c_{n,i} = \sum_{l \ge 1} d_{l,n}\, \tau^l \partial_t^l \ell_i(0)`.

    Here :math:`\ell_i` is the polynomial through the first ``k - 1`` nodes that is one at the
    node ``i``.

    Parameters
    ----------
    bdf : int
        ``k``, at least 3.

    Returns
    -------
    tuple of tuple of Fraction
        ``k - 1`` rows and columns.
    """
    size, terms = bdf - 1, correction_terms(bdf)
    vandermonde = [[Fraction(n) ** power for power in range(size)] for n in range(size)]
    values = [[Fraction(int(n == i)) for n in range(size)] for i in range(size)]
    polynomials = [_solved(vandermonde, value) for value in values]
    return tuple(
        tuple(
            sum(
                (
                    terms[power][n] * factorial(power) * polynomials[i][power]
                    for power in range(1, size)
                    if n < len(terms[power])
                ),
                Fraction(0),
            )
            for i in range(size)
        )
        for n in range(size)
    )


def _bernoulli(count: int) -> list[Fraction]:
    # B_0, ..., B_count, with B_1 = 1/2: so that zeta(-n) = -B_{n+1} / (n + 1) from n = 0 on.
    found = [Fraction(1)]
    for n in range(1, count + 1):
        rest = sum((comb(n, k) * found[k] / (n - k + 1) for k in range(n)), Fraction(0))
        found.append(1 - rest)
    return found


def _solved(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    # Gauss-Jordan in rational numbers, for the few equations there are.
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for i in range(len(rows)):
        pivot = next(r for r in range(i, len(rows)) if rows[r][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [entry / rows[i][i] for entry in rows[i]]
        for r in range(len(rows)):
            if r != i:
                factor = rows[r][i]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i], strict=True)]
    return [row[-1] for row in rows]
