"""Events of a streamed answer: which come before the first token, and the counts in the last."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

# Sent before anything is generated: by the Responses and the Messages API, and to keep alive.
_EARLY_EVENTS = (
    b"event: response.created\n",
    b"event: response.queued\n",
    b"event: response.in_progress\n",
    b"event: message_start\n",
    b"event: ping\n",
    b":",
)
_LAST_EVENTS = (b"event: response.completed\n", b"event: response.incomplete\n")


def precedes_tokens(part: bytes) -> bool:
    """Whether this part of a stream holds only events that come before the first token."""
    events = part.split(b"\n\n")
    return all(not event.strip() or event.startswith(_EARLY_EVENTS) for event in events)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, by the server's count."""

    input_tokens: int
    output_tokens: int

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> "Usage | None":
        """vLLM's own count for the request, which most of its routes leave behind."""
        found = getattr(state.get("request_metadata"), "final_usage_info", None)
        if found is None:
            return None
        return cls(found.prompt_tokens, found.completion_tokens or 0)

    @classmethod
    def of_answer(cls, part: bytes) -> "Usage | None":
        """What an answer of the Responses API says, whole or in its last event."""
        if part.startswith(b"event:"):
            last = [each for each in part.split(b"\n\n") if each.startswith(_LAST_EVENTS)]
            if not last:
                return None
            part = last[-1].partition(b"\ndata:")[2]
        elif b'"usage"' not in part:
            return None
        try:
            answer = orjson.loads(part)
        except orjson.JSONDecodeError:
            return None
        if isinstance(answer, dict) and isinstance(answer.get("response"), dict):
            answer = answer["response"]
        usage = answer.get("usage") if isinstance(answer, dict) else None
        if not isinstance(usage, dict):
            return None
        read, written = usage.get("input_tokens"), usage.get("output_tokens")
        return cls(read, written) if isinstance(read, int) and isinstance(written, int) else None
