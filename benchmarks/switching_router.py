"""A request router whose rule each request names: ours, or one of Ray's own two.

So that one fleet, with its engines as warm and its machine as fast as they are in that minute, can
be measured under all three. A request can bring its forecast, too: where an answer is forced to be
as long as one recorded, its ``max_tokens`` would tell the ingress what nobody knows.
"""

from typing import Any, ClassVar

from ray.serve._private.request_router import PowerOfTwoChoicesRequestRouter
from ray.serve.experimental.round_robin_router import RoundRobinRouter
from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from serving.cluster.router import SloRequestRouter
from serving.xargs import LENGTHS_KEY

RULE, FORECAST = "bench_rule", "bench_forecast"


class SwitchingRouter(SloRequestRouter, PowerOfTwoChoicesRequestRouter, RoundRobinRouter):  # type: ignore[misc]
    """Rule and forecast stand in ``vllm_xargs`` under ``RULE`` and ``FORECAST``."""

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
        xargs = _xargs(pending_request)
        if FORECAST in xargs:
            # Under each rule alike: the engines' schedulers read it, too.
            xargs[LENGTHS_KEY] = xargs[FORECAST]
        rule = self.rules[xargs.get(RULE, "slo")]
        chosen: list[list[RunningReplica]] = await rule.choose_replicas(
            self, candidate_replicas, pending_request
        )
        return chosen

    def _fulfill_next_pending_request(self, *args: Any, **kwargs: Any) -> Any:
        """Of the request that was placed, as ours has it; Ray's two take the oldest instead."""
        return RequestRouter._fulfill_next_pending_request(self, *args, **kwargs)


def _xargs(pending: PendingRequest | None) -> dict[str, Any]:
    """Of the request itself, not a copy."""
    return (
        getattr(pending.args[0], "vllm_xargs", None) if pending and pending.args else None
    ) or {}
