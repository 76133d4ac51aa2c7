"""Coefficients and starts as callers write them, made regular: fields with one value per point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import finite_array, real, symmetric
from fracsde.errors import IndefiniteError, OutOfRangeError, UnsupportedError
from fracsde.problems.densities import Gaussian, PointMass
from fracsde.problems.sampling import place, sample, sample_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.problems.fokker_planck import FokkerPlanck

__all__ = [
    "at_time",
    "constant_diffusion",
    "diffusion_fields",
    "require_line",
    "start_in",
    "zeros",
]


def require_line(problem: FokkerPlanck, who: str) -> None:
    """Refuse problems in the plane and in space, and coefficients that depend on time.

    Parameters
    ----------
    problem : FokkerPlanck
        The problem.
    who : str
        What serves the line alone, for the message.

    Raises
    ------
    UnsupportedError
        If the problem has more than one coordinate, or coefficients that depend on time.
    """
    if problem.time_dependent:
        msg = f"{who} serves coefficients that do not depend on time; freeze it, frozen_at(t)"
        raise UnsupportedError(msg)
    if problem.dimension > 1:
        msg = (
            f"{who} serves one dimension, the problem has {problem.dimension}; use `solve` with "
            "FiniteVolume(cells=...)"
        )
        raise UnsupportedError(msg)


def zeros(x: tuple[FloatArray, ...]) -> FloatArray:
    """Return zeros of the common shape of coordinates.

    Returns
    -------
    ndarray
    """
    return np.zeros(np.broadcast_shapes(*(np.shape(c) for c in x)))


def at_time(function: Callable[..., Any], t: float) -> Callable[..., Any]:
    """Return a function of time and place with the time held.

    Returns
    -------
    callable
    """
    return lambda *x: function(t, *x)


def diffusion_fields(diffusion: Any, x: tuple[FloatArray, ...], *, when: float | None) -> Any:
    """Return the diffusion at points.

    Parameters
    ----------
    diffusion : float, (d,) ndarray or callable [x^2/t]
        Checked, if it is constant.
    x : tuple of ndarray of float64 [x]
        One array per coordinate.
    when : float or None [t]
        The time, for messages.

    Returns
    -------
    ndarray [x^2/t], or a tuple of one per coordinate
        Positive; an array on a line.

    Raises
    ------
    UnsupportedError
        If it is a full matrix.
    """
    d = len(x)
    if not callable(diffusion):
        if np.ndim(diffusion) == 2:
            msg = "`diffusion` is a full matrix, the same everywhere; read `tensor` instead"
            raise UnsupportedError(msg)
        constant = tuple(zeros(x) + entry for entry in np.broadcast_to(diffusion, (d,)))
        return constant[0] if d == 1 else constant
    if d == 1:
        return _positive("diffusion", sample("diffusion", diffusion, *x, when=when), x, when)
    kinds = []

    def diagonal(*y: FloatArray) -> Any:
        # Several arrays are a diagonal, one array with an axis per coordinate a scalar field.
        found = diffusion(*y)
        kinds.append(isinstance(found, (tuple, list)) or np.ndim(found) > np.ndim(y[0]))
        return found if kinds[-1] else (found,) * d

    fields = sample_fields("diffusion", diagonal, *x, when=when)
    if not kinds[-1]:
        return (_positive("diffusion", fields[0], x, when),) * d
    return tuple(_positive(f"diffusion[{k}]", f, x, when) for k, f in enumerate(fields))


def _positive(
    name: str, values: FloatArray, x: tuple[FloatArray, ...], when: float | None
) -> FloatArray:
    if np.any(values <= 0):
        k = int(np.argmin(values))
        moment = "" if when is None else f" at t = {when:g}"
        msg = (
            f"`{name}`{moment} must be positive, got {values.flat[k]:g} at {place(k, *x)}; add a "
            "floor"
        )
        raise OutOfRangeError(msg)
    return values


def start_in(initial: Any, dimension: int) -> Any:
    """Return an initial density with as many coordinates as the domain.

    Parameters
    ----------
    initial : Gaussian, PointMass, callable or array_like [1/x^d]
        As the caller wrote it.
    dimension : int
        Number of coordinates.

    Returns
    -------
    Gaussian, PointMass, callable or ndarray
    """
    if isinstance(initial, Gaussian):
        factors = initial.factors(dimension)
        if dimension == 1:
            return factors[0]
        return Gaussian(mean=[f.mean for f in factors], std=[f.std for f in factors])
    if isinstance(initial, PointMass):
        factors_ = initial.factors(dimension)
        return factors_[0] if dimension == 1 else initial
    return initial if callable(initial) else finite_array("initial", initial, ndim=dimension)


def constant_diffusion(given: Any, dimension: int) -> Any:
    """Return a constant diffusion: a number, one per coordinate, or a matrix in the plane.

    Parameters
    ----------
    given : float or array_like [x^2/t]
        As the caller wrote it.
    dimension : int
        Number of coordinates.

    Returns
    -------
    float, (d,) ndarray or (2, 2) ndarray
        Positive, or positive definite.

    Raises
    ------
    IndefiniteError
        If a matrix is not positive definite.
    UnsupportedError
        If a full matrix is given in three dimensions.
    """
    remedy = "diffusion spreads; without it the equation is another"
    if dimension == 1 or np.ndim(given) == 0:
        return real("diffusion", given, low=0.0, remedy=remedy)
    array = finite_array("diffusion", given, ndim=(1, 2))
    if array.ndim == 1:
        entries = finite_array("diffusion", given, shape=(dimension,))
        for axis, entry in enumerate(entries):
            real(f"diffusion[{axis}]", float(entry), low=0.0, remedy=remedy)
        return entries
    matrix = symmetric("diffusion", given, size=dimension)
    off = matrix - np.diag(np.diag(matrix))
    if not np.any(off):
        return constant_diffusion(np.diag(matrix), dimension)
    if dimension > 2:
        msg = (
            "`diffusion` is a full matrix in three dimensions; numbers, diagonals and, in the "
            "plane, matrices are served: turn the coordinates to its eigenvectors"
        )
        raise UnsupportedError(msg)
    lowest = float(np.linalg.eigvalsh(matrix)[0])
    if not lowest > 0.0:
        msg = (
            f"`diffusion` must be positive definite, its lowest eigenvalue is {lowest:g}; add a "
            "floor to the diagonal"
        )
        raise IndefiniteError(msg)
    return matrix
