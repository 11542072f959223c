"""HEAD on health routes: of vLLM's server behind the middleware, and of the sidecar."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from serving.health_head import HealthHead

pytest.importorskip("fastapi", reason="the sidecar is not installed (extra: serving)")

from serving.middleware.asgi import SlotwiseMiddleware
from serving.settings import Settings
from serving.sidecar.app import create_app


def vllm():
    """Routes as vLLM declares them: GET, and no other method."""

    async def well(request):
        return PlainTextResponse("well", status_code=503 if "sick" in request.url.query else 200)

    routes = [Route(path, well, methods=["GET"]) for path in ("/health", "/ping", "/v1/models")]
    for route in routes:
        route.methods.discard("HEAD")
    return Starlette(routes=routes)


@pytest.mark.parametrize("path", ["/health", "/ping"])
@pytest.mark.parametrize("wrapped", [HealthHead, SlotwiseMiddleware])
def test_a_server_behind_us_answers_without_a_body(wrapped, path):
    client = TestClient(wrapped(vllm()))
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "4"
    assert client.head(f"{path}?sick").status_code == 503
    assert client.get(path).text == "well"


def test_other_routes_are_left_to_the_application():
    assert TestClient(HealthHead(vllm())).head("/v1/models").status_code == 405


def test_a_path_prefix_does_not_matter():
    client = TestClient(HealthHead(vllm()), root_path="/llm")
    assert client.head("/llm/health").status_code == 200


def test_the_sidecar_answers(tmp_path):
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/seen.db", spool=tmp_path / "spool", predictor="none"
    )
    with TestClient(create_app(settings)) as client:
        for path in ("/healthz", "/readyz"):
            head, get = client.head(path), client.get(path)
            assert (head.status_code, head.content) == (get.status_code, b"")
            assert head.headers["content-length"] == str(len(get.content))
