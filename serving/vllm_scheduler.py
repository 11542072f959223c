"""The class for vLLM's ``--scheduler-cls serving.vllm_scheduler.SlotwiseScheduler``.

Thin on purpose. It reports events to the driver, asks it before each step, and applies the
answer through seams vLLM has anyway: the order of ``self.waiting``, ``_preempt_request`` and
``max_num_scheduled_tokens``. Everything that decides lives in the ``scheduler`` package.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from vllm.v1.core.sched.interface import PauseState
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import FinishReason
from vllm.v1.request import Request, RequestStatus

from scheduler.blocked import Blocked
from scheduler.decision import StepDecision
from scheduler.driver import Driver
from scheduler.latency import StepWork
from scheduler.registry import class_priorities_act, create_policy
from scheduler.snapshot import Ints, Limits
from scheduler.tracker import Arrival
from scheduler.warmup import warm_up, warm_up_placement
from serving.digest_writer import DigestWriter
from serving.line_log import LineLog
from serving.policy_folder import make_importable
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
from serving.vllm_states import EngineStates
from serving.vllm_timed import TimedScheduler
from serving.xargs import Hints, decode

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
        self._class_priorities = class_priorities_act(self.settings.policy)
        self._priors = ClassPriors()
        # Of requests whose length says something about later ones: which prior it teaches.
        self._teaches: dict[str, str] = {}
        self._applied: StepDecision | None = None
        # Whether the last step was empty though somebody was kept from running.
        self._stuck = False
        self._restricted = False
        self._out: list[Request] = []
        make_importable(self.settings.policy_folder)
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
        self.states = EngineStates(
            self, self.driver.tracker, arrive=self._register, forget=self._forget
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
        """Take in a new request, or the next input of a session, or its end."""
        super().add_request(request)
        started_s = time.perf_counter()
        self.states.sync(request.request_id)
        self.own_s += time.perf_counter() - started_s

    def before_step(self) -> float:
        """Ask the policy and apply its decision; returns the seconds it took."""
        started_s = time.perf_counter()
        active = self.settings.mode == "active"
        self.states.look()
        if active:
            self._shed()
        now_s, free = time.monotonic(), self._free_kv_tokens()
        decision = None
        if self.states.paused:
            self._stand_aside()
        elif self.requests:
            decision = self.driver.decide(now_s=now_s, kv_tokens_free=free)
        if self._digests is not None and self.requests:
            self._digests.look(self.driver, now_s=now_s, kv_tokens_free=free)
        if decision is not None:
            (self._apply if active else self._note)(decision)
        return time.perf_counter() - started_s

    def after_schedule(self, output: SchedulerOutput, prefills: Sequence[str]) -> None:
        """Report what the step computes."""
        self.states.scheduled(output, prefills)

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
                self.states.ended(output.request_id, complete=complete)
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
            # At a stop string vLLM's server ends the request by an abort, too.
            stopped = bool(request.sampling_params and request.sampling_params.stop)
            self.states.sync(request.request_id, complete=stopped)
        return ended

    def set_pause_state(self, pause_state: PauseState) -> None:
        """Pause or resume, and tell routers at once: a paused engine may make no step to do so."""
        super().set_pause_state(pause_state)
        self.states.look()
        if self._digests is not None:
            self._digests.report(
                self.driver, now_s=time.monotonic(), kv_tokens_free=self._free_kv_tokens()
            )

    def _preempt_request(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super()._preempt_request(request, *args, **kwargs)
        self.states.sync(request.request_id)

    def _register(self, request: Request, blocked: Blocked | None) -> None:
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
                priority=self._priority(request, hints),
                # What an earlier turn of the session has left in memory.
                cached_tokens=min(request.num_computed_tokens, request.num_prompt_tokens),
            ),
            blocked=blocked,
        )

    def _priority(self, request: Request, hints: Hints) -> int:
        """The request's own, or its class's for the policy that orders by classes."""
        stated = hints.priority if self._class_priorities else hints.own_priority
        return int(request.priority) if stated is None else stated

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
        self._applied, ids = decision, self.driver.tracker.live_ids
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

    def _stand_aside(self) -> None:
        """Leave everything to vLLM while an operator has paused it, or lets it drain."""
        self.max_num_scheduled_tokens = self._engine_token_budget
        self._applied, self._restricted = None, False
        self._out.clear()

    def _apply(self, decision: StepDecision) -> None:
        if self.driver.tracker.closed is None:
            self._preempt(decision.preempt)
        self._arrange(decision)
        if decision.running is not None and decision is not self._applied:
            self._reorder(decision.running)
        if decision is not self._applied:
            self._out = self._running_among(decision.held)
        sit_out = [] if self._stuck else self._sit_out()
        self.max_num_scheduled_tokens = (
            self._engine_token_budget if self._stuck else self._token_budget(decision, sit_out)
        )
        self._restricted = (
            bool(sit_out)
            or self.max_num_scheduled_tokens < self._engine_token_budget
            or (len(decision.held) > 0 and not self.running)
        )
        self._applied = decision

    def _preempt(self, handles: Ints) -> None:
        """Take slots back, but not a session's: vLLM may lose one that ends its turn meanwhile.

        Where another engine waits for its KV cache, a request must not end by a token that is
        under way: the cache is gone. As in vLLM's own preemptions that token is dropped.
        """
        for request in self._running_among(handles):
            if not request.resumable:
                self.running.remove(request)
                self._preempt_request(
                    request, time.monotonic(), drop_stale_output=self.requires_kv_delivery
                )

    def _reorder(self, handles: Ints) -> None:
        """Put the running in order; those not named come last, as they stood."""
        ids = self.driver.tracker.live_ids(handles)
        rank = {request_id: place for place, request_id in enumerate(ids)}
        self.running.sort(key=lambda request: rank.get(request.request_id, len(rank)))

    def _sit_out(self) -> list[Request]:
        """Keep held running requests out of the coming step; what vLLM does to pace decodes.

        Whoever has an adapter takes part while others with one wait: vLLM counts the adapters of
        a step, and of those who sat out there might be more in the next than it can load.
        """
        out = self._out
        if self.states.adapters_wait:
            out = [request for request in out if not request.lora_request]
        for request in out:
            # `schedule()` counts one up and leaves out whoever is due later.
            request.next_decode_eligible_step = self.current_step + 2
        return out

    def _token_budget(self, decision: StepDecision, sit_out: Sequence[Request]) -> int:
        """The tokens of the coming step, the queue being arranged."""
        budget, limit = decision.token_budget, self._engine_token_budget
        if budget is None:
            return limit
        if self.num_spec_tokens:
            budget += sum(len(request.spec_token_ids) for request in self.running)
        if not self.scheduler_config.enable_chunked_prefill:
            budget = self._whole_prompt_budget(budget, sit_out)
        return max(min(budget, limit), 1)

    def _whole_prompt_budget(self, budget: int, sit_out: Sequence[Request]) -> int:
        """Return a budget that has room for all of the next prompt if it has for a part of it.

        With chunked prefill off vLLM begins no prompt, and looks at none behind it, that does not
        fit into the step as a whole.
        """
        queue = self.kv_holding_waiting if self._block_holders_wait() else self.waiting
        if not queue or len(self.running) >= self.max_num_running_reqs:
            return budget
        out = {request.request_id for request in sit_out}
        decodes = sum(
            request.num_tokens_with_spec
            + request.num_output_placeholders
            - request.num_computed_tokens
            for request in self.running
            if request.request_id not in out
        )
        if budget <= decodes:
            return budget
        first = queue.peek_request()
        return max(budget, int(decodes + first.num_tokens - first.num_computed_tokens))

    def _block_holders_wait(self) -> bool:
        """Whether vLLM has requests that it admits before all others (from 0.31 on)."""
        return bool(getattr(self, "kv_holding_waiting", ()))

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        """Schedule a step; a policy whose choice cannot run is overruled in the next."""
        output = super().schedule(*args, **kwargs)
        self._stuck = self._restricted and not output.total_num_scheduled_tokens
        return output

    def _arrange(self, decision: StepDecision) -> None:
        """Put the waiting in the decided order; who was preempted now sits out this step."""
        ids = self.driver.tracker.live_ids
        # Nobody is held back from an engine that had nothing to do.
        held = [] if self._stuck else ids(decision.held)
        self.waiting.arrange(
            chain(self.states.first_looks, self._in_order(decision.order)),
            [*held, *ids(decision.preempt)],
            shortlisted=decision.shortlisted,
        )

    def _in_order(self, order: Ints) -> Iterator[Request]:
        """Those still there; whoever ended since the decision is left out.

        Read in pieces: a step admits few, and to make a list of a long queue costs milliseconds.
        """
        for start in range(0, len(order), _PIECE):
            for handle in order[start : start + _PIECE].tolist():
                request = self.requests.get(self.driver.tracker.find(handle))
                if request is not None:
                    yield request

    def _running_among(self, handles: Ints) -> list[Request]:
        """Those of them that hold a slot; a policy may name whoever it likes."""
        ids = self.driver.tracker.live_ids(handles)
        found = [self.requests.get(request_id) for request_id in ids]
        return [each for each in found if each and each.status == RequestStatus.RUNNING]

    def _free_kv_tokens(self) -> int:
        return self._kv_tokens(self.kv_cache_manager.block_pool.get_num_free_blocks())

    def _kv_tokens(self, blocks: int) -> int:
        return int(blocks) * int(self.block_size)
