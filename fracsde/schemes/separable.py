r"""Any number of independent coordinates on one random clock: a positive mixture of products.

For a sum of generators that act on different coordinates the exponential is a product and the
Mittag-Leffler function is not.  With a positive sum of exponentials
(:func:`fracsde.special.relaxation_exponentials`) it is a mixture of products,

.. math::
    E_\alpha\bigl(\theta (L_1 + \dots + L_d)\bigr)
    = \sum_{k=1}^K w_k\; e^{u_k \theta L_1} \otimes \dots \otimes e^{u_k \theta L_d} + R,
    \qquad w_k > 0, \quad \sum_k w_k = 1, \quad \theta = \tau^{1 - \alpha} t^\alpha :

the law of the clock :math:`E_t / \theta` is replaced by one of ``K`` values :math:`u_k`.  Each
factor is the transition matrix of a Markov chain, so densities stay positive and keep their mass;
``d`` lines of ``n`` cells are stored and propagated, never :math:`n^d`.

**Error.**  Generators of chains with detailed balance are symmetric in the norm weighted by the
equilibrium, their sum has its spectrum in :math:`[-\Lambda, 0]`,
:math:`\Lambda \le \sum_i \max_j (2\,\mathrm{out}_j + \mathrm{loss}_j)`, and in that norm

.. math::
    \lVert R\, p_0 \rVert \le \varepsilon\, \lVert p_0 \rVert, \qquad
    \varepsilon = \max_{0 \le y \le \theta \Lambda}
    \Bigl| E_\alpha(-y) - \sum_k w_k e^{-u_k y} \Bigr| ,

which is certified up to :math:`\theta\Lambda`, however large: where the sum is no longer fitted
both terms decrease, and are bounded by their values there.  The bound is for all coordinates
together.  The density of one coordinate is also measured: the sum for it alone is compared with
:math:`E_\alpha(\theta L_i)\, p_{0,i}` by the rational forms of
:mod:`fracsde.schemes.rational_propagation`, which share nothing with it but the cells.

**Positivity.**  Exponentials are propagated to a tolerance and may be negative by it; there they
are set to zero, which is nearer to the truth, and the mass is restored by scaling.

Cost is that of ``K`` times as many ordinary densities per coordinate, 20 to 40 of them for
:math:`\varepsilon` = 1e-12; memory is ``8 t K n`` bytes per coordinate.
``tests/test_solve_separable.py`` measures all of it, ``benchmarks/bench_separable.py`` the cost.

Not here: what the mixture says about moments (:mod:`fracsde.separable_solution`).

Reference: [BraessHackbusch2005]_ for best sums of exponentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fracsde.errors import InputError, OutOfRangeError, UnsupportedError
from fracsde.schemes.propagator import Propagator
from fracsde.schemes.runs import Propagated, Run
from fracsde.special.exponentials import relaxation_exponentials

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fracsde._typing import FloatArray
    from fracsde.operators.chain import CellChain
    from fracsde.schemes.propagator import PreparedPropagator
    from fracsde.schemes.rational_propagation import ChainPropagation
    from fracsde.special.exponentials import ExponentialSum

__all__ = ["ProductMixture", "clock_sum", "largest_rate", "product_mixture"]

_MOST_BYTES = 2**32  # of component densities
_LADDER = (5e-13, 5e-12, 5e-11, 5e-10)  # of the sum, where no tolerance is named
_END = 16.0  # intervals of sums end at its powers
_LOWEST = 1e-14  # tolerance of a Propagator
_CONTOURS = (0, 1)  # levels of forms that serve summands
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, kw_only=True, eq=False)
class ProductMixture:
    """Weights and factors of the mixture, and what is known of their errors.

    Parameters
    ----------
    weights : (k,) float64 [1]
        Positive, one in all.
    densities : tuple of (t, k, n) float64 [1/x]
        Of each coordinate in each component; not negative.
    certified : float [1]
        Bound of the error of the sum, relative to the start in the norm of the equilibrium.
    measured : float [1]
        Largest error of a coordinate by itself, relative to its largest density at the same time.
    stats : dict
        Components, the end of the certified interval, solves, bytes.
    """

    weights: FloatArray
    densities: tuple[FloatArray, ...]
    certified: float
    measured: float
    stats: dict[str, Any]

    @property
    def error(self) -> float:
        """The larger of both errors."""
        return float(np.maximum(self.certified, self.measured))  # what is not a number is kept


def largest_rate(chain: CellChain) -> float:
    """Return a bound of the eigenvalues of ``-L``: the largest sum of a column's sizes.

    Parameters
    ----------
    chain : CellChain
        The generator.

    Returns
    -------
    float [1/t]
    """
    return float((2.0 * (chain.right + chain.left) + chain.loss).max())


def clock_sum(alpha: float, rtol: float | None, largest: float) -> ExponentialSum:
    """Return the positive sum of exponentials that stands for the clock.

    Parameters
    ----------
    alpha : float [1]
        Order.
    rtol : float or None [1]
        Its largest error; ``None`` for the smallest of a few that can be had.
    largest : float [1]
        Clock times largest total rate; rounded up, since sums are built once for each end.

    Returns
    -------
    ExponentialSum

    Raises
    ------
    OutOfRangeError
        If the tolerance cannot be had.
    """
    end = float(_END ** np.ceil(np.log(max(largest, _END)) / np.log(_END)))
    wanted = _LADDER if rtol is None else (rtol,)
    for tolerance in wanted[:-1]:
        try:
            return relaxation_exponentials(alpha, rtol=tolerance, largest=end)
        except OutOfRangeError:
            continue
    try:
        return relaxation_exponentials(alpha, rtol=wanted[-1], largest=end)
    except OutOfRangeError as error:
        msg = f"half of the tolerance is for the exponentials of the clock, and there {error}"
        raise OutOfRangeError(msg) from error


def product_mixture(
    chains: Sequence[CellChain],
    starts: Sequence[FloatArray],
    times: FloatArray,
    *,
    alpha: float,
    timescale: float,
    rtol: float | None,
    backend: str,
    watch: Callable[[int], None] | None = None,
) -> ProductMixture:
    """Propagate every coordinate at every value of the clock.

    Parameters
    ----------
    chains : sequence of CellChain
        Of each coordinate; one that stands in several places with one start is propagated once.
    starts : sequence of (n,) float64 [1]
        Masses of cells at time 0.
    times : (t,) float64 [t]
        In order, not negative.
    alpha : float [1]
        Order.
    timescale : float [t]
        ``tau``.
    rtol : float or None [1]
        Tolerance; half of it is the sum's.
    backend : {"numba", "numpy"}
        Engine of the solves.
    watch : callable, optional
        Called with the number of coordinates done.

    Returns
    -------
    ProductMixture

    Raises
    ------
    UnsupportedError
        If a ring carries a current: the sum of exponentials is certified for real spectra.
    InputError
        If the components need too much memory.
    """
    for i, chain in enumerate(chains):
        if alpha < 1.0 and not chain.detailed_balance:
            msg = (
                f"`factors[{i}]` is a ring with a current, whose rates are complex, and the "
                "exponentials of the clock are certified for real ones; remove the tilt, or solve "
                "up to three dimensions as FractionalFokkerPlanck"
            )
            raise UnsupportedError(msg)
    clock = timescale * (times / timescale) ** alpha
    largest = float(clock.max()) * sum(largest_rate(chain) for chain in chains)
    clocks = clock_sum(alpha, None if rtol is None else 0.5 * rtol, largest)
    moments = np.multiply.outer(clock, clocks.rates)
    # One entry for each coordinate that differs from all before it.
    keys = [(id(chain), id(start)) for chain, start in zip(chains, starts, strict=True)]
    distinct = {key: i for i, key in reversed(list(enumerate(keys)))}
    size = sum(8 * moments.size * len(starts[i]) for i in distinct.values())
    if size > _MOST_BYTES:
        msg = (
            f"{len(times)} times and {moments.shape[1]} components of {len(distinct)} different "
            f"coordinates take {size / 2**30:.1f} GiB, {_MOST_BYTES / 2**30:g} are served; ask for "
            "fewer times with `save_at`, or use fewer cells"
        )
        raise InputError(msg)
    inner = Propagator(rtol=max(0.25 * (1e-12 if rtol is None else rtol), _LOWEST))
    found: dict[tuple[int, int], FloatArray] = {}
    measured, solves = 0.0, 0
    for done, (key, i) in enumerate(sorted(distinct.items(), key=lambda item: item[1])):
        ordinary = inner.prepare(chains[i], alpha=1.0, backend=backend)
        found[key], run = _components(ordinary, starts[i], moments, alone=alpha == 1.0)
        relative = run.relative
        solves += run.stats["solves"]
        if alpha < 1.0:
            direct = inner.prepare(chains[i], alpha=alpha, timescale=timescale, backend=backend)
            other = direct.run(starts[i], times)
            alone = np.einsum("k,tkn->tn", clocks.weights, found[key])
            error = np.abs(alone - other.density).max(axis=1) + other.errors
            relative = error / np.maximum(alone.max(axis=1), _TINY)
            solves += other.stats["solves"]
        measured = float(np.maximum(measured, relative.max()))
        if watch is not None:
            watch(done + 1)
    return ProductMixture(
        weights=clocks.weights,
        densities=tuple(found[key] for key in keys),
        certified=clocks.error,
        measured=measured,
        stats={
            "components": len(clocks.weights),
            "largest": clocks.valid[1],
            "coordinates": len(distinct),
            "solves": solves,
            "bytes": size,
        },
    )


def _components(
    ordinary: PreparedPropagator, masses: FloatArray, moments: FloatArray, *, alone: bool
) -> tuple[FloatArray, Propagated]:
    # Densities (t, k, n) at moments (t, k) of ordinary time, and the run that made them.
    distinct, place = np.unique(moments, return_inverse=True)
    keeps = ordinary.generator.conserves_mass
    run = (
        ordinary.run(masses, distinct) if keeps or alone else _summands(ordinary, masses, distinct)
    )
    density = np.maximum(run.density, 0.0, out=run.density)
    if keeps:
        density *= (masses.sum() / (density @ ordinary.widths))[:, None]
    return density[place.reshape(moments.shape)], run


def _summands(ordinary: PreparedPropagator, masses: FloatArray, times: FloatArray) -> Propagated:
    # Where mass is lost densities decay below all others of the sum.  Their own digits, for which
    # the propagator would take short steps by the million, do not matter.
    run = Run(cast("ChainPropagation", ordinary.road), masses, times)
    run.by_windows()
    for level in _CONTOURS:
        run.by_form(level, run.left(level))
    run.density[~np.isfinite(run.errors)] = np.nan  # never served
    return Propagated(
        density=run.density, errors=run.errors, relative=run.relative(), stats=run.stats
    )
