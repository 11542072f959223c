"""What a fleet's metrics are called, and what one scrape of any ingress says."""

import numpy as np
import pytest

pytest.importorskip("ray")

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from scheduler.placement.digest import SIZE, Digest, Item
from serving.cluster.board import IngressNote, Overview
from serving.cluster.metrics import FleetCollector
from serving.cluster.report import Heard, ReplicaReport
from serving.cluster.router_metrics import RouterMetrics
from serving.metrics import Metrics

OF_ROUTER = {
    "slotwise_router_decisions", "slotwise_router_decision_seconds", "slotwise_router_requests",
    "slotwise_router_digest_age_seconds", "slotwise_router_board_failures",
    "slotwise_replaced_requests",
}  # fmt: skip
OF_FLEET = {
    "slotwise_replica_healthy", "slotwise_replica_digest_age_seconds",
    "slotwise_replica_silent_seconds", "slotwise_latency_model_trained",
    "slotwise_replica_requests", "slotwise_untrained_steps", "slotwise_policy_fallbacks",
    "slotwise_fleet_predictors_mixed_seconds", "slotwise_board_up_seconds",
}  # fmt: skip


def scraped(overview):
    registry = CollectorRegistry()
    registry.register(FleetCollector(overview))
    text = generate_latest(registry).decode()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def heard(rank, *, live=None, **more):
    digest = None
    if live is not None:
        values = np.zeros(SIZE)
        values[Item.LIVE] = live
        digest = Digest(values).to_bytes()
    return Heard(ReplicaReport(f"r{rank}", rank, "m", digest=digest, **more), 0.2, 0.1)


def test_the_names_stay_as_they_are():
    assert {family.name for family in RouterMetrics().registry.collect()} == OF_ROUTER
    found = FleetCollector(Overview((heard(0),), (), 0.0, 1.0)).collect()
    assert {family.name for family in found} == OF_FLEET


def test_replicas_are_told_apart_by_their_rank():
    found = scraped(
        Overview(
            (heard(0, live=3, untrained=7, fallbacks=2), heard(1, healthy=False)), (), 4.5, 9.0
        )
    )
    assert found['slotwise_replica_requests{replica="0"}'] == 3
    assert found['slotwise_latency_model_trained{replica="0"}'] == 1
    assert found['slotwise_latency_model_trained{replica="1"}'] == 0
    assert found['slotwise_replica_healthy{replica="1"}'] == 0
    assert found['slotwise_untrained_steps_total{replica="0"}'] == 7
    assert found['slotwise_policy_fallbacks_total{replica="0"}'] == 2
    assert found["slotwise_fleet_predictors_mixed_seconds"] == 4.5


def test_a_replica_that_has_fallen_silent_is_not_well():
    silent = Heard(ReplicaReport("r", 0, "m"), 20.0, 20.0)
    assert scraped(Overview((silent,), (), 0.0, 0.0))['slotwise_replica_healthy{replica="0"}'] == 0


def test_ingresses_are_joined_and_told_apart():
    notes = []
    for name, count in (("1", 2), ("0", 5)):
        metrics, router = Metrics(), RouterMetrics()
        metrics.predictions.labels("model").inc(count)
        router.decided("gain", 0.0001)
        notes.append(IngressNote(name, "p:1", metrics.rendered().decode() + router.rendered()))
    found = scraped(Overview((), tuple(notes), 0.0, 0.0))
    assert found['slotwise_predictions_total{ingress="0",source="model"}'] == 5
    assert found['slotwise_predictions_total{ingress="1",source="model"}'] == 2
    assert found['slotwise_router_decisions_total{by="gain",ingress="1"}'] == 1
    assert found['slotwise_router_decision_seconds_bucket{ingress="0",le="0.0002"}'] == 1
