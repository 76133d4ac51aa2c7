"""The header of an array as ``np.save`` writes it, read from files that may come from anybody."""

from __future__ import annotations

from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["array_header"]


def array_header(file: BinaryIO | Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an array, and leave the file at its first byte.

    Parameters
    ----------
    file : binary file
        At the beginning of the array.

    Returns
    -------
    tuple of int, and dtype

    Raises
    ------
    ValueError
        If it is no header, whatever NumPy makes of it.
    """
    read = np.lib.format
    try:
        version = read.read_magic(file)
        header = read.read_array_header_1_0 if version == (1, 0) else read.read_array_header_2_0
        shape, _, dtype = header(file)
    except (TokenError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
        # NumPy parses the header as Python text, and parsers fail in their own ways.
        msg = "its header is no description of an array"
        raise ValueError(msg) from error
    if any(length < 0 for length in shape):
        msg = f"its header says that the shape is {shape}"
        raise ValueError(msg)
    return shape, dtype
