"""One simulated engine: the compiled loop, driven by a policy through the same driver as vLLM."""

import math
from dataclasses import dataclass

import numpy as np

from predictor.errors import SimulationError
from scheduler.compiled import compiled
from scheduler.decision import StepDecision
from scheduler.driver import Driver
from scheduler.placement.digest import Digest
from scheduler.simulator.loop import preempt, run
from scheduler.simulator.request import SimOutcome, SimRequest
from scheduler.simulator.state import Bytes, Clock, Count, Log, Rules, State
from scheduler.simulator.step_time import StepTime
from scheduler.snapshot import Floats, Ints, Limits

_MANY_STEPS = 1 << 40

# How long an engine idles when its policy holds everybody back.
_HELD_STEP_S = 0.01
_WAITING, _OPEN, _RUNNING = int(Count.WAITING), int(Count.OPEN), int(Count.RUNNING)

# What the latency model learns from, in the order of `Driver.observe_steps`.
_OBSERVED = [
    Log.PRODUCTS,
    Log.SQUARES,
    Log.PREFILL_CACHED,
    Log.DECODES,
    Log.CONTEXT_TOKENS,
    Log.PREFILL_TOKENS,
    Log.LONGEST,
    Log.STEP_S,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRules:
    """Engine settings in vLLM's terms, beside :class:`scheduler.snapshot.Limits`.

    ``block_size`` tokens make a KV block. ``asynchronous``: a step is scheduled while the one
    before runs. ``by_priority``: ``--scheduling-policy priority``, which takes memory from the
    least urgent instead of the last admitted. ``reserve_full_input``: admission needs room for
    the whole prompt. ``prefix_caching``: a preempted request may find blocks of its own again.
    """

    block_size: int = 16
    asynchronous: bool = False
    by_priority: bool = False
    reserve_full_input: bool = True
    prefix_caching: bool = False


class SimulatedEngine:
    """Runs requests under a driver's policy, with the step time taken from a model.

    Deterministic as far as the policy is. ``limits.kv_tokens`` is the memory, rounded down to
    whole blocks; ``None`` as ``kv_tokens`` of the constructor means memory is no limit.
    ``overruled`` counts the steps in which nobody whom the policy let compute could, so that those
    it made sit out did. The log of all steps is kept (112 bytes each) as :meth:`steps`.
    """

    def __init__(
        self,
        *,
        driver: Driver,
        limits: Limits,
        step_time: StepTime,
        rules: EngineRules | None = None,
        memory_bound: bool = True,
        instance: int = 0,
    ) -> None:
        rules = rules or EngineRules()
        self.driver = driver
        self._step_time = step_time
        self._instance = instance
        self._rules = Rules(
            max_num_seqs=limits.max_num_seqs,
            max_batched_tokens=limits.max_batched_tokens,
            blocks=limits.kv_tokens // rules.block_size if memory_bound else -1,
            block_size=rules.block_size,
            lag=int(rules.asynchronous),
            by_priority=int(rules.by_priority),
            reserve=int(rules.reserve_full_input),
            caching=int(rules.prefix_caching),
        )
        self._state = State.empty(self._rules, 256)
        self._requests: list[SimRequest] = []
        self._handle = np.zeros(256, dtype=np.int64)  # by request number
        self._number = np.zeros(512, dtype=np.int64)  # by the tracker's handle
        self._done: list[int] = []
        self._log: list[Floats] = []
        self._applied: StepDecision | None = None
        self._paused = np.zeros(0, dtype=np.int64)
        self._disordered = False
        self.overruled = 0

    @property
    def now_s(self) -> float:
        """When the next step begins."""
        return float(self._state.clock[Clock.NOW])

    @property
    def live(self) -> int:
        """How many requests wait or run."""
        return len(self.driver.tracker)

    @property
    def kv_tokens_free(self) -> int:
        """Free KV memory in tokens; the limit where memory is none."""
        if self._rules.blocks < 0:
            return self.driver.tracker.limits.kv_tokens
        return int(self._state.counts[Count.FREE_BLOCKS]) * self._rules.block_size

    def digest(self, now_s: float) -> Digest:
        """What it would publish now."""
        return Digest.of(
            self.driver.snapshot(now_s=max(self.now_s, now_s), kv_tokens_free=self.kv_tokens_free)
        )

    def steps(self) -> Floats:
        """All steps so far, float64[n, len(Log)]."""
        self._keep_log()
        return np.concatenate(self._log) if self._log else np.zeros((0, len(Log)))

    def outcomes(self) -> list[SimOutcome]:
        """What became of the requests that ended, in the order of their ends."""
        state = self._state
        return [
            SimOutcome.of(
                self._requests[number],
                first_token_s=float(state.first_token_s[number]),
                finish_s=float(state.finish_s[number]),
                preemptions=int(state.preemptions[number]),
                instance=self._instance,
            )
            for number in self._done
        ]

    def submit(self, request: SimRequest) -> None:
        """Take in a request; its arrival time is not before that of any other.

        Raises ``SimulationError`` if it can never fit into memory.
        """
        self._check_fits(request)
        state = self._state
        number = len(self._requests)
        if number == len(state.prompt):
            state = self._state = state.grown()
        state.prompt[number], state.output[number] = request.prompt_tokens, request.output_tokens
        state.arrival_s[number], state.priority[number] = request.arrival_s, request.priority
        state.prefix[number] = request.prefix_tokens
        if self.live == 0:
            self._wake(request.arrival_s)
        handle = self.driver.tracker.arrived(request.arrival())
        self._requests.append(request)
        self._handle = _with(self._handle, number, handle)
        self._number = _with(self._number, handle, number)
        _enqueue(state, number)

    def run_until(self, until_s: float) -> None:
        """Run steps until the engine is idle, or its next step could see an arrival then."""
        clock = self._state.clock
        while self.live and clock[Clock.SEEN] < until_s:
            if not self._turn(until_s):
                self._stall(until_s)

    def _turn(self, until_s: float) -> bool:
        """Decide once and run as long as the decision stands; says whether anything ran."""
        now_s = self.now_s
        decision = self.driver.decide(now_s=now_s, kv_tokens_free=self.kv_tokens_free)
        self._apply(decision)
        stands_until_s = self.driver.stands_until_s
        limit = self._rules.max_batched_tokens
        arguments = (
            self._rules,
            self._step_time,
            min(until_s, stands_until_s) if stands_until_s > now_s else until_s,
            _MANY_STEPS if stands_until_s > now_s else 1,
            limit if decision.token_budget is None else min(decision.token_budget, limit),
        )
        ran = run(self._state, *arguments)
        if not ran and len(self._paused):
            # Nobody whom the policy let in could run; those it made sit out can.
            self.overruled += 1
            self._pause(self._paused[:0])
            ran = run(self._state, *arguments)
        self._report()
        return bool(ran)

    def _pause(self, numbers: Ints) -> None:
        """Let these sit out, and nobody else."""
        self._state.paused[self._paused] = 0
        self._state.paused[numbers] = 1
        self._paused = numbers

    def _apply(self, decision: StepDecision) -> None:
        for number in self._number[decision.preempt].tolist():
            if self._state.ended[number]:  # asynchronous: its last token is out already
                continue
            preempt(self._state, self._rules, number)
            self.driver.tracker.preempted(self._requests[number].request_id)
        if self._disordered or not decision.same_queue(self._applied):
            self._disordered = False
            held = np.concatenate([decision.held, decision.preempt])
            _arrange(
                self._state,
                self._number[decision.order],
                self._number[held],
                np.zeros(len(self._requests), dtype=np.uint8),
                decision.shortlisted,
            )
        if decision.running is not None and decision is not self._applied:
            mark = np.zeros(len(self._requests), dtype=np.uint8)
            _reorder(self._state, self._number[decision.running], mark)
        if len(decision.held) or len(self._paused):
            self._pause(self._number[decision.held])
        self._applied = decision

    def _report(self) -> None:
        """Tell the driver what the steps just run did, in the order in which it happened."""
        state, tracker = self._state, self.driver.tracker
        counts, requests = state.counts, self._requests
        admitted = state.admitted[: counts[Count.ADMITTED]].tolist()
        tracker.scheduled({requests[number].request_id: 0 for number in admitted})
        preempted = state.preempted[: counts[Count.PREEMPTED]]
        finished = state.finished[: counts[Count.FINISHED]]
        going = state.running[: counts[Count.RUNNING]]
        for some in (going, preempted):
            tracker.progressed(
                self._handle[some],
                prefill_left=state.prompt[some] + state.generated[some] - state.computed[some],
                generated=state.generated[some],
                first_token_s=state.first_token_s[some],
                at_s=self.now_s,
            )
        for number in preempted.tolist():
            tracker.preempted(requests[number].request_id)
            self._disordered = True
        for number in finished.tolist():
            tracker.finished(requests[number].request_id)
            self._done.append(number)
        self._keep_log()

    def _check_fits(self, request: SimRequest) -> None:
        rules = self._rules
        # The last token is put out, never cached.
        tokens = request.prompt_tokens + request.output_tokens - 1
        if 0 <= rules.blocks < math.ceil(tokens / rules.block_size):
            raise SimulationError(
                f"request {request.request_id!r} can never be scheduled: it needs KV memory for "
                f"{tokens} tokens and the engine has {rules.blocks * rules.block_size}"
            )

    def _keep_log(self) -> None:
        counts = self._state.counts
        rows = self._state.log[: counts[Count.LOGGED]].copy()
        counts[Count.LOGGED] = 0
        if len(rows):
            self._log.append(rows)
            self.driver.observe_steps(rows[:, _OBSERVED])

    def _wake(self, at_s: float) -> None:
        """An idle engine's next step begins when somebody comes, unless it is still in one."""
        clock = self._state.clock
        clock[Clock.NOW] = clock[Clock.SEEN] = max(clock[Clock.NOW], at_s)

    def _stall(self, until_s: float) -> None:
        """Nothing could be scheduled: wait for the next arrival, or for the policy to relent."""
        clock, counts = self._state.clock, self._state.counts
        held = counts[Count.OPEN] == 0
        later_s = self.now_s + _HELD_STEP_S if held else until_s
        if math.isinf(min(until_s, later_s)):
            raise SimulationError("nothing can be scheduled and nobody comes: the loop is stuck")
        clock[Clock.SEEN] = min(until_s, later_s)
        clock[Clock.NOW] = max(clock[Clock.NOW], clock[Clock.SEEN])


def _with(values: Ints, place: int, value: int) -> Ints:
    """``values`` with one of them set, twice as long if it has to be."""
    while place >= len(values):
        values = np.concatenate([values, np.zeros_like(values)])
    values[place] = value
    return values


@compiled
def _enqueue(state: State, number: int) -> None:
    """Put a new request behind everybody who may be admitted, before those held back."""
    counts = state.counts
    for k in range(counts[_WAITING], counts[_OPEN], -1):
        state.queue[k] = state.queue[k - 1]
    state.queue[counts[_OPEN]] = number
    counts[_OPEN] += 1
    counts[_WAITING] += 1


@compiled
def _reorder(state: State, order: Ints, mark: Bytes) -> None:
    """Put the running in order; those not named come last, as they stood."""
    before = state.running[: state.counts[_RUNNING]].copy()
    mark[before] = 1
    at = 0
    for number in order:
        if mark[number] == 1:
            mark[number] = 2
            state.running[at] = number
            at += 1
    for number in before:
        if mark[number] == 1:
            state.running[at] = number
            at += 1


@compiled
def _arrange(state: State, order: Ints, held: Ints, mark: Bytes, shortlisted: bool) -> None:
    """Order the queue: the decided, then the unnamed as they stood, then the held.

    Of a shortlist the unnamed are held, too.
    """
    waiting = state.counts[_WAITING]
    before = state.queue[:waiting].copy()
    mark[before] = 1
    last = waiting
    for number in held[::-1]:
        if mark[number] == 1:
            mark[number] = 2
            last -= 1
            state.queue[last] = number
    first = 0
    for number in order:
        if mark[number] == 1:
            mark[number] = 2
            state.queue[first] = number
            first += 1
    if shortlisted:
        last = first
    for number in before:
        if mark[number] == 1:
            state.queue[first] = number
            first += 1
    state.counts[_OPEN] = last
