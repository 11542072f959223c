"""A recorded run of a real engine: what arrived, and how it fared."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from predictor.errors import InputError
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
    Raises ``InputError`` naming the line at fault.
    """
    path = folder / "requests.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): a run folder holds requests.jsonl, "
            "meta.json and profile/"
        ) from error
    rows = [_row(f"{path}, line {k}", line) for k, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise InputError(f"{path} holds no requests")
    names = Counter(str(row.get("request_id", number)) for number, row in enumerate(rows))
    if repeated := [name for name, count in names.items() if count > 1]:
        raise InputError(f"{path}: request_id {repeated[0]!r} stands there more than once")
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


def _row(place: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{place}: not valid JSON ({error})") from error
    if not isinstance(row, dict):
        raise InputError(f"{place}: a JSON object is needed")
    for name in (*_NUMBERS, "queued_ts"):
        value = row.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise InputError(f"{place}: {name} is {value!r}, a number is needed")
    for name in ("input_toks", "output_toks"):
        if row[name] < 1 or row[name] != int(row[name]):
            raise InputError(f"{place}: {name} is {row[name]}, a whole number >= 1 is needed")
    if not row["queued_ts"] <= row["first_token_ts"] <= row["last_token_ts"]:
        raise InputError(f"{place}: queued_ts, first_token_ts and last_token_ts must not fall")
    return row
