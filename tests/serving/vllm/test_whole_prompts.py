"""With chunked prefill off a prompt has its turn as a whole, whatever budget a policy names."""

from collections import deque

import pytest
from vllm_steps import request, run_step

from scheduler.decision import StepDecision
from scheduler.latency import StepLatency
from scheduler.policies.sarathi_edf import SarathiEdfPolicy
from scheduler.slo import Slo

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine


class Tight:
    """Gives every step room for the decodes and for 16 tokens of a prompt."""

    name = "tight"

    def plan(self, snapshot, previous):
        return None

    def step(self, snapshot, plan):
        budget = len(snapshot.running) + 16
        return StepDecision(order=snapshot.waiting.handle, token_budget=budget, stands=False)


class DecodesFirst(Tight):
    """Begins no prompt while anybody decodes."""

    name = "decodes-first"

    def step(self, snapshot, plan):
        budget = len(snapshot.running) or 16
        return StepDecision(order=snapshot.waiting.handle, token_budget=budget, stands=False)


def whole(make_scheduler, policy_name="fcfs", **kwargs):
    return make_scheduler(
        policy_name, enable_chunked_prefill=False, max_num_batched_tokens=512, **kwargs
    )


POLICIES = {
    "tight": Tight(),
    "sarathi-edf": SarathiEdfPolicy(token_budget=64),
}


@pytest.mark.parametrize("name", [*POLICIES, "slotwise", "slidingserve", "qoserve"])
def test_a_prompt_longer_than_the_step_budget_starts_and_decodes_go_on(make_scheduler, name):
    if name in POLICIES:
        scheduler = whole(make_scheduler, policy=POLICIES[name])
    else:
        scheduler = whole(make_scheduler, name)
    in_flight, done = deque(), []
    # By this model the long prompt takes far longer than the others may wait for a token.
    scheduler.driver._refit.latest = StepLatency.linear(step_s=1e-4, prompt_token_s=1e-3)
    paced = Slo(ttft_s=60.0, tpot_s=5e-3)
    for number in range(2):
        scheduler.add_request(request(f"short{number}", tokens=60, slo=paced))
    for _ in range(3):
        run_step(scheduler, in_flight, lag=1)
    scheduler.add_request(request("long", prompt=400, tokens=5))
    for _ in range(40):
        before = {each.request_id for each in scheduler.running}
        done += run_step(scheduler, in_flight, lag=1)
        assert before <= set(in_flight[-1][0].num_scheduled_tokens) | set(done) | {"long"}
    assert "long" in done


def test_a_policy_that_begins_no_prompt_in_a_step_is_followed(make_scheduler):
    scheduler, in_flight = whole(make_scheduler, policy=DecodesFirst()), deque()
    scheduler.add_request(request("first", tokens=20))
    run_step(scheduler, in_flight, lag=0)
    scheduler.add_request(request("second", prompt=200, tokens=5))
    done = []
    for _ in range(200):
        done += run_step(scheduler, in_flight, lag=0)
    assert done == ["first", "second"]


def test_the_budget_is_raised_for_one_prompt_at_a_time(make_scheduler):
    scheduler = whole(make_scheduler, policy=Tight())
    for number in range(3):
        scheduler.add_request(request(f"r{number}", prompt=150))
    assert dict(scheduler.schedule().num_scheduled_tokens) == {"r0": 150}
    assert dict(scheduler.schedule().num_scheduled_tokens) == {"r0": 1, "r1": 150}
