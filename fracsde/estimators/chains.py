r"""Standard errors from independent chains, the rule all estimators share.

Draws of one chain are correlated; chains are not.  With one number :math:`y_r` per chain,

.. math::
    \bar y = \frac1R \sum_r y_r, \qquad
    \mathrm{se}^2 = \frac{1}{R(R-1)} \sum_r (y_r - \bar y)^2,

holds whatever the correlation inside a chain, and the interval
:math:`\bar y \pm t_{R-1}\,\mathrm{se}` is Student's.  For a function of such means the error is
that of the delete-one-chain jackknife, with :math:`\theta_{(r)}` the value without chain ``r``,

.. math::
    \mathrm{se}^2 = \frac{R-1}{R} \sum_r (\theta_{(r)} - \bar\theta_{(\cdot)})^2 .

Throughout, ``n_effective`` of a measurement counts the independent values behind its *standard
error*: the chains, or the windows of the record where chains are too few.  A Student interval with
``n_effective - 1`` degrees of freedom is then the honest one.  It is not the effective sample size
of :func:`~fracsde.estimators.autocorrelation.effective_sample_size`, which is larger.

Second moments are skewed: a sample of them that comes out low also has a small error.  Their
``n_effective - 1`` are Satterthwaite's degrees of freedom of the variance :math:`s^2` of values
with kurtosis :math:`\kappa`,

.. math::
    \nu = \frac{2\,(\mathbb E s^2)^2}{\operatorname{Var} s^2} \simeq
    \frac{2\,(R - 1)}{\kappa - 1} ,

which is :math:`R - 1` for normal values.  Edgeworth's expansion of Student's statistic of values
with skewness :math:`\gamma` asks at 95 % for :math:`R / (1 + 0.89\gamma^2 - 0.06(\kappa - 3))`
[Hall1992]_; along the gamma laws, averages of squares of normal values among them,
:math:`\kappa - 3 = \tfrac32\gamma^2`, and the two differ by less than a tenth.

References: [Efron1982]_, [Satterthwaite1946]_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array
from fracsde.errors import InputError, RecordError, ShapeError
from fracsde.records.measurement import Measurement, Quantity
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["MIN_CHAINS", "from_chains", "jackknife_error", "leave_one_out_means"]

MIN_CHAINS = 16
"""Chains from which the spread across chains is preferred to time-series formulas."""

_BLOCK = 1 << 19  # numbers copied at a time, so that scratch stays near the cache


def from_chains(per_chain: ArrayLike, *, quantity: Quantity, method: str = "") -> Measurement:
    """Measure a mean from one value per chain.

    Parameters
    ----------
    per_chain : (chain,) or (chain, size) array_like [unit of the quantity]
        One independent estimate per chain, at least two chains.
    quantity : Quantity
        What the values estimate.
    method : str
        How each value was obtained, for the report.

    Returns
    -------
    Measurement
        ``n_effective`` is the number of chains.

    Raises
    ------
    RecordError
        If there are fewer than two chains, or all chains agree exactly.

    Examples
    --------
    >>> heights = Quantity(name="height", unit="m")
    >>> m = from_chains([1.0, 2.0, 3.0], quantity=heights)
    >>> m.value, m.stderr.round(4), m.n_effective
    (array([2.]), array([0.5774]), array([3.]))
    """
    values = finite_array("per_chain", per_chain, ndim=(1, 2))
    chains = len(values)
    if chains < 2:
        msg = (
            f"an error across chains needs at least 2 chains, got {chains}; run independent "
            "replicas"
        )
        raise RecordError(msg)
    values = values.reshape(chains, -1)
    stderr = values.std(axis=0, ddof=1) / np.sqrt(chains)
    return measured(quantity, values.mean(axis=0), stderr, float(chains), method)


def leave_one_out_means(per_chain: FloatArray) -> FloatArray:
    """Return the means over all chains but one.

    Parameters
    ----------
    per_chain : (chain, ...) ndarray
        One value or array of values per chain.

    Returns
    -------
    (chain, ...) ndarray of float64
        Entry ``r`` leaves out chain ``r``.

    Examples
    --------
    >>> leave_one_out_means(np.array([1.0, 2.0, 6.0]))
    array([4. , 3.5, 1.5])
    """
    mean = per_chain.mean(axis=0)
    # About the mean, so that a common offset costs no digits.
    return np.asarray(mean - (per_chain - mean) / (len(per_chain) - 1), dtype=np.float64)


def jackknife_error(leave_one_out: FloatArray) -> FloatArray:
    """Return the standard error from the values obtained without each chain in turn.

    Parameters
    ----------
    leave_one_out : (chain, ...) ndarray
        The estimate computed without chain ``r``.

    Returns
    -------
    (...) ndarray of float64

    Examples
    --------
    The jackknife of a mean is its usual standard error:

    >>> y = np.array([1.0, 2.0, 6.0])
    >>> bool(abs(jackknife_error(leave_one_out_means(y)) - y.std(ddof=1) / 3**0.5) < 1e-15)
    True
    """
    spread: Any = leave_one_out.std(axis=0) * np.sqrt(len(leave_one_out) - 1)
    return np.asarray(spread, dtype=np.float64)


def freedom(
    square: FloatArray, fourth: FloatArray, values: Any, scale: FloatArray | None = None
) -> FloatArray:
    """Return Satterthwaite's degrees of freedom of a sample variance, plus one.

    The kurtosis is Fisher's, unbiased for normal values: the plain one of 16 values is far too low.

    Parameters
    ----------
    square, fourth : (...) ndarray of float64
        Second and fourth central moments of the sample.
    values : float or (...) ndarray of float64
        Its size, more than 3.
    scale : (...) ndarray of float64, optional
        For averages of products, the geometric mean of the two variances: averages of products of
        normal values have an excess of at least ``6 square / scale**2``, however few they are.

    Returns
    -------
    (...) ndarray of float64 [1]
        Between 2 and ``values``.

    Examples
    --------
    >>> y = np.arange(9.0) - 4.0  # lighter tails than normal: no correction
    >>> float(freedom(np.mean(y**2), np.mean(y**4), 9.0))
    9.0
    """
    n = np.maximum(values, 4.0)
    # Fourth powers may leave the range of float64; no correction is then made.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        excess = _or_none(fourth / np.square(square)) - 3.0
        unbiased = (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * excess + 6.0)
        least = 0.0 if scale is None else _or_none(6.0 * square / np.square(scale))
        degrees = 2.0 * (n - 1.0) / (2.0 + np.maximum(unbiased, least))
    return np.asarray(1.0 + np.maximum(degrees, 1.0), dtype=np.float64)


def _or_none(values: Any) -> Any:
    # Zero in place of what is not a number.
    return np.where(np.isfinite(values), values, 0.0)


def freedom_of(values: FloatArray) -> FloatArray:
    """Return :func:`freedom` of values with one entry per chain, along the first axis.

    Returns
    -------
    (...) ndarray of float64 [1]
    """
    square = np.square(values - values.mean(axis=0))
    with np.errstate(over="ignore"):
        fourth = np.square(square).mean(axis=0)
    return freedom(square.mean(axis=0), fourth, float(len(values)))


def measured(
    quantity: Quantity, value: FloatArray, stderr: FloatArray, n_effective: Any, method: str
) -> Measurement:
    """Return a Measurement, or say which entry does not vary.

    Returns
    -------
    Measurement

    Raises
    ------
    RecordError
        If a standard error is not positive.
    """
    flat = np.atleast_1d(stderr)
    if not np.all(np.isfinite(flat)):
        k = int(np.argmin(np.isfinite(flat)))
        msg = (
            f"{quantity.name!r}: squares of {_which(quantity, k)} leave the range of float64; the "
            "run diverged, or measure it in a larger unit"
        )
        raise RecordError(msg)
    # An error below the rounding of its value is that of equal numbers, added in another order.
    varies = flat > 0.5 * np.finfo(np.float64).eps * np.abs(np.atleast_1d(value))
    if not np.all(varies):
        k = int(np.argmin(varies))
        msg = (
            f"{quantity.name!r}: {_which(quantity, k)} is the same in every chain or draw, so it "
            "has no standard error; drop constant coordinates and frozen parameters, and give each "
            "chain a seed of its own"
        )
        raise RecordError(msg)
    return Measurement(
        quantity=quantity, value=value, stderr=stderr, n_effective=n_effective, method=method
    )


def _which(quantity: Quantity, k: int) -> str:
    return quantity.label(k) if quantity.labels else "the value"


def as_trajectory(source: Trajectory | ArrayLike) -> Trajectory:
    """Return ``source`` as a Trajectory; an array has axes (chain, draw, coordinate).

    Returns
    -------
    Trajectory

    Raises
    ------
    RecordError
        If chains have unequal lengths, or entries are masked.
    ShapeError
        If it is not a real array of that shape.
    """
    if isinstance(source, Trajectory):
        return source
    if np.ma.is_masked(source):
        msg = (
            "a record must have no gaps, got an array with masked entries; drop the chains or the "
            "draws that have them"
        )
        raise RecordError(msg)
    if isinstance(source, (list, tuple)):
        shapes = [np.shape(chain) for chain in source]
        if len(set(shapes)) > 1:
            lengths = sorted({shape[0] for shape in shapes if shape})
            msg = (
                f"all chains must have the same length and coordinates, got lengths {lengths}; "
                "cut them to the shortest or measure each group alone"
            )
            raise RecordError(msg)
    array = np.asarray(source)
    if array.dtype.kind not in "fiub" or array.ndim not in {2, 3}:
        msg = (
            "a record must be a Trajectory or a real array with axes (chain, draw, coordinate) or "
            f"(draw, coordinate), got {array.dtype} with shape {array.shape}"
        )
        raise ShapeError(msg)
    return Trajectory(values=array, times=np.arange(array.shape[-2], dtype=np.float64))


def coordinate_names(trajectory: Trajectory) -> tuple[str, ...]:
    """Return one label per coordinate: its name, or its number.

    Returns
    -------
    tuple of str
    """
    return tuple(trajectory.names) or tuple(str(i) for i in range(trajectory.dimension))


def named(quantity: Quantity | None, name: str, unit: str, labels: Sequence[str]) -> Quantity:
    """Return the caller's quantity if it fits, else one of the given name.

    Returns
    -------
    Quantity

    Raises
    ------
    InputError
        If it is no Quantity.
    ShapeError
        If the caller's quantity has another number of entries.
    """
    if quantity is None:
        return Quantity(name=name, unit=unit, labels=labels)
    if not isinstance(quantity, Quantity):
        msg = f"`quantity` must be a Quantity, got {quantity!r}"  # type: ignore[unreachable]
        raise InputError(msg)
    if quantity.size != len(labels):
        msg = (
            f"`quantity` {quantity.name!r} has {quantity.size} entries, the measurement has "
            f"{len(labels)}; give it one label per entry: {', '.join(labels[:6])}"
            f"{', ...' if len(labels) > 6 else ''}"
        )
        raise ShapeError(msg)
    return quantity


def blocks(trajectory: Trajectory, per_chain: int = 0) -> Iterator[slice]:
    """Cut the chains into runs that are small enough to copy.

    Parameters
    ----------
    trajectory : Trajectory
        Chains.
    per_chain : int
        Numbers that are made of each chain, if they are more than it holds.

    Yields
    ------
    slice
        Chains.
    """
    size = max(1, per_chain, trajectory.draws * trajectory.dimension)
    step = max(1, _BLOCK // size)
    for start in range(0, trajectory.chains, step):
        yield slice(start, min(start + step, trajectory.chains))
