"""Asks prompts on a Ray cluster, by the vLLM stage of Ray Data."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from predictor.errors import EngineError
from serving.collect import chat
from serving.collect.gathering import Answer
from serving.collect.lengths import Asked, CollectSettings
from serving.collect.replicas import Replicas
from serving.engine.log import last_words

# An engine works on that many tasks at once, which together fill its slots twice over. Answers
# come task by task: the smaller a task, the less waits for its longest answer.
_TASKS_PER_ENGINE = 8
_TASK_CPUS = 0.25
_START_S = 900
_RESTARTS = 3
# What workers print arrives that much later.
_LOG_LAG_S = 2.0


def answers(
    prompts: Sequence[Asked], settings: CollectSettings, model: str, replicas: Replicas, log: Path
) -> Iterator[Answer]:
    """Every sample of every prompt, as they come; ``model`` is a folder or a hub id.

    Raises ``EngineError`` if the engines do not start or do not last, with their last words from
    ``log``, where what they print goes.
    """
    import ray  # noqa: PLC0415 - an optional extra
    from ray.data.exceptions import ExecutionTimeoutError, SystemException  # noqa: PLC0415

    _quieten()
    try:
        for row in _dataset(prompts, settings, model, replicas).iter_rows():
            yield Answer(**row)
    except (ray.exceptions.RayError, ExecutionTimeoutError, SystemException) as error:
        time.sleep(_LOG_LAG_S)
        raise EngineError(
            f"the engines for model {model} gave up ({type(error).__name__}); their last words"
            f" ({log}):\n{last_words(log)}\nwhat came is kept, the same command goes on from there"
        ) from error


def _quieten() -> None:
    """No bars of Ray Data, as we have our own; engines that do not come up end the run."""
    from ray.data import DataContext  # noqa: PLC0415

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.wait_for_min_actors_s = _START_S


def _dataset(
    prompts: Sequence[Asked], settings: CollectSettings, model: str, replicas: Replicas
) -> Any:
    """The pipeline: a prompt, its samples, their answers, their lengths."""
    import ray.data  # noqa: PLC0415
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig  # noqa: PLC0415

    samples, sampling = settings.samples, chat.sampling(settings, model)

    # Functions inside a function travel by value: the cluster's nodes need no Slotwise.
    def repeated(row: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**row, "sampling_params": sampling} for _ in range(samples)]

    def told(row: dict[str, Any]) -> dict[str, Any]:
        return {
            "prompt_id": row["prompt_id"],
            "input_tokens": row["num_input_tokens"],
            "output_tokens": row["num_generated_tokens"],
            "error": row["__inference_error__"],
        }

    per_task = max(1, 2 * settings.concurrency // (_TASKS_PER_ENGINE * samples))
    task = {"num_cpus": _TASK_CPUS}
    config = vLLMEngineProcessorConfig(
        model_source=model,
        batch_size=per_task * samples,
        max_concurrent_batches=_TASKS_PER_ENGINE,
        should_continue_on_error=True,
        log_engine_metrics=False,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
        **replicas.stage(settings, model),
    )
    processor = build_processor(config, preprocess_map_kwargs=task, postprocess_map_kwargs=task)
    # By itself Ray starts an engine that dies again and again, for ever.
    processor.get_stage_by_name("vLLMEngineStage").map_batches_kwargs["max_restarts"] = _RESTARTS
    rows = [
        {"prompt_id": asked.id, "tokenized_prompt": tokens}
        for asked, tokens in zip(prompts, chat.tokens(prompts, model), strict=True)
    ]
    dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // per_task))
    return processor(dataset.flat_map(repeated, **task)).map(told, **task)
