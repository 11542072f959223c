"""Data -> split by prompt -> train -> calibrate -> judge beside baselines and noise -> store."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from predictor import artifact
from predictor.boosted import MIN_ROWS, BoostedPredictor
from predictor.errors import ConfigError, DatasetError
from predictor.history import HistoryPredictor
from predictor.protocol import LengthPredictor
from predictor.quantiles import Progress
from training.collected.known import Collected
from training.config import TrainingConfig
from training.evaluate import Evaluation, evaluate
from training.lengths import LengthRows, apart_from, from_sharegpt, read_lengths
from training.sharegpt import read_sharegpt
from training.split import Split
from training.tokens import TokenCounter

if TYPE_CHECKING:
    from predictor.encoder.predictor import EncoderPredictor
    from predictor.fast import FastPredictor

Ints = NDArray[np.int64]

METRICS_FILE = "metrics.json"
DATA_FILE = "data.json"
_TIMED_PROMPTS = 200
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What a run learns from: ``rows`` train, validate and judge; of ``extra`` only is learned."""

    rows: LengthRows
    extra: LengthRows | None

    @property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each source."""
        return {**self.rows.sha256, **(self.extra.sha256 if self.extra is not None else {})}


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """What a training run found; ``predict_ms`` is the median time for one prompt alone."""

    folder: Path
    predictor: LengthPredictor
    data: Data
    evaluation: Evaluation
    epochs: tuple[Mapping[str, float], ...]
    predict_ms: float
    fit_s: float

    @property
    def rows(self) -> dict[Split, int]:
        """Rows in each split."""
        return {split: len(self.data.rows.of_split(split)) for split in _SPLITS}


def train(
    folder: Path,
    config: TrainingConfig,
    *,
    counter: Callable[[], TokenCounter],
    progress: Progress | None = None,
    on_epoch: Callable[[Mapping[str, float]], None] | None = None,
    restart: bool = False,
    data: Data | None = None,
) -> TrainingResult:
    """Fit on train, calibrate on validation, judge once on test, store in ``folder``.

    ``progress`` is told the stage and the share of it that is done, 0 to 1; ``data`` stands in for
    what the settings name. An encoder run that
    was interrupted is taken up where its last checkpoint (beside ``folder``) left it.
    """
    report = progress or _silent
    report("read", 0.0)
    data = data or read_data(config, counter)
    test = data.rows.of_split("test")
    _require(data.rows, test)
    started = perf_counter()
    epochs: list[Mapping[str, float]] = []

    def heard(epoch: Mapping[str, float]) -> None:
        epochs.append(epoch)
        if on_epoch is not None:
            on_epoch(epoch)

    predictor = _fitted(folder, config, data, report, heard, restart=restart)
    fit_s = perf_counter() - started
    report("judge", 0.0)
    result = TrainingResult(
        folder=folder,
        predictor=predictor,
        data=data,
        evaluation=evaluate(predictor, test, known=data.rows.of_split("train")),
        epochs=tuple(epochs),
        predict_ms=predict_ms(predictor, test),
        fit_s=fit_s,
    )
    report("store", 0.0)
    artifact.save(predictor, folder, extra=_extra(result, config))
    _checkpoint_folder(folder, clear=True)
    report("store", 1.0)
    return result


def read_data(config: TrainingConfig, counter: Callable[[], TokenCounter]) -> Data:
    """A folder of lengths or collected ones with ShareGPT beside them, or ShareGPT alone."""
    if config.lengths is not None:
        rows = read_lengths(config.lengths)
    elif config.collected is not None:
        conversations = read_sharegpt(config.dataset_path).conversations
        rows = Collected.of(config.collected).rows(conversations)
    else:
        return Data(_sharegpt(config, counter), None)
    unknown = {*config.leave_out, *filter(None, [config.llm])} - set(rows.llms)
    if unknown:
        raise ConfigError(
            f"{config.lengths or config.collected} holds no LLM {', '.join(sorted(unknown))}; "
            f"it holds {', '.join(rows.llms)}"
        )
    if config.llm is not None:
        rows = rows.without([name for name in rows.llms if name != config.llm])
    rows = rows.without(config.leave_out) if config.leave_out else rows
    if config.kind not in ("encoder", "blend") or not config.sharegpt:
        return Data(rows, None)
    return Data(rows, apart_from(_sharegpt(config, counter), rows))


def _sharegpt(config: TrainingConfig, counter: Callable[[], TokenCounter]) -> LengthRows:
    data = read_sharegpt(config.dataset_path)
    return from_sharegpt(data.conversations, counter(), sha256=data.report.sha256)


def _require(rows: LengthRows, test: LengthRows) -> None:
    train = rows.of_split("train")
    if len(train) < MIN_ROWS:
        raise DatasetError(
            f"only {len(train)} rows to train on, but {MIN_ROWS} are needed; "
            "give more conversations or lengths"
        )
    if not len(test):
        raise DatasetError("no prompt falls into the test split; give more data")


def _fitted(
    folder: Path,
    config: TrainingConfig,
    data: Data,
    progress: Progress,
    heard: Callable[[Mapping[str, float]], None],
    *,
    restart: bool,
) -> LengthPredictor:
    if config.kind == "encoder":
        return _encoder(folder, config, data, progress, heard, restart=restart)
    if config.kind == "fast":
        return _fast(config, data, progress)
    if config.kind == "blend":
        from training.blend import fit_blend  # noqa: PLC0415

        encoder = _encoder(folder, config, data, progress, heard, restart=restart)
        return fit_blend(encoder, _fast(config, data, progress), data.rows)
    learn, check = data.rows.of_split("train"), data.rows.of_split("validation")
    if config.kind == "history":
        return HistoryPredictor.fit(*_flat(learn))
    if len(data.rows.llms) > 1:
        raise ConfigError(
            "a lightgbm predictor knows one LLM: give --set llm=NAME, one of "
            f"{', '.join(data.rows.llms)}, or train kind encoder or fast"
        )
    boosted = BoostedPredictor.fit(
        *_flat(learn), seed=config.seed, threads=config.threads, progress=progress
    )
    return boosted.calibrated(*_flat(check)) if len(check) else boosted


def _fast(config: TrainingConfig, data: Data, progress: Progress) -> "FastPredictor":
    from training.fast.fit import fit_fast  # noqa: PLC0415 - loads torch

    return fit_fast(data.rows, config.fast, progress)


def _encoder(
    folder: Path,
    config: TrainingConfig,
    data: Data,
    progress: Progress,
    heard: Callable[[Mapping[str, float]], None],
    *,
    restart: bool,
) -> "EncoderPredictor":
    from training.encoder.checkpoint import Checkpoints, fingerprint  # noqa: PLC0415 - torch
    from training.encoder.fit import fit_encoder  # noqa: PLC0415

    checkpoints = Checkpoints(
        _checkpoint_folder(folder, clear=restart),
        fingerprint=fingerprint(config.encoder, data.fingerprints),
    )
    fitted = fit_encoder(
        data.rows,
        data.extra,
        config.encoder,
        checkpoints=checkpoints,
        progress=progress,
        on_epoch=lambda epoch: heard(asdict(epoch)),
    )
    return fitted.predictor


def _checkpoint_folder(folder: Path, *, clear: bool) -> Path:
    """Beside the artifact's folder, which is written whole or not at all."""
    beside = folder.with_name(f"{folder.name}.checkpoint")
    if clear and beside.is_dir():
        for file in beside.glob("checkpoint.*"):
            file.unlink()
        beside.rmdir()
    return beside


def _flat(rows: LengthRows) -> tuple[list[Any], Ints]:
    """One prompt and length per sample; one that was cut counts as long as it came.

    That is right for every quantile below the cut, where leaving it out would shorten them all.
    """
    requests = rows.requests()
    lengths = np.where(rows.cut, rows.caps[:, None], rows.samples)
    row, column = np.nonzero(lengths)
    return [requests[r] for r in row], lengths[row, column]


def predict_ms(predictor: LengthPredictor, rows: LengthRows) -> float:
    """Median time for one prompt alone."""
    times = []
    for prompt in rows.where(np.arange(min(len(rows), _TIMED_PROMPTS))).requests():
        started = perf_counter()
        predictor.predict([prompt])
        times.append(perf_counter() - started)
    return 1000.0 * float(np.median(times))


def _extra(result: TrainingResult, config: TrainingConfig) -> dict[str, bytes]:
    data = {
        "sha256": result.data.fingerprints,
        "rows": result.rows,
        "config": config.model_dump(mode="json"),
    }
    metrics = {
        "test": result.evaluation.document(),
        "epochs": list(result.epochs),
        "predict_ms": result.predict_ms,
        "fit_s": result.fit_s,
    }
    return {METRICS_FILE: _json(metrics), DATA_FILE: _json(data)}


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


def _silent(stage: str, share: float) -> None:
    """Nobody listens."""
    del stage, share
