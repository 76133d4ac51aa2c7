r"""A loss of one flat vector with its derivatives: what curvature and noise are measured on.

.. math::
    L(w) = \frac1N \sum_{i=1}^N \ell_i(w) + \frac\lambda2 |w|^2, \qquad
    g_i = \nabla \ell_i, \qquad
    \nabla L = \frac1N \sum_i g_i + \lambda w, \qquad
    H v = \partial_\epsilon \nabla L(w + \epsilon v) .

:class:`fracsde.networks.Network` and ``fracsde.recording.torch.TorchLoss`` are such losses as they
are; so is any object with the same methods.  :func:`check_loss` puts one to the test at a point
and names what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from fracsde._check import finite_array
from fracsde.errors import InputError, NotFiniteError, NotSymmetricError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fracsde._typing import ArrayLike, FloatArray, IntArray

__all__ = ["DifferentiableLoss", "LossCheck", "check_loss"]

_AGREE = 1e-5  # relative: a float32 model evaluated twice by different roads
_SLOPE = 0.03  # relative: differences of a float32 loss against its gradient
HELD = 1 << 24  # entries of gradients of examples held at once: an eighth of a gigabyte


@runtime_checkable
class DifferentiableLoss(Protocol):
    """A mean loss over examples as a function of one flat vector, NumPy float64 in and out.

    ``per_example_gradients`` may take ``examples``, row numbers, as a second argument; where it
    does, gradients of all examples need never be in memory at once.  An attribute
    ``weight_decay`` says what the gradient has beyond the mean of its examples.
    """

    @property
    def parameters(self) -> int:
        """Number of parameters ``P``."""

    @property
    def examples(self) -> int:
        """Number of examples ``N``."""

    def loss(self, w: Any, /) -> float:
        """Return the mean loss."""

    def gradient(self, w: Any, /) -> FloatArray:
        """Return its gradient, ``(P,)``."""

    def loss_and_gradient(self, w: Any, /) -> tuple[float, FloatArray]:
        """Return both."""

    def per_example_gradients(self, w: Any, /) -> FloatArray:
        """Return the gradient of each example, ``(N, P)``, without weight decay."""

    def hessian_vector_product(self, w: Any, v: Any, /) -> FloatArray:
        """Return the Hessian times ``(P,)`` or ``(P, k)``."""

    def hessian(self, w: Any, /) -> FloatArray:
        """Return the Hessian, ``(P, P)``."""


@dataclass(frozen=True, kw_only=True)
class LossCheck:
    """What :func:`check_loss` found; every entry is a relative error.

    Parameters
    ----------
    slope : float [1]
        Gradient against differences of the loss along a random direction.
    products : float [1]
        Hessian products against differences of the gradient along that direction.
    asymmetry : float [1]
        ``u.Hv`` against ``v.Hu``.
    linearity : float [1]
        ``H(u + 2v)`` against ``Hu + 2 Hv``.
    mean : float [1]
        Gradient against the mean of its examples' gradients and the weight decay.
    """

    slope: float
    products: float
    asymmetry: float
    linearity: float
    mean: float


def check_loss(loss: DifferentiableLoss, w: ArrayLike) -> LossCheck:
    """Test that a loss is deterministic, a mean over examples, and rightly differentiated.

    Parameters
    ----------
    loss : DifferentiableLoss
        The loss.
    w : (P,) array_like [weight]
        Where to test; better not a stationary point.

    Returns
    -------
    LossCheck
        How well it passed.

    Raises
    ------
    InputError
        If methods are missing, two evaluations differ, the gradient is not that of the loss or
        not the mean over examples, or products are not those of the gradient.
    NotSymmetricError
        If products with the Hessian are not symmetric.

    Examples
    --------
    >>> from fracsde.networks import Network
    >>> net = Network(inputs=[[0.0, 1.0], [1.0, 0.0]], targets=[0, 1], hidden=(3,))
    >>> check_loss(net, np.linspace(-1, 1, 17)).asymmetry < 1e-12
    True
    """
    point = at(loss, w)
    value, gradient = _twice(loss, point)
    norm = float(np.linalg.norm(gradient))
    pair = np.random.default_rng(0).standard_normal((len(point), 2))
    pair /= np.linalg.norm(pair, axis=0)
    products = _read("hessian_vector_product", loss.hessian_vector_product(point, pair), pair.shape)
    size = float(np.linalg.norm(products)) or 1.0
    cross = pair.T @ products
    asymmetry = abs(float(cross[0, 1] - cross[1, 0])) / size
    if asymmetry > _AGREE:
        msg = (
            f"`hessian_vector_product` must be symmetric, got u.Hv = {cross[0, 1]:.6g} and v.Hu = "
            f"{cross[1, 0]:.6g}; return products with the Hessian of the mean loss"
        )
        raise NotSymmetricError(msg)
    both = _read(
        "hessian_vector_product",
        loss.hessian_vector_product(point, pair @ [1.0, 2.0]),
        point.shape,
    )
    linearity = float(np.linalg.norm(both - products @ [1.0, 2.0])) / size
    if linearity > _AGREE:
        msg = (
            "`hessian_vector_product` must be linear and take one vector as it takes columns: "
            f"H(u + 2v) differs from Hu + 2Hv by {linearity:.3g} of its length"
        )
        raise InputError(msg)
    slope, curved = _differences(loss, point, value, gradient, pair[:, 0], products[:, 0])
    mean = _check_mean(loss, point, gradient, norm)
    return LossCheck(
        slope=slope, products=curved, asymmetry=asymmetry, linearity=linearity, mean=mean
    )


def at(loss: Any, w: ArrayLike) -> FloatArray:
    """Return a point as parameters of a loss, both checked.

    Returns
    -------
    (P,) float64

    Raises
    ------
    InputError
        If the loss lacks a method.
    """
    names = [name for name in _NAMES if not hasattr(loss, name)]
    if names:
        msg = (
            f"`loss` must be a network of fracsde.networks, a TorchLoss, or have their methods; "
            f"{type(loss).__name__} lacks {', '.join(names)}"
        )
        raise InputError(msg)
    remedy = "pass one flat vector of all parameters"
    return finite_array("w", w, shape=(int(loss.parameters),), remedy=remedy)


_NAMES = (
    "parameters",
    "examples",
    "loss",
    "gradient",
    "loss_and_gradient",
    "per_example_gradients",
    "hessian_vector_product",
)


def gradient_blocks(
    loss: Any, w: FloatArray, examples: IntArray | None = None
) -> Iterator[FloatArray]:
    """Yield gradients of the chosen examples, all if none are chosen, in bounded blocks.

    Yields
    ------
    (n, P) float64
        Of at most an eighth of a gigabyte, where the loss takes row numbers.
    """
    function = loss.per_example_gradients
    size = len(w)
    if "examples" not in signature(function).parameters:
        rows = _read("per_example_gradients", function(w), (int(loss.examples), size))
        yield rows if examples is None else rows[examples]
        return
    chosen = np.arange(int(loss.examples)) if examples is None else examples
    step = max(1, HELD // size)
    for start in range(0, len(chosen), step):
        part = chosen[start : start + step]
        yield _read("per_example_gradients", function(w, part), (len(part), size))


def _read(name: str, value: Any, shape: tuple[int, ...]) -> FloatArray:
    found = np.asarray(value)
    if found.dtype != np.float64 or found.shape != shape:
        msg = f"`{name}` must return float64 of shape {shape}, got {found.dtype} of {found.shape}"
        raise ShapeError(msg)
    if not np.isfinite(found.sum()) and not np.isfinite(found).all():
        msg = f"`{name}` returned NaN or infinity: the model diverged there, or overflows"
        raise NotFiniteError(msg)
    return found


def _twice(loss: Any, point: FloatArray) -> tuple[float, FloatArray]:
    value, gradient = loss.loss_and_gradient(point)
    again, second = loss.loss_and_gradient(point)
    gradient = _read("loss_and_gradient", gradient, point.shape)
    alone = float(loss.loss(point))
    apart = _read("gradient", loss.gradient(point), point.shape)
    if value != again or not np.array_equal(gradient, second):
        msg = (
            f"two evaluations at one point gave losses {value:.17g} and {again:.17g}: switch off "
            "dropout, batch statistics, augmentation and random batches"
        )
        raise InputError(msg)
    scale = float(np.linalg.norm(gradient))
    off = abs(alone - value) > _AGREE * abs(value)
    if off or np.linalg.norm(apart - gradient) > _AGREE * scale:
        msg = (
            f"`loss` and `gradient` must agree with `loss_and_gradient`: {alone:.9g} against "
            f"{value:.9g}; mind the weight decay, which belongs to all of them"
        )
        raise InputError(msg)
    return float(value), gradient


def _differences(
    loss: Any,
    point: FloatArray,
    value: float,
    gradient: FloatArray,
    v: FloatArray,
    product: FloatArray,
) -> tuple[float, float]:
    # Steps from float64's best down to float32's: the smallest error counts.
    scale = max(1.0, float(np.abs(point).max()))
    slopes, curves = [], []
    expected, size = float(gradient @ v), float(np.linalg.norm(product))
    tiny = float(np.finfo(np.float32).eps)
    for step in (1e-5 * scale, 1e-3 * scale, 1e-2 * scale):
        up, high = loss.loss_and_gradient(point + step * v)
        down, low = loss.loss_and_gradient(point - step * v)
        # Losses and gradients are known to the rounding of single precision at worst.
        rounding = 4 * tiny * max(abs(value), abs(up), 1e-300) / step
        gap = abs((up - down) / (2 * step) - expected)
        slopes.append(gap / max(abs(expected), float(np.linalg.norm(gradient)) / 30.0, rounding))
        change = (np.asarray(high) - low) / (2 * step)
        floor = 4 * tiny * float(np.abs(high).max()) / step
        curves.append(float(np.linalg.norm(change - product)) / max(size, floor, 1e-300))
    slope, curved = min(slopes), min(curves)
    if slope > _SLOPE:
        msg = (
            "`gradient` must be that of `loss`: along a random direction they differ by "
            f"{slope:.3g} of its size; mind the weight decay, and that both are means over all "
            "examples"
        )
        raise InputError(msg)
    if curved > _SLOPE:
        msg = (
            "`hessian_vector_product` must be the derivative of `gradient`: they differ by "
            f"{curved:.3g} of its size; mind the weight decay, which belongs to both"
        )
        raise InputError(msg)
    return slope, curved


def _check_mean(loss: Any, point: FloatArray, gradient: FloatArray, norm: float) -> float:
    total, square = np.zeros(len(point)), 0.0
    for block in gradient_blocks(loss, point):
        total += block.sum(axis=0)
        square += float(np.vdot(block, block))
    count, decay = int(loss.examples), float(getattr(loss, "weight_decay", 0.0))
    # Of the length of one example's gradient: at a minimum the mean itself is zero.
    scale = max(float(np.sqrt(square / count)), norm, float(np.finfo(np.float64).tiny))
    off = float(np.linalg.norm(total / count + decay * point - gradient)) / scale
    if off <= _AGREE:
        return off
    if np.linalg.norm(total + decay * point - gradient) <= _AGREE * count * scale:
        what = "their sum; divide the loss by the number of examples, or use a mean reduction"
    elif np.linalg.norm(total / count - gradient) <= _AGREE * scale:
        what = f"their mean alone; the weight decay {decay:g} belongs to it and to no example"
    else:
        rest = gradient - total / count
        share = float(rest @ point) / max(float(point @ point), np.finfo(np.float64).tiny)
        if np.linalg.norm(rest - share * point) <= _AGREE * scale:
            what = f"their mean plus {share:.6g} w; state it as the attribute `weight_decay`"
        else:
            what = "neither their mean nor their sum; examples may act on one another"
    msg = f"`gradient` must be the mean of `per_example_gradients` plus weight decay, got {what}"
    raise InputError(msg)
