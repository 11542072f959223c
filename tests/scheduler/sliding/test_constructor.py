"""Which prompts are computed whole so that a risky one makes it."""

from itertools import combinations
from math import inf

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sliding_batches import LATENCY, batch

from scheduler.sliding.config import SlidingConfig
from scheduler.sliding.constructor import chosen_prompts

CONFIG = SlidingConfig()


def chosen(candidates, decodes=(), *, running=0, config=CONFIG, **limits):
    made = batch(candidates, decodes, running=running)
    settings_ = {"bound_s": inf, "most": 1000, "slots": 99, "kv_tokens": 1e9, **limits}
    order = np.arange(len(made.left))
    return chosen_prompts(made, order, LATENCY, **settings_, config=config).tolist()


# A step of 1000 prompt tokens takes 110 ms.


def test_nobody_is_at_risk_and_nothing_is_chosen():
    assert chosen([(500, 0.2), (900, 9.0), (10, -1.0)]) == []
    assert chosen([]) == []


def test_the_risky_one_and_who_fits_beside_it():
    # 70 ms are 600 tokens: the anchor's 300, and 200 of the others.
    assert chosen([(900, 9.0), (300, 0.07), (200, 5.0)]) == [1, 2]


def test_who_cannot_make_it_anchors_nothing():
    assert chosen([(700, 0.07), (10, 5.0)]) == []
    assert chosen([(300, 0.07), (10, 5.0)], bound_s=0.03) == []


def test_the_more_urgent_is_not_displaced_by_the_patient():
    assert 1 not in chosen([(400, 0.06), (400, 0.055), (50, 0.04)])


def test_slots_and_memory_bound_the_newcomers():
    candidates = [(100, 0.07), (100, 5.0), (100, 5.0), (100, 5.0), (900, 9.0)]
    assert len(chosen(candidates)) == 4
    assert len(chosen(candidates, slots=2)) == 2
    assert len(chosen(candidates, kv_tokens=300)) == 3
    assert chosen(candidates, slots=0) == []
    assert chosen(candidates, slots=0, running=1) == [0]


some = st.lists(
    st.tuples(st.integers(1, 900), st.one_of(st.floats(-0.1, 0.2), st.just(inf))),
    min_size=1,
    max_size=7,
)


@settings(deadline=None)
@given(some, st.floats(0.02, 0.2), st.integers(0, 4))
def test_what_is_chosen_fits_and_saves_its_anchor(candidates, bound_s, slots):
    found = chosen(candidates, bound_s=bound_s, slots=slots)
    if not found:
        return
    total = sum(candidates[i][0] for i in found)
    took_s = 0.01 + 1e-4 * total
    assert took_s <= bound_s + 2e-3
    assert total <= 1000
    assert len(found) <= slots
    anchor = min(candidates[i][1] for i in found)
    assert 0 <= anchor < 0.11
    assert took_s <= anchor + 2e-3


@settings(deadline=None)
@given(st.lists(st.integers(2, 60), min_size=1, max_size=8))
def test_a_fine_knapsack_is_worth_as_much_as_the_best_subset(lengths):
    """One anchor of 100 tokens, 100 tokens of room beside it, and one too long for that.

    A prompt of one token would cost as much as a decode.
    """
    slack_s = 0.03 + 1e-9
    candidates = [(100, slack_s), (900, 9.0), *[(length, 5.0) for length in lengths]]
    found = chosen(candidates, config=SlidingConfig(quanta=100))
    slack_sum = slack_s + 5.0 * len(lengths) + 9.0
    total = 100 + sum(lengths) + 900

    def worth(places):
        return sum(1 / (5.0 / slack_sum + lengths[k] / total) for k in places)

    subsets = [
        subset
        for size in range(len(lengths) + 1)
        for subset in combinations(range(len(lengths)), size)
        if sum(lengths[k] for k in subset) <= 100
    ]
    best = max(worth(subset) for subset in subsets)
    assert found[0] == 0
    assert worth([k - 2 for k in found[1:]]) >= best - 1e-9
