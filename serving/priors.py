"""What to expect of a request that brought no forecast: the lengths its class showed so far."""

from collections import defaultdict, deque

import numpy as np

from predictor.distribution import LengthDistribution, log_edges

# Answers remembered per class, and how many make a better forecast than knowing nothing.
_WINDOW = 512
_ENOUGH = 32
_REBUILD_EVERY = 32
# Flat priors kept, one for each limit that was asked for.
_MOST_LIMITS = 1024


class ClassPriors:
    """Length forecasts by SLO class, learned from finished requests.

    Until a class has shown enough answers its prior is flat over log-spaced bins up to
    ``max_tokens``: short and long answers are equally likely on a log scale.
    """

    def __init__(self) -> None:
        self._seen: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=_WINDOW))
        self._counts: dict[str, int] = defaultdict(int)
        self._learned: dict[str, LengthDistribution] = {}
        self._flat: dict[int, LengthDistribution] = {}

    @property
    def learned(self) -> bool:
        """Whether any class has shown enough answers."""
        return bool(self._learned)

    def observe(self, slo_class: str, output_tokens: int) -> None:
        """Remember one finished answer."""
        if output_tokens < 1:
            return
        self._seen[slo_class].append(output_tokens)
        self._counts[slo_class] += 1
        if self._counts[slo_class] >= _ENOUGH and self._counts[slo_class] % _REBUILD_EVERY == 0:
            samples = list(self._seen[slo_class])
            self._learned[slo_class] = LengthDistribution.from_samples(samples, edges=log_edges())

    def prior(self, slo_class: str, max_tokens: int) -> LengthDistribution:
        """Return the forecast for a request of this class."""
        learned = self._learned.get(slo_class)
        if learned is not None:
            return learned.truncated(max_tokens)
        flat = self._flat.get(max_tokens)
        if flat is None:
            if len(self._flat) >= _MOST_LIMITS:
                self._flat.clear()  # clients name whatever limits they like
            edges = log_edges(max_tokens=max(max_tokens, 2), bins=32)
            chances = np.full(len(edges) - 1, 1.0 / (len(edges) - 1))
            # Another thread may clear the rest at any moment.
            flat = self._flat[max_tokens] = LengthDistribution(edges=edges, probabilities=chances)
        return flat
