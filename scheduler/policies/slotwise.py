"""The flagship policy."""

from dataclasses import dataclass, field

import numpy as np

from scheduler.decision import Plan, StepDecision
from scheduler.slots.problem import SlotProblem
from scheduler.slots.search import SearchConfig, SlotSearch
from scheduler.slots.seeds import density, worth
from scheduler.snapshot import Snapshot


class SlotwisePolicy:
    """x"""

    name = "slotwise"

    def __init__(self, config: SearchConfig = SearchConfig()) -> None:
        self._search = SlotSearch(config)

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan:
        problem = SlotProblem.of(snapshot)
        n, running = len(problem), problem.running
        met, cost_s = worth(problem)
        by_worth = density(met, cost_s, self._search.config.done_worth)
        keep = np.concatenate([np.arange(running), by_worth[by_worth >= running]])
        alive = np.concatenate([np.arange(running)[met[:running] > 0], by_worth[by_worth >= running], np.arange(running)[met[:running] <= 0]])
        waiting = np.arange(running, n)
        due = np.minimum(problem.ttft_due_s, problem.e2e_due_s)
        urgent = waiting[np.argsort(np.where(met[waiting] > 0, due[waiting], np.inf), kind="stable")]
        edf = np.concatenate([np.arange(running), urgent])
        seeds = [keep, alive, by_worth, edf]
        if previous is not None:
            rank = {h: r for r, h in enumerate(previous.order.tolist())}
            r = np.array([rank.get(h, n) for h in problem.handle.tolist()])
            prev = np.lexsort((np.argsort(np.argsort(by_worth)), r))
            seeds.append(prev)
        result = self._search.best(problem, [np.ascontiguousarray(s) for s in seeds])
        return Plan(snapshot.version, snapshot.now_s, problem.handle[result.order], result.value, result.seed_value, result.evaluations)

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:
        assert plan is not None
        order = plan.order
        top = set(order[: snapshot.limits.max_num_seqs].tolist())
        running = snapshot.running.handle.tolist()
        live = set(snapshot.waiting.handle.tolist())
        preempt = [h for h in running if h not in top] if len(order) > snapshot.limits.max_num_seqs else []
        out = [h for h in order.tolist() if h in live]
        return StepDecision(order=np.array(out + preempt, dtype=np.int64), preempt=np.array(preempt, dtype=np.int64))
