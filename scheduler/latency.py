"""How long one engine step takes: the paper's prefill and decode models on one step's batch."""

from dataclasses import dataclass

@dataclass(frozen=True, slots=True)
class StepLatency:
    """PLACEHOLDER, being written: coefficients of the step-time model (arXiv 2504.14966, section 4).

    prefill(b, l) = a1*b*l + a2*b + a3*l + a4      one step that prefills b prompts of mean length l
    decode(b, l)  = d1*b*l + d2*b + d3*l + d4      one step that decodes b sequences of mean context l
    """

    prefill: tuple[float, float, float, float]
    decode: tuple[float, float, float, float]
