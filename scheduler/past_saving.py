"""Who waits for what no order and no size of steps could give any more."""

import numpy as np

from scheduler.snapshot import Bools, Snapshot


def past_saving(snapshot: Snapshot, *, may_be_cached: bool) -> Bools:
    """bool[n] of the waiting without a token yet: the promise is lost even if served alone, now.

    The whole machine computes its prompt in one step and then decodes nothing else; of the forecast
    lengths the shortest of ``ATOMS`` is assumed, so fewer than one in 32 would be in time. With
    ``may_be_cached`` the prompt costs nothing. Cost: a few numpy calls, 20 us.
    """
    waiting, latency = snapshot.waiting, snapshot.latency
    prompt = np.ones(len(waiting)) if may_be_cached else waiting.prefill_left
    token_s = latency.decode_s(np.ones(len(waiting)), waiting.prompt_tokens)
    first_s = snapshot.now_s + latency.prefill_s(1, prompt) - waiting.arrival_s
    shortest = snapshot.lengths.atoms[waiting.handle, 0]
    last_s = first_s + token_s * (shortest - 1.0)
    lost = (first_s > waiting.ttft_s) | (last_s > waiting.e2e_s)
    return np.asarray(lost & (waiting.generated == 0))
