"""Measures how long an engine's answers are: asks, counts, and keeps what came so far."""

import asyncio
import csv
import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from predictor.errors import DatasetError, EngineError
from training.textfile import read_lines, write_whole

Progress = Callable[[int, int], None]

FIELDS = ("prompt_id", "model", "input_size", "output_sizes", "temp", "top_p", "max_tokens")
_PATH = "/v1/chat/completions"
_RETRIES = 3
_BACKOFF_S = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt to ask."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSettings:
    """What is asked and how; ``samples`` answers per prompt."""

    base_url: str
    model: str
    samples: int = 10
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 2048
    concurrency: int = 16
    timeout_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Row:
    """The answers of one prompt."""

    prompt_id: str
    input_tokens: int
    output_tokens: tuple[int, ...]


def read_prompts(file: Path) -> list[Asked]:
    """JSON lines with ``prompt`` (or ``prompt_text``, ``text``) and, if known, an id."""
    found: dict[str, Asked] = {}
    for number, line in read_lines(file):
        try:
            record = json.loads(line)
            text = record.get("prompt", record.get("prompt_text", record.get("text")))
            name = record.get("prompt_id", record.get("id"))
        except (ValueError, AttributeError) as error:
            raise DatasetError(
                f'{file}, line {number}: {error}; expected {{"prompt": "..."}}'
            ) from error
        if not isinstance(text, str) or not text.strip():
            raise DatasetError(f"{file}, line {number}: names no prompt, or an empty one")
        identifier = str(name) if name is not None else prompt_hash(text)
        found[identifier] = Asked(identifier, text)
    if not found:
        raise DatasetError(f"{file}: holds no prompt")
    return list(found.values())


def prompt_hash(text: str) -> str:
    """64 bits of the text's SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


async def collect(
    prompts: Sequence[Asked],
    settings: CollectSettings,
    output: Path,
    *,
    served_name: str,
    progress: Progress,
) -> int:
    """Ask whatever ``output`` does not hold yet; how many rows it holds in the end.

    Rows are kept as they come, and on interruption too: the same command goes on from there.
    """
    rows = kept_rows(output, settings)
    todo = [asked for asked in prompts if asked.id not in rows]
    gate = asyncio.Semaphore(settings.concurrency)
    limits = httpx.Limits(max_connections=settings.concurrency)
    async with httpx.AsyncClient(
        base_url=settings.base_url, timeout=settings.timeout_s, limits=limits, trust_env=False
    ) as client:
        tasks = [
            asyncio.create_task(_answers(client, gate, asked, settings, served_name))
            for asked in todo
        ]
        try:
            for done, finished in enumerate(asyncio.as_completed(tasks), start=1):
                row = await finished
                rows[row.prompt_id] = row
                progress(done, len(todo))
                if done % 50 == 0:
                    write_rows(output, rows, settings)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if rows:
                write_rows(output, rows, settings)
    return len(rows)


async def _answers(
    client: httpx.AsyncClient,
    gate: asyncio.Semaphore,
    asked: Asked,
    settings: CollectSettings,
    served_name: str,
) -> Row:
    body = {
        "model": served_name,
        "messages": [{"role": "user", "content": asked.text}],
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
    }
    async with gate:
        found = [await _answer(client, asked, body) for _ in range(settings.samples)]
    return Row(asked.id, found[0][0], tuple(tokens for _, tokens in found))


async def _answer(client: httpx.AsyncClient, asked: Asked, body: dict[str, Any]) -> tuple[int, int]:
    """Input and output tokens of one answer; a cut one has max_tokens."""
    fault: Exception | None = None
    for attempt in range(_RETRIES):
        try:
            answer = await client.post(_PATH, json=body)
        except httpx.TransportError as error:
            fault = error
        else:
            if answer.status_code == httpx.codes.OK:
                return _counts(client, answer)
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                raise EngineError(
                    f"{client.base_url} refused prompt {asked.id!r}: "
                    f"HTTP {answer.status_code} {answer.text[:200]}"
                )
        await asyncio.sleep(_BACKOFF_S * 2**attempt)
    raise EngineError(
        f"{client.base_url}: does not answer ({fault or answer.status_code}); what came is kept, "
        "the same command goes on from there"
    )


def _counts(client: httpx.AsyncClient, answer: httpx.Response) -> tuple[int, int]:
    try:
        usage = answer.json()["usage"]
        return int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    except (KeyError, ValueError, TypeError) as error:
        raise EngineError(
            f"{client.base_url}: answers without token counts; give an OpenAI-compatible URL"
        ) from error


def kept_rows(output: Path, settings: CollectSettings) -> dict[str, Row]:
    """What an earlier run left; raises ``DatasetError`` where it asked something else."""
    if not output.exists():
        return {}
    try:
        text = gzip.decompress(output.read_bytes()).decode()
        records = list(csv.DictReader(io.StringIO(text)))
        rows = {record["prompt_id"]: _parsed(record) for record in records}
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise DatasetError(f"{output}: {error}; give a new file") from error
    how = {(r["model"], float(r["temp"]), float(r["top_p"]), int(r["max_tokens"])) for r in records}
    wanted = (settings.model, settings.temperature, settings.top_p, settings.max_tokens)
    if how - {wanted}:
        raise DatasetError(f"{output}: holds answers of other settings {how}; give a new file")
    return {name: row for name, row in rows.items() if len(row.output_tokens) >= settings.samples}


def _parsed(record: dict[str, Any]) -> Row:
    sizes = tuple(int(word) for word in record["output_sizes"].split())
    return Row(record["prompt_id"], int(record["input_size"]), sizes)


def write_rows(output: Path, rows: Mapping[str, Row], settings: CollectSettings) -> None:
    """Replace ``output`` by these rows, in the order of their ids."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    how = (settings.temperature, settings.top_p, settings.max_tokens)
    for name, row in sorted(rows.items()):
        sizes = " ".join(map(str, row.output_tokens))
        writer.writerow((name, settings.model, row.input_tokens, sizes, *how))
    # Without the time in its header, equal rows are equal bytes.
    write_whole(output, gzip.compress(text.getvalue().encode(), mtime=0))


def write_prompts(output: Path, prompts: Sequence[Asked], *, private: bool) -> None:
    """``prompts.jsonl.gz`` beside the lengths; in private mode features instead of text."""
    lines = "".join(json.dumps(record) + "\n" for record in _records(prompts, private=private))
    write_whole(output, gzip.compress(lines.encode(), mtime=0))


def _records(prompts: Sequence[Asked], *, private: bool) -> Iterator[dict[str, object]]:
    from predictor.features import FEATURE_VERSION, lexical_features  # noqa: PLC0415
    from predictor.prompt import Prompt  # noqa: PLC0415

    for asked in prompts:
        if not private:
            yield {"prompt_id": asked.id, "dataset": "collected", "prompt_text": asked.text}
            continue
        features = lexical_features([Prompt(asked.text)])[0].round(4).tolist()
        yield {
            "prompt_id": asked.id,
            "sha256": prompt_hash(asked.text),
            "feature_version": FEATURE_VERSION,
            "features": features,
        }
