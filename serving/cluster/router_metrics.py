"""What a router counts. One per process: Ray makes the router, the ingress beside it serves it."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

_DECISION_S = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05)
_AGE_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class RouterMetrics:
    """Replicas are named by their rank, so there are never more than replicas."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.decisions = Counter(
            "slotwise_router_decisions",
            "Placements, by what decided: gain; anything else: power of two choices",
            ("by",), registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "slotwise_router_decision_seconds", "One placement", buckets=_DECISION_S,
            registry=registry,
        )  # fmt: skip
        self.placed = Counter(
            "slotwise_router_requests", "Requests sent", ("replica",), registry=registry
        )
        self.age = Histogram(
            "slotwise_router_digest_age_seconds", "Age of digests when they are heard",
            buckets=_AGE_S, registry=registry,
        )  # fmt: skip
        self.board_failures = Counter(
            "slotwise_router_board_failures", "Reads of the board that failed", registry=registry
        )
        self.replaced = Counter(
            "slotwise_replaced_requests", "Requests sent anew because their replica died",
            registry=registry,
        )  # fmt: skip

    def decided(self, by: str, seconds: float) -> None:
        """A placement was made."""
        self.decisions.labels(by).inc()
        self.seconds.observe(seconds)

    def sent(self, rank: int | None) -> None:
        """A request went to a replica."""
        self.placed.labels("unknown" if rank is None else str(rank)).inc()

    def rendered(self) -> str:
        """The text that Prometheus reads."""
        return generate_latest(self.registry).decode()


@cache
def router_metrics() -> RouterMetrics:
    """This process's."""
    return RouterMetrics()
