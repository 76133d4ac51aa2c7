r"""Mini-batch gradients as a function of position, with the noise that is left.

.. math::
    g_t = \sum_p B_p\, f_p(w_{t-1}) + r_t, \qquad
    \hat B - B \simeq \frac{1}{RN} \sum_{r,t} Q^{-1} f(w_{t-1})\, r_t,
    \quad Q = \frac{1}{RN} \sum f f^T .

The gradient recorded with step ``t`` was taken at the position *before* it, which a record holds
after step ``t - 1``; pairs exist where both steps were recorded.  The second formula is the
influence of every draw on the coefficients, from which their errors follow whatever the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import RecordError, ShapeError
from fracsde.estimators.chains import as_trajectory

if TYPE_CHECKING:
    from fracsde._typing import ArrayLike, FloatArray
    from fracsde.records.trajectory import Trajectory

__all__ = ["Pairs", "Regression", "design_of", "paired", "principal", "regress"]

MOST_COORDINATES = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Positions and the gradients that were taken there."""

    positions: FloatArray  # (chain, draw, coordinate) before the step [x]
    gradients: FloatArray  # (chain, draw, coordinate) [loss / x]
    after: FloatArray  # (chain, draw, coordinate) after the step [x]
    steps: FloatArray  # (draw,) number of the step, from 1

    @property
    def count(self) -> int:
        """Number of pairs."""
        return int(self.positions.shape[0] * self.positions.shape[1])


def paired(weights: Trajectory | ArrayLike, gradients: Trajectory | ArrayLike) -> Pairs:
    """Return each gradient with the position at which it was taken.

    Parameters
    ----------
    weights : Trajectory or (chain, draw, coordinate) array_like [x]
        Positions after each step.
    gradients : Trajectory or (chain, draw, coordinate) array_like [loss / x]
        The gradient that each step used, with the same steps: that of a step was taken at the
        position before it.

    Returns
    -------
    Pairs

    Raises
    ------
    ShapeError
        If chains, steps or coordinates differ.
    RecordError
        If consecutive steps were not recorded, or there are too many coordinates.
    """
    w, g = as_trajectory(weights), as_trajectory(gradients)
    if w.values.shape != g.values.shape or not np.array_equal(w.times, g.times):
        msg = (
            "`weights` and `gradients` must have the same chains, steps and coordinates, got "
            f"shapes {w.values.shape} and {g.values.shape}; record both with one recorder"
        )
        raise ShapeError(msg)
    if w.dimension > MOST_COORDINATES:
        msg = (
            f"a regression on {w.dimension} coordinates has too many terms; pass at most "
            f"{MOST_COORDINATES}, e.g. `trajectory.project(directions)` of both records"
        )
        raise RecordError(msg)
    follows = np.flatnonzero(np.abs(np.diff(w.times) - 1.0) < 1e-9)
    if len(follows) != w.draws - 1 or w.draws < 3:
        msg = (
            "the gradient of a step was taken at the position before it, so weights and gradients "
            f"must be recorded at every step; {len(follows)} of {w.draws - 1} gaps are one step: "
            "record every step, or select a part where that is so"
        )
        raise RecordError(msg)
    return Pairs(
        positions=w.values[:, :-1],
        gradients=g.values[:, 1:],
        after=w.values[:, 1:],
        steps=w.times[1:],
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Regression:
    """Least squares over all draws of all chains."""

    coefficients: FloatArray  # (term, response)
    residuals: FloatArray  # (chain, draw, response)
    design: FloatArray  # (chain, draw, term): f
    solved: FloatArray  # (chain, draw, term): Q^{-1} f

    def influence(self, response: int, term: int) -> FloatArray:
        """Return the influence of every draw on one coefficient.

        Returns
        -------
        (chain, draw) ndarray of float64
        """
        return np.asarray(self.solved[..., term] * self.residuals[..., response], dtype=np.float64)


def regress(design: FloatArray, responses: FloatArray) -> Regression:
    """Regress ``responses`` (chain, draw, k) on ``design`` (chain, draw, term).

    Returns
    -------
    Regression

    Raises
    ------
    RecordError
        If there are not at least twice as many draws as terms, or terms depend on one another.
    """
    terms = design.shape[-1]
    rows = design.reshape(-1, terms)
    if len(rows) < 2 * terms:
        msg = f"{len(rows)} draws cannot fix {terms} coefficients; record longer"
        raise RecordError(msg)
    moment = rows.T @ rows / len(rows)
    scale = 1.0 / np.sqrt(moment.diagonal())
    values, vectors = np.linalg.eigh(moment * np.outer(scale, scale))
    if not values[0] > 1e-9 * values[-1]:
        msg = (
            "the recorded coordinates, or powers of them, depend linearly on one another; drop "
            "constant coordinates and keep fewer directions"
        )
        raise RecordError(msg)
    inverse = (vectors / values) @ vectors.T * np.outer(scale, scale)
    answers = responses.reshape(-1, responses.shape[-1])
    coefficients = inverse @ (rows.T @ answers / len(rows))
    return Regression(
        coefficients=coefficients,
        residuals=responses - design @ coefficients,
        design=design,
        solved=design @ inverse,
    )


def design_of(*terms: FloatArray) -> FloatArray:
    """Return a constant and the given terms (chain, draw) or (chain, draw, k) as a design.

    Returns
    -------
    (chain, draw, term) ndarray of float64
    """
    columns = [t if t.ndim == 3 else t[..., None] for t in terms]
    one = np.ones((*columns[0].shape[:2], 1))
    return np.concatenate([one, *columns], axis=-1)


def principal(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return whitened positions and the directions along which they were whitened.

    Parameters
    ----------
    x : (chain, draw, coordinate) ndarray
        Positions.

    Returns
    -------
    (chain, draw, k) ndarray of float64 [1]
        Positions along the principal directions, each of mean zero and variance one.
    (coordinate, k) ndarray of float64
        The principal directions, orthonormal, that of the largest variance first.

    Raises
    ------
    RecordError
        If a combination of coordinates does not vary.
    """
    centred = x - x.mean(axis=(0, 1))
    count = centred.shape[0] * centred.shape[1]
    covariance = np.tensordot(centred, centred, axes=((0, 1), (0, 1))) / count
    values, vectors = np.linalg.eigh(covariance)
    if not values[0] > 1e-10 * values[-1]:
        msg = (
            "some combination of the coordinates does not vary; drop constant coordinates and keep "
            "fewer directions"
        )
        raise RecordError(msg)
    values, vectors = values[::-1], vectors[:, ::-1]
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(0), range(len(values))] < 0, -1, 1)
    return centred @ (vectors / np.sqrt(values)), np.ascontiguousarray(vectors)
