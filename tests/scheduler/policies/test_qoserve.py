"""Niyama on snapshots: hybrid priority, chunks by slack, eager relegation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from scheduler.policies.qoserve import QoServeConfig, QoServePolicy
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker

# A token takes 50 ms at a full batch of four, 10 ms of that for the sequences.
LATENCY = StepLatency.linear(step_s=0.04, decode_s=2.5e-3, prompt_token_s=1e-3)
LIMITS = Limits(max_num_seqs=4, max_batched_tokens=1000, kv_tokens=100_000)
CHAT, CODE = Slo(ttft_s=5.0, tpot_s=0.1), Slo(e2e_s=30.0)
NO_FLOOR = QoServeConfig(least_tokens=0)


class Engine:
    """Requests by name; ``step`` asks a policy."""

    def __init__(self, limits=LIMITS):
        self.tracker = Tracker(limits=limits)

    def wait(self, name, arrival_s=0.0, *, prompt=100, tokens=150, slo=CODE):
        known = LengthDistribution.point(tokens)
        self.tracker.arrived(Arrival(name, arrival_s, prompt, 4096, slo, known))

    def run(self, name, *, generated, first_s, prompt=100, **changes):
        self.wait(name, prompt=prompt, **changes)
        self.tracker.scheduled({name: prompt})
        if generated:
            self.tracker.tokens({name: generated}, first_s)

    def snapshot(self, now_s):
        return self.tracker.snapshot(now_s=now_s, latency=LATENCY)

    def step(self, now_s, config=None, *, predicted=False, policy=None):
        policy = policy or QoServePolicy(config, predicted=predicted)
        return policy.step(self.snapshot(now_s), None)

    def order(self, now_s, config=None, **changes):
        return "".join(self.tracker.request_ids(self.step(now_s, config, **changes).order))

    def relegated(self, now_s, config=None, **changes):
        return "".join(self.tracker.request_ids(self.step(now_s, config, **changes).relegated))


@pytest.fixture
def engine():
    return Engine()


class TestPriority:
    def test_a_token_of_the_prompt_counts_eight_milliseconds(self, engine):
        engine.wait("a", 0.0, prompt=300, slo=CHAT)  # 5.0 + 2.4
        engine.wait("b", 1.0, prompt=100, slo=CHAT)  # 6.0 + 0.8
        assert engine.order(2.0) == "ba"
        assert engine.order(2.0, QoServeConfig(alpha_s=0.0)) == "ab"

    def test_the_end_less_150_tokens_is_a_deadline_for_the_first(self, engine):
        engine.wait("a", 0.0, slo=CODE)  # 30 - 150 * 0.05 = 22.5
        engine.wait("b", 17.4, slo=CHAT)  # 22.4
        engine.wait("c", 17.6, slo=CHAT)  # 22.6
        engine.wait("d", 0.0, slo=Slo())
        assert engine.order(18.0) == "bacd"

    def test_with_a_ttft_promise_the_end_is_not_asked(self, engine):
        engine.wait("a", 0.0, slo=Slo(ttft_s=20.0, e2e_s=21.0))
        engine.wait("b", 14.0, slo=CHAT)
        assert engine.order(15.0) == "ba"

    def test_the_predicted_variant_reads_the_forecast(self, engine):
        engine.wait("a", 0.0, tokens=10, slo=CODE)
        engine.wait("b", 0.1, tokens=400, slo=CODE)
        assert engine.order(1.0) == "ab"
        assert engine.order(1.0, predicted=True) == "ba"

    def test_a_preempted_stream_is_due_with_its_next_token(self, engine):
        engine.run("a", generated=30, first_s=4.0, slo=CHAT)
        engine.tracker.preempted("a")  # 7.0, and 130 tokens to compute again
        engine.wait("b", 2.9, prompt=10, slo=CHAT)  # 7.9 + 0.08
        engine.wait("c", 3.1, prompt=10, slo=CHAT)  # 8.1 + 0.08
        assert engine.order(7.5) == "bac"
        assert engine.relegated(7.5) == ""


class TestRelegation:
    def test_who_cannot_be_prefilled_in_time_stands_behind_everybody(self, engine):
        engine.wait("a", 0.0, prompt=850, slo=CHAT)  # 0.1 s at 8500 tokens a second
        engine.wait("b", 0.0, prompt=100, slo=Slo())
        assert (engine.order(4.89), engine.relegated(4.89)) == ("ab", "")
        assert (engine.order(4.91), engine.relegated(4.91)) == ("ba", "a")

    def test_the_relegated_keep_their_order(self, engine):
        engine.wait("a", 0.0, prompt=900, slo=CHAT)
        engine.wait("b", 0.1, prompt=100, slo=CHAT)
        engine.wait("c", 0.2, slo=CODE)
        assert (engine.order(10.0), engine.relegated(10.0)) == ("cba", "ba")

    def test_an_end_to_end_promise_is_lost_before_its_deadline(self, engine):
        engine.wait("a", 0.0, tokens=10, slo=CODE)
        assert engine.relegated(22.4) == ""
        assert engine.relegated(22.6) == "a"
        assert engine.relegated(22.6, predicted=True) == ""

    def test_a_slow_engine_is_found_out(self, engine):
        policy = QoServePolicy(QoServeConfig(decay=0.0))
        engine.wait("a", 0.0, prompt=500, slo=Slo())
        engine.wait("b", 0.0, prompt=400, slo=CHAT)
        engine.step(1.0, policy=policy)
        engine.tracker.scheduled({"a": 200})
        assert engine.relegated(3.0, policy=policy) == "b"  # 100 tokens a second: 4 s


class TestBegunPrefills:
    """Priority and relegation choose anew in each step, whether a prefill has begun or waits."""

    def decided(self, engine, now_s, config=None):
        decision = engine.step(now_s, config)
        parts = (decision.running, decision.held, decision.order, decision.relegated)
        return ["".join(engine.tracker.request_ids(each)) for each in parts]

    def test_they_stand_by_priority_behind_the_decodes(self, engine):
        engine.wait("a", prompt=900, slo=CHAT)
        engine.wait("b", prompt=300, slo=CHAT)
        engine.tracker.scheduled({"a": 100, "b": 100})  # 5.0 + 6.4 and 5.0 + 1.6
        engine.run("c", generated=3, first_s=0.5, slo=CHAT)
        assert self.decided(engine, 1.0) == ["cba", "", "", ""]

    def test_one_sits_out_for_a_waiting_one_of_higher_priority(self, engine):
        engine.wait("a", prompt=1500, slo=CHAT)
        engine.tracker.scheduled({"a": 100})
        engine.wait("b", 0.5, prompt=50, slo=CHAT)
        assert self.decided(engine, 1.0) == ["a", "a", "b", ""]

    def test_one_that_is_short_goes_on(self, engine):
        engine.wait("a", prompt=1500, slo=CHAT)
        engine.tracker.scheduled({"a": 1490})
        engine.wait("b", 0.5, prompt=50, slo=CHAT)
        assert self.decided(engine, 1.0) == ["a", "", "b", ""]

    def test_a_late_one_stands_behind_the_waiting(self, engine):
        engine.wait("a", prompt=3000, slo=CHAT)
        engine.tracker.scheduled({"a": 1000})
        engine.wait("b", 0.0, prompt=900, slo=CODE)  # due at 22.5 s, and 7.2 s for its tokens
        assert self.decided(engine, 4.7) == ["a", "", "b", ""]
        assert self.decided(engine, 4.9) == ["a", "a", "b", ""]


class TestBudget:
    def test_nobody_decodes_and_the_whole_budget_is_free(self, engine):
        assert engine.step(0.0).token_budget == 1000
        engine.wait("a", prompt=300)
        engine.tracker.scheduled({"a": 100})
        assert engine.step(0.0).token_budget == 1000

    @pytest.mark.parametrize(("now_s", "tokens"), [(2.9, 124), (2.95, 82), (3.1, 1), (9.0, 1)])
    def test_a_stream_bounds_the_chunk(self, engine, now_s, tokens):
        # Its next token is due at 3.1 s; a step takes 1.2 * (42.5 ms + 1 ms a token).
        engine.run("a", generated=1, first_s=3.0, slo=CHAT)
        assert engine.step(now_s, NO_FLOOR).token_budget == tokens + (tokens > 1)

    def test_the_closest_deadline_counts(self, engine):
        engine.run("a", generated=20, first_s=1.0, slo=CHAT)
        engine.run("b", generated=1, first_s=2.8, slo=CHAT)
        engine.run("c", generated=1, first_s=1.0, slo=Slo())
        # b is due at 2.9 s; three decodes take 47.5 ms.
        assert engine.step(2.7, NO_FLOOR).token_budget == 3 + int((200 / 1.2) - 47.5)

    def test_an_end_to_end_promise_spreads_its_150_tokens_before_the_deadline(self, engine):
        engine.run("a", generated=50, first_s=1.0, slo=CODE)
        # 99 more tokens at 50 ms after the next, which is due at 25.05 s.
        assert engine.step(20.0, NO_FLOOR).token_budget == 1000
        assert engine.step(24.85, NO_FLOOR).token_budget == 1 + int((200 / 1.2) - 42.5)

    def test_the_predicted_variant_spreads_the_forecast(self, engine):
        engine.run("a", generated=50, first_s=1.0, tokens=250, slo=CODE)
        # A known length lies half a token short of itself: 198.5 after the next, due at 20.075 s.
        assert engine.step(19.875, NO_FLOOR).token_budget == 1000
        told = engine.step(19.875, NO_FLOOR, predicted=True)
        assert told.token_budget == 1 + int((200 / 1.2) - 42.5)

    def test_an_answer_longer_than_expected_is_due_at_its_end(self, engine):
        engine.run("a", generated=400, first_s=1.0, slo=CODE)
        assert engine.step(29.8, NO_FLOOR).token_budget == 1 + int((200 / 1.2) - 42.5)

    def test_without_promises_nothing_bounds_it(self, engine):
        engine.run("a", generated=10, first_s=1.0, slo=Slo())
        assert engine.step(99.0).token_budget == 1000

    def test_prefills_go_on_a_little_however_late_a_stream_is(self, engine):
        engine.run("a", generated=1, first_s=3.0, slo=CHAT)
        assert engine.step(9.0).token_budget == 128
        assert engine.step(9.0, QoServeConfig(least_tokens=5000)).token_budget == 1000

    def test_a_stream_over_a_cached_prefix_decodes(self, engine):
        engine.wait("a", prompt=100, slo=CHAT)
        engine.tracker.scheduled({"a": 52})  # 48 tokens were cached
        engine.tracker.tokens({"a": 1}, 3.0)
        assert engine.step(2.9, NO_FLOOR).token_budget == 125

    def test_more_decodes_than_budget(self):
        engine = Engine(replace(LIMITS, max_batched_tokens=2))
        for name in "abc":
            engine.run(name, generated=1, first_s=3.0, slo=CHAT)
        assert engine.step(3.0).token_budget == 2


slos = st.sampled_from([CHAT, CODE, Slo(), Slo(ttft_s=1.0, tpot_s=0.03), Slo(e2e_s=3.0)])
live = st.tuples(slos, st.integers(1, 900), st.integers(0, 300), st.floats(0.0, 8.0))


@settings(deadline=None)
@given(st.lists(live, max_size=6), st.lists(live, max_size=6), st.booleans())
def test_every_answer_is_whole_and_in_bounds(running, waiting, predicted):
    engine = Engine(replace(LIMITS, max_num_seqs=8))
    for number, (slo, prompt, generated, at_s) in enumerate(running):
        engine.run(f"r{number}", prompt=prompt, generated=generated, first_s=at_s, slo=slo)
    for number, (slo, prompt, _, at_s) in enumerate(waiting):
        engine.wait(f"w{number}", at_s, prompt=prompt, slo=slo)
    snapshot = engine.snapshot(9.0)
    decision = QoServePolicy(NO_FLOOR, predicted=predicted).step(snapshot, None)
    assert sorted(decision.order) == sorted(snapshot.waiting.handle)
    late = len(decision.relegated)
    assert decision.order[len(decision.order) - late :].tolist() == decision.relegated.tolist()
    assert max(len(running), 1) <= decision.token_budget <= 1000
    assert not len(decision.preempt)
    assert not len(decision.held)


def test_the_two_are_told_apart_by_name():
    assert QoServePolicy().name == "qoserve"
    assert QoServePolicy(predicted=True).name == "qoserve+predicted"
    assert not Engine().step(0.0).stands
    assert QoServePolicy().plan(Engine().snapshot(0.0), None) is None
    np.testing.assert_array_equal(Engine().step(0.0).order, [])
