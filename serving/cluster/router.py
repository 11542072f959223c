"""A Ray Serve request router that sends each request where it keeps the most promises.

Ray asks for replicas in order of preference (`choose_replicas`) in the process of the ingress. The
digests come from the board, by a task of the router's own; a decision waits for nothing.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from predictor.distribution import LengthDistribution
from predictor.errors import InputError
from scheduler.placement.choice import Candidate
from scheduler.placement.config import PlacementConfig
from scheduler.placement.digest import Digest
from scheduler.placement.fleet import Fleet
from serving.cluster.board_actor import BoardLink
from serving.cluster.prefixes import PrefixMemory, prompt_text, prompt_tokens
from serving.cluster.report import Heard
from serving.cluster.router_metrics import RouterMetrics, router_metrics
from serving.middleware.routes import CHAT, COMPLETIONS
from serving.middleware.stated_limits import stated_limits
from serving.settings import load as load_settings
from serving.slo_classes import ClassTable, SloClasses
from serving.xargs import decode

logger = logging.getLogger(__name__)

# What a request without a forecast is taken for; the ingress gives every one a forecast.
_UNKNOWN_TOKENS = 256
_READ_S = 2.0
# Of equally good replicas Ray may refuse the first (its queue is full): so many more are named.
_ALTERNATIVES = 3
# Where a pending request keeps when it was seen first, on this process's monotonic clock.
_SEEN_S = "slotwise_seen_s"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a placement needs to know of one request."""

    pending: PendingRequest
    candidate: Candidate
    text: str

    @classmethod
    def of(cls, pending: PendingRequest, classes: ClassTable) -> "_Asked":
        # `created_at` is on the wall clock, which may be set meanwhile: that is nobody's age.
        now_s = time.monotonic()
        waited_s = now_s - vars(pending).setdefault(_SEEN_S, now_s)
        candidate = candidate_of(pending.args, classes, waited_s=waited_s)
        return cls(pending, candidate, prompt_text(pending.args))


class SloRequestRouter(RequestRouter):  # type: ignore[misc]
    """Ranks replicas by :class:`scheduler.placement.fleet.Fleet`.

    Replicas that have said nothing yet get their share of requests by power of two choices, since
    an engine learns from serving; those whose digest is stale, or whose engine is dead or hangs,
    get none while others are there. Where nobody's digest is fresh all is power of two choices.
    Every such choice is counted.
    """

    def initialize_state(
        self,
        *,
        poll_s: float = 0.1,
        stale_s: float = 3.0,
        prefix_caching: bool = True,
    ) -> None:
        """Take the ``request_router_kwargs`` of the deployment."""
        self._prefix_caching = prefix_caching
        self._classes = SloClasses(load_settings().settings.slo_config)
        self._config = PlacementConfig(stale_s=stale_s)
        self._fleet = Fleet[str](self._config)
        self._prefixes = PrefixMemory()
        self._poll_s = poll_s
        self._ill: set[str] = set()
        self._rank: dict[str, int] = {}
        self._board = BoardLink()
        self._epoch, self._serial = "", -1
        self._polling: asyncio.Task[None] | None = None
        self._metrics: RouterMetrics = router_metrics()
        self._latest: _Asked | None = None

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Replicas in ranks, best first. Cost: 0.4 ms with 256 replicas."""
        self._poll()
        if pending_request is None or not candidate_replicas:
            return [_two_of(candidate_replicas)]
        began_s = time.perf_counter()
        try:
            chosen, by = self._chosen(candidate_replicas, pending_request)
        except Exception:
            # Ray would leave the request without an answer for ever.
            logger.exception("a placement failed: power of two choices instead")
            chosen, by = [_two_of(candidate_replicas)], "failed"
        self._metrics.decided(by, time.perf_counter() - began_s)
        return chosen

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any
    ) -> None:
        """Count it to the replica it went to."""
        super().on_request_routed(pending_request, replica_id, result)
        name = replica_id.unique_id
        self._metrics.sent(self._rank.get(name))
        if replica_id not in self.curr_replicas:
            return
        try:
            asked = self._asked(pending_request)
            self._fleet.placed(name, asked.candidate, now_s=time.monotonic())
            if self._prefix_caching:
                self._prefixes.sent(asked.text, name)
        except Exception:
            # Ray would fail a request that its replica has accepted.
            logger.exception("a placement was not noted")

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        """Forget it."""
        super().on_replica_actor_died(replica_id)
        self._forget(replica_id.unique_id)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Forget those that are no more."""
        super().update_replicas(replicas)
        names = {replica.replica_id.unique_id for replica in replicas}
        for name in [*self._rank]:
            if name not in names:
                self._forget(name)

    def _chosen(
        self, replicas: list[RunningReplica], pending: PendingRequest
    ) -> tuple[list[list[RunningReplica]], str]:
        now_s = time.monotonic()
        by_name = {replica.replica_id.unique_id: replica for replica in replicas}
        asked = self._asked(pending)
        well = {name: each for name, each in by_name.items() if name not in self._ill}
        if not well:
            return [_two_of(replicas)], "nobody_well"
        new = [each for name, each in well.items() if not self._fleet.heard(name)]
        if new and random.random() < len(new) / len(well):
            return [_two_of(new)], "no_digest"
        names = list(well)
        candidate = asked.candidate
        cached = None
        if self._prefix_caching:
            cached = self._prefixes.cached(asked.text, names, candidate.prompt_tokens)
        ranks = self._fleet.ranks(names, candidate, now_s=now_s, cached=cached)
        if not ranks:
            return [_two_of(list(well.values()))], "stale"
        best = [[well[name]] for name in ranks[:_ALTERNATIVES]]
        rest = [well[name] for name in ranks[_ALTERNATIVES:]]
        return [*best, rest] if rest else best, "gain"

    def _asked(self, pending: PendingRequest) -> "_Asked":
        """Read once: a request is mostly sent right after it was placed."""
        if self._latest is None or self._latest.pending is not pending:
            self._latest = _Asked.of(pending, self._classes.table)
        return self._latest

    def _poll(self) -> None:
        """Start to listen, on the loop that decisions are made on."""
        if self._polling is None or self._polling.done():
            self._polling = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            try:
                asked = self._board.actor.read.remote(self._epoch, self._serial)
                news = await asyncio.wait_for(asked, _READ_S)
            except (ray.exceptions.RayError, TimeoutError) as error:
                self._metrics.board_failures.inc()
                self._board.lost()
                logger.debug("the board does not answer: %s", error)
            else:
                self._epoch, self._serial = news.epoch, news.serial
                now_s = time.monotonic()
                for heard in news.heard:
                    self._hear(heard, now_s)
            await asyncio.sleep(self._poll_s)

    def _hear(self, heard: Heard, now_s: float) -> None:
        report = heard.report
        self._rank[report.replica] = report.rank
        if report.healthy:
            self._ill.discard(report.replica)
        else:
            self._ill.add(report.replica)
        if report.digest is None:
            return
        try:
            digest = Digest.from_bytes(report.digest)
        except InputError as error:
            logger.error("replica %d: %s", report.rank, error)
            return
        self._fleet.update(report.replica, digest, made_s=now_s - heard.age_s)
        self._metrics.age.observe(heard.age_s)

    def _forget(self, name: str) -> None:
        self._fleet.remove(name)
        self._prefixes.forget(name)
        self._ill.discard(name)
        self._rank.pop(name, None)


def candidate_of(args: Sequence[Any], classes: ClassTable, *, waited_s: float) -> Candidate:
    """A request as the ingress sends it: SLO and forecast travel in ``vllm_xargs``.

    One that the ingress could not read has the SLO that its engine's scheduler will give it.
    """
    fields: Mapping[str, Any] = getattr(args[0], "__dict__", {}) if args else {}
    xargs = fields.get("vllm_xargs")
    hints = decode(xargs if isinstance(xargs, Mapping) else None)
    limits = stated_limits(CHAT if "messages" in fields else COMPLETIONS, fields)
    _, slo = classes.resolve(hints.slo_class, whole=hints.slo)
    return Candidate.of(
        slo,
        hints.lengths or limits.condition(LengthDistribution.point(_UNKNOWN_TOKENS)),
        prompt_tokens=prompt_tokens(args),
        waited_s=waited_s,
    )


def _two_of(replicas: list[RunningReplica]) -> list[RunningReplica]:
    """Ray takes the one with the shorter queue."""
    return random.sample(replicas, min(len(replicas), 2))
