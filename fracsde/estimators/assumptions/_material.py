"""What there is to ask about a run: its record, its loss, its curvature, its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import matrix, truth
from fracsde.errors import InputError
from fracsde.estimators.assumptions._positions import directions_of, minimum_of
from fracsde.estimators.assumptions._regression import MOST_COORDINATES, steps_before
from fracsde.estimators.chains import as_trajectory
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray

__all__ = ["Material", "material_of"]

_PRINCIPAL = 8  # directions kept of a record of more coordinates than a regression takes


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What there is to ask."""

    weights: Trajectory
    gradients: Trajectory | None
    loss: Any
    minimum: FloatArray | None
    hessian: FloatArray | None
    noise: FloatArray | None
    training: Mapping[str, Any]
    whole: bool
    rebuilt: bool = False

    @property
    def states_noise(self) -> bool:
        """Whether there are gradients, and a noise of one example to compare them with."""
        return self.gradients is not None and self.noise is not None and not self.rebuilt

    @property
    def asks_loss(self) -> bool:
        """Whether the record holds what a loss can be asked at."""
        return getattr(self.loss, "parameters", None) == self.weights.dimension

    def reduced(self) -> Material:
        """Return few coordinates: the record's own, or its leading principal directions.

        The noise of the gradients is then freed from the motion of all coordinates where the
        Hessian or the loss tells how they couple; without that it is not known.

        Returns
        -------
        Material
        """
        w = self.weights
        if w.dimension <= MOST_COORDINATES:
            return self
        vectors = directions_of(w, None, most=_PRINCIPAL)
        names = tuple(f"principal direction {k + 1}" for k in range(vectors.shape[1]))
        few = w.project(vectors, names)
        pulls, gradients, hessian = self._couplings(vectors), self.gradients, None
        if gradients is not None:
            gradients = gradients.project(vectors, names)
            if pulls is not None and self.gradients is not None:
                hessian = vectors.T @ pulls
                gradients = self._freed(self.gradients, vectors, pulls, hessian, names)
        return Material(
            weights=few,
            gradients=gradients,
            loss=None,
            minimum=None if self.minimum is None else self.minimum @ vectors,
            hessian=hessian,
            noise=None if self.noise is None else vectors.T @ self.noise @ vectors,
            training=self.training,
            whole=self.whole and pulls is not None,
            rebuilt=self.rebuilt,
        )

    def _freed(
        self,
        gradients: Trajectory,
        vectors: FloatArray,
        pulls: FloatArray,
        hessian: FloatArray,
        names: tuple[str, ...],
    ) -> Trajectory:
        """Return gradients along the directions without what the other coordinates pull."""
        before, kept = steps_before(self.weights, gradients)
        away = self.weights.values[:, before] - minimum_of(self.weights, self.minimum)
        others = away @ pulls - (away @ vectors) @ hessian
        values = gradients.values[:, kept] @ vectors - others
        return Trajectory(values=values, times=gradients.times[kept], names=names)

    def _couplings(self, vectors: FloatArray) -> FloatArray | None:
        # H times the directions.
        if self.hessian is not None:
            return self.hessian @ vectors
        if not self.asks_loss:
            return None
        at = minimum_of(self.weights, self.minimum)
        return np.asarray(self.loss.hessian_vector_product(at, vectors), dtype=np.float64)


def material_of(
    run: Any,
    loss: Any,
    minimum: ArrayLike | None,
    gradients: Trajectory | ArrayLike | None,
    hessian: ArrayLike | None,
    noise: ArrayLike | None,
    training: Mapping[str, Any] | None,
    whole: bool | None,
    start: float | None,
) -> Material:
    """Return what a run and a caller of :func:`examine` say.

    Returns
    -------
    Material

    Raises
    ------
    InputError
        If the run is none, or ``training`` is no mapping.
    """
    stored = hasattr(run, "trajectory") and hasattr(run, "streams")
    if stored:
        weights = run.trajectory("weights", start=start)
        if gradients is None and "gradients" in run.streams:
            gradients = run.trajectory("gradients", start=start)
        minimum, hessian, noise = _attached(run, weights.dimension, minimum, hessian, noise)
        training = run.metadata.get("training", {}) if training is None else training
        whole = getattr(run.observation, "kind", "full") == "full" if whole is None else whole
    else:
        weights = as_trajectory(run)
        if start is not None:
            weights = weights.between(start)
    if gradients is not None:
        gradients = as_trajectory(gradients)
        if start is not None and not stored:
            gradients = gradients.between(start)
    if training is not None and not isinstance(training, Mapping):
        msg = f"`training` must map names to values, got {training!r}"  # type: ignore[unreachable]
        raise InputError(msg)
    return Material(
        weights=weights,
        gradients=gradients,
        loss=loss,
        minimum=None if minimum is None else minimum_of(weights, minimum),
        hessian=None if hessian is None else matrix("hessian", hessian, size=weights.dimension),
        noise=None if noise is None else matrix("noise", noise, size=weights.dimension),
        training=training or {},
        whole=True if whole is None else truth("whole", whole),
    )


def _attached(run: Any, dimension: int, *given: ArrayLike | None) -> list[ArrayLike | None]:
    # What an attached curvature says, where it is in the recorded coordinates.
    if "curvature" not in run.attachments:
        return list(given)
    arrays = run.attachment("curvature")
    square = (dimension, dimension)
    shapes = {"minimum": (dimension,), "hessian": square, "gradient_noise": square}
    return [
        arrays[name] if value is None and np.shape(arrays.get(name)) == shape else value
        for value, (name, shape) in zip(given, shapes.items(), strict=True)
    ]
