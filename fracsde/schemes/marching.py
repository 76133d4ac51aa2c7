r"""The one loop over time steps, for every scheme that is a convolution.

With the scheme's weights :math:`w_{n,k}` on increments, scaled by :math:`\tau^{\alpha - 1}`, its
point :math:`\theta` and :math:`v = \theta u_n + (1 - \theta) u_{n-1}`, the step to :math:`t_n` is

.. math::
    \Bigl(\frac{w_{n,n-1}}{\theta} I - L\Bigr) v
      = \frac{w_{n,n-1}}{\theta}\, u_{n-1} - \sum_{k<n-1} w_{n,k}\, (u_{k+1} - u_k)
        + s(t_{n-1} + \theta \tau_n) + a_n \bigl(L u_0 + s(0)\bigr) + \sum_i c_{n,i}\, s(t_i) ,
    \qquad u_n = u_{n-1} + \frac{v - u_{n-1}}{\theta} ,

one shifted system per step, whatever the scheme.  For schemes that keep positivity all
coefficients of past states on the right are positive and add up to the shift on the left: a mean
of past states, which keeps mass too.  On equal steps one row of weights serves all steps and the
matrix is factorised once.  The loop runs block by block, so that it can be interrupted, watched
and resumed.

Not here: weights (:mod:`fracsde.schemes.l1` and its siblings), memory
(:mod:`fracsde.schemes.history`), the arithmetic of a block
(:mod:`fracsde.backends.marching_reference`), all steps at once
(:mod:`fracsde.schemes.all_at_once`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import UnsupportedError
from fracsde.schemes.all_at_once import AllAtOnce, solve_all
from fracsde.schemes.checkpoint import marks_of
from fracsde.schemes.keeping import keeper_of, refill

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray, IntArray
    from fracsde.operators.base import Generator
    from fracsde.schemes.base import ConvolutionScheme
    from fracsde.schemes.checkpoint import Checkpoint
    from fracsde.schemes.memory import Memory

__all__ = ["Marched", "march", "marched"]

_ROUNDING = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, eq=False)
class Marched:
    """What a march returns.

    Parameters
    ----------
    states : (k, n) float64 [1]
        Masses of the points at the nodes that were asked for.
    residual : float [1]
        Of the last step, along another road: increments and ``apply``; or the mass that the march
        has lost, where none may be, if that is more.
    history_bytes : int
        What the past took.
    """

    states: FloatArray
    residual: float
    history_bytes: int


def march(
    generator: Generator,
    scheme: ConvolutionScheme,
    times: FloatArray,
    *,
    initial: FloatArray,
    alpha: float,
    scale: float,
    source: Callable[[float], FloatArray] | None,
    engine: Any,
    watch: Callable[[int], None] | None = None,
    keep: IntArray | None = None,
) -> FloatArray:
    """Step a density through a mesh, and return states alone.

    Parameters
    ----------
    generator, scheme, times, initial, alpha, scale, source, engine, watch, keep
        As for :func:`marched`.

    Returns
    -------
    (k, n) ndarray [1]
        Masses at the nodes of ``keep``.
    """
    return marched(
        generator,
        scheme,
        times,
        initial=initial,
        alpha=alpha,
        scale=scale,
        source=source,
        engine=engine,
        watch=watch,
        keep=keep,
    ).states


def marched(
    generator: Generator,
    scheme: ConvolutionScheme,
    times: FloatArray,
    *,
    initial: FloatArray,
    alpha: float,
    scale: float,
    source: Callable[[float], FloatArray] | None,
    engine: Any,
    watch: Callable[[int], None] | None = None,
    keep: IntArray | None = None,
    checkpoint: Checkpoint | None = None,
) -> Marched:
    """Step a density through a mesh.

    Parameters
    ----------
    generator : Generator
        The operator in space.
    scheme : ConvolutionScheme
        Supplies weights and history.
    times : (N + 1,) float64 [t]
        The mesh, from 0.
    initial : (n,) float64 [1]
        Masses of the points at time 0.
    alpha : float [1]
        Order of the derivative.
    scale : float [t**(alpha - 1)]
        Factor before the derivative.
    source : callable or None
        Masses entering per time, ``(n,)`` [1/t], as a function of time.
    engine : module
        Arithmetic of a block.
    watch : callable, optional
        Called after each block with the number of steps done.
    keep : (k,) int, optional
        Nodes whose states are returned, increasing; all by default.
    checkpoint : Checkpoint, optional
        Where the march is saved and resumed, to the last digit.

    Returns
    -------
    Marched

    Raises
    ------
    UnsupportedError
        If a checkpoint is wanted of all steps at once.
    """
    steps = len(times) - 1
    entering = _Entering(generator, scheme, times, initial, alpha=alpha, source=source)
    kept = np.arange(steps + 1) if keep is None else keep
    if isinstance(scheme.history, AllAtOnce):
        if checkpoint is not None:
            msg = (
                "`checkpoint` saves a march block by block, AllAtOnce() has no blocks; use "
                "BlockFFT(), or leave the checkpoint out"
            )
            raise UnsupportedError(msg)
        states, residual, nbytes = solve_all(
            generator,
            scheme,
            times,
            initial=initial,
            entering=entering.all(steps),
            alpha=alpha,
            scale=scale,
            engine=engine,
            keep=kept,
            watch=watch,
        )
        return Marched(states=states, residual=residual, history_bytes=nbytes)
    memory = scheme.history.begin(scheme, times, initial, alpha=alpha)
    states = np.zeros((len(kept), len(initial)))
    states[kept == 0] = initial
    residual, marks = 0.0, None
    if checkpoint is not None:
        name = getattr(engine, "__name__", "")
        words = {"scheme": scheme, "alpha": alpha, "timescale": scale, "engine": name}
        marks = marks_of(
            (generator,), times=times, initial=initial, nodes=kept, source=source, **words
        )
    keeper, point = keeper_of(checkpoint, marks), scheme.point(alpha)
    found = keeper.found()
    if found is not None:
        with keeper.reading():
            refill(states, found["states_kept"])
            residual = float(found["residual"])
            memory.restore(found)
    done = int(np.searchsorted(kept, memory.start, "right"))  # nodes kept already
    with keeper:
        while memory.start < steps:
            start, stop = memory.start, memory.stop
            block, sources = memory.block(scale), entering.block(start, stop)
            right = _sum(sources, block.owed)
            if right is None:
                right = np.zeros((stop - start, len(initial)))
            window, known = block.window, block.known
            generator.march_block(
                engine, window, known - 1, block.coefficients, block.shifts, right, point
            )
            if done < len(kept) and kept[done] <= stop:
                wanted = slice(done, done := int(np.searchsorted(kept, stop, "right")))
                states[wanted] = window[known + kept[wanted] - (start + 1)]
            if stop == steps:
                last = 0.0 if sources is None else sources[-1]
                residual = _residual(generator, memory, window[-2:], scale, last, point)
            keeper.withdraw()
            memory.absorb()
            whole = {"states_kept": states, "residual": np.array(residual)}
            keeper.publish(partial(_whole, memory, whole))
            if watch is not None:
                watch(stop)
        keeper.finish()
    if source is None and generator.conserves_mass:
        residual = max(residual, float(np.abs(states.sum(axis=1) - initial.sum()).max(initial=0.0)))
    return Marched(states=states, residual=residual, history_bytes=memory.nbytes)


def source_times(scheme: ConvolutionScheme, times: FloatArray, alpha: float) -> FloatArray:
    """Return the times at which steps ask for sources.

    Parameters
    ----------
    scheme : ConvolutionScheme
        The scheme.
    times : (N + 1,) float64 [t]
        The mesh.
    alpha : float [1]
        Order of the derivative.

    Returns
    -------
    (N,) ndarray [t]
        One per step.
    """
    point = scheme.point(alpha)
    return times[1:] if point == 1.0 else times[:-1] + point * np.diff(times)


def _whole(memory: Memory, more: dict[str, FloatArray]) -> dict[str, FloatArray]:
    return memory.snapshot() | more


def _sum(first: FloatArray | None, second: FloatArray | None) -> FloatArray | None:
    # Of what is there; the second may be written to.
    if first is None or second is None:
        return first if second is None else second
    second += first
    return second


class _Entering:
    # What enters in each step: sources at the points of the steps, and the start corrections.

    def __init__(
        self,
        generator: Generator,
        scheme: ConvolutionScheme,
        times: FloatArray,
        initial: FloatArray,
        *,
        alpha: float,
        source: Callable[[float], FloatArray] | None,
    ) -> None:
        self._points = source_times(scheme, times, alpha)
        self._source, self._cells = source, len(initial)
        self._factors = scheme.corrections()
        self._more = np.empty((0, len(initial)))
        if source is not None and len(terms := scheme.source_corrections()):
            self._more = terms @ np.array([source(float(t)) for t in times[: len(terms)]])
        if len(self._factors):
            self._first = generator.apply(initial / generator.widths) * generator.widths
            if source is not None:
                self._first = self._first + source(float(times[0]))

    def block(self, start: int, stop: int) -> FloatArray | None:
        if self._source is None and start >= len(self._factors):
            return None
        sources = np.zeros((stop - start, self._cells))
        if self._source is not None:
            sources[:] = [self._source(float(t)) for t in self._points[start:stop]]
        for b, factor in enumerate(self._factors[start:stop]):
            sources[b] += factor * self._first
        sources[: len(self._more[start:stop])] += self._more[start:stop]
        return sources

    def all(self, steps: int) -> FloatArray:
        # Of all steps; or of the first alone, where nothing enters later.
        if self._source is None:
            steps = min(steps, len(self._factors))
        found = self.block(0, steps)
        return np.empty((0, self._cells)) if found is None else found


def _residual(
    generator: Generator,
    memory: Memory,
    last: FloatArray,
    scale: float,
    entering: FloatArray | float,
    point: float,
) -> float:
    # Largest entry of memory minus drift minus source, over the largest term of the three; what
    # the rounding of the density itself explains, which at rest is all of it, counts over the
    # jumps that the drift adds up, because there the three terms vanish.
    density = (point * last[1] + (1.0 - point) * last[0]) / generator.widths
    derivative = scale * memory.derivative() / generator.widths
    entering = entering / generator.widths
    gap = np.abs(derivative - generator.apply(density) - entering).max()
    size = scale * memory.last_weight * np.abs(density).max()
    size += np.abs(generator.apply(np.abs(density))).max() + np.abs(entering).max()
    # With signs that change from cell to cell nothing cancels in the drift.
    signs = (-1.0) ** np.indices(generator.shape).sum(axis=0).ravel()
    jumps = size + np.abs(generator.apply(signs * np.abs(density))).max()
    rounding = min(gap, _ROUNDING * jumps)
    return float(max(rounding / jumps, (gap - rounding) / size))
