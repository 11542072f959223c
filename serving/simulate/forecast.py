"""What a simulated policy is told about the lengths of answers."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from scipy.special import ndtr

from predictor.distribution import LengthDistribution, log_edges
from predictor.errors import InputError
from serving.priors import ClassPriors

_BINS = 48

# Where the forecasts of an engine that knows nothing end.
_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Length:
    """A request as far as its length goes."""

    slo_class: str
    output_tokens: int


@dataclass(frozen=True, slots=True)
class ForecastKind:
    """``oracle``, ``history``, ``predicted`` or ``noise:SIGMA``."""

    name: str
    sigma: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "ForecastKind":
        """Read it; raises ``InputError``."""
        name, _, sigma = text.partition(":")
        if name in ("oracle", "history", "predicted") and not sigma:
            return cls(name)
        try:
            if name == "noise" and 0 <= float(sigma) < inf:
                return cls(name, float(sigma))
        except ValueError:
            pass
        raise InputError(
            f"forecast {text!r} is not known: use oracle, history, predicted or noise:SIGMA "
            "with SIGMA >= 0"
        )


def from_history(lengths: Sequence[Length]) -> list[LengthDistribution]:
    """What its class showed before each request: an engine without a predictor."""
    priors = ClassPriors()
    told = []
    for length in lengths:
        told.append(priors.prior(length.slo_class, _LONGEST))
        priors.observe(length.slo_class, length.output_tokens)
    return told


def from_noise(
    lengths: Sequence[Length], sigma: float, rng: np.random.Generator
) -> list[LengthDistribution]:
    """Forecasts of one who sees log length plus Gaussian noise, and knows both distributions.

    The posterior given the noisy sight and the log-normal of the class: exactly calibrated
    where lengths are log-normal. Sigma 0 is the truth.
    """
    if sigma == 0:
        return [LengthDistribution.point(length.output_tokens) for length in lengths]
    edges = log_edges(2 * max(length.output_tokens for length in lengths), _BINS)
    logs: dict[str, list[float]] = defaultdict(list)
    for length in lengths:
        logs[length.slo_class].append(np.log(length.output_tokens))
    classes = {name: (float(np.mean(x)), float(np.std(x)) + 1e-3) for name, x in logs.items()}
    return [
        _posterior(np.log(length.output_tokens), *classes[length.slo_class], sigma, edges, rng)
        for length in lengths
    ]


def _posterior(
    log_length: float,
    mean: float,
    spread: float,
    sigma: float,
    edges: np.ndarray[tuple[int], np.dtype[np.int64]],
    rng: np.random.Generator,
) -> LengthDistribution:
    trust = spread**2 / (spread**2 + sigma**2)
    seen = log_length + sigma * rng.normal()
    centre, width = mean + trust * (seen - mean), spread * np.sqrt(max(1 - trust, 1e-6))
    cdf = ndtr((np.log(np.maximum(edges, 1e-3)) - centre) / width)
    cdf[0], cdf[-1] = 0.0, 1.0
    return LengthDistribution.from_cdf(edges, np.maximum.accumulate(cdf))
