"""The ``fracsde`` command.

Exit codes: 0 finished, 2 bad input or a missing extra, 130 interrupted.
"""

from __future__ import annotations

import io
import sys

from fracsde.errors import FracsdeError

__all__ = ["main"]


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
    try:
        from fracsde._commands import app
    except ImportError as error:
        sys.stderr.write(
            f"fracsde: the command line needs {error.name}, which is not installed; "
            'pip install "fracsde[cli]"\n'
        )
        raise SystemExit(2) from None
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except FracsdeError as error:
        sys.stderr.write(f"fracsde: {error}\n")
        raise SystemExit(2) from None
