r"""hp product-integration collocation: operators and sources that depend on time, to a tolerance.

.. math::
    p(t_i) = p_0 + \sum_l w_l\, e^{-s_l c_i h}\, \psi_l + h^\alpha \sum_j B_{ij}\, g_j , \qquad
    B_{ij} = \frac{1}{\Gamma(\alpha)} \int_0^{c_i} (c_i - v)^{\alpha - 1} \ell_j(v)\, dv ,

with :math:`g = \tau^{1 - \alpha} (L(t)\, p + s(t))` at the right Radau nodes
:math:`t_i = a + c_i h` of an interval, and the past in exponentials
:math:`\psi_l \leftarrow e^{-s_l h} \psi_l + h \sum_j \beta_j(s_l h)\, g_j`.  Intervals grow
geometrically from a first one that hides the singularity at the start.  The driven equation is
collocated in the same way, see :mod:`fracsde.schemes._collocating`.

============  ====================================================================================
order         exponential in ``degree``: intervals of ratio ``q`` gain
              :math:`\rho = (\sqrt q + 1) / (\sqrt q - 1)` per degree
mesh          intervals chosen from the tolerance; the wanted times may lie anywhere in them
positivity    up to the error
mass          kept to rounding
cost          per interval of ``m`` nodes, ``n`` cells and ``K`` exponentials: ``4 m**3 n``
              operations for operators that depend on time, ``4 m**2 n`` for those that do not, and
              ``4 m K n`` for the memory
memory        ``K n`` numbers, independent of the number of intervals
============  ====================================================================================

``tests/schemes/test_collocation.py`` measures the table.  At :math:`\alpha = 1` this is the Radau
IIA method.

The error estimate is the difference to a second solution with one node more on every interval, a
first interval divided and a finer sum of exponentials: all that limits the accuracy is
changed.  The second solution is the one returned; where the difference exceeds the tolerance the
intervals are chosen again, shorter.

Not here: the intervals (:mod:`fracsde.schemes._intervals`), the loop
(:mod:`fracsde.schemes._collocating`), schemes that keep positivity
(:mod:`fracsde.schemes.l1`, :mod:`fracsde.schemes.driven`).

References: [Brunner2004]_ for collocation of Volterra equations, [HairerWanner1996]_ for Radau
nodes, [Mustapha2011]_ for hp meshes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import finite_array, integer, real
from fracsde.backends import collocation_numba, collocation_reference
from fracsde.errors import GridError, InputError
from fracsde.grids import TimeGrid
from fracsde.schemes._collocating import Equation, Rule
from fracsde.schemes._intervals import ChosenSteps, GivenSteps, first_length, ratio_for
from fracsde.schemes._kept_passes import Passes
from fracsde.schemes.checkpoint import marks_of, operators_seen
from fracsde.schemes.keeping import keeper_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.schemes._interval_loop import Collocated
    from fracsde.schemes.checkpoint import Checkpoint

__all__ = ["CollocatedRun", "HpCollocation"]

_ENGINES = {"numba": collocation_numba, "numpy": collocation_reference}
_ATTEMPTS = 3
_TIGHTER = 0.1  # tolerance of the intervals of the next attempt
_MARGIN = 0.25  # and of the first, against the one asked for
_LENIENT = 10.0  # what the last coefficients may say, which overestimates


@dataclass(frozen=True, kw_only=True, eq=False)
class CollocatedRun:
    """Densities at times, and what is known of their errors."""

    density: FloatArray
    """``(t, n)`` [1/x]."""
    errors: FloatArray
    """``(t,)`` [1/x], the estimated largest error of each density."""
    relative: FloatArray
    """``(t,)`` [1], the same over the largest density."""
    ends: FloatArray
    """Ends of the intervals, from 0 [t]."""
    residual: float
    """Of the systems that were solved, relative to their largest term."""
    stats: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HpCollocation:
    """Collocation at Radau nodes on intervals in geometric progression.

    Parameters
    ----------
    degree : int
        Nodes per interval, 2 to 19.
    rtol : float [1]
        Largest error of a density in time, relative to the largest density at the same time.
    ratio : float [1], optional
        Each interval's end over its start, above 1; chosen from ``rtol`` and ``degree`` if not
        given.
    first : float [t], optional
        Length of the first interval; chosen from ``rtol``, ``alpha`` and the start if not given.
    intervals : TimeGrid, optional
        The intervals themselves, instead of all choices; the estimate says what they are worth.

    References
    ----------
    [Brunner2004]_, [HairerWanner1996]_, [Mustapha2011]_

    Examples
    --------
    >>> from fracsde.operators.finite_volume import FiniteVolume
    >>> from fracsde.problems.fokker_planck import FokkerPlanck
    >>> from fracsde.special import mittag_leffler
    >>> base = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0),
    ...     initial=lambda x: 1 + np.cos(np.pi * x))
    >>> chain = FiniteVolume(cells=32).discretise(base)
    >>> masses = chain.project(base.initial)
    >>> run = HpCollocation(rtol=1e-8).run(lambda t: chain, masses, [0.1, 1.0], alpha=0.5)
    >>> rate = 4 * 32**2 * np.sin(np.pi / 64) ** 2
    >>> contrast = (run.density[:, 0] - 1) / (32 * masses[0] - 1)
    >>> bool(abs(contrast - mittag_leffler(-rate * np.array([0.1, 1.0])**0.5, 0.5)).max() < 1e-8)
    True
    """

    citation: ClassVar[tuple[str, ...]] = ("Brunner2004", "HairerWanner1996", "Mustapha2011")
    positive: ClassVar[bool] = False
    """Densities may be negative by as much as their error."""

    degree: int = 8
    rtol: float = 1e-10
    ratio: float | None = None
    first: float | None = None
    intervals: TimeGrid | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "degree", integer("degree", self.degree, low=2, high=19))
        remedy = "double precision leaves thirteen digits at best"
        put(
            self, "rtol", real("rtol", self.rtol, low=1e-13, high=0.1, closed="both", remedy=remedy)
        )
        if self.ratio is not None:
            put(self, "ratio", real("ratio", self.ratio, low=1.0, remedy="intervals grow"))
        if self.first is not None:
            put(self, "first", real("first", self.first, low=0.0))
        given: Any = self.intervals
        if given is not None and not isinstance(given, TimeGrid):
            msg = f"`intervals` must be a TimeGrid, got {type(given).__name__}; TimeGrid.geometric"
            raise InputError(msg)
        if given is not None and (self.ratio is not None or self.first is not None):
            msg = "`intervals` fixes what `ratio` and `first` choose; give one or the others"
            raise InputError(msg)

    def run(
        self,
        generator_at: Callable[[float], Any],
        masses: Any,
        times: Any,
        *,
        alpha: float,
        timescale: float = 1.0,
        source_at: Callable[[float], FloatArray] | None = None,
        driven: bool = False,
        backend: str = "numba",
        watch: Callable[[int], None] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> CollocatedRun:
        """Return densities at times with their estimated errors.

        Parameters
        ----------
        generator_at : callable
            From a time to the generator; always the same object if it does not depend on time.
        masses : (n,) array_like [1]
            At time 0.
        times : (t,) array_like [t]
            Not negative, strictly increasing.
        alpha : float [1]
            Order, ``0 < alpha <= 1``.
        timescale : float [t]
            ``tau``.
        source_at : callable, optional
            From a time to the masses entering per time, ``(n,)`` [1/t].
        driven : bool
            Whether the equation is ``dp/dt = tau**(1 - alpha) L(t) D**(1 - alpha) p + s`` with a
            Riemann-Liouville derivative, instead of Caputo's.
        backend : {"numba", "numpy"}
            Engine of the systems of chains.
        watch : callable, optional
            Called after each interval with their number.
        checkpoint : Checkpoint, optional
            Where the run is saved and resumed, to the last digit.

        Returns
        -------
        CollocatedRun

        Raises
        ------
        GridError
            If times are negative or do not increase, or lie beyond given intervals.
        """
        alpha = real("alpha", alpha, low=0.0, high=1.0, closed="high")
        timescale = real("timescale", timescale, low=0.0)
        wanted = finite_array("times", times, ndim=(0, 1)).reshape(-1)
        if len(wanted) == 0 or wanted[0] < 0.0 or np.any(np.diff(wanted) <= 0):
            msg = f"`times` must increase from 0 or later, got {wanted}; sort them"
            raise GridError(msg)
        if self.intervals is not None and wanted[-1] > self.intervals.times[-1]:
            msg = (
                f"`intervals` ends at {self.intervals.times[-1]:g}, the last time is "
                f"{wanted[-1]:g}; make them reach it"
            )
            raise GridError(msg)
        widths = generator_at(0.0).widths
        equation = Equation(
            generator_at=generator_at,
            source_at=source_at,
            initial=finite_array("masses", masses, shape=(len(widths),)),
            widths=widths,
            alpha=alpha,
            timescale=timescale,
            driven=driven,
            engine=_ENGINES[backend],
        )
        if wanted[-1] == 0.0:
            zero = np.zeros(1)
            density = (equation.initial / widths)[None]
            return CollocatedRun(
                density=density, errors=zero, relative=zero, ends=zero, residual=0.0
            )
        marks = None
        if checkpoint is not None:
            ends = np.append(0.0, wanted[wanted > 0.0])
            words = {"scheme": self, "alpha": alpha, "timescale": timescale, "engine": backend}
            marks = marks_of(
                operators_seen(generator_at, ends),
                times=ends,
                initial=equation.initial,
                nodes=wanted,
                source=source_at,
                kind=f"collocation, driven={driven}",
                **words,
            )
        with keeper_of(checkpoint, marks) as keeper:
            found = self._to_tolerance(equation, wanted, Passes(keeper, wanted, watch))
            keeper.finish()
            return found

    def planned(self, alpha: float) -> int:
        """Return about how many intervals there will be, for a progress bar.

        Parameters
        ----------
        alpha : float [1]
            Order.

        Returns
        -------
        int
        """
        if self.intervals is not None:
            return len(self.intervals) - 1
        ratio = self.ratio or ratio_for(self.degree, self.rtol)
        return 1 + int(np.log(1.0 / self.rtol) / (2.0 * alpha * np.log(ratio)))

    def _to_tolerance(
        self, equation: Equation, wanted: FloatArray, passes: Passes
    ) -> CollocatedRun:
        # Shorter intervals until both solutions agree, or nothing is gained any more.
        best: CollocatedRun | None = None
        tolerance, solves = _MARGIN * self.rtol, 0
        for _ in range(_ATTEMPTS):
            low, high = self._pair(equation, wanted, tolerance, passes)
            solves += (low.tries * self.degree) + high.tries * (self.degree + 1)
            density = high.masses / equation.widths
            errors = np.abs(density - low.masses / equation.widths).max(axis=1)
            largest = np.abs(density).max(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                relative = np.where(errors == 0.0, 0.0, errors / largest)
            stats = {
                "intervals": len(low.ends) - 1,
                "rejected": low.tries - len(low.ends) + 1,
                "exponentials": high.exponentials,
                "nodes": solves,
            }
            found = CollocatedRun(
                density=density,
                errors=errors,
                relative=relative,
                ends=low.ends,
                residual=max(low.residual, high.residual),
                stats=stats,
            )
            gained = best is None or found.relative.max() < 0.5 * best.relative.max()
            if best is None or found.relative.max() < best.relative.max():
                best = found
            fixed = self.intervals is not None or None not in (self.ratio, self.first)
            if best.relative.max() <= self.rtol or not gained or fixed:
                break
            tolerance *= _TIGHTER
        assert best is not None
        return best

    def _pair(
        self,
        equation: Equation,
        wanted: FloatArray,
        tolerance: float,
        passes: Passes,
    ) -> tuple[Collocated, Collocated]:
        # A solution, and one with everything finer on the same intervals.
        steps: GivenSteps | ChosenSteps
        last = float(wanted[-1])
        if self.intervals is not None:
            nodes = self.intervals.times
            steps = GivenSteps(nodes[: 1 + int(np.searchsorted(nodes, last))])
        else:
            first = self.first or first_length(equation, self.degree, tolerance, wanted)
            ratio = self.ratio or ratio_for(self.degree, tolerance)
            steps = ChosenSteps(
                first=first,
                ratio=ratio,
                wanted=wanted,
                tolerance=_LENIENT * tolerance if self.ratio is None else np.inf,
                widths=equation.widths,
                keep_first=self.first is not None,
            )
        kernel = max(0.1 * tolerance, 1e-13)
        rule = Rule(degree=self.degree, alpha=equation.alpha)
        low = passes.collocated(equation, rule, steps, kernel_rtol=kernel)
        finer = Rule(degree=self.degree + 1, alpha=equation.alpha)
        ends = _start_divided(low.ends, equation.alpha)
        rtol = max(0.1 * kernel, 3e-14)
        high = passes.collocated(equation, finer, GivenSteps(ends), kernel_rtol=rtol)
        return low, high


def _start_divided(ends: FloatArray, alpha: float) -> FloatArray:
    # The first interval, whose error falls like its length to the power 2 alpha, so divided that
    # at most a quarter of it is left.
    first = ends[1]
    ratio = min(max(ends[2] / first, 1.2), 4.0) if len(ends) > 2 else 2.0
    count = int(np.ceil(np.log(4.0) / (2.0 * alpha) / np.log(ratio)))
    return np.concatenate([[0.0], first * ratio ** -np.arange(count, 0.0, -1.0), ends[1:]])
