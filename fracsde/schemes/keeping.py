"""Keeping a long computation: what it publishes is saved, and what was saved is handed back.

A computation publishes, at moments when it is whole, the arrays from which it can go on to the
last digit.  They are written to its checkpoint at intervals, at the end, and when something
interrupts it.  Published arrays must not change until the next ones are published, or until
:meth:`Keeper.withdraw` says that they are about to.

Not here: the file (:mod:`fracsde.schemes.checkpoint`).
"""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from fracsde.errors import CheckpointError, CheckpointWriteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from fracsde._typing import FloatArray
    from fracsde.schemes.checkpoint import Checkpoint

__all__ = ["Keeper", "keeper_of", "refill", "taken"]


class Keeper:
    """Keeps one computation.

    Use it as a context: what interrupts the computation inside is raised after what it last
    published was saved.

    Parameters
    ----------
    checkpoint : Checkpoint or None
        Where and how often; nothing is kept without one.
    marks : mapping of str to ndarray
        What the computation is of.

    Raises
    ------
    CheckpointError
        If the file is damaged, is no checkpoint, or is one of another problem.
    """

    def __init__(self, checkpoint: Checkpoint | None, marks: Mapping[str, FloatArray]) -> None:
        self._checkpoint, self._marks = checkpoint, marks
        self._found = None if checkpoint is None else checkpoint.read(marks)
        self._ready: Callable[[], Mapping[str, FloatArray]] | None = None
        self._saved, self._when = True, monotonic()

    @property
    def active(self) -> bool:
        """Whether anything is kept."""
        return self._checkpoint is not None

    def found(self) -> dict[str, FloatArray] | None:
        """Return what was saved, or nothing; read it inside :meth:`reading`.

        Returns
        -------
        dict of str to ndarray or None
        """
        return self._found

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what goes wrong with saved arrays inside the block into a word about the file.

        Raises
        ------
        CheckpointError
            If arrays are missing or do not fit.
        """
        try:
            yield
        except (KeyError, ValueError, TypeError, IndexError) as error:
            path = None if self._checkpoint is None else self._checkpoint.path
            msg = (
                f"`checkpoint` cannot be read: {path} is damaged ({error}); delete it to start "
                "again, or choose another name"
            )
            raise CheckpointError(msg) from error

    def publish(self, arrays: Callable[[], Mapping[str, FloatArray]]) -> None:
        """Take the arrays from which the computation can go on, and save them when it is time.

        Parameters
        ----------
        arrays : callable
            Returns them, always the same ones; called only where they are saved.
        """
        if self._checkpoint is None:
            return
        self._ready, self._saved = arrays, False
        if monotonic() - self._when >= self._checkpoint.interval:
            self._save()

    def finish(self) -> None:
        """Save what was published last, if it is not saved: the computation has ended."""
        if self._ready is not None and not self._saved:
            self._save()

    def withdraw(self) -> None:
        """Say that what was published is about to change."""
        self._ready = None

    def _save(self) -> None:
        assert self._checkpoint is not None
        assert self._ready is not None
        self._checkpoint.write(self._marks, self._ready())
        self._saved, self._when = True, monotonic()

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or self._saved or self._ready is None:
            return
        if isinstance(error, CheckpointWriteError):
            return
        try:
            self._save()
        except CheckpointWriteError as failure:
            error.add_note(str(failure))


def keeper_of(
    checkpoint: Checkpoint | None, marks: Mapping[str, FloatArray] | None = None
) -> Keeper:
    """Return a keeper, which keeps nothing where there is no checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint or None
        Where and how often.
    marks : mapping of str to ndarray, optional
        What the computation is of.

    Returns
    -------
    Keeper
    """
    return Keeper(checkpoint, {} if marks is None else marks)


def refill(array: FloatArray, saved: FloatArray) -> None:
    """Fill an array with a saved one, which must be of its shape and kind.

    Parameters
    ----------
    array, saved : ndarray
        The first is written to.

    Raises
    ------
    ValueError
        If the other is not.
    """
    if saved.shape != array.shape or saved.dtype != array.dtype:
        msg = f"shape {saved.shape} of {saved.dtype} where {array.shape} belongs"
        raise ValueError(msg)
    array[...] = saved


def taken(arrays: Mapping[str, FloatArray], name: str, shape: tuple[int, ...]) -> FloatArray:
    """Return a saved array, which must be of a shape.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        What was saved.
    name : str
        Which is wanted.
    shape : tuple of int
        Of what shape.

    Returns
    -------
    ndarray of float64
        A copy.
    """
    array = np.empty(shape)
    refill(array, arrays[name])
    return array
