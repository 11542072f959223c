"""How long one engine step takes: seven features, one model for all steps and experts by scenario.

Model: the batch latency predictor of SlidingServe (arXiv 2606.05933, section 4). A step is
{(c_i, u_i)}: request i gets c_i tokens over u_i cached ones; D are those with c_i <= 1, P the rest.
The published features x1 = sum_P c(u + c), x2 = sum_P c^2, x3 = sum u, x4 = |D|, x5 = sum_D u,
x6 = sum_P c, x7 = max_P c and a constant span the same models as the sums kept here, which have
sum_P c u for x1 and sum_P u for x3. In these a coefficient >= 0 says that no work makes a step
shorter, and causal attention (c u + c^2 / 2) is among the models; in x1 and x2 it is not.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from math import inf, isfinite
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictor.errors import InputError
from scheduler.compiled import compiled

Floats = NDArray[np.float64]
Coefficients = tuple[float, float, float, float, float, float, float, float]


class StepWork(NamedTuple):
    """What one step computes, as sums over its requests; a chunk of one token is a decode."""

    products: float = 0.0  # sum over prefills of chunk * cached tokens
    squares: float = 0.0  # sum over prefills of chunk^2
    prefill_cached: float = 0.0  # sum over prefills of cached tokens
    decodes: float = 0.0
    decode_cached: float = 0.0  # sum over decodes of cached tokens
    prefill_tokens: float = 0.0  # sum over prefills of chunk
    longest: float = 0.0  # largest chunk

    @classmethod
    def alike(
        cls,
        *,
        prefills: float,
        prefill_tokens: float,
        decodes: float,
        context_tokens: float,
        cached: float = 0.0,
    ) -> Self:
        """Equal chunks of ``prefill_tokens`` in all, each over ``cached`` tokens."""
        chunk = prefill_tokens / max(prefills, 1)
        return cls(
            products=prefill_tokens * cached,
            squares=prefill_tokens * chunk,
            prefill_cached=prefills * cached,
            decodes=decodes,
            decode_cached=context_tokens,
            prefill_tokens=prefill_tokens,
            longest=chunk,
        )


class Scenario(IntEnum):
    """Kinds of steps that have an expert of their own; rows of :attr:`StepLatency.table`."""

    DECODE = 0
    PREFILL = 1
    MIXED = 2


NAMES = (*StepWork._fields, "step")
_DECODE, _PREFILL, _MIXED = (int(scenario) for scenario in Scenario)


@dataclass(frozen=True, slots=True)
class StepLatency:
    """Seconds per unit of :class:`StepWork` and seconds per step, all >= 0.

    ``whole`` was fitted to all steps; an expert to those of its scenario, ``None``: too few were
    seen, ``whole`` stands in. No work costs no time. Methods take numbers or arrays that
    broadcast; O(1) each. ``table`` is float64[len(Scenario), 8] for compiled code.
    """

    whole: Coefficients
    decode: Coefficients | None = None
    prefill: Coefficients | None = None
    mixed: Coefficients | None = None
    table: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("whole", "decode", "prefill", "mixed"):
            values = getattr(self, name)
            if values is None and name != "whole":
                continue
            if len(values) != len(NAMES) or not all(isfinite(v) and v >= 0 for v in values):
                raise ValueError(f"{name} is {values}: eight finite coefficients >= 0 are needed")
        table = np.array([self.of(scenario) for scenario in Scenario], dtype=np.float64)
        table.flags.writeable = False
        object.__setattr__(self, "table", table)

    @classmethod
    def linear(
        cls,
        *,
        step_s: float,
        decode_s: float = 0.0,
        context_token_s: float = 0.0,
        prompt_token_s: float = 0.0,
        prefill_step_s: float | None = None,
        squared_token_s: float = 0.0,
    ) -> Self:
        """A model by hand: seconds per step, per decode, per cached token of it, per prompt token.

        A step with a prefill has ``prefill_step_s`` for its constant where that is larger. A
        chunk of c prompt tokens over u cached ones counts c^2 + 2cu squared tokens.
        """
        costs = (
            2.0 * squared_token_s,
            squared_token_s,
            0.0,
            decode_s,
            context_token_s,
            prompt_token_s,
            0.0,
        )
        if prefill_step_s is None:
            return cls(whole=(*costs, step_s))
        return cls(
            whole=(*costs, max(step_s, prefill_step_s)),
            decode=(*costs, step_s),
            prefill=(*costs, prefill_step_s),
        )

    def of(self, scenario: Scenario) -> Coefficients:
        """The coefficients in force for one kind of step."""
        return (self.decode, self.prefill, self.mixed)[scenario] or self.whole

    def seconds(self, work: StepWork) -> float:
        """Seconds of one step."""
        if not (work.decodes or work.prefill_tokens):
            return 0.0
        scenario = Scenario.DECODE
        if work.prefill_tokens:
            scenario = Scenario.MIXED if work.decodes else Scenario.PREFILL
        *costs, constant = self.of(scenario)
        return constant + sum(cost * amount for cost, amount in zip(costs, work, strict=True))

    def seconds_of(self, works: Floats) -> Floats:
        """Seconds of many steps: float64[n] for float64[n, 7], columns as in StepWork."""
        return _seconds_of(self.table, np.ascontiguousarray(works, dtype=np.float64))

    @overload
    def prefill_s(self, count: float, mean_tokens: float, cached: float = 0.0) -> float: ...
    @overload
    def prefill_s(
        self, count: ArrayLike, mean_tokens: ArrayLike, cached: ArrayLike = 0.0
    ) -> Floats: ...
    def prefill_s(self, count: Any, mean_tokens: Any, cached: Any = 0.0) -> Any:
        """Seconds of one step of ``count`` equal prefills over ``cached`` tokens each."""
        c = self.of(Scenario.PREFILL)
        return (count > 0) * (_prefill_part(c, count, mean_tokens, cached) + c[7])

    @overload
    def decode_s(self, count: float, mean_context: float) -> float: ...
    @overload
    def decode_s(self, count: ArrayLike, mean_context: ArrayLike) -> Floats: ...
    def decode_s(self, count: Any, mean_context: Any) -> Any:
        """Seconds of one step that decodes ``count`` sequences over ``mean_context`` each."""
        c = self.of(Scenario.DECODE)
        return (count > 0) * ((c[4] * mean_context + c[3]) * count + c[7])

    @overload
    def step_s(
        self,
        prefills: float,
        prefill_tokens: float,
        decodes: float,
        context_tokens: float,
        cached: float = 0.0,
    ) -> float: ...
    @overload
    def step_s(
        self,
        prefills: ArrayLike,
        prefill_tokens: ArrayLike,
        decodes: ArrayLike,
        context_tokens: ArrayLike,
        cached: ArrayLike = 0.0,
    ) -> Floats: ...
    def step_s(
        self,
        prefills: Any,
        prefill_tokens: Any,
        decodes: Any,
        context_tokens: Any,
        cached: Any = 0.0,
    ) -> Any:
        """Seconds of one chunked-prefill step; tokens are totals over the step's requests.

        The chunks are taken as equal, each over ``cached`` tokens. What every step takes is paid
        once, however many kinds of work it does.
        """
        mean_tokens = prefill_tokens / (prefills + (prefills == 0))
        mean_context = context_tokens / (decodes + (decodes == 0))
        c = self.of(Scenario.MIXED)
        mixed = _prefill_part(c, prefills, mean_tokens, cached) + c[7]
        mixed = mixed + c[3] * decodes + c[4] * context_tokens
        return (
            (decodes == 0) * self.prefill_s(prefills, mean_tokens, cached)
            + (prefills == 0) * self.decode_s(decodes, mean_context)
            + ((prefills > 0) * (decodes > 0)) * mixed
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
        self,
        bound_s: float,
        *,
        decodes: float,
        context_tokens: float,
        at_most: int,
        cached: float = 0.0,
    ) -> int:
        """Most prompt tokens, 0..``at_most``, that a step with ``decodes`` computes in ``bound_s``.

        The inverse of :meth:`step_s` for one prompt, exact to the token; 0 if not even one token
        fits (or the decodes alone do not). Numbers only. Cost: a compiled search, about 1 us.
        """
        return _largest(
            self.table,
            float(bound_s),
            float(decodes),
            float(context_tokens),
            int(at_most),
            float(cached),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the coefficients as JSON types."""
        return {
            "features": list(NAMES),
            "whole": list(self.whole),
            **{
                scenario.name.lower(): None if expert is None else list(expert)
                for scenario, expert in zip(
                    Scenario, (self.decode, self.prefill, self.mixed), strict=True
                )
            },
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Undo :meth:`to_dict`; raises ``InputError`` for models of another form."""
        if data.get("features") != list(NAMES):
            raise InputError(
                "its latency model is not of the present form (a model for each of the "
                f"features {', '.join(NAMES)}): record it again with `slotwise profile`"
            )
        experts = {name: data.get(name) for name in ("decode", "prefill", "mixed")}
        return cls(
            whole=coefficients(data["whole"]),
            **{name: None if v is None else coefficients(v) for name, v in experts.items()},
        )


def coefficients(values: Floats | list[float]) -> Coefficients:
    """Eight numbers as a tuple."""
    a, b, c, d, e, f, g, h = (float(value) for value in values)
    return a, b, c, d, e, f, g, h


def _prefill_part(c: Coefficients, count: Any, tokens: Any, cached: Any) -> Any:
    each = (c[0] * cached + c[1] * tokens + c[5]) * tokens + c[2] * cached
    return count * each + c[6] * tokens


@compiled
def work_seconds(table: Floats, work: StepWork) -> float:
    """:meth:`StepLatency.seconds` for compiled code; ``table`` is its ``table``. 3 ns."""
    if work.prefill_tokens > 0:
        c = table[_MIXED] if work.decodes > 0 else table[_PREFILL]
    elif work.decodes > 0:
        c = table[_DECODE]
    else:
        return 0.0
    seconds = c[7] + c[0] * work.products + c[1] * work.squares + c[2] * work.prefill_cached
    seconds += c[3] * work.decodes
    seconds += c[4] * work.decode_cached
    return float(seconds + c[5] * work.prefill_tokens + c[6] * work.longest)


@compiled
def _seconds_of(table: Floats, works: Floats) -> Floats:
    seconds = np.empty(len(works))
    for i in range(len(works)):
        w = works[i]
        seconds[i] = work_seconds(table, StepWork(w[0], w[1], w[2], w[3], w[4], w[5], w[6]))
    return seconds


@compiled
def _largest(
    table: Floats, bound_s: float, decodes: float, context: float, at_most: int, cached: float
) -> int:
    """Bisection: the model rises with the chunk, since no coefficient is below zero."""
    if bound_s == inf:
        return max(at_most, 0)
    low, high = 0, max(at_most, 0)
    while low < high:
        chunk = (low + high + 1) // 2
        tokens = float(chunk)
        work = StepWork(tokens * cached, tokens * tokens, cached, decodes, context, tokens, tokens)
        if work_seconds(table, work) <= bound_s:
            low = chunk
        else:
            high = chunk - 1
    return low
