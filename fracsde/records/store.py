r"""A run of training on disk: what was kept at each step, read while it is written and after.

.. code-block:: text

    run/
      run.json                       what is kept: parameters, observation, streams; made once
      metadata.json                  facts about the run; replaced in one step
      observation-<hash>.npy         directions or places of the parameters that are kept
      chains/chain-000000/rows.bin   rows, appended; a row counts when the file holds it whole
      chains/chain-000000/chain.json whether the chain was closed, and with how many rows
      attachments/<name>.npz         arrays beside the run, such as the curvature

Nothing in the folder is ever unpickled, links are not followed, and every length is checked
against the length of its file, so that a foreign folder gives an error and nothing else.

Writing is :class:`fracsde.recording.Recorder`'s; the rows are described in
``fracsde/records/_store/layout.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde._check import choice, integer
from fracsde.errors import RecordError
from fracsde.records._store.attachments import attached, attachment_names
from fracsde.records._store.choosing import (
    chosen_chains,
    chosen_coordinates,
    common_steps,
    end_of,
    extent,
    first_bad,
    read_values,
    recorded_provenance,
)
from fracsde.records._store.export import groups_of, write_export
from fracsde.records._store.header import Header, read_header, read_json
from fracsde.records._store.layout import Layout, Stream
from fracsde.records._store.observation import Observation, observation_of
from fracsde.records._store.places import exists, run_folder
from fracsde.records._store.rows import (
    ChainState,
    chain_folder,
    chains_in,
    checked_steps,
    map_rows,
    read_state,
    whole,
)
from fracsde.records._store.state import Divergence, RunStatus, first_divergence
from fracsde.records._store.sums import content_hash, verify_rows
from fracsde.records.trajectory import Trajectory

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fracsde._typing import BoolArray, IntArray

__all__ = ["Divergence", "Observation", "RunStatus", "StoredRun", "Stream", "open_run"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredRun:
    """A run on disk, as it was when it was opened.

    Made by :func:`open_run`.  Rows recorded later are seen by opening it again.

    Parameters
    ----------
    path : Path
        Its folder.
    metadata : mapping
        Facts about the run: plain JSON types.
    streams : mapping of str to Stream
        What is kept at each step.
    parameters : int
        Number P of parameters of the model.
    observation : Observation
        What is kept of them.
    """

    path: Path
    metadata: Mapping[str, Any]
    streams: Mapping[str, Stream]
    parameters: int
    observation: Observation
    _header: Header
    _layout: Layout
    _states: Mapping[int, ChainState]
    _rows: Mapping[int, int]
    _steps: dict[int, IntArray] = field(default_factory=dict)

    @property
    def chains(self) -> tuple[int, ...]:
        """Numbers of the chains, increasing."""
        return tuple(self._rows)

    @property
    def attachments(self) -> tuple[str, ...]:
        """Names of the arrays kept beside the run."""
        return attachment_names(self.path)

    @cached_property
    def divergence(self) -> Divergence | None:
        """Where the run first left the finite numbers, or None."""
        names = tuple(self.streams)
        found = [
            first_divergence(chain, self.steps(chain), self._layout.marks(self._map(chain)), names)
            for chain in self.chains
        ]
        met = [entry for entry in found if entry is not None]
        return min(met, key=lambda entry: (entry.step, entry.chain), default=None)

    @property
    def status(self) -> RunStatus:
        """Whether the run is complete, may go on, or diverged."""
        if self.divergence is not None:
            return RunStatus.DIVERGED
        closed = bool(self.chains) and all(state.closed for state in self._states.values())
        return RunStatus.CLOSED if closed else RunStatus.RECORDING

    def steps(self, chain: int) -> IntArray:
        """Return the recorded steps of a chain.

        Parameters
        ----------
        chain : int
            Its number.

        Returns
        -------
        (n,) ndarray of int64 [step]
            Strictly increasing, read-only.
        """
        chosen_chains(chain, self.chains)
        if chain not in self._steps:
            steps = checked_steps(chain, self._layout.steps(self._map(chain)))
            steps.flags.writeable = False
            self._steps[chain] = steps
        return self._steps[chain]

    def array(self, stream: str, chain: int) -> NDArray[Any]:
        """Return one stream of one chain, mapped and not read.

        Parameters
        ----------
        stream : str
            Its name.
        chain : int
            Number of the chain.

        Returns
        -------
        (n, width) memmap
            Read-only; NaN in rows that lack the stream, see :meth:`present`.
        """
        return self._layout.column(self._map(chain), self._stream(stream))

    def present(self, stream: str, chain: int) -> BoolArray:
        """Return which rows of a chain have a stream.

        Parameters
        ----------
        stream : str
            Its name.
        chain : int
            Number of the chain.

        Returns
        -------
        (n,) ndarray of bool
        """
        bit = np.uint32(1 << self._layout.bits[self._stream(stream).name])
        missing = self._layout.marks(self._map(chain))[:, 0]
        return np.asarray((missing & bit) == 0)

    def trajectory(
        self,
        stream: str = "weights",
        *,
        chains: Sequence[int] | None = None,
        coordinates: Sequence[int] | slice | None = None,
        start: float | None = None,
        stop: float | None = None,
        every: int = 1,
        unequal: str = "refuse",
    ) -> Trajectory:
        """Read a part of a stream.

        Parameters
        ----------
        stream : str
            Its name; rows that lack it are left out.
        chains : sequence of int, optional
            Numbers of the chains, by default all.
        coordinates : sequence of int or slice, optional
            Which numbers of the stream, by default all.
        start, stop : float, optional [step]
            First and last step.
        every : int
            Every so many recorded rows of that part.
        unequal : {"refuse", "truncate"}
            What to do with chains recorded at different steps: ``"truncate"`` keeps the steps
            that all have.

        Returns
        -------
        Trajectory
            In double precision; times are steps.

        Raises
        ------
        RecordError
            If nothing was recorded there, chains differ, or a number is NaN or infinite; says
            at which step.
        """
        shape = self._stream(stream)
        every = integer("every", every, low=1)
        unequal = choice("unequal", unequal, ("refuse", "truncate"))
        first, last = end_of("start", start, -np.inf), end_of("stop", stop, np.inf)
        picked = chosen_chains(chains, self.chains)
        columns = chosen_coordinates(coordinates, shape.width)
        places = []
        for chain in picked:
            steps = self.steps(chain)
            inside = self.present(stream, chain)
            inside &= (steps >= first) & (steps <= last)
            places.append(np.flatnonzero(inside))
        found = [self.steps(chain)[rows] for chain, rows in zip(picked, places, strict=True)]
        steps, places = common_steps(picked, found, places, truncate=unequal == "truncate")
        steps, places = steps[::every], [rows[::every] for rows in places]
        if len(steps) == 0:
            there = extent({chain: self.steps(chain) for chain in picked[:3]})
            msg = f"nothing of {stream!r} was recorded there; {there}"
            raise RecordError(msg)
        arrays = (self.array(stream, chain) for chain in picked)
        values = read_values(arrays, places, columns, shape.width)
        first_bad(values, picked, steps, stream)
        labels = tuple(shape.labels[i] for i in columns) if shape.labels else ()
        return Trajectory(
            values=values,
            times=self._times(picked[0], places[0], steps),
            names=labels,
            provenance=recorded_provenance(
                self.metadata.get("provenance"), stream, picked, steps, map(self._map, picked)
            ),
        )

    def attachment(self, name: str) -> dict[str, NDArray[Any]]:
        """Read the arrays attached under a name.

        Parameters
        ----------
        name : str
            Such as ``"curvature"``.

        Returns
        -------
        dict of str to ndarray
        """
        return attached(self.path, name)

    def chain_metadata(self, chain: int) -> Mapping[str, Any]:
        """Return facts about one chain.

        Parameters
        ----------
        chain : int
            Its number.

        Returns
        -------
        mapping
        """
        chosen_chains(chain, self.chains)
        return MappingProxyType(dict(self._states[chain].metadata))

    def verify(self) -> int:
        """Check every row, the observation and the attachments against their check sums.

        Returns
        -------
        int
            Number of rows checked.
        """
        self.observation.verify()
        for chain in self.chains:
            verify_rows(chain, self._map(chain), self._layout)
            self.steps(chain)
        for name in self.attachments:
            self.attachment(name)
        return sum(self._rows.values())

    def export(self, path: str | os.PathLike[str], *, format: str = "npz") -> Path:
        """Write the run to one file, or one folder of Zarr, in one step.

        Steps and streams of each chain, the observation, attachments, header and metadata.

        Parameters
        ----------
        path : path-like
            Where to; there must be nothing.
        format : {"npz", "hdf5", "zarr"}
            Of what kind; the last two need the extra ``store``.

        Returns
        -------
        Path
            Where it is.
        """
        kind = choice("format", format, ("npz", "hdf5", "zarr"))
        head = {"run": self._header.to_dict(), "metadata": dict(self.metadata)}
        return write_export(path, kind, head, groups_of(self))

    def content_hash(self) -> str:
        """Return the SHA-256 of all that counts: the same however it came to the disk.

        Returns
        -------
        str
            Sixty-four hexadecimal digits.
        """
        head = [self._header.to_dict(), dict(self.metadata)]
        chains = ((c, self._states[c].metadata, self._map(c)) for c in self.chains)
        return content_hash(head, chains, {n: self.attachment(n) for n in self.attachments})

    def _stream(self, name: str) -> Stream:
        if not isinstance(name, str) or name not in self.streams:
            msg = f"the run has no stream {name!r}; it has: {', '.join(self.streams)}"
            raise RecordError(msg)
        return self.streams[name]

    def _map(self, chain: int) -> NDArray[np.uint8]:
        chosen_chains(chain, self.chains)
        path = chain_folder(self.path, chain) / "rows.bin"
        return map_rows(path, self._layout, self._rows[chain])

    def _times(self, chain: int, rows: IntArray, steps: IntArray) -> NDArray[Any]:
        if self._header.clock == "step":
            return steps
        return np.array(self.array("time", chain)[rows, 0])


def open_run(path: str | os.PathLike[str]) -> StoredRun:
    """Open a stored run, complete or still being recorded.

    Parameters
    ----------
    path : path-like
        Its folder.

    Returns
    -------
    StoredRun
        A snapshot: the rows that were whole at this moment.  Where there is no run, or it is
        damaged, truncated or foreign, a :class:`~fracsde.errors.RecordError` says which file.

    Examples
    --------
    >>> import tempfile, fracsde as fs
    >>> from fracsde.recording import Recorder
    >>> folder = tempfile.mkdtemp() + "/run"
    >>> with Recorder(folder, parameters=3, streams={"loss": 1}) as recorder:
    ...     for step in range(4):
    ...         _ = recorder.record(step, [step, 0.0, 1.0], loss=1.0 / (1 + step))
    >>> run = fs.open_run(folder)
    >>> run.status.sentence, run.steps(0).tolist()
    ('The run is complete.', [0, 1, 2, 3])
    >>> run.trajectory("loss").values[0, :, 0].tolist()
    [1.0, 0.5, 0.3333333333333333, 0.25]
    """
    home = run_folder(path)
    header = read_header(home / "run.json")
    layout = header.layout()
    facts = home / "metadata.json"
    metadata = read_json(facts) if exists(facts) else {}
    homes = {chain: chain_folder(home, chain) for chain in chains_in(home)}
    states = {chain: read_state(place) for chain, place in homes.items()}
    rows = {chain: whole(place, layout, states[chain]) for chain, place in homes.items()}
    return StoredRun(
        path=home,
        metadata=MappingProxyType(metadata),
        streams=MappingProxyType({stream.name: stream for stream in header.streams}),
        parameters=header.parameters,
        observation=observation_of(header, home),
        _header=header,
        _layout=layout,
        _states=states,
        _rows=rows,
    )
