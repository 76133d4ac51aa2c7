"""Small stable laws of every kind: flows and maps, symmetric and turning, with momentum."""

from __future__ import annotations

import numpy as np

from fracsde.problems.least_squares import LeastSquaresSGD
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess
from fracsde.problems.sgd import SGDNearMinimum

TURNING = np.array([[0.6, 1.3, 0.0], [-1.1, 0.9, 0.2], [0.1, 0.0, 0.4]])
SYMMETRIC = np.array([[1.0, 0.3, 0.0], [0.3, 0.7, 0.1], [0.0, 0.1, 0.2]])
NOISE = np.array([[1.0, 0.2, 0.1], [0.2, 0.5, 0.0], [0.1, 0.0, 0.3]])
DIRECTIONS = np.array([[1.0, 0.0], [1.0, 2.0], [0.0, -1.0]])
SETTINGS = {
    "plain": {},
    "momentum": {"momentum": 0.6},
    "nesterov": {"momentum": 0.6, "nesterov": True},
    "dampened": {"momentum": 0.8, "dampening": 0.3},
    "diagonal": {"preconditioner": [1.0, 2.0, 0.5]},
    "full": {"preconditioner": 0.5 * np.eye(3) + 0.2 * SYMMETRIC, "momentum": 0.7},
}


def sgd(**changes: object) -> SGDNearMinimum:
    """Return a small run whose noise does not commute with its curvature."""
    given = {"hessian": SYMMETRIC, "gradient_noise": NOISE, "learning_rate": 0.4, "batch_size": 2}
    return SGDNearMinimum(**{**given, **changes})


FLOWS = {
    "turning flow": OUProcess(drift=TURNING, noise=NOISE),
    "symmetric flow": OUProcess(drift=SYMMETRIC, noise=NOISE),
    "underdamped flow": sgd(momentum=0.6).flow(limit="underdamped"),
}
MAPS = {
    "turning map": LinearRecursion(transition=np.eye(3) - 0.3 * TURNING, noise=0.1 * NOISE),
    "alternating map": LinearRecursion(transition=np.eye(3) - 1.6 * SYMMETRIC, noise=NOISE),
    "part of a map": LinearRecursion(transition=np.eye(3) - SYMMETRIC, noise=NOISE, observe=[2, 0]),
    **{f"sgd {name}": sgd(**setting) for name, setting in SETTINGS.items()},
    "least squares": LeastSquaresSGD(
        inputs=np.vstack([TURNING, NOISE, SYMMETRIC]),
        targets=np.arange(9.0),
        learning_rate=0.3,
        batch_size=3,
        momentum=0.5,
    ),
}
LAWS = {**FLOWS, **MAPS}
