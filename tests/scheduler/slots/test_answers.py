"""Running answers: how long a step may take without harm, and when their promises are lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import CHAT, CODE, LIFELIKE, NOW_S, STEADY, request, requests, snapshot

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.slots.answers import answers_of

# A step takes 40 ms, and 10 ms more for each answer.
CROWDED = StepLatency.linear(step_s=0.04, decode_s=0.01)


def answer(slo=CHAT, tokens=500, *, generated=20, first_s=1.0, **changes):
    """One that runs and has tokens out already."""
    return request(slo, tokens, running=True, generated=generated, first_s=first_s, **changes)


def prefill(slo=CHAT, **changes):
    return request(slo, prompt=900, running=True, computed=300, **changes)


def read(*running, now_s=2.0, latency=STEADY, catch_up=0.0):
    return answers_of(snapshot(*running, now_s=now_s, latency=latency), catch_up=catch_up)


def one(*running, **engine):
    """Slack and time to be lost of the only answer that has something to lose."""
    found = read(*running, **engine)
    assert len(found.slack_s) == len(found.lost_s) == 1
    return found.slack_s[0], found.lost_s[0]


def nothing_to_lose(*running, **engine):
    return len(read(*running, **engine).slack_s) == 0


class TestCount:
    def test_they_and_their_context(self):
        found = read(
            answer(prompt=100, generated=20),
            answer(Slo(), prompt=50, generated=7),
            answer(prompt=30, generated=0),
            prefill(),
            request(prompt=9),
        )
        assert (found.decodes, found.context_tokens) == (3, 100 + 20 + 50 + 7 + 30)

    def test_a_prompt_is_computed_when_one_token_is_left(self):
        last, last_but_one = prefill(), prefill()
        last.computed, last_but_one.computed = 899, 898
        assert read(last, last_but_one)[:2] == (1, 900.0)

    def test_a_preempted_one_has_its_prompt_and_its_answer_to_compute_again(self):
        again = answer(prompt=100, generated=20, preempted=True, recomputed=118)
        assert read(again).decodes == 0
        again.recomputed = 119
        assert read(again)[:2] == (1, 120.0)

    def test_a_stream_over_a_cached_prefix_is_an_answer(self):
        # 48 of its 100 tokens were cached: the engine computed no more than 52.
        assert read(answer(prompt=100, computed=52))[:2] == (1, 120.0)

    def test_nobody_runs(self):
        assert read(request())[:2] == (0, 0.0)
        assert nothing_to_lose(request())


class TestStreams:
    def test_the_next_token_is_due(self):
        # The 21st is due 20 x 0.1 s after the first.
        assert one(answer(), now_s=2.0) == (pytest.approx(1.0),) * 2
        assert one(answer(), now_s=2.9) == (pytest.approx(0.1),) * 2

    def test_one_that_will_catch_up_has_a_reserve(self):
        # At 50 ms a token so far it gains as much with each of the 478.5 after the next.
        slack_s, lost_s = one(answer(), now_s=2.0, catch_up=0.5)
        assert slack_s == pytest.approx(1.0)
        assert lost_s == pytest.approx(1.0 + 0.5 * 478.5 * 0.05)

    def test_the_slower_so_far_the_smaller_the_reserve(self):
        reserves = []
        for now_s in (2.0, 2.6, 2.9):  # 50, 80 and 95 ms a token
            slack_s, lost_s = one(answer(), now_s=now_s, catch_up=1.0)
            reserves.append((lost_s - slack_s) / 478.5)
        assert reserves == pytest.approx([0.05, 0.02, 0.005])

    def test_one_that_is_behind_and_could_just_catch_up_may_not_wait(self):
        # 3 s behind; each token to come gains 50 ms if nothing but answers is computed.
        assert one(answer(tokens=500), now_s=6.0) == (0.05, 0.05)
        assert one(answer(tokens=20 + 64), now_s=6.0) == (0.05, 0.05)

    def test_one_that_cannot_catch_up_has_nothing_to_lose(self):
        assert nothing_to_lose(answer(tokens=20 + 58), now_s=6.0)
        assert one(answer(tokens=20 + 58), answer(first_s=5.0), now_s=6.0)[0] == pytest.approx(1.0)

    def test_the_last_token_is_late_if_it_cannot_come_in_time(self):
        # It takes 50 ms and is due in 20: nothing comes after it that could make up for it.
        assert nothing_to_lose(answer(tokens=21), now_s=2.98, catch_up=1.0)

    def test_an_answer_that_outlived_its_forecast_ends_with_the_next_token(self):
        assert one(answer(tokens=10), now_s=2.9, catch_up=1.0) == (pytest.approx(0.1),) * 2
        assert nothing_to_lose(answer(tokens=10), now_s=3.2)

    def test_an_engine_too_slow_for_the_promise_catches_nothing_up(self):
        slow = Slo(tpot_s=0.04)
        assert one(answer(slow), now_s=1.7, catch_up=1.0) == (pytest.approx(0.1),) * 2
        assert nothing_to_lose(answer(slow), now_s=1.76, catch_up=1.0)

    def test_a_first_token_that_came_late_is_the_end_of_the_promise(self):
        assert one(answer(first_s=5.0), now_s=6.0)[0] == pytest.approx(1.0)
        assert nothing_to_lose(answer(first_s=5.1), now_s=6.0)
        assert nothing_to_lose(answer(Slo(ttft_s=0.9, e2e_s=30.0)))

    def test_a_first_token_in_time_is_all_that_some_were_promised(self):
        assert nothing_to_lose(answer(Slo(ttft_s=5.0)))


class TestStepsToCome:
    def test_a_stream_allows_its_tpot_for_each_of_the_tokens_left(self):
        found = read(answer(tokens=500))
        assert found.every_s == pytest.approx([0.1])
        assert found.tokens_left == pytest.approx([479.5])

    def test_an_end_to_end_promise_allows_the_pace_that_its_slack_counts(self):
        found = read(answer(CODE, tokens=100), now_s=3.0)
        assert found.every_s == pytest.approx([0.1])
        assert read(answer(CODE, tokens=100), now_s=2.0).every_s == pytest.approx([0.05])

    def test_of_two_promises_the_tighter_one_counts(self):
        both = Slo(tpot_s=0.1, e2e_s=30.0)
        assert read(answer(both, tokens=100)).every_s == pytest.approx([0.1])
        assert read(answer(both, tokens=570)).every_s == pytest.approx([0.05])


class TestBound:
    def test_in_the_long_run_the_tightest_of_the_streams_counts(self):
        behind = answer(first_s=1.0, generated=20, tokens=500)
        assert read(behind, now_s=6.0).bound_s == pytest.approx(0.1)
        assert read(behind, answer(CODE), now_s=6.0).bound_s == pytest.approx(0.1)

    def test_what_all_have_saved_may_be_spent(self):
        assert read(answer(), now_s=2.0).bound_s == pytest.approx(1.0)

    def test_nobody_bounds_a_step_who_has_nothing_to_lose(self):
        assert read(answer(Slo()), prefill()).bound_s == np.inf


class TestEndToEnd:
    def test_what_the_tokens_to_come_do_not_take(self):
        # A known length lies half a token short of itself: 79.5 come, 78.5 of them afterwards.
        assert one(answer(CODE, tokens=100)) == (pytest.approx(28.0 - 78.5 * 0.05, abs=0.03),) * 2
        assert nothing_to_lose(answer(CODE, tokens=100), now_s=26.06)

    def test_the_longest_leaves_least_and_the_shortest_most(self):
        lengths = LengthDistribution(edges=[99, 100, 899, 900], probabilities=[0.5, 0.0, 0.5])
        either = answer(CODE, lengths=lengths)
        slack_s, lost_s = one(either, now_s=2.0)
        # A token is 50 ms; the bounds are those of equally likely lengths.
        assert slack_s == pytest.approx(0.05)
        assert lost_s == pytest.approx(28.0 - 78.5 * 0.05, abs=0.03)
        # And once it is no short one any more there is no hope.
        assert nothing_to_lose(answer(CODE, lengths=lengths, generated=101), now_s=2.0)

    def test_the_slack_is_what_the_pace_of_late_leaves_and_all_is_not_lost_yet(self):
        # 100 ms a token so far, 50 without prompts in between.
        slack_s, lost_s = one(answer(CODE, tokens=100), now_s=3.0)
        assert slack_s == pytest.approx(27.0 - 78.5 * 0.1, abs=0.06)
        assert lost_s == pytest.approx(27.0 - 78.5 * 0.05, abs=0.03)

    def test_of_two_promises_the_sooner_counts_and_both_have_to_be_kept(self):
        both = Slo(tpot_s=0.1, e2e_s=30.0)
        assert one(answer(both, tokens=100)) == (pytest.approx(1.0),) * 2
        assert one(answer(both, tokens=570))[1] == pytest.approx(28.0 - 548.5 * 0.05, abs=0.03)
        assert nothing_to_lose(answer(both, tokens=600))

    def test_a_token_takes_as_long_as_all_the_answers_make_it(self):
        for others in (0, 4):
            crowd = [answer(Slo()) for _ in range(others)]
            token_s = 0.04 + 0.01 * (1 + others)
            expected_s = 28.0 - 78.5 * token_s
            found = one(answer(CODE, tokens=100), *crowd, latency=CROWDED)
            assert found[0] == pytest.approx(expected_s, abs=0.06)


@given(st.lists(requests(running=True), max_size=6), st.floats(0.0, 1.0))
@settings(max_examples=200, deadline=None)
def test_a_step_of_answers_alone_harms_nobody_and_reserves_are_above_it(running, catch_up):
    seen = snapshot(*running, now_s=NOW_S, latency=LIFELIKE, slots=8)
    found = answers_of(seen, catch_up=catch_up)
    token_s = LIFELIKE.decode_s(max(found.decodes, 1), found.context_tokens / max(found.decodes, 1))
    assert len(found.slack_s) <= found.decodes <= len(running)
    assert (found.slack_s >= token_s * (1 - 1e-12)).all()
    assert (found.lost_s >= found.slack_s).all()
    assert np.isfinite(found.lost_s).all()


@given(st.lists(requests(running=True), max_size=6))
@settings(max_examples=100, deadline=None)
def test_the_more_may_be_caught_up_with_the_later_promises_are_lost(running):
    seen = snapshot(*running, now_s=NOW_S, latency=LIFELIKE, slots=8)
    strict, loose = (answers_of(seen, catch_up=share) for share in (0.0, 1.0))
    assert len(strict.lost_s) == len(loose.lost_s)
    assert (loose.lost_s >= strict.lost_s).all()
