r"""Paths of linear steps in plain NumPy: the definition of correct.

.. math::
    X_{n+1} = E_n X_n + L_n z_n \quad\text{(dense)}, \qquad
    y_{n+1} = \rho_n \circ y_n + \sigma_n \circ z_n \quad\text{(decoupled)},

and with momentum :math:`u_n = M x_n + L z_n`, :math:`x_{n+1} = x_n + b v_n + r u_n`,
:math:`v_{n+1} = \mu v_n + u_n`.

Normal ``i`` of chain ``c`` at step ``n`` comes from the ARS block
``(i, n // lanes, c, purpose)``, which serves as many consecutive steps as it gives normals: two in
double precision, four in single.  It depends neither on how many chains run together nor on the
engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.backends.lane_normals_reference import ars_normals_reference, ars_singles_reference
from fracsde.backends.normals import philox_normals_reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fracsde._typing import FloatArray, IntArray

__all__ = [
    "PURPOSE_SINGLE",
    "PURPOSE_START",
    "PURPOSE_STEP",
    "decoupled_paths",
    "dense_paths",
    "momentum_paths",
    "standard_normals",
    "step_normals",
]

PURPOSE_START, PURPOSE_STEP, PURPOSE_SINGLE = 0, 1, 2

Key = tuple[np.uint32, np.uint32]


def standard_normals(chains: int, columns: int, *, step: int, purpose: int, key: Key) -> FloatArray:
    """Return the normals of all chains at one step.

    Parameters
    ----------
    chains, columns : int
        Number of chains, and of normals for each.
    step : int
        The step, counted from 0.
    purpose : int
        What they are for, so that different uses never share a number.
    key : two uint32
        From :func:`fracsde.backends.philox.seed_key`.

    Returns
    -------
    (chains, columns) float64
    """
    pairs = (columns + 1) // 2
    counter = np.empty((chains, pairs, 4), dtype=np.uint32)
    counter[..., 0] = np.arange(pairs)
    counter[..., 1] = step
    counter[..., 2] = np.arange(chains)[:, None]
    counter[..., 3] = purpose
    both: FloatArray = philox_normals_reference(counter, key)
    return both.reshape(chains, 2 * pairs)[:, :columns]


def step_normals(
    chains: int, columns: int, *, step: int, key: Key, single: bool = False
) -> FloatArray:
    """Return the normals that drive one step of all chains.

    Parameters
    ----------
    chains, columns : int
        Number of chains, and of normals for each.
    step : int
        The step, counted from 0.
    key : two uint32
        From :func:`fracsde.backends.philox.seed_key`.
    single : bool
        Whether the path is in single precision.

    Returns
    -------
    (chains, columns) float64
    """
    lanes = 4 if single else 2
    counter = np.empty((chains, columns, 4), dtype=np.uint32)
    counter[..., 0] = np.arange(columns)
    counter[..., 1] = step // lanes
    counter[..., 2] = np.arange(chains)[:, None]
    counter[..., 3] = PURPOSE_SINGLE if single else PURPOSE_STEP
    every = (ars_singles_reference if single else ars_normals_reference)(counter, key)
    return every[..., step % lanes]


def dense_paths(
    start: FloatArray,
    transition: FloatArray,
    factor: FloatArray,
    which: IntArray,
    slot: IntArray,
    observed: IntArray,
    mean: FloatArray,
    out: NDArray[Any],
    key: Key,
) -> None:
    """Iterate dense steps and record the observed coordinates.

    Parameters
    ----------
    start : (chain, d) float64
        States before the first step, relative to the mean.
    transition : (g, d, d) float64
        ``E`` of each kind of step.
    factor : (g, d, r) float64
        ``L`` of each kind of step.
    which : (n,) int64
        The kind of each step.
    slot : (n,) int64
        The draw that each step ends in, -1 where it is not recorded.
    observed : (k,) int64
        Coordinates to record.
    mean : (k,) float64
        Added to the record.
    out : (chain, draw, k) float64 or float32
        Written at the recorded draws; its precision is that of the steps.
    key : two uint32
        Key of the normals.
    """
    X, E, L = (np.asarray(array, dtype=out.dtype) for array in (start, transition, factor))
    for step, kind in enumerate(which):
        z = step_normals(len(X), L.shape[2], step=step, key=key, single=out.itemsize == 4)
        X = X @ E[kind].T + z.astype(out.dtype) @ L[kind].T
        if slot[step] >= 0:
            out[:, slot[step]] = X[:, observed] + mean


def momentum_paths(
    start: FloatArray,
    pull: FloatArray,
    factor: FloatArray,
    rule: FloatArray,
    slot: IntArray,
    observed: IntArray,
    mean: FloatArray,
    out: NDArray[Any],
    key: Key,
) -> None:
    """Iterate equal steps of positions and velocities and record the observed coordinates.

    Parameters
    ----------
    start : (chain, 2 d) float64
        Positions, relative to their mean, and velocities before the first step.
    pull : (d, d) float64
        ``M``.
    factor : (d, r) float64
        ``L``.
    rule : (3,) float64
        ``b``, ``r`` and ``mu``.
    slot, observed, mean, out, key
        As for :func:`dense_paths`.
    """
    x, v = np.split(np.asarray(start, dtype=out.dtype), 2, axis=1)
    M, L, (b, r, mu) = (np.asarray(array, dtype=out.dtype) for array in (pull, factor, rule))
    for step, draw in enumerate(slot):
        z = step_normals(len(x), L.shape[1], step=step, key=key, single=out.itemsize == 4)
        u = x @ M.T + z.astype(out.dtype) @ L.T
        x, v = x + b * v + r * u, mu * v + u
        if draw >= 0:
            out[:, draw] = np.concatenate([x, v], axis=1)[:, observed] + mean


def decoupled_paths(
    start: FloatArray,
    decay: FloatArray,
    scale: FloatArray,
    which: IntArray,
    slot: IntArray,
    turn: FloatArray | None,
    mean: FloatArray,
    out: NDArray[Any],
    key: Key,
) -> None:
    """Iterate independent scalar steps and record them, turned or not.

    Parameters
    ----------
    start : (chain, d) float64
        States before the first step.
    decay, scale : (g, d) float64
        Factor and standard deviation of each kind of step.
    which, slot : (n,) int64
        As for :func:`dense_paths`.
    turn : (k, d) float64 or None
        Matrix from states to recorded coordinates; None where they are the same.
    mean : (k,) float64
        Added to the record.
    out : (chain, draw, k) float64 or float32
        Written at the recorded draws; its precision is that of the steps.
    key : two uint32
        Key of the normals.
    """
    y, rho, sigma = (np.asarray(array, dtype=out.dtype) for array in (start, decay, scale))
    for step, kind in enumerate(which):
        z = step_normals(len(y), y.shape[1], step=step, key=key, single=out.itemsize == 4)
        y = rho[kind] * y + sigma[kind] * z.astype(out.dtype)
        if slot[step] >= 0:
            out[:, slot[step]] = (y if turn is None else y @ turn.astype(out.dtype).T) + mean
