"""One prediction as servers hand it out: a JSON object, encoded where it was made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import orjson

from predictor.distribution import LengthDistribution, stack
from predictor.output_limits import OutputLimits

Source = Literal["model", "prior"]

QUANTILE_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_LEVEL_NAMES = tuple(f"{level:g}" for level in QUANTILE_LEVELS)

# Bins of the compact distribution; finer forecasts lose inner edges, the CDF at the others is
# exact.
COMPACT_BINS = 32
# So far off one may be that 32 of them still sum to one as `from_floats` wants it.
_DECIMALS = 8


@dataclass(frozen=True, slots=True)
class Forecast:
    """``osl`` is the mean rounded, in tokens; ``document`` the JSON object without its source."""

    osl: int
    document: bytes
    source: Source = "model"

    @classmethod
    def of(cls, lengths: LengthDistribution, source: Source = "model") -> "Forecast":
        """Encode one distribution. Cost: about 60 us."""
        mean = lengths.mean
        osl = max(round(mean), 1)
        content = {
            "osl": osl,
            "mean": round(mean, 2),
            "quantiles": dict(
                zip(_LEVEL_NAMES, lengths.quantiles(QUANTILE_LEVELS).tolist(), strict=True)
            ),
            "lengths": compact(lengths),
        }
        return cls(osl=osl, document=orjson.dumps(content), source=source)

    @property
    def lengths(self) -> LengthDistribution:
        """The compact distribution."""
        return LengthDistribution.from_floats(orjson.loads(self.document)["lengths"])

    def within(self, limits: OutputLimits) -> "Forecast":
        """Conditioned on what a request says of its own length; the predictor cut it already."""
        if limits.natural:
            return self
        return Forecast.of(limits.condition(self.lengths), self.source)

    def encoded(self, extra: bytes = b"") -> bytes:
        """The JSON object with its ``source``; ``extra`` holds further members, encoded."""
        tail = b',"source":"' + self.source.encode() + b'"'
        return self.document[:-1] + tail + extra + b"}"


def compact(lengths: LengthDistribution) -> list[float]:
    """The edges, then the probabilities: :meth:`LengthDistribution.to_floats` with few bins."""
    trimmed = lengths.trimmed()
    if trimmed.bins > COMPACT_BINS:
        edges, cdf = stack([trimmed], COMPACT_BINS)
        bounds, probabilities = edges[0], np.diff(cdf[0])
    else:
        bounds, probabilities = trimmed.edges.astype(np.float64), trimmed.probabilities
    return [*map(int, bounds.tolist()), *probabilities.round(_DECIMALS).tolist()]


def encode_all(lengths: Sequence[LengthDistribution]) -> list[Forecast]:
    """:meth:`Forecast.of` each."""
    return [Forecast.of(each) for each in lengths]
