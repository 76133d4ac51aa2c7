"""Published numbers are reproduced, and a claim cannot agree by accident."""

from dataclasses import replace

import pytest

from validation.claim import Row, claims
from validation.run import main


@pytest.mark.parametrize("name", claims())
def test_claim_ends_as_expected(name):
    claim = claims()[name]
    rows = claim.rows()
    assert claim.holds(rows), claim.report(rows)


@pytest.mark.parametrize(
    ("published", "computed", "agrees"),
    [
        ("1.3922e-3", 0.0013922499, True),
        ("1.3922e-3", 0.0013921501, True),
        ("1.3922e-3", 0.0013922501, False),
        ("1.3922e-3", 0.0013921499, False),
        ("0.48", 0.484, True),
        ("0.4800", 0.484, False),
        ("-7/6", -7 / 6, False),
    ],
)
def test_exact_tolerance_is_half_a_unit_in_the_last_digit(published, computed, agrees):
    assert Row(label="", published=published, computed=computed).agrees == agrees


def damaged(digits):
    """The last digit, or the numerator, off by one."""
    if "/" in digits:
        top, bottom = digits.split("/")
        return f"{int(top) + 1}/{bottom}"
    mantissa, mark, exponent = digits.partition("e")
    last = "1" if mantissa[-1] == "0" else str(int(mantissa[-1]) - 1)
    return mantissa[:-1] + last + mark + exponent


@pytest.mark.twin
@pytest.mark.parametrize("name", claims())
def test_claims_reject_one_changed_digit(name):
    claim = claims()[name]
    label, digits = claim.published[-1]
    changed = replace(claim, published=(*claim.published[:-1], (label, damaged(digits))))
    assert not changed.holds(changed.rows())
    wrong_print = replace(changed, disagrees_because="a digit was changed")
    assert wrong_print.holds(wrong_print.rows())


def test_run_prints_all_claims_and_counts_failures(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in claims())
    assert main(["no_such_claim"]) == 1
    assert "there are" in capsys.readouterr().out
