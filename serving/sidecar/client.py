"""A typed client of the sidecar, for programs that wait and for those that do not."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import BaseModel, TypeAdapter

from predictor.errors import SlotwiseError
from serving.sidecar.schemas.observation import ObservationIn, ObservationsIn, ObservationsOut
from serving.sidecar.schemas.predict import (
    PredictionsOut,
    PredictOut,
    PromptIn,
    PromptsIn,
    StrictPromptsIn,
)
from serving.sidecar.schemas.schedule import ScheduleIn, ScheduleOut
from serving.sidecar.schemas.status import ReadyOut, ReloadOut, StatusOut

_TIMEOUT_S = 30.0


class SidecarError(SlotwiseError):
    """The sidecar refused or did not answer; ``status`` is the HTTP status, 0 without one."""

    def __init__(self, message: str, *, status: int = 0, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param


class _Call:
    """One request: what to send, and how to read the answer."""

    def __init__(self, kind: Any, method: str, path: str, body: BaseModel | None = None) -> None:
        self.method, self.path = method, path
        self.content = None if body is None else body.model_dump_json(exclude_none=True).encode()
        self._kind = TypeAdapter(kind)

    def read(self, response: httpx.Response, *fine: int) -> Any:
        """The answer's model; raises ``SidecarError``."""
        if response.is_success or response.status_code in fine:
            return self._kind.validate_json(response.content)
        try:
            said = response.json()["error"]
        except (ValueError, KeyError, TypeError):
            raise SidecarError(
                f"{self.path}: HTTP {response.status_code}", status=response.status_code
            ) from None
        raise SidecarError(
            f"{self.path}: {said['message']}",
            status=response.status_code,
            param=said.get("param"),
        )


def _options(base_url: str, token: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return {"base_url": base_url, "headers": headers, "timeout": timeout_s}


def _predict(prompt: PromptIn) -> _Call:
    return _Call(PredictOut, "POST", "/predict", prompt)


def _bulk(prompts: Sequence[PromptIn], *, strict: bool) -> _Call:
    if strict:
        asked = StrictPromptsIn(prompts=list(prompts))
        return _Call(PredictionsOut, "POST", "/predict/bulk/strict", asked)
    return _Call(PredictionsOut, "POST", "/predict/bulk", PromptsIn(prompts=list(prompts)))


def _schedule(snapshot: ScheduleIn) -> _Call:
    return _Call(ScheduleOut, "POST", "/schedule", snapshot)


def _observe(rows: Sequence[ObservationIn]) -> _Call:
    return _Call(ObservationsOut, "POST", "/observations", ObservationsIn(observations=list(rows)))


_RELOAD = ("POST", "/reload")
_STATUS = ("GET", "/status")
_READY = ("GET", "/readyz")


class SidecarClient:
    """Blocking; a context manager that keeps connections open. Raises ``SidecarError``."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8400",
        *,
        token: str | None = None,
        timeout_s: float = _TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(**_options(base_url, token, timeout_s), transport=transport)

    def predict(self, prompt: PromptIn) -> PredictOut:
        """Forecast one answer's length."""
        found: PredictOut = self._ask(_predict(prompt))
        return found

    def predict_bulk(self, prompts: Sequence[PromptIn], *, strict: bool = False) -> PredictionsOut:
        """Forecast many; ``strict`` refuses them all for one that is wrong."""
        found: PredictionsOut = self._ask(_bulk(prompts, strict=strict))
        return found

    def schedule(self, snapshot: ScheduleIn) -> ScheduleOut:
        """Decide for engines as they are."""
        found: ScheduleOut = self._ask(_schedule(snapshot))
        return found

    def observe(self, rows: Sequence[ObservationIn]) -> ObservationsOut:
        """Report finished requests; durable when this returns."""
        found: ObservationsOut = self._ask(_observe(rows))
        return found

    def reload(self) -> ReloadOut:
        """Load the predictor anew."""
        found: ReloadOut = self._ask(_Call(ReloadOut, *_RELOAD))
        return found

    def status(self) -> StatusOut:
        """Everything in one look."""
        found: StatusOut = self._ask(_Call(StatusOut, *_STATUS))
        return found

    def ready(self) -> ReadyOut:
        """Whether forecasts are worth asking for."""
        found: ReadyOut = self._ask(_Call(ReadyOut, *_READY), 503)
        return found

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, call: _Call, *fine: int) -> Any:
        try:
            response = self._http.request(call.method, call.path, content=call.content)
        except httpx.HTTPError as error:
            raise _unreachable(call, error) from error
        return call.read(response, *fine)


class AsyncSidecarClient:
    """The same for asyncio."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8400",
        *,
        token: str | None = None,
        timeout_s: float = _TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**_options(base_url, token, timeout_s), transport=transport)

    async def predict(self, prompt: PromptIn) -> PredictOut:
        """Forecast one answer's length."""
        found: PredictOut = await self._ask(_predict(prompt))
        return found

    async def predict_bulk(
        self, prompts: Sequence[PromptIn], *, strict: bool = False
    ) -> PredictionsOut:
        """Forecast many; ``strict`` refuses them all for one that is wrong."""
        found: PredictionsOut = await self._ask(_bulk(prompts, strict=strict))
        return found

    async def schedule(self, snapshot: ScheduleIn) -> ScheduleOut:
        """Decide for engines as they are."""
        found: ScheduleOut = await self._ask(_schedule(snapshot))
        return found

    async def observe(self, rows: Sequence[ObservationIn]) -> ObservationsOut:
        """Report finished requests; durable when this returns."""
        found: ObservationsOut = await self._ask(_observe(rows))
        return found

    async def reload(self) -> ReloadOut:
        """Load the predictor anew."""
        found: ReloadOut = await self._ask(_Call(ReloadOut, *_RELOAD))
        return found

    async def status(self) -> StatusOut:
        """Everything in one look."""
        found: StatusOut = await self._ask(_Call(StatusOut, *_STATUS))
        return found

    async def ready(self) -> ReadyOut:
        """Whether forecasts are worth asking for."""
        found: ReadyOut = await self._ask(_Call(ReadyOut, *_READY), 503)
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(self, call: _Call, *fine: int) -> Any:
        try:
            response = await self._http.request(call.method, call.path, content=call.content)
        except httpx.HTTPError as error:
            raise _unreachable(call, error) from error
        return call.read(response, *fine)


def _unreachable(call: _Call, error: httpx.HTTPError) -> SidecarError:
    said = str(error) or type(error).__name__
    return SidecarError(f"{call.path}: no answer ({said}); is `slotwise sidecar` running?")
