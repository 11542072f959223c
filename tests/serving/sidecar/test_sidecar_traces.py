"""Traces, received by a collector on a port of its own."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sidecars import settings_in

pytest.importorskip("opentelemetry.instrumentation.fastapi", reason="extra: tracing")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from serving.sidecar.app import create_app

SECRET = "the quick brown fox"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Keeps the spans that are posted to it."""

    def __init__(self) -> None:
        self.spans: dict[str, Any] = {}
        self.said = b""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    collector.take(body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def take(self, body: bytes) -> None:
        self.said += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans |= {span.name: span for span in scope.spans}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def test_a_prediction_is_a_span_in_the_callers_trace(
    collector: Collector, tmp_path: Path, predictor: Path
) -> None:
    settings = settings_in(tmp_path, predictor=predictor, traces_endpoint=collector.url + "/")
    with TestClient(create_app(settings)) as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        body = {"prompts": [{"prompt": SECRET}] * 3}
        assert client.post("/predict/bulk", json=body, headers=headers).status_code == 200
        assert client.get("/healthz").status_code == 200
    outer, inner = collector.spans["POST /predict/bulk"], collector.spans["slotwise.predict"]
    assert outer.trace_id == inner.trace_id == bytes.fromhex(TRACE)
    assert outer.parent_span_id == bytes.fromhex(PARENT)
    assert inner.parent_span_id == outer.span_id
    assert {a.key: a.value.int_value for a in inner.attributes} == {"slotwise.items": 3}
    assert len(collector.spans) == 2
    assert SECRET.encode() not in collector.said


def test_a_collector_that_is_away_costs_nothing_but_its_spans(
    tmp_path: Path, predictor: Path
) -> None:
    settings = settings_in(tmp_path, predictor=predictor, traces_endpoint="http://127.0.0.1:9")
    with TestClient(create_app(settings)) as client:
        assert client.post("/predict", json={"prompt": "a"}).status_code == 200


def test_without_an_endpoint_there_are_none(tmp_path: Path) -> None:
    with TestClient(create_app(settings_in(tmp_path))) as client:
        assert client.post("/predict", json={"prompt": "a"}).status_code == 200
        assert not getattr(client.app, "_is_instrumented_by_opentelemetry", False)
