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
from fracsde.backends.philox import seed_key
from fracsde.backends.reference import PURPOSE_START
from fracsde.backends.registry import require
from fracsde.errors import GridError, InputError, OutOfRangeError, ShapeError, UnsupportedError
from fracsde.grids import TimeGrid
from fracsde.lyapunov.processes import as_linear, require_stationary
from fracsde.lyapunov.propagators import distinct_gaps
from fracsde.problems.fractional import FractionalFokkerPlanck
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.structured import DiagonalOU, LowRankOU
from fracsde.problems.subordinated import SubordinatedOU
from fracsde.provenance import provenance
from fracsde.records.trajectory import Trajectory
from fracsde.schemes._operational import draw_initial, operational_paths, operational_steps
from fracsde.schemes.paths import DecoupledSteps, ExactOU, exact_steps, noise_factor
from fracsde.schemes.subordinated import (
    Subordinated,
    clock_paths,
    start_states,
    subordinated_paths,
)

if TYPE_CHECKING:
    from types import ModuleType

    from fracsde._typing import ArrayLike, FloatArray, IntArray, RandomState
    from fracsde.lyapunov.propagators import LinearProcess
    from fracsde.problems.sgd import SGDNearMinimum
    from fracsde.schemes.paths import PathScheme, Steps

    Process = (
        OUProcess
        | LinearRecursion
        | SGDNearMinimum
        | SubordinatedOU
        | DiagonalOU
        | LowRankOU
        | FractionalFokkerPlanck
    )

__all__ = ["simulate"]

# Gaps of a map at least this long, and all equal, are drawn as one step of the composed law.
COMPOSED_GAP = 8


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
    A map is iterated step by step, so that recording every tenth step draws the same path as
    recording every step; only where all recorded steps are equally far apart, by 8 steps or
    more, is the law of that many steps composed and drawn as one: the law is the same.

    Examples
    --------
    >>> process = OUProcess(drift=[[1.0]], noise=[[2.0]])
    >>> run = simulate(process, [0.0, 0.5, 2.0], chains=4, rng=1)
    >>> run.values.shape
    (4, 3, 1)
    """
    if isinstance(process, (SubordinatedOU, DiagonalOU, LowRankOU, FractionalFokkerPlanck)):
        return _on_clock(process, times, chains, rng, scheme, start, backend)
    if isinstance(scheme, Subordinated):
        msg = (
            "Subordinated() runs a process on a fractional clock; wrap this one in a "
            "SubordinatedOU, or leave `scheme` out"
        )
        raise UnsupportedError(msg)
    start = "stationary" if start is None else start
    linear = as_linear(process)
    when = _checked_times(times, linear)
    if scheme is not None and isinstance(linear, LinearRecursion):
        msg = (
            f"a map is iterated exactly and takes no scheme, got {scheme!r}; leave `scheme` out, "
            "or pass the flow"
        )
        raise UnsupportedError(msg)
    if scheme is not None and (isinstance(scheme, type) or not hasattr(scheme, "steps")):
        msg = (
            f"`scheme` must be ExactOU(), EulerMaruyama() or None, got {scheme!r}; schemes are "
            "values, not names"
        )
        raise InputError(msg)
    chains = integer("chains", chains, low=1)
    name, engine = require(backend)
    key = seed_key(rng, "rng")
    seed = rng if isinstance(rng, int) else f"key {key[0]} {key[1]}"
    state = _start(linear, start, chains, engine, key)
    values = np.empty((chains, len(when), len(linear.observed)))
    values[:, 0] = (state + linear.mean)[:, linear.observed]
    if len(when) > 1:
        _run(engine, linear, _plan(linear, when, scheme), state, values, key)
    return Trajectory(
        values=values,
        times=when,
        provenance=provenance(linear, when, scheme, start, chains, backend=name, seed=seed),
    )


def _on_clock(
    process: SubordinatedOU | DiagonalOU | LowRankOU | FractionalFokkerPlanck,
    times: TimeGrid | ArrayLike,
    chains: int,
    rng: RandomState,
    scheme: Any,
    start: Any,
    backend: str,
) -> Trajectory:
    when = _checked_times(times, None)
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


def _plan(
    process: LinearProcess, times: FloatArray, scheme: PathScheme | None
) -> tuple[Steps, IntArray, IntArray]:
    # The steps, the kind of each, and the draw each ends in (-1: none).
    if isinstance(process, OUProcess):
        gaps, which = distinct_gaps(times)
        chosen = ExactOU() if scheme is None else scheme
        return chosen.steps(process, gaps), which, np.arange(1, len(times), dtype=np.int64)
    gaps = np.diff(times)
    if gaps[0] >= COMPOSED_GAP and np.all(gaps == gaps[0]):
        which = np.zeros(len(gaps), dtype=np.int64)
        return exact_steps(process, gaps[:1]), which, np.arange(1, len(times), dtype=np.int64)
    total = int(gaps.sum())
    slot = np.full(total, -1, dtype=np.int64)
    slot[np.cumsum(gaps).astype(np.int64) - 1] = np.arange(1, len(times))
    return exact_steps(process, np.ones(1)), np.zeros(total, dtype=np.int64), slot


def _start(
    process: LinearProcess, start: Any, chains: int, engine: ModuleType, key: Any
) -> FloatArray:
    # States at the first time, relative to the mean: (chain, d).
    size, observed = process.dimension, process.observed
    if isinstance(start, str):
        if start != "stationary":
            msg = f"`start` must be 'stationary' or an array of positions, got {start!r}"
            raise InputError(msg)
        factor = noise_factor(require_stationary(process).matrix)
        z = engine.standard_normals(chains, factor.shape[1], step=0, purpose=PURPOSE_START, key=key)
        return np.asarray(z @ factor.T)
    given = finite_array("start", start, ndim=(0, 1, 2))
    given = np.atleast_1d(given)
    columns = given.shape[-1]
    if (given.ndim == 2 and len(given) != chains) or columns not in {size, len(observed)}:
        wanted = f"({chains}, {len(observed)})"
        if size != len(observed):
            wanted += f" or, with velocities, ({chains}, {size})"
        msg = f"`start` must have shape {wanted}, the first axis optional; got {given.shape}"
        raise ShapeError(msg)
    state = np.zeros((chains, size))
    state[:, slice(None) if columns == size else observed] = given
    return np.asarray(state - process.mean)


def _run(
    engine: ModuleType,
    process: LinearProcess,
    plan: tuple[Steps, IntArray, IntArray],
    state: FloatArray,
    values: FloatArray,
    key: Any,
) -> None:
    steps, which, slot = plan
    observed = np.ascontiguousarray(process.observed)
    mean = process.mean[observed]
    if not isinstance(steps, DecoupledSteps):
        engine.dense_paths(
            state, steps.transition, steps.factor, which, slot, observed, mean, values, key
        )
        return
    turn = steps.basis[observed]
    begin = state @ steps.inverse.T
    same = turn.shape[0] == turn.shape[1] and np.array_equal(turn, np.eye(len(turn)))
    engine.decoupled_paths(
        begin, steps.decay, steps.scale, which, slot, None if same else turn, mean, values, key
    )


def _checked_times(times: Any, process: LinearProcess | None) -> FloatArray:
    when = times.times if isinstance(times, TimeGrid) else finite_array("times", times, ndim=1)
    if len(when) == 0 or np.any(np.diff(when) <= 0.0):
        found = "none" if len(when) == 0 else f"a smallest gap of {np.diff(when).min():g}"
        msg = f"`times` must be at least one time, strictly increasing, got {found}; sort them"
        raise GridError(msg)
    if isinstance(process, LinearRecursion) and np.any(when != np.rint(when)):
        odd = float(when[when != np.rint(when)][0])
        msg = f"`times` of a map must be whole numbers of steps, got {odd:g}; use the flow"
        raise OutOfRangeError(msg)
    return when
