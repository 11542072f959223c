"""Logs a training run to MLflow, registers it, and lets it replace the champion or not."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from predictor.protocol import LengthPredictor
from training.config import TrainingConfig
from training.evaluate import Evaluation, evaluate
from training.pipeline import METRICS_FILE, TrainingResult
from training.registry import CHAMPION, GateScores, Registry, Run


@dataclass(frozen=True, slots=True)
class Registered:
    """The version a run became, and why it was not promoted, if it was not."""

    version: str
    refusal: str | None


def track(registry: Registry, config: TrainingConfig, result: TrainingResult) -> Registered:
    """Log parameters, metrics per epoch and data set, plots and files; register; gate."""
    data = data_fingerprint(result.data.fingerprints)
    tags = {"git_commit": git_commit(), "data_sha256": data, "kind": result.predictor.kind}
    with registry.run(_flat("", config.model_dump(mode="json")), tags) as run:
        _log(run, result)
        version = registry.register(
            run,
            result.folder,
            kind=result.predictor.kind,
            scores=gate_scores(result.evaluation),
            data=data,
        )
    refusal = gate(registry, result.evaluation)
    if refusal is None:
        registry.promote(version)
    return Registered(version, refusal)


def gate(registry: Registry, candidate: Evaluation) -> str | None:
    """Judge the champion on the candidate's own test rows; why it stays, or nothing."""
    unfit = gate_scores(candidate).refusal(None)
    if unfit or not registry.has(CHAMPION):
        return unfit
    with registry.folder(CHAMPION) as folder:
        champion = LengthPredictor.from_pretrained(folder)
        theirs = gate_scores(evaluate(champion, candidate.rows))
    return gate_scores(candidate).refusal(theirs)


def gate_scores(evaluation: Evaluation) -> GateScores:
    """CRPS and coverage over all rows."""
    found = evaluation.judged["model"].scores()
    return GateScores(found.crps, found.coverage_90)


def data_fingerprint(sources: Mapping[str, str]) -> str:
    """One SHA-256 of all sources."""
    return sha256("\n".join(f"{k} {v}" for k, v in sorted(sources.items())).encode()).hexdigest()


def git_commit() -> str:
    """Of the code that runs, where it is a checkout; else ``unknown``."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=here, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _log(run: Run, result: TrainingResult) -> None:
    for step, epoch in enumerate(result.epochs, start=1):
        run.metrics({k: v for k, v in epoch.items() if k != "epoch"}, step=step)
    document = result.evaluation.document()
    run.metrics(_numbers("test", document["all"]))
    for llm, scores in document["llms"].items():
        run.metrics(_numbers(f"test.{llm}", scores))
    run.metrics({"predict_ms": result.predict_ms, "fit_s": result.fit_s})
    from training.plots import plots  # noqa: PLC0415 - loads matplotlib

    for name, content in plots(result.evaluation, result.epochs).items():
        run.file(f"plots/{name}.png", content)
    run.file(f"evaluation/{METRICS_FILE}", (result.folder / METRICS_FILE).read_bytes())


def _numbers(prefix: str, scores: Mapping[str, Any]) -> dict[str, float]:
    """The plain numbers, and those of each data set."""
    found = {f"{prefix}.{k}": float(v) for k, v in scores.items() if isinstance(v, int | float)}
    for name, part in scores.get("datasets", {}).items():
        found |= _numbers(f"{prefix}.{name}", part)
    return found


def _flat(prefix: str, settings: Mapping[str, Any]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(f"{prefix}{name}.", value)
        else:
            found[f"{prefix}{name}"] = value
    return found
