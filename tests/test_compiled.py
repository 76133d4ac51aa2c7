"""Kernels that are kept between processes are those that would be compiled now."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from typing import TYPE_CHECKING, Any

import numba
import pytest
from numba.core import caching
from numba.core.dispatcher import Dispatcher

import fracsde
from fracsde import _compiled
from fracsde._compiled import digest, njit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLER = """
import numba
from fracsde import _compiled
from callee_of_test import FACTOR, TABLE, scaled, turned

@{decorator}.njit(cache=True)
def outer(x):
    return inner(x) + TABLE[0]

@{decorator}.njit(cache=True)
def inner(x):
    return FACTOR * turned(scaled(x))
"""
CALLEE = """
import numba, numpy as np
from numba.extending import intrinsic

FACTOR, TABLE = 1.0, np.array([0.0, 0.0])

@numba.njit(cache=True)
def scaled(x):
    return 1.0 * x

def _generate(context, x):
    def generate(context, builder, signature, args):
        return builder.fadd(args[0], args[0])
    return numba.types.float64(numba.types.float64), generate

turned = intrinsic(_generate)
"""


@pytest.fixture
def value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a new process gets of ``outer(3)`` for a text of the callee."""
    folder = str(tmp_path / "cache")
    monkeypatch.setattr(numba.config, "CACHE_DIR", folder)
    monkeypatch.setenv("NUMBA_CACHE_DIR", folder)  # Numba reads it again now and then
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def of(callee: str, decorator: str = "_compiled") -> tuple[float, int]:
        (tmp_path / "callee_of_test.py").write_text(callee)
        (tmp_path / "caller_of_test.py").write_text(CALLER.format(decorator=decorator))
        for name in ("callee_of_test", "caller_of_test"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        outer = importlib.import_module("caller_of_test").outer
        found = outer(3.0)
        return found, sum(outer.stats.cache_hits.values())

    yield of
    for name in ("callee_of_test", "caller_of_test"):
        sys.modules.pop(name, None)


CHANGES = [
    ("return 1.0 * x", "return 5.0 * x", 30.0),
    ("FACTOR, TABLE = 1.0", "FACTOR, TABLE = 7.0", 42.0),
    ("array([0.0, ", "array([1.0, ", 7.0),
    ("builder.fadd", "builder.fmul", 9.0),
]


def test_a_kernel_is_kept_until_what_it_refers_to_elsewhere_changes(value: Any) -> None:
    assert value(CALLEE) == (6.0, 0)
    assert value(CALLEE) == (6.0, 1)
    assert value("# a remark\n" + CALLEE) == (6.0, 1)
    for old, new, expected in CHANGES:
        assert value(CALLEE.replace(old, new)) == (expected, 0), new


@pytest.mark.twin
def test_numbas_own_stamp_goes_on_with_what_was(value: Any) -> None:
    """The danger is there: with Numba's decorator the same test fails."""
    assert value(CALLEE, "numba") == (6.0, 0)
    old, new, expected = CHANGES[0]
    assert value(CALLEE.replace(old, new), "numba") == (6.0, 1)
    assert expected != 6.0


def test_options_of_a_callee_count() -> None:
    def half(x):
        return 0.5 * x

    def caller(of):
        return njit(lambda x: of(x))

    plain, fast = (caller(njit(half, fastmath=fast)) for fast in (False, True))
    assert digest(plain) != digest(fast)
    assert digest(plain) == digest(caller(njit(half, fastmath=False)))


def test_kernels_that_call_each_other_have_a_digest() -> None:
    assert digest(_even) != digest(_odd)


def test_where_nothing_can_be_kept_kernels_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(abs_of)
    assert njit(abs_of, cache=True)(-2.0) == 2.0


def test_another_numba_that_keeps_stamps_elsewhere_compiles_anew(monkeypatch) -> None:
    monkeypatch.delattr(Dispatcher, "enable_caching")
    assert njit(abs_of, cache=True)(-2.0) == 2.0


def abs_of(x):
    return abs(x)


@njit
def _even(n):
    return n == 0 or _odd(n - 1)


@njit
def _odd(n):
    return n != 0 and _even(n - 1)


def kernels() -> Iterator[Dispatcher]:
    for found in pkgutil.walk_packages(fracsde.__path__, "fracsde."):
        if ".torch" in found.name and importlib.util.find_spec("torch") is None:
            continue
        module = importlib.import_module(found.name)
        yield from (v for v in vars(module).values() if isinstance(v, Dispatcher))


def test_every_kernel_of_the_package_that_is_kept_knows_all_that_it_calls() -> None:
    every = {id(kernel): kernel for kernel in kernels()}.values()
    assert len(every) > 200
    for kernel in every:
        if not isinstance(kernel._cache, caching.NullCache):
            stamp = kernel._cache._cache_file._source_stamp
            assert isinstance(stamp, _compiled._Stamp), kernel
        told: list[bytes] = []
        _compiled._add(kernel, told.append, set())
        assert not [word for word in told if b" at 0x" in word], kernel  # new in each process
