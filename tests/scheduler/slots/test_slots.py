"""Chance, walk, price and search of the flagship's plans."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.distribution import LengthDistribution, log_edges
from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.slots.chance import Terms, outlook, worth
from scheduler.slots.config import SlotConfig
from scheduler.slots.price import SlotPrice
from scheduler.slots.problem import ATOMS, Fact, SlotProblem
from scheduler.slots.search import SlotSearch
from scheduler.slots.walk import walk
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker

LATENCY = StepLatency(prefill=(0.0, 0.0, 0.0, 0.0), decode=(0.0, 0.0, 0.0, 0.05))
CODE, CHAT = Slo(e2e_s=30.0), Slo(ttft_s=5.0, tpot_s=0.1)


def problem(*requests, now_s=0.0, slots=2, latency=LATENCY):
    """Build a problem from (slo, tokens, generated, arrival, first token) namespaces."""
    tracker = Tracker(limits=Limits(slots, 2048, 10**6))
    for number, r in enumerate(requests):
        lengths = r.lengths if hasattr(r, "lengths") else LengthDistribution.point(r.tokens)
        name = str(number)
        tracker.arrived(Arrival(name, r.arrival_s, 10, 2048, r.slo, lengths))
        if r.running:
            tracker.scheduled(name, 10)
            if r.generated:
                tracker.tokens(name, r.generated, r.first_s)
    return SlotProblem.of(tracker.snapshot(now_s=now_s, latency=latency))


def request(slo=CODE, tokens=100, **changes):
    fields = {"arrival_s": 0.0, "running": False, "generated": 0, "first_s": 0.0}
    return SimpleNamespace(slo=slo, tokens=tokens, **{**fields, **changes})


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


def test_a_late_first_token_breaks_a_chat_promise():
    assert chance_of(problem(request(CHAT)), begin_s=4.9)[0] == 1.0
    assert chance_of(problem(request(CHAT)), begin_s=5.0)[0] == 0.0


def test_a_stream_that_paused_needs_enough_tokens_to_catch_up():
    # One token out 10 s ago: at 50 ms a token and 100 ms allowed it catches up after 200.
    paused = {"running": True, "generated": 1, "first_s": 1.0}
    assert chance_of(problem(request(CHAT, tokens=150, **paused), now_s=11.0))[0] == 0.0
    assert chance_of(problem(request(CHAT, tokens=250, **paused), now_s=11.0))[0] == 1.0


def test_a_request_without_a_promise_is_never_counted_as_kept():
    assert chance_of(problem(request(Slo())))[0] == 0.0


def test_the_index_prefers_short_and_promising():
    built = problem(request(tokens=50), request(tokens=500), request(tokens=700))
    terms = Terms.of(built, SlotConfig(), 0.0)
    _, _, index = worth(built, terms)
    assert index[0] > index[1] > index[2]


def test_walking_serves_in_order_through_the_slots():
    built = problem(*[request(tokens=400) for _ in range(4)], slots=2)
    config = SlotConfig(done_worth=0.0, patience=1e9)
    terms = Terms.of(built, config, 0.0)
    # Two at once take 20 s; the other two would end at 40 s, too late for 30 s.
    value = walk(np.arange(4), built.facts, built.atoms, terms, np.empty(2))
    assert value == pytest.approx(2.0)


def test_losing_a_slot_costs():
    running = {"running": True, "generated": 5}
    built = problem(request(**running), request(**running), request(), slots=2)
    terms = Terms.of(built, SlotConfig(preempt_cost=3.0), 0.0)
    free_s = np.empty(2)
    keep = walk(np.array([0, 1, 2]), built.facts, built.atoms, terms, free_s)
    swap = walk(np.array([2, 1, 0]), built.facts, built.atoms, terms, free_s)
    assert keep - swap > 2.9


def plain_walk(order, built, terms):
    """The walk in plain Python, slots as a sorted list."""
    free, prefilled, value = [0.0] * built.slots, 0.0, 0.0
    for position, i in enumerate(order):
        if position >= built.slots and max(min(free), prefilled) > 9.0 * terms.horizon_s:
            return value - len(set(range(built.running)) - set(order[:position]))
        lost = i < built.running and position >= built.slots
        prefill = built.facts[i, Fact.RESTART_S if lost else Fact.START_S]
        if lost:
            value -= terms.preempt_cost
        start = begin = min(free)
        if prefill > 0.0:
            begin = prefilled = max(start, prefilled) + prefill
        chance, tokens = outlook(i, begin, built.facts, built.atoms, built.token_s)
        gain = chance + terms.done_worth
        gain -= terms.price * (built.slots * prefill + tokens * built.decode_s)
        value += gain * np.exp(-begin / terms.horizon_s)
        free[free.index(start)] = begin + tokens * built.token_s
    return value


requests = st.builds(
    request,
    slo=st.sampled_from([CODE, CHAT, Slo()]),
    lengths=st.integers(2, 800).map(
        lambda n: LengthDistribution.from_samples([n, n + 1, 2 * n], edges=log_edges(2048, 32))
    ),
    arrival_s=st.floats(0, 20),
    running=st.booleans(),
    generated=st.integers(0, 50),
)
real_latency = StepLatency(prefill=(1e-3, 0.0, 0.0, 8e-3), decode=(1e-7, 1e-3, 0.0, 0.03))


def some_problem(some):
    some = sorted(some, key=lambda r: not r.running)
    for r in some[3:]:
        r.running = False
    return problem(*some, now_s=21.0, slots=3, latency=real_latency)


@given(st.lists(requests, min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_compiled_walk_is_the_plain_walk(some, rng):
    built = some_problem(some)
    terms = Terms.of(built, SlotConfig(), 0.01)
    order = list(range(len(built)))
    rng.shuffle(order)
    terms = terms._replace(horizon_s=terms.horizon_s * rng.choice([0.01, 0.1, 1.0, 10.0]))
    compiled = walk(np.array(order), built.facts, built.atoms, terms, np.empty(3))
    assert compiled == pytest.approx(plain_walk(order, built, terms))


@given(st.lists(requests, min_size=1, max_size=12), st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_search_is_repeatable_and_never_worse_than_its_seeds(some, seed):
    built = some_problem(some)
    config = SlotConfig(time_box_s=60.0, max_moves=400, seed=seed)
    terms = Terms.of(built, config, 0.0)
    seeds = np.stack([np.arange(len(built)), np.arange(len(built))[::-1]])
    found = SlotSearch(config).best(built, terms, seeds)
    again = SlotSearch(config).best(built, terms, seeds)
    values = [walk(s, built.facts, built.atoms, terms, np.empty(3)) for s in seeds]
    assert sorted(found.order.tolist()) == list(range(len(built)))
    assert found.value >= max(values) - 1e-12
    assert found.value == pytest.approx(
        walk(found.order, built.facts, built.atoms, terms, np.empty(3))
    )
    assert found.order.tolist() == again.order.tolist()


def test_search_improves_on_a_bad_seed():
    built = problem(*[request(tokens=n) for n in (590, 580, 100, 90, 80, 70)], slots=2)
    config = SlotConfig(time_box_s=60.0, max_moves=3000)
    terms = Terms.of(built, config, 0.0)
    found = SlotSearch(config).best(built, terms, np.arange(6)[None, :])
    assert found.value > found.seed_value


def test_the_price_is_zero_below_capacity_and_positive_above():
    price = SlotPrice()
    arrivals = np.arange(20.0)
    price.observe(arrivals, np.ones(20), np.full(20, 1.0))  # one slot-second a second, two slots
    assert price.now(now_s=20.0, slots=2) == 0.0
    price = SlotPrice()
    price.observe(arrivals, np.ones(20), np.linspace(1.0, 20.0, 20))  # ten a second
    assert price.now(now_s=20.0, slots=2) == pytest.approx(1 / 8, rel=0.2)


def test_the_price_is_zero_before_enough_arrivals():
    price = SlotPrice()
    price.observe(np.zeros(3), np.ones(3), np.full(3, 100.0))
    assert price.now(now_s=1.0, slots=1) == 0.0


def test_atoms_follow_the_tokens_out():
    lengths = LengthDistribution(edges=[0, 100], probabilities=[1.0])
    half = problem(request(lengths=lengths, running=True, generated=50))
    assert half.atoms.shape == (1, ATOMS)
    assert half.atoms.mean() == pytest.approx(25, abs=1)
