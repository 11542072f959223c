"""Learns how long steps take from the steps an engine makes: robust least squares, >= 0."""

from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Self

import numpy as np
from scipy.optimize import nnls

from scheduler.compiled import compiled
from scheduler.latency import (
    Coefficients,
    Floats,
    Scenario,
    StepLatency,
    StepWork,
    coefficients,
    work_seconds,
)

# One step as it is fitted: seven sums, a one for the constant, seconds.
_WIDTH = 9
_DECODES, _TOKENS = StepWork._fields.index("decodes"), StepWork._fields.index("prefill_tokens")
_DECODE, _PREFILL, _MIXED = (int(scenario) for scenario in Scenario)


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How observed steps are weighed.

    After ``half_life_steps`` steps of its scenario an observation counts half. A step whose time
    is off the fit by a share above ``huber`` counts only as if it were off by that share, unless
    more than half of about the last ``drift_steps`` are off to the same side: then the machine
    has changed, they count in full, and ``drift_steps`` becomes the half-life. ``ridge``
    (relative) holds what the data leave open at the previous fit. No fit before ``min_steps``
    distinct decode-only steps; the first ``bootstrap_steps`` are kept and weighed together.
    A scenario has an expert from ``expert_steps`` steps of it on; the expert starts from the
    model of all steps, which counts like ``expert_prior_steps`` of its own in each direction.
    """

    half_life_steps: float = 1000.0
    huber: float = 0.1
    drift_steps: int = 32
    ridge: float = 1e-6
    min_steps: int = 8
    bootstrap_steps: int = 64
    expert_steps: int = 16
    expert_prior_steps: float = 1.0


@dataclass(slots=True)
class LatencyFitter:
    """Learns :class:`StepLatency` from the steps an engine makes, while it makes them.

    Errors are relative (a step of 50 ms counts as much as one of 300 ms) and their influence is
    bounded. ``latest`` is the newest fit; one given at the start (of a former run) is refined.

    State: for each scenario a Gram matrix float64[9, 9] of the features and the time; their sum
    makes the model of all steps. :meth:`observe` only notes the step, under a microsecond;
    :meth:`fit` takes in what was noted, compiled, and solves four 8 x 8 non-negative least
    squares: about 0.5 ms for 64 steps.
    """

    config: FitConfig = field(default_factory=FitConfig)
    latest: StepLatency | None = None
    _grams: Floats = field(default_factory=lambda: np.zeros((len(Scenario), _WIDTH, _WIDTH)))
    _drift: Floats = field(default_factory=lambda: np.zeros(len(Scenario)))
    _seen: Floats = field(default_factory=lambda: np.zeros(len(Scenario)))
    _early: list[Floats] = field(default_factory=list)
    _distinct: set[tuple[float, float]] = field(default_factory=set)
    _noted: list[tuple[float, ...]] = field(default_factory=list)

    @classmethod
    def of(cls, steps: Floats, *, at_once: int) -> Self:
        """Fit float64[n, 8], as :meth:`observe_all` takes them, ``at_once`` at a time.

        As an engine that made these steps would have: a first fit sees little, later ones refine
        it. (One fit to all of them at once keeps no more than the last few.)
        """
        fitter = cls()
        for begin in range(0, len(steps), at_once):
            fitter.observe_all(steps[begin : begin + at_once])
            fitter.fit()
        return fitter

    def observe(self, work: StepWork, step_s: float) -> None:
        """Take in one step and its seconds; O(1)."""
        if step_s > 0 and isfinite(step_s) and work.decodes + work.prefill_tokens > 0:
            self._noted.append((*work, step_s))

    def observe_all(self, steps: Floats) -> None:
        """:meth:`observe` for float64[n, 8]: the columns of ``StepWork``, then seconds."""
        some = steps[:, _DECODES] + steps[:, _TOKENS] > 0
        counted = (steps[:, -1] > 0) & np.isfinite(steps[:, -1]) & some
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
            alone = steps[steps[:, _TOKENS] == 0]
            self._distinct.update(
                (float(step[_DECODES]), float(step[_DECODES + 1])) for step in alone
            )
        rows = np.insert(steps, _WIDTH - 2, 1.0, axis=1)
        for kind in Scenario:
            self._seen[kind] += (_kinds(rows) == kind).sum()
        if self.latest is None or self._early:
            self._early.extend(rows)
            del self._early[: -4 * self.config.bootstrap_steps]
            return
        config = self.config
        _stream(
            rows,
            self.latest.table,
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
            scale, weight = self._weights(rows, self.latest)
            rounds = 1
        kinds = _kinds(rows)
        for _ in range(rounds):
            scaled = rows / scale[:, None]
            for kind in Scenario:
                of_kind = scaled[kinds == kind]
                self._grams[kind] = (of_kind * weight[kinds == kind, None]).T @ of_kind
            scale, weight = self._weights(rows, self._solve())

    def _weights(self, rows: Floats, latency: StepLatency) -> tuple[Floats, Floats]:
        """Return the expected seconds of each row and how much it counts, float64[n] each."""
        seconds = rows[:, -1]
        expected = np.maximum(latency.seconds_of(rows[:, : _WIDTH - 2]), 0.1 * seconds)
        off = np.abs(seconds / expected - 1)
        return expected, self.config.huber / np.maximum(off, self.config.huber)

    def _solve(self) -> StepLatency:
        """Fit the model of all steps, then the experts that have seen enough."""
        ridge, all_steps = self.config.ridge, self._grams.sum(axis=0)
        if self.latest is not None:
            whole = _solve(all_steps, np.array(self.latest.whole), ridge)
        else:
            whole = _solve(all_steps, np.zeros(8), ridge)
            if not all_steps[_TOKENS, _TOKENS]:
                # No prefill seen yet: a prompt token costs what a decoded one does.
                whole[_TOKENS] = whole[_DECODES]
        experts = [self._expert(scenario, whole) for scenario in Scenario]
        self.latest = StepLatency(coefficients(whole), *experts)
        return self.latest

    def _expert(self, scenario: Scenario, whole: Floats) -> Coefficients | None:
        if self._seen[scenario] < self.config.expert_steps:
            before = None
            if self.latest is not None:
                before = (self.latest.decode, self.latest.prefill, self.latest.mixed)[scenario]
            return before
        gram = self._grams[scenario]
        ridge = self.config.expert_prior_steps / max(gram[8, 8], 1.0)
        return coefficients(_solve(gram, whole, max(ridge, self.config.ridge)))

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state as JSON types."""
        self._take_in()
        return {
            "config": asdict(self.config),
            "latest": None if self.latest is None else self.latest.to_dict(),
            "grams": self._grams.tolist(),
            "drift": self._drift.tolist(),
            "seen": self._seen.tolist(),
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
            _seen=np.array(data["seen"], dtype=np.float64),
            _early=[np.array(row, dtype=np.float64) for row in data["early"]],
            _distinct={(decodes, context) for decodes, context in data["distinct"]},
        )


def _kinds(rows: Floats) -> Floats:
    """The scenario of each row, float64[n]."""
    with_decodes = np.where(rows[:, _DECODES] > 0, _MIXED, _PREFILL)
    return np.where(rows[:, _TOKENS] > 0, with_decodes, _DECODE).astype(np.float64)


@compiled
def _stream(
    rows: Floats,
    table: Floats,
    grams: Floats,
    drift: Floats,
    huber: float,
    drift_steps: int,
    half_life_steps: float,
) -> None:
    """Add rows, float64[n, 9], to the Gram matrices with the weights of :class:`FitConfig`."""
    width = rows.shape[1]
    for row in rows:
        kind = _DECODE
        if row[_TOKENS] > 0:
            kind = _MIXED if row[_DECODES] > 0 else _PREFILL
        step_s = row[width - 1]
        work = StepWork(row[0], row[1], row[2], row[3], row[4], row[5], row[6])
        expected = max(work_seconds(table, work), 0.1 * step_s)
        off = step_s / expected - 1
        clipped = 1.0 if off > huber else (-1.0 if off < -huber else 0.0)
        drift[kind] += (clipped - drift[kind]) / drift_steps
        drifting = abs(drift[kind]) > 0.5
        weight = 1.0 if drifting or clipped == 0.0 else huber / abs(off)
        if drifting:  # a new machine is new to all kinds
            grams *= 0.5 ** (1 / drift_steps)
        else:
            grams[kind] *= 0.5 ** (1 / half_life_steps)
        scaled = row / expected
        grams[kind] += weight * np.outer(scaled, scaled)


def _solve(gram: Floats, before: Floats, ridge: float) -> Floats:
    """Minimise the quadratic form over x >= 0, held at ``before`` where ``gram`` is flat.

    ``gram`` is float64[9, 9], the last row and column those of the time. Columns are scaled to
    one, so that ``ridge`` is relative to the data in each direction.
    """
    square, target = gram[:8, :8], gram[:8, 8]
    scale: Floats = np.sqrt(square.diagonal())
    scale[scale == 0] = 1.0
    lower = np.linalg.cholesky(square / np.multiply.outer(scale, scale) + ridge * np.eye(8))
    right = target / scale + ridge * scale * before
    solution: Floats = nnls(lower.T, np.linalg.solve(lower, right))[0] / scale
    return solution
