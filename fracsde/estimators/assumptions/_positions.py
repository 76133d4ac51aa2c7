"""A few recorded positions, spread evenly, at which a loss may be asked for its curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from fracsde._check import finite_array, integer, vector
from fracsde.errors import InputError, RecordError, ShapeError
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["CurvedLoss", "NoisyLoss", "directions_of", "minimum_of", "positions_of"]

DIRECTIONS = 4


class CurvedLoss(Protocol):
    """A loss that gives the product of its Hessian with a vector."""

    @property
    def parameters(self) -> int:
        """Number of weights."""
        ...

    def hessian_vector_product(self, w: FloatArray, v: FloatArray) -> FloatArray:
        """Return the Hessian at ``w`` times ``v``, (P,) or (P, k)."""
        ...


class NoisyLoss(Protocol):
    """A loss that gives the gradient of each of its examples."""

    @property
    def parameters(self) -> int:
        """Number of weights."""
        ...

    def per_example_gradients(self, w: FloatArray) -> FloatArray:
        """Return the gradients (example, P) at ``w``."""
        ...


def positions_of(run: Trajectory, loss: object, positions: int) -> Trajectory:
    """Return about ``positions`` recorded positions, evenly spread over chains and draws.

    Returns
    -------
    Trajectory

    Raises
    ------
    InputError
        If ``loss`` has no ``parameters``.
    ShapeError
        If the record does not hold whole weight vectors of the loss.
    """
    wanted = integer("positions", positions, low=2)
    size = getattr(loss, "parameters", None)
    if not isinstance(size, (int, np.integer)):
        msg = (
            "`loss` must be a loss with `parameters`, such as fracsde.networks.Network or "
            f"fracsde.recording.torch.TorchLoss, got {type(loss).__name__}"
        )
        raise InputError(msg)
    if run.dimension != size:
        msg = (
            f"a loss of {size} weights can only be asked at whole weight vectors, and the record "
            f"holds {run.dimension} coordinates; record with observe=Full()"
        )
        raise ShapeError(msg)
    per_chain = min(run.draws, max(1, -(-wanted // run.chains)))
    stride = max(1, run.draws // per_chain)
    kept = (run.draws - 1) - stride * np.arange(per_chain)[::-1]
    return Trajectory(values=run.values[:, kept], times=run.times[kept], names=run.names)


def minimum_of(run: Trajectory, minimum: ArrayLike | None) -> FloatArray:
    """Return the minimum, or the mean of the record where it is not known.

    Returns
    -------
    (coordinate,) ndarray of float64 [x]
    """
    if minimum is None:
        return np.asarray(run.values.mean(axis=(0, 1)), dtype=np.float64)
    return vector("minimum", minimum, length=run.dimension)


def directions_of(
    run: Trajectory, directions: ArrayLike | None, *, most: int = DIRECTIONS
) -> FloatArray:
    """Return the given directions with unit length, or the leading principal ones of the record.

    Returns
    -------
    (coordinate, k) ndarray of float64 [1]

    Raises
    ------
    RecordError
        If the record does not vary.
    ShapeError
        If a direction has no length.
    """
    if directions is not None:
        columns = finite_array("directions", directions, shape=(run.dimension, None))
        length = np.linalg.norm(columns, axis=0)
        if columns.shape[1] == 0 or np.any(length == 0):
            msg = "`directions` must hold at least one column, and none of length zero"
            raise ShapeError(msg)
        return np.asarray(columns / length, dtype=np.float64)
    stride = max(1, run.draws * run.chains // 2048)
    rows = run.values[:, ::stride].reshape(-1, run.dimension)
    rows = rows - rows.mean(axis=0)
    _, sizes, vectors = np.linalg.svd(rows, full_matrices=False)
    kept = min(most, int(np.sum(sizes > 1e-10 * sizes[0])) if sizes[0] > 0 else 0)
    if kept == 0:
        msg = "the record does not vary, so it has no principal directions; record longer"
        raise RecordError(msg)
    return np.ascontiguousarray(vectors[:kept].T)
