r"""Learning coefficients that are known exactly, with their multiplicities.

As the inverse temperature :math:`t = n\beta` grows, the partition function of a loss that vanishes
at its minima is

.. math::
    Z(t) = \int e^{-t L(w)} \varphi(w)\,dw \simeq c\, t^{-\lambda} (\log t)^{m - 1},
    \qquad
    t\, E_t[L] = -\frac{d \log Z}{d \log t} \simeq \lambda - \frac{m - 1}{\log t + c'} .

========================================  =================================  ==================
loss                                      :math:`\lambda`                    ``m``
========================================  =================================  ==================
regular, ``d`` directions                 :math:`d/2`                        1
:math:`\prod w_i^{2k_i}`, prior           :math:`\min (h_i + 1) / (2 k_i)`   how many reach it
:math:`\prod |w_i|^{h_i}`
sum, separate parameters                  :math:`\lambda_1 + \lambda_2`      :math:`m_1+m_2-1`
product, separate parameters              smaller one                        its own; the sum of
                                                                             both if equal
reduced-rank regression                   four cases                         1 or 2
deep linear network                       theorem 1                          :math:`a(l-a)+1`
tanh, one input and output, truth 0       of the number of units             1 or 2
========================================  =================================  ==================

The last three are [AoyagiWatanabe2005]_, [Aoyagi2024]_ and [AoyagiWatanabe2005b]_.

The loss of a network is the mean square distance to the truth, or anything of the same order, and
the coefficient is that of the worst singularity among all minima.  At a minimum where the zero set
is smooth it is half the rank of the Jacobian there: ``regular(rank)``.

The logarithm makes the limit slow: at :math:`t = 1000` a perfect sampler finds 0.387 for
:math:`w_1^2 w_2^2`, where :math:`\lambda = 1/2`.  :func:`monomial_at_temperature` is exact at every
temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import integer
from fracsde.errors import InputError, OutOfRangeError, ShapeError
from fracsde.estimators.monomials import monomial_at_temperature, poles_of
from fracsde.records.measurement import Prediction, Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = [
    "KnownCoefficient",
    "deep_linear",
    "monomial",
    "monomial_at_temperature",
    "product_of",
    "reduced_rank",
    "regular",
    "sum_of",
    "tanh_at_zero",
]


@dataclass(frozen=True, kw_only=True)
class KnownCoefficient:
    """An exact learning coefficient.

    Parameters
    ----------
    value : Fraction
        The coefficient.
    multiplicity : int
        Order of the pole, at least 1.
    source : str
        What it is of.
    """

    value: Fraction
    multiplicity: int = 1
    source: str = ""

    def prediction(self) -> Prediction:
        """Return the coefficient as a prediction, to compare an estimate with.

        Returns
        -------
        Prediction
            Of the limit of low temperature.
        """
        return Prediction(
            quantity=Quantity(name="local learning coefficient"),
            value=np.array([float(self.value)]),
            numerical_error=np.zeros(1),
            theory=f"{self.source}, {self.value}, multiplicity {self.multiplicity}",
        )


def regular(directions: int) -> KnownCoefficient:
    """Half the number of directions in which the loss grows like a square.

    Parameters
    ----------
    directions : int
        All parameters at a regular minimum; the rank of the Jacobian where minima form a smooth
        set.

    Returns
    -------
    KnownCoefficient

    Examples
    --------
    >>> regular(7).value
    Fraction(7, 2)
    """
    count = integer("directions", directions, low=0)
    return KnownCoefficient(value=Fraction(count, 2), source=f"regular in {count} directions")


def monomial(powers: Sequence[int], prior: Sequence[int] | None = None) -> KnownCoefficient:
    r"""Coefficient of :math:`\prod w_i^{2 k_i}` under a prior like :math:`\prod |w_i|^{h_i}`.

    Parameters
    ----------
    powers : sequence of int
        Each :math:`k_i`, at least 1.
    prior : sequence of int, optional
        Each :math:`h_i`, at least 0; zero by default.

    Returns
    -------
    KnownCoefficient

    Examples
    --------
    >>> monomial([1, 1]).value, monomial([1, 1]).multiplicity, monomial([1, 2]).value
    (Fraction(1, 2), 2, Fraction(1, 4))
    """
    poles = poles_of(powers, prior)
    least = min(poles)
    shown = " ".join(f"w{i}^{2 * k}" for i, k in enumerate(powers, 1))
    return KnownCoefficient(value=least, multiplicity=poles.count(least), source=shown)


def sum_of(*parts: KnownCoefficient) -> KnownCoefficient:
    """Coefficient of a sum of losses of separate parameters.

    Parameters
    ----------
    *parts : KnownCoefficient
        Those of the terms.

    Returns
    -------
    KnownCoefficient

    Examples
    --------
    >>> sum_of(regular(3), monomial([2])).value
    Fraction(7, 4)
    """
    _some("sum_of", parts)
    return KnownCoefficient(
        value=sum((part.value for part in parts), Fraction(0)),
        multiplicity=sum(part.multiplicity - 1 for part in parts) + 1,
        source=" + ".join(f"({part.source})" for part in parts),
    )


def product_of(*parts: KnownCoefficient) -> KnownCoefficient:
    """Coefficient of a product of losses of separate parameters.

    Parameters
    ----------
    *parts : KnownCoefficient
        Those of the factors.

    Returns
    -------
    KnownCoefficient

    Examples
    --------
    >>> product_of(regular(2), regular(2)).multiplicity
    2
    """
    _some("product_of", parts)
    least = min(part.value for part in parts)
    return KnownCoefficient(
        value=least,
        multiplicity=sum(part.multiplicity for part in parts if part.value == least),
        source=" x ".join(f"({part.source})" for part in parts),
    )


def reduced_rank(inputs: int, hidden: int, outputs: int, rank: int) -> KnownCoefficient:
    """Coefficient of a linear network with one hidden layer.

    Parameters
    ----------
    inputs, hidden, outputs : int
        Widths.
    rank : int
        Rank of the true map, at most the smallest width.

    Returns
    -------
    KnownCoefficient

    References
    ----------
    [AoyagiWatanabe2005]_

    Examples
    --------
    >>> reduced_rank(5, 3, 5, 1).value, reduced_rank(3, 2, 3, 1).multiplicity
    (Fraction(8, 1), 2)
    """
    (M, H, N), r = _widths((inputs, hidden, outputs), rank)
    even = 1
    if N + r <= M + H and M + r <= N + H and H + r <= M + N:
        odd = (M + H + N + r) % 2
        top = -((H + r) ** 2) - M**2 - N**2 + 2 * (H + r) * (M + N) + 2 * M * N + odd
        value, even = Fraction(top, 8), 1 + odd
    elif N + r > M + H:
        value = Fraction(H * M - H * r + N * r, 2)
    elif M + r > N + H:
        value = Fraction(H * N - H * r + M * r, 2)
    else:
        value = Fraction(M * N, 2)
    source = f"reduced rank {M}-{H}-{N}, true rank {r}"
    return KnownCoefficient(value=value, multiplicity=even, source=source)


def deep_linear(widths: Sequence[int], rank: int) -> KnownCoefficient:
    r"""Coefficient of a linear network of any depth.

    With :math:`M_s = H_s - r` there is one set ``S`` of ``l + 1`` layers, :math:`l \ge 1`, with

    .. math::
        \max_S M < \min_{S^c} M, \qquad
        l \max_S M \le \sum_S M < l \min_{S^c} M .

    Parameters
    ----------
    widths : sequence of int
        Of every layer, inputs and outputs included.
    rank : int
        Rank of the true map, at most the smallest width.

    Returns
    -------
    KnownCoefficient

    References
    ----------
    [Aoyagi2024]_

    Examples
    --------
    >>> deep_linear([4, 4, 4, 4], 1).value, deep_linear([2, 1, 2], 0).value
    (Fraction(13, 2), Fraction(1, 1))
    """
    H, r = _widths(widths, rank)
    M = sorted(width - r for width in H)
    chosen = [count for count in range(2, len(M) + 1) if _is_the_set(M, count)]
    assert len(chosen) == 1  # the theorem's
    S = M[: chosen[0]]
    s, l = sum(S), len(S) - 1  # noqa: E741 - the theorem's letter
    a = s - (-(-s // l) - 1) * l
    value = Fraction(-(r**2) + r * (H[0] + H[-1]), 2) + Fraction(a * (l - a), 4 * l)
    value -= Fraction(l * (l - 1), 4) * Fraction(s, l) ** 2
    value += Fraction(sum(x * y for x, y in combinations(S, 2)), 2)
    source = f"deep linear {'-'.join(map(str, H))}, true rank {r}"
    return KnownCoefficient(value=value, multiplicity=a * (l - a) + 1, source=source)


def tanh_at_zero(hidden: int) -> KnownCoefficient:
    r"""Coefficient of :math:`\sum_j a_j \tanh(b_j x)`, ``hidden`` terms, where the truth is zero.

    Parameters
    ----------
    hidden : int
        Number of units.

    Returns
    -------
    KnownCoefficient

    References
    ----------
    [AoyagiWatanabe2005b]_

    Examples
    --------
    >>> tanh_at_zero(1).value, tanh_at_zero(1).multiplicity, tanh_at_zero(2).value
    (Fraction(1, 2), 2, Fraction(2, 3))
    """
    H = integer("hidden", hidden, low=1)
    i = int(np.sqrt(H))
    i += ((i + 1) ** 2 <= H) - (i * i > H)
    return KnownCoefficient(
        value=Fraction(H + i * i + i, 4 * i + 2),
        multiplicity=2 if i * i == H else 1,
        source=f"{H} tanh units at zero",
    )


def _is_the_set(M: list[int], count: int) -> bool:
    inside, outside, l = M[:count], M[count:], count - 1  # noqa: E741
    top, total = inside[-1], sum(inside)
    if total < l * top:
        return False
    return not outside or (top < outside[0] and total < l * outside[0])


def _widths(widths: Any, rank: Any) -> tuple[tuple[int, ...], int]:
    try:
        H = tuple(integer("widths", width, low=1) for width in widths)
    except TypeError as error:
        msg = f"`widths` must be a sequence of whole numbers, got {widths!r}"
        raise InputError(msg) from error
    if len(H) < 2:
        msg = f"`widths` must hold inputs and outputs at least, got {widths!r}"
        raise ShapeError(msg)
    r = integer("rank", rank, low=0)
    if r > min(H):
        msg = f"`rank` must be at most {min(H)}, the smallest width, got {r}"
        raise OutOfRangeError(msg)
    return H, r


def _some(name: str, parts: tuple[KnownCoefficient, ...]) -> None:
    if not parts:
        msg = f"`{name}` needs at least one coefficient"
        raise InputError(msg)
