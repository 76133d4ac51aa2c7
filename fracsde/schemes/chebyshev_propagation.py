r"""Propagation of reversible chains by Chebyshev polynomials: no system is solved.

With detailed balance the spectrum of :math:`-L` lies in :math:`[0, R]`, and with
:math:`M = I + 2 L / R`, whose spectrum lies in :math:`[-1, 1]`,

.. math::
    E_\alpha(\theta L)\, m = \sum_{k=0}^{K} c_k\, T_k(M)\, m + \dots, \qquad
    c_k = \frac{2 - \delta_{k0}}{\pi} \int_{-1}^{1}
          \frac{E_\alpha\bigl(-\tfrac12 \theta R (1 - x)\bigr) T_k(x)}{\sqrt{1 - x^2}}\, dx .

:math:`E_\alpha` is entire and grows like :math:`e^{\delta^{1/\alpha}}` to the right.  On the
ellipse through :math:`1 + 2 \delta / (\theta R)` with
:math:`\delta^{1/\alpha} = \ell = \ln(1/\epsilon)` that leaves :math:`\epsilon` after

.. math:: K \approx \ell^{\,1 - \alpha/2} \sqrt{\theta R}

terms.  On 256 x 256 cells a clock of one takes some hundred products with a five-point stencil,
each a third of a millisecond: less than one sparse factorisation.  All times share the
polynomials.

**Error.**  The sum is cut where the rest of the coefficients is a fiftieth of the tolerance, and
the terms up to a twenty-fifth of *that* are summed apart: their largest entry is the error of the
cut, whatever the start, and what is not seen is bounded by the largest entry there was.
Polynomials of masses that start far out in a tail grow, as much as :math:`e^{\Phi/2}`; rounding is
therefore counted with the largest entries seen,

.. math:: 10\,\epsilon \sum_k |c_k| \max_i |(T_k m)_i| / h_i
          + \epsilon \sqrt{K}\, \max_{k,i} |(T_k m)_i| / h_i .

**Mass.**  Columns of ``L`` sum to minus the losses.  Where there are none every :math:`T_k m` has
the mass of ``m``, and results are scaled to it.

``tests/schemes/test_propagator_tensor.py`` measures both.

Not here: chains with currents, whose polynomials grow (:mod:`fracsde.schemes.tensor_propagation`).

Reference: [TalEzerKosloff1984]_.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import dct

from fracsde.backends import chebyshev_numba, chebyshev_reference
from fracsde.schemes.runs import Propagated
from fracsde.special.mittag_leffler import mittag_leffler

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray
    from fracsde.operators.tensor import TensorCells

__all__ = ["ChebyshevPropagation", "likely_terms", "relaxation_coefficients"]

_ENGINES = {"numba": chebyshev_numba, "numpy": chebyshev_reference}
_EPS = float(np.finfo(np.float64).eps)
_CUT, _SEEN = 0.02, 0.04  # of the tolerance; and of that, up to which terms are summed apart
_ROUNDING, _UNSEEN = 10.0, 1.2
_MOST = 32_768  # terms: beyond, shifted systems are cheaper
_BLOCK = 2**19  # numbers in a block of polynomials: it stays in the cache
_GONE = 1e-290


def likely_terms(x: float, alpha: float) -> float:
    """Return about how many terms take the sum down to rounding.

    Parameters
    ----------
    x : float [1]
        Largest decay, ``theta R``; not negative.
    alpha : float [1]
        Order.

    Returns
    -------
    float
    """
    digits = -float(np.log(_EPS))
    return float(digits ** (1.0 - 0.5 * alpha) * np.sqrt(x) + digits)


def relaxation_coefficients(x: float, alpha: float, *, most: int = _MOST) -> FloatArray | None:
    r"""Return the Chebyshev coefficients of :math:`E_\alpha(-x (1 - s) / 2)` on ``[-1, 1]``.

    Parameters
    ----------
    x : float [1]
        Largest decay, ``theta R``; not negative.
    alpha : float [1]
        Order, ``0 < alpha <= 1``.
    most : int
        Terms at most.

    Returns
    -------
    (K,) ndarray or None
        Down to rounding; ``None`` where that takes more terms than allowed.

    Examples
    --------
    >>> c = relaxation_coefficients(4.0, 1.0)
    >>> s = np.linspace(-1, 1, 5)
    >>> sums = np.polynomial.chebyshev.chebval(s, c)
    >>> bool(np.abs(sums - np.exp(-2.0 * (1.0 - s))).max() < 1e-15)
    True
    """
    likely = likely_terms(x, alpha)
    if likely > 1.5 * most:
        return None
    count = int(2 ** np.ceil(np.log2(1.3 * likely + 16.0)))
    while True:
        angle = (np.arange(count) + 0.5) * (np.pi / count)
        values = mittag_leffler(-x * np.sin(0.5 * angle) ** 2, alpha)
        c = dct(values, type=2) / count
        c[0] *= 0.5
        seen = np.flatnonzero(np.abs(c) > 2.0 * _EPS)
        end = int(seen[-1]) + 1 if len(seen) else 1
        if end <= 0.9 * count:
            return np.asarray(c[:end]) if end <= most else None
        if count > most:
            return None
        count *= 2


@dataclass(frozen=True, kw_only=True, eq=False)
class ChebyshevPropagation:
    """Tensor cells with detailed balance, made ready.

    Parameters
    ----------
    cells : TensorCells
        The generator.
    alpha : float [1]
        Order.
    timescale : float [t]
        ``tau``.
    rtol : float [1]
        Tolerance.
    backend : {"numba", "numpy"}
        Engine of the recursion.
    """

    cells: TensorCells
    alpha: float
    timescale: float
    rtol: float
    backend: str
    reach: float = field(init=False)
    """``R``, no less than the largest rate of relaxation [1/t]."""
    twice: FloatArray = field(init=False)
    offsets: IntArray = field(init=False)
    inverse: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        put: Any = object.__setattr__
        matrix = self.cells.matrix()
        reach = _largest_rate(matrix)
        offsets, diagonals = _diagonals(matrix)
        diagonals *= 4.0 / reach
        diagonals[offsets == 0] += 2.0
        put(self, "reach", reach)
        put(self, "offsets", offsets)
        put(self, "twice", diagonals)
        put(self, "inverse", 1.0 / self.cells.widths)

    def run(self, masses: FloatArray, times: FloatArray) -> Propagated:
        """Return densities at times; those that would take too many terms with infinite errors.

        Parameters
        ----------
        masses : (n,) float64 [1]
            At time 0.
        times : (t,) float64 [t]
            Not negative.

        Returns
        -------
        Propagated
        """
        clock = self.reach * self.timescale ** (1.0 - self.alpha) * times**self.alpha
        rows = [relaxation_coefficients(float(x), self.alpha) for x in clock]
        served = np.array([row is not None for row in rows], dtype=bool)
        kept = [row for row in rows if row is not None]
        density = np.full((len(times), len(masses)), np.nan)
        errors = np.full(len(times), np.inf)
        terms, growth = 0, 0.0
        if kept:
            terms = max(len(row) for row in kept)
            main, rest = self._split(kept, terms)
            density[served], errors[served], tallest = self._sums(masses, main, rest)
            growth = tallest / max(float(np.abs(masses * self.inverse).max()), _GONE)
        start = masses * self.inverse
        still = clock == 0.0
        density[still], errors[still] = start, 0.0
        largest = np.abs(density).max(axis=1, initial=0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(np.isfinite(errors), errors / np.maximum(largest, _GONE), np.inf)
        stats = {"chebyshev": int(served.sum()), "products": terms, "growth": growth}
        return Propagated(density=density, errors=errors, relative=relative, stats=stats)

    def _split(self, rows: list[FloatArray], terms: int) -> tuple[FloatArray, FloatArray]:
        # Coefficients up to the tolerance, and those after them that show its error.
        main, rest = np.zeros((len(rows), terms)), np.zeros((len(rows), terms))
        for k, row in enumerate(rows):
            tail = np.cumsum(np.abs(row[::-1]))[::-1]
            wanted = _CUT * self.rtol
            cut = max(int(np.count_nonzero(tail > wanted)), 1)
            seen = int(np.count_nonzero(tail > _SEEN * wanted))
            main[k, :cut], rest[k, cut:seen] = row[:cut], row[cut:seen]
        used = np.flatnonzero(np.any(main != 0.0, axis=0) | np.any(rest != 0.0, axis=0))
        end = int(used[-1]) + 1
        return main[:, :end], rest[:, :end]

    def _sums(
        self, masses: FloatArray, main: FloatArray, rest: FloatArray
    ) -> tuple[FloatArray, FloatArray, float]:
        n, terms = len(masses), main.shape[1]
        each = int(np.clip(_BLOCK // n, 4, 64))
        pad = int(np.abs(self.offsets).max())
        now = np.zeros(n + 2 * pad)
        now[pad : pad + n] = masses
        # T_{-1} = T_1: half of 2 M m.
        before = np.zeros_like(now)
        for coefficient, offset in zip(self.twice, self.offsets, strict=True):
            before[pad : pad + n] += 0.5 * coefficient * now[pad + offset : pad + offset + n]
        step = _ENGINES[self.backend].chebyshev_rows
        total, apart = np.zeros((len(main), n)), np.zeros((len(main), n))
        size, tallest = np.zeros(len(main)), 0.0
        rows, peaks = np.empty((each, n)), np.empty(each)
        for k in range(0, terms, each):
            m = min(each, terms - k)
            step(self.twice, self.offsets, before, now, self.inverse, rows[:m], peaks[:m])
            part = main[:, k : k + m]
            total += part @ rows[:m]
            if np.any(rest[:, k : k + m]):
                apart += rest[:, k : k + m] @ rows[:m]
            size += np.abs(part) @ peaks[:m]
            tallest = max(tallest, float(peaks[:m].max()))
        apart += total  # from here on the finer sum
        if self.cells.conserves_mass and abs(masses.sum()) > 0.5 * np.abs(masses).sum():
            total *= (masses.sum() / total.sum(axis=1))[:, None]
            apart *= (masses.sum() / apart.sum(axis=1))[:, None]
        total *= self.inverse
        apart *= self.inverse
        apart -= total
        counts = np.count_nonzero(main, axis=1)
        noise = _ROUNDING * _EPS * size + _EPS * np.sqrt(counts) * tallest
        # What is neither summed nor seen apart, times the largest entry there was.
        unseen = _SEEN * _CUT * self.rtol * tallest
        return total, _UNSEEN * np.abs(apart).max(axis=1) + noise + unseen, tallest

    def residual(self, masses: FloatArray) -> float:
        """Return how far a step of the recursion is from the matrix, over its largest term.

        Parameters
        ----------
        masses : (n,) float64 [1]
            At time 0.

        Returns
        -------
        float [1]
        """
        n, pad = len(masses), int(np.abs(self.offsets).max())
        now, before = np.zeros(n + 2 * pad), np.zeros(n + 2 * pad)
        now[pad : pad + n] = masses
        rows, peaks = np.empty((2, n)), np.empty(2)
        step = _ENGINES[self.backend].chebyshev_rows
        step(self.twice, self.offsets, before, now, self.inverse, rows, peaks)
        exact = 2.0 * masses + 4.0 / self.reach * self.cells.apply_to_masses(masses)
        return float(np.abs(rows[1] - exact).max() / max(np.abs(exact).max(), _GONE))


def _largest_rate(matrix: Any) -> float:
    # Gershgorin's bound for the symmetric form, whose bonds are geometric means.
    squares = matrix.multiply(matrix.T).tocsr()
    squares.data = np.sqrt(np.maximum(squares.data, 0.0))
    return float(np.asarray(squares.sum(axis=1)).max()) * (1.0 + 1e-12)


def _diagonals(matrix: Any) -> tuple[IntArray, FloatArray]:
    # Offsets and, for each, the entries of every row at that offset; zero where there are none.
    coo = matrix.tocoo()
    gap = coo.col.astype(np.int64) - coo.row
    offsets = np.unique(gap)
    found = np.zeros((len(offsets), matrix.shape[0]))
    found[np.searchsorted(offsets, gap), coo.row] = coo.data
    return offsets, found
