"""One policy's turn: start its engine, show it some steps, replay, stop, collect."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from predictor.errors import EngineError
from scheduler.registry import PolicyName
from scheduler.slo import Slo
from serving import steplog
from serving.bench.config import STOCK, BenchConfig
from serving.bench.machine_load import CpuTimes
from serving.bench.profile import profile_rounds, replay_of
from serving.bench.records import PolicyRun
from serving.bench.replay import Replay, ReplayEvent, ReplayRequest
from serving.bench.speed import EngineSpeed
from serving.engine.config import EngineConfig, free_port
from serving.engine.process import EngineProcess
from serving.policy_folder import own_folder

_STOCK_CLASS = "serving.vllm_timed.TimedScheduler"
_OUR_CLASS = "serving.vllm_scheduler.SlotwiseScheduler"
# For machines that are slow or busy: what hangs is noticed otherwise.
_PROFILE_TIMEOUT_S = 1800.0
# A step log is written twice a second.
_LOG_S, _LOG_POLL_S = 30.0, 0.2

OnPhase = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Workload:
    """What a client sends, and the targets that each class of it is judged by."""

    requests: Sequence[ReplayRequest]
    slos: Mapping[str, Slo]


@dataclass(slots=True)
class PolicyTurn:
    """Runs one policy; :meth:`collect` has what was gathered, however the run ended.

    ``workload`` is given what measures the engine's speed.
    """

    config: BenchConfig
    policy: PolicyName
    model: str
    workload: Callable[[Callable[[], EngineSpeed]], Workload]
    folder: Path
    on_phase: OnPhase
    on_event: Callable[[ReplayEvent], None]
    _replay: Replay | None = field(default=None, init=False)
    _other_cpu_share: float | None = field(default=None, init=False)

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
            workload = self.workload(self._measured)
            self.on_phase("replaying")
            self._replay = self._new_replay(engine, workload, self.config.timeout_s, self.on_event)
            began = CpuTimes.now(engine.session)
            try:
                asyncio.run(self._replay.run())
            finally:
                self._other_cpu_share = _others_since(began, engine)
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
            other_cpu_share=self._other_cpu_share,
            error=replay.error,
        )

    @property
    def _step_log(self) -> Path:
        return self.folder / f"steps-{self.policy.full}.jsonl"

    def _engine_config(self) -> EngineConfig:
        stock = self.policy.base in STOCK
        env = {
            **_folder_variable(self.policy.base),
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
            workload = Workload(replay_of(round_), {"profile": Slo()})
            await self._new_replay(engine, workload, _PROFILE_TIMEOUT_S).run()

    def _measured(self) -> EngineSpeed:
        """The engine's speed, once the log of its steps shows it; raises ``EngineError``."""
        end_s = time.monotonic() + _LOG_S
        while True:
            try:
                return EngineSpeed.of(steplog.read(self._step_log), self.config.max_num_seqs)
            except EngineError:
                if time.monotonic() > end_s:
                    raise
            time.sleep(_LOG_POLL_S)

    def _new_replay(
        self,
        engine: EngineProcess,
        workload: Workload,
        timeout_s: float,
        on_event: Callable[[ReplayEvent], None] | None = None,
    ) -> Replay:
        return Replay(
            workload.requests,
            base_url=engine.base_url,
            model=engine.config.served_name,
            slos=workload.slos,
            timeout_s=timeout_s,
            seed=self.config.seed,
            on_event=on_event,
            engine_death=engine.death,
        )


def _folder_variable(policy: str) -> dict[str, str]:
    """Where the engine finds a policy of the user's: its own path begins elsewhere."""
    folder = own_folder(policy)
    return {} if folder is None else {"SLOTWISE_POLICY_FOLDER": str(folder)}


def _others_since(began: CpuTimes | None, engine: EngineProcess) -> float | None:
    """What others took; of an engine that died nobody knows any more what was its part."""
    ended = CpuTimes.now(engine.session)
    if began is None or ended is None or not engine.alive():
        return None
    return ended.others_since(began)
