"""Reads the records of CSV files, JSON lines and JSON arrays.

Each record comes with its place in the file. A record that cannot be decoded comes as the reason,
and reading resumes at the next one.
"""

import codecs
import csv
import hashlib
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain, islice, repeat
from pathlib import Path

from predictor.reading import SkippedItemError
from training.textfile import CutFileError, chunks, encoding_of, text_lines

Placed = tuple[str, object]

_CHUNK_BYTES = 1 << 20
_MOST_BYTES = 1 << 28
_SEPARATORS = re.compile(r"[\s,\]]*")
# In a list inside an object that could not be decoded as a whole; what follows it is no record.
_INNER_SEPARATORS = re.compile(r"[\s,]*")
_LIST_START = re.compile(r'"\s*:\s*\[\s*(?=[\[{])')
_LINE_START = re.compile(r"(?<=\n)[ \t]*\{")
_FLUSH_LINE_START = re.compile(r"(?<=\n)\{")
_BLANKS = re.compile(r"\s*")
_LINE_END = re.compile(r"[ \t\r]*(?:\n|\Z)")
# Bytes that are not UTF-8, as Python's surrogateescape keeps them.
_UNDECODED = re.compile("[\udc80-\udcff]")
# What JSON's decoder says of a text that ends too early, or how near the end it stops.
_CUT_SHORT = "Unterminated string"
_CUT_CHARACTERS = 8
_LINES_AHEAD = 20
_QUOTE = '"'
_DELIMITERS = ",;\t|"
_CUT_END, _END = "cut off by the end of the file", "its end"


def read_records(file: Path, *, what: str = "a readable file") -> Iterator[Placed]:
    """The records of a table or of JSON; those of a table are dictionaries of text.

    ``what`` the file should be, for messages.
    """
    with closing(_text(file, repeat(_CHUNK_BYTES), what=what)) as pieces:
        first = next(pieces, "").lstrip()
    if first[:1] in ("{", "["):
        return _with_cut_end(JsonRecords(file, what=what))
    return until_cut(_table(file, what))


def until_cut(records: Iterator[Placed]) -> Iterator[Placed]:
    """The records, and the reason in the place of what a cut or damaged file lacks."""
    try:
        yield from records
    except CutFileError as cut:
        yield _END, SkippedItemError(_CUT_END, cut.why)


def _with_cut_end(stream: "JsonRecords") -> Iterator[Placed]:
    yield from stream
    if stream.cut_end:
        yield _END, SkippedItemError(_CUT_END, stream.damage or None)


class JsonRecords:
    """The JSON values of a list (or of JSON lines), decoded one by one while reading.

    Once the iteration is over, ``cut_end`` says whether the last value was incomplete, ``damage``
    what is wrong with a packed file, and ``sha256`` is that of the whole (unpacked) content.
    """

    def __init__(self, path: Path, *, what: str = "a readable file") -> None:
        self.cut_end = False
        self.damage = ""
        self._what = what
        self.sha256 = ""
        self._path = path
        self._decoder = json.JSONDecoder()
        self._array = False
        self._number = 0
        self._line = 1
        # Whether every value so far stands on one line; unknown before the first.
        self._one_line: bool | None = None
        self._separators = _SEPARATORS
        self._start: re.Pattern[str] | None = None
        self._wanted = _CHUNK_BYTES

    def __iter__(self) -> Iterator[Placed]:
        digest = hashlib.sha256()
        buffer, opened = "", False
        for text in self._undamaged(
            _text(self._path, self._sizes(), digest.update, what=self._what)
        ):
            buffer += text
            if not opened and (stripped := buffer.lstrip()):
                self._line += buffer.count("\n", 0, len(buffer) - len(stripped))
                self._array, opened = stripped.startswith("["), True
                buffer = stripped.removeprefix("[")
            start = yield from self._complete(buffer, last=False)
            buffer = buffer[start:]
            # A value longer than the buffer is tried again on twice as much text.
            self._wanted = _CHUNK_BYTES if start else min(2 * self._wanted, _MOST_BYTES)
        yield from self._complete(buffer, last=True)
        self.sha256 = digest.hexdigest()

    def _undamaged(self, pieces: Iterable[str]) -> Iterator[str]:
        try:
            yield from pieces
        except CutFileError as cut:
            self.cut_end, self.damage = True, cut.why

    def _sizes(self) -> Iterator[int]:
        while True:
            yield self._wanted

    def _complete(self, buffer: str, *, last: bool) -> Generator[Placed, None, int]:
        """Yield the values that end inside ``buffer``; return where the next one begins."""
        position = 0
        while True:
            begin = _end(self._separators, buffer, position)
            if begin == len(buffer) or buffer[begin] == "]":
                self._pass(buffer, position, begin)
                return len(buffer)
            try:
                value, end = self._decoder.raw_decode(buffer, begin)
            except (ValueError, RecursionError) as error:  # not JSON, endless digits, too deep
                if not last:
                    return position
                self._pass(buffer, position, begin)
                value, end = self._broken(buffer, begin, error)
                if value is None:
                    return len(buffer)
            else:
                # A bare number or word at the buffer's end may go on in the next chunk.
                if end == len(buffer) and not last:
                    return position
                self._pass(buffer, position, begin)
                self._learn(value, one_line=buffer.find("\n", begin, end) < 0)
                if _UNDECODED.search(buffer, begin, end):
                    value = SkippedItemError("not UTF-8", buffer[begin : begin + 40])
            self._number += 1
            yield self._place(), value
            self._pass(buffer, begin, end)
            position = end

    def _broken(
        self, buffer: str, begin: int, error: Exception
    ) -> tuple[SkippedItemError | None, int]:
        """The reason for an undecodable record and the next start; no reason for a cut end."""
        lines = self._has_lines(buffer, begin)
        following = _next_line(buffer, begin) if lines else self._next_start(buffer, begin + 1)
        if following is None and not self._number and (opening := self._opening(buffer, begin)):
            return SkippedItemError("the object around the records is broken"), opening
        if following is None and _cut(buffer, error):
            self.cut_end = True
            return None, len(buffer)
        end = len(buffer) if following is None else following
        return SkippedItemError("not JSON", buffer[begin : min(begin + 40, end)].rstrip()), end

    def _has_lines(self, buffer: str, begin: int) -> bool:
        """Whether records stand on one line each; before the first one the lines ahead tell."""
        if self._array or self._one_line is not None:
            return not self._array and bool(self._one_line)
        starts = islice(_FLUSH_LINE_START.finditer(buffer, begin), _LINES_AHEAD)
        return any(self._is_line(buffer, start.start()) for start in starts)

    def _is_line(self, buffer: str, begin: int) -> bool:
        try:
            _, end = self._decoder.raw_decode(buffer, begin)
        except (ValueError, RecursionError):
            return False
        return _LINE_END.match(buffer, end) is not None and "\n" not in buffer[begin:end]

    def _opening(self, buffer: str, begin: int) -> int | None:
        """Where the first list inside an object begins that holds objects or lists."""
        opening = None if self._array else _LIST_START.search(buffer, begin)
        if opening is None:
            return None
        self._array, self._separators = True, _INNER_SEPARATORS
        return opening.end()

    def _next_start(self, buffer: str, position: int) -> int | None:
        patterns = [self._start] if self._start else []
        if not self._array or not patterns:
            patterns.append(_LINE_START)
        found = [match.start() for p in patterns if (match := p.search(buffer, position))]
        return min(found, default=None)

    def _learn(self, value: object, *, one_line: bool) -> None:
        """Remember what marks the next record after a broken one: the first key, or a new line."""
        self._one_line = one_line and self._one_line is not False
        if self._start is None and isinstance(value, dict) and value:
            key = json.dumps(next(iter(value)), ensure_ascii=False)
            self._start = re.compile(r"\{\s*" + re.escape(key) + r"\s*:")

    def _pass(self, buffer: str, start: int, end: int) -> None:
        self._line += buffer.count("\n", start, end)

    def _place(self) -> str:
        return f"record {self._number}" if self._array else f"line {self._line}"


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _next_line(buffer: str, position: int) -> int | None:
    """Where the next line begins; nothing where only blanks follow."""
    end = buffer.find("\n", position)
    return None if end < 0 or _end(_BLANKS, buffer, end) == len(buffer) else end + 1


def _cut(buffer: str, error: Exception) -> bool:
    if not isinstance(error, json.JSONDecodeError):
        return False
    near_end = error.pos >= len(buffer.rstrip()) - _CUT_CHARACTERS
    return near_end or error.msg.startswith(_CUT_SHORT)


def _text(
    file: Path,
    sizes: Iterable[int],
    seen: Callable[[bytes], None] | None = None,
    *,
    what: str = "a readable file",
) -> Generator[str, None, None]:
    """The content decoded piece by piece; bytes that are not UTF-8 become lone surrogates."""
    decoder = None
    for piece in chunks(file, sizes, what=what):
        if seen is not None:
            seen(piece)
        if decoder is None:
            encoding = encoding_of(piece)
            errors = "replace" if encoding == "utf-16" else "surrogateescape"
            decoder = codecs.getincrementaldecoder(encoding)(errors)
        yield decoder.decode(piece, final=not piece)
        if not piece:
            return


def _table(file: Path, what: str) -> Iterator[Placed]:
    """The rows below the header, as dictionaries; a row with too few fields lacks the last."""
    lines = (
        (n, line) for n, line in enumerate(text_lines(file, what=what), start=1) if line.strip()
    )
    top = next(lines, None)
    if top is None:
        return
    delimiter = max(_DELIMITERS, key=top[1].count)
    header = [name.strip() for name in _alone(top[1], delimiter) or ()]
    for place, row in _rows(lines, delimiter, len(header)):
        yield place, dict(zip(header, row, strict=False))


def _rows(
    lines: Iterator[tuple[int, str]], delimiter: str, width: int
) -> Iterator[tuple[str, list[str]]]:
    """The rows of a table; lines that a stray quote joins are split again."""
    for number, line in lines:
        if _QUOTE in line:
            yield from _quoted((number, line), lines, delimiter, width)
        else:  # what the csv module does, faster
            yield f"line {number}", line.rstrip("\n").split(delimiter)


def _quoted(
    first: tuple[int, str], following: Iterator[tuple[int, str]], delimiter: str, width: int
) -> Iterator[tuple[str, list[str]]]:
    """The row that begins in the first line and may end in a following one."""
    taken: list[tuple[int, str]] = []
    cut: CutFileError | None = None

    def tapped() -> Iterator[str]:
        nonlocal cut
        try:
            for number, line in chain((first,), following):
                taken.append((number, line))
                yield line
        except CutFileError as error:
            cut = error

    try:
        row = next(csv.reader(tapped(), delimiter=delimiter), [])
    except csv.Error:
        row = []
    if row and (len(taken) == 1 or len(row) == width):
        yield f"line {first[0]}", row
    else:
        for number, line in taken:
            yield f"line {number}", _alone(line, delimiter)
    if cut:
        raise cut


def _alone(line: str, delimiter: str) -> list[str]:
    """The fields of one line; split without quotes if the csv module refuses it."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.rstrip("\r\n").split(delimiter)
