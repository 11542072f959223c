"""A request router whose rule each request names: ours, or one of Ray's own two.

So that one fleet, with its engines as warm and its machine as fast as they are in that minute, can
be measured under all three.
"""

from typing import Any, ClassVar

from ray.serve._private.request_router import PowerOfTwoChoicesRequestRouter
from ray.serve.experimental.round_robin_router import RoundRobinRouter
from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from serving.cluster.router import SloRequestRouter

RULE = "bench_rule"


class SwitchingRouter(SloRequestRouter, PowerOfTwoChoicesRequestRouter, RoundRobinRouter):  # type: ignore[misc]
    """The rule stands in ``vllm_xargs`` under ``RULE``."""

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
        rule = self.rules[_rule(pending_request)]
        chosen: list[list[RunningReplica]] = await rule.choose_replicas(
            self, candidate_replicas, pending_request
        )
        return chosen

    def _fulfill_next_pending_request(self, *args: Any, **kwargs: Any) -> Any:
        """Of the request that was placed, as ours has it; Ray's two take the oldest instead."""
        return RequestRouter._fulfill_next_pending_request(self, *args, **kwargs)


def _rule(pending: PendingRequest | None) -> str:
    xargs = getattr(pending.args[0], "vllm_xargs", None) if pending and pending.args else None
    return str((xargs or {}).get(RULE, "slo"))
