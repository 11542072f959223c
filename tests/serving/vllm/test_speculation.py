"""With speculative decoding a decode is a decode, and every step has room for its drafts."""

from collections import deque

import pytest
from vllm_steps import request, run_step

from scheduler.decision import StepDecision

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine

DRAFTS = 3


class Tight:
    """Gives every step a token for each decode and some for a prompt; prompts come last."""

    name = "tight"

    def plan(self, snapshot, previous):
        return None

    def step(self, snapshot, plan):
        running = snapshot.running
        decodes = running.prefill_left == 0
        return StepDecision(
            order=snapshot.waiting.handle,
            running=running.handle[(~decodes).argsort(kind="stable")],
            token_budget=max(int(decodes.sum()) + 10, 1),
            stands=False,
        )


def speculating(make_scheduler, *args, **kwargs):
    config = {
        "method": "ngram_gpu",
        "num_speculative_tokens": DRAFTS,
        "prompt_lookup_max": 4,
        "prompt_lookup_min": 2,
    }
    return make_scheduler(*args, speculative_config=config, **kwargs)


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("accepted", [0, 2, DRAFTS])
def test_every_running_request_has_its_token_and_its_drafts(make_scheduler, lag, accepted):
    scheduler, in_flight, works = speculating(make_scheduler, "fcfs", policy=Tight()), deque(), []
    scheduler.step_done = lambda work, step_s: works.append(work)
    for number in range(3):
        scheduler.add_request(request(f"r{number}", prompt=20, tokens=100))
    done = []
    for step in range(60):
        if step == 10:
            scheduler.add_request(request("late", prompt=100, tokens=10))
        decoding = {each.request_id for each in scheduler.running if not each.is_prefill_chunk}
        done += run_step(scheduler, in_flight, lag=lag, accepted=accepted)
        output = in_flight[-1][0] if lag else None
        if output is not None and step > 5:
            computed = output.num_scheduled_tokens
            assert decoding - set(done) <= set(computed) | {"late"}
            drafts = output.scheduled_spec_decode_tokens
            assert all(len(drafts.get(name, ())) == DRAFTS for name in decoding & set(computed))
    assert max(work.decodes for work in works) >= 3
    decode_only = [work for work in works if work.decodes and not work.prefill_tokens]
    assert len(decode_only) > 10
    # The prompt of 100 tokens was computed beside them, some ten at a time.
    assert 8 <= sum(bool(work.decodes and work.prefill_tokens) for work in works) <= 14
    assert done
    assert scheduler.fallbacks == 0


def test_the_latency_model_trains(make_scheduler):
    scheduler, in_flight = speculating(make_scheduler, "slotwise", trained=False), deque()
    for number in range(12):
        scheduler.add_request(request(f"r{number}", prompt=30 + 10 * number, tokens=60))
    for _ in range(400):
        run_step(scheduler, in_flight, lag=1, accepted=1)
    scheduler.driver.close()
    assert scheduler.driver.latency is not None
