"""Passes over the intervals of a collocation that are kept: those that ended, and where one is.

A run to a tolerance passes over the time axis again and again, with what it learned.  What passes
found is small beside the memory of one, so a checkpoint holds the results of all that ended and
the memory of the one that is running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fracsde.schemes._interval_loop import Collocated, Reached, collocated, ends_in
from fracsde.schemes.keeping import taken

if TYPE_CHECKING:
    from collections.abc import Callable

    from fracsde._typing import FloatArray
    from fracsde.schemes._collocating import Equation, Rule
    from fracsde.schemes._interval_loop import Steps
    from fracsde.schemes.keeping import Keeper

__all__ = ["Passes"]

_LIVE = "live_"  # before the names of the arrays of the pass that is running


class Passes:
    """Passes over one time axis, in order.

    Parameters
    ----------
    keeper : Keeper
        What saves them and brings them back.
    wanted : (t,) float64 [t]
        When masses are wanted.
    watch : callable or None
        Called after each interval of the first pass and of every other one after it.
    """

    def __init__(
        self, keeper: Keeper, wanted: FloatArray, watch: Callable[[int], None] | None
    ) -> None:
        self._keeper, self._wanted, self._watch = keeper, wanted, watch
        self._arrays: dict[str, FloatArray] = {}  # of passes that ended
        self._live: dict[str, FloatArray] = {}  # of the one that was running
        self._count, self._saved = 0, 0
        found = keeper.found()
        if found is not None:
            with keeper.reading():
                self._saved = int(found.pop("passes"))
            for name, array in found.items():
                if name.startswith(_LIVE):
                    self._live[name.removeprefix(_LIVE)] = array
                else:
                    self._arrays[name] = array

    def collocated(
        self, equation: Equation, rule: Rule, steps: Steps, *, kernel_rtol: float
    ) -> Collocated:
        """Make the next pass, or return what was saved of it.

        Parameters
        ----------
        equation : Equation
            What is collocated.
        rule : Rule
            With which nodes.
        steps : Steps
            Where intervals end.
        kernel_rtol : float [1]
            Relative error of the kernel.

        Returns
        -------
        Collocated
        """
        number, self._count = self._count, self._count + 1
        if number < self._saved:
            return self._read(number, len(equation.initial))
        reached = Reached.start(equation, self._wanted)
        if self._live:
            with self._keeper.reading():
                reached.restore(self._live, equation, rule, steps, kernel_rtol)
            self._live = {}
        found = collocated(
            equation,
            rule,
            steps,
            self._wanted,
            kernel_rtol=kernel_rtol,
            watch=self._watch if number % 2 == 0 else None,
            publish=self._publish if self._keeper.active else None,
            reached=reached,
        )
        self._arrays |= {
            f"masses_{number}": found.masses,
            f"ends_{number}": found.ends,
            f"counts_{number}": np.array([found.residual, found.tries, found.exponentials]),
        }
        self._saved = number + 1
        self._keeper.publish(self._whole)
        return found

    def _whole(self) -> dict[str, FloatArray]:
        return self._arrays | {"passes": np.array(self._saved)}

    def _publish(self, arrays: dict[str, FloatArray]) -> None:
        live = {_LIVE + name: array for name, array in arrays.items()}
        self._keeper.publish(lambda: self._whole() | live)

    def _read(self, number: int, cells: int) -> Collocated:
        with self._keeper.reading():
            residual, tries, exponentials = taken(self._arrays, f"counts_{number}", (3,)).tolist()
            return Collocated(
                masses=taken(self._arrays, f"masses_{number}", (len(self._wanted), cells)),
                ends=ends_in(self._arrays[f"ends_{number}"]),
                residual=residual,
                tries=int(tries),
                exponentials=int(exponentials),
            )
