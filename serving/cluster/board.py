"""Where replicas post how they are and routers read it: one small actor for the whole fleet.

One read tells a router of all engines, so N engines and R routers exchange N + R messages in a
period and not N * R. Nothing is lost with the board: when it is gone, digests grow stale, routers
fall back, Ray starts it again and everybody posts anew.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from predictor.errors import ClusterError
from serving.cluster.report import Heard, News, ReplicaReport

# A process that is silent for longer is gone.
GONE_S = 30.0


@dataclass(slots=True)
class _Posted:
    report: ReplicaReport
    serial: int
    at_s: float
    said_at_s: float


@dataclass(frozen=True, slots=True)
class IngressNote:
    """What the ingress of rank ``name`` posts: the model that predicts there, and its metrics."""

    name: str
    predictor: str
    metrics: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The fleet: live replicas by rank, ingresses, and for how long predictors have differed."""

    replicas: tuple[Heard, ...]
    ingresses: tuple[IngressNote, ...]
    mixed_s: float
    restarted_s: float


class SnapshotBoard:
    """Plain state behind plain methods; Ray calls them one after the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._epoch = uuid.uuid4().hex
        self._serial = 0
        self._posted: dict[str, _Posted] = {}
        self._notes: dict[str, tuple[float, IngressNote]] = {}
        self._mixed_since_s: float | None = None
        self._began_s = clock()

    def join(self, report: ReplicaReport) -> None:
        """A replica that is about to serve; raises ``ClusterError`` if others serve another.

        Of models that are called differently each may have its own: a fleet may change.
        """
        self._forget()
        for posted in self._posted.values():
            same = posted.report.named == report.named
            if same and posted.report.model != report.model:
                raise ClusterError(
                    f"replica {report.rank} serves another model ({report.model}) than replica "
                    f"{posted.report.rank} ({posted.report.model}): put the same files on all nodes"
                )
        self.post(report)

    def post(self, report: ReplicaReport) -> None:
        """Take in how a replica is."""
        now_s = self._clock()
        self._serial += 1
        said_at_s = now_s - report.age_s
        self._posted[report.replica] = _Posted(report, self._serial, now_s, said_at_s)

    def read(self, epoch: str, serial: int) -> News:
        """What is new since ``serial`` of ``epoch``; all, if that is another."""
        after = serial if epoch == self._epoch else -1
        heard = tuple(self._heard(p) for p in self._posted.values() if p.serial > after)
        return News(self._epoch, self._serial, heard)

    def note(self, note: IngressNote) -> None:
        """Take in what an ingress says."""
        self._notes[note.name] = (self._clock(), note)
        self._forget()
        predictors = {each.predictor for _, each in self._notes.values()}
        if len(predictors) < 2:
            self._mixed_since_s = None
        elif self._mixed_since_s is None:
            self._mixed_since_s = self._clock()

    def overview(self) -> Overview:
        """All that is known."""
        self._forget()
        now_s = self._clock()
        since_s = self._mixed_since_s
        # Of a replica that was started anew only the new one.
        latest = {p.report.rank: p for p in sorted(self._posted.values(), key=lambda p: p.serial)}
        return Overview(
            replicas=tuple(self._heard(latest[rank]) for rank in sorted(latest)),
            ingresses=tuple(note for _, note in self._notes.values()),
            mixed_s=0.0 if since_s is None else now_s - since_s,
            restarted_s=now_s - self._began_s,
        )

    def _heard(self, posted: _Posted) -> Heard:
        now_s = self._clock()
        return Heard(posted.report, now_s - posted.said_at_s, now_s - posted.at_s)

    def _forget(self) -> None:
        gone_s = self._clock() - GONE_S
        self._posted = {k: p for k, p in self._posted.items() if p.at_s > gone_s}
        self._notes = {k: n for k, n in self._notes.items() if n[0] > gone_s}
