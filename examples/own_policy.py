"""A policy of one's own: shortest predicted output first, with a guard for first tokens.

Compare it with vLLM's order, on a simulated engine, from the root of the repository:

    slotwise simulate --policies fcfs,examples.own_policy:GuardedShortest \
        --workload mixed-v1 --rate 1.5 --num-requests 300 --engine-profile l40s-llama-3.1-8b

The same name goes to `slotwise bench`, `capacity`, `serve` and `sidecar`. docs/write-a-policy.md
explains each line.
"""

from dataclasses import dataclass

import numpy as np

from scheduler import Plan, Snapshot, StepDecision, expected_remaining


@dataclass(frozen=True, slots=True)
class GuardedShortest:
    """Serve the shortest output first, but those whose first token is almost late before that.

    A request is urgent once ``guard`` of its TTFT target has passed, and until it is late.
    """

    name: str = "guarded-shortest"
    guard: float = 0.5

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan | None:
        """Plan nothing: each step sorts the waiting requests again."""
        return None

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:
        """Order the waiting requests; the engine admits as many as fit."""
        waiting = snapshot.waiting
        waited_s = snapshot.now_s - waiting.arrival_s
        urgent = (waited_s > self.guard * waiting.ttft_s) & (waited_s < waiting.ttft_s)
        tokens = expected_remaining(waiting, snapshot.lengths)
        order = np.lexsort((tokens, ~urgent))
        # Time alone makes a request urgent, so the order is good for one step.
        return StepDecision(order=waiting.handle[order], stands=False)
