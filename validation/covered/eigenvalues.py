"""Covariance matrices of several coordinates: entries and eigenvalues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde import estimators
from fracsde.records import Measurement, Quantity
from validation.case import AR1, Case, runs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CASES"]

_STEEP = np.geomspace(1.0, 1e-3, 5)  # condition number 1000
_MANY = np.geomspace(1.0, 1e-2, 12)
_GROUP = "wide: neighbours are not told apart"
_TURN = np.linalg.qr(np.random.default_rng(1).standard_normal((12, 12)))[0]


def _sample(
    law: AR1, chains: int, draws: int, spectrum: np.ndarray
) -> Callable[[np.random.Generator], np.ndarray]:
    # Coordinates that mix independent ones of the given variances.
    d = len(spectrum)
    turn = np.linalg.qr(_TURN[:d, :d])[0]
    mix = np.sqrt(spectrum)[:, None] * turn

    def sample(rng: np.random.Generator) -> np.ndarray:
        return law(rng, chains, draws, d) @ mix

    return sample


def _ends(values: np.ndarray) -> Measurement:
    # The largest, one in the middle, and the smallest.
    found = estimators.covariance_eigenvalues(values)
    at = [0, len(found.value) // 2, -1]
    return Measurement(
        quantity=Quantity(name="eigenvalue", labels=("largest", "middle", "smallest")),
        value=found.value[at],
        stderr=found.stderr[at],
        n_effective=found.n_effective[at],
    )


def _plain(values: np.ndarray) -> Measurement:
    # Anderson's error for independent draws, and the bias left in.
    flat = values.reshape(-1, values.shape[-1])
    spectrum = np.linalg.eigvalsh(np.cov(flat, rowvar=False))[::-1]
    value = spectrum[[0, len(spectrum) // 2, -1]]
    return Measurement(
        quantity=Quantity(name="eigenvalue", labels=("largest", "middle", "smallest")),
        value=value,
        stderr=value * np.sqrt(2.0 / len(flat)),
        n_effective=float(len(flat)),
    )


def _eigenvalues(law: AR1, chains: int, draws: int, spectrum: np.ndarray, wide: str = "") -> Case:
    d = len(spectrum)
    return runs(
        f"eigenvalues of {d}",
        _ends,
        _sample(law, chains, draws, spectrum),
        law=f"{law}, condition {spectrum[0] / spectrum[-1]:.4g}",
        chains=chains,
        draws=draws,
        truth={"largest": spectrum[0], "middle": spectrum[d // 2], "smallest": spectrum[-1]},
        naive=_plain if law.phi > 0 else None,
        wide=wide,
    )


def _means(spectrum: np.ndarray) -> Callable[[np.ndarray], Measurement]:
    # Of the largest and of the smallest group, less what those ranks have in truth.
    def measure(values: np.ndarray) -> Measurement:
        found = estimators.covariance_eigenvalues(values)
        means = found.means
        sizes = np.bincount(found.group)
        truth = np.bincount(found.group, weights=spectrum) / sizes
        at = [0, -1]
        return Measurement(
            quantity=Quantity(name="mean less its truth", labels=("largest", "smallest")),
            value=(means.value - truth)[at],
            stderr=means.stderr[at],
            n_effective=means.n_effective[at],
        )

    return measure


def _plain_mean(values: np.ndarray) -> Measurement:
    # All draws taken for independent.
    flat = values.reshape(-1, values.shape[-1])
    squares = np.square(flat).mean(axis=1)
    error = squares.std() / len(flat) ** 0.5
    return Measurement(
        quantity=Quantity(name="mean less its truth", labels=("largest", "smallest")),
        value=np.full(2, squares.mean() - 1.0),
        stderr=np.full(2, error),
        n_effective=float(len(flat)),
    )


def _groups(law: AR1, chains: int, draws: int, spectrum: np.ndarray, apart: str) -> Case:
    return runs(
        f"eigenvalues of {len(spectrum)} not told apart, their mean",
        _means(spectrum),
        _sample(law, chains, draws, spectrum),
        law=f"{law}, {apart}",
        chains=chains,
        draws=draws,
        truth={"largest": 0.0, "smallest": 0.0},
        naive=_plain_mean if np.ptp(spectrum) == 0.0 else None,
        tested=200,
    )


def _entry(values: np.ndarray) -> Measurement:
    return estimators.covariance_entries(values, [(0, 1), (1, 1)])


def _entries(law: AR1, chains: int, draws: int) -> Case:
    turn = np.linalg.qr(_TURN[:5, :5])[0]
    truth = turn.T @ (_STEEP[:, None] * turn)
    return runs(
        "covariance",
        _entry,
        _sample(law, chains, draws, _STEEP),
        law=f"{law}, condition 1000",
        chains=chains,
        draws=draws,
        truth={"entry 0, 1": truth[0, 1], "entry 1, 1": truth[1, 1]},
    )


CASES = (
    _entries(AR1(), 4, 200),
    _entries(AR1(innovations="t(5)"), 4, 500),
    _entries(AR1(innovations="log-normal"), 4, 500),
    _entries(AR1(phi=0.8), 4, 250),
    _entries(AR1(phi=0.8), 32, 40),
    _eigenvalues(AR1(), 16, 50, _STEEP),
    _eigenvalues(AR1(innovations="t(5)"), 32, 50, _STEEP),
    _eigenvalues(AR1(innovations="log-normal(1/2)"), 32, 50, _STEEP),
    _eigenvalues(AR1(innovations="log-normal"), 32, 100, _STEEP),
    _eigenvalues(AR1(phi=0.8), 4, 500, _STEEP),
    _eigenvalues(AR1(phi=0.8), 32, 100, _STEEP),
    _eigenvalues(AR1(phi=0.8), 64, 100, _MANY),
    _eigenvalues(AR1(phi=0.8), 32, 100, np.full(3, 1.0), _GROUP),
    _eigenvalues(AR1(phi=0.8), 32, 100, np.array([1.3, 1.15, 1.0]), _GROUP),
    _groups(AR1(phi=0.8), 32, 100, np.full(3, 1.0), "equal"),
    _groups(AR1(phi=0.8), 32, 100, np.array([1.3, 1.15, 1.0]), "condition 1.3"),
    _groups(AR1(phi=0.8), 4, 500, np.full(8, 1.0), "equal"),
    _groups(AR1(innovations="t(5)"), 32, 50, np.repeat([2.0, 1.0], [1, 5]), "five equal and 2"),
)
