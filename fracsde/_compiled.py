"""Compiled kernels whose cache knows all that they call.

Numba keeps machine code between processes, stamped by the file of the kernel alone: a kernel that
calls one of another file, or takes a constant from there, would go on as it was after that file
has changed.  The decorator of this module adds to the stamp a digest of what a kernel refers to, to
any depth: code of compiled functions and their options, code of intrinsics, values of constants,
which are frozen when a kernel is compiled.

Where nothing can be kept, because no folder can be written or Numba keeps its stamps elsewhere than
it did, a kernel is compiled in each process: slow, and never stale.
"""

from __future__ import annotations

import hashlib
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, overload

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["digest", "njit"]

_LIBRARIES = {"builtins", "llvmlite", "math", "numba", "numpy", "scipy"}  # named, not followed


@overload
def njit(function: Callable[..., Any], /, *, cache: bool = ..., **options: Any) -> Any: ...


@overload
def njit(*, cache: bool = ..., **options: Any) -> Callable[[Callable[..., Any]], Any]: ...


def njit(
    function: Callable[..., Any] | None = None, /, *, cache: bool = False, **options: Any
) -> Any:
    """Compile as :func:`numba.njit` does, and keep what was compiled as long as it is true.

    Parameters
    ----------
    function : callable, optional
        The kernel; without it, a decorator with the options is returned.
    cache : bool
        Keep machine code between processes.
    **options
        Of :func:`numba.njit`.

    Returns
    -------
    Dispatcher

    Examples
    --------
    >>> @njit(error_model="numpy")
    ... def half(x):
    ...     return 0.5 * x
    >>> half(3.0)
    1.5
    """
    if function is None:
        return partial(njit, cache=cache, **options)
    if cache:
        try:
            kept = numba.njit(cache=True, **options)(function)
            file = kept._cache._cache_file
            file._source_stamp = _Stamp(file._source_stamp, kept)
        except (RuntimeError, AttributeError):
            pass  # no folder can be written, or another Numba
        else:
            return kept
    return numba.njit(**options)(function)


class _Stamp:
    # Numba's stamp and the digest, told when Numba asks: all that a kernel calls is there then.

    def __init__(self, of_file: Any, kernel: Any) -> None:
        self._of_file, self._kernel = of_file, kernel

    def __eq__(self, other: object) -> bool:
        return (self._of_file, digest(self._kernel)) == other

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, ((self._of_file, digest(self._kernel)),)


def digest(kernel: Any) -> bytes:
    """Return a digest of all that a kernel refers to, and of its own code.

    Parameters
    ----------
    kernel : Dispatcher or callable
        The kernel, or an intrinsic.

    Returns
    -------
    bytes
    """
    found = hashlib.sha256()
    _add(kernel, found.update, set())
    return found.digest()


def _add(value: Any, put: Callable[[bytes], object], seen: set[int]) -> None:
    # What is met again, as where functions call each other, has been told already.
    if isinstance(value, Dispatcher):
        for name, option in sorted(value.targetoptions.items()):
            put(name.encode())
            _add(option, put, seen)
        value = value.py_func
    value = getattr(value, "_defn", value)  # of an intrinsic
    if isinstance(value, FunctionType):
        put(value.__qualname__.encode())
        if id(value) in seen or value.__module__.partition(".")[0] in _LIBRARIES:
            return
        seen.add(id(value))
        _add_code(value.__code__, value.__globals__, put, seen)
        for cell in value.__closure__ or ():
            _add(cell.cell_contents, put, seen)
    elif isinstance(value, np.ndarray):
        put(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, tuple):
        for part in value:
            _add(part, put, seen)
    elif isinstance(value, set | frozenset):  # in no order
        put(repr(sorted(map(repr, value))).encode())
    elif isinstance(value, ModuleType | BuiltinFunctionType | np.ufunc | type):
        put(value.__name__.encode())
    else:
        put(repr(value).encode())
    put(b"\n")


def _add_code(
    code: CodeType, names: dict[str, Any], put: Callable[[bytes], object], seen: set[int]
) -> None:
    put(code.co_code)
    for name in code.co_names:
        put(name.encode())
        if name in names:
            _add(names[name], put, seen)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(constant, names, put, seen)
        else:
            _add(constant, put, seen)
