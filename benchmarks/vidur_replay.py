"""Replays a trace on the simulator of the package vidur 0.0.26, in vidur's own environment.

python benchmarks/vidur_replay.py SPEC RESULT

``benchmarks/simulator_speed.py`` starts it; both are JSON files. vidur's wheel holds none of the
measurements that its own predictors of step times are trained on. The linear profile of our
engine stands in for them, so what is timed is vidur's event loop, replica scheduler (Sarathi) and
bookkeeping. Times are of ``Simulator.run`` alone: not of imports, nor of reading the trace.
Metrics are off; what no setting turns off are the times that requests, batches and stages note
of themselves, and calls of metric hooks that return at once.
"""

import json
import logging
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vidur._native.entities import ExecutionTime  # type: ignore[import-not-found]
from vidur.config import (  # type: ignore[import-not-found]
    CacheConfig,
    ClusterConfig,
    LinearRegressionExecutionTimePredictorConfig,
    MetricsConfig,
    ReplicaConfig,
    SarathiSchedulerConfig,
    SimulationConfig,
    TraceRequestGeneratorConfig,
)
from vidur.entities import Batch  # type: ignore[import-not-found]
from vidur.execution_time_predictor import (  # type: ignore[import-not-found]
    ExecutionTimePredictorRegistry,
)
from vidur.simulator import Simulator  # type: ignore[import-not-found]
from vidur.types import ExecutionTimePredictorType  # type: ignore[import-not-found]


class LinearPredictor:
    """The step time of ``scheduler.simulator.step_time.StepTime``, its linear part.

    Takes the place of the predictor of type LINEAR_REGRESSION; schedulers call nothing else.
    """

    def __init__(self, linear: list[float], **_: Any) -> None:
        self._linear = linear

    def get_execution_time(self, batch: Any, pipeline_stage: int) -> Any:  # noqa: ARG002
        """Seconds of a batch, as vidur has them: all in one part of one layer, in ms."""
        # Only a batch with prefills is walked over; the totals of others vidur has at hand. Its
        # num_kv_tokens of a decode counts the tokens of this step and of the one before it, which
        # are not in the cache yet.
        prefills = chunk = 0
        work = 0.0
        decodes, context = batch.size, batch.total_num_kv_tokens
        if batch.num_prefill_tokens:
            for tokens, kv_tokens in zip(batch.num_q_tokens, batch.num_kv_tokens, strict=True):
                if tokens > 1:
                    prefills += 1
                    chunk += tokens
                    work += tokens * (kv_tokens - 0.5 * tokens)
                    context -= kv_tokens
            decodes -= prefills
        seconds = self._seconds(prefills, chunk, work, decodes, context - 2 * decodes)
        return ExecutionTime(1, 0, 0, 0, 0, seconds * 1e3, 0, 0, 0, 0, 0, 0, 0, 0, 0)

    def _seconds(self, prefills: int, chunk: int, work: float, decodes: int, context: int) -> float:
        linear, seconds = self._linear, 0.0
        if prefills:
            mean = chunk / prefills
            seconds += (linear[0] * prefills + linear[2]) * mean + linear[1] * prefills + linear[3]
            seconds += linear[8] * 2.0 * work
        if decodes:
            mean = context / decodes
            seconds += (linear[4] * decodes + linear[6]) * mean + linear[5] * decodes + linear[7]
        if prefills and decodes:
            seconds -= min(linear[3], linear[7])
        return seconds


def configuration(spec: dict[str, Any]) -> Any:
    """One replica on one GPU with our engine's limits, and all metrics off that can be."""
    return SimulationConfig(
        cluster_config=ClusterConfig(
            replica_config=ReplicaConfig(
                model_name="meta-llama/Llama-3-8B",
                num_pipeline_stages=1,
                tensor_parallel_size=1,
            ),
            cache_config=CacheConfig(
                block_size=spec["block_size"],
                num_blocks=spec["kv_tokens"] // spec["block_size"],
                watermark_blocks_fraction=0.0,
            ),
            replica_scheduler_config=SarathiSchedulerConfig(
                batch_size_cap=spec["max_num_seqs"], chunk_size=spec["max_batched_tokens"]
            ),
        ),
        request_generator_config=TraceRequestGeneratorConfig(
            trace_file=spec["trace"],
            date=spec["date"],
            prefill_scale_factor=1.0,
            decode_scale_factor=1.0,
            time_scale_factor=1.0,
            max_tokens=spec["max_tokens"],
        ),
        execution_time_predictor_config=LinearRegressionExecutionTimePredictorConfig(),
        metrics_config=MetricsConfig(
            write_metrics=False,
            write_json_trace=False,
            enable_chrome_trace=False,
            store_plots=False,
            store_request_metrics=False,
            store_batch_metrics=False,
            store_utilization_metrics=False,
            output_dir=spec["output_dir"],
        ),
    )


def replay(spec: dict[str, Any]) -> dict[str, Any]:
    """Run it once."""
    logging.getLogger("vidur").setLevel(logging.WARNING)
    kind = ExecutionTimePredictorType.LINEAR_REGRESSION
    ExecutionTimePredictorRegistry.unregister(kind)
    ExecutionTimePredictorRegistry.register(kind, partial(LinearPredictor, spec["linear"]))
    simulator = Simulator(configuration(spec))
    requests = [event._request for _, event in simulator._event_queue]
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    simulator.run()
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    assert all(request.completed for request in requests)
    iterations = Batch._id + 1  # batches are numbered from 0
    return {
        "version": version("vidur"),
        "python": sys.version.split()[0],
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "requests": len(requests),
        "iterations": iterations,
        # A restart resets a request's own count, and there is none where memory suffices.
        "restarts": sum(request.num_restarts for request in requests),
        "sequences_per_iteration": (
            sum(request.num_processed_iterations for request in requests) / iterations
        ),
        "mean_ttft_s": _mean([r.prefill_completed_at - r.arrived_at for r in requests]),
        "mean_e2e_s": _mean([r.e2e_time for r in requests]),
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(replay(spec)), encoding="utf-8")


if __name__ == "__main__":
    main()
