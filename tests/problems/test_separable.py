"""A separable problem is what its factors are, and refuses what no mixture of products solves."""

import numpy as np
import pytest

from fracsde.citations import cite
from fracsde.errors import InputError, OutOfRangeError, ShapeError, UnsupportedError
from fracsde.problems.fokker_planck import FokkerPlanck, Gaussian
from fracsde.problems.separable import SeparableFokkerPlanck


def well(**changes):
    given = {
        "potential": lambda x: x**2 / 2,
        "diffusion": 1.0,
        "domain": (-8.0, 8.0),
        "initial": Gaussian(),
    }
    return FokkerPlanck(**(given | changes))


def test_knows_its_dimension_and_whether_mass_is_kept():
    kept = SeparableFokkerPlanck(factors=[well()] * 7, alpha=0.6, timescale=2.0)
    assert (kept.dimension, kept.alpha, kept.timescale) == (7, 0.6, 2.0)
    assert isinstance(kept.factors, tuple)
    assert kept.conserves_mass
    lost = SeparableFokkerPlanck(factors=(well(), well(boundary="absorbing")))
    assert not lost.conserves_mass


def test_keeps_the_list_it_was_given():
    given = [well(), well()]
    SeparableFokkerPlanck(factors=given)
    assert isinstance(given, list)
    assert len(given) == 2


def test_cites_the_exponentials():
    assert "BraessHackbusch2005" in cite(SeparableFokkerPlanck(factors=(well(),)))


PLANE = FokkerPlanck(diffusion=1.0, domain=((0, 1), (0, 1)), initial=lambda x, y: 1 + 0 * x * y)
MOVING = well(potential=None, force=lambda t, x: np.cos(t) - x, time_dependent=True)


@pytest.mark.parametrize(
    ("factors", "error", "match"),
    [
        ((), InputError, "is empty; give one FokkerPlanck"),
        (well(), InputError, "must be a tuple of FokkerPlanck"),
        ((well(), "well"), InputError, r"`factors\[1\]` must be a FokkerPlanck, got str"),
        ((PLANE,), ShapeError, "in 2 dimensions; if its coordinates do not act"),
        ((well(source=lambda t, x: 0 * x),), UnsupportedError, "has a source.*leave it out"),
        ((MOVING,), UnsupportedError, r"depend on time.*freeze them with frozen_at\(t\)"),
    ],
)
def test_refuses_factors_that_do_not_fit(factors, error, match):
    with pytest.raises(error, match=match):
        SeparableFokkerPlanck(factors=factors, alpha=0.6)


@pytest.mark.parametrize("wrong", [{"alpha": 1.3}, {"alpha": 0.0}, {"timescale": -1.0}])
def test_refuses_clocks_that_do_not_exist(wrong):
    with pytest.raises(OutOfRangeError):
        SeparableFokkerPlanck(factors=(well(),), **wrong)


def test_frozen_coefficients_are_accepted():
    assert SeparableFokkerPlanck(factors=(MOVING.frozen_at(0.0),)).dimension == 1
