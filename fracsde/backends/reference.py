r"""Paths of linear steps in plain NumPy: the definition of correct.

.. math::
    X_{n+1} = E_n X_n + L_n z_n \quad\text{(dense)}, \qquad
    y_{n+1} = \rho_n \circ y_n + \sigma_n \circ z_n \quad\text{(decoupled)} .

The normals of chain ``c`` at step ``n`` come from the Philox blocks
``(pair, n, c, purpose)``, two from each: they depend neither on how many chains run together nor
on the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.backends.philox import philox_normals_reference

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["PURPOSE_START", "PURPOSE_STEP", "decoupled_paths", "dense_paths", "standard_normals"]

PURPOSE_START, PURPOSE_STEP = 0, 1

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


def dense_paths(
    start: FloatArray,
    transition: FloatArray,
    factor: FloatArray,
    which: IntArray,
    slot: IntArray,
    observed: IntArray,
    out: FloatArray,
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
    out : (chain, draw, k) float64
        Written at the recorded draws.
    key : two uint32
        Key of the normals.
    """
    X = start
    for step, kind in enumerate(which):
        z = standard_normals(len(X), factor.shape[2], step=step, purpose=PURPOSE_STEP, key=key)
        X = X @ transition[kind].T + z @ factor[kind].T
        if slot[step] >= 0:
            out[:, slot[step]] = X[:, observed]


def decoupled_paths(
    start: FloatArray,
    decay: FloatArray,
    scale: FloatArray,
    which: IntArray,
    slot: IntArray,
    out: FloatArray,
    key: Key,
) -> None:
    """Iterate independent scalar steps and record all coordinates.

    Parameters
    ----------
    start : (chain, d) float64
        States before the first step.
    decay, scale : (g, d) float64
        Factor and standard deviation of each kind of step.
    which, slot : (n,) int64
        As for :func:`dense_paths`.
    out : (chain, draw, d) float64
        Written at the recorded draws.
    key : two uint32
        Key of the normals.
    """
    y = start
    for step, kind in enumerate(which):
        z = standard_normals(len(y), y.shape[1], step=step, purpose=PURPOSE_STEP, key=key)
        y = decay[kind] * y + scale[kind] * z
        if slot[step] >= 0:
            out[:, slot[step]] = y
