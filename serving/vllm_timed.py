"""Stock vLLM scheduling with a stopwatch: what the benchmark runs for ``fcfs`` and ``priority``."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.request import Request

from scheduler.latency import StepWork
from serving.engine_rank import EngineRank
from serving.line_log import LineLog
from serving.settings import load as load_settings
from serving.steplog import StepRecord, encode
from serving.vllm_limits import apply_replay_length


@dataclass(frozen=True, slots=True)
class StepInFlight:
    """A step that the engine computes; ``scheduled_s`` is monotonic."""

    scheduled_s: float
    record: StepRecord


class TimedScheduler(AsyncScheduler):  # type: ignore[misc]
    """vLLM's own scheduler, unchanged; times each call and logs each step.

    A step lasts from the previous step's results to its own, whatever the engine does in between:
    so long its requests wait for their next tokens. Where nobody was left, it lasts from its
    scheduling. In a benchmark a request ends at the recorded length that it carries
    (``replay_lengths``).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = load_settings().settings
        self.engine_rank = EngineRank.of(self.vllm_config)
        log = self.settings.step_log
        self._log = None if log is None else LineLog(self.engine_rank.file(log), encode)
        self._in_flight: dict[int, StepInFlight] = {}
        # From here on somebody waits for the next step; nobody: from its scheduling.
        self._waited_since_s: float | None = None
        # Preemptions since the last step, vLLM's own for want of memory included.
        self._preempted = 0
        # Seconds of our own outside `schedule()` since the last step; charged to the next one.
        self.own_s = 0.0

    def add_request(self, request: Request) -> None:
        """Take in a new request; one of a benchmark ends at its recorded length."""
        if self.settings.replay_lengths:
            apply_replay_length(request)
        super().add_request(request)

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        """Schedule as stock vLLM does, and remember what the step computes."""
        started_s = time.perf_counter()
        added_s = self.before_step()
        output = super().schedule(*args, **kwargs)
        if output.total_num_scheduled_tokens:
            resumed_s = time.perf_counter()
            scheduled_s, (record, prefills) = time.monotonic(), self._record(output)
            self.after_schedule(output, prefills)
            ended_s = time.perf_counter()
            record = replace(
                record,
                schedule_s=ended_s - started_s,
                added_s=added_s + (ended_s - resumed_s) + self.own_s,
            )
            self.own_s = 0.0
            self._in_flight[id(output)] = StepInFlight(scheduled_s, record)
        elif not self._in_flight:
            # Nobody could compute: what they wait for is not the engine.
            self._waited_since_s = None
        return output

    def before_step(self) -> float:
        """Do what comes before vLLM's scheduling; returns the seconds it took."""
        return 0.0

    def after_schedule(self, output: SchedulerOutput, prefills: Sequence[str]) -> None:
        """Do what comes after vLLM's scheduling of a step that is not empty."""

    def step_done(self, work: StepWork, step_s: float) -> None:
        """Learn from a finished step."""

    @property
    def fallbacks(self) -> int:
        """Steps that were served in arrival order because the policy failed."""
        return 0

    @property
    def untrained(self) -> int:
        """Steps that were served in arrival order because there was no latency model yet."""
        return 0

    def update_from_output(
        self, scheduler_output: SchedulerOutput, *args: Any, **kwargs: Any
    ) -> Any:
        """Take in results as stock vLLM does, and close the step's record."""
        outputs = super().update_from_output(scheduler_output, *args, **kwargs)
        step = self._in_flight.pop(id(scheduler_output), None)
        if step is not None:
            now_s = time.monotonic()
            since_s = self._waited_since_s
            step_s = now_s - (step.scheduled_s if since_s is None else since_s)
            waits = self.has_unfinished_requests() or self._in_flight
            self._waited_since_s = now_s if waits else None
            self.step_done(step.record.work, step_s)
            if self._log is not None:
                self._log.add(replace(step.record, step_s=step_s))
        return outputs

    def _preempt_request(self, *args: Any, **kwargs: Any) -> None:
        super()._preempt_request(*args, **kwargs)
        self._preempted += 1

    def shutdown(self) -> None:
        """Write the rest of the log before the engine goes."""
        super().shutdown()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _record(self, output: SchedulerOutput) -> tuple[StepRecord, list[str]]:
        """Sum up the step, its times not known yet, and name those who compute a prompt in it.

        Cost: under a microsecond per request.
        """
        prefill_tokens = prefill_context = decodes = context = 0
        products = squares = longest = 0
        prefills: list[str] = []
        drafts = output.scheduled_spec_decode_tokens
        for request_id, tokens in output.num_scheduled_tokens.items():
            request = self.requests[request_id]
            cached = request.num_computed_tokens - tokens
            # A decode computes one token, and the drafts that are guessed to follow it.
            if tokens - len(drafts.get(request_id, ())) > 1 or request.is_prefill_chunk:
                prefills.append(request_id)
                prefill_tokens += tokens
                prefill_context += cached
                products += tokens * cached
                squares += tokens * tokens
                longest = max(longest, tokens)
            else:
                decodes += 1
                context += cached
        preempted, self._preempted = self._preempted, 0
        record = StepRecord(
            at_s=time.time(),
            waiting=self.get_request_counts()[1],
            running=len(self.running),
            prefills=len(prefills),
            prefill_tokens=prefill_tokens,
            prefill_context_tokens=prefill_context,
            prefill_products=products,
            prefill_squares=squares,
            longest_prefill=longest,
            decodes=decodes,
            context_tokens=context,
            preempted=preempted,
            schedule_s=0.0,
            added_s=0.0,
            step_s=None,
            fallbacks=self.fallbacks,
            untrained=self.untrained,
        )
        return record, prefills
