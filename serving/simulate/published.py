"""The five workloads on which SlidingServe was published (arXiv 2606.05933, section 5).

Prompt and answer lengths are drawn to the published means and 90th percentiles, arrivals are
Poisson. A chat request was promised its first token within 5 times what that takes alone and
a token every 40 ms, a summary 10 times and 80 ms.
"""

from dataclasses import dataclass

import numpy as np

from scheduler.slo import Slo
from scheduler.snapshot import Floats, Ints
from serving.simulate.timed_length import TimedLength

# Where a log-normal cannot have so far a tail: this share of long ones, with this spread.
_LONG_SHARE, _LONG_SIGMA = 0.13, 0.15
_SHORT_SIGMA = 0.9
_Z90 = 1.2815515655446004
# A sequence of the model ends here.
_MOST_TOKENS = 16_384


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens with so high a ``mean`` and 90th percentile."""

    mean: float
    p90: float

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        """int64[count], log-normal where that fits, else short ones and a few long ones."""
        room = _Z90**2 - 2 * np.log(self.p90 / self.mean)
        if room >= 0:
            sigma = _Z90 - np.sqrt(room)
            drawn = _log_normal(self.mean, sigma, count, rng)
        else:
            drawn = self._mixture(count, rng)
        return np.clip(np.rint(drawn), 1, _MOST_TOKENS).astype(np.int64)

    def _mixture(self, count: int, rng: np.random.Generator) -> Floats:
        # 0.1 of 0.13 lie above the 90th percentile: the 23rd percentile of the long ones.
        long_median = self.p90 * np.exp(_LONG_SIGMA * 0.7363)
        long_mean = long_median * np.exp(_LONG_SIGMA**2 / 2)
        short_mean = (self.mean - _LONG_SHARE * long_mean) / (1 - _LONG_SHARE)
        short = _log_normal(short_mean, _SHORT_SIGMA, count, rng)
        long = _log_normal(long_mean, _LONG_SIGMA, count, rng)
        return np.where(rng.random(count) < _LONG_SHARE, long, short)


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests of one sort, and what they were promised."""

    slo_class: str
    prompt: Lengths
    answer: Lengths
    ttft_slowdown: float
    tpot_s: float

    def slo(self, alone_s: float) -> Slo:
        """The promise to a request whose first token takes ``alone_s`` on an idle engine."""
        return Slo(ttft_s=self.ttft_slowdown * alone_s, tpot_s=self.tpot_s)


_CHAT = Kind("chat", Lengths(357, 1724), Lengths(89, 184), 5.0, 0.040)
_ARXIV_V1 = Kind("summary", Lengths(3253, 4382), Lengths(356, 542), 10.0, 0.080)
_ARXIV_V2 = Kind("summary", Lengths(6267, 7567), Lengths(423, 623), 10.0, 0.080)

# Kinds and how many of each among so many requests.
_MIXES: dict[str, tuple[tuple[Kind, int], ...]] = {
    "sharegpt": ((_CHAT, 1),),
    "arxiv-v1": ((_ARXIV_V1, 1),),
    "arxiv-v2": ((_ARXIV_V2, 1),),
    "mixed-v1": ((_CHAT, 3), (_ARXIV_V1, 1)),
    "mixed-v2": ((_CHAT, 5), (_ARXIV_V2, 1)),
}


def published_names() -> tuple[str, ...]:
    """All five."""
    return tuple(_MIXES)


def kinds(name: str) -> dict[str, Kind]:
    """The kinds of requests in a workload, by class."""
    return {kind.slo_class: kind for kind, _ in _MIXES[name]}


def published_rows(name: str, *, arrivals_s: Floats, seed: int) -> list[TimedLength]:
    """Requests that arrive at ``arrivals_s``, float64[n]."""
    rng = np.random.default_rng((seed, 2))
    mix = _MIXES[name]
    shares = np.array([share for _, share in mix], dtype=np.float64)
    chosen = rng.choice(len(mix), len(arrivals_s), p=shares / shares.sum())
    prompts = np.array([kind.prompt.draw(len(chosen), rng) for kind, _ in mix])
    answers = np.array([kind.answer.draw(len(chosen), rng) for kind, _ in mix])
    return [
        TimedLength(
            f"{mix[k][0].slo_class}-{i}",
            float(at_s),
            mix[k][0].slo_class,
            int(prompts[k, i]),
            int(answers[k, i]),
        )
        for i, (at_s, k) in enumerate(zip(arrivals_s, chosen, strict=True))
    ]


def poisson(rate: float, count: int, seed: int) -> Floats:
    """float64[count]: arrival times at ``rate`` a second."""
    return np.cumsum(np.random.default_rng((seed, 3)).exponential(1 / rate, count))


def _log_normal(mean: float, sigma: float, count: int, rng: np.random.Generator) -> Floats:
    return rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, count)
