"""Reads request traces: ``t_s,input_tokens,output_tokens`` as CSV, gzipped or not."""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TextIO

from predictor.errors import DatasetError

_COLUMNS = ("t_s", "input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One request of a trace, ``t_s`` seconds after the trace's start."""

    t_s: float
    input_tokens: int
    output_tokens: int


def read_trace(path: Path, *, limit: int | None = None) -> list[TraceRow]:
    """The rows (at most the first ``limit``), the first one shifted to 0 s.

    Raises ``DatasetError`` naming the line at fault; times must not fall.
    """
    try:
        with _opened(path) as file:
            rows = list(islice(_rows(path, file), limit))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path}: {error}; give a CSV or gzipped CSV with columns {','.join(_COLUMNS)}"
        ) from error
    if not rows:
        raise DatasetError(f"{path}: no rows; give a trace with at least one request")
    for earlier, later in pairwise(rows):
        if later.t_s < earlier.t_s:
            raise DatasetError(
                f"{path}: t_s falls from {earlier.t_s} to {later.t_s}; sort the rows by t_s"
            )
    return [TraceRow(r.t_s - rows[0].t_s, r.input_tokens, r.output_tokens) for r in rows]


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _rows(path: Path, file: TextIO) -> Iterator[TraceRow]:
    reader = csv.DictReader(file)
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise DatasetError(
            f"{path}: no column {', '.join(missing)}; the header must be {','.join(_COLUMNS)}"
        )
    for row in reader:
        yield _row(f"{path}, line {reader.line_num}", row)


def _row(place: str, row: dict[str, str | None]) -> TraceRow:
    try:
        t_s = float(row["t_s"] or "")
        tokens = [int(row[name] or "") for name in _COLUMNS[1:]]
    except ValueError as error:
        raise DatasetError(f"{place}: {error}; give seconds and two whole numbers") from error
    if not math.isfinite(t_s) or t_s < 0.0 or min(tokens) < 1:
        raise DatasetError(f"{place}: {t_s},{tokens[0]},{tokens[1]}; give t_s >= 0 and tokens >= 1")
    return TraceRow(t_s, *tokens)
