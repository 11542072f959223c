"""The published policy on snapshots."""

import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from scheduler.annealing import AnnealConfig
from scheduler.decision import Plan
from scheduler.policies import anneal_paper
from scheduler.policies.anneal_paper import AnnealPaperPolicy
from scheduler.slo import Slo
from scheduler.tracker import Tracker

POLICY = AnnealPaperPolicy(config=AnnealConfig.paper())


def tracker_of(arrival, limits, lengths, **changes):
    tracker = Tracker(limits=limits)
    for number, tokens in enumerate(lengths):
        known = LengthDistribution.point(tokens)
        tracker.arrived(arrival(str(number), lengths=known, arrival_s=0.01 * number, **changes))
    return tracker


def handles(tracker, names):
    return [tracker.handle(name) for name in names]


def test_known_short_answers_come_first(arrival, limits, latency):
    tracker = tracker_of(arrival, limits, [500, 20, 300, 10, 400, 30])
    snapshot = tracker.snapshot(now_s=1.0, latency=latency)
    plan = POLICY.plan(snapshot, None)
    assert sorted(plan.order) == sorted(snapshot.waiting.handle)
    assert set(plan.order[:3]) == set(handles(tracker, "135"))
    assert plan.value >= plan.seed_value
    decision = POLICY.step(snapshot, plan)
    assert decision.order.tolist() == plan.order.tolist()
    assert not len(decision.preempt)
    assert not len(decision.held)
    assert decision.token_budget is None


def test_differs_from_first_come_first_served(arrival, limits, latency):
    tracker = tracker_of(arrival, limits, [500] * 4 + [20] * 4, slo=Slo(e2e_s=3.0))
    snapshot = tracker.snapshot(now_s=1.0, latency=latency)
    order = POLICY.step(snapshot, POLICY.plan(snapshot, None)).order
    assert order.tolist() != snapshot.waiting.handle.tolist()


def test_nobody_waiting_is_no_trouble(limits, latency):
    snapshot = Tracker(limits=limits).snapshot(now_s=0.0, latency=latency)
    plan = POLICY.plan(snapshot, None)
    assert not len(plan.order)
    assert not len(POLICY.step(snapshot, None).order)
    assert not len(POLICY.step(snapshot, plan).order)


def test_newcomers_stand_behind_the_plan_in_arrival_order(arrival, limits, latency):
    tracker = tracker_of(arrival, limits, [300, 20, 100])
    plan = POLICY.plan(tracker.snapshot(now_s=1.0, latency=latency), None)
    for name, arrival_s in (("late", 0.9), ("later", 0.95)):
        tracker.arrived(arrival(name, arrival_s=arrival_s))
    tracker.scheduled({"1": 100})
    later = tracker.snapshot(now_s=1.1, latency=latency)
    order = POLICY.step(later, plan).order.tolist()
    admitted = tracker.handle("1")
    assert order[:2] == [handle for handle in plan.order if handle != admitted]
    assert order[2:] == handles(tracker, ("late", "later"))


def test_a_plan_of_others_leaves_arrival_order(arrival, limits, latency):
    tracker = tracker_of(arrival, limits, [300, 20])
    snapshot = tracker.snapshot(now_s=1.0, latency=latency)
    plan = Plan(version=0, made_at_s=0.0, order=np.array([77, 78]))
    assert POLICY.step(snapshot, plan).order.tolist() == snapshot.waiting.handle.tolist()


def test_lengths_are_drawn_anew_with_each_version(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    drawn = set()
    for number in range(20):
        tracker.arrived(arrival(str(number)))
        snapshot = tracker.snapshot(now_s=0.0, latency=latency)
        rng = np.random.default_rng((0, snapshot.version))
        lengths = anneal_paper._sampled_lengths(snapshot.waiting, snapshot.lengths, rng)
        assert ((lengths >= 1) & (lengths <= 512) & (lengths == np.rint(lengths))).all()
        drawn.add(lengths[0])
    assert len(drawn) > 10


def test_the_same_seed_makes_the_same_plan(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    for number in range(12):
        tracker.arrived(arrival(str(number), slo=Slo(e2e_s=8.0), prompt_tokens=50 * number + 1))
    snapshot = tracker.snapshot(now_s=1.0, latency=latency)
    one, same = (POLICY.plan(snapshot, None).order.tolist() for _ in range(2))
    other = AnnealPaperPolicy(config=AnnealConfig.paper(seed=1)).plan(snapshot, None)
    assert one == same
    assert one != other.order.tolist()


@pytest.mark.parametrize(
    "distribution",
    [
        LengthDistribution.point(17),
        LengthDistribution(np.array([0, 10, 40, 200]), np.array([0.2, 0.5, 0.3])),
    ],
)
def test_moments_are_those_of_the_forecast(arrival, limits, latency, distribution):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrival("a", lengths=distribution))
    table = tracker.snapshot(now_s=0.0, latency=latency).lengths
    mean, std = anneal_paper._moments(table.edges[:1], table.cdf[:1])
    assert mean[0] == pytest.approx(distribution.mean)
    assert std[0] == pytest.approx(distribution.std, abs=1e-6)


def test_after_a_preemption_only_what_is_left_counts(arrival, limits, latency):
    tracker = tracker_of(arrival, limits, [100, 100], slo=Slo(ttft_s=5.0, tpot_s=0.1))
    for name, first_token_s in (("0", 2.0), ("1", 9.0)):
        tracker.scheduled({name: 100})
        tracker.tokens({name: 40}, first_token_s)
        tracker.preempted(name)
    snapshot = tracker.snapshot(now_s=10.0, latency=latency)
    problem = anneal_paper._problem(snapshot, np.array([100.0, 30.0]))
    assert problem.output_tokens[:, 0].tolist() == [60.0, 1.0]
    assert problem.prompt_tokens.tolist() == [140.0, 140.0]
    assert problem.ttft_s.tolist() == [np.inf, -np.inf]
