"""Policy ``slotwise``: one annealed order over all who run and all who wait.

The first ``max_num_seqs`` of the order hold the slots; whoever runs and is not among them gives
its slot up. What an order is worth (``scheduler.slots.walk``) counts each request's chance to
keep its promise under its predicted length distribution and what it has generated so far, the
price that its slot-seconds have for requests still to come, and what a preemption costs.
Whoever would make KV memory run out, by forecast, is held back (``scheduler.slots.memory``).
A request begins before those of a higher priority number (``scheduler.slots.priority``).
Between plans each step computes what loses the fewest promises (``scheduler.slots.construction``).
"""

from dataclasses import replace

import numpy as np

from scheduler.compiled import compiled
from scheduler.decision import Plan, StepDecision, no_handles
from scheduler.slots.ageing import Ageing
from scheduler.slots.answers import answers_of
from scheduler.slots.chance import Terms, worth
from scheduler.slots.config import SlotConfig
from scheduler.slots.construction import constructed, rank_of
from scheduler.slots.memory import fitting_now, giving_way, held_back
from scheduler.slots.newcomers import Arrivals, nobody
from scheduler.slots.parts import SlotParts
from scheduler.slots.price import SlotPrice
from scheduler.slots.priority import by_priority, later_priorities
from scheduler.slots.problem import Fact, SlotProblem
from scheduler.slots.search import SlotSearch
from scheduler.slots.seeds import seed_orders
from scheduler.slots.silence import in_front, silent_streams, who_yields
from scheduler.snapshot import Bools, Floats, Ints, Snapshot


class SlotwisePolicy:
    """Plans when somebody came or went; each step follows the plan."""

    def __init__(self, config: SlotConfig | None = None, *, parts: SlotParts | None = None) -> None:
        self._parts = parts or SlotParts()
        self.name = self._parts.name
        config = config or SlotConfig()
        self._config = config if self._parts.reserve else replace(config, catch_up=0.0)
        self._search = SlotSearch(self._config)
        self._price = SlotPrice()
        self._arrivals = Arrivals()
        self._ageing = Ageing(self._config)
        self._newcomers = nobody()
        self._latest_arrival_s = -np.inf
        self._steps = 0
        self._placed: tuple[Plan, StepDecision, Ints] | None = None

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan:
        """Anneal an order. Cost: the time box, and what holding back for memory takes."""
        deadline_ns = self._search.deadline_ns(len(snapshot.running) + len(snapshot.waiting))
        problem = SlotProblem.of(snapshot, self._config)
        demand = self._price.now(now_s=snapshot.now_s, slots=problem.slots)
        terms = Terms.of(problem, self._config, demand)
        chance, cost_s, index = worth(problem, terms)
        self._learn(snapshot, chance[problem.running :], cost_s[problem.running :])
        if self._parts.newcomers:
            self._newcomers = self._arrivals.expected(now_s=snapshot.now_s)
        seeds = seed_orders(
            problem,
            chance=chance,
            cost_s=cost_s,
            index=index,
            price=demand.price,
            previous=no_handles() if previous is None else previous.order,
        )
        found = self._search.best(problem, terms, seeds, deadline_ns=deadline_ns)
        planned = by_priority(
            found.order, _priority(snapshot), running=problem.running, slots=problem.slots
        )
        streams = silent_streams(snapshot, problem, self._config)
        overdue = self._ageing.first(problem, now_s=snapshot.now_s)
        overdue = overdue[~np.isin(overdue, streams.first)]
        order = in_front(overdue, in_front(streams.first, planned))
        gain = chance - demand.price * cost_s
        may_go = self._may_give_way(snapshot, chance)
        first = len(overdue) + len(streams.first)
        held, gone = self._admission(problem, order, planned, gain, may_go, first)
        admitted = fitting_now(
            problem,
            held,
            kv_free=snapshot.kv_tokens_free,
            left=snapshot.running.prefill_left,
            gain=chance - demand.price * terms.prefill_slots * problem.facts[:, Fact.START_S],
            first=order[:first],
        )
        held = held[~np.isin(held, admitted)]
        return Plan(
            version=snapshot.version,
            made_at_s=snapshot.now_s,
            order=problem.handle[order],
            held=problem.handle[held[~np.isin(held, streams.first[: streams.forced])]],
            gone=problem.handle[gone],
            overdue=len(overdue),
            silent=problem.handle[streams.first],
            forced=streams.forced,
            value=found.value,
            seed_value=found.seed_value,
            evaluations=found.evaluations,
        )

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:
        """Let the front of the plan have the slots, and construct this step from it.

        The answer stands while no prompt is being computed or could be begun. Cost: 80 us with
        16 running.
        """
        if plan is None:
            waiting = snapshot.waiting
            return StepDecision(order=waiting.handle[np.argsort(waiting.priority, kind="stable")])
        if self._placed is None or self._placed[0] is not plan:
            served = in_front(plan.silent, plan.order)
            self._placed = (plan, self._placement(snapshot, plan, served), rank_of(served))
        _, decision, rank = self._placed
        if plan.made_at_s != snapshot.now_s:
            # Who had to give way is not sent away again when a slot is free after all.
            decision = replace(decision, preempt=no_handles())
        self._steps += 1
        # Past the ageing bound prompts have their share of the steps, too.
        turn = self._steps % self._config.overdue_share == 0
        return constructed(
            snapshot,
            decision,
            rank,
            silent=len(plan.silent),
            overdue=plan.overdue if turn else 0,
            later=later_priorities(
                snapshot.waiting,
                plan.held,
                np.concatenate((plan.order[: plan.overdue], plan.silent)),
            ),
            answers=answers_of(snapshot, catch_up=self._config.catch_up),
            newcomers=self._newcomers,
            due=self._parts.due,
            config=self._config,
        )

    def _placement(self, snapshot: Snapshot, plan: Plan, served: Ints) -> StepDecision:
        """Who comes in, who has to go, who is held back; ``served`` is everybody in order."""
        # Where memory is short a slot given up would not be taken: only who makes room goes.
        slots = len(plan.order) if len(plan.held) else snapshot.limits.max_num_seqs
        order, preempt = _split(served, snapshot.running.handle, slots, plan.gone)
        waits = order[: len(order) - len(preempt)]
        forced = plan.silent[: plan.forced]
        preempt = who_yields(snapshot, served, preempt, forced, self._config)
        order = np.concatenate((waits, preempt))
        return StepDecision(order=order, preempt=preempt, held=plan.held)

    def _admission(
        self,
        problem: SlotProblem,
        order: Ints,
        planned: Ints,
        gain: Floats,
        may_go: Bools,
        first: int,
    ) -> tuple[Ints, Ints]:
        """Who is held back for memory, and who gives it up to those before it in ``planned``.

        Only those that ``may_go`` give way.
        """

        def held_without(gone: Ints) -> Ints:
            return held_back(
                problem,
                order,
                kv_tokens=problem.kv_tokens,
                risk=self._config.kv_risk,
                gain=gain,
                first=first,
                gone=gone,
            )

        gone, ahead = giving_way(problem, planned)
        if len(gone):
            # Nor does anybody past the ageing bound, or silent for long.
            gone = gone[may_go[gone] & ~np.isin(gone, order[:first])]
        held = held_without(gone)
        if len(gone) and np.isin(ahead, held).any():
            # It would not be enough.
            gone = no_handles()
            held = held_without(gone)
        return held, gone

    def _may_give_way(self, snapshot: Snapshot, chance: Floats) -> Bools:
        """bool[running]: prefills whose SLO is infeasible; no stream, and none to a higher number.

        Evicting a stream gains little: it has to be back before it is silent for too long.
        """
        running, waiting = snapshot.running, snapshot.waiting
        return np.asarray(
            (chance[: len(running)] <= 0.0)
            & (running.generated == 0.0)
            & (running.preemptions < self._config.most_preemptions)
            & (running.priority >= waiting.priority.max(initial=-np.inf))
        )

    def _learn(self, snapshot: Snapshot, chance: Floats, cost_s: Floats) -> None:
        """Remember who came since the last plan; some were admitted before it."""
        waiting = snapshot.waiting
        new = (waiting.arrival_s > self._latest_arrival_s) & (waiting.preemptions == 0)
        if new.any():
            self._price.observe(waiting.arrival_s[new], chance[new], cost_s[new])
        for table in (snapshot.running, waiting):
            new = table.arrival_s > self._latest_arrival_s
            if new.any():
                tokens = table.prompt_tokens[new]
                slack_s = table.ttft_s[new] - snapshot.latency.prefill_s(1.0, tokens)
                self._arrivals.observe(table.arrival_s[new], slack_s, tokens)
        both = (snapshot.running.arrival_s, waiting.arrival_s)
        latest_s = max(float(arrival_s.max(initial=-np.inf)) for arrival_s in both)
        self._latest_arrival_s = max(self._latest_arrival_s, latest_s)


def _priority(snapshot: Snapshot) -> Floats:
    """float64[n], of the candidates in the order of the problem."""
    return np.concatenate((snapshot.running.priority, snapshot.waiting.priority))


@compiled
def _split(order: Ints, running: Ints, slots: int, gone: Ints) -> tuple[Ints, Ints]:
    """Who waits, in the plan's order, and who has to give up a slot (at the end of the former)."""
    top = 0
    for handles in (order, running):
        if len(handles):
            top = max(top, handles.max())
    runs = np.zeros(top + 1, dtype=np.bool_)
    runs[running] = True
    holds = runs[order]
    goes = np.zeros(top + 1, dtype=np.bool_)
    goes[gone] = True
    goes[order[slots:]] = True
    preempt = order[holds & goes[order]]
    return np.concatenate((order[~holds], preempt)), preempt
