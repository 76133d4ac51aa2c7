"""Means, variances, standard deviations and covariances."""

from __future__ import annotations

import numpy as np

from fracsde import estimators
from fracsde.records import Measurement, Quantity
from validation.case import AR1, columns

__all__ = ["CASES"]


def _independent(values: np.ndarray) -> Measurement:
    # The textbook error of a mean, blind to autocorrelation.
    flat = values.reshape(-1, values.shape[-1])
    return Measurement(
        quantity=Quantity(name="naive", labels=[str(i) for i in range(flat.shape[1])]),
        value=flat.mean(axis=0),
        stderr=flat.std(axis=0, ddof=1) / np.sqrt(len(flat)),
        n_effective=float(len(flat)),
    )


def _independent_squares(values: np.ndarray) -> Measurement:
    return _independent(np.square(values - values.mean(axis=(0, 1))))


_WIDE = "wide: about 100 independent draws of which the largest decide"
_SLOW = AR1(phi=49 / 51)  # integrated time 50
_LAWS = (
    (AR1(), 1, 400),
    (AR1(), 4, 100),
    (AR1(), 16, 50),
    (AR1(innovations="Laplace"), 4, 500),
    (AR1(innovations="log-normal"), 4, 500),
    (AR1(innovations="t(5)"), 4, 500),
    (AR1(innovations="t(3)"), 4, 500),
    (AR1(innovations="t(5)"), 32, 50),
    (AR1(innovations="log-normal(1/2)"), 32, 50),
    (AR1(phi=-0.5), 2, 500),
    (AR1(phi=0.8), 1, 2000),
    (AR1(phi=0.8), 4, 500),
    (AR1(phi=0.8), 16, 40),
    (AR1(phi=0.8), 64, 10),
    (AR1(phi=0.8, innovations="t(5)"), 4, 1000),
    (AR1(phi=0.8, innovations="log-normal(1/2)"), 32, 50),
    (AR1(innovations="log-normal"), 32, 50),
    (AR1(phi=0.8, innovations="log-normal"), 4, 1000),
    (AR1(phi=0.8, innovations="log-normal"), 32, 50),
    (AR1(innovations="Weibull(1/2)"), 4, 500),
    (_SLOW, 2, 5000),
    (_SLOW, 32, 50),
)

_MEANS = tuple(
    columns(
        "mean",
        estimators.mean,
        law,
        chains=chains,
        draws=draws,
        truth=0.0,
        naive=_independent if law.phi > 0 else None,
    )
    for law, chains, draws in _LAWS
)
_VARIANCES = tuple(
    columns(
        "variance",
        estimators.variances,
        law,
        chains=chains,
        draws=draws,
        truth=1.0,
        naive=_independent_squares if law.phi > 0.5 else None,
        wide=_WIDE if law.innovations == "log-normal" and (law.phi, chains) == (0.8, 32) else "",
    )
    for law, chains, draws in _LAWS
    if law.innovations != "t(3)"
)
_DEVIATIONS = tuple(
    columns(
        "standard deviation",
        estimators.standard_deviations,
        law,
        chains=chains,
        draws=draws,
        truth=1.0,
    )
    for law, chains, draws in _LAWS[:3] + _LAWS[10:14]
)

CASES = _MEANS + _VARIANCES + _DEVIATIONS
