r"""Means and covariances of a stationary run, with errors that know about autocorrelation.

.. math::
    \hat m = \frac{1}{RN}\sum_{r,t} x_{r,t}, \qquad
    \hat\Sigma = \frac1R \sum_r q_r - \frac{1}{R(R-1)} \sum_{r \ne s} \bar x_r \bar x_s^T, \qquad
    q_r = \frac1N \sum_t x_{r,t} x_{r,t}^T,

for ``R`` independent chains of ``N`` draws with chain means :math:`\bar x_r`.  Products of means
of distinct chains estimate :math:`m m^T` without bias, so :math:`\hat\Sigma` is unbiased whatever
the autocorrelation, down to ``N = 1``, where it is the usual sample covariance.

With at least 16 chains the error is that of the delete-one-chain jackknife, which for this
statistic is the spread of :math:`q_r + 2\,(\bar x_r - \hat m)(\bar x_r - \hat m)^T / (R - 2)` over
:math:`\sqrt R`.  With fewer chains it is :math:`\sqrt{C_p(0)\,\tau_p / (RN)}` with the integrated
autocorrelation time :math:`\tau_p` of the *products* :math:`(x_i - m_i)(x_j - m_j)`, and the noise
of the pooled mean is put back by the factor :math:`1 + \sqrt{\tau_i\tau_j}/(RN)`.

``n_effective`` counts the independent values behind the error, see
:mod:`fracsde.estimators.chains`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._check import finite_array
from fracsde.errors import RecordError, ShapeError
from fracsde.estimators.autocovariance import centre_of, chain_means
from fracsde.estimators.chains import (
    MIN_CHAINS,
    as_trajectory,
    coordinate_names,
    from_chains,
    measured,
    named,
)
from fracsde.estimators.correlation_times import correlation_times
from fracsde.estimators.gapped import on_grid
from fracsde.estimators.second_moments import across, along, mirrored, outer_products

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fracsde._typing import ArrayLike, FloatArray, IntArray
    from fracsde.records.measurement import Measurement, Quantity
    from fracsde.records.trajectory import Trajectory

__all__ = [
    "CovarianceMeasurement",
    "covariance",
    "covariance_entries",
    "mean",
    "standard_deviations",
    "variances",
]

_ACROSS = "spread across {} chains"
_ALONG = "integrated autocorrelation time of {} draws"


@dataclass(frozen=True, kw_only=True, eq=False)
class CovarianceMeasurement:
    """A measured covariance matrix with the standard error of every entry.

    Parameters
    ----------
    matrix : (d, d) ndarray of float64 [x^2]
        The estimate, symmetric.
    stderr : (d, d) ndarray of float64 [x^2]
        Its standard errors.
    n_effective : (d, d) ndarray of float64 [1]
        Independent values behind each error.
    names : tuple of str
        One label per coordinate.
    method : str
        How the errors were obtained.
    """

    matrix: FloatArray
    stderr: FloatArray
    n_effective: FloatArray
    names: tuple[str, ...]
    method: str

    def entries(
        self, pairs: Sequence[tuple[int, int]] | None = None, *, quantity: Quantity | None = None
    ) -> Measurement:
        """Return entries as a measurement.

        Parameters
        ----------
        pairs : sequence of (int, int), optional
            Which entries; all above the diagonal if not given.
        quantity : Quantity, optional
            Name and labels of the result.

        Returns
        -------
        Measurement
        """
        i, j = _pairs(pairs, len(self.names))
        label = _entry_quantity(quantity, self.names, i, j)
        return measured(
            label, self.matrix[i, j], self.stderr[i, j], self.n_effective[i, j], self.method
        )

    def variances(self, *, quantity: Quantity | None = None) -> Measurement:
        """Return the diagonal as a measurement.

        Parameters
        ----------
        quantity : Quantity, optional
            Name and labels of the result.

        Returns
        -------
        Measurement
        """
        i = np.arange(len(self.names))
        label = named(quantity, "stationary variance", "weight^2", self.names)
        return measured(
            label, self.matrix[i, i], self.stderr[i, i], self.n_effective[i, i], self.method
        )


def mean(trajectory: Trajectory | ArrayLike, *, quantity: Quantity | None = None) -> Measurement:
    """Measure the mean of every coordinate.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        A stationary run.
    quantity : Quantity, optional
        Name and labels of the result, ``"stationary mean"`` if not given.

    Returns
    -------
    Measurement

    Raises
    ------
    RecordError
        If a coordinate is constant, or there are fewer than 16 chains and they hold fewer than 50
        autocorrelation times.

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(3.0, 1.0, (32, 100, 1))
    >>> m = mean(draws)
    >>> bool(abs(m.value[0] - 3.0) < 4 * m.stderr[0])
    True
    """
    run = as_trajectory(trajectory)
    label = named(quantity, "stationary mean", "weight", coordinate_names(run))
    if run.chains >= MIN_CHAINS:
        return from_chains(chain_means(run), quantity=label, method=_ACROSS.format(run.chains))
    times = correlation_times(_spaced(run))
    method = _ALONG.format(times.count)
    return measured(label, centre_of(run, None), times.stderr_of_mean, times.replicas, method)


def covariance(
    trajectory: Trajectory | ArrayLike, about: ArrayLike | None = None
) -> CovarianceMeasurement:
    """Measure the full covariance matrix.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        A stationary run.
    about : (coordinate,) array_like, optional [x]
        The mean, if it is known; second moments are taken about it.

    Returns
    -------
    CovarianceMeasurement

    Raises
    ------
    RecordError
        If a coordinate is constant, or there are fewer than 16 chains and they hold fewer than 50
        autocorrelation times.

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(0.0, 2.0, (64, 200, 2))
    >>> found = covariance(draws)
    >>> bool(np.all(abs(found.matrix - 4 * np.eye(2)) < 4 * found.stderr))
    True
    >>> found.entries([(0, 1)]).quantity.labels
    ('0, 1',)
    """
    run = as_trajectory(trajectory)
    d, names = run.dimension, coordinate_names(run)
    if run.chains >= MIN_CHAINS:
        value, stderr, replicas = across(run, about, outer_products)
        _refuse_constant(stderr.diagonal(), names)
        method = _ACROSS.format(run.chains)
    else:
        i, j = np.triu_indices(d)
        flat = along(_spaced(run), about, i, j)
        value, stderr, replicas = (mirrored(entries, i, j, d) for entries in flat)
        method = _ALONG.format(run.chains * run.draws)
    return CovarianceMeasurement(
        matrix=value, stderr=stderr, n_effective=replicas, names=names, method=method
    )


def variances(
    trajectory: Trajectory | ArrayLike,
    about: ArrayLike | None = None,
    *,
    quantity: Quantity | None = None,
) -> Measurement:
    """Measure the variance of every coordinate without forming the matrix.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        A stationary run.
    about : (coordinate,) array_like, optional [x]
        The mean, if it is known.
    quantity : Quantity, optional
        Name and labels of the result, ``"stationary variance"`` if not given.

    Returns
    -------
    Measurement

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(0.0, 2.0, (64, 200, 1))
    >>> m = variances(draws)
    >>> bool(abs(m.value[0] - 4.0) < 4 * m.stderr[0])
    True
    """
    run = as_trajectory(trajectory)
    label = named(quantity, "stationary variance", "weight^2", coordinate_names(run))
    i = np.arange(run.dimension)
    return _entries(run, about, i, i, label)


def standard_deviations(
    trajectory: Trajectory | ArrayLike,
    about: ArrayLike | None = None,
    *,
    quantity: Quantity | None = None,
) -> Measurement:
    """Measure the standard deviation of every coordinate.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        A stationary run.
    about : (coordinate,) array_like, optional [x]
        The mean, if it is known.
    quantity : Quantity, optional
        Name and labels of the result, ``"stationary standard deviation"`` if not given.

    Returns
    -------
    Measurement
        Roots of the variances, with their errors carried to first order.

    Raises
    ------
    RecordError
        If a variance is not positive within the record's noise.

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(0.0, 2.0, (64, 200, 1))
    >>> m = standard_deviations(draws)
    >>> bool(abs(m.value[0] - 2.0) < 4 * m.stderr[0])
    True
    """
    run = as_trajectory(trajectory)
    label = named(quantity, "stationary standard deviation", "weight", coordinate_names(run))
    squared = variances(run, about)
    if not np.all(squared.value > 0):
        msg = "a variance estimated at zero or below has no root; run more or longer chains"
        raise RecordError(msg)
    value = np.sqrt(squared.value)
    return measured(
        label, value, squared.stderr / (2.0 * value), squared.n_effective, squared.method
    )


def covariance_entries(
    trajectory: Trajectory | ArrayLike,
    pairs: Sequence[tuple[int, int]] | None = None,
    about: ArrayLike | None = None,
    *,
    quantity: Quantity | None = None,
) -> Measurement:
    """Measure chosen covariances without forming the matrix.

    Parameters
    ----------
    trajectory : Trajectory or (chain, draw, coordinate) array_like [x]
        A stationary run.
    pairs : sequence of (int, int), optional
        Which entries; all above the diagonal if not given.
    about : (coordinate,) array_like, optional [x]
        The mean, if it is known.
    quantity : Quantity, optional
        Name and labels of the result, ``"stationary covariance"`` if not given.

    Returns
    -------
    Measurement

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(0.0, 2.0, (64, 200, 3))
    >>> covariance_entries(draws).quantity.labels
    ('0, 1', '0, 2', '1, 2')
    """
    run = as_trajectory(trajectory)
    i, j = _pairs(pairs, run.dimension)
    label = _entry_quantity(quantity, coordinate_names(run), i, j)
    return _entries(run, about, i, j, label)


def _entries(
    run: Trajectory, about: ArrayLike | None, i: IntArray, j: IntArray, label: Quantity
) -> Measurement:
    if run.chains >= MIN_CHAINS:

        def products(x: FloatArray) -> FloatArray:
            return np.asarray(np.einsum("rnp,rnp->rp", x[..., i], x[..., j]), dtype=np.float64)

        value, stderr, replicas = across(run, about, products)
        return measured(label, value, stderr, replicas, _ACROSS.format(run.chains))
    value, stderr, replicas = along(_spaced(run), about, i, j)
    return measured(label, value, stderr, replicas, _ALONG.format(run.chains * run.draws))


def _spaced(run: Trajectory) -> Trajectory:
    # Return a run whose draws may serve as a time series, or say that chains are missing.
    if run.draws < 2:
        msg = (
            f"{run.chains} chains with one draw each give no honest error; run at least "
            f"{MIN_CHAINS} chains or record more draws"
        )
        raise RecordError(msg)
    return on_grid(run)


def _refuse_constant(stderr: FloatArray, names: tuple[str, ...]) -> None:
    if not np.all(stderr > 0):
        k = int(np.argmin(stderr > 0))
        msg = (
            f"coordinate {names[k]!r} does not vary, so its variance has no error; drop constant "
            "coordinates and frozen parameters"
        )
        raise RecordError(msg)


def _pairs(pairs: Sequence[tuple[int, int]] | None, d: int) -> tuple[IntArray, IntArray]:
    # Return row and column indices of the wanted entries.
    if pairs is None:
        if d < 2:
            msg = "one coordinate has no off-diagonal covariances; ask for `variances`"
            raise ShapeError(msg)
        i, j = np.triu_indices(d, 1)
        return i.astype(np.int64), j.astype(np.int64)
    given = np.asarray(pairs)
    finite_array("pairs", given, shape=(None, 2))
    if given.size == 0 or given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= d:
        msg = f"`pairs` must hold coordinate numbers from 0 to {d - 1}, got {pairs!r}"
        raise ShapeError(msg)
    return given[:, 0].astype(np.int64), given[:, 1].astype(np.int64)


def _entry_quantity(
    quantity: Quantity | None, names: tuple[str, ...], i: IntArray, j: IntArray
) -> Quantity:
    labels = tuple(f"{names[a]}, {names[b]}" for a, b in zip(i, j, strict=True))
    return named(quantity, "stationary covariance", "weight^2", labels)
