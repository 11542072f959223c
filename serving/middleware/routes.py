"""Routes of vLLM's server that generate: which are read, and which are only counted."""

from collections.abc import Mapping
from typing import Any

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
BATCH = "/v1/chat/completions/batch"
# SageMaker's one route for chats and completions; its body says which.
INVOCATIONS = "/invocations"
PATHS = frozenset({CHAT, COMPLETIONS, RESPONSES, MESSAGES, BATCH, INVOCATIONS})

# These generate as well; what they ask is not read.
_UNREAD = frozenset(
    {
        "/inference/v1/generate",
        "/cohere/v2/chat",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/realtime",
        "/v1/systemone",
        "/generative_scoring",
        "/generate",
    }
)
# Label of every other route on which vLLM turns out to have generated.
_OTHER = "other"


def generates(path: str) -> bool:
    """Whether this route is known to generate."""
    return path in PATHS or path in _UNREAD


def label(path: str) -> str:
    """The route as a label of metrics: one of a closed list."""
    return path if generates(path) else _OTHER


def kind_of(path: str, fields: Mapping[str, Any]) -> str:
    """The route whose form a body has; vLLM takes an invocation for a chat if it can."""
    if path != INVOCATIONS:
        return path
    return CHAT if "messages" in fields else COMPLETIONS
