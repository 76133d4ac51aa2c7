"""The chain that a recorder has open: its file of rows, taken up after the last whole one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fracsde.errors import RecordError
from fracsde.recording._folder import write_state
from fracsde.records._store.journal import Journal
from fracsde.records._store.rows import ChainState, map_rows, read_state, whole

if TYPE_CHECKING:
    from pathlib import Path

    from fracsde.recording.schedule import Schedule
    from fracsde.records._store.layout import Layout

__all__ = ["OpenChain"]


class OpenChain:
    """A chain that is being recorded; one recorder at a time has it.

    Parameters
    ----------
    home : Path
        Its folder.
    layout : Layout
        Where the streams lie in a row.
    facts : mapping
        Facts about the chain; where there are none those that it has stay.
    schedule : Schedule
        When it is recorded.
    sync_seconds : float [s]
        Longest time between two moments when rows are forced to disk.
    rewind_to : int, optional [step]
        Rows of later steps are given up.

    Raises
    ------
    RecordError
        If another recorder has it, it has other facts, or is damaged.
    """

    def __init__(
        self,
        home: Path,
        layout: Layout,
        facts: dict[str, Any],
        schedule: Schedule,
        sync_seconds: float,
        rewind_to: int | None,
    ) -> None:
        self._home, self._layout, self._schedule = home, layout, schedule
        self.journal = Journal(home / "rows.bin", layout.row_bytes, sync_seconds)
        try:
            self._take_up(facts, rewind_to)
        except BaseException:
            self.journal.close()
            raise

    def _take_up(self, facts: dict[str, Any], rewind_to: int | None) -> None:
        """Find the last whole row; the journal is locked."""
        home, layout = self._home, self._layout
        state = read_state(home)
        if facts and state.metadata and dict(state.metadata) != facts:
            msg = (
                f"{home} is a chain with other metadata: {dict(state.metadata)!s:.200}, now "
                f"{facts!s:.200}; resume with the same"
            )
            raise RecordError(msg)
        self._facts = facts or dict(state.metadata)
        count = whole(home, layout, state)
        steps = layout.steps(map_rows(home / "rows.bin", layout, count))
        if rewind_to is not None:
            count = int(np.searchsorted(steps, rewind_to, side="right"))
        self.save(closed=False)
        self.journal.keep(count, int(steps[count - 1]) if count else -1)

    def save(self, *, closed: bool) -> None:
        """Write ``chain.json``.

        Parameters
        ----------
        closed : bool
            Whether the chain is complete.
        """
        state = ChainState(
            closed=closed,
            rows=self.journal.rows if closed else 0,
            metadata=self._facts,
            schedule=self._schedule.to_dict(),
        )
        write_state(self._home / "chain.json", state.to_dict())
