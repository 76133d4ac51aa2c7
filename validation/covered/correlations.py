"""Autocorrelations, autocovariances and integrated times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fracsde import estimators
from validation.coverage import AR1, columns

if TYPE_CHECKING:
    import numpy as np

    from fracsde.records import Measurement

__all__ = ["CASES"]


def _at(lag: int) -> object:
    def measure(values: np.ndarray) -> Measurement:
        return estimators.autocorrelation_at(values, [lag])

    return measure


def _covariance_at(lag: int) -> object:
    def measure(values: np.ndarray) -> Measurement:
        return estimators.autocovariance_at(values, [lag])

    return measure


_LAWS = (
    (AR1(), 16, 50),
    (AR1(phi=-0.5), 2, 500),
    (AR1(phi=0.8), 1, 2000),
    (AR1(phi=0.8), 4, 500),
    (AR1(phi=0.8), 16, 40),
    (AR1(phi=0.8), 64, 20),
    (AR1(phi=0.8, innovations="t(5)"), 4, 500),
    (AR1(phi=0.8, innovations="log-normal(1/2)"), 32, 50),
)

_AT = tuple(
    columns(
        f"{name} at lag {lag}",
        make(lag),
        law,
        chains=chains,
        draws=draws,
        truth=law.phi**lag,
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
        (AR1(phi=49 / 51), 2, 5000),
    )
)

CASES = _AT + _TIMES
