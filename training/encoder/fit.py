"""Fine-tunes, averages and calibrates an encoder predictor."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from predictor.encoder.predictor import EncoderPredictor
from predictor.errors import DatasetError
from training.encoder.checkpoint import Checkpoints
from training.encoder.config import EncoderConfig
from training.encoder.loop import Epoch, Progress, fine_tune
from training.encoder.prepare import prepare
from training.lengths import LengthRows

MIN_ROWS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The calibrated predictor and how its epochs went."""

    predictor: EncoderPredictor
    epochs: list[Epoch]


def fit_encoder(
    rows: LengthRows,
    extra: LengthRows | None,
    config: EncoderConfig,
    *,
    checkpoints: Checkpoints,
    progress: Progress,
    on_epoch: Callable[[Epoch], None],
) -> Fitted:
    """Train on the training side of ``rows`` (and ``extra``), calibrate on validation."""
    train = rows.of_split("train")
    if len(train) < MIN_ROWS:
        raise DatasetError(
            f"{len(train)} rows of training prompts: the encoder needs at least {MIN_ROWS}; "
            "collect more lengths, or onboard the LLM into a trained predictor"
        )
    prepared = prepare(rows, extra, config, progress)
    epochs = fine_tune(
        prepared.network,
        prepared.data,
        prepared.parts,
        config,
        checkpoints=checkpoints,
        progress=progress,
        on_epoch=on_epoch,
    )
    progress("calibrate", 0.0)
    predictor = prepared.predictor()
    held_out = rows.of_split("validation")
    if len(held_out):
        samples = np.where(held_out.seen, held_out.samples, 0)
        predictor = predictor.calibrated(held_out.requests(), samples)
    return Fitted(predictor, epochs)
