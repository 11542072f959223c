"""Policy ``slidingserve``: SlidingServe (arXiv 2606.05933) on snapshots, in whole or in parts.

Before each step: the *sorter* orders the prompts that have begun and those that wait, the
*chunker* sizes the step for the least slack of the answers, and where somebody is about to be late
the *constructor* picks the prompts that are computed whole, and nobody else prefills. Answers come
first in every step. What an engine cannot be told is how much each prompt gets: one that has begun
is served before one that waits, so it sits out the step where the order says otherwise.
"""

import numpy as np

from scheduler.compiled import compiled
from scheduler.decision import Plan, StepDecision
from scheduler.policies.prefill_turns import decision_of, free_kv_tokens, free_slots
from scheduler.policies.throughput import PrefillThroughput
from scheduler.sliding.allocation import StepLoad, largest_budget
from scheduler.sliding.batch import Batch, batch_of
from scheduler.sliding.chunker import chunk_bound_s, prompt_tokens
from scheduler.sliding.config import SlidingConfig
from scheduler.sliding.constructor import chosen_prompts
from scheduler.sliding.parts import SlidingParts
from scheduler.sliding.sorter import by_deadline, by_levels
from scheduler.sliding.turns import engine_order, sitting_out
from scheduler.snapshot import Floats, Ints, Snapshot


class SlidingServePolicy:
    """Answers anew before each step while there are prompts to compute.

    Cost of a step: about 80 us with 64 running and 256 waiting, 150 us where the constructor
    works; a decision without any prompt stands.
    """

    def __init__(
        self, config: SlidingConfig | None = None, *, parts: SlidingParts | None = None
    ) -> None:
        self._config = config or SlidingConfig()
        self._parts = parts or SlidingParts()
        self.name = self._parts.name
        self._throughput: PrefillThroughput | None = None

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan | None:  # noqa: ARG002
        """Have no plan: slack changes with every token."""
        return None

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:  # noqa: ARG002
        """Sort, size and construct."""
        tokens_per_s = self._tokens_per_s(snapshot)
        batch = batch_of(snapshot, self._config)
        if not len(batch.handle):
            # Good until somebody comes; and who comes meanwhile finds no room in the next step.
            answers = len(batch.decode_handle)
            return StepDecision(
                order=snapshot.waiting.handle, token_budget=max(answers, 1), stands=answers > 0
            )
        if self._parts.sorter:
            order = by_levels(batch, tokens_per_s, self._config)
        else:
            order = by_deadline(batch)
        if self._parts.constructor:
            chosen = self._constructed(snapshot, batch, order)
            if len(chosen):
                out = _others(order, chosen)
                return _decision(batch, order, out, int(batch.left[chosen].sum()))
        return self._chunked(snapshot, batch, order)

    def _chunked(self, snapshot: Snapshot, batch: Batch, order: Ints) -> StepDecision:
        """As many tokens as the answers allow, in order."""
        tokens = most = self._most(snapshot, batch)
        if self._parts.chunker:
            tokens = prompt_tokens(batch, order, snapshot.latency, most, self._config)
        out = sitting_out(
            order,
            batch.left,
            batch.running,
            tokens,
            slots=free_slots(snapshot),
            kv_tokens=_free_kv(snapshot, batch, self._config),
            block_tokens=self._config.block_tokens,
        )
        if self._parts.chunker:
            # The engine's allotment need not be the one the budget was found with.
            served = engine_order(order, batch.running, out)
            bound_s = chunk_bound_s(batch, snapshot.latency)
            tokens = min(tokens, _fitting(snapshot, batch, served, bound_s, tokens))
        return _decision(batch, order, out, tokens)

    def _constructed(self, snapshot: Snapshot, batch: Batch, order: Ints) -> Ints:
        bound_s = chunk_bound_s(batch, snapshot.latency) if self._parts.chunker else np.inf
        return chosen_prompts(
            batch,
            order,
            snapshot.latency,
            bound_s=bound_s,
            most=self._most(snapshot, batch),
            slots=free_slots(snapshot),
            kv_tokens=_free_kv(snapshot, batch, self._config),
            config=self._config,
        )

    def _most(self, snapshot: Snapshot, batch: Batch) -> int:
        """Tokens for prompts that the engine, or the fixed budget, has for this step."""
        limit = snapshot.limits.max_batched_tokens
        if not self._parts.chunker:
            limit = min(limit, self._config.fixed_tokens)
        return max(limit - len(batch.decode_handle), 0)

    def _tokens_per_s(self, snapshot: Snapshot) -> float:
        """Recent prefill throughput; at first that of a step full of one prompt."""
        if self._throughput is None:
            most = snapshot.limits.max_batched_tokens
            alone_s = float(snapshot.latency.prefill_s(1.0, float(most)))
            self._throughput = PrefillThroughput(
                tokens_per_s=most / max(alone_s, 1e-9), decay=self._config.decay
            )
        self._throughput.observe(snapshot)
        return self._throughput.tokens_per_s


def _decision(batch: Batch, order: Ints, out: Ints, tokens: int) -> StepDecision:
    """Decodes first, then ``tokens`` for those of ``order`` that are not ``out``."""
    return decision_of(
        batch.decode_handle,
        batch.handle,
        batch.running,
        order,
        budget=len(batch.decode_handle) + tokens,
        out=out,
        relegated=order[batch.slack_s[order] < 0.0],
    )


def _others(order: Ints, served: Ints) -> Ints:
    """``order``, a permutation, without ``served``, which are some of it."""
    out = np.ones(len(order), np.bool_)
    out[served] = False
    return np.asarray(order[out[order]])


def _free_kv(snapshot: Snapshot, batch: Batch, config: SlidingConfig) -> float:
    return free_kv_tokens(snapshot, len(batch.decode_handle) + batch.running, config.block_tokens)


def _fitting(snapshot: Snapshot, batch: Batch, served: Ints, bound_s: float, most: int) -> int:
    table, context = snapshot.latency.table, batch.decode_context
    return max(_budget(table, context, served, batch.left, batch.cached, bound_s, most), 0)


@compiled
def _budget(
    table: Floats,
    context: Floats,
    served: Ints,
    left: Floats,
    cached: Floats,
    bound_s: float,
    most: int,
) -> int:
    load = StepLoad(table, float(len(context)), context.sum(), left, cached)
    return largest_budget(load, served, 0.0, bound_s, most)
