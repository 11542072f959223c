"""What bounds the length of one output whatever its text: limits of the request and the engine."""

from dataclasses import dataclass

from predictor.distribution import LengthDistribution


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLimits:
    """Limits of one output in tokens, as vLLM applies them.

    ``max_tokens``: where the engine cuts it, ``None`` if that is not known. ``min_tokens``: nothing
    ends it before. ``ignore_eos``: the model's end of text does not end it. ``stops``: stop strings
    or stop token ids may end it.
    """

    max_tokens: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    stops: bool = False

    @property
    def forced_tokens(self) -> int | None:
        """The only possible length, ``None`` where several are possible."""
        if self.max_tokens is None:
            return None
        without_end = self.ignore_eos and not self.stops
        return self.max_tokens if without_end or self.min_tokens >= self.max_tokens else None

    @property
    def natural(self) -> bool:
        """Whether the model may end the output where it wants to.

        Only then does the length say anything about the predictor, or about later outputs.
        """
        return not self.ignore_eos and self.min_tokens <= 1

    def condition(self, lengths: LengthDistribution) -> LengthDistribution:
        """The forecast ``lengths`` of the text, given these limits. Exact; O(bins)."""
        forced = self.forced_tokens
        if forced is not None:
            return LengthDistribution.point(forced)
        if self.min_tokens > 1:
            lengths = lengths.at_least(self.min_tokens)
        return lengths if self.max_tokens is None else lengths.truncated(self.max_tokens)
