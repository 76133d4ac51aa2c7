"""Engines: compiled marching equals the reference and the generator's own solves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.backends import marching_numba, marching_reference
from fracsde.operators.base import Generator
from fracsde.operators.chain import CellChain
from tests.support.exact import EPS


def chain_of(n, rng, *, periodic, lossy):
    rates = 10.0 ** rng.uniform(-2, 2, (2, n))
    if not periodic:
        rates[0, -1] = rates[1, 0] = 0.0
    loss = rng.uniform(0, 1, n) * (rng.random(n) < 0.3) if lossy else np.zeros(n)
    return CellChain(
        edges=np.arange(n + 1.0),
        right=rates[0],
        left=rates[1],
        loss=loss,
        tilt=np.zeros(n),
        periodic=periodic,
    )


def task(n, start, block, seed, *, periodic=False, lossy=False):
    rng = np.random.default_rng(seed)
    chain = chain_of(n, rng, periodic=periodic, lossy=lossy)
    states = np.full((start + 1 + block, n), np.nan)
    states[: start + 1] = rng.uniform(0, 1, (start + 1, n))
    coefficients = rng.uniform(0, 1, (block, start + block))
    for b in range(block):
        coefficients[b, start + b + 1 :] = 0.0
    shifts = rng.uniform(1, 5, block)
    shifts[block // 2 :] = shifts[-1]
    return chain, states, start, coefficients, shifts, rng.uniform(0, 1, (block, n))


def run(engine, chain, states, start, coefficients, shifts, sources):
    states = states.copy()
    chain.march_block(engine, states, start, coefficients, shifts, sources)
    return states


SHAPES = [(3, 0, 1), (4, 0, 2), (5, 7, 3), (31, 40, 33), (97, 3, 70), (64, 2, 41), (32, 0, 9)]


@pytest.mark.parametrize(("n", "start", "block"), SHAPES)
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("lossy", [False, True])
def test_engine_numba_equals_reference(n, start, block, periodic, lossy):
    given_ = task(n, start, block, seed=n, periodic=periodic, lossy=lossy)
    compiled, read = run(marching_numba, *given_), run(marching_reference, *given_)
    assert np.abs(compiled / read - 1).max() <= 32 * EPS * (n + block)


@pytest.mark.parametrize("point", [0.55, 0.9])
@pytest.mark.parametrize("periodic", [False, True])
def test_engines_agree_where_the_equation_holds_inside_the_step(point, periodic):
    chain, states, *rest = task(43, 3, 30, seed=3, periodic=periodic)
    found = []
    for march in (
        lambda out: chain.march_block(marching_numba, out, *rest, point),
        lambda out: chain.march_block(marching_reference, out, *rest, point),
        lambda out: Generator.march_block(chain, None, out, *rest, point),
    ):
        out = states.copy()
        march(out)
        found.append(out)
    assert np.abs(found[0] - found[1]).max() < 1e-13 * np.abs(found[1]).max()
    assert np.abs(found[2] - found[1]).max() < 1e-13 * np.abs(found[1]).max()


@pytest.mark.parametrize("n", [*range(14, 24), 64, 101])
@pytest.mark.parametrize("periodic", [False, True])
def test_engine_four_parts_abreast_equal_one_chain(n, periodic):
    rng = np.random.default_rng(n)
    chain = chain_of(n, rng, periodic=periodic, lossy=True)
    rhs, shift = rng.uniform(0, 1, n), 1e-9
    states = np.zeros((2, n))
    one, none = np.zeros((1, 1)), np.array([shift])
    chain.march_block(marching_numba, states, 0, one, none, rhs[None])
    factors = marching_reference.eliminate(shift, chain.right, chain.left, chain.loss)
    marching_reference.substitute(factors, rhs)
    assert np.abs(states[1] / rhs - 1).max() <= 64 * EPS * n


@pytest.mark.parametrize(("n", "start", "block"), [(16, 0, 1), (97, 3, 70), (130, 40, 33)])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("point", [1.0, 0.7])
def test_engine_many_cores_find_the_numbers_of_one(n, start, block, periodic, point, monkeypatch):
    chain, states, *rest = task(n, start, block, seed=n, periodic=periodic, lossy=True)
    one, many = states.copy(), states.copy()
    chain.march_block(marching_numba, one, *rest, point)
    monkeypatch.setattr(marching_numba, "_MANY", 16)
    monkeypatch.setattr(marching_numba, "get_num_threads", lambda: 2)
    monkeypatch.setattr(marching_numba, "_block", None)  # it is not called
    chain.march_block(marching_numba, many, *rest, point)
    assert np.array_equal(one, many)


@pytest.mark.twin
def test_engine_equality_rejects_a_memory_off_by_one():
    chain, states, start, coefficients, shifts, sources = task(31, 40, 33, seed=1)
    late = np.roll(coefficients, 1, axis=1)
    compiled = run(marching_numba, chain, states, start, late, shifts, sources)
    read = run(marching_reference, chain, states, start, coefficients, shifts, sources)
    assert np.abs(compiled / read - 1).max() > 1e-3


def test_routes_agree_compiled_blocks_and_single_solves():
    given_ = task(31, 10, 12, seed=5, periodic=True, lossy=True)
    compiled = run(marching_numba, *given_)
    states = given_[1].copy()
    Generator.march_block(given_[0], None, states, *given_[2:])
    assert np.abs(compiled / states - 1).max() < 1e-13


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(3, 50),
    log_shift=st.floats(-300, 12),
    periodic=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_engine_elimination_equals_reference_on_random_chains(n, log_shift, periodic, seed):
    rng = np.random.default_rng(seed)
    chain = chain_of(n, rng, periodic=periodic, lossy=bool(seed % 2))
    rhs = rng.uniform(0, 1, n)
    found = []
    for engine in (marching_numba, marching_reference):
        factors = engine.eliminate(10.0**log_shift, chain.right, chain.left, chain.loss)
        masses = rhs.copy()
        engine.substitute(factors, masses)
        found.append(masses)
    assert np.all(found[0] > 0)
    assert np.abs(found[0] / found[1] - 1).max() <= 64 * EPS * n


def test_keeps_what_it_is_given():
    chain, states, start, coefficients, shifts, sources = task(17, 5, 4, seed=2)
    copies = [a.copy() for a in (coefficients, shifts, sources, chain.right, chain.left)]
    known = states[: start + 1].copy()
    for engine in (marching_numba, marching_reference):
        out = run(engine, chain, states, start, coefficients, shifts, sources)
        assert np.array_equal(out[: start + 1], known)
    for now, before in zip(
        (coefficients, shifts, sources, chain.right, chain.left), copies, strict=True
    ):
        assert np.array_equal(now, before)
