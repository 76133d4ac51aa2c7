r"""Exact propagation in time for operators that do not depend on time.

.. math::
    p(t) = E_\alpha\bigl(\tau^{1-\alpha} t^\alpha L\bigr)\, p(0) ,

to a tolerance that the user names, relative to the largest density at each returned time and
against the exact solution of the equations for the cells.  There is no time step and no error of
one.  What each generator is served with:

==============================  ==============================================================
generator                       road
==============================  ==============================================================
cells, few times                a few complex tridiagonal solves per time
cells, many times               windows of times: 20 to 40 solves each, snapshots, one product
cells whose start is far out    narrow contours; at ``alpha = 1`` short steps
ring with a current             contours that leave room for its sector, else as the line above
symmetric, dense                eigenvectors (:mod:`fracsde.schemes.modes`)
tensor cells                    eigenvectors of lines, polynomials, Krylov, sparse factors
==============================  ==============================================================

The first four are in :mod:`fracsde.schemes.rational_propagation`, the last in
:mod:`fracsde.schemes.tensor_propagation`.  Densities may be negative by
as much as their error; a scheme that keeps positivity is :class:`~fracsde.schemes.l1.L1`.
Cost is O(n) per solve, and memory that of the result.  ``tests/schemes/test_propagator.py``
measures tolerance, estimate and mass; ``benchmarks/bench_propagator.py`` the cost.

Not here: sources and operators that depend on time.

References: [Metzler1999]_ for the relaxation of modes, [WeidemanTrefethen2007]_ for contours,
[TrefethenWeidemanSchmelzer2006]_ for poles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import finite_array, real
from fracsde.backends import shifted_numba, shifted_reference
from fracsde.errors import GridError, ShapeError, UnsupportedError
from fracsde.operators.chain import CellChain
from fracsde.operators.tensor import TensorCells
from fracsde.schemes.modes import Modes, modes_of
from fracsde.schemes.rational_propagation import ChainPropagation
from fracsde.schemes.runs import Propagated
from fracsde.schemes.tensor_propagation import TensorPropagation

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["PreparedPropagator", "Propagator"]

_ENGINES = {"numba": shifted_numba, "numpy": shifted_reference}
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, kw_only=True)
class Propagator:
    """Mittag-Leffler function of the generator.

    Parameters
    ----------
    rtol : float [1]
        Largest error of a density, relative to the largest density at the same time.

    References
    ----------
    [Metzler1999]_, [WeidemanTrefethen2007]_, [TrefethenWeidemanSchmelzer2006]_

    Examples
    --------
    >>> Propagator()
    Propagator(rtol=1e-12)
    """

    citation: ClassVar[tuple[str, ...]] = (
        "Metzler1999",
        "WeidemanTrefethen2007",
        "TrefethenWeidemanSchmelzer2006",
    )
    positive: ClassVar[bool] = False
    """Densities may be negative by as much as their error."""

    rtol: float = 1e-12

    def __post_init__(self) -> None:
        remedy = "double precision leaves fourteen digits at best"
        rtol = real("rtol", self.rtol, low=1e-14, high=0.1, closed="both", remedy=remedy)
        object.__setattr__(self, "rtol", rtol)

    def refusal(self, generator: Any, *, source: bool) -> str:
        """Say why a problem cannot be propagated, in a clause; empty if it can.

        Parameters
        ----------
        generator : Generator
            The operator.
        source : bool
            Whether mass enters.

        Returns
        -------
        str
        """
        if source:
            return "it has a source"
        celled = isinstance(generator, (CellChain, TensorCells))
        if not celled and not hasattr(generator, "symmetric_matrix"):
            return f"a {type(generator).__name__} has neither cells nor a symmetric form"
        return ""

    def prepare(
        self, generator: Any, *, alpha: float, timescale: float = 1.0, backend: str = "numba"
    ) -> PreparedPropagator:
        """Do what need be done once for a generator.

        Parameters
        ----------
        generator : CellChain, TensorCells, or a generator with ``symmetric_matrix``
            The operator.
        alpha : float [1]
            Order, ``0 < alpha <= 1``.
        timescale : float [t]
            ``tau``.
        backend : {"numba", "numpy"}
            Engine of the shifted solves.

        Returns
        -------
        PreparedPropagator

        Raises
        ------
        UnsupportedError
            If the generator cannot be propagated.

        Examples
        --------
        >>> from fracsde.operators.finite_volume import FiniteVolume
        >>> from fracsde.problems.fokker_planck import FokkerPlanck
        >>> base = FokkerPlanck(diffusion=1.0, domain=(0.0, 1.0),
        ...     initial=lambda x: 1 + np.cos(np.pi * x))
        >>> chain = FiniteVolume(cells=64).discretise(base)
        >>> ready = Propagator(rtol=1e-8).prepare(chain, alpha=0.5)
        >>> masses = ready.propagate(chain.project(base.initial), [0.1, 1.0])
        >>> bool(abs(masses.sum(axis=1) - 1).max() < 1e-14)
        True
        """
        alpha = real("alpha", alpha, low=0.0, high=1.0, closed="high")
        timescale = real("timescale", timescale, low=0.0)
        why = self.refusal(generator, source=False)
        if why:
            msg = f"`Propagator` cannot serve this generator, because {why}; march with L1 instead"
            raise UnsupportedError(msg)
        road: ChainPropagation | TensorPropagation | Modes
        if isinstance(generator, CellChain):
            road = ChainPropagation(
                chain=generator,
                alpha=alpha,
                timescale=timescale,
                rtol=self.rtol,
                engine=_ENGINES[backend],
            )
        elif isinstance(generator, TensorCells):
            road = TensorPropagation(
                cells=generator,
                alpha=alpha,
                timescale=timescale,
                rtol=self.rtol,
                backend=backend,
            )
        else:
            road = modes_of(generator)
        return PreparedPropagator(
            generator=generator, alpha=alpha, timescale=timescale, rtol=self.rtol, road=road
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedPropagator:
    """A generator ready to be propagated from any start to any times.

    Parameters
    ----------
    generator : Generator
        The operator.
    alpha : float [1]
        Order.
    timescale : float [t]
        ``tau``.
    rtol : float [1]
        Tolerance.
    road : ChainPropagation, TensorPropagation or Modes
        How it is done.
    """

    generator: Any
    alpha: float
    timescale: float
    rtol: float
    road: ChainPropagation | TensorPropagation | Modes
    widths: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", self.generator.widths)

    def propagate(self, masses: ArrayLike, times: ArrayLike) -> FloatArray:
        """Return the masses at times.

        Parameters
        ----------
        masses : (n,) array_like [1]
            At time 0.
        times : (t,) array_like [t]
            Not negative, in increasing order.

        Returns
        -------
        (t, n) ndarray [1]
        """
        found = self.run(masses, times).density
        found *= self.widths
        return found

    def run(
        self, masses: ArrayLike, times: ArrayLike, *, out: FloatArray | None = None
    ) -> Propagated:
        """Return densities at times with their estimated errors.

        Parameters
        ----------
        masses : (n,) array_like [1]
            At time 0.
        times : (t,) array_like [t]
            Not negative, in increasing order.
        out : (t, n) float64 [1/x], optional
            Memory for the densities: getting it takes a quarter of the time of a long history.

        Returns
        -------
        Propagated

        Raises
        ------
        GridError
            If times are negative or out of order.
        ShapeError
            If ``out`` does not fit.
        """
        widths = self.widths
        masses = finite_array("masses", masses, shape=(len(widths),))
        times = finite_array("times", times, ndim=(0, 1)).reshape(-1)
        if len(times) and (times[0] < 0.0 or np.any(times[1:] < times[:-1])):
            msg = f"`times` must not be negative and must increase, got {times}; sort them"
            raise GridError(msg)
        fits = (len(times), len(masses))
        if out is not None and (
            out.shape != fits or out.dtype != np.float64 or not out.flags.c_contiguous
        ):
            msg = f"`out` must be a contiguous float64 array of shape {fits}, got {out.shape}"
            raise ShapeError(msg)
        if not isinstance(self.road, Modes):
            return self.road.run(masses, times, out)
        density = self.road.propagate(masses, times, alpha=self.alpha, timescale=self.timescale)
        density /= widths
        if out is not None:
            out[...] = density
            density = out
        clock = self.timescale ** (1.0 - self.alpha) * times**self.alpha
        errors = np.array([self.road.rounding(masses, widths, c, self.alpha) for c in clock])
        largest = np.abs(density).max(axis=1, initial=0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(np.isfinite(errors), errors / largest, np.inf)
        stats = {"solves": 0, "windows": 0, "modes": len(times)}
        return Propagated(density=density, errors=errors, relative=relative, stats=stats)

    def residual(self, masses: FloatArray, time: float) -> float:
        """Return the residual of what was solved, relative to its largest term.

        Parameters
        ----------
        masses : (n,) float64 [1]
            At time 0.
        time : float [t]
            The last time.

        Returns
        -------
        float [1]
        """
        if not isinstance(self.road, Modes):
            return self.road.residual(masses, time)
        H, _ = self.generator.symmetric_matrix()
        Q, rates = self.road.vectors, self.road.rates
        return float(np.abs(H @ Q - Q * rates).max() / max(float(rates.max()), _TINY))
