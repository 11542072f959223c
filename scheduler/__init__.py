"""SLO-aware scheduling: snapshot -> policy -> decision; no engine, no web framework inside.

Importing this package loads nothing heavy: each name below is imported when it is first used.
"""

from typing import TYPE_CHECKING

from predictor.lazy import lazy_names

if TYPE_CHECKING:
    from scheduler.decision import Plan, StepDecision
    from scheduler.driver import Driver
    from scheduler.latency import StepLatency, StepWork
    from scheduler.lengths import expected_remaining
    from scheduler.policy import Policy
    from scheduler.registry import check_policy, create_policy, policy_names
    from scheduler.simulator.profiles import EngineProfile, load_profile
    from scheduler.simulator.request import SimRequest
    from scheduler.slo import Slo, SloClass
    from scheduler.snapshot import LengthTable, Limits, RequestTable, Snapshot
    from scheduler.tracker import Arrival, Tracker
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Arrival": "scheduler.tracker",
            "Driver": "scheduler.driver",
            "EngineProfile": "scheduler.simulator.profiles",
            "LengthTable": "scheduler.snapshot",
            "Limits": "scheduler.snapshot",
            "Plan": "scheduler.decision",
            "Policy": "scheduler.policy",
            "RequestTable": "scheduler.snapshot",
            "SimRequest": "scheduler.simulator.request",
            "Slo": "scheduler.slo",
            "SloClass": "scheduler.slo",
            "Snapshot": "scheduler.snapshot",
            "StepDecision": "scheduler.decision",
            "StepLatency": "scheduler.latency",
            "StepWork": "scheduler.latency",
            "Tracker": "scheduler.tracker",
            "check_policy": "scheduler.registry",
            "create_policy": "scheduler.registry",
            "expected_remaining": "scheduler.lengths",
            "load_profile": "scheduler.simulator.profiles",
            "policy_names": "scheduler.registry",
        },
    )

__all__ = [
    "Arrival",
    "Driver",
    "EngineProfile",
    "LengthTable",
    "Limits",
    "Plan",
    "Policy",
    "RequestTable",
    "SimRequest",
    "Slo",
    "SloClass",
    "Snapshot",
    "StepDecision",
    "StepLatency",
    "StepWork",
    "Tracker",
    "check_policy",
    "create_policy",
    "expected_remaining",
    "load_profile",
    "policy_names",
]
