"""Trains a predictor on ShareGPT, judges it on conversations it never saw, and stores it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from predictor import artifact
from predictor.boosted import MIN_ROWS, BoostedPredictor, Progress
from predictor.errors import ConfigError, DatasetError
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from training.classes import slo_class
from training.metrics import Scores, score
from training.sharegpt import Conversation, ReadReport, read_sharegpt
from training.split import TRAIN_FRACTION, VALIDATION_FRACTION, Split, split_of
from training.tokens import TokenCounter

Ints = NDArray[np.int64]
Kind = Literal["lightgbm", "history"]

METRICS_FILE = "metrics.json"
DATA_FILE = "data.json"
_TIMED_PROMPTS = 200


@dataclass(frozen=True, slots=True)
class Examples:
    """Prompts and the lengths of their answers, int64[n] in engine tokens, at least one each."""

    prompts: tuple[Prompt, ...]
    lengths: Ints

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training run found; ``scores`` are of the test split, by predictor name.

    ``predict_ms`` is the median time for one prompt alone, by predictor name.
    """

    folder: Path
    report: ReadReport
    rows: Mapping[Split, int]
    scores: Mapping[str, Scores]
    predict_ms: Mapping[str, float]
    fit_s: float


def train(
    folder: Path,
    *,
    counter: TokenCounter,
    dataset: Path | None = None,
    kind: Kind = "lightgbm",
    seed: int = 0,
    threads: int = 2,
    progress: Progress | None = None,
) -> TrainingResult:
    """Fit on train conversations, calibrate on validation, judge once on test, store ``kind``.

    ``progress`` is told the stage and the share of it that is done, 0 to 1.
    """
    if kind not in ("lightgbm", "history"):
        raise ConfigError(f"predictor kind {kind!r}: give lightgbm or history")
    report = progress or _silent
    report("read", 0.0)
    data = read_sharegpt(dataset)
    report("count tokens", 0.0)
    parts = _parts(data.conversations, counter)
    _require(data.report.path, parts)
    started = perf_counter()
    predictors = _fitted(parts, seed=seed, threads=threads, progress=progress)
    fit_s = perf_counter() - started
    report("judge", 0.0)
    result = TrainingResult(
        folder=folder,
        report=data.report,
        rows={split: len(part) for split, part in parts.items()},
        scores=_judged(predictors, parts["test"]),
        predict_ms={name: _predict_ms(p, parts["test"]) for name, p in predictors.items()},
        fit_s=fit_s,
    )
    report("store", 0.0)
    artifact.save(predictors[kind], folder, extra=_extra(result, counter, seed))
    report("store", 1.0)
    return result


def examples(conversations: Sequence[Conversation], counter: TokenCounter) -> Examples:
    """The first turn of each conversation."""
    turns = [conversation.first_turn for conversation in conversations]
    prompt_tokens = counter.count([prompt for prompt, _ in turns])
    answer_tokens = counter.count([answer for _, answer in turns])
    prompts = (
        Prompt(text=prompt, task=slo_class(prompt), input_tokens=int(tokens))
        for (prompt, _), tokens in zip(turns, prompt_tokens, strict=True)
    )
    return Examples(tuple(prompts), np.maximum(answer_tokens, 1))


def _parts(conversations: Sequence[Conversation], counter: TokenCounter) -> dict[Split, Examples]:
    every = examples(conversations, counter)
    rows: dict[Split, list[int]] = {"train": [], "validation": [], "test": []}
    for row, conversation in enumerate(conversations):
        rows[split_of(conversation.base_id)].append(row)
    return {
        split: Examples(tuple(every.prompts[i] for i in index), every.lengths[index])
        for split, index in rows.items()
    }


def _require(path: str, parts: Mapping[Split, Examples]) -> None:
    if len(parts["train"]) < MIN_ROWS:
        raise DatasetError(
            f"{path}: only {len(parts['train'])} training conversations, "
            f"but {MIN_ROWS} are needed; give a larger --dataset-path"
        )
    if not len(parts["test"]):
        raise DatasetError(
            f"{path}: no conversation falls into the test split; give a larger --dataset-path"
        )


def _fitted(
    parts: Mapping[Split, Examples], *, seed: int, threads: int, progress: Progress | None
) -> dict[str, "BoostedPredictor | HistoryPredictor"]:
    learn, check = parts["train"], parts["validation"]
    boosted = BoostedPredictor.fit(
        learn.prompts, learn.lengths, seed=seed, threads=threads, progress=progress
    )
    return {
        "lightgbm": boosted.calibrated(check.prompts, check.lengths) if len(check) else boosted,
        "history": HistoryPredictor.fit(learn.prompts, learn.lengths),
        "history-gaussian": HistoryPredictor.fit(learn.prompts, learn.lengths, gaussian=True),
    }


def _judged(predictors: Mapping[str, LengthPredictor], test: Examples) -> dict[str, Scores]:
    return {
        name: score(predictor.predict(test.prompts), test.lengths)
        for name, predictor in predictors.items()
    }


def _predict_ms(predictor: LengthPredictor, test: Examples) -> float:
    times = []
    for prompt in test.prompts[:_TIMED_PROMPTS]:
        started = perf_counter()
        predictor.predict([prompt])
        times.append(perf_counter() - started)
    return 1000.0 * float(np.median(times))


def _extra(result: TrainingResult, counter: TokenCounter, seed: int) -> dict[str, bytes]:
    data = {
        "dataset": asdict(result.report),
        "tokenizer_sha256": counter.fingerprint,
        "rows": dict(result.rows),
        "fractions": {"train": TRAIN_FRACTION, "validation": VALIDATION_FRACTION},
        "seed": seed,
    }
    metrics = {
        "test": {name: asdict(scores) for name, scores in result.scores.items()},
        "predict_ms": dict(result.predict_ms),
        "fit_s": result.fit_s,
    }
    return {METRICS_FILE: _json(metrics), DATA_FILE: _json(data)}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


def _silent(stage: str, share: float) -> None:
    """Nobody listens."""
    del stage, share
