"""Where does the closure hold, Gaussian and with third cumulants?

A perceptron on handwritten digits, their 16 leading principal components, is run at constant rate
from its minimum.  Measured variances of the six leading modes over those of both closures, map and
flow, as the rate, the batch, the weight decay, the width and the momentum change, one at a time
about the same middle, and the rate once more with momentum.  The rate is the effective one,
``eta h_max / (1 - mu)``, which fixes the width of the law at small rates.

Prediction, made before measuring: the map is wrong by ``O(eta / B)``, the Gaussian closure by a
smaller number of the same order where the law is skewed; both get worse together, and the closure
stays within 5 % as long as the map is within 50 %.  Third cumulants halve what the Gaussian closure
leaves, where their status is a success.  At one effective rate momentum changes little.  No closure
is further off, beyond the errors of run and closure, than its ``truncation`` says, or its status
says so.

Run ``python benchmarks/map_closure.py [docs/gallery/closure_validity.json]``; two minutes
of one core.  Points that are there already are not measured again.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from fracsde import (
    SGDNearMinimum,
    Status,
    examine_minimum,
    gaussian_closure,
    stationary_covariance,
)
from fracsde.networks import MultilayerPerceptron, run_sgd, train_to_minimum

LEADING, EXAMPLES, INPUTS = 6, 600, 16
MIDDLE = {"rate": 0.5, "batch_size": 32, "weight_decay": 0.01, "width": 8, "momentum": 0.0}
SWEEPS = (
    ({}, "rate", (0.1, 0.2, 0.35, 0.5, 0.7, 1.0)),
    ({}, "batch_size", (8, 16, 32, 64)),
    ({}, "weight_decay", (0.003, 0.01, 0.03, 0.1)),
    ({}, "width", (4, 8, 16, 32)),
    ({}, "momentum", (0.0, 0.5, 0.75, 0.9)),
    ({"momentum": 0.9}, "rate", (0.1, 0.2, 0.5, 1.0, 2.0, 3.0)),
)
LAWFUL = {Status.SUCCESS, Status.INACCURATE}
REPLICAS, RELAXATIONS, BURN_IN = 128, 80.0, 12.0


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the leading principal components of the first digits, and their labels."""
    from sklearn import datasets

    data = datasets.load_digits()
    pixels = data.data[:EXAMPLES] / 16.0
    pixels = pixels - pixels.mean(axis=0)
    axes = np.linalg.svd(pixels, full_matrices=False)[2][:INPUTS]
    # Components have a sign of their own; make their largest weight positive.
    axes *= np.sign(axes[np.arange(INPUTS), np.abs(axes).argmax(axis=1)])[:, None]
    return pixels @ axes.T, data.target[:EXAMPLES].astype(np.int64)


def minimum(width: int, weight_decay: float):
    """Train a network and look at its minimum."""
    inputs, labels = digits()
    network = MultilayerPerceptron(
        inputs=inputs, targets=labels, hidden=(width,), weight_decay=weight_decay
    )
    start = network.initial_parameters(np.random.default_rng(0))
    return network, examine_minimum(
        network, train_to_minimum(network, start).parameters, rank=LEADING
    )


def theories(at, sgd: SGDNearMinimum, *, draws: int = 192) -> tuple[dict, dict]:
    """Return variances of the leading modes by each theory, ``None`` where there is no closure.

    And of the closures status, truncation and largest standard error.
    """
    closures = {
        name: gaussian_closure(
            at,
            learning_rate=sgd.learning_rate,
            batch_size=sgd.batch_size,
            momentum=sgd.momentum,
            draws=draws,
            cumulants=cumulants,
            rtol=5e-3,
            throw=False,
        )
        for name, cumulants in (("third", 3), ("closure", 2))
    }
    lawful = {name for name, one in closures.items() if one.status in LAWFUL}
    said = {
        name: {
            "status": one.status.name,
            "truncation": round(one.truncation, 4) if name in lawful else None,
            "stderr": round((one.variance_stderr / one.variances).max(), 5)
            if name in lawful
            else None,
        }
        for name, one in closures.items()
    }
    variances = {
        **{name: one.variances if name in lawful else None for name, one in closures.items()},
        "map": stationary_covariance(sgd).matrix.diagonal(),
        "flow": stationary_covariance(sgd.flow()).matrix.diagonal(),
    }
    return variances, said


def measured(network, at, sgd: SGDNearMinimum) -> tuple[np.ndarray, np.ndarray]:
    """Return measured variances of the leading modes and their standard errors."""
    rate = sgd.learning_rate * float(at.curvatures[0]) / (1.0 - sgd.momentum)
    slowest = rate * float(at.curvatures[LEADING - 1] / at.curvatures[0])
    if sgd.momentum:
        slowest = min(slowest, 0.5 * (1.0 - sgd.momentum))
    first = int(BURN_IN / slowest)
    run = run_sgd(
        network,
        at.position,
        learning_rate=sgd.learning_rate,
        batch_size=sgd.batch_size,
        momentum=sgd.momentum,
        steps=first + int(RELAXATIONS / slowest),
        replicas=REPLICAS,
        seed=1,
        directions=at.leading,
        origin=at.position,
        project_every=max(1, int(0.4 / rate)),
        first_projection=first,
    ).projections.values
    each = np.mean((run - run.mean(axis=(0, 1))) ** 2, axis=1)
    return each.mean(axis=0), each.std(axis=0) / len(each) ** 0.5


def point(rate: float, batch_size: int, weight_decay: float, width: int, momentum: float) -> dict:
    """Return ratios of measured to predicted variances at one point of the map."""
    network, at = minimum(width, weight_decay)
    sgd = SGDNearMinimum(
        hessian=np.diag(at.curvatures[:LEADING]),
        gradient_noise=at.noise[:LEADING, :LEADING],
        learning_rate=rate * (1.0 - momentum) / float(at.curvatures[0]),
        batch_size=batch_size,
        momentum=momentum,
    )
    variance, error = measured(network, at, sgd)
    variances, said = theories(at, sgd)
    ratios = {
        name: None if value is None else (variance / value).round(5).tolist()
        for name, value in variances.items()
    }
    return {**ratios, "stderr": (error / variance).round(5).tolist(), "said": said}


def main(path: Path) -> None:
    """Measure every point that is not there yet; store after each."""
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for fixed, name, values in SWEEPS:
        for value in values:
            settings = {**MIDDLE, **fixed, name: value}
            known = [old for old in stored if old["settings"] == settings]
            if any("said" in old for old in known):
                continue
            stored = [old for old in stored if old not in known]
            started = time.process_time()
            stored.append({"settings": settings, **point(**settings)})
            path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
            print(_row(settings, stored[-1], time.process_time() - started), flush=True)


def _row(settings: dict, found: dict, seconds: float) -> str:
    cells = [
        f"{name} {np.median(found[name]):.4f}" if found[name] else f"{name} none"
        for name in ("third", "closure", "map", "flow")
    ]
    said = found["said"]["closure"]
    return f"{settings}  {'  '.join(cells)}  {said}  {seconds:.1f} s"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/gallery/closure_validity.json"))
