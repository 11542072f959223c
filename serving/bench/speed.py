"""How fast an engine is, as the steps of its profiling show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Self

from predictor.errors import EngineError
from serving.steplog import StepRecord
from training.workload import WorkloadRequest

# A batch counts as full from this share of the largest one.
_FULL = 0.75
_FEWEST_STEPS = 4
# Shorter chunks cost what any step costs.
_SHORTEST_PREFILL = 32


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """Seconds of a decode step with a full batch of ``batch`` and of a prompt token."""

    decode_step_s: float
    prefill_token_s: float
    batch: int

    @classmethod
    def of(cls, steps: Iterable[StepRecord], batch: int) -> Self:
        """Measure; raises ``EngineError`` unless enough full batches were seen."""
        timed = [(step, step.step_s) for step in steps if step.step_s]
        largest = max((step.decodes for step, _ in timed), default=0)
        full = [s for step, s in timed if not step.prefills and step.decodes >= _FULL * largest]
        long = [(step, s) for step, s in timed if step.prefill_tokens >= _SHORTEST_PREFILL]
        if 2 * largest < batch or len(full) < _FEWEST_STEPS or not long:
            raise EngineError(
                f"{len(timed)} steps show too few full batches of {batch} to measure the engine: "
                "look at its log"
            )
        decode_step_s = median(full)
        single = [s for step, s in timed if not step.prefills and step.decodes == 1]
        least_s = min(median(single), decode_step_s) if single else 0.0
        # What a step would have taken without its prefill is not the prefill's.
        each_s = (decode_step_s - least_s) / largest
        spent_s = sum(max(s - least_s - each_s * step.decodes, 0.0) for step, s in long)
        return cls(decode_step_s, spent_s / sum(step.prefill_tokens for step, _ in long), batch)

    def request_s(self, requests: Sequence[WorkloadRequest]) -> float:
        """Seconds that the mean request takes in a full batch, without a wait."""
        return fmean(
            each.prompt_tokens * self.prefill_token_s + each.output_tokens * self.decode_step_s
            for each in requests
        )

    def capacity(self, requests: Sequence[WorkloadRequest]) -> float:
        """Requests a second that the engine carries with its batch always full."""
        return 1.0 / fmean(
            each.prompt_tokens * self.prefill_token_s
            + each.output_tokens * self.decode_step_s / self.batch
            for each in requests
        )
