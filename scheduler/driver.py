"""Asks a policy before each engine step, inside a time box, and never lets it stop the engine."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from math import inf

from predictor.errors import SnapshotError
from scheduler.backoff import Backoff
from scheduler.decision import Plan, StepDecision, no_handles
from scheduler.latency import StepLatency, StepWork
from scheduler.policy import Policy
from scheduler.refit import Refit
from scheduler.shortlist import Shortlist
from scheduler.snapshot import Floats, Limits, Snapshot
from scheduler.tracker import Tracker

logger = logging.getLogger(__name__)

# A plan is made again after this long even if nobody came or went: deadlines pass by themselves.
MAX_PLAN_AGE_S = 1.0

_NEVER = -1


class Driver:
    """One engine's policy, its tracker and its latency model, for any engine.

    An engine adapter reports events to :attr:`tracker` and step times to :meth:`observe_step`,
    and calls :meth:`decide` before each step. Until the latency model has seen enough steps,
    and whenever the policy raises or takes longer than ``time_box_s``, requests are served in
    arrival order for that step, those of a lower priority number first; ``fallbacks`` counts the
    latter two, ``untrained`` the steps before. Of a long queue the policy sees a shortlist
    (:mod:`scheduler.shortlist`), a shorter one after an overrun; after several overruns in a row
    it rests for some steps, which count as ``fallbacks`` too (:mod:`scheduler.backoff`).
    ``background``: the model is refitted in a thread of its own, and :meth:`close` ends it.
    ``previous`` is a plan that an earlier driver of the same engine made, in this one's handles.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        limits: Limits,
        latency: StepLatency | None = None,
        tracker: Tracker | None = None,
        previous: Plan | None = None,
        time_box_s: float = 0.010,
        background: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.policy = policy
        # An empty tracker is false.
        self.tracker = Tracker(limits=limits) if tracker is None else tracker
        self.fallbacks = 0
        self.untrained = 0
        self._refit = Refit(latency, background=background)
        self._time_box_s = time_box_s
        self._shortlist, self._backoff = Shortlist(), Backoff.of(slots=limits.max_num_seqs)
        self._clock = clock
        self._plan = previous
        self._standing: StepDecision | None = None
        # What the plan in force knows, and whether later arrivals were put off.
        self._planned_version, self._planned_at_s = _NEVER, -inf
        self._planned_arrivals = 0
        self._put_off = False
        self._complained: set[str] = set()

    @property
    def latency(self) -> StepLatency | None:
        """The latency model in force, ``None`` before the first fit."""
        return self._refit.latest

    @property
    def plan(self) -> Plan | None:
        """The standing plan."""
        return self._plan

    @property
    def stands_until_s(self) -> float:
        """Until when the last decision stands if nobody comes or goes; -inf: one step only."""
        if self._standing is None or self._put_off:
            return -inf
        return self._planned_at_s + MAX_PLAN_AGE_S

    def decide(self, *, now_s: float, kv_tokens_free: int | None = None) -> StepDecision:
        """Return what the engine does in the coming step."""
        latency = self._refit.latest
        if latency is None:
            return self._no_latency_yet()
        if self._standing is not None and (not self._stale(now_s) or self._may_put_off()):
            return self._standing
        if self._backoff.rests():
            self.fallbacks += 1
            return self._arrival_order()
        started_s = self._clock()
        snapshot = self._look(now_s, latency, kv_tokens_free, advance=self._stale(now_s))
        try:
            decision = self._ask(snapshot)
        except Exception as error:  # noqa: BLE001 - a policy's fault must not stop an engine
            return self._fall_back("raised", repr(error))
        spent_s = self._clock() - started_s
        if spent_s > self._time_box_s:
            self._backoff.overran(len(snapshot.waiting))
            return self._fall_back("overran", f"{spent_s * 1e3:.1f} ms")
        self._backoff.in_time()
        return decision

    def snapshot(self, *, now_s: float, kv_tokens_free: int | None = None) -> Snapshot:
        """The engine as it is, of a long queue the shortlist.

        Raises ``SnapshotError`` before the first latency model.
        """
        latency = self._refit.latest
        if latency is None:
            raise SnapshotError("no latency model yet: an engine must have run some steps first")
        return self._look(now_s, latency, kv_tokens_free, advance=False)

    def observe_step(self, work: StepWork, step_s: float) -> None:
        """Learn from one finished step. Cost: under a microsecond, and a refit now and then."""
        self._refit.observe(work, step_s)

    def observe_steps(self, steps: Floats) -> None:
        """:meth:`observe_step` for float64[n, 8]: the columns of ``StepWork``, then seconds."""
        self._refit.observe_all(steps)

    def close(self) -> None:
        """Stop learning in the background."""
        self._refit.close()

    def _look(
        self, now_s: float, latency: StepLatency, kv_tokens_free: int | None, *, advance: bool
    ) -> Snapshot:
        """What the policy is shown. Between two plans a shortlist only loses who is admitted."""
        shown = self._shortlist.look(
            self.tracker, now_s=now_s, latency=latency, most=self._backoff.shown, advance=advance
        )
        return self.tracker.snapshot(
            now_s=now_s, latency=latency, kv_tokens_free=kv_tokens_free, waiting=shown
        )

    def _ask(self, snapshot: Snapshot) -> StepDecision:
        if self._stale(snapshot.now_s):
            self._standing, self._put_off = None, False
            self._planned_arrivals = self.tracker.arrivals
            self._planned_version, self._planned_at_s = snapshot.version, snapshot.now_s
            self._plan = self.policy.plan(snapshot, self._plan)
        decision = self.policy.step(snapshot, self._plan)
        if snapshot.left_out:
            decision = replace(decision, shortlisted=True)
        if decision.stands:
            # Who was preempted now must not be preempted again when it is back.
            stays = len(decision.preempt) == 0
            self._standing = decision if stays else replace(decision, preempt=no_handles())
        return decision

    def _may_put_off(self) -> bool:
        """Whether the plan may wait one step: for newcomers alone, and not twice in a row.

        To register a request and to plan for it both cost cold caches; no step pays for both.
        Until then newcomers stand behind everybody who was planned for.
        """
        newcomers = self.tracker.arrivals - self._planned_arrivals
        only_newcomers = self.tracker.version - self._planned_version == newcomers > 0
        self._put_off = only_newcomers and not self._put_off
        return self._put_off

    def _stale(self, now_s: float) -> bool:
        return (
            self._planned_version != self.tracker.version
            or now_s - self._planned_at_s > MAX_PLAN_AGE_S
        )

    def _fall_back(self, what: str, detail: str) -> StepDecision:
        self.fallbacks += 1
        self._plan = self._standing = None
        self._planned_version = _NEVER
        if what not in self._complained:
            self._complained.add(what)
            logger.warning(
                "policy %s %s (%s): arrival order for this step; counted, logged once",
                self.policy.name,
                what,
                detail,
            )
        return self._arrival_order()

    def _no_latency_yet(self) -> StepDecision:
        self.untrained += 1
        if self.untrained == 1:
            logger.info(
                "policy %s waits for the latency model: arrival order until enough steps were seen",
                self.policy.name,
            )
        return self._arrival_order()

    def _arrival_order(self) -> StepDecision:
        return StepDecision(order=self.tracker.waiting_by_priority())
