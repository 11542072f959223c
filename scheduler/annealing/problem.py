"""One instance of the published problem: requests to be cut into batches."""

from dataclasses import dataclass

import numpy as np

from scheduler.latency import StepLatency
from scheduler.snapshot import Floats


@dataclass(frozen=True, slots=True)
class BatchProblem:
    """n requests for one engine that serves batch after batch (section 3).

    ``atoms`` is float64[n, Q]: equally likely output lengths in tokens, ascending; Q = 1 is the
    paper's point forecast. ``waited_s`` is how long each has waited already; targets are seconds,
    ``inf`` where nothing was promised. ``coefficients`` are a1..a4, d1..d4 of the latency model.
    """

    prompt_tokens: Floats
    atoms: Floats
    waited_s: Floats
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    max_batch: int
    coefficients: Floats

    def __post_init__(self) -> None:
        if self.max_batch < 1:
            raise ValueError(f"max_batch is {self.max_batch}: a batch holds at least one request")

    @property
    def moments(self) -> Floats:
        """float64[n, 2]: mean of t and of t (t - 1) / 2 over the atoms."""
        tokens = self.atoms
        return np.stack([tokens.mean(axis=1), (tokens * (tokens - 1) / 2).mean(axis=1)], axis=1)

    def __len__(self) -> int:
        return len(self.prompt_tokens)

    @classmethod
    def build(
        cls,
        *,
        prompt_tokens: Floats,
        atoms: Floats,
        latency: StepLatency,
        max_batch: int,
        waited_s: Floats | None = None,
        ttft_s: Floats | None = None,
        tpot_s: Floats | None = None,
        e2e_s: Floats | None = None,
    ) -> "BatchProblem":
        """Fill in what is missing: nobody has waited, nothing was promised."""
        n = len(prompt_tokens)

        def or_else(values: Floats | None, default: float) -> Floats:
            return np.full(n, default) if values is None else np.ascontiguousarray(values, float)

        return cls(
            prompt_tokens=np.ascontiguousarray(prompt_tokens, float),
            atoms=np.sort(np.asarray(atoms, float), axis=1),
            waited_s=or_else(waited_s, 0.0),
            ttft_s=or_else(ttft_s, np.inf),
            tpot_s=or_else(tpot_s, np.inf),
            e2e_s=or_else(e2e_s, np.inf),
            max_batch=max_batch,
            coefficients=np.array([*latency.prefill, *latency.decode]),
        )

    def arrays(self) -> tuple[Floats, ...]:
        """Return what the kernels take, in their order."""
        return (
            self.prompt_tokens,
            self.atoms,
            self.moments,
            self.waited_s,
            self.ttft_s,
            self.tpot_s,
            self.e2e_s,
            self.coefficients,
        )
