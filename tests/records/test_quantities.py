"""One vocabulary: what estimators say by default is what predictions are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from fracsde import estimators
from fracsde.errors import InputError
from fracsde.records import quantities as names

RUN = np.random.default_rng(3).standard_normal((32, 120, 2))
LABELS = names.numbered(2)


def measured() -> dict[str, tuple[object, object]]:
    moved = estimators.mean_square_displacement(RUN, [1, 5], kind="time_averaged")
    return {
        "stationary mean": (estimators.mean(RUN), names.stationary_mean(LABELS)),
        "stationary variance": (estimators.variances(RUN), names.stationary_variance(LABELS)),
        "stationary covariance": (
            estimators.covariance_entries(RUN),
            names.stationary_covariance(LABELS),
        ),
        "stationary standard deviation": (
            estimators.standard_deviations(RUN),
            names.stationary_standard_deviation(LABELS),
        ),
        "autocorrelation": (
            estimators.autocorrelation_at(RUN, [1, 5]),
            names.autocorrelation(LABELS, [1, 5]),
        ),
        "mean-square displacement": (
            moved.to_measurement(),
            names.mean_square_displacement([1, 5]),
        ),
        "integrated autocorrelation time": (
            estimators.integrated_time(RUN),
            names.integrated_time(LABELS, "draw"),
        ),
    }


def test_estimators_speak_the_vocabulary() -> None:
    found = measured()
    assert tuple(found) == names.NAMES
    for name, (measurement, quantity) in found.items():
        assert measurement.quantity == quantity, name


@pytest.mark.parametrize("short", ["mean", "variance", "covariance", "standard deviation", "msd"])
def test_short_names_stand_for_full_ones(short: str) -> None:
    assert names.canonical(short) in names.NAMES
    assert names.canonical(short.upper().replace(" ", "-")) == names.canonical(short)


def test_full_names_stand_for_themselves() -> None:
    assert names.chosen(names.NAMES) == names.NAMES


def test_units_follow_that_of_a_coordinate() -> None:
    assert names.stationary_variance(["a"], "loss").unit == "loss^2"
    assert names.stationary_variance(["a"], "1").unit == "1"
    assert names.stationary_mean(["a"], "loss").unit == "loss"


def test_long_lags_keep_their_digits() -> None:
    assert names.mean_square_displacement([123456789]).labels == ("lag 123456789",)


@pytest.mark.parametrize("wrong", ["speed", "", (), ("mean", "stationary mean"), 3, [3], None])
def test_refuses_names_that_are_none(wrong: object) -> None:
    with pytest.raises(InputError, match=r"quantit"):
        names.chosen(wrong)


def test_refuses_covariances_of_one_coordinate() -> None:
    with pytest.raises(InputError, match="ask for the variance"):
        names.stationary_covariance(["only"])
