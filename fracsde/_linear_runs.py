r"""What a simulation of a linear process is made of before it has memory for its record.

.. math:: X_{n+1} - m = E_n (X_n - m) + L_n z_n

with the kinds of step, the order in which they are taken, the draws they end in and the states
they start from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array
from fracsde.backends.philox import seed_key
from fracsde.backends.reference import PURPOSE_START
from fracsde.backends.registry import require
from fracsde.errors import GridError, InputError, OutOfRangeError, ShapeError, UnsupportedError
from fracsde.grids import TimeGrid
from fracsde.lyapunov.processes import as_linear, require_stationary
from fracsde.lyapunov.propagators import distinct_gaps
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.provenance import provenance
from fracsde.schemes.decoupled import Decoupled, DecoupledSteps, decoupled
from fracsde.schemes.paths import ExactOU, MomentumSteps, coupled_steps, noise_factor
from fracsde.schemes.subordinated import Subordinated

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from fracsde._typing import ArrayLike, FloatArray, IntArray, RandomState
    from fracsde.lyapunov.propagators import LinearProcess
    from fracsde.problems.sgd import SGDNearMinimum
    from fracsde.provenance import Provenance
    from fracsde.schemes.paths import PathScheme, Steps

__all__ = ["LinearRun", "checked_times", "prepared"]

# Gaps of a map at least this long, and all equal, are drawn as one step of the composed law.
COMPOSED_GAP = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearRun:
    """All of a run but the memory of its record.

    Parameters
    ----------
    process : OUProcess or LinearRecursion
        What is run.
    times : (draw,) float64 [t, or steps]
        Checked.
    engine : module
        Its kernels.
    state : (chain, d) float64 [x]
        At the first time, relative to the mean.
    modal : (chain, d) float64, optional
        The same in the coordinates of decoupled steps, where they were drawn in these.
    plan : tuple, optional
        Steps, the kind of each, and the draw each ends in; nothing where there is one time.
    key : two uint32
        Key of the normals.
    provenance : Provenance
        Of the paths.
    """

    process: LinearProcess
    times: FloatArray
    engine: ModuleType
    state: FloatArray
    modal: FloatArray | None
    plan: tuple[Steps, IntArray, IntArray] | None
    key: Any
    provenance: Provenance

    def into(self, values: NDArray[Any]) -> None:
        """Write the paths, in the precision of ``values``.

        Parameters
        ----------
        values : (chain, draw, k) float64 or float32 [x]
            Overwritten.
        """
        values[:, 0] = (self.state + self.process.mean)[:, self.process.observed]
        if self.plan is not None:
            _run(self, self.plan, values)


def prepared(
    process: OUProcess | LinearRecursion | SGDNearMinimum,
    times: TimeGrid | ArrayLike,
    chains: int,
    rng: RandomState,
    scheme: PathScheme | Subordinated | None,
    start: Any,
    backend: str,
) -> LinearRun:
    """Check the arguments of a simulation and make what it needs.

    Parameters
    ----------
    process, times, chains, rng, scheme, start, backend
        As for :func:`fracsde.simulate`.

    Returns
    -------
    LinearRun

    Raises
    ------
    InputError
        If ``scheme`` is not a scheme.
    UnsupportedError
        If the process takes no scheme.
    """
    if isinstance(scheme, Subordinated):
        msg = (
            "Subordinated() runs a process on a fractional clock; wrap this one in a "
            "SubordinatedOU, or leave `scheme` out"
        )
        raise UnsupportedError(msg)
    start = "stationary" if start is None else start
    linear = as_linear(process)
    when = checked_times(times, linear)
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
    name, engine = require(backend)
    key = seed_key(rng, "rng")
    seed = rng if isinstance(rng, int) else f"key {key[0]} {key[1]}"
    state, modal = _given(linear, start, chains), None
    exact = scheme is None or type(scheme) is ExactOU
    form = decoupled(linear) if exact or state is None else None
    if state is None:
        state, modal = _stationary(linear, form, chains, engine, key)
    plan = _plan(linear, form, when, scheme) if len(when) > 1 else None
    if plan is not None and getattr(plan[0], "basis", None) is not getattr(form, "basis", None):
        modal = None  # the scheme has coordinates of its own
    return LinearRun(
        process=linear,
        times=when,
        engine=engine,
        state=state,
        modal=modal,
        plan=plan,
        key=key,
        provenance=provenance(linear, when, scheme, start, chains, backend=name, seed=seed),
    )


def _plan(
    process: LinearProcess, form: Decoupled | None, times: FloatArray, scheme: PathScheme | None
) -> tuple[Steps, IntArray, IntArray]:
    # The steps, the kind of each, and the draw each ends in (-1: none).
    if isinstance(process, OUProcess):
        gaps, which = distinct_gaps(times)
        own = None if type(scheme) is ExactOU else scheme
        steps = _exact(process, form, gaps) if own is None else own.steps(process, gaps)
        return steps, which, np.arange(1, len(times), dtype=np.int64)
    gaps = np.diff(times)
    if gaps[0] >= COMPOSED_GAP and np.all(gaps == gaps[0]):
        which = np.zeros(len(gaps), dtype=np.int64)
        steps = _exact(process, form, gaps[:1])
        return steps, which, np.arange(1, len(times), dtype=np.int64)
    total = int(gaps.sum())
    slot = np.full(total, -1, dtype=np.int64)
    slot[np.cumsum(gaps).astype(np.int64) - 1] = np.arange(1, len(times))
    return _exact(process, form, np.ones(1)), np.zeros(total, dtype=np.int64), slot


def _exact(process: LinearProcess, form: Decoupled | None, gaps: FloatArray) -> Steps:
    return coupled_steps(process, gaps) if form is None else form.steps(gaps)


def _given(process: LinearProcess, start: Any, chains: int) -> FloatArray | None:
    # States at the first time, relative to the mean: (chain, d); nothing where they are drawn.
    size, observed = process.dimension, process.observed
    if isinstance(start, str):
        if start != "stationary":
            msg = f"`start` must be 'stationary' or an array of positions, got {start!r}"
            raise InputError(msg)
        return None
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


def _stationary(
    process: LinearProcess, form: Decoupled | None, chains: int, engine: ModuleType, key: Any
) -> tuple[FloatArray, FloatArray | None]:
    # States of the stationary law, relative to the mean, and in decoupled coordinates.
    deviation = None if form is None else form.stationary()
    if form is None or deviation is None:
        factor = noise_factor(require_stationary(process).matrix)
        z = engine.standard_normals(chains, factor.shape[1], step=0, purpose=PURPOSE_START, key=key)
        return np.asarray(z @ factor.T), None
    z = engine.standard_normals(chains, len(deviation), step=0, purpose=PURPOSE_START, key=key)
    z *= deviation
    plain = np.array_equal(form.basis, np.eye(len(deviation)))
    return z if plain else np.asarray(z @ form.basis.T), z


def _run(run: LinearRun, plan: tuple[Steps, IntArray, IntArray], values: NDArray[Any]) -> None:
    (steps, which, slot), engine, state, key = plan, run.engine, run.state, run.key
    observed = np.ascontiguousarray(run.process.observed)
    mean = run.process.mean[observed]
    if isinstance(steps, MomentumSteps):
        engine.momentum_paths(
            state, steps.pull, steps.factor, steps.rule, slot, observed, mean, values, key
        )
        return
    if not isinstance(steps, DecoupledSteps):
        engine.dense_paths(
            state, steps.transition, steps.factor, which, slot, observed, mean, values, key
        )
        return
    turn = steps.basis[observed]
    begin = state @ steps.inverse.T if run.modal is None else run.modal
    same = turn.shape[0] == turn.shape[1] and np.array_equal(turn, np.eye(len(turn)))
    engine.decoupled_paths(
        begin, steps.decay, steps.scale, which, slot, None if same else turn, mean, values, key
    )


def checked_times(times: Any, process: LinearProcess | None) -> FloatArray:
    """Return times as an array.

    Parameters
    ----------
    times : TimeGrid or (draw,) array_like
        What the caller passed.
    process : OUProcess, LinearRecursion or None
        A map counts whole steps.

    Returns
    -------
    (draw,) float64

    Raises
    ------
    GridError
        If they do not increase.
    OutOfRangeError
        If those of a map are not whole numbers.
    """
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
