"""``--middleware serving.middleware.asgi.SlotwiseMiddleware``: Slotwise in front of vLLM's server.

Requests that generate get their SLO and a forecast on their way to the scheduler. Everything else
passes untouched; what generates and cannot be read is counted. A fault in here costs no request.
"""

import logging

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.health_head import HealthHead
from serving.metrics import CONTENT_TYPE
from serving.middleware.answer_events import Usage
from serving.middleware.api_key import will_be_refused
from serving.middleware.body import CompletionBody
from serving.middleware.passage import Watch, upload, with_length
from serving.middleware.routes import PATHS, RESPONSES, generates, label
from serving.middleware.services import MiddlewareServices, Ticket
from serving.middleware.shedding import ShedGate, refusal
from serving.middleware.stated_limits import EngineDefaults
from serving.settings import load as load_settings

logger = logging.getLogger(__name__)

METRICS_PATH = "/slotwise/metrics"


class SlotwiseMiddleware:
    """Wraps vLLM's application; starts and stops with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = HealthHead(app)
        self._services: MiddlewareServices | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, with what the scheduler should know of it."""
        services = self._services
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._along(send))
        elif services is None or scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif (path := _path(scope)) == METRICS_PATH:
            response = Response(await self._rendered(), media_type=CONTENT_TYPE)
            await response(scope, receive, send)
        elif scope.get("method", "POST") != "POST" or self._will_be_refused(scope, path):
            await self._app(scope, receive, send)
        elif path in PATHS and scope["type"] == "http":
            await self._completion(services, path, scope, receive, send)
        else:
            await self._unread(services, path, scope, receive, send)

    def _will_be_refused(self, scope: Scope, path: str) -> bool:
        """Whether the server behind answers with 401: then nothing is spent on the request."""
        return will_be_refused(scope, path)

    def _along(self, send: Send) -> Send:
        """Start before the server says that it is ready, stop once it has ended."""

        async def along(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                # What raises here ends the server: it says so itself and cleans up.
                await self._start()
            elif message["type"].startswith("lifespan.shutdown"):
                await self._stop()
            await send(message)

        return along

    async def _start(self) -> None:
        settings = load_settings().settings
        if settings.mode != "off":
            services = MiddlewareServices.of(settings)
            await services.start()
            self._services = services

    async def _stop(self) -> None:
        services, self._services = self._services, None
        if services is not None:
            await services.stop()

    async def _rendered(self) -> bytes:
        assert self._services is not None
        return self._services.metrics.rendered()

    async def _completion(
        self, services: MiddlewareServices, path: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        read = await upload(receive, max_bytes=services.settings.max_body_bytes)
        body = CompletionBody.parse(read.body, path=path) if read.whole else None
        if body is None:
            services.metrics.untouched.labels(label(path)).inc()
            await self._app(scope, read.replayed(receive), send)
            return
        # Counted from here on: what the forecast takes is part of the wait.
        watch = Watch(send, reads_usage=path == RESPONSES)
        ticket = await services.ticket(scope["headers"], body, EngineDefaults.of(scope.get("app")))
        fresh = ticket.encoded()
        scope = {**with_length(scope, len(fresh)), "state": scope.get("state", {})}
        gate = ShedGate(watch.send, open=not ticket.sheddable)
        await self._app(scope, read.replayed(receive, body=fresh), gate.send)
        if gate.shed:
            services.shed(ticket)
            await refusal()(scope, receive, send)
        else:
            _note(services, ticket, watch, scope)

    async def _unread(
        self, services: MiddlewareServices, path: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Pass a request on, and count it if it generated: by its route, or by vLLM's own count."""
        scope, watch = {**scope, "state": scope.get("state", {})}, Watch(send)
        await self._app(scope, receive, watch.send)
        usage = Usage.of_state(scope["state"])
        counted = generates(path) or (usage is not None and usage.output_tokens > 0)
        if counted and (watch.status is None or watch.status < 400):
            services.metrics.untouched.labels(label(path)).inc()


def _note(services: MiddlewareServices, ticket: Ticket, watch: Watch, scope: Scope) -> None:
    """Only what came whole counts."""
    usage = Usage.of_state(scope["state"]) or watch.usage
    if usage is None or watch.status != 200 or not watch.complete:
        return
    if usage.output_tokens > 0 and watch.first_s is not None:
        services.finished(
            ticket,
            watch,
            input_tokens=usage.input_tokens,
            tokens=usage.output_tokens,
            replica=scope["state"].get("slotwise_replica"),
        )


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
