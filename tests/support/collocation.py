"""Damaged tables of collocation for negative twins, and an operator to collocate."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracsde.operators.finite_volume import FiniteVolume
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.schemes import _collocating, _interval_loop


def relaxing(cells: int = 48) -> tuple[Any, np.ndarray]:
    """A chain with a quadratic potential, and masses away from its equilibrium."""
    base = FokkerPlanck(
        potential=lambda x: x**2 / 2,
        diffusion=1.0,
        domain=(-6.0, 6.0),
        initial=Gaussian(mean=0.8, std=0.8),
    )
    chain = FiniteVolume(cells=cells).discretise(base)
    return chain, chain.project(base.initial)


def damage_integrals(monkeypatch: Any, share: float = 1e-6) -> None:
    """A millionth too much in the matrix of product integration."""
    right = _collocating.fractional_integrals

    def wrong(*args: Any, **named: Any) -> np.ndarray:
        return right(*args, **named) * (1.0 + share)

    monkeypatch.setattr(_collocating, "fractional_integrals", wrong)


def damage_moments(monkeypatch: Any, share: float = 1e-6) -> None:
    """A millionth too much in what the memory keeps."""
    right = _collocating.exponential_moments
    monkeypatch.setattr(
        _collocating, "exponential_moments", lambda *args: right(*args) * (1.0 + share)
    )


def forget_decay(monkeypatch: Any) -> None:
    """Exponentials that do not decay over an interval."""
    right = _interval_loop.Memory.add

    def wrong(memory: Any, interval: Any) -> None:
        before = memory.states.copy()
        right(memory, interval)
        memory.states += before * (1.0 - np.exp(-memory.rates * interval.length))[:, None]

    monkeypatch.setattr(_interval_loop.Memory, "add", wrong)
