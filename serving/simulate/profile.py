"""``slotwise profile``: a real engine's step times, as a profile for simulations."""

import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from predictor.errors import InputError
from scheduler.latency import StepLatency
from scheduler.latency_fitter import LatencyFitter
from scheduler.latency_report import FitReport
from scheduler.refit import REFIT_STEPS
from scheduler.slo import Slo
from serving import steplog
from serving.bench.profile import ProfileRequest, profile_rounds, replay_of
from serving.bench.replay import Replay
from serving.engine.config import EngineConfig, free_port
from serving.engine.process import EngineProcess
from serving.models import resolve
from serving.models.hub import check_fetchable
from serving.report.files import write_atomically
from serving.steplog import StepRecord
from serving.train import token_counter
from training.workload import filler_text

_STOCK = "serving.vllm_timed.TimedScheduler"
_TIMEOUT_S = 300.0
_REPEATS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileConfig:
    """What engine to profile; with ``step_log`` none is started and its steps are read."""

    model: str = "smollm2"
    max_num_seqs: int = 16
    max_model_len: int = 2048
    max_batched_tokens: int = 2048
    kv_tokens: int = 1 << 20
    step_log: Path | None = None
    output: Path = Path("build/profile.json")


def run_profile(config: ProfileConfig, console: Console) -> None:
    """Record steps, fit the latency model, write ``config.output`` and say how well it fits."""
    template_tokens = 0
    if config.step_log is not None:
        steps = list(steplog.read(config.step_log))
    else:
        steps, template_tokens = _record(config, console)
    latency, report = _fit(steps, str(config.step_log or config.model))
    document = {
        "name": config.model,
        "latency": latency.to_dict(),
        "limits": {
            "max_num_seqs": config.max_num_seqs,
            "max_batched_tokens": config.max_batched_tokens,
            "kv_tokens": config.kv_tokens,
        },
        "rules": {},
        "template_tokens": template_tokens,
        "steps": len(steps),
        "fit": asdict(report),
    }
    write_atomically(config.output, json.dumps(document, indent=1) + "\n")
    console.print(
        f"{len(steps)} steps, the fit is off by {report.mape:.1%} in the mean; "
        f"profile: {config.output}",
        highlight=False,
        soft_wrap=True,
    )


def _fit(steps: Sequence[StepRecord], source: str) -> tuple[StepLatency, FitReport]:
    timed = np.array([(*step.work, step.step_s) for step in steps if step.step_s]).reshape(-1, 8)
    latency = LatencyFitter.of(timed, at_once=REFIT_STEPS).latest
    if latency is None:
        raise InputError(
            f"{source}: {len(timed)} timed steps are too few for a profile; let the engine run "
            "longer with SLOTWISE_STEP_LOG set"
        )
    return latency, FitReport.of(latency, timed)


def _record(config: ProfileConfig, console: Console) -> tuple[list[StepRecord], int]:
    """Start an engine, send it made-up requests, and read the log of its steps."""
    rounds = _rounds(config.max_num_seqs)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with tempfile.TemporaryDirectory() as scratch, Progress(*columns, console=console) as bars:
        bar = bars.add_task("starting the engine")
        log = Path(scratch) / "steps.jsonl"
        engine = EngineProcess(
            EngineConfig(
                model=check_fetchable(resolve(config.model)),
                port=free_port(),
                max_num_seqs=config.max_num_seqs,
                max_model_len=config.max_model_len,
                scheduler_class=_STOCK,
                env={"SLOTWISE_STEP_LOG": str(log)},
            ),
            log_path=config.output.with_suffix(".engine.log"),
            on_progress=lambda elapsed_s, phase: bars.update(bar, description=phase),  # noqa: ARG005
        )
        with engine:
            bars.update(bar, description="profiling its steps")
            for number, round_ in enumerate(rounds, 1):
                bars.update(bar, description=f"profiling its steps, {number} of {len(rounds)}")
                asyncio.run(_send(engine, round_))
        steps = list(steplog.read(log))
    counted = int(token_counter(config.model).count([rounds[0][0].prompt])[0])
    first = next(step for step in steps if step.prefills)
    return steps, max(first.prefill_tokens - counted, 0)


def _rounds(max_num_seqs: int) -> list[list[ProfileRequest]]:
    """The benchmark's rounds several times, and long prompts for long contexts."""
    long = [ProfileRequest(filler_text(900), 24 + k) for k in range(max_num_seqs)]
    alone = [[ProfileRequest(filler_text(words), 4)] for words in (32, 128, 512, 1024)]
    return [*profile_rounds(max_num_seqs) * _REPEATS, *alone, long]


async def _send(engine: EngineProcess, round_: Sequence[ProfileRequest]) -> None:
    replay = Replay(
        replay_of(round_),
        base_url=engine.base_url,
        model=engine.config.served_name,
        slos={"profile": Slo()},
        timeout_s=_TIMEOUT_S,
        seed=0,
        on_event=None,
        engine_death=engine.death,
    )
    await replay.run()
