"""What Prometheus reads of the scheduler inside the engine process, on a port of its own.

vLLM's own metrics are served by its API process, which the scheduler does not live in.
"""

import errno
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scheduler.driver import Driver
from serving.engine_rank import ONLY_ENGINE, EngineRank

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

logger = logging.getLogger(__name__)


class DriverCollector(Collector):
    """Reads a driver when it is asked; a step pays nothing for it.

    The label ``engine`` is the data-parallel rank, as in vLLM's own metrics.
    """

    def __init__(self, driver: Driver, rank: EngineRank) -> None:
        self._driver = driver
        self._engine = [str(rank.index)]

    def collect(self) -> Iterator[Metric]:
        """Yield what the driver counts."""
        yield self._gauge(
            "slotwise_latency_model_trained",
            "1 once the policy decides; before, steps are stock: too few were seen to fit",
            float(self._driver.latency is not None),
        )
        yield self._counter(
            "slotwise_untrained_steps",
            "Steps in arrival order for want of a latency model",
            self._driver.untrained,
        )
        yield self._counter(
            "slotwise_policy_fallbacks",
            "Steps in arrival order because the policy raised or overran its time box",
            self._driver.fallbacks,
        )
        yield self._gauge(
            "slotwise_engine_requests", "Requests that wait or run", len(self._driver.tracker)
        )
        yield self._blocked()
        yield self._counter(
            "slotwise_mended_requests",
            "Requests whose state in the engine was not what the scheduler took it for",
            self._driver.tracker.disagreements,
        )

    def _blocked(self) -> Metric:
        family = GaugeMetricFamily(
            "slotwise_blocked_requests",
            "Requests that wait and cannot be admitted, by reason",
            labels=["engine", "reason"],
        )
        for reason, count in self._driver.tracker.blocked_by_reason().items():
            family.add_metric([*self._engine, reason.value], count)
        return family

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, text, labels=["engine"])
        family.add_metric(self._engine, value)
        return family

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(name, text, labels=["engine"])
        family.add_metric(self._engine, value)
        return family


class EngineMetrics:
    """Serves ``/metrics`` for one engine until closed; without a port that is logged, no more.

    Engine 0 listens on ``port``, engine 1 on the next one, and so on. Of a port that is taken
    the next free one stands in.
    """

    def __init__(
        self, driver: Driver, *, host: str, port: int, rank: EngineRank = ONLY_ENGINE
    ) -> None:
        registry = CollectorRegistry()
        registry.register(DriverCollector(driver, rank))
        self._served = _served(registry, host, rank.ports(port))
        if self._served is None:
            return
        logger.info(
            "metrics of the scheduler of engine %d: http://%s:%d/metrics",
            rank.index,
            host,
            self.port,
        )
        if port and self.port != port + rank.index:
            logger.warning(
                "port %d of %s is taken: the scheduler's metrics are on port %d; set "
                "SLOTWISE_ENGINE_METRICS_PORT to where %d and the next ones are free",
                port + rank.index,
                host,
                self.port,
                port,
            )

    @property
    def port(self) -> int | None:
        """Where it listens; ``None``: it does not."""
        return None if self._served is None else int(self._served[0].server_port)

    def close(self) -> None:
        """Stop listening."""
        if self._served is not None:
            server, thread = self._served
            self._served = None
            server.shutdown()
            server.server_close()
            thread.join()


def _served(
    registry: CollectorRegistry, host: str, ports: Iterable[int]
) -> "tuple[WSGIServer, Thread] | None":
    """The first port that can be had. Requests are worth more than metrics: no fault raises."""
    why = "no port is left"
    for port in ports:
        try:
            return start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            why = f"port {port} of {host} cannot be had ({error})"
            if error.errno != errno.EADDRINUSE:
                break
    logger.warning(
        "no metrics of the scheduler: %s; set SLOTWISE_ENGINE_METRICS_PORT to a free one and "
        "SLOTWISE_ENGINE_METRICS_HOST to an address of this machine",
        why,
    )
    return None
