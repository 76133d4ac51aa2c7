"""Which engines there are, which of them can run here, and what to install for the others.

Engines are imported when asked for, never before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fracsde.errors import BackendUnavailable

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["BACKENDS", "OPTIONAL", "Backend", "available", "require"]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """An engine.

    Parameters
    ----------
    name : str
        What to pass as ``backend=``.
    module : str
        Where its kernels live.
    needs : str
        The package it imports.
    install : str
        The command that provides it.
    about : str
        One line for people.
    """

    name: str
    module: str
    needs: str
    install: str
    about: str

    @property
    def installed(self) -> bool:
        """Whether the package it needs can be found."""
        return find_spec(self.needs) is not None


# Fastest first: the order in which "auto" looks.
BACKENDS = (
    Backend(
        name="numba",
        module="fracsde.backends.numba_cpu",
        needs="numba",
        install="pip install numba",
        about="compiled, all cores",
    ),
    Backend(
        name="numpy",
        module="fracsde.backends.reference",
        needs="numpy",
        install="pip install numpy",
        about="reference: the definition of correct",
    ),
)


def available() -> dict[str, bool]:
    """Return which engines can run here, fastest first.

    Returns
    -------
    dict of str to bool

    Examples
    --------
    >>> available()["numpy"]
    True
    """
    return {backend.name: backend.installed for backend in BACKENDS}


OPTIONAL = (
    ("matplotlib", 'pip install "fracsde[plot]"', "figures"),
    ("typer", 'pip install "fracsde[cli]"', "the command line"),
    ("rich", 'pip install "fracsde[cli]"', "progress bars"),
    ("sklearn", 'pip install "fracsde[demo]"', "the digits of the demo"),
    ("torch", 'pip install "fracsde[torch]"', "recording of torch models, their curvature"),
    ("zarr", 'pip install "fracsde[store]"', "runs and matrices in Zarr"),
    ("h5py", 'pip install "fracsde[store]"', "export of runs to HDF5"),
    ("arviz", "pip install arviz", "export of runs to ArviZ"),
    ("pyamg", 'pip install "fracsde[multigrid]"', "multigrid"),
)
"""What optional parts of the package import, the command that brings it, and what for."""


def require(name: str = "auto") -> tuple[str, ModuleType]:
    """Import an engine.

    Parameters
    ----------
    name : str
        A name of :data:`BACKENDS`, or ``"auto"`` for the fastest that is installed.

    Returns
    -------
    str
        The engine's own name.
    module
        Its kernels.

    Raises
    ------
    BackendUnavailable
        If the engine is unknown or its package is not installed.
    """
    known = {backend.name: backend for backend in BACKENDS}
    if name == "auto":
        name = next(backend.name for backend in BACKENDS if backend.installed)
    if not isinstance(name, str) or name not in known:
        wanted = ", ".join(repr(each) for each in ("auto", *known))
        msg = f"`backend` must be one of {wanted}, got {name!r}; `fracsde doctor` lists them"
        raise BackendUnavailable(msg)
    backend = known[name]
    if not backend.installed:
        msg = (
            f"backend {name!r} needs {backend.needs}, which is not installed; {backend.install}, "
            "or use backend='auto'"
        )
        raise BackendUnavailable(msg)
    return name, _kernels(backend.module)


@cache
def _kernels(module: str) -> ModuleType:
    return import_module(module)
