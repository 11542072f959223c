"""What a search returns."""

from dataclasses import dataclass

from scheduler.snapshot import Ints


@dataclass(frozen=True, slots=True)
class AnnealResult:
    """The best order found, cut into batches.

    ``order`` int64[n] holds request indices, first served first; ``batch_sizes`` int64[k] sums
    to n. ``value`` is G of that state in promises kept per second of latency, ``seed_value``
    G of the better start. ``exited_early``: the start kept every promise and was taken.
    """

    order: Ints
    batch_sizes: Ints
    value: float
    seed_value: float
    evaluations: int
    elapsed_s: float
    exited_early: bool = False
