"""The paper's predictor: each task's past lengths are the forecast for its next prompt."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import erf, sqrt
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictor.distribution import LengthDistribution, log_edges
from predictor.errors import ArtifactError, DatasetError, DistributionError
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor

Floats = NDArray[np.float64]

_GAUSSIAN_REACH = 6.0
_FILE = "history.json"


class HistoryPredictor(LengthPredictor):
    """One distribution per task; a task never seen gets the distribution of all lengths."""

    def __init__(
        self, *, tasks: Mapping[str, LengthDistribution], prior: LengthDistribution
    ) -> None:
        self.tasks = dict(tasks)
        self.prior = prior

    @property
    def kind(self) -> str:
        """``history``."""
        return "history"

    @classmethod
    def fit(cls, prompts: Sequence[Prompt], lengths: ArrayLike, *, gaussian: bool = False) -> Self:
        """From observed lengths in tokens, one per prompt.

        Empirical shares on log-spaced bins, or with ``gaussian`` the normal distribution of
        each task's mean and spread, its mass below one token put on one.
        """
        observed = np.asarray(lengths, dtype=np.float64)
        if observed.shape != (len(prompts),) or not len(prompts):
            raise DatasetError(
                f"{len(prompts)} prompts with lengths of shape {observed.shape}: "
                "give one length per prompt, and at least one"
            )
        rows: defaultdict[str, list[int]] = defaultdict(list)
        for row, prompt in enumerate(prompts):
            rows[prompt.task].append(row)
        make = _gaussian if gaussian else LengthDistribution.from_samples
        return cls(
            tasks={task: make(observed[index]) for task, index in rows.items()},
            prior=make(observed),
        )

    def predict(self, prompts: Sequence[Prompt]) -> list[LengthDistribution]:
        """One distribution per prompt, in order; a dictionary look-up each."""
        return [
            _limited(self.tasks.get(prompt.task, self.prior), prompt.max_tokens)
            for prompt in prompts
        ]

    def to_files(self) -> dict[str, bytes]:
        """Everything needed to build it again, by file name."""
        state = {
            "prior": self.prior.to_floats(),
            "tasks": {task: known.to_floats() for task, known in sorted(self.tasks.items())},
        }
        return {_FILE: json.dumps(state).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Inverse of :meth:`to_files`."""
        try:
            state = json.loads(files[_FILE])
            tasks = {
                str(task): LengthDistribution.from_floats(numbers)
                for task, numbers in state["tasks"].items()
            }
            prior = LengthDistribution.from_floats(state["prior"])
        except (KeyError, TypeError, AttributeError, ValueError, DistributionError) as error:
            raise ArtifactError(f"{_FILE}: {error!r}; train the predictor anew") from error
        return cls(tasks=tasks, prior=prior)


def _limited(distribution: LengthDistribution, max_tokens: int | None) -> LengthDistribution:
    return distribution if max_tokens is None else distribution.truncated(max_tokens)


def _gaussian(lengths: Floats) -> LengthDistribution:
    mean, spread = float(lengths.mean()), float(lengths.std())
    if spread == 0.0:
        return LengthDistribution.point(max(round(mean), 1))
    edges = log_edges(max(round(mean + _GAUSSIAN_REACH * spread), 2))
    # A whole number n stands for n - 0.5 .. n + 0.5.
    scaled = (edges + 0.5 - mean) / (spread * sqrt(2.0))
    cdf = np.array([0.5 * (1.0 + erf(value)) for value in scaled])
    cdf[0], cdf[-1] = 0.0, 1.0
    return LengthDistribution.from_cdf(edges, cdf)
