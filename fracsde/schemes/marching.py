r"""The one loop over time steps, for every scheme that is a convolution.

With the scheme's weights :math:`w_{n,k}` on increments, scaled by :math:`\tau^{\alpha - 1}`, the
step to :math:`t_n` is

.. math::
    (w_{n,n-1} I - L)\, u_n = w_{n,0}\, u_0
        + \sum_{k=1}^{n-1} (w_{n,k} - w_{n,k-1})\, u_k + s_n .

All coefficients are positive and add up to the shift on the left: a mean of past states, which
keeps positivity and mass.  On equal steps one row of weights serves all steps and the matrix is
factorised once.  The loop runs block by block, so that it can be interrupted and watched.

Not here: weights (:mod:`fracsde.schemes.l1` and its siblings), memory
(:mod:`fracsde.schemes.history`), the arithmetic of a block
(:mod:`fracsde.backends.marching_reference`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import UnsupportedError
from fracsde.schemes.base import is_uniform
from fracsde.schemes.history import Direct

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.operators.base import Generator
    from fracsde.schemes.base import ConvolutionScheme

__all__ = ["coefficient_rows", "last_residual", "march"]


def coefficient_rows(
    scheme: ConvolutionScheme,
    times: FloatArray,
    *,
    alpha: float,
    start: int,
    stop: int,
    whole: FloatArray | None,
) -> tuple[FloatArray, FloatArray]:
    """Return the coefficients of past states for the steps to ``times[start + 1 : stop + 1]``.

    Parameters
    ----------
    scheme : ConvolutionScheme
        Supplies the weights.
    times : (N + 1,) float64 [t]
        The mesh.
    alpha : float [1]
        Order of the derivative.
    start, stop : int
        Last known and last wanted row.
    whole : (N,) float64 [t**-alpha] or None
        On equal steps, the weights of the last step, of which every other row is a part.

    Returns
    -------
    coefficients : (stop - start, stop) ndarray [t**-alpha]
        Zero where a step does not look.
    shifts : (stop - start,) ndarray [t**-alpha]
        Their sums over rows.
    """
    rows = np.zeros((stop - start, stop))
    shifts = np.empty(stop - start)
    if whole is not None:
        shifts[:], drops = whole[-1], np.diff(whole)
        for b, n in enumerate(range(start + 1, stop + 1)):
            rows[b, 0], rows[b, 1:n] = whole[-n], drops[len(whole) - n :]
        return rows, shifts
    for b, n in enumerate(range(start + 1, stop + 1)):
        weights = scheme.weights(times[: n + 1], alpha=alpha)
        rows[b, 0] = weights[0]
        # Neighbouring weights of very short early cells may agree to the last digit; rounding
        # must then not turn their difference negative.
        rows[b, 1:n] = np.maximum(np.diff(weights), 0.0)
        # The sum of what was stored, not the newest weight: mass is kept to rounding.
        shifts[b] = rows[b, :n].sum()
    return rows, shifts


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
) -> FloatArray:
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

    Returns
    -------
    (N + 1, n) ndarray [1]
        Masses at all nodes.

    Raises
    ------
    UnsupportedError
        If the history does not keep every state.
    """
    steps, cells = len(times) - 1, len(initial)
    history = scheme.history
    if not isinstance(history, Direct):
        msg = f"`history` must be Direct() here, got {history!r}; it keeps every state"
        raise UnsupportedError(msg)
    states = history.allocate(initial, steps=steps)
    whole = scheme.weights(times, alpha=alpha) if is_uniform(times) else None
    for start in range(0, steps, history.block):
        stop = min(start + history.block, steps)
        rows, shifts = coefficient_rows(
            scheme, times, alpha=alpha, start=start, stop=stop, whole=whole
        )
        sources = np.zeros((stop - start, cells))
        if source is not None:
            sources[:] = [source(float(t)) for t in times[start + 1 : stop + 1]]
        # At alpha = 1 nothing before the block matters: the memory is one state long.
        first = start if alpha == 1.0 else 0
        generator.march_block(
            engine, states[first:], start - first, scale * rows[:, first:], scale * shifts, sources
        )
        if watch is not None:
            watch(stop)
    return states


def last_residual(
    generator: Generator,
    scheme: ConvolutionScheme,
    times: FloatArray,
    states: FloatArray,
    *,
    alpha: float,
    scale: float,
    source: Callable[[float], FloatArray] | None,
) -> float:
    """Return the residual of the last step along another road: increments and ``apply``.

    Parameters
    ----------
    generator, scheme, times, alpha, scale, source
        As in :func:`march`.
    states : (N + 1, n) float64 [1]
        What it returned.

    Returns
    -------
    float [1]
        Largest entry of memory minus drift minus source, over the largest term of the three.
    """
    weights = scale * scheme.weights(times, alpha=alpha)
    density = states[-1] / generator.widths
    gap = weights @ np.diff(states, axis=0) / generator.widths - generator.apply(density)
    # What apply adds up: each cell's outflow, bounded by its largest response to one full cell.
    size = weights[-1] * np.abs(density).max() + np.abs(generator.apply(np.abs(density))).max()
    if source is not None:
        entering = source(float(times[-1])) / generator.widths
        gap, size = gap - entering, size + np.abs(entering).max()
    return float(np.abs(gap).max() / size)
