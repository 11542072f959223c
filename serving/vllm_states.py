"""Keeps the tracker's states those of vLLM's scheduler, whatever vLLM made of a call."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.request import Request, RequestStatus

from predictor.errors import SnapshotError
from scheduler.blocked import Blocked
from scheduler.tracker import Tracker

logger = logging.getLogger(__name__)

_BLOCKING = {
    RequestStatus.WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR: Blocked.GRAMMAR,
    RequestStatus.WAITING_FOR_REMOTE_KVS: Blocked.KV,
    RequestStatus.WAITING_FOR_STREAMING_REQ: Blocked.INPUT,
}
# Reasons that end without a call that concerns the request: it is looked at again and again.
_WATCHED = (Blocked.GRAMMAR, Blocked.KV, Blocked.SKIPPED)
# Requests looked at before one step; the others have their turn in the next steps.
_LOOKS = 32
_SIDE_LOOKS = 256
# A request that vLLM passes over for a reason of its own can be admitted again after this long,
# and twice as long after each further time.
_RETRY_S, _LONGEST_RETRY_S = 1.0, 8.0


@dataclass(frozen=True, slots=True)
class _PassedOver:
    """When a request that vLLM passed over may be tried again, and how long it waits for that."""

    retry_at_s: float
    delay_s: float


class EngineStates:
    """Reads vLLM's state after each call and before each step, and tells the tracker.

    ``arrive`` registers a request that the tracker does not know; ``forget`` ends one, and is told
    whether its answer is ``complete``.
    Cost of :meth:`look`: 7 us where nobody is blocked, and about 1 us for each of at most 32
    blocked requests.
    """

    def __init__(
        self,
        engine: Any,
        tracker: Tracker,
        *,
        arrive: Callable[[Request, Blocked | None], None],
        forget: Callable[..., None],
    ) -> None:
        self._engine, self._tracker = engine, tracker
        self._arrive, self._forget = arrive, forget
        self._whole = tracker.limits
        # Beside `waiting`: requests that hold KV blocks; up to vLLM 0.30 whoever was skipped.
        self._side_holds_skipped = not hasattr(engine, "kv_holding_waiting")
        side = "skipped_waiting" if self._side_holds_skipped else "kv_holding_waiting"
        self._side = getattr(engine, side)
        self._watched: OrderedDict[str, Request] = OrderedDict()
        self._passed_over: dict[str, _PassedOver] = {}
        self._first_looks: dict[str, Request] = {}
        # Those who wait and have an adapter, and the adapters that running requests use.
        self._with_adapter: dict[str, Request] = {}
        self._adapters: set[int] = set()
        self._room = (self._whole.max_num_seqs, 0)
        # By how much the counts differ although every request was looked at: 0, unless vLLM
        # counts something that is not a request of ours.
        self._difference = (0, 0)

    @property
    def paused(self) -> bool:
        """Whether the operator paused the engine, or lets it drain."""
        return int(self._engine.pause_state) != 0

    @property
    def adapters_wait(self) -> bool:
        """Whether anybody waits who has an adapter."""
        return bool(self._with_adapter)

    @property
    def first_looks(self) -> list[Request]:
        """Blocked requests that go on as soon as vLLM looks at them; that takes no slot.

        It starts to fetch a KV cache, and ends a request whose grammar cannot be compiled.
        """
        return list(self._first_looks.values())

    def sync(self, request_id: str, *, complete: bool = False) -> None:
        """Bring one request's state up to date after a call that concerns it."""
        request = self._engine.requests.get(request_id)
        if request is None or request.is_finished():
            if request_id in self._tracker:
                self._forget(request_id, complete=complete)
            self._drop(request_id)
        elif request.status == RequestStatus.RUNNING:
            if request_id not in self._tracker:
                self._arrive(request, None)
            if not self._tracker.runs(request_id):
                self._tracker.scheduled({request_id: 0})
        else:
            self._settle(request)

    def ended(self, request_id: str, *, complete: bool) -> None:
        """Forget a request that answered; a session's next turn is a request of its own."""
        if request_id in self._tracker:
            self._forget(request_id, complete=complete)
        self.sync(request_id)

    def scheduled(self, output: SchedulerOutput, prefills: Iterable[str]) -> None:
        """Take in what a step computes; ``prefills`` are those that compute a prompt in it."""
        tokens, tracker = output.num_scheduled_tokens, self._tracker
        try:
            tracker.scheduled(tokens)
        except SnapshotError:
            self._reconcile()
            tracker.scheduled({name: count for name, count in tokens.items() if name in tracker})
        # What a request found in a cache when it was admitted needs no computing.
        admitted = [new.req_id for new in output.scheduled_new_reqs]
        admitted.extend(output.scheduled_cached_reqs.resumed_req_ids)
        for name in admitted:
            self._drop(name)
        for name in {*admitted, *prefills}:
            if name in tracker:
                tracker.set_prefill_left(name, _prefill_left(self._engine.requests[name]))

    def look(self) -> None:
        """Bring everything up to date before a step."""
        self._look_at_counts()
        self._look_at_admission()
        self._look_at_skipped()
        if self._side:
            self._look_at_side()
        if self._watched:
            self._look_at_watched()
        if self._engine.lora_config:
            self._look_at_adapters()

    def _look_at_counts(self) -> None:
        difference = self._differs()
        if difference != self._difference:
            self._reconcile()
            self._difference = self._differs()

    def _differs(self) -> tuple[int, int]:
        engine, tracker = self._engine, self._tracker
        waiting = len(engine.waiting) + len(self._side)
        return (
            len(engine.running) - tracker.running,
            waiting - tracker.waiting - tracker.blocked_requests,
        )

    def _reconcile(self) -> None:
        """Look at every request once; count and mend what the picture had wrong."""
        engine, tracker, wrong = self._engine, self._tracker, 0
        queues = (engine.running, engine.waiting, self._side)
        live = {request.request_id: request for queue in queues for request in queue}
        for name in [name for name in tracker.live if name not in live]:
            wrong += 1
            self._forget(name, complete=False)
            self._drop(name)
        for name, request in live.items():
            runs = request.status == RequestStatus.RUNNING
            wrong += name not in tracker or tracker.runs(name) != runs
            self.sync(name)
        if wrong and not tracker.disagreements:
            logger.warning("%d requests were not as Slotwise took them; mended, logged once", wrong)
        tracker.disagreements += wrong

    def _look_at_admission(self) -> None:
        """Whether anybody can be admitted, and what room there is for those who take part."""
        engine = self._engine
        most: int = getattr(engine, "max_num_active_reqs", engine.max_num_running_reqs)
        # A session between two turns keeps its place among the active and its KV blocks.
        running, sessions = len(engine.running), engine.num_waiting_for_streaming_input
        if self.paused:
            self._tracker.closed = Blocked.PAUSED
        elif max(running - 1, 0) + sessions >= most:
            self._tracker.closed = Blocked.CAPACITY
        else:
            self._tracker.closed = None
        slots = min(most, self._whole.max_num_seqs) - sessions
        room = (max(slots, running, 1), self._kept_by_blocked() if self._side else 0)
        if room != self._room:
            self._room = room
            kv_tokens = max(self._whole.kv_tokens - room[1], 1)
            self._tracker.limits = replace(self._whole, max_num_seqs=room[0], kv_tokens=kv_tokens)

    def _kept_by_blocked(self) -> int:
        """KV tokens of those who take no part."""
        kept: int = sum(
            request.num_computed_tokens
            for request in islice(self._side, _SIDE_LOOKS)
            if request.status in _BLOCKING
        )
        return kept

    def _look_at_skipped(self) -> None:
        """Take in whom the last scan of the planned queue passed over."""
        take_skipped = getattr(self._engine.waiting, "take_skipped", None)
        if take_skipped is not None:
            for request in take_skipped():
                self._note_passed_over(request)

    def _note_passed_over(self, request: Request) -> None:
        """Whoever vLLM passes over and nothing here explains it is blocked for a while."""
        name = request.request_id
        if name not in self._tracker or not _waits(request) or self._reason(request) is not None:
            return
        if request.num_stale_output_tokens:  # its last tokens are under way: a step or two
            return
        before = self._passed_over.get(name)
        delay_s = _RETRY_S if before is None else min(2 * before.delay_s, _LONGEST_RETRY_S)
        self._passed_over[name] = _PassedOver(time.monotonic() + delay_s, delay_s)
        self._settle(request)

    def _look_at_side(self) -> None:
        """Take in those who began to load, or have loaded, their KV cache."""
        planned = hasattr(self._engine.waiting, "take_skipped")
        for request in list(islice(self._side, _SIDE_LOOKS)):
            name = request.request_id
            skipped = self._side_holds_skipped and name in self._tracker
            if skipped and self._tracker.reason(name) is None:
                self._note_passed_over(request)
            self._settle(request)
            comes = planned and self._tracker.reason(name) is None
            if self._side_holds_skipped and comes and not request.num_computed_tokens:
                # It can come: it stands where the policy wants it, not in front. Whoever holds KV
                # blocks stays in front: nobody may wait for blocks before a request that has some.
                self._side.remove_request(request)
                self._engine.waiting.add_request(request)

    def _look_at_watched(self) -> None:
        """See whether what some of the blocked wait for is there."""
        for _ in range(min(len(self._watched), _LOOKS)):
            name, request = self._watched.popitem(last=False)
            if self._still_blocked(request):
                self._watched[name] = request
            elif name in self._tracker and _waits(request):
                self._settle(request)

    def _look_at_adapters(self) -> None:
        """Who else uses the running requests' adapters, or one that there is room for."""
        running = self._engine.running
        used = {each.lora_request.lora_int_id for each in running if each.lora_request}
        if used != self._adapters:
            self._adapters = used
            for request in list(self._with_adapter.values()):
                self._settle(request)

    def _settle(self, request: Request) -> None:
        """Have a request that does not run wait, or be blocked, as vLLM has it."""
        name, tracker = request.request_id, self._tracker
        reason = self._reason(request)
        if name in tracker and tracker.runs(name):
            tracker.preempted(name)
        if name in tracker and tracker.reason(name) is Blocked.INPUT is not reason:
            self._forget(name, complete=False)  # the next turn of a session has come
        if name not in tracker:
            self._arrive(request, reason)
        elif reason is None:
            if tracker.reason(name) is not None:
                tracker.set_prefill_left(name, _prefill_left(request))
                tracker.unblocked(name)
        elif tracker.reason(name) is not reason:
            tracker.blocked(name, reason)
        if reason in _WATCHED:
            self._watched[name] = request
        if _needs_look(request, reason):
            self._first_looks[name] = request
        else:
            self._first_looks.pop(name, None)
        if request.lora_request:
            self._with_adapter[name] = request

    def _reason(self, request: Request) -> Blocked | None:
        """Why a request that does not run cannot be admitted; ``None``: it can."""
        reason = _BLOCKING.get(request.status)
        if reason is not None:
            return None if self._is_over(request, reason) else reason
        if self._engine.connector is not None and _asks_for_kv(request):
            return Blocked.KV
        if request.lora_request and self._lacks_adapter(request):
            return Blocked.ADAPTER
        passed_over = self._passed_over.get(request.request_id)
        if passed_over is not None and time.monotonic() < passed_over.retry_at_s:
            return Blocked.SKIPPED
        return None

    def _still_blocked(self, request: Request) -> bool:
        """Whether nothing changed for a request that is watched; a quick answer to most looks."""
        if request.status is RequestStatus.WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR:
            return _grammar(request) is None
        if request.status is RequestStatus.WAITING_FOR_REMOTE_KVS:
            return request.request_id not in self._engine.finished_recving_kv_req_ids
        return False

    def _is_over(self, request: Request, reason: Blocked) -> bool:
        """Whether what it waits for is there although vLLM has not looked yet."""
        if reason is Blocked.KV:
            return request.request_id in self._engine.finished_recving_kv_req_ids
        grammar = _grammar(request) if reason is Blocked.GRAMMAR else None
        # vLLM ends those whose grammar is an error when it looks at them.
        return grammar is not None and not isinstance(grammar, Exception)

    def _lacks_adapter(self, request: Request) -> bool:
        limit = self._engine.lora_config.max_loras if self._engine.lora_config else 0
        adapter: int = request.lora_request.lora_int_id
        return 0 < limit <= len(self._adapters) and adapter not in self._adapters

    def _drop(self, request_id: str) -> None:
        """Forget what made a request wait."""
        self._watched.pop(request_id, None)
        self._first_looks.pop(request_id, None)
        self._passed_over.pop(request_id, None)
        self._with_adapter.pop(request_id, None)


def _waits(request: Request) -> bool:
    return not (request.status == RequestStatus.RUNNING or request.is_finished())


def _asks_for_kv(request: Request) -> bool:
    """Whether its KV cache has still to be fetched from where it was computed."""
    params = request.kv_transfer_params
    return bool(
        params
        and params.get("do_remote_prefill")
        and request.num_computed_tokens == 0
        and request.num_preemptions == 0
        and request.status == RequestStatus.WAITING
    )


def _needs_look(request: Request, reason: Blocked | None) -> bool:
    """Whether a blocked request goes on as soon as vLLM looks at it."""
    if reason is Blocked.KV:
        return bool(request.status == RequestStatus.WAITING)
    return reason is Blocked.GRAMMAR and _grammar(request) is not None


def _grammar(request: Request) -> object | None:
    """A request's grammar, the error in its place, or ``None`` while it is being compiled."""
    wanted = request.structured_output_request
    return None if wanted is None else wanted.grammar


def _prefill_left(request: Request) -> int:
    return max(int(request.num_tokens) - int(request.num_computed_tokens), 0)
