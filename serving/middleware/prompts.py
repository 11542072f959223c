"""The texts that a request asks the model to continue or to answer, in every form they take."""

from collections.abc import Callable, Mapping
from typing import Any

from serving.middleware.routes import BATCH, CHAT, COMPLETIONS, MESSAGES, RESPONSES

Texts = tuple[str, ...] | None
Fields = Mapping[str, Any]

# Blocks inside blocks: a tool's result may hold text blocks.
_DEPTH = 2


def prompt_texts(kind: str, fields: Fields) -> Texts:
    """One text for each prompt, empty for one that is no text.

    ``None`` where the body does not have the form of ``kind``, one of the routes that are read.
    """
    return _READERS[kind](fields)


def _chat(fields: Fields) -> Texts:
    messages = fields.get("messages")
    return (_last_of_user(messages),) if isinstance(messages, list) else None


def _batch(fields: Fields) -> Texts:
    chats = fields.get("messages")
    if not isinstance(chats, list) or not chats:
        return None
    if not all(isinstance(chat, list) for chat in chats):
        return None
    return tuple(_last_of_user(chat) for chat in chats)


def _responses(fields: Fields) -> Texts:
    """``input`` is a text or a list of items, messages among them."""
    asked = fields.get("input")
    if isinstance(asked, str):
        return (asked,)
    return (_last_of_user(asked),) if isinstance(asked, list) else None


def _completions(fields: Fields) -> Texts:
    """Token ids, and lists of them, are prompts without a text."""
    prompt = fields.get("prompt")
    if isinstance(prompt, str):
        return (prompt,)
    if not isinstance(prompt, list) or not prompt:
        return None
    if all(isinstance(each, int) for each in prompt):
        return ("",)
    return tuple(each if isinstance(each, str) else "" for each in prompt)


_READERS: Mapping[str, Callable[[Fields], Texts]] = {
    CHAT: _chat,
    MESSAGES: _chat,
    BATCH: _batch,
    RESPONSES: _responses,
    COMPLETIONS: _completions,
}


def _last_of_user(messages: list[object]) -> str:
    """The last thing a person said: what the output is to."""
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return _text(message.get("content"), _DEPTH)
    return ""


def _text(content: object, depth: int) -> str:
    """A text, or the texts of its blocks; those of a tool's result stand a level deeper."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not depth:
        return ""
    texts = []
    for block in content:
        if isinstance(block, dict):
            text = block.get("text")
            inner = text if isinstance(text, str) else _text(block.get("content"), depth - 1)
            if inner or isinstance(text, str):
                texts.append(inner)
    return "\n".join(texts)
