"""One simulated engine: vLLM V1's iteration loop with the step time taken from a model."""

from collections.abc import Sequence

from scheduler.decision import StepDecision
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.simulator.request import LiveRequest, SimOutcome, SimRequest
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival


class SimulatedEngine:
    """Runs requests to completion under a driver's policy.

    Semantics of vLLM V1: running requests are scheduled before waiting ones, prompts are
    prefilled in chunks of what the token budget leaves, at most ``max_num_seqs`` run, arrivals
    during a step are seen by the next one. KV memory is no limit yet. Deterministic as far as
    the policy is.
    """

    def __init__(self, *, driver: Driver, limits: Limits, truth: StepLatency) -> None:
        self.driver = driver
        self.steps = 0
        self._limits = limits
        self._truth = truth
        self._waiting: dict[int, LiveRequest] = {}
        self._running: dict[int, LiveRequest] = {}

    def run(self, requests: Sequence[SimRequest]) -> list[SimOutcome]:
        """Serve all requests; returns outcomes in order of completion."""
        pending = sorted(requests, key=lambda request: request.arrival_s)
        outcomes: list[SimOutcome] = []
        now_s, arrived = 0.0, 0
        while arrived < len(pending) or self._waiting or self._running:
            if not self._waiting and not self._running:
                now_s = max(now_s, pending[arrived].arrival_s)
            while arrived < len(pending) and pending[arrived].arrival_s <= now_s:
                self._arrive(pending[arrived])
                arrived += 1
            now_s = self._step(now_s, outcomes)
        return outcomes

    def _arrive(self, request: SimRequest) -> None:
        handle = self.driver.tracker.arrived(
            Arrival(
                request_id=request.request_id,
                arrival_s=request.arrival_s,
                prompt_tokens=request.prompt_tokens,
                max_tokens=request.output_tokens,
                slo=request.slo,
                lengths=request.lengths,
                priority=request.priority,
            )
        )
        self._waiting[handle] = LiveRequest(request)

    def _step(self, now_s: float, outcomes: list[SimOutcome]) -> float:
        decision = self.driver.decide(now_s=now_s)
        self._preempt(decision)
        batch = self._batch(decision)
        end_s = now_s + self._duration_s(batch)
        self.steps += 1
        for handle, tokens in batch.items():
            self._advance(handle, tokens, end_s, outcomes)
        return end_s

    def _preempt(self, decision: StepDecision) -> None:
        for handle in decision.preempt.tolist():
            live = self._running.pop(handle)
            live.computed_tokens = 0
            live.preemptions += 1
            self._waiting[handle] = live
            self.driver.tracker.preempted(live.request.request_id)

    def _batch(self, decision: StepDecision) -> dict[int, int]:
        """Allocate this step's tokens: handle -> tokens."""
        budget = self._limits.max_batched_tokens
        if decision.token_budget is not None:
            budget = min(budget, decision.token_budget)
        batch: dict[int, int] = {}
        for handle, live in self._running.items():
            if tokens := min(max(live.prefill_left, 1), budget):
                batch[handle] = tokens
                budget -= tokens
        held = set(decision.held.tolist())
        for handle in decision.order.tolist():
            if budget == 0 or len(self._running) >= self._limits.max_num_seqs:
                break
            if handle in held or handle not in self._waiting:
                continue
            live = self._running[handle] = self._waiting.pop(handle)
            batch[handle] = min(live.prefill_left, budget)
            budget -= batch[handle]
        return batch

    def _duration_s(self, batch: dict[int, int]) -> float:
        prefills = prefill_tokens = decodes = context = 0
        for handle, tokens in batch.items():
            live = self._running[handle]
            if live.prefill_left > 1:
                prefills += 1
                prefill_tokens += tokens
            else:
                decodes += 1
                context += live.computed_tokens
        step_s = float(self._truth.step_s(prefills, prefill_tokens, decodes, context))
        self.driver.observe_step(
            prefills=prefills,
            prefill_tokens=prefill_tokens,
            decodes=decodes,
            context_tokens=context,
            step_s=step_s,
        )
        return step_s

    def _advance(self, handle: int, tokens: int, end_s: float, outcomes: list[SimOutcome]) -> None:
        live = self._running[handle]
        request_id = live.request.request_id
        tracker = self.driver.tracker
        tracker.scheduled(request_id, tokens)
        live.computed_tokens += tokens
        if live.prefill_left > 0:
            return
        if live.generated == 0:
            live.first_token_s = end_s
        live.generated += 1
        tracker.tokens(request_id, 1, end_s)
        if live.generated >= live.request.output_tokens:
            tracker.finished(request_id)
            del self._running[handle]
            outcomes.append(SimOutcome.of(live, end_s))
