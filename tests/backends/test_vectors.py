"""Kernels without counts of references are the kernels that count, and need no private option."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fracsde._compiled import njit
from fracsde.backends import lane_normals, vectors
from fracsde.backends.ars import round_keys
from fracsde.backends.lane_normals import fill_chains
from fracsde.backends.philox import seed_key
from fracsde.backends.vectors import uncounted

KEY = seed_key(20240607)


def total_of_views(table):
    total = 0.0
    for row in range(table.shape[0]):
        view = table[row]
        total += total_of(view.reshape(-1))
    return total


@njit
def total_of(row):
    total = 0.0
    for value in row:
        total += value
    return total


def counts(kernel) -> bool:
    """Return whether the compiled code of a kernel has locked instructions."""
    return any("atomicrmw" in code for code in kernel.inspect_llvm().values())


def test_an_uncounted_kernel_counts_no_reference() -> None:
    quick, plain = uncounted(total_of_views), njit(total_of_views)
    table = np.arange(12.0).reshape(3, 4)
    assert quick(table) == plain(table) == 66.0
    assert counts(plain)
    assert not counts(quick)


def test_without_the_private_option_kernels_are_compiled_as_others_are(monkeypatch) -> None:
    monkeypatch.setattr(vectors, "cpu_target", SimpleNamespace(options=object()))
    kernel = uncounted(total_of_views)
    assert "_nrt" not in kernel.targetoptions
    assert kernel(np.ones((3, 4))) == 12.0


@pytest.mark.parametrize("precision", [np.float64, np.float32])
def test_exact_normals_are_the_same_without_the_private_option(precision, monkeypatch) -> None:
    starts, size = np.arange(24, dtype=np.uint32).reshape(6, 4), np.dtype(precision).itemsize
    z, expected = (np.empty((16 // size, 6 * 64 // size), dtype=precision) for _ in range(2))
    fill_chains(expected, starts, 2, *KEY)
    monkeypatch.setattr(vectors, "cpu_target", SimpleNamespace(options=object()))
    kernel, none = uncounted(lane_normals._encrypted_chains.py_func), np.empty(0, dtype=precision)
    assert "_nrt" not in kernel.targetoptions
    kernel(z, starts, 2, round_keys(*KEY), none, 0, 0, 0, 0)
    np.testing.assert_array_equal(z, expected)
