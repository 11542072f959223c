"""Planning problems for the tests of the planner: made by hand, at random, and by hypothesis."""

from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st

from predictor.distribution import LengthDistribution, log_edges
from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.slots.chance import Terms, worth
from scheduler.slots.config import SlotConfig
from scheduler.slots.price import Demand, no_demand
from scheduler.slots.problem import SlotProblem
from scheduler.slots.search import SlotSearch
from scheduler.slots.seeds import seed_orders
from scheduler.slots.walk import walk
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker

CODE, CHAT = Slo(e2e_s=30.0), Slo(ttft_s=5.0, tpot_s=0.1)
# Every token takes 50 ms and prefills nothing, whoever runs.
STEADY = StepLatency.linear(step_s=0.05)
LIFELIKE = StepLatency.linear(step_s=0.03, decode_s=1e-3, context_token_s=1e-7, prompt_token_s=1e-3)
NOW_S = 21.0


def request(slo=CODE, tokens=100, *, lengths=None, **changes):
    """Describe a request; a ``preempted`` one waits with ``generated`` tokens out already.

    Of a running one so many tokens were ``computed``, all of its prompt unless said otherwise;
    one that is preempted runs again if so many were ``recomputed`` since.
    """
    fields = {
        "arrival_s": 0.0,
        "prompt": 10,
        "running": False,
        "preempted": False,
        "computed": None,
        "recomputed": 0,
        "generated": 0,
        "first_s": 0.0,
    }
    lengths = LengthDistribution.point(tokens) if lengths is None else lengths
    return SimpleNamespace(slo=slo, lengths=lengths, **{**fields, **changes})


def snapshot(*requests, now_s=0.0, slots=2, latency=STEADY, batch=2048, kv_tokens=10**7):
    tracker = Tracker(limits=Limits(slots, batch, kv_tokens), capacity=1024)
    for number, r in enumerate(requests):
        name = str(number)
        tracker.arrived(Arrival(name, r.arrival_s, r.prompt, 2048, r.slo, r.lengths))
        if r.running or r.preempted:
            tracker.scheduled({name: r.prompt if r.computed is None else r.computed})
            if r.generated:
                tracker.tokens({name: r.generated}, r.first_s)
        if r.preempted:
            tracker.preempted(name)
            if r.recomputed:
                tracker.scheduled({name: r.recomputed})
    return tracker.snapshot(now_s=now_s, latency=latency)


def read(seen, config=None):
    return SlotProblem.of(seen, config or SlotConfig())


def problem(*requests, **engine):
    return read(snapshot(*requests, **engine))


def terms_of(built, *, price=0.0, demand=None, **config):
    return Terms.of(built, SlotConfig(**config), no_demand(price) if demand is None else demand)


def demand_of(*wants, price=0.0):
    """Requests to come: kept promises per slot-second of each, and the share of slots it wants."""
    ratio, share = np.array(sorted(wants), dtype=float).reshape(-1, 2).T
    above = [share[k:].sum() for k in range(len(share) + 1)]
    return Demand(price, np.ascontiguousarray(ratio), np.array(above))


def plain_push(ratio, demand):
    """How many times as late somebody worth ``ratio`` a slot-second has its turn."""
    others = demand.above[sum(other <= ratio for other in demand.ratio)]
    return 20.0 if others >= 0.95 else 1.0 / (1.0 - others)


def seeds_of(built, terms, previous=()):
    chance, cost_s, index = worth(built, terms)
    return seed_orders(
        built,
        chance=chance,
        cost_s=cost_s,
        index=index,
        price=terms.price,
        previous=np.array(previous, dtype=np.int64),
    )


def walked(order, table, terms):
    """Value, how many were looked at, and their turns."""
    turns = np.empty(len(order), dtype=np.int64)
    free = np.empty((2, len(table.cell_of)))
    value, seen = walk(np.asarray(order, dtype=np.int64), table, terms, free, turns)
    return value, seen, turns[:seen]


def search(built, terms, seeds, *, deadline_ns=None, **config):
    searcher = SlotSearch(SlotConfig(time_box_s=60.0, **config))
    if deadline_ns is None:
        deadline_ns = searcher.deadline_ns(len(built))
    return searcher.best(built, terms, seeds, deadline_ns=deadline_ns)


def busy_snapshot(seed, *, waiting=40, slots=8):
    """An engine with all slots taken; deadlines from hopeless to easy."""
    rng = np.random.default_rng(seed)
    described = []
    for number in range(slots + waiting):
        arrival_s = NOW_S - 15.0 * rng.random()
        slo = CODE if rng.random() < 0.5 else Slo(ttft_s=rng.uniform(2.0, 25.0), tpot_s=0.1)
        samples = rng.lognormal(rng.normal(5.0, 0.8), 0.7, 40).clip(1, 2000)
        runs = number < slots
        described.append(
            request(
                slo,
                lengths=LengthDistribution.from_samples(samples, edges=log_edges(2048, 32)),
                arrival_s=arrival_s,
                prompt=int(rng.integers(5, 300)),
                running=runs,
                generated=int(rng.integers(1, 100)) if runs else 0,
                first_s=arrival_s + 0.1,
            )
        )
    return snapshot(*described, now_s=NOW_S, slots=slots, latency=LIFELIKE)


def busy_problem(seed, **size):
    return read(busy_snapshot(seed, **size))


@st.composite
def requests(draw, *, running=False):
    """Before ``NOW_S``; streams may have paused for long, and promises be broken already."""
    arrival_s = draw(st.floats(0.0, 20.0))
    shortest, prompt = draw(st.integers(2, 800)), draw(st.integers(1, 400))
    generated, computed = draw(st.integers(0, 50)), None
    if running and draw(st.booleans()):
        generated, computed = 0, draw(st.integers(0, prompt))
    return request(
        draw(st.sampled_from([CODE, CHAT, Slo(), Slo(tpot_s=0.02), Slo(5.0, 0.05, 25.0)])),
        lengths=LengthDistribution.from_samples(
            [shortest, shortest + 1, 2 * shortest], edges=log_edges(2048, 32)
        ),
        arrival_s=arrival_s,
        prompt=prompt,
        running=running,
        computed=computed,
        preempted=not running and draw(st.booleans()),
        generated=generated,
        first_s=arrival_s + draw(st.floats(0.0, 1.0)) * (NOW_S - arrival_s),
    )


@st.composite
def snapshots(draw, *, slots=3, most_waiting=10, kv_tokens=10**7):
    running = draw(st.lists(requests(running=True), max_size=slots))
    waiting = draw(st.lists(requests(), min_size=0 if running else 1, max_size=most_waiting))
    return snapshot(
        *running, *waiting, now_s=NOW_S, slots=slots, latency=LIFELIKE, kv_tokens=kv_tokens
    )


def problems(**size):
    return snapshots(**size).map(read)


@st.composite
def demands(draw):
    """From nobody to come to more than the slots can ever serve."""
    each = st.tuples(st.floats(0.0, 0.4), st.floats(0.0, 0.6))
    wants = draw(st.lists(each, max_size=5))
    return demand_of(*wants, price=draw(st.sampled_from([0.0, 0.01, 0.2])))


@st.composite
def planned(draw):
    """A problem and terms that weigh it, over windows from a few tokens to ages.

    Memory holds everybody, some, or hardly one.
    """
    built = draw(problems(kv_tokens=draw(st.sampled_from([10**7, 3000, 1000]))))
    return built, terms_of(built, demand=draw(demands()), patience=draw(st.floats(0.01, 10.0)))
