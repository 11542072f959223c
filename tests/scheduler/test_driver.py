"""The driver: time box, fallback, and how long a decision stands."""

import logging
from dataclasses import dataclass, field
from math import inf

import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from scheduler.decision import Plan, StepDecision
from scheduler.driver import MAX_PLAN_AGE_S, Driver
from scheduler.latency import StepWork
from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig


@dataclass
class Scripted:
    """A policy that serves the last arrival first, or fails on demand."""

    name: str = "scripted"
    stands: bool = True
    fails: bool = False
    plans: int = 0
    steps: int = 0
    spend: list = field(default_factory=list)

    def plan(self, snapshot, previous):
        self.plans += 1
        if self.fails:
            raise ZeroDivisionError("scripted")
        return Plan(snapshot.version, snapshot.now_s, snapshot.waiting.handle[::-1])

    def step(self, snapshot, plan):
        self.steps += 1
        for spend in self.spend:
            spend()
        running = snapshot.running.handle
        order = np.concatenate([plan.order, running])
        return StepDecision(order=order, preempt=running, stands=self.stands)


@pytest.fixture
def driver(limits, latency):
    return Driver(policy=Scripted(), limits=limits, latency=latency, time_box_s=10.0)


def test_the_policy_decides(driver, arrival):
    handles = [driver.tracker.arrived(arrival(name)) for name in "abc"]
    assert driver.decide(now_s=0.0).order.tolist() == handles[::-1]


def test_a_decision_stands_while_nobody_comes_or_goes(driver, arrival):
    driver.tracker.arrived(arrival("a"))
    for step in range(5):
        driver.decide(now_s=step * 0.1)
    assert (driver.policy.plans, driver.policy.steps) == (1, 1)
    driver.tracker.finished("a")
    driver.decide(now_s=0.6)
    assert driver.policy.plans == 2


def test_a_plan_for_newcomers_alone_is_put_off_by_one_step(driver, arrival):
    driver.tracker.arrived(arrival("a"))
    plans = []
    for step, name in enumerate(["b", "c", "d", None, None]):
        driver.decide(now_s=step * 0.1)
        plans.append(driver.policy.plans)
        if name is not None:
            driver.tracker.arrived(arrival(name))
    assert plans == [1, 1, 2, 2, 3]


def test_a_finish_is_planned_for_at_once_whoever_came_with_it(driver, arrival):
    driver.tracker.arrived(arrival("a"))
    driver.decide(now_s=0.0)
    driver.tracker.arrived(arrival("b"))
    driver.tracker.finished("a")
    driver.decide(now_s=0.1)
    assert driver.policy.plans == 2


def test_a_plan_is_made_again_when_time_has_passed(driver, arrival):
    driver.tracker.arrived(arrival("a"))
    driver.decide(now_s=0.0)
    driver.decide(now_s=MAX_PLAN_AGE_S + 0.1)
    assert driver.policy.plans == 2


def test_a_standing_decision_preempts_once(driver, arrival):
    handle = driver.tracker.arrived(arrival("a"))
    driver.tracker.scheduled({"a": 100})
    assert driver.decide(now_s=0.0).preempt.tolist() == [handle]
    assert driver.decide(now_s=0.1).preempt.tolist() == []


def test_a_policy_that_reads_each_step_is_asked_each_step(driver, arrival):
    driver.policy.stands = False
    driver.tracker.arrived(arrival("a"))
    for step in range(5):
        driver.decide(now_s=step * 0.1)
    assert (driver.policy.plans, driver.policy.steps) == (1, 5)


def test_a_policy_that_raises_means_arrival_order_counted_and_logged_once(driver, arrival, caplog):
    handles = [driver.tracker.arrived(arrival(n, arrival_s=t)) for n, t in (("b", 2.0), ("a", 1.0))]
    driver.policy.fails = True
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            assert driver.decide(now_s=step).order.tolist() == handles[::-1]
    assert driver.fallbacks == 3
    assert len(caplog.records) == 1
    assert "ZeroDivisionError" in caplog.text
    driver.policy.fails = False
    assert driver.decide(now_s=3.0).order.tolist() == handles


def test_a_policy_that_overruns_means_arrival_order(limits, latency, arrival):
    clock = iter([0.0, 0.5, 1.0, 1.001])
    driver = Driver(
        policy=Scripted(), limits=limits, latency=latency, time_box_s=0.1, clock=lambda: next(clock)
    )
    handles = [driver.tracker.arrived(arrival(name, arrival_s=t)) for t, name in enumerate("ab")]
    assert driver.decide(now_s=0.0).order.tolist() == handles
    assert driver.fallbacks == 1
    assert driver.decide(now_s=0.1).order.tolist() == handles[::-1]
    assert driver.fallbacks == 1


def test_arrival_order_until_the_latency_model_is_fitted(limits, latency, arrival, caplog):
    caplog.set_level(logging.INFO)
    driver = Driver(policy=Scripted(), limits=limits, time_box_s=10.0)
    handles = [driver.tracker.arrived(arrival(name)) for name in "ab"]
    assert driver.decide(now_s=0.0).order.tolist() == handles
    assert driver.fallbacks == 0
    for step in range(400):
        decodes = 1 + step % 4
        work = StepWork(decodes=decodes, decode_cached=10 * step * decodes)
        driver.observe_step(work, latency.seconds(work))
    assert driver.latency is not None
    assert driver.untrained == 1
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "waits for the latency model" in caplog.text
    assert driver.decide(now_s=0.0).order.tolist() == handles[::-1]


def test_a_policy_that_always_overruns_is_asked_ever_more_seldom_and_comes_back(
    limits, latency, arrival
):
    now = [0.0]
    policy = Scripted(spend=[lambda: now.__setitem__(0, now[0] + 1.0)], stands=False)
    driver = Driver(
        policy=policy, limits=limits, latency=latency, time_box_s=0.1, clock=lambda: now[0]
    )
    handles = [driver.tracker.arrived(arrival(name, arrival_s=t)) for t, name in enumerate("ab")]
    for step in range(640):
        assert driver.decide(now_s=step).order.tolist() == handles
    assert driver.fallbacks == 640
    assert policy.steps < 20
    policy.spend = []
    orders = [driver.decide(now_s=640 + step).order.tolist() for step in range(64)]
    assert orders[-1] == handles[::-1]


def test_a_policy_too_slow_for_a_long_queue_is_shown_as_much_as_it_can_take(
    limits, latency, arrival
):
    now = [0.0]

    class Slow(Scripted):
        def plan(self, snapshot, previous):
            now[0] += 1e-4 * len(snapshot.waiting)
            return super().plan(snapshot, previous)

    policy = Slow(stands=False)
    driver = Driver(
        policy=policy, limits=limits, latency=latency, time_box_s=0.03, clock=lambda: now[0]
    )
    for number in range(3000):
        driver.tracker.arrived(arrival(str(number), arrival_s=float(number)))
    for step in range(200):
        driver.tracker.finished(str(step))
        decision = driver.decide(now_s=3000.0 + step)
    # 2,048, 1,024 and 512 of them take too long, and after three overruns it rests once.
    assert driver.fallbacks == 4
    assert decision.shortlisted
    assert 128 <= len(decision.order) <= 300


def test_of_a_long_queue_the_oldest_are_always_shown(limits, latency, arrival):
    driver = Driver(policy=Scripted(stands=False), limits=limits, latency=latency, time_box_s=10.0)
    for number in range(5000):
        slo = Slo() if number < 2 else Slo(ttft_s=1e5)
        driver.tracker.arrived(arrival(str(number), arrival_s=float(number), slo=slo))
    decision = driver.decide(now_s=5000.0)
    oldest = driver.tracker.waiting_handles()[:200]
    assert set(oldest.tolist()) <= set(decision.order.tolist())
    assert decision.shortlisted
    assert len(decision.order) < 4000


def test_whoever_leaves_the_shortlist_by_age_alone_is_served(limits, latency, arrival):
    driver = Driver(
        policy=SlotwisePolicy(SlotConfig(time_box_s=inf, max_moves=16)),
        limits=limits,
        latency=latency,
        time_box_s=inf,
    )
    hopeless = driver.tracker.arrived(
        arrival("old", arrival_s=0.0, slo=Slo(), lengths=LengthDistribution.point(2000))
    )
    for number in range(4000):
        chat = arrival(str(number), arrival_s=299.0 + 1e-4 * number, slo=Slo(ttft_s=600.0))
        driver.tracker.arrived(chat)
    for now_s, is_first in ((299.9, False), (300.1, True)):
        driver.tracker.finished(f"{now_s * 10:.0f}")
        driver.decide(now_s=now_s)
        assert (driver.plan.order[0] == hopeless) == is_first


def test_a_decision_over_a_shortlist_can_be_completed(limits, latency, arrival):
    driver = Driver(policy=Scripted(stands=False), limits=limits, latency=latency, time_box_s=10.0)
    for number in range(3000):
        driver.tracker.arrived(arrival(str(number), arrival_s=float(number)))
    decision, waiting = driver.decide(now_s=3000.0), driver.tracker.waiting_handles()
    whole = decision.completed(waiting)
    assert whole.order[: len(decision.order)].tolist() == decision.order.tolist()
    assert sorted(whole.order.tolist()) == sorted(waiting.tolist())
    assert not whole.shortlisted
    assert whole.completed(waiting) is whole


PRIORITIES = {"first": 5, "second": 0, "third": 5, "fourth": -1}


def test_without_a_latency_model_a_lower_priority_number_is_served_first(limits, arrival):
    driver = Driver(policy=Scripted(), limits=limits)
    tracker = driver.tracker
    for at_s, (name, number) in enumerate(PRIORITIES.items()):
        tracker.arrived(arrival(name, arrival_s=float(at_s), priority=number))
    order = driver.decide(now_s=9.0).order
    assert tracker.request_ids(order) == ["fourth", "second", "first", "third"]
    # Ordered once while the same wait.
    assert driver.decide(now_s=9.1).order is order
    tracker.finished("fourth")
    assert tracker.request_ids(driver.decide(now_s=9.2).order) == ["second", "first", "third"]


def test_after_a_fallback_a_lower_priority_number_is_served_first(driver, arrival):
    driver.policy.fails = True
    for at_s, (name, number) in enumerate(PRIORITIES.items()):
        driver.tracker.arrived(arrival(name, arrival_s=float(at_s), priority=number))
    order = driver.tracker.request_ids(driver.decide(now_s=9.0).order)
    assert order == ["fourth", "second", "first", "third"]
