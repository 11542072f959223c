"""``slotwise predict`` and ``slotwise evaluate``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

if TYPE_CHECKING:
    from training.split import Split

_MODEL = "Folder of a predictor, packaged, champion, candidate or a version number."
_INPUT = 'JSON lines with "prompt" (or "text"), an OpenAI batch, conversations, or a .txt file.'


def predict(
    input_file: Annotated[Path, typer.Option("--input", help=_INPUT)],
    output: Annotated[Path, typer.Option(help="JSON lines, one forecast per prompt.")],
    model: Annotated[str, typer.Option(help=_MODEL)] = "packaged",
    llm: Annotated[str | None, typer.Option(help="The LLM that will answer.")] = None,
) -> None:
    """Write the distribution of the answer's length for each prompt, in input order.

    A prompt that cannot be read has an error in the place of its forecast; the status is 1 then.
    """
    from serving.forecast_file import forecast_file  # noqa: PLC0415 - heavy

    forecast_file(input_file, output, model=model, llm=llm, console=Console(stderr=True))


def evaluate(
    lengths: Annotated[Path, typer.Option(help="Folder with prompts.jsonl and lengths.csv.")],
    output: Annotated[Path, typer.Option(help="JSON file of the scores.")],
    model: Annotated[str, typer.Option(help=_MODEL)] = "packaged",
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
) -> None:
    """Judge a predictor per LLM beside the marginal, a Gaussian per data set and the noise."""
    if split not in ("train", "validation", "test"):
        raise typer.BadParameter("give train, validation or test", param_hint="--split")
    from serving.predictors import find_predictor  # noqa: PLC0415 - heavy
    from serving.train import score_table  # noqa: PLC0415
    from training.evaluate import evaluate as judge  # noqa: PLC0415
    from training.lengths import read_lengths  # noqa: PLC0415
    from training.remaining import remaining_mae  # noqa: PLC0415
    from training.textfile import write_whole  # noqa: PLC0415

    rows = read_lengths(lengths)
    predictor = find_predictor(model)
    found = judge(predictor, rows.of_split(cast("Split", split)), known=rows.of_split("train"))
    document: dict[str, Any] = found.document()
    document["novel"] = found.novel()
    document["remaining_mae"] = remaining_mae(found)
    document["config"] = {"model": model, "split": split, "sha256": dict(rows.sha256)}
    write_whole(output, json.dumps(document, indent=2).encode())
    console = Console()
    console.print(score_table(document))
    console.print(f"scores in {output}", highlight=False)
