"""One engine of a snapshot, rebuilt for the policy."""

from dataclasses import dataclass, field
from functools import lru_cache

from predictor.errors import InputError, SnapshotError
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.simulator.profiles import load_profile, profile_names
from scheduler.snapshot import Limits, Snapshot
from scheduler.tracker import Arrival, Tracker
from serving.config_file import nearest
from serving.sidecar.scheduling.requests import Known, length_rows, values_of
from serving.sidecar.scheduling.session import Session
from serving.sidecar.schemas.schedule import InstanceIn, RequestIn


@dataclass(slots=True)
class EngineView:
    """A tracker filled from a snapshot, the step times, and what is remembered of the engine."""

    instance: InstanceIn
    session: Session
    tracker: Tracker
    latency: StepLatency
    now_s: float
    class_of: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, instance: InstanceIn, session: Session, known: Known, now_s: float) -> "EngineView":
        """Rebuild; raises ``InputError``, ``DistributionError`` or ``SnapshotError``."""
        limits = Limits(
            max_num_seqs=instance.max_num_seqs,
            max_batched_tokens=instance.max_batched_tokens,
            kv_tokens=instance.kv_tokens,
        )
        view = cls(instance, session, Tracker(limits=limits), _latency(instance), now_s)
        view._fill(instance.requests, known)
        return view

    def take(self, arrival: Arrival, class_name: str) -> None:
        """Assign a request to this engine."""
        self.tracker.arrived(arrival)
        self.class_of[arrival.request_id] = class_name

    def driver(self, time_box_s: float) -> Driver:
        """Asks the policy about this engine."""
        handles = {name: self.tracker.handle(name) for name in self.class_of}
        self.session.forget_all_but(handles)
        return Driver(
            policy=self.session.policy,
            limits=self.tracker.limits,
            latency=self.latency,
            tracker=self.tracker,
            previous=self.session.previous(handles),
            time_box_s=time_box_s,
        )

    def snapshot(self) -> Snapshot:
        """As the policy sees it."""
        return self.tracker.snapshot(
            now_s=self.now_s, latency=self.latency, kv_tokens_free=self.instance.kv_tokens_free
        )

    def _fill(self, requests: list[RequestIn], known: Known) -> None:
        ids = [request.id for request in requests]
        if len(set(ids)) < len(ids):
            raise SnapshotError(f"instance {self.instance.name}: ids of requests must be unique")
        if not requests:
            return
        values = values_of(requests, known, self.session, self.now_s)
        self.tracker.arrived_together(ids, values, *length_rows(requests, known))
        self.tracker.scheduled({each.id: 0 for each in requests if each.state == "running"})
        self.class_of = {
            request.id: known.classes.get(request.slo_class).name for request in requests
        }


def _latency(instance: InstanceIn) -> StepLatency:
    if instance.latency is not None:
        given = instance.latency
        prefill_step_ms = given.prefill_step_ms
        return StepLatency.linear(
            step_s=given.step_ms / 1e3,
            decode_s=given.decode_ms / 1e3,
            context_token_s=given.context_token_ms / 1e3,
            prompt_token_s=given.prompt_token_ms / 1e3,
            prefill_step_s=None if prefill_step_ms is None else prefill_step_ms / 1e3,
        )
    return _profile_latency(str(instance.engine_profile))


@lru_cache(maxsize=32)
def _profile_latency(name: str) -> StepLatency:
    """Fitted once: it takes milliseconds. Built-in names only: a client must not name files."""
    if name not in profile_names():
        raise InputError(
            f"engine profile '{name}' is not known: {nearest(name, profile_names())} "
            "Or give latency"
        )
    return load_profile(name).latency()
