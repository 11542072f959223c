"""Which instance a request goes to: simple rules, the paper's, and ours."""

from collections.abc import Callable, Sequence
from typing import Protocol

from predictor.errors import InputError
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.slots.gain import best_prospect, prospects


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

    def choose(self, request: SimRequest, engines: Sequence[SimulatedEngine]) -> int:  # noqa: ARG002
        """Count them."""
        return min(range(len(engines)), key=lambda k: engines[k].live)


class MostFreeMemory:
    """The engine with most free KV memory, round robin on ties (arXiv 2504.14966)."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, request: SimRequest, engines: Sequence[SimulatedEngine]) -> int:  # noqa: ARG002
        """Compare the free tokens; from the one after the last choice on, the first best."""
        turn = [(self._next + k) % len(engines) for k in range(len(engines))]
        chosen = max(turn, key=lambda k: engines[k].kv_tokens_free)
        self._next = chosen + 1
        return chosen


class SloGain:
    """The engine whose plan gains most kept promises (:func:`best_prospect`).

    Cost: about 0.1 ms an engine with 100 waiting.
    """

    def __init__(self, *, tolerance: float = 0.1) -> None:
        self._tolerance = tolerance

    def choose(self, request: SimRequest, engines: Sequence[SimulatedEngine]) -> int:
        """Put it into each engine's plan where it is worth most, and compare."""
        arrival = request.arrival()
        found = prospects(
            [
                engine.driver.preview(arrival, now_s=max(engine.now_s, arrival.arrival_s))
                for engine in engines
            ]
        )
        return best_prospect(found, tolerance=self._tolerance)


_PLACEMENTS: dict[str, Callable[[], Placement]] = {
    "round-robin": RoundRobin,
    "least-requests": LeastRequests,
    "free-memory": MostFreeMemory,
    "slo-gain": SloGain,
}


def placement_names() -> list[str]:
    """All placements."""
    return list(_PLACEMENTS)


def create_placement(name: str) -> Placement:
    """Return a new placement; raises ``InputError`` for an unknown name."""
    if name not in _PLACEMENTS:
        raise InputError(f"placement {name!r} is not known: use one of {', '.join(_PLACEMENTS)}")
    return _PLACEMENTS[name]()
