r"""What to keep of a vector of :math:`P` parameters: all, projections, or some of them.

A projection keeps :math:`U^{\mathsf T} w` for directions :math:`U`, (P, k).  Dense random
directions read :math:`kP` numbers per step, which for a small model takes as long as a step of
training; *disjoint* ones, where runs of up to 64 parameters belong to the directions in turn, read
:math:`2P` and are orthonormal all the same, to rounding:

=============  =======================  ==================  ===============================
form           columns                  numbers read        memory
=============  =======================  ==================  ===============================
orthonormal    uniform, orthonormal     (k + 1) P           k P
gaussian       independent, norm near 1 (k + 1) P           k P
disjoint       orthonormal              2 P                 P
=============  =======================  ==================  ===============================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, integer
from fracsde.errors import InputError, NotFiniteError, OutOfRangeError, ShapeError
from fracsde.recording._directions import Disjoint, dense_directions, disjoint_entries
from fracsde.records._store.observation import disjoint_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fracsde._typing import ArrayLike, IntArray

__all__ = ["Bound", "Coordinates", "Full", "Observe", "Projection", "RandomProjection"]

_FAR = 2**63 - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Bound:
    """An observation of a model of a given size, ready to be applied.

    Parameters
    ----------
    kind, structure : str
        What the header of a run says.
    width : int
        Numbers kept.
    array : ndarray or None
        What is stored: directions (P, k), the entries (P,) of disjoint ones, or places (k,).
    made_by : dict
        How it was made.
    """

    kind: str
    structure: str
    width: int
    array: NDArray[Any] | None
    made_by: dict[str, Any]
    _disjoint: Disjoint | None = None

    def __post_init__(self) -> None:
        if self.structure == "disjoint" and self.array is not None:
            object.__setattr__(self, "_disjoint", Disjoint(self.array, self.width))

    @property
    def run(self) -> int:
        """How many neighbours take the same disjoint direction before the next takes its turn."""
        return disjoint_run(0 if self.array is None else len(self.array), self.width)

    def apply(self, flat: NDArray[Any], out: NDArray[Any]) -> None:
        """Observe a vector.

        Parameters
        ----------
        flat : (P,) ndarray
            The vector, contiguous and of the type of ``out``.
        out : (width,) ndarray
            Where the result goes.
        """
        if self.array is None:
            np.copyto(out, flat)
        elif self.kind == "coordinates":
            np.take(flat, self.array, out=out, mode="clip")
        elif self._disjoint is not None:
            self._disjoint.project(flat, out)
        else:
            np.dot(self.array.T, flat, out=out)


class Observe:
    """What to keep of the parameters."""

    def made_by(self) -> dict[str, Any]:
        """Return how it is made, as plain JSON types.

        Returns
        -------
        dict

        Raises
        ------
        NotImplementedError
            In this base class.
        """
        raise NotImplementedError

    def bind(self, parameters: int, dtype: str, stored: NDArray[Any] | None = None) -> Bound:
        """Prepare for a model.

        Parameters
        ----------
        parameters : int
            Number P of its parameters.
        dtype : str
            Precision of what is kept.
        stored : ndarray, optional
            What a run made with the same :meth:`made_by` has stored, to be used again.

        Returns
        -------
        Bound

        Raises
        ------
        NotImplementedError
            In this base class.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Full(Observe):
    """Every parameter.

    Examples
    --------
    >>> Full().bind(3, "float32").width
    3
    """

    def made_by(self) -> dict[str, Any]:
        """Return how it is made, as plain JSON types."""
        return {"kind": "full"}

    def bind(self, parameters: int, dtype: str, stored: NDArray[Any] | None = None) -> Bound:
        """Prepare for a model, see :meth:`Observe.bind`."""
        return Bound(
            kind="full", structure="dense", width=parameters, array=None, made_by=self.made_by()
        )


@dataclass(frozen=True, eq=False)
class Projection(Observe):
    """Inner products with given directions.

    Parameters
    ----------
    directions : (P, k) array_like [1]
        One direction per column; one axis is one direction.  Kept without a copy; they need
        be neither orthogonal nor of length one.

    Raises
    ------
    ShapeError
        If there is no direction.
    InputError
        If they are no real numbers.
    NotFiniteError
        If one is NaN or infinite.

    Examples
    --------
    >>> Projection(np.eye(5)[:, :2]).bind(5, "float32").width
    2
    """

    directions: ArrayLike

    def __post_init__(self) -> None:
        try:
            given = np.asarray(self.directions)
        except ValueError as error:
            msg = f"`directions` must be an array (P, k): {error}"
            raise ShapeError(msg) from error
        if given.dtype.kind not in "biuf":
            msg = f"`directions` must be real numbers, got {given.dtype}"
            raise InputError(msg)
        given = given.reshape(-1, 1) if given.ndim == 1 else given
        if given.ndim != 2 or given.size == 0:
            msg = f"`directions` must have shape (P, k), got {np.shape(self.directions)}"
            raise ShapeError(msg)
        if not np.isfinite(given).all():
            msg = "`directions` must be finite; a NaN or infinity makes every projection one"
            raise NotFiniteError(msg)
        given = given.view()
        given.flags.writeable = False
        object.__setattr__(self, "directions", given)

    def made_by(self) -> dict[str, Any]:
        """Return how it is made, as plain JSON types."""
        return {"kind": "given"}

    def bind(self, parameters: int, dtype: str, stored: NDArray[Any] | None = None) -> Bound:
        """Prepare for a model, see :meth:`Observe.bind`."""
        given = np.asarray(self.directions)
        if given.shape[0] != parameters or given.shape[1] > parameters:
            msg = (
                f"`directions` must have shape ({parameters}, k) with at most {parameters} "
                f"columns, one row per parameter, got {given.shape}"
            )
            raise ShapeError(msg)
        return Bound(
            kind="projection",
            structure="dense",
            width=given.shape[1],
            array=np.asarray(given, dtype=dtype, order="F"),
            made_by=self.made_by(),
        )


@dataclass(frozen=True)
class RandomProjection(Observe):
    """Inner products with random directions, the same for the same seed.

    Parameters
    ----------
    k : int
        Number of directions.
    seed : int
        Seed.
    form : {"orthonormal", "gaussian", "disjoint"}
        What they look like, see the table of this module; ``"disjoint"`` costs a few percent
        of the others.

    Examples
    --------
    >>> U = RandomProjection(2, seed=1).bind(50, "float64").array
    >>> bool(np.allclose(U.T @ U, np.eye(2), atol=1e-14))
    True
    """

    k: int
    seed: int = 0
    form: str = "orthonormal"

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", integer("k", self.k, low=1, high=_FAR))
        object.__setattr__(self, "seed", integer("seed", self.seed, low=0, high=_FAR))
        choice("form", self.form, ("orthonormal", "gaussian", "disjoint"))

    def made_by(self) -> dict[str, Any]:
        """Return how it is made, as plain JSON types."""
        return {"kind": "random", "k": self.k, "seed": self.seed, "form": self.form}

    def bind(self, parameters: int, dtype: str, stored: NDArray[Any] | None = None) -> Bound:
        """Prepare for a model, see :meth:`Observe.bind`."""
        if self.k > parameters:
            msg = f"`k` must be at most the number of parameters, {parameters}, got {self.k}"
            raise OutOfRangeError(msg)
        if stored is None:
            rng = np.random.default_rng(self.seed)
            if self.form == "disjoint":
                stored = disjoint_entries(parameters, self.k, rng).astype(dtype)
            else:
                stored = dense_directions(parameters, self.k, rng, dtype, self.form)
        return Bound(
            kind="projection",
            structure="disjoint" if self.form == "disjoint" else "dense",
            width=self.k,
            array=stored,
            made_by=self.made_by(),
        )


@dataclass(frozen=True, eq=False)
class Coordinates(Observe):
    """Some of the parameters.

    Parameters
    ----------
    indices : sequence of int, optional
        Their places in the vector, different from one another; kept in this order.
    count : int, optional
        In place of ``indices``: so many at random, in increasing order.
    seed : int
        Seed of the random choice.

    Raises
    ------
    InputError
        If neither or both of ``indices`` and ``count`` are given, or places are no whole numbers.
    OutOfRangeError
        If places are negative or one is named twice.

    Examples
    --------
    >>> Coordinates([4, 0]).bind(5, "float32").array.tolist()
    [4, 0]
    >>> Coordinates(count=2, seed=1).bind(100, "float32").width
    2
    """

    indices: Sequence[int] | IntArray | None = None
    count: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.indices is None) == (self.count is None):
            msg = "give either `indices` or `count`: which parameters to keep, or how many"
            raise InputError(msg)
        object.__setattr__(self, "seed", integer("seed", self.seed, low=0, high=_FAR))
        if self.count is not None:
            object.__setattr__(self, "count", integer("count", self.count, low=1, high=_FAR))
            return
        given = np.asarray(self.indices)
        if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "iu":
            msg = f"`indices` must be one axis of whole numbers, got {given.dtype} {given.shape}"
            raise InputError(msg)
        places = given.astype(np.int64)
        if places.min() < 0 or len(np.unique(places)) != len(places):
            msg = "`indices` must be at least 0 and differ from one another; drop repeated ones"
            raise OutOfRangeError(msg)
        places.flags.writeable = False
        object.__setattr__(self, "indices", places)

    def made_by(self) -> dict[str, Any]:
        """Return how it is made, as plain JSON types."""
        if self.count is None:
            return {"kind": "given"}
        return {"kind": "random", "count": self.count, "seed": self.seed}

    def bind(self, parameters: int, dtype: str, stored: NDArray[Any] | None = None) -> Bound:
        """Prepare for a model, see :meth:`Observe.bind`."""
        if self.indices is not None:
            places = np.asarray(self.indices)
            if places.max() >= parameters:
                msg = f"`indices` must be below {parameters}, got {int(places.max())}"
                raise OutOfRangeError(msg)
        else:
            assert self.count is not None
            if self.count > parameters:
                msg = f"`count` must be at most {parameters}, got {self.count}"
                raise OutOfRangeError(msg)
            rng = np.random.default_rng(self.seed)
            places = np.sort(rng.choice(parameters, self.count, replace=False, shuffle=False))
            places = places if stored is None else stored
        return Bound(
            kind="coordinates",
            structure="dense",
            width=len(places),
            array=np.asarray(places, dtype=np.int64),
            made_by=self.made_by(),
        )
