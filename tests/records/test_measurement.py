"""Quantities, measurements and predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fracsde.errors import InputError, NotFiniteError, OutOfRangeError, ShapeError
from fracsde.records import Measurement, Prediction, Quantity

TWO = Quantity(name="variance", unit="weight^2", labels=["e1", "e2"])


def test_numbers_are_broadcast_over_the_labels() -> None:
    measured = Measurement(quantity=TWO, value=[1.0, 2.0], stderr=0.1, n_effective=50)
    assert measured.stderr.tolist() == [0.1, 0.1]
    assert TWO.label(1) == "e2"
    assert Quantity(name="exponent").label(0) == ""


def test_scale_defaults_to_the_size_of_the_value() -> None:
    predicted = Prediction(quantity=TWO, value=[-3.0, 2.0], numerical_error=0.0)
    assert predicted.relative_to.tolist() == [3.0, 2.0]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Quantity(name=""), InputError, "needs a name"),
        (
            lambda: Measurement(quantity=TWO, value=[1, 2, 3], stderr=1, n_effective=9),
            ShapeError,
            "2 entries, one per label",
        ),
        (
            lambda: Measurement(quantity=TWO, value=[1, np.nan], stderr=1, n_effective=9),
            NotFiniteError,
            "NaN",
        ),
        (
            lambda: Measurement(quantity=TWO, value=1, stderr=0, n_effective=9),
            OutOfRangeError,
            "must be positive, got 0",
        ),
        (
            lambda: Measurement(quantity=TWO, value=1, stderr=1, n_effective=1),
            OutOfRangeError,
            "record longer or more chains",
        ),
        (
            lambda: Prediction(quantity=TWO, value=[0.0, 1.0], numerical_error=0),
            OutOfRangeError,
            "pass `scale`",
        ),
        (
            lambda: Prediction(quantity=TWO, value=1.0, numerical_error=-1e-3),
            OutOfRangeError,
            "must not be negative",
        ),
    ],
)
def test_refuses_what_cannot_be_compared(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()


def test_a_copy_with_another_value_has_another_scale() -> None:
    prediction = Prediction(quantity=TWO, value=[2.0, -3.0], numerical_error=0.0)
    np.testing.assert_array_equal(replace(prediction, value=5.0).relative_to, 5.0)
    fixed = replace(prediction, scale=7.0)
    np.testing.assert_array_equal(replace(fixed, value=5.0).relative_to, 7.0)
