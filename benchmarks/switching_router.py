"""A request router whose rule each request names: ours, or one of Ray's own two.

So that one fleet, with its engines as warm and its machine as fast as they are in that minute, can
be measured under all three.
"""

from typing import Any, ClassVar

from ray.serve._private.request_router import PowerOfTwoChoicesRequestRouter
from ray.serve.experimental.round_robin_router import RoundRobinRouter
from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from serving.cluster.router import SloRequestRouter

RULE = "bench_rule"
FIRST = "first"


class SwitchingRouter(SloRequestRouter, PowerOfTwoChoicesRequestRouter, RoundRobinRouter):  # type: ignore[misc]
    """The rule stands in ``vllm_xargs`` under ``RULE``; ``FIRST`` is always the same replica."""

    rules: ClassVar[dict[str, type[RequestRouter]]] = {
        "slo": SloRequestRouter,
        "power-of-two": PowerOfTwoChoicesRequestRouter,
        "round-robin": RoundRobinRouter,
    }

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """As the request's rule has it."""
        rule = _rule(pending_request)
        if rule == FIRST:
            return [[min(candidate_replicas, key=lambda each: str(each.replica_id.unique_id))]]
        chosen: list[list[RunningReplica]] = await self.rules[rule].choose_replicas(
            self, candidate_replicas, pending_request
        )
        return chosen

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any
    ) -> None:
        """Ours is not told of what came to a replica by another way."""
        if _rule(pending_request) == FIRST:
            RequestRouter.on_request_routed(self, pending_request, replica_id, result)
        else:
            super().on_request_routed(pending_request, replica_id, result)

    def _fulfill_next_pending_request(self, *args: Any, **kwargs: Any) -> Any:
        """Of the request that was placed, as ours has it; Ray's two take the oldest instead."""
        return RequestRouter._fulfill_next_pending_request(self, *args, **kwargs)


def _rule(pending: PendingRequest | None) -> str:
    xargs = getattr(pending.args[0], "vllm_xargs", None) if pending and pending.args else None
    return str((xargs or {}).get(RULE, "slo"))
