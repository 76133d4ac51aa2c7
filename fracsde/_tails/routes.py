"""Which way to the tail index a problem admits: quadrature, enumeration, samples, populations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde._tails.batches import MOST_BATCHES, all_batches, batch_count, drawn_batches
from fracsde._tails.gaussian import isotropic_law
from fracsde._tails.laws import NormLaw
from fracsde._tails.roots import Found, from_law, from_populations, from_samples
from fracsde._tails.steps import (
    BatchPull,
    GaussianPull,
    MatrixStep,
    QuadraticStep,
    drawn_matrices,
)
from fracsde.errors import UnsupportedError
from fracsde.problems.example_noise import FactorNoise, GaussianInputNoise, HessianNoise

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._tails.populations import Population, Step
    from fracsde._typing import FloatArray, IntArray
    from fracsde.problems.multipliers import RandomMultiplier
    from fracsde.problems.quadratic_loss_sgd import QuadraticLossSGD

__all__ = ["Effort", "multiplier_index", "sgd_index"]

_EPS = float(np.finfo(np.float64).eps)
_SAMPLES = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Effort:
    """What sampled routes may spend."""

    rng: np.random.Generator
    confidence: float
    size: Population
    watch: Callable[[], None] | None

    def populations(self, step: Step, states: int, *, bounded: bool) -> tuple[str, Found]:
        """Move populations.

        Returns
        -------
        str, Found
        """
        found = from_populations(
            step,
            states,
            bounded=bounded,
            size=self.size,
            confidence=self.confidence,
            rng=self.rng,
            watch=self.watch,
        )
        return "populations", found


def multiplier_index(law: RandomMultiplier, effort: Effort) -> tuple[str, Found]:
    """Find the index of a recursion with multipliers of a given law.

    Returns
    -------
    str, Found
    """
    d, sampler = law.dimension, law.sampler
    if sampler is not None:
        if d == 1:
            drawn = drawn_matrices(sampler, effort.rng, _SAMPLES, 1).ravel()
            return "sampling", from_samples(_equal(drawn), confidence=effort.confidence)
        return effort.populations(MatrixStep(sampler=sampler, dimension=d), d, bounded=False)
    values, weights = law.values, law.weights
    assert values is not None and weights is not None  # noqa: PT018 - checked on construction
    if d == 1:
        likely = weights > 0.0
        return "enumeration", _enumerated(values.ravel()[likely], np.log(weights[likely]))
    bounded = bool(np.linalg.norm(values, 2, axis=(1, 2)).max() <= 1.0 + 4.0 * _EPS)

    def draw(rng: np.random.Generator, count: int) -> FloatArray:
        return np.asarray(values[rng.choice(len(values), size=count, p=weights)], dtype=np.float64)

    return effort.populations(MatrixStep(sampler=draw, dimension=d), d, bounded=bounded)


def sgd_index(sgd: QuadraticLossSGD, effort: Effort) -> tuple[str, Found]:
    """Find the index of SGD on quadratic losses.

    Returns
    -------
    str, Found

    Raises
    ------
    UnsupportedError
        If epochs are shuffled, or no example moves any weight.
    """
    modes = sgd.second_moments
    W, noise, rule = modes.basis, modes.noise, modes.rule
    if W.shape[1] == 0:
        msg = "no example moves any weight, so there is no stationary law to have a tail"
        raise UnsupportedError(msg)
    decay = sgd.about_minimum.decay * np.asarray(W.T @ W)
    decay = 0.5 * (decay + decay.T)
    if isinstance(noise, GaussianInputNoise):
        values, vectors = np.linalg.eigh(noise.covariance)
        if not rule.has_velocity and _isotropic(noise.covariance) and _isotropic(decay):
            return "quadrature", _isotropic_index(
                eta=sgd.learning_rate,
                variance=float(values.max()),
                ridge=float(decay[0, 0]),
                batch=sgd.batch_size,
                dimension=len(decay),
            )
        root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        step = QuadraticStep(
            pull=GaussianPull(root=root, batch=sgd.batch_size),
            decay=decay,
            rate=sgd.learning_rate,
            rule=rule,
        )
        return effort.populations(step, rule.state_size(len(decay)), bounded=False)
    assert isinstance(noise, (FactorNoise, HessianNoise))  # the other kinds there are
    if not rule.has_velocity and len(decay) == 1:
        return _scalar_index(sgd, noise, float(decay[0, 0]), effort)
    return _product_index(sgd, noise, decay, effort)


def _isotropic(matrix: FloatArray) -> bool:
    middle = float(np.trace(matrix)) / len(matrix)
    gap = np.abs(matrix - middle * np.eye(len(matrix))).max()
    return bool(gap <= 1e-13 * abs(middle))


def _isotropic_index(
    *, eta: float, variance: float, ridge: float, batch: int, dimension: int
) -> Found:
    def law_at(order: float, coarsen: float) -> NormLaw:
        return isotropic_law(
            keep=1.0 - eta * ridge,
            theta=eta * variance / batch,
            batch=batch,
            dimension=dimension,
            order=order,
            coarsen=coarsen,
        )

    return from_law(law_at, rounding=_EPS * (16.0 + batch + dimension), complete=False)


def _scalar_index(
    sgd: QuadraticLossSGD, noise: FactorNoise | HessianNoise, decay: float, effort: Effort
) -> tuple[str, Found]:
    curvatures = _example_hessians(noise).ravel()
    replace = sgd.sampling == "with_replacement"
    N, B = len(curvatures), sgd.batch_size

    def multipliers(batches: IntArray) -> FloatArray:
        return np.asarray(1.0 - sgd.learning_rate * (curvatures[batches].mean(axis=1) + decay))

    if batch_count(N, B, replace=replace) <= MOST_BATCHES:
        batches, log_weight = all_batches(N, B, replace=replace)
        return "enumeration", _enumerated(multipliers(batches), log_weight)
    parts = [
        multipliers(drawn_batches(effort.rng, _SAMPLES // 16, N, B, replace=replace))
        for _ in range(16)
    ]
    most = _most_curved(curvatures, B, replace=replace) + decay
    bounded = float(curvatures.min()) + decay >= 0.0 and sgd.learning_rate * most <= 2.0
    law = _equal(np.concatenate(parts))
    return "sampling", from_samples(law, confidence=effort.confidence, bounded=bounded)


def _product_index(
    sgd: QuadraticLossSGD,
    noise: FactorNoise | HessianNoise,
    decay: FloatArray,
    effort: Effort,
) -> tuple[str, Found]:
    replace = sgd.sampling == "with_replacement"
    factors, signs, hessians = None, None, None
    if isinstance(noise, FactorNoise):
        factors, signs = noise.factors, noise.signs
    else:
        hessians = noise.hessians
    pull = BatchPull(
        factors=factors, signs=signs, hessians=hessians, batch=sgd.batch_size, replace=replace
    )
    step = QuadraticStep(pull=pull, decay=decay, rate=sgd.learning_rate, rule=sgd.rule)
    bounded = False
    if not sgd.rule.has_velocity:
        each = np.asarray(np.linalg.eigvalsh(_example_hessians(noise)), dtype=np.float64)
        most = _most_curved(each[:, -1], sgd.batch_size, replace=replace)
        most += float(np.linalg.eigvalsh(decay)[-1])
        # No batch stretches any vector where its curvatures lie between 0 and 2 / eta.
        bounded = bool(each.min() >= -4.0 * _EPS * each.max() and sgd.learning_rate * most <= 2.0)
    return effort.populations(step, sgd.rule.state_size(len(decay)), bounded=bounded)


def _example_hessians(noise: FactorNoise | HessianNoise) -> FloatArray:
    if isinstance(noise, HessianNoise):
        return noise.hessians
    signed = noise.factors if noise.signs is None else noise.signs[..., None] * noise.factors
    return np.asarray(np.einsum("nkr,nks->nrs", noise.factors, signed), dtype=np.float64)


def _most_curved(tops: FloatArray, batch: int, *, replace: bool) -> float:
    # A bound on the largest curvature of a batch.
    return float(tops.max() if replace else np.sort(tops)[-batch:].mean())


def _equal(multipliers: FloatArray) -> NormLaw:
    weight = np.full(len(multipliers), -np.log(len(multipliers)))
    return NormLaw(log_norm=_log_size(multipliers), log_weight=weight)


def _enumerated(multipliers: FloatArray, log_weight: FloatArray) -> Found:
    law = NormLaw(log_norm=_log_size(multipliers), log_weight=log_weight)
    return from_law(lambda order, coarsen: law, rounding=16.0 * _EPS, complete=True)


def _log_size(multipliers: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.abs(multipliers)))
