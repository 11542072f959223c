"""``slotwise onboard``: teach a trained predictor a new LLM."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def onboard(
    lengths: Annotated[Path, typer.Option(help="Folder with lengths of the new LLM.")],
    llm: Annotated[str, typer.Option(help="Its name in that folder.")],
    output: Annotated[Path, typer.Option(help="Folder of the predictor that knows it.")],
    model: Annotated[str, typer.Option(help="Predictor to start from.")] = "champion",
) -> None:
    """Add an LLM from a few hundred observed lengths; the encoder stays as it is."""
    from serving.predictors import find_predictor  # noqa: PLC0415 - heavy
    from training.lengths import read_lengths  # noqa: PLC0415
    from training.onboarding import onboard as teach  # noqa: PLC0415

    known = teach(find_predictor(model), read_lengths(lengths), llm=llm)
    known.save_pretrained(output)
    Console().print(f"{llm} added; stored in {output}", highlight=False)
