"""One line per engine step, written by the scheduler inside the engine process, read by others."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from predictor.reading import SkippedItemError
from scheduler.latency import StepWork
from serving.line_log import read_lines


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One engine iteration.

    ``at_s`` is Unix time when scheduling of the step began; ``step_s`` is how long those who
    are served waited for it (:class:`serving.vllm_timed.TimedScheduler`; ``None``: not known yet).
    ``prefills`` requests computed ``prefill_tokens`` prompt tokens in all, on top of
    ``prefill_context_tokens`` already cached ones; ``decodes`` requests
    computed one token each over ``context_tokens`` cached tokens in all. ``schedule_s`` is the
    whole time inside the scheduler before the step, ``added_s`` all of Slotwise's own time since
    the step before, wherever it was spent (next to 0 for a stock scheduler). Over the prefills:
    ``prefill_products`` sums chunk times cached tokens, ``prefill_squares`` the squared chunks,
    ``longest_prefill`` is the largest chunk. ``untrained`` counts the steps so far that were
    served in arrival order for want of a latency model.
    """

    at_s: float
    waiting: int
    running: int
    prefills: int
    prefill_tokens: int
    prefill_context_tokens: int
    decodes: int
    context_tokens: int
    preempted: int
    schedule_s: float
    added_s: float
    step_s: float | None
    fallbacks: int = 0
    prefill_products: int = 0
    prefill_squares: int = 0
    longest_prefill: int = 0
    untrained: int = 0

    @property
    def work(self) -> StepWork:
        """The sums that the latency model reads."""
        return StepWork(
            products=self.prefill_products,
            squares=self.prefill_squares,
            prefill_cached=self.prefill_context_tokens,
            decodes=self.decodes,
            decode_cached=self.context_tokens,
            prefill_tokens=self.prefill_tokens,
            longest=self.longest_prefill,
        )


_NAMES = [field.name for field in fields(StepRecord)]
_WIDTH, _STEP_S = len(_NAMES), _NAMES.index("step_s")


def encode(records: Iterable[StepRecord]) -> str:
    """Render records as JSON lines, one array each, in the order of the fields."""
    return "".join(json.dumps(list(asdict(record).values())) + "\n" for record in records)


def read(path: Path) -> Iterator[StepRecord]:
    """Yield the records of a step log; a last line cut short by a dying engine is skipped.

    Other lines that are no record are left out and counted. Raises ``InputError`` for a log of
    another version.
    """
    if not path.exists():
        return
    yield from read_lines(path, _record, item="step")


def _record(line: bytes) -> StepRecord:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SkippedItemError("not JSON", line) from error
    if not isinstance(values, list):
        raise SkippedItemError("not a list", values)
    if len(values) != _WIDTH:
        raise SkippedItemError(
            f"has {len(values)} values, not {_WIDTH}: the log is not of this version"
        )
    if not all(isinstance(v, int | float) for k, v in enumerate(values) if k != _STEP_S or v):
        raise SkippedItemError("holds what is no number", values)
    return StepRecord(*values)
