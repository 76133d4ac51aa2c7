"""Autocorrelations, autocovariances and integrated times."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fracsde import estimators
from validation.case import AR1, columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde.records import Measurement

    _Estimator = Callable[[np.ndarray], Measurement]

__all__ = ["CASES"]


def _at(lag: int) -> _Estimator:
    def measure(values: np.ndarray) -> Measurement:
        return estimators.autocorrelation_at(values, [lag])

    return measure


def _covariance_at(lag: int) -> _Estimator:
    def measure(values: np.ndarray) -> Measurement:
        return estimators.autocovariance_at(values, [lag])

    return measure


def _as_if_independent(
    measure: _Estimator, size: Callable[[Measurement], np.ndarray]
) -> _Estimator:
    # The value with an error of ``size`` over the root of the number of draws.
    def naive(values: np.ndarray) -> Measurement:
        found, count = measure(values), values.shape[0] * values.shape[1]
        return replace(found, stderr=size(found) / np.sqrt(count), n_effective=float(count))

    return naive


def _one(found: Measurement) -> np.ndarray:
    return np.ones_like(found.value)


def _itself(found: Measurement) -> np.ndarray:
    return found.value


_LAWS = (
    (AR1(), 16, 50),
    (AR1(phi=-0.5), 2, 500),
    (AR1(phi=0.8), 1, 2000),
    (AR1(phi=0.8), 4, 500),
    (AR1(phi=0.8), 16, 40),
    (AR1(phi=0.8), 64, 20),
    (AR1(phi=0.8, innovations="t(5)"), 4, 500),
    (AR1(phi=0.8, innovations="log-normal(1/2)"), 32, 50),
    (AR1(phi=0.8, innovations="log-normal"), 4, 1000),
    (AR1(phi=0.8, innovations="log-normal"), 32, 50),
)
_WIDE = "wide: about 100 independent draws of which the largest decide"

_AT = tuple(
    columns(
        f"{name} at lag {lag}",
        make(lag),
        law,
        chains=chains,
        draws=draws,
        truth=law.phi**lag,
        naive=_as_if_independent(make(lag), _one) if law.phi > 0 and lag == 5 else None,
        wide=_WIDE
        if (name, law.innovations, draws) == ("autocovariance", "log-normal", 50)
        else "",
    )
    for name, make in (("autocorrelation", _at), ("autocovariance", _covariance_at))
    for law, chains, draws in _LAWS
    for lag in (1, 5)
)
_TIMES = tuple(
    columns(
        "integrated time",
        estimators.integrated_time,
        law,
        chains=chains,
        draws=draws,
        truth=(1.0 + law.phi) / (1.0 - law.phi),
        naive=_as_if_independent(estimators.integrated_time, _itself) if law.phi > 0 else None,
    )
    for law, chains, draws in (
        (AR1(), 1, 400),
        (AR1(), 16, 50),
        (AR1(phi=-0.5), 2, 5000),
        (AR1(phi=0.8), 1, 2000),
        (AR1(phi=0.8), 4, 500),
        (AR1(phi=0.8), 16, 125),
        (AR1(phi=0.8), 64, 80),
        (AR1(phi=0.8, innovations="t(5)"), 4, 500),
        (AR1(phi=0.8, innovations="log-normal(1/2)"), 32, 80),
        (AR1(phi=0.8, innovations="log-normal"), 4, 1000),
        (AR1(phi=0.8, innovations="log-normal"), 32, 80),
        (AR1(phi=49 / 51), 2, 5000),
    )
)

CASES = _AT + _TIMES
