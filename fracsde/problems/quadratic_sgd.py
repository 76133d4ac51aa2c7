r"""SGD on the mean of quadratic losses, one for each example.

.. math::
    \ell_n(w) = c_n + g_n\cdot(w - w_0) + \tfrac12 (w - w_0)^T H_n (w - w_0), \qquad
    L(w) = \frac1N\sum_n \ell_n(w) + \frac\lambda2 |w|^2 .

Least squares has one direction per example, :math:`H_n = x_n x_n^T`
(:mod:`fracsde.problems.least_squares`); several outputs, second-order models of other losses and
sums of both come as factors or as whole matrices here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import finite_array, real, vector
from fracsde._symmetry import ROUNDING
from fracsde.errors import InputError, NotSymmetricError, ShapeError
from fracsde.problems.example_noise import FactorNoise, HessianNoise
from fracsde.problems.quadratic_loss_sgd import Minimum, QuadraticLossSGD
from fracsde.problems.sgd_limits import require_curvature

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["QuadraticSGD"]


@dataclass(frozen=True, kw_only=True, eq=False)
class QuadraticSGD(QuadraticLossSGD):
    """SGD on the mean of quadratic losses, one for each example.

    Parameters
    ----------
    gradients : (N, d) array_like [loss/weight]
        Of each example at ``reference``, without the weight decay.
    hessians : (N, d, d) array_like [loss/weight^2], optional
        Of each example.  They may be indefinite, their mean plus the weight decay may not.
    factors : (N, d, k) array_like, optional
        In place of ``hessians``: ``H_n = F_n diag(signs_n) F_n^T``; cheap where ``k`` is small.
    signs : (N, k) array_like, optional
        One by default.
    reference : (d,) array_like or float [weight]
        ``w_0``, where the gradients are given.
    weight_decay : float [loss/weight^2]
        ``lambda``, not negative.
    learning_rate : float [weight^2/loss]
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
    InputError
        If not exactly one of ``hessians`` and ``factors`` is given, or the mean loss falls without
        end along a direction without curvature.
    ShapeError, NotFiniteError, NotSymmetricError, IndefiniteError
        If an array is not what it should be.
    OutOfRangeError
        If a number lies outside its range.
    SamplingError
        If the batch is larger than the data.

    References
    ----------
    [Ziyin2022]_

    Examples
    --------
    Two parabolas; the second moment is limited by the steeper one:

    >>> sgd = QuadraticSGD(hessians=[[[1.0]], [[3.0]]], gradients=[[1.0], [-1.0]],
    ...                    learning_rate=0.1, batch_size=1)
    >>> sgd.stability().mean, round(sgd.critical_learning_rate(), 12)
    (1.0, 0.8)
    """

    gradients: FloatArray
    hessians: FloatArray | None = None
    factors: FloatArray | None = None
    signs: FloatArray | None = None
    reference: FloatArray = 0.0  # type: ignore[assignment]  # a number is broadcast below
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        put = object.__setattr__
        gradients = finite_array("gradients", self.gradients, ndim=2)
        N, d = gradients.shape
        if gradients.size == 0:
            msg = f"`gradients` must hold at least one example and one weight, got {(N, d)}"
            raise ShapeError(msg)
        put(self, "gradients", gradients)
        if (self.hessians is None) == (self.factors is None):
            both = "neither" if self.hessians is None else "both"
            msg = f"exactly one of `hessians` and `factors` must be given, got {both}"
            raise InputError(msg)
        if self.signs is not None and self.factors is None:
            msg = "`signs` belong to `factors`, got `hessians`; leave them out"
            raise InputError(msg)
        if self.hessians is not None:
            hessians = finite_array("hessians", self.hessians, shape=(N, d, d))
            put(self, "hessians", _symmetric_stack(hessians))
        else:
            factors = finite_array("factors", self.factors, shape=(N, d, None))
            put(self, "factors", factors)
            if self.signs is not None:
                signs = finite_array("signs", self.signs, shape=(N, factors.shape[2]))
                put(self, "signs", signs)
        put(self, "reference", vector("reference", self.reference, length=d))
        put(self, "weight_decay", real("weight_decay", self.weight_decay, low=0.0, closed="low"))
        self._check_steps(d, N)
        _ = self.about_minimum

    @property
    def examples(self) -> int:
        """Number of examples."""
        return len(self.gradients)

    def _find_minimum(self) -> Minimum:
        decay = self.weight_decay
        noise = self._noise(self.gradients)
        hessian = noise.hessian()
        curvature = hessian + decay * np.eye(len(hessian))
        require_curvature(np.asarray(np.linalg.eigvalsh(curvature)), decay)
        slope = self.gradients.mean(axis=0) + decay * self.reference
        # The shortest step to the minimum; curvatures that rounding cannot tell from zero are zero.
        threshold = 4.0 * len(hessian) * np.finfo(np.float64).eps
        step = -np.linalg.lstsq(curvature, slope, rcond=threshold)[0]
        left = slope + curvature @ step
        scale = np.abs(self.gradients).mean() + np.abs(slope).max()
        if np.abs(left).max() > 1e-8 * scale:
            msg = (
                "the mean loss has no minimum: `gradients` slope by "
                f"{np.linalg.norm(left):.3g} along directions without curvature; "
                "set weight_decay > 0"
            )
            raise InputError(msg)
        if self.hessians is not None:
            there = self.gradients + self.hessians @ step
        else:
            assert self.factors is not None  # checked on construction
            along = np.einsum("ndk,d->nk", self.factors, step)
            along = along if self.signs is None else self.signs * along
            there = self.gradients + np.einsum("ndk,nk->nd", self.factors, along)
        return Minimum(hessian, decay, self.reference + step, self._noise(there))

    def _noise(self, gradients: FloatArray) -> HessianNoise | FactorNoise:
        if self.hessians is not None:
            return HessianNoise(hessians=self.hessians, gradients=gradients)
        assert self.factors is not None  # checked on construction
        rows = np.ascontiguousarray(self.factors.transpose(0, 2, 1))
        return FactorNoise(factors=rows, signs=self.signs, gradients=gradients)


def _symmetric_stack(hessians: FloatArray) -> FloatArray:
    turned = hessians.transpose(0, 2, 1)
    gaps = np.abs(hessians - turned).max(axis=(1, 2))
    scale = float(np.abs(hessians).max())
    worst = int(np.argmax(gaps))
    if gaps[worst] > ROUNDING * scale:
        msg = (
            f"each of `hessians` must be symmetric: number {worst} differs from its transpose by "
            f"{gaps[worst]:.3g}"
        )
        raise NotSymmetricError(msg)
    even = np.asarray(0.5 * (hessians + turned))
    even.flags.writeable = False
    return even
