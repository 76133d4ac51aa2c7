r"""Paths on a fractional clock: exact clock values, then steps of the base over random gaps.

.. math::
    X(t_n) = Y(E_{t_n}), \qquad
    Y_{n+1} - m = E(\Delta_n)\,(Y_n - m) + L(\Delta_n)\, z_n, \quad
    \Delta_n = E_{t_{n+1}} - E_{t_n}, \quad L L^T = G .

The clock is drawn from its exact joint law at the times asked for
(:func:`fracsde.special.sampling.sample_inverse_stable_paths`), the base from its exact law over
each gap, which differs from chain to chain (:mod:`fracsde.schemes._random_gap`).

Normals are functions of seed, chain and step; the clock is drawn chain by chain.  So a run with
more chains begins with the chains of a smaller one.

:class:`Subordinated` is the scheme as a value.  Processes with a nonlinear force, which have no
exact step, are in :mod:`fracsde.schemes._operational`.

Not here: laws of one time or two (:mod:`fracsde.subordination`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import finite_array, real
from fracsde._subordination.starts import stationary_start
from fracsde.backends.reference import PURPOSE_START
from fracsde.errors import InputError, ShapeError
from fracsde.problems.structured import LowRankOU
from fracsde.schemes._random_gap import random_gap
from fracsde.schemes.paths import noise_factor
from fracsde.special.sampling import sample_inverse_stable, sample_inverse_stable_paths

if TYPE_CHECKING:
    from types import ModuleType

    from fracsde._typing import FloatArray
    from fracsde.problems.subordinated import BaseProcess, SubordinatedOU
    from fracsde.schemes._random_gap import Normals

__all__ = [
    "PURPOSE_GAP",
    "Subordinated",
    "clock_at",
    "clock_paths",
    "normals_of",
    "random_gap",
    "start_states",
    "subordinated_paths",
]

PURPOSE_GAP = 16  # and up: one for each digit of a gap
_CLOCK_STREAM = 2


@dataclass(frozen=True, kw_only=True)
class Subordinated:
    r"""Paths on a fractional clock, exact wherever the base has an exact step.

    For a :class:`~fracsde.problems.subordinated.SubordinatedOU` there is nothing to choose.  For a
    :class:`~fracsde.problems.fractional.FractionalFokkerPlanck` the base is stepped in operational
    time between exact clock values, by equal steps of at most ``step``: by the stochastic Heun
    scheme where the diffusion is constant, by Euler's otherwise, with reflection at walls.  The
    weak order in ``step`` is 2 for constant diffusion on the line and the ring and 1 otherwise
    (``tests/schemes/test_subordinated.py``).

    Parameters
    ----------
    step : float [t], optional
        Longest step in operational time.

    References
    ----------
    [MagdziarzWeron2007]_ for the construction.

    Examples
    --------
    >>> Subordinated(step=0.01).step
    0.01
    """

    citation: ClassVar[tuple[str, ...]] = ("MagdziarzWeron2007",)

    step: float | None = None

    def __post_init__(self) -> None:
        if self.step is not None:
            object.__setattr__(self, "step", real("step", self.step, low=0.0))


def clock_at(process: SubordinatedOU, t: float, size: int, key: Any) -> FloatArray:
    """Return independent clock values at one time.

    Parameters
    ----------
    process : SubordinatedOU
        Whose clock.
    t : float [t]
        Not negative.
    size : int
        How many.
    key : two uint32
        From :func:`fracsde.backends.philox.seed_key`.

    Returns
    -------
    (size,) float64 [t]
    """
    draws = sample_inverse_stable(t / process.timescale, process.alpha, size, _stream(key))
    return process.timescale * draws


def clock_paths(
    alpha: float, timescale: float, times: FloatArray, chains: int, key: Any
) -> FloatArray:
    """Return paths of the clock from their exact joint law.

    Parameters
    ----------
    alpha : float [1]
        Order.
    timescale : float [t]
        Of the clock.
    times : (n,) float64 [t]
        Strictly increasing, not negative.
    chains : int
        Number of paths.
    key : two uint32
        From :func:`fracsde.backends.philox.seed_key`.

    Returns
    -------
    (chains, n) float64 [t]
        The first chains do not depend on how many there are.
    """
    draws = sample_inverse_stable_paths(times / timescale, alpha, chains, _stream(key))
    return np.asarray(timescale * draws)


def start_states(
    base: BaseProcess, start: Any, chains: int, engine: ModuleType, key: Any
) -> FloatArray:
    """Return states at time 0, relative to the mean.

    Parameters
    ----------
    base : OUProcess, DiagonalOU or LowRankOU
        The process in operational time.
    start : "stationary", (d,) or (chains, d) array_like [x]
        Drawn from the stationary law, or given.
    chains : int
        How many.
    engine : module
        Whose normals to use.
    key : two uint32
        From :func:`fracsde.backends.philox.seed_key`.

    Returns
    -------
    (chains, d) float64 [x]

    Raises
    ------
    InputError
        If ``start`` is another word.
    ShapeError
        If the states do not fit.
    """
    d = base.dimension
    if isinstance(start, str):
        if start != "stationary":
            msg = f"`start` must be 'stationary' or an array of positions, got {start!r}"
            raise InputError(msg)
        law = stationary_start(base)
        z = engine.standard_normals(chains, d, step=0, purpose=PURPOSE_START, key=key)
        spread = np.asarray(law.covariance)
        if spread.ndim == 1:
            return np.asarray(np.sqrt(spread) * z)
        factor = noise_factor(spread)
        if not isinstance(base, LowRankOU):
            return np.asarray(z[:, : factor.shape[1]] @ factor.T)
        inside = z @ base.basis  # standard normal, and independent of what is outside
        outside = np.sqrt(law.rest) * (z - inside @ base.basis.T)
        return np.asarray(inside[:, : factor.shape[1]] @ factor.T @ base.basis.T + outside)
    given = np.atleast_1d(finite_array("start", start, ndim=(0, 1, 2)))
    if given.shape[-1] != d or (given.ndim == 2 and len(given) != chains):
        msg = f"`start` must have shape ({chains}, {d}), the first axis optional; got {given.shape}"
        raise ShapeError(msg)
    return np.array(np.broadcast_to(given - base.mean, (chains, d)))


def subordinated_paths(
    process: SubordinatedOU, times: FloatArray, start: FloatArray, engine: ModuleType, key: Any
) -> FloatArray:
    """Return exact paths.

    Parameters
    ----------
    process : SubordinatedOU
        The process.
    times : (n,) float64 [t]
        Strictly increasing, not negative.
    start : (chain, d) float64 [x]
        States at time 0, relative to the mean.
    engine : module
        Whose normals to use.
    key : two uint32
        From :func:`fracsde.backends.philox.seed_key`.

    Returns
    -------
    (chain, n, d) float64 [x]
    """
    chains = len(start)
    clock = clock_paths(process.alpha, process.timescale, times, chains, key)
    steps = random_gap(process.base)
    values = np.empty((chains, len(times), process.dimension))
    inner, last = steps.inward(start), np.zeros(chains)
    for n in range(len(times)):
        inner = steps.advance(inner, clock[:, n] - last, normals_of(engine, chains, n, key))
        last = clock[:, n]
        np.add(steps.outward(inner), process.base.mean, out=values[:, n])
    return values


def normals_of(engine: ModuleType, chains: int, step: int, key: Any) -> Normals:
    """Return the source of one step's normals.

    Parameters
    ----------
    engine : module
        Whose normals to use.
    chains, step : int
        Number of chains; the step, counted from 0.
    key : two uint32
        From :func:`fracsde.backends.philox.seed_key`.

    Returns
    -------
    Normals
    """

    def normals(columns: int, lane: int = 0) -> FloatArray:
        z: FloatArray = engine.standard_normals(
            chains, columns, step=step, purpose=PURPOSE_GAP + lane, key=key
        )
        return z

    return normals


def _stream(key: Any) -> np.random.Generator:
    # The clock's own stream, which no normal shares.
    return np.random.default_rng(np.random.SeedSequence([int(key[0]), int(key[1]), _CLOCK_STREAM]))
