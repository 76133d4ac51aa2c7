"""Everything fracsde raises on purpose.

Two families.  A child of :class:`InputError` (a :class:`ValueError`) is raised before any
work is done: the message says what was asked, what arrived and what to do.  A
:class:`ComputationError` carries the :class:`~fracsde.status.Status` of a computation that was
well posed on paper and failed in fact; it is raised only where ``throw=True``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fracsde.status import Status

__all__ = [
    "BackendUnavailable",
    "CheckpointError",
    "CheckpointWriteError",
    "ComputationError",
    "DensityError",
    "DiagnosticsError",
    "FileWriteError",
    "FracsdeError",
    "GridError",
    "IndefiniteError",
    "InputError",
    "NotConfiningError",
    "NotFiniteError",
    "NotSymmetricError",
    "OutOfRangeError",
    "RecordError",
    "ReportWriteError",
    "SamplingError",
    "ShapeError",
    "UnstableError",
    "UnsupportedError",
]


class FracsdeError(Exception):
    """Base class of everything raised on purpose."""


class InputError(FracsdeError, ValueError):
    """An argument that cannot mean what was asked."""


class ShapeError(InputError):
    """An array with the wrong number of axes or the wrong lengths."""


class NotFiniteError(InputError):
    """A NaN or an infinity where a finite number is needed."""


class NotSymmetricError(InputError):
    """A matrix that should equal its transpose and does not."""


class IndefiniteError(InputError):
    """A matrix that should be positive semi-definite and has a negative eigenvalue."""


class OutOfRangeError(InputError):
    """A number outside the interval in which it has a meaning."""


class UnstableError(InputError):
    """A process without the stationary law that was asked for; names the limit it breaks."""


class SamplingError(InputError):
    """A way of drawing batches that does not fit the data or the theory."""


class GridError(InputError):
    """A grid in time or space that does not increase or does not fit the problem."""


class DensityError(InputError):
    """A density that is negative, empty or cannot be normalised."""


class NotConfiningError(InputError):
    """A potential without a normalisable stationary density on an unbounded domain."""


class RecordError(InputError):
    """A trajectory or measurement that is too short, constant or otherwise unusable."""


class DiagnosticsError(RecordError):
    """A run that must not be measured as it is: it drifts or diverged; says which part may be."""


class UnsupportedError(InputError):
    """A meaningful request that this version does not serve; says what serves instead."""


class FileWriteError(FracsdeError, OSError):
    """A file that could not be written: disk full, no permission.  The old one is intact."""


class ReportWriteError(FileWriteError):
    """A report that could not be written: disk full, no permission.  The old one is intact."""


class CheckpointError(InputError):
    """A checkpoint that is damaged or of another problem, or a place where none can be written."""


class CheckpointWriteError(FracsdeError, OSError):
    """A checkpoint that could not be written: disk full, no permission.  The old one is intact."""


class BackendUnavailable(FracsdeError, ImportError):  # noqa: N818 - the name is public contract
    """An optional package or engine that is not installed; names the extra to install."""


class ComputationError(FracsdeError, RuntimeError):
    """A computation that failed; ``status`` says how.

    Parameters
    ----------
    status : Status
        The outcome; its sentence opens the message.
    detail : str
        What was measured and what to do.
    """

    def __init__(self, status: Status, detail: str = "") -> None:
        super().__init__(f"{status.sentence} {detail}".strip())
        self.status, self.detail = status, detail

    def __reduce__(self) -> tuple[type[ComputationError], tuple[Status, str]]:
        """Rebuild from the status, so that worker processes can hand the error back.

        Returns
        -------
        tuple
        """
        return type(self), (self.status, self.detail)
