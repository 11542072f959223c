"""Policies within a step limit of their own."""

import pytest
from policy_snapshots import decided, tracker_of

from scheduler.latency import StepLatency
from scheduler.registry import create_policy
from scheduler.slo import Slo
from scheduler.snapshot import Limits

LATENCY = StepLatency.linear(step_s=0.01, decode_s=1e-3, prompt_token_s=1e-4)
LIMITS = Limits(max_num_seqs=4, max_batched_tokens=1000, kv_tokens=100_000)
CHAT = Slo(ttft_s=5.0, tpot_s=1.0)
RIVALS = ("fcfs", "edf", "qoserve", "qoserve+predicted", "sarathi-edf", "slidingserve")


def budget(name, *requests, limits=LIMITS):
    tracker = tracker_of(*requests, limits=limits)
    return decided(create_policy(name), tracker, now_s=0.2, latency=LATENCY)[0].token_budget


@pytest.mark.parametrize("name", [*RIVALS, "slidingserve[sorter]", "slotwise"])
def test_a_step_computes_no_more(name):
    prompts = ("a", 0.0, 700, CHAT, None, 0), ("b", 0.0, 20, CHAT, 20, 3)
    assert budget(f"{name}@64", *prompts) == 64


@pytest.mark.parametrize("name", ["qoserve", "sarathi-edf", "slidingserve", "slidingserve[sorter]"])
def test_a_rival_makes_use_of_its_limit(name):
    prompts = ("a", 0.0, 1700, CHAT, None, 0), ("b", 0.0, 20, CHAT, 20, 3)
    assert budget(f"{name}@900", *prompts) == 900
    # The engine's own limit stands.
    assert budget(f"{name}@5000", *prompts) == 1000


@pytest.mark.parametrize("name", [*RIVALS, "slotwise"])
def test_every_decode_gets_its_token(name):
    decoding = [(each, 0.0, 20, CHAT, 20, 3) for each in "abc"]
    waiting = ("d", 0.0, 700, CHAT, None, 0)
    assert budget(f"{name}@2", *decoding, waiting) == 3


def test_a_decision_stands_as_long_as_its_limit_holds():
    tracker = tracker_of(("a", 0.0, 700, CHAT, None, 0), limits=LIMITS)
    for tokens, stands in ((4, True), (3, False)):
        policy = create_policy(f"edf@{tokens}")
        assert decided(policy, tracker, now_s=0.2, latency=LATENCY)[0].stands is stands
