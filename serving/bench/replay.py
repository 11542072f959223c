"""Sends requests to an OpenAI-compatible engine at their arrival times and times the answers."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import httpx

from scheduler.slo import Slo, tpot_s
from serving.bench.client import Answer, StreamMeter, ask, open_client
from serving.bench.engine_watch import EngineWatch
from serving.bench.records import RequestRecord
from serving.xargs import REPLAY_TOKENS_KEY, XargValue

EventKind = Literal["sent", "first_token", "finished"]

# Of answers that end by themselves; the collected lengths were sampled at the same.
NATURAL_TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """One request of a workload.

    ``arrival_s`` counts from the start of the replay. With ``force_length`` the output has exactly
    ``recorded_tokens``. An engine with ``SLOTWISE_REPLAY_LENGTHS`` reads them from a mark that no
    policy sees; with ``state_length`` the request itself states them, as load generators do, and
    its length teaches nobody anything. Without ``force_length`` the model stops by itself.
    ``max_tokens`` is the limit that an ordinary client sends. ``priority`` (vLLM: lower is earlier)
    is sent unless 0. ``xargs`` reach the scheduler inside the engine.
    """

    request_id: str
    arrival_s: float
    prompt: str
    slo_class: str
    prompt_tokens: int
    recorded_tokens: int
    max_tokens: int
    force_length: bool = True
    state_length: bool = False
    priority: int = 0
    xargs: Mapping[str, XargValue] = field(default_factory=dict)
    predicted_mean_tokens: float | None = None
    predicted_p90_tokens: float | None = None
    prediction_s: float | None = None

    def body(self, *, model: str, seed: int) -> bytes:
        """Return the JSON body of ``/v1/chat/completions``.

        Sampled answers have no seed of their own: vLLM's CPU build dies of a seeded request whose
        prompt is computed in more than one step (it turns back the generator, which CPUs cannot).
        """
        document: dict[str, object] = {
            "model": model,
            "messages": [{"role": "user", "content": self.prompt}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.0 if self.force_length else NATURAL_TEMPERATURE,
            "max_tokens": self.recorded_tokens if self.state_length else self.max_tokens,
        }
        xargs = dict(self.xargs)
        if self.force_length:
            document |= {"ignore_eos": True, "seed": seed}
        if self.force_length and not self.state_length:
            xargs[REPLAY_TOKENS_KEY] = self.recorded_tokens
        if self.priority:
            document["priority"] = self.priority
        if xargs:
            document["vllm_xargs"] = xargs
        return json.dumps(document).encode()


@dataclass(frozen=True, slots=True)
class ReplayEvent:
    """Something happened to a request, ``at_s`` seconds into the replay.

    ``record`` is there when the request has finished, in whatever way.
    """

    kind: EventKind
    request: ReplayRequest
    at_s: float
    record: RequestRecord | None = None


@dataclass(slots=True)
class Replay:
    """One run of a workload; ``records`` and ``error`` stay readable however it ends.

    ``slos`` maps each class to its promise. ``timeout_s`` counts from a request's arrival.
    ``engine_death`` (``EngineProcess.death``) is asked twice a second and answers with a reason
    once the engine is gone; an engine that no longer takes connections, or says itself that it
    is not well, counts as gone, too. All requests without an answer then fail at once, and
    ``error`` holds the reason.
    ``started_unix_s`` is when the replay began, to set it beside the step log.
    """

    requests: Sequence[ReplayRequest]
    base_url: str
    model: str
    slos: Mapping[str, Slo]
    timeout_s: float
    seed: int = 0
    on_event: Callable[[ReplayEvent], None] | None = None
    engine_death: Callable[[], str | None] | None = None
    records: list[RequestRecord] = field(default_factory=list, init=False)
    error: str | None = field(default=None, init=False)
    started_unix_s: float = field(default=0.0, init=False)
    duration_s: float = field(default=0.0, init=False)
    _begin_s: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Replay all requests; when cancelled, ``records`` has those that have finished."""
        bodies = [request.body(model=self.model, seed=self.seed) for request in self.requests]
        async with open_client(self.base_url) as client:
            self._begin_s, self.started_unix_s = time.monotonic(), time.time()
            try:
                await self._send_all(client, bodies)
            finally:
                self.duration_s = self._elapsed_s()

    async def _send_all(self, client: httpx.AsyncClient, bodies: list[bytes]) -> None:
        watch = EngineWatch(client, self.engine_death)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._serve(client, request, body, watch))
                for request, body in zip(self.requests, bodies, strict=True)
            ]
            guard = group.create_task(self._end_at_death(watch, tasks))
            if tasks:
                await asyncio.wait(tasks)
            guard.cancel()
        if self.error is None and any(record.status == "failed" for record in self.records):
            self.error = await watch.last_look()

    async def _end_at_death(self, watch: EngineWatch, tasks: Sequence[asyncio.Task[None]]) -> None:
        """End all requests that are still open once the engine is gone."""
        self.error = await watch.death()
        for task in tasks:
            task.cancel()

    async def _serve(
        self, client: httpx.AsyncClient, request: ReplayRequest, body: bytes, watch: EngineWatch
    ) -> None:
        """Send one request at its time and record how it ended."""
        meter = StreamMeter()
        try:
            answer = await self._answer(client, request, body, meter)
        except httpx.TransportError as error:
            watch.suspect()
            answer = Answer(
                "failed", f"the connection failed: {str(error) or type(error).__name__}"
            )
        except asyncio.CancelledError:
            if self.error is None:
                raise
            answer = Answer("failed", self.error)
        record = self._record(request, answer, meter)
        self.records.append(record)
        self._tell("finished", request, record)

    async def _answer(
        self, client: httpx.AsyncClient, request: ReplayRequest, body: bytes, meter: StreamMeter
    ) -> Answer:
        await asyncio.sleep(request.arrival_s - self._elapsed_s())
        self._tell("sent", request)
        try:
            async with asyncio.timeout(request.arrival_s + self.timeout_s - self._elapsed_s()):
                return await ask(
                    client,
                    body,
                    request_id=request.request_id,
                    meter=meter,
                    on_first_token=lambda: self._tell("first_token", request),
                )
        except TimeoutError:
            return Answer("timeout", f"no complete answer within {self.timeout_s:g} s")
        except (ValueError, KeyError, TypeError) as error:
            return Answer("failed", f"the answer cannot be read: {error!r}")

    def _record(self, request: ReplayRequest, answer: Answer, meter: StreamMeter) -> RequestRecord:
        slo = self.slos[request.slo_class]
        times = self._latencies(request, meter) if answer.status == "ok" else {}
        return RequestRecord(
            request_id=request.request_id,
            slo_class=request.slo_class,
            arrival_s=request.arrival_s,
            prompt_tokens=meter.prompt_tokens or request.prompt_tokens,
            recorded_tokens=request.recorded_tokens,
            status=answer.status,
            output_tokens=meter.output_tokens,
            met=None if slo.empty else bool(times) and slo.met(**times),
            error=answer.error,
            predicted_mean_tokens=request.predicted_mean_tokens,
            predicted_p90_tokens=request.predicted_p90_tokens,
            prediction_s=request.prediction_s,
            **times,
        )

    def _latencies(self, request: ReplayRequest, meter: StreamMeter) -> dict[str, float]:
        """Return the latencies of a complete answer in seconds from its scheduled arrival."""
        assert meter.first_s is not None
        assert meter.last_s is not None
        arrival_s = self._begin_s + request.arrival_s
        ttft_s, e2e_s = meter.first_s - arrival_s, meter.last_s - arrival_s
        tokens = meter.output_tokens
        return {
            "ttft_s": ttft_s,
            "tpot_s": tpot_s(e2e_s=e2e_s, ttft_s=ttft_s, output_tokens=tokens),
            "e2e_s": e2e_s,
        }

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._begin_s

    def _tell(
        self, kind: EventKind, request: ReplayRequest, record: RequestRecord | None = None
    ) -> None:
        if self.on_event:
            self.on_event(ReplayEvent(kind, request, self._elapsed_s(), record))
