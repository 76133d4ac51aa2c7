"""Noise, curvature and anharmonicity from runs at several learning rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde import Measurement, Quantity
from fracsde.estimators import fluctuation_dissipation_series
from validation.case import Case, runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fracsde.estimators import FluctuationSeries

__all__ = ["CASES"]

_RATES = np.array([0.2, 0.3, 0.4, 0.5, 0.6])
_H = np.array([1.0, 0.4])
_LABELS = ("Tr C", "Tr HC", "anharmonic bend")


def _parabolas(chains: int, draws: int) -> Callable[[np.random.Generator], Any]:
    # Two weights in their stationary laws, with unit noise.
    def sample(rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
        shape = (len(_RATES), chains, 2)
        shrink, eta = 1.0 - _RATES[:, None, None] * _H, _RATES[:, None, None]
        w = rng.standard_normal(shape) * eta / np.sqrt(1.0 - shrink**2)
        squares = np.empty((draws, len(_RATES), chains))
        for t in range(draws):
            g = _H * w + rng.standard_normal(shape)
            squares[t] = np.square(g).sum(axis=2)
            w = w - eta * g
        return [{"gradient_norm_squared": squares[:, k].T} for k in range(len(_RATES))]

    return sample


def _series(run: Any) -> FluctuationSeries:
    return fluctuation_dissipation_series(
        run, learning_rates=_RATES, hessian=np.diag(_H), gradient_noise=np.eye(2)
    )


def _measured(run: Any) -> Measurement:
    found = _series(run)
    assert found.noise is not None  # of batches
    parts = (found.noise, found.curvature_noise, found.anharmonicity)
    return Measurement(
        quantity=Quantity(name="series", labels=_LABELS),
        value=np.concatenate([part.value for part in parts]),
        stderr=np.concatenate([part.stderr for part in parts]),
        n_effective=np.concatenate([part.n_effective for part in parts]),
    )


def _as_independent(run: Any) -> Measurement:
    # A fit by plain least squares, draws taken for independent and errors for equal.
    y = np.array([np.mean(part["gradient_norm_squared"]) for part in run])
    x = _RATES[:, None] ** np.arange(3)
    c = np.linalg.lstsq(x, y)[0]
    spread = np.sum((y - x @ c) ** 2) / 2.0
    errors = np.sqrt(spread * np.diagonal(np.linalg.inv(x.T @ x)))
    return Measurement(
        quantity=Quantity(name="series", labels=_LABELS),
        value=c * np.array([1.0, 2.0, 1.0]),
        stderr=errors * np.array([1.0, 2.0, 1.0]),
        n_effective=np.full(3, 1000.0),
    )


def _rates(chains: int, draws: int) -> Case:
    return runs(
        "fluctuation-dissipation over rates",
        _measured,
        _parabolas(chains, draws),
        law="SGD on two parabolas, five rates",
        chains=chains,
        draws=draws,
        truth=dict(zip(_LABELS, (2.0, float(_H.sum()), 0.0), strict=True)),
        naive=_as_independent,
        tested=100,
    )


CASES = (_rates(32, 60),)
