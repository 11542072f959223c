"""Measures how long an engine's answers are: asks, counts, and keeps what came so far."""

import asyncio
import csv
import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from predictor.errors import DatasetError, EngineError
from predictor.reading import SkippedItemError, Tally
from serving.collect.server import (
    ChatServer,
    RefusedError,
    Retries,
    UnavailableError,
    bearer,
    chat_url,
    shown_url,
)
from training.moments import as_number, as_tokens
from training.promptfile import EXPECTED, parse_prompt, prompt_records
from training.records import Placed, until_cut
from training.textfile import read_lines, write_whole

Progress = Callable[[int, int], None]
# The LLM, temperature, top_p and limit of a request.
_How: TypeAlias = tuple[str, float, float, int]

FIELDS = ("prompt_id", "model", "input_size", "output_sizes", "temp", "top_p", "max_tokens")
# Half a minute of pauses for one request, more where the server asks for longer ones.
_RETRIES = 7
_BACKOFF_S = 0.5
# After so many failed prompts in a row the server counts as down.
_GIVE_UP_AFTER = 3
_WRITE_EVERY = 50


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
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Row:
    """The answers of one prompt."""

    prompt_id: str
    input_tokens: int
    output_tokens: tuple[int, ...]


def read_prompts(file: Path) -> list[Asked]:
    """The prompts of a file with their ids, else a hash of the text; each id once.

    Those that cannot be read or are empty are left out and counted. Raises ``DatasetError``.
    """
    found: dict[str, Asked] = {}

    def parsed(record: object) -> Asked:
        prompt = parse_prompt(record, limits=False)
        if not prompt.text.strip():
            raise SkippedItemError("an empty prompt")
        name = (prompt.id or prompt_hash(prompt.text)).encode("utf-8", "replace").decode()
        if name in found:
            raise SkippedItemError("occurs twice", name)
        found[name] = Asked(name, prompt.text)
        return found[name]

    tally = Tally(str(file), item="prompt")
    prompts = list(tally.used(prompt_records(file), parsed))
    tally.close(EXPECTED)
    return prompts


def prompt_hash(text: str) -> str:
    """64 bits of the text's SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def failure(failed: Mapping[str, str], kept: int) -> EngineError:
    """The error that counts the failed prompts and names one; ``kept`` rows are in the output."""
    name, fault = next(iter(failed.items()))
    return EngineError(
        f"{len(failed)} prompts could not be answered, {name!r} among them: {fault}; {kept} rows "
        "are kept, the same command goes on from there and asks them again"
    )


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
    Raises ``EngineError`` once all others are kept, if prompts are refused or fail in every try.
    """
    rows = kept_rows(output, settings)
    todo = [asked for asked in prompts if asked.id not in rows]
    limits = httpx.Limits(max_connections=settings.concurrency)
    url, headers = chat_url(settings.base_url), bearer(settings.api_key)
    async with httpx.AsyncClient(
        headers=headers, timeout=settings.timeout_s, limits=limits, trust_env=False
    ) as client:
        server = ChatServer(client, url, Retries(_RETRIES, _BACKOFF_S))
        run = _Run(server, settings, served_name, output, rows)
        await run.ask(todo, progress)
    if run.failed:
        raise failure(run.failed, len(rows))
    return len(rows)


class _Run:
    """One pass over the prompts without a row."""

    def __init__(
        self,
        server: ChatServer,
        settings: CollectSettings,
        served_name: str,
        output: Path,
        rows: dict[str, Row],
    ) -> None:
        self.failed: dict[str, str] = {}
        self._server = server
        self._settings = settings
        self._served_name = served_name
        self._output = output
        self._rows = rows
        self._gate = asyncio.Semaphore(settings.concurrency)
        self._unavailable = 0
        self._unstarted = 0

    async def ask(self, todo: Sequence[Asked], progress: Progress) -> None:
        """Ask them all; what came is written now and then, and however the run ends."""
        self._unstarted = len(todo)
        tasks = [asyncio.create_task(self._prompt(asked)) for asked in todo]
        try:
            for done, finished in enumerate(asyncio.as_completed(tasks), start=1):
                await finished
                progress(done, len(todo))
                if done % _WRITE_EVERY == 0:
                    self._write()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._write()

    async def _prompt(self, asked: Asked) -> None:
        async with self._gate:
            self._unstarted -= 1
            try:
                found = [
                    await self._server.ask(self._body(asked)) for _ in range(self._settings.samples)
                ]
            except RefusedError as error:
                self.failed[asked.id] = str(error)
                return
            except UnavailableError as error:
                self.failed[asked.id] = str(error)
                self._give_up_maybe(error)
                return
        self._unavailable = 0
        self._rows[asked.id] = Row(
            asked.id, found[0].input_tokens, tuple(usage.output_tokens for usage in found)
        )

    def _give_up_maybe(self, error: UnavailableError) -> None:
        """A server may fail on one prompt; several failures in a row mean that it is down.

        The last prompts of a run are tried to the end: those that failed before may be among them.
        """
        self._unavailable += 1
        if self._unavailable >= _GIVE_UP_AFTER and self._unstarted:
            raise EngineError(
                f"{shown_url(self._settings.base_url)}: every try fails ({error}); what came is "
                "kept, the same command goes on from there"
            ) from error

    def _body(self, asked: Asked) -> dict[str, Any]:
        return {
            "model": self._served_name,
            "messages": [{"role": "user", "content": asked.text}],
            "max_tokens": self._settings.max_tokens,
            "temperature": self._settings.temperature,
            "top_p": self._settings.top_p,
        }

    def _write(self) -> None:
        if self._rows:
            write_rows(self._output, self._rows, self._settings)


def kept_rows(output: Path, settings: CollectSettings) -> dict[str, Row]:
    """What an earlier run left; rows that cannot be read are counted and their prompts asked again.

    Raises ``DatasetError`` where the run asked something else, or none of the rows can be read.
    """
    if not output.exists():
        return {}
    tally = Tally(str(output))
    found = list(tally.used(until_cut(_records_of(output)), _parsed))
    if not tally.read:
        return {}
    tally.close("give a new file")
    wanted = (settings.model, settings.temperature, settings.top_p, settings.max_tokens)
    if others := {how for _, how in found} - {wanted}:
        raise DatasetError(f"{output}: holds answers of other settings {others}; give a new file")
    rows = {row.prompt_id: row for row, _ in found}
    return {name: row for name, row in rows.items() if len(row.output_tokens) >= settings.samples}


def _records_of(output: Path) -> Iterator[Placed]:
    """The rows as they were written, ids with odd characters among them."""
    lines = (line.decode("utf-8", "replace") + "\n" for _, line in read_lines(output))
    try:
        for number, record in enumerate(csv.DictReader(lines), start=1):
            yield f"row {number}", record
    except csv.Error as error:
        yield "the rest", SkippedItemError("not CSV", str(error))


def _parsed(record: object) -> tuple[Row, _How]:
    """A row and how it was asked for; raises ``SkippedItemError``."""
    fields = record if isinstance(record, dict) else {}
    if missing := [name for name in FIELDS if not fields.get(name)]:
        raise SkippedItemError(f"no {missing[0]}")
    sizes = tuple(as_tokens(word, "output_sizes") for word in fields["output_sizes"].split())
    row = Row(fields["prompt_id"], as_tokens(fields["input_size"], "input_size"), sizes)
    temperature, top_p = as_number(fields["temp"], "temp"), as_number(fields["top_p"], "top_p")
    limit = as_tokens(fields["max_tokens"], "max_tokens")
    return row, (fields["model"], temperature, top_p, limit)


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
