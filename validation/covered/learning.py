"""Learning coefficients of judged chains, whose law and whose integrals are known.

One repetition is a run of a few chains; many repetitions are chains of one wide run, which never
meet.  What is counted is the interval of the estimator that a user calls, less its diagnostics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.integrate import quad

from fracsde.backends.langevin import Law
from fracsde.backends.philox import seed_key
from fracsde.estimators import FunctionLoss, fit_temperatures, quadratic_coefficient
from fracsde.estimators._learning.engine import Plan, run_chains
from fracsde.estimators._learning.statistics import Evidence, estimate
from fracsde.estimators.known_coefficients import monomial_at_temperature
from fracsde.records import Measurement, Quantity
from validation.case import REPETITIONS, Case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CASES"]

_T, _BURN_IN = 145.0, 250
_BLOCK = 500  # repetitions of one wide run


class _Runs:
    """Repetitions handed out one by one from wide runs."""

    def __init__(self, loss: FunctionLoss, pull: float, chains: int, draws: int) -> None:
        self.loss, self.pull, self.chains, self.draws = loss, pull, chains, draws
        self.rng: np.random.Generator | None = None
        self.source: Iterator[Evidence] = iter(())

    def __call__(self, rng: np.random.Generator) -> Evidence:
        found = next(self.source, None) if rng is self.rng else None
        if found is None:
            self.rng, self.source = rng, self.block(rng)
            found = next(self.source)
        return found

    def block(self, rng: np.random.Generator) -> Iterator[Evidence]:
        size, wide = self.loss.parameters, _BLOCK * self.chains
        plan = Plan("mala", 1, 0.574, None, 0, 0, wide, _BURN_IN, self.draws, seed_key(rng))
        law = Law(_T, self.pull, np.zeros(size), np.ones((1, size)), False)
        _, records = run_chains(self.loss, law, plan, (0.0, np.zeros(size)), None, None)
        for first in range(0, wide, self.chains):
            rows = slice(first, first + self.chains)
            yield Evidence(
                heights=_T * records.losses[rows, _BURN_IN:],
                virials=records.virials[rows, _BURN_IN:],
                distances=records.distances[rows, _BURN_IN:],
                parameters=size,
                acceptances=records.acceptances[rows, _BURN_IN:].mean(axis=1),
                adjusted=True,
                full=True,
                lost=0,
            )


def _measure(control: bool) -> Callable[[Any], Measurement]:
    def measure(evidence: Evidence) -> Measurement:
        found = estimate(evidence, "virial" if control else "none")
        return Measurement(
            quantity=Quantity(name="local learning coefficient"),
            value=np.array([found.value]),
            stderr=np.array([found.stderr]),
            n_effective=np.array([found.n_effective]),
        )

    return measure


def _naive(evidence: Evidence) -> Measurement:
    # All draws taken for independent.
    y = evidence.heights
    return Measurement(
        quantity=Quantity(name="local learning coefficient"),
        value=np.array([y.mean()]),
        stderr=np.array([y.std() / y.size**0.5]),
        n_effective=np.array([float(y.size)]),
    )


def _case(
    law: str, loss: FunctionLoss, pull: float, truth: float, chains: int, control: bool
) -> Case:
    draws = 200
    return Case(
        name=f"learning coefficient{' by virials' if control else ''}: {law}, {chains} x {draws}",
        law=law,
        chains=chains,
        draws=draws,
        truth={"": truth},
        sample=_Runs(loss, pull, chains, draws),
        measure=_measure(control),
        naive=None if control else _naive,
        repetitions=REPETITIONS,
    )


_H = np.array([1.0, 0.3, 0.1])
_BOWL = FunctionLoss(
    value=lambda w: 0.5 * (w * w) @ _H,
    gradient=lambda w: w * _H,
    parameters=3,
    examples=1000,
    vectorized=True,
)
_QUARTIC = FunctionLoss(
    value=lambda w: (w**4).sum(axis=1),
    gradient=lambda w: 4 * w**3,
    parameters=1,
    examples=1000,
    vectorized=True,
)


def _density(w: float) -> float:
    return float(np.exp(-_T * w**4 - 5.0 * w * w))


_QUARTIC_VALUE = quad(lambda w: _T * w**4 * _density(w), 0.0, 3.0)[0] / quad(_density, 0.0, 3.0)[0]
_BOWL_VALUE = quadratic_coefficient(_H, n_beta=_T, localization=30.0)


def _virial(loss: FunctionLoss, pull: float) -> Case:
    def measure(evidence: Evidence) -> Measurement:
        found = estimate(evidence, "none")
        return Measurement(
            quantity=Quantity(name="virial"),
            value=np.array([found.virial]),
            stderr=np.array([found.virial_stderr]),
            n_effective=np.array([8.0]),
        )

    def naive(evidence: Evidence) -> Measurement:
        # All draws taken for independent.
        q = evidence.virials
        return Measurement(
            quantity=Quantity(name="virial"),
            value=np.array([q.mean()]),
            stderr=np.array([q.std() / q.size**0.5]),
            n_effective=np.array([float(q.size)]),
        )

    return Case(
        name="virial: quartic, localized, 8 x 200",
        law="quartic, localized",
        chains=8,
        draws=200,
        truth={"": 1.0},
        sample=_Runs(loss, pull, 8, 200),
        measure=measure,
        naive=naive,
        tested=200,
    )


def _limit(powers: list[int], truth: float) -> Case:
    # Coefficients at five temperatures, exact but for Gaussian errors that are known.
    betas = np.geomspace(1e3, 1e7, 5)
    exact = np.array([monomial_at_temperature(t, powers) for t in betas])
    errors = np.full(5, 0.005)

    def naive(values: np.ndarray) -> Measurement:
        # Equal poles, as many as fit best: nothing of poles nearby.
        fits = fit_temperatures(betas, values, errors).fits
        best = next(fit for fit in fits if fit.gap == 0.0)
        return Measurement(
            quantity=Quantity(name="local learning coefficient"),
            value=np.array([best.value]),
            stderr=np.array([best.stderr]),
            n_effective=np.array([1e9]),
        )

    law = "monomial of powers " + ", ".join(map(str, powers))
    return Case(
        name=f"learning coefficient of several temperatures: {law}, 5 x 1",
        law=law,
        chains=5,
        draws=1,
        truth={"": truth},
        sample=lambda rng: exact + errors * rng.standard_normal(5),
        measure=lambda values: fit_temperatures(betas, values, errors),
        tested=200,
        naive=naive if len(set(powers)) > 1 else None,
    )


CASES = (
    _case("square valley", _BOWL, 30.0, _BOWL_VALUE, 8, control=False),
    _case("square valley", _BOWL, 30.0, _BOWL_VALUE, 8, control=True),
    _case("square valley", _BOWL, 30.0, _BOWL_VALUE, 4, control=True),
    _case("quartic", _QUARTIC, 0.0, 0.25, 8, control=False),
    _case("quartic, localized", _QUARTIC, 10.0, _QUARTIC_VALUE, 8, control=True),
    _virial(_QUARTIC, 10.0),
    *(
        _limit(powers, truth)
        for powers, truth in (
            ([2], 0.25),
            ([1, 1], 0.5),
            ([2, 1], 0.25),
            ([3, 2], 1 / 6),
            ([2, 1, 1], 0.25),
        )
    ),
)
