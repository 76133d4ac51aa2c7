r"""Integrated autocorrelation time, effective sample size, and correlations with errors.

.. math::
    \rho(k) = C(k) / C(0), \qquad
    \tau = 1 + 2 \sum_{k \ge 1} \rho(k), \qquad
    \operatorname{Var}(\bar x) \simeq \frac{C(0)\,\tau}{R N}

for ``R`` chains of ``N`` draws.  :math:`\tau` is counted in draws; independent draws have
:math:`\tau = 1` (half of it is the convention of the lattice-field literature).

The sum is cut at the first ``M`` with :math:`M \ge 5\,(1/2 + \sum_{k \le M} |\rho(k)|)`: Sokal's
automatic window, here applied to the envelope :math:`|\rho|`, so that a series that alternates
(a large learning rate) or swings (momentum) is not cut in the middle of a swing.  For a positive
:math:`\rho` the two are the same.  What the window leaves out is of relative size
:math:`e^{-5}` for one exponential.  The sum of covariances is corrected for the mean's own noise by
the factor :math:`1 + (2M + 1)/(RN)`.  Bartlett's covariances of the estimated :math:`C(k)` give the
relative variance of the estimate at a fixed window,

.. math::
    c^2 = \frac{1}{R(N - M)} \Bigl[\frac{2}{\tau^2} \sum_{|l| \le 2M} (2M + 1 - |l|)\,
    (\rho * \rho)(l) - 4\tau + 2 (\rho * \rho)(0)\Bigr] ,

which for slow and positive :math:`\rho` is less than the usual :math:`2(2M + 1)/(RN)` and for
alternating ones more.

The law of :math:`\hat\tau` is skewed, that of its logarithm is not: a low estimate has a small
error in proportion.  An interval of Student's quantile reaches as far up as the one of the
logarithm, :math:`e^{zc} - 1`, if its degrees of freedom are about :math:`2\sqrt2 / c` (the quantile
at 99.9 % is then right to a tenth from 20 windows on); ``n_effective`` of an integrated time is one
more.

Records too short for it are refused, and gaps are reckoned with, in
:mod:`fracsde.estimators.correlation_times`.

Not here: displacements (:mod:`fracsde.estimators.displacement`), which need no mean; covariances
with errors, :mod:`fracsde.estimators.lagged`.

References: [MadrasSokal1988]_, [Sokal1997]_ for the window, [Wolff2004]_ for the correction,
[Bartlett1946]_ for the error of a correlation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from fracsde.errors import RecordError
from fracsde.estimators.autocovariance import (
    autocovariance,
    centre_of,
    chain_means,
    checked_lags,
    without_mean,
)
from fracsde.estimators.chains import (
    MIN_CHAINS,
    coordinate_names,
    freedom_of,
    jackknife_error,
    measured,
    named,
)
from fracsde.estimators.correlation_times import correlation_times, refuse_constant
from fracsde.estimators.cut_off import cut_off_shift
from fracsde.estimators.gapped import longest_window, on_grid, pairs, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.estimators.correlation_times import CorrelationTimes
    from fracsde.records.measurement import Measurement, Quantity
    from fracsde.records.trajectory import Trajectory

__all__ = ["autocorrelation_at", "effective_sample_size", "integrated_time"]

_MIN_TIMES_OF_TIME = 100.0  # to measure the time itself
_ROUNDING = 1e-14  # of a correlation


def integrated_time(
    trajectory: Trajectory | ArrayLike,
    *,
    mean: ArrayLike | None = None,
    quantity: Quantity | None = None,
) -> Measurement:
    r"""Estimate the integrated autocorrelation time of every coordinate.

    .. math::
        \tau = 1 + 2 \sum_{k=1}^{M} \rho(k)

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        Equally spaced draws of a stationary run, or windows of them; chains are averaged.
    mean : (coordinate,) array_like, optional [x]
        The mean, if it is known.
    quantity : Quantity, optional
        Name and labels of the result.

    Returns
    -------
    Measurement
        In draws; multiply by ``trajectory.spacing`` for time.

    Raises
    ------
    RecordError
        If a coordinate is constant, or the record holds fewer than 100 autocorrelation times: from
        50 on means have an error, but the time itself is known to a third at best.

    References
    ----------
    [MadrasSokal1988]_, [Sokal1997]_, [Wolff2004]_

    Examples
    --------
    >>> noise = np.random.default_rng(1).standard_normal((4, 1000, 1))
    >>> bool(abs(integrated_time(noise).value[0] - 1.0) < 0.2)
    True
    """
    run = on_grid(trajectory)
    times = correlation_times(run, mean)
    names = coordinate_names(run)
    label = named(quantity, "integrated autocorrelation time", "draw", names)
    longest = np.maximum(times.tau, 1.0)
    if np.any(times.count < _MIN_TIMES_OF_TIME * longest):
        raise RecordError(_too_short(run, int(np.argmax(longest)), longest, names))
    relative = _relative_error(times) * np.sqrt(run.draws / times.pairs)
    effective = 1.0 + np.clip(2.0 * np.sqrt(2.0) / relative, 1.0, times.replicas)
    method = "Sokal's window on the envelope of the pooled autocorrelation"
    # A record that was let through may have a longer time, up to the likeliest under a law that is
    # cut off at the border: from the lower end of the one to the upper end of the other.
    room = np.log(times.count / (_MIN_TIMES_OF_TIME * longest)) / relative
    longer = times.whole * np.exp(relative * cut_off_shift(room))
    value = 0.5 * (times.whole + longer)
    stderr = value * relative + 0.25 * (longer - times.whole)
    return measured(label, value, stderr, effective, method)


def _relative_error(times: CorrelationTimes) -> FloatArray:
    # Bartlett's error of a windowed sum of correlations, divided by the sum.
    last = int(times.window.max())
    rho = times.correlation[: last + 1]
    size = fft.next_fast_len(4 * last + 1, real=True)
    spectrum = fft.rfft(np.concatenate([rho[:0:-1], rho]), size, axis=0)
    # The sequence starts at lag -last, so its square does at -2 last.
    square = fft.irfft(spectrum**2, size, axis=0)[2 * last : 4 * last + 1]
    lags = np.arange(2.0 * last + 1.0)[:, None]
    weights = np.maximum(2.0 * times.window + 1.0 - lags, 0.0)
    total = 2.0 * (weights * square).sum(axis=0) - weights[0] * square[0]
    variance = 2.0 * total / np.square(times.whole) - 4.0 * times.whole + 2.0 * square[0]
    # Estimated correlations can make it small or negative; a white series' is the least.
    return np.asarray(np.sqrt(np.maximum(variance, 2.0) / times.count), dtype=np.float64)


def _too_short(run: Trajectory, k: int, tau: FloatArray, names: Sequence[str]) -> str:
    return (
        f"{run.chains * run.draws} draws ({run.draws} per chain) hold fewer than "
        f"{_MIN_TIMES_OF_TIME:g} autocorrelation times of coordinate {names[k]!r} (estimated at "
        f"{tau[k]:.3g} draws so far), too few to measure that time; record longer"
    )


def effective_sample_size(
    trajectory: Trajectory | ArrayLike, *, mean: ArrayLike | None = None
) -> FloatArray:
    r"""Count the independent draws that would fix the mean as well: :math:`R N / \tau`.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        Equally spaced draws of a stationary run, or windows of them.
    mean : (coordinate,) array_like, optional [x]
        The mean, if it is known.

    Returns
    -------
    (coordinate,) ndarray of float64 [1]
        With :math:`\tau = 1 + 2\sum\rho`; at most ``R N log10(R N)``, however strongly the draws
        alternate.

    Examples
    --------
    >>> noise = np.random.default_rng(1).standard_normal((4, 1000, 1))
    >>> bool(3200 < effective_sample_size(noise)[0] < 4800)
    True
    """
    times = correlation_times(on_grid(trajectory), mean)
    return np.asarray(times.count / times.tau, dtype=np.float64)


def autocorrelation_at(
    trajectory: Trajectory | ArrayLike,
    lags: Sequence[int],
    *,
    mean: ArrayLike | None = None,
    quantity: Quantity | None = None,
) -> Measurement:
    r"""Measure the autocorrelation :math:`\rho(k) = C(k)/C(0)` at chosen lags.

    With at least 16 chains the error is the delete-one-chain jackknife of the ratio.  With fewer it
    is Bartlett's formula, which is exact to leading order for linear Gaussian processes,

    .. math::
        \operatorname{Var}\hat\rho_k \simeq \frac{1}{RN} \sum_{m \ge 1} \bigl[
        \rho_{m+k} + \rho_{m-k} - 2\rho_k\rho_m \bigr]^2 .

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        Equally spaced draws of a stationary run, or windows of them.
    lags : sequence of int
        Lags in draws, from 1.
    mean : (coordinate,) array_like, optional [x]
        The mean, if it is known.
    quantity : Quantity, optional
        Name and labels of the result; entries run over lags, then coordinates.

    Returns
    -------
    Measurement

    Raises
    ------
    RecordError
        If a lag is 0 or beyond the record, or a coordinate is constant.

    References
    ----------
    [Bartlett1946]_, [Efron1982]_

    Examples
    --------
    >>> noise = np.random.default_rng(1).standard_normal((32, 500, 1))
    >>> m = autocorrelation_at(noise, [1, 2])
    >>> bool(np.all(abs(m.value) < 4 * m.stderr)), m.quantity.labels
    (True, ('0 at lag 1', '0 at lag 2'))
    """
    run = on_grid(trajectory)
    at = places(run)
    chosen = checked_lags(lags, run.draws if at is None else longest_window(at))
    labels = tuple(f"{name} at lag {k}" for k in chosen for name in coordinate_names(run))
    label = named(quantity, "autocorrelation", "1", labels)
    if run.chains < MIN_CHAINS:
        times = correlation_times(run, mean)
        covariance = autocovariance(run, int(chosen.max()), mean=mean)
        rho = covariance[chosen] / covariance[0]
        seen = pairs(at, run.draws, int(chosen.max()))[chosen] if at is not None else run.draws
        stderr = _bartlett(times.correlation, rho, chosen, run.chains * np.asarray(seen))
        replicas = np.tile(times.replicas, len(chosen))
        return measured(label, rho.ravel(), stderr.ravel(), replicas, "Bartlett's formula")
    per_chain = autocovariance(run, int(chosen.max()), mean=mean, per_chain=True)
    refuse_constant(per_chain[:, 0].mean(axis=0), 0.0, coordinate_names(run))
    means = None if mean is not None else chain_means(run) - centre_of(run, None)
    numerator, top = without_mean(per_chain[:, chosen], means)
    denominator, bottom = without_mean(per_chain[:, :1], means)
    without = top / bottom
    stderr, effective = jackknife_error(without), freedom_of(without)
    stderr[stderr < _ROUNDING] = 0.0  # chains that agree but for rounding
    method = f"jackknife over {run.chains} chains"
    rho = numerator / denominator
    return measured(label, rho.ravel(), stderr.ravel(), effective.ravel(), method)


def _bartlett(rho: FloatArray, at: FloatArray, lags: IntArray, count: Any) -> FloatArray:
    # Return Bartlett's standard error of ``at``, the correlations at ``lags``.
    last = int(lags.max())
    used = int(np.flatnonzero(np.any(rho != 0, axis=1))[-1])
    padded = np.concatenate([rho[: used + 1], np.zeros((2 * last + 1, rho.shape[1]))])
    m = np.arange(1, used + last + 1)
    variance = np.empty_like(at)
    for row, k in enumerate(lags):
        swing = padded[m + k] + padded[np.abs(m - k)] - 2.0 * at[row] * padded[m]
        variance[row] = np.square(swing).sum(axis=0)
    return np.sqrt(variance / np.reshape(count, (-1, 1)))
