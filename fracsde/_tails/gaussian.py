r"""Quadrature for the norm of one step of least squares with isotropic Gaussian inputs.

With inputs :math:`a \sim N(0, \sigma^2 I_d)` in batches of ``B``,

.. math::
    M = c I - \frac{\eta}{B} \sum_{i=1}^{B} a_i a_i^T, \qquad c = 1 - \eta\lambda, \qquad
    |M e|^2 = (c - \theta R)^2 + \theta^2 R\,Y, \qquad \theta = \frac{\eta\sigma^2}{B},

for every unit vector ``e``, with independent :math:`R \sim \chi^2_B` and
:math:`Y \sim \chi^2_{d-1}`: the ``B`` numbers :math:`a_i\cdot e/\sigma` have the squared length
``R``, and the components of :math:`\sum_i (a_i\cdot e)\,a_i` across ``e`` are Gaussian given them.

The integrand is singular where :math:`|M e|` vanishes, at :math:`R = R_0 = c/\theta` and
:math:`Y = 0`, and at the ends.  The line of ``R`` is therefore cut at :math:`R_0`, and the pieces
and the line of ``Y`` are mapped to the real axis by

.. math::
    R = \frac{R_0}{1 + e^{-x}}, \qquad R = R_0 + e^x, \qquad Y = e^y ,

which send each singularity to infinity or to imaginary part :math:`\pi`.  The trapezoidal rule
then converges like :math:`\exp(-\mathrm{const}/\mathrm{step})`.  Distances to :math:`R_0` are
formed without subtraction and everything is summed in logarithms.

References: [TrefethenWeideman2014]_ for the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from fracsde._tails.laws import NormLaw
from fracsde.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fracsde._typing import BoolArray, FloatArray

__all__ = ["isotropic_law"]

_DROP = 50.0  # integrands are cut where they fall below exp(-50) of their largest value
_COARSE = 4  # steps of the search for that place, in steps of the rule
_MOST_NODES = 1 << 22


def isotropic_law(
    *, keep: float, theta: float, batch: int, dimension: int, order: float, coarsen: float = 1.0
) -> NormLaw:
    """Tabulate the law of ``log|M e|``, accurate for moments up to the given order.

    Parameters
    ----------
    keep, theta : float [1]
        ``c`` and ``eta sigma^2 / B``.
    batch, dimension : int
        ``B`` and ``d``.
    order : float [1]
        Largest ``s`` for which the moment of order ``s`` is wanted.
    coarsen : float [1]
        Factor on the step of the rule, to see its error.

    Returns
    -------
    NormLaw

    Raises
    ------
    UnsupportedError
        If that takes more nodes than memory should hold.
    """
    y, y_weight = _second(dimension, order, coarsen)
    step = coarsen * min(0.2, 0.48 / np.sqrt(0.5 * batch + order + 1.0))
    line = _Line(keep=keep, theta=theta, batch=batch, order=order, y=y, y_weight=y_weight)
    pieces = [line.inside, line.outside] if keep > 0.0 else [line.whole]
    grids = _windows(line, pieces, step)
    norms, weights = [], []
    _refuse_beyond(sum(len(grid) for grid in grids) * len(y), order)
    for piece, x in zip(pieces, grids, strict=True):
        log_gap, log_r, log_weight = piece(x)
        log_norm = line.log_norm(log_gap, log_r)
        kept = _needed(log_norm, y_weight, order)
        norms.append(log_norm[kept])
        weights.append((log_weight[:, None] + y_weight)[kept])
    log_norm, log_weight = np.concatenate(norms), np.concatenate(weights)
    return NormLaw(log_norm=log_norm, log_weight=log_weight - logsumexp(log_weight))


def _refuse_beyond(nodes: float, order: float) -> None:
    if nodes > _MOST_NODES:
        msg = (
            f"the quadrature for moments up to order {order:g} needs more than {_MOST_NODES} "
            "nodes; such a tail cannot be told from a Gaussian one"
        )
        raise UnsupportedError(msg)


def _needed(log_norm: FloatArray, y_weight: FloatArray, order: float) -> BoolArray:
    # For each R an interval of Y: what moments live on moves one way as their order grows.
    first, last = np.full(len(log_norm), log_norm.shape[1]), np.zeros(len(log_norm), dtype=np.int64)
    for s in (0.0, *_octaves(order)):
        size = y_weight + s * log_norm
        seen = size > size.max(axis=1, keepdims=True) - _DROP
        first = np.minimum(first, seen.argmax(axis=1))
        last = np.maximum(last, log_norm.shape[1] - 1 - seen[:, ::-1].argmax(axis=1))
    place = np.arange(log_norm.shape[1])
    return np.asarray((place >= first[:, None]) & (place <= last[:, None]))


def _octaves(order: float) -> tuple[float, float, float]:
    # Orders at which the tabulated law must hold; the root is looked for between them.
    return 0.25 * order, 0.5 * order, order


def _gamma_shape(log_value: FloatArray, shape: float) -> FloatArray:
    # Logarithm of v^shape exp(-v / 2) against its largest value, at v = 2 shape.
    ratio = log_value - np.log(2.0 * shape)
    return np.asarray(shape * (ratio - np.expm1(ratio)), dtype=np.float64)


def _second(dimension: int, order: float, coarsen: float) -> tuple[FloatArray, FloatArray]:
    # Nodes log Y and their log weights; one node, Y = 0, in one dimension.
    if dimension == 1:
        return np.array([-np.inf]), np.zeros(1)
    shape = 0.5 * (dimension - 1)
    step = coarsen * min(0.2, 0.48 / np.sqrt(shape + 0.5 * order + 1.0))
    # |M e|^s grows with log Y at a rate between 0 and s / 2.
    low = np.log(2.0 * shape) - _DROP / shape - 3.0
    high = np.log(2.0 * (shape + 0.5 * order + 2.0 * _DROP)) + 1.0
    y = np.arange(low, high, step)
    bottom, top = _gamma_shape(y, shape), _gamma_shape(y, shape) + 0.5 * order * y
    kept = slice(
        int(np.argmax(bottom > bottom.max() - _DROP)),
        len(y) - int(np.argmax((top > top.max() - _DROP)[::-1])),
    )
    weight = _gamma_shape(y[kept], shape)
    return y[kept], weight - logsumexp(weight)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Line:
    """The line of R in pieces: each returns log|c - theta R|, log R and the log weight."""

    keep: float
    theta: float
    batch: int
    order: float
    y: FloatArray
    y_weight: FloatArray

    @property
    def log_kink(self) -> float:
        return float(np.log(self.keep) - np.log(self.theta))

    def inside(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        log_left, log_right = -np.logaddexp(0.0, -x), -np.logaddexp(0.0, x)
        log_r = self.log_kink + log_left
        weight = _gamma_shape(log_r, 0.5 * self.batch) + log_right
        return np.log(self.keep) + log_right, log_r, weight

    def outside(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        log_r = np.logaddexp(self.log_kink, x)
        weight = _gamma_shape(log_r, 0.5 * self.batch) + x - log_r
        return np.log(self.theta) + x, log_r, weight

    def whole(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        # Where c <= 0 nothing vanishes.
        log_gap = np.log(-self.keep + self.theta * np.exp(x))
        return log_gap, x, _gamma_shape(x, 0.5 * self.batch)

    def log_norm(self, log_gap: FloatArray, log_r: FloatArray) -> FloatArray:
        across = 2.0 * np.log(self.theta) + log_r[:, None] + self.y
        return np.asarray(0.5 * np.logaddexp(2.0 * log_gap[:, None], across), dtype=np.float64)

    def ends(self, piece: Callable[..., object]) -> tuple[float, float]:
        # An interval that holds the integrands of all orders up to ``order``.
        shape = 0.5 * self.batch
        centre, top = np.log(2.0 * shape), np.log(2.0 * (shape + self.order + 2.0 * _DROP)) + 1.0
        low = centre - _DROP / shape - 3.0
        if piece == self.whole:
            return low, top
        if piece == self.outside:
            return min(0.0, centre, self.log_kink) - 1.2 * _DROP, top
        return min(0.0, low - self.log_kink) - 3.0, 1.2 * _DROP


def _windows(
    line: _Line, pieces: Sequence[Callable[[FloatArray], tuple[FloatArray, ...]]], step: float
) -> list[FloatArray]:
    # The nodes of each piece at which some moment that is wanted has something to sum: the
    # probability itself, or an order in the last two octaves, where the root is looked for.
    orders = _octaves(line.order)
    sizes, grids = [], []
    for piece in pieces:
        low, high = line.ends(piece)
        _refuse_beyond((high - low) / (_COARSE * step) * len(line.y), line.order)
        x = np.arange(low, high, _COARSE * step)
        log_gap, log_r, weight = piece(x)
        size = np.tile(weight, (1 + len(orders), 1))
        for part in np.array_split(np.arange(len(x)), 1 + len(x) * len(line.y) // (1 << 20)):
            log_norm = line.log_norm(log_gap[part], log_r[part])
            for row, s in enumerate(orders, start=1):
                size[row, part] += logsumexp(s * log_norm + line.y_weight, axis=1)
        sizes.append(size)
        grids.append(x)
    nodes, most = [], max(size[0].max() for size in sizes)
    for x, size in zip(grids, sizes, strict=True):
        # Each piece keeps the peaks of its own, which may matter at the orders in between.
        peaks = np.append(most, size[1:].max(axis=1))
        wanted = np.flatnonzero((size > peaks[:, None] - _DROP).any(axis=0))
        margin = _COARSE * step
        low, high = (x[wanted[0]], x[wanted[-1]]) if len(wanted) else (margin, -margin)
        nodes.append(np.arange(low - margin, high + margin, step))
    return nodes
