"""Linear processes: what they accept, broadcast, freeze and refuse."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from fracsde.errors import (
    IndefiniteError,
    InputError,
    NotFiniteError,
    NotSymmetricError,
    ShapeError,
)
from fracsde.problems.ornstein_uhlenbeck import LinearRecursion, OUProcess


def test_numbers_stand_for_one_dimension_and_means_are_broadcast() -> None:
    assert OUProcess(drift=1.0, noise=2.0).dimension == 1
    process = OUProcess(drift=np.eye(3), noise=np.eye(3), mean=2.0)
    assert process.mean.tolist() == [2.0, 2.0, 2.0]
    assert process.observed.tolist() == [0, 1, 2]


def test_keeps_copies_that_nobody_can_write_to() -> None:
    drift = np.eye(2)
    process = OUProcess(drift=drift, noise=np.eye(2))
    drift[0, 0] = 7.0
    assert process.drift[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        process.drift[0, 0] = 7.0
    with pytest.raises(FrozenInstanceError):
        process.drift = drift
    assert replace(process, drift=drift).drift[0, 0] == 7.0


@pytest.mark.parametrize("observe", [slice(0, 2), [0, 1], np.array([0, 1]), [-4, -3]])
def test_observed_coordinates_by_slice_or_index(observe) -> None:
    process = LinearRecursion(transition=np.eye(4), noise=np.eye(4), observe=observe)
    assert process.observed.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: OUProcess(drift=np.ones((2, 3)), noise=np.eye(2)), ShapeError, "square matrix"),
        (lambda: OUProcess(drift=np.eye(2), noise=np.eye(3)), ShapeError, "`noise` must be 2 x 2"),
        (lambda: OUProcess(drift=np.nan, noise=1.0), NotFiniteError, "`drift` must be finite"),
        (lambda: OUProcess(drift=1.0, noise=-1.0), IndefiniteError, "positive semi-definite"),
        (
            lambda: OUProcess(drift=np.eye(2), noise=[[1, 1], [0, 1]]),
            NotSymmetricError,
            r"0.5 \* \(noise \+ noise.T\)",
        ),
        (
            lambda: OUProcess(drift=np.eye(2), noise=np.eye(2), mean=[1, 2, 3]),
            ShapeError,
            "`mean` must have shape",
        ),
        (
            lambda: LinearRecursion(transition=1.0, noise=1.0, observe=[1]),
            ShapeError,
            "1-dimensional state",
        ),
        (
            lambda: LinearRecursion(transition=1.0, noise=1.0, observe=[0.0]),
            InputError,
            "whole numbers",
        ),
        (
            lambda: LinearRecursion(transition=1.0, noise=1.0, observe=slice(3, 4)),
            InputError,
            "selects none",
        ),
        (
            lambda: LinearRecursion(transition=1.0, noise=1.0, observe=[]),
            InputError,
            "`observe`",
        ),
    ],
)
def test_refuses_what_is_not_a_process(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()


def test_refuses_a_slice_that_counts_in_fractions() -> None:
    with pytest.raises(InputError, match="slice of whole numbers"):
        LinearRecursion(transition=np.eye(2), noise=np.eye(2), observe=slice(0, 1.5))
