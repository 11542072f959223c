"""A request as a trace knows it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimedLength:
    """When it came, of which class, and its lengths; ``prompt`` where its text is known."""

    request_id: str
    arrival_s: float
    slo_class: str
    prompt_tokens: int
    output_tokens: int
    prompt: str | None = None
