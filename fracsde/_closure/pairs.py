r"""Which modes are paired in third cumulants, and how few vectors stand for many flat ones.

A leading mode ``j`` feels sums over all pairs of modes, such as

.. math:: \sum_{kl} T_{ikl}\,\kappa_{klj} ,

and hundreds of flat modes, each with little, may decide them.  The stiffest modes are taken one by
one, and only these correct a law.  To say what is left out, the others are sorted by their variance
into bins, and in a bin of ``n`` modes a few vectors

.. math:: e_s = q^{-1/2} \sum_{k \in \text{bin}} z_{sk}\,u_k, \qquad z_{sk} = \pm 1, \quad
          s = 1 \dots q,

stand for all of them: :math:`\mathrm{E}\sum_s a(e_s)\,b(e_s) = \sum_k a(u_k)\,b(u_k)` for forms
that are linear, with curvature and variance of the bin for those of each mode.  Where both of a
pair are in one bin, products of different vectors only are taken: :math:`a(e_s, e_s)` has another
mean, and ``weights`` makes up for it.  Weights outside all modes are one more bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fracsde._closure.minimum import LossMinimum
    from fracsde._typing import FloatArray, IntArray

__all__ = ["Pairs", "pairs_of"]

SINGLE = 52  # stiff modes at least that are taken one by one
WIDER, MANY = 4, 100  # or so many times the leading ones, up to this
BINS = 12  # of the others, unless they are no more than the vectors for them
EACH = 4  # vectors for a bin


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Vectors that stand for all modes."""

    vectors: FloatArray  # (P, p)
    single: int  # so many are the stiffest modes themselves
    bins: tuple[IntArray, ...]  # modes of each bin; none for that outside all modes
    weights: FloatArray  # (p, p), of what is linear in two of them

    def means(self, each: FloatArray, outside: float) -> FloatArray:
        """Return a number of each mode, ``(r,)``, averaged for each vector, ``(p,)``."""
        binned = [each[own].mean() if len(own) else outside for own in self.bins]
        return np.concatenate([each[: self.single], np.repeat(binned, EACH)])

    def steps(self, deviations: FloatArray) -> FloatArray:
        r"""Return how far along each vector to differentiate, ``(p,)``.

        A difference over :math:`\sqrt 3` standard deviations averages a derivative over a Gaussian
        law along its own direction, to the next order; a vector of many modes moves all of them at
        once, by one standard deviation each.

        Returns
        -------
        (p,) float64
        """
        far = np.full(len(deviations), float(EACH) ** 0.5)
        far[: self.single] = 3.0**0.5
        return far * deviations


def pairs_of(at: LossMinimum, variances: FloatArray, *, outside: bool) -> Pairs:
    """Choose vectors for a minimum from the variances of its modes.

    Returns
    -------
    Pairs
    """
    size, r = at.modes.shape
    single = max(SINGLE, at.rank, min(WIDER * at.rank, MANY))
    if r <= single + BINS * EACH:
        single = r
    rest = single + np.argsort(-variances[single:], kind="stable")
    bins = list(np.array_split(rest, BINS)) if single < r else []
    rng = np.random.default_rng(2)
    columns = [at.modes[:, :single]]
    for own in bins:
        signs = rng.choice([-1.0, 1.0], size=(len(own), EACH))
        columns.append(at.modes[:, own] @ signs / EACH**0.5)
    if outside:
        Z = rng.choice([-1.0, 1.0], size=(size, EACH)) / EACH**0.5
        columns.append(Z - at.modes @ (at.modes.T @ Z))
        bins.append(np.empty(0, dtype=np.int64))
    vectors = np.ascontiguousarray(np.hstack(columns))
    weights = np.ones((vectors.shape[1],) * 2)
    for start in range(single, len(weights), EACH):
        same = slice(start, start + EACH)
        weights[same, same] = (EACH / (EACH - 1)) ** 0.5 * (1.0 - np.eye(EACH))
    return Pairs(vectors=vectors, single=single, bins=tuple(bins), weights=weights)
