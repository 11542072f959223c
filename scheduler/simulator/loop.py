"""vLLM V1's iteration loop, compiled: schedule, compute, advance, until something happens.

Read beside vLLM's ``v1/core/sched/scheduler.py``: running requests come first, in their order;
prompts are prefilled in chunks of what the token budget leaves; who finds no KV block takes one
from a victim; the waiting are admitted only in a step that preempted nobody.
"""

from scheduler.compiled import compiled
from scheduler.latency import StepWork
from scheduler.simulator.state import LOG_STEPS, Clock, Count, Rules, State
from scheduler.simulator.step_time import StepTime, batch_seconds

_RUNNING, _WAITING, _OPEN = int(Count.RUNNING), int(Count.WAITING), int(Count.OPEN)
_FREE, _STEPS, _LOGGED = int(Count.FREE_BLOCKS), int(Count.STEPS), int(Count.LOGGED)
_ADMITTED, _FINISHED = int(Count.ADMITTED), int(Count.FINISHED)
_PREEMPTED, _GHOSTS, _FRESH = int(Count.PREEMPTED), int(Count.GHOSTS), int(Count.FRESH_BLOCKS)
_NOW, _SEEN = int(Clock.NOW), int(Clock.SEEN)


@compiled
def run(
    state: State, rules: Rules, model: StepTime, until_s: float, max_steps: int, budget: int
) -> int:
    """Step until a request ends or is preempted, the clock is ``until_s``, or ``max_steps``.

    ``budget`` are the tokens of each step. Returns 1, or 0 if nothing could be scheduled.
    Leaves who was admitted, finished and preempted, in order, in the lists of ``state``.
    Cost: about 30 ns for each running request and step, and a microsecond.
    """
    counts, clock = state.counts, state.clock
    counts[_ADMITTED] = counts[_FINISHED] = counts[_PREEMPTED] = 0
    steps = 0
    while steps < max_steps and clock[_SEEN] < until_s and counts[_LOGGED] < LOG_STEPS:
        began_s = clock[_NOW]
        scheduled = _schedule(state, rules, budget)
        if rules.lag:
            _release_ended(state, rules)
        if scheduled == 0:
            return int(counts[_FINISHED] > 0 or counts[_PREEMPTED] > 0)
        clock[_NOW] += _duration_s(state, model)
        _advance(state)
        clock[_SEEN] = began_s if rules.lag else clock[_NOW]
        if not rules.lag:
            _release_ended(state, rules)
        counts[_STEPS] += 1
        steps += 1
        if counts[_FINISHED] > 0 or counts[_PREEMPTED] > 0:
            break
    return 1


@compiled
def preempt(state: State, rules: Rules, number: int) -> None:
    """Take the slot and the memory of a running request; it goes to the front of the queue."""
    counts = state.counts
    at = 0
    while state.running[at] != number:
        at += 1
    for k in range(at, counts[_RUNNING] - 1):
        state.running[k] = state.running[k + 1]
    counts[_RUNNING] -= 1
    _free(state, rules, number)
    state.computed[number] = 0
    state.preemptions[number] += 1
    for k in range(counts[_WAITING], 0, -1):
        state.queue[k] = state.queue[k - 1]
    state.queue[0] = number
    counts[_WAITING] += 1
    counts[_OPEN] += 1
    state.preempted[counts[_PREEMPTED]] = number
    counts[_PREEMPTED] += 1


@compiled
def _schedule(state: State, rules: Rules, budget: int) -> int:
    """Allot this step's tokens; returns how many."""
    counts = state.counts
    state.scheduled[state.running[: counts[_RUNNING]]] = 0
    left = min(budget, rules.max_batched_tokens)
    full = left
    lost = False
    at = 0
    while at < counts[_RUNNING] and left > 0:
        number = state.running[at]
        tokens = 0
        if state.ended[number] == 0 and state.paused[number] == 0:
            known = state.prompt[number] + state.generated[number]
            tokens = min(known - state.computed[number], left)
        if tokens == 0:
            at += 1
            continue
        needed = _blocks(state.computed[number] + tokens, rules) - state.held_blocks[number]
        while rules.blocks >= 0 and needed > counts[_FREE]:
            victim = _victim(state, rules)
            at -= _before(state, victim, at)
            left += state.scheduled[victim]
            state.scheduled[victim] = 0
            lost = True
            if state.ended[victim]:
                _release_ended(state, rules)
                continue
            preempt(state, rules, victim)
            if victim == number:
                break
        if counts[_RUNNING] <= at or state.running[at] != number:
            break  # it lost its own memory: nobody behind it has any either
        _take(state, rules, needed)
        state.held_blocks[number] += max(needed, 0)
        state.scheduled[number] = tokens
        left -= tokens
        at += 1
    if not lost:
        left = _admit(state, rules, left)
    return full - left


@compiled
def _admit(state: State, rules: Rules, left: int) -> int:
    """Let the front of the queue in while there are slots, tokens and blocks."""
    counts = state.counts
    taken = 0
    while taken < counts[_OPEN] and left > 0 and counts[_RUNNING] < rules.max_num_seqs:
        number = state.queue[taken]
        known = state.prompt[number] + state.generated[number]
        cached = _cached_blocks(state, rules, number)
        tokens = min(known - cached * rules.block_size, left)
        total = _blocks(cached * rules.block_size + tokens, rules)
        wanted = _blocks(known, rules) if rules.reserve else total
        if rules.blocks >= 0 and wanted > counts[_FREE]:
            break
        # Its own cached blocks are among the free ones; a prefix of others is held once more.
        own = min(cached, state.ghost_blocks[number])
        _revive(state, number, own)
        _take(state, rules, total - own)
        state.held_blocks[number] = total
        state.computed[number] = cached * rules.block_size
        state.scheduled[number] = tokens
        left -= tokens
        state.running[counts[_RUNNING]] = number
        counts[_RUNNING] += 1
        state.admitted[counts[_ADMITTED]] = number
        counts[_ADMITTED] += 1
        taken += 1
    if taken:
        for k in range(counts[_WAITING] - taken):
            state.queue[k] = state.queue[k + taken]
        counts[_WAITING] -= taken
        counts[_OPEN] -= taken
    return left


@compiled
def _duration_s(state: State, model: StepTime) -> float:
    """Seconds of the step as scheduled; also writes its row of the log."""
    counts = state.counts
    prefills = chunk = decodes = context = longest = cached_prefills = longest_chunk = 0
    shortest = 1 << 60
    products = squares = 0.0
    for k in range(counts[_RUNNING]):
        number = state.running[k]
        tokens, cached = state.scheduled[number], state.computed[number]
        if tokens > 1:
            prefills += 1
            chunk += tokens
            products += tokens * cached
            squares += tokens * tokens
            cached_prefills += cached
            longest_chunk = max(longest_chunk, tokens)
        elif tokens == 1:
            decodes += 1
            context += cached
            shortest, longest = min(shortest, cached), max(longest, cached)
    work = StepWork(products, squares, cached_prefills, decodes, context, chunk, longest_chunk)
    seconds = batch_seconds(prefills, work, shortest, longest, model)
    row = state.log[counts[_LOGGED]]
    row[0], row[1] = state.clock[_NOW], seconds
    row[2], row[3] = counts[_WAITING], counts[_RUNNING]
    row[4], row[5], row[6], row[7] = prefills, chunk, decodes, context
    row[8], row[9] = counts[_PREEMPTED], counts[_FREE]
    row[10], row[11], row[12], row[13] = products, squares, cached_prefills, longest_chunk
    counts[_LOGGED] += 1
    return seconds


@compiled
def _advance(state: State) -> None:
    """Hand out what the step computed; a request that knows all its tokens gets a new one."""
    now_s = state.clock[_NOW]
    for k in range(state.counts[_RUNNING]):
        number = state.running[k]
        if state.scheduled[number] == 0:
            continue
        state.computed[number] += state.scheduled[number]
        if state.computed[number] < state.prompt[number] + state.generated[number]:
            continue
        if state.generated[number] == 0:
            state.first_token_s[number] = now_s
        state.generated[number] += 1
        if state.generated[number] >= state.output[number]:
            state.ended[number] = 1
            state.finish_s[number] = now_s


@compiled
def _release_ended(state: State, rules: Rules) -> None:
    """Take slots and memory back from those whose last token is known to be out."""
    counts = state.counts
    kept = 0
    for k in range(counts[_RUNNING]):
        number = state.running[k]
        if state.ended[number] == 0:
            state.running[kept] = number
            kept += 1
        else:
            _free(state, rules, number)
            state.finished[counts[_FINISHED]] = number
            counts[_FINISHED] += 1
    counts[_RUNNING] = kept


@compiled
def _blocks(tokens: int, rules: Rules) -> int:
    return (tokens + rules.block_size - 1) // rules.block_size


@compiled
def _victim(state: State, rules: Rules) -> int:
    """Who loses its memory: the last admitted, or the least urgent and latest."""
    last = int(state.running[state.counts[_RUNNING] - 1])
    if not rules.by_priority:
        return last
    victim = last
    for k in range(state.counts[_RUNNING]):
        number = state.running[k]
        worse = state.priority[number] - state.priority[victim]
        later = state.arrival_s[number] > state.arrival_s[victim]
        if worse > 0.0 or (worse == 0.0 and later):
            victim = int(number)
    return victim


@compiled
def _before(state: State, victim: int, at: int) -> int:
    """How many of those that stand before ``at`` leave with the victim."""
    gone = 0
    for k in range(at):
        number = state.running[k]
        gone += number == victim or (state.ended[victim] and state.ended[number])
    return gone


@compiled
def _take(state: State, rules: Rules, needed: int) -> None:
    """Take free blocks, those that hold nothing first, then those given back longest ago."""
    counts = state.counts
    if rules.blocks < 0 or needed <= 0:
        return
    counts[_FREE] -= needed
    fresh = min(needed, counts[_FRESH])
    counts[_FRESH] -= fresh
    needed -= fresh
    dry = 0
    while needed > 0:
        number = state.ghosts[dry]
        lost = min(needed, state.ghost_blocks[number])
        state.ghost_blocks[number] -= lost
        needed -= lost
        if needed > 0:
            dry += 1
    while dry < counts[_GHOSTS] and state.ghost_blocks[state.ghosts[dry]] == 0:
        dry += 1
    _drop_ghosts(state, dry)


@compiled
def _drop_ghosts(state: State, gone: int) -> None:
    counts = state.counts
    if gone:
        for k in range(counts[_GHOSTS] - gone):
            state.ghosts[k] = state.ghosts[k + gone]
        counts[_GHOSTS] -= gone


@compiled
def _free(state: State, rules: Rules, number: int) -> None:
    """Give a request's blocks back; with caching the full ones go to the end of the line."""
    if rules.blocks < 0:
        return
    counts = state.counts
    blocks = state.held_blocks[number]
    state.held_blocks[number] = 0
    counts[_FREE] += blocks
    full = min(state.computed[number] // rules.block_size, blocks) if rules.caching else 0
    counts[_FRESH] += blocks - full
    if full:
        # The last blocks of a request are taken first, so the rest is always its beginning.
        state.ghost_blocks[number] = full
        state.ghosts[counts[_GHOSTS]] = number
        counts[_GHOSTS] += 1


@compiled
def _cached_blocks(state: State, rules: Rules, number: int) -> int:
    """Blocks a request need not compute: its own of before, or a prefix known beforehand.

    At least one token is left to compute, and only full blocks count.
    """
    if not rules.caching:
        return 0
    known = state.prompt[number] + state.generated[number]
    own = min(state.ghost_blocks[number] * rules.block_size, known - 1)
    return int(max(own, min(state.prefix[number], known - 1)) // rules.block_size)


@compiled
def _revive(state: State, number: int, blocks: int) -> None:
    """Take a request's own cached blocks out of the free ones."""
    counts = state.counts
    if state.ghost_blocks[number] == 0:
        return
    counts[_FREE] -= blocks
    counts[_FRESH] += state.ghost_blocks[number] - blocks
    state.ghost_blocks[number] = 0
    for k in range(counts[_GHOSTS]):
        if state.ghosts[k] == number:
            for m in range(k, counts[_GHOSTS] - 1):
                state.ghosts[m] = state.ghosts[m + 1]
            counts[_GHOSTS] -= 1
            break
