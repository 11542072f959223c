"""What one benchmark compares, and on what."""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from predictor.errors import InputError
from scheduler.registry import PolicyName, check_policy
from training.collected.known import known_models

Lengths = Literal["recorded", "natural"]

DEFAULT_RATE = 1.6

# Policies that are vLLM's own; they run its scheduler untouched.
STOCK = ("fcfs", "priority")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """Settings of one ``slotwise bench`` run; rates in requests per second.

    ``load`` takes the place of ``request_rate``: a multiple of what the engine carries, as its
    profiling shows. The built-in SLO classes then are multiples of its speed as well.
    ``lengths``: ``recorded`` forces each answer to the length it had in the data set,
    ``natural`` samples answers and lets the model stop by itself; an oracle then knows the mean
    of the answers collected for a prompt. Conversations with longer prompts than
    ``max_prompt_tokens`` or longer answers than ``max_output_tokens`` are not sampled.
    ``dtype`` is what the engines compute in (``serving.engine.dtype``). ``timeout_s`` bounds one
    request.
    """

    policies: tuple[str, ...]
    model: str
    num_prompts: int = 160
    request_rate: float = DEFAULT_RATE
    load: float | None = None
    burstiness: float = 1.0
    code_fraction: float = 0.5
    max_num_seqs: int = 16
    max_model_len: int = 2048
    max_prompt_tokens: int = 1024
    max_output_tokens: int = 2048
    seed: int = 0
    lengths: Lengths = "recorded"
    dataset_path: Path | None = None
    dtype: str = "auto"
    slo_config: Path | None = None
    predictor: str | None = None
    port: int = 0
    timeout_s: float = 900.0
    output: Path = Path("build/bench/result.json")

    def __post_init__(self) -> None:
        names = [check_policy(name) for name in self.policies]
        if self.load is not None and not 0.0 < self.load < inf:
            raise InputError(
                f"load {self.load}: give a multiple of what the engine carries, such as 1.3"
            )
        if not names:
            raise InputError("no policy named: give e.g. --policies fcfs,slotwise")
        if len(set(self.policies)) < len(self.policies):
            raise InputError(
                f"a policy is named twice in {','.join(self.policies)}: name each once"
            )
        oracles = [name.full for name in names if name.oracle]
        if self.lengths == "natural" and oracles and self.own_lengths is None:
            raise InputError(
                f"{oracles[0]} needs to know true lengths, and of what {self.model} writes by "
                "itself nobody does: use --lengths recorded or leave it out"
            )

    @property
    def own_lengths(self) -> str | None:
        """The model whose collected lengths speak of this run: what it writes by itself."""
        own = self.lengths == "natural" and self.dataset_path is None
        return self.model if own and self.model in known_models() else None

    @property
    def has_oracle(self) -> bool:
        """Whether any policy is told the truth."""
        return any(PolicyName.parse(name).oracle for name in self.policies)

    @property
    def needs_predictor(self) -> bool:
        """Whether any policy is to be told predicted lengths."""
        names = [PolicyName.parse(name) for name in self.policies]
        return any(name.base not in STOCK and not name.oracle for name in names)
