r"""The mean loss of a torch model on given data, as a function of one flat vector.

.. math::
    L(w) = \frac1N \sum_{i=1}^N \ell(f(x_i; w), y_i) + \frac\lambda2 |w|^2,

with the same methods as :class:`fracsde.networks.Network`: NumPy float64 in and out, whatever the
device and the precision of the model.  Parameters lie one after another in the order of
``model.parameters()``, each row by row, tied ones once and frozen ones not at all; that is
``torch.nn.utils.parameters_to_vector`` of the trained ones.  The weight decay acts on all of them.

Derivatives are those of ``torch.func``: products with the Hessian by a tangent through the
gradient, mapped over columns, and gradients of examples by mapping the gradient of one.  The
package ``curvlinops`` serves products as quickly (``benchmarks/bench_curvature.py``), but has no
gradients of single examples: its noise is their second moment, which is not their covariance away
from a minimum, and it brings packages that the rest does not need.

The model is copied where it is.  Nothing here changes it, and training it further does not change
the loss.  Passes are computed there, in single precision at least, whatever autocast says; sums
over passes are carried on the host in double precision, and come to it many in one transfer.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fracsde._check import finite_array, integer, real, row_numbers
from fracsde.errors import InputError, ShapeError
from fracsde.recording.torch.chains import ManyPositions
from fracsde.recording.torch.devices import fetched
from fracsde.recording.torch.functional import FlatModel
from fracsde.recording.torch.tensors import copy_of, data_of, precision_of, unwrapped
from fracsde.recording.torch.trials import (
    activations,
    choose_route,
    first_rows,
    refuse_half,
    refuse_model,
    refuse_reduction,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.recording.torch.functional import Route

__all__ = ["TorchLoss"]

_ROWS = 1 << 18  # activations of the examples of one pass
_ACTIVE = 1 << 21  # the same, times the columns that go with it: near the cache
_HELD = 1 << 24  # entries of gradients of examples that a pass returns
_COLUMNS = 64  # columns of one pass at most


@dataclass(frozen=True, eq=False)
class TorchLoss(ManyPositions):
    """A torch model, a loss function and data: a loss of one flat vector.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode as far as it matters: a module that draws random numbers or uses the
        statistics of a batch is refused by name.
    loss_function : callable
        ``(outputs, targets) -> scalar``, the *mean* over examples, such as
        ``torch.nn.functional.cross_entropy`` or ``torch.nn.MSELoss()``.
    inputs : tensor, array_like, or tuple of these
        One example per row; a tuple is passed as several arguments.  What is not where the model
        is goes there, all of it at once up to 256 MiB, else pass by pass.  For a model that is
        spread over several devices it stays where it is, as in training.
    targets : tensor or array_like
        One row per example.
    weight_decay : float [loss / weight^2]
        Coefficient of half the squared length of all trained parameters.
    chunk : int, optional
        Examples of one pass; by default as many as keep the activations near a processor's
        cache.  The memory of every method is proportional to it, and its value does not
        depend on it beyond rounding.
    dtype : torch.dtype, optional
        Precision to compute in, for example ``torch.float64`` for a model trained in float32.
        By default each parameter's own; ``torch.float32`` for all if one is in half precision.

    Raises
    ------
    InputError
        If the model is in a mode in which its loss is no function of the weights, the loss
        function is no mean over examples, or the model does not run on the data.
    ShapeError
        If inputs and targets do not have as many rows.
    UnsupportedError
        If parameters are complex, the model cannot be copied, its device lacks the precision, or it
        rounds to half precision inside.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 3)
    >>> loss = TorchLoss(model, torch.nn.functional.cross_entropy, torch.eye(2), [0, 2],
    ...                  weight_decay=0.1, dtype=torch.float64)
    >>> w = loss.initial_parameters
    >>> loss.parameters, loss.examples, loss.hessian(w).shape, loss.route
    (9, 2, (9, 9), 'torch.func')
    """

    model: Any = field(repr=False)
    loss_function: Callable[..., Any]
    inputs: Any = field(repr=False)
    targets: Any = field(repr=False)
    _: KW_ONLY
    weight_decay: float = 0.0
    chunk: int | None = None
    dtype: torch.dtype | None = None
    _flat: FlatModel = field(init=False, repr=False)
    _start: FloatArray = field(init=False, repr=False)
    _inputs: tuple[torch.Tensor, ...] = field(init=False, repr=False)
    _targets: torch.Tensor = field(init=False, repr=False)
    _route: Route = field(init=False, repr=False)
    _active: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.model, torch.nn.Module):
            msg = f"`model` must be a torch.nn.Module, got {type(self.model).__name__}"
            raise InputError(msg)
        if not callable(self.loss_function):
            kind = type(self.loss_function).__name__  # type: ignore[unreachable]
            msg = f"`loss_function` must be a function, got {kind}"
            raise InputError(msg)
        decay = real("weight_decay", self.weight_decay, low=0.0, closed="low")
        own = unwrapped(self.model)
        refuse_model(own)
        dtype = precision_of(own, self.dtype)
        flat = FlatModel(copy_of(own, dtype), self.loss_function)
        inputs, targets = data_of(self.inputs, self.targets, flat, dtype)
        start = flat.flat().numpy()
        start.flags.writeable = False
        w = flat.point(start)
        x, y = first_rows(flat, inputs, targets)
        refuse_half(flat, w, x, y)
        refuse_reduction(flat, w, x, y)
        active = activations(flat, w, x)
        chunk = max(1, _ROWS // active)
        if self.chunk is not None:
            chunk = integer("chunk", self.chunk, low=1)
        values = {"weight_decay": decay, "chunk": min(chunk, len(targets)), "_flat": flat}
        values |= {"_start": start, "_inputs": inputs, "_targets": targets, "_active": active}
        values |= {"_route": choose_route(flat, w, x, y)}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return self._flat.parameters

    @property
    def examples(self) -> int:
        """Number of examples."""
        return len(self._targets)

    @property
    def initial_parameters(self) -> FloatArray:
        """The model's parameters when the loss was made, ``(P,) float64 [weight]``."""
        return self._start

    @property
    def route(self) -> str:
        """How second derivatives are computed: ``"torch.func"``, or ``"autograd"``, slower."""
        return self._route.name

    def unflatten(self, w: ArrayLike) -> dict[str, FloatArray]:
        """Split parameters by name.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        dict of str to ndarray
            In the model's shapes.
        """
        parts = np.split(self._vector(w), np.cumsum(self._flat.sizes)[:-1])
        named = zip(self._flat.names, parts, self._flat.shapes, strict=True)
        return {name: part.reshape(shape) for name, part, shape in named}

    def outputs(self, w: ArrayLike) -> FloatArray:
        """Return the model's outputs for all examples.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        (N, ...) float64
        """
        point = self._point(w)
        with torch.no_grad():
            parts = fetched(self._flat.outputs(point, x) for x, _ in self._passes())
            return np.concatenate(list(parts))

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
        point = self._point(w)
        with torch.no_grad():
            total = self._mean(lambda x, y: self._flat.loss(point, x, y).reshape(1), np.zeros(1))
        return float(total[0]) + self._decay(w)

    def gradient(self, w: ArrayLike) -> FloatArray:
        """Gradient of :meth:`loss`.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        (P,) float64 [loss / weight]
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
        point = self._point(w)

        def both(x: Any, y: torch.Tensor) -> torch.Tensor:
            value, slope = self._flat.loss_and_gradient(point, x, y)
            return torch.cat([value.reshape(1).to(slope.device), slope])

        total = self._mean(both, np.append(0.0, self.weight_decay * self._vector(w)))
        return float(total[0]) + self._decay(w), total[1:]

    def per_example_gradients(self, w: ArrayLike, examples: ArrayLike | None = None) -> FloatArray:
        """Gradient of each example's loss, without weight decay, which is no example's own.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.
        examples : (n,) array_like of int, optional
            Which examples; all if not given.

        Returns
        -------
        (n, P) float64 [loss / weight]
            The mean over all plus ``weight_decay * w`` is :meth:`gradient`.
        """
        point = self._point(w)
        chosen = None if examples is None else self._chosen(examples)
        count = self.examples if chosen is None else len(chosen)
        out = np.empty((count, self.parameters))
        size, done = min(self.chunk or 1, max(1, _HELD // self.parameters)), 0
        passes = self._passes(chosen, size)
        for rows in fetched(self._route.per_example(point, x, y) for x, y in passes):
            out[done : done + len(rows)] = rows
            done += len(rows)
        return out

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
        """
        return self._product(self._route.products, w, v)

    def gauss_newton_product(self, w: ArrayLike, v: ArrayLike) -> FloatArray:
        r"""Generalised Gauss-Newton matrix times one vector or several columns.

        .. math:: \frac1N \sum_i J_i^T\, \ell''_i\, J_i v + \lambda v

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.
        v : (P,) or (P, k) array_like
            Vectors.

        Returns
        -------
        (P,) or (P, k) float64
            Without the curvature of the model itself; the Hessian where the model is linear.
        """
        return self._product(self._route.gauss_newton, w, v)

    def hessian(self, w: ArrayLike) -> FloatArray:
        """Dense Hessian of :meth:`loss`.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        (P, P) float64 [loss / weight^2]
            Exactly symmetric.
        """
        out = self.hessian_vector_product(w, np.eye(self.parameters))
        return 0.5 * (out + out.T)

    def _product(
        self, product: Callable[..., torch.Tensor], w: ArrayLike, v: ArrayLike
    ) -> FloatArray:
        vectors = finite_array("v", v, ndim=(1, 2))
        if vectors.shape[0] != self.parameters:
            msg = f"`v` must have {self.parameters} rows, one per parameter, got {vectors.shape}"
            raise ShapeError(msg)
        point, columns = self._point(w), vectors.reshape(self.parameters, -1)
        V = self._flat.point(columns)

        def products(x: Any, y: torch.Tensor) -> torch.Tensor:
            group = min(_COLUMNS, max(1, _ACTIVE // (len(y) * self._active)))
            return product(point, V, x, y, group)

        return self._mean(products, self.weight_decay * columns).reshape(vectors.shape)

    def _mean(
        self, evaluate: Callable[[Any, torch.Tensor], torch.Tensor], start: FloatArray
    ) -> FloatArray:
        # ``start`` plus the mean over examples of what is evaluated pass by pass, in float64.
        rows: list[int] = []

        def pieces() -> Iterator[torch.Tensor]:
            for x, y in self._passes():
                rows.append(len(y))
                yield evaluate(x, y)

        for done, piece in enumerate(fetched(pieces())):
            start += rows[done] / self.examples * piece
        return start

    def _passes(
        self, chosen: torch.Tensor | None = None, size: int | None = None
    ) -> Iterator[tuple[tuple[torch.Tensor, ...], torch.Tensor]]:
        size = size or self.chunk or 1
        count = self.examples if chosen is None else len(chosen)
        for start in range(0, count, size):
            part = slice(start, start + size)
            yield self._examples_of(part if chosen is None else chosen[part])

    def _examples_of(
        self, rows: torch.Tensor | slice
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        # Chosen where the data are, and moved to the model.
        found = []
        for part in (*self._inputs, self._targets):
            where = rows.to(part.device) if isinstance(rows, torch.Tensor) else rows
            found.append(part[where])
        *x, y = self._flat.moved(*found)
        return tuple(x), y

    def _chosen(self, examples: ArrayLike) -> torch.Tensor:
        return torch.tensor(row_numbers("examples", examples, self.examples), device="cpu")

    def _vector(self, w: ArrayLike) -> FloatArray:
        remedy = "pass one flat vector of all trained parameters"
        return finite_array("w", w, shape=(self.parameters,), remedy=remedy)

    def _point(self, w: ArrayLike) -> torch.Tensor:
        return self._flat.point(self._vector(w))

    def _decay(self, w: ArrayLike) -> float:
        vector = self._vector(w)
        return 0.5 * self.weight_decay * float(vector @ vector)
