"""A recorded run of a real engine: what arrived, and how it fared."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from predictor.errors import InputError
from predictor.reading import SkippedItemError, Tally
from scheduler.slo import tpot_s
from scheduler.snapshot import Floats


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request; seconds, ``arrival_s`` from the first arrival and the others from its own."""

    request_id: str
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    e2e_s: float

    @property
    def tpot_s(self) -> float:
        """(e2e - TTFT) / (n - 1), 0 for one token."""
        return tpot_s(e2e_s=self.e2e_s, ttft_s=self.ttft_s, output_tokens=self.output_tokens)


METRICS: dict[str, Callable[[RecordedRequest], float]] = {
    "ttft": lambda request: request.ttft_s,
    "tpot": lambda request: request.tpot_s,
    "latency": lambda request: request.e2e_s,
}
STATISTICS: dict[str, Callable[[Floats], float]] = {
    "mean": lambda values: float(np.mean(values)),
    "p50": lambda values: float(np.percentile(values, 50)),
    "p90": lambda values: float(np.percentile(values, 90)),
    "p99": lambda values: float(np.percentile(values, 99)),
}

_NUMBERS = ("input_toks", "output_toks", "first_token_ts", "last_token_ts")


def read_recorded(folder: Path) -> list[RecordedRequest]:
    """Read ``requests.jsonl`` of a run in the ``vllm_runs`` layout, by arrival.

    A request arrives when the engine queued it (``queued_ts``, the clock of its other times).
    Requests that failed or cannot be read are left out and counted. Raises ``InputError`` where
    none is left.
    """
    path = folder / "requests.jsonl"
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error}): a run folder holds requests.jsonl, "
            "meta.json and profile/"
        ) from error
    tally, names = Tally(str(path), item="request"), set[str]()
    numbered = ((f"line {k}", line) for k, line in enumerate(lines, 1) if line.strip())
    rows = list(tally.used(numbered, lambda line: _row(line, names)))
    tally.close(f"expected JSON lines with {', '.join((*_NUMBERS, 'queued_ts'))}")
    start_s = min(row["queued_ts"] for row in rows)
    found = [
        RecordedRequest(
            request_id=str(row.get("request_id", number)),
            arrival_s=row["queued_ts"] - start_s,
            prompt_tokens=int(row["input_toks"]),
            output_tokens=int(row["output_toks"]),
            ttft_s=row["first_token_ts"] - row["queued_ts"],
            e2e_s=row["last_token_ts"] - row["queued_ts"],
        )
        for number, row in enumerate(rows)
    ]
    return sorted(found, key=lambda request: request.arrival_s)


def _row(line: bytes, names: set[str]) -> dict[str, Any]:
    """One request; its name joins ``names``. Raises ``SkippedItemError``."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SkippedItemError("not valid JSON", line) from error
    if not isinstance(row, dict):
        raise SkippedItemError("not a JSON object", row)
    for name in (*_NUMBERS, "queued_ts"):
        value = row.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
            raise SkippedItemError(f"{name} is no number", value)
    for name in ("input_toks", "output_toks"):
        if row[name] < 1 or row[name] != int(row[name]):
            raise SkippedItemError(f"{name} is no whole number >= 1", row[name])
    if not row["queued_ts"] <= row["first_token_ts"] <= row["last_token_ts"]:
        raise SkippedItemError("queued_ts, first_token_ts and last_token_ts fall")
    if (identifier := row.get("request_id")) is not None:
        if str(identifier) in names:
            raise SkippedItemError("request_id occurs twice", identifier)
        names.add(str(identifier))
    return row


def _finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False
