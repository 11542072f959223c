"""What is to be ordered: the requests of one engine instance, as arrays."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from scheduler.latency import StepLatency
from scheduler.snapshot import Floats


@dataclass(frozen=True, slots=True)
class AnnealProblem:
    """n requests to be cut into consecutive static batches (arXiv 2504.14966, section 4).

    Per request, float64[n]: ``prompt_tokens``, ``waited_s`` since arrival, and the targets
    ``ttft_s``, ``tpot_s``, ``e2e_s`` (``inf``: none; a request without any is served but
    counts as no promise kept). ``output_tokens`` is float64[n, Q]: Q equally likely
    scenarios of all output lengths together; one scenario is the paper's point forecast.
    """

    prompt_tokens: Floats
    output_tokens: Floats
    waited_s: Floats
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    max_batch: int
    latency: StepLatency

    def __post_init__(self) -> None:
        n = self.prompt_tokens.shape[0]
        if self.output_tokens.ndim != 2 or self.output_tokens.shape[1] == 0:
            raise ValueError(f"output_tokens has shape {self.output_tokens.shape}, not (n, Q >= 1)")
        for name in ("output_tokens", "waited_s", "ttft_s", "tpot_s", "e2e_s"):
            if getattr(self, name).shape[0] != n:
                raise ValueError(f"{name} is of {len(getattr(self, name))} requests, not of {n}")
        if self.max_batch < 1:
            raise ValueError(f"max_batch is {self.max_batch}: a batch holds at least one request")
        if n and not (self.output_tokens.min() >= 1 and self.prompt_tokens.min() >= 0):
            raise ValueError("every request needs >= 1 output token and >= 0 prompt tokens")

    def __len__(self) -> int:
        return int(self.prompt_tokens.shape[0])

    @classmethod
    def create(
        cls,
        *,
        prompt_tokens: ArrayLike,
        output_tokens: ArrayLike,
        max_batch: int,
        latency: StepLatency,
        waited_s: ArrayLike = 0.0,
        ttft_s: ArrayLike = np.inf,
        tpot_s: ArrayLike = np.inf,
        e2e_s: ArrayLike = np.inf,
        seed: int = 0,
    ) -> Self:
        """Build a problem from numbers or arrays that broadcast to n requests.

        ``output_tokens``: [n] point forecasts, or [n, Q] equally likely values of each request
        by itself. The lengths of different requests are taken as independent: each row is
        shuffled by ``seed``, so that scenario q pairs unrelated quantiles.
        """
        prompts = _floats(prompt_tokens)
        outputs = _floats(output_tokens)
        if outputs.ndim == 1:
            outputs = outputs[:, None]
        if outputs.ndim == 2 and outputs.shape[1] > 1:
            outputs = np.random.default_rng(seed).permuted(outputs, axis=1)

        def each(values: ArrayLike) -> Floats:
            return np.ascontiguousarray(np.broadcast_to(_floats(values), prompts.shape))

        return cls(
            prompt_tokens=prompts,
            output_tokens=np.ascontiguousarray(outputs),
            waited_s=each(waited_s),
            ttft_s=each(ttft_s),
            tpot_s=each(tpot_s),
            e2e_s=each(e2e_s),
            max_batch=max_batch,
            latency=latency,
        )


def _floats(values: ArrayLike) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float64)
