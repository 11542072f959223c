"""What a policy sees: an immutable picture of one engine at one moment."""

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scheduler.blocked import Blocked

if TYPE_CHECKING:
    from scheduler.latency import StepLatency

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


# Equally likely values that stand for a length distribution where planning has to be quick.
ATOMS = 16


class Column(IntEnum):
    """Rows of :attr:`RequestTable.values`, one number per request each.

    Compiled kernels hold these numbers: whoever changes one clears numba's caches (`make clean`).
    """

    HANDLE = 0
    ARRIVAL_S = 1
    PROMPT_TOKENS = 2
    PREFILL_LEFT = 3
    GENERATED = 4
    FIRST_TOKEN_S = 5
    TTFT_S = 6
    TPOT_S = 7
    E2E_S = 8
    PRIORITY = 9
    PREEMPTIONS = 10
    MAX_TOKENS = 11
    LAST_TOKEN_S = 12


@dataclass(frozen=True, slots=True)
class RequestTable:
    """Requests as columns: ``values`` is float64[len(Column), n], read-only.

    ``handle`` is the small integer by which the tracker and every decision name a request; it
    is also the request's row in :class:`LengthTable`. Times are seconds on the engine's
    monotonic clock. A missing SLO target is ``inf``; ``first_token_s`` and
    ``last_token_s`` are ``nan`` until the first token. ``prefill_left`` counts the tokens to
    compute before the next token can come out: of the prompt, and after a preemption of the tokens
    generated so far as well.
    """

    values: Floats

    def __len__(self) -> int:
        return int(self.values.shape[1])

    def _column(self, column: Column) -> Floats:
        values: Floats = self.values[column]
        return values

    @property
    def handle(self) -> Ints:
        """int64[n]."""
        return self._column(Column.HANDLE).astype(np.int64)

    @property
    def arrival_s(self) -> Floats:
        """float64[n]."""
        return self._column(Column.ARRIVAL_S)

    @property
    def prompt_tokens(self) -> Floats:
        """float64[n]."""
        return self._column(Column.PROMPT_TOKENS)

    @property
    def prefill_left(self) -> Floats:
        """float64[n]."""
        return self._column(Column.PREFILL_LEFT)

    @property
    def generated(self) -> Floats:
        """float64[n], tokens put out so far."""
        return self._column(Column.GENERATED)

    @property
    def first_token_s(self) -> Floats:
        """float64[n], ``nan`` before the first token."""
        return self._column(Column.FIRST_TOKEN_S)

    @property
    def last_token_s(self) -> Floats:
        """float64[n], when the latest token came out; ``nan`` before the first, or not known."""
        return self._column(Column.LAST_TOKEN_S)

    @property
    def ttft_s(self) -> Floats:
        """float64[n], the TTFT target or ``inf``."""
        return self._column(Column.TTFT_S)

    @property
    def tpot_s(self) -> Floats:
        """float64[n], the TPOT target or ``inf``."""
        return self._column(Column.TPOT_S)

    @property
    def e2e_s(self) -> Floats:
        """float64[n], the end-to-end target or ``inf``."""
        return self._column(Column.E2E_S)

    @property
    def priority(self) -> Floats:
        """float64[n], lower is earlier, as in vLLM."""
        return self._column(Column.PRIORITY)

    @property
    def preemptions(self) -> Floats:
        """float64[n]."""
        return self._column(Column.PREEMPTIONS)


@dataclass(frozen=True, slots=True)
class LengthTable:
    """Predicted output lengths of all requests the tracker knows, one row per handle.

    ``edges`` is float64[capacity, bins + 1] and ``cdf`` float64[capacity, bins + 1]:
    ``P(length <= edges[h, b]) = cdf[h, b]``, linear between the edges (a point mass at n is a
    row that steps from 0 at n - 1 to 1 at n). Shorter rows are padded with their last edge.
    ``atoms``, float64[capacity, ATOMS], are equally likely lengths of each, ascending.
    A row is written once, when its request arrives, and its handle is reused only after all
    others that were free.
    """

    edges: Floats
    cdf: Floats
    atoms: Floats


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine can hold: sequences at once, tokens a step, and KV-cache tokens.

    ``steps_ahead``: how many steps are under way already when one is decided on, 1 where the
    engine schedules asynchronously. Who comes now waits for them as well.
    """

    max_num_seqs: int
    max_batched_tokens: int
    kv_tokens: int
    steps_ahead: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One engine at ``now_s``.

    ``version`` rises with each change that can make a plan stale (arrival, finish, abort,
    preemption), not with each token. ``waiting`` is in arrival order, ``running`` in the
    engine's order. Of a long queue ``waiting`` is a shortlist; ``left_out`` counts the others.
    ``blocked`` counts live requests that cannot be admitted and stand in neither table; all the
    waiting are among them while nobody can be admitted, for the reason ``closed``.
    """

    now_s: float
    version: int
    waiting: RequestTable
    running: RequestTable
    lengths: LengthTable
    limits: Limits
    kv_tokens_free: int
    latency: "StepLatency"
    left_out: int = 0
    blocked: int = 0
    closed: Blocked | None = None
