"""Checkpoints of a training run: safetensors and JSON, written whole or not at all."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from predictor.errors import TrainingError
from training.encoder.config import EncoderConfig

_FILE = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Weights, averaged weights and the optimizer's moments, and how far the run has come.

    ``batch`` batches of epoch ``epoch`` (from 0) are done; the sums are theirs.
    """

    tensors: Mapping[str, Tensor]
    epoch: int
    batch: int
    steps: int
    spent_s: float
    loss_sum: float
    crps_sum: float
    history: Sequence[Mapping[str, Any]]


class Checkpoints:
    """The newest checkpoint of a run, one file in a folder; a run of other settings is refused."""

    def __init__(self, folder: Path, *, fingerprint: str, every_s: float = 60.0) -> None:
        self._file = folder / _FILE
        self._fingerprint = fingerprint
        self._every_s = every_s
        self._saved_s = monotonic()

    def due(self) -> bool:
        """Whether it is time for the next."""
        return monotonic() - self._saved_s >= self._every_s

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the one before; raises ``TrainingError`` when the disk is full."""
        state = {
            "fingerprint": self._fingerprint,
            "epoch": checkpoint.epoch,
            "batch": checkpoint.batch,
            "steps": checkpoint.steps,
            "spent_s": checkpoint.spent_s,
            "loss_sum": checkpoint.loss_sum,
            "crps_sum": checkpoint.crps_sum,
            "history": list(checkpoint.history),
        }
        part = self._file.with_suffix(".part")
        tensors = {name: tensor.cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, part, metadata={"state": json.dumps(state)})
            part.replace(self._file)
        except (OSError, SafetensorError) as error:
            part.unlink(missing_ok=True)
            raise TrainingError(
                f"{self._file}: {error}; make room or give another --output. "
                "The checkpoint before it stays; nothing was registered"
            ) from error
        self._saved_s = monotonic()

    def newest(self) -> Checkpoint | None:
        """The one that is there; raises ``TrainingError`` when it belongs to another run."""
        if not self._file.exists():
            return None
        state = self._state()
        if state.pop("fingerprint") != self._fingerprint:
            raise TrainingError(
                f"{self._file}: belongs to a run on other data or settings; "
                "give another --output, or --restart to begin anew"
            )
        return Checkpoint(tensors=load_file(self._file), **state)

    def clear(self) -> None:
        """Forget it."""
        self._file.unlink(missing_ok=True)

    def _state(self) -> dict[str, Any]:
        try:
            with safe_open(self._file, framework="pt") as stored:
                state: dict[str, Any] = json.loads(stored.metadata()["state"])
                return state
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{self._file}: damaged ({error}); begin anew with --restart"
            ) from error


def fingerprint(config: EncoderConfig, data: Mapping[str, str]) -> str:
    """Changes whenever a checkpoint would no longer fit."""
    told = {
        "config": config.model_dump(exclude={"threads", "device", "budget_minutes"}),
        "data": dict(data),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
