"""One finished request: what was predicted and what came."""

import math
from dataclasses import dataclass, replace

from predictor.distribution import LengthDistribution
from scheduler.slo import Slo


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """``at_s`` is Unix time; ``lengths`` the predicted distribution as flat floats.

    ``output_tokens`` are those of all ``answers`` together; of several the single lengths are
    not known, so there is no TPOT, and nothing is said of how well they were predicted.
    ``met`` is ``None`` for a request that was promised nothing. ``pit`` is the probability
    integral transform, the predicted chance of a shorter answer (half of an equal one): uniform
    over 0..1 if forecasts are calibrated. ``natural``: the model chose the length; one that the
    request forced has no ``pit`` and teaches nothing. ``replica`` is the rank of the
    engine in a fleet.
    """

    id: str
    at_s: float
    slo_class: str
    output_tokens: int
    answers: int = 1
    llm: str | None = None
    input_tokens: int | None = None
    lengths: tuple[float, ...] | None = None
    predicted_mean: float | None = None
    predicted_median: float | None = None
    pit: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    met: bool | None = None
    violated: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    source: str | None = None
    prompt: str | None = None
    replica: int | None = None
    natural: bool = True

    @property
    def teaches_length(self) -> bool:
        """Whether it says how long outputs are: one output, ended by the model."""
        return self.answers == 1 and self.natural


def pit(lengths: LengthDistribution, tokens: int) -> float:
    """Chance of fewer tokens than came, plus half the chance of just as many."""
    value = float(lengths.cdf(tokens - 0.5))
    return value if math.isfinite(value) else 0.0


def judged(
    slo: Slo, ttft_s: float | None, tpot: float | None, e2e_s: float | None, *, answers: int = 1
) -> tuple[bool | None, str | None]:
    """Whether the promise was kept, and which targets were missed; a time not told is a miss.

    Several answers have no TPOT that could be measured, so none is asked of them.
    """
    if answers > 1:
        slo = replace(slo, tpot_s=None)
    if slo.empty or (ttft_s is None and e2e_s is None):
        return None, None
    pairs = (("ttft", slo.ttft_s, ttft_s), ("tpot", slo.tpot_s, tpot), ("e2e", slo.e2e_s, e2e_s))
    missed = [
        kind
        for kind, target, measured in pairs
        if target is not None and (math.inf if measured is None else measured) > target
    ]
    return not missed, " ".join(missed) or None
