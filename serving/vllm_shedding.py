"""Ends requests of the waiting queue that nothing can serve in time, if they allow it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason
from vllm.v1.request import Request

from scheduler.driver import Driver
from scheduler.past_saving import past_saving
from serving.xargs import SHED

# Promises are lost by the second, not by the step.
_LOOK_EVERY_S = 0.1


@dataclass(slots=True)
class Shedding:
    """Knows who may be shed and tells vLLM's front end of those who were.

    ``may_be_cached``: a prompt may be found in the prefix cache, so that its length says nothing.
    """

    may_be_cached: bool
    _sheddable: set[str] = field(default_factory=set)
    _unreported: list[Request] = field(default_factory=list)
    _looked_s: float = -inf

    def arrived(self, request_id: str) -> None:
        """Take in a request that may be shed; it is looked at before the next step."""
        self._sheddable.add(request_id)
        self._looked_s = -inf

    def ended(self, request_id: str) -> None:
        """Forget a request."""
        self._sheddable.discard(request_id)

    def lost(self, driver: Driver, now_s: float) -> list[str]:
        """Who waits in vain and may be shed. Cost: nothing, or 50 us ten times a second."""
        if not self._sheddable or driver.latency is None:
            return []
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return []
        self._looked_s = now_s
        snapshot = driver.tracker.snapshot(now_s=now_s, latency=driver.latency)
        lost = past_saving(snapshot, may_be_cached=self.may_be_cached)
        ids = driver.tracker.request_ids(snapshot.waiting.handle[lost])
        return [request_id for request_id in ids if request_id in self._sheddable]

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
