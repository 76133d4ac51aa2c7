"""Rows written as a block are the rows written one by one, to the last byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import fracsde as fs
from fracsde.errors import RecordError
from fracsde.recording import Coordinates, Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

OPTIONS = {
    "parameters": 9,
    "observe": Coordinates([1, 4, 8]),
    "streams": {"gradients": 3, "loss": 1},
}


def numbers() -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(0)
    weights, gradients = rng.normal(size=(2, 6, 3)).astype(np.float32)
    gradients[4, 1] = np.inf
    return weights, gradients, rng.normal(size=6)


def test_block_equals_rows_one_by_one(tmp_path: Path) -> None:
    weights, gradients, loss = numbers()
    steps = [0, 1, 2, 5, 6, 9]
    with Recorder(tmp_path / "rows", **OPTIONS) as recorder:
        for i, step in enumerate(steps):
            known = {} if i == 0 else {"gradients": gradients[i], "loss": loss[i]}
            recorder.record_observed(step, weights[i], **known)
    hidden = np.arange(6) == 0
    with Recorder(tmp_path / "block", **OPTIONS) as recorder:
        recorder.record_block(
            steps,
            weights,
            gradients=np.ma.array(gradients, mask=np.repeat(hidden[:, None], 3, axis=1)),
            loss=np.ma.array(loss, mask=hidden),
        )
        assert recorder.record_block([], np.zeros((0, 3))) == 0
        assert recorder.next_step == 10
    rows, block = (fs.open_run(tmp_path / name) for name in ("rows", "block"))
    assert block.verify() == 6
    assert rows.content_hash() == block.content_hash()
    assert block.divergence == rows.divergence
    assert block.divergence.step == 6


def test_stream_that_is_left_out_of_a_block_is_missing(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", **OPTIONS) as recorder:
        recorder.record_block([3, 4], np.zeros((2, 3)), loss=[1.0, 2.0])
    run = fs.open_run(tmp_path / "run")
    assert not run.present("gradients", 0).any()
    assert run.present("loss", 0).all()


@pytest.mark.parametrize(
    ("steps", "streams", "match"),
    [
        ([3, 3], {}, "increase"),
        ([0.5, 1.5], {}, "whole numbers"),
        ([1, 2], {}, "not beyond step 2"),
        ([3, 4], {"los": [1.0, 2.0]}, "not declared"),
        ([3, 4], {"loss": [1.0]}, "needs 2 rows of 1 numbers"),
        ([3, 4], {"loss": ["a", "b"]}, "needs 2 rows"),
    ],
)
def test_refuses_blocks_that_do_not_fit(
    tmp_path: Path, steps: list[float], streams: dict, match: str
) -> None:
    with Recorder(tmp_path / "run", **OPTIONS) as recorder:
        recorder.record_block([1, 2], np.zeros((2, 3)))
        with pytest.raises(RecordError, match=match):
            recorder.record_block(steps, np.zeros((2, 3)), **streams)
        assert recorder.rows == 2
