r"""A loss known through callables: gradient, curvature, and the noise of one example.

.. math::
    L(w) = \frac1N\sum_{n=1}^N \ell_n(w), \qquad
    g(w) = \nabla L(w), \qquad H(w) = \nabla^2 L(w), \qquad
    C(w) = \operatorname{Cov}_n \nabla\ell_n(w) .

A weight decay belongs to the gradient and to the Hessian; it is no example's own and leaves ``C``
as it is.  Everything is a function of ``w`` alone: dropout and augmentation must be off.

Not here: what follows from such a loss, see :mod:`fracsde.closure`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array
from fracsde.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

    Function = Callable[..., Any]

__all__ = ["StochasticLoss", "as_stochastic_loss"]

_NOISE = ("per_example_gradients", "noise_products", "projected_noise")
BLOCK = 2**16  # numbers looked at at once: half a megabyte


@dataclass(frozen=True, kw_only=True, eq=False)
class StochasticLoss:
    """Callables of a loss of ``P`` weights; exactly one of the last three says what its noise is.

    Parameters
    ----------
    gradient : callable
        ``w (P,) -> (P,)`` [loss/weight], of the regularised mean loss.
    hessian_products : callable
        ``w (P,), V (P, k) -> (P, k)`` [loss/weight^2], the Hessian of the same loss times columns.
    per_example_gradients : callable, optional
        ``w (P,) -> (N, P)``, one row per example.
    noise_products : callable, optional
        ``w (P,), V (P, k) -> (P, k)``, the covariance ``C`` of one gradient times columns.
    projected_noise : callable, optional
        ``w (P,), V (P, k) -> (k, k)``, the projection ``V^T C V``.
    hessian : callable, optional
        ``w (P,) -> (P, P)``, used once, at the minimum, where it is cheaper than ``P`` products.
    batched : bool
        Whether callables take many points at once: ``w (n, P)``, the results with a leading axis
        ``n``; ``V`` stays one array.

    Raises
    ------
    InputError
        If something is not callable, or not exactly one form of the noise is given.

    Examples
    --------
    A quadratic loss whose noise does not depend on the weights:

    >>> H = np.diag([1.0, 0.5])
    >>> loss = StochasticLoss(
    ...     gradient=lambda w: H @ w,
    ...     hessian_products=lambda w, V: H @ V,
    ...     projected_noise=lambda w, V: V.T @ V,
    ... )
    >>> loss.gradients(np.ones((1, 2)))
    array([[1. , 0.5]])
    """

    gradient: Function
    hessian_products: Function
    per_example_gradients: Function | None = None
    noise_products: Function | None = None
    projected_noise: Function | None = None
    hessian: Function | None = None
    batched: bool = False

    def __post_init__(self) -> None:
        given = [name for name in _NOISE if getattr(self, name) is not None]
        if len(given) != 1:
            msg = (
                f"give exactly one of {', '.join(f'`{name}`' for name in _NOISE)}: they are three "
                f"ways to say what the noise is; got {' and '.join(given) or 'none'}"
            )
            raise InputError(msg)
        for name in ("gradient", "hessian_products", "hessian", *given):
            value = getattr(self, name)
            if not callable(value) and not (value is None and name == "hessian"):
                msg = f"`{name}` must be a function of the weights, got {type(value).__name__}"
                raise InputError(msg)

    def gradients(self, points: FloatArray) -> FloatArray:
        """Return the gradient at each point, ``(n, P) -> (n, P)``."""
        return self._each("gradient", self.gradient, points, (), points.shape[1:])

    def products(self, points: FloatArray, V: FloatArray) -> FloatArray:
        """Return the Hessian at each point times the columns of ``V``, ``(n, P, k)``."""
        return self._each("hessian_products", self.hessian_products, points, (V,), V.shape)

    def noises(self, points: FloatArray, V: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return ``V^T C V`` at each point, ``(n, k, k)``, and the trace of ``C``, ``(n,)``.

        Where products or projections are all that is known, the trace is that of the projection.

        Returns
        -------
        noise : (n, k, k) float64
        trace : (n,) float64
        """
        size = V.shape[1]
        if self.per_example_gradients is not None:
            return self._noises_of_examples(points, V)
        if self.projected_noise is not None:
            name, function, shape = "projected_noise", self.projected_noise, (size, size)
            noise = self._each(name, function, points, (V,), shape)
        else:
            assert self.noise_products is not None  # checked on construction
            name, shape = "noise_products", V.shape
            noise = V.T @ self._each(name, self.noise_products, points, (V,), shape)
        noise = 0.5 * (noise + noise.transpose(0, 2, 1))
        return np.asarray(noise), np.asarray(np.trace(noise, axis1=1, axis2=2))

    def examples(self, point: FloatArray) -> FloatArray | None:
        """Return one gradient per example at a point, ``(N, P)``, or ``None`` if not known."""
        if self.per_example_gradients is None:
            return None
        name, shape = "per_example_gradients", (None, len(point))
        rows = self._each(name, self.per_example_gradients, point[None], (), shape)[0]
        return np.asarray(rows)

    def curvature(self, point: FloatArray) -> FloatArray:
        """Return the whole Hessian at one point, ``(P, P)``."""
        size = len(point)
        if self.hessian is None:
            found = self.products(point[None], np.eye(size))
        else:
            found = self._each("hessian", self.hessian, point[None], (), (size, size))
        return np.asarray(found[0])

    def _noises_of_examples(
        self, points: FloatArray, V: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        noises, traces = np.empty((len(points), V.shape[1], V.shape[1])), np.empty(len(points))
        step = max(1, BLOCK // max(1, points.shape[1]))
        # One point at a time: gradients of all examples at many points would fill the memory.
        for i in range(len(points)):
            rows = self.examples(points[i])
            assert rows is not None  # the caller looked
            mean, along, square = np.zeros(len(V)), np.empty((len(rows), V.shape[1])), 0.0
            # In blocks that stay in the cache: the memory is read once instead of three times.
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                mean += np.full(len(part), 1.0 / len(rows)) @ part
                along[start : start + step] = part @ V
                square += float(np.vdot(part, part))
            along -= mean @ V
            noises[i] = along.T @ along / len(rows)
            traces[i] = square / len(rows) - mean @ mean
        return noises, traces

    def _each(
        self,
        name: str,
        function: Any,
        points: FloatArray,
        extra: tuple[FloatArray, ...],
        shape: tuple[int | None, ...],
    ) -> FloatArray:
        if self.batched:
            return _read(name, function(points, *extra), (len(points), *shape))
        rows = [_read(name, function(point, *extra), shape) for point in points]
        return rows[0][None] if len(rows) == 1 else np.stack(rows)


def _read(name: str, value: Any, shape: tuple[int | None, ...]) -> FloatArray:
    # Large arrays that are as they should be are neither copied nor looked through twice.
    if isinstance(value, np.ndarray) and value.dtype == np.float64 and value.ndim == len(shape):
        fits = all(want in {None, have} for want, have in zip(shape, value.shape, strict=True))
        if fits and np.isfinite(value.sum()):
            return value
    return finite_array(name, value, shape=shape, remedy=f"it is what `{name}` returned")


def as_stochastic_loss(loss: Any) -> StochasticLoss:
    """Return a loss as callables; networks are read by the names of their methods.

    Parameters
    ----------
    loss : StochasticLoss or object
        An object with the methods ``gradient``, ``hessian_vector_product`` and
        ``per_example_gradients``, and perhaps ``hessian``, as those of :mod:`fracsde.networks`.

    Returns
    -------
    StochasticLoss

    Raises
    ------
    InputError
        If it is neither.
    """
    if isinstance(loss, StochasticLoss):
        return loss
    names = ("gradient", "hessian_vector_product", "per_example_gradients")
    missing = [name for name in names if not callable(getattr(loss, name, None))]
    if missing:
        msg = (
            f"`loss` must be a StochasticLoss, or have the methods {', '.join(names)}; "
            f"{type(loss).__name__} lacks {', '.join(missing)}"
        )
        raise InputError(msg)
    return StochasticLoss(
        gradient=loss.gradient,
        hessian_products=loss.hessian_vector_product,
        per_example_gradients=loss.per_example_gradients,
        hessian=getattr(loss, "hessian", None),
    )
