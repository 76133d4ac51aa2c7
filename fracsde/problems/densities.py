r"""Initial densities and the mass they put into cells.

Smooth densities enter by their values at cell centres, which is what the cells of a second-order
operator are compared with; a Gaussian too narrow for that is shared by the nearest centres.  A
point mass is shared by the two nearest centres in the ratio that keeps its mean.  The total is
then scaled to one.  Products of such densities are shared axis by axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from fracsde._check import real
from fracsde.errors import DensityError, ShapeError
from fracsde.problems.geometry import open_mesh
from fracsde.problems.sampling import place, sample

if TYPE_CHECKING:
    from fracsde._typing import FloatArray

__all__ = ["Gaussian", "PointMass", "cell_masses", "refuse_negative", "tensor_masses"]

# Below this many cells per standard deviation values at centres miss mass by more than 1e-18.
_RESOLVED = 1.5


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Normal density, a product over coordinates.

    Parameters
    ----------
    mean : float or (d,) array_like [x]
        Centre; a number stands for every coordinate.
    std : float or (d,) array_like [x]
        Standard deviation, positive; a number stands for every coordinate.

    Raises
    ------
    ShapeError
        If centre and deviations have different lengths.

    Examples
    --------
    >>> float(round(Gaussian(mean=0.0, std=2.0)(np.array([0.0]))[0], 4))
    0.1995
    >>> Gaussian(mean=(0.0, 1.0), std=0.5)
    Gaussian(mean=(0.0, 1.0), std=(0.5, 0.5))
    """

    mean: Any = 0.0  # a float on a line, a tuple of floats beyond
    std: Any = 1.0

    def __post_init__(self) -> None:
        remedy = "PointMass has no width"
        mean, std = _numbers("mean", self.mean), _numbers("std", self.std, low=0.0, remedy=remedy)
        if isinstance(mean, tuple) and not isinstance(std, tuple):
            std = (std,) * len(mean)
        if isinstance(std, tuple) and not isinstance(mean, tuple):
            mean = (mean,) * len(std)
        if isinstance(mean, tuple) and isinstance(std, tuple) and len(mean) != len(std):
            msg = f"`mean` has {len(mean)} coordinates and `std` {len(std)}; give as many of each"
            raise ShapeError(msg)
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    def factors(self, dimension: int) -> tuple[Gaussian, ...]:
        """Return the densities of the coordinates, of which this is the product.

        Parameters
        ----------
        dimension : int
            How many there are.

        Returns
        -------
        tuple of Gaussian

        Raises
        ------
        ShapeError
            If the density has another number of coordinates.
        """
        means, stds = _spread("mean", self.mean, dimension), _spread("std", self.std, dimension)
        return tuple(Gaussian(mean=m, std=s) for m, s in zip(means, stds, strict=True))

    def __call__(self, *x: FloatArray) -> FloatArray:
        """Return the density at points.

        Parameters
        ----------
        *x : ndarray of float64 [x]
            One array per coordinate, which broadcast against each other.

        Returns
        -------
        ndarray of float64 [1/x^d]
        """
        product: FloatArray = np.ones(())
        for one, c in zip(self.factors(len(x)), x, strict=True):
            z = (np.asarray(c, dtype=np.float64) - one.mean) / one.std
            product = product * np.exp(-0.5 * z * z) / (np.sqrt(2.0 * np.pi) * one.std)
        return np.asarray(product)


@dataclass(frozen=True, kw_only=True)
class PointMass:
    """All mass at one point.

    Parameters
    ----------
    at : float or (d,) array_like [x]
        Where.

    Examples
    --------
    >>> PointMass(at=0.5), PointMass(at=(0.5, -1))
    (PointMass(at=0.5), PointMass(at=(0.5, -1.0)))
    """

    at: Any  # a float on a line, a tuple of floats beyond

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", _numbers("at", self.at))

    def factors(self, dimension: int) -> tuple[PointMass, ...]:
        """Return the point masses of the coordinates, of which this is the product.

        Parameters
        ----------
        dimension : int
            How many there are.

        Returns
        -------
        tuple of PointMass

        Raises
        ------
        ShapeError
            If the point has another number of coordinates.
        """
        return tuple(PointMass(at=a) for a in _spread("at", self.at, dimension, exact=True))


def _numbers(
    name: str, value: Any, *, low: float = -np.inf, remedy: str = ""
) -> float | tuple[float, ...]:
    # A number, or one per coordinate.
    if isinstance(value, (tuple, list, np.ndarray)) and np.ndim(value) == 1:
        return tuple(
            real(f"{name}[{k}]", entry, low=low, remedy=remedy) for k, entry in enumerate(value)
        )
    return real(name, value, low=low, remedy=remedy)


def _spread(
    name: str, value: float | tuple[float, ...], dimension: int, *, exact: bool = False
) -> tuple[float, ...]:
    if not isinstance(value, tuple):
        if exact and dimension > 1:
            msg = f"`{name}` must hold {dimension} coordinates, got {value:g}"
            raise ShapeError(msg)
        return (value,) * dimension
    if len(value) != dimension:
        msg = (
            f"`{name}` must hold {dimension} coordinate{'s' if dimension > 1 else ''}, as the "
            f"domain does, got {value}"
        )
        raise ShapeError(msg)
    return value


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
        what = f"Gaussian(mean={initial.mean:g}, std={initial.std:g})"
    elif callable(initial):
        masses = sample("initial", initial, centres) * widths
        what = "the function"
    else:
        if len(initial) != len(centres):
            msg = (
                f"`initial` must hold one value per cell: {len(initial)} values for "
                f"{len(centres)} cells; use FiniteVolume(cells={len(initial)})"
            )
            raise ShapeError(msg)
        masses = initial * widths
        what = "the array"
    refuse_negative(masses / widths, centres, what=what)
    masses = masses / _peak(masses, centres, what)  # first, so that the sum cannot overflow
    return np.asarray(masses / masses.sum())


def tensor_masses(initial: Any, edges: tuple[FloatArray, ...]) -> FloatArray:
    """Return the mass of an initial density in each cell of a tensor grid, one in all.

    Products are products of what :func:`cell_masses` makes of their factors.

    Parameters
    ----------
    initial : Gaussian, PointMass, callable or ndarray of the grid's shape
        The density [1/x^d].
    edges : tuple of (n + 1,) float64 [x]
        Cell edges along each axis.

    Returns
    -------
    ndarray of float64 [1]
        Of the grid's shape; not negative.

    Raises
    ------
    DensityError
        If the density is negative somewhere, or has no mass in the cells.
    ShapeError
        If there is not one value per cell.
    """
    if isinstance(initial, (Gaussian, PointMass)):
        factors = [
            cell_masses(f, e) for f, e in zip(initial.factors(len(edges)), edges, strict=True)
        ]
        return reduce(np.multiply.outer, factors)
    centres = open_mesh(tuple(0.5 * (e[1:] + e[:-1]) for e in edges))
    shape = tuple(len(e) - 1 for e in edges)
    if callable(initial):
        values, what = sample("initial", initial, *centres), "the function"
    else:
        values, what = initial, "the array"
        if values.shape != shape:
            msg = (
                f"`initial` must hold one value per cell: shape {values.shape} for {shape} cells; "
                f"use FiniteVolume(cells={values.shape})"
            )
            raise ShapeError(msg)
    refuse_negative(values, *centres, what=what)
    peak = float(values.max())
    if not peak > 0.0:
        msg = (
            f"`initial` cannot be normalised: {what} has no mass at the centres of the cells; move "
            "it into the domain"
        )
        raise DensityError(msg)
    masses = values / peak
    for volume in open_mesh(tuple(np.diff(e) / np.diff(e).max() for e in edges)):
        masses = masses * volume
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


def refuse_negative(values: FloatArray, *x: FloatArray, what: str = "the function") -> None:
    """Refuse a density that is negative somewhere.

    Raises
    ------
    DensityError
        Naming the point and the value.
    """
    if np.any(values < 0):
        k = int(np.argmin(values))
        msg = (
            f"`initial` must not be negative: {what} is {values.flat[k]:g} at {place(k, *x)}; a "
            "density has no negative part, clip it with np.maximum"
        )
        raise DensityError(msg)


def _peak(masses: FloatArray, x: FloatArray, what: str) -> float:
    peak = float(masses.max())
    if peak == np.inf:
        msg = f"`initial` cannot be normalised: {what} overflows in a cell; scale it down"
        raise DensityError(msg)
    if not peak > 0:
        msg = (
            f"`initial` cannot be normalised: {what} has no mass between x = {x[0]:g} and "
            f"{x[-1]:g}; move it into the domain"
        )
        raise DensityError(msg)
    return peak
