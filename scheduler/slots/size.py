"""How many prompt tokens a step computes so that the fewest promises are lost; compiled."""

import numpy as np

from scheduler.compiled import compiled
from scheduler.latency import Scenario, StepLatency, StepWork, work_seconds
from scheduler.sliding.allocation import StepLoad, step_seconds
from scheduler.slots.answers import Answers
from scheduler.slots.config import SlotConfig
from scheduler.slots.newcomers import Newcomers
from scheduler.snapshot import Floats, Ints

_MIXED = int(Scenario.MIXED)

# Sizes tried: each so many times the one before, and whatever completes one of the first prompts.
_GROWTH = 1.25
_FIRST = 8


def prompt_tokens(
    order: Ints,
    kept: Ints,
    left: Floats,
    cached: Floats,
    slack_s: Floats,
    *,
    latency: StepLatency,
    answers: Answers,
    newcomers: Newcomers,
    steps_ahead: int,
    most: int,
    config: SlotConfig,
) -> int:
    """Prompt tokens of a step, ``least_chunk``..``most``, if all steps to come were so large.

    Prompts are computed in ``order``; each has ``left`` tokens over ``cached`` ones, and
    ``slack_s``, float64[n], until it has to be computed (``inf``: it can wait); only the ``kept``
    have a promise to lose. Answers pay for all the steps that those take. Small steps take longer
    for all of them, in a large one the first of them wait for the rest; for them and for the
    answers step times count ``chunk_margin`` times. A request that comes while a step runs is lost
    if it cannot wait for its end, and that of as many more as the engine is ``steps_ahead``; each
    second of work costs newcomers ``newcomer_toll`` besides, for they queue. Cost: 30 sizes, 3 ns
    for each prompt and answer.
    """
    return _best(
        latency.table,
        answers,
        newcomers,
        (order, kept),
        (left, cached, slack_s),
        (float(steps_ahead), min(config.least_chunk, most), most),
        (config.chunk_margin, config.newcomer_toll, config.answer_worth),
    )


@compiled
def _best(
    table: Floats,
    answers: Answers,
    newcomers: Newcomers,
    orders: tuple[Ints, Ints],
    prompts: tuple[Floats, Floats, Floats],
    limits: tuple[float, int, int],
    weights: tuple[float, float, float],
) -> int:
    order, kept = orders
    left, cached, slack_s = prompts
    ahead, least, most = limits
    margin, toll, answer_worth = weights
    decodes, context = answers.decodes, answers.context_tokens
    load = StepLoad(table, decodes, context, left, cached)
    total = work = 0.0
    for i in kept:
        total += left[i]
    for i in order:
        work += left[i]
    # The step that computes a newcomer has the answers of others in it.
    others_s = table[_MIXED, 3] * decodes + table[_MIXED, 4] * context
    sizes = _sizes(kept, left, least, most)
    best, best_cost = float(most), np.inf
    for tokens in sizes:
        if len(order):
            step_s = step_seconds(load, order, 0.0, tokens)
        else:
            one = StepWork(0.0, tokens * tokens, 0.0, decodes, context, tokens, tokens)
            step_s = work_seconds(table, one)
        lost = _late(kept, left, slack_s, tokens, margin * step_s)
        # What there is not cannot be computed.
        steps = max(total, 1.0) / (min(tokens, work) if work > 0.0 else tokens)
        lost += answer_worth * _broken(answers, margin * step_s, steps)
        late_s = _late_s(newcomers, step_s, others_s + ahead * step_s)
        lost += steps * newcomers.per_s * (late_s + toll * step_s)
        if lost < best_cost or (lost == best_cost and tokens > best):
            best, best_cost = tokens, lost
    return int(best)


@compiled
def _sizes(order: Ints, left: Floats, least: int, most: int) -> list[float]:
    found = [float(most)]
    tokens = float(max(least, 1))
    while tokens < most:
        found.append(np.floor(tokens))
        tokens *= _GROWTH
    work = 0.0
    for i in order[:_FIRST]:
        work += left[i]
        if least < work < most:
            found.append(work)
    return found


@compiled
def _late(order: Ints, left: Floats, slack_s: Floats, tokens: float, step_s: float) -> float:
    """How many prompts are late if every step computes so many ``tokens``."""
    work = late = 0.0
    for i in order:
        work += left[i]
        late += np.ceil(work / tokens) * step_s > slack_s[i] >= 0.0
    return late


@compiled
def _broken(answers: Answers, step_s: float, steps: float) -> float:
    """How many promises of answers so many steps of one length cost, by chance.

    Each step that is longer than ``every_s`` uses up slack, until the answer has its last token.
    """
    broken = 0.0
    for k in range(len(answers.slack_s)):
        more = max(min(steps, answers.tokens_left[k]) - 1.0, 0.0)
        over_s = step_s - answers.slack_s[k] + more * max(step_s - answers.every_s[k], 0.0)
        if over_s > 0.0:
            reserve_s = answers.lost_s[k] - answers.slack_s[k]
            broken += 1.0 if over_s >= reserve_s else over_s / reserve_s
    return broken


@compiled
def _late_s(newcomers: Newcomers, step_s: float, others_s: float) -> float:
    """Seconds of a step in which a newcomer that waits ``others_s`` besides would come too late."""
    slack_s, until_s = newcomers.slack_s, newcomers.slack_sums
    if not len(slack_s):
        return 0.0
    none = np.searchsorted(slack_s, others_s)
    some = np.searchsorted(slack_s, step_s + others_s)
    waits_s = until_s[some] - until_s[none] - others_s * (some - none)
    return float((some * step_s - waits_s) / len(slack_s))
