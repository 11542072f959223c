"""On a request that vLLM refuses for its key nothing is spent."""

from types import SimpleNamespace

import pytest
from fake_vllm import FakeVllm
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount
from starlette.testclient import TestClient
from test_asgi import CHAT, HI, hints_of, observations
from test_routes import BODIES

from serving.middleware.api_key import api_keys, will_be_refused
from serving.middleware.asgi import SlotwiseMiddleware
from serving.middleware.routes import INVOCATIONS

KEY = {"authorization": "Bearer secret"}


class Guard:
    """The check of the server behind, as vLLM has it inside our middleware."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and not scope["path"].startswith("/invocations"):
            headers = dict(scope["headers"])
            if scope["method"] != "OPTIONS" and headers.get(b"authorization") != b"Bearer secret":
                await JSONResponse({"error": "Unauthorized"}, 401)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def guarded(fake, *, api_key):
    app = Starlette(
        routes=[Mount("/", fake.app)],
        middleware=[Middleware(SlotwiseMiddleware), Middleware(Guard)],
    )
    app.state.args = SimpleNamespace(api_key=api_key)
    return app


@pytest.mark.parametrize("by", ["flag", "variable"])
@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": "secret"}]
)
def test_a_request_without_the_key_is_neither_forecast_nor_counted(
    serve, tmp_path, monkeypatch, by, headers
):
    if by == "variable":
        monkeypatch.setenv("VLLM_API_KEY", "secret")
    with serve():  # for its settings
        pass
    fake = FakeVllm()
    app = guarded(fake, api_key=["other", "secret"] if by == "flag" else None)
    with TestClient(app) as client:
        for path in ("/v1/chat/completions", "/v1/responses", "/inference/v1/generate"):
            assert client.post(path, json={**HI, "input": "x"}, headers=headers).status_code == 401
        told = client.get("/slotwise/metrics").text
        assert client.post(CHAT, json=HI, headers=KEY).status_code == 200
        assert client.post(INVOCATIONS, json=BODIES[INVOCATIONS]).status_code == 200
    for name in ("slotwise_predictions_total{", "slotwise_untouched_requests_total{"):
        assert name not in told
    # With the key, and where vLLM asks for none, requests are read.
    assert [hints_of(seen).slo_class for seen in fake.seen] == ["chat", "chat"]
    assert len(observations(tmp_path)) == 2


@pytest.mark.parametrize(
    ("given", "variable", "keys"),
    [
        (None, None, []),
        (None, "v", ["v"]),
        (["a", "b"], "v", ["a", "b"]),
        ("a", None, ["a"]),
        ([""], "v", []),
    ],
)
def test_the_flag_wins_over_the_variable(monkeypatch, given, variable, keys):
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    if variable:
        monkeypatch.setenv("VLLM_API_KEY", variable)
    app = SimpleNamespace(state=SimpleNamespace(args=SimpleNamespace(api_key=given)))
    assert api_keys(app) == keys


@pytest.mark.parametrize(
    ("method", "path", "authorization", "refused"),
    [
        ("POST", "/v1/chat/completions", b"Bearer secret", False),
        ("POST", "/v1/chat/completions", b"bearer secret", False),
        ("POST", "/v1/chat/completions", b"Basic secret", True),
        ("POST", "/v1/chat/completions", b"secret", True),
        ("POST", "/v1/chat/completions", b"Bearer \xff\xfe", True),
        ("OPTIONS", "/v1/chat/completions", b"", False),
        ("POST", "/invocations", b"", False),
    ],
)
def test_it_is_vllms_check(monkeypatch, method, path, authorization, refused):
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    scope = {"type": "http", "method": method, "headers": [(b"authorization", authorization)]}
    assert will_be_refused(scope, path) is refused


def test_it_agrees_with_vllms_own_check(monkeypatch):
    authenticate = pytest.importorskip("vllm.entrypoints.serve.middleware.authenticate")
    from starlette.datastructures import Headers

    monkeypatch.setenv("VLLM_API_KEY", "sécret")
    check = authenticate.AuthenticationMiddleware(None, ["sécret"])
    for given in (
        "Bearer sécret",
        "Bearer secret",
        "bearer sécret",
        "Bearer",
        "",
        "Bearer  sécret",
    ):
        for raw in (given.encode("latin-1"), given.encode()):
            scope = {"type": "http", "method": "POST", "headers": [(b"authorization", raw)]}
            admitted = check.verify_token(Headers(raw=scope["headers"]))
            assert will_be_refused(scope, "/v1/responses") is not admitted
    for prefix in authenticate.GUARDED_PREFIX:
        assert will_be_refused({"type": "http", "method": "POST", "headers": []}, prefix)


def test_it_is_made_first_in_vllms_own_application(serve):
    """vLLM puts its check and our middleware around its routes, as it does at its start."""
    register = pytest.importorskip("vllm.entrypoints.serve.middleware.register")
    from fastapi import FastAPI

    with serve():  # for its settings
        pass
    fake, everything = FakeVllm(), ["*"]
    app = FastAPI()
    app.state.args = SimpleNamespace(
        api_key=["other", "secret"],
        allowed_origins=everything,
        allowed_methods=everything,
        allowed_headers=everything,
        allow_credentials=False,
        enable_request_id_headers=False,
        middleware=["serving.middleware.asgi.SlotwiseMiddleware"],
    )
    register.init_entrypoints_middleware(app.state.args, app, ("generate",))
    app.mount("/", fake.app)
    with TestClient(app) as client:
        assert client.post(CHAT, json=HI).status_code == 401
        assert "slotwise_predictions_total{" not in client.get("/slotwise/metrics").text
        assert client.post(CHAT, json=HI, headers=KEY).status_code == 200
    assert hints_of(fake.seen[0]).slo_class == "chat"
    assert len(fake.seen) == 1
