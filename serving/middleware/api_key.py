"""vLLM's own check of the API key, made before anything is spent on a request.

vLLM puts its ``--middleware`` around its check, so that ours sees requests first.
"""

import hashlib
import os
import secrets
from collections.abc import Iterable

from starlette.types import Scope

# What vLLM's check guards of the paths read here.
_GUARDED = ("/v1", "/v2", "/inference", "/cohere")


def will_be_refused(scope: Scope, path: str) -> bool:
    """Whether vLLM answers this HTTP request with 401; without a key nobody is refused."""
    keys = api_keys(scope.get("app"))
    if not keys or scope.get("method") == "OPTIONS" or not path.startswith(_GUARDED):
        return False
    return not _admits(keys, scope["headers"])


def api_keys(app: object) -> list[str]:
    """The keys in force: those of ``--api-key`` (or of vLLM's file), else of ``VLLM_API_KEY``."""
    args = getattr(getattr(app, "state", None), "args", None)
    given = getattr(args, "api_key", None) or [os.environ.get("VLLM_API_KEY")]
    keys = [given] if isinstance(given, str) else given
    return [key for key in keys if key]


def _admits(keys: Iterable[str], headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Compares digests, each in constant time, as vLLM does."""
    given = next((value for name, value in headers if name == b"authorization"), b"")
    scheme, _, token = given.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        return False
    digest = _digest(token)
    admitted = False
    for key in keys:
        admitted |= secrets.compare_digest(digest, _digest(key))
    return admitted


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8")).digest()
