"""The path under which a proxy shows the sidecar."""

import re
from collections.abc import Mapping

from starlette.types import Scope

_HEADER = b"x-forwarded-prefix"
# No empty parts: `//host` would lead elsewhere.
_GOOD = re.compile(rb"^(/[A-Za-z0-9._~-]+)+$")


def forwarded_prefix(headers: Mapping[bytes, bytes]) -> str:
    """What a proxy says of it (``X-Forwarded-Prefix``); empty where it says nothing usable."""
    given = headers.get(_HEADER, b"").rstrip(b"/")
    return given.decode("ascii") if _GOOD.match(given) else ""


def note_prefix(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    """Let the routes know of a prefix that a proxy left on the path."""
    root = scope.get("root_path", "").rstrip("/")
    prefix = forwarded_prefix(headers)
    if not root and prefix and f"{scope['path']}/".startswith(f"{prefix}/"):
        root = prefix
    scope["root_path"] = root
