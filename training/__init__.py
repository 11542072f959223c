"""Workloads and the training of the length predictors.

Importing this package loads nothing heavy: each name below is imported when it is first used.
"""

from typing import TYPE_CHECKING

from predictor.lazy import lazy_names

if TYPE_CHECKING:
    from training.config import TrainingConfig
    from training.lengths import LengthRows, read_lengths
    from training.onboarding import onboard
    from training.partial import refine
    from training.pipeline import train
    from training.registry import Registry
    from training.sharegpt import read_sharegpt
    from training.trace import TraceRow, read_trace
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "LengthRows": "training.lengths",
            "Registry": "training.registry",
            "TraceRow": "training.trace",
            "TrainingConfig": "training.config",
            "onboard": "training.onboarding",
            "read_lengths": "training.lengths",
            "read_sharegpt": "training.sharegpt",
            "read_trace": "training.trace",
            "refine": "training.partial",
            "train": "training.pipeline",
        },
    )

__all__ = [
    "LengthRows",
    "Registry",
    "TraceRow",
    "TrainingConfig",
    "onboard",
    "read_lengths",
    "read_sharegpt",
    "read_trace",
    "refine",
    "train",
]
