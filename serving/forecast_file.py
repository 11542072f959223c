"""``slotwise predict``: a forecast for each prompt of a file, in the file's order."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from predictor.distribution import LengthDistribution
from predictor.errors import DatasetError
from predictor.prompt import Prompt
from predictor.reading import SkippedItemError, Tally
from serving.predictors import find_predictor
from training.classes import slo_class
from training.promptfile import EXPECTED, FilePrompt, parse_prompt, prompt_records
from training.textfile import write_whole

_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def forecast_file(
    input_file: Path, output: Path, *, model: str, llm: str | None, console: Console
) -> None:
    """Write one JSON line for each prompt of ``input_file``.

    Where a prompt cannot be read its line is ``{"error": ...}``, and ``DatasetError`` is raised
    once the others are written.
    """
    tally = Tally(str(input_file), item="prompt")
    entries = list(tally.each(prompt_records(input_file), parse_prompt))
    report = tally.close(EXPECTED, say=False)
    predictor = find_predictor(model)
    known = getattr(predictor, "llms", None)
    if known is not None and llm is not None and llm not in known:
        console.print(
            f"{llm} is not known to this predictor: the forecasts are its prior, the mixture "
            f"of {len(known)} LLMs. `slotwise onboard` teaches it a new one",
            highlight=False,
        )
    prompts = [_prompt(e, llm, known or ()) for e in entries if isinstance(e, FilePrompt)]
    forecasts = iter(predictor.predict(prompts))
    lines = [
        {"error": str(entry)} if isinstance(entry, SkippedItemError) else _record(next(forecasts))
        for entry in entries
    ]
    write_whole(output, "".join(json.dumps(line) + "\n" for line in lines).encode())
    console.print(f"{len(prompts)} forecasts in {output}", highlight=False)
    if report.skipped:
        raise DatasetError(f"{report}; in {output} their lines hold the error")


def _prompt(entry: FilePrompt, llm: str | None, known: tuple[str, ...]) -> Prompt:
    """For the LLM that the file names, or the command, or (where it is known) the request."""
    asked_for = entry.model if entry.model in known else None
    return Prompt(
        entry.text,
        task=slo_class(entry.text),
        max_tokens=entry.max_tokens,
        llm=entry.llm or llm or asked_for,
        temperature=entry.temperature,
    )


def _record(forecast: LengthDistribution) -> dict[str, Any]:
    levels = zip(_LEVELS, forecast.quantiles(_LEVELS).tolist(), strict=True)
    return {
        "mean": forecast.mean,
        "quantiles": {str(level): value for level, value in levels},
        "bin_edges": forecast.edges.tolist(),
        "probabilities": forecast.probabilities.tolist(),
    }
