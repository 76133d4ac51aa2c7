r"""The whole history of an operator that does not depend on time, by one transform.

On equal steps every step of a scheme is the same equation, in all increments
:math:`\delta_k = u_{k+1} - u_k` so far,

.. math::
    \sum_{k<n} g_{n-1-k}\, \delta_k + (f_n - g_{n-1})\, \delta_0
    = \theta L u_n + (1 - \theta) L u_{n-1} + e_n , \qquad n = 1, \dots, N ,

with ``g`` the weights by lag, ``f`` those of the very first increment (other than ``g`` where a
scheme begins with a chord) and ``e`` all that enters: sources and start corrections.  With
:math:`U(z) = \sum_{n \ge 1} u_n z^n` and likewise for the other sequences, all of them together are

.. math::
    (\sigma(z) - L)\, U(z) = \frac{z\, \sigma(z)}{1 - z}\, u_0 + \frac{1}{\theta + (1 - \theta) z}
      \Bigl( (1 - \theta)\, z\, L u_0 + e(z) - \sum_{n \ge 1} (f_n - g_{n-1}) z^n\, \delta_0 \Bigr),
    \qquad \sigma(z) = \frac{(1 - z)\, g(z)}{\theta + (1 - \theta) z} ,

one system for every ``z``, and no two of them know of each other.  They are solved at ``M`` points
of the circle :math:`|z| = \rho`, half of them by conjugation, and one fast transform per cell gives
all states.  For convolution quadrature :math:`\sigma(z) = (\delta_k(z) / \tau)^\alpha`.  Where
nothing enters, each right-hand side is a number times a density, which the elimination of chains
solves without cancellation.

**Errors.**  The transform returns :math:`\sum_j \rho^{jM} u_{n+jM}` for :math:`u_n`, and division
by :math:`\rho^n` enlarges its rounding: errors :math:`\rho^M` and :math:`\varepsilon \rho^{-N}`,
equal for

.. math::
    \rho^{N + M} = \varepsilon, \qquad \text{error} \approx \varepsilon^{1 - N / (N + M)},

which is 1e-8, 4e-11, 7e-13 and 2e-14 for ``M = N, 2 N, 4 N, 8 N``, and less at earlier times; of
the largest state, so that little is left of a density that has decayed by as much.
``tests/schemes/test_all_at_once.py`` measures it.  If the march is not stable, its ``U`` has poles
inside the circle, and the transform returns a sequence that does not begin at ``n = 1``: what it
has at ``n = 0``, where nothing should be, is part of the residual.

Work is :math:`M / 2` solves and :math:`O(M \log M)` per cell; memory is ``8 n M`` bytes beside the
states that are kept.

Not here: problems that need their past while they go on, nonlinear ones and operators that depend
on time: those take :class:`~fracsde.schemes.block_fft.BlockFFT`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from fracsde._check import integer
from fracsde.backends import marching_reference, shifted_reference
from fracsde.backends.shifted_each_numba import solve_each
from fracsde.errors import GridError, InputError, UnsupportedError
from fracsde.operators.chain import CellChain
from fracsde.schemes.history import History
from fracsde.schemes.memory import is_uniform, unequal_steps

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from fracsde._typing import FloatArray, IntArray
    from fracsde.operators.base import Generator
    from fracsde.schemes.base import ConvolutionScheme
    from fracsde.schemes.memory import Memory

    ComplexArray: TypeAlias = npt.NDArray[np.complex128]

__all__ = ["AllAtOnce", "solve_all"]

_EPS = float(np.finfo(np.float64).eps)
_POINTS = 192  # points of the circle at a time, for the second cache
_CELLS = 16  # cells whose transforms are in memory together
_FEW = 6  # steps in which something enters, up to which it is not transformed


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
    >>> from fracsde.backends import marching_numba
    >>> from fracsde.operators.chain import CellChain
    >>> from fracsde.schemes.convolution_quadrature import ConvolutionQuadrature
    >>> from fracsde.schemes.history import Direct
    >>> from fracsde.schemes.marching import march
    >>> one = np.ones(3)
    >>> ring = CellChain(edges=np.arange(4.0), right=one, left=one, loss=0 * one, tilt=0 * one,
    ...     periodic=True)
    >>> together, in_turn = (
    ...     march(ring, ConvolutionQuadrature(bdf=2, history=history), np.linspace(0, 1, 101),
    ...         initial=np.array([1.0, 0.0, 0.0]), alpha=0.5, scale=1.0, source=None,
    ...         engine=marching_numba)
    ...     for history in (AllAtOnce(), Direct()))
    >>> bool(np.abs(together - in_turn).max() < 1e-12)
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
            msg = (
                f"`history` AllAtOnce() needs equal steps, got {unequal_steps(times)}; "
                "use TimeGrid.uniform, or Direct() or Exponentials() with "
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
        How far the last state is from where increments and ``apply`` put it, or what is left
        before the start if that is more; over the largest state.
    nbytes : int
        What the transforms took.
    """
    history = scheme.history
    assert isinstance(history, AllAtOnce)
    circle = Circle(scheme, times, alpha=alpha, oversampling=history.oversampling)
    widths = generator.widths
    drift = generator.apply(initial / widths) * widths
    shifts = scale * circle.symbol
    # What drives the march: few products of a vector and a function of z, and a source.
    vectors, functions = [initial], [circle.lean * shifts * circle.z / circle.one_less]
    if circle.point != 1.0:
        vectors.append((1.0 - circle.point) * drift)
        functions.append(circle.z)
    if circle.odd.any():
        start = drift + (entering[0] if len(entering) else 0.0)
        weight, point = scale * circle.first[0], circle.point
        change = generator.solve_shifted(weight / point, start / widths / point) * widths
        vectors.append(-scale * change)
        functions.append(circle.of(circle.odd))
    spectrum = np.empty((len(drift), len(circle.z)), dtype=np.complex128)
    spread = len(entering) > _FEW
    if spread:
        circle.transform(entering, spectrum)
    else:
        vectors.extend(entering)
        functions.extend(circle.z ** (n + 1) for n in range(len(entering)))
    space, along = np.array(vectors, dtype=np.complex128).T, np.array(functions) / circle.lean
    solved = systems_of(generator, engine)
    for a in range(0, len(circle.z), _POINTS):
        part = slice(a, a + _POINTS)
        right_side = space @ along[:, part]
        if spread:
            right_side += spectrum[:, part] / circle.lean[part]
        solved(shifts[part], right_side, spectrum[:, part])
        if watch is not None:
            watch(circle.steps * min(a + _POINTS, len(circle.z)) // len(circle.z))
    states, last, derivative, astray = circle.states(spectrum, initial, keep)
    # How far the last state would move if its step were solved once more.
    there = circle.point * last[1] + (1.0 - circle.point) * last[0]
    gap = scale * derivative / widths - generator.apply(there / widths)
    if len(entering) == circle.steps:
        gap -= entering[-1] / widths
    moved = generator.solve_shifted(scale * circle.lags[0] / circle.point, gap) / circle.point
    off = np.abs(moved).max() / np.abs(last[1] / widths).max()
    return states, float(max(off, astray / np.abs(states).max())), spectrum.nbytes


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

    def transform(self, entering: FloatArray, out: ComplexArray) -> None:
        """Transform what enters at all points.

        Parameters
        ----------
        entering : (m, n) float64 [1/t]
            In the first ``m`` steps.
        out : (n, M / 2 + 1) complex128
            Transforms are written here.
        """
        for a in range(0, len(out), _CELLS):
            out[a : a + _CELLS] = self.of(np.ascontiguousarray(entering[:, a : a + _CELLS].T))

    def states(
        self, spectrum: ComplexArray, initial: FloatArray, keep: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        """Return the sequences whose transforms are given.

        Parameters
        ----------
        spectrum : (n, M / 2 + 1) complex128
            Of the states from ``n = 1`` on.
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
        astray : float
            The largest value before ``n = 1``, where there should be none.
        """
        states, last = np.empty((len(keep), len(initial))), np.empty((2, len(initial)))
        derivative, astray = np.empty(len(initial)), 0.0
        growth = np.exp(-self.log_radius * np.arange(self.steps + 1))
        for a in range(0, len(initial), _CELLS):
            cells = slice(a, a + _CELLS)
            found = irfft(spectrum[cells], self.count)[:, : self.steps + 1] * growth
            astray = max(astray, float(np.abs(found[:, 0]).max()))
            found[:, 0] = initial[cells]
            states[:, cells], last[:, cells] = found[:, keep].T, found[:, -2:].T
            moved = np.diff(found)
            derivative[cells] = moved @ self.lags[::-1] + self.odd[-1] * moved[:, 0]
        return states, last, derivative, astray


def systems_of(
    generator: Generator, engine: Any
) -> Callable[[ComplexArray, ComplexArray, ComplexArray], None]:
    """Return the function that solves for masses, with many shifts.

    Parameters
    ----------
    generator : Generator
        The operator in space.
    engine : module
        That of the march.

    Returns
    -------
    callable
        Takes shifts (K,), right-hand sides (n, K) and where to write solutions (n, K).
    """
    if isinstance(generator, CellChain):
        rates = (generator.right, generator.left, generator.loss)
        if engine is not marching_reference:
            return lambda shifts, sides, out: solve_each(shifts, *rates, sides, out)

        def read(shifts: ComplexArray, sides: ComplexArray, out: ComplexArray) -> None:
            ones = np.ones(len(sides))
            parts = shifted_reference.solve_shifts(shifts, *rates, sides, ones)[0]
            out[...] = parts[:, 0] + 1j * parts[:, 1]

        return read
    widths, solve = generator.widths, cast("Any", generator.solve_shifted)

    def one_by_one(shifts: ComplexArray, sides: ComplexArray, out: ComplexArray) -> None:
        try:
            for k, shift in enumerate(shifts):
                out[:, k] = solve(shift, sides[:, k] / widths) * widths
        except InputError as error:
            msg = (
                f"`history` AllAtOnce() needs complex shifts, which {type(generator).__name__} "
                "does not solve; use BlockFFT()"
            )
            raise UnsupportedError(msg) from error

    return one_by_one
