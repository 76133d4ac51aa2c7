r"""Recording a run of training while it happens, whatever trains.

.. math::
    \text{row } t:\quad t,\; U^{\mathsf T} w_t,\; \text{and what else is known at step } t,

appended to the file of a chain by one call of the system.  When :meth:`Recorder.record` returns,
another process reads the row, and SIGKILL does not lose it; power loss can lose the last
``sync_seconds``.  A row that could not be written whole (a full disk) is not there at all, and
the next call may try it again.

Step ``t`` holds the weights after ``t`` updates, step 0 the start.
"""

from __future__ import annotations

import operator
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, integer, real, truth
from fracsde.errors import FileWriteError, RecordError
from fracsde.recording._block import block_of
from fracsde.recording._chain import OpenChain
from fracsde.recording._folder import (
    bind_stored,
    facts_of,
    join_run,
    make_chain,
    merge_metadata,
    place_of_run,
    refuse_chain,
)
from fracsde.recording._row import Row, of_kind, standard_streams, whole_step
from fracsde.recording.observe import Full, Observe
from fracsde.recording.schedule import Every, Schedule
from fracsde.records._store.attachments import attach
from fracsde.records._store.layout import DTYPES, Layout, Stream
from fracsde.records._store.observation import disjoint_matrix
from fracsde.records.store import RunStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from fracsde._typing import ArrayLike
    from fracsde.recording.observe import Bound

__all__ = ["Recorder"]


class Recorder:
    """Records one chain of a run; use it as a context.

    Several processes may record chains of one run at the same time; those that come later must
    record the same things.  One thread at a time uses a recorder.

    Parameters
    ----------
    path : path-like
        Folder of the run; it and those above it are made if there are none.
    parameters : int
        Number P of parameters of the model.
    observe : Observe
        What to keep of them: :class:`Full`, :class:`Projection`, :class:`RandomProjection` or
        :class:`Coordinates`.
    schedule : Schedule
        When: :class:`Every`, :class:`LogSpaced`, :class:`Windows`, joined by ``|``.
    streams : mapping of str to int or Stream
        What else, and how many numbers of it.  ``"gradients"`` is observed as the weights are;
        scalars with a meaning to the package are ``"loss"``, ``"gradient_norm_squared"``,
        ``"weight_dot_gradient"`` (weights before the step), ``"velocity_norm_squared"`` and
        ``"learning_rate"``.
    chain : int
        Number of the chain.
    metadata, chain_metadata : mapping, optional
        Facts about the run, and about this chain alone, such as its seed: text, finite numbers,
        truth values, lists and mappings.
    dtype : {"float32", "float64"}
        Precision in which weights and gradients are kept.
    resume : bool
        Whether to go on with a chain that exists, after its last whole row.
    rewind_to : int, optional [step]
        With ``resume``: give up what was recorded at later steps, because training goes on from
        there.  No reader may have the chain open.
    sync_seconds : float [s]
        Longest time between two moments when rows are forced to disk.
    labels : sequence of str
        Names of the numbers that are kept of the weights.

    Raises
    ------
    RecordError
        If the chain exists and ``resume`` is false, the run was recorded otherwise, or another
        recorder has the chain.
    FileWriteError
        If the system refuses to write.

    Examples
    --------
    >>> import tempfile, fracsde as fs
    >>> from fracsde.recording import Every, RandomProjection, Recorder
    >>> folder, rng = tempfile.mkdtemp() + "/run", np.random.default_rng(0)
    >>> w = np.zeros(1000)
    >>> with Recorder(
    ...     folder, parameters=1000, observe=RandomProjection(4, seed=1), schedule=Every(10)
    ... ) as recorder:
    ...     for step in range(101):
    ...         _ = recorder.record(step, w)
    ...         w = 0.9 * w + rng.normal(size=1000)
    >>> fs.open_run(folder).trajectory().values.shape
    (1, 11, 4)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        parameters: int,
        observe: Observe | None = None,
        schedule: Schedule | None = None,
        streams: Mapping[str, int | Stream] | None = None,
        chain: int = 0,
        metadata: Mapping[str, Any] | None = None,
        chain_metadata: Mapping[str, Any] | None = None,
        dtype: str = "float32",
        resume: bool = False,
        rewind_to: int | None = None,
        sync_seconds: float = 5.0,
        labels: Sequence[str] = (),
    ) -> None:
        parameters = integer("parameters", parameters, low=1, high=2**53 - 1)
        self._chain = integer("chain", chain, low=0, high=10**9 - 1)
        dtype, resume = choice("dtype", dtype, DTYPES), truth("resume", resume)
        sync_seconds = real("sync_seconds", sync_seconds, low=0.0, closed="low")
        observe = of_kind("observe", observe, Observe, Full())
        self._schedule = of_kind("schedule", schedule, Schedule, Every(1))
        if rewind_to is not None:
            rewind_to = integer("rewind_to", rewind_to, low=-1)
            if not resume:
                msg = "`rewind_to` changes a chain that exists: pass `resume=True` with it"
                raise RecordError(msg)
        facts = facts_of("chain_metadata", chain_metadata)
        self._run = place_of_run(path)
        self._mark = f"chain-{self._chain:06d}"
        self._bound = bind_stored(self._run, observe, parameters, dtype)
        kept = standard_streams(streams, width=self._bound.width, dtype=dtype, labels=labels)
        self._layout = Layout(kept)
        self._row = Row(self._layout, self._bound, parameters)
        join_run(self._run, self._bound, kept, parameters=parameters)
        if not resume:
            refuse_chain(self._run, self._chain)
        merge_metadata(self._run, metadata, self._mark, change=False)
        self._closed, self._process = False, os.getpid()
        home = make_chain(self._run, self._chain, resume=resume)
        self._open = OpenChain(home, self._layout, facts, self._schedule, sync_seconds, rewind_to)
        self._journal = self._open.journal

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self._run

    @property
    def chain(self) -> int:
        """Number of the chain."""
        return self._chain

    @property
    def bound(self) -> Bound:
        """What is kept of the parameters, ready to be applied."""
        return self._bound

    @property
    def schedule(self) -> Schedule:
        """When it records."""
        return self._schedule

    @property
    def streams(self) -> tuple[Stream, ...]:
        """What is kept at each step, the weights first."""
        return self._layout.streams

    @property
    def rows(self) -> int:
        """Number of recorded rows."""
        return self._journal.rows

    @property
    def next_step(self) -> int:
        """The step after the last recorded one; 0 where nothing is recorded."""
        return self._journal.last + 1

    @property
    def directions(self) -> NDArray[Any] | None:
        """Directions (P, k) that weights are projected on; None where they are not."""
        array = self._bound.array
        if self._bound.kind != "projection" or array is None:
            return None
        return array if array.ndim == 2 else disjoint_matrix(array, self._bound.width)

    def due(self, step: int) -> bool:
        """Return whether the schedule wants a step.

        Parameters
        ----------
        step : int [step]
            Its number.

        Returns
        -------
        bool
        """
        return self._schedule.due(whole_step(step))

    def record(self, step: int, weights: ArrayLike, /, **streams: ArrayLike) -> bool:
        """Record a step if it is due.

        Parameters
        ----------
        step : int [step]
            Its number, beyond the last recorded one.
        weights : (P,) array_like or sequence of arrays with P entries together
            All parameters after the step.
        **streams : array_like
            The streams; ``gradients`` with P entries, too.  One that is unknown at this step may
            be left out.

        Returns
        -------
        bool
            Whether it was due; if so, it is recorded when this returns.
        """
        if not self.due(step):
            return False
        self._check(step)
        with np.errstate(over="ignore", invalid="ignore"):  # a divergence is recorded as one
            parts = self._row.of_parameters(step, weights, streams)
        return self._append(step, parts)

    def record_observed(self, step: int, observed: ArrayLike, /, **streams: ArrayLike) -> bool:
        """Record a step from weights (and gradients) that were observed elsewhere.

        Parameters
        ----------
        step : int [step]
            Its number, beyond the last recorded one.
        observed : (width,) array_like
            What :attr:`bound` keeps of the weights, for instance projections made on
            another device.
        **streams : array_like
            The streams; ``gradients`` observed, too.

        Returns
        -------
        bool
            Whether it was due.
        """
        if not self.due(step):
            return False
        self._check(step)
        with np.errstate(over="ignore", invalid="ignore"):
            parts = self._row.of_observed(step, observed, streams)
        return self._append(step, parts)

    def record_block(
        self, steps: ArrayLike, observed: ArrayLike, /, **streams: ArrayLike | None
    ) -> int:
        """Record many steps by one call of the system, from what was observed elsewhere.

        All steps are taken to be due.

        Parameters
        ----------
        steps : (n,) array_like of int [step]
            Increasing, beyond the last recorded one.
        observed : (n, width) array_like
            What :attr:`bound` keeps of the weights at each.
        **streams : (n,) or (n, width) array_like
            The streams, one row per step; what a masked array hides is missing.

        Returns
        -------
        int
            How many rows were recorded.
        """
        rows = block_of(self._layout, steps, observed, streams)
        if len(rows):
            numbers = self._layout.steps(rows)
            self._check(int(numbers[0]))
            self._check(int(numbers[-1]))
            self._append(int(numbers[-1]), (rows.reshape(-1).data,))
        return len(rows)

    def attach(self, name: str, /, **arrays: ArrayLike) -> None:
        """Keep arrays beside the run, in the place of what had the name before.

        Parameters
        ----------
        name : str
            Such as ``"curvature"``.
        **arrays : array_like
            The arrays.
        """
        self._alive()
        attach(self._run, name, arrays, self._mark)

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Add facts about the run, or change them, in one step.

        Parameters
        ----------
        metadata : mapping
            The facts.
        """
        self._alive()
        merge_metadata(self._run, metadata, self._mark, change=True)

    def sync(self) -> None:
        """Force all rows to disk now, where power loss does not reach them."""
        self._alive()
        self._journal.sync()

    def close(self, status: RunStatus = RunStatus.CLOSED) -> None:
        """End the recording.

        Parameters
        ----------
        status : RunStatus
            ``CLOSED`` where the chain is complete; ``RECORDING`` where it will be resumed.
        """
        status = of_kind("status", status, RunStatus, RunStatus.CLOSED)
        if self._closed:
            return
        self._alive()
        self._journal.settle()
        self._journal.sync()
        if status is not RunStatus.RECORDING:
            self._open.save(closed=True)
        self._release()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._closed or os.getpid() != self._process:
            return
        try:
            self.close(RunStatus.CLOSED if error is None else RunStatus.RECORDING)
        except FileWriteError as failure:
            if error is None:
                raise
            error.add_note(str(failure))
        finally:
            self._release()

    def _append(self, step: int, parts: tuple[memoryview, ...]) -> bool:
        self._journal.append(parts, operator.index(step))
        self._journal.sync_when_due()
        return True

    def _release(self) -> None:
        self._closed = True
        self._journal.close()

    def _alive(self) -> None:
        if self._closed:
            msg = "the recorder is closed; open the chain again with `resume=True`"
            raise RecordError(msg)
        if os.getpid() != self._process:
            msg = "a recorder belongs to the process that made it; record another chain from here"
            raise RecordError(msg)

    def _check(self, step: int) -> None:
        self._alive()
        if step <= self._journal.last:
            msg = (
                f"step {step} is not beyond step {self._journal.last}, the last recorded one of "
                f"chain {self._chain}; go on from `next_step`, or resume with `rewind_to`"
            )
            raise RecordError(msg)
        if step > 2**53:
            msg = f"`step` must be at most 2**53, got {step}"
            raise RecordError(msg)
