"""One streamed chat completion, timed token by token at next to no cost.

The client shares its cores with the engine, so that a chunk is looked at as bytes: a quote inside
JSON text is always escaped, and ``"delta"`` with bare quotes can be nothing but the key.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from serving.bench.records import Status

_PATH = "/v1/chat/completions"
_REJECTED = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE})
# Below the five seconds after which uvicorn closes an idle connection.
_KEEP_ALIVE_S = 3.0

_DATA = b"data:"
_DONE = b"[DONE]"


@dataclass(slots=True)
class StreamMeter:
    """Watches the server-sent events of one answer; times are those handed to :meth:`feed`.

    ``first_s`` and ``last_s`` are when the first and the last token came. A token may decode to
    nothing (half a character), so any delta after the one that opens the message with its role
    counts, empty or not. Token counts are the server's own, from its closing usage chunk.
    """

    first_s: float | None = None
    last_s: float | None = None
    output_tokens: int = 0
    prompt_tokens: int = 0
    error: str | None = None
    done: bool = False
    _rest: bytes = b""

    def feed(self, data: bytes, now_s: float) -> bool:
        """Take what came off the wire at ``now_s``; return whether the first token was in it."""
        before = self.first_s
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.startswith(_DATA):
                self._event(line, now_s)
        return before is None and self.first_s is not None

    @property
    def complete(self) -> bool:
        """Whether the answer came to its end with at least one token, all counted."""
        counted = self.first_s is not None and self.output_tokens > 0
        return self.done and self.error is None and counted

    def _event(self, line: bytes, now_s: float) -> None:
        if b'"delta"' in line:
            if self.first_s is not None:
                self.last_s = now_s
            elif b'"role"' not in line or _says_something(line):
                self.first_s = self.last_s = now_s
        if b'"completion_tokens"' in line:
            self._count(_document(line).get("usage"))
        elif b'"error"' in line and b'"delta"' not in line:  # a token may well say "error"
            self.error = error_message(line[len(_DATA) :])
        elif line.strip().endswith(_DONE):
            self.done = True

    def _count(self, usage: dict[str, Any] | None) -> None:
        if usage is not None:
            self.output_tokens = int(usage["completion_tokens"])
            self.prompt_tokens = int(usage["prompt_tokens"])


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request ended, and why when it was not answered in full."""

    status: Status
    error: str | None = None


def open_client(base_url: str) -> httpx.AsyncClient:
    """Return a client that reuses connections and never waits for a free one.

    Timeouts are the caller's; no proxy and no compression stand between the client and the engine.
    """
    return httpx.AsyncClient(
        base_url=base_url,
        timeout=None,
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEP_ALIVE_S
        ),
        headers={"content-type": "application/json", "accept-encoding": "identity"},
        trust_env=False,
    )


async def ask(
    client: httpx.AsyncClient,
    body: bytes,
    *,
    request_id: str,
    meter: StreamMeter,
    on_first_token: Callable[[], None],
) -> Answer:
    """Send one request and watch its answer; ``meter`` is on ``time.monotonic``.

    Raises ``httpx.TransportError`` when the connection fails.
    """
    headers = {"x-request-id": request_id}
    async with client.stream("POST", _PATH, content=body, headers=headers) as response:
        if response.status_code != httpx.codes.OK:
            return _refusal(response.status_code, await response.aread())
        async for data in response.aiter_raw():
            if meter.feed(data, time.monotonic()):
                on_first_token()
    if meter.complete:
        return Answer("ok")
    return Answer("failed", meter.error or "the answer broke off or came without token counts")


def _refusal(code: int, body: bytes) -> Answer:
    status: Status = "rejected" if code in _REJECTED else "failed"
    return Answer(status, f"HTTP {code}: {error_message(body)}")


def error_message(body: bytes) -> str:
    """Return what an OpenAI-shaped error says, or the beginning of whatever else it is."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    error = document.get("error", document) if isinstance(document, dict) else document
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or body[:200].decode("utf-8", "replace")).strip() or "no message"


def _document(line: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(line[len(_DATA) :])
    return document


def _says_something(line: bytes) -> bool:
    """Whether a delta with a role brings text along, as some servers send it."""
    choices = _document(line)["choices"]
    return any(choice["delta"].get("content") for choice in choices)
