"""``slotwise collect``: measure how long an engine's answers are."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

_PROMPTS = 'JSON lines with "prompt" and an id, an OpenAI batch, conversations, or a .txt file.'
_SERVER = "An OpenAI-compatible server, with or without /v1 at the end."
_KEY = "The server's key; better given in OPENAI_API_KEY."
_MODEL = "Start this model (known name or folder) instead; or the name the server knows."
_AT_ONCE = "Prompts asked at once; with --ray the answers that each engine computes at once."
_RAY = "Ask engines on a Ray cluster, by Ray Data; finished shards are kept."
_ADDRESS = "Head node of a running cluster (HOST:PORT, auto); without one Ray is started here."
_PRIVATE = "Keep a hash and features of each prompt, never its text."


def collect(
    prompts: Annotated[Path, typer.Option(help=_PROMPTS)],
    output: Annotated[Path, typer.Option(help="lengths.csv.gz; goes on where it ends.")],
    base_url: Annotated[str | None, typer.Option(help=_SERVER)] = None,
    api_key: Annotated[str | None, typer.Option(help=_KEY)] = None,
    model: Annotated[str, typer.Option(help=_MODEL)] = "smollm2",
    samples: Annotated[int, typer.Option(min=1, help="Answers per prompt.")] = 10,
    temperature: Annotated[float, typer.Option(min=0.0)] = 1.0,
    top_p: Annotated[float, typer.Option(min=0.01, max=1.0)] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Answers are cut here.")] = 1024,
    concurrency: Annotated[int, typer.Option(min=1, help=_AT_ONCE)] = 16,
    private: Annotated[bool, typer.Option(help=_PRIVATE)] = False,
    ray: Annotated[bool, typer.Option("--ray", help=_RAY)] = False,
    address: Annotated[str | None, typer.Option(help=_ADDRESS)] = None,
    replicas: Annotated[int, typer.Option(min=1, help="With --ray: so many engines.")] = 1,
    shard_prompts: Annotated[int, typer.Option(min=1, help="With --ray: prompts a shard.")] = 512,
) -> None:
    """Sample answers of every prompt and write their lengths beside the prompts."""
    from predictor.errors import InputError  # noqa: PLC0415
    from serving.collect.lengths import CollectSettings  # noqa: PLC0415
    from serving.collect.ray_run import OnRay, run_on_ray  # noqa: PLC0415
    from serving.collect.run import run_collecting  # noqa: PLC0415 - heavy

    if ray and base_url:
        raise InputError("--base-url names a server and --ray starts engines: give one of the two")
    if address and not ray:
        raise InputError(
            "--address is a Ray cluster's: give --ray, too, or --base-url for a server"
        )

    settings = CollectSettings(
        base_url=base_url or "",
        model=model,
        samples=samples,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        concurrency=concurrency,
        api_key=api_key,
    )
    console = Console()
    if ray:
        how = OnRay(address, replicas, shard_prompts)
        run_on_ray(prompts, output, settings, how, private=private, console=console)
    else:
        run_collecting(prompts, output, settings, private=private, console=console)
