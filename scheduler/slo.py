"""Service-level objectives: what a request was promised."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slo:
    """Targets of one request in seconds; ``None`` means that nothing was promised.

    A request is met when every target it has is met (arXiv 2504.14966, section 3: either
    ``e2e_s`` alone, or ``ttft_s`` together with ``tpot_s``; any other mix works the same way).
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("ttft_s", "tpot_s", "e2e_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}: an SLO target must be a positive time")

    @property
    def empty(self) -> bool:
        """Whether nothing was promised; such a request never counts towards attainment."""
        return self.ttft_s is None and self.tpot_s is None and self.e2e_s is None

    def over(self, other: "Slo") -> "Slo":
        """These targets, and those of ``other`` where one is left out here."""
        return Slo(
            ttft_s=other.ttft_s if self.ttft_s is None else self.ttft_s,
            tpot_s=other.tpot_s if self.tpot_s is None else self.tpot_s,
            e2e_s=other.e2e_s if self.e2e_s is None else self.e2e_s,
        )

    def met(self, *, ttft_s: float, tpot_s: float, e2e_s: float) -> bool:
        """Whether the measured latencies keep every target."""
        return (
            (self.ttft_s is None or ttft_s <= self.ttft_s)
            and (self.tpot_s is None or tpot_s <= self.tpot_s)
            and (self.e2e_s is None or e2e_s <= self.e2e_s)
        )


@dataclass(frozen=True, slots=True)
class SloClass:
    """A named class of requests with a common promise.

    ``priority`` follows vLLM: under the policy ``priority`` a lower number is served earlier.
    ``sheddable``: a request that waits may be refused once nothing can keep its promise any more.
    """

    name: str
    slo: Slo
    priority: int = 0
    sheddable: bool = False


def tpot_s(*, e2e_s: float, ttft_s: float, output_tokens: int) -> float:
    """Mean time per output token after the first: (e2e - ttft) / (n - 1), 0 for n <= 1."""
    return (e2e_s - ttft_s) / (output_tokens - 1) if output_tokens > 1 else 0.0
