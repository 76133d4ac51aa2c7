r"""Full-batch training to a point where the gradient vanishes and the curvature is known.

A quasi-Newton descent (SciPy's L-BFGS-B) finds the valley; Newton steps with the exact Hessian,

.. math:: H(w)\, p = -\nabla L(w), \qquad w \leftarrow w + s\,p,

go to the bottom, where a quasi-Newton method stops a thousand times too early because the loss
no longer changes in its last digit.  Where the Hessian is indefinite its eigenvalues are
replaced by their magnitudes, and a saddle is left along its most negative direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh, eigvalsh
from scipy.optimize import minimize

from fracsde._check import finite_array, integer, real
from fracsde.errors import ComputationError
from fracsde.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.networks.network import Network

__all__ = ["Minimum", "train_to_minimum"]

# An eigenvalue below minus this share of the largest magnitude counts as negative; dense
# eigenvalues of a thousand parameters are right to about 1e-14 of the largest.
NEGATIVE = 1e-10
_NEWTON_STEPS, _ESCAPES, _HALVINGS = 60, 5, 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimum:
    """Where full-batch training ended.

    Parameters
    ----------
    parameters : (P,) float64 [weight]
        The point.
    loss : float
        Loss there.
    gradient_norm : float [1 / weight]
        Euclidean length of the gradient.
    eigenvalues : (P,) float64 [1 / weight**2]
        Of the Hessian, ascending.
    negative_eigenvalues : int
        How many lie below ``-1e-10`` times the largest magnitude.
    iterations : int
        Quasi-Newton iterations plus Newton steps.
    evaluations : int
        Losses with gradient computed.
    status : Status
        ``SUCCESS`` where the gradient meets its tolerance and no eigenvalue is negative.
    """

    parameters: FloatArray
    loss: float
    gradient_norm: float
    eigenvalues: FloatArray
    negative_eigenvalues: int
    iterations: int
    evaluations: int
    status: Status


class _Descent:
    """The state of one training: where it is, and what it has cost."""

    def __init__(
        self, network: Network, start: FloatArray, progress: Callable[[int, float], None] | None
    ) -> None:
        self.network, self.progress = network, progress
        self.iterations = self.evaluations = 0
        self.w = start.copy()
        self.value, self.gradient = self.evaluate(self.w)

    @property
    def norm(self) -> float:
        return float(np.linalg.norm(self.gradient))

    def evaluate(self, w: FloatArray) -> tuple[float, FloatArray]:
        self.evaluations += 1
        return self.network.loss_and_gradient(w)

    def arrive(self, w: FloatArray, value: float, gradient: FloatArray) -> None:
        self.w, self.value, self.gradient = w, value, gradient
        self.iterations += 1
        if self.progress is not None:
            self.progress(self.iterations, self.norm)

    def quasi_newton(self, tolerance: float, limit: int) -> None:
        # Until the loss stops changing.
        found = minimize(
            self.evaluate,
            self.w,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": limit, "maxfun": 2 * limit, "maxcor": 20}
            | {"gtol": 0.1 * tolerance, "ftol": 1e-15},
        )
        self.iterations += int(found.nit)
        self.arrive(found.x, *self.evaluate(found.x))

    def newton(self, tolerance: float) -> bool:
        # True if the gradient met the tolerance.
        for _ in range(_NEWTON_STEPS):
            if self.norm <= tolerance:
                return True
            step = _newton_step(self.network.hessian(self.w), self.gradient)
            if not self.search(step):
                return False
        return self.norm <= tolerance

    def search(self, step: FloatArray) -> bool:
        # Halve a step until it descends; True if it did.  Close to the bottom the loss does
        # not change in its last digit; there a shorter gradient decides.
        slope = float(step @ self.gradient)
        rounding = 1e-14 * max(1.0, abs(self.value))
        for halving in range(_HALVINGS):
            share = 0.5**halving
            w = self.w + share * step
            value, gradient = self.evaluate(w)
            level = abs(value - self.value) <= rounding
            shorter = np.linalg.norm(gradient) < self.norm
            if shorter if level else value <= self.value + 1e-4 * share * slope:
                self.arrive(w, value, gradient)
                return True
        return False

    def escape(self, limit: float) -> bool:
        # Along the most negative direction; True if the loss fell.
        _, vectors = eigh(self.network.hessian(self.w), subset_by_index=[0, 0])
        for halving in range(_HALVINGS):
            for sign in (1.0, -1.0):
                w = self.w + sign * limit * 0.5**halving * vectors[:, 0]
                value, gradient = self.evaluate(w)
                if value < self.value:
                    self.arrive(w, value, gradient)
                    return True
        return False


def _newton_step(hessian: FloatArray, gradient: FloatArray) -> FloatArray:
    # Negative eigenvalues count by magnitude, so that the step descends.
    try:
        step: FloatArray = -cho_solve(cho_factor(hessian, lower=True), gradient)
    except LinAlgError:
        values, vectors = eigh(hessian)
        floor = 1e-8 * max(float(np.abs(values).max()), np.finfo(np.float64).tiny)
        step = -vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), floor))
    return step


def _negative(eigenvalues: FloatArray) -> int:
    return int(np.sum(eigenvalues < -NEGATIVE * np.abs(eigenvalues).max()))


def train_to_minimum(
    network: Network,
    start: ArrayLike,
    *,
    gradient_tolerance: float = 1e-10,
    max_iterations: int = 5000,
    progress: Callable[[int, float], None] | None = None,
    throw: bool = True,
) -> Minimum:
    """Train on the full data to a minimum.

    Parameters
    ----------
    network : Network
        Network and data, or another loss with its methods, such as a ``TorchLoss``.
    start : (P,) array_like [weight]
        Where to start, for example ``network.initial_parameters(rng)``.
    gradient_tolerance : float [1 / weight]
        Euclidean length of the gradient to reach.
    max_iterations : int
        Limit on quasi-Newton iterations; at most 60 Newton steps follow, and up to five
        escapes from saddles start over.
    progress : callable, optional
        Called as ``progress(iterations, gradient_norm)``.
    throw : bool
        Whether failure raises; otherwise ``status`` tells.

    Returns
    -------
    Minimum

    Raises
    ------
    ComputationError
        If ``throw`` and the tolerance is not met, or the point is a saddle.  Typical causes: a
        separable classification without weight decay has no minimum; a ReLU network may end on
        a kink, where no gradient vanishes.

    Examples
    --------
    >>> from fracsde.networks import Network
    >>> line = Network(inputs=[[0.0], [1.0], [2.0]], targets=[1.0, 3.0, 5.0], hidden=(),
    ...                objective="squared_error")
    >>> train_to_minimum(line, [0.0, 0.0]).parameters.round(12).tolist()
    [2.0, 1.0]
    """
    point = finite_array("start", start, shape=(network.parameters,))
    tolerance = real("gradient_tolerance", gradient_tolerance, low=0.0)
    limit = integer("max_iterations", max_iterations, low=1)
    descent = _Descent(network, point, progress)
    for _ in range(_ESCAPES + 1):
        descent.quasi_newton(tolerance, limit)
        converged = descent.newton(tolerance)
        eigenvalues = eigvalsh(network.hessian(descent.w))
        negative = _negative(eigenvalues)
        size = max(1.0, float(np.linalg.norm(descent.w)))
        if not converged or negative == 0 or not descent.escape(0.1 * size):
            break
    status = Status.SUCCESS if converged and negative == 0 else Status.NOT_CONVERGED
    if throw and not status.ok:
        detail = (
            f"The gradient norm is {descent.norm:.3g} (asked: {tolerance:.3g}) and {negative} of "
            f"{len(eigenvalues)} Hessian eigenvalues are negative after {descent.iterations} "
            "iterations; use weight_decay > 0, another start, or throw=False."
        )
        raise ComputationError(status, detail)
    return Minimum(
        parameters=descent.w,
        loss=descent.value,
        gradient_norm=descent.norm,
        eigenvalues=eigenvalues,
        negative_eigenvalues=negative,
        iterations=descent.iterations,
        evaluations=descent.evaluations,
        status=status,
    )
