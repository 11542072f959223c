"""The fleet's front door: OpenAI's API, and a request of a dead replica sent to another."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import orjson
from fastapi import FastAPI, Request
from ray.exceptions import ActorDiedError, RayTaskError
from ray.llm._internal.serve.core.ingress.ingress import init as ray_app
from ray.serve.llm.ingress import OpenAiIngress
from starlette.types import Receive, Scope, Send
from vllm.v1.engine.exceptions import EngineDeadError

from scheduler.warmup import warm_up_placement
from serving.cluster.metrics import ClusterMetrics
from serving.cluster.replica import Served
from serving.cluster.router_metrics import router_metrics
from serving.middleware.asgi import SlotwiseMiddleware
from serving.settings import load as load_settings
from serving.sidecar.errors import error_response
from serving.token import Token

logger = logging.getLogger(__name__)

# A request that met so many dying replicas is given back to its client.
_MOST_TRIES = 3
# What a replica or its engine leaves behind that died; nothing of the request runs on there.
DEATHS = (ActorDiedError, EngineDeadError)


class SlotwiseIngress(OpenAiIngress):  # type: ignore[misc]
    """Ray's ingress behind our middleware.

    A request whose replica dies before the first token reached the client is placed anew: nothing
    of it was delivered, nothing of it runs. One that was streaming ends with an error event.
    """

    async def _get_response(
        self, *, body: Any, call_method: str, raw_request: Request | None = None
    ) -> AsyncGenerator[Any, None]:
        for tried in range(1, _MOST_TRIES + 1):
            begun = False
            try:
                async for part in super()._get_response(
                    body=body, call_method=call_method, raw_request=raw_request
                ):
                    if isinstance(part, Served):
                        _note(raw_request, part)
                        continue
                    _note_whole(raw_request, part)
                    begun = True
                    yield part
                return
            except (*DEATHS, RayTaskError) as error:
                if not _death(error):
                    raise
                if begun:
                    logger.warning("a replica died under a stream: %s", type(error).__name__)
                    yield _broken()
                    return
                if tried == _MOST_TRIES:
                    raise
                router_metrics().replaced.inc()
                logger.info("placed anew, its replica died: %s", type(error).__name__)


def _death(error: BaseException) -> bool:
    cause = error.cause if isinstance(error, RayTaskError) else error
    return isinstance(cause, DEATHS)


def _broken() -> str:
    """The end of a stream whose replica died, as vLLM's own errors in a stream look."""
    error = {
        "message": "the replica that wrote this answer died; ask again",
        "type": "server_error",
        "param": None,
        "code": 503,
    }
    return f"data: {orjson.dumps({'error': error}).decode()}\n\n"


def _note(request: Request | None, served: Served) -> None:
    """Leave the count where the middleware finds it in a server of vLLM's own."""
    if request is None:
        return
    request.state.slotwise_replica = served.replica
    if served.output_tokens is not None:
        usage = SimpleNamespace(
            prompt_tokens=served.input_tokens, completion_tokens=served.output_tokens
        )
        request.state.request_metadata = SimpleNamespace(final_usage_info=usage)


def _note_whole(request: Request | None, part: Any) -> None:
    """An answer in one piece carries its count."""
    usage = getattr(part, "usage", None)
    if request is not None and usage is not None:
        request.state.request_metadata = SimpleNamespace(final_usage_info=usage)


class FleetMiddleware(SlotwiseMiddleware):
    """Our middleware, whose metrics are those of the whole fleet."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        # In mode off as well.
        self._token = Token.of(load_settings().settings)
        self._metrics: ClusterMetrics | None = None
        self._noting: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Only with the token, if there is one; browsers ask beforehand without."""
        if scope["type"] == "http" and scope["method"] != "OPTIONS":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not self._token.admits(given):
                refusal = error_response(401, "give the token: Authorization: Bearer TOKEN")
                await refusal(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def _will_be_refused(self, scope: Scope, path: str) -> bool:  # noqa: ARG002
        """Only by our own token, above: Ray's ingress knows no key of vLLM's."""
        return False

    async def _start(self) -> None:
        await super()._start()
        if self._services is not None:
            # The router lives in this process, on another loop, and must not compile there.
            await asyncio.to_thread(warm_up_placement)
            self._metrics = ClusterMetrics(self._services)
            self._noting = asyncio.create_task(self._metrics.run())

    async def _stop(self) -> None:
        if self._noting is not None:
            self._noting.cancel()
        await super()._stop()

    async def _rendered(self) -> bytes:
        assert self._metrics is not None
        return await self._metrics.rendered()


def ingress_app() -> FastAPI:
    """Ray's application with ours around it."""
    app: FastAPI = ray_app()
    app.add_middleware(FleetMiddleware)
    return app
