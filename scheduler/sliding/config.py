"""What the paper leaves open, in one place."""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class SlidingConfig:
    """Settings of ``slidingserve``; all but ``least_tokens`` are our defaults, the paper has none.

    ``alpha``, ``least_slack_s``: a prefill is urgent when it takes more than the share ``alpha``
    of its slack (at least ``least_slack_s``) at the recent prefill throughput, a moving average
    in which a step counts 1 - ``decay``. Who has a priority number below ``privileged_below`` is
    served first, as streams that were preempted are. ``least_tokens``: the chunker's search ends
    at intervals of so many tokens. ``strict_window``: the second step of the window gets no more
    than fits after the first has taken all its time; else no more than the engine's limit (both
    keep the second token in time: the two steps together only become shorter). ``fixed_tokens``:
    the budget of a step without the chunker. ``quanta``: parts into which a knapsack's capacity
    is divided. ``most_anchors``, ``most_candidates``: how many the constructor looks at, most
    pressing first. ``slack_cap_s`` stands for the slack of who was promised nothing.
    ``block_tokens``: KV memory that a new answer may take beyond its tokens.
    ``from_first_token``: tokens are due ``tpot_s`` apart from the first on, as TPOT is measured;
    else from the TTFT deadline on, as published, so that an early first token is slack as well.
    """

    alpha: float = 1.0
    least_slack_s: float = 1e-3
    decay: float = 0.99
    privileged_below: float = -inf
    least_tokens: int = 30
    strict_window: bool = True
    fixed_tokens: int = 512
    quanta: int = 64
    most_anchors: int = 8
    most_candidates: int = 64
    slack_cap_s: float = 60.0
    block_tokens: int = 16
    from_first_token: bool = True

    def __post_init__(self) -> None:
        for name in ("least_tokens", "fixed_tokens", "quanta", "most_anchors", "most_candidates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 is needed")
        if not (self.alpha > 0 and self.least_slack_s > 0 and 0 <= self.decay < 1):
            raise ValueError("alpha and least_slack_s are above 0, decay is at least 0 and below 1")
