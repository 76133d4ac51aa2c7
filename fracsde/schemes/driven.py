r"""The driven equation in steps: implicit Euler for coefficients that depend on time.

.. math::
    \partial_t p = \tau^{1 - \alpha} L(t)\, D_t^{1 - \alpha} p + s , \qquad
    D_t^{1 - \alpha} p = \partial_t \frac{1}{\Gamma(\alpha)} \int_0^t (t - s)^{\alpha - 1} p(s)\, ds

with the Riemann-Liouville derivative inside and the operator outside the memory: the density of a
walker whose jumps feel the force of the moment in which they happen [HenryLanglandsStraka2010]_.
Where ``L`` does not depend on time and there is no source, this is Caputo's equation.

With :math:`y = I^\alpha p` the equation is :math:`p' = \tau^{1-\alpha} L(t)\, y' + s`, and with
``p`` constant on each step and equal to its value at the end

.. math::
    p_n - p_{n-1} = \tau^{1 - \alpha} L(t_n) (y_n - y_{n-1}) + (t_n - t_{n-1})\, s(t_n), \qquad
    y_n = \sum_{k \le n} \omega_{nk}\, p_k, \quad
    \omega_{nk} = \frac{(t_n - t_{k-1})^\alpha - (t_n - t_k)^\alpha}{\Gamma(1 + \alpha)} ,

the step of [LeMcLeanMustapha2016]_, where the order :math:`\alpha` is proved for uniform steps and
:math:`1/2 < \alpha < 1`.

=============  ===================================================================================
order          :math:`\min(2 r \alpha, 1)` for the largest nodal error on
               ``TimeGrid.graded(T, N, r)`` and smooth starts, 1 at the final time
mesh           any
positivity     not guaranteed for :math:`\alpha < 1`: past states enter through ``L``
mass           kept to rounding
cost           ``N**2 n`` multiply-adds for ``N`` steps of ``n`` cells, ``N`` solves
memory         every state
=============  ===================================================================================

``tests/schemes/test_driven.py`` measures the table.  At :math:`\alpha = 1` this is the implicit
Euler method.

Not here: the same equation to a tolerance (:mod:`fracsde.schemes.collocation`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import gamma
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import real
from fracsde.schemes.checkpoint import marks_of, operators_seen
from fracsde.schemes.keeping import keeper_of, refill

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.schemes.checkpoint import Checkpoint
    from fracsde.schemes.keeping import Keeper

__all__ = ["LeMcLeanMustapha"]


@dataclass(frozen=True, kw_only=True)
class LeMcLeanMustapha:
    """Implicit Euler steps of the driven equation.

    References
    ----------
    [LeMcLeanMustapha2016]_, [HenryLanglandsStraka2010]_

    Examples
    --------
    >>> LeMcLeanMustapha().order(alpha=0.25, grading=1.0)
    0.5
    """

    citation: ClassVar[tuple[str, ...]] = ("LeMcLeanMustapha2016", "HenryLanglandsStraka2010")
    positive: ClassVar[bool] = False
    """Past states enter through the operator, with both signs."""

    def order(self, *, alpha: float, grading: float = 1.0, final: bool = False) -> float:
        """Return the order in ``1/N`` for solutions from smooth starts.

        The first step is right in the term ``t**alpha``; that in ``t**(2 * alpha)`` it misses.

        Parameters
        ----------
        alpha : float [1]
            Order of the memory.
        grading : float [1]
            Exponent of the mesh.
        final : bool
            The error at the final time instead of the largest nodal error.

        Returns
        -------
        float
        """
        return 1.0 if final else min(2.0 * grading * alpha, 1.0)

    def weights(self, times: FloatArray, *, alpha: float) -> FloatArray:
        r"""Return the weights of all states in the last increment of :math:`I^\alpha p`.

        Parameters
        ----------
        times : (n + 1,) float64 [t]
            Strictly increasing, starting where memory starts.
        alpha : float [1]
            Order.

        Returns
        -------
        (n,) ndarray [t**alpha]
            ``w[k - 1]`` multiplies ``p[k]``; the last is positive, all others are not.

        Examples
        --------
        The integral of a constant grows like ``t**alpha``:

        >>> w = LeMcLeanMustapha().weights(np.array([0.0, 1.0, 4.0]), alpha=0.5)
        >>> bool(abs(w.sum() - (2.0 - 1.0) / gamma(1.5)) < 1e-15)
        True
        """
        cell, end, before = np.diff(times), times[-1], times[-2]
        now = _powers(end - times[:-1], cell, alpha)
        # Very short early steps weigh the same to the last digit; rounding must not make that more.
        now[:-1] = np.minimum(now[:-1] - _powers(before - times[:-2], cell[:-1], alpha), 0.0)
        return np.asarray(now / gamma(1.0 + alpha))

    def march(
        self,
        generator_at: Callable[[float], Any],
        times: FloatArray,
        *,
        initial: FloatArray,
        alpha: float,
        timescale: float = 1.0,
        source_at: Callable[[float], FloatArray] | None = None,
        watch: Callable[[int], None] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> tuple[FloatArray, float]:
        """Step masses through a mesh.

        Parameters
        ----------
        generator_at : callable
            From a time to the generator.
        times : (N + 1,) float64 [t]
            The mesh, from 0.
        initial : (n,) float64 [1]
            Masses at time 0.
        alpha : float [1]
            Order, ``0 < alpha <= 1``.
        timescale : float [t]
            ``tau``.
        source_at : callable, optional
            From a time to the masses entering per time, ``(n,)`` [1/t].
        watch : callable, optional
            Called after each step with the number of steps done.
        checkpoint : Checkpoint, optional
            Where the march is saved and resumed, to the last digit.

        Returns
        -------
        states : (N + 1, n) ndarray [1]
            Masses at all nodes.
        residual : float [1]
            Of the last step, over its largest term.
        """
        alpha = real("alpha", alpha, low=0.0, high=1.0, closed="high")
        clock = real("timescale", timescale, low=0.0) ** (1.0 - alpha)
        states = np.empty((len(times), len(initial)))
        states[0], residual, done, end = initial, 0.0, 0, len(times) - 1
        keeper = self._keeper(checkpoint, generator_at, times, initial, alpha, clock, source_at)
        found = keeper.found()
        if found is not None:
            with keeper.reading():
                done, residual = len(found["states"]) - 1, float(found["residual"])
                refill(states[: done + 1], found["states"])
        with keeper:
            for n in range(done + 1, len(times)):
                w = clock * self.weights(times[: n + 1], alpha=alpha)
                generator = generator_at(float(times[n]))
                entering: FloatArray | float = 0.0
                if source_at is not None:
                    entering = (times[n] - times[n - 1]) * source_at(float(times[n]))
                p, known = _step(generator, w, states[:n], entering, alpha)
                states[n] = p * generator.widths
                if n == end:
                    residual = _residual(generator, w[-1], p, known)
                whole = {"states": states[: n + 1], "residual": np.array(residual)}
                keeper.publish(partial(dict, whole))
                if watch is not None:
                    watch(n)
            keeper.finish()
        return states, residual

    def _keeper(
        self,
        checkpoint: Checkpoint | None,
        generator_at: Callable[[float], Any],
        times: FloatArray,
        initial: FloatArray,
        alpha: float,
        clock: float,
        source_at: Callable[[float], FloatArray] | None,
    ) -> Keeper:
        if checkpoint is None:
            return keeper_of(None)
        marks = marks_of(
            operators_seen(generator_at, times),
            times=times,
            initial=initial,
            nodes=times,
            source=source_at,
            scheme=self,
            alpha=alpha,
            timescale=clock,
        )
        return keeper_of(checkpoint, marks)


def _step(
    generator: Any,
    w: FloatArray,
    states: FloatArray,
    entering: FloatArray | float,
    alpha: float,
) -> tuple[FloatArray, FloatArray]:
    # The next density from all masses before, and what is known in its equation.
    known = (states[-1] + entering) / generator.widths
    if alpha < 1.0 and len(states) > 1:  # at 1 the past has no weight
        known = known + generator.apply(w[:-1] @ states[1:] / generator.widths)
    return generator.solve_shifted(1.0 / w[-1], known / w[-1]), known


def _residual(generator: Any, weight: float, p: FloatArray, known: FloatArray) -> float:
    # Of a step, over its largest term.
    gap = p - weight * generator.apply(p) - known
    size = np.abs(p).max() + weight * np.abs(generator.apply(np.abs(p))).max()
    return float(np.abs(gap).max() / max(size, 1e-300))


def _powers(elapsed: FloatArray, cell: FloatArray, alpha: float) -> FloatArray:
    # elapsed**alpha - (elapsed - cell)**alpha without cancellation; the last two are equal.
    shrink = np.append(np.log1p(-cell[:-1] / elapsed[:-1]), -np.inf)
    return -(elapsed**alpha) * np.expm1(alpha * shrink)
