"""From a snapshot over HTTP to a decision over HTTP, through the same policies as in an engine."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from predictor.errors import SnapshotError
from scheduler.placement.choice import Candidate
from scheduler.placement.digest import Digest
from scheduler.placement.fleet import Fleet
from scheduler.registry import class_priorities_act
from scheduler.slots.outcome import Outcome, outcome
from scheduler.snapshot import Floats
from scheduler.tracker import Arrival
from scheduler.warmup import warm_up, warm_up_placement
from serving.priors import ClassPriors
from serving.sidecar.scheduling.engine_view import EngineView
from serving.sidecar.scheduling.reasons import Reasons
from serving.sidecar.scheduling.requests import Known
from serving.sidecar.scheduling.session import Sessions
from serving.sidecar.schemas.schedule import (
    DecisionOut,
    InstanceIn,
    LatencyIn,
    PlaceOut,
    RequestIn,
    ScheduleIn,
    ScheduleOut,
)
from serving.slo_classes import SloClasses

# A digest costs time for each request of its engine. It is made anew once an engine has taken
# more than a quarter of its requests since, or 32; until then they are added to it one by one.
_FRESH_SHARE, _MOST_SINCE = 4, 32


@dataclass(slots=True)
class Decider:
    """Answers ``/schedule``. Cost: 2 ms with one engine, 16 running and 256 waiting.

    Linear in the requests, some 30 us each; to assign one takes 0.3 ms more. One thread at a time.
    """

    classes: SloClasses
    priors: ClassPriors
    policy: str
    time_box_s: float
    sessions: Sessions = field(default_factory=Sessions)

    def decide(self, asked: ScheduleIn, *, now_s: float | None = None) -> ScheduleOut:
        """Assign, plan, and say why. Raises ``SlotwiseError`` subclasses for a bad snapshot."""
        started_s = time.perf_counter()
        now_s = time.monotonic() if now_s is None else now_s
        policy = asked.policy or self.policy
        _check_names(asked)
        known = Known(self.classes.table, self.priors, class_priorities_act(policy))
        views = [
            EngineView.of(instance, self.sessions.get(instance.name, policy), known, now_s)
            for instance in asked.instances
        ]
        assignment = _assign(asked.unassigned, views, known, now_s)
        decided = [self._decided(view, policy) for view in views]
        return ScheduleOut(
            policy=policy,
            instances=decided,
            assignment=assignment,
            expected_attainment=_mean(place.chance for each in decided for place in each.places),
            decision_ms=(time.perf_counter() - started_s) * 1e3,
        )

    def warm_up(self, policy: str) -> None:
        """Compile what a decision by this policy runs, on made-up engines."""
        warm_up(policy)
        warm_up_placement()
        requests = [
            RequestIn(
                id=str(number),
                state="running" if number < 2 else "waiting",
                e2e_ms=30_000,
                waited_ms=10 * number,
                prompt_tokens=32,
                generated=number % 2,
            )
            for number in range(8)
        ]
        latency = LatencyIn(step_ms=10.0, decode_ms=1.0, prompt_token_ms=0.1)
        engines = [
            InstanceIn(
                name=name, max_num_seqs=2, latency=latency, requests=_renamed(requests, name)
            )
            for name in ("warm-0", "warm-1")
        ]
        late = _renamed(requests[2:], "unassigned")
        spare = Decider(self.classes, self.priors, policy, time_box_s=60.0)
        for _ in range(2):
            spare.decide(ScheduleIn(instances=engines, unassigned=late), now_s=100.0)

    def _decided(self, view: EngineView, policy: str) -> DecisionOut:
        driver = view.driver(self.time_box_s)
        decision = driver.decide(now_s=view.now_s, kv_tokens_free=view.instance.kv_tokens_free)
        decision = decision.completed(view.tracker.waiting_handles())
        found = outcome(view.snapshot(), decision)
        ids = view.tracker.request_ids
        if driver.plan is not None:
            view.session.planned = tuple(ids(driver.plan.order))
        return DecisionOut(
            name=view.instance.name,
            order=ids(decision.order),
            preempt=ids(decision.preempt),
            held=ids(decision.held),
            relegated=ids(decision.relegated),
            token_budget=decision.token_budget,
            fallback=driver.fallbacks > 0,
            expected_attainment=found.attainment,
            places=_places(view, Reasons.of(decision, driver.plan, policy), found),
        )


def _assign(
    requests: Sequence[RequestIn], views: Sequence[EngineView], known: Known, now_s: float
) -> dict[str, str]:
    """Each goes where it gains most kept promises, as ``--placement slo-gain`` does."""
    assignment: dict[str, str] = {}
    if len(views) == 1 or not requests:
        for request in requests:
            _take(request, views[0], known, now_s)
        return {request.id: views[0].instance.name for request in requests}
    by_name = {view.instance.name: view for view in views}
    names, fleet = list(by_name), Fleet[str]()
    since = dict.fromkeys(names, 0)
    for name, view in by_name.items():
        fleet.update(name, Digest.of(view.snapshot()), made_s=now_s)
    for request in requests:
        arrival = known.arrival(request, views[0].session, now_s)
        candidate = _candidate(arrival, now_s)
        name = fleet.ranks(names, candidate, now_s=now_s)[0]
        view = by_name[name]
        _take(request, view, known, now_s)
        assignment[request.id] = name
        since[name] += 1
        if since[name] > min(len(view.class_of) // _FRESH_SHARE, _MOST_SINCE):
            since[name] = 0
            fleet.remove(name)
            fleet.update(name, Digest.of(view.snapshot()), made_s=now_s)
        else:
            fleet.placed(name, candidate, now_s=now_s)
    return assignment


def _take(request: RequestIn, view: EngineView, known: Known, now_s: float) -> None:
    arrival = known.arrival(request, view.session, now_s)
    view.take(arrival, known.classes.get(request.slo_class).name)


def _candidate(arrival: Arrival, now_s: float) -> Candidate:
    return Candidate.of(
        arrival.slo,
        arrival.lengths,
        prompt_tokens=arrival.prompt_tokens,
        waited_s=now_s - arrival.arrival_s,
    )


def _places(view: EngineView, reasons: Reasons, found: Outcome) -> list[PlaceOut]:
    rows = zip(
        view.tracker.request_ids(found.handle),
        *(column.tolist() for column in found),
        (found.begin_s * 1e3).round(1).tolist(),
        (found.end_s * 1e3).round(1).tolist(),
        _numbers(found.chance),
        _numbers(found.chance_now),
        strict=True,
    )
    return [
        PlaceOut(
            id=name,
            slo_class=view.class_of[name],
            runs=runs,
            slot=slot,
            begin_ms=begin_ms,
            end_ms=end_ms,
            chance=shown,
            chance_now=shown_now,
            reason=reasons.reason(
                handle, runs=runs, wait_s=wait_s, chance=chance, chance_now=chance_now
            ),
        )
        for (
            name, handle, slot, runs, wait_s, _, _, chance, chance_now,
            begin_ms, end_ms, shown, shown_now,
        ) in rows
    ]  # fmt: skip


def _renamed(requests: Sequence[RequestIn], prefix: str) -> list[RequestIn]:
    return [request.model_copy(update={"id": f"{prefix}-{request.id}"}) for request in requests]


def _numbers(chances: Floats) -> list[float | None]:
    rounded: list[float] = chances.round(4).tolist()
    return [chance if chance == chance else None for chance in rounded]  # noqa: PLR0124 - nan


def _mean(chances: Iterable[float | None]) -> float | None:
    known = [chance for chance in chances if chance is not None]
    return sum(known) / len(known) if known else None


def _check_names(asked: ScheduleIn) -> None:
    names = [instance.name for instance in asked.instances]
    if len(set(names)) < len(names):
        raise SnapshotError("names of instances must be unique")
    live = [request.id for instance in asked.instances for request in instance.requests]
    live += [request.id for request in asked.unassigned]
    if len(set(live)) < len(live):
        raise SnapshotError("ids of requests must be unique")
    if any(request.state == "running" for request in asked.unassigned):
        raise SnapshotError("an unassigned request cannot be running: put it on its instance")
