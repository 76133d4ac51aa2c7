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
``softmax,0.5,0.9``; without rows it runs all, in about fifteen minutes on two cores.
``--relaxations 1200`` runs four times as long as the demo and halves the errors of the variances;
``--draws 384`` does the same to those of the closures.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from fracsde import estimators
from fracsde.demo.digits import load_digits
from fracsde.demo.near_minimum import close, measure_curvature, plan, run_regime
from fracsde.demo.settings import DigitsSettings, Regime
from fracsde.networks import MultilayerPerceptron, SoftmaxRegression

SETTINGS = DigitsSettings()
ROWS = (
    "softmax,0.1,0",
    "softmax,0.5,0",
    "softmax,0.05,0.9",
    "softmax,0.1,0.9",
    "softmax,0.5,0.5",
    "softmax,0.5,0.7",
    "softmax,0.5,0.8",
    "softmax,0.5,0.9",
    "perceptron,0.1,0",
    "perceptron,0.5,0",
    "perceptron,0.05,0.9",
    "perceptron,0.1,0.9",
    "perceptron,0.5,0.5",
    "perceptron,0.5,0.7",
    "perceptron,0.5,0.8",
    "perceptron,0.5,0.9",
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


def row(curvature, name: str, regime: Regime, settings: DigitsSettings) -> str:
    """Run and close one regime; return its row."""
    chosen = plan(curvature, regime, settings)
    gaussian, third = (close(curvature, chosen, settings, cumulants=k) for k in (2, 3))
    run = estimators.variances(run_regime(curvature, chosen, settings).projections)
    frozen = run.value / gaussian.map_covariance.diagonal()
    cells = [
        name,
        f"{regime.rate:g}",
        f"{regime.momentum:g}",
        f"{regime.effective_rate:.3g}",
        f"{(run.stderr / run.value).max():.4f}",
        f"{frozen.min():.2f} to {frozen.max():.2f}",
        *(judged(run.value, run.stderr, closure) for closure in (gaussian, third)),
    ]
    return " | ".join(cells)


def main() -> None:
    """Print one row after the other, each network trained once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="network,rate,momentum", default=ROWS)
    for name in ("relaxations", "draws"):
        field = "closure_draws" if name == "draws" else name
        value = getattr(SETTINGS, field)
        parser.add_argument(f"--{name}", dest=field, type=type(value), default=value)
    asked = vars(parser.parse_args())
    wanted = [row.split(",") for row in asked.pop("rows")]
    settings = replace(SETTINGS, **asked)
    print(" | ".join((*HEAD, "Gaussian closure", "third cumulants")))
    found: dict = {}
    for name, rate, momentum in wanted:
        if name not in found:
            found[name] = trained(name)
        started = time.perf_counter()
        regime = Regime(rate=float(rate), momentum=float(momentum))
        said = row(found[name], name, regime, settings)
        print(f"{said} | {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
