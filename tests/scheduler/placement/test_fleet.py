import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from placed_engines import Live, digest, newcomer, running

from scheduler.placement.config import PlacementConfig
from scheduler.placement.fleet import Fleet
from scheduler.slo import Slo

IDLE = digest()
BUSY = digest(running(), running(), *[Live(tokens=300) for _ in range(10)])


def fleet(**digests):
    found = Fleet[str](PlacementConfig(stale_s=3.0, transit_s=0.02))
    for name, each in digests.items():
        found.update(name, each, made_s=0.0)
    return found


def test_the_idle_engine_comes_first_whatever_the_order():
    found = fleet(busy=BUSY, idle=IDLE)
    assert found.ranks(["busy", "idle"], newcomer(), now_s=0.1) == ["idle", "busy"]
    assert found.ranks(["idle", "busy"], newcomer(), now_s=0.1) == ["idle", "busy"]


def test_only_those_asked_for_are_ranked():
    found = fleet(busy=BUSY, idle=IDLE)
    assert found.ranks(["busy", "unknown"], newcomer(), now_s=0.1) == ["busy"]


def test_a_stale_digest_says_nothing():
    found = fleet(busy=BUSY, idle=IDLE)
    found.update("busy", BUSY, made_s=5.0)
    assert found.ranks(["busy", "idle"], newcomer(), now_s=6.0) == ["busy"]
    assert found.ranks(["busy", "idle"], newcomer(), now_s=9.0) == []
    assert not found.fresh("busy", now_s=9.0)


def test_a_digest_overtaken_by_a_newer_one_is_dropped():
    found = fleet(engine=IDLE)
    found.update("engine", BUSY, made_s=2.0)
    found.update("engine", IDLE, made_s=1.0)
    assert found.load("engine") == 12


def test_what_was_placed_counts_until_a_digest_has_it():
    found = fleet(a=IDLE, b=IDLE)
    chosen = []
    for _ in range(6):
        first = found.ranks(["a", "b"], newcomer(), now_s=0.1)[0]
        found.placed(first, newcomer(), now_s=0.1)
        chosen.append(first)
    assert sorted(chosen) == ["a"] * 3 + ["b"] * 3
    found.update("a", IDLE, made_s=0.11)
    assert found.load("a") == 3
    found.update("a", IDLE, made_s=0.5)
    assert (found.load("a"), found.load("b")) == (0, 3)


def test_a_prefill_sent_is_worked_off_in_time():
    slow = digest(running(), slots=8)
    slow.values[5] = 1e-3
    found = fleet(a=slow, b=slow)
    asked = newcomer(Slo(ttft_s=1.0), prompt=500)
    found.placed("a", newcomer(prompt=2000), now_s=0.0)
    found.placed("b", newcomer(prompt=10), now_s=0.0)
    found.placed("b", newcomer(prompt=10), now_s=0.0)
    assert found.ranks(["a", "b"], asked, now_s=0.1)[0] == "b"
    assert found.ranks(["a", "b"], asked, now_s=2.5)[0] == "a"


def test_who_is_gone_is_forgotten_and_the_others_stay():
    found = fleet(a=BUSY, b=IDLE, c=BUSY)
    found.remove("a")
    found.remove("never there")
    assert len(found) == 2
    assert found.ranks(["a", "b", "c"], newcomer(), now_s=0.1) == ["b", "c"]


def test_the_prefix_cache_decides_between_equals():
    slow = digest(running())
    slow.values[5] = 1e-2
    found = fleet(a=slow, b=slow)
    asked = newcomer(Slo(ttft_s=2.0), prompt=1000)
    names = ["a", "b"]
    assert found.ranks(names, asked, now_s=0.0, cached=np.array([0.0, 900.0]))[0] == "b"
    assert found.ranks(names, asked, now_s=0.0, cached=np.array([900.0, 0.0]))[0] == "a"


def test_without_digests_what_was_placed_is_forgotten_in_time():
    found = fleet(a=IDLE)
    for number in range(1000):
        found.placed("a", newcomer(), now_s=0.1 * number)
    assert found.load("a") <= 31


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["update", "place", "remove", "rank"]),
        st.sampled_from("abcdefghijk"),
        st.floats(0, 5),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_ranks_are_known_fresh_engines_once_each(steps):
    found, known, now_s = fleet(), set(), 0.0
    for what, name, passed_s in steps:
        now_s += passed_s
        if what == "update":
            found.update(name, BUSY if passed_s > 2 else IDLE, made_s=now_s)
            known.add(name)
        elif what == "place":
            found.placed(name, newcomer(), now_s=now_s)
            known.add(name)
        elif what == "remove":
            found.remove(name)
            known.discard(name)
        ranks = found.ranks(list("abcdefghijk"), newcomer(), now_s=now_s)
        assert len(set(ranks)) == len(ranks)
        assert set(ranks) <= known
        assert set(ranks) == {each for each in known if found.fresh(each, now_s=now_s)}
        assert len(found) == len(known)
