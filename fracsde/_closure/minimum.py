r"""A minimum, looked at once: curvature and noise there, in modes of the Hessian.

.. math::
    H(w^*) u_i = h_i u_i, \quad h_1 \ge h_2 \ge \dots, \qquad
    C_{ij} = u_i^T C(w^*)\,u_j .

Where the whole Hessian is within reach all modes are computed, otherwise the leading ones; of the
rest, the mean curvature and the mean noise per direction are then estimated from random signs.

Before anything is believed the callables are probed: same answer twice, a gradient that vanishes,
products that are symmetric and belong to that gradient, a noise that is a covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from fracsde._check import choice, integer, vector
from fracsde.errors import IndefiniteError, InputError, NotSymmetricError
from fracsde.problems.stochastic_loss import StochasticLoss, as_stochastic_loss

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["LossMinimum", "examine_minimum"]

DENSE = 2000  # weights up to which every mode is computed
LEADING = 20  # modes treated exactly, unless told
SMALL = 64  # weights up to which that is all of them
SIGNS = 32  # random vectors for the means over the rest
AGREE = 1e-3  # relative: products against each other and against differences of the gradient


@dataclass(frozen=True, kw_only=True, eq=False)
class LossMinimum:
    """A minimum of a loss, in modes of its Hessian; made by :func:`examine_minimum`.

    Parameters
    ----------
    loss : StochasticLoss
        The loss.
    position : (P,) float64 [weight]
        The minimum.
    curvatures : (r,) float64 [loss/weight^2]
        Eigenvalues of the Hessian, decreasing: all of them, or the leading ones.
    modes : (P, r) float64
        Their eigenvectors, one per column.
    noise : (r, r) float64 [loss^2/weight^2]
        Covariance of one example's gradient in these modes.
    noise_trace : float [loss^2/weight^2]
        Trace of the noise, as :meth:`StochasticLoss.noises` gives it for all these modes.
    rank : int
        How many leading modes are treated exactly.
    rest_curvature, rest_noise : float
        Mean curvature and noise per direction outside the modes, for an isotropic rest; 0 where
        there is none or it is left out.
    """

    loss: StochasticLoss
    position: FloatArray
    curvatures: FloatArray
    modes: FloatArray
    noise: FloatArray
    noise_trace: float
    rank: int
    rest_curvature: float = 0.0
    rest_noise: float = 0.0

    @property
    def dimension(self) -> int:
        """Number of weights ``P``."""
        return len(self.position)

    @property
    def leading(self) -> FloatArray:
        """The modes treated exactly, ``(P, rank)``."""
        return np.ascontiguousarray(self.modes[:, : self.rank])


def examine_minimum(
    loss: Any,
    position: ArrayLike,
    *,
    rank: int | None = None,
    modes: int | None = None,
    rest: str = "isotropic",
) -> LossMinimum:
    """Look at a minimum: probe the callables there and compute curvature and noise.

    Parameters
    ----------
    loss : StochasticLoss, or a network
        The loss; networks are read by the names of their methods.
    position : (P,) array_like [weight]
        A minimum: the gradient must vanish there and every curvature be positive.
    rank : int, optional
        Leading modes of the Hessian that are treated exactly: all for up to 64 weights, 20
        otherwise.
    modes : int, optional
        Modes to compute: all for up to 2000 weights, otherwise ``4 * rank``, by a Lanczos method
        from products alone.
    rest : {"isotropic", "none"}
        What fluctuates outside the computed modes: an isotropic law with the mean curvature and
        noise of the rest, or nothing.

    Returns
    -------
    LossMinimum

    Raises
    ------
    InputError
        If the callables are not deterministic, the point is not a minimum, or the products are
        not those of the gradient's derivative.
    NotSymmetricError
        If products with the Hessian are not symmetric.
    IndefiniteError
        If the Hessian has curvatures that are not positive, or the noise is no covariance.

    Examples
    --------
    >>> loss = StochasticLoss(
    ...     gradient=lambda w: w + w**3,
    ...     hessian_products=lambda w, V: (1.0 + 3.0 * w[:, None] ** 2) * V,
    ...     projected_noise=lambda w, V: V.T @ V,
    ... )
    >>> examine_minimum(loss, [0.0]).curvatures
    array([1.])
    """
    loss = as_stochastic_loss(loss)
    w = vector("position", position).copy()
    size = len(w)
    if rank is None:
        rank = size if size <= SMALL else LEADING
    rank = integer("rank", rank, low=1, high=size, remedy="it counts directions of the weights")
    if modes is None:
        modes = size if size <= DENSE else min(size, 4 * rank)
    modes = integer("modes", modes, low=rank, high=size, remedy="they include the leading ones")
    choice("rest", rest, ("isotropic", "none"))
    gradient = _probe(loss, w)
    curvatures, U = _modes(loss, w, modes)
    _refuse_indefinite(curvatures, size)
    C, trace = loss.noises(w[None], U)
    noise = C[0]
    low = float(np.linalg.eigvalsh(noise)[0])
    if low < -1e-6 * max(float(np.trace(noise)), 0.0) or np.trace(noise) < 0.0:
        msg = (
            f"the noise at the minimum must be a covariance, got one with eigenvalue {low:.3g}; "
            "return products with the covariance of one example's gradient"
        )
        raise IndefiniteError(msg)
    _refuse_slope(gradient, float(trace[0]), curvatures, noise)
    outside = {}
    if modes < size and rest == "isotropic":
        outside = _rest(loss, w, U)
    return LossMinimum(
        loss=loss,
        position=w,
        curvatures=curvatures,
        modes=U,
        noise=noise,
        noise_trace=float(trace[0]),
        rank=rank,
        **outside,
    )


def _probe(loss: StochasticLoss, w: FloatArray) -> FloatArray:
    # Deterministic, symmetric, and the derivative of the gradient.
    gradient = loss.gradients(w[None])[0]
    if not np.array_equal(gradient, loss.gradients(w[None])[0]):
        msg = (
            "`gradient` gave two answers at one point; switch off dropout, augmentation and "
            "batches: it must be the gradient of the mean loss"
        )
        raise InputError(msg)
    rng = np.random.default_rng(0)
    pair, _ = np.linalg.qr(rng.standard_normal((len(w), 2)))
    products = loss.products(w[None], pair)[0]
    cross = pair.T @ products
    scale = float(np.abs(products).max()) * len(w) ** 0.5
    if cross.shape == (2, 2) and abs(cross[0, 1] - cross[1, 0]) > AGREE * scale:
        msg = (
            f"`hessian_products` must be symmetric, got u.Hv = {cross[0, 1]:.6g} and "
            f"v.Hu = {cross[1, 0]:.6g}; return products with the Hessian of the mean loss"
        )
        raise NotSymmetricError(msg)
    step = 1e-4 * max(1.0, float(np.abs(w).max()))
    v = pair[:, 0]
    slope = (loss.gradients((w + step * v)[None]) - loss.gradients((w - step * v)[None]))[0]
    off = float(np.linalg.norm(slope / (2.0 * step) - products[:, 0]))
    norm = float(np.linalg.norm(products[:, 0]))
    if off > 10.0 * AGREE * norm + 1e-12:
        msg = (
            "`hessian_products` must be the derivative of `gradient`: along a random direction "
            f"they differ by {off:.3g} of {norm:.3g}; mind the weight decay, which belongs to both"
        )
        raise InputError(msg)
    return np.asarray(gradient)


def _modes(loss: StochasticLoss, w: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    size = len(w)
    if size <= DENSE or count > size // 2:
        H = loss.curvature(w)
        asymmetry = float(np.abs(H - H.T).max())
        if asymmetry > AGREE * float(np.abs(H).max()):
            msg = f"the Hessian must be symmetric, got asymmetry {asymmetry:.3g}"
            raise NotSymmetricError(msg)
        values, vectors = np.linalg.eigh(0.5 * (H + H.T))
    else:

        def product(v: FloatArray) -> FloatArray:
            return np.asarray(loss.products(w[None], v.reshape(size, -1))[0].reshape(v.shape))

        operator = LinearOperator((size, size), matvec=product, matmat=product, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(size)
        values, vectors = eigsh(operator, k=count, which="LA", v0=start, tol=1e-8)
    order = np.argsort(values)[::-1][:count]
    return values[order], np.ascontiguousarray(vectors[:, order])


def _refuse_indefinite(curvatures: FloatArray, size: int) -> None:
    flat = curvatures <= 1e-12 * size * max(float(curvatures[0]), 0.0)
    if flat.any():
        msg = (
            f"the Hessian must be positive definite at the minimum: {int(flat.sum())} of "
            f"{len(curvatures)} curvatures are not positive, the lowest is {curvatures[-1]:.3g}; "
            "there is no stationary law along those directions: train further, or raise the "
            "weight decay"
        )
        raise IndefiniteError(msg)


def _refuse_slope(
    gradient: FloatArray, trace: float, curvatures: FloatArray, noise: FloatArray
) -> None:
    # Against the gradient of one example, or of a move by one weight where there is no noise.
    norm = float(np.linalg.norm(gradient))
    scale = max(trace, float(np.trace(noise)), 0.0) ** 0.5 or float(curvatures[0])
    if norm > AGREE * scale:
        msg = (
            f"`position` must be a minimum: the gradient there has length {norm:.3g}, a single "
            f"example's {scale:.3g}; train further, for instance by "
            "fracsde.networks.train_to_minimum"
        )
        raise InputError(msg)


def _rest(loss: StochasticLoss, w: FloatArray, U: FloatArray) -> dict[str, float]:
    # Means of u.Hu and u.Cu over directions outside the modes, from random signs.
    size, count = U.shape
    Z = np.random.default_rng(1).choice([-1.0, 1.0], size=(size, min(SIGNS, size - count)))
    Z -= U @ (U.T @ Z)
    length = float(np.vdot(Z, Z))
    noise, _ = loss.noises(w[None], Z)
    curvature = float(np.vdot(Z, loss.products(w[None], Z)[0])) / length
    if curvature <= 0.0:
        msg = (
            f"the mean curvature outside the {count} leading modes is {curvature:.3g}; raise the "
            'weight decay, or leave that rest out with rest="none"'
        )
        raise IndefiniteError(msg)
    return {"rest_curvature": curvature, "rest_noise": float(np.trace(noise[0])) / length}
