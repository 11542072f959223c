"""What Prometheus reads of the scheduler inside the engine process, on a port of its own.

vLLM's own metrics are served by its API process, which the scheduler does not live in.
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scheduler.driver import Driver

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

logger = logging.getLogger(__name__)


class DriverCollector(Collector):
    """Reads a driver when it is asked; a step pays nothing for it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def collect(self) -> Iterator[Metric]:
        """Yield what the driver counts."""
        yield GaugeMetricFamily(
            "slotwise_latency_model_trained",
            "1 once the policy decides; before, steps are stock: too few were seen to fit",
            value=float(self._driver.latency is not None),
        )
        yield CounterMetricFamily(
            "slotwise_untrained_steps",
            "Steps in arrival order for want of a latency model",
            value=self._driver.untrained,
        )
        yield CounterMetricFamily(
            "slotwise_policy_fallbacks",
            "Steps in arrival order because the policy raised or overran its time box",
            value=self._driver.fallbacks,
        )
        yield GaugeMetricFamily(
            "slotwise_engine_requests", "Requests that wait or run", value=len(self._driver.tracker)
        )


class EngineMetrics:
    """Serves ``/metrics`` for one engine until closed; a port that is taken is logged, no more."""

    def __init__(self, driver: Driver, *, host: str, port: int) -> None:
        self._served: tuple[WSGIServer, Thread] | None = None
        registry = CollectorRegistry()
        registry.register(DriverCollector(driver))
        try:
            self._served = start_http_server(port, addr=host, registry=registry)
            logger.info("metrics of the scheduler: http://%s:%d/metrics", host, self.port)
        except OSError as error:
            # Requests are worth more than their metrics: the engine goes on.
            logger.warning(
                "no metrics of the scheduler: port %d of %s cannot be had (%s); set "
                "SLOTWISE_ENGINE_METRICS_PORT to a free one",
                port,
                host,
                error,
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
