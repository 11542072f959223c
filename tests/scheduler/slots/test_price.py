"""The price of a slot's time."""

import numpy as np
import pytest

from scheduler.slots.price import SlotPrice


def price_of(chance, cost_s, *, slots=2, arrival_s=None, now_s=None, window=48):
    """One arrival a second unless said otherwise."""
    price = SlotPrice(window=window)
    arrival_s = np.arange(float(len(cost_s))) if arrival_s is None else arrival_s
    price.observe(arrival_s, np.broadcast_to(chance, len(cost_s)), np.asarray(cost_s))
    return price.now(now_s=float(len(cost_s)) if now_s is None else now_s, slots=slots)


def test_the_price_is_zero_below_capacity_and_positive_above():
    assert price_of(1.0, np.full(20, 1.0)) == 0.0  # one slot-second a second, two slots
    price = price_of(1.0, np.linspace(1.0, 20.0, 20))  # ten a second
    assert price == pytest.approx(1 / 8, rel=0.2)


def test_the_price_is_zero_before_enough_arrivals():
    assert price_of(1.0, np.full(3, 100.0), slots=1, now_s=1.0) == 0.0


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
    assert price.now(now_s=20.0, slots=2) == pytest.approx(0.1)
    for at in np.arange(20.0, 36.0):
        price.observe(np.array([at]), np.ones(1), np.array([0.5]))
    assert price.now(now_s=36.0, slots=1) == 0.0
    price.observe(np.arange(40.0, 60.0), np.ones(20), np.full(20, 5.0))
    assert price.now(now_s=60.0, slots=2) == pytest.approx(0.2)


def test_it_is_the_same_whether_they_are_seen_one_by_one_or_together():
    cost_s = np.linspace(1.0, 20.0, 30)
    one_by_one = SlotPrice(window=16)
    for at, each in enumerate(cost_s):
        one_by_one.observe(np.array([float(at)]), np.ones(1), np.array([each]))
    together = price_of(1.0, cost_s, window=16)
    assert one_by_one.now(now_s=30.0, slots=2) == pytest.approx(together)
    assert together > 0.0
