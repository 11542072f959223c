"""What the page shows: the latest decision of each engine and what became of recent requests."""

import time
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from typing import Any

from serving.observations.observation import Observation
from serving.sidecar.schemas.schedule import ScheduleOut

# Observations that the page looks at, and engines it shows.
RECENT = 5_000
_MOST_ENGINES = 16
_MOST_POINTS = 400
_MOST_PLACES = 400
_BUCKETS = 30


@dataclass(frozen=True, slots=True)
class _Seen:
    at_s: float
    decision: Any
    policy: str


class LiveState:
    """Bounded, in memory; filled from the store when the server starts."""

    def __init__(self) -> None:
        self._engines: OrderedDict[str, _Seen] = OrderedDict()
        self._finished: deque[Observation] = deque(maxlen=RECENT)

    def decided(self, decision: ScheduleOut) -> None:
        """Remember the latest decision of each engine."""
        for engine in decision.instances:
            self._engines[engine.name] = _Seen(time.monotonic(), engine, decision.policy)
            self._engines.move_to_end(engine.name)
        while len(self._engines) > _MOST_ENGINES:
            self._engines.popitem(last=False)

    def finished(self, observation: Observation) -> None:
        """Remember a request that ended."""
        self._finished.append(observation)

    def document(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return {
            "engines": [_engine(name, seen) for name, seen in sorted(self._engines.items())],
            "attainment": self._attainment(),
            "lengths": self._lengths(),
            "calibration": self._calibration(),
            "finished": len(self._finished),
        }

    def _attainment(self) -> dict[str, list[dict[str, float | int]]]:
        """Share of promises kept by class, in equal stretches of time from first to last."""
        promised = [each for each in self._finished if each.met is not None]
        if not promised:
            return {}
        times = [each.at_s for each in promised]
        first_s, last_s = min(times), max(times)
        width_s = max((last_s - first_s) / _BUCKETS, 1.0)
        cells: defaultdict[str, defaultdict[int, list[bool]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for each in promised:
            bucket = min(int((each.at_s - first_s) / width_s), _BUCKETS - 1)
            cells[each.slo_class][bucket].append(bool(each.met))
        return {
            name: [
                {
                    "at_unix_s": first_s + (bucket + 0.5) * width_s,
                    "attainment": sum(met) / len(met),
                    "requests": len(met),
                }
                for bucket, met in sorted(buckets.items())
            ]
            for name, buckets in sorted(cells.items())
        }

    def _lengths(self) -> dict[str, list[list[float]]]:
        """Predicted median and actual length of the latest requests, by class."""
        points: defaultdict[str, list[list[float]]] = defaultdict(list)
        for each in list(self._finished)[-_MOST_POINTS:]:
            if each.predicted_median is not None and each.natural:
                points[each.slo_class].append([each.predicted_median, each.output_tokens])
        return dict(sorted(points.items()))

    def _calibration(self) -> dict[str, Any]:
        """Share of answers below each predicted quantile; on the diagonal if calibrated."""
        pits = [each.pit for each in self._finished if each.pit is not None]
        levels = [tenth / 10 for tenth in range(1, 10)]
        if not pits:
            return {"answers": 0, "levels": levels, "observed": []}
        observed = [sum(pit <= level for pit in pits) / len(pits) for level in levels]
        return {"answers": len(pits), "levels": levels, "observed": observed}


def _engine(name: str, seen: _Seen) -> dict[str, Any]:
    decision = seen.decision
    return {
        "name": name,
        "policy": seen.policy,
        "age_s": round(time.monotonic() - seen.at_s, 1),
        "waiting": len(decision.order),
        "running": sum(place.runs for place in decision.places),
        "fallback": decision.fallback,
        "expected_attainment": decision.expected_attainment,
        "places": decision.places[:_MOST_PLACES],
    }
