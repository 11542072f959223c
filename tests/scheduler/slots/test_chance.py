"""The chance to keep a promise, and the index."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import CHAT, CODE, LIFELIKE, problem, problems, request, terms_of

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.slots.chance import keeping_lengths, outlook, worth
from scheduler.slots.problem import Fact


def chance_of(built, i=0, begin_s=0.0):
    return outlook(i, begin_s, built.facts, built.atoms, built.token_s)


def test_a_known_length_meets_its_end_to_end_target_or_not():
    assert chance_of(problem(request(tokens=600)))[0] == 1.0  # 600 x 50 ms = 30 s
    assert chance_of(problem(request(tokens=601)))[0] == 0.0
    assert chance_of(problem(request(tokens=500)), begin_s=6.0)[0] == 0.0


def test_uncertain_lengths_meet_it_with_their_share():
    lengths = LengthDistribution(edges=[0, 1200], probabilities=[1.0])
    chance, tokens = chance_of(problem(request(lengths=lengths)))
    assert chance == pytest.approx(0.5)
    assert tokens == pytest.approx(450, rel=0.02)  # E[min(L, 600)], then hope is lost


def test_who_has_no_hope_is_served_to_the_end():
    chance, tokens = chance_of(problem(request(tokens=700)))
    assert chance == 0.0
    assert tokens == pytest.approx(700, abs=0.51)


def test_a_late_first_token_breaks_a_chat_promise():
    assert chance_of(problem(request(CHAT)), begin_s=4.9)[0] == 1.0
    assert chance_of(problem(request(CHAT)), begin_s=5.0)[0] == 0.0


def test_a_stream_that_paused_needs_enough_tokens_to_catch_up():
    # One token out 10 s ago: at 50 ms a token and 100 ms allowed it catches up after 200.
    paused = {"running": True, "generated": 1, "first_s": 1.0}
    assert chance_of(problem(request(CHAT, tokens=150, **paused), now_s=11.0))[0] == 0.0
    assert chance_of(problem(request(CHAT, tokens=250, **paused), now_s=11.0))[0] == 1.0


def test_a_stream_slower_than_promised_lives_on_its_lead():
    # 21 tokens out in no time: 20 x 40 ms in hand, and each more token costs 10 ms of it.
    ahead = {"running": True, "generated": 21, "first_s": 0.0}
    slow = Slo(ttft_s=5.0, tpot_s=0.04)
    assert chance_of(problem(request(slow, tokens=21 + 79, **ahead)))[0] == 1.0
    assert chance_of(problem(request(slow, tokens=21 + 81, **ahead)))[0] == 0.0


def test_a_request_without_a_promise_is_never_counted_as_kept():
    assert chance_of(problem(request(Slo())))[0] == 0.0


def keeps(fact, tokens, begin_s, token_s, slack_s):
    """Whether a stream of so many tokens from ``begin_s`` on keeps every target."""
    generated, end_s = fact[Fact.GENERATED], begin_s + tokens * token_s
    first_s = fact[Fact.FIRST_TOKEN_S] if generated else begin_s + token_s
    pace_s = fact[Fact.TPOT_S]
    return bool(
        fact[Fact.PROMISED]
        and begin_s + token_s <= fact[Fact.TTFT_DUE_S] + slack_s
        and end_s <= fact[Fact.E2E_DUE_S] + slack_s
        and (pace_s == np.inf or end_s - first_s <= pace_s * (generated + tokens - 1) + slack_s)
    )


@given(problems(), st.floats(0.0, 20.0))
@settings(max_examples=80, deadline=None)
def test_the_chance_is_the_share_of_lengths_whose_stream_keeps_the_promise(built, begin_s):
    for i, fact in enumerate(built.facts):
        surely, perhaps = (
            np.mean([keeps(fact, tokens, begin_s, built.token_s, s) for tokens in built.atoms[i]])
            for s in (-1e-7, 1e-7)
        )
        chance, tokens = chance_of(built, i, begin_s)
        assert surely <= chance <= perhaps
        assert tokens <= built.atoms[i].mean() * (1 + 1e-12)


@given(problems(), st.floats(0.0, 20.0), st.floats(0.0, 20.0))
@settings(max_examples=40, deadline=None)
def test_to_begin_later_never_helps(built, begin_s, delay_s):
    for i in range(len(built)):
        soon = keeping_lengths(i, begin_s, built.facts, built.token_s)
        late = keeping_lengths(i, begin_s + delay_s, built.facts, built.token_s)
        assert late[0] > late[1] or (late[0] >= soon[0] and late[1] <= soon[1])


def test_the_index_prefers_short_and_promising():
    built = problem(request(tokens=50), request(tokens=500), request(tokens=700))
    _, _, index = worth(built, terms_of(built))
    assert index[0] > index[1] > index[2]


def test_the_index_gives_a_running_request_its_head_start():
    built = problem(request(running=True), request())
    _, _, index = worth(built, terms_of(built, keep=3.0))
    assert index[0] == pytest.approx(3.0 * index[1])


def test_the_index_sees_the_chance_to_stop_early():
    # Half end after 10 tokens, the others miss anyway: as good as 10 tokens for half a promise.
    gamble = LengthDistribution(edges=[9, 10, 999, 1000], probabilities=[0.5, 0.0, 0.5])
    built = problem(request(lengths=gamble), request(tokens=505))
    _, cost_s, index = worth(built, terms_of(built, done_worth=0.0))
    assert index[0] == pytest.approx(0.5 / (10 * built.facts[0, Fact.TOKEN_SLOT_S]), rel=0.05)
    assert index[0] > 10 / cost_s[0] * 0.5


@pytest.mark.parametrize("slo", [CODE, CHAT])
def test_a_prefill_costs_every_slot_however_many_steps_it_is_cut_into(slo):
    engine = {"latency": LIFELIKE, "slots": 5}
    short, long = (problem(request(slo, prompt=p), **engine) for p in (10, 310))
    assert (long.stretch > 1.0) == (slo is CHAT)
    costs = [worth(built, terms_of(built))[1][0] for built in (short, long)]
    # Its own part of a step takes the time of all five: 1e-7 s for each token before it.
    context_s = 99.5 * 5 * 1e-7 * 300
    assert costs[1] - costs[0] == pytest.approx(5 * 300 * 1e-3 + context_s, rel=1e-6)


def test_each_token_costs_what_its_own_context_makes_it():
    long = StepLatency.linear(step_s=0.01, context_token_s=1e-5)
    built = problem(request(prompt=1000), request(prompt=10), latency=long, slots=2)
    _, cost_s, index = worth(built, terms_of(built))
    tokens = built.atoms.mean(axis=1)
    context = np.array([1000.0, 10.0]) + tokens / 2.0
    assert cost_s == pytest.approx(tokens * (2 * 1e-5 * context + 0.01))
    assert index == pytest.approx(1.3 / cost_s, rel=0.02)
    assert index[0] < 0.5 * index[1]
