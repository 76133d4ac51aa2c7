r"""A loss given by functions: the adapter from formulas to estimators that need a gradient.

.. math:: L : \mathbb R^P \to \mathbb R, \qquad \nabla L : \mathbb R^P \to \mathbb R^P .
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, integer, truth
from fracsde.errors import InputError, ShapeError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray, IntArray

__all__ = ["FunctionLoss"]


class FunctionLoss:
    """A loss of a flat vector of parameters, made of plain functions.

    Parameters
    ----------
    value : callable
        ``value(w)`` is the mean loss at ``w`` (P,), a float; it may be infinite where ``w`` is not
        allowed.  With ``vectorized``, ``value(W)`` of rows (chain, P) is (chain,).
    gradient : callable
        ``gradient(w)`` is its gradient (P,); with ``vectorized``, (chain, P).
    parameters : int
        Number of parameters, P.
    examples : int
        Number of examples behind the mean, which sets the default temperature.
    vectorized : bool
        Whether both functions take many positions at once.
    hessian : callable, optional
        ``hessian(w)`` (P, P) of one position, for a metric made of the curvature.
    on_batch : callable, optional
        ``on_batch(W, rows)``, with ``W`` (chain, P) and ``rows`` (chain, batch) of example
        numbers, returns the mean loss of each chain's own batch and its gradient, (chain,) and
        (chain, P).

    Raises
    ------
    InputError
        If one of the functions is not callable.

    Examples
    --------
    >>> bowl = FunctionLoss(value=lambda w: 0.5 * (w @ w), gradient=lambda w: w, parameters=2,
    ...                     examples=100)
    >>> bowl.loss([3.0, 4.0]), bowl.gradient([3.0, 4.0])
    (12.5, array([3., 4.]))
    """

    def __init__(
        self,
        *,
        value: Callable[[FloatArray], Any],
        gradient: Callable[[FloatArray], Any],
        parameters: int,
        examples: int,
        vectorized: bool = False,
        hessian: Callable[[FloatArray], Any] | None = None,
        on_batch: Callable[[FloatArray, IntArray], Any] | None = None,
    ) -> None:
        functions = {"value": value, "gradient": gradient, "hessian": hessian, "on_batch": on_batch}
        for name, function in functions.items():
            if not (callable(function) or (function is None and name in {"hessian", "on_batch"})):
                msg = f"`{name}` must be a function of the parameters, got {function!r}"
                raise InputError(msg)
        self._value, self._gradient, self._hessian = value, gradient, hessian
        self._on_batch, self._vectorized = on_batch, truth("vectorized", vectorized)
        self.parameters = integer("parameters", parameters, low=1)
        """Number of parameters."""
        self.examples = integer("examples", examples, low=1)
        """Number of examples."""

    @property
    def has_batches(self) -> bool:
        """Whether batches of examples can be asked for."""
        return self._on_batch is not None

    def loss(self, w: ArrayLike) -> float:
        """Mean loss.

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
        """Loss and gradient.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        tuple of float and (P,) float64
        """
        flat = finite_array("w", w, shape=(self.parameters,))
        losses, gradients = self.losses_and_gradients(flat[None])
        return float(losses[0]), gradients[0]

    def losses_and_gradients(self, w: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Losses and gradients of many positions.

        Parameters
        ----------
        w : (chain, P) float64 [weight]
            One position per row.

        Returns
        -------
        tuple of (chain,) and (chain, P) float64

        Raises
        ------
        ShapeError
            If a function returns another shape.
        """
        if self._vectorized:
            losses, gradients = self._value(w), self._gradient(w)
        else:
            losses, gradients = [self._value(row) for row in w], [self._gradient(row) for row in w]
        return self._checked(losses, gradients, w.shape)

    def batch_losses_and_gradients(
        self, w: FloatArray, rows: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Losses and gradients, each position with a batch of its own.

        Parameters
        ----------
        w : (chain, P) float64 [weight]
            One position per row.
        rows : (chain, batch) int64
            Example numbers.

        Returns
        -------
        tuple of (chain,) and (chain, P) float64

        Raises
        ------
        UnsupportedError
            If there is no ``on_batch``.
        """
        if self._on_batch is None:
            msg = "this loss knows no batches of examples; pass `on_batch`, or batch_size=None"
            raise UnsupportedError(msg)
        losses, gradients = self._on_batch(w, rows)
        return self._checked(losses, gradients, w.shape)

    def hessian(self, w: ArrayLike) -> FloatArray:
        """Second derivatives of :meth:`loss`.

        Parameters
        ----------
        w : (P,) array_like [weight]
            Parameters.

        Returns
        -------
        (P, P) float64 [1 / weight**2]

        Raises
        ------
        UnsupportedError
            If there is no ``hessian``.
        """
        if self._hessian is None:
            msg = "this loss has no `hessian`; pass one to FunctionLoss"
            raise UnsupportedError(msg)
        flat = finite_array("w", w, shape=(self.parameters,))
        square = (self.parameters, self.parameters)
        return finite_array("hessian", self._hessian(flat), shape=square)

    def _checked(
        self, losses: Any, gradients: Any, shape: tuple[int, ...]
    ) -> tuple[FloatArray, FloatArray]:
        found = np.asarray(losses, dtype=np.float64), np.asarray(gradients, dtype=np.float64)
        if found[0].shape != shape[:1] or found[1].shape != shape:
            msg = (
                f"at {shape[0]} positions of {shape[1]} parameters the losses must have shape "
                f"{shape[:1]} and the gradients {shape}, got {found[0].shape} and {found[1].shape}"
            )
            raise ShapeError(msg)
        return found
