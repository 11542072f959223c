"""The page, its files, and what it shows."""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Header, Request
from plotly.offline import get_plotlyjs
from starlette.responses import Response

from serving.sidecar.json_response import JsonResponse
from serving.sidecar.prefix import forwarded_prefix
from serving.sidecar.routes.shared import Used, new_router

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'self'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}
_KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


def router() -> APIRouter:
    """The endpoints; they stand outside the documented interface."""
    routes = new_router("page")

    @routes.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        """Its addresses are relative. A proxy that took a prefix off says so in a header, and may
        have taken the slash at the end as well.
        """
        prefix = forwarded_prefix(dict(request.scope["headers"]))
        base = f'<base href="{prefix}/">\n' if prefix else ""
        content = _content("page.html").replace(b"<head>\n", f"<head>\n{base}".encode(), 1)
        headers = {**_HEADERS, "cache-control": "no-cache", "vary": "x-forwarded-prefix"}
        return Response(content, media_type=_KINDS["html"], headers=headers)

    @routes.get("/assets/plotly.js", include_in_schema=False)
    async def plotly(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """From the installed package; browsers keep it."""
        script, tag = _plotly()
        headers = {**_HEADERS, "etag": tag, "cache-control": "max-age=86400"}
        if if_none_match == tag:
            return Response(status_code=304, headers=headers)
        return Response(script, media_type="text/javascript", headers=headers)

    @routes.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        return _file(name) if name in ("page.js", "page.css") else Response(status_code=404)

    @routes.get("/live", include_in_schema=False)
    async def live(used: Used) -> Response:
        """What the page shows, as of now."""
        return JsonResponse(
            {
                **used.live.document(),
                "state": used.predictions.state,
                "model": used.predictions.info.to_dict(),
                "model_error": used.predictions.error,
                "database": {"up": used.writer.up, "spooled": used.writer.spooled},
                "slo_classes": used.classes.table.config.document(),
            }
        )

    return routes


@cache
def _plotly() -> tuple[bytes, str]:
    script = get_plotlyjs().encode()
    return script, f'"{sha256(script).hexdigest()[:16]}"'


def _content(name: str) -> bytes:
    return files("serving.sidecar").joinpath("page", name).read_bytes()


def _file(name: str) -> Response:
    kind = _KINDS[name.rpartition(".")[2]]
    return Response(
        _content(name), media_type=kind, headers={**_HEADERS, "cache-control": "no-cache"}
    )
