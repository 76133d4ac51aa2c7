"""Dimensions from mean logarithmic slopes, with the errors of sampling and of the window.

See :mod:`fracsde.estimators.dimensions` for what the slopes mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fracsde._check import real
from fracsde.errors import RecordError
from fracsde.estimators.chains import jackknife_error, leave_one_out_means
from fracsde.estimators.windows import checked_window
from fracsde.records.measurement import Measurement, Quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray

__all__ = ["DimensionMeasurement", "measured_dimension", "packed"]

_POINTS = 24  # slopes in the mean
_MIN_WALKERS = 8
_FLOOR = 1e-12  # relative; an exact slope has the error of its rounding

_NAMES = {
    "d_w": "walk dimension d_w",
    "d_s_ret": "spectral dimension d_s_ret",
    "d_s_count": "spectral dimension d_s_count",
    "d_s_range": "spectral dimension d_s_range",
    "d_f": "mass dimension d_f",
    "d_s_AO": "spectral dimension d_s_AO",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class DimensionMeasurement(Measurement):
    """A measured dimension with the window it belongs to.

    Parameters
    ----------
    symbol : str
        Which dimension: ``d_w``, ``d_s_ret``, ``d_s_count``, ``d_s_range``, ``d_f``, ``d_s_AO``.
    window : (float, float)
        Of time, eigenvalue or distance; NaN for a combination of dimensions.
    period : float [1]
        Ratio over which each slope was taken.
    sampling : float [1]
        The part of the error that more walkers reduce; zero for exact laws.
    systematic : float [1]
        How far slopes within the window are from their mean.
    local : (k,) ndarray of float64 [1]
        The dimension from each slope.
    """

    citation: ClassVar[tuple[str, ...]] = ("AlexanderOrbach1982", "RammalToulouse1983")

    symbol: str
    window: tuple[float, float]
    period: float
    sampling: float
    systematic: float
    local: FloatArray


def measured_dimension(
    symbol: str,
    times: FloatArray,
    curves: FloatArray,
    window: tuple[float, float],
    period: float,
    dimension: Callable[[Any], Any],
) -> DimensionMeasurement:
    """Turn the mean slope of the logarithm of a mean curve into a dimension with both errors.

    Parameters
    ----------
    symbol : str
        Which dimension.
    times : (t,) ndarray of float64
        Arguments of the curves.
    curves : (walker, t) ndarray of float64
        One curve of each walker, or a single exact one.
    window : (float, float)
        Where slopes are taken.
    period : float [1]
        Over which ratio.
    dimension : callable
        Slope to dimension.

    Returns
    -------
    DimensionMeasurement

    Raises
    ------
    RecordError
        If the window does not fit, walkers are few, or a curve is zero or does not grow.
    """
    low, high = checked_window(window)
    ratio = real("period", period, low=1.0)
    if low < times[0] or high > times[-1] or high < low * ratio:
        msg = (
            f"the window ({low:g}, {high:g}) must lie within the record, {times[0]:g} to "
            f"{times[-1]:g}, and span a period of {ratio:g}; change it, or record longer"
        )
        raise RecordError(msg)
    if 1 < len(curves) < _MIN_WALKERS:
        msg = f"an error across walkers needs at least {_MIN_WALKERS} of them, got {len(curves)}"
        raise RecordError(msg)
    early = np.geomspace(low, high / ratio, _POINTS if high > low * ratio * (1 + 1e-9) else 1)
    ends = np.concatenate([early, early * ratio])
    # Linear in the logarithms between recorded times: a matrix that serves every curve.
    logs, wanted = np.log(np.maximum(times, 1e-300)), np.log(np.clip(ends, low, high))
    after = np.clip(np.searchsorted(times, np.clip(ends, low, high)), 1, len(times) - 1)
    share = (wanted - logs[after - 1]) / (logs[after] - logs[after - 1])

    def slopes(values: FloatArray) -> FloatArray:
        left, right = values[..., after - 1], values[..., after]
        # An end at a recorded time asks nothing of the neighbour, which may be zero.
        needed = np.where(share < 1.0, left, right), np.where(share > 0.0, right, left)
        if np.any(np.minimum(*needed) <= 0):
            msg = (
                "a curve is zero in the window and has no logarithm; move the window, or take more "
                "walkers"
            )
            raise RecordError(msg)
        curve = (1.0 - share) * np.log(needed[0]) + share * np.log(needed[1])
        gaps = curve[..., len(early) :] - curve[..., : len(early)]
        return np.asarray(gaps / np.log(ratio), dtype=np.float64)

    local = slopes(curves.mean(axis=0))
    mean = float(local.mean())
    if symbol == "d_w" and mean < 1e-6:
        msg = f"the displacement does not grow on [{low:g}, {high:g}]; choose an earlier window"
        raise RecordError(msg)
    value = float(dimension(mean))
    gain = abs(float(dimension(mean + 1e-7)) - value) / 1e-7
    with np.errstate(divide="ignore"):
        each = np.asarray(dimension(local), dtype=np.float64)
    sampling, count, noise = 0.0, float("inf"), np.zeros(1)
    if len(curves) > 1:
        without = slopes(leave_one_out_means(curves))
        sampling = gain * float(jackknife_error(without.mean(axis=1)))
        noise, count = jackknife_error(without), float(len(curves))
    # What a slope differs by beyond twice what walkers explain.
    excess = np.square(local - mean) - np.square(2.0 * noise)
    systematic = gain * float(np.sqrt(max(0.0, excess.max())))
    how = "exact law" if len(curves) == 1 else f"{len(curves)} walkers, jackknife"
    method = f"mean slope over ratios of {ratio:g} on [{low:g}, {high:g}], {how}"
    return packed(symbol, value, sampling, systematic, count, (low, high), ratio, each, method)


def packed(
    symbol: str,
    value: float,
    sampling: float,
    systematic: float,
    count: float,
    window: tuple[float, float],
    period: float,
    local: FloatArray,
    method: str,
) -> DimensionMeasurement:
    """Return the measurement with its errors put together.

    Returns
    -------
    DimensionMeasurement
    """
    error = max(float(np.hypot(sampling, systematic)), _FLOOR * abs(value))
    # An exact law has no sample; its window holds as many slopes as were taken.
    effective = max(2.0, float(len(local))) if np.isinf(count) else count
    return DimensionMeasurement(
        quantity=Quantity(name=_NAMES[symbol], unit="1", labels=("",)),
        value=np.array([value]),
        stderr=np.array([error]),
        n_effective=np.array([effective]),
        method=method,
        symbol=symbol,
        window=window,
        period=period,
        sampling=sampling,
        systematic=systematic,
        local=local,
    )
