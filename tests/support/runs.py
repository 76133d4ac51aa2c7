"""Runs of SGD near a minimum, made by the steps themselves and by nothing of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.recording.saving import save_run
from fracsde.records._store.attachments import attach
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from pathlib import Path

    from fracsde.records.store import StoredRun

TRAINING = {
    "optimizer": "SGD",
    "learning_rate": 0.4,
    "momentum": 0.2,
    "batch_size": 8,
    "dataset_size": 1000,
    "sampling": "with_replacement",
}


def matrices(size: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a Hessian, a gradient noise that does not commute with it, and a minimum."""
    rng = np.random.default_rng(size)
    basis, _ = np.linalg.qr(rng.normal(size=(size, size)))
    hessian = basis @ np.diag(np.linspace(1.0, 0.6, size)) @ basis.T
    root = rng.normal(size=(size, size))
    return 0.5 * (hessian + hessian.T), root @ root.T / size, np.linspace(1.0, 2.0, size)


def sgd_run(
    seed: int,
    *,
    chains: int = 32,
    draws: int = 1500,
    every: int = 2,
    size: int = 4,
    start: Any = None,
    **training: Any,
) -> Trajectory:
    """Return positions of replicas of heavy-ball SGD with Gaussian gradient noise.

    They start in the stationary law unless told, near enough: 200 steps are thrown away.
    """
    settings = TRAINING | training
    H, C, minimum = matrices(size)
    root = np.linalg.cholesky(C) * settings["learning_rate"] / np.sqrt(settings["batch_size"])
    rng = np.random.default_rng(seed)
    x, v = np.zeros((chains, size)), np.zeros((chains, size))
    wait = 200 if start is None else 0
    if start is not None:
        x = x + np.asarray(start)
    out = np.empty((chains, draws, size))
    out[:, 0] = x
    for step in range(-wait, (draws - 1) * every + 1):
        if step >= 0 and step % every == 0:
            out[:, step // every] = x
        v = settings["momentum"] * v - settings["learning_rate"] * x @ H
        v += rng.standard_normal((chains, size)) @ root.T
        x = x + v
    return Trajectory(values=out + minimum, times=np.arange(draws) * float(every))


def store(
    path: Path,
    run: Trajectory,
    *,
    training: Any = TRAINING,
    curvature: dict[str, Any] | None = None,
    **options: Any,
) -> StoredRun:
    """Store a run as a recorder would, with its curvature attached unless it is ``{}``."""
    from fracsde.records.store import open_run

    metadata = {} if training is None else {"training": training}
    save_run(path, run, metadata=metadata, **options)
    if curvature is None:
        H, C, minimum = matrices(options.get("parameters", run.dimension))
        curvature = {"hessian": H, "gradient_noise": C, "minimum": minimum}
    if curvature:
        attach(path, "curvature", curvature, "test")
    return open_run(path)
