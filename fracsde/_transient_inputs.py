"""What callers pass to the verbs of transients: times, states and covariances, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, positive_semidefinite
from fracsde.errors import OutOfRangeError, ShapeError
from fracsde.grids import TimeGrid
from fracsde.problems.epochs import EpochRecursion
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.lyapunov.propagators import LinearProcess
    from fracsde.problems.subordinated import SubordinatedOU

__all__ = ["read_covariance", "read_epoch_directions", "read_state", "read_times"]


def read_times(
    name: str, value: TimeGrid | ArrayLike, process: LinearProcess | EpochRecursion | SubordinatedOU
) -> FloatArray:
    """Return times of a process, checked.

    Parameters
    ----------
    name : str
        The argument's name.
    value : TimeGrid or array_like [t]
        What the caller passed.
    process : LinearProcess, EpochRecursion or SubordinatedOU
        Whose times they are: those of a map are whole numbers.

    Returns
    -------
    (t,) ndarray [t]

    Raises
    ------
    OutOfRangeError
        If a time is negative, or not a whole number of steps.
    """
    given = value.times if isinstance(value, TimeGrid) else value
    times = finite_array(name, given, ndim=(0, 1)).reshape(-1)
    if np.any(times < 0.0):
        msg = f"`{name}` must not be negative, got {times.min():g}; time starts at 0"
        raise OutOfRangeError(msg)
    if isinstance(process, (LinearRecursion, EpochRecursion)) and np.any(times != np.rint(times)):
        odd = float(times[times != np.rint(times)][0])
        msg = f"`{name}` of a map must be whole numbers of steps, got {odd:g}; use the flow"
        raise OutOfRangeError(msg)
    return times


def read_epoch_directions(epochs: EpochRecursion, directions: ArrayLike | None) -> FloatArray:
    """Return the directions along which shuffled epochs are looked at.

    Parameters
    ----------
    epochs : EpochRecursion
        The recursion.
    directions : (k, p) array_like, optional
        One per column; the weights themselves where absent.

    Returns
    -------
    (k, p) float64
    """
    k = len(epochs.observed)
    if directions is None:
        return np.eye(k)
    return finite_array("directions", directions, shape=(k, None))


def read_state(name: str, process: LinearProcess, value: ArrayLike) -> FloatArray:
    """Return a whole state; velocities that were not given are zero.

    Parameters
    ----------
    name : str
        The argument's name.
    process : LinearProcess
        The process.
    value : array_like
        The weights, or the whole state.

    Returns
    -------
    (d,) ndarray

    Raises
    ------
    ShapeError
        If it is neither.
    """
    given = finite_array(name, value, ndim=(0, 1)).reshape(-1)
    size, observed = process.dimension, process.observed
    if len(given) == size:
        return given
    if len(given) == len(observed):
        state = np.zeros(size)
        state[observed] = given
        return state
    wanted = f"{len(observed)} entries"
    if size != len(observed):
        wanted += f", or {size} for the whole state"
    msg = f"`{name}` must have {wanted}, got {len(given)}"
    raise ShapeError(msg)


def read_covariance(process: LinearProcess, value: Any) -> FloatArray:
    """Return the covariance of a whole state; velocities that were not given are certain.

    Parameters
    ----------
    process : LinearProcess
        The process.
    value : array_like or 0
        Of the weights, or of the whole state; 0 where the state is certain.

    Returns
    -------
    (d, d) ndarray

    Raises
    ------
    ShapeError
        If it is neither.
    """
    size, observed = process.dimension, process.observed
    if np.ndim(value) == 0 and float(value) == 0.0:
        return np.zeros((size, size))
    given = positive_semidefinite("initial_covariance", value)
    if len(given) == size:
        return given
    if len(given) == len(observed):
        state = np.zeros((size, size))
        state[np.ix_(observed, observed)] = given
        return state
    wanted = f"{len(observed)} x {len(observed)}"
    if size != len(observed):
        wanted += f", or {size} x {size} for the whole state"
    msg = f"`initial_covariance` must be {wanted}, got {given.shape}"
    raise ShapeError(msg)
