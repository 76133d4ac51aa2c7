"""Observations: directions are what they say, and applying one is the matrix product."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.errors import InputError
from fracsde.recording import Coordinates, Full, Projection, RandomProjection
from fracsde.records._store.observation import disjoint_matrix

FORMS = ("orthonormal", "gaussian", "disjoint")


def matrix(bound) -> np.ndarray:
    """Return the directions as a matrix in double precision."""
    array = bound.array
    dense = disjoint_matrix(array, bound.width) if array.ndim == 1 else array
    return np.asarray(dense, dtype=float)


def observed(bound, flat: np.ndarray) -> np.ndarray:
    out = np.full(bound.width, np.nan, dtype=flat.dtype)
    bound.apply(flat, out)
    return out


@settings(max_examples=60, deadline=None)
@given(
    parameters=st.integers(1, 700),
    share=st.floats(0, 1),
    form=st.sampled_from(FORMS),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_a_projection_is_the_matrix_product(parameters, share, form, dtype) -> None:
    k = 1 + int(share * (min(parameters, 40) - 1))
    bound = RandomProjection(k, seed=3, form=form).bind(parameters, dtype)
    flat = np.random.default_rng(parameters).normal(size=parameters).astype(dtype)
    directions = matrix(bound)
    bound_of_rounding = np.finfo(dtype).eps * parameters * (abs(flat) @ abs(directions))
    error = abs(observed(bound, flat) - flat.astype(float) @ directions)
    assert (error <= bound_of_rounding).all()
    assert matrix(bound).shape == (parameters, k)


@pytest.mark.parametrize("form", ["orthonormal", "disjoint"])
@pytest.mark.parametrize(
    ("parameters", "k"), [(1, 1), (5, 5), (40, 40), (300, 299), (2_000, 32), (70_001, 8)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_directions_are_orthonormal(form, parameters, k, dtype) -> None:
    directions = matrix(RandomProjection(k, seed=1, form=form).bind(parameters, dtype))
    gap = abs(directions.T @ directions - np.eye(k)).max()
    assert gap < 20 * np.finfo(dtype).eps


def test_large_directions_made_in_single_precision_are_orthonormal_to_rounding() -> None:
    directions = matrix(RandomProjection(64, seed=1).bind(70_000, "float32"))
    assert directions.size > 2**22
    assert abs(directions.T @ directions - np.eye(64)).max() < 20 * np.finfo("float32").eps


@pytest.mark.twin
def test_one_round_of_cholesky_is_not_enough(monkeypatch) -> None:
    from fracsde.recording import _directions as observe

    real, calls = observe._orthonormalise, []

    def once(rows):
        calls.append(1)
        if len(calls) == 1:
            real(rows)

    monkeypatch.setattr(observe, "_orthonormalise", once)
    directions = matrix(RandomProjection(299, seed=1).bind(300, "float64"))
    assert abs(directions.T @ directions - np.eye(299)).max() > 20 * np.finfo("float64").eps


def test_gaussian_directions_have_length_near_one_and_are_not_orthogonal() -> None:
    directions = matrix(RandomProjection(8, seed=1, form="gaussian").bind(40_000, "float64"))
    gram = directions.T @ directions
    # The squared length of P entries of variance 1/P spreads by sqrt(2/P).
    assert abs(np.diag(gram) - 1).max() < 6 * np.sqrt(2 / 40_000)
    assert abs(gram - np.diag(np.diag(gram))).max() > 1e-4


def test_disjoint_directions_take_neighbours_in_turn_and_share_no_parameter() -> None:
    directions = matrix(RandomProjection(4, seed=1, form="disjoint").bind(4 * 64 * 16, "float64"))
    owners = np.argmax(directions != 0, axis=1)
    assert ((directions != 0).sum(axis=1) == 1).all()
    np.testing.assert_array_equal(owners, np.arange(4096) // 64 % 4)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_seed_gives_the_same_directions_and_another_others(form) -> None:
    one, two, other = (
        RandomProjection(3, seed=seed, form=form).bind(100, "float32").array for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_directions_of_a_large_model_take_little_more_memory_than_they_are() -> None:
    tracemalloc.start()
    bound = RandomProjection(16, seed=1).bind(500_000, "float32")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * bound.array.nbytes


def test_coordinates_are_kept_in_the_order_given() -> None:
    bound = Coordinates([7, 0, 3]).bind(8, "float32")
    assert observed(bound, np.arange(8, dtype="float32")).tolist() == [7, 0, 3]


def test_random_coordinates_are_the_same_for_a_seed_and_differ_from_one_another() -> None:
    places = [Coordinates(count=20, seed=s).bind(1000, "float32").array for s in (1, 1, 2)]
    np.testing.assert_array_equal(places[0], places[1])
    assert not np.array_equal(places[0], places[2])
    assert (np.diff(places[0]) > 0).all()


def test_full_keeps_everything() -> None:
    flat = np.arange(5, dtype="float64")
    np.testing.assert_array_equal(observed(Full().bind(5, "float64"), flat), flat)


def test_given_directions_are_not_written_to_and_not_copied_without_need() -> None:
    given_ = np.asfortranarray(np.random.default_rng(0).normal(size=(50, 2)))
    bound = Projection(given_).bind(50, "float64")
    assert np.shares_memory(bound.array, given_)
    assert given_.flags.writeable


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Projection(np.zeros((3, 0))), r"shape \(P, k\)"),
        (lambda: Projection(np.zeros((3, 1, 1))), r"shape \(P, k\)"),
        (lambda: Projection([[1.0], [1.0, 2.0]]), "directions"),
        (lambda: Projection([["a"]]), "real numbers"),
        (lambda: Projection([[1j]]), "real numbers"),
        (lambda: Projection([[np.nan]]), "must be finite"),
        (lambda: Projection(np.eye(3)).bind(4, "float32"), r"shape \(4, k\)"),
        (lambda: Projection(np.ones((2, 3))).bind(2, "float32"), "at most 2 columns"),
        (lambda: RandomProjection(0), "k"),
        (lambda: RandomProjection(3, form="sparse"), "form"),
        (lambda: RandomProjection(3, seed=-1), "seed"),
        (lambda: RandomProjection(3).bind(2, "float32"), "at most the number of parameters, 2"),
        (lambda: Coordinates(), "either `indices` or `count`"),
        (lambda: Coordinates([1], count=1), "either `indices` or `count`"),
        (lambda: Coordinates([1.5]), "whole numbers"),
        (lambda: Coordinates([]), "whole numbers"),
        (lambda: Coordinates([-1]), "at least 0"),
        (lambda: Coordinates([1, 1]), "differ from one another"),
        (lambda: Coordinates([5]).bind(5, "float32"), "below 5, got 5"),
        (lambda: Coordinates(count=6).bind(5, "float32"), "at most 5"),
        (lambda: Coordinates(count=0), "count"),
    ],
)
def test_refuses_what_cannot_be_observed(make, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
