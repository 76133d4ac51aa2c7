r"""What every sampler finds in a square valley, in closed form.

With :math:`L = L^* + \tfrac12 (w - w^*)^T H (w - w^*)` and a root ``A`` of the metric, in
coordinates :math:`w = w^* + A x` with :math:`K = A^T (n\beta H + \gamma I) A`,

.. math::
    x' = (I - \tfrac\varepsilon2 K)\, x + \xi, \qquad
    \operatorname{Cov} \xi = \varepsilon I
        + \frac{\varepsilon^2 (n\beta)^2}{4 B}\, A^T C A,

for a step of SGLD on batches of ``B`` examples drawn with replacement, whose gradients have the
covariance ``C`` (no second term on all examples).  In the eigenbasis of ``K``, with
:math:`t_i = 1 - \varepsilon \kappa_i / 2`, the stationary covariance is
:math:`V_{ij} = \operatorname{Cov}(\xi)_{ij} / (1 - t_i t_j)`, and

.. math:: \hat\lambda = \tfrac12\, n\beta \operatorname{tr}(H A V A^T) .

Without noise of batches and with ``A = I`` this is

.. math::
    \hat\lambda = \frac12 \sum_i \frac{n\beta\, h_i}{\kappa_i\,(1 - \varepsilon \kappa_i / 4)},
    \qquad \kappa_i = n\beta\, h_i + \gamma,

stable for :math:`\varepsilon \kappa_i < 4`; at :math:`\varepsilon \to 0` it is what judged chains
find.  Localization makes it too small, the step too large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, integer, positive_semidefinite, real, symmetric
from fracsde.errors import InputError, OutOfRangeError, UnstableError

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["quadratic_coefficient"]


def quadratic_coefficient(
    curvature: ArrayLike,
    *,
    n_beta: float,
    localization: float = 0.0,
    step: float = 0.0,
    preconditioner: ArrayLike | None = None,
    gradient_noise: ArrayLike | None = None,
    batch_size: int | None = None,
) -> float:
    """Return the estimate that infinitely long chains give in a square valley.

    Parameters
    ----------
    curvature : (P,) or (P, P) array_like [1 / weight**2]
        Eigenvalues of the Hessian, or the Hessian.
    n_beta : float [1]
        Inverse temperature.
    localization : float [1 / weight**2]
        Strength of the square about the minimum.
    step : float [weight**2]
        Step of SGLD; 0 for samplers without an error of the law.
    preconditioner : (P,) or (P, P) array_like, optional
        Metric of the moves, see :func:`~fracsde.estimators.learning_coefficient`.
    gradient_noise : (P, P) array_like, optional [1 / weight**2]
        Covariance of one example's gradient at the minimum.
    batch_size : int, optional
        Examples per step, drawn with replacement; all if not given.

    Returns
    -------
    float

    Raises
    ------
    OutOfRangeError
        If a diagonal metric is not positive.
    UnstableError
        If the step is beyond the limit of stability, or a direction is not held at all.

    Examples
    --------
    >>> quadratic_coefficient([1.0, 1.0], n_beta=1000.0)
    1.0
    >>> quadratic_coefficient([1.0], n_beta=1000.0, step=2e-3)
    1.0
    """
    beta = real("n_beta", n_beta, low=0.0)
    scale, dense = None, False
    if preconditioner is not None:
        array = finite_array("preconditioner", preconditioner, ndim=(1, 2))
        dense = array.ndim == 2
        if dense:
            values, vectors = np.linalg.eigh(positive_semidefinite("preconditioner", array))
            scale = np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), dtype=np.float64)
        elif not array.min() > 0.0:
            msg = f"`preconditioner` must have positive entries, got {array.min():g}"
            raise OutOfRangeError(msg)
        else:
            scale = np.sqrt(array)[None]
    matrix, covariance = quadratic_covariance(
        curvature,
        n_beta=beta,
        localization=real("localization", localization, low=0.0, closed="low"),
        step=real("step", step, low=0.0, closed="low"),
        scale=scale,
        dense=dense,
        gradient_noise=gradient_noise,
        batch_size=batch_size,
    )
    return float(0.5 * beta * np.sum(matrix * covariance))


def quadratic_covariance(
    curvature: Any,
    *,
    n_beta: float,
    localization: float,
    step: float,
    scale: FloatArray | None,
    dense: bool,
    gradient_noise: Any,
    batch_size: int | None,
) -> tuple[FloatArray, FloatArray]:
    """Return the Hessian as a matrix and the stationary covariance of the weights.

    Returns
    -------
    tuple of two (P, P) float64

    Raises
    ------
    InputError
        If eigenvalues come without the directions that a metric or a noise needs.
    UnstableError
        If there is no stationary law.
    """
    array = finite_array("curvature", curvature, ndim=(1, 2))
    plain = scale is None or (not dense and bool(np.ptp(scale) == 0.0))
    if array.ndim == 1:
        if not plain or gradient_noise is not None:
            msg = "with a metric or gradient noise pass the Hessian, not its eigenvalues alone"
            raise InputError(msg)
        hessian: FloatArray = np.diag(array)
    else:
        hessian = np.array(symmetric("curvature", array))
    size = len(hessian)
    root = np.eye(size) if scale is None else (scale if dense else np.diag(scale[0]))
    if root.shape != (size, size):
        msg = f"`curvature` is of {size} parameters, the metric of {len(root)}"
        raise InputError(msg)
    stiffness = root.T @ (n_beta * hessian + localization * np.eye(size)) @ root
    kappa, vectors = np.linalg.eigh(0.5 * (stiffness + stiffness.T))
    if not kappa[0] > 0.0 or not step * kappa[-1] < 4.0:
        msg = (
            f"chains have no stationary law: step times stiffness must lie between 0 and 4, got "
            f"{step:.3g} x ({kappa[0]:.3g} to {kappa[-1]:.3g}); take a shorter step, or a "
            "localization that holds all directions"
        )
        raise UnstableError(msg)
    turned = root @ vectors
    # Both sides of the stationary equation over the step, so that a step of zero has a limit.
    loss = 0.5 * (kappa[:, None] + kappa) - 0.25 * step * np.outer(kappa, kappa)
    noise = np.eye(size)
    if gradient_noise is not None and batch_size is not None:
        matrix = positive_semidefinite("gradient_noise", gradient_noise, size=size)
        count = integer("batch_size", batch_size, low=1)
        noise = noise + step * n_beta**2 / (4.0 * count) * (turned.T @ matrix @ turned)
    return hessian, np.asarray(turned @ (noise / loss) @ turned.T, dtype=np.float64)
