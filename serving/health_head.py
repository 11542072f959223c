"""HEAD on the routes that say whether a server is well: load balancers ask so."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PATHS = frozenset({"/health", "/healthz", "/readyz", "/ping"})


class HealthHead:
    """Wraps an application: such a HEAD is answered as a GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through."""
        if not _asks(scope):
            await self._app(scope, receive, send)
            return

        async def bare(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, bare)


def _asks(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "HEAD":
        return False
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) in _PATHS
