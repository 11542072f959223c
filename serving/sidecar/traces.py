"""OpenTelemetry traces, when asked for: a span for each request, and one for the work inside it.

They carry counts, never a prompt.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from fastapi import FastAPI

from predictor.errors import ConfigError

# Asked every few seconds by whoever watches.
_UNTRACED = "healthz,readyz,metrics"
_PATH = "/v1/traces"


class Traces(Protocol):
    """Follows what the sidecar does."""

    def follow(self, app: FastAPI) -> None:
        """A span for each of its requests, in the caller's trace if it sent ``traceparent``."""

    def span(self, name: str, **attributes: int | str) -> AbstractContextManager[object]:
        """A span for the work in the block."""

    def stop(self) -> None:
        """Send what is left."""


class NoTraces:
    """Follows nothing."""

    def follow(self, app: FastAPI) -> None:
        """Leave it as it is."""

    def span(self, name: str, **attributes: int | str) -> AbstractContextManager[object]:  # noqa: ARG002
        """Nothing to record."""
        return nullcontext()

    def stop(self) -> None:
        """Nothing to send."""


class OtlpTraces:
    """Sends spans to a collector, OTLP over HTTP, from a thread of its own.

    A collector that is away costs its spans and nothing else.
    """

    def __init__(self, endpoint: str) -> None:
        """Raises ``ConfigError`` where the extra is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                f"traces_endpoint needs {error.name}: pip install 'slotwise[tracing]'"
            ) from error
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "slotwise"}))
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _PATH)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("slotwise")

    def follow(self, app: FastAPI) -> None:
        """A span for each request."""
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415

        FastAPIInstrumentor.instrument_app(
            app,
            tracer_provider=self._provider,
            excluded_urls=_UNTRACED,
            exclude_spans=["receive", "send"],
        )

    def span(self, name: str, **attributes: int | str) -> AbstractContextManager[object]:
        """A span inside the request's."""
        named = {f"slotwise.{key}": value for key, value in attributes.items()}
        return self._tracer.start_as_current_span(f"slotwise.{name}", attributes=named)

    def stop(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._provider.shutdown()


def traces_of(endpoint: str | None) -> Traces:
    """What the settings ask for."""
    return NoTraces() if endpoint is None else OtlpTraces(endpoint)
