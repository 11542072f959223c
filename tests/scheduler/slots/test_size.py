"""How many prompt tokens a step computes: prompts at hand, answers, and those to come."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.latency import StepLatency
from scheduler.slots.answers import Answers
from scheduler.slots.config import SlotConfig
from scheduler.slots.newcomers import Arrivals, nobody
from scheduler.slots.size import prompt_tokens

# 20 ms a step, 1 ms an answer, 0.1 ms a prompt token: 1,000 in 120 ms at once.
LATENCY = StepLatency.linear(step_s=0.02, decode_s=1e-3, prompt_token_s=1e-4)


def answers(*bounds, count=None, every_s=0.1, tokens_left=1.0):
    """Answers with (slack, time until lost); more may run that have nothing to lose."""
    slack_s, lost_s = np.array(bounds, dtype=float).reshape(-1, 2).T
    number = float(len(bounds) if count is None else count)
    token_s = 0.02 + 1e-3 * number
    return Answers(
        decodes=number,
        context_tokens=0.0,
        token_s=token_s,
        pace_s=token_s,
        bound_s=np.inf,
        slack_s=np.ascontiguousarray(slack_s),
        lost_s=np.ascontiguousarray(lost_s),
        every_s=np.full(len(bounds), every_s),
        tokens_left=np.full(len(bounds), tokens_left),
    )


def to_come(*slack_s, per_s=10.0):
    arrivals = Arrivals()
    slack_s = slack_s * (10 if len(slack_s) < 8 else 1)
    at_s = np.arange(len(slack_s)) / per_s
    arrivals.observe(at_s, np.array(slack_s, dtype=float), np.full(len(slack_s), 10.0))
    return arrivals.expected(now_s=len(slack_s) / per_s)


def tokens(
    *prompts,
    kept=None,
    running=None,
    newcomers=None,
    ahead=0,
    most=2000,
    latency=LATENCY,
    cached=0.0,
    **config,
):
    left, slack_s = np.array(prompts, dtype=float).reshape(-1, 2).T
    return prompt_tokens(
        np.arange(len(left)),
        np.arange(len(left))[: len(left) if kept is None else kept],
        np.ascontiguousarray(left),
        np.full(len(left), cached),
        np.ascontiguousarray(slack_s),
        latency=latency,
        answers=running or answers(),
        newcomers=newcomers or nobody(),
        steps_ahead=ahead,
        most=most,
        config=SlotConfig(**{"chunk_margin": 1.0, "least_chunk": 1, **config}),
    )


class TestPromptsAtHand:
    def test_all_there_is_room_for_while_nobody_hurries(self):
        assert tokens() == 2000
        assert tokens((1000, inf)) == 2000

    def test_whoever_is_first_is_not_made_to_wait_for_the_rest(self):
        # 100 tokens in 30 ms; with the other thousand it would be late.
        assert 100 <= tokens((100, 0.05), (1000, 1.0)) <= 300

    def test_large_enough_for_the_last(self):
        # In 300 ms by hundreds, 120 at once.
        assert tokens((1000, 0.15)) >= 334
        assert tokens((1000, 0.13)) >= 1000

    def test_who_cannot_be_saved_asks_for_nothing(self):
        assert tokens((1000, 0.1)) == 2000

    def test_step_times_count_with_their_margin(self):
        assert tokens((100, 0.05), (1000, 1.0), chunk_margin=1.5) < 150


class TestAnswers:
    def test_their_slack_bounds_the_step(self):
        assert 800 < tokens((5000, inf), running=answers((0.121, 0.121))) <= 1000

    def test_each_takes_its_time_of_the_step(self):
        few, many = answers((0.121, 0.121), count=1), answers((0.121, 0.121), count=40)
        assert tokens(running=many) < tokens(running=few) - 200

    def test_a_reserve_is_spent_for_a_prompt_and_for_nothing_else(self):
        # The prompt needs 120 ms, and the answer has a reserve of a second.
        reserve = answers((0.06, 1.06))
        assert tokens((1000, 0.125), running=reserve) >= 1000
        assert tokens((1000, inf), running=reserve) <= 400
        assert tokens((1000, 0.125), running=answers((0.06, 0.06))) <= 400

    def test_an_answer_counts_for_more_than_a_prompt_and_less_than_two(self):
        three = [(400, 0.145)] * 3
        assert tokens(*three, running=answers((0.06, 0.06))) >= 1200
        assert tokens(*three, running=answers(*[(0.06, 0.06)] * 3)) <= 400

    def test_each_step_of_a_backlog_uses_up_slack(self):
        # The prompt takes ten steps of 2,000 tokens, and each is 0.12 s longer than the TPOT.
        backlog = (20_000, 5.0)
        assert tokens(backlog, running=answers((0.5, 0.5), tokens_left=400.0)) < 1200
        assert tokens(backlog, running=answers((2.0, 2.0), tokens_left=400.0)) == 2000
        assert tokens(backlog, running=answers((0.5, 0.5), tokens_left=400.0, every_s=0.2)) == 2000

    def test_steps_after_the_last_token_of_an_answer_cost_it_nothing(self):
        # 0.221 s for each of three tokens, of which 0.1 are allowed after the first.
        backlog = (20_000, 5.0)
        assert tokens(backlog, running=answers((0.5, 0.5), tokens_left=3.0)) == 2000
        assert tokens(backlog, running=answers((0.4, 0.4), tokens_left=3.0)) < 2000

    def test_steps_within_the_tpot_need_no_slack(self):
        running = answers((0.1, 0.1), tokens_left=400.0)
        assert 600 < tokens((20_000, 5.0), running=running) <= 800


class TestNewcomers:
    def test_whoever_has_time_asks_for_nothing(self):
        assert tokens((2000, inf), newcomers=to_come(0.5, inf)) == 2000

    def test_whoever_is_in_a_hurry_shortens_the_steps(self):
        hurried = to_come(*[0.07] * 10)
        assert 350 < tokens((2000, inf), newcomers=hurried, newcomer_toll=1e-4) <= 500
        # Where a step is under way already when this one is decided on, both have to end.
        ahead = tokens((2000, inf), newcomers=hurried, newcomer_toll=1e-4, ahead=1)
        assert ahead <= 150

    def test_few_in_a_hurry_are_weighed_against_the_time_of_all(self):
        few = to_come(0.07, *[10.0] * 99)
        assert tokens((2000, inf), newcomers=few, newcomer_toll=1e-4) <= 500
        assert tokens((2000, inf), newcomers=few, newcomer_toll=0.1) == 2000

    def test_a_prompt_at_hand_counts_for_more_than_one_that_may_come(self):
        assert tokens((1000, 0.13), newcomers=to_come(*[0.07] * 10)) >= 1000

    def test_those_whom_no_step_suits_want_the_work_done(self):
        assert tokens((2000, inf), newcomers=to_come(*[0.0] * 10)) == 2000


def test_the_least_is_computed_whatever_it_costs():
    late = answers((0.021, 1.021))
    assert tokens((1000, inf), running=late, least_chunk=300) == 300
    assert tokens((1000, inf), running=late, least_chunk=300, most=64) == 64


def test_a_long_context_shortens_the_chunk():
    squared = StepLatency.linear(step_s=0.02, prompt_token_s=1e-4, squared_token_s=1e-7)
    bound = answers((0.1, 0.1))
    sizes = [
        tokens((2000, inf), running=bound, latency=squared, cached=cached)
        for cached in (0.0, 1e3, 1e4)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


@given(
    prompts=st.lists(st.tuples(st.integers(1, 3000), st.floats(-0.1, 1.0)), max_size=6),
    slack_s=st.lists(st.tuples(st.floats(0.02, 0.3), st.floats(0.0, 1.0)), max_size=5),
    least=st.integers(1, 500),
    most=st.integers(1, 3000),
)
@settings(deadline=None)
def test_no_size_within_the_limits_that_was_tried_loses_fewer_promises(
    prompts, slack_s, least, most
):
    running = answers(*[(slack, slack + more) for slack, more in slack_s])
    # A chunk of one token counts as a decode; here it takes as long.
    latency = StepLatency.linear(step_s=0.02, decode_s=1e-4, prompt_token_s=1e-4)
    found = tokens(*prompts, running=running, most=most, least_chunk=least, latency=latency)
    assert min(least, most) <= found <= most

    def lost(size):
        computed = min(size, sum(left for left, _ in prompts)) if prompts else size
        step_s = 0.02 + 1e-4 * (len(slack_s) + computed)
        total, work = 0.0, 0
        for left, slack in prompts:
            work += left
            total += -(-work // size) * step_s > slack >= 0
        for slack, more in slack_s:
            over = step_s - slack
            if over > 0:
                total += 1.05 * (1.0 if over >= more else over / more)
        return total

    assert lost(found) <= min(lost(min(least, most)), lost(most)) + 1e-6


def test_what_is_past_saving_takes_its_time_of_a_step_and_has_nothing_to_lose():
    bound = answers((0.121, 0.121))
    assert tokens((100, 0.05), (5000, 9.0), kept=1, running=bound) <= 300
    assert 800 < tokens((5000, 0.01), kept=0, running=bound) <= 1000


@pytest.mark.parametrize("most", [1, 2, 3])
def test_an_engine_that_computes_next_to_nothing_in_a_step(most):
    assert 1 <= tokens((100, 1.0), most=most) <= most
