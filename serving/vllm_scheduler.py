"""The class for vLLM's ``--scheduler-cls serving.vllm_scheduler.SlotwiseScheduler``.

Thin on purpose. It reports events to the driver, asks it before each step, and applies the
answer through seams vLLM has anyway: the order of ``self.waiting``, ``_preempt_request`` and
``max_num_scheduled_tokens``. Everything that decides lives in the ``scheduler`` package.
"""

import logging
import time
from collections.abc import Iterator
from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import FinishReason
from vllm.v1.request import Request, RequestStatus

from scheduler.decision import StepDecision
from scheduler.driver import Driver
from scheduler.latency import StepWork
from scheduler.registry import create_policy
from scheduler.snapshot import Ints, Limits
from scheduler.tracker import Arrival
from scheduler.warmup import warm_up, warm_up_placement
from serving.digest_writer import DigestWriter
from serving.line_log import LineLog
from serving.priors import ClassPriors
from serving.settings import load as load_settings
from serving.shadowlog import ShadowDecision
from serving.shadowlog import encode as encode_shadow
from serving.slo_classes import ClassTable
from serving.slo_config import load as load_slo_config
from serving.vllm_limits import output_limits
from serving.vllm_metrics import EngineMetrics
from serving.vllm_queue import PlannedRequestQueue
from serving.vllm_releases import check, installed
from serving.vllm_shedding import Shedding
from serving.vllm_timed import TimedScheduler
from serving.xargs import decode

logger = logging.getLogger(__name__)

# Requests of an order that are looked up at once.
_PIECE = 256
# An output that ended so might have become longer: its length is no observation.
_BROKEN_OFF = (FinishReason.ABORT, FinishReason.ERROR)


class SlotwiseScheduler(TimedScheduler):
    """vLLM's asynchronous scheduler, told by a Slotwise policy who comes next.

    In mode ``shadow`` the policy is asked and not followed; in mode ``off`` this is stock vLLM.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Nothing of ours in mode ``off`` but the stopwatch, so that it helps whatever is wrong."""
        if load_settings().settings.mode == "off":
            return TimedScheduler(*args, **kwargs)
        check(installed())
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shadow = self._new_shadow()
        self._shedding = Shedding(may_be_cached=bool(self.cache_config.enable_prefix_caching))
        if self.settings.mode == "active":
            self.waiting = PlannedRequestQueue()
        self._engine_token_budget: int = self.max_num_scheduled_tokens
        self._classes = ClassTable(load_slo_config(self.settings.slo_config))
        self._priors = ClassPriors()
        # Of requests whose length says something about later ones: which prior it teaches.
        self._teaches: dict[str, str] = {}
        self._applied: StepDecision | None = None
        # Whether the last step was empty though somebody sat out.
        self._stuck = False
        self._sitting_out = False
        self._out: list[Request] = []
        warm_up(self.settings.policy)
        self.driver = Driver(
            policy=create_policy(
                self.settings.policy,
                time_box_s=self.settings.time_box_ms / 1e3,
                silence_s=self.settings.max_silence_ms / 1e3,
            ),
            limits=Limits(
                max_num_seqs=self.max_num_running_reqs,
                max_batched_tokens=self._engine_token_budget,
                kv_tokens=self._kv_tokens(self.kv_cache_config.num_blocks),
                steps_ahead=int(bool(self.scheduler_config.async_scheduling)),
            ),
            time_box_s=self.settings.time_box_ms / 1e3,
            background=True,
        )
        self._digests = self._new_digests()
        self.metrics = self._new_metrics()
        logger.info("Slotwise schedules with policy %s", self.driver.policy.name)

    @property
    def fallbacks(self) -> int:
        """Steps that were served in arrival order because the policy failed."""
        return self.driver.fallbacks

    @property
    def untrained(self) -> int:
        """Steps that were served in arrival order because there was no latency model yet."""
        return self.driver.untrained

    def shutdown(self) -> None:
        """Stop learning before the engine goes."""
        super().shutdown()
        if self.metrics is not None:
            self.metrics.close()
        if self._shadow is not None:
            self._shadow.close()
            self._shadow = None
        self.driver.close()

    def add_request(self, request: Request) -> None:
        """Take in a new request."""
        super().add_request(request)
        started_s = time.perf_counter()
        self._register(request)
        self.own_s += time.perf_counter() - started_s

    def before_step(self) -> float:
        """Ask the policy and apply its decision; returns the seconds it took."""
        started_s = time.perf_counter()
        if self.settings.mode == "active":
            self._shed()
        if self.requests:
            free = self._kv_tokens(self.kv_cache_manager.block_pool.get_num_free_blocks())
            now_s = time.monotonic()
            decision = self.driver.decide(now_s=now_s, kv_tokens_free=free)
            if self._digests is not None:
                self._digests.look(self.driver, now_s=now_s, kv_tokens_free=free)
            if self.settings.mode == "active":
                self._apply(decision)
            else:
                self._note(decision)
        return time.perf_counter() - started_s

    def after_schedule(self, output: SchedulerOutput) -> None:
        """Report what the step computes."""
        tokens, tracker = dict(output.num_scheduled_tokens), self.driver.tracker
        for request_id in tokens:
            if request_id not in tracker:  # a streaming session that goes on after a pause
                self._register(self.requests[request_id])
        # What a request found in the prefix cache when it was admitted needs no computing.
        for new in output.scheduled_new_reqs:
            tokens[new.req_id] += new.num_computed_tokens
        others = output.scheduled_cached_reqs
        for request_id, computed in zip(others.req_ids, others.num_computed_tokens, strict=True):
            if request_id in others.resumed_req_ids:
                tokens[request_id] += computed
        tracker.scheduled(tokens)

    def update_from_output(
        self, scheduler_output: SchedulerOutput, *args: Any, **kwargs: Any
    ) -> Any:
        """Take in results and report the tokens and the ends among them."""
        outputs = super().update_from_output(scheduler_output, *args, **kwargs)
        started_s, tracker = time.perf_counter(), self.driver.tracker
        live = [
            output
            for client in outputs.values()
            for output in client.outputs
            if output.request_id in tracker
        ]
        self._shedding.report(outputs)
        counts = {out.request_id: len(out.new_token_ids) for out in live if out.new_token_ids}
        tracker.tokens(counts, time.monotonic())
        for output in live:
            if output.finish_reason is not None:
                complete = output.finish_reason not in _BROKEN_OFF
                self._forget(output.request_id, complete=complete)
        self.own_s += time.perf_counter() - started_s
        return outputs

    def step_done(self, work: StepWork, step_s: float) -> None:
        """Feed the latency model."""
        started_s = time.perf_counter()
        self.driver.observe_step(work, step_s)
        self.own_s += time.perf_counter() - started_s

    def finish_requests(self, request_ids: Any, finished_status: RequestStatus) -> list[Request]:
        """End requests from outside (a client that went away) and forget them."""
        ended: list[Request] = super().finish_requests(request_ids, finished_status)
        for request in ended:
            if request.request_id in self.driver.tracker:
                # At a stop string vLLM's server ends the request by an abort, too.
                stopped = bool(request.sampling_params and request.sampling_params.stop)
                self._forget(request.request_id, complete=stopped)
        return ended

    def _preempt_request(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super()._preempt_request(request, *args, **kwargs)
        if request.request_id in self.driver.tracker:
            self.driver.tracker.preempted(request.request_id)

    def _register(self, request: Request) -> None:
        if request.request_id in self.driver.tracker:
            return
        params = request.sampling_params
        hints = decode(params.extra_args if params is not None else None)
        slo_class, slo = self._classes.resolve(hints.slo_class, whole=hints.slo)
        limits = output_limits(
            request, max_model_len=self.max_model_len, replay=self.settings.replay_lengths
        )
        max_tokens = limits.max_tokens or request.max_tokens
        lengths = hints.lengths or self._priors.prior(slo_class.name, max_tokens)
        if limits.natural:
            self._teaches[request.request_id] = slo_class.name
        if hints.sheddable:
            self._shedding.arrived(request.request_id)
        self.driver.tracker.arrived(
            Arrival(
                request_id=request.request_id,
                # `request.arrival_time` is the wall clock of another process, maybe of another
                # machine: a difference between two clocks is nobody's age.
                arrival_s=time.monotonic(),
                prompt_tokens=request.num_prompt_tokens,
                max_tokens=max_tokens,
                slo=slo,
                lengths=limits.condition(lengths),
                priority=request.priority if hints.priority is None else hints.priority,
            )
        )

    def _forget(self, request_id: str, *, complete: bool) -> None:
        name = self._teaches.pop(request_id, None)
        if complete and name is not None:
            self._priors.observe(name, self.driver.tracker.generated(request_id))
        self._shedding.ended(request_id)
        self.driver.tracker.finished(request_id)

    def _shed(self) -> None:
        """End those who wait for what nothing can give them any more, where that is allowed."""
        lost = self._shedding.lost(self.driver, time.monotonic())
        if lost:
            self._shedding.shed(self.finish_requests(lost, RequestStatus.FINISHED_ABORTED))

    def _new_shadow(self) -> "LineLog[ShadowDecision] | None":
        log = self.settings.shadow_log
        if log is None or self.settings.mode != "shadow":
            return None
        return LineLog(self.engine_rank.file(log), encode_shadow)

    def _new_metrics(self) -> EngineMetrics | None:
        port, host = self.settings.engine_metrics_port, self.settings.engine_metrics_host
        if port is None:
            return None
        return EngineMetrics(self.driver, host=host, port=port, rank=self.engine_rank)

    def _new_digests(self) -> DigestWriter | None:
        path = self.settings.digest_file
        if path is None:
            return None
        warm_up_placement()
        return DigestWriter(self.engine_rank.file(path), self.settings.digest_period_ms / 1e3)

    def _note(self, decision: StepDecision) -> None:
        """Keep what would have been done; vLLM does what it does."""
        if self._shadow is None or decision is self._applied:
            return
        self._applied, ids = decision, self.driver.tracker.request_ids
        self._shadow.add(
            ShadowDecision(
                at_s=time.time(),
                order=ids(decision.order),
                arrival=ids(self.driver.tracker.waiting_handles()[: len(decision.order)]),
                preempt=ids(decision.preempt),
                held=ids(decision.held),
                token_budget=decision.token_budget,
            )
        )

    def _apply(self, decision: StepDecision) -> None:
        preempt = [self._request(handle) for handle in decision.preempt.tolist()]
        for request in preempt:
            self.running.remove(request)
            self._preempt_request(request, time.monotonic())
        budget = decision.token_budget
        limit = self._engine_token_budget
        self.max_num_scheduled_tokens: int = limit if budget is None else min(budget, limit)
        self._arrange(decision)
        if decision.running is not None and decision is not self._applied:
            self._reorder(decision.running)
        if decision is not self._applied:
            held = (self._request(handle) for handle in decision.held.tolist())
            self._out = [each for each in held if each.status == RequestStatus.RUNNING]
        self._sit_out()
        self._applied = decision

    def _reorder(self, handles: Ints) -> None:
        """Put the running in order; those not named come last, as they stood."""
        ids = self.driver.tracker.request_ids(handles)
        rank = {request_id: place for place, request_id in enumerate(ids)}
        self.running.sort(key=lambda request: rank.get(request.request_id, len(rank)))

    def _sit_out(self) -> None:
        """Keep held running requests out of the coming step; what vLLM does to pace decodes.

        Unless nobody else could run in the step before.
        """
        self._sitting_out = bool(self._out) and not self._stuck
        if self._sitting_out:
            for request in self._out:
                # `schedule()` counts one up and leaves out whoever is due later.
                request.next_decode_eligible_step = self.current_step + 2

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        """Schedule a step; a policy whose choice cannot run is overruled in the next."""
        output = super().schedule(*args, **kwargs)
        self._stuck = self._sitting_out and not output.total_num_scheduled_tokens
        return output

    def _arrange(self, decision: StepDecision) -> None:
        """Put the waiting in the decided order; who was preempted now sits out this step."""
        ids = self.driver.tracker.request_ids
        self.waiting.arrange(
            self._in_order(decision.order),
            [*ids(decision.held), *ids(decision.preempt)],
            shortlisted=decision.shortlisted,
        )

    def _in_order(self, order: Ints) -> Iterator[Request]:
        """Those still there; whoever ended since the decision is left out.

        Read in pieces: a step admits few, and to make a list of a long queue costs milliseconds.
        """
        for start in range(0, len(order), _PIECE):
            for handle in order[start : start + _PIECE].tolist():
                request_id = self.driver.tracker.find(handle)
                if request_id is not None:
                    yield self.requests[request_id]

    def _request(self, handle: int) -> Request:
        return self.requests[self.driver.tracker.request_id(handle)]

    def _kv_tokens(self, blocks: int) -> int:
        return int(blocks) * int(self.block_size)
