"""The turns of a conversation, whichever way a data set writes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from predictor.reading import SkippedItemError

Role = Literal["human", "gpt", "other"]

_HUMAN = frozenset({"human", "user", "prompter", "person", "client", "question"})
_GPT = frozenset(
    {"gpt", "assistant", "chatgpt", "bing", "bard", "model", "ai", "bot", "chatbot", "llm"}
    | {"answer", "response"}
)
_ROLE_KEYS = ("from", "role", "speaker", "author")
_TEXT_KEYS = ("value", "content", "text", "message")
_LIST_KEYS = ("conversations", "conversation", "messages", "items", "dialogue", "dialog", "turns")
# Where a plain list of texts alternates; that of "turns" holds prompts alone (MT-bench).
_ALTERNATING_KEYS = ("conversations", "conversation", "dialogue", "dialog", "data")
# A prompt and its response in one record, by the names of both.
_PAIRS = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("prompt", "output"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("input", "output"),
    ("user", "assistant"),
    ("human", "assistant"),
)
# What an instruction is about.
_CONTEXT_KEYS = ("input", "context")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message; ``role`` other is a system prompt, a tool's result or the like."""

    role: Role
    text: str


def turns_of(record: Mapping[str, object]) -> tuple[Turn, ...]:
    """The turns of a record; raises ``SkippedItemError`` where it has none, or a malformed one."""
    for key in (*_LIST_KEYS, *_ALTERNATING_KEYS):
        found = record.get(key)
        if not isinstance(found, list) or not found:
            continue
        if all(isinstance(each, str) for each in found):
            if key in _ALTERNATING_KEYS:
                return _alternating(found)
        elif key in _LIST_KEYS:
            return tuple(map(_turn, found))
    for prompt, response in _PAIRS:
        if record.get(prompt) and record.get(response):
            context = _context(record) if prompt == "instruction" else ""
            return (*_side("human", record[prompt], context), *_side("gpt", record[response]))
    raise SkippedItemError("no conversations")


def as_record(record: object) -> object:
    """The record; of a bare list of turns one that holds them."""
    if isinstance(record, list) and record and all(isinstance(each, Mapping) for each in record):
        return {"conversations": record}
    return record


def text_of(content: object) -> str | None:
    """The text of a message: a text, or the text parts of a list; nothing without any."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        return None
    parts = [part if isinstance(part, str) else _part(part) for part in content]
    texts = [part for part in parts if part is not None]
    return "\n".join(texts) if texts else None


def _part(part: object) -> str | None:
    text = part.get("text") if isinstance(part, Mapping) else None
    return text if isinstance(text, str) else None


def _turn(turn: object) -> Turn:
    if not isinstance(turn, Mapping):
        raise SkippedItemError("malformed turn", turn)
    role = next((turn[key] for key in _ROLE_KEYS if turn.get(key) is not None), None)
    key = next((key for key in _TEXT_KEYS if key in turn), None)
    if isinstance(role, Mapping):  # the author of an exported chat
        role = role.get("role")
    if not isinstance(role, str) or key is None:
        raise SkippedItemError("malformed turn", dict(turn))
    content = next((turn[key] for key in _TEXT_KEYS if turn.get(key) is not None), None)
    text = text_of(content)
    if text is None:  # a call of a tool, a picture
        if content is None or isinstance(content, list):
            return Turn("other", "")
        raise SkippedItemError("malformed turn", dict(turn))
    return Turn(_role(role), text)


def _role(name: str) -> Role:
    known = name.strip().lower()
    if known in _HUMAN:
        return "human"
    return "gpt" if known in _GPT else "other"


def _alternating(texts: Sequence[str]) -> tuple[Turn, ...]:
    return tuple(Turn("gpt" if k % 2 else "human", text) for k, text in enumerate(texts))


def _side(role: Role, content: object, context: str = "") -> tuple[Turn, ...]:
    """One side of a record of prompt and response: a text or a list of messages."""
    if isinstance(content, list) and all(map(_is_message, content)):
        return tuple(map(_turn, content))
    text = text_of(content)
    if text is None:
        raise SkippedItemError("no conversations")
    return (Turn(role, f"{text}\n\n{context}" if context else text),)


def _is_message(item: object) -> bool:
    return isinstance(item, Mapping) and any(key in item for key in _ROLE_KEYS)


def _context(record: Mapping[str, object]) -> str:
    found = (record.get(key) for key in _CONTEXT_KEYS)
    return next((text for text in found if isinstance(text, str) and text.strip()), "")
