"""The demand of requests to come, and the price of a slot's time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.slots.price import SlotPrice, no_demand


def demand_of(chance, cost_s, *, slots=2, arrival_s=None, now_s=None, window=48):
    """One arrival a second unless said otherwise."""
    price = SlotPrice(window=window)
    arrival_s = np.arange(float(len(cost_s))) if arrival_s is None else arrival_s
    price.observe(arrival_s, np.broadcast_to(chance, len(cost_s)), np.asarray(cost_s))
    return price.now(now_s=float(len(cost_s)) if now_s is None else now_s, slots=slots)


def price_of(*seen, **changes):
    return demand_of(*seen, **changes).price


def is_nobody(demand):
    return (demand.price, demand.ratio.tolist(), demand.above.tolist()) == (0.0, [], [0.0])


def test_the_price_is_zero_below_capacity_and_positive_above():
    assert price_of(1.0, np.full(20, 1.0)) == 0.0  # one slot-second a second, two slots
    price = price_of(1.0, np.linspace(1.0, 20.0, 20))  # ten a second
    assert price == pytest.approx(1 / 8, rel=0.2)


def test_nobody_is_expected_before_enough_arrivals():
    assert is_nobody(demand_of(1.0, np.full(3, 100.0), slots=1, now_s=1.0))
    assert is_nobody(demand_of(1.0, np.full(7, 100.0), slots=1, now_s=1.0))
    assert demand_of(1.0, np.full(8, 100.0), slots=1, now_s=1.0).price == 0.01


def test_nobody_wants_nothing_at_any_price():
    assert is_nobody(no_demand())
    assert no_demand(0.3).price == 0.3
    assert no_demand(0.3).above.tolist() == [0.0]


def test_who_wants_more_of_the_slots_than_there_are_stands_above_all():
    # Of 20 in 20 s: ten take 1 s for a promise each, ten take 4 s; there are two slots.
    demand = demand_of(1.0, np.tile([1.0, 4.0], 10))
    assert demand.ratio == pytest.approx([0.25] * 10 + [1.0] * 10)
    assert demand.above[0] == pytest.approx((10 * 1.0 + 10 * 4.0) / 20.0 / 2.0)
    assert demand.above[10] == pytest.approx(10 * 1.0 / 20.0 / 2.0)
    assert demand.price == pytest.approx(0.25)


ratios = st.lists(st.floats(0.0, 1.0), min_size=8, max_size=60)


@given(ratios, st.data(), st.integers(1, 32), st.floats(0.0, 50.0))
@settings(max_examples=60, deadline=None)
def test_the_demand_is_the_share_of_the_slots_that_the_better_want(chance, data, slots, since_s):
    n, window = len(chance), 24
    cost_s = data.draw(st.lists(st.floats(0.01, 60.0), min_size=n, max_size=n))
    now_s = n - 1.0 + since_s
    demand = demand_of(np.array(chance), cost_s, slots=slots, now_s=now_s, window=window)
    # In plain Python, of the last few that came.
    seen = [(c / s, s) for c, s in zip(chance, cost_s, strict=True)][-window:]
    span_s = max(now_s - max(n - window, 0), 1e-3)
    assert demand.ratio == pytest.approx(sorted(ratio for ratio, _ in seen))
    assert (np.diff(demand.ratio) >= 0.0).all()
    assert (np.diff(demand.above) < 0.0).all()
    assert len(demand.above) == len(seen) + 1
    assert demand.above[-1] == 0.0
    for k, ratio in enumerate(demand.ratio):
        if k and demand.ratio[k - 1] == ratio:
            continue
        wanted_s = sum(s for r, s in seen if r >= ratio)
        assert demand.above[k] == pytest.approx(wanted_s / span_s / slots)
    full = [ratio for k, ratio in enumerate(demand.ratio) if demand.above[k] >= 1.0]
    assert demand.price == (full[-1] if full else 0.0)


def test_more_slots_are_cheaper():
    prices = [price_of(1.0, np.linspace(1.0, 20.0, 20), slots=slots) for slots in (1, 2, 4, 16)]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] > prices[-1] == 0.0


def test_the_hopeless_set_no_price():
    chance = np.where(np.arange(20) % 2, 1.0, 0.0)
    assert price_of(chance, np.full(20, 3.0)) == 0.0  # the others alone fill 3/4 of the slots


def test_a_slower_stream_of_the_same_requests_is_cheaper():
    arrival_s = np.arange(20.0)
    prices = [
        price_of(1.0, np.linspace(1.0, 20.0, 20), arrival_s=k * arrival_s, now_s=k * 20.0)
        for k in (1.0, 2.0, 6.0)
    ]
    assert prices[0] > prices[1] > prices[2] == 0.0


def test_what_left_the_window_is_forgotten():
    price = SlotPrice(window=16)
    price.observe(np.arange(20.0), np.ones(20), np.full(20, 10.0))
    assert price.now(now_s=20.0, slots=2).price == pytest.approx(0.1)
    for at in np.arange(20.0, 36.0):
        price.observe(np.array([at]), np.ones(1), np.array([0.5]))
    assert price.now(now_s=36.0, slots=1).price == 0.0
    price.observe(np.arange(40.0, 60.0), np.ones(20), np.full(20, 5.0))
    assert price.now(now_s=60.0, slots=2).price == pytest.approx(0.2)


def test_it_is_the_same_whether_they_are_seen_one_by_one_or_together():
    cost_s = np.linspace(1.0, 20.0, 30)
    one_by_one = SlotPrice(window=16)
    for at, each in enumerate(cost_s):
        one_by_one.observe(np.array([float(at)]), np.ones(1), np.array([each]))
    together = demand_of(1.0, cost_s, window=16)
    for one, other in zip(one_by_one.now(now_s=30.0, slots=2), together, strict=True):
        assert one == pytest.approx(other)
    assert together.price > 0.0
