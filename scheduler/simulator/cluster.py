"""Several simulated engines behind one placement."""

import math
from collections.abc import Callable, Sequence

from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.placement import Placement
from scheduler.simulator.request import SimOutcome, SimRequest


def serve(
    engines: Sequence[SimulatedEngine],
    requests: Sequence[SimRequest],
    placement: Placement | None = None,
    *,
    on_arrival: Callable[[int], None] | None = None,
) -> list[SimOutcome]:
    """Place and serve all requests to the end; outcomes by the time of their ends.

    Every engine runs on its own clock; a placement brings up to date those that it looks at, and
    the chosen one is brought up to the arrival. ``on_arrival`` is told how many have arrived. One
    engine needs no placement.
    """
    by_arrival = sorted(requests, key=lambda request: request.arrival_s)
    for count, request in enumerate(by_arrival, 1):
        chosen = 0
        if placement is not None and len(engines) > 1:
            chosen = placement.choose(request, engines)
        engines[chosen].run_until(request.arrival_s)
        engines[chosen].submit(request)
        if on_arrival is not None:
            on_arrival(count)
    for engine in engines:
        engine.run_until(math.inf)
    outcomes = [outcome for engine in engines for outcome in engine.outcomes()]
    return sorted(outcomes, key=lambda o: o.request.arrival_s + o.e2e_s)
