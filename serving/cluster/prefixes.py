"""Which replica holds which beginnings of prompts in its prefix cache, as far as can be told."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from scheduler.snapshot import Floats

# Beginnings are told apart in blocks of so many characters; so many of them are remembered.
_BLOCK = 256
_MOST_BLOCKS = 64
_REMEMBERED = 20_000
# English in the usual tokenizers; a router has no tokenizer and needs none.
_CHARACTERS_PER_TOKEN = 4.0


class PrefixMemory:
    """Chained hashes of the blocks that prompts begin with, and the replicas they went to.

    Engines drop what they have not used for long, and so does this: the least recent goes first.
    """

    def __init__(self) -> None:
        self._where: OrderedDict[int, set[str]] = OrderedDict()

    def sent(self, text: str, replica: str) -> None:
        """A prompt went there."""
        for key in _keys(text):
            self._where.setdefault(key, set()).add(replica)
            self._where.move_to_end(key)
        while len(self._where) > _REMEMBERED:
            self._where.popitem(last=False)

    def cached(self, text: str, replicas: Sequence[str], prompt_tokens: float) -> Floats:
        """Tokens of the prompt that each replica is likely to have, float64[replicas]."""
        blocks = dict.fromkeys(replicas, 0)
        for count, key in enumerate(_keys(text), 1):
            holders = self._where.get(key)
            if not holders:
                break
            for name in holders:
                if blocks.get(name) == count - 1:
                    blocks[name] = count
        share = np.array([blocks[name] for name in replicas]) * _BLOCK / max(len(text), 1)
        found: Floats = np.minimum(share, 1.0) * prompt_tokens
        return found

    def forget(self, replica: str) -> None:
        """A replica is gone, and its cache with it."""
        for holders in self._where.values():
            holders.discard(replica)


def _keys(text: str) -> list[int]:
    key, keys = 0, []
    for at in range(0, min(len(text), _BLOCK * _MOST_BLOCKS) - _BLOCK + 1, _BLOCK):
        key = hash((key, text[at : at + _BLOCK]))
        keys.append(key)
    return keys


def prompt_text(args: Sequence[Any]) -> str:
    """What a request says from its beginning on, as far as it is text."""
    if not args:
        return ""
    messages = getattr(args[0], "messages", None)
    if isinstance(messages, list):
        return "\n".join(_content(message) for message in messages)
    prompt = getattr(args[0], "prompt", None)
    prompts = [prompt] if isinstance(prompt, str) else prompt
    return "\n".join(p for p in prompts or () if isinstance(p, str))


def prompt_tokens(args: Sequence[Any]) -> float:
    """About so many tokens: those of a prompt of token ids, else by the length of the text."""
    prompt = getattr(args[0], "prompt", None) if args else None
    ids = sum(len(p) if isinstance(p, list) else isinstance(p, int) for p in _listed(prompt))
    return max(ids + len(prompt_text(args)) / _CHARACTERS_PER_TOKEN, 1.0)


def _listed(prompt: Any) -> list[Any]:
    return prompt if isinstance(prompt, list) else []


def _content(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in _listed(content) if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))
