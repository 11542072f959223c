"""Engines and requests for the tests of placement, made by hand."""

from dataclasses import dataclass, field

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from scheduler.placement.choice import Candidate
from scheduler.placement.digest import Digest
from scheduler.slo import Slo
from scheduler.snapshot import Limits, Snapshot
from scheduler.tracker import Arrival, Tracker

CODE, CHAT = Slo(e2e_s=30.0), Slo(ttft_s=5.0, tpot_s=0.1)
# Every token takes 50 ms and prefills nothing, whoever runs.
STEADY = StepLatency.linear(step_s=0.05)
NOW_S = 1.0


@dataclass(frozen=True)
class Live:
    """A request on an engine."""

    slo: Slo = CODE
    tokens: int = 100
    running: bool = False
    prompt: int = 10


def running(tokens=500, **more):
    return Live(tokens=tokens, running=True, **more)


@dataclass(frozen=True)
class Limited:
    """What the engine of a test can hold."""

    slots: int = 2
    latency: StepLatency = field(default=STEADY)
    kv_free: int | None = None


def tracked(*live, limited=None) -> Tracker:
    limited = limited or Limited()
    tracker = Tracker(limits=Limits(limited.slots, 2048, 10**6))
    for number, each in enumerate(live):
        lengths = LengthDistribution.point(each.tokens)
        tracker.arrived(Arrival(str(number), 0.0, each.prompt, 2048, each.slo, lengths))
        if each.running:
            tracker.scheduled({str(number): each.prompt})
            tracker.tokens({str(number): 5}, 0.0)
    return tracker


def pictured(tracker, limited=None) -> Snapshot:
    limited = limited or Limited()
    return tracker.snapshot(now_s=NOW_S, latency=limited.latency, kv_tokens_free=limited.kv_free)


def snapshot(*live, limited=None) -> Snapshot:
    return pictured(tracked(*live, limited=limited), limited)


def digest(*live, **limits) -> Digest:
    return Digest.of(snapshot(*live, limited=Limited(**limits)))


def newcomer(slo=CODE, tokens=100, prompt=10, waited_s=0.0) -> Candidate:
    return Candidate.of(
        slo, LengthDistribution.point(tokens), prompt_tokens=prompt, waited_s=waited_s
    )
