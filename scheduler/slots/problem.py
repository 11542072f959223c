"""The planning problem of one moment: everybody who wants a slot, as arrays."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from scheduler.lengths import remaining_atoms
from scheduler.snapshot import Floats, Ints, RequestTable, Snapshot

# Equally likely values that stand for the distribution of what a request has still to say.
ATOMS = 16


class Fact(IntEnum):
    """Columns of :attr:`SlotProblem.facts`; times are seconds from now."""

    START_S = 0  # prefill before the next token, if it gets or keeps a slot now
    RESTART_S = 1  # the same if it first has to give up its slot
    TTFT_DUE_S = 2  # inf: no such promise, or kept already; -inf: broken for good
    E2E_DUE_S = 3  # inf: no such promise
    TPOT_S = 4  # the target; inf: no such promise
    FIRST_TOKEN_S = 5  # when the first token came (<= 0); nan: not yet
    GENERATED = 6  # tokens out so far
    PROMISED = 7  # 1 if anything was promised, else 0


@dataclass(frozen=True, slots=True)
class SlotProblem:
    """Candidates for ``slots`` places; the first ``running`` of the n hold one already.

    ``facts`` is float64[n, len(Fact)]; ``atoms`` float64[n, ATOMS] are equally likely remaining
    tokens, ascending. ``token_s`` is the time between two tokens of a request while all slots
    are taken, the prefills of others included; ``decode_s`` the same without them.
    ``waited_s`` is float64[n], the time since arrival.
    """

    handle: Ints
    running: int
    slots: int
    token_s: float
    decode_s: float
    facts: Floats
    atoms: Floats
    waited_s: Floats

    def __len__(self) -> int:
        return len(self.handle)

    @property
    def service_s(self) -> float:
        """Mean time a candidate would hold a slot."""
        return float(self.atoms.mean()) * self.token_s if len(self) else self.token_s

    @classmethod
    def of(cls, snapshot: Snapshot) -> "SlotProblem":
        """Read a snapshot. Cost: about 0.1 ms with 150 waiting."""
        table = RequestTable(
            np.concatenate([snapshot.running.values, snapshot.waiting.values], axis=1)
        )
        atoms = remaining_atoms(table, snapshot.lengths, ATOMS)
        token_s, decode_s = _step_times_s(snapshot, table, atoms)
        return cls(
            handle=table.handle,
            running=len(snapshot.running),
            slots=snapshot.limits.max_num_seqs,
            token_s=token_s,
            decode_s=decode_s,
            facts=_facts(snapshot, table),
            atoms=atoms,
            waited_s=snapshot.now_s - table.arrival_s,
        )


def _facts(snapshot: Snapshot, table: RequestTable) -> Floats:
    now_s = snapshot.now_s
    facts = np.empty((len(table), len(Fact)))
    ttft_due_s = table.arrival_s + table.ttft_s
    kept = table.first_token_s <= ttft_due_s
    streamed = np.where(kept, np.inf, -np.inf)
    pending = np.where(table.generated > 0, streamed, ttft_due_s - now_s)
    facts[:, Fact.START_S] = _prefill_s(snapshot, table.prefill_left)
    facts[:, Fact.RESTART_S] = _prefill_s(snapshot, table.prompt_tokens + table.generated)
    facts[:, Fact.TTFT_DUE_S] = np.where(np.isinf(table.ttft_s), np.inf, pending)
    facts[:, Fact.E2E_DUE_S] = table.arrival_s + table.e2e_s - now_s
    facts[:, Fact.TPOT_S] = table.tpot_s
    facts[:, Fact.FIRST_TOKEN_S] = table.first_token_s - now_s
    facts[:, Fact.GENERATED] = table.generated
    facts[:, Fact.PROMISED] = np.isfinite(
        np.minimum(np.minimum(table.ttft_s, table.tpot_s), table.e2e_s)
    )
    return facts


def _prefill_s(snapshot: Snapshot, tokens: Floats) -> Floats:
    """float64[n]: what a prefill of so many tokens adds to a step that decodes anyway."""
    latency = snapshot.latency
    alone_s = latency.decode_s(1.0, 0.0)
    return np.asarray(latency.step_s(tokens > 0, tokens, 1.0, 0.0) - alone_s)


def _step_times_s(snapshot: Snapshot, table: RequestTable, atoms: Floats) -> tuple[float, float]:
    """Time between tokens with all slots in use: with the prefills of others, and without."""
    if not len(table):
        return 1.0, 1.0
    busy = min(len(table), snapshot.limits.max_num_seqs)
    to_come = atoms.mean(axis=1)
    context = float((table.prompt_tokens + table.generated + to_come / 2).mean())
    decode_s = float(snapshot.latency.decode_s(busy, context))
    prefill_s = float(_prefill_s(snapshot, table.prompt_tokens).mean())
    tokens = float((table.generated + to_come).mean())
    return decode_s + prefill_s * busy / max(tokens, 1.0), decode_s
