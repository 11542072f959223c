"""Policies by name."""

import pytest

from predictor.errors import UnknownPolicyError
from scheduler.registry import PolicyName, create_policy, policy_names


@pytest.mark.parametrize("name", policy_names())
def test_every_policy_can_be_built_and_knows_its_name(name):
    assert create_policy(name).name == name


def test_the_oracle_suffix_is_the_same_policy():
    assert PolicyName.parse("sjf-oracle") == PolicyName("sjf-oracle", "sjf", oracle=True)
    assert create_policy("sjf-oracle").name == "sjf"


def test_a_name_may_hold_a_plus():
    name = PolicyName.parse("qoserve+predicted-oracle")
    assert name == PolicyName("qoserve+predicted-oracle", "qoserve+predicted", oracle=True)
    assert create_policy("qoserve+predicted-oracle").name == "qoserve+predicted"


@pytest.mark.parametrize(
    "name",
    ["qoserve@256", "sarathi-edf@1024", "slidingserve[chunker+sorter]@128", "fcfs@64"],
)
def test_a_policy_may_have_a_step_limit(name):
    parsed = PolicyName.parse(f"{name}-oracle")
    assert (parsed.base, parsed.rule, parsed.oracle) == (name, name.partition("@")[0], True)
    assert create_policy(f"{name}-oracle").name == name


@pytest.mark.parametrize("name", ["qoserve@", "qoserve@0", "qoserve@-1", "qoserve@1.5", "fcfs@1@2"])
def test_a_step_limit_is_a_number_of_tokens(name):
    with pytest.raises(UnknownPolicyError, match=r"step limit .* write (qoserve|fcfs)@256"):
        create_policy(name)


def test_an_unknown_policy_with_a_step_limit_is_unknown():
    with pytest.raises(UnknownPolicyError, match="did you mean 'qoserve'"):
        create_policy("qoserv@256")


def test_policies_with_state_are_not_shared():
    assert create_policy("qoserve") is not create_policy("qoserve")


def test_an_unknown_policy_names_the_nearest():
    with pytest.raises(UnknownPolicyError, match="did you mean 'slotwise'"):
        create_policy("slotwize")
    with pytest.raises(UnknownPolicyError, match="Known: fcfs"):
        create_policy("zzz")


def test_the_bounds_of_a_driver_reach_the_policy():
    policy = create_policy("slotwise", time_box_s=0.02, silence_s=7.0)
    assert policy._config.time_box_most_s == pytest.approx(0.008)
    assert policy._config.silence_s == 7.0
    assert create_policy("anneal-paper", time_box_s=0.02).config.time_box_s == pytest.approx(0.008)
    assert create_policy("slotwise", repeatable=True)._config.time_box_most_s == float("inf")
