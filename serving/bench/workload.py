"""The requests of one benchmark, and what each policy's engine is sent of them."""

from collections.abc import Sequence

from scheduler.registry import PolicyName
from scheduler.slo import SloClass
from serving.bench.config import STOCK, BenchConfig
from serving.bench.forecast import Forecast
from serving.bench.replay import ReplayRequest
from serving.slo_classes import ClassTable
from serving.xargs import encode
from training.collected.known import Collected
from training.sharegpt import ReadReport, read_sharegpt
from training.tokens import TokenCounter
from training.workload import WorkloadRequest, WorkloadShape, candidates, from_candidates

# Tokens a chat template may add to a prompt.
TEMPLATE_TOKENS = 64


def bench_requests(
    config: BenchConfig, counter: TokenCounter, known: Collected | None = None
) -> tuple[list[WorkloadRequest], ReadReport]:
    """Sample test conversations that fit the engine; the same for every policy.

    An oracle of natural lengths knows those in ``known``: then the others are left out.
    """
    data = read_sharegpt(config.dataset_path)
    room = config.max_model_len - TEMPLATE_TOKENS
    fitting = [
        found
        for found in candidates(
            data.conversations, counter, max_prompt_tokens=config.max_prompt_tokens
        )
        if found.prompt_tokens + found.output_tokens <= room
        and found.output_tokens <= config.max_output_tokens
    ]
    if known is not None and config.has_oracle:
        fitting = [found for found in fitting if found.conversation_id in known.samples]
    shape = WorkloadShape(
        count=config.num_prompts,
        rate=config.request_rate,
        burstiness=config.burstiness,
        code_fraction=config.code_fraction,
        seed=config.seed,
    )
    return from_candidates(fitting, shape), data.report


def answer_limit(
    config: BenchConfig, request: WorkloadRequest, known: Collected | None = None
) -> int:
    """Tokens at which an answer would be cut; natural ones where the collected ones were."""
    room = config.max_model_len - TEMPLATE_TOKENS - request.prompt_tokens
    if config.lengths == "recorded":
        return room
    return min(room, config.max_output_tokens, room if known is None else known.cap)


def true_tokens(config: BenchConfig, request: WorkloadRequest, known: Collected | None) -> float:
    """Of the recorded answer, or the mean of what the model itself was seen to answer."""
    if known is None:
        return request.output_tokens
    return known.mean(request.conversation_id, answer_limit(config, request, known))


def replay_requests(
    config: BenchConfig,
    policy: PolicyName,
    requests: Sequence[WorkloadRequest],
    forecasts: Sequence[Forecast],
    classes: ClassTable,
    known: Collected | None = None,
) -> list[ReplayRequest]:
    """Return what the client sends under one policy."""
    return [
        _replayed(
            config,
            policy,
            request,
            forecast,
            classes.get(request.slo_class),
            limit=answer_limit(config, request, known),
        )
        for request, forecast in zip(requests, forecasts, strict=True)
    ]


def _replayed(
    config: BenchConfig,
    policy: PolicyName,
    request: WorkloadRequest,
    forecast: Forecast,
    slo_class: SloClass,
    *,
    limit: int,
) -> ReplayRequest:
    lengths = forecast.lengths
    ours = policy.base not in STOCK
    return ReplayRequest(
        request_id=request.request_id,
        arrival_s=request.arrival_s,
        prompt=request.prompt,
        slo_class=request.slo_class,
        prompt_tokens=request.prompt_tokens,
        recorded_tokens=request.output_tokens,
        max_tokens=limit,
        force_length=config.lengths == "recorded",
        priority=slo_class.priority if policy.rule == "priority" else 0,
        xargs=encode(slo_class=slo_class.name, slo=slo_class.slo, lengths=lengths) if ours else {},
        predicted_mean_tokens=None if lengths is None else lengths.mean,
        predicted_p90_tokens=None if lengths is None else float(lengths.quantile(0.9)),
        prediction_s=forecast.prediction_s,
    )
