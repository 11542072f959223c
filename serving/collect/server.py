"""A client for an OpenAI-compatible chat route that counts the tokens of each response.

Transient faults are retried with growing pauses, as OpenAI's own clients do. A refusal is final
for its prompt alone. A missing key, a redirect or an unknown route ends the run.
"""

import asyncio
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from predictor.errors import EngineError, InputError

KEY_VARIABLE = "OPENAI_API_KEY"
_PATH = "chat/completions"
_VERSIONED = re.compile(r"/v\d+[a-z0-9]*$")
_AGAIN = frozenset({408, 409, 425, 429})
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_NO_ROUTE = frozenset({404, 405, 410})
_LEAST_ERROR = 300
_LEAST_REFUSAL = 400
_LEAST_FAULT = 500
_SAID = 200
_MOST_TOKENS = 1 << 40
# A server that was never reached is given up after so many further tries.
_FIRST_TRIES = 2
# The longest pause between two tries, also where a server asks for a longer one.
_LONGEST_PAUSE_S = 60.0
# An aborted response is shorter than the model would have made it.
_ABORTED = frozenset({"abort", "error"})


class RefusedError(Exception):
    """The server refuses this prompt for good; the text says why."""


class UnavailableError(Exception):
    """Every try of this prompt failed; the text is the last fault."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is tried; pauses double from ``pause_s`` on."""

    tries: int
    pause_s: float

    def pause(self, attempt: int, asked_for_s: float | None) -> float:
        """Seconds to wait after failed attempt number ``attempt`` (from 0)."""
        own = self.pause_s * float(1 << attempt)
        return min(own if asked_for_s is None else max(own, asked_for_s), _LONGEST_PAUSE_S)


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one response."""

    input_tokens: int
    output_tokens: int


def chat_url(base_url: str) -> str:
    """The chat route of a base URL with or without ``/v1``; raises ``InputError``."""
    try:
        url = httpx.URL(base_url.strip())
    except httpx.InvalidURL as error:
        raise _bad_url(base_url) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise _bad_url(base_url)
    path = url.path.rstrip("/").removesuffix(f"/{_PATH}").rstrip("/")
    root = path if _VERSIONED.search(path) else f"{path}/v1"
    return str(url.copy_with(path=f"{root}/{_PATH}"))


def shown_url(url: str) -> str:
    """The URL for messages: without name and password."""
    return str(httpx.URL(url.strip()).copy_with(userinfo=b""))


def bearer(api_key: str | None) -> dict[str, str]:
    """The authorization header; no message shows the key."""
    key = (api_key or os.environ.get(KEY_VARIABLE, "")).strip()
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"the API key ({KEY_VARIABLE}, --api-key) holds characters no header may")
    return {"authorization": f"Bearer {key}"}


class ChatServer:
    """Requests responses from one chat route; many tasks share it."""

    def __init__(self, client: httpx.AsyncClient, url: str, retries: Retries) -> None:
        self._client = client
        self._url = url
        self._shown = shown_url(url)
        self._retries = retries
        self._responded = False

    async def ask(self, body: Mapping[str, Any]) -> Usage:
        """Request one response and count its tokens.

        Raises ``RefusedError`` or ``UnavailableError`` for this prompt, and ``EngineError`` for a
        fault that every other prompt shares.
        """
        content = json.dumps(body).encode()
        fault, pause_s = "", 0.0
        for attempt in range(self._retries.tries):
            if attempt:
                await asyncio.sleep(pause_s)
            try:
                response = await self._client.post(
                    self._url, content=content, headers={"content-type": "application/json"}
                )
            except httpx.RequestError as error:
                fault, asked_for_s = f"{type(error).__name__} {error}".strip(), None
                if isinstance(error, httpx.ConnectError) and attempt >= _FIRST_TRIES:
                    self._check_reached(fault)
            else:
                fault, asked_for_s = self._fault(response), _retry_after_s(response)
                if not fault:
                    self._responded = True
                    return _usage(response)
            pause_s = self._retries.pause(attempt, asked_for_s)
        raise UnavailableError(fault)

    def _check_reached(self, fault: str) -> None:
        if not self._responded:
            raise EngineError(f"{self._shown} cannot be reached ({fault}); check --base-url")

    def _fault(self, response: httpx.Response) -> str:
        """The transient fault of a response, empty if it has none; raises a final one."""
        status = response.status_code
        said = f"HTTP {status} {_said(response)}".strip()
        if status in _AGAIN or status >= _LEAST_FAULT:
            return said
        # Once a key has worked, 403 is about this prompt: a filter in front of the server.
        if status == _UNAUTHORIZED or (status == _FORBIDDEN and not self._responded):
            raise EngineError(
                f"{self._shown} refuses the API key ({said}); give it in "
                f"{KEY_VARIABLE}, or by --api-key"
            )
        if _LEAST_ERROR <= status < _LEAST_REFUSAL:
            target = response.headers.get("location", "nowhere")
            raise EngineError(f"{self._shown} redirects to {target}; give that server's --base-url")
        if status in _NO_ROUTE and not self._responded:
            raise EngineError(
                f"{self._shown} refused the first prompt: {said}; check --base-url and --model"
            )
        if status >= _LEAST_REFUSAL:
            raise RefusedError(said)
        try:
            _usage(response)
        except ValueError as error:
            return str(error)
        return ""


def _usage(response: httpx.Response) -> Usage:
    """The token counts of a response; raises ``ValueError`` if it has none."""
    try:
        document = response.json()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a response that is no JSON ({response.text[:40]!r})") from error
    fields = document if isinstance(document, dict) else {}
    if _aborted(fields.get("choices")):
        raise ValueError("a response without a choice")
    usage = fields.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    read, written = (_count(counts.get(name)) for name in ("prompt_tokens", "completion_tokens"))
    if written is None:
        raise ValueError("a response without token counts; give an OpenAI-compatible URL")
    return Usage(read or 0, written)


def _aborted(choices: object) -> bool:
    if not isinstance(choices, list) or not choices:
        return True
    first = choices[0]
    return isinstance(first, dict) and first.get("finish_reason") in _ABORTED


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= _MOST_TOKENS else None


def _retry_after_s(response: httpx.Response) -> float | None:
    """The pause of a ``Retry-After`` header: seconds, milliseconds or a date."""
    headers = response.headers
    try:
        if text := headers.get("retry-after-ms"):
            return max(float(text) / 1e3, 0.0)
        text = headers.get("retry-after", "")
        return max(float(text), 0.0) if text else None
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max((date - datetime.now(UTC)).total_seconds(), 0.0)


def _said(response: httpx.Response) -> str:
    return " ".join(response.text[:_SAID].split())


def _bad_url(base_url: str) -> InputError:
    return InputError(f"--base-url {base_url!r}: give http://HOST:PORT, with or without /v1")
