"""How long one engine step takes: the paper's two linear models, and their fit to a live engine.

Model: arXiv 2504.14966, section 4. Fit: recursive robust least squares, coefficients >= 0.
"""

from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Self, overload

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]
Coefficients = tuple[float, float, float, float]

# One step as it is fitted: four prefill features, four decode features, seconds.
_WIDTH = 9


@dataclass(frozen=True, slots=True)
class StepLatency:
    """Coefficients of the step-time model, all >= 0, in seconds per unit (section 4).

    prefill(b, l) = a1*b*l + a2*b + a3*l + a4    one step that prefills b prompts of mean length l
    decode(b, l)  = d1*b*l + d2*b + d3*l + d4    one step that decodes b sequences of mean context l

    No sequence costs no time. All methods take numbers or arrays that broadcast; O(1) each.
    """

    prefill: Coefficients
    decode: Coefficients

    def __post_init__(self) -> None:
        for name in ("prefill", "decode"):
            values = getattr(self, name)
            if len(values) != 4 or not all(isfinite(value) and value >= 0 for value in values):
                raise ValueError(f"{name} is {values}: four finite coefficients >= 0 are needed")

    @overload
    def prefill_s(self, count: float, mean_tokens: float) -> float: ...
    @overload
    def prefill_s(self, count: ArrayLike, mean_tokens: ArrayLike) -> Floats: ...
    def prefill_s(self, count: Any, mean_tokens: Any) -> Any:
        """Seconds of one step that prefills ``count`` prompts of ``mean_tokens`` each."""
        a1, a2, a3, a4 = self.prefill
        return (count > 0) * ((a1 * count + a3) * mean_tokens + a2 * count + a4)

    @overload
    def decode_s(self, count: float, mean_context: float) -> float: ...
    @overload
    def decode_s(self, count: ArrayLike, mean_context: ArrayLike) -> Floats: ...
    def decode_s(self, count: Any, mean_context: Any) -> Any:
        """Seconds of one step that decodes ``count`` sequences over ``mean_context`` each."""
        d1, d2, d3, d4 = self.decode
        return (count > 0) * ((d1 * count + d3) * mean_context + d2 * count + d4)

    @overload
    def step_s(
        self, prefills: float, prefill_tokens: float, decodes: float, context_tokens: float
    ) -> float: ...
    @overload
    def step_s(
        self,
        prefills: ArrayLike,
        prefill_tokens: ArrayLike,
        decodes: ArrayLike,
        context_tokens: ArrayLike,
    ) -> Floats: ...
    def step_s(self, prefills: Any, prefill_tokens: Any, decodes: Any, context_tokens: Any) -> Any:
        """Seconds of one chunked-prefill step; tokens are totals over the step's requests.

        The decode part plus the prefill part; the constant that both hold (launching the step,
        reading the weights) is paid once: the larger of ``a4`` and ``d4``.
        """
        mean_tokens = prefill_tokens / (prefills + (prefills == 0))
        mean_context = context_tokens / (decodes + (decodes == 0))
        shared = min(self.prefill[3], self.decode[3])
        return (
            self.prefill_s(prefills, mean_tokens)
            + self.decode_s(decodes, mean_context)
            - shared * ((prefills > 0) * (decodes > 0))
        )

    @overload
    def decode_total_s(self, count: float, context: float, tokens: float) -> float: ...
    @overload
    def decode_total_s(self, count: ArrayLike, context: ArrayLike, tokens: ArrayLike) -> Floats: ...
    def decode_total_s(self, count: Any, context: Any, tokens: Any) -> Any:
        """Seconds of ``tokens`` decode steps in a row, the first over ``context`` tokens.

        Closed form of the sum of ``decode_s(count, context + k)`` for k in 0..tokens - 1.
        """
        return tokens * self.decode_s(count, context + (tokens - 1) / 2)

    def largest_prefill(
        self, bound_s: float, *, decodes: int, context_tokens: float, at_most: int
    ) -> int:
        """Most prompt tokens, 0..``at_most``, that a step with ``decodes`` computes in ``bound_s``.

        The inverse of :meth:`step_s` for one prompt, exact to the token; 0 if not even one token
        fits (or the decodes alone do not). Numbers only. Cost: a binary search, about 8 us.
        """

        def step_s(tokens: int) -> float:
            return self.step_s(1, tokens, decodes, context_tokens)

        return bisect_right(range(1, at_most + 1), bound_s, key=step_s)

    def to_dict(self) -> dict[str, list[float]]:
        """Return the coefficients as JSON types."""
        return {"prefill": list(self.prefill), "decode": list(self.decode)}

    @classmethod
    def from_dict(cls, data: dict[str, list[float]]) -> Self:
        """Undo :meth:`to_dict`."""
        return cls(prefill=_four(data["prefill"]), decode=_four(data["decode"]))


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How observed steps are weighed.

    After ``half_life_steps`` steps of its kind an observation counts half. A step whose time is
    off the fit by a share above ``huber`` counts only as if it were off by that share, unless
    more than half of about the last ``drift_steps`` are off to the same side: then the machine
    has changed, they count in full, and ``drift_steps`` becomes the half-life. ``ridge``
    (relative) holds what the data leave open at the previous fit. No fit before ``min_steps``
    distinct decode-only steps; the first ``bootstrap_steps`` are kept and weighed together.
    """

    half_life_steps: float = 1000.0
    huber: float = 0.1
    drift_steps: int = 32
    ridge: float = 1e-6
    min_steps: int = 8
    bootstrap_steps: int = 64


@dataclass(slots=True)
class LatencyFitter:
    """Learns :class:`StepLatency` from the steps an engine makes, while it makes them.

    Decode-only steps fit the decode part. Steps with prefill fit the prefill part on what the
    decode part leaves of their time, its constant included, so that ``a4 >= d4``. Errors are
    relative (a step of 50 ms counts as much as one of 300 ms) and their influence is bounded.
    ``latest`` is the newest fit; one given at the start (of a former run) is refined.

    State: a Gram matrix float64[9, 9] of the features and the time for decode-only steps, and
    one for steps with prefill. :meth:`observe` only notes the step, under a microsecond;
    :meth:`fit` takes in what was noted, compiled, and solves two 4 x 4 non-negative least
    squares: about 0.4 ms for 64 steps with cold caches.
    """

    config: FitConfig = field(default_factory=FitConfig)
    latest: StepLatency | None = None
    _grams: Floats = field(default_factory=lambda: np.zeros((2, _WIDTH, _WIDTH)))
    _drift: Floats = field(default_factory=lambda: np.zeros(2))
    _early: list[Floats] = field(default_factory=list)
    _distinct: set[tuple[float, float]] = field(default_factory=set)
    _noted: list[tuple[float, float, float, float, float]] = field(default_factory=list)

    def observe(
        self,
        *,
        prefills: float,
        prefill_tokens: float,
        decodes: float,
        context_tokens: float,
        step_s: float,
    ) -> None:
        """Take in one step: requests and their tokens in all, of each kind, and seconds; O(1)."""
        if step_s > 0 and isfinite(step_s) and prefills + decodes > 0:
            self._noted.append((prefills, prefill_tokens, decodes, context_tokens, step_s))

    def observe_all(self, steps: Floats) -> None:
        """:meth:`observe` for float64[n, 5], columns in the order of its arguments."""
        counted = (steps[:, 4] > 0) & np.isfinite(steps[:, 4]) & (steps[:, 0] + steps[:, 2] > 0)
        self._noted.extend(map(tuple, steps[counted].tolist()))

    def fit(self) -> StepLatency | None:
        """Return the fit to everything seen so far, or ``None`` before it means anything."""
        self._take_in()
        if len(self._distinct) < self.config.min_steps:
            return self.latest
        if self._early:
            self._bootstrap(np.array(self._early))
        else:
            self._solve()
        if len(self._early) >= self.config.bootstrap_steps:
            self._early.clear()
        return self.latest

    def _take_in(self) -> None:
        """Turn the noted steps into rows, and stream them once the first fit stands."""
        if not self._noted:
            return
        steps = np.array(self._noted, dtype=np.float64)
        self._noted.clear()
        if len(self._distinct) < self.config.min_steps:
            self._distinct.update(
                (decodes, context) for prefills, _, decodes, context, _ in steps if not prefills
            )
        rows = _rows(steps)
        if self.latest is None or self._early:
            self._early.extend(rows)
            del self._early[: -4 * self.config.bootstrap_steps]
            return
        config = self.config
        _stream(
            rows,
            _theta(self.latest),
            self._grams,
            self._drift,
            config.huber,
            config.drift_steps,
            config.half_life_steps,
        )

    def _bootstrap(self, rows: Floats) -> None:
        """Reweigh ``rows``, float64[n, 9], until stalls among them have lost their pull."""
        scale, weight = rows[:, -1], np.ones(len(rows))
        rounds = 5
        if self.latest is not None:
            scale, weight = self._weights(rows, _theta(self.latest))
            rounds = 1
        prefills = rows[:, 3] > 0
        for _ in range(rounds):
            scaled = rows / scale[:, None]
            for kind, chosen in enumerate((~prefills, prefills)):
                of_kind = scaled[chosen]
                self._grams[kind] = (of_kind * weight[chosen, None]).T @ of_kind
            scale, weight = self._weights(rows, _theta(self._solve()))

    def _weights(self, rows: Floats, theta: Floats) -> tuple[Floats, Floats]:
        """Return the expected seconds of each row and how much it counts, float64[n] each."""
        seconds = rows[:, -1]
        expected = np.maximum(rows[:, :-1] @ theta, 0.1 * seconds)
        off = np.abs(seconds / expected - 1)
        return expected, self.config.huber / np.maximum(off, self.config.huber)

    def _solve(self) -> StepLatency:
        """Fit the decode part, then the prefill part on what is left."""
        only, mixed = self._grams
        before = np.zeros(8) if self.latest is None else _theta(self.latest)
        decode = _solve(only[4:8, 4:8], only[4:8, 8], before[4:], self.config.ridge)
        if self.latest is None:  # no prefill seen yet: a prompt token costs what a decoded one does
            before[0] = decode[1]
        left = mixed[:4, 8] - mixed[:4, 4:8] @ decode
        prefill = _solve(mixed[:4, :4], left, before[:4], self.config.ridge)
        prefill[3] += decode[3]
        self.latest = StepLatency(prefill=_four(prefill), decode=_four(decode))
        return self.latest

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state as JSON types."""
        self._take_in()
        return {
            "config": asdict(self.config),
            "latest": None if self.latest is None else self.latest.to_dict(),
            "grams": self._grams.tolist(),
            "drift": self._drift.tolist(),
            "early": [row.tolist() for row in self._early],
            "distinct": sorted([float(a), float(b)] for a, b in self._distinct),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Undo :meth:`to_dict`."""
        latest = data["latest"]
        return cls(
            config=FitConfig(**data["config"]),
            latest=None if latest is None else StepLatency.from_dict(latest),
            _grams=np.array(data["grams"], dtype=np.float64),
            _drift=np.array(data["drift"], dtype=np.float64),
            _early=[np.array(row, dtype=np.float64) for row in data["early"]],
            _distinct={(decodes, context) for decodes, context in data["distinct"]},
        )


def _rows(steps: Floats) -> Floats:
    """Return float64[n, 9] for float64[n, 5] noted steps; times :func:`_theta` is their time."""
    prefills, prefill_tokens, decodes, context_tokens, step_s = steps.T
    return np.column_stack(
        (
            prefill_tokens,
            prefills,
            prefill_tokens / np.maximum(prefills, 1),
            prefills > 0,
            context_tokens,
            decodes,
            context_tokens / np.maximum(decodes, 1),
            np.ones(len(steps)),
            step_s,
        )
    )


@njit(cache=True)
def _stream(rows, theta, grams, drift, huber, drift_steps, half_life_steps):  # type: ignore[no-untyped-def]
    """Add rows, float64[n, 9], to the Gram matrices with the weights of :class:`FitConfig`."""
    width = rows.shape[1]
    for row in rows:
        kind = 1 if row[3] > 0 else 0
        step_s = row[width - 1]
        expected = max(np.sum(row[: width - 1] * theta), 0.1 * step_s)
        off = step_s / expected - 1
        clipped = 1.0 if off > huber else (-1.0 if off < -huber else 0.0)
        drift[kind] += (clipped - drift[kind]) / drift_steps
        drifting = abs(drift[kind]) > 0.5
        weight = 1.0 if drifting or clipped == 0.0 else huber / abs(off)
        if drifting:  # a new machine is new to both kinds
            grams *= 0.5 ** (1 / drift_steps)
        else:
            grams[kind] *= 0.5 ** (1 / half_life_steps)
        scaled = row / expected
        grams[kind] += weight * np.outer(scaled, scaled)


def _theta(latency: StepLatency) -> Floats:
    """Return float64[8]: the prefill part, its constant on top of the decode part's, and that."""
    extra = max(0.0, latency.prefill[3] - latency.decode[3])
    return np.array((*latency.prefill[:3], extra, *latency.decode))


def _solve(gram: Floats, target: Floats, before: Floats, ridge: float) -> Floats:
    """Minimise the quadratic form over x >= 0, held at ``before`` where ``gram`` is flat.

    Columns are scaled to one, so that ``ridge`` is relative to the data in each direction.
    """
    scale: Floats = np.sqrt(gram.diagonal())
    scale[scale == 0] = 1.0
    lower = np.linalg.cholesky(gram / np.multiply.outer(scale, scale) + ridge * np.eye(4))
    right = target / scale + ridge * scale * before
    solution: Floats = nnls(lower.T, np.linalg.solve(lower, right))[0] / scale
    return solution


def _four(values: Floats | list[float]) -> Coefficients:
    a, b, c, d = (float(value) for value in values)
    return a, b, c, d
