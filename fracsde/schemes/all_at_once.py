r"""The whole history of an operator that does not depend on time, by one transform.

On equal steps every step of a scheme is the same equation, in all increments
:math:`\delta_k = u_{k+1} - u_k` so far,

.. math::
    \sum_{k<n} g_{n-1-k}\, \delta_k + (f_n - g_{n-1})\, \delta_0
    = \theta L u_n + (1 - \theta) L u_{n-1} + e_n , \qquad n = 1, \dots, N ,

with ``g`` the weights by lag, ``f`` those of the very first increment (other than ``g`` where a
scheme begins with a chord) and ``e`` all that enters: sources and start corrections.  With
:math:`W(z) = \sum_{n \ge 1} (u_n - u_0) z^n` and likewise for the other sequences, all of them
together are

.. math::
    \Bigl( \frac{(1 - z)\, g(z)}{\theta + (1 - \theta) z} - L \Bigr) W(z)
    = \frac{1}{\theta + (1 - \theta) z} \Bigl( \frac{z}{1 - z} L u_0 + e(z)
      - \sum_{n \ge 1} (f_n - g_{n-1}) z^n\, \delta_0 \Bigr) ,

one system for every ``z``, and no two of them know of each other.  They are solved at ``M`` points of
the circle :math:`|z| = \rho`, half of them by conjugation, and one fast transform per cell gives all
states.  For convolution quadrature :math:`(1 - z) g(z) = (\delta_k(z) / \tau)^\alpha`.

**Errors.**  The transform returns :math:`\sum_j \rho^{jM} (u_{n+jM} - u_0)` for
:math:`u_n - u_0`, and division by :math:`\rho^n` enlarges its rounding: errors
:math:`\rho^M` and :math:`\varepsilon \rho^{-N}`, equal for

.. math::
    \rho^{N + M} = \varepsilon, \qquad \text{error} \approx \varepsilon^{1 - N / (N + M)},

which is 1e-8, 4e-11, 7e-13, 2e-14 for ``M = N, 2 N, 4 N, 8 N``, and less at earlier times.  ``tests/schemes/test_all_at_once.py`` measures it.

Work is :math:`M / 2` solves and :math:`O(M \log M)` per cell; memory is ``8 n M`` bytes beside the
states that are kept.

Not here: problems that need their past while they go on, nonlinear ones and operators that depend
on time: those take :class:`~fracsde.schemes.block_fft.BlockFFT`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from fracsde._check import integer
from fracsde.backends import marching_reference, shifted_reference
from fracsde.backends.shifted_each_numba import solve_each
from fracsde.errors import GridError, InputError, UnsupportedError
from fracsde.operators.chain import CellChain
from fracsde.schemes.history import History, Memory
from fracsde.schemes.base import is_uniform

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from fracsde._typing import FloatArray, IntArray
    from fracsde.operators.base import Generator
    from fracsde.schemes.base import ConvolutionScheme

    ComplexArray: TypeAlias = npt.NDArray[np.complex128]

__all__ = ["AllAtOnce", "solve_all"]

_EPS = float(np.finfo(np.float64).eps)
_POINTS = 1536  # points of the circle between two looks at the clock
_CELLS = 16  # cells whose transforms are in memory together


@dataclass(frozen=True, kw_only=True)
class AllAtOnce(History):
    """All steps by one transform, for linear operators that do not depend on time.

    Parameters
    ----------
    oversampling : int
        Points of the circle per step, 3 to 16: 3 leaves errors near 2e-12 of the largest state, 4
        near 3e-13, 8 near 1e-14.

    Examples
    --------
    >>> from fracsde.grids import TimeGrid
    >>> from fracsde.operators.chain import CellChain
    >>> from fracsde.schemes.convolution_quadrature import ConvolutionQuadrature
    >>> from fracsde.schemes.marching import march
    >>> one = np.ones(3)
    >>> chain = CellChain(edges=np.arange(4.0), right=one, left=one, loss=0 * one, tilt=0 * one,
    ...     periodic=True)
    >>> end = [march(chain, ConvolutionQuadrature(bdf=2, history=history),
    ...     TimeGrid.uniform(1.0, 100).times, initial=np.array([1.0, 0.0, 0.0]), alpha=0.5,
    ...     scale=1.0, source=None, engine=None)[-1] for history in (AllAtOnce(), Direct())]
    >>> bool(np.abs(end[0] - end[1]).max() < 1e-12)
    True
    """

    oversampling: int = 4

    def __post_init__(self) -> None:
        wanted = integer("oversampling", self.oversampling, low=3, high=16)
        object.__setattr__(self, "oversampling", wanted)

    def check(self, scheme: ConvolutionScheme, times: FloatArray) -> None:
        """Refuse a mesh with unequal steps.

        Parameters
        ----------
        scheme : ConvolutionScheme
            Supplies the weights.
        times : (N + 1,) float64 [t]
            The mesh.

        Raises
        ------
        GridError
            If steps differ by more than rounding.
        """
        if not is_uniform(times):
            steps = np.diff(times)
            msg = (
                f"`history` AllAtOnce() needs equal steps, got steps from {steps.min():.3g} to "
                f"{steps.max():.3g}; use TimeGrid.uniform, or Direct() or Exponentials() with "
                f"{type(scheme).__name__}() where it takes any mesh"
            )
            raise GridError(msg)

    def begin(
        self, scheme: ConvolutionScheme, times: FloatArray, initial: FloatArray, *, alpha: float
    ) -> Memory:
        """Refuse to go step by step.

        Parameters
        ----------
        scheme, times, initial, alpha
            As for :meth:`History.begin`.

        Raises
        ------
        UnsupportedError
            Always: nothing is known of any state before all are.
        """
        msg = (
            "`history` AllAtOnce() solves all steps together, which needs a linear operator that "
            "does not depend on time; use BlockFFT() or Direct(), which go step by step"
        )
        raise UnsupportedError(msg)


def solve_all(
    generator: Generator,
    scheme: ConvolutionScheme,
    times: FloatArray,
    *,
    initial: FloatArray,
    entering: FloatArray,
    alpha: float,
    scale: float,
    engine: Any,
    keep: IntArray,
    watch: Callable[[int], None] | None = None,
) -> tuple[FloatArray, float, int]:
    """Solve all steps of a march.

    Parameters
    ----------
    generator, scheme, times, initial, alpha, scale, engine, watch
        As for :func:`fracsde.schemes.marching.march`.
    entering : (m, n) float64 [1/t]
        What enters in the first ``m`` steps; nothing does later.
    keep : (k,) int
        Nodes whose states are returned, increasing.

    Returns
    -------
    states : (k, n) ndarray [1]
        Masses at those nodes.
    residual : float [1]
        Of the last step, from increments and ``apply``.
    nbytes : int
        What the transforms took.
    """
    history = scheme.history
    assert isinstance(history, AllAtOnce)
    circle = Circle(scheme, times, alpha=alpha, oversampling=history.oversampling)
    widths = generator.widths
    drift = generator.apply(initial / widths) * widths
    spectrum = circle.right_side(drift, entering)
    if circle.odd.any():
        start = drift + (entering[0] if len(entering) else 0.0)
        weight, point = scale * circle.first[0], circle.point
        change = generator.solve_shifted(weight / point, start / widths / point) * widths
        spectrum -= np.multiply.outer(scale * change, circle.of(circle.odd))
    spectrum /= circle.lean
    solved = _solver(generator, engine)
    for a in range(0, len(circle.z), _POINTS):
        b = min(a + _POINTS, len(circle.z))
        spectrum[:, a:b] = solved(scale * circle.symbol[a:b], spectrum[:, a:b])
        if watch is not None:
            watch(circle.steps * b // len(circle.z))
    states, last, derivative = circle.states(spectrum, initial, keep)
    there = circle.point * last[1] + (1.0 - circle.point) * last[0]
    gap = scale * derivative / widths - generator.apply(there / widths)
    if len(entering) == circle.steps:
        gap -= entering[-1] / widths
    density = np.abs(there) / widths
    # What apply adds up: each point's outflow, bounded by its largest response to a full one.
    size = scale * circle.lags[0] * density.max() + np.abs(generator.apply(density)).max()
    return states, float(np.abs(gap).max() / size), spectrum.nbytes


class Circle:
    """Sequences as functions on the upper half of a circle.

    Parameters
    ----------
    scheme : ConvolutionScheme
        Supplies weights.
    times : (N + 1,) float64 [t]
        Equally spaced.
    alpha : float [1]
        Order of the derivative.
    oversampling : int
        Points of the circle per step.
    """

    def __init__(
        self, scheme: ConvolutionScheme, times: FloatArray, *, alpha: float, oversampling: int
    ) -> None:
        self.steps = len(times) - 1
        # Even, and twice a length that is fast.
        self.count = 2 * next_fast_len(-(-oversampling * (self.steps + 1) // 2), real=True)
        self.log_radius = float(np.log(_EPS)) / (self.steps + self.count)
        angle = -2.0 * np.pi * np.arange(self.count // 2 + 1) / self.count
        log_z = self.log_radius + 1j * angle
        self.z: ComplexArray = np.exp(log_z)
        self.one_less: ComplexArray = -np.expm1(log_z)  # 1 - z
        self.point = scheme.point(alpha)
        self.lean: ComplexArray = 1.0 - (1.0 - self.point) * self.one_less
        self.lags, self.first = scheme.lags(times, alpha=alpha)
        self.odd: FloatArray = self.first - self.lags
        # The lag 0 belongs to the exponent 0; `of` begins with the exponent 1.
        self.symbol: ComplexArray = self.one_less * self.of(self.lags) / self.z / self.lean

    def of(self, sequence: FloatArray) -> ComplexArray:
        """Return the transform of ``sequence[..., n - 1]``, ``n = 1, 2, ...``.

        Parameters
        ----------
        sequence : (..., m) float64
            Values from ``n = 1`` on; zero later.

        Returns
        -------
        (..., M / 2 + 1) ndarray
        """
        exponents = np.arange(sequence.shape[-1])
        return np.asarray(rfft(sequence * np.exp(self.log_radius * exponents), self.count)) * self.z

    def right_side(self, drift: FloatArray, entering: FloatArray) -> ComplexArray:
        """Return the transform of all that drives the march.

        Parameters
        ----------
        drift : (n,) float64 [1/t]
            ``L u_0``, in every step.
        entering : (m, n) float64 [1/t]
            What enters in the first ``m`` steps.

        Returns
        -------
        (n, M / 2 + 1) ndarray [1/t]
        """
        found: ComplexArray = np.multiply.outer(drift, self.z / self.one_less)
        if len(entering) <= _CELLS:
            for n, step in enumerate(entering):
                found += np.multiply.outer(step, self.z ** (n + 1))
            return found
        for a in range(0, len(drift), _CELLS):
            found[a : a + _CELLS] += self.of(np.ascontiguousarray(entering[:, a : a + _CELLS].T))
        return found

    def states(
        self, spectrum: ComplexArray, initial: FloatArray, keep: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the sequences whose transforms are given.

        Parameters
        ----------
        spectrum : (n, M / 2 + 1) complex128
            Of the changes since the start.
        initial : (n,) float64
            The start.
        keep : (k,) int
            Nodes that are wanted.

        Returns
        -------
        states : (k, n) ndarray
            At those nodes.
        last : (2, n) ndarray
            At the last two nodes.
        derivative : (n,) ndarray
            The scheme's, in the last step.
        """
        states, last = np.empty((len(keep), len(initial))), np.empty((2, len(initial)))
        derivative = np.empty(len(initial))
        growth = np.exp(-self.log_radius * np.arange(self.steps + 1))
        for a in range(0, len(initial), _CELLS):
            cells = slice(a, a + _CELLS)
            change = irfft(spectrum[cells], self.count)[:, : self.steps + 1] * growth
            change[:, 0] = 0.0
            states[:, cells] = (initial[cells, None] + change[:, keep]).T
            last[:, cells] = (initial[cells, None] + change[:, -2:]).T
            derivative[cells] = np.diff(change) @ self.lags[::-1] + self.odd[-1] * change[:, 1]
        return states, last, derivative


def _solver(
    generator: Generator, engine: Any
) -> Callable[[ComplexArray, ComplexArray], ComplexArray]:
    # From shifts and right-hand sides (n, K) to solutions, of masses.
    if isinstance(generator, CellChain):
        rates = (generator.right, generator.left, generator.loss)
        if engine is marching_reference:
            ones = np.ones(len(generator.right))

            def read(shifts: ComplexArray, right_side: ComplexArray) -> ComplexArray:
                parts = shifted_reference.solve_shifts(shifts, *rates, right_side, ones)[0]
                return np.asarray(parts[:, 0] + 1j * parts[:, 1])

            return read

        def compiled(shifts: ComplexArray, right_side: ComplexArray) -> ComplexArray:
            solve_each(shifts, *rates, right_side, right_side)
            return right_side

        return compiled
    widths = generator.widths[:, None]

    def one_by_one(shifts: ComplexArray, right_side: ComplexArray) -> ComplexArray:
        rows = (right_side / widths).T
        found = np.empty_like(rows)
        try:
            for k, shift in enumerate(shifts):
                found[k] = generator.solve_shifted(shift, rows[k])
        except InputError as error:
            msg = (
                f"`history` AllAtOnce() needs complex shifts, which {type(generator).__name__} does "
                "not solve; use BlockFFT()"
            )
            raise UnsupportedError(msg) from error
        return np.asarray(found.T * widths)

    return one_by_one
