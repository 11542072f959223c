"""Trains the length predictor from the command line, or finds the one trained before."""

from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from predictor import artifact
from predictor.errors import ArtifactError, ModelError
from predictor.protocol import LengthPredictor
from serving.models import resolve
from training.pipeline import TrainingResult, train
from training.tokens import CachedCounter, TokenCounter, TokenizerCounter, cache_folder


def token_counter(model: str) -> TokenCounter:
    """Return a counter that speaks the engine's tokens; ``model`` as for ``resolve``."""
    folder = Path(resolve(model))
    if not folder.is_dir():
        raise ModelError(
            f"model {model!r} is not on this machine, so its tokenizer cannot count lengths: "
            "give a local folder, or use --model smollm2"
        )
    return CachedCounter(TokenizerCounter(folder))


def run_training(
    *, model: str, dataset_path: Path | None, output: Path, seed: int, console: Console
) -> TrainingResult:
    """Train into ``output`` with a progress bar, and print how good it became."""
    columns = (
        SpinnerColumn(),
        TextColumn("training the length predictor: {task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("start", total=1.0)
        result = train(
            output,
            counter=token_counter(model),
            dataset=dataset_path,
            seed=seed,
            progress=lambda stage, share: progress.update(bar, description=stage, completed=share),
        )
    console.print(_scores(result))
    console.print(f"stored in {output}", highlight=False)
    return result


def ensure_predictor(
    folder: Path | None, *, model: str, dataset_path: Path | None, console: Console
) -> LengthPredictor:
    """Load the predictor from ``folder``, or the one in the cache, trained now if need be."""
    if folder is not None:
        return artifact.load(folder)
    cached = cache_folder() / "predictors" / token_counter(model).fingerprint[:16]
    try:
        return artifact.load(cached)
    except ArtifactError as error:
        if cached.exists():
            console.print(f"training anew: {error}", highlight=False)
    run_training(model=model, dataset_path=dataset_path, output=cached, seed=0, console=console)
    return artifact.load(cached)


def _scores(result: TrainingResult) -> Table:
    rows = ", ".join(f"{count} {split}" for split, count in result.rows.items())
    table = Table(title=f"Held-out ShareGPT conversations ({rows}); fitted in {result.fit_s:.0f} s")
    first = next(iter(result.scores.values()))
    names = [name for name in asdict(first) if name != "rows"]
    for name in ("predictor", *names, "ms/prompt"):
        table.add_column(name, justify="left" if name == "predictor" else "right")
    for predictor, scores in result.scores.items():
        figures = [f"{value:.3g}" for name, value in asdict(scores).items() if name != "rows"]
        table.add_row(predictor, *figures, f"{result.predict_ms[predictor]:.2g}")
    return table
