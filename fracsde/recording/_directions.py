"""Random directions: making them in little memory, and projecting on disjoint ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.records._store.observation import disjoint_run

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Disjoint", "dense_directions", "disjoint_entries"]

_SMALL = 2**22  # entries of directions that are made in double precision
_BLOCK = 2**16  # parameters whose directions are turned at a time


class Disjoint:
    """Inner products with directions of which each parameter belongs to one alone.

    Parameters
    ----------
    entries : (P,) ndarray
        The entry of each parameter.
    width : int
        Number k of directions.
    """

    def __init__(self, entries: NDArray[Any], width: int) -> None:
        run = disjoint_run(len(entries), width)
        turns, left = divmod(len(entries), width * run)
        self._cut = len(entries) - left
        self._entries = entries[: self._cut].reshape(turns, width, run)
        self._parts = np.empty((turns + 1, width), dtype=entries.dtype)
        self._end = np.zeros((2, width * run), dtype=entries.dtype)
        self._end[0, :left] = entries[self._cut :]
        self._left, self._shape = left, (width, run)

    def project(self, flat: NDArray[Any], out: NDArray[Any]) -> None:
        """Write the inner products of a vector (P,) to ``out`` (k,)."""
        whole = flat[: self._cut].reshape(self._entries.shape)
        np.vecdot(whole, self._entries, out=self._parts[:-1])
        self._end[1, : self._left] = flat[self._cut :]
        ends = self._end.reshape(2, *self._shape)
        np.vecdot(ends[1], ends[0], out=self._parts[-1])
        np.add.reduce(self._parts, axis=0, out=out)


def disjoint_entries(parameters: int, k: int, rng: np.random.Generator) -> NDArray[Any]:
    """Return random signs, scaled so that each direction has length one.

    Returns
    -------
    (P,) ndarray of float64
    """
    signs = rng.choice(np.array([-1.0, 1.0]), size=parameters)
    belongs = np.arange(parameters) // disjoint_run(parameters, k) % k
    return np.asarray(signs / np.sqrt(np.bincount(belongs, minlength=k))[belongs])


def dense_directions(
    parameters: int, k: int, rng: np.random.Generator, dtype: str, form: str
) -> NDArray[Any]:
    """Return directions (P, k) in Fortran order, so that one direction is one stretch of memory."""
    # Orthonormal ones by two rounds of Cholesky QR in blocks: the memory is that of the result.
    single = dtype == "float32" and parameters * k > _SMALL
    rows = np.empty((k, parameters), dtype="float32" if single else "float64")
    for row in rows:
        rng.standard_normal(parameters, dtype=rows.dtype, out=row)
    if form == "gaussian":
        rows /= np.sqrt(parameters)
    else:
        for _ in range(2):
            _orthonormalise(rows)
    return np.asarray(rows, dtype=dtype).T


def _orthonormalise(rows: NDArray[Any]) -> None:
    """Replace G by R^-1 G, where R Rᵀ = G Gᵀ, in place."""
    k, parameters = rows.shape
    cuts = range(0, parameters, _BLOCK)
    gram = np.zeros((k, k))
    for start in cuts:
        part = rows[:, start : start + _BLOCK].astype(np.float64)
        gram += part @ part.T
    turn = np.linalg.inv(np.linalg.cholesky(gram))
    for start in cuts:
        rows[:, start : start + _BLOCK] = turn @ rows[:, start : start + _BLOCK].astype(np.float64)
