r"""Initial densities and the mass they put into cells.

Smooth densities enter by their values at cell centres, which is what the cells of a second-order
operator are compared with; a Gaussian too narrow for that is shared by the nearest centres.  A
point mass is shared by the two nearest centres in the ratio that keeps its mean.  The total is
then scaled to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from fracsde._check import real
from fracsde.errors import DensityError, ShapeError
from fracsde.problems.sampling import sample

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["Gaussian", "PointMass", "cell_masses", "refuse_negative"]

# Below this many cells per standard deviation values at centres miss mass by more than 1e-18.
_RESOLVED = 1.5


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Normal density.

    Parameters
    ----------
    mean : float [x]
        Centre.
    std : float [x]
        Standard deviation, positive.

    Examples
    --------
    >>> float(round(Gaussian(mean=0.0, std=2.0)(np.array([0.0]))[0], 4))
    0.1995
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", real("mean", self.mean))
        remedy = "PointMass has no width"
        object.__setattr__(self, "std", real("std", self.std, low=0.0, remedy=remedy))

    def __call__(self, x: FloatArray) -> FloatArray:
        """Return the density at points.

        Returns
        -------
        ndarray of float64 [1/x]
        """
        z = (np.asarray(x, dtype=np.float64) - self.mean) / self.std
        return np.asarray(np.exp(-0.5 * z * z) / (np.sqrt(2.0 * np.pi) * self.std))


@dataclass(frozen=True, kw_only=True)
class PointMass:
    """All mass at one point.

    Parameters
    ----------
    at : float [x]
        Where.

    Examples
    --------
    >>> PointMass(at=0.5)
    PointMass(at=0.5)
    """

    at: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", real("at", self.at))


def cell_masses(initial: Any, edges: FloatArray) -> FloatArray:
    """Return the mass of an initial density in each cell, one in all.

    Parameters
    ----------
    initial : Gaussian, PointMass, callable or (n,) ndarray
        The density [1/x].
    edges : (n + 1,) float64 [x]
        Cell edges.

    Returns
    -------
    (n,) ndarray of float64 [1]
        Not negative.

    Raises
    ------
    DensityError
        If the density is negative somewhere, or has no mass in the cells.
    ShapeError
        If there is not one value per cell.
    """
    widths, centres = np.diff(edges), 0.5 * (edges[1:] + edges[:-1])
    if isinstance(initial, PointMass):
        return _shared(initial.at, edges, centres)
    if isinstance(initial, Gaussian) and initial.std < _RESOLVED * widths.max():
        masses = _hats(initial, edges, centres)
        place = f"Gaussian(mean={initial.mean:g}, std={initial.std:g})"
    elif callable(initial):
        masses = sample("initial", initial, centres) * widths
        place = "the function"
    else:
        if len(initial) != len(centres):
            msg = (
                f"`initial` must hold one value per cell: {len(initial)} values for "
                f"{len(centres)} cells; use FiniteVolume(cells={len(initial)})"
            )
            raise ShapeError(msg)
        masses = initial * widths
        place = "the array"
    refuse_negative(masses / widths, centres, place)
    masses = masses / _peak(masses, centres, place)  # first, so that the sum cannot overflow
    return np.asarray(masses / masses.sum())


def _hats(start: Gaussian, edges: FloatArray, centres: FloatArray) -> FloatArray:
    # Masses of hat functions between the centres, which keep the mean, as `_shared` does; between
    # an edge and the outermost centre all goes to that one.  Their slopes are the mean of
    # `P(X > x)` over each gap, or of `P(X < x)`, whichever is small.
    def slopes(sign: float) -> FloatArray:
        z = sign * (start.mean - centres) / start.std
        excess = np.maximum(z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi), 0.0)
        inner = -sign * start.std * np.diff(excess) / np.diff(centres)
        ends = ndtr(sign * (start.mean - edges[[0, -1]]) / start.std)
        return np.concatenate([ends[:1], inner, ends[1:]])

    above, below = slopes(1.0), slopes(-1.0)
    masses = np.where(centres < start.mean, np.diff(below), -np.diff(above))
    return np.maximum(masses, 0.0)


def _shared(at: float, edges: FloatArray, centres: FloatArray) -> FloatArray:
    if not edges[0] <= at <= edges[-1]:
        msg = (
            f"`initial` puts its mass at x = {at:g}, outside the domain ({edges[0]:g}, "
            f"{edges[-1]:g}); move the point or widen the domain"
        )
        raise DensityError(msg)
    masses = np.zeros_like(centres)
    right = int(np.clip(np.searchsorted(centres, at), 1, len(centres) - 1))
    gap = centres[right] - centres[right - 1]
    share = float(np.clip((at - centres[right - 1]) / gap, 0.0, 1.0))
    masses[right - 1], masses[right] = 1.0 - share, share
    return masses


def refuse_negative(values: FloatArray, x: FloatArray, place: str = "the function") -> None:
    """Refuse a density that is negative somewhere.

    Raises
    ------
    DensityError
        Naming the point and the value.
    """
    if np.any(values < 0):
        k = int(np.argmin(values))
        msg = (
            f"`initial` must not be negative: {place} is {values[k]:g} at x = {x[k]:g}; a density "
            "has no negative part, clip it with np.maximum"
        )
        raise DensityError(msg)


def _peak(masses: FloatArray, x: FloatArray, place: str) -> float:
    peak = float(masses.max())
    if peak == np.inf:
        msg = f"`initial` cannot be normalised: {place} overflows in a cell; scale it down"
        raise DensityError(msg)
    if not peak > 0:
        msg = (
            f"`initial` cannot be normalised: {place} has no mass between x = {x[0]:g} and "
            f"{x[-1]:g}; move it into the domain"
        )
        raise DensityError(msg)
    return peak
