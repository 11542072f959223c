"""Serves the sidecar until it is told to stop."""

import gc
import ipaddress
import logging
import socket

import uvicorn

from predictor.errors import ConfigError
from serving.settings import Settings
from serving.sidecar import logs
from serving.sidecar.app import create_app

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_GRACE_S = 10


def run(settings: Settings) -> None:
    """Listen and serve; raises ``ConfigError`` if the address cannot be had."""
    logs.set_up(settings.log_level)
    app = create_app(settings)
    listener = _listener(settings)
    host, port = listener.getsockname()[:2]
    if settings.api_token is None and not _loopback(host):
        logger.warning("%s is reachable from outside and SLOTWISE_API_TOKEN is not set", host)
    logger.info("sidecar", extra={"url": f"http://{host}:{port}", "port": port})
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        limit_concurrency=settings.max_concurrency,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
        server_header=False,
    )
    _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; then leave what was loaded out of garbage collections.

        Compiled kernels and libraries are hundreds of thousands of objects: to look through them
        all now and then held up a request by 200 ms.
        """
        await super().startup(sockets)
        gc.collect()
        gc.freeze()


def _listener(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
            "choose another --host or --port"
        ) from error
    listener.listen(_BACKLOG)
    return listener


def _loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback
