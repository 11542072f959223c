"""Everything the endpoints use, put together in one place, started and stopped in order."""

import asyncio
import logging
import time
from dataclasses import dataclass

from predictor.errors import StoreError
from scheduler.registry import PolicyName, check_policy
from serving.foundation import Foundation
from serving.metrics import Metrics
from serving.observations.store import ObservationStore
from serving.observations.writer import ObservationWriter
from serving.policy_folder import make_importable
from serving.prediction.service import PredictionService
from serving.priors import ClassPriors
from serving.settings import Settings
from serving.sidecar.live import RECENT, LiveState
from serving.sidecar.recorder import Recorder
from serving.sidecar.scheduling.decide import Decider
from serving.sidecar.scheduling.worker import DecisionWorker
from serving.sidecar.traces import Traces, traces_of
from serving.slo_classes import SloClasses

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """One sidecar's collaborators."""

    settings: Settings
    classes: SloClasses
    priors: ClassPriors
    metrics: Metrics
    predictions: PredictionService
    decisions: DecisionWorker
    store: ObservationStore
    writer: ObservationWriter
    recorder: Recorder
    live: LiveState
    traces: Traces
    started_s: float

    @classmethod
    def of(cls, settings: Settings) -> "Services":
        """Put together; raises ``ConfigError`` and ``UnknownPolicyError``. Nothing runs yet."""
        make_importable(settings.policy_folder)
        check_policy(settings.policy)
        base, live = Foundation.of(settings), LiveState()
        return cls(
            settings=settings,
            classes=base.classes,
            priors=base.priors,
            metrics=base.metrics,
            predictions=base.predictions,
            decisions=DecisionWorker(
                Decider(base.classes, base.priors, settings.policy, settings.time_box_ms / 1e3),
                deadline_s=settings.schedule_deadline_ms / 1e3,
            ),
            store=base.store,
            writer=base.writer,
            recorder=Recorder(
                base.classes, base.priors, base.metrics, live, base.writer, settings.store_prompts
            ),
            live=live,
            traces=traces_of(settings.traces_endpoint),
            started_s=time.monotonic(),
        )

    async def start(self) -> None:
        """Take up what was stored, compile, load the model."""
        self.writer.start()
        try:
            self.recorder.resume(await asyncio.to_thread(self.store.latest, RECENT))
        except StoreError as error:
            logger.error("what was observed before is not known: %s", error)
        await self.decisions.warm_up(PolicyName.parse(self.settings.policy))
        await self.predictions.start()

    async def stop(self) -> None:
        """Write what was acknowledged or is on its way, end the predictor."""
        await self.decisions.stop()
        await self.predictions.stop()
        await asyncio.to_thread(self.writer.stop)
        await asyncio.to_thread(self.traces.stop)
