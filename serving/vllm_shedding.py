"""Ends requests of the waiting queue that nothing can serve in time, if they allow it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason
from vllm.v1.request import Request

from scheduler.driver import Driver
from scheduler.past_saving import past_saving
from scheduler.snapshot import Ints
from scheduler.tracker import Tracker
from serving.xargs import SHED

# Promises are lost by the second, not by the step.
_LOOK_EVERY_S = 0.1
# Of a long queue so many are looked at in turn: 100,000 in little more than a second.
_PIECE = 8192


@dataclass(slots=True)
class Shedding:
    """Knows who may be shed and tells vLLM's front end of those who were.

    ``may_be_cached``: a prompt may be found in the prefix cache, so that its length says nothing.
    """

    may_be_cached: bool
    _sheddable: set[str] = field(default_factory=set)
    _unreported: list[Request] = field(default_factory=list)
    # Who arrived since the last look, when that was, and where the next piece of the queue begins.
    _fresh: list[str] = field(default_factory=list)
    _looked_s: float = -inf
    _next: int = 0

    def arrived(self, request_id: str) -> None:
        """Take in a request that may be shed; it is looked at before the next step."""
        self._sheddable.add(request_id)
        self._fresh.append(request_id)

    def ended(self, request_id: str) -> None:
        """Forget a request."""
        self._sheddable.discard(request_id)

    def lost(self, driver: Driver, now_s: float) -> list[str]:
        """Who waits in vain and may be shed.

        Cost: nothing, or ten times a second 50 us with 150 waiting, at most 1 ms however many wait.
        """
        due = now_s - self._looked_s >= _LOOK_EVERY_S
        if driver.latency is None or not (self._fresh or (due and self._sheddable)):
            return []
        seen = self._newcomers(driver.tracker)
        if due:
            self._looked_s = now_s
            seen = np.union1d(seen, self._piece(driver.tracker))
        snapshot = driver.tracker.snapshot(now_s=now_s, latency=driver.latency, waiting=seen)
        lost = past_saving(snapshot, may_be_cached=self.may_be_cached)
        ids = driver.tracker.request_ids(snapshot.waiting.handle[lost])
        return [request_id for request_id in ids if request_id in self._sheddable]

    def _newcomers(self, tracker: Tracker) -> Ints:
        fresh = [name for name in self._fresh if name in self._sheddable]
        handles = [tracker.handle(name) for name in fresh if tracker.admissible(name)]
        self._fresh.clear()
        return np.array(handles, dtype=np.int64)

    def _piece(self, tracker: Tracker) -> Ints:
        """The next of the queue, in arrival order; all of a short one."""
        waiting = tracker.waiting_handles()
        start = self._next if self._next < len(waiting) else 0
        self._next = start + _PIECE
        return waiting[start : start + _PIECE]

    def shed(self, requests: Iterable[Request]) -> None:
        """Remember to say so; the scheduler has ended them."""
        self._unreported.extend(requests)

    def report(self, outputs: dict[int, Any]) -> None:
        """Add them to what goes to the front ends next."""
        for request in self._unreported:
            client = outputs.setdefault(request.client_index, EngineCoreOutputs())
            client.outputs.append(
                EngineCoreOutput(
                    request.request_id, [], finish_reason=FinishReason.ABORT, stop_reason=SHED
                )
            )
        self._unreported.clear()
