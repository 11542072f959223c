"""Collects lengths from engines on a Ray cluster."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from serving.cluster.connection import connect
from serving.collect.gathering import Gathering
from serving.collect.lengths import CollectSettings, failure, read_prompts, write_prompts
from serving.collect.ray_batch import answers
from serving.collect.replicas import Replicas
from serving.collect.run import progress_bar
from serving.collect.shards import Shards
from serving.engine.process import check_vllm
from serving.models import resolve


@dataclass(frozen=True, slots=True)
class OnRay:
    """Where and how; without an ``address`` Ray is started on this machine."""

    address: str | None = None
    replicas: int = 1
    shard_prompts: int = 512


def run_on_ray(
    prompts_file: Path,
    output: Path,
    settings: CollectSettings,
    how: OnRay,
    *,
    private: bool,
    console: Console,
) -> None:
    """Write what ``run_collecting`` writes; finished shards are kept, however the run ends."""
    prompts = read_prompts(prompts_file)
    shards = Shards(output, settings)
    with shards.locked():
        kept = shards.join()
        todo = [asked for asked in prompts if asked.id not in kept]
        gathering = Gathering(shards, todo, how.shard_prompts)
        try:
            if todo:
                _gather(gathering, how, console)
        finally:
            gathering.keep()
            count = len(shards.join())
    write_prompts(output.with_name("prompts.jsonl.gz"), prompts, private=private)
    console.print(f"{count} of {len(prompts)} prompts answered; lengths in {output}")
    if gathering.failed:
        raise failure(gathering.failed, count)


def _gather(gathering: Gathering, how: OnRay, console: Console) -> None:
    settings = gathering.shards.settings
    check_vllm()
    model = resolve(settings.model)
    cpus, gpus = Replicas.needed(how.replicas)
    log = gathering.shards.output.with_suffix(".engine.log")
    console.print("starting the engines", highlight=False)
    with (
        _aside(log, console),
        connect(how.address, cpus=cpus, gpus=gpus, logs=True) as cluster,
        progress_bar(console) as progress,
    ):
        bar = progress.add_task("collecting lengths", total=len(gathering.prompts))
        replicas = Replicas.on(cluster.nodes, how.replicas)
        for answer in answers(gathering.prompts, settings, model, replicas, log):
            progress.update(bar, advance=gathering.take(answer))


@contextmanager
def _aside(log: Path, console: Console) -> Iterator[None]:
    """Send what engines and libraries print to a file, and only what is ours to the console."""
    console.file = console.file  # otherwise it follows sys.stdout
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with log.open("w", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
            os.dup2(file.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        if not log.stat().st_size:
            log.unlink()
