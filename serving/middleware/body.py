"""The JSON body of a completion request: what is asked, and room for what we add."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from serving.xargs import PREFIX, XargValue

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
PATHS = frozenset({CHAT, COMPLETIONS})

# No model answers longer, whatever a client allows.
_MOST_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True)
class CompletionBody:
    """``fields`` of what the client sent; ``texts`` are its prompts, of token ids nothing."""

    raw: bytes
    fields: Mapping[str, Any]
    texts: tuple[str, ...]

    @classmethod
    def parse(cls, raw: bytes, *, path: str) -> "CompletionBody | None":
        """Nothing where this is no JSON object with a prompt: vLLM has its own words for that."""
        try:
            fields = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(fields, dict):
            return None
        texts = _chat_texts(fields) if path == CHAT else _prompt_texts(fields.get("prompt"))
        return None if texts is None else cls(raw, fields, texts)

    @property
    def answers(self) -> int:
        """How many answers are asked for: ``n`` to each prompt."""
        n = self.fields.get("n")
        each = n if isinstance(n, int) and not isinstance(n, bool) and n > 0 else 1
        return each * max(len(self.texts), 1)

    @property
    def max_tokens(self) -> int | None:
        """The longest answer the client allows."""
        for name in ("max_completion_tokens", "max_tokens"):
            value = self.fields.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return min(value, _MOST_TOKENS)
        return None

    @property
    def temperature(self) -> float | None:
        """How it is sampled."""
        value = self.fields.get("temperature")
        return float(value) if isinstance(value, int | float) and 0 <= value <= 100 else None

    @property
    def model(self) -> str | None:
        """Which LLM is to answer."""
        name = self.fields.get("model")
        return name if isinstance(name, str) else None

    def with_xargs(self, xargs: Mapping[str, XargValue]) -> bytes:
        """The body with these entries of ``vllm_xargs``; the client's own keys of ours are gone."""
        theirs = self.fields.get("vllm_xargs")
        theirs = theirs if isinstance(theirs, dict) else {}
        kept = {name: value for name, value in theirs.items() if not name.startswith(PREFIX)}
        try:
            return orjson.dumps({**self.fields, "vllm_xargs": {**kept, **xargs}})
        except orjson.JSONEncodeError:
            return self.raw  # what is nested deeper than can be written goes as it came


def _chat_texts(fields: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The last thing a person said: what the answer is to."""
    messages = fields.get("messages")
    if not isinstance(messages, list):
        return None
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return (_content(message.get("content")),)
    return ("",)


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def _prompt_texts(prompt: object) -> tuple[str, ...] | None:
    """One text for each prompt; token ids (and lists of them) are prompts without a text."""
    if isinstance(prompt, str):
        return (prompt,)
    if not isinstance(prompt, list) or not prompt:
        return None
    if all(isinstance(each, int) for each in prompt):
        return ("",)
    return tuple(each if isinstance(each, str) else "" for each in prompt)
