r"""Compiled passes through a network: forward, backward, and sums over examples.

With :math:`a_0 = x`, layers :math:`l = 1 \dots L`, activation :math:`\phi` and mean loss,

.. math::
    z_l = a_{l-1} W_l + b_l, \quad a_l = \phi(z_l), \quad
    \delta_L = \partial \ell / \partial z_L, \quad
    \delta_{l} = \phi'(z_l) \circ (\delta_{l+1} W_{l+1}^T), \quad
    \partial \ell / \partial W_l = a_{l-1}^T \delta_l .

Rows are examples.  Products of matrices are BLAS calls; the loops over entries (bias,
activation, softmax) use an exponential made of additions and multiplications, which compiles
to vector instructions where a library call per entry would not.  Everything works on blocks of
examples that stay in cache.  Second derivatives are in :mod:`fracsde.networks.curvature`, the
training loop in :mod:`fracsde.networks.stepping`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from fracsde._compiled import njit

if TYPE_CHECKING:
    from fracsde._typing import FloatArray, IntArray

__all__ = ["CROSS_ENTROPY", "IDENTITY", "RELU", "SQUARED_ERROR", "TANH", "Plan"]

TANH, RELU, IDENTITY = 0, 1, 2
CROSS_ENTROPY, SQUARED_ERROR = 0, 1

# Rows per block of a sum over all examples: activations of a block stay in second-level cache.
BLOCK = 256

_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
# Adding 1.5 * 2**52 rounds to a whole number and leaves it in the low bits.
_ROUNDER = 6755399441055744.0
_FRACTION_BITS, _EXPONENT_BIAS = np.uint64(52), np.uint64(1023)


def _inverse_factorials(terms: int) -> tuple[float, ...]:
    values = [1.0]
    for k in range(2, terms + 1):
        values.append(values[-1] / k)
    return tuple(values)


# expm1(r) / r for |r| <= log(2) / 2: fourteen terms leave less than 1e-18.
_EXPM1 = _inverse_factorials(14)


class Plan(NamedTuple):
    """What the kernels need to know about a network.

    Parameters
    ----------
    widths : (layers + 1,) int64
        Number of inputs, of each hidden layer's units, and of outputs.
    starts : (layers + 1,) int64
        Where each layer's weights start in the flat parameters, and their end.
    cells : (layers + 2,) int64
        Running sum of ``widths``: where each layer's block starts in a scratch row.
    activation, loss : int
        Codes of this module.
    bias : bool
        Whether layers have biases.
    """

    widths: IntArray
    starts: IntArray
    cells: IntArray
    activation: int
    loss: int
    bias: bool


def _float_of_bits(typingctx: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.uint64), generate


def _bits_of_float(typingctx: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.uint64))

    return types.uint64(types.float64), generate


_as_float: Any = intrinsic(_float_of_bits)
_as_bits: Any = intrinsic(_bits_of_float)

# "contract" lets products and sums fuse; it does not touch NaN or infinity.
_FUSE = {"contract"}


@njit(cache=True, error_model="numpy", fastmath=_FUSE, inline="always")
def _scale_and_expm1(x: Any) -> Any:
    # 2**k and expm1(r) with x = k log 2 + r, |r| <= log(2) / 2; NaN stays NaN in r.
    shifted = x * _LOG2E + _ROUNDER
    k = shifted - _ROUNDER
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    series = _EXPM1[13]
    for j in range(12, -1, -1):
        series = series * r + _EXPM1[j]
    return _as_float((_as_bits(shifted) + _EXPONENT_BIAS) << _FRACTION_BITS), series * r


@njit(cache=True, error_model="numpy", fastmath=_FUSE, inline="always")
def _exp_of_negative(x: Any) -> Any:
    # exp(x) for x <= 0, right to 1e-15; below -708 the smallest normal number takes over.
    scale, rest = _scale_and_expm1(-708.0 if x < -708.0 else x)
    return scale + scale * rest


@njit(cache=True, error_model="numpy", fastmath=_FUSE, inline="always")
def _tanh(x: Any) -> Any:
    # tanh |x| = E / (E + 2), E = expm1(2 |x|): no cancellation anywhere.
    size = abs(x)
    scale, rest = _scale_and_expm1(2.0 * (20.0 if size > 20.0 else size))
    e = scale * rest + (scale - 1.0)
    value = e / (e + 2.0)
    return -value if x < 0.0 else value


@njit(cache=True, error_model="numpy", fastmath=_FUSE)
def tanh_array(x: Any, out: Any) -> None:
    """Write tanh of a vector into ``out``; within 1e-15 of NumPy's, relatively."""
    for i in range(x.shape[0]):
        out[i] = _tanh(x[i])


@njit(cache=True, error_model="numpy", fastmath=_FUSE)
def exp_of_negative_array(x: Any, out: Any) -> None:
    """Write exp of a vector of non-positive numbers into ``out``."""
    for i in range(x.shape[0]):
        out[i] = _exp_of_negative(x[i])


@njit(cache=True, error_model="numpy")
def layer_block(scratch: Any, rows: Any, layer: Any, plan: Any) -> Any:
    # One layer's (rows, width) block of a scratch vector, a view.
    lo, hi = rows * plan.cells[layer], rows * plan.cells[layer + 1]
    return scratch[lo:hi].reshape((rows, plan.widths[layer]))


@njit(cache=True, error_model="numpy")
def layer_weights(w: Any, layer: Any, plan: Any) -> Any:
    # Weights (fan in, fan out) into layer ``layer + 1``, a view.
    fan_in, fan_out = plan.widths[layer], plan.widths[layer + 1]
    start = plan.starts[layer]
    return w[start : start + fan_in * fan_out].reshape((fan_in, fan_out))


@njit(cache=True, error_model="numpy")
def layer_bias(w: Any, layer: Any, plan: Any) -> Any:
    # Biases (fan out,) of layer ``layer + 1``, a view; empty without biases.
    start = plan.starts[layer] + plan.widths[layer] * plan.widths[layer + 1]
    return w[start : plan.starts[layer + 1]]


@njit(cache=True, error_model="numpy")
def multiply(a: Any, b: Any, out: Any) -> None:
    """Write the product of two matrices into ``out``; compiled once for each order of axes."""
    np.dot(a, b, out)


@njit(cache=True, error_model="numpy", fastmath=_FUSE)
def _add_bias(z: Any, bias: Any) -> None:
    for n in range(z.shape[0]):
        for j in range(z.shape[1]):
            z[n, j] += bias[j]


@njit(cache=True, error_model="numpy", fastmath=_FUSE)
def _activate(z: Any, flat: Any, activation: Any) -> None:
    if activation == TANH:
        for i in range(flat.shape[0]):
            flat[i] = _tanh(flat[i])
    elif activation == RELU:
        for i in range(flat.shape[0]):
            flat[i] = 0.0 if flat[i] < 0.0 else flat[i]


@njit(cache=True, error_model="numpy")
def forward(w: Any, acts: Any, rows: Any, plan: Any) -> None:
    """Fill the activations of every layer; block 0 of ``acts`` holds the inputs."""
    layers = plan.widths.shape[0] - 1
    for layer in range(layers):
        z = layer_block(acts, rows, layer + 1, plan)
        multiply(layer_block(acts, rows, layer, plan), layer_weights(w, layer, plan), z)
        if plan.bias:
            _add_bias(z, layer_bias(w, layer, plan))
        if layer < layers - 1:
            lo, hi = rows * plan.cells[layer + 1], rows * plan.cells[layer + 2]
            _activate(z, acts[lo:hi], plan.activation)


@njit(cache=True, error_model="numpy", fastmath=_FUSE)
def softmax_rows(z: Any, out: Any) -> None:
    """Write the softmax of each row of ``z`` into ``out``."""
    for n in range(z.shape[0]):
        top = z[n, 0]
        for k in range(1, z.shape[1]):
            top = z[n, k] if z[n, k] > top else top
        for k in range(z.shape[1]):
            out[n, k] = z[n, k] - top
    flat = out.reshape(out.size)
    for i in range(flat.shape[0]):
        flat[i] = _exp_of_negative(flat[i])
    for n in range(z.shape[0]):
        total = 0.0
        for k in range(z.shape[1]):
            total += out[n, k]
        inverse = 1.0 / total
        for k in range(z.shape[1]):
            out[n, k] *= inverse


@njit(cache=True, error_model="numpy", fastmath=_FUSE)
def output_delta(z: Any, targets: Any, delta: Any, loss: Any, scale: Any) -> None:
    """Write ``scale`` times the derivative of the loss by the outputs into ``delta``."""
    if loss == CROSS_ENTROPY:
        softmax_rows(z, delta)
        for n in range(z.shape[0]):
            for k in range(z.shape[1]):
                delta[n, k] = scale * (delta[n, k] - targets[n, k])
    else:
        for n in range(z.shape[0]):
            for k in range(z.shape[1]):
                delta[n, k] = scale * (z[n, k] - targets[n, k])


@njit(cache=True, error_model="numpy", fastmath=_FUSE)
def times_slope(delta: Any, a: Any, activation: Any) -> None:
    """Multiply ``delta`` by the slope of the activation, read off its value ``a``."""
    if activation == TANH:
        for i in range(a.shape[0]):
            delta[i] *= 1.0 - a[i] * a[i]
    elif activation == RELU:
        for i in range(a.shape[0]):
            delta[i] = delta[i] if a[i] > 0.0 else 0.0


@njit(cache=True, error_model="numpy")
def backward(
    w: Any, acts: Any, deltas: Any, targets: Any, rows: Any, scale: Any, plan: Any
) -> None:
    """Fill ``deltas`` of every layer after :func:`forward`; ``scale`` multiplies the loss."""
    layers = plan.widths.shape[0] - 1
    z = layer_block(acts, rows, layers, plan)
    output_delta(z, targets, layer_block(deltas, rows, layers, plan), plan.loss, scale)
    for layer in range(layers - 1, 0, -1):
        below = layer_block(deltas, rows, layer, plan)
        above = layer_block(deltas, rows, layer + 1, plan)
        multiply(above, layer_weights(w, layer, plan).T, below)
        lo, hi = rows * plan.cells[layer], rows * plan.cells[layer + 1]
        times_slope(deltas[lo:hi], acts[lo:hi], plan.activation)


@njit(cache=True, error_model="numpy", fastmath=_FUSE)
def column_sums(delta: Any, out: Any) -> None:
    """Write the sums over rows of ``delta`` into ``out``."""
    for j in range(delta.shape[1]):
        out[j] = 0.0
    for n in range(delta.shape[0]):
        for j in range(delta.shape[1]):
            out[j] += delta[n, j]


@njit(cache=True, error_model="numpy")
def collect(acts: Any, deltas: Any, grad: Any, rows: Any, plan: Any) -> None:
    """Write the gradient, summed over rows, into ``grad``."""
    for layer in range(plan.widths.shape[0] - 1):
        delta = layer_block(deltas, rows, layer + 1, plan)
        multiply(layer_block(acts, rows, layer, plan).T, delta, layer_weights(grad, layer, plan))
        if plan.bias:
            column_sums(delta, layer_bias(grad, layer, plan))


@njit(cache=True, error_model="numpy")
def data_loss(z: Any, targets: Any, loss: Any) -> Any:
    # Summed over rows, of outputs z.
    total = 0.0
    for n in range(z.shape[0]):
        if loss == CROSS_ENTROPY:
            top = z[n, 0]
            for k in range(1, z.shape[1]):
                top = max(top, z[n, k])
            partition, inner = 0.0, 0.0
            for k in range(z.shape[1]):
                partition += np.exp(z[n, k] - top)
                inner += targets[n, k] * (z[n, k] - top)
            total += np.log(partition) - inner
        else:
            for k in range(z.shape[1]):
                total += 0.5 * (z[n, k] - targets[n, k]) ** 2
    return total


@njit(cache=True, error_model="numpy")
def loss_and_gradient_in(
    w: Any, inputs: Any, targets: Any, plan: Any, grad: Any, acts: Any, deltas: Any, part: Any
) -> Any:
    """Return the mean loss and write its gradient, in scratch memory that the caller keeps.

    ``acts`` and ``deltas`` have ``BLOCK * plan.cells[-1]`` entries, ``part`` one per parameter.

    Returns
    -------
    float
    """
    count = inputs.shape[0]
    for i in range(grad.shape[0]):
        grad[i] = 0.0
    total = 0.0
    for start in range(0, count, BLOCK):
        rows = min(BLOCK, count - start)
        goal = targets[start : start + rows]
        first = layer_block(acts, rows, 0, plan)
        for n in range(rows):
            for i in range(first.shape[1]):
                first[n, i] = inputs[start + n, i]
        forward(w, acts, rows, plan)
        total += data_loss(layer_block(acts, rows, plan.widths.shape[0] - 1, plan), goal, plan.loss)
        backward(w, acts, deltas, goal, rows, 1.0 / count, plan)
        collect(acts, deltas, part, rows, plan)
        for i in range(grad.shape[0]):
            grad[i] += part[i]
    return total / count


@njit(cache=True, error_model="numpy")
def loss_and_gradient(w: Any, inputs: Any, targets: Any, plan: Any, grad: Any) -> Any:
    """Return the mean loss of the data and write its gradient into ``grad``.

    Returns
    -------
    float
    """
    acts, deltas = np.empty(BLOCK * plan.cells[-1]), np.empty(BLOCK * plan.cells[-1])
    part = np.empty(grad.shape[0])
    return loss_and_gradient_in(w, inputs, targets, plan, grad, acts, deltas, part)


@njit(cache=True, error_model="numpy")
def _outer_products(a: Any, delta: Any, bias: Any, out: Any) -> None:
    # Each row's gradient by one layer's parameters.
    width = delta.shape[1]
    for n in range(a.shape[0]):
        for i in range(a.shape[1]):
            for j in range(width):
                out[n, i * width + j] = a[n, i] * delta[n, j]
        if bias:
            for j in range(width):
                out[n, a.shape[1] * width + j] = delta[n, j]


def per_example(w: FloatArray, inputs: FloatArray, targets: FloatArray, plan: Plan) -> FloatArray:
    """Return the gradient of each example's loss.

    Returns
    -------
    (n, P) float64
    """
    rows, cells = len(inputs), plan.cells
    acts, deltas = np.empty(rows * int(cells[-1])), np.empty(rows * int(cells[-1]))
    acts[: inputs.size] = inputs.ravel()
    forward(w, acts, rows, plan)
    backward(w, acts, deltas, targets, rows, 1.0, plan)
    out = np.empty((rows, len(w)))
    for layer, (start, end) in enumerate(pairwise(plan.starts)):
        a = acts[rows * cells[layer] : rows * cells[layer + 1]].reshape(rows, -1)
        delta = deltas[rows * cells[layer + 1] : rows * cells[layer + 2]].reshape(rows, -1)
        _outer_products(a, delta, plan.bias, out[:, start:end])
    return out
