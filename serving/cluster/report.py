"""What a replica says of itself, and how a router hears it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """``replica`` is Ray Serve's id, ``rank`` its number from 0 on, which restarts keep.

    ``digest`` is :meth:`scheduler.placement.digest.Digest.to_bytes`, true ``age_s`` before the
    report was sent; ``None`` before the engine's latency model is there. ``healthy`` is false once
    the engine is dead or hangs. ``model`` is a fingerprint of the weights that are ``named`` so.
    """

    replica: str
    rank: int
    model: str
    named: str = ""
    digest: bytes | None = None
    age_s: float = 0.0
    healthy: bool = True
    untrained: int = 0
    fallbacks: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """A report as a router reads it from the board, ``age_s`` including the time it lay there.

    ``silent_s`` is the time since the replica last said anything.
    """

    report: ReplicaReport
    age_s: float
    silent_s: float


@dataclass(frozen=True, slots=True)
class News:
    """Everything reported since ``serial``; another ``epoch`` means that the board began anew."""

    epoch: str
    serial: int
    heard: tuple[Heard, ...]
