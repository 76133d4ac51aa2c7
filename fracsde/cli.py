"""The ``fracsde`` command.

Exit codes, for scripts:

====  =========================================================================
code  meaning
====  =========================================================================
0     finished; for a comparison: theory and run agree within the tolerance
1     who read the results, such as ``head``, wanted no more of them
2     bad input, a missing extra, too little memory, or results that could not be written
3     a comparison was made: theory and run disagree
4     a comparison was made: these data do not decide
5     the run was refused by its diagnosis: it drifts, diverged or is too short
130   interrupted
====  =========================================================================

Results go to standard output, progress and messages to standard error.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fracsde._commands import exit_codes
from fracsde.errors import DiagnosticsError, FracsdeError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Interrupts", "main"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # of standard output


class Interrupts:
    """Remember Ctrl-C while the context lasts.

    Compilers call back into Python, and an exception raised inside such a call is printed and
    dropped: without a memory of it the work would go on, or end in an error of the compiler.
    """

    def __init__(self) -> None:
        self.seen = False
        self._replaced: Any = None
        self._hook = sys.unraisablehook

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._replaced = signal.signal(signal.SIGINT, self._note)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        sys.unraisablehook = self._hook
        if self._replaced is not None:
            signal.signal(signal.SIGINT, self._replaced)

    def check(self) -> None:
        """Raise again what may have been dropped.

        Raises
        ------
        KeyboardInterrupt
            If Ctrl-C was pressed.
        """
        if self.seen:
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        self.seen = True
        raise KeyboardInterrupt

    def _unraisable(self, dropped: sys.UnraisableHookArgs) -> None:
        if not (self.seen and dropped.exc_type is KeyboardInterrupt):
            self._hook(dropped)


def main() -> None:
    """Run the command line; never shows a traceback for what the user can mend.

    Raises
    ------
    SystemExit
        With the exit code, always.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that knows no Greek must not cost the table at the end of a long run.
        sys.stdout.reconfigure(errors="replace")
    with Interrupts() as interrupts:
        try:
            _run(interrupts)
        except BaseException:
            if not interrupts.seen:
                raise
            sys.stderr.write("fracsde: interrupted\n")
            raise SystemExit(exit_codes.INTERRUPTED) from None


def _run(interrupts: Interrupts) -> None:
    try:
        from fracsde._commands.command import app
    except ImportError as error:
        sys.stderr.write(
            f"fracsde: the command line needs {error.name}, which is not installed; "
            'pip install "fracsde[cli]"\n'
        )
        raise SystemExit(exit_codes.BAD_INPUT) from None
    try:
        app(obj=interrupts, prog_name="fracsde")
    except FracsdeError as error:
        interrupts.check()
        sys.stderr.write(f"fracsde: {error}\n")
        refused = isinstance(error, DiagnosticsError)
        code = exit_codes.REFUSED if refused else exit_codes.BAD_INPUT
        raise SystemExit(code) from None
    except OSError as error:
        interrupts.check()
        if error.errno in _FULL and error.filename is None:
            refusal = f"cannot write the results: {error.strerror}; free some space"
            _give_up_output()
        elif error.filename is not None:
            refusal = (
                f"cannot use {str(error.filename)!r}: {error.strerror}; correct its permissions, "
                "or name another place"
            )
        else:
            raise
        sys.stderr.write(f"fracsde: {refusal}\n")
        raise SystemExit(exit_codes.BAD_INPUT) from None
    except MemoryError as error:
        interrupts.check()
        reason = f" ({error})" if str(error) else ""
        sys.stderr.write(f"fracsde: not enough memory{reason}; use fewer cells or fewer steps\n")
        raise SystemExit(exit_codes.BAD_INPUT) from None


def _give_up_output() -> None:
    # What is still held would be tried again when the program ends, and end it otherwise.
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    main()
