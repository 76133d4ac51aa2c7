"""The words of the demo follow the numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fracsde.demo.words import blamed


def _item(map_ratio: float, with_noise: float, with_both: float) -> SimpleNamespace:
    why = SimpleNamespace(
        map_ratio=np.array([map_ratio]),
        with_noise=np.array([with_noise]),
        with_both=np.array([with_both]),
    )
    return SimpleNamespace(reasons=why)


@pytest.mark.parametrize(
    ("ratios", "names"),
    [
        ((1.01, 1.0, 1.0), []),
        ((1.12, 1.01, 1.0), ["constant noise"]),
        ((1.12, 1.11, 1.0), ["a quadratic loss"]),
        ((1.2, 1.1, 1.0), ["constant noise", "a quadratic loss"]),
        ((1.2, 1.2, 1.2), []),
        ((4.0, 9.0, 2.0), ["a quadratic loss"]),
    ],
)
def test_blame_falls_on_what_shrinks_the_error(ratios, names) -> None:
    assert blamed(_item(*ratios)) == names
