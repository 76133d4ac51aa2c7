r"""The loss that gradient noise keeps above its minimum.

.. math::
    \mathrm{E}L - L(w^*) = \tfrac12 \operatorname{Tr}(K \Sigma) \quad\text{(regularised)}, \qquad
    \tfrac12 \operatorname{Tr}(H \Sigma) \quad\text{(data loss)},

both against their values at :math:`w^*`, the minimum of the regularised loss: the linear term of
the data loss there averages to zero.  Only the diagonal of :math:`\Sigma` in the eigenvectors of
:math:`K` enters, and that is known for any noise, whether or not it commutes with the curvature:

.. math::
    \tfrac12 \operatorname{Tr}(K\Sigma) = \frac{\eta}{4(1-\mu)}
        \operatorname{Tr}\Big[\Big(I - \frac{\eta P K}{2(1+\mu)}\Big)^{-1} P Q\Big] ,

exactly, at any stable rate.  The small rate's :math:`\frac{\eta}{4(1-\mu)} \operatorname{Tr}(PQ)`
is too small by the factor in brackets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD, require_near_minimum
from fracsde.provenance import Provenance, provenance
from fracsde.stationary import stationary_covariance

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["StationaryLoss", "stationary_loss"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StationaryLoss:
    """Mean excess of the loss over its value at the minimum, in the stationary law.

    Parameters
    ----------
    regularised : float [loss]
        Of the loss with its weight decay.
    data : float [loss]
        Of the data loss alone.
    along : (d,) float64 [loss]
        The parts of ``regularised`` along the eigenvectors of its curvature; they add up to it.
    curvatures : (d,) float64 [loss/weight^2]
        The eigenvalues, in the same order, smallest first.
    directions : (d, d) float64
        The eigenvectors, one per column.
    error_estimate : float [loss]
        Bound on the numerical error of ``regularised`` and of ``data``.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("Mandt2017", "Liu2021")

    regularised: float
    data: float
    along: FloatArray
    curvatures: FloatArray
    directions: FloatArray
    error_estimate: float
    provenance: Provenance


def stationary_loss(sgd: SGDNearMinimum | QuadraticLossSGD) -> StationaryLoss:
    r"""Return the mean excess loss of SGD near its minimum.

    .. math:: \tfrac12 \operatorname{Tr}(K \Sigma), \quad \tfrac12 \operatorname{Tr}(H \Sigma)

    Parameters
    ----------
    sgd : SGDNearMinimum or QuadraticLossSGD
        Stable; the law is that of its map, of its shuffled epochs, or of noise that depends on
        the state.

    Returns
    -------
    StationaryLoss

    References
    ----------
    [Mandt2017]_ for small rates, [Liu2021]_ for any

    Examples
    --------
    >>> from fracsde import SGDNearMinimum
    >>> sgd = SGDNearMinimum(hessian=[[1.0]], gradient_noise=[[1.0]], learning_rate=1.0,
    ...                      batch_size=1)
    >>> stationary_loss(sgd).regularised
    0.5
    """
    if not isinstance(sgd, QuadraticLossSGD):
        require_near_minimum(sgd)
    found = stationary_covariance(sgd)
    K = sgd.curvature
    H = (sgd.near_minimum() if isinstance(sgd, QuadraticLossSGD) else sgd).hessian
    curvatures, directions = np.linalg.eigh(K)
    along = 0.5 * curvatures * np.einsum("di,di->i", directions, found.matrix @ directions)
    return StationaryLoss(
        regularised=0.5 * float(np.sum(K * found.matrix)),
        data=0.5 * float(np.sum(H * found.matrix)),
        along=along,
        curvatures=curvatures,
        directions=directions,
        error_estimate=0.5 * float(np.trace(K)) * found.error_estimate,
        provenance=provenance(sgd),
    )
