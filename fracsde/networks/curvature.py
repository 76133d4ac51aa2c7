r"""Second derivatives of the mean loss: products with a vector, and the dense matrix.

A tangent :math:`\dot z` pushed through the passes of :mod:`fracsde.networks.kernels` gives

.. math::
    \dot a_l = \phi'(z_l) \circ \dot z_l, \qquad
    \dot z_{l+1} = \dot a_l W_{l+1} + a_l \dot W_{l+1} + \dot b_{l+1}, \qquad
    \dot \delta_L = \ell''(z_L)\, \dot z_L,

.. math::
    \dot \delta_l = \phi'(z_l) \circ (\dot \delta_{l+1} W_{l+1}^T + \delta_{l+1} \dot W_{l+1}^T)
                  + \phi''(z_l) \circ \dot z_l \circ (\delta_{l+1} W_{l+1}^T),
    \qquad
    (H \dot w)_l = \dot a_{l-1}^T \delta_l + a_{l-1}^T \dot \delta_l .

The product with a vector [Pearlmutter1994]_ is exact and costs about two gradients.  The dense
matrix needs no product per parameter: all weights into one unit move its :math:`z` along
:math:`a_{l-1}`, so one tangent pass per *unit*, example by example, followed by one product with
:math:`a_{l-1}`, gives the rows of all weights into that unit.  Both hold the whole second
derivative, the Gauss-Newton part and the part with :math:`\phi''`; a ReLU has
:math:`\phi'' = 0` wherever it has a derivative.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._compiled import njit
from fracsde.networks.kernels import (
    BLOCK,
    CROSS_ENTROPY,
    RELU,
    TANH,
    backward,
    column_sums,
    forward,
    layer_bias,
    layer_block,
    layer_weights,
    multiply,
    softmax_rows,
    times_slope,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fracsde._typing import FloatArray
    from fracsde.networks.kernels import Plan

__all__ = ["hessian_matrix", "hessian_products"]


@njit(cache=True, error_model="numpy")
def _tangent_delta(delta: Any, a: Any, dz: Any, back: Any, activation: Any) -> None:
    # delta arrives as the sum inside phi'(z) o (...) and leaves as the tangent of delta.
    if activation == TANH:
        for i in range(a.shape[0]):
            slope = 1.0 - a[i] * a[i]
            delta[i] = slope * (delta[i] - 2.0 * a[i] * dz[i] * back[i])
    elif activation == RELU:
        for i in range(a.shape[0]):
            delta[i] = delta[i] if a[i] > 0.0 else 0.0


@njit(cache=True, error_model="numpy")
def _tangent_output(z: Any, dz: Any, out: Any, loss: Any, scale: Any) -> None:
    # scale times the second derivative of the loss by the outputs, times dz.
    if loss == CROSS_ENTROPY:
        softmax_rows(z, out)
        for n in range(z.shape[0]):
            mean = 0.0
            for k in range(z.shape[1]):
                mean += out[n, k] * dz[n, k]
            for k in range(z.shape[1]):
                out[n, k] *= scale * (dz[n, k] - mean)
    else:
        for n in range(z.shape[0]):
            for k in range(z.shape[1]):
                out[n, k] = scale * dz[n, k]


@njit(cache=True, error_model="numpy")
def _prepare(
    w: Any, x: Any, goal: Any, scale: Any, plan: Any, acts: Any, deltas: Any, backs: Any
) -> None:
    # Both passes, and delta W^T before the slope in ``backs``.
    rows = x.shape[0]
    first = layer_block(acts, rows, 0, plan)
    for n in range(rows):
        for i in range(x.shape[1]):
            first[n, i] = x[n, i]
    forward(w, acts, rows, plan)
    backward(w, acts, deltas, goal, rows, scale, plan)
    for layer in range(1, plan.widths.shape[0] - 1):
        above = layer_block(deltas, rows, layer + 1, plan)
        multiply(above, layer_weights(w, layer, plan).T, layer_block(backs, rows, layer, plan))


@njit(cache=True, error_model="numpy")
def _slope_copy(dz: Any, a: Any, out: Any, activation: Any) -> None:
    for i in range(a.shape[0]):
        out[i] = dz[i]
    times_slope(out, a, activation)


@njit(cache=True, error_model="numpy")
def _one_product(
    w: Any,
    v: Any,
    acts: Any,
    deltas: Any,
    backs: Any,
    rows: Any,
    scale: Any,
    plan: Any,
    dz: Any,
    da: Any,
    dd: Any,
    spare: Any,
    out: Any,
) -> None:
    # Add the product with v of one block's second derivative to out.
    layers, cells = plan.widths.shape[0] - 1, plan.cells
    part = np.empty(out.shape[0])
    for i in range(rows * cells[1]):
        da[i] = 0.0
    for layer in range(layers):
        z = layer_block(dz, rows, layer + 1, plan)
        more = layer_block(spare, rows, layer + 1, plan)
        multiply(layer_block(acts, rows, layer, plan), layer_weights(v, layer, plan), z)
        multiply(layer_block(da, rows, layer, plan), layer_weights(w, layer, plan), more)
        bias = layer_bias(v, layer, plan)
        for n in range(rows):
            for j in range(z.shape[1]):
                z[n, j] += more[n, j] + (bias[j] if plan.bias else 0.0)
        if layer < layers - 1:
            lo, hi = rows * cells[layer + 1], rows * cells[layer + 2]
            _slope_copy(dz[lo:hi], acts[lo:hi], da[lo:hi], plan.activation)
    outputs = layer_block(acts, rows, layers, plan)
    top = layer_block(dd, rows, layers, plan)
    _tangent_output(outputs, layer_block(dz, rows, layers, plan), top, plan.loss, scale)
    for layer in range(layers - 1, 0, -1):
        lo, hi = rows * cells[layer], rows * cells[layer + 1]
        below, more = layer_block(dd, rows, layer, plan), layer_block(spare, rows, layer, plan)
        multiply(layer_block(dd, rows, layer + 1, plan), layer_weights(w, layer, plan).T, below)
        multiply(layer_block(deltas, rows, layer + 1, plan), layer_weights(v, layer, plan).T, more)
        for i in range(lo, hi):
            dd[i] += spare[i]
        _tangent_delta(dd[lo:hi], acts[lo:hi], dz[lo:hi], backs[lo:hi], plan.activation)
    for layer in range(layers):
        down, tangent = (
            layer_block(deltas, rows, layer + 1, plan),
            layer_block(dd, rows, layer + 1, plan),
        )
        multiply(layer_block(acts, rows, layer, plan).T, tangent, layer_weights(part, layer, plan))
        if plan.bias:
            column_sums(tangent, layer_bias(part, layer, plan))
        for i in range(plan.starts[layer], plan.starts[layer + 1]):
            out[i] += part[i]
        # The biases' share of a_dot^T delta is zero: their input is the constant one.
        weights = plan.widths[layer] * plan.widths[layer + 1]
        multiply(layer_block(da, rows, layer, plan).T, down, layer_weights(part, layer, plan))
        for i in range(plan.starts[layer], plan.starts[layer] + weights):
            out[i] += part[i]


def _scratch(plan: Plan, arrays: int) -> Iterator[FloatArray]:
    return (np.empty(BLOCK * int(plan.cells[-1])) for _ in range(arrays))


def _blocks(inputs: FloatArray, targets: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    for start in range(0, len(inputs), BLOCK):
        yield inputs[start : start + BLOCK], targets[start : start + BLOCK]


def hessian_products(
    w: FloatArray, vectors: FloatArray, inputs: FloatArray, targets: FloatArray, plan: Plan
) -> FloatArray:
    """Multiply the Hessian of the mean data loss with each row of ``vectors``.

    Returns
    -------
    (k, P) float64
    """
    out = np.zeros_like(vectors)
    acts, deltas, backs, dz, da, dd, spare = _scratch(plan, 7)
    scale = 1.0 / len(inputs)
    for x, goal in _blocks(inputs, targets):
        _prepare(w, x, goal, scale, plan, acts, deltas, backs)
        for k in range(len(vectors)):
            _one_product(
                w, vectors[k], acts, deltas, backs, len(x), scale, plan, dz, da, dd, spare, out[k]
            )
    return out


@njit(cache=True, error_model="numpy")
def _unit_tangent(
    w: Any,
    layer: Any,
    unit: Any,
    acts: Any,
    backs: Any,
    rows: Any,
    scale: Any,
    plan: Any,
    dz: Any,
    da: Any,
    dd: Any,
) -> None:
    # Tangents of all activations and deltas above ``layer`` when z of one unit moves by one.
    layers, cells = plan.widths.shape[0] - 1, plan.cells
    for i in range(rows * cells[layer + 1]):
        da[i] = 0.0
    z = layer_block(dz, rows, layer + 1, plan)
    for n in range(rows):
        for j in range(z.shape[1]):
            z[n, j] = 1.0 if j == unit else 0.0
    for m in range(layer + 1, layers):
        lo, hi = rows * cells[m], rows * cells[m + 1]
        _slope_copy(dz[lo:hi], acts[lo:hi], da[lo:hi], plan.activation)
        multiply(
            layer_block(da, rows, m, plan),
            layer_weights(w, m, plan),
            layer_block(dz, rows, m + 1, plan),
        )
    outputs, top = layer_block(acts, rows, layers, plan), layer_block(dd, rows, layers, plan)
    _tangent_output(outputs, layer_block(dz, rows, layers, plan), top, plan.loss, scale)
    for m in range(layers - 1, layer, -1):
        lo, hi = rows * cells[m], rows * cells[m + 1]
        above, below = layer_block(dd, rows, m + 1, plan), layer_block(dd, rows, m, plan)
        multiply(above, layer_weights(w, m, plan).T, below)
        _tangent_delta(dd[lo:hi], acts[lo:hi], dz[lo:hi], backs[lo:hi], plan.activation)


@njit(cache=True, error_model="numpy")
def _moved_gradients(
    a: Any, da: Any, delta: Any, dd: Any, bias: Any, moving: Any, out: Any
) -> None:
    # Tangent of each example's gradient by one layer's parameters, biases as a last row.
    width = delta.shape[1]
    for n in range(a.shape[0]):
        for i in range(a.shape[1]):
            for j in range(width):
                out[n, i * width + j] = a[n, i] * dd[n, j]
        if moving:
            for i in range(a.shape[1]):
                for j in range(width):
                    out[n, i * width + j] += da[n, i] * delta[n, j]
        if bias:
            for j in range(width):
                out[n, a.shape[1] * width + j] = dd[n, j]


@njit(cache=True, error_model="numpy")
def _unit_rows(
    w: Any,
    layer: Any,
    unit: Any,
    below: Any,
    acts: Any,
    deltas: Any,
    backs: Any,
    scale: Any,
    plan: Any,
    dz: Any,
    da: Any,
    dd: Any,
    out: Any,
) -> None:
    # Add one block's share of the rows of all weights into one unit, from its layer's on.
    rows, starts, units = below.shape[0], plan.starts, plan.widths[layer + 1]
    _unit_tangent(w, layer, unit, acts, backs, rows, scale, plan, dz, da, dd)
    for m in range(layer, plan.widths.shape[0] - 1):
        moved = np.empty((rows, starts[m + 1] - starts[m]))
        _moved_gradients(
            layer_block(acts, rows, m, plan),
            layer_block(da, rows, m, plan),
            layer_block(deltas, rows, m + 1, plan),
            layer_block(dd, rows, m + 1, plan),
            plan.bias,
            m > layer,
            moved,
        )
        product = np.empty((below.shape[1], moved.shape[1]))
        multiply(below.T, moved, product)
        for i in range(product.shape[0]):
            row = starts[layer] + i * units + unit
            for j in range(product.shape[1]):
                out[row, starts[m] + j] += product[i, j]


def hessian_matrix(
    w: FloatArray, inputs: FloatArray, targets: FloatArray, plan: Plan
) -> FloatArray:
    """Return the Hessian of the mean data loss.

    Returns
    -------
    (P, P) float64
        Exactly symmetric.
    """
    out = np.zeros((len(w), len(w)))
    acts, deltas, backs, dz, da, dd = _scratch(plan, 6)
    scale = 1.0 / len(inputs)
    for x, goal in _blocks(inputs, targets):
        _prepare(w, x, goal, scale, plan, acts, deltas, backs)
        for layer, units in enumerate(plan.widths[1:]):
            # The inputs of the layer, and the constant one that multiplies its biases.
            below = np.ones((len(x), int(plan.widths[layer]) + plan.bias))
            lo, hi = len(x) * plan.cells[layer], len(x) * plan.cells[layer + 1]
            below[:, : plan.widths[layer]] = acts[lo:hi].reshape(len(x), -1)
            for unit in range(units):
                _unit_rows(w, layer, unit, below, acts, deltas, backs, scale, plan, dz, da, dd, out)
    for start, end in pairwise(plan.starts):
        block = out[start:end, start:end]
        out[start:end, start:end] = 0.5 * (block + block.T)
        out[end:, start:end] = out[start:end, end:].T
    return out
