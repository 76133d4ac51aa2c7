r"""A measured local learning coefficient, what it depends on and what speaks against it.

.. math:: \hat\lambda = n\beta\,\bigl( E[L(w)] - L(w^*) \bigr)

Made by :func:`fracsde.estimators.learning_coefficient`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde.errors import InputError
from fracsde.estimators.quadratic_coefficient import quadratic_covariance
from fracsde.records.measurement import Measurement
from fracsde.status import Status

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.estimators._learning.statistics import Doubt
    from fracsde.provenance import Provenance

__all__ = ["LearningCoefficient"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningCoefficient(Measurement):
    """A measured local learning coefficient and everything that it depends on.

    ``value``, ``stderr`` and ``n_effective`` are those of a :class:`Measurement` with one entry.

    Parameters
    ----------
    n_beta : float [1]
        Inverse temperature.
    localization : float [1 / weight**2]
        Strength of the square about the point.
    sampler : str
        Which sampler.
    step : float [weight**2]
        Step of the draws.
    batch_size : int or None
        Examples per step, None for all.
    loss_at_point : float
        Loss of all examples at the point.
    per_chain : (chain,) float64 [1]
        The estimate of each chain.
    acceptance : (chain,) float64 [1]
        Mean acceptance of each chain; of ``sgld`` what it would be, NaN on batches.
    travelled : float [weight]
        Root mean square distance of the draws from the point.
    farthest : float [weight]
        The largest of them.
    effective_draws : float [1]
        Independent draws that would fix the mean loss as well, over all chains.
    r_hat : float [1]
        Split R-hat of the loss.
    virial : float [1]
        Mean of ``(w - w*) . dU/dw`` over the number of parameters: 1 for draws of the law.
    virial_stderr : float [1]
        Its standard error; NaN where the chains are too few and too correlated for one.
    control_slope : float [1]
        Slope of the control variate, 0 without.
    doubts : tuple of Doubt
        What speaks against the estimate.
    warnings : tuple of str
        The same in words, with numbers.
    losses : (chain, draw) float64 or None
        Loss of every draw, less that at the point.
    burn_in_losses : (chain, draw) float64 or None
        The same of burn-in.
    provenance : Provenance
        Seed, versions, hash of the input.
    """

    citation: ClassVar[tuple[str, ...]] = ("Lau2025", "Watanabe2009")

    n_beta: float
    localization: float
    sampler: str
    step: float
    batch_size: int | None
    loss_at_point: float
    per_chain: FloatArray
    acceptance: FloatArray
    travelled: float
    farthest: float
    effective_draws: float
    r_hat: float
    virial: float
    virial_stderr: float
    control_slope: float
    doubts: tuple[Doubt, ...]
    warnings: tuple[str, ...]
    losses: FloatArray | None
    burn_in_losses: FloatArray | None
    provenance: Provenance
    _scale: FloatArray
    _dense: bool

    @property
    def status(self) -> Status:
        """``SUCCESS`` if nothing speaks against the estimate."""
        return self.doubts[0].status if self.doubts else Status.SUCCESS

    def corrected(
        self, curvature: ArrayLike, *, gradient_noise: ArrayLike | None = None
    ) -> Measurement:
        r"""Take out what localization and step do to the directions with a resolved curvature.

        In a direction of curvature :math:`h` with :math:`n\beta h > \gamma` the closed form of a
        square valley is put in place of one half; other directions keep what was measured, since
        nothing says that the loss goes on as a square where the localization holds the chain.

        Parameters
        ----------
        curvature : (P,) or (P, P) array_like [1 / weight**2]
            Eigenvalues of the Hessian at the point, or the Hessian; with a metric the latter.
        gradient_noise : (P, P) array_like, optional [1 / weight**2]
            Covariance of one example's gradient, for ``sgld`` on batches.

        Returns
        -------
        Measurement

        Raises
        ------
        InputError
            If a metric or batches were used and only eigenvalues are given, or steps read batches
            and the gradient noise is missing.
        UnstableError
            If the step is beyond the limit of stability of the square valley.

        Examples
        --------
        >>> from fracsde.estimators import FunctionLoss, learning_coefficient
        >>> bowl = FunctionLoss(value=lambda w: 0.5 * (w * w).sum(1), gradient=lambda w: w,
        ...                     parameters=4, examples=1000, vectorized=True)
        >>> found = learning_coefficient(bowl, np.zeros(4), localization=100.0, rng=1)
        >>> bool(found.value[0] < 1.4), bool(abs(found.corrected(np.ones(4)).value[0] - 2) < 0.1)
        (True, True)
        """
        if self.batch_size is not None and gradient_noise is None:
            msg = "steps read batches, whose noise has a bias of its own; pass `gradient_noise`"
            raise InputError(msg)
        matrix, covariance = quadratic_covariance(
            curvature,
            n_beta=self.n_beta,
            localization=self.localization,
            step=self.step if self.sampler == "sgld" else 0.0,
            scale=self._scale,
            dense=self._dense,
            gradient_noise=gradient_noise,
            batch_size=self.batch_size,
        )
        values, vectors = np.linalg.eigh(matrix)
        kept = self.n_beta * values > self.localization
        along = np.einsum("ik,ij,jk->k", vectors, covariance, vectors)
        shift = 0.5 * (1.0 - self.n_beta * values * along)[kept].sum()
        return Measurement(
            quantity=self.quantity,
            value=self.value + shift,
            stderr=self.stderr,
            n_effective=self.n_effective,
            method=f"{self.method}, corrected in {int(kept.sum())} of {len(values)} directions",
        )
