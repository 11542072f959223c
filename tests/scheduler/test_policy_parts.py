"""Policies by the names of their parts."""

import pytest

from predictor.errors import UnknownPolicyError
from scheduler.parts import base_of, name_of, parts_on
from scheduler.registry import PolicyName, create_policy
from scheduler.slots.parts import SlotParts

KNOWN = ("due", "newcomers", "reserve")


def test_a_name_without_brackets_has_all_parts():
    assert parts_on("slotwise", KNOWN) == dict.fromkeys(KNOWN, True)
    assert base_of("slotwise") == base_of("slotwise[due]") == "slotwise"


def test_some_parts():
    on = parts_on("slotwise[reserve+due]", KNOWN)
    assert on == {"due": True, "newcomers": False, "reserve": True}
    assert name_of("slotwise", on) == "slotwise[due+reserve]"
    assert name_of("slotwise", dict.fromkeys(KNOWN, True)) == "slotwise"


@pytest.mark.parametrize(
    "name",
    ["slotwise[]", "slotwise[plan]", "slotwise[due", "slotwise[due+due]", "slotwise[due]x"],
)
def test_unknown_parts_are_named_with_the_known(name):
    for call in (PolicyName.parse, create_policy, SlotParts.parse):
        with pytest.raises(UnknownPolicyError, match=r"unknown parts .*due\+newcomers\+reserve"):
            call(name)


def test_parts_may_know_the_lengths():
    name = PolicyName.parse("slotwise[due]-oracle")
    assert (name.base, name.oracle) == ("slotwise[due]", True)
    assert create_policy("slotwise[due]-oracle", repeatable=True).name == "slotwise[due]"
