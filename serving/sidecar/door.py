"""What every request passes: an id, the token, size limits, a log line and metrics.

A plain ASGI middleware: it adds microseconds, and streams pass through it untouched.
"""

import asyncio
import logging
import re
import time
import uuid
from contextvars import ContextVar
from urllib.parse import quote

from starlette._utils import get_route_path  # what the routes go by
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import Metrics
from serving.settings import Settings
from serving.sidecar.errors import error_response
from serving.sidecar.prefix import note_prefix
from serving.token import Token

logger = logging.getLogger("serving.sidecar.access")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

# Whoever asks whether the process lives need not be known, nor whoever looks at the empty page.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/", ""})
OPEN_ASSETS = "/assets/"

_GOOD_ID = re.compile(r"^[A-Za-z0-9._:-]{1,128}$")
_BODY_S = 30.0
_UNMATCHED = "unmatched"


class Door:
    """Wraps an application."""

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._token = Token.of(settings)
        self._max_bytes = settings.max_body_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        note_prefix(scope, headers)
        visit = _Visit(headers.get(b"x-request-id", b""), send)
        mark = request_id.set(visit.id)
        try:
            # As the routes see it: without what stands before it behind a proxy.
            path = get_route_path(scope)
            reply = self._refusal(path, headers) or _to_the_page(scope, path)
            if reply is not None:
                await reply(scope, receive, visit.send)
            else:
                limited = _limited(receive, self._max_bytes)
                await self._app(scope, limited, visit.send)
        finally:
            self._note(scope, visit)
            request_id.reset(mark)

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> Response | None:
        if not self._allowed(path, headers.get(b"authorization", b"")):
            return error_response(401, "give the token: Authorization: Bearer TOKEN")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_bytes:
            return error_response(413, f"the body is larger than {self._max_bytes} bytes")
        return None

    def _allowed(self, path: str, authorization: bytes) -> bool:
        is_open = path in OPEN_PATHS or path.startswith(OPEN_ASSETS)
        return is_open or self._token.admits(authorization)

    def _note(self, scope: Scope, visit: "_Visit") -> None:
        route = getattr(scope.get("route"), "path", _UNMATCHED)
        seconds = time.perf_counter() - visit.began_s
        self._metrics.requests.labels(route, str(visit.status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if logger.isEnabledFor(logging.INFO):
            logger.info(
                "request",
                extra={
                    "method": scope["method"],
                    "route": route,
                    "status": visit.status,
                    "ms": round(seconds * 1e3, 2),
                },
            )


def _to_the_page(scope: Scope, path: str) -> Response | None:
    """The page's addresses are relative: its own must end in a slash."""
    if path:
        return None
    last = scope["path"].rpartition("/")[2]
    return Response(status_code=307, headers={"location": f"./{quote(last)}/"})


class _Visit:
    """One request on its way."""

    def __init__(self, given_id: bytes, send: Send) -> None:
        given = given_id.decode("latin-1")
        self.id = given if _GOOD_ID.match(given) else uuid.uuid4().hex
        self.began_s = time.perf_counter()
        # What the log says of a client that went away.
        self.status = 499
        self._send = send

    async def send(self, message: Message) -> None:
        """Pass on, with the id among the headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.id.encode())]
        await self._send(message)


def _limited(receive: Receive, max_bytes: int) -> Receive:
    """Bodies that announce no length, or come drop by drop, end at the limits as well."""
    seen = 0
    whole = False

    async def limited() -> Message:
        nonlocal seen, whole
        if whole:  # what comes now is that the client goes away, whenever it does
            return await receive()
        try:
            async with asyncio.timeout(_BODY_S):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"the body did not come within {_BODY_S:g} s") from None
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
        if seen > max_bytes:
            raise HTTPException(413, f"the body is larger than {max_bytes} bytes")
        return message

    return limited
