"""Files of prompts: our own form, OpenAI's batches, chats, recorded conversations, plain text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isinf
from pathlib import Path

from predictor.reading import SkippedItemError
from training.moments import as_temperature, as_tokens
from training.records import Placed, read_records, until_cut
from training.textfile import decoded, read_lines
from training.turns import Turn, as_record, text_of, turns_of
from training.wrapped import unwrapped

EXPECTED = (
    'expected {"prompt": "..."} lines, a batch of OpenAI\'s form or conversations (a .txt file: '
    "one prompt a line)"
)

_TEXTS = ("prompt", "prompt_text", "text", "text_input", "input", "instruction")
_IDS = ("prompt_id", "id", "custom_id", "uuid")
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
# Where batches keep the request itself: OpenAI's and Anthropic's.
_BODIES = ("body", "params")
# No model writes more: a larger limit is none.
_MOST_TOKENS = 1 << 31


@dataclass(frozen=True, slots=True)
class FilePrompt:
    """One prompt of a file, with what else is said of it; ``model`` is what a request asks for."""

    text: str
    id: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    llm: str | None = None
    model: str | None = None


def prompt_records(file: Path) -> Iterator[Placed]:
    """The records of a prompt file with their places; raises ``DatasetError``."""
    if not file.name.lower().endswith((".txt", ".txt.gz")):
        return unwrapped(read_records(file), partial(parse_prompt, limits=False))
    return until_cut((f"line {number}", _line(line)) for number, line in read_lines(file))


def parse_prompt(record: object, *, limits: bool = True) -> FilePrompt:
    """One prompt, without ``limits`` its text alone; raises ``SkippedItemError``."""
    if isinstance(record, str):
        return FilePrompt(record)
    record = as_record(record)
    if not isinstance(record, Mapping):
        raise SkippedItemError("not an object", record)
    body = next((b for name in _BODIES if isinstance(b := record.get(name), Mapping)), record)
    if not limits:
        return FilePrompt(_text(body), id=_name(record, _IDS))
    return FilePrompt(
        text=_text(body),
        id=_name(record, _IDS),
        max_tokens=_limit(body),
        temperature=_temperature(body),
        llm=_name(record, ("llm",)),
        model=_name(body, ("model",)),
    )


def _line(line: bytes) -> object:
    try:
        return decoded(line).strip()
    except SkippedItemError as why:
        return why


def _text(body: Mapping[str, object]) -> str:
    for name in _TEXTS:
        value = body.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, list) and value:
            return _listed(value)
    match body.get("turns"):
        case [str(first), *_]:  # MT-bench: the prompts of a person
            return first
    try:
        return _user_text(turns_of(body))
    except SkippedItemError as error:
        raise SkippedItemError("names no prompt", dict(body)) from error


def _listed(prompt: Sequence[object]) -> str:
    """A list of messages, of text parts, or of one prompt."""
    if all(isinstance(each, int) for each in prompt):
        raise SkippedItemError("a prompt of token ids")
    if any(isinstance(each, Mapping) and "role" in each for each in prompt):
        messages = [each for each in prompt if isinstance(each, Mapping) and "role" in each]
        return _user_text(turns_of({"messages": messages}))
    text = text_of(list(prompt))
    if text is None or sum(isinstance(each, str) for each in prompt) > 1:
        raise SkippedItemError("several prompts in one, or none", list(prompt))
    return text


def _user_text(turns: Sequence[Turn]) -> str:
    """The last user turn of a request, the first one of a recorded conversation."""
    spoken = [turn for turn in turns if turn.role != "other"]
    asked = [turn.text for turn in spoken if turn.role == "human"]
    if not asked:
        raise SkippedItemError("names no prompt")
    return asked[0] if spoken[-1].role == "gpt" else asked[-1]


def _name(record: Mapping[str, object], names: Sequence[str]) -> str | None:
    for name in names:
        value = record.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return None


def _limit(body: Mapping[str, object]) -> int | None:
    """The smallest that is given; an infinite one is none."""
    limits = [_one_limit(name, value) for name in _LIMITS if (value := body.get(name)) is not None]
    return min((limit for limit in limits if limit is not None), default=None)


def _one_limit(name: str, value: object) -> int | None:
    if isinstance(value, int | float) and (value > _MOST_TOKENS or isinf(value)) and value > 0:
        return None
    if value == "":
        return None
    if (limit := as_tokens(value, name)) < 1:
        raise SkippedItemError(f"{name} is below one", value)
    return min(limit, _MOST_TOKENS)


def _temperature(body: Mapping[str, object]) -> float | None:
    value = body.get("temperature")
    if value is None or value == "":
        return None
    return as_temperature(value)
