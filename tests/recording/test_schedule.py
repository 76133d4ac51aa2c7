"""Schedules: due(step) and the list of steps are one set, and survive JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracsde.errors import InputError
from fracsde.recording import AnyOf, Every, LogSpaced, Schedule, Windows
from fracsde.recording.schedule import schedule_from_dict

PLAIN = st.one_of(
    st.builds(Every, st.integers(1, 50), st.integers(0, 50)),
    st.builds(LogSpaced, st.integers(1, 60)),
    st.builds(
        lambda gaps, length, every: Windows(
            tuple(np.cumsum(np.array(gaps) + length).tolist()), length, every
        ),
        st.lists(st.integers(0, 40), min_size=1, max_size=4),
        st.integers(1, 20),
        st.integers(1, 5),
    ),
)
ANY = st.one_of(PLAIN, st.lists(PLAIN, min_size=2, max_size=3).map(lambda s: AnyOf(tuple(s))))


@settings(max_examples=60, deadline=None)
@given(schedule=ANY, start=st.integers(0, 200))
def test_survives_json_and_lists_what_is_due(schedule: Schedule, start: int) -> None:
    again = schedule_from_dict(json.loads(json.dumps(schedule.to_dict())))
    assert again == schedule
    steps = again.steps(400, start=start)
    assert steps.tolist() == [s for s in range(start, 400) if schedule.due(s)]


def members(per_decade: int, stop: int) -> set[int]:
    """Return the definition: the whole numbers next to 10**(j/n), and 0."""
    count = int(np.log10(stop) * per_decade) + 2
    exact = 10.0 ** (np.arange(count) / per_decade)
    return {0, *np.round(exact[exact < stop - 0.5]).astype(int).tolist()}


@pytest.mark.parametrize("per_decade", [1, 3, 7, 20, 50, 400])
def test_log_spaced_steps_are_those_of_the_definition(per_decade: int) -> None:
    assert set(LogSpaced(per_decade).steps(20_000).tolist()) == members(per_decade, 20_000)


@pytest.mark.parametrize("decade", range(16))
def test_log_spaced_has_every_power_of_ten(decade: int) -> None:
    assert LogSpaced(7).due(10**decade)


@pytest.mark.twin
def test_asking_one_neighbour_alone_would_miss_steps() -> None:
    """A step is due if a member lies beside it on either side: the lower alone is not enough."""

    def due(step: int) -> bool:
        below = np.floor(20 * np.log10(step))
        return bool(round(10 ** (below / 20)) == step)

    found = {0, *(s for s in range(1, 2_000) if due(s))}
    assert found != members(20, 2_000)


def test_joined_schedules_record_what_any_of_them_does() -> None:
    joined = Every(100) | LogSpaced(2) | Windows((7,), 2)
    assert joined.steps(120).tolist() == [0, 1, 3, 7, 8, 10, 32, 100]
    assert joined == AnyOf((Every(100), LogSpaced(2), Windows((7,), 2)))


def test_windows_may_touch() -> None:
    assert Windows((0, 3), 3).steps(10).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Every(0), "k"),
        (lambda: Every(2.5), "k"),
        (lambda: Every(1, first=-1), "first"),
        (lambda: LogSpaced(0), "per_decade"),
        (lambda: Windows((0, 5), 6), "do not overlap"),
        (lambda: Windows((), 6), "do not overlap"),
        (lambda: Windows(3, 6), "sequence of steps"),
        (lambda: Windows((-1,), 6), "starts"),
        (lambda: AnyOf(()), "one or more schedules"),
        (lambda: AnyOf((3,)), "one or more schedules"),
        (lambda: schedule_from_dict({"kind": "never"}), "describes no schedule"),
        (lambda: schedule_from_dict({"kind": "every", "step": 3}), "describes no schedule"),
        (lambda: schedule_from_dict([]), "describes no schedule"),
        (lambda: schedule_from_dict({"kind": ["every"]}), "describes no schedule"),
    ],
)
def test_refuses_what_is_no_schedule(make, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_a_schedule_joined_with_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        _ = Every(1) | 3
