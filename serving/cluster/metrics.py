"""The metrics of a whole fleet at one address: every ingress's, every router's, every replica's."""

import asyncio
import logging
from collections.abc import Iterable, Iterator

import ray
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry
from ray import serve

from scheduler.placement.digest import Digest, Item
from serving.cluster.board import IngressNote, Overview
from serving.cluster.board_actor import BoardLink
from serving.cluster.report import ReplicaReport
from serving.cluster.router_metrics import router_metrics
from serving.middleware.services import MiddlewareServices

logger = logging.getLogger(__name__)

_NOTE_S, _BOARD_S = 2.0, 2.0
# A replica says something every second; one that is silent for so long is gone.
_SILENT_S = 5.0


class ClusterMetrics:
    """Posts what this ingress counts and serves what all do, any ingress the same."""

    def __init__(self, services: MiddlewareServices) -> None:
        self._services = services
        self._board = BoardLink()
        self._name = str(serve.get_replica_context().rank.rank)

    async def run(self) -> None:
        """Post every two seconds, until cancelled."""
        while True:
            try:
                await self._post()
            except Exception:
                # Metrics must not end because one look failed.
                logger.exception("this ingress's metrics were not posted")
            await asyncio.sleep(_NOTE_S)

    async def rendered(self) -> bytes:
        """The text that Prometheus reads; of this ingress alone while the board is away."""
        await self._post()
        try:
            overview = await asyncio.wait_for(self._board.actor.overview.remote(), _BOARD_S)
        except (ray.exceptions.RayError, TimeoutError) as error:
            self._board.lost()
            logger.warning("metrics of this ingress alone: the board does not answer (%s)", error)
            overview = Overview((), (self._note(),), 0.0, 0.0)
        registry = CollectorRegistry()
        registry.register(FleetCollector(overview))
        return generate_latest(registry)

    async def _post(self) -> None:
        try:
            await asyncio.wait_for(self._board.actor.note.remote(self._note()), _BOARD_S)
        except (ray.exceptions.RayError, TimeoutError) as error:
            self._board.lost()
            logger.debug("the board does not answer: %s", error)

    def _note(self) -> IngressNote:
        own = self._services.metrics.rendered().decode()
        info = self._services.predictions.info
        return IngressNote(
            self._name, f"{info.name}:{info.version}", own + router_metrics().rendered()
        )


class FleetCollector(Collector):
    """Ingresses' metrics with a label for each, and gauges of replicas by rank."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from _merged(self._overview.ingresses)
        yield from self._replicas()
        yield GaugeMetricFamily(
            "slotwise_fleet_predictors_mixed_seconds",
            "For how long ingresses have predicted with different models",
            value=self._overview.mixed_s,
        )
        yield GaugeMetricFamily(
            "slotwise_board_up_seconds",
            "Since the board of digests was started",
            value=self._overview.restarted_s,
        )

    def _replicas(self) -> Iterable[Metric]:
        columns = (
            ("slotwise_replica_healthy", "Whether the replica speaks and its engine lives"),
            ("slotwise_replica_digest_age_seconds", "Age of the last digest"),
            ("slotwise_replica_silent_seconds", "Since the replica last said anything"),
            ("slotwise_latency_model_trained", "1 once the policy decides"),
            ("slotwise_replica_requests", "Requests that wait or run"),
        )
        gauges = [GaugeMetricFamily(name, text, labels=["replica"]) for name, text in columns]
        counters = [
            CounterMetricFamily(name, text, labels=["replica"])
            for name, text in (
                ("slotwise_untrained_steps", "Steps without a latency model"),
                ("slotwise_policy_fallbacks", "Steps in which the policy failed"),
            )
        ]
        for heard in self._overview.replicas:
            report, rank = heard.report, [str(heard.report.rank)]
            values = (
                report.healthy and heard.silent_s < _SILENT_S,
                heard.age_s,
                heard.silent_s,
                report.digest is not None,
                _live(report),
            )
            for gauge, value in zip(gauges, values, strict=True):
                gauge.add_metric(rank, float(value))
            for counter, count in zip(counters, (report.untrained, report.fallbacks), strict=True):
                counter.add_metric(rank, float(count))
        return [*gauges, *counters]


def _live(report: ReplicaReport) -> float:
    if report.digest is None:
        return 0.0
    return float(Digest.from_bytes(report.digest).values[Item.LIVE])


def _merged(notes: Iterable[IngressNote]) -> Iterator[Metric]:
    """One family for each name, its samples told apart by the rank of the ingress."""
    found: dict[str, Metric] = {}
    for note in sorted(notes, key=lambda note: note.name):
        for family in text_string_to_metric_families(note.metrics):
            metric = found.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                labels = {**sample.labels, "ingress": note.name}
                metric.samples.append(sample._replace(labels=labels))
    yield from found.values()
