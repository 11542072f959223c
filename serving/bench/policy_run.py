"""One policy's turn: start its engine, show it some steps, replay, stop, collect."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scheduler.registry import PolicyName
from scheduler.slo import Slo
from serving import steplog
from serving.bench.config import STOCK, BenchConfig
from serving.bench.profile import profile_rounds, replay_of
from serving.bench.records import PolicyRun
from serving.bench.replay import Replay, ReplayEvent, ReplayRequest
from serving.engine.config import EngineConfig, free_port
from serving.engine.process import EngineProcess

_STOCK_CLASS = "serving.vllm_timed.TimedScheduler"
_OUR_CLASS = "serving.vllm_scheduler.SlotwiseScheduler"
_PROFILE_TIMEOUT_S = 120.0

OnPhase = Callable[[str], None]


@dataclass(slots=True)
class PolicyTurn:
    """Runs one policy; :meth:`collect` has what was gathered, however the run ended."""

    config: BenchConfig
    policy: PolicyName
    model: str
    requests: Sequence[ReplayRequest]
    slos: Mapping[str, Slo]
    folder: Path
    on_phase: OnPhase
    on_event: Callable[[ReplayEvent], None]
    _replay: Replay | None = field(default=None, init=False)

    def run(self) -> None:
        """Raises ``EngineError`` if the engine does not start."""
        self._step_log.unlink(missing_ok=True)
        engine = EngineProcess(
            self._engine_config(),
            log_path=self.folder / f"engine-{self.policy.full}.log",
            on_progress=lambda elapsed_s, phase: self.on_phase(f"{phase} ({elapsed_s:.0f} s)"),
        )
        with engine:
            self.on_phase("profiling its steps")
            asyncio.run(self._profile(engine))
            self.on_phase("replaying")
            self._replay = self._new_replay(engine, self.requests)
            asyncio.run(self._replay.run())
            self.on_phase("stopping the engine")
        self.on_phase("done")

    def collect(self) -> PolicyRun:
        """Return all records and steps of the replay so far."""
        replay = self._replay
        if replay is None:
            return PolicyRun(self.policy.full, (), error="the engine never got to the replay")
        end_s = replay.started_unix_s + replay.duration_s
        steps = tuple(
            step
            for step in steplog.read(self._step_log)
            if replay.started_unix_s <= step.at_s <= end_s
        )
        return PolicyRun(
            policy=self.policy.full,
            records=tuple(replay.records),
            steps=steps,
            duration_s=replay.duration_s,
            fallbacks=steps[-1].fallbacks if steps else 0,
            error=replay.error,
        )

    @property
    def _step_log(self) -> Path:
        return self.folder / f"steps-{self.policy.full}.jsonl"

    def _engine_config(self) -> EngineConfig:
        stock = self.policy.base in STOCK
        env = {
            "SLOTWISE_POLICY": self.policy.base,
            "SLOTWISE_STEP_LOG": str(self._step_log.resolve()),
            "SLOTWISE_REPLAY_LENGTHS": "true",
        }
        if self.config.slo_config is not None:
            env["SLOTWISE_SLO_CONFIG"] = str(self.config.slo_config.resolve())
        return EngineConfig(
            model=self.model,
            port=self.config.port or free_port(),
            max_num_seqs=self.config.max_num_seqs,
            max_model_len=self.config.max_model_len,
            dtype=self.config.dtype,
            scheduler_class=_STOCK_CLASS if stock else _OUR_CLASS,
            scheduling_policy="priority" if self.policy.rule == "priority" else "fcfs",
            env=env,
        )

    async def _profile(self, engine: EngineProcess) -> None:
        for round_ in profile_rounds(self.config.max_num_seqs):
            replay = self._new_replay(engine, replay_of(round_))
            await replay.run()

    def _new_replay(self, engine: EngineProcess, requests: Sequence[ReplayRequest]) -> Replay:
        profiling = requests is not self.requests
        return Replay(
            requests,
            base_url=engine.base_url,
            model=engine.config.served_name,
            slos={"profile": Slo()} if profiling else self.slos,
            timeout_s=_PROFILE_TIMEOUT_S if profiling else self.config.timeout_s,
            seed=self.config.seed,
            on_event=None if profiling else self.on_event,
            engine_death=engine.death,
        )
