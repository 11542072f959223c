"""Builds the requests that a benchmark replays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from predictor.errors import ConfigError, DatasetError
from training.arrivals import arrival_times
from training.classes import SloClass, slo_class
from training.sharegpt import Conversation
from training.split import split_of
from training.tokens import TokenCounter
from training.trace import TraceRow

_MIN_TOKENS = 4
# vLLM's usual filter for ShareGPT.
MAX_PROMPT_TOKENS = 1024
_MAX_TOTAL_TOKENS = 2048
_FILLER = ("the", "time", "of", "day", "and", "a", "good", "way", "to", "make", "it", "work")


@dataclass(frozen=True, slots=True)
class WorkloadRequest:
    """One request to replay, ``arrival_s`` after the start; lengths in engine tokens.

    ``output_tokens`` is the recorded length of the answer. ``prompt_tokens`` counts the text
    alone, without a chat template.
    """

    request_id: str
    arrival_s: float
    prompt: str
    slo_class: str
    prompt_tokens: int
    output_tokens: int
    conversation_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadShape:
    """How many requests, how fast (requests a second), how mixed.

    ``code_fraction`` of the requests is of class ``code``, the rest ``chat``.
    """

    count: int
    rate: float
    burstiness: float = 1.0
    code_fraction: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"{self.count} requests: ask for at least one")
        if not 0.0 <= self.code_fraction <= 1.0:
            raise ConfigError(f"code fraction {self.code_fraction}: give a share from 0 to 1")
        if self.seed < 0:
            raise ConfigError(f"seed {self.seed}: give a whole number >= 0")

    @property
    def code_count(self) -> int:
        """Requests of class ``code``."""
        return round(self.count * self.code_fraction)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recorded first turn that may be replayed."""

    conversation_id: str
    prompt: str
    slo_class: SloClass
    prompt_tokens: int
    output_tokens: int


def candidates(
    conversations: Iterable[Conversation],
    counter: TokenCounter,
    *,
    max_prompt_tokens: int = MAX_PROMPT_TOKENS,
) -> list[Candidate]:
    """First turns of the test conversations that pass vLLM's usual filter.

    The filter: prompts of 4..``max_prompt_tokens``, answers of at least 4 tokens, at most 2048
    together.
    """
    held_out = [c for c in conversations if split_of(c.base_id) == "test"]
    turns = [c.first_turn for c in held_out]
    prompt_tokens = counter.count([prompt for prompt, _ in turns])
    output_tokens = counter.count([answer for _, answer in turns])
    return [
        Candidate(c.id, prompt, slo_class(prompt), int(read), int(written))
        for c, (prompt, _), read, written in zip(
            held_out, turns, prompt_tokens, output_tokens, strict=True
        )
        if _fits(int(read), int(written), max_prompt_tokens)
    ]


def from_candidates(found: Sequence[Candidate], shape: WorkloadShape) -> list[WorkloadRequest]:
    """A seeded sample without replacement, in random order, with arrivals."""
    rng = np.random.default_rng(shape.seed)
    chosen = [
        *_sampled(found, "code", shape.code_count, rng),
        *_sampled(found, "chat", shape.count - shape.code_count, rng),
    ]
    order = rng.permutation(len(chosen))
    arrivals = arrival_times(shape.count, rate=shape.rate, burstiness=shape.burstiness, rng=rng)
    return [
        _request(number, chosen[index], float(arrival_s))
        for number, (index, arrival_s) in enumerate(zip(order, arrivals, strict=True))
    ]


def from_conversations(
    conversations: Iterable[Conversation], counter: TokenCounter, shape: WorkloadShape
) -> list[WorkloadRequest]:
    """:func:`from_candidates` of the :func:`candidates`."""
    return from_candidates(candidates(conversations, counter), shape)


def from_trace(rows: Iterable[TraceRow], *, task: str = "chat") -> list[WorkloadRequest]:
    """One request per row, all of class ``task``, with filler words as many as its tokens."""
    return [
        WorkloadRequest(
            request_id=f"trace-{number}",
            arrival_s=row.t_s,
            prompt=filler_text(row.input_tokens),
            slo_class=task,
            prompt_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
        )
        for number, row in enumerate(rows)
    ]


def filler_text(words: int) -> str:
    """So many short common words, about one token each."""
    return " ".join(islice(cycle(_FILLER), words))


def _fits(prompt_tokens: int, output_tokens: int, max_prompt_tokens: int) -> bool:
    return (
        _MIN_TOKENS <= prompt_tokens <= max_prompt_tokens
        and output_tokens >= _MIN_TOKENS
        and prompt_tokens + output_tokens <= _MAX_TOTAL_TOKENS
    )


def _sampled(
    found: Sequence[Candidate], task: SloClass, count: int, rng: np.random.Generator
) -> list[Candidate]:
    pool = [candidate for candidate in found if candidate.slo_class == task]
    if len(pool) < count:
        raise DatasetError(
            f"{count} {task} requests asked for, but only {len(pool)} {task} test conversations "
            "fit: ask for fewer requests, another code fraction, or give a larger --dataset-path"
        )
    return [pool[index] for index in rng.choice(len(pool), size=count, replace=False)]


def _request(number: int, candidate: Candidate, arrival_s: float) -> WorkloadRequest:
    return WorkloadRequest(
        request_id=f"{number}-{candidate.conversation_id}",
        arrival_s=arrival_s,
        prompt=candidate.prompt,
        slo_class=candidate.slo_class,
        prompt_tokens=candidate.prompt_tokens,
        output_tokens=candidate.output_tokens,
        conversation_id=candidate.conversation_id,
    )
