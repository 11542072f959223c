"""Every metric of the sidecar and of the middleware in front of an engine."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import generate_latest

from serving.observations.observation import Observation
from serving.prediction.model_info import ModelInfo
from serving.prediction.service import Reason

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"

_TOKENS = (1, 4, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_SHORT_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_LONG_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)
_TOKEN_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1)
_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Names begin with ``slotwise_``; a registry of its own, so several may live in a process.

    Label values are few: routes and classes come from closed lists.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._add_requests(registry)
        self._add_predictions(registry)
        self._add_decisions(registry)
        self._add_outcomes(registry)
        self._add_observations(registry)

    def _add_requests(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "slotwise_requests", "HTTP requests", ("route", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "slotwise_request_seconds", "HTTP requests", ("route",), buckets=_SHORT_S,
            registry=registry,
        )  # fmt: skip
        self.ignored_hints = Counter(
            "slotwise_ignored_hints", "Headers and fields of clients that could not be read",
            ("kind",), registry=registry,
        )  # fmt: skip
        self.untouched = Counter(
            "slotwise_untouched_requests", "Requests that generate, passed on unread",
            ("route",), registry=registry,
        )  # fmt: skip
        self.shed = Counter(
            "slotwise_shed_requests", "Requests refused because nothing could keep their promise",
            ("class",), registry=registry,
        )  # fmt: skip

    def _add_predictions(self, registry: CollectorRegistry) -> None:
        self.predictions = Counter(
            "slotwise_predictions", "Prompts answered", ("source",), registry=registry
        )
        self.prediction_seconds = Histogram(
            "slotwise_prediction_seconds", "Wait for one prompt's forecast", buckets=_SHORT_S,
            registry=registry,
        )  # fmt: skip
        self.prediction_batch = Histogram(
            "slotwise_prediction_batch_items", "Prompts a predictor was given at once",
            buckets=_ITEMS, registry=registry,
        )  # fmt: skip
        self.prediction_queue = Gauge(
            "slotwise_prediction_queue_items", "Prompts that wait for a predictor",
            registry=registry,
        )  # fmt: skip
        self.fallbacks = Counter(
            "slotwise_prediction_fallbacks", "Prompts that got their class's prior", ("reason",),
            registry=registry,
        )  # fmt: skip
        self.restarts = Counter(
            "slotwise_predictor_restarts", "Predictor processes replaced", registry=registry
        )
        self.model = Info("slotwise_model", "The model that answers", registry=registry)
        self.reloads = Counter(
            "slotwise_model_reloads", "Reloads of the model", ("outcome",), registry=registry
        )
        self.slo_reloads = Counter(
            "slotwise_slo_config_reloads", "Changes of the SLO file", ("outcome",),
            registry=registry,
        )  # fmt: skip

    def _add_decisions(self, registry: CollectorRegistry) -> None:
        self.schedule_seconds = Histogram(
            "slotwise_schedule_seconds", "Decisions, from the parsed snapshot on",
            buckets=_SHORT_S, registry=registry,
        )  # fmt: skip
        self.schedule_waiting = Histogram(
            "slotwise_schedule_waiting_requests", "Requests that waited in a snapshot",
            buckets=_ITEMS, registry=registry,
        )  # fmt: skip
        self.schedule_fallbacks = Counter(
            "slotwise_schedule_fallbacks", "Decisions in arrival order because the policy failed",
            registry=registry,
        )  # fmt: skip

    def _add_outcomes(self, registry: CollectorRegistry) -> None:
        per_class = ("class",)
        self.predicted_tokens = Histogram(
            "slotwise_predicted_output_tokens", "Predicted mean length of finished requests",
            per_class, buckets=_TOKENS, registry=registry,
        )  # fmt: skip
        self.output_tokens = Histogram(
            "slotwise_output_tokens", "Length of finished requests", per_class, buckets=_TOKENS,
            registry=registry,
        )  # fmt: skip
        self.pit = Histogram(
            "slotwise_prediction_pit", "Predicted chance of a shorter answer; calibrated: uniform",
            per_class, buckets=_TENTHS, registry=registry,
        )  # fmt: skip
        self.promises = Counter(
            "slotwise_slo_requests", "Finished requests with a target", per_class,
            registry=registry,
        )  # fmt: skip
        self.kept = Counter(
            "slotwise_slo_met", "Finished requests that met every target", per_class,
            registry=registry,
        )  # fmt: skip
        self.violations = Counter(
            "slotwise_slo_violations", "Targets missed", ("class", "kind"), registry=registry
        )
        self.ttft = Histogram(
            "slotwise_ttft_seconds", "Time to first token", per_class, buckets=_LONG_S,
            registry=registry,
        )  # fmt: skip
        self.tpot = Histogram(
            "slotwise_tpot_seconds", "Time per output token after the first", per_class,
            buckets=_TOKEN_S, registry=registry,
        )  # fmt: skip
        self.e2e = Histogram(
            "slotwise_e2e_seconds", "End-to-end latency", per_class, buckets=_LONG_S,
            registry=registry,
        )  # fmt: skip

    def _add_observations(self, registry: CollectorRegistry) -> None:
        self.observations = Counter(
            "slotwise_observations", "Observations by where they went", ("outcome",),
            registry=registry,
        )  # fmt: skip
        self.spooled = Gauge(
            "slotwise_observations_spooled", "Observations that wait for the database",
            registry=registry,
        )  # fmt: skip
        self.database_up = Gauge(
            "slotwise_database_up", "Whether the database takes observations", registry=registry
        )

    def batch(self, items: int) -> None:
        """A predictor process was given so many prompts."""
        self.prediction_batch.observe(items)

    def restart(self) -> None:
        """A predictor process had to be replaced."""
        self.restarts.inc()

    def fallback(self, reason: Reason, items: int) -> None:
        """So many prompts got their class's prior."""
        self.fallbacks.labels(reason).inc(items)

    def model_changed(self, info: ModelInfo) -> None:
        """Another model answers."""
        self.model.info(info.to_dict())

    def finished(self, observation: Observation, *, slo_class: str) -> None:
        """A request ended; ``slo_class`` is one of the file's classes, or ``other``."""
        name = slo_class
        if observation.answers == 1:
            self.output_tokens.labels(name).observe(observation.output_tokens)
        for value, histogram in (
            (observation.predicted_mean, self.predicted_tokens),
            (observation.pit, self.pit),
            (observation.ttft_s, self.ttft),
            (observation.tpot_s, self.tpot),
            (observation.e2e_s, self.e2e),
        ):
            if value is not None:
                histogram.labels(name).observe(value)
        if observation.met is not None:
            self.promises.labels(name).inc()
            self.kept.labels(name).inc(observation.met)
        for kind in (observation.violated or "").split():
            self.violations.labels(name, kind).inc()

    def rendered(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
