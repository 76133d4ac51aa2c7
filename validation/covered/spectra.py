"""Traces and densities of eigenvalues from random vectors, of a matrix that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde import Measurement, Quantity
from fracsde.estimators import spectral_density
from validation.case import Case, runs

if TYPE_CHECKING:
    from fracsde.estimators import SpectralDensity

__all__ = ["CASES"]

_SIZE, _PROBES = 40, 12
_AXES = np.linalg.qr(np.random.default_rng(3).standard_normal((_SIZE, _SIZE)))[0]
_SPECTRUM = np.geomspace(0.05, 5.0, _SIZE)
_MATRIX = (_AXES * _SPECTRUM) @ _AXES.T
_AT, _WIDTH = 1.0, 0.8


class _Bowl:
    """A loss with a known Hessian."""

    parameters = _SIZE
    examples = 1

    def loss(self, w: np.ndarray) -> float:
        return 0.5 * float(w @ _MATRIX @ w)

    def gradient(self, w: np.ndarray) -> np.ndarray:
        return _MATRIX @ w

    def loss_and_gradient(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        return self.loss(w), self.gradient(w)

    def hessian_vector_product(self, w: np.ndarray, v: np.ndarray) -> np.ndarray:
        return _MATRIX @ v

    def per_example_gradients(self, w: np.ndarray) -> np.ndarray:
        return self.gradient(w)[None]


def _number(value: float, stderr: float, count: float) -> Measurement:
    return Measurement(
        quantity=Quantity(name="spectrum"), value=value, stderr=stderr, n_effective=count
    )


def _sample(rng: np.random.Generator) -> SpectralDensity:
    return spectral_density(_Bowl(), np.zeros(_SIZE), probes=_PROBES, steps=_SIZE, rng=rng)


def _trace(found: SpectralDensity) -> Measurement:
    return _number(*found.trace, float(found.probes))


def _density(found: SpectralDensity) -> Measurement:
    value, stderr, _ = found.density([_AT], width=_WIDTH)
    return _number(value[0], stderr[0], float(found.probes))


def _count(found: SpectralDensity) -> Measurement:
    counted = found.count_between(-np.inf, 1.0)
    return _number(counted.value, counted.stderr, float(found.probes))


def _without_error_of_vectors(found: SpectralDensity) -> Measurement:
    # Nodes of all rules taken for independent eigenvalues.
    value = found.trace[0]
    return _number(value, value / found.nodes.size**0.5 * 0.1, float(found.nodes.size))


def _case(name: str, measure, truth: float, naive=None) -> Case:
    return runs(
        name,
        measure,
        _sample,
        law=f"{_SIZE} eigenvalues, condition 100",
        chains=_PROBES,
        draws=_SIZE,
        truth={"": truth},
        naive=naive,
        tested=200,
    )


_SMOOTH = float(
    np.mean(np.exp(-0.5 * ((_AT - _SPECTRUM) / _WIDTH) ** 2) / (_WIDTH * (2 * np.pi) ** 0.5))
)

CASES = (
    _case("trace of the Hessian", _trace, float(_SPECTRUM.sum()), _without_error_of_vectors),
    _case("spectral density", _density, _SMOOTH),
    _case("eigenvalues below 1", _count, float(np.sum(_SPECTRUM < 1.0))),
)
