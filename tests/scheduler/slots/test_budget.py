"""How many tokens a step may compute: the least slack, and the chunk of prompts that fits it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import CHAT, CODE, LIFELIKE, NOW_S, STEADY, request, requests, snapshot

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.slots.budget import decodes_of, token_budget
from scheduler.slots.config import SlotConfig

# A step takes 40 ms, 10 ms more for each answer and 1 ms for each token of a prompt.
LATENCY = StepLatency.linear(step_s=0.04, decode_s=0.01, prompt_token_s=1e-3)
EXACT = SlotConfig(chunk_margin=1.0, least_chunk=1)


def answer(slo=CHAT, tokens=500, *, generated=20, first_s=1.0, **changes):
    """One that runs and has tokens out already."""
    return request(slo, tokens, running=True, generated=generated, first_s=first_s, **changes)


def prefill(slo=CHAT, **changes):
    return request(slo, prompt=900, running=True, computed=300, **changes)


def slack_s(*running, now_s=2.0, latency=STEADY):
    return decodes_of(snapshot(*running, now_s=now_s, latency=latency)).slack_s


def budget(*running, now_s=2.0, config=EXACT, latency=LATENCY, **engine):
    seen = snapshot(*running, now_s=now_s, latency=latency, **engine)
    return token_budget(seen, decodes_of(seen), config)


class TestAnswers:
    def test_they_and_their_context_are_counted_and_the_prefills_apart(self):
        seen = snapshot(
            answer(prompt=100, generated=20),
            answer(Slo(), prompt=50, generated=7),
            answer(prompt=30, generated=0),
            prefill(),
            request(prompt=9),
        )
        assert decodes_of(seen)[:2] == (3, 100 + 20 + 50 + 7 + 30)
        assert decodes_of(seen).prefills == 1

    def test_a_prompt_is_computed_when_one_token_is_left(self):
        last, last_but_one = prefill(), prefill()
        last.computed, last_but_one.computed = 899, 898
        decodes = decodes_of(snapshot(last, last_but_one))
        assert (decodes.answers, decodes.prefills, decodes.context_tokens) == (1, 1, 900.0)

    def test_a_preempted_one_has_its_prompt_and_its_answer_to_compute_again(self):
        again = answer(prompt=100, generated=20, preempted=True, recomputed=118)
        assert decodes_of(snapshot(again, now_s=2.0)) == (0, 0.0, np.inf, 1)
        again.recomputed = 119
        assert decodes_of(snapshot(again, now_s=2.0)) == (1, 120.0, pytest.approx(1.0), 0)

    def test_nobody_runs(self):
        assert decodes_of(snapshot(request())) == (0, 0.0, np.inf, 0)


class TestSlack:
    def test_a_stream_has_until_its_next_token_is_due(self):
        # The 21st token is due 20 x 0.1 s after the first.
        assert slack_s(answer(), now_s=2.0) == pytest.approx(1.0)
        assert slack_s(answer(), now_s=2.9) == pytest.approx(0.1)

    def test_the_closest_counts(self):
        closest = answer(generated=14)  # due at 2.4 s
        others = [answer(), answer(Slo()), answer(CODE), prefill(), request(CHAT)]
        for k in range(len(others) + 1):
            running = [*others[:k], closest, *others[k:]]
            assert slack_s(*running) == pytest.approx(0.4)

    def test_a_stream_that_is_behind_and_can_catch_up_has_none(self):
        # 3 s behind; each token to come gains 50 ms.
        assert slack_s(answer(tokens=500), now_s=6.0) == 0.0
        assert slack_s(answer(tokens=20 + 64), now_s=6.0) == 0.0

    def test_a_stream_that_cannot_catch_up_hurries_nobody(self):
        assert slack_s(answer(tokens=20 + 58), now_s=6.0) == np.inf
        assert slack_s(answer(tokens=20 + 58), answer(first_s=5.0), now_s=6.0) == pytest.approx(1.0)

    def test_the_last_token_is_late_if_it_cannot_come_in_time(self):
        # It takes 50 ms and is due in 20: nothing comes after it that could make up for it.
        assert slack_s(answer(tokens=21), now_s=2.98) == np.inf

    def test_an_answer_that_outlived_its_forecast_ends_with_the_next_token(self):
        assert slack_s(answer(tokens=10), now_s=2.9) == pytest.approx(0.1)
        assert slack_s(answer(tokens=10), now_s=3.2) == np.inf

    def test_an_engine_too_slow_for_the_promise_catches_nothing_up(self):
        slow = Slo(tpot_s=0.04)
        assert slack_s(answer(slow), now_s=1.7) == pytest.approx(0.1)
        assert slack_s(answer(slow), now_s=1.76) == np.inf

    def test_a_first_token_that_came_late_hurries_nobody(self):
        assert slack_s(answer(first_s=5.0), now_s=6.0) == pytest.approx(1.0)
        assert slack_s(answer(first_s=5.1), now_s=6.0) == np.inf
        assert slack_s(answer(Slo(ttft_s=0.9, e2e_s=30.0))) == np.inf

    def test_a_first_token_in_time_is_all_that_some_were_promised(self):
        assert slack_s(answer(Slo(ttft_s=5.0))) == np.inf

    def test_an_end_to_end_promise_leaves_what_the_tokens_to_come_do_not_take(self):
        # A known length lies half a token short of itself: 79.5 come, 78.5 of them afterwards.
        assert slack_s(answer(CODE, tokens=100)) == pytest.approx(28.0 - 78.5 * 0.05)
        assert slack_s(answer(CODE, tokens=100), now_s=26.04) == pytest.approx(0.035)
        assert slack_s(answer(CODE, tokens=100), now_s=26.06) == np.inf

    def test_an_end_to_end_promise_is_lost_when_not_even_the_shortest_answer_ends_in_time(self):
        lengths = LengthDistribution(edges=[99, 100, 899, 900], probabilities=[0.5, 0.0, 0.5])
        either = answer(CODE, lengths=lengths)
        assert slack_s(either, now_s=2.0) == pytest.approx(28.0 - (479.5 - 1) * 0.05)
        # By now it is late on average, but it may be a short one.
        assert slack_s(either, now_s=25.9) == 0.0
        assert slack_s(either, now_s=26.1) == np.inf
        # And once it is no short one any more there is no hope.
        assert slack_s(answer(CODE, lengths=lengths, generated=101), now_s=2.0) == np.inf
        assert slack_s(answer(CODE, lengths=lengths, generated=500), now_s=2.0) == pytest.approx(
            28.0 - (399.5 - 1) * 0.05
        )

    def test_of_two_promises_the_sooner_counts_and_both_have_to_be_kept(self):
        both = Slo(tpot_s=0.1, e2e_s=30.0)
        assert slack_s(answer(both, tokens=100)) == pytest.approx(1.0)
        assert slack_s(answer(both, tokens=570)) == pytest.approx(28.0 - 548.5 * 0.05)
        assert slack_s(answer(both, tokens=600)) == np.inf

    def test_a_token_takes_as_long_as_all_the_answers_make_it(self):
        alone, crowd = answer(CODE, tokens=100), [answer(Slo()) for _ in range(4)]
        for others in ([], crowd):
            token_s = 0.04 + 0.01 * (1 + len(others))
            expected_s = 28.0 - 78.5 * token_s
            assert slack_s(alone, *others, latency=LATENCY) == pytest.approx(expected_s)
        long = StepLatency.linear(step_s=0.04, context_token_s=1e-5)
        token_s = 0.04 + 1e-5 * (10 + 20 + 400 + 20)
        running = (alone, answer(Slo(), prompt=400))
        assert slack_s(*running, latency=long) == pytest.approx(28.0 - 78.5 * token_s)

    def test_a_stream_over_a_cached_prefix_is_an_answer(self):
        # 48 of its 100 tokens were cached: the engine computed no more than 52.
        seen = snapshot(answer(prompt=100, computed=52), now_s=2.0)
        assert decodes_of(seen) == (1, 120.0, pytest.approx(1.0), 0)


class TestBudget:
    @pytest.mark.parametrize(
        "running",
        [
            [],
            [prefill()],
            [answer(Slo())],
            [answer(Slo(ttft_s=5.0)), prefill()],
            [prefill(CODE), answer(Slo())],
            [answer(Slo(ttft_s=0.5, tpot_s=0.1))],
        ],
    )
    def test_there_is_none_when_nobody_hurries(self, running):
        assert budget(*running) is None

    @pytest.mark.parametrize(("now_s", "chunk"), [(2.8, 150), (2.9, 50), (2.949, 1), (2.96, 1)])
    def test_a_stream_bounds_the_chunk(self, now_s, chunk):
        # Due at 3 s; the step takes 50 ms, and 1 ms a token. A hair for the binary fractions.
        assert budget(answer(), now_s=now_s - 1e-6) == 1 + chunk

    def test_every_answer_has_its_token_and_its_time(self):
        others = [answer(Slo()) for _ in range(3)]
        assert budget(answer(), *others, now_s=2.8 - 1e-6) == 4 + 120

    def test_a_long_context_takes_its_time_of_the_step(self):
        long = StepLatency.linear(
            step_s=0.04, decode_s=0.01, prompt_token_s=1e-3, context_token_s=1e-5
        )
        running = (answer(prompt=2980), answer(Slo(), prompt=1980))
        for context_s, latency in ((0.0, LATENCY), (0.05, long)):
            chunk = 1000 * (0.2 - 0.06 - context_s)
            told = budget(*running, now_s=2.8 - 1e-6, latency=latency)
            assert told == 2 + round(chunk)

    def test_step_times_count_with_their_margin(self):
        careful = SlotConfig(chunk_margin=2.0, least_chunk=1)
        assert budget(answer(), now_s=2.8 - 1e-6, config=careful) == 1 + 50

    def test_with_time_to_spare_the_chunk_is_large(self):
        assert budget(answer(CODE, tokens=100)) == 2048
        assert budget(answer(CODE, tokens=100), batch=20_000) > 10_000

    def test_some_tokens_of_prompts_are_computed_whatever_it_costs(self):
        for now_s in (2.9, 2.99, 3.5):
            config = SlotConfig(chunk_margin=1.0)
            assert budget(answer(), answer(), now_s=now_s, config=config) == 2 + 128
        assert budget(answer(), now_s=2.8 - 1e-6, config=SlotConfig(chunk_margin=1.0)) == 1 + 150

    def test_it_is_never_above_the_engines_own(self):
        assert budget(answer(), now_s=2.8, batch=64) == 64
        assert budget(answer(), now_s=3.5, batch=64, config=SlotConfig()) == 64
        assert budget(*[answer()] * 5, now_s=2.8, batch=3) == 3


@given(
    st.lists(requests(running=True), max_size=6),
    st.sampled_from([2, 64, 512, 8192]),
    st.sampled_from([1, 128, 5000]),
    st.floats(1.0, 2.0),
)
@settings(max_examples=200, deadline=None)
def test_the_largest_chunk_that_fits_the_slack_and_no_less_than_the_least(
    running, batch, least_chunk, margin
):
    seen = snapshot(*running, now_s=NOW_S, latency=LIFELIKE, batch=batch, slots=8)
    decodes = decodes_of(seen)
    config = SlotConfig(chunk_margin=margin, least_chunk=least_chunk)
    tokens = token_budget(seen, decodes, config)
    assert decodes.answers + decodes.prefills == len(running)
    assert decodes.slack_s >= 0.0
    assert (tokens is None) == (decodes.slack_s == np.inf)
    if tokens is None:
        return

    def step_s(chunk):
        return LIFELIKE.step_s(1, chunk, decodes.answers, decodes.context_tokens)

    assert min(decodes.answers + least_chunk, batch) <= tokens <= batch
    chunk = tokens - decodes.answers
    if chunk > least_chunk:
        assert step_s(chunk) <= decodes.slack_s / margin
    if tokens < batch:
        assert step_s(chunk + 1) > decodes.slack_s / margin


@given(st.lists(requests(running=True), min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_slack_is_the_least_of_all_in_whatever_order_they_run(running, rng):
    # A step takes as long for one as for all.
    least_s = min(slack_s(each, now_s=NOW_S) for each in running)
    assert slack_s(*running, now_s=NOW_S) == least_s
    rng.shuffle(running)
    assert slack_s(*running, now_s=NOW_S) == least_s


@given(requests(running=True), st.floats(0.0, 5.0))
@settings(max_examples=100, deadline=None)
def test_slack_passes_with_the_time_until_there_is_none_or_no_hope(one, later_s):
    now, later = (slack_s(one, now_s=NOW_S + wait_s) for wait_s in (0.0, later_s))
    assert later == np.inf or later == pytest.approx(max(now - later_s, 0.0), abs=1e-9)
