"""Provenance and the hash of inputs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fracsde.grids import TimeGrid
from fracsde.provenance import input_hash, provenance


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1.0, 2.0], [1.0, 2.5]),
        (np.zeros(4), np.zeros((2, 2))),
        (np.zeros(2), np.zeros(2, dtype=np.float32)),
        (("ab", "c"), ("a", "bc")),
        (TimeGrid.uniform(1.0, 4), TimeGrid.uniform(1.0, 5)),
        ({"a": 1}, {"a": 2}),
        (1, "1"),
    ],
)
def test_different_inputs_hash_differently(one, other) -> None:
    assert input_hash(one) != input_hash(other)


def test_equal_content_hashes_equally() -> None:
    assert input_hash(TimeGrid.uniform(1.0, 4)) == input_hash(TimeGrid.uniform(1.0, 4))
    assert input_hash({"a": 1, "b": 2}) == input_hash({"b": 2, "a": 1})
    strided = np.arange(10.0)[::2]
    assert input_hash(strided) == input_hash(strided.copy())


def test_record_is_plain_json_and_names_the_versions() -> None:
    record = provenance(np.ones(3), backend="numba", seed=7).to_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["backend"] == "numba"
    assert record["seed"] == "7"
    assert {"fracsde", "numpy", "scipy", "numba", "python"} <= set(record["versions"])
