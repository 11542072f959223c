"""KV memory, slots and tokens of the simulated engine: nothing lost, nothing overdrawn."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.distribution import LengthDistribution
from predictor.errors import SimulationError
from scheduler.decision import Plan, StepDecision
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.policies.qoserve import QoServeConfig, QoServePolicy
from scheduler.policies.sarathi_edf import SarathiEdfPolicy
from scheduler.registry import create_policy, policy_names
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import EngineRules, SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.state import Count, Log
from scheduler.simulator.step_time import StepTime
from scheduler.slo import Slo
from scheduler.snapshot import Limits

LATENCY = StepLatency.linear(
    step_s=5e-3, decode_s=1e-4, context_token_s=1e-7, prefill_step_s=1e-3, prompt_token_s=1e-4
)
SLOTS, BUDGET = 3, 24
SEARCHES = ("anneal-paper", "slotwise")
CODE, CHAT = Slo(e2e_s=2.0), Slo(ttft_s=0.2, tpot_s=0.02)

rules = st.builds(
    EngineRules,
    block_size=st.sampled_from([1, 4, 16]),
    asynchronous=st.booleans(),
    by_priority=st.booleans(),
    prefix_caching=st.booleans(),
)


class Chaos:
    """Orders at random, preempts, holds back and squeezes the budget at random."""

    name = "chaos"

    def __init__(self, seed, *, stands=False):
        self.rng = random.Random(seed)
        self.stands = stands

    def plan(self, snapshot, previous):
        return Plan(snapshot.version, snapshot.now_s, snapshot.waiting.handle)

    def step(self, snapshot, plan):
        waiting = snapshot.waiting.handle.tolist()
        self.rng.shuffle(waiting)
        preempt = [h for h in snapshot.running.handle.tolist() if self.rng.random() < 0.05]
        held = [h for h in waiting if self.rng.random() < 0.3]
        return StepDecision(
            order=np.array(waiting + preempt, dtype=np.int64),
            preempt=np.array(preempt, dtype=np.int64),
            held=np.array(held, dtype=np.int64),
            token_budget=self.rng.choice([None, None, 1, 7]),
            stands=self.stands,
        )


class HoldsUntil(Chaos):
    """Holds everybody back until a time, then lets them in by arrival."""

    def __init__(self, until_s):
        super().__init__(0)
        self.until_s = until_s

    def step(self, snapshot, plan):
        waiting = snapshot.waiting.handle
        held = waiting if snapshot.now_s < self.until_s else waiting[:0]
        return StepDecision(order=waiting, held=held, stands=False)


def make_request(number, arrival_s, prompt, output, **changes):
    urgent = number % 2 == 0
    return SimRequest(
        request_id=f"r{number}",
        arrival_s=arrival_s,
        prompt_tokens=prompt,
        output_tokens=output,
        slo=CHAT if urgent else CODE,
        lengths=LengthDistribution.point(output),
        priority=int(urgent),
        **changes,
    )


@st.composite
def workloads(draw):
    count = draw(st.integers(1, 8))
    return [
        make_request(
            number,
            draw(st.floats(0.0, 0.3)),
            prompt := draw(st.integers(1, 60)),
            draw(st.integers(1, 40)),
            prefix_tokens=draw(st.integers(0, prompt)),
        )
        for number in range(count)
    ]


def blocks_of_largest(requests, block_size):
    return max(-(-(r.prompt_tokens + r.output_tokens) // block_size) for r in requests)


def make_engine(policy, *, blocks, rules, memory_bound=True):
    limits = Limits(SLOTS, BUDGET, blocks * rules.block_size)
    driver = Driver(policy=policy, limits=limits, latency=LATENCY, time_box_s=np.inf)
    return SimulatedEngine(
        driver=driver,
        limits=limits,
        step_time=StepTime.of_latency(LATENCY),
        rules=rules,
        memory_bound=memory_bound,
    )


def step_tokens(engine):
    steps = engine.steps()
    return steps[:, Log.PREFILL_TOKENS] + steps[:, Log.DECODES]


def check(engine, outcomes, requests, blocks):
    assert engine.driver.fallbacks == 0
    served = sorted(o.request.request_id for o in outcomes)
    assert served == sorted(request.request_id for request in requests)
    assert engine.live == 0
    for outcome in outcomes:
        assert 0 < outcome.ttft_s <= outcome.e2e_s
    steps = engine.steps()
    assert steps[:, Log.FREE_BLOCKS].min() >= 0
    assert steps[:, Log.FREE_BLOCKS].max() <= blocks
    assert steps[:, Log.RUNNING].max() <= SLOTS
    assert step_tokens(engine).max() <= BUDGET
    state = engine._state
    assert state.counts[Count.RUNNING] == state.counts[Count.WAITING] == 0
    assert state.counts[Count.FREE_BLOCKS] == blocks
    assert state.counts[Count.FRESH_BLOCKS] + state.ghost_blocks.sum() == blocks
    assert not state.held_blocks.any()


@pytest.mark.parametrize("policy", [name for name in policy_names() if name not in SEARCHES])
@settings(deadline=None, max_examples=30)
@given(requests=workloads(), rules=rules, spare=st.integers(0, 4))
def test_memory_is_never_overdrawn_and_all_given_back(requests, rules, spare, policy):
    blocks = blocks_of_largest(requests, rules.block_size) + spare
    engine = make_engine(create_policy(policy), blocks=blocks, rules=rules)
    check(engine, serve([engine], requests), requests, blocks)


class Noted:
    """Another policy, with a note of every token budget it named, and whether it stands."""

    def __init__(self, policy):
        self.policy = policy
        self.name = policy.name
        self.budgets = []

    def plan(self, snapshot, previous):
        return self.policy.plan(snapshot, previous)

    def step(self, snapshot, plan):
        decision = self.policy.step(snapshot, plan)
        self.budgets.append((decision.token_budget, decision.stands))
        return decision


@settings(deadline=None, max_examples=30)
@given(workloads(), rules, st.integers(0, 4), st.integers(SLOTS, BUDGET))
def test_a_fixed_token_budget_is_kept(requests, rules, spare, budget):
    blocks = blocks_of_largest(requests, rules.block_size) + spare
    engine = make_engine(SarathiEdfPolicy(token_budget=budget), blocks=blocks, rules=rules)
    check(engine, serve([engine], requests), requests, blocks)
    assert step_tokens(engine).max() <= budget


@pytest.mark.parametrize("predicted", [False, True])
@settings(deadline=None, max_examples=30)
@given(requests=workloads(), rules=rules, spare=st.integers(0, 4))
def test_a_budget_of_each_step_is_kept_in_that_step(predicted, requests, rules, spare):
    policy = Noted(QoServePolicy(QoServeConfig(least_tokens=0), predicted=predicted))
    blocks = blocks_of_largest(requests, rules.block_size) + spare
    engine = make_engine(policy, blocks=blocks, rules=rules)
    check(engine, serve([engine], requests), requests, blocks)
    # Asked before each step, unless a decision stands; some decisions find nothing to schedule.
    left = iter(policy.budgets)
    budget, stands = 0, False
    for tokens in step_tokens(engine):
        while not stands or tokens > budget:
            budget, stands = next(left)
            if tokens <= budget:
                break


def test_a_budget_by_slack_has_every_token_of_a_stream_in_time():
    """Two prompts of 400 tokens take 86 ms at once; the stream is due every 20 ms."""

    def worst_lateness_s(policy):
        stream, *prompts = (
            make_request(2 * n, 0.004 * (n > 0), prompt, output)
            for n, (prompt, output) in enumerate([(5, 60), (400, 1), (400, 1)])
        )
        limits = Limits(SLOTS, 2048, 10_000)
        driver = Driver(policy=policy, limits=limits, latency=LATENCY, time_box_s=np.inf)
        engine = SimulatedEngine(
            driver=driver, limits=limits, step_time=StepTime.of_latency(LATENCY)
        )
        assert len(serve([engine], [stream, *prompts])) == 3
        # The stream gets a token in each step.
        steps = engine.steps()[: stream.output_tokens]
        token_s = steps[:, Log.START_S] + steps[:, Log.STEP_S]
        return (token_s - token_s[0] - CHAT.tpot_s * np.arange(len(token_s))).max()

    assert worst_lateness_s(create_policy("edf")) > 0.04
    assert worst_lateness_s(QoServePolicy(QoServeConfig(least_tokens=0))) <= 0.0


@settings(deadline=None, max_examples=60)
@given(workloads(), rules, st.integers(0, 4), st.integers(0, 1000), st.booleans())
def test_a_policy_that_preempts_and_holds_back_loses_nobody(requests, rules, spare, seed, stands):
    blocks = blocks_of_largest(requests, rules.block_size) + spare
    engine = make_engine(Chaos(seed, stands=stands), blocks=blocks, rules=rules)
    check(engine, serve([engine], requests), requests, blocks)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("caching", [False, True])
def test_the_last_admitted_loses_its_memory_first(asynchronous, caching):
    rules = EngineRules(asynchronous=asynchronous, prefix_caching=caching)
    requests = [make_request(number, 0.0, 20, 60) for number in range(3)]
    engine = make_engine(create_policy("fcfs"), blocks=8, rules=rules)
    outcomes = serve([engine], requests)
    check(engine, outcomes, requests, 8)
    preemptions = {o.request.request_id: o.preemptions for o in outcomes}
    assert preemptions["r0"] == 0
    assert preemptions["r2"] > 0
    assert engine.steps()[:, Log.PREEMPTED].sum() == sum(preemptions.values())


@pytest.mark.parametrize(("by_priority", "victim"), [(False, "r1"), (True, "r0")])
def test_with_priorities_the_least_urgent_loses_its_memory(by_priority, victim):
    requests = [make_request(0, 0.0, 20, 60), make_request(1, 0.001, 20, 60)]
    engine = make_engine(
        create_policy("fcfs"), blocks=6, rules=EngineRules(by_priority=by_priority)
    )
    outcomes = serve([engine], requests)
    check(engine, outcomes, requests, 6)
    assert [o.request.request_id for o in outcomes if o.preemptions] == [victim]


def test_a_preempted_request_finds_its_own_blocks_again():
    def prefill_tokens(caching):
        rules = EngineRules(prefix_caching=caching)
        requests = [make_request(0, 0.0, 16, 40), make_request(1, 0.0, 50, 20)]
        engine = make_engine(create_policy("fcfs"), blocks=5, rules=rules)
        outcomes = serve([engine], requests)
        check(engine, outcomes, requests, 5)
        assert sum(o.preemptions for o in outcomes) > 0
        return engine.steps()[:, Log.PREFILL_TOKENS].sum()

    assert prefill_tokens(caching=True) < prefill_tokens(caching=False)


@pytest.mark.parametrize(("caching", "tokens"), [(True, 100 - 48), (False, 100)])
def test_a_cached_prefix_shortens_the_prefill_by_its_full_blocks(caching, tokens):
    rules = EngineRules(prefix_caching=caching)
    engine = make_engine(create_policy("fcfs"), blocks=20, rules=rules)
    (outcome,) = serve([engine], [make_request(0, 0.0, 100, 2, prefix_tokens=60)])
    assert engine.steps()[:, Log.PREFILL_TOKENS].sum() == tokens
    steps = -(-tokens // BUDGET)
    assert outcome.ttft_s == pytest.approx(engine.steps()[:steps, Log.STEP_S].sum())


def test_of_a_wholly_cached_prompt_at_least_a_token_is_computed():
    rules = EngineRules(prefix_caching=True)
    engine = make_engine(create_policy("fcfs"), blocks=20, rules=rules)
    serve([engine], [make_request(0, 0.0, 32, 2, prefix_tokens=32)])
    assert engine.steps()[0, Log.PREFILL_TOKENS] == 16


@pytest.mark.parametrize(("prompt", "output"), [(200, 5), (20, 200)])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("caching", [False, True])
def test_a_request_larger_than_memory_is_named(prompt, output, asynchronous, caching):
    rules = EngineRules(asynchronous=asynchronous, prefix_caching=caching)
    engine = make_engine(create_policy("fcfs"), blocks=8, rules=rules)
    requests = [make_request(0, 0.0, 20, 10), make_request(7, 0.0, prompt, output)]
    with pytest.raises(SimulationError, match=r"'r7' can never be scheduled.*engine has 128"):
        serve([engine], [*requests, make_request(2, 5.0, 20, 10)])


def test_where_memory_is_no_limit_everybody_gets_what_they_want():
    requests = [make_request(number, 0.0, 50, 60) for number in range(6)]
    engine = make_engine(create_policy("fcfs"), blocks=1, rules=EngineRules(), memory_bound=False)
    outcomes = serve([engine], requests)
    assert len(outcomes) == 6
    assert not any(o.preemptions for o in outcomes)
    assert engine.kv_tokens_free == 16


@pytest.mark.parametrize("asynchronous", [False, True])
def test_who_is_held_back_waits_until_the_policy_lets_go(asynchronous):
    rules = EngineRules(asynchronous=asynchronous)
    requests = [make_request(number, 0.1 * number, 10, 5) for number in range(4)]
    engine = make_engine(HoldsUntil(1.0), blocks=20, rules=rules)
    outcomes = serve([engine], requests)
    check(engine, outcomes, requests, 20)
    assert 1.0 <= engine.steps()[0, Log.START_S] < 1.02


@pytest.mark.parametrize("name", policy_names())
def test_two_equal_runs_are_identical(name):
    def run():
        rng = np.random.default_rng(1)
        requests = [
            make_request(
                number,
                0.02 * number,
                int(rng.integers(1, 60)),
                int(rng.integers(1, 60)),
            )
            for number in range(40)
        ]
        rules = EngineRules(asynchronous=True, prefix_caching=True)
        engine = make_engine(create_policy(name, repeatable=True), blocks=12, rules=rules)
        outcomes = serve([engine], requests)
        check(engine, outcomes, requests, 12)
        facts = [(o.request.request_id, o.ttft_s, o.e2e_s, o.preemptions) for o in outcomes]
        return facts, engine.steps()

    (first, first_steps), (second, second_steps) = run(), run()
    assert first == second
    np.testing.assert_array_equal(first_steps, second_steps)


@settings(deadline=None, max_examples=30)
@given(workloads(), st.booleans(), st.integers(0, 1000))
def test_steps_follow_one_another(requests, asynchronous, seed):
    rules = EngineRules(asynchronous=asynchronous)
    engine = make_engine(Chaos(seed), blocks=20, rules=rules)
    serve([engine], requests)
    start_s, step_s = engine.steps()[:, Log.START_S], engine.steps()[:, Log.STEP_S]
    assert (start_s[1:] >= start_s[:-1] + step_s[:-1] - 1e-12).all()
