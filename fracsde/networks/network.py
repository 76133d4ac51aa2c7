r"""A small network bound to its data: a loss function of one flat vector of parameters.

.. math::
    L(w) = \frac1N \sum_{i=1}^N \ell(f(x_i; w), y_i) + \frac\lambda2 |w|^2,
    \qquad f(x; w) = \phi(\dots\phi(x W_1 + b_1)\dots) W_L + b_L,

with :math:`\ell` the cross-entropy of the softmax of :math:`f`, or half the squared distance
:math:`\frac12 |f - y|^2`, summed over outputs.  The weight decay :math:`\lambda` acts on all
parameters, biases included.

Parameters lie layer by layer: the weights (fan in, fan out), row after row, then the biases
(fan out).  Everything is float64, exact to rounding, and a function of ``w`` alone: there is no
randomness in a loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg.blas import dsyrk

from fracsde._check import choice, finite_array, integer, real, row_numbers
from fracsde.errors import InputError, ShapeError
from fracsde.networks import kernels
from fracsde.networks.curvature import hessian_matrix, hessian_products
from fracsde.networks.data import class_rows, value_rows
from fracsde.networks.langevin import Chained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["Network"]

_ACTIVATIONS = ("tanh", "relu", "identity")
_OBJECTIVES = ("cross_entropy", "squared_error")
# Examples whose gradients are held at once when their covariance is summed.
_HELD = 4096


def _widths(hidden: Any) -> tuple[int, ...]:
    if not isinstance(hidden, Iterable):
        msg = f"`hidden` must be a sequence of layer widths, got {hidden!r}; pass ({hidden!r},)"
        raise InputError(msg)
    return tuple(integer("hidden", width, low=1) for width in hidden)


@dataclass(frozen=True, kw_only=True, eq=False)
class Network(Chained):
    """A fully connected network, its data and its objective.

    Parameters
    ----------
    inputs : (N, features) array_like
        One example per row.
    targets : (N,) int or (N, outputs) array_like
        Class labels ``0 .. classes - 1`` for the cross-entropy, real targets for the squared
        error (one axis means one output).
    hidden : sequence of int
        Units of each hidden layer; empty for none.
    activation : {"tanh", "relu", "identity"}
        Of hidden units; the slope of a ReLU at zero is taken as zero.  With the identity the
        network is linear in its inputs, and still not in its parameters.
    objective : {"cross_entropy", "squared_error"}
        Loss of one example: cross-entropy of the softmax of the outputs, or half the squared
        length of outputs minus targets.
    weight_decay : float [1 / weight**2]
        Coefficient of half the squared length of all parameters, at least 0.
    bias : bool
        Whether layers have biases.
    classes : int, optional
        Number of classes; by default the largest label plus one.

    Raises
    ------
    ShapeError
        If inputs and targets do not have as many rows, or are empty.
    InputError
        If labels are not whole numbers.
    OutOfRangeError
        If a label is negative or not below ``classes``, or a width is not positive.

    Examples
    --------
    >>> net = Network(inputs=[[0.0, 1.0], [1.0, 0.0]], targets=[0, 1], hidden=(3,))
    >>> net.parameters, net.layer_shapes
    (17, ((2, 3), (3, 2)))
    >>> bool(abs(net.loss(np.zeros(17)) - np.log(2)) < 1e-15)
    True
    """

    inputs: ArrayLike
    targets: ArrayLike
    hidden: Sequence[int] = (16,)
    activation: str = "tanh"
    objective: str = "cross_entropy"
    weight_decay: float = 0.0
    bias: bool = True
    classes: int | None = None
    _inputs: FloatArray = field(init=False, repr=False)
    _goals: FloatArray = field(init=False, repr=False)
    _plan: kernels.Plan = field(init=False, repr=False)

    def __post_init__(self) -> None:
        inputs = finite_array("inputs", self.inputs, ndim=2)
        if inputs.size == 0:
            msg = f"`inputs` must hold at least one example and one feature, got {inputs.shape}"
            raise ShapeError(msg)
        choice("activation", self.activation, _ACTIVATIONS)
        objective = choice("objective", self.objective, _OBJECTIVES)
        hidden = _widths(self.hidden)
        decay = real("weight_decay", self.weight_decay, low=0.0, closed="low")
        if objective == "cross_entropy":
            targets, goals = class_rows(self.targets, len(inputs), self.classes)
        else:
            targets, goals = value_rows(self.targets, len(inputs))
        widths = np.array([inputs.shape[1], *hidden, goals.shape[1]], dtype=np.int64)
        sizes = (widths[:-1] + (1 if self.bias else 0)) * widths[1:]
        plan = kernels.Plan(
            widths=widths,
            starts=np.concatenate([[0], np.cumsum(sizes)]),
            cells=np.concatenate([[0], np.cumsum(widths)]),
            activation=_ACTIVATIONS.index(self.activation),
            loss=_OBJECTIVES.index(objective),
            bias=bool(self.bias),
        )
        values = {"inputs": inputs, "targets": targets, "hidden": hidden, "weight_decay": decay}
        for name, value in {**values, "_inputs": inputs, "_goals": goals, "_plan": plan}.items():
            object.__setattr__(self, name, value)

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return int(self._plan.starts[-1])

    @property
    def examples(self) -> int:
        """Number of examples."""
        return len(self._inputs)

    @property
    def layer_shapes(self) -> tuple[tuple[int, int], ...]:
        """(fan in, fan out) of each layer's weights."""
        widths = [int(width) for width in self._plan.widths]
        return tuple(pairwise(widths))

    def unflatten(self, w: ArrayLike) -> tuple[tuple[FloatArray, FloatArray], ...]:
        """Split parameters into layers.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        tuple of (weights (fan in, fan out), biases (fan out,))
            One pair per layer; biases are empty in a network without.
        """
        flat = self._position(w)
        layers = []
        for (start, end), shape in zip(pairwise(self._plan.starts), self.layer_shapes, strict=True):
            split = start + shape[0] * shape[1]
            layers.append((flat[start:split].reshape(shape), flat[split:end]))
        return tuple(layers)

    def initial_parameters(self, rng: np.random.Generator) -> FloatArray:
        """Draw a start: normal weights of variance 1 / fan in, or 2 / fan in for ReLU.

        Parameters
        ----------
        rng : Generator
            Source of randomness.

        Returns
        -------
        (P,) float64 [weight]
            Biases are zero.
        """
        w = np.zeros(self.parameters)
        gain = 2.0 if self.activation == "relu" else 1.0
        for layer, (fan_in, fan_out) in enumerate(self.layer_shapes):
            last = layer == len(self.hidden)
            scale = np.sqrt((1.0 if last else gain) / fan_in)
            start = int(self._plan.starts[layer])
            w[start : start + fan_in * fan_out] = scale * rng.standard_normal(fan_in * fan_out)
        return w

    def outputs(self, w: ArrayLike, inputs: ArrayLike | None = None) -> FloatArray:
        """Return the outputs before any softmax.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.
        inputs : (n, features) array_like, optional
            Examples; the network's own by default.

        Returns
        -------
        (n, outputs) float64
        """
        x = self._inputs
        if inputs is not None:
            x = finite_array("inputs", inputs, shape=(None, x.shape[1]))
        acts = np.empty(len(x) * int(self._plan.cells[-1]))
        acts[: x.size] = x.ravel()
        kernels.forward(self._position(w), acts, len(x), self._plan)
        outputs = acts[len(x) * int(self._plan.cells[-2]) :]
        return outputs.reshape(len(x), int(self._plan.widths[-1])).copy()

    def accuracy(
        self, w: ArrayLike, inputs: ArrayLike | None = None, labels: ArrayLike | None = None
    ) -> float:
        """Share of examples whose largest output is that of their label.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.
        inputs, labels : (n, features) and (n,) array_like, optional
            Examples, given together; the network's own by default.

        Returns
        -------
        float

        Raises
        ------
        InputError
            For a squared error without labels, or if only one of inputs and labels is given.
        ShapeError
            If there is not one label per example.
        """
        if (inputs is None) != (labels is None):
            msg = "`inputs` and `labels` must be given together, or neither"
            raise InputError(msg)
        if labels is None and self.objective != "cross_entropy":
            msg = "`accuracy` needs class labels, and this network has a squared error; pass both"
            raise InputError(msg)
        found = np.argmax(self.outputs(w, inputs), axis=1)
        wanted = np.asarray(self.targets if labels is None else labels)
        if wanted.shape != found.shape:
            msg = f"`labels` must have shape {found.shape}, got {wanted.shape}"
            raise ShapeError(msg)
        return float(np.mean(found == wanted))

    def loss(self, w: ArrayLike) -> float:
        """Mean loss of the data plus weight decay.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        float
        """
        return self.loss_and_gradient(w)[0]

    def gradient(self, w: ArrayLike) -> FloatArray:
        """Gradient of :meth:`loss`.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        (P,) float64 [1 / weight]
        """
        return self.loss_and_gradient(w)[1]

    def loss_and_gradient(self, w: ArrayLike) -> tuple[float, FloatArray]:
        """Loss and gradient for the price of the gradient.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        tuple of float and (P,) float64
        """
        flat, grad = self._position(w), np.empty(self.parameters)
        value = kernels.loss_and_gradient(flat, self._inputs, self._goals, self._plan, grad)
        decay = float(self.weight_decay)
        return float(value) + 0.5 * decay * float(flat @ flat), grad + decay * flat

    def per_example_gradients(self, w: ArrayLike, examples: ArrayLike | None = None) -> FloatArray:
        """Gradient of each example's loss, without weight decay, which is no example's own.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.
        examples : (n,) array_like of int, optional
            Rows of the data; all of them if not given.

        Returns
        -------
        (n, P) float64 [1 / weight]
            The mean over all plus ``weight_decay * w`` is :meth:`gradient`.
        """
        inputs, goals = self._inputs, self._goals
        if examples is not None:
            rows = row_numbers("examples", examples, self.examples)
            inputs, goals = inputs[rows], goals[rows]
        return kernels.per_example(self._position(w), inputs, goals, self._plan)

    def gradient_noise(self, w: ArrayLike) -> FloatArray:
        """Covariance of one example's gradient, ``C``.

        Centred, with 1 / N: the law of an example drawn uniformly from the data.  A batch of
        ``B`` drawn with replacement has a gradient of covariance ``C / B``.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        (P, P) float64 [1 / weight**2]
            Symmetric, positive semi-definite.
        """
        flat, grad = self._position(w), np.empty(self.parameters)
        kernels.loss_and_gradient(flat, self._inputs, self._goals, self._plan, grad)
        total = np.zeros((self.parameters, self.parameters), order="F")
        for start in range(0, self.examples, _HELD):
            x, goals = self._inputs[start : start + _HELD], self._goals[start : start + _HELD]
            part = kernels.per_example(flat, x, goals, self._plan) - grad
            total = dsyrk(1.0 / self.examples, part.T, beta=1.0, c=total, overwrite_c=True)
        return np.ascontiguousarray(np.triu(total) + np.triu(total, 1).T)

    def hessian_vector_product(self, w: ArrayLike, v: ArrayLike) -> FloatArray:
        """Hessian of :meth:`loss` times one vector or several columns.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.
        v : (P,) or (P, k) array_like
            Vectors.

        Returns
        -------
        (P,) or (P, k) float64
            Exact, at about the price of two gradients per vector.

        Raises
        ------
        ShapeError
            If the vectors do not have one entry per parameter.
        """
        flat = self._position(w)
        vectors = finite_array("v", v, ndim=(1, 2))
        if vectors.shape[0] != self.parameters:
            msg = f"`v` must have {self.parameters} rows, one per parameter, got {vectors.shape}"
            raise ShapeError(msg)
        rows = np.array(np.atleast_2d(vectors.T), order="C")
        out = hessian_products(flat, rows, self._inputs, self._goals, self._plan)
        out += self.weight_decay * rows
        return np.ascontiguousarray(out.T.reshape(vectors.shape))

    def hessian(self, w: ArrayLike) -> FloatArray:
        """Dense Hessian of :meth:`loss`.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        (P, P) float64 [1 / weight**2]
            Exact and exactly symmetric.
        """
        out = hessian_matrix(self._position(w), self._inputs, self._goals, self._plan)
        out[np.diag_indices_from(out)] += self.weight_decay
        return out

    def _position(self, w: Any) -> FloatArray:
        remedy = "pass one flat vector of all parameters"
        flat = finite_array("w", w, shape=(self.parameters,), remedy=remedy)
        # A fresh copy; kernels are compiled once, for writable arrays, as training needs them.
        flat.flags.writeable = True
        return flat
