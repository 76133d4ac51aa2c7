r"""Sample paths of linear processes, exact in law at any spacing of the times.

.. math::
    X_{n+1} - m = E_n (X_n - m) + L_n z_n, \qquad z_n \sim N(0, I) .

The normals of chain ``c`` at step ``n`` are a function of the seed, ``c`` and ``n`` alone: a run
with more chains begins with the chains of a smaller one, and neither the number of threads nor
the engine changes a path beyond rounding.

On a fractional clock, :math:`X_t = Y(E_t)`, the clock's values are drawn from their exact joint law
and the flow is stepped over their differences (:mod:`fracsde.schemes.subordinated`).  The clock
starts at time 0, and so do paths, whatever the first time asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, integer
from fracsde._linear_runs import checked_times, prepared
from fracsde.backends.philox import seed_key
from fracsde.backends.registry import require
from fracsde.errors import InputError, OutOfRangeError, ShapeError, UnsupportedError
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.problems.subordinated import SubordinatedOU
from fracsde.provenance import provenance
from fracsde.records.trajectory import Trajectory
from fracsde.schemes._operational import draw_initial, operational_paths, operational_steps
from fracsde.schemes.subordinated import (
    Subordinated,
    clock_paths,
    start_states,
    subordinated_paths,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import ArrayLike, FloatArray, RandomState
    from fracsde.grids import TimeGrid
    from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
    from fracsde.problems.sgd import SGDNearMinimum
    from fracsde.provenance import Provenance
    from fracsde.schemes.paths import PathScheme

    Process = (
        OUProcess
        | LinearRecursion
        | SGDNearMinimum
        | SubordinatedOU
        | DiagonalOU
        | LowRankOU
        | FractionalFokkerPlanck
    )

__all__ = ["simulate", "simulate_into"]


def simulate(
    process: Process,
    times: TimeGrid | ArrayLike,
    *,
    chains: int,
    rng: RandomState,
    scheme: PathScheme | Subordinated | None = None,
    start: str | ArrayLike | None = None,
    backend: str = "auto",
) -> Trajectory:
    """Draw paths of a linear process with normal noise, or of one on a fractional clock.

    Parameters
    ----------
    process : OUProcess, LinearRecursion, SGDNearMinimum, SubordinatedOU, structured or fractional
        SGD stands for its map.  A :class:`~fracsde.problems.structured.DiagonalOU` or
        :class:`~fracsde.problems.structured.LowRankOU` is simulated without large matrices, a
        :class:`~fracsde.problems.fractional.FractionalFokkerPlanck` needs a scheme with a step.
    times : TimeGrid or (draw,) array_like [t, or steps]
        Strictly increasing; whole numbers for a map.  The first is the time of ``start``, which
        is the first draw; on a fractional clock ``start`` belongs to time 0 and no time is
        negative.
    chains : int
        Number of independent paths.
    rng : int, SeedSequence or Generator
        The seed; a whole number gives the same paths each time, a generator is drawn from.
    scheme : ExactOU, EulerMaruyama or Subordinated, optional
        For an Ornstein-Uhlenbeck process the first two; exact unless said otherwise.  A map is
        always exact, and so is a SubordinatedOU.  ``Subordinated(step=...)`` is for a
        FractionalFokkerPlanck.
    start : "stationary", (k,), (d,), (chains, k) or (chains, d) array_like [x], optional
        Where paths start: drawn from the stationary law, or given as observed coordinates
        (velocities start at zero) or as whole states.  Without it the stationary law, or the
        initial density of a FractionalFokkerPlanck.
    backend : str
        ``"auto"``, ``"numba"`` or ``"numpy"``.

    Returns
    -------
    Trajectory
        The observed coordinates (the weights).

    Raises
    ------
    GridError
        If the times do not increase.
    OutOfRangeError
        If the times of a map are not whole numbers.
    UnsupportedError
        If a scheme is asked of a map.
    InputError
        If ``scheme`` is not a scheme.

    Notes
    -----
    Normals of double precision end at 8.5 standard deviations.  :func:`simulate_into` writes into
    memory that exists, or in single precision.

    A map is iterated step by step, so that recording every tenth step draws the same path as
    recording every step; only where all recorded steps are equally far apart, by 8 steps or
    more, is the law of that many steps composed and drawn as one: the law is the same.

    Examples
    --------
    >>> from fracsde import OUProcess
    >>> process = OUProcess(drift=[[1.0]], noise=[[2.0]])
    >>> run = simulate(process, [0.0, 0.5, 2.0], chains=4, rng=1)
    >>> run.values.shape
    (4, 3, 1)
    """
    if isinstance(process, (SubordinatedOU, DiagonalOU, LowRankOU, FractionalFokkerPlanck)):
        return _on_clock(process, times, chains, rng, scheme, start, backend)
    chains = integer("chains", chains, low=1)
    run = prepared(process, times, chains, rng, scheme, start, backend)
    values = np.empty((chains, len(run.times), len(run.process.observed)))
    run.into(values)
    return Trajectory(values=values, times=run.times, provenance=run.provenance)


def simulate_into(
    out: NDArray[Any],
    process: OUProcess | LinearRecursion | SGDNearMinimum,
    times: TimeGrid | ArrayLike,
    *,
    rng: RandomState,
    scheme: PathScheme | None = None,
    start: str | ArrayLike | None = None,
    backend: str = "auto",
) -> Provenance:
    r"""Draw paths of a linear process into memory that exists, in its precision.

    Memory that has been written before is several times cheaper to write than new memory, and
    single precision makes twice as many numbers a second and half the record.  A float64 array
    receives the paths of :func:`simulate` with the same seed.  A float32 array receives other
    ones, from normals that end at 6.8 standard deviations, stepped in single precision:
    rounding the factor :math:`\rho` of a step moves a stationary variance by
    :math:`6 \cdot 10^{-8} / (1 - \rho)` of itself.

    Parameters
    ----------
    out : (chains, draws, k) float64 or float32 [x]
        Overwritten with the observed coordinates; writable and C-contiguous.
    process : OUProcess, LinearRecursion or SGDNearMinimum
        As for :func:`simulate`.
    times : TimeGrid or (draws,) array_like [t, or steps]
        As for :func:`simulate`.
    rng : int, SeedSequence or Generator
        The seed.
    scheme : ExactOU or EulerMaruyama, optional
        As for :func:`simulate`.
    start : "stationary" or array_like [x], optional
        As for :func:`simulate`.
    backend : str
        ``"auto"``, ``"numba"`` or ``"numpy"``.

    Returns
    -------
    Provenance
        Of the paths.

    Raises
    ------
    InputError
        If ``out`` is not such an array.
    ShapeError
        If its shape does not fit the times and the process.
    UnsupportedError
        If the process is not linear, or a scheme is asked of a map.

    Examples
    --------
    >>> out = np.empty((4, 3, 1), dtype=np.float32)
    >>> from fracsde import OUProcess
    >>> process = OUProcess(drift=[[1.0]], noise=[[2.0]])
    >>> source = simulate_into(out, process, [0.0, 0.5, 2.0], rng=1)
    >>> bool(np.isfinite(out).all())
    True
    """
    if not (
        isinstance(out, np.ndarray)
        and out.dtype in (np.float64, np.float32)
        and out.ndim == 3
        and out.flags.c_contiguous
        and out.flags.writeable
    ):
        kind = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        msg = (
            "`out` must be a writable, C-contiguous float64 or float32 array with axes "
            f"(chain, draw, coordinate), got {kind}; make one with np.empty"
        )
        raise InputError(msg)
    if isinstance(process, (SubordinatedOU, DiagonalOU, LowRankOU, FractionalFokkerPlanck)):
        msg = f"`simulate_into` takes a linear process, got {type(process).__name__}; use simulate"
        raise UnsupportedError(msg)
    chains = integer("chains", len(out), low=1)
    run = prepared(process, times, chains, rng, scheme, start, backend)
    shape = (chains, len(run.times), len(run.process.observed))
    if out.shape != shape:
        msg = f"`out` must have shape {shape} for these times and this process, got {out.shape}"
        raise ShapeError(msg)
    run.into(out)
    return run.provenance


def _on_clock(
    process: SubordinatedOU | DiagonalOU | LowRankOU | FractionalFokkerPlanck,
    times: TimeGrid | ArrayLike,
    chains: int,
    rng: RandomState,
    scheme: Any,
    start: Any,
    backend: str,
) -> Trajectory:
    when = checked_times(times, None)
    if scheme is not None and not isinstance(scheme, Subordinated):
        msg = f"a process on a fractional clock takes Subordinated() or no scheme, got {scheme!r}"
        raise UnsupportedError(msg)
    step = None if scheme is None else scheme.step
    nonlinear = isinstance(process, FractionalFokkerPlanck)
    if nonlinear != (step is not None):
        msg = (
            "a FractionalFokkerPlanck is stepped in operational time: pass "
            "scheme=Subordinated(step=...)"
            if nonlinear
            else f"this process is simulated exactly and takes no step, got {step:g}; leave it out"
        )
        raise UnsupportedError(msg)
    chains = integer("chains", chains, low=1)
    if isinstance(process, (SubordinatedOU, FractionalFokkerPlanck)) and when[0] < 0.0:
        msg = f"`times` must not be negative, got {when[0]:g}; the clock starts at time 0"
        raise OutOfRangeError(msg)
    name, engine = require(backend)
    key = seed_key(rng, "rng")
    seed = rng if isinstance(rng, int) else f"key {key[0]} {key[1]}"
    if isinstance(process, FractionalFokkerPlanck):
        steps = operational_steps(process.base)
        begin = _positions(process, start, chains, key)
        clock = clock_paths(process.alpha, process.timescale, when, chains, key)
        values = operational_paths(steps, clock, begin, float(step or 0.0), key)[:, :, None]
    else:
        if not isinstance(process, SubordinatedOU):
            process = SubordinatedOU(base=process, alpha=1.0)
            # On the ordinary clock only differences of times matter.
            shifted = when - when[0]
        else:
            shifted = when
        begin = start_states(
            process.base, "stationary" if start is None else start, chains, engine, key
        )
        values = subordinated_paths(process, shifted, begin, engine, key)
    return Trajectory(
        values=values,
        times=when,
        provenance=provenance(process, when, scheme, start, chains, backend=name, seed=seed),
    )


def _positions(process: FractionalFokkerPlanck, start: Any, chains: int, key: Any) -> FloatArray:
    # Points inside the domain.
    if start is None:
        return draw_initial(process.base, chains, key)
    if isinstance(start, str):
        msg = f"`start` must be positions, or None for the initial density, got {start!r}"
        raise InputError(msg)
    given = finite_array("start", start, ndim=(0, 1, 2)).reshape(-1)
    if len(given) not in {1, chains}:
        msg = (
            f"`start` must hold one position, or one for each of {chains} chains, got {len(given)}"
        )
        raise ShapeError(msg)
    low, high = process.base.domain
    if np.any((given < low) | (given > high)):
        msg = f"`start` must lie in the domain ({low:g}, {high:g}), got {given.min():g}"
        raise OutOfRangeError(msg)
    return np.array(np.broadcast_to(given, (chains,)))
