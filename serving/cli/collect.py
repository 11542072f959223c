"""``slotwise collect``: measure how long an engine's answers are."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

_MODEL = "Start this model (known name or folder) instead; or the name the server knows."
_PRIVATE = "Keep a hash and features of each prompt, never its text."


def collect(
    prompts: Annotated[Path, typer.Option(help='JSON lines with "prompt" and an id.')],
    output: Annotated[Path, typer.Option(help="lengths.csv.gz; goes on where it ends.")],
    base_url: Annotated[str | None, typer.Option(help="An OpenAI-compatible server.")] = None,
    model: Annotated[str, typer.Option(help=_MODEL)] = "smollm2",
    samples: Annotated[int, typer.Option(min=1, help="Answers per prompt.")] = 10,
    temperature: Annotated[float, typer.Option(min=0.0)] = 1.0,
    top_p: Annotated[float, typer.Option(min=0.01, max=1.0)] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Answers are cut here.")] = 1024,
    concurrency: Annotated[int, typer.Option(min=1, help="Prompts asked at once.")] = 16,
    private: Annotated[bool, typer.Option(help=_PRIVATE)] = False,
) -> None:
    """Sample answers of every prompt and write their lengths beside the prompts."""
    from serving.collect.lengths import CollectSettings  # noqa: PLC0415
    from serving.collect.run import run_collecting  # noqa: PLC0415 - heavy

    settings = CollectSettings(
        base_url=base_url or "",
        model=model,
        samples=samples,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        concurrency=concurrency,
    )
    run_collecting(prompts, output, settings, private=private, console=Console())
