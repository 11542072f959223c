"""Trains a length predictor from the command line, or finds the one trained before."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from predictor import artifact
from predictor.errors import ArtifactError, ModelError
from predictor.protocol import LengthPredictor
from predictor.quantiles import Progress as Report
from serving.models import resolve
from serving.predictors import find_predictor
from training.collected.known import Collected
from training.config import TrainingConfig
from training.pipeline import TrainingResult, train
from training.tokens import CachedCounter, TokenCounter, TokenizerCounter, cache_folder

# Of the scores by name; narrow, so that an LLM's whole name has room on a terminal of 80 columns.
_COLUMNS = {
    "rows": "rows",
    "tau_b": "tau_b",
    "mae": "mae",
    "crps": "crps",
    "coverage_90": "cov.\n90 %",
    "coverage_80": "cov.\n80 %",
    "width_80": "width\n80 %",
}
_SKILL = "skill"
_COMPARED = {
    "marginal": "knows nothing of the prompt",
    "gaussian": "Gaussian per data set",
    "noise_ceiling": "the prompt's other samples",
}


def token_counter(model: str) -> TokenCounter:
    """Return a counter that speaks the engine's tokens; ``model`` as for ``resolve``."""
    return CachedCounter(tokenizer_counter(model))


def tokenizer_counter(model: str) -> TokenizerCounter:
    """The same without memory, which cuts texts besides."""
    folder = Path(resolve(model))
    if not folder.is_dir():
        raise ModelError(
            f"model {model!r} is not on this machine, so its tokenizer cannot count lengths: "
            "give a local folder, or use --model smollm2"
        )
    return TokenizerCounter(folder)


def run_training(
    config: TrainingConfig, *, model: str, output: Path, console: Console, restart: bool = False
) -> TrainingResult:
    """Train into ``output`` with a progress bar, and print how good it became."""
    with progress_bar(console, "training the length predictor") as report:
        result = train(
            output,
            config,
            counter=lambda: token_counter(model),
            progress=report,
            restart=restart,
        )
    rows = ", ".join(f"{count} {split}" for split, count in result.rows.items())
    console.print(
        f"{result.predictor.kind} predictor, rows: {rows}; fitted in {result.fit_s:.0f} s, "
        f"{result.predict_ms:.2g} ms a prompt",
        highlight=False,
    )
    console.print(score_table(result.evaluation.document()))
    console.print(f"stored in {output}", highlight=False)
    return result


def ensure_predictor(
    name: str | None,
    *,
    model: str,
    dataset_path: Path | None,
    collected: str | None = None,
    console: Console,
) -> LengthPredictor:
    """Load the predictor of that name, or the one in the cache, trained now if need be.

    It learns ShareGPT's own answers, or those ``collected`` of a model.
    """
    if name is not None:
        return find_predictor(name)
    learned = token_counter(model).fingerprint[:16]
    if collected is not None:
        learned = f"{learned}-{Collected.of(collected).fingerprint[:16]}"
    cached = cache_folder() / "predictors" / learned
    try:
        return artifact.load(cached)
    except ArtifactError as error:
        if cached.exists():
            console.print(f"training anew: {error}", highlight=False)
    config = TrainingConfig(dataset_path=dataset_path, collected=collected)
    return run_training(config, model=model, output=cached, console=console).predictor


@contextmanager
def progress_bar(console: Console, what: str) -> Iterator[Report]:
    """A bar that is told the stage and the share of it that is done."""
    columns = (
        SpinnerColumn(),
        TextColumn(f"{what}: {{task.description}}"),
        BarColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("start", total=1.0)
        yield lambda stage, share: progress.update(bar, description=stage, completed=share)


def score_table(document: dict[str, Any]) -> Table:
    """Per LLM: the scores, the share of the gap closed, and CRPS of the baselines beside it."""
    table = Table(title="Held-out prompts", box=SIMPLE_HEAD, padding=0)
    table.add_column("LLM", overflow="fold")
    for header in (*_COLUMNS.values(), _SKILL):
        table.add_column(header, justify="right", no_wrap=True)
    names = _short_names(document["llms"])
    for llm, scores in {**document["llms"], "all": document["all"]}.items():
        table.add_row(names.get(llm, llm), *_figures(scores))
    for name, meaning in _COMPARED.items():
        if name in document["all"]:
            table.add_row(f"[dim]{meaning}", *_figures(document["all"][name]))
    return table


def _short_names(llms: Iterable[str]) -> dict[str, str]:
    """LLMs by their names without the organisation, where that leaves each a name of its own."""
    short = {llm: llm.replace("--", "/").rpartition("/")[2] for llm in llms}
    count = Counter(short.values())
    return {llm: name if count[name] == 1 else llm for llm, name in short.items()}


def _figures(scores: dict[str, Any]) -> list[str]:
    figures = [f"{scores[name]:.3g}" for name in _COLUMNS if name != "rows"]
    return [str(scores["rows"]), *figures, f"{scores[_SKILL]:.3f}" if _SKILL in scores else ""]
