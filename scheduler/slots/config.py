"""How the flagship policy weighs things, and how long it may think."""

from dataclasses import dataclass
from math import inf

# How long a stream that has begun may be silent.
SILENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class SlotConfig:
    """Weights in units of one kept promise.

    ``done_worth``: what finishing a request is worth apart from its promise; it orders the
    hopeless ones and keeps the mean latency low. ``preempt_cost``: charged for taking a slot
    away. ``patience``: a plan's value fades with the time until a request begins, by 1/e each
    ``patience`` mean service times, because requests still to come will push in. ``keep``:
    how many times a waiting request must be worth a running one in the orders the search
    starts from.

    ``kv_risk``: the chance, by forecast, that those admitted run out of KV memory together;
    who would raise it further is held back.

    ``chunk_margin``: predicted step times count so many times when a step is sized;
    ``least_chunk`` prompt tokens a step are computed anyway. ``newcomer_toll``: promises lost, of
    each that comes in a second, by each second that prompts take. ``newcomer_share``: the fraction
    of the smaller prompts to come that is served before one that waits. ``catch_up``: the share of
    what an answer could make up for at the recent pace that a step may spend. ``answer_worth``: an
    answer was paid for already, so of two promises it is rather a prompt's that is lost.

    A plan may take ``time_box_s`` and ``time_box_each_s`` for every candidate, and one order built
    besides where they are not many (:mod:`scheduler.slots.search`), but never more than
    ``time_box_most_s``, which has to lie well below the driver's own; what the time box leaves
    is spent on annealing, which ``max_moves`` ends too (for runs that must repeat exactly);
    ``heat`` is the first temperature, multiplied by ``cooling`` every ``chunk`` moves.
    ``overdue_s`` is the ageing bound: requests that have waited longer take, oldest first, one part
    of ``overdue_share`` of the engine's time, and of its steps, whatever they are worth.
    ``silence_s`` bounds how long a stream that has begun is silent, and nobody is preempted more
    than ``most_preemptions`` times by choice (:mod:`scheduler.slots.silence`).
    """

    done_worth: float = 0.3
    preempt_cost: float = 1.0
    patience: float = 0.3
    keep: float = 2.0
    kv_risk: float = 0.05
    chunk_margin: float = 1.05
    least_chunk: int = 16
    newcomer_toll: float = 0.05
    newcomer_share: float = 0.5
    catch_up: float = 0.5
    answer_worth: float = 1.05
    time_box_s: float = 0.0004
    time_box_each_s: float = 1.1e-6
    time_box_most_s: float = inf
    max_moves: int = 20_000
    heat: float = 0.01
    cooling: float = 0.97
    chunk: int = 16
    seed: int = 0
    overdue_s: float = 300.0
    overdue_share: int = 32
    silence_s: float = SILENCE_S
    most_preemptions: int = 2
