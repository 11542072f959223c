"""``slotwise predict`` and ``slotwise evaluate``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

if TYPE_CHECKING:
    from training.split import Split

_MODEL = "Folder of a predictor, packaged, champion, candidate or a version number."
_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def predict(
    input_file: Annotated[
        Path, typer.Option("--input", help='JSON lines with "prompt" (or "text").')
    ],
    output: Annotated[Path, typer.Option(help="JSON lines, one forecast per prompt.")],
    model: Annotated[str, typer.Option(help=_MODEL)] = "packaged",
    llm: Annotated[str | None, typer.Option(help="The LLM that will answer.")] = None,
) -> None:
    """Write the distribution of the answer's length for each prompt, in input order."""
    from serving.predictors import find_predictor  # noqa: PLC0415 - heavy
    from training.textfile import write_whole  # noqa: PLC0415

    predictor = find_predictor(model)
    prompts = list(_prompts(input_file, llm))
    console = Console(stderr=True)
    known = getattr(predictor, "llms", None)
    if known is not None and llm is not None and llm not in known:
        console.print(
            f"{llm} is not known to this predictor: the forecasts are its prior, the mixture "
            f"of {len(known)} LLMs. `slotwise onboard` teaches it a new one",
            highlight=False,
        )
    lines = []
    for forecast in predictor.predict(prompts):
        levels = zip(_LEVELS, forecast.quantiles(_LEVELS).tolist(), strict=True)
        record = {
            "mean": forecast.mean,
            "quantiles": {str(level): value for level, value in levels},
            "bin_edges": forecast.edges.tolist(),
            "probabilities": forecast.probabilities.tolist(),
        }
        lines.append(json.dumps(record) + "\n")
    write_whole(output, "".join(lines).encode())
    console.print(f"{len(lines)} forecasts in {output}", highlight=False)


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


def _prompts(file: Path, llm: str | None) -> Iterator[Any]:
    from predictor.errors import DatasetError  # noqa: PLC0415
    from predictor.prompt import Prompt  # noqa: PLC0415
    from training.classes import slo_class  # noqa: PLC0415
    from training.textfile import read_lines  # noqa: PLC0415

    for number, line in read_lines(file):
        where = f"{file}, line {number}"
        try:
            record = json.loads(line)
            text = record.get("prompt", record.get("text"))
            limit, heat = record.get("max_tokens"), record.get("temperature")
            limit = None if limit is None else int(limit)
            heat = None if heat is None else float(heat)
        except (ValueError, TypeError, AttributeError) as error:
            raise DatasetError(f'{where}: {error}; expected {{"prompt": "..."}}') from error
        if not isinstance(text, str):
            raise DatasetError(f'{where}: names no prompt; expected {{"prompt": "..."}}')
        if limit is not None and limit < 1:
            raise DatasetError(f"{where}: max_tokens {limit} is below one")
        yield Prompt(
            text,
            task=slo_class(text),
            max_tokens=limit,
            llm=record.get("llm") or llm,
            temperature=heat,
        )
