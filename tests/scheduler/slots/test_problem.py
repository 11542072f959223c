"""Reading a snapshot as a planning problem."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import (
    CHAT,
    CODE,
    LIFELIKE,
    STEADY,
    busy_problem,
    problem,
    read,
    request,
    snapshot,
    terms_of,
)

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.slots.problem import Fact
from scheduler.snapshot import ATOMS

# A millisecond a prompt token and nothing else.
MARGIN = SlotConfig().chunk_margin
PREFILLING = StepLatency.linear(step_s=0.05, prompt_token_s=1e-3)


def fact(which, *requests, **engine):
    return problem(*requests, **engine).facts[:, which].tolist()


def test_atoms_follow_the_tokens_out():
    lengths = LengthDistribution(edges=[0, 100], probabilities=[1.0])
    half = problem(request(lengths=lengths, running=True, generated=50))
    assert half.atoms.shape == (1, ATOMS)
    assert half.atoms.mean() == pytest.approx(25, abs=1)


def test_atoms_ascend_and_are_at_least_one():
    atoms = busy_problem(1).atoms
    assert (np.diff(atoms, axis=1) >= 0.0).all()
    assert atoms.min() >= 1.0


def test_the_running_come_first_and_the_waiting_by_arrival():
    built = problem(
        request(arrival_s=3.0),
        request(arrival_s=2.0, running=True),
        request(arrival_s=1.0),
        now_s=4.0,
    )
    assert built.handle.tolist() == [1, 2, 0]
    assert built.running == 1
    assert built.waited_s.tolist() == [2.0, 3.0, 1.0]


def test_deadlines_count_from_arrival():
    both = request(Slo(ttft_s=5.0, tpot_s=0.1, e2e_s=30.0), arrival_s=2.0)
    assert fact(Fact.TTFT_DUE_S, both, now_s=3.0) == [4.0]
    assert fact(Fact.E2E_DUE_S, both, now_s=3.0) == [29.0]
    assert fact(Fact.TPOT_S, both, now_s=3.0) == [0.1]
    assert fact(Fact.TTFT_DUE_S, request(CODE)) == [np.inf]
    assert fact(Fact.E2E_DUE_S, request(CHAT)) == [np.inf]


def test_a_first_token_in_time_keeps_its_promise_and_a_late_one_breaks_it():
    runs = {"running": True, "generated": 3}
    early, late = request(CHAT, first_s=4.0, **runs), request(CHAT, first_s=6.0, **runs)
    assert fact(Fact.TTFT_DUE_S, early, late, now_s=7.0) == [np.inf, -np.inf]
    assert fact(Fact.FIRST_TOKEN_S, early, late, now_s=7.0) == [-3.0, -1.0]
    assert fact(Fact.GENERATED, early, late, now_s=7.0) == [3.0, 3.0]


def test_only_who_has_a_target_was_promised_something():
    targets = [Slo(), CODE, CHAT, Slo(tpot_s=0.1)]
    assert fact(Fact.PROMISED, *map(request, targets)) == [0.0, 1.0, 1.0, 1.0]


def test_who_runs_prefills_again_only_after_it_lost_its_slot():
    requests = (
        request(prompt=100, running=True, generated=20),
        request(prompt=100),
        request(prompt=100, preempted=True, generated=20),
    )
    built = problem(*requests, latency=PREFILLING)
    assert built.facts[:, Fact.START_S] == pytest.approx([0.0, 0.1, 0.12])
    assert built.facts[:, Fact.RESTART_S] == pytest.approx([0.12, 0.1, 0.12])
    assert built.context.tolist() == [120.0, 100.0, 120.0]


def test_a_prefill_pays_for_the_step_only_what_decoding_does_not():
    dear = StepLatency.linear(step_s=0.05, prefill_step_s=0.1)
    assert fact(Fact.START_S, request(), latency=dear) == pytest.approx([0.05])


def test_prefills_of_others_slow_the_tokens_down():
    requests = [request(tokens=100, prompt=200) for _ in range(8)]
    built = problem(*requests, slots=4, latency=PREFILLING)
    # In 100 tokens each of four slots prefills once, 0.2 s.
    assert built.token_s == pytest.approx(0.05 + 4 * 0.2 / 100, rel=0.01)


def test_tokens_take_as_long_as_so_many_at_once_make_them():
    decoding = replace(LIFELIKE, prefill=STEADY.prefill)
    alone, crowd = (
        problem(*[request(prompt=1)] * count, slots=8, latency=decoding) for count in (1, 20)
    )
    assert crowd.token_s - alone.token_s == pytest.approx(7e-3, rel=0.02)


def test_who_runs_says_what_a_token_takes():
    long = {"latency": StepLatency.linear(step_s=0.05, context_token_s=1e-4), "slots": 2}
    running, waiting = request(prompt=100, running=True), request(prompt=2000)
    alone = problem(running, latency=long["latency"]).token_s
    assert alone == pytest.approx(0.05 + 1e-4 * (100 + 50), rel=1e-3)
    assert problem(running, waiting, waiting, **long).token_s == pytest.approx(
        alone + 1e-4 * (100 + 50), rel=1e-3
    )  # two at once, as long as it
    # With nobody running it is those who wait.
    assert problem(waiting, **long).token_s == pytest.approx(0.05 + 1e-4 * 2050, rel=1e-3)


def stretch_of(*tpot_s, config=None, **engine):
    seen = snapshot(*[request(Slo(tpot_s=each)) for each in tpot_s], **engine)
    return read(seen, config).stretch


def test_without_a_pace_to_keep_prefills_take_as_long_as_alone():
    for slo in (Slo(), CODE, Slo(ttft_s=1.0)):
        assert problem(request(slo, prompt=900), latency=PREFILLING).stretch == 1.0


def test_a_pace_to_keep_leaves_prefills_what_the_decodes_leave():
    # 50 ms of each step for the decodes; step times count with their margin.
    step_s = 0.1 / MARGIN
    assert stretch_of(0.1) == pytest.approx(step_s / (step_s - 0.05))
    assert stretch_of(0.1, config=SlotConfig(chunk_margin=1.0)) == pytest.approx(2.0)
    # The strictest of all, whoever that is.
    assert stretch_of(0.1, None, 0.3) == stretch_of(0.1)
    assert stretch_of(0.3) < stretch_of(0.1)


def test_however_tight_the_pace_a_tenth_of_each_step_is_for_prefills():
    assert stretch_of(0.056 * MARGIN) == pytest.approx(0.056 / 0.006)
    assert stretch_of(0.0555 * MARGIN) == 10.0
    assert stretch_of(0.05 * MARGIN * 1.000001) == 10.0


def test_a_pace_that_cannot_be_kept_stretches_nothing():
    assert stretch_of(0.05 * MARGIN * 0.999) == stretch_of(0.02) == 1.0


def test_a_stretched_prefill_takes_longer_and_costs_the_others_no_more():
    plain, paced = (
        problem(
            request(slo, prompt=100),
            request(slo, prompt=100, running=True, generated=20),
            latency=PREFILLING,
        )
        for slo in (Slo(ttft_s=9.0), Slo(ttft_s=9.0, tpot_s=0.1))
    )
    assert paced.stretch > 2.0
    for which in (Fact.START_S, Fact.RESTART_S):
        assert plain.facts[:, which].any()
        longer = paced.stretch * plain.facts[:, which]
        assert paced.facts[:, which] == pytest.approx(longer)
        cost_s = terms_of(paced).prefill_slots * paced.facts[:, which]
        assert cost_s == pytest.approx(terms_of(plain).prefill_slots * plain.facts[:, which])
    np.testing.assert_array_equal(paced.facts[:, Fact.TTFT_DUE_S], plain.facts[:, Fact.TTFT_DUE_S])
    assert terms_of(plain).prefill_slots == plain.slots


def test_prefills_slow_tokens_down_to_the_pace_and_no_further():
    engine = {"slots": 4, "latency": PREFILLING}

    def token_s(tpot_s):
        slo = Slo(tpot_s=tpot_s)
        return problem(*[request(slo, tokens=100, prompt=200) for _ in range(8)], **engine).token_s

    assert token_s(1.0) == token_s(None) == pytest.approx(0.058, rel=0.01)
    assert token_s(MARGIN * 0.055) == pytest.approx(0.055)
    # What not even the decodes keep is not kept by cutting prefills short.
    assert token_s(MARGIN * 0.049) == token_s(None)


DECODING = StepLatency.linear(step_s=0.03, decode_s=2e-3, context_token_s=1e-6)


def token_slot_s(*requests, **engine):
    return fact(Fact.TOKEN_SLOT_S, *requests, latency=DECODING, **engine)


def test_a_token_costs_its_own_time_of_every_slot_and_its_slots_share_of_the_rest():
    alone = token_slot_s(request(tokens=101, prompt=250), slots=5)
    context = 250 + 100.5 / 2
    assert alone == pytest.approx([5 * (1e-6 * context + 2e-3) + 0.03], rel=1e-6)


def test_tokens_over_a_longer_context_cost_more():
    # Halfway through what is to come they stand over 60, 460, 960 and 1,060 tokens.
    each = (
        request(tokens=100),
        request(tokens=900),
        request(tokens=1000, running=True, generated=900),
        request(tokens=100, prompt=1010),
    )
    costs = [token_slot_s(one, slots=8)[0] for one in each]
    per_token_s = 8 * 1e-6
    assert np.diff(costs) == pytest.approx(np.array([400, 500, 100]) * per_token_s, rel=0.01)


@given(st.lists(st.tuples(st.integers(1, 2000), st.integers(2, 900)), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
def test_the_tokens_of_a_full_batch_cost_its_slots_for_the_step(described):
    requests = [request(prompt=prompt, tokens=tokens) for prompt, tokens in described]
    built = problem(*requests, slots=len(requests), latency=DECODING)
    context = built.context + built.atoms.mean(axis=1) / 2.0
    step_s = DECODING.decode_s(len(requests), context.mean())
    assert built.facts[:, Fact.TOKEN_SLOT_S].sum() == pytest.approx(len(requests) * step_s)
    # There is no prefill here: that step is the time between two tokens.
    assert built.token_s == pytest.approx(step_s)


def test_a_stretch_does_not_touch_what_tokens_cost():
    plain, paced = (token_slot_s(request(slo)) for slo in (Slo(), Slo(tpot_s=0.1)))
    assert plain == paced


def test_the_service_time_is_the_mean_time_of_a_slot():
    built = problem(request(tokens=100), request(tokens=300))
    assert built.service_s == pytest.approx(200 * 0.05, rel=0.01)


def test_nobody_is_a_problem_too():
    built = problem()
    assert len(built) == built.running == 0
    assert built.facts.shape == (0, len(Fact))
    assert built.service_s > 0.0
    assert built.stretch == 1.0
