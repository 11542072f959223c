"""``slotwise refine``: teach a predictor to read the answers that are being written."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.partial import RemainingScores

_TOKENS = "Whose tokens are counted (known name or folder)."


def refine(
    output: Annotated[Path, typer.Option(help="Folder of the predictor that reads them.")],
    model: Annotated[str, typer.Option(help="Predictor to start from.")] = "packaged",
    tokens_of: Annotated[str, typer.Option(help=_TOKENS)] = "smollm2",
    dataset_path: Annotated[
        Path | None, typer.Option(help="ShareGPT JSON; default: the package's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Learn from written answers how much is left once 32, 64, 128 or 256 tokens are out."""
    from predictor import artifact  # noqa: PLC0415 - heavy
    from serving.predictors import find_predictor  # noqa: PLC0415
    from serving.train import progress_bar, tokenizer_counter  # noqa: PLC0415
    from training.partial import refine as taught  # noqa: PLC0415
    from training.pipeline import METRICS_FILE  # noqa: PLC0415
    from training.sharegpt import read_sharegpt  # noqa: PLC0415

    console = Console()
    base = find_predictor(model)
    conversations = read_sharegpt(dataset_path).conversations
    with progress_bar(console, "learning from partial answers") as report:
        predictor, scores = taught(
            base,
            conversations,
            tokenizer_counter(tokens_of),
            seed=seed,
            threads=threads,
            progress=report,
        )
    metrics = {"remaining": [entry.document() for entry in scores]}
    artifact.save(predictor, output, extra={METRICS_FILE: json.dumps(metrics, indent=2).encode()})
    console.print(_table(scores))
    console.print(f"stored in {output}", highlight=False)


def _table(scores: "Sequence[RemainingScores]") -> Table:
    table = Table(title="What is left of held-out answers, in tokens: by length alone, by text too")
    for name in ("out", "answers", "MAE", "by text", "CRPS", "by text", "below the 90 % quantile"):
        table.add_column(name, justify="right")
    for entry in scores:
        table.add_row(
            str(entry.generated),
            str(entry.answers),
            f"{entry.plain_mae:.1f}",
            f"{entry.corrected_mae:.1f}",
            f"{entry.plain_crps:.1f}",
            f"{entry.corrected_crps:.1f}",
            f"{100 * entry.corrected_coverage_90:.1f} %",
        )
    return table
