r"""The gradient-noise scale that SGD reports of itself once it has settled.

.. math::
    B_{\mathrm{simple}} = \frac{\operatorname{Tr} C}{\mathrm{E}|G|^2}, \qquad
    B_{\mathrm{noise}} = \frac{\operatorname{Tr}(K C)}{\mathrm{E}\,G^T K G}, \qquad
    G = K (w - w^*),

[McCandlish2018]_ with the gradient of the regularised loss in place of one at a point.  Without a
preconditioner, for any noise and at any stable rate,

.. math::
    \mathrm{E}|G|^2 = \operatorname{Tr}(K \Sigma K) = \frac{\eta}{2(1-\mu)}
        \operatorname{Tr}\Big[K \Big(I - \frac{\eta K}{2(1+\mu)}\Big)^{-1} Q\Big],

and so, with :math:`Q = f C / B`,

.. math::
    B_{\mathrm{simple}} = (1 - \epsilon)\, \frac{2 B (1-\mu)}{f \eta}\,
        \frac{\operatorname{Tr} C}{\operatorname{Tr}(K C)}, \qquad
    0 \le \epsilon \le \frac{\eta h_{\max}}{2(1+\mu)} :

a settled run reports its own :math:`B/\eta`, and of the task only a ratio of traces.  ``B_noise``
obeys the same with :math:`\operatorname{Tr}(K C) / \operatorname{Tr}(K^2 C)`.

In [McCandlish2018]_ the best rate for a batch is :math:`\eta_{\max} / (1 + B_{\mathrm{noise}}/B)`,
and :math:`B_{\mathrm{noise}}` the batch beyond which more examples per step save few steps.  Put
the stationary values in and :math:`B_{\mathrm{noise}} / B \approx 2(1-\mu)/(\eta h)` says only that
the rate in use was small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fracsde.errors import UnsupportedError
from fracsde.observables._laws import averaged_noise, effective_rate
from fracsde.provenance import Provenance, provenance
from fracsde.stationary import stationary_covariance

if TYPE_CHECKING:
    from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["GradientNoiseScale", "gradient_noise_scale"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientNoiseScale:
    """Gradient-noise scales of a settled run, in examples.

    Parameters
    ----------
    simple : float [examples]
        ``Tr C / E|G|^2``.
    curvature_weighted : float [examples]
        ``Tr(K C) / E[G^T K G]``.
    small_rate_simple, small_rate_weighted : float [examples]
        What the two tend to for small rates; never smaller than they.
    relative_gap : float [1]
        Bound on the share by which the limits exceed the exact values,
        ``eta h_max / (2 (1 + mu))``.
    gradient_square : float [loss^2/weight^2]
        ``E|G|^2``, of the mean gradient.
    gradient_curvature : float [loss^3/weight^4]
        ``E[G^T K G]``.
    provenance : Provenance
        Where the result came from.
    """

    citation: ClassVar[tuple[str, ...]] = ("McCandlish2018",)

    simple: float
    curvature_weighted: float
    small_rate_simple: float
    small_rate_weighted: float
    relative_gap: float
    gradient_square: float
    gradient_curvature: float
    provenance: Provenance


def gradient_noise_scale(sgd: SGDNearMinimum | QuadraticLossSGD) -> GradientNoiseScale:
    r"""Return the gradient-noise scales of a settled run.

    .. math:: \operatorname{Tr} C / \mathrm{E}|G|^2, \quad
        \operatorname{Tr}(K C) / \mathrm{E}\,G^T K G

    Parameters
    ----------
    sgd : SGDNearMinimum or QuadraticLossSGD
        Stable, with noise, without a preconditioner; the law is that of its map.  Noise that
        depends on the state counts with its average over the stationary law.

    Returns
    -------
    GradientNoiseScale

    Raises
    ------
    UnsupportedError
        If epochs are shuffled, there is a preconditioner, or no noise at all.

    References
    ----------
    [McCandlish2018]_

    Examples
    --------
    The scale of a settled run is set by its own batch and rate:

    >>> from fracsde import SGDNearMinimum
    >>> sgd = SGDNearMinimum(hessian=[[1.0]], gradient_noise=[[7.0]], learning_rate=0.01,
    ...                      batch_size=32)
    >>> found = gradient_noise_scale(sgd)
    >>> round(found.simple, 6), round(found.small_rate_simple, 6)
    (6368.0, 6400.0)
    """
    sgd = averaged_noise(sgd)
    rate = effective_rate(sgd, "the gradient-noise scale")
    if sgd.preconditioner is not None:
        msg = (
            "the gradient-noise scale is defined for plain gradients; measure weights in units "
            "that make the preconditioner 1, or drop it"
        )
        raise UnsupportedError(msg)
    C, K = sgd.gradient_noise, sgd.curvature
    plain = float(np.trace(sgd.batch_noise))
    if not plain > 0.0:
        msg = "without gradient noise a settled run has no gradient: the noise scale is 0 / 0"
        raise UnsupportedError(msg)
    KS = K @ stationary_covariance(sgd).matrix
    square = float(np.sum(KS * K))
    weighted = float(np.sum((K @ KS) * K))
    trace, traces = float(np.trace(C)), [float(np.sum(power * C)) for power in (K, K @ K)]
    limit = 2.0 * (1.0 - sgd.momentum) * trace / (rate * plain)
    top = float(np.linalg.eigvalsh(K)[-1])
    return GradientNoiseScale(
        simple=trace / square,
        curvature_weighted=traces[0] / weighted,
        small_rate_simple=limit * trace / traces[0],
        small_rate_weighted=limit * traces[0] / traces[1],
        relative_gap=0.5 * rate * top / (1.0 + sgd.momentum),
        gradient_square=square,
        gradient_curvature=weighted,
        provenance=provenance(sgd),
    )
