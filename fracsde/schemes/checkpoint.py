"""Checkpoints: the state of a long computation in a file that is whole at every moment.

A checkpoint holds the arrays from which the computation goes on, to the last digit, and what it
was of: operator or right-hand side, start, mesh, scheme, order, time scale, source, wanted nodes
and engine.  It is written to a temporary file in the same folder, forced to disk and renamed over
the old one, so that a crash, a full disk or a second interrupt leaves the old checkpoint as it
was.  Files are NumPy archives without pickled objects.

Operators, right-hand sides and sources are recognised by what they return for a few fixed
arguments, to nine digits.

Not here: when to write one (:mod:`fracsde.schemes.keeping`), what a history keeps
(:mod:`fracsde.schemes.memory`).
"""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fracsde._check import real
from fracsde.errors import CheckpointError, CheckpointWriteError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fracsde._typing import FloatArray
    from fracsde.operators.base import Generator

__all__ = ["Checkpoint", "marks_of", "operators_seen", "words_of"]

_FORMAT = "fracsde-checkpoint/2"
_CLOSE = 1e-9  # relative difference of what operators and sources return
# What NumPy, zipfile and zlib raise for files that are damaged, or of something else.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
_NO_ARCHIVE = "it is no NumPy archive, or one that is cut short"
_OBJECTS = "it holds Python objects, which a checkpoint does not"
_MARK = "of_"  # before the names of what the computation was of
_WORDS = {
    "format": "the version of the format",
    "kind": "what computes it",
    "operator": "the operator",
    "rates": "the right-hand side",
    "start": "the initial state",
    "mesh": "the time grid",
    "scheme": "the scheme",
    "alpha": "alpha",
    "timescale": "the time scale",
    "source": "the source",
    "nodes": "the wanted times",
    "engine": "the backend",
}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where and how often a computation is saved.

    Parameters
    ----------
    path : Path
        The file; its folder must exist.
    interval : float [s]
        Wall time between two savings; zero saves after every block of steps.
    """

    path: Path
    interval: float = 60.0

    @classmethod
    def at(cls, path: Any, interval: Any) -> Checkpoint:
        """Return a checkpoint after looking whether it could be written.

        Parameters
        ----------
        path : path-like
            The file.
        interval : float [s]
            Not negative.

        Returns
        -------
        Checkpoint

        Raises
        ------
        InputError
            If the path is not one.
        CheckpointError
            If there is no folder to write to, or the path is a folder itself.
        """
        interval = real("checkpoint_interval", interval, low=0.0, closed="low")
        try:
            target = Path(path).expanduser().resolve()
            device = target.exists() and not (target.is_file() or target.is_dir())
        except (TypeError, ValueError) as error:
            msg = f"`checkpoint` must be a path, got {path!r}"
            raise InputError(msg) from error
        except (OSError, RuntimeError) as error:  # loops of links, homes of nobody, long names
            msg = f"`checkpoint` cannot be written to {path}: {error}; choose another place"
            raise CheckpointError(msg) from error
        if device:
            msg = f"`checkpoint` must be a file, {target} is no ordinary one; name another"
            raise CheckpointError(msg)
        if target.is_dir():
            msg = f"`checkpoint` must be a file, {target} is a folder; name a file in it"
            raise CheckpointError(msg)
        if not target.parent.is_dir():
            msg = f"`checkpoint` needs an existing folder, {target.parent} is none; make it first"
            raise CheckpointError(msg)
        try:
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            os.close(handle)
            Path(name).unlink()
        except OSError as error:
            msg = (
                f"`checkpoint` cannot be written to {target.parent}: {error.strerror or error}; "
                "choose a folder that may be written to"
            )
            raise CheckpointError(msg) from error
        return cls(path=target, interval=interval)

    def beside(self, tag: str) -> Checkpoint:
        """Return the checkpoint of another computation of the same run.

        Parameters
        ----------
        tag : str
            Added to the name of the file.

        Returns
        -------
        Checkpoint
        """
        return replace(self, path=self.path.with_name(f"{self.path.name}.{tag}"))

    def read(self, marks: Mapping[str, FloatArray]) -> dict[str, FloatArray] | None:
        """Return what was saved, if there is anything.

        Parameters
        ----------
        marks : mapping of str to ndarray
            What the computation is of.

        Returns
        -------
        dict of str to ndarray or None

        Raises
        ------
        CheckpointError
            If the file is damaged, is no checkpoint, or is one of another problem.
        """
        if not self.path.exists():
            return None
        try:
            with self.path.open("rb") as file:
                arrays = _arrays_in(file)
            saved = {name: arrays.pop(_MARK + name) for name in _WORDS if _MARK + name in arrays}
            saved["format"]  # files of others have none
        except _UNREADABLE as error:
            advised = "pickle" in str(error)  # by NumPy, about arrays of objects
            msg = (
                f"`checkpoint` cannot be read: {self.path} is damaged or no checkpoint "
                f"({_OBJECTS if advised else error}); delete it to start again, or choose another "
                "name"
            )
            raise CheckpointError(msg) from (None if advised else error)
        differing = [
            word
            for name, word in _WORDS.items()
            if (name in marks) != (name in saved)
            or (name in marks and not _same(name, saved[name], marks[name]))
        ]
        if differing:
            msg = (
                f"`checkpoint` is of another problem: {self.path} differs in "
                f"{', '.join(differing)}; delete it to start again, or choose another name"
            )
            raise CheckpointError(msg)
        return arrays

    def write(self, marks: Mapping[str, FloatArray], arrays: Mapping[str, FloatArray]) -> None:
        """Replace the file as a whole.

        Parameters
        ----------
        marks, arrays : mapping of str to ndarray
            What the computation is of, and its state.

        Raises
        ------
        CheckpointWriteError
            If it cannot be written; the old one is as it was.
        """
        named = {_MARK + name: mark for name, mark in marks.items()}
        temporary = None
        try:
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **named, **arrays)  # type: ignore[arg-type]  # names are ours
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
            temporary = None
        except OSError as error:
            msg = (
                f"cannot write the checkpoint {self.path}: {error.strerror or error}; the last one "
                "is unchanged; free some space or choose another folder, and run again to resume"
            )
            raise CheckpointWriteError(msg) from error
        finally:
            if temporary is not None:
                with suppress(OSError):
                    Path(temporary).unlink()


def _arrays_in(file: BinaryIO) -> dict[str, FloatArray]:
    if not zipfile.is_zipfile(file):
        raise ValueError(_NO_ARCHIVE)
    file.seek(0)
    archive = np.load(file, allow_pickle=False)
    return {name: archive[name] for name in archive.files}


def _same(name: str, saved: FloatArray, now: FloatArray) -> bool:
    if saved.shape != now.shape or saved.dtype != now.dtype:
        return False
    if name in {"operator", "rates", "source"}:
        size = max(np.abs(now).max(initial=0.0), np.abs(saved).max(initial=0.0))
        return bool(np.all(np.abs(saved - now) <= _CLOSE * size))
    return bool(np.array_equal(saved, now))


def marks_of(
    generators: Sequence[Generator],
    *,
    times: FloatArray,
    initial: FloatArray,
    nodes: Any,
    source: Callable[[float], FloatArray] | None,
    **words: Any,
) -> dict[str, FloatArray]:
    """Return what a computation of densities is of, as arrays.

    Parameters
    ----------
    generators : sequence of Generator
        The operator in space, at several times where it depends on time; known by its widths and
        by what it makes of two densities.
    times : (N + 1,) float64 [t]
        The mesh.
    initial : (n,) float64 [1]
        Masses at the start.
    nodes : (k,) int or float64
        What is returned.
    source : callable or None
        Known by its values at five times.
    **words : object
        Scheme, alpha, timescale and engine; known by their text.

    Returns
    -------
    dict of str to ndarray
    """
    cells = np.arange(float(len(initial)))
    probes = np.ones(len(initial)), np.sin(1.0 + cells)
    seen = [np.asarray(generators[0].widths, dtype=np.float64)]
    seen += [generator.apply(probe) for generator in generators for probe in probes]
    picked = times[np.linspace(0, len(times) - 1, 5).astype(np.int64)]
    marks: dict[str, Any] = {
        "operator": np.concatenate(seen),
        "start": np.array(initial),
        "mesh": np.array(times),
        "nodes": np.array(nodes),
        "source": np.array([source(float(t)) for t in picked]) if source else np.zeros((0, 0)),
    }
    return marks | words_of(**words)


def operators_seen(
    generator_at: Callable[[float], Generator], times: FloatArray
) -> list[Generator]:
    """Return the operators by which a computation is known: at the start, half-way and at the end.

    Returns
    -------
    list of Generator
        One, where the operator does not depend on time.
    """
    first = generator_at(float(times[0]))
    later = [generator_at(float(t)) for t in (0.5 * (times[0] + times[-1]), times[-1])]
    return [first] if all(other is first for other in later) else [first, *later]


def words_of(**words: Any) -> dict[str, FloatArray]:
    """Return what is known by its text, and the version of the format.

    Returns
    -------
    dict of str to ndarray
    """
    named: dict[str, Any] = {name: np.array(str(word)) for name, word in words.items()}
    return {"format": np.array(_FORMAT)} | named
