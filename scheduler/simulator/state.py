"""What a simulated engine remembers, as arrays a compiled loop can work on."""

from enum import IntEnum
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from scheduler.snapshot import Floats, Ints

Bytes = NDArray[np.uint8]

LOG_STEPS = 4096
"""Steps the loop may run before it has to hand its log over."""


class Count(IntEnum):
    """Places in :attr:`State.counts`."""

    RUNNING = 0  # how many hold a slot
    WAITING = 1  # how many stand in the queue
    OPEN = 2  # how many of them, from the front, may be admitted
    FREE_BLOCKS = 3  # KV blocks nobody holds
    STEPS = 4  # since the start
    LOGGED = 5  # rows in the log
    ADMITTED = 6  # since the loop was entered, like the following
    FINISHED = 7
    PREEMPTED = 8
    GHOSTS = 9  # requests whose freed blocks may still hold what they computed
    FRESH_BLOCKS = 10  # free blocks that hold nothing worth having


class Clock(IntEnum):
    """Places in :attr:`State.clock`, seconds."""

    NOW = 0  # when the next step begins
    SEEN = 1  # the next step's scheduler knows what had arrived by then


class Log(IntEnum):
    """Columns of :attr:`State.log`, one row per step."""

    START_S = 0
    STEP_S = 1
    WAITING = 2
    RUNNING = 3
    PREFILLS = 4
    PREFILL_TOKENS = 5
    DECODES = 6
    CONTEXT_TOKENS = 7
    PREEMPTED = 8
    FREE_BLOCKS = 9
    PRODUCTS = 10  # the rest of what `StepWork` has
    SQUARES = 11
    PREFILL_CACHED = 12
    LONGEST = 13


class Rules(NamedTuple):
    """What the loop obeys; ``blocks`` < 0 means memory is no limit.

    ``lag`` (0 or 1): vLLM's asynchronous scheduling, where a step is scheduled while the one
    before still runs. ``by_priority`` (0 or 1): which request loses its memory when none is
    left, the one of the least priority or the last that was admitted. ``reserve``: admission
    needs room for all known tokens of a request, not only for its first chunk. ``caching``:
    blocks given back keep their content until they are needed.
    """

    max_num_seqs: int
    max_batched_tokens: int
    blocks: int
    block_size: int
    lag: int
    by_priority: int
    reserve: int
    caching: int


class State(NamedTuple):
    """Requests by number (arrays of the capacity), lists of them, counters and the clock."""

    arrival_s: Floats
    prompt: Ints
    output: Ints
    priority: Floats
    prefix: Ints  # prompt tokens that are cached before it arrives
    computed: Ints
    generated: Ints
    held_blocks: Ints
    ghost_blocks: Ints  # freed, and not overwritten yet
    first_token_s: Floats
    finish_s: Floats
    preemptions: Ints
    scheduled: Ints  # tokens in the present step
    paused: Ints  # 1: it runs, and computes nothing until told otherwise
    ended: Bytes  # 1 once the last token is out
    running: Ints  # lists of request numbers
    queue: Ints
    admitted: Ints
    finished: Ints
    preempted: Ints
    ghosts: Ints
    counts: Ints
    clock: Floats
    log: Floats

    @classmethod
    def empty(cls, rules: Rules, capacity: int) -> Self:
        """Nobody there yet; room for ``capacity`` requests in all."""
        columns: dict[str, Any] = {name: np.zeros(capacity, dtype=np.int64) for name in _INTS}
        columns.update({name: np.zeros(capacity) for name in _FLOATS})
        counts = np.zeros(len(Count), dtype=np.int64)
        counts[Count.FREE_BLOCKS] = counts[Count.FRESH_BLOCKS] = max(rules.blocks, 0)
        return cls(
            **columns,
            ended=np.zeros(capacity, dtype=np.uint8),
            running=np.zeros(rules.max_num_seqs + 1, dtype=np.int64),
            counts=counts,
            clock=np.zeros(len(Clock)),
            log=np.zeros((LOG_STEPS, len(Log))),
        )

    def grown(self) -> "State":
        """The same with room for twice as many requests."""
        return self._replace(
            **{
                name: np.concatenate([getattr(self, name), np.zeros_like(getattr(self, name))])
                for name in (*_INTS, *_FLOATS, "ended")
            }
        )


_INTS = (
    "prompt",
    "output",
    "prefix",
    "computed",
    "generated",
    "held_blocks",
    "ghost_blocks",
    "preemptions",
    "scheduled",
    "paused",
    "queue",
    "admitted",
    "finished",
    "preempted",
    "ghosts",
)
_FLOATS = ("arrival_s", "priority", "first_token_s", "finish_s")
