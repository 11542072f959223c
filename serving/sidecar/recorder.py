"""Takes in what became of requests: judges it, stores it, learns from it."""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from predictor.distribution import LengthDistribution
from predictor.output_limits import OutputLimits
from scheduler.slo import tpot_s
from serving.metrics import Metrics
from serving.observations.observation import Observation, judged, pit
from serving.observations.writer import ObservationWriter, Outcome
from serving.priors import ClassPriors
from serving.sidecar.live import LiveState
from serving.sidecar.schemas.base import seconds, slo_of
from serving.sidecar.schemas.observation import ObservationIn
from serving.slo_classes import OTHER, SloClasses
from serving.turns import in_turns


@dataclass(frozen=True, slots=True)
class Recorder:
    """``record`` returns when the observations outlive the process."""

    classes: SloClasses
    priors: ClassPriors
    metrics: Metrics
    live: LiveState
    writer: ObservationWriter
    store_prompts: bool
    clock: Callable[[], float] = time.time

    async def record(self, asked: Sequence[ObservationIn]) -> tuple[list[Observation], Outcome]:
        """Raises ``DistributionError`` for a bad forecast, ``StoreError`` if nothing took them."""
        rows: list[Observation] = []
        async for some in in_turns(asked):
            rows.extend(self._observation(each) for each in some)
        outcome = await asyncio.wrap_future(self.writer.submit(rows))
        async for few in in_turns(rows):
            for row in few:
                self._learn(row)
        return rows, outcome

    def resume(self, recent: Sequence[Observation]) -> None:
        """Learn again from what an earlier process stored."""
        for row in recent:
            self.live.finished(row)
            if row.teaches_length:
                self.priors.observe(row.slo_class, row.output_tokens)

    def _learn(self, row: Observation) -> None:
        known = self.classes.get(row.slo_class).name
        if row.teaches_length:
            self.priors.observe(known, row.output_tokens)
        self.metrics.finished(row, slo_class=known)
        self.live.finished(row)

    def _observation(self, asked: ObservationIn) -> Observation:
        slo_class, slo = self.classes.table.resolve(
            asked.slo_class,
            targets=slo_of(asked.slo_ttft_ms, asked.slo_tpot_ms, asked.slo_e2e_ms),
        )
        natural = OutputLimits(min_tokens=asked.min_tokens, ignore_eos=asked.ignore_eos).natural
        lengths = None if asked.lengths is None else LengthDistribution.from_floats(asked.lengths)
        ttft, e2e = seconds(asked.ttft_ms), seconds(asked.e2e_ms)
        tpot = None
        if ttft is not None and e2e is not None and asked.answers == 1:
            tpot = tpot_s(e2e_s=e2e, ttft_s=ttft, output_tokens=asked.output_tokens)
        met, violated = judged(slo, ttft, tpot, e2e, answers=asked.answers)
        return Observation(
            id=asked.id or uuid.uuid4().hex,
            at_s=self.clock() if asked.at_unix_ms is None else asked.at_unix_ms / 1e3,
            slo_class=slo_class.name if slo_class.name != OTHER else asked.slo_class or OTHER,
            output_tokens=asked.output_tokens,
            answers=asked.answers,
            llm=asked.llm,
            input_tokens=asked.input_tokens,
            lengths=None if asked.lengths is None else tuple(asked.lengths),
            predicted_mean=None if lengths is None else lengths.mean,
            predicted_median=None if lengths is None else float(lengths.quantile(0.5)),
            pit=None if lengths is None or not natural else pit(lengths, asked.output_tokens),
            natural=natural,
            ttft_s=ttft,
            tpot_s=tpot,
            e2e_s=e2e,
            met=met,
            violated=violated,
            model_name=asked.model_name,
            model_version=asked.model_version,
            source=asked.source,
            prompt=asked.prompt if self.store_prompts else None,
        )
