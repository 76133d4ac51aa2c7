"""Question: what do values and draws of stable laws cost, beside SciPy's ``levy_stable``.

SciPy integrates adaptively for each value and draws by one vectorised formula.  Here a value is one
short series in ``log P`` with an exponential and two logarithms in twice the working precision, a
draw is four logarithms, three sines and an exponential in a compiled loop.  Our own side had been
timed when this was written (0.2 microseconds a value, 0.08 a draw); predicted of SciPy: ten
thousand times slower values and 3 to 5 times slower draws.  Found, per core: values 3000 to 6000
times (densities) and 1000 to 1800 times slower (distributions), draws 2 to 3 times.

One unit is a thousand values or draws.  Run ``python -m benchmarks.bench_stable``.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import levy_stable

from benchmarks.work import header, measure, table
from fracsde.special._stable_tables import stable_table
from fracsde.special.sampling import (
    sample_first_passage,
    sample_inverse_stable,
    sample_inverse_stable_paths,
    sample_stable,
)
from fracsde.special.stable import inverse_stable_pdf, inverse_stable_sf, stable_cdf, stable_pdf

ORDERS = (0.3, 0.7, 0.95)
VALUES, DRAWS, FEW, TIMES = 200_000, 1_000_000, 50, 10


def scale(alpha: float) -> float:
    """Return SciPy's scale of the law with Laplace transform ``exp(-p**alpha)`` (S1)."""
    return float(np.cos(0.5 * np.pi * alpha) ** (1 / alpha))


def values(alpha: float) -> None:
    x = np.quantile(sample_stable(alpha, VALUES, rng=1), np.linspace(0.001, 0.999, VALUES))
    s = x**-alpha
    few = x[:: VALUES // FEW]
    law = levy_stable(alpha, 1.0, loc=0.0, scale=scale(alpha))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gap = np.abs(law.pdf(few) / stable_pdf(few, alpha) - 1)
        rows = [
            measure("stable_pdf", lambda: stable_pdf(x, alpha), units=VALUES / 1e3),
            measure("stable_cdf", lambda: stable_cdf(x, alpha), units=VALUES / 1e3),
            measure(
                "inverse_stable_pdf", lambda: inverse_stable_pdf(s, x, alpha), units=VALUES / 1e3
            ),
            measure(
                "inverse_stable_sf", lambda: inverse_stable_sf(s, 1.0, alpha), units=VALUES / 1e3
            ),
            measure("scipy pdf", lambda: law.pdf(few), units=FEW / 1e3, repeats=2),
            measure("scipy cdf", lambda: law.cdf(few), units=FEW / 1e3, repeats=2),
        ]
    print(f"\nalpha = {alpha}: values; SciPy's pdf differs by up to {gap.max():.1e} relatively")
    print(table(rows, unit="kvalue", reference="stable_pdf"))


def tables() -> None:
    def build(alpha: float) -> None:
        stable_table.cache_clear()
        stable_table(alpha)

    rows = [
        measure(f"alpha = {alpha}", lambda alpha=alpha: build(alpha), units=1.0)
        for alpha in (0.05, 0.5, 0.99, 0.9999)
    ]
    print("\ntables of one alpha")
    print(table(rows, unit="table", reference="alpha = 0.5"))


def draws(alpha: float) -> None:
    law = levy_stable(alpha, 1.0, loc=0.0, scale=scale(alpha))
    rng = np.random.default_rng(1)
    times = np.linspace(0.1, 1.0, TIMES)
    rows = [
        measure("sample_stable", lambda: sample_stable(alpha, DRAWS, rng), units=DRAWS / 1e3),
        measure(
            "sample_inverse_stable",
            lambda: sample_inverse_stable(1.0, alpha, DRAWS, rng),
            units=DRAWS / 1e3,
        ),
        measure(
            "sample_first_passage",
            lambda: sample_first_passage(1.0, alpha, DRAWS, rng),
            units=DRAWS / 1e3,
        ),
        measure(
            f"paths at {TIMES} times",
            lambda: sample_inverse_stable_paths(times, alpha, DRAWS // TIMES, rng),
            units=DRAWS / 1e3,
        ),
        measure("scipy rvs", lambda: law.rvs(DRAWS, random_state=rng), units=DRAWS / 1e3),
    ]
    print(f"\nalpha = {alpha}: draws")
    print(table(rows, unit="kdraw", reference="sample_stable"))


def main() -> None:
    print(header("What do values and draws of stable laws cost, beside SciPy's levy_stable?"))
    for alpha in ORDERS:
        values(alpha)
        draws(alpha)
    tables()


if __name__ == "__main__":
    main()
