"""How many tokens an answer may have: a discrete distribution on bins of whole numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictor.errors import DistributionError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_TOKENS = 2**40
MAX_BINS = 4096
_SUM_TOLERANCE = 1e-6
_EXACT_SUM = 1e-12
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class LengthDistribution:
    """P(answer has n tokens): bin b holds ``edges[b] < n <= edges[b + 1]``, uniform inside.

    ``edges`` is int64[B + 1], strictly rising from >= 0, in tokens; ``probabilities`` is
    float64[B] and sums to one. Both are copied and read-only. ``cumulative`` is
    float64[B + 1], the CDF at the edges; between them the CDF is linear, and exact at every
    whole number. Building one, and each method unless it says otherwise, costs O(B).
    """

    edges: Ints
    probabilities: Floats
    cumulative: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        edges = _checked_edges(self.edges)
        probabilities = _checked_probabilities(self.probabilities, len(edges) - 1)
        cumulative = np.zeros(len(edges))
        np.cumsum(probabilities, out=cumulative[1:])
        np.minimum(cumulative, 1.0, out=cumulative)
        cumulative[-1] = 1.0
        for name, values in zip(self.__slots__, (edges, probabilities, cumulative), strict=True):
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    @classmethod
    def point(cls, tokens: int) -> Self:
        """All mass on one length, at least one token."""
        if tokens < 1:
            raise DistributionError(f"length {tokens}: an answer has at least one token")
        return cls(np.array([tokens - 1, tokens]), np.ones(1))

    @classmethod
    def from_samples(cls, samples: ArrayLike, *, edges: ArrayLike | None = None) -> Self:
        """Share of the samples (tokens, any shape) in each bin; zero-token samples count as one.

        Without ``edges``: :func:`log_edges`, with one bin more where a sample lies beyond.
        Samples outside given ``edges`` count in the first or last bin. O(samples * log B).
        """
        lengths = _checked_samples(samples)
        bounds = _edges_reaching(int(lengths.max())) if edges is None else _checked_edges(edges)
        bins = len(bounds) - 1
        index = np.clip(np.searchsorted(bounds, lengths, side="left") - 1, 0, bins - 1)
        return cls(bounds, np.bincount(index, minlength=bins) / lengths.size)

    @classmethod
    def from_cdf(cls, edges: ArrayLike, cdf: ArrayLike) -> Self:
        """From the CDF at the edges (float[B + 1], rising from 0 to 1)."""
        values = _as_floats(cdf, "cdf")
        if values.ndim != 1 or values.size < 2:
            raise DistributionError(f"cdf of shape {values.shape}: give one value per edge")
        if abs(values[0]) > _SUM_TOLERANCE:
            raise DistributionError(f"cdf starts at {values[0]}: it must be 0 at the first edge")
        return cls(np.asarray(edges), np.diff(values))

    @property
    def bins(self) -> int:
        """B."""
        return int(self.probabilities.size)

    @property
    def mean(self) -> float:
        """Tokens."""
        return float(self.probabilities @ self._bin_means())

    @property
    def variance(self) -> float:
        """Tokens squared."""
        width = np.diff(self.edges).astype(np.float64)
        spread = (self._bin_means() - self.mean) ** 2 + (width**2 - 1.0) / 12.0
        return float(self.probabilities @ spread)

    @property
    def std(self) -> float:
        """Tokens."""
        return float(np.sqrt(self.variance))

    def cdf(self, tokens: ArrayLike) -> Floats:
        """P(L <= tokens), in the shape of ``tokens``; O(log B) each."""
        return np.asarray(
            np.interp(np.asarray(tokens, dtype=np.float64), self.edges, self.cumulative),
            dtype=np.float64,
        )

    def survival(self, tokens: ArrayLike) -> Floats:
        """P(L > tokens), in the shape of ``tokens``, accurate far in the tail as well."""
        return np.asarray(
            np.interp(np.asarray(tokens, dtype=np.float64), self.edges, self._tail()),
            dtype=np.float64,
        )

    def quantile(self, q: float) -> int:
        """Smallest whole number n with ``cdf(n) >= q`` up to rounding (1e-12)."""
        return int(self.quantiles(q))

    def quantiles(self, q: ArrayLike) -> Ints:
        """:meth:`quantile` of each level, in the shape of ``q``; O(log B) each."""
        levels = _as_floats(q, "quantile level")
        if levels.size and not (levels.min() >= 0.0 and levels.max() <= 1.0):
            raise DistributionError(f"quantile levels {levels}: give levels between 0 and 1")
        return self._inverse(np.maximum(levels, _ROUNDING))

    def remaining(self, generated: int) -> Self:
        """Exact distribution of ``L - generated`` given ``L > generated``.

        Where that cannot happen (survival 0, the forecast was too short) it is ``point(1)``:
        the engine has not stopped, so at least one token is still to come.
        """
        if generated < 0:
            raise DistributionError(f"generated {generated}: the count of tokens is negative")
        if generated == 0:
            return self
        first = max(int(np.searchsorted(self.edges, generated, side="right")) - 1, 0)
        if first >= self.bins:
            return self.point(1)
        mass = self.probabilities[first:].copy()
        edges = self.edges[first:] - generated
        if edges[0] < 0:
            mass[0] *= edges[1] / (edges[1] - edges[0])
            edges[0] = 0
        total = float(mass.sum())
        if total < np.finfo(np.float64).tiny:
            return self.point(1)
        return type(self)(edges, mass / total)

    def truncated(self, max_tokens: int) -> Self:
        """Exact distribution of ``min(L, max_tokens)``; what lies beyond falls on the limit."""
        if max_tokens < 1:
            raise DistributionError(f"max_tokens {max_tokens}: it must be at least 1")
        if max_tokens >= self.edges[-1]:
            return self
        if self.edges[0] >= max_tokens - 1:
            return self.point(max_tokens)
        edges = np.append(self.edges[self.edges < max_tokens - 1], [max_tokens - 1, max_tokens])
        mass = np.empty(len(edges) - 1)
        mass[:-2] = self.probabilities[: len(mass) - 2]
        mass[-2] = self.cdf(max_tokens - 1) - self.cumulative[len(mass) - 2]
        mass[-1] = self.survival(max_tokens - 1)
        return type(self)(edges, np.maximum(mass, 0.0))

    def at_least(self, tokens: int) -> Self:
        """Exact distribution of L given ``L >= tokens``; ``point(tokens)`` where that cannot be."""
        if tokens < 1:
            raise DistributionError(f"at least {tokens} tokens: give a positive number")
        rest = self.remaining(tokens - 1)
        return type(self)(rest.edges + (tokens - 1), rest.probabilities)

    def below(self, limit: int) -> Self:
        """Exact distribution of L given ``L <= limit``; ``point(limit)`` where that cannot be."""
        if limit < 1:
            raise DistributionError(f"limit {limit}: it must be at least 1")
        if limit >= self.edges[-1]:
            return self
        share = float(self.cdf(limit))
        if share < _SUM_TOLERANCE:
            return type(self).point(limit)
        edges = np.append(self.edges[self.edges < limit], limit)
        cdf = np.append(self.cumulative[: len(edges) - 1], share) / share
        return type(self)(edges, np.diff(cdf))

    def atoms(self, count: int) -> Floats:
        """``count`` equally likely whole lengths, the quantiles at (i + 0.5) / count."""
        if count < 1:
            raise DistributionError(f"{count} atoms: ask for at least one")
        levels = (np.arange(count) + 0.5) / count
        return self.quantiles(levels).astype(np.float64)

    def crps(self, actual: ArrayLike) -> Floats:
        """Continuous ranked probability score in tokens, in the shape of ``actual``.

        Sum over whole n of ``(cdf(n) - [n >= actual])^2`` for whole ``actual``, which is
        ``E|L - actual| - E|L - L'| / 2``, in closed form: O(B + actual.size * log B).
        """
        values = np.asarray(actual, dtype=np.int64)
        lowest, highest = int(self.edges[0]), int(self.edges[-1])
        inside = np.clip(values, lowest, highest)
        below, above = self._squared_sums(inside)
        outside = np.abs(values - inside).astype(np.float64)
        return np.asarray(below + above + outside, dtype=np.float64)

    def sample(self, rng: np.random.Generator, size: int | None = None) -> Ints:
        """Draw lengths, int64[size] or one (0-d) without ``size``; one uniform draw each."""
        return self._inverse(np.maximum(np.asarray(rng.random(size)), _ROUNDING))

    def trimmed(self) -> Self:
        """The same without empty bins at either end."""
        filled = np.flatnonzero(self.probabilities)
        first, last = int(filled[0]), int(filled[-1]) + 1
        if first == 0 and last == self.bins:
            return self
        return type(self)(self.edges[first : last + 1], self.probabilities[first:last])

    def equal(self, other: "LengthDistribution") -> bool:
        """Whether both have the same bins and probabilities (1e-12), empty ends aside."""
        mine, theirs = self.trimmed(), other.trimmed()
        return np.array_equal(mine.edges, theirs.edges) and np.allclose(
            mine.probabilities, theirs.probabilities, rtol=0.0, atol=_EXACT_SUM
        )

    def to_floats(self) -> list[float]:
        """Flat transport: the B + 1 edges, then the B probabilities, empty ends dropped."""
        compact = self.trimmed()
        return [*map(float, compact.edges), *compact.probabilities.tolist()]

    @classmethod
    def from_floats(cls, values: Sequence[float]) -> Self:
        """Inverse of :meth:`to_floats` for data from outside: everything is checked."""
        numbers = _checked_transport(values)
        bins = len(numbers) // 2
        return cls(np.array(numbers[: bins + 1]), np.array(numbers[bins + 1 :]))

    def _bin_means(self) -> Floats:
        return (self.edges[:-1] + self.edges[1:] + 1) / 2.0

    def _tail(self) -> Floats:
        tail = np.zeros(self.bins + 1)
        np.cumsum(self.probabilities[::-1], out=tail[-2::-1])
        return np.minimum(tail, 1.0)

    def _inverse(self, levels: Floats) -> Ints:
        """int64 in the shape of ``levels``, each in (0, 1]."""
        wanted = levels * (1.0 - _ROUNDING)
        bin_of = np.searchsorted(self.cumulative[1:], wanted, side="left")
        low, high = self.edges[bin_of], self.edges[bin_of + 1]
        share = (levels - self.cumulative[bin_of]) / self.probabilities[bin_of]
        steps = np.ceil(share * (high - low) - 1e-9).astype(np.int64)
        return np.asarray(np.clip(low + steps, low + 1, high), dtype=np.int64)

    def _squared_sums(self, inside: Ints) -> tuple[Floats, Floats]:
        """Sum of cdf(n)^2 over n < actual, and of survival(n)^2 over n >= actual."""
        width = np.diff(self.edges)
        slope = self.probabilities / width
        tail = self._tail()
        below = np.append(0.0, np.cumsum(_squares(self.cumulative[:-1], slope, width)))
        above = np.append(np.cumsum(_squares(tail[:-1], -slope, width)[::-1])[::-1], 0.0)
        bin_of = np.minimum(np.searchsorted(self.edges, inside, side="right") - 1, self.bins - 1)
        steps = inside - self.edges[bin_of]
        partial = _squares(self.cumulative[bin_of], slope[bin_of], steps)
        passed = _squares(tail[bin_of], -slope[bin_of], steps)
        return below[bin_of] + partial, above[bin_of] - passed


def log_edges(max_tokens: int = 16384, bins: int = 64) -> Ints:
    """int64[min(bins, max_tokens) + 1]: 0, 1, 2, ... then ever wider steps up to max_tokens."""
    if max_tokens < 1 or bins < 1:
        raise DistributionError(f"{bins} bins up to {max_tokens} tokens: both must be positive")
    if bins >= max_tokens:
        return np.arange(max_tokens + 1, dtype=np.int64)
    edges = [0] if bins == 1 else [0, 1]
    for left in range(bins + 1 - len(edges), 0, -1):
        last = max(edges[-1], 1)
        step = last * (max_tokens / last) ** (1.0 / left)
        edges.append(max(edges[-1] + 1, round(step)))
    return np.array(edges, dtype=np.int64)


def mixture(distributions: Sequence[LengthDistribution]) -> LengthDistribution:
    """One of these, each as likely as the others: exact, on all their edges. O(n * B log B)."""
    if not distributions:
        raise DistributionError("a mixture of nothing: give at least one distribution")
    if len(distributions) == 1:
        return distributions[0]
    edges = np.unique(np.concatenate([each.edges for each in distributions]))
    cdf = np.mean([each.cdf(edges) for each in distributions], axis=0)
    return LengthDistribution.from_cdf(edges, cdf)


def stack(distributions: Sequence[LengthDistribution], bins: int) -> tuple[Floats, Floats]:
    """Edges and CDF as rows, float64[n, bins + 1] each, for the scheduler's length table.

    Shorter rows repeat their last edge with CDF 1; longer ones lose evenly spread inner edges,
    which merges neighbouring bins and leaves the CDF exact at the edges kept. O(n * bins).
    """
    if bins < 1:
        raise DistributionError(f"{bins} bins: a row needs at least one")
    edges = np.empty((len(distributions), bins + 1))
    cdf = np.ones((len(distributions), bins + 1))
    for row, distribution in enumerate(distributions):
        kept = _kept_edges(distribution.bins, bins)
        edges[row] = distribution.edges[-1]
        edges[row, : len(kept)] = distribution.edges[kept]
        cdf[row, : len(kept)] = distribution.cumulative[kept]
    return edges, cdf


def _kept_edges(have: int, want: int) -> Ints:
    if have <= want:
        return np.arange(have + 1, dtype=np.int64)
    return np.rint(np.linspace(0, have, want + 1)).astype(np.int64)


def _squares(start: Floats, slope: Floats, count: Ints) -> Floats:
    """Sum over i < count of (start + slope * i)^2, elementwise."""
    n = count.astype(np.float64)
    linear = n * (n - 1.0)
    return n * start**2 + start * slope * linear + slope**2 * linear * (2.0 * n - 1.0) / 6.0


def _as_floats(values: ArrayLike, what: str) -> Floats:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DistributionError(f"{what}: {error}; give numbers only") from error
    if not np.isfinite(numbers).all():
        raise DistributionError(f"{what} holds nan or inf; give finite numbers")
    return numbers


def _checked_edges(edges: ArrayLike) -> Ints:
    numbers = _as_floats(edges, "edges")
    if numbers.ndim != 1 or not 2 <= numbers.size <= MAX_BINS + 1:
        raise DistributionError(
            f"edges of shape {numbers.shape}: give 2 to {MAX_BINS + 1} edges in one dimension"
        )
    if numbers.min() < 0 or numbers.max() > MAX_TOKENS:
        raise DistributionError(
            f"edges from {numbers.min()} to {numbers.max()}: they must lie in 0..{MAX_TOKENS}"
        )
    whole = numbers.astype(np.int64)
    if not (whole == numbers).all() or not (whole[1:] > whole[:-1]).all():
        raise DistributionError("edges must be whole numbers that strictly rise")
    return whole


def _checked_probabilities(probabilities: ArrayLike, bins: int) -> Floats:
    numbers = np.array(_as_floats(probabilities, "probabilities"))
    if numbers.shape != (bins,):
        raise DistributionError(
            f"probabilities of shape {numbers.shape}: {bins} bins need exactly {bins}"
        )
    if numbers.min() < 0.0:
        raise DistributionError(f"probability {numbers.min()} is negative")
    total = float(numbers.sum())
    if abs(total - 1.0) > _SUM_TOLERANCE:
        raise DistributionError(f"probabilities sum to {total}: they must sum to 1")
    return numbers if abs(total - 1.0) <= _EXACT_SUM else numbers / total


def _checked_samples(samples: ArrayLike) -> Floats:
    lengths = _as_floats(samples, "samples").ravel()
    if not lengths.size:
        raise DistributionError("no samples: a distribution needs at least one")
    if lengths.min() < 0.0 or lengths.max() > MAX_TOKENS:
        raise DistributionError(f"samples must lie in 0..{MAX_TOKENS} tokens")
    return np.maximum(lengths, 1.0)


def _edges_reaching(longest: int) -> Ints:
    edges = log_edges()
    return edges if longest <= edges[-1] else np.append(edges, longest)


def _checked_transport(values: Sequence[float]) -> list[float]:
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise DistributionError(
            f"{type(values).__name__} is no distribution: give a flat list of numbers"
        )
    if len(values) % 2 == 0 or not 3 <= len(values) <= 2 * MAX_BINS + 1:
        raise DistributionError(
            f"{len(values)} numbers are no distribution: give B + 1 edges, then B probabilities"
        )
    if not set(map(type, values)) <= {int, float}:
        raise DistributionError("a distribution's flat list must hold numbers only")
    return list(values)
