"""Which instance a request goes to: simple rules, the paper's, and ours."""

import heapq
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from predictor.errors import InputError
from scheduler.placement.choice import Candidate
from scheduler.placement.config import PlacementConfig
from scheduler.placement.fleet import Fleet
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.request import SimRequest

if TYPE_CHECKING:
    from scheduler.placement.digest import Digest


class Placement(Protocol):
    """Chooses one of several engines for each request as it arrives."""

    def choose(self, request: SimRequest, engines: Sequence[SimulatedEngine]) -> int:
        """Return the number of the engine."""
        ...


class RoundRobin:
    """One after the other."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, request: SimRequest, engines: Sequence[SimulatedEngine]) -> int:  # noqa: ARG002
        """Take turns."""
        chosen = self._next % len(engines)
        self._next = chosen + 1
        return chosen


class LeastRequests:
    """The engine with the fewest requests, waiting and running; ties to the first."""

    def choose(self, request: SimRequest, engines: Sequence[SimulatedEngine]) -> int:
        """Count them."""
        _up_to(engines, request.arrival_s)
        return min(range(len(engines)), key=lambda k: engines[k].live)


class MostFreeMemory:
    """The engine with most free KV memory, round robin on ties (arXiv 2504.14966)."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, request: SimRequest, engines: Sequence[SimulatedEngine]) -> int:
        """Compare the free tokens; from the one after the last choice on, the first best."""
        _up_to(engines, request.arrival_s)
        turn = [(self._next + k) % len(engines) for k in range(len(engines))]
        chosen = max(turn, key=lambda k: engines[k].kv_tokens_free)
        self._next = chosen + 1
        return chosen


class SloGain:
    """The engine whose plan gains most kept promises, by digests that engines publish.

    They do every ``period_s`` and are heard ``delay_s`` later.

    ``period_s`` of 0: every engine says how it is whenever a request comes. The phases of the
    periods are spread evenly. Requests come to ``routers`` in turn: each hears all digests, and
    knows of the requests sent since only its own. ``published`` counts the digests, ``choice_s``
    times the choices.
    """

    def __init__(
        self,
        *,
        period_s: float = 0.0,
        delay_s: float = 0.0,
        routers: int = 1,
        config: PlacementConfig | None = None,
    ) -> None:
        self._period_s = period_s
        self._delay_s = delay_s
        if routers < 1:
            raise InputError("a fleet needs at least one router")
        self._fleets = [Fleet[int](config) for _ in range(routers)]
        self._turn = 0
        # Publications to come: when, and whose; then those on their way.
        self._due: list[tuple[float, int]] = []
        self._coming: deque[tuple[float, int, Digest]] = deque()
        self.published = 0
        self.choice_s: list[float] = []

    def choose(self, request: SimRequest, engines: Sequence[SimulatedEngine]) -> int:
        """Take in what was published until now, and compare."""
        now_s = request.arrival_s
        self._publish(engines, now_s)
        while self._coming and self._coming[0][0] + self._delay_s <= now_s:
            made_s, k, digest = self._coming.popleft()
            for fleet in self._fleets:
                fleet.update(k, digest, made_s=made_s)
        candidate = Candidate.of(request.slo, request.lengths, prompt_tokens=request.prompt_tokens)
        fleet = self._fleets[self._turn]
        self._turn = (self._turn + 1) % len(self._fleets)
        began_s = time.perf_counter()
        ranks = fleet.ranks(range(len(engines)), candidate, now_s=now_s)
        self.choice_s.append(time.perf_counter() - began_s)
        chosen = ranks[0] if ranks else min(range(len(engines)), key=fleet.load)
        fleet.placed(chosen, candidate, now_s=now_s)
        return chosen

    def _publish(self, engines: Sequence[SimulatedEngine], until_s: float) -> None:
        if not self._period_s:
            for k, engine in enumerate(engines):
                self._say(k, engine, until_s)
            return
        if not self._due:
            step_s = self._period_s / len(engines)
            self._due = [(k * step_s, k) for k in range(len(engines))]
        while self._due[0][0] <= until_s:
            at_s, k = self._due[0]
            self._say(k, engines[k], at_s)
            heapq.heapreplace(self._due, (at_s + self._period_s, k))

    def _say(self, k: int, engine: SimulatedEngine, at_s: float) -> None:
        engine.run_until(at_s)
        self._coming.append((at_s, k, engine.digest(at_s)))
        self.published += 1


def _up_to(engines: Sequence[SimulatedEngine], now_s: float) -> None:
    for engine in engines:
        engine.run_until(now_s)


@dataclass(frozen=True, slots=True)
class PlacementSettings:
    """``digest_period_s`` and ``digest_delay_s`` of :class:`SloGain`; the others need none."""

    name: str = "slo-gain"
    digest_period_s: float = 0.0
    digest_delay_s: float = 0.0


_PLACEMENTS: dict[str, Callable[[PlacementSettings], Placement]] = {
    "round-robin": lambda _: RoundRobin(),
    "least-requests": lambda _: LeastRequests(),
    "free-memory": lambda _: MostFreeMemory(),
    "slo-gain": lambda settings: SloGain(
        period_s=settings.digest_period_s, delay_s=settings.digest_delay_s
    ),
}


def placement_names() -> list[str]:
    """All placements."""
    return list(_PLACEMENTS)


def create_placement(settings: PlacementSettings | str) -> Placement:
    """Return a new placement; raises ``InputError`` for an unknown name or a time below zero."""
    if isinstance(settings, str):
        settings = PlacementSettings(settings)
    if settings.name not in _PLACEMENTS:
        raise InputError(
            f"placement {settings.name!r} is not known: use one of {', '.join(_PLACEMENTS)}"
        )
    if min(settings.digest_period_s, settings.digest_delay_s) < 0:
        raise InputError("digests cannot have a period or a delay below zero")
    return _PLACEMENTS[settings.name](settings)
