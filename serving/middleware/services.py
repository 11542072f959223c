"""What the middleware needs, put together from the settings; started and stopped with vLLM."""

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from predictor.distribution import LengthDistribution, mixture
from predictor.output_limits import OutputLimits
from predictor.prompt import Prompt
from scheduler.slo import tpot_s
from serving.foundation import Foundation
from serving.metrics import Metrics
from serving.middleware.body import CompletionBody
from serving.middleware.passage import Watch
from serving.middleware.promise import Promise, promise_of
from serving.middleware.stated_limits import EngineDefaults
from serving.observations.observation import Observation, judged, pit
from serving.observations.writer import ObservationWriter
from serving.prediction.forecast import Source
from serving.prediction.service import PredictionService
from serving.priors import ClassPriors
from serving.settings import Settings
from serving.slo_classes import SloClasses
from serving.xargs import encode

logger = logging.getLogger(__name__)

# Prompts of one request that are looked at; what more there are get the mixture of these.
_MOST_PROMPTS = 64


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request as it goes to the engine."""

    body: CompletionBody
    promise: Promise
    lengths: LengthDistribution
    # Nobody forecasts a length that the request itself forces.
    source: Source | None
    natural: bool = True
    sheddable: bool = False

    def encoded(self) -> bytes:
        """Its body with class, promise, priority and forecast for the scheduler."""
        return self.body.with_xargs(
            encode(
                slo_class=self.promise.slo_class.name,
                slo=self.promise.slo,
                lengths=self.lengths,
                priority=self.promise.priority,
                own_priority=self.promise.own_priority,
                sheddable=self.sheddable,
            )
        )


@dataclass(frozen=True, slots=True)
class MiddlewareServices:
    """The collaborators of one API server process."""

    settings: Settings
    classes: SloClasses
    priors: ClassPriors
    metrics: Metrics
    predictions: PredictionService
    writer: ObservationWriter

    @classmethod
    def of(cls, settings: Settings) -> "MiddlewareServices":
        """Put together; raises ``ConfigError``. Nothing runs yet."""
        base = Foundation.of(settings)
        return cls(settings, base.classes, base.priors, base.metrics, base.predictions, base.writer)

    async def start(self) -> None:
        """Load the model; without one class priors answer."""
        self.writer.start()
        await self.predictions.start()

    async def stop(self) -> None:
        """Write what is on its way, end the predictor."""
        await self.predictions.stop()
        await asyncio.to_thread(self.writer.stop)

    async def ticket(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        body: CompletionBody,
        engine: EngineDefaults,
    ) -> Ticket:
        """Read the promise and forecast the answer. Never raises for what a client sent."""
        promise = promise_of(headers, body.fields, self.classes.table)
        for kind in promise.ignored:
            self.metrics.ignored_hints.labels(kind).inc()
        limits = body.limits(engine)
        forced = limits.forced_tokens
        lengths, source = (
            await self._forecast(promise, body, limits)
            if forced is None
            else (LengthDistribution.point(forced), None)
        )
        sheddable = self._sheddable(promise, body)
        return Ticket(body, promise, lengths, source, limits.natural, sheddable)

    async def _forecast(
        self, promise: Promise, body: CompletionBody, limits: OutputLimits
    ) -> tuple[LengthDistribution, Source]:
        """By the model in time, else by the class's prior; within what the request allows."""
        prompts = [self._prompt(text, promise, body, limits) for text in body.texts[:_MOST_PROMPTS]]
        began_s = time.perf_counter()
        # Token ids have no text to judge by.
        told = [prompt for prompt in prompts if prompt.text]
        forecasts = await self.predictions.many(told, urgent=True)
        forecasts += [self.predictions.prior(each) for each in prompts if not each.text]
        self.metrics.prediction_seconds.observe(time.perf_counter() - began_s)
        for forecast in forecasts:
            self.metrics.predictions.labels(forecast.source).inc()
        lengths = mixture([forecast.lengths for forecast in forecasts])
        source: Source = "model" if all(f.source == "model" for f in forecasts) else "prior"
        return limits.condition(lengths), source

    def shed(self, ticket: Ticket) -> None:
        """Count a request that was refused: a promise not kept."""
        name = ticket.promise.slo_class.name
        self.metrics.shed.labels(name).inc()
        self.metrics.promises.labels(name).inc()
        self.metrics.kept.labels(name).inc(0)
        self.metrics.violations.labels(name, "shed").inc()

    def finished(
        self,
        ticket: Ticket,
        watch: Watch,
        *,
        input_tokens: int,
        tokens: int,
        replica: int | None = None,
    ) -> None:
        """Note what became of a request that was answered whole; stored off the event loop.

        ``tokens`` of all its answers: of several the server tells only the sum.
        """
        assert watch.first_s is not None
        assert watch.last_s is not None
        ttft_s, e2e_s = watch.first_s - watch.began_s, watch.last_s - watch.began_s
        answers = ticket.body.answers
        told = ticket.lengths if answers == 1 else None
        judges = told is not None and ticket.natural
        tpot = None
        if answers == 1:
            tpot = tpot_s(e2e_s=e2e_s, ttft_s=ttft_s, output_tokens=tokens)
        met, violated = judged(ticket.promise.slo, ttft_s, tpot, e2e_s, answers=answers)
        name = ticket.promise.slo_class.name
        info = self.predictions.info
        row = Observation(
            id=uuid.uuid4().hex,
            at_s=time.time(),
            slo_class=name,
            output_tokens=tokens,
            answers=answers,
            llm=ticket.body.model,
            input_tokens=input_tokens,
            lengths=None if told is None else tuple(told.to_floats()),
            predicted_mean=None if told is None else told.mean,
            predicted_median=None if told is None else float(told.quantile(0.5)),
            pit=pit(ticket.lengths, tokens) if judges else None,
            natural=ticket.natural,
            ttft_s=ttft_s,
            tpot_s=tpot,
            e2e_s=e2e_s,
            met=met,
            violated=violated,
            model_name=info.name,
            model_version=info.version,
            source=ticket.source,
            prompt=ticket.body.texts[0] if self.settings.store_prompts else None,
            replica=replica,
        )
        if judges:
            self.priors.observe(name, tokens)
        self.metrics.finished(row, slo_class=name)
        self.writer.submit([row])

    def _sheddable(self, promise: Promise, body: CompletionBody) -> bool:
        """Of several answers some may have begun: such a request is served to its end."""
        allowed = promise.slo_class.sheddable and not promise.slo.empty
        return allowed and body.sheddable and self.settings.mode == "active"

    def _prompt(
        self, text: str, promise: Promise, body: CompletionBody, limits: OutputLimits
    ) -> Prompt:
        return Prompt(
            text=text[: self.settings.max_prompt_characters],
            task=promise.slo_class.name,
            max_tokens=limits.max_tokens,
            llm=body.model,
            temperature=body.temperature,
        )
