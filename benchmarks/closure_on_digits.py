"""Does the closure hold on the digits of the demo, and what do third cumulants add?

Both networks of ``fracsde demo digits`` at one learning rate and momentum after the other, with the
settings and random numbers of the demo: 256 replicas from the minimum, the variance along each of
the 20 leading modes over that of the map, of the Gaussian closure and of the closure with third
cumulants.  chi^2 is the mean square of the deviation from one in standard errors of run and closure
together, 1 where only noise is left.

Expected from the orders of their errors: the map is off at first order in the width of the law, the
Gaussian closure by less, third cumulants only at second order; the width grows with the effective
rate ``eta h_max / (1 - mu)``, and at five the expansion fails, which the status must say.

Run ``python benchmarks/closure_on_digits.py [network,rate,momentum ...]``, as in
``softmax,0.5,0.9``; without rows it runs all, in about ten minutes on two cores.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from fracsde import estimators
from fracsde.demo.digits import load_digits
from fracsde.demo.near_minimum import closure_of, measure_curvature, plan, run_regime
from fracsde.demo.settings import DigitsSettings, Regime
from fracsde.networks import MultilayerPerceptron, SoftmaxRegression

SETTINGS = DigitsSettings()
ROWS = (
    "softmax,0.1,0",
    "softmax,0.5,0",
    "softmax,0.05,0.9",
    "softmax,0.1,0.9",
    "softmax,0.5,0.9",
    "perceptron,0.1,0",
    "perceptron,0.5,0",
    "perceptron,0.05,0.9",
    "perceptron,0.1,0.9",
)
HEAD = ("network", "rate", "momentum", "rate/(1-momentum)", "stderr", "map")


def trained(name: str):
    """Train a network of the demo and look at its minimum."""
    inputs, labels = load_digits()
    options = {"inputs": inputs, "targets": labels, "weight_decay": SETTINGS.weight_decay}
    network = {
        "softmax": lambda: SoftmaxRegression(**options),
        "perceptron": lambda: MultilayerPerceptron(hidden=(SETTINGS.hidden,), **options),
    }[name]()
    start = network.initial_parameters(np.random.default_rng([SETTINGS.seed, 1]))
    return measure_curvature(network, start, SETTINGS.directions)


def judged(variances, stderr, closure) -> str:
    """Say how far a closure is off, and with how much noise."""
    if closure.status.name not in {"SUCCESS", "INACCURATE"}:
        return f"{closure.status.name}: {closure.detail}"
    ratio = variances / closure.variances
    own = closure.variance_stderr / closure.variances
    chi2 = np.mean(((ratio - 1.0) / np.hypot(ratio * stderr / variances, own)) ** 2)
    said = f"{ratio.min():.3f} to {ratio.max():.3f} (chi^2 {chi2:.1f}, stderr {own.max():.4f})"
    return said if closure.status.ok else f"{said} {closure.status.name}: {closure.detail}"


def row(curvature, name: str, rate: float, momentum: float) -> str:
    """Run and close one regime; return its row."""
    chosen = plan(curvature, Regime(rate=rate, momentum=momentum), SETTINGS)
    gaussian, third = (closure_of(curvature, chosen, SETTINGS, k) for k in (2, 3))
    run = estimators.variances(run_regime(curvature, chosen, SETTINGS).projections)
    frozen = run.value / gaussian.map_covariance.diagonal()
    cells = [
        name,
        f"{rate:g}",
        f"{momentum:g}",
        f"{rate / (1.0 - momentum):g}",
        f"{(run.stderr / run.value).max():.4f}",
        f"{frozen.min():.2f} to {frozen.max():.2f}",
        *(judged(run.value, run.stderr, closure) for closure in (gaussian, third)),
    ]
    return " | ".join(cells)


def main(rows: tuple[str, ...]) -> None:
    """Print one row after the other, each network trained once."""
    wanted = [(name, float(rate), float(mu)) for name, rate, mu in (r.split(",") for r in rows)]
    print(" | ".join((*HEAD, "Gaussian closure", "third cumulants")))
    found: dict = {}
    for name, rate, momentum in wanted:
        if name not in found:
            found[name] = trained(name)
        started = time.perf_counter()
        said = row(found[name], name, rate, momentum)
        print(f"{said} | {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ROWS)
