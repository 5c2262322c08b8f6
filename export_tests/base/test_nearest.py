"""What is offered for a name that there is not."""

import pytest

from edgeattn.base.nearest import did_you_mean, nearest

KNOWN = ["reduction", "groups", "Net", "small_net"]


@pytest.mark.parametrize(
    ("name", "first"), [("reductoin", "reduction"), ("GROUPS", "groups"), ("net", "Net")]
)
def test_the_likest_comes_first_and_as_it_is_written(name, first):
    assert nearest(name, KNOWN)[0] == first


def test_what_is_like_nothing_gets_no_offer():
    assert nearest("zzzz", KNOWN) == []
    assert did_you_mean([]) == ""


def test_offers_are_a_question():
    assert did_you_mean(["se"]) == "Did you mean se?"
    assert did_you_mean(["se", "sge"]) == "Did you mean se or sge?"


def test_no_more_are_offered_than_asked():
    assert len(nearest("a1", [f"a{i}" for i in range(9)], count=2)) == 2
