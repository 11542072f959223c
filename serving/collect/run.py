"""Collects lengths from a server, or from an engine started for the purpose."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

from serving.collect.lengths import (
    Asked,
    CollectSettings,
    collect,
    read_prompts,
    write_prompts,
)
from serving.collect.shards import Shards
from serving.engine import EngineConfig, EngineProcess
from serving.engine.config import free_port
from serving.models import resolve
from serving.models.hub import check_fetchable


def run_collecting(
    prompts_file: Path,
    output: Path,
    settings: CollectSettings,
    *,
    private: bool,
    console: Console,
) -> None:
    """Write ``output`` and ``prompts.jsonl.gz`` beside it; on interruption what came is kept."""
    prompts = read_prompts(prompts_file)
    left = Shards(output, settings)
    if left.folder.exists():  # by a run on Ray
        with left.locked():
            left.join()
    try:
        with _server(settings, output, console) as (base_url, name):
            ready = replace(settings, base_url=base_url)
            count = asyncio.run(_collected(prompts, ready, name, output, console))
    finally:
        if output.exists():
            write_prompts(output.with_name("prompts.jsonl.gz"), prompts, private=private)
    console.print(f"{count} of {len(prompts)} prompts answered; lengths in {output}")


async def _collected(
    prompts: Sequence[Asked], settings: CollectSettings, name: str, output: Path, console: Console
) -> int:
    with progress_bar(console) as progress:
        bar = progress.add_task("collecting lengths", total=None)
        return await collect(
            prompts,
            settings,
            output,
            served_name=name,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )


def progress_bar(console: Console) -> Progress:
    """The bar that a collection shows."""
    columns = (*Progress.get_default_columns(), TimeRemainingColumn())
    return Progress(*columns, console=console)


@contextmanager
def _server(settings: CollectSettings, output: Path, console: Console) -> Iterator[tuple[str, str]]:
    """The URL to ask and what the model is called there."""
    if settings.base_url:
        yield settings.base_url, settings.model
        return
    config = EngineConfig(
        model=check_fetchable(resolve(settings.model)),
        port=free_port(),
        max_num_seqs=settings.concurrency,
    )
    log = output.with_suffix(".engine.log")
    console.print("starting the engine", highlight=False)
    with EngineProcess(config, log) as engine:
        yield engine.base_url, config.served_name
