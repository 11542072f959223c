"""Reads request traces, ours and those that others publish."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, zip_longest
from operator import le
from pathlib import Path
from typing import TypeAlias

from predictor.errors import DatasetError
from predictor.reading import ReadReport, SkippedItemError, Tally
from training.moments import as_tokens, epoch_unit_s, moment
from training.records import Placed, read_records
from training.trace_columns import FORMS, TraceColumns, missing_columns
from training.wrapped import unwrapped

_WANTED = f"a CSV or JSON lines (plain or gzip) with columns {FORMS}"
_EXPECTED = f"give {_WANTED}"
_NANOSECOND = 1e-9
# Where seconds have no fractions any more; no trace is so long, and no epoch so far away.
_FAR_S = 1e11

# A moment in the trace's own unit, prompt tokens and output tokens.
_Timed: TypeAlias = tuple[float | int, int, int]


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One request of a trace, ``t_s`` seconds after the trace's start."""

    t_s: float
    input_tokens: int
    output_tokens: int


def read_trace(
    path: Path,
    *,
    limit: int | None = None,
    most_tokens: int | None = None,
    on_report: Callable[[ReadReport], None] | None = None,
) -> list[TraceRow]:
    """The requests (at most the first ``limit``) by arrival, the first one at 0 s.

    Rows that cannot be used, failed requests among them, are left out and counted, and so are
    those that the engine's KV memory of ``most_tokens`` cannot hold; rows out of order are sorted
    and counted. Raises ``DatasetError`` where nothing is left.
    """
    tally = Tally(str(path))
    parser = _Parser(most_tokens)
    records = _requests(unwrapped(read_records(path, what=_WANTED), _Parser().row))
    found = list(islice(tally.used(records, parser.row), limit))
    if parser.columns is None and parser.names:
        raise DatasetError(f"{path}: {missing_columns(parser.names)}; {_EXPECTED}")
    unit_s = parser.unit_s(found)
    if remark := _disorder(found, unit_s):
        tally.note(remark)
    if parser.guessed_ms(found):
        tally.note("times are taken as milliseconds; call the column timestamp_s if they are not")
    report = tally.close(_EXPECTED)
    found.sort(key=lambda row: row[0])
    start = found[0][0]
    if on_report is not None:
        on_report(report)
    return [TraceRow((t - start) * unit_s, i, o) for t, i, o in found]


def _requests(records: Iterator[Placed]) -> Iterator[Placed]:
    """One record a request, also of a file that holds one object of a list for each column."""
    first = next(records, None)
    if first is None:
        return
    place, record = first
    if lists := _column_lists(record):
        for number, row in enumerate(zip_longest(*lists.values()), start=1):
            yield f"{place}, request {number}", dict(zip(lists, row, strict=True))
    else:
        yield first
    yield from records


def _column_lists(record: object) -> dict[str, list[object]]:
    """The three columns of an object that holds each as a list; empty for other records."""
    columns = TraceColumns.among(record) if isinstance(record, Mapping) else None
    if columns is None or not isinstance(record, Mapping):
        return {}
    names = (columns.time, columns.input_tokens, columns.output_tokens)
    lists = {name: values for name in names if isinstance(values := record.get(name), list)}
    return lists if len(lists) == len(names) else {}


class _Parser:
    """Finds the columns in the first record that has them, and reads every record by them."""

    def __init__(self, most_tokens: int | None = None) -> None:
        self._most_tokens = most_tokens
        self.columns: TraceColumns | None = None
        self.names: tuple[str, ...] = ()
        self._dated: bool | None = None

    def row(self, record: object) -> _Timed:
        """Time and token counts of one record; raises ``SkippedItemError``."""
        if not isinstance(record, Mapping):
            raise SkippedItemError("not an object", record)
        if self.columns is None:
            self.names = self.names or tuple(map(str, record))
            self.columns = TraceColumns.among(record)
        columns = self.columns
        if columns is None:
            raise SkippedItemError("no time and token counts")
        time = moment(record.get(columns.time))
        if isinstance(time, float) and self._seconds(time) > _FAR_S:
            raise SkippedItemError("time is out of range", record.get(columns.time))
        read = as_tokens(record.get(columns.input_tokens), columns.input_tokens)
        written = as_tokens(record.get(columns.output_tokens), columns.output_tokens)
        if not written:
            raise SkippedItemError(f"{columns.output_tokens} is 0: no output")
        if not read:
            raise SkippedItemError(f"{columns.input_tokens} is 0: no input")
        # The last token is put out, never cached.
        if self._most_tokens is not None and read + written - 1 > self._most_tokens:
            raise SkippedItemError(
                f"needs more KV memory than the engine's {self._most_tokens} tokens",
                read + written - 1,
            )
        if self._dated is None:
            self._dated = isinstance(time, int)
        if self._dated is not isinstance(time, int):
            raise SkippedItemError("times are numbers and dates", record.get(columns.time))
        return time, read, written

    def _seconds(self, time: float) -> float:
        """At most so many seconds; exact for times that are out of range."""
        unit_s = self.columns.unit_s if self.columns else None
        return time * (unit_s or epoch_unit_s(time)) if time > _FAR_S else time

    def unit_s(self, found: Sequence[_Timed]) -> float:
        """Seconds of the unit that the times have."""
        if self._dated:
            return _NANOSECOND
        if self.columns is not None and self.columns.unit_s is not None:
            return self.columns.unit_s
        if self.guessed_ms(found):
            return 1e-3
        return epoch_unit_s(found[0][0]) if found else 1.0

    def guessed_ms(self, found: Sequence[_Timed]) -> bool:
        """Whether the file's form alone says milliseconds: whole numbers under Mooncake's names."""
        if self.columns is None or not self.columns.may_be_ms or self._dated or not found:
            return False
        plain = epoch_unit_s(found[0][0]) == 1.0
        return plain and all(float(time).is_integer() for time, _, _ in found)


def _disorder(found: Sequence[_Timed], unit_s: float) -> str:
    """How many rows come after a later one, and by how much; nothing where none does."""
    times = [time for time, _, _ in found]
    if all(map(le, times, times[1:])):
        return ""
    late = [latest - time for time, latest in zip(times, accumulate(times, max), strict=True)]
    count = sum(gap > 0 for gap in late)
    return f"{count} rows out of order (by up to {max(late) * unit_s:.3g} s) are sorted"
