"""Asks a policy before each engine step, inside a time box, and never lets it stop the engine."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from scheduler.decision import Plan, StepDecision, no_handles
from scheduler.latency import LatencyFitter, StepLatency
from scheduler.policy import Policy
from scheduler.snapshot import Limits, Snapshot
from scheduler.tracker import Tracker

logger = logging.getLogger(__name__)

# Steps between two refits of the latency model; a fit takes less than 0.3 ms.
REFIT_STEPS = 64

# A plan is made again after this long even if nobody came or went: deadlines pass by themselves.
MAX_PLAN_AGE_S = 1.0


class Driver:
    """One engine's policy, its tracker and its latency model, for any engine.

    An engine adapter reports events to :attr:`tracker` and step times to :meth:`observe_step`,
    and calls :meth:`decide` before each step. Until the latency model has seen enough steps,
    and whenever the policy raises or takes longer than ``time_box_s``, requests are served in
    arrival order for that step; ``fallbacks`` counts the latter two.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        limits: Limits,
        latency: StepLatency | None = None,
        time_box_s: float = 0.010,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.policy = policy
        self.tracker = Tracker(limits=limits)
        self.fallbacks = 0
        self._latency = latency
        self._fitter = LatencyFitter()
        self._time_box_s = time_box_s
        self._clock = clock
        self._plan: Plan | None = None
        self._standing: StepDecision | None = None
        self._since_fit = 0
        # Arrivals that the plan in force knows, and whether some later ones were put off.
        self._planned_arrivals = 0
        self._put_off = False
        self._complained: set[str] = set()

    @property
    def latency(self) -> StepLatency | None:
        """The latency model in force, ``None`` before the first fit."""
        return self._latency

    @property
    def plan(self) -> Plan | None:
        """The standing plan."""
        return self._plan

    def decide(self, *, now_s: float, kv_tokens_free: int | None = None) -> StepDecision:
        """Return what the engine does in the coming step."""
        if self._latency is None:
            return self._arrival_order()
        if self._standing is not None and (not self._stale(now_s) or self._may_put_off()):
            return self._standing
        started_s = self._clock()
        snapshot = self.tracker.snapshot(
            now_s=now_s, latency=self._latency, kv_tokens_free=kv_tokens_free
        )
        try:
            decision = self._ask(snapshot)
        except Exception as error:  # noqa: BLE001 - a policy's fault must not stop an engine
            return self._fall_back("raised", repr(error))
        spent_s = self._clock() - started_s
        if spent_s > self._time_box_s:
            return self._fall_back("overran", f"{spent_s * 1e3:.1f} ms")
        return decision

    def observe_step(
        self,
        *,
        prefills: int,
        prefill_tokens: int,
        decodes: int,
        context_tokens: int,
        step_s: float,
    ) -> None:
        """Learn from one finished step; refits the latency model every so many of them."""
        self._fitter.observe(
            prefills=prefills,
            prefill_tokens=prefill_tokens,
            decodes=decodes,
            context_tokens=context_tokens,
            step_s=step_s,
        )
        self._since_fit += 1
        if self._since_fit >= REFIT_STEPS or self._latency is None:
            self._since_fit = 0
            self._latency = self._fitter.fit() or self._latency

    def _ask(self, snapshot: Snapshot) -> StepDecision:
        if self._stale(snapshot.now_s):
            self._standing, self._put_off = None, False
            self._planned_arrivals = self.tracker.arrivals
            self._plan = self.policy.plan(snapshot, self._plan)
        decision = self.policy.step(snapshot, self._plan)
        if self.policy.follows_plan and self._plan is not None:
            # Who was preempted now must not be preempted again when it is back.
            stays = len(decision.preempt) == 0
            self._standing = decision if stays else replace(decision, preempt=no_handles())
        return decision

    def _may_put_off(self) -> bool:
        """Whether the plan may wait one step: for newcomers alone, and not twice in a row.

        To register a request and to plan for it both cost cold caches; no step pays for both.
        Until then newcomers stand behind everybody who was planned for.
        """
        tracker, plan = self.tracker, self._plan
        newcomers = tracker.arrivals - self._planned_arrivals
        only_newcomers = plan is not None and tracker.version - plan.version == newcomers > 0
        self._put_off = only_newcomers and not self._put_off
        return self._put_off

    def _stale(self, now_s: float) -> bool:
        plan = self._plan
        return (
            plan is None
            or plan.version != self.tracker.version
            or now_s - plan.made_at_s > MAX_PLAN_AGE_S
        )

    def _fall_back(self, what: str, detail: str) -> StepDecision:
        self.fallbacks += 1
        self._plan = self._standing = None
        if what not in self._complained:
            self._complained.add(what)
            logger.warning(
                "policy %s %s (%s): arrival order for this step; counted, logged once",
                self.policy.name,
                what,
                detail,
            )
        return self._arrival_order()

    def _arrival_order(self) -> StepDecision:
        return StepDecision(order=self.tracker.waiting_handles())
