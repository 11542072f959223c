"""Names of SlidingServe in parts."""

import pytest

from predictor.errors import UnknownPolicyError
from scheduler.registry import PolicyName, create_policy
from scheduler.sliding.parts import SlidingParts


def test_the_whole_and_its_parts():
    assert SlidingParts.parse("slidingserve") == SlidingParts()
    assert SlidingParts.parse("slidingserve[chunker]") == SlidingParts(True, False, False)
    assert SlidingParts.parse("slidingserve[sorter+chunker]").name == "slidingserve[chunker+sorter]"
    assert SlidingParts.parse("slidingserve[chunker+sorter+constructor]").name == "slidingserve"


@pytest.mark.parametrize(
    "name",
    [
        "slidingserve[]",
        "slidingserve[chunks]",
        "slidingserve[chunker",
        "slidingserve[chunker+chunker]",
        "slidingserve[chunker]x",
        "slidingserve[chunker,sorter]",
    ],
)
def test_unknown_parts_are_named_with_the_known(name):
    for call in (PolicyName.parse, create_policy):
        with pytest.raises(UnknownPolicyError, match=r"unknown parts .*chunker\+sorter\+constr"):
            call(name)


def test_parts_are_policies_and_may_know_the_lengths():
    name = PolicyName.parse("slidingserve[chunker]-oracle")
    assert (name.base, name.oracle) == ("slidingserve[chunker]", True)
    assert create_policy("slidingserve[chunker]-oracle").name == "slidingserve[chunker]"
