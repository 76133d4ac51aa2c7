r"""Least squares by SGD, on finite data and on endless Gaussian inputs.

.. math::
    L(w) = \frac1N\sum_n \tfrac12 (x_n\cdot w - y_n)^2 + \frac\lambda2 |w|^2, \qquad
    Q(\Sigma) = \frac fB\Big[\frac1N\sum_n (x_n^T\Sigma x_n + r_n^2)\,x_n x_n^T
    - H\Sigma H - \lambda^2 w^* w^{*T}\Big],

with :math:`r_n` the residuals at the minimum.  No law of the inputs is assumed, and nothing is
approximated: :mod:`fracsde.problems.quadratic_sgd` with :math:`H_n = x_n x_n^T`.

**Interpolation.**  Where every residual vanishes at the minimum the noise does too, and a stable
run ends there: its stationary covariance is zero.

**More weights than directions in the data.**  Without a ridge, directions orthogonal to all inputs
are never moved: the minimum reported is the shortest, the covariance is zero along such
directions, and both are conditional on a start of zero there.  :attr:`LeastSquaresSGD.unseen` spans
them.

**Gaussian inputs**, :math:`x\sim N(0, A)`, :math:`y = x\cdot w_0 + \epsilon`,
:math:`\operatorname{Var}\epsilon = s^2`, a fresh example each time: the sums become
:math:`A\Sigma A + \operatorname{Tr}(A\Sigma)A`, in which the equation is elementwise up to one
unknown number; [Ziyin2022]_ solves it without ridge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde._check import finite_array, positive_semidefinite, real, vector
from fracsde.errors import ShapeError
from fracsde.problems.example_noise import FactorNoise, GaussianInputNoise
from fracsde.problems.quadratic_loss_sgd import Minimum, QuadraticLossSGD

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["GaussianLeastSquaresSGD", "LeastSquaresSGD"]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, eq=False)
class LeastSquaresSGD(QuadraticLossSGD):
    """SGD on a finite linear regression, with its noise as it is.

    Parameters
    ----------
    inputs : (N, d) array_like [x]
        One example per row.
    targets : (N,) array_like [y]
        One number per example.
    ridge : float [x^2]
        ``lambda``, not negative.
    learning_rate : float [1/x^2]
        ``eta``, positive.
    batch_size : int
        ``B``, examples per step.
    momentum : float [1]
        ``mu`` in ``[0, 1)``, the fraction of the velocity that is kept.
    nesterov : bool
        Whether the step looks ahead, as in :class:`~fracsde.problems.sgd_steps.StepRule`.
    dampening : float [1]
        ``tau`` in ``[0, 1)``.
    preconditioner : float, (d,) or (d, d) array_like, optional
        ``P``, symmetric positive definite; multiplies the gradient.
    sampling : {"with_replacement", "without_replacement", "shuffled"}
        How batches are drawn; shuffled epochs have no law here, only near the minimum.

    Raises
    ------
    ShapeError, NotFiniteError
        If inputs and targets do not fit, are empty or not finite.
    OutOfRangeError
        If a number lies outside its range.
    SamplingError
        If the batch is larger than the data.

    References
    ----------
    [Ziyin2022]_

    Examples
    --------
    >>> sgd = LeastSquaresSGD(inputs=[[1.0], [2.0]], targets=[1.0, 1.0], learning_rate=0.1,
    ...                       batch_size=1)
    >>> sgd.minimum
    array([0.6])

    The mean settles below a rate of 0.8, the second moment below 2 (1 + 4) / (1 + 16):

    >>> sgd.stability().mean, round(sgd.critical_learning_rate(), 12)
    (0.8, 0.588235294118)
    """

    citation: ClassVar[tuple[str, ...]] = ("Ziyin2022",)

    inputs: FloatArray
    targets: FloatArray
    ridge: float = 0.0

    def __post_init__(self) -> None:
        put = object.__setattr__
        inputs = finite_array("inputs", self.inputs, ndim=2)
        if inputs.size == 0:
            msg = f"`inputs` must hold at least one example and one feature, got {inputs.shape}"
            raise ShapeError(msg)
        targets = finite_array("targets", self.targets, ndim=(1, 2))
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = finite_array("targets", targets[:, 0])
        if targets.shape != (len(inputs),):
            msg = (
                f"`targets` must have shape ({len(inputs)},), one number per example, got "
                f"{targets.shape}; with several outputs, each is a problem of its own"
            )
            raise ShapeError(msg)
        put(self, "inputs", inputs)
        put(self, "targets", targets)
        put(self, "ridge", real("ridge", self.ridge, low=0.0, closed="low"))
        self._check_steps(inputs.shape[1], len(inputs))

    @property
    def examples(self) -> int:
        """Number of examples."""
        return len(self.inputs)

    @property
    def residuals(self) -> FloatArray:
        """``y - x w`` at the minimum, ``(N,)``; zeros where the data are interpolated."""
        return self._residuals(self.minimum)

    @property
    def unseen(self) -> FloatArray:
        """Orthonormal directions ``(d, m)`` that no step moves: none with a ridge."""
        W = self.second_moments.basis
        U = np.linalg.qr(W, mode="complete")[0] if W.shape[1] else np.eye(self.dimension)
        return np.asarray(U[:, W.shape[1] :])

    def _residuals(self, place: FloatArray) -> FloatArray:
        r = self.targets - self.inputs @ place
        rounding = 64.0 * _EPS * (np.abs(self.targets) + np.abs(self.inputs) @ np.abs(place))
        return np.zeros_like(r) if np.all(np.abs(r) <= rounding) else np.asarray(r)

    def _find_minimum(self) -> Minimum:
        X, (N, d) = self.inputs, self.inputs.shape
        # Curvatures are zero below the same rounding as in the modes: those are squares of these.
        threshold = float(np.sqrt(4.0 * d * _EPS))
        rows, goals = X, self.targets
        if self.ridge > 0.0:
            rows = np.vstack([X, np.sqrt(N * self.ridge) * np.eye(d)])
            goals = np.append(goals, np.zeros(d))
        place = np.asarray(np.linalg.lstsq(rows, goals, rcond=threshold)[0], dtype=np.float64)
        noise = FactorNoise(
            factors=X[:, None, :], signs=None, gradients=-self._residuals(place)[:, None] * X
        )
        return Minimum(noise.hessian(), self.ridge, place, noise)


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianLeastSquaresSGD(QuadraticLossSGD):
    r"""SGD on a linear model with Gaussian inputs, a fresh batch at every step.

    Parameters
    ----------
    covariance : (d, d) array_like [x^2]
        ``A``, of the inputs; symmetric positive semi-definite.
    label_noise : float [y]
        ``s``, standard deviation of a label about the model, not negative.
    weights : (d,) array_like or float [y/x]
        True weights ``w_0``.
    ridge : float [x^2]
        ``lambda``, not negative.
    learning_rate : float [1/x^2]
        ``eta``, positive.
    batch_size : int
        ``B``, examples per step.
    momentum : float [1]
        ``mu`` in ``[0, 1)``, the fraction of the velocity that is kept.
    nesterov : bool
        Whether the step looks ahead, as in :class:`~fracsde.problems.sgd_steps.StepRule`.
    dampening : float [1]
        ``tau`` in ``[0, 1)``.
    preconditioner : float, (d,) or (d, d) array_like, optional
        ``P``, symmetric positive definite; multiplies the gradient.
    sampling : {"with_replacement"}
        Fresh examples are independent.

    Raises
    ------
    ShapeError, NotFiniteError, NotSymmetricError, IndefiniteError
        If an array is not what it should be.
    OutOfRangeError
        If a number lies outside its range.
    SamplingError
        If the sampling needs data that end.

    References
    ----------
    [Ziyin2022]_, [Gurbuzbalaban2021]_

    Examples
    --------
    >>> sgd = GaussianLeastSquaresSGD(covariance=np.eye(3), label_noise=1.0, learning_rate=0.1,
    ...                               batch_size=4)
    >>> round(sgd.critical_learning_rate(), 12)  # 2 B / (B + d + 1)
    1.0
    """

    citation: ClassVar[tuple[str, ...]] = ("Ziyin2022", "Gurbuzbalaban2021")

    covariance: FloatArray
    label_noise: float
    weights: FloatArray = 0.0  # type: ignore[assignment]  # a number is broadcast below
    ridge: float = 0.0

    def __post_init__(self) -> None:
        put = object.__setattr__
        A = positive_semidefinite("covariance", self.covariance)
        put(self, "covariance", A)
        put(self, "label_noise", real("label_noise", self.label_noise, low=0.0, closed="low"))
        put(self, "weights", vector("weights", self.weights, length=len(A)))
        put(self, "ridge", real("ridge", self.ridge, low=0.0, closed="low"))
        self._check_steps(len(A), None)

    @property
    def examples(self) -> None:
        """None: examples are drawn afresh."""
        return None

    def _find_minimum(self) -> Minimum:
        values, U = np.linalg.eigh(self.covariance)
        values = np.maximum(values, 0.0)
        # What the ridge takes from each mode; modes without inputs are seen as zero.
        kept = np.where(values > 4.0 * len(values) * _EPS * values[-1], values, 0.0)
        kept = np.divide(kept, kept + self.ridge, out=np.zeros_like(kept), where=kept > 0.0)
        place = U @ (kept * (U.T @ self.weights))
        noise = GaussianInputNoise(
            covariance=self.covariance, label_noise=self.label_noise, gap=self.weights - place
        )
        return Minimum(self.covariance, self.ridge, place, noise)
