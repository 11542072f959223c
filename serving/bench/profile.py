"""Requests that show an engine's step times before anything is measured on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.bench.replay import ReplayRequest
from training.workload import filler_text


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """A made-up request: prompt words (about a token each) and tokens to generate."""

    prompt: str
    output_tokens: int


def replay_of(round_: Sequence[ProfileRequest]) -> list[ReplayRequest]:
    """A round as a client sends it: all at once, answers forced to their lengths."""
    return [
        ReplayRequest(
            request_id=f"profile-{number}",
            arrival_s=0.0,
            prompt=made_up.prompt,
            slo_class="profile",
            prompt_tokens=0,
            recorded_tokens=made_up.output_tokens,
            max_tokens=made_up.output_tokens,
            state_length=True,
        )
        for number, made_up in enumerate(round_)
    ]


def profile_rounds(max_num_seqs: int) -> list[list[ProfileRequest]]:
    """Rounds to send one after the other, each all at once: few and many, short and long.

    They let the latency model see decode steps at several batch sizes and prefills of several
    lengths, and they warm the engine up; every policy's engine gets the same ones. About ten
    seconds on two CPU cores.
    """
    sizes = sorted({1, max(max_num_seqs // 4, 1), max_num_seqs})
    lengths = (16, 256, 64, 512, 128)
    return [
        [
            ProfileRequest(filler_text(lengths[(number + size) % len(lengths)]), 8 + 2 * number)
            for number in range(size)
        ]
        for size in sizes
    ]
