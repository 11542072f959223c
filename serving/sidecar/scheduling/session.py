"""What is remembered of an engine between two snapshots of it."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from scheduler.decision import Plan
from scheduler.policy import Policy
from scheduler.registry import create_policy

_MOST_SESSIONS = 256


@dataclass(slots=True)
class Session:
    """The policy (it learns the price of capacity), arrival times, and the plan in force.

    Arrival times are kept as first computed: told again as durations they would wander by the
    time a message travels.
    """

    policy: Policy
    arrivals_s: dict[str, float] = field(default_factory=dict)
    planned: tuple[str, ...] = ()

    def arrival_s(self, request_id: str, seen_s: float) -> float:
        """When the request came, on this server's monotonic clock."""
        return self.arrivals_s.setdefault(request_id, seen_s)

    def forget_all_but(self, live: Iterable[str]) -> None:
        """Drop who has ended."""
        known = self.arrivals_s
        self.arrivals_s = {name: known[name] for name in live if name in known}

    def previous(self, handles: dict[str, int]) -> Plan | None:
        """The plan of the last time in today's handles."""
        order = [handles[name] for name in self.planned if name in handles]
        if not order:
            return None
        return Plan(version=-1, made_at_s=0.0, order=np.array(order, dtype=np.int64))


class Sessions:
    """Sessions by engine and policy, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def get(self, instance: str, policy: str) -> Session:
        """The session, a new one if need be; raises ``UnknownPolicyError``."""
        key = (instance, policy)
        if key not in self._sessions:
            self._sessions[key] = Session(create_policy(policy))
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(key)
        return self._sessions[key]
