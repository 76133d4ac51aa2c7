"""What of the parameters is kept, as a reader sees it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import RecordError
from fracsde.records._array_header import array_header
from fracsde.records._store.places import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fracsde._typing import IntArray
    from fracsde.records._store.header import Header

__all__ = ["Observation", "digest_of", "disjoint_matrix", "disjoint_run", "observation_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    """What a run kept of the vector of parameters.

    Parameters
    ----------
    kind : {"full", "projection", "coordinates"}
        Everything, inner products with directions, or some of the parameters.
    parameters : int
        Number P of parameters.
    width : int
        Numbers kept per step.
    made_by : mapping
        How it was made, with the seed where it was random.
    """

    kind: str
    parameters: int
    width: int
    made_by: Mapping[str, Any]
    _structure: str
    _path: Path | None

    @property
    def directions(self) -> NDArray[Any] | None:
        """Directions (P, k) of a projection, one per column, read-only; otherwise None."""
        if self.kind != "projection":
            return None
        if self._structure == "disjoint":
            matrix = disjoint_matrix(self._array((self.parameters,), "f"), self.width)
            matrix.flags.writeable = False
            return matrix
        return self._array((self.parameters, self.width), "f")

    @property
    def indices(self) -> IntArray | None:
        """Places (k,) of the parameters that are kept; None for a projection."""
        if self.kind == "projection":
            return None
        if self.kind == "full":
            return np.arange(self.parameters)
        found = np.array(self._array((self.width,), "i"), dtype=np.int64)
        if found.min() < 0 or found.max() >= self.parameters:
            msg = f"{self._path} names parameters outside 0 to {self.parameters - 1}: it is damaged"
            raise RecordError(msg)
        return found

    def stored(self) -> NDArray[Any]:
        """Return the content of the file: directions, entries of disjoint ones, or indices.

        Returns
        -------
        ndarray
        """
        if self.kind == "coordinates":
            return np.array(self._array((self.width,), "i"))
        if self._structure == "disjoint":
            return np.array(self._array((self.parameters,), "f"))
        return np.array(self._array((self.parameters, self.width), "f"), order="F")

    def verify(self) -> None:
        """Compare the file with the hash in its name.

        Raises
        ------
        RecordError
            If they differ.
        """
        if self._path is not None and digest_of(self.stored()) != self._path.stem.split("-")[1]:
            msg = f"{self._path} does not have the content its name promises: it is damaged"
            raise RecordError(msg)

    def _array(self, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
        assert self._path is not None
        size_of(self._path)
        try:
            with self._path.open("rb") as file:
                array_header(file)  # NumPy would advise to unpickle what is none
            found = np.load(self._path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError, OverflowError, MemoryError) as error:
            msg = f"{self._path} is damaged or no array: {error}; copy the run again"
            raise RecordError(msg) from error
        if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype.kind != kind:
            msg = (
                f"{self._path} holds no array of shape {shape}; it is damaged or of another run; "
                "copy the run again"
            )
            raise RecordError(msg)
        return found


def observation_of(header: Header, run: Path) -> Observation:
    """Return the observation that a header describes.

    Returns
    -------
    Observation
    """
    return Observation(
        kind=header.kind,
        parameters=header.parameters,
        width=header.streams[0].width,
        made_by=header.made_by,
        _structure=header.structure,
        _path=run / header.file if header.file else None,
    )


def disjoint_run(parameters: int, width: int) -> int:
    """Return how many neighbours in a row belong to one of so many disjoint directions.

    Parameters
    ----------
    parameters, width : int
        Numbers P of parameters and k of directions.

    Returns
    -------
    int
        So that each direction has at least sixteen such runs, where there are enough parameters.
    """
    return min(max(parameters // (16 * width), 1), 64)


def disjoint_matrix(entries: NDArray[Any], width: int) -> NDArray[Any]:
    """Return directions (P, k) of which each parameter belongs to one alone.

    Parameters
    ----------
    entries : (P,) ndarray
        The entry of each parameter.
    width : int
        Number k of directions: runs of :func:`disjoint_run` parameters take them in turn.

    Returns
    -------
    ndarray
    """
    matrix = np.zeros((len(entries), width), dtype=entries.dtype)
    places = np.arange(len(entries))
    matrix[places, places // disjoint_run(len(entries), width) % width] = entries
    return matrix


def digest_of(array: NDArray[Any]) -> str:
    """Return sixteen hexadecimal digits of an array's content.

    Parameters
    ----------
    array : ndarray
        In Fortran order, or it is copied.

    Returns
    -------
    str
    """
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array.T).data)
    return digest.hexdigest()[:16]
