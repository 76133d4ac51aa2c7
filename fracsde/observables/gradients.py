r"""The gradient-noise scale that SGD reports of itself once it has settled.

.. math::
    B_{\mathrm{simple}} = \frac{\operatorname{Tr}(P C)}{\mathrm{E}\,G^T P\,G}, \qquad
    B_{\mathrm{noise}} = \frac{\operatorname{Tr}(P K P C)}{\mathrm{E}\,G^T P K P\,G}, \qquad
    G = K (w - w^*),

[McCandlish2018]_ with the gradient of the regularised loss in place of one at a point.

**Preconditioners.**  A step along :math:`-P G` of length :math:`\epsilon` changes the mean loss by
:math:`-\epsilon\,G^T P G + \frac{\epsilon^2}{2}[G^T P K P G + \operatorname{Tr}(P K P C)/B]`; the
best is :math:`\epsilon_{\max} / (1 + B_{\mathrm{noise}}/B)` with this :math:`B_{\mathrm{noise}}`,
as [McCandlish2018]_ has it for :math:`P = 1`.  Both scales are those of the weights
:math:`P^{-1/2} w`, in which the run is one of plain SGD, and do not depend on the units of the
weights or of ``P``; :math:`\operatorname{Tr} C / \mathrm{E}|G|^2` would, with any other
preconditioner than a number.

**Settled runs.**  Mode by mode (:mod:`fracsde.observables._particles`), for any noise and at any
stable rate,

.. math::
    \mathrm{E}\,G^T P\,G = \sum_i h_i^2 \operatorname{Var} w_i
        = \frac{\eta}{2(1-\mu)} \sum_i r_i h_i q_i, \qquad
    \frac{1}{r_i} = 1 - \frac{\eta h_i}{2(1+\mu)}

for heavy ball, and so, with :math:`Q = f C / B` and :math:`\epsilon` between the least and the
largest :math:`1 - 1/r_i`,

.. math::
    B_{\mathrm{simple}} = (1 - \epsilon)\, \frac{2 B (1-\mu)}{f \eta}\,
        \frac{\operatorname{Tr}(P C)}{\operatorname{Tr}(P K P C)}, \qquad
    0 \le \epsilon \le \frac{\eta h_{\max}}{2(1+\mu)} :

a settled run reports its own :math:`B/\eta`, and of the task only a ratio of traces.  ``B_noise``
obeys the same with one more :math:`K P`.  Nesterov's step has, with :math:`k = \eta h`,

.. math::
    1 - \frac1r = k\,\frac{(1-\mu)(1+\mu-2\mu^2-4\mu^3) + 2\mu(1+\mu-2\mu^2-2\mu^3) k
        + \mu^2(1+2\mu) k^2}{2(1-\mu)\,[1-\mu^2 + 2\mu(1+\mu-\mu^2) k + \mu^2(1+2\mu) k^2]} ,

which is negative at small rates for momenta above 0.6.  **Shuffled epochs** of equal batches have
another small rate, at a fixed number ``M`` of steps an epoch: their noise sums to zero, and

.. math::
    \operatorname{Var} w_i \to \eta^2 q_i \sum_{|k|<M} a_k\,
        \frac{(M-|k|)^3 - (M-|k|)}{6 M (M-1)}

with ``a`` the autocovariance of the answers to one kick of the sums, :math:`\mu^k/(1-\mu^2)` of
heavy ball: :math:`\eta^2 q\,(M+1)/6` without momentum.  :math:`B_{\mathrm{simple}}` then reports
:math:`B/\eta^2`.

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
from fracsde.observables._laws import averaged_noise
from fracsde.observables._particles import along, particles
from fracsde.observables.spectra import epoch_level
from fracsde.provenance import Provenance, provenance
from fracsde.stationary import stationary_covariance

if TYPE_CHECKING:
    from fracsde._typing import FloatArray
    from fracsde.observables._particles import Particles
    from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD
    from fracsde.problems.sgd import SGDNearMinimum

__all__ = ["GradientNoiseScale", "gradient_noise_scale"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientNoiseScale:
    """Gradient-noise scales of a settled run, in examples.

    Parameters
    ----------
    simple : float [examples]
        ``Tr(P C) / E[G^T P G]``.
    curvature_weighted : float [examples]
        ``Tr(P K P C) / E[G^T P K P G]``.
    small_rate_simple, small_rate_weighted : float [examples]
        What the two tend to for small rates: never smaller than they for heavy balls.
    relative_gap : float [1]
        Bound on the share by which the limits differ from the exact values,
        ``eta h_max / (2 (1 + mu))`` for heavy balls; of shuffled epochs up to rounding.
    gradient_square : float [loss^2/weight^2]
        ``E[G^T P G]``, of the mean gradient.
    gradient_curvature : float [loss^3/weight^4]
        ``E[G^T P K P G]``.
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

    .. math:: \operatorname{Tr}(P C) / \mathrm{E}\,G^T P\,G, \quad
        \operatorname{Tr}(P K P C) / \mathrm{E}\,G^T P K P\,G

    Parameters
    ----------
    sgd : SGDNearMinimum or QuadraticLossSGD
        Stable, with noise; the law is that of its map, or the average over the phases of its
        shuffled epochs.  Noise that depends on the state counts with its average over the
        stationary law.

    Returns
    -------
    GradientNoiseScale

    Raises
    ------
    UnsupportedError
        If there is no noise at all, or epochs are shuffled and the noise depends on the state.

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
    if not float(np.trace(sgd.batch_noise)) > 0.0:
        msg = (
            "the noise scale of a settled run without gradient noise is 0 / 0, as its gradient "
            "vanishes too; estimators.gradient_noise_scale has that at a point of a data set"
        )
        raise UnsupportedError(msg)
    S = stationary_covariance(sgd).matrix
    modes = particles(sgd)
    h, c = modes.curvatures, np.maximum(np.diag(modes.example), 0.0)
    variances = along(S, modes.inverse)
    square, weighted = float(h**2 @ variances), float(h**3 @ variances)
    limit, power = _small_rate(sgd, modes)
    noise = [float(h**p @ c) for p in (0, 1, power, power + 1)]
    return GradientNoiseScale(
        simple=noise[0] / square,
        curvature_weighted=noise[1] / weighted,
        small_rate_simple=noise[0] / (limit * noise[2]),
        small_rate_weighted=noise[1] / (limit * noise[3]),
        relative_gap=_gap(sgd, modes, variances, limit * h ** (power - 2) * c),
        gradient_square=square,
        gradient_curvature=weighted,
        provenance=provenance(sgd),
    )


def _small_rate(sgd: SGDNearMinimum, modes: Particles) -> tuple[float, int]:
    # Var w_i -> limit h_i^(power - 2) c_i.
    rate, mu = modes.rate, sgd.momentum
    if sgd.sampling != "shuffled":
        share = float(np.trace(sgd.batch_noise) / np.trace(sgd.gradient_noise))
        return 0.5 * rate * share / (1.0 - mu), 1
    epochs = sgd.epochs()
    level = float(epoch_level(epochs, np.zeros(1))[0])
    if level > 0.0:  # the noise of an epoch does not sum to zero
        return 0.5 * rate * level / (1.0 - mu), 1
    M, B, N = epochs.steps, epochs.batch_size, epochs.dataset_size
    answers = _answers(sgd, M)
    left = M - np.arange(M, dtype=np.float64)
    bridges = (left**3 - left) / (6.0 * M * (M - 1)) * ((N - B) / (B * (N - 1)))
    return rate**2 * float(answers[0] * bridges[0] + 2.0 * answers[1:] @ bridges[1:]), 2


def _answers(sgd: SGDNearMinimum, count: int) -> FloatArray:
    # Autocovariance, at lags below ``count``, of the weights' answers to one kick of the sums.
    mu = sgd.momentum
    falling = mu ** np.arange(count, dtype=np.float64) / ((1.0 - mu) * (1.0 + mu))
    if not sgd.nesterov:
        return np.asarray(falling)
    # Answers 1 + mu at once, then mu^(t + 1).
    first = (1.0 + mu) * mu ** np.arange(1.0, count + 1.0)
    first[0] = (1.0 + mu) ** 2
    return np.asarray(first + mu**4 * falling)


def _gap(sgd: SGDNearMinimum, modes: Particles, variances: FloatArray, limits: FloatArray) -> float:
    # The largest |1 - 1 / r| of a mode.
    mu, k = sgd.momentum, modes.rate * modes.curvatures
    if sgd.sampling == "shuffled":
        noisy = limits > 0.0
        return float(np.abs(1.0 - limits[noisy] / variances[noisy]).max())
    if not sgd.nesterov:
        return float(0.5 * k[-1] / (1.0 + mu))
    lost, top = (1.0 - mu) * (1.0 + mu), mu**2 * (1.0 + 2.0 * mu)
    first = (1.0 - mu) * (1.0 + mu - 2.0 * mu**2 - 4.0 * mu**3)
    above = first + 2.0 * mu * (1.0 + mu - 2.0 * mu**2 - 2.0 * mu**3) * k + top * k**2
    below = lost + 2.0 * mu * (1.0 + mu - mu**2) * k + top * k**2
    return float(np.abs(0.5 * k * above / ((1.0 - mu) * below)).max())
